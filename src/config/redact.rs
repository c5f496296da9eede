//! Takes what may be secret out of a source before anything shows it. Offsets stay as they are, so
//! that a message can still point at the place.

use crate::config::keys::{Key, TABLES};
use std::ops::Range;

/// The text with every one of the ranges blanked: three stars and blanks, line ends kept.
pub fn blank(text: &str, ranges: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for range in ranges {
        let end = text.ceil_char_boundary(range.end);
        let start = text.floor_char_boundary(range.start.min(end));
        let secret = bytes.get_mut(start..end).unwrap_or_default();
        for (offset, byte) in secret.iter_mut().enumerate() {
            *byte = match *byte {
                b'\n' | b'\r' => *byte,
                _ if offset < SHOWN => b'*',
                _ => b' ',
            };
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The range that a message should mark instead of a blanked one: its stars.
pub fn shown(range: &Range<usize>) -> Range<usize> {
    range.start..range.end.min(range.start + SHOWN)
}

/// What to blank of the parts of a text that are not TOML: there the tree cannot tell what is a
/// secret, so a line keeps its value only if it is plainly that of a key which never holds one.
pub fn doubtful(text: &str, unread: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let words = line.trim_end_matches(['\n', '\r']);
        let end = start + words.len();
        let is_unread = unread.iter().any(|range| range.start < end && start < range.end);
        let from = if is_unread { secret_from(words) } else { None };
        ranges.extend(from.map(|from| start + from..end));
        start += line.len();
    }
    ranges.retain(|range| !range.is_empty());
    ranges
}

/// How many characters stand for a secret, whatever its length.
const SHOWN: usize = 3;

/// From which byte on a line may hold a secret.
fn secret_from(line: &str) -> Option<usize> {
    let blanks = line.len() - line.trim_start().len();
    let Some((key, value)) = line.split_once('=') else {
        return (!is_header(line.trim()) && !is_path(line.trim())).then_some(blanks);
    };
    let is_bare = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
    let bare = key.bytes().skip(blanks).take_while(is_bare).count();
    let path = key.get(blanks..blanks + bare).unwrap_or_default();
    let name = path.rsplit('.').next().unwrap_or(path);
    let mut described = TABLES.iter().filter_map(|table| table.key(name)).peekable();
    let is_known = described.peek().is_some();
    if path.len() != key.trim().len() {
        return Some(if is_known { blanks + bare } else { blanks });
    }
    let is_plain = is_known
        && described.all(|key: &Key| !key.kind.is_sensitive())
        && !value.contains(['=', '@']);
    let gap = value.len() - value.trim_start().len();
    (!is_plain).then_some(key.len() + 1 + gap)
}

/// Whether the line is a table's header, or what is left of one.
fn is_header(line: &str) -> bool {
    let name = line.trim_matches(['[', ']']);
    line.starts_with('[') && TABLES.iter().any(|table| table.path == name && !name.is_empty())
}

/// Whether the line is the path of a key, as a `--set` without a value is.
fn is_path(line: &str) -> bool {
    let mut steps = line.split('.');
    let first = steps.next().unwrap_or_default();
    let is_known = TABLES.iter().any(|table| table.path == first && !first.is_empty());
    is_known && steps.all(|step| TABLES.iter().any(|table| table.key(step).is_some()))
}

#[cfg(test)]
mod tests {
    use super::{blank, doubtful};
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use std::ops::Range;

    fn one(range: Range<usize>) -> Vec<Range<usize>> {
        std::iter::once(range).collect()
    }

    #[test]
    fn a_blanked_secret_keeps_every_offset_and_no_letter() {
        assert_eq!(blank("key = \"geheim\" # x", &one(6..14)), "key = ***      # x");
        assert_eq!(blank("k = \"\"\"a\nb\"\"\"", &one(4..13)), "k = *** \n    ");
    }

    #[test]
    fn where_the_text_is_broken_only_plain_keys_keep_their_values() {
        let text = "[gateway\ndrain = 30s\nkey = sk-live\napi_key = sk-live\n  \"sk-live\n\
                    provider = [{ key = \"sk-live\nurl = \"https://u:sk-live@h\nx.key=sk-live\nkey [\"sk-live\", {a = 1\n";
        let shown = blank(text, &doubtful(text, &one(0..text.len())));
        assert!(!shown.contains("live"), "{shown}");
        assert!(shown.starts_with("[gateway\ndrain = 30s\n"), "{shown}");
    }

    proptest! {
        #[test]
        fn blanking_never_moves_a_line(
            text in any::<String>(), start in 0_usize..64, length in 0_usize..64,
        ) {
            let shown = blank(&text, &one(start.min(text.len())..(start + length).min(text.len())));
            prop_assert_eq!(shown.len(), text.len());
            prop_assert_eq!(shown.lines().count(), text.lines().count());
        }
    }
}
