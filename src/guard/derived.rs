//! Finds values in what a piece of text stands for: base64, hexadecimal, packed data, even groups,
//! turned letters.
//!
//! Whatever is found there masks all of what it was found in, since no part of a token can be
//! replaced. The depth is bounded, and with it the cost: what is read is shorter than what it was
//! read from, packed data excepted, which has a bound of its own.

use crate::base::hit::Action;
use crate::guard::encoded::{TOKEN_MIN, decoded, next_token};
use crate::guard::groups::joined;
use crate::guard::hyperscan::{Candidate, Scan};
use crate::guard::layers::sweep;
use crate::guard::phrases::{Looker, said_in};
use crate::guard::places::Places;
use crate::guard::rules::is_word;
use crate::guard::search::{Match, Piece, Search, Source};
use crate::guard::turned::{Gates, reversed, rot13};
use std::ops::Range;

/// How often something is read within something that was read.
const DEPTH_MAX: u8 = 2;
/// A row is read from its first few groups on: what stands before it may be as long as they are.
const ROW_STARTS: usize = 3;

impl Search<'_> {
    /// What is found in other readings of a piece.
    pub fn derive(&self, piece: Piece<'_>, gates: Gates) -> Vec<Match> {
        let mut all = Vec::new();
        if self.depth >= DEPTH_MAX || piece.text.len() < TOKEN_MIN.min(13) {
            return all;
        }
        for token in decoded(piece.text) {
            if let Some((rule, action)) = self.strictest(&token.text) {
                all.extend(found(piece, &token.token, rule, action));
            }
        }
        self.in_groups(piece, &mut all);
        let deeper = self.deeper();
        if gates.rot13 {
            let turned = rot13(piece.text);
            all.extend(deeper.matches(Piece { text: &turned, seen: &turned, ..piece }));
        }
        if gates.reversed {
            let turned = reversed(piece.text);
            let end = turned.len();
            let own = deeper.matches(Piece {
                text: &turned,
                seen: &turned,
                from: 0,
                base: 0,
                open: false,
            });
            all.extend(own.into_iter().filter_map(|one| {
                found(piece, &(end - one.span.end..end - one.span.start), one.rule, one.action)
            }));
        }
        all
    }

    /// The strictest thing that is found in a text of its own.
    pub fn strictest(&self, text: &str) -> Option<(u16, Action)> {
        let mut candidates = Vec::new();
        let scan = self.rules.database().scan(text, self.scratch, &mut candidates);
        let Self { rules, scratch, view, .. } = *self;
        let mut all = said_in(Looker { rules, scratch, view }, text, &candidates, scan);
        let source = match scan {
            Scan::Whole => Source::Known(&candidates),
            Scan::OverDense => Source::Scan,
        };
        let search = Search { source, depth: self.depth + 1, ..*self };
        match sweep(text, 0, &search, &mut Places::new(&candidates, scan)) {
            Ok(found) => all.extend(found.into_iter().map(|found| (found.rule, found.action))),
            Err(block) => return Some((block.rule, Action::Block)),
        }
        // Of equals the first one: `max_by_key` gives the last.
        all.into_iter().rev().max_by_key(|(_, action)| *action)
    }

    fn in_groups(&self, piece: Piece<'_>, all: &mut Vec<Match>) {
        if !piece.text.bytes().any(|byte| byte.is_ascii_digit()) {
            return;
        }
        let deeper = self.deeper();
        for row in joined(piece.text) {
            // Rules know numbers in groups that blanks, dashes and points part; keys they do not.
            let whole = Piece { text: &row.text, seen: &row.text, from: 0, base: 0, open: false };
            let is_due =
                if row.is_usual { self.is_anchored(&row.text) } else { deeper.may_hold(whole) };
            if !is_due {
                continue;
            }
            let starts = if row.is_number { 1 } else { ROW_STARTS };
            for start in row.starts.iter().take(starts) {
                let text = row.text.get(*start..).unwrap_or_default();
                let own = deeper.matches(Piece { text, seen: text, from: 0, base: 0, open: false });
                let spans = own.into_iter().filter_map(|one| {
                    let span = row.span(&(one.span.start + start..one.span.end + start))?;
                    found(piece, &span, one.rule, one.action)
                });
                let before = all.len();
                all.extend(spans);
                if all.len() > before {
                    break;
                }
            }
        }
    }

    /// Whether any rule, or another reading, is worth a look.
    fn may_hold(&self, piece: Piece<'_>) -> bool {
        !self.nominate(piece).is_empty() || next_token(piece.text.as_bytes(), 0).is_some()
    }

    fn is_anchored(&self, text: &str) -> bool {
        let mut found = self.scratch.candidates();
        let scan = self.rules.database().scan(text, self.scratch, &mut found);
        let is_anchor = |candidate: &Candidate| !is_word(candidate.rule);
        let is_some = scan == Scan::OverDense || found.iter().any(is_anchor);
        self.scratch.give_back(found);
        is_some
    }

    /// All matches, a block among them.
    fn matches(&self, piece: Piece<'_>) -> Vec<Match> {
        match self.find(piece, Gates::CLOSED) {
            Ok(all) => all,
            Err(block) => {
                let span = block.at..piece.text.len();
                vec![Match { lead: span.start, span, rule: block.rule, action: Action::Block }]
            }
        }
    }

    const fn deeper(&self) -> Self {
        Self { depth: self.depth + 1, source: Source::Scan, ..*self }
    }
}

/// A match over this span of the piece, as far as it is not decided already.
fn found(piece: Piece<'_>, span: &Range<usize>, rule: u16, action: Action) -> Option<Match> {
    let span = span.start.max(piece.from)..span.end;
    (!span.is_empty()).then_some(Match { lead: span.start, span, rule, action })
}
