//! Takes text character by character and decides, island by island, what becomes of it.
//!
//! Whole bodies and streams both go through here, so a stream masks exactly what a whole text
//! would. What is undecided is at most one island, or a window of a long one. A value that reaches
//! over its window's end is masked once and the rest of its token dropped; so is the body of a
//! private key, up to its end marker.

use crate::base::hit::Action;
use crate::guard::context::REACH;
use crate::guard::islands::{Cutter, Growth, OVERLAP, WINDOW, is_member};
use crate::guard::search::{BlockedBy, Match, Piece, Search};
use crate::guard::turned::Gates;
use std::ops::Range;

/// The body of a private key is dropped up to its end marker, or so many bytes.
pub const BLOCK_BYTES_MAX: usize = 16 * 1024;
/// How much of the latest text is kept at least: a window of an island, and what words before a
/// value need.
const SEEN_BYTES_MIN: usize = 2 * WINDOW;

/// What was found, or how far the last mask goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts of one place")]
pub struct Found {
    /// Where, counted from the beginning of the text.
    pub span: Range<usize>,
    /// Which rule.
    pub rule: u16,
    /// What to do about it: flag or mask.
    pub action: Action,
    /// A bare word of a JSON text: what takes its place needs quotes.
    pub is_bare: bool,
    /// The mask for it has been written already.
    pub is_rest: bool,
    /// The value may go on behind what was seen of it.
    pub is_cut: bool,
    /// It stands in the name of an object's member.
    pub is_key: bool,
}

impl Found {
    /// A value in plain text.
    pub const fn new(span: Range<usize>, rule: u16, action: Action) -> Self {
        let (is_bare, is_rest, is_cut, is_key) = (false, false, false, false);
        Self { span, rule, action, is_bare, is_rest, is_cut, is_key }
    }
}

/// The state between two characters of one text.
#[derive(Debug)]
pub struct Run {
    state: State,
    cutter: Cutter,
    /// The undecided text, with `context` bytes of decided text before it.
    held: String,
    context: usize,
    /// The latest text up to here, for the words that must stand before a value.
    seen: String,
    /// How many bytes of the text were taken.
    taken: usize,
    /// Up to where everything is decided.
    decided: usize,
    found: Vec<Found>,
    bare: bool,
    /// What was said that makes turned text worth a look.
    gates: Gates,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Between islands; nothing is held.
    Between,
    /// Within one.
    Within,
    /// In a gap over which the island may go on; so many bytes of it are held, too.
    Gap(usize),
    /// The value of that rule goes on over a window's end; its characters are dropped or passed.
    Token { rule: u16, is_masked: bool },
    /// Within a block that is dropped.
    Block { rule: u16, bytes: usize, marker: Marker },
}

/// How much of the end marker `-----END …-----` was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    /// So many characters of its beginning.
    Begun(usize),
    /// Its label, and then so many dashes.
    Dashes(usize),
}

const MARKER: &[u8] = b"-----END";

impl Default for Run {
    fn default() -> Self {
        Self::starting_at(0)
    }
}

impl Run {
    /// Begins at an offset of the text where an island may begin.
    pub const fn starting_at(at: usize) -> Self {
        Self {
            state: State::Between,
            cutter: Cutter::NEW,
            held: String::new(),
            context: 0,
            seen: String::new(),
            taken: at,
            decided: at,
            found: Vec::new(),
            bare: false,
            gates: Gates::CLOSED,
        }
    }

    /// Goes on where the other one is, without what that one found.
    pub fn follow(&mut self, other: &Self) {
        (self.state, self.cutter, self.context) = (other.state, other.cutter, other.context);
        (self.taken, self.decided) = (other.taken, other.decided);
        (self.bare, self.gates) = (other.bare, other.gates);
        self.held.clear();
        self.held.push_str(&other.held);
        self.seen.clear();
        self.seen.push_str(&other.seen);
        self.found.clear();
    }

    /// What was said that makes turned text worth a look.
    pub const fn gates(&self) -> Gates {
        self.gates
    }

    /// Opens these, too.
    pub fn open(&mut self, gates: Gates) {
        self.gates.open(gates);
    }

    /// Takes the next character. `bare` says that it is part of a JSON text outside of strings.
    pub fn take(&mut self, next: char, bare: bool, search: &Search<'_>) -> Result<(), BlockedBy> {
        let is_inner = self.state == State::Within && next.is_ascii_alphanumeric();
        if is_inner && self.cutter.is_open(next) && bare == self.bare && !self.is_full() {
            self.held.push(next);
            self.remember(next);
            self.taken += 1;
            return Ok(());
        }
        if bare != self.bare {
            self.finish(search)?;
            self.bare = bare;
        }
        if let State::Gap(_) = self.state {
            if self.cutter.joins(self.before_gap(), next) {
                return self.extend(next, search);
            }
            if self.cutter.goes_on(next) {
                self.hold_gap(next);
                return Ok(());
            }
            self.complete(search)?;
        }
        match self.state {
            State::Between | State::Gap(_) => {
                if is_member(next) {
                    self.context = 0;
                    self.cutter = Cutter::NEW;
                    return self.extend(next, search);
                }
                self.pass(next);
            }
            State::Within if is_member(next) => return self.extend(next, search),
            State::Within if !bare && self.cutter.may_join(&self.held, next) => {
                self.hold_gap(next);
            }
            State::Within => {
                self.complete(search)?;
                self.pass(next);
            }
            State::Token { rule, is_masked } => {
                if is_token(next) || (bare && is_member(next)) {
                    self.drop_or_pass(next, rule, is_masked);
                } else {
                    self.state = State::Between;
                    return self.take(next, bare, search);
                }
            }
            State::Block { rule, bytes, marker } => {
                if !is_block(next) || bytes >= BLOCK_BYTES_MAX {
                    self.state = State::Between;
                    return self.take(next, bare, search);
                }
                self.drop_or_pass(next, rule, true);
                self.state = match marker.after(next) {
                    Some(marker) => State::Block { rule, bytes: bytes + 1, marker },
                    None => State::Between,
                };
            }
        }
        Ok(())
    }

    /// The text, or this part of it, has ended.
    pub fn finish(&mut self, search: &Search<'_>) -> Result<(), BlockedBy> {
        if matches!(self.state, State::Within | State::Gap(_)) {
            self.complete(search)?;
        }
        self.decided = self.taken;
        self.state = State::Between;
        Ok(())
    }

    /// Whether nothing is held and no mask goes on: text may be skipped here.
    pub fn is_at_rest(&self) -> bool {
        self.state == State::Between
    }

    /// Up to where everything is decided, counted from the beginning of the text.
    pub const fn decided(&self) -> usize {
        self.decided
    }

    /// How many bytes of the text were taken, or skipped.
    pub const fn taken(&self) -> usize {
        self.taken
    }

    /// Goes on at `at`: what lies before it needs no look. Only at rest. `before` is the text that
    /// ends there.
    pub fn skip_to(&mut self, at: usize, before: &str) {
        self.seen.clear();
        let from = before.ceil_char_boundary(before.len().saturating_sub(REACH));
        self.seen.push_str(before.get(from..).unwrap_or_default());
        self.taken = at;
        self.decided = at;
    }

    /// Hands over what was found since the last time, in order.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Found> {
        self.found.drain(..)
    }

    /// What is held, without the gap at its end.
    fn before_gap(&self) -> &str {
        let gap = if let State::Gap(bytes) = self.state { bytes } else { 0 };
        self.held.get(..self.held.len() - gap).unwrap_or_default()
    }

    /// Whether the next character fills the window.
    const fn is_full(&self) -> bool {
        self.held.len() + 1 >= self.context + WINDOW
    }

    fn hold_gap(&mut self, next: char) {
        let gap = if let State::Gap(bytes) = self.state { bytes } else { 0 };
        self.held.push(next);
        self.remember(next);
        self.taken += next.len_utf8();
        self.state = State::Gap(gap + next.len_utf8());
    }

    fn remember(&mut self, next: char) {
        if self.seen.len() >= 2 * SEEN_BYTES_MIN {
            let cut = self.seen.floor_char_boundary(self.seen.len() - SEEN_BYTES_MIN);
            self.seen.drain(..cut);
        }
        self.seen.push(next);
    }

    fn pass(&mut self, next: char) {
        self.remember(next);
        self.taken += next.len_utf8();
        self.decided = self.taken;
    }

    fn drop_or_pass(&mut self, next: char, rule: u16, is_masked: bool) {
        let from = self.taken;
        self.pass(next);
        if !is_masked {
            return;
        }
        match self.found.last_mut() {
            Some(last) if last.span.end == from && last.rule == rule => last.span.end = self.taken,
            _ => self.found.push(Found {
                span: from..self.taken,
                rule,
                action: Action::Mask,
                is_bare: self.bare,
                is_rest: true,
                is_cut: false,
                is_key: false,
            }),
        }
    }

    fn extend(&mut self, next: char, search: &Search<'_>) -> Result<(), BlockedBy> {
        self.held.push(next);
        self.remember(next);
        self.taken += next.len_utf8();
        self.state = State::Within;
        if !self.bare && self.cutter.grown(&self.held) == Growth::HeaderDone {
            return self.complete(search);
        }
        if self.held.len() >= self.context + WINDOW {
            return self.look_at_window(search);
        }
        Ok(())
    }

    /// The island ends before the gap that is held, or here.
    fn complete(&mut self, search: &Search<'_>) -> Result<(), BlockedBy> {
        let base = self.taken - self.held.len();
        let length = self.before_gap().len();
        let text = self.held.get(..length).unwrap_or_default();
        let seen = seen(&self.seen, self.held.len(), length);
        let piece = Piece { text, seen, from: self.context, base, open: false };
        self.gates.look(text);
        let mut matches = search.find(piece, self.gates).map_err(|block| block.moved(base))?;
        if self.bare {
            widen(&mut matches, self.context..length);
        }
        self.state = State::Between;
        if let Some(last) = matches.last()
            && last.action == Action::Mask
            && last.span.end == length
            && opens_block(search, last.rule)
        {
            self.state = State::Block { rule: last.rule, bytes: 0, marker: Marker::Begun(0) };
        }
        self.note(&matches, base);
        self.decided = self.taken;
        self.held.clear();
        self.context = 0;
        Ok(())
    }

    /// The island is long: decides all but the last part of what is held.
    fn look_at_window(&mut self, search: &Search<'_>) -> Result<(), BlockedBy> {
        let base = self.taken - self.held.len();
        let length = self.held.len();
        let seen = seen(&self.seen, length, length);
        let piece = Piece { text: &self.held, seen, from: self.context, base, open: true };
        self.gates.look(&self.held);
        let mut matches = search.find(piece, self.gates).map_err(|block| block.moved(base))?;
        if self.bare {
            widen(&mut matches, self.context..length);
        }
        // What begins behind the cut waits for the next window, with all that leads up to it.
        let usual = boundary_before(&self.held, length - OVERLAP);
        let later = matches.iter().filter(|found| found.span.start >= usual);
        let lead = later.map(|found| found.lead).filter(|lead| *lead > self.context).min();
        let usual = lead.map_or(usual, |lead| lead.min(usual));
        matches.retain(|found| found.span.start < usual);
        let end = matches.last().map_or(0, |last| last.span.end);
        self.note(&matches, base);
        if let Some(last) = matches.last()
            && end == length
        {
            self.state = State::Token { rule: last.rule, is_masked: last.action == Action::Mask };
            if let Some(found) = self.found.last_mut() {
                found.is_cut = true;
            }
            self.decided = self.taken;
            self.held.clear();
            self.context = 0;
            return Ok(());
        }
        let cut = usual.max(end);
        // One character stays as what stands before; beside a mask nothing does.
        let keep = if end >= usual { cut } else { boundary_before(&self.held, cut - 1) };
        self.context = cut - keep;
        self.held.drain(..keep);
        self.decided = base + cut;
        Ok(())
    }

    fn note(&mut self, matches: &[Match], base: usize) {
        self.found.extend(matches.iter().map(|found| Found {
            span: base + found.span.start..base + found.span.end,
            rule: found.rule,
            action: found.action,
            is_bare: self.bare,
            is_rest: false,
            is_cut: false,
            is_key: false,
        }));
    }
}

impl Marker {
    /// What is seen after one more character; `None` when the marker is complete.
    fn after(self, next: char) -> Option<Self> {
        Some(match self {
            Self::Begun(seen) => {
                let wanted = MARKER.get(seen).copied().map(char::from);
                match (wanted == Some(next), next) {
                    (true, _) if seen + 1 == MARKER.len() => Self::Dashes(0),
                    (true, _) => Self::Begun(seen + 1),
                    // A sixth dash and more: still five.
                    (false, '-') => Self::Begun(seen.min(5)),
                    (false, _) => Self::Begun(0),
                }
            }
            Self::Dashes(4) if next == '-' => return None,
            Self::Dashes(seen) if next == '-' => Self::Dashes(seen + 1),
            Self::Dashes(_) if next == '\n' => Self::Begun(0),
            Self::Dashes(_) => Self::Dashes(0),
        })
    }
}

impl BlockedBy {
    const fn moved(self, base: usize) -> Self {
        Self { rule: self.rule, at: base + self.at }
    }
}

/// Half a number cannot be a string: a mask within a bare word of JSON takes all of it.
fn widen(matches: &mut Vec<Match>, whole: Range<usize>) {
    if let Some(first) = matches.iter().find(|found| found.action == Action::Mask) {
        let only = Match { lead: whole.start, span: whole, rule: first.rule, action: first.action };
        matches.clear();
        matches.push(only);
    }
}

/// The first `length` bytes of what is held, with what stands before that.
fn seen(latest: &str, held: usize, length: usize) -> &str {
    let from = latest.len().saturating_sub(held);
    let reach = latest.ceil_char_boundary(from.saturating_sub(REACH));
    latest.get(reach..from + length).unwrap_or_default()
}

fn opens_block(search: &Search<'_>, rule: u16) -> bool {
    let entity = search.rules.get(rule).and_then(|rule| rule.entity());
    entity.is_some_and(|entity| entity.pack.is_block)
}

fn boundary_before(text: &str, at: usize) -> usize {
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// What keys and tokens without an upper length are made of.
const fn is_token(next: char) -> bool {
    next.is_ascii_alphanumeric() || matches!(next, '_' | '-' | '.' | '~' | '+' | '/' | '=' | '%')
}

/// What the body of a private key can hold, written on lines or as `\n`.
const fn is_block(next: char) -> bool {
    next.is_ascii() && !matches!(next, '"' | '`' | '{' | '}' | '\0')
}

#[cfg(test)]
mod tests {
    use super::Marker;

    fn ends_at(text: &str) -> Option<usize> {
        let mut marker = Marker::Begun(0);
        for (at, next) in text.char_indices() {
            match marker.after(next) {
                Some(next) => marker = next,
                None => return Some(at + 1),
            }
        }
        None
    }

    #[test]
    fn the_end_marker_is_seen_wherever_it_stands() {
        let marker = "-----END RSA PRIVATE KEY-----";
        for before in ["", "MIIE\n", "--", "a-----b-----E", "-----END X\n"] {
            let text = format!("{before}{marker} tail");
            assert_eq!(ends_at(&text), Some(before.len() + marker.len()), "{before}");
        }
        assert_eq!(ends_at("-----END without"), None);
    }
}
