//! Finds what was cut into even groups, such as `4012/8888/8888/1881` or `A-K-I-A-…`, and joins it.
//!
//! All separators are the same and all groups have one length but for the last, which may be
//! shorter: numbers that only happen to stand side by side rarely do.

use crate::guard::islands::is_blank;
use std::ops::Range;

/// A longer group is no group.
pub const GROUP_MAX: usize = 8;
/// So many characters may stand between two groups.
pub const GAP_MAX: usize = 3;
/// Less than this, joined, is not looked at.
const JOINED_MIN: usize = 13;
/// More than this, joined, is not looked at.
pub const JOINED_MAX: usize = 40;
/// The same for bytes in hexadecimal, each on its own.
pub const BYTES_MAX: usize = 80;
/// More digits than a card can have are a list of numbers.
pub const DIGITS_MAX: usize = 19;

/// Groups, joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// The groups without what stood between them.
    pub text: String,
    /// Where each of its bytes stood.
    at: Vec<usize>,
    /// Where in it the groups begin.
    pub starts: Vec<usize>,
    /// They are parted as people part numbers: fours with one blank, dash or point between.
    pub is_usual: bool,
    /// They are digits alone.
    pub is_number: bool,
}

impl Joined {
    /// The span that a part of the joined text stood in.
    pub fn span(&self, part: &Range<usize>) -> Option<Range<usize>> {
        let last = part.end.checked_sub(1)?;
        Some(*self.at.get(part.start)?..*self.at.get(last)? + 1)
    }
}

/// All even groups in `text`, joined.
pub fn joined(text: &str) -> Vec<Joined> {
    let groups = groups(text);
    let gap = |index: usize| -> Option<&str> {
        let (left, right) = (groups.get(index)?, groups.get(index + 1)?);
        text.get(left.end..right.start).filter(|gap| gap.chars().count() <= GAP_MAX)
    };
    let mut all = Vec::new();
    let mut first = 0;
    while let Some(size) = groups.get(first).map(Range::len) {
        let own = gap(first);
        let mut last = first;
        while own.is_some()
            && gap(last) == own
            && groups.get(last).is_some_and(|group| group.len() == size)
            && groups.get(last + 1).is_some_and(|group| group.len() <= size)
        {
            last += 1;
        }
        if size <= GROUP_MAX && last >= first + 2 {
            all.extend(join(text, &groups, first..=last));
        }
        // A group can be the last of one row and the first of the next.
        first = last.max(first + 1);
    }
    all
}

fn groups(text: &str) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    for (at, byte) in text.bytes().enumerate().filter(|(_, byte)| byte.is_ascii_alphanumeric()) {
        match groups.last_mut() {
            Some(group) if group.end == at => group.end += 1,
            _ => groups.push(at..at + usize::from(byte.is_ascii())),
        }
    }
    groups
}

fn join(
    text: &str,
    groups: &[Range<usize>],
    row: std::ops::RangeInclusive<usize>,
) -> Option<Joined> {
    let own = groups.get(row.clone())?;
    let total: usize = own.iter().map(Range::len).sum();
    let is_bytes =
        own.iter().all(|group| text.as_bytes().get(group.clone()).is_some_and(is_hex_byte));
    if total < JOINED_MIN || total > if is_bytes { BYTES_MAX } else { JOINED_MAX } {
        return None;
    }
    let is_number = |group: &Range<usize>| {
        text.get(group.clone()).is_some_and(|said| said.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let numbers = own.iter().filter(|group| is_number(group)).count();
    let size = own.first().map_or(0, Range::len);
    if numbers == own.len()
        && !is_bytes
        && (total > DIGITS_MAX || !stands_alone(text, groups, &row, size))
    {
        return None;
    }
    let mut joined = Joined { is_number: numbers == own.len(), ..Joined::default() };
    for group in own {
        joined.starts.push(joined.text.len());
        joined.text.push_str(text.get(group.clone())?);
        joined.at.extend(group.clone());
    }
    let gap = row.start().checked_add(1).and_then(|next| groups.get(next)).zip(own.first());
    let gap = gap.and_then(|(next, first)| text.get(first.end..next.start));
    joined.is_usual = size == 4 && gap.is_some_and(is_usual_gap);
    joined.text.bytes().any(|byte| byte.is_ascii_digit()).then_some(joined)
}

/// Whether it is a byte that text is made of, in hexadecimal.
pub fn is_hex_byte(group: &[u8]) -> bool {
    matches!(group, [b'2'..=b'7', low] if low.is_ascii_hexdigit())
}

fn is_usual_gap(gap: &str) -> bool {
    matches!(gap, "-" | "." | "\u{2010}" | "\u{2011}" | "\u{2012}" | "\u{2013}" | "\u{2014}")
        || gap.chars().eq(gap.chars().filter(|one| is_blank(*one)).take(1))
}

/// Whether small numbers in a row are all the numbers around: a table has more of them.
fn stands_alone(
    text: &str,
    groups: &[Range<usize>],
    row: &std::ops::RangeInclusive<usize>,
    size: usize,
) -> bool {
    let is_number = |index: usize| {
        let said = groups.get(index).and_then(|group| text.get(group.clone()));
        said.is_some_and(|said| said.bytes().any(|byte| byte.is_ascii_digit()))
    };
    let before = row.start().checked_sub(1).is_some_and(is_number);
    size >= 4 || !(before || is_number(row.end() + 1))
}

#[cfg(test)]
mod tests {
    use super::joined;

    fn texts(text: &str) -> Vec<String> {
        joined(text).into_iter().map(|one| one.text).collect()
    }

    #[test]
    fn even_groups_are_joined_whatever_stands_between() {
        let card = "4012888888881881";
        for gap in ["/", "_", ", ", "\n", " - ", "★", "--", "+", "|"] {
            for size in [1, 2, 4] {
                let bytes = card.as_bytes().chunks(size);
                let groups: Vec<&str> = bytes.map(|part| str::from_utf8(part).unwrap()).collect();
                let said = format!("pay {} now", groups.join(gap));
                let found = joined(&said);
                assert_eq!(found.len(), 1, "{said}");
                assert_eq!(found[0].text, card);
                assert_eq!(found[0].span(&(0..16)), Some(4..said.len() - 4));
            }
        }
        assert_eq!(texts("AKIA IOSF ODNN 7EXA MPL"), ["AKIAIOSFODNN7EXAMPL"]);
        assert_eq!(texts("4012 4012-8888-8888-1881"), ["4012888888881881"]);
    }

    #[test]
    fn uneven_groups_lists_and_words_are_not() {
        let cases = [
            "2024-01-15 10:20:30",
            "555-123-4567 555-765",
            "THIS MUST STOP NOW",
            "1.2.3.4.5.6",
            "12 84 56 78 90 12 34 56 78 90 12",
            "1 2 3 4 5 6 7 8 9 10 11 12",
            "8d5e957f-2978-4f4c-8b1c-6f0b6f0b6f0b",
        ];
        for said in cases {
            assert_eq!(texts(said), [""; 0], "{said}");
        }
    }
}
