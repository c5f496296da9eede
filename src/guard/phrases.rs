//! Finds phrases: in a whole text from its scan's candidates, in a stream by looking back.
//!
//! A phrase is reported once for each segment or stream. It is confirmed on the text that ends with
//! it, within its segment, so that whole texts and streams say the same.

use crate::base::hit::Action;
use crate::base::numbers::to_usize;
use crate::base::text::Text;
use crate::guard::hyperscan::{Candidate, Scan, Scratch};
use crate::guard::profile::View;
use crate::guard::rules::{Kind, PHRASE_BYTES_MAX, Rule, Rules};
use std::ops::Range;

/// A stream is scanned when so many bytes are new, unless a phrase would block it.
const BATCH: usize = 256;

/// A phrase that was found in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Phrase {
    /// The index of its segment.
    pub segment: usize,
    /// The rule.
    pub rule: u16,
}

/// All phrases in a text, in the order of its segments.
pub fn in_text(
    rules: &Rules,
    text: &Text,
    candidates: &[Candidate],
    scan: Scan,
    view: View,
) -> Vec<Phrase> {
    let mut found: Vec<Phrase> = Vec::new();
    match scan {
        Scan::Whole => {
            for candidate in candidates {
                let end = to_usize(candidate.end);
                let last = end.saturating_sub(1)..end;
                let Some((index, segment)) = text.segment_of(&last) else { continue };
                let phrase = Phrase { segment: index, rule: candidate.rule };
                if !found.contains(&phrase)
                    && ends_here(rules, phrase.rule, text.joined(), segment.at.start..end)
                {
                    found.push(phrase);
                }
            }
        }
        Scan::OverDense => {
            for (index, segment) in text.segments().iter().enumerate() {
                let said = text.joined().get(segment.at.clone()).unwrap_or_default();
                let hits = rules.phrases().iter().filter(|rule| is_said(rules, **rule, said));
                found.extend(hits.map(|rule| Phrase { segment: index, rule: *rule }));
            }
        }
    }
    found.retain(|phrase| {
        let segment = text.segments().get(phrase.segment);
        let view = segment.map_or(view, |segment| view.on(segment));
        acts(rules, phrase.rule, view) != Action::Allow
    });
    found.sort_unstable();
    found
}

/// Where the first phrase of that rule stands, for tools that show it.
pub fn place_of(rules: &Rules, rule: u16, said: &str) -> Option<Range<usize>> {
    let Some(Kind::Phrase(phrases)) = rules.get(rule).map(Rule::kind) else { return None };
    let found = phrases.iter().filter_map(|phrase| phrase.find(said));
    found.map(|found| found.range()).min_by_key(|found| found.start)
}

/// Looks for phrases in a stream.
#[derive(Debug, Default)]
pub struct Watch {
    /// The latest text, as far as a phrase may reach back.
    tail: String,
    /// How much of it, at its end, was not scanned yet.
    fresh: usize,
    seen: Vec<u16>,
}

impl Watch {
    /// Takes more text and adds the rules that are new to `found`.
    pub fn push(
        &mut self,
        text: &str,
        (rules, view): (&Rules, View),
        scratch: &Scratch,
        found: &mut Vec<u16>,
    ) {
        if rules.phrases().is_empty() {
            return;
        }
        self.tail.push_str(text);
        self.fresh += text.len();
        let mut all = rules.phrases().iter();
        let eager = all.any(|rule| acts(rules, *rule, view) == Action::Block);
        if eager || self.fresh >= BATCH {
            self.scan((rules, view), scratch, found);
        }
    }

    /// Scans what was not scanned yet.
    pub fn scan(&mut self, (rules, view): (&Rules, View), scratch: &Scratch, found: &mut Vec<u16>) {
        if self.fresh == 0 {
            return;
        }
        let old = self.tail.len() - self.fresh;
        let mut candidates = Vec::new();
        let scan = rules.database().scan(&self.tail, scratch, &mut candidates);
        let mut new: Vec<u16> = Vec::new();
        match scan {
            Scan::Whole => {
                for Candidate { end, rule } in candidates {
                    let end = to_usize(end);
                    let known = end <= old || new.contains(&rule) || self.seen.contains(&rule);
                    new.extend(
                        (!known && ends_here(rules, rule, &self.tail, 0..end)).then_some(rule),
                    );
                }
            }
            Scan::OverDense => {
                let all = rules.phrases().iter().copied();
                let unseen = all.filter(|rule| !self.seen.contains(rule));
                new.extend(unseen.filter(|rule| is_said(rules, *rule, &self.tail)));
            }
        }
        new.retain(|rule| acts(rules, *rule, view) != Action::Allow);
        self.seen.extend(&new);
        found.extend(new);
        let cut = self.tail.len().saturating_sub(PHRASE_BYTES_MAX);
        let cut = (cut..=self.tail.len()).find(|at| self.tail.is_char_boundary(*at)).unwrap_or(0);
        self.tail.drain(..cut);
        self.fresh = 0;
    }
}

fn acts(rules: &Rules, rule: u16, view: View) -> Action {
    rules.get(rule).map_or(Action::Allow, |rule| rule.action(view))
}

/// Whether the text that ends with `within` and is as long as a phrase can be says it.
fn ends_here(rules: &Rules, rule: u16, text: &str, within: Range<usize>) -> bool {
    let from = within.start.max(within.end.saturating_sub(PHRASE_BYTES_MAX));
    let from = (from..within.end).find(|at| text.is_char_boundary(*at)).unwrap_or(within.end);
    is_said(rules, rule, text.get(from..within.end).unwrap_or_default())
}

fn is_said(rules: &Rules, rule: u16, text: &str) -> bool {
    match rules.get(rule).map(Rule::kind) {
        Some(Kind::Phrase(phrases)) => phrases.iter().any(|phrase| phrase.is_match(text)),
        Some(Kind::Entity(_) | Kind::Detector(_)) | None => false,
    }
}
