//! Reads one record of a CSV file, with the raw span of each field (RFC 4180).
//!
//! A field's text is looked at and masked where it stands; doubled quotes stay doubled.

use memchr::memchr_iter;
use std::ops::Range;

/// Whether a line leaves a quoted field open that was closed before it, or the other way round.
pub fn turns_quotes(line: &[u8]) -> bool {
    !memchr_iter(b'"', line).count().is_multiple_of(2)
}

/// The fields of one record, without the quotes around them.
pub fn fields(record: &[u8], delimiter: u8) -> Vec<Range<usize>> {
    let (mut all, mut start, mut quoted) = (Vec::new(), 0, false);
    for (at, byte) in record.iter().copied().enumerate() {
        quoted ^= byte == b'"';
        if byte == delimiter && !quoted {
            all.push(inner(record, start..at));
            start = at + 1;
        }
    }
    all.push(inner(record, start..record.len()));
    all
}

/// Which of comma, tab and semicolon parts the fields of a head.
pub fn delimiter(head: &[u8]) -> u8 {
    let count = |byte: u8| memchr_iter(byte, head).count();
    [b'\t', b';', b','].into_iter().max_by_key(|byte| count(*byte)).unwrap_or(b',')
}

fn inner(record: &[u8], span: Range<usize>) -> Range<usize> {
    let is_quoted = span.len() >= 2
        && record.get(span.start) == Some(&b'"')
        && record.get(span.end - 1) == Some(&b'"');
    if is_quoted { span.start + 1..span.end - 1 } else { span }
}

#[cfg(test)]
mod tests {
    use super::{delimiter, fields, turns_quotes};
    use proptest::prelude::{any, proptest};

    fn texts(record: &str) -> Vec<&str> {
        fields(record.as_bytes(), b',').into_iter().filter_map(|span| record.get(span)).collect()
    }

    #[test]
    fn quotes_hold_delimiters_and_line_ends() {
        assert_eq!(texts("a,\"b, \"\"c\"\"\nd\",,e"), ["a", "b, \"\"c\"\"\nd", "", "e"]);
        assert_eq!(texts(""), [""]);
        assert!(turns_quotes(b"a,\"b") && !turns_quotes(b"a,\"b\"\"\""));
    }

    #[test]
    fn the_commonest_mark_of_the_head_is_the_delimiter() {
        assert_eq!([&b"a\tb,c\td"[..], b"a;b", b"a,b", b"a"].map(delimiter), *b"\t;,,");
    }

    proptest! {
        #[test]
        fn no_record_breaks_it(record in any::<Vec<u8>>()) {
            for span in fields(&record, b',') {
                assert!(span.start <= span.end && span.end <= record.len());
            }
        }
    }
}
