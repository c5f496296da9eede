//! Reads what is spelt with characters that nobody sees: tags and variation selectors.
//!
//! A model may read them where a person sees nothing at all. What they say is looked at as a text
//! of its own, in windows; a mask takes all of the row that it stands in.

use crate::base::hit::Action;
use crate::guard::islands::{OVERLAP, WINDOW};
use crate::guard::run::Found;
use crate::guard::search::{BlockedBy, Search};

/// Fewer letters hold nothing that any rule looks for; flags and emoji have a few.
const HIDDEN_MIN: usize = 6;

/// Reads one row after the other.
#[derive(Debug, Default)]
pub struct Hidden {
    /// What the row says, from its beginning or its latest window.
    said: String,
    /// Where that begins in the text.
    from: Option<usize>,
    /// The rule that masks the rest of the row.
    masked: Option<u16>,
    found: Vec<Found>,
}

/// What a character spells that is not seen: ASCII in tags (U+E0000), bytes in variation selectors.
pub fn spelt(letter: char) -> Option<char> {
    let code = u32::from(letter);
    let byte = match code {
        0xe_0001..=0xe_007f => code - 0xe_0000,
        0xfe00..=0xfe0f => code - 0xfe00,
        0xe_0100..=0xe_01ef => code - 0xe_0100 + 16,
        _ => return None,
    };
    Some(u8::try_from(byte).map_or(' ', char::from))
}

impl Hidden {
    /// Whether a row has begun.
    pub const fn is_on(&self) -> bool {
        self.from.is_some()
    }

    /// Up to where everything is decided, within a row.
    pub const fn decided(&self) -> Option<usize> {
        self.from
    }

    /// Takes the character at this offset.
    pub fn take(&mut self, next: char, at: usize, search: &Search<'_>) -> Result<(), BlockedBy> {
        let Some(letter) = spelt(next) else { return self.finish(at, search) };
        if let Some(rule) = self.masked {
            self.mask(rule, at..at + next.len_utf8(), true);
            self.from = Some(at + next.len_utf8());
            return Ok(());
        }
        self.from.get_or_insert(at);
        self.said.push(letter);
        if self.said.len() >= WINDOW {
            let end = at + next.len_utf8();
            self.look(end, search)?;
            self.slide(end, next.len_utf8());
        }
        Ok(())
    }

    /// The row ends here.
    pub fn finish(&mut self, at: usize, search: &Search<'_>) -> Result<(), BlockedBy> {
        if self.is_on() && self.said.len() >= HIDDEN_MIN {
            self.look(at, search)?;
        }
        self.said.clear();
        (self.from, self.masked) = (None, None);
        Ok(())
    }

    /// Hands over what was found.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Found> {
        self.found.drain(..)
    }

    fn look(&mut self, end: usize, search: &Search<'_>) -> Result<(), BlockedBy> {
        let Some(from) = self.from else { return Ok(()) };
        let Some((rule, action)) = search.strictest(&self.said) else { return Ok(()) };
        match action {
            Action::Block => return Err(BlockedBy { rule, at: from }),
            Action::Mask => {
                self.masked = Some(rule);
                self.mask(rule, from..end, false);
            }
            Action::Flag => self.push(rule, action, from..end, false),
            Action::Allow => {}
        }
        Ok(())
    }

    /// Keeps the last part of a window, or nothing of a masked one.
    fn slide(&mut self, end: usize, width: usize) {
        let kept = if self.masked.is_some() { 0 } else { OVERLAP };
        let cut = self.said.char_indices().rev().nth(kept).map_or(0, |(at, _)| at);
        let cut = if kept == 0 { self.said.len() } else { cut };
        self.said.drain(..cut);
        // Characters of one row are of one width, but for a few: rather more is held.
        let held = self.said.chars().count() * width.max(3);
        let from = end.saturating_sub(held).max(self.from.unwrap_or(0));
        self.from = Some(if kept == 0 { end } else { from });
    }

    fn mask(&mut self, rule: u16, span: std::ops::Range<usize>, is_rest: bool) {
        self.push(rule, Action::Mask, span, is_rest);
    }

    fn push(&mut self, rule: u16, action: Action, span: std::ops::Range<usize>, is_rest: bool) {
        self.found.push(Found { is_rest, ..Found::new(span, rule, action) });
    }
}
