//! Every syntax error of a text, one for each statement, and what can be read in spite of them.
//!
//! One forgotten bracket makes a TOML parser complain about every line below it. Here a text that
//! does not parse is cut into statements; each is parsed by itself, so that each error is told once
//! and all the other statements are still checked.

use std::ops::Range;
use toml::de::DeTable;

/// Where an error is, and the parser's words about it.
pub type SyntaxFault = (Range<usize>, String);

/// What a text with syntax errors still says.
#[derive(Clone, Debug, Default)]
pub struct Recovered {
    /// The errors in the order of the text. Empty: the text is TOML.
    pub errors: Vec<SyntaxFault>,
    /// What could not be read: the statements with errors, those below a broken header, and those
    /// that say something again.
    pub unread: Vec<Range<usize>>,
    /// The text with all that blanked; every offset is as in the original.
    pub text: String,
}

/// Finds the errors of a text.
pub fn recover(text: &str) -> Recovered {
    let mut found = Recovered { text: text.to_owned(), ..Recovered::default() };
    if first_error(text).is_none() {
        return found;
    }
    let statements = statements(text);
    let (mut next, mut is_below_broken) = (0, false);
    while let Some(statement) = statements.get(next) {
        if found.errors.len() >= ERRORS_MOST {
            found.unread.push(statement.start..text.len());
            break;
        }
        let (count, error) = judge(text, &statements, next);
        let end = next + count;
        let last = statements.get(end - 1).unwrap_or(statement);
        let range = statement.start..last.end;
        if text.get(range.clone()).and_then(|text| text.lines().next()).is_some_and(is_header) {
            is_below_broken = error.is_some();
        }
        if error.is_some() || is_below_broken {
            found.unread.push(range);
        }
        found.errors.extend(error);
        next = end;
    }
    found.text = blank(text, &found.unread);
    // What is left are errors between statements: a key or table that is there twice.
    let (_, left) = DeTable::parse_recoverable(&found.text);
    for (span, words) in left.iter().map(told) {
        let holds = |statement: &&Range<usize>| statement.contains(&span.start);
        found.unread.extend(statements.iter().find(holds).cloned());
        found.errors.push((span, words));
    }
    found.errors.sort_by_key(|(span, _)| span.start);
    found
}

/// Errors after which a text is held to be something else; one more than are shown.
const ERRORS_MOST: usize = 201;
/// How many statements a value may go over before it is held to be broken: a list of callers in one
/// value has fewer lines that look like keys.
const STATEMENTS_MOST: usize = 64;

/// How many statements belong together from here, and what is wrong with the first of them. A
/// value over several lines may hold lines that look like statements, so more are tried with it.
fn judge(text: &str, statements: &[Range<usize>], next: usize) -> (usize, Option<SyntaxFault>) {
    let start = statements.get(next).map_or(0, |first| first.start);
    let mut error = None;
    for (count, last) in statements.iter().skip(next).take(STATEMENTS_MOST).enumerate() {
        let found = first_error(text.get(start..last.end).unwrap_or_default());
        let Some((span, words)) = found else { return (count + 1, None) };
        error = error.or(Some((span.start + start..span.end + start, words)));
    }
    (1, error)
}

fn first_error(text: &str) -> Option<SyntaxFault> {
    DeTable::parse(text).err().map(|error| told(&error))
}

fn told(error: &toml::de::Error) -> SyntaxFault {
    (error.span().unwrap_or(0..0), error.message().to_owned())
}

/// The text from each line that looks like the begin of a statement to the next.
fn statements(text: &str) -> Vec<Range<usize>> {
    let mut starts = vec![0];
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if start > 0 && begins_statement(line) {
            starts.push(start);
        }
        start += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain(std::iter::once(text.len()));
    starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect()
}

fn begins_statement(line: &str) -> bool {
    let is_name = |text: &str| {
        let mut letters = text.bytes();
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-. ".contains(&byte);
        !text.is_empty() && letters.all(fits)
    };
    is_header(line) || line.split_once('=').is_some_and(|(key, _)| is_name(key.trim()))
}

/// Whether the line looks like a table's header, be it a broken one.
fn is_header(line: &str) -> bool {
    let line = line.split('#').next().unwrap_or(line).trim();
    let is_bare = !line.contains(['"', '\'', '=', ',']);
    is_bare && (line.starts_with('[') || (line.contains('[') && line.ends_with(']')))
}

fn blank(text: &str, ranges: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for range in ranges {
        for byte in bytes.get_mut(range.clone()).unwrap_or_default() {
            *byte = if *byte == b'\n' { b'\n' } else { b' ' };
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::recover;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    fn lines(text: &str) -> Vec<usize> {
        let line = |at: usize| text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1;
        recover(text).errors.iter().map(|(span, _)| line(span.start)).collect()
    }

    #[test]
    fn an_unclosed_list_hides_nothing_below_it() {
        let text = "a = 1\nlist = [\"x\"\n\n[[t]]\nb = 2\nc = d\n[u]\ne = 3\n";
        let found = recover(text);
        assert_eq!(found.errors.len(), 2, "{found:?}");
        assert!(found.text.contains("b = 2") && found.text.contains("[u]\ne = 3"));
        assert!(!found.text.contains("list") && !found.text.contains("c = d"));
    }

    #[test]
    fn values_over_several_lines_are_left_alone() {
        assert_eq!(lines("a = '''\nb = \n[c\n'''\nd = e\nf = [\n 1,\n 2,\n]\n"), [5]);
    }

    #[test]
    fn what_stands_below_a_broken_header_is_not_read() {
        let found = recover("[a\nb = 1\nc = x\n[d]\ne = 1\n");
        assert_eq!(found.text.trim(), "[d]\ne = 1");
        assert_eq!(found.errors.len(), 2);
    }

    #[test]
    fn a_key_that_is_there_twice_is_an_error() {
        assert_eq!(lines("a = 1\na = 2\nb = \n"), [2, 3]);
        assert_eq!(lines("a = 1\na = 2\n"), [2]);
    }

    proptest! {
        #[test]
        fn what_is_left_keeps_its_place(text in any::<String>()) {
            let found = recover(&text);
            prop_assert_eq!(found.text.len(), text.len());
            prop_assert_eq!(found.errors.is_empty(), toml::de::DeTable::parse(&text).is_ok());
            prop_assert!(found.errors.iter().all(|(span, _)| span.end <= text.len() + 1));
        }
    }
}
