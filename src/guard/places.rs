//! The places of a text that are worth a close look: all others cannot hold anything.

use crate::guard::classes::next_mark;
use crate::guard::context::WITHIN_MAX;
use crate::guard::encoded::next_token;
use crate::guard::hyperscan::{Candidate, Scan};
use crate::guard::normal::next_odd;
use crate::guard::rules::is_word;

/// Finds them, in order, as one goes through a text.
#[derive(Debug)]
pub struct Places<'a> {
    anchors: &'a [Candidate],
    scan: Scan,
    next: usize,
    mark: Known,
    odd: Known,
    token: Known,
}

/// What was found of one kind, so that no part of a text is looked through twice.
#[derive(Clone, Copy, Debug)]
enum Known {
    /// The next one.
    At(usize),
    /// There is none up to there.
    None(usize),
}

impl Known {
    /// The next one at or after `from`, in a text that ends at `end`.
    fn after(
        &mut self,
        from: usize,
        end: usize,
        look: impl FnOnce(usize) -> Option<usize>,
    ) -> Option<usize> {
        match *self {
            Self::At(place) if (from..end).contains(&place) => Some(place),
            Self::None(until) if until >= end => None,
            Self::At(_) | Self::None(_) => {
                let found = look(from);
                *self = found.map_or(Self::None(end), Self::At);
                found
            }
        }
    }
}

impl<'a> Places<'a> {
    /// With the anchors that a scan found, in order, or without where it gave up.
    pub const fn new(anchors: &'a [Candidate], scan: Scan) -> Self {
        let none = Known::None(0);
        Self { anchors, scan, next: 0, mark: none, odd: none, token: none }
    }

    /// The same for texts that are as they are read, which somebody saw already.
    #[must_use]
    pub const fn all_even(mut self) -> Self {
        self.odd = Known::None(usize::MAX);
        self
    }

    /// The next byte of `text` at or after `from` that something could be at; `is_wary` says that
    /// it could be anywhere.
    pub fn next(&mut self, text: &str, from: usize, is_wary: bool) -> Option<usize> {
        let end = text.len();
        if from >= end {
            return None;
        }
        if is_wary || self.scan == Scan::OverDense {
            return Some(from);
        }
        let all = [
            self.mark.after(from, end, |from| next_mark(text.as_bytes(), from)),
            self.odd.after(from, end, |from| next_odd(text, from)),
            self.token.after(from, end, |from| next_token(text.as_bytes(), from)),
            self.anchor(from).filter(|place| *place < end),
        ];
        all.into_iter().flatten().min()
    }

    /// The last byte of the first anchor that ends behind `from`.
    fn anchor(&mut self, from: usize) -> Option<usize> {
        loop {
            let candidate = self.anchors.get(self.next)?;
            let end = usize::try_from(candidate.end).ok()?;
            if end > from {
                return end.checked_sub(1);
            }
            // What stands behind a word may be a value without a digit.
            if is_word(candidate.rule) && end + WITHIN_MAX > from {
                return Some(from);
            }
            self.next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Places;
    use crate::guard::hyperscan::{Candidate, Scan};

    #[test]
    fn places_come_in_order_whatever_their_kind() {
        let text = "plain words, then AKIA and \u{200b}1 abcdefghijklmnopqrst x@y";
        let anchors = [Candidate { end: 22, rule: 0 }];
        let mut places = Places::new(&anchors, Scan::Whole);
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(place) = places.next(text, at, false) {
            found.push(text.get(place..).unwrap().chars().next().unwrap());
            at = place + found.last().unwrap().len_utf8();
            if found.last() == Some(&'a') {
                at += 19;
            }
        }
        assert_eq!(found, ['A', '\u{200b}', '1', 'a', '@']);
        assert_eq!(Places::new(&[], Scan::OverDense).next(text, 3, false), Some(3));
    }
}
