//! Finds phrases: in a whole text from its scan's candidates, in a stream by looking back.
//!
//! A phrase is reported once for each segment or stream. It is confirmed on the text that ends with
//! it, within its segment, so that whole texts and streams say the same.

use crate::base::hit::Action;
use crate::base::numbers::to_usize;
use crate::base::text::{Segment, Text};
use crate::guard::arguments::Unit;
use crate::guard::detect::Finding;
use crate::guard::hyperscan::{Candidate, Scan, Scratch};
use crate::guard::nominator::AFTER_MAX;
use crate::guard::normal::{Normal, Normalizer, next_odd};
use crate::guard::profile::View;
use crate::guard::rules::{GATE, Kind, PHRASE_BYTES_MAX, Rule, Rules};
use crate::guard::turned::{WORD_MAX, reversed, rot13};
use crate::guard::unescape::GONE;
use std::ops::Range;

/// A stream is scanned when so many bytes are new, unless a phrase would block it.
const BATCH: usize = 1024;

/// A phrase that was found in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Phrase {
    /// The index of its segment.
    pub segment: usize,
    /// The rule.
    pub rule: u16,
}

impl Phrase {
    /// As a detector would say it.
    pub const fn found(self) -> Finding {
        Finding { rule: self.rule, segment: self.segment, span: None }
    }
}

/// What phrases are looked for with.
#[derive(Clone, Copy, Debug)]
pub struct Looker<'a> {
    /// The rules.
    pub rules: &'a Rules,
    /// The worker's working memory.
    pub scratch: &'a Scratch,
    /// Where the text is looked at.
    pub view: View,
}

/// All phrases in a text, in the order of its segments: as it stands, normal and turned.
pub fn in_text(
    looker: Looker<'_>,
    text: &Text,
    normal: Option<&Normal>,
    candidates: &[Candidate],
    scan: Scan,
) -> Vec<Phrase> {
    let mut found: Vec<Phrase> = Vec::new();
    if looker.rules.phrases().is_empty() {
        return found;
    }
    match scan {
        Scan::Whole => as_it_stands(looker, text, candidates, &mut found),
        Scan::OverDense => {
            for (index, segment) in text.segments().iter().enumerate() {
                let said = text.joined().get(segment.at.clone()).unwrap_or_default();
                let looker = looker.on(segment);
                looker.look(said, index, &mut found);
                looker.turned(said, index, &mut found);
            }
        }
    }
    if let Some(normal) = normal {
        as_it_is_read(looker, text, normal, &mut found);
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// Where the first phrase of that rule stands, for tools that show it.
pub fn place_of(rules: &Rules, rule: u16, said: &str) -> Option<Range<usize>> {
    let Some(Kind::Phrase(phrases)) = rules.get(rule).map(Rule::kind) else { return None };
    let found = phrases.iter().filter_map(|phrase| phrase.find(said));
    found.map(|found| found.range()).min_by_key(|found| found.start)
}

fn as_it_stands(
    looker: Looker<'_>,
    text: &Text,
    candidates: &[Candidate],
    found: &mut Vec<Phrase>,
) {
    let mut turned = None;
    for candidate in candidates {
        let end = to_usize(candidate.end);
        let last = end.saturating_sub(1)..end;
        let Some((index, segment)) = text.segment_of(&last) else { continue };
        if candidate.rule == GATE {
            if turned.replace(index) != Some(index) {
                let from = end.saturating_sub(WORD_MAX).max(segment.at.start);
                let from = text.joined().ceil_char_boundary(from);
                let rest = text.joined().get(from..segment.at.end).unwrap_or_default();
                looker.on(segment).turned(rest, index, found);
            }
            continue;
        }
        let phrase = Phrase { segment: index, rule: candidate.rule };
        let acts = looker.on(segment).acts(candidate.rule);
        let is_new = !found.contains(&phrase) && acts != Action::Allow;
        if is_new && is_said_at(looker.rules, phrase.rule, text.joined(), (segment.at.clone(), end))
        {
            found.push(phrase);
        }
    }
}

fn as_it_is_read(looker: Looker<'_>, text: &Text, normal: &Normal, found: &mut Vec<Phrase>) {
    let mut candidates = Vec::new();
    let scan = looker.rules.database().scan(normal.joined(), looker.scratch, &mut candidates);
    if scan == Scan::OverDense {
        for (index, segment) in text.segments().iter().enumerate() {
            let own = normal.segment(index).unwrap_or_default();
            looker.on(segment).look(normal.joined().get(own).unwrap_or_default(), index, found);
        }
        return;
    }
    for Candidate { end, rule } in candidates {
        let end = to_usize(end);
        let Some(index) = normal.segment_of(end.saturating_sub(1)) else { continue };
        let Some(segment) = text.segments().get(index) else { continue };
        let phrase = Phrase { segment: index, rule };
        let own = normal.segment(index).unwrap_or_default();
        if normal.differs(index)
            && !found.contains(&phrase)
            && looker.on(segment).acts(rule) != Action::Allow
            && is_said_at(looker.rules, rule, normal.joined(), (own.clone(), end))
        {
            found.push(phrase);
        }
    }
}

/// The phrases that a text of its own says, and what is done about them.
pub fn said_in(
    looker: Looker<'_>,
    text: &str,
    candidates: &[Candidate],
    scan: Scan,
) -> Vec<(u16, Action)> {
    let mut found = Vec::new();
    looker.confirm(text, 0, (candidates, scan), &mut found);
    found.into_iter().map(|phrase| (phrase.rule, looker.acts(phrase.rule))).collect()
}

impl Looker<'_> {
    /// The same for the text of one segment.
    fn on(self, segment: &Segment) -> Self {
        Self { view: self.view.on(segment), ..self }
    }

    fn acts(&self, rule: u16) -> Action {
        acts(self.rules, rule, self.view)
    }

    /// What a text says, with what is done about it.
    fn said(&self, text: &str) -> Vec<(u16, Action)> {
        let mut candidates = Vec::new();
        let scan = self.rules.database().scan(text, self.scratch, &mut candidates);
        said_in(*self, text, &candidates, scan)
    }

    /// Adds what a text says.
    fn look(&self, said: &str, segment: usize, found: &mut Vec<Phrase>) {
        let mut candidates = Vec::new();
        let scan = self.rules.database().scan(said, self.scratch, &mut candidates);
        self.confirm(said, segment, (&candidates, scan), found);
    }

    /// Adds those of a scan's candidates that a text says.
    fn confirm(
        &self,
        said: &str,
        segment: usize,
        (candidates, scan): (&[Candidate], Scan),
        found: &mut Vec<Phrase>,
    ) {
        let mut add = |rule: u16, is_said: &dyn Fn() -> bool| {
            let phrase = Phrase { segment, rule };
            if !found.contains(&phrase) && self.acts(rule) != Action::Allow && is_said() {
                found.push(phrase);
            }
        };
        match scan {
            Scan::Whole => candidates.iter().for_each(|one| {
                add(one.rule, &|| {
                    is_said_at(self.rules, one.rule, said, (0..said.len(), to_usize(one.end)))
                });
            }),
            Scan::OverDense => self.rules.phrases().iter().for_each(|rule| {
                add(*rule, &|| is_said(self.rules, *rule, said));
            }),
        }
    }

    /// Adds what a text says when it is turned.
    fn turned(&self, said: &str, segment: usize, found: &mut Vec<Phrase>) {
        self.look(&rot13(said), segment, found);
        self.look(&reversed(said), segment, found);
    }
}

/// Looks for phrases in a stream.
#[derive(Debug, Default)]
pub struct Watch {
    plain: Tail,
    /// The normal text, from where it first differed: most streams have none.
    meant: Option<Box<Meant>>,
    /// A gate was opened; what follows it is looked at turned, too.
    is_turned: bool,
    turned: Tail,
    seen: Vec<u16>,
}

/// The normal text of a stream.
#[derive(Debug, Default)]
struct Meant {
    tail: Tail,
    /// How much of its end may not be as it stands.
    odd: usize,
    normalizer: Normalizer,
    units: Vec<Unit>,
}

/// The latest text, as far as a phrase may reach back.
#[derive(Clone, Debug, Default)]
struct Tail {
    text: String,
    /// How much of it, at its end, was not scanned yet.
    fresh: usize,
}

impl Tail {
    fn push(&mut self, text: &str) {
        self.text.push_str(text);
        self.fresh += text.len();
    }

    /// Everything was scanned.
    fn settle(&mut self) {
        let cut = self.text.len().saturating_sub(PHRASE_BYTES_MAX + AFTER_MAX);
        let cut = self.text.floor_char_boundary(cut);
        self.text.drain(..cut);
        self.fresh = 0;
    }
}

impl Meant {
    fn push(&mut self, text: &str) {
        let mut rest = text;
        while !rest.is_empty() {
            if self.normalizer.is_idle() {
                let plain = next_odd(rest, 0).unwrap_or(rest.len());
                let (said, left) = rest.split_at(plain);
                self.tail.push(said);
                self.odd = self.odd.saturating_sub(said.len());
                rest = left;
            }
            let Some(letter) = rest.chars().next() else { return };
            let raw = letter.len_utf8();
            self.normalizer.take(Unit { raw, ..Unit::plain(letter) }, &mut self.units);
            self.take_units();
            rest = rest.get(raw..).unwrap_or_default();
        }
    }

    fn take_units(&mut self) {
        for unit in self.units.drain(..) {
            if unit.letter != GONE {
                self.tail.push(unit.letter.encode_utf8(&mut [0; 4]));
            }
        }
        if self.normalizer.is_changed() {
            self.normalizer.reset();
            self.odd = 2 * (PHRASE_BYTES_MAX + AFTER_MAX);
        }
    }
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
        if self.meant.is_none() && next_odd(text, 0).is_some() {
            let tail = self.plain.clone();
            self.meant = Some(Box::new(Meant { tail, ..Meant::default() }));
        }
        self.plain.push(text);
        if let Some(meant) = &mut self.meant {
            meant.push(text);
        }
        let mut all = rules.phrases().iter();
        let eager = all.any(|rule| acts(rules, *rule, view) == Action::Block);
        if eager || self.plain.fresh >= BATCH {
            self.scan((rules, view), scratch, found);
        }
    }

    /// The text has ended.
    pub fn finish(
        &mut self,
        (rules, view): (&Rules, View),
        scratch: &Scratch,
        found: &mut Vec<u16>,
    ) {
        if let Some(meant) = &mut self.meant {
            meant.normalizer.finish(&mut meant.units);
            meant.take_units();
        }
        self.scan((rules, view), scratch, found);
    }

    /// Whether the rule is a phrase that was told already; it is from now on.
    pub fn knows(&mut self, rule: u16, rules: &Rules) -> bool {
        let is_phrase = rules.get(rule).is_some_and(|rule| rule.entity().is_none());
        let is_known = self.seen.contains(&rule);
        if is_phrase && !is_known {
            self.seen.push(rule);
        }
        is_phrase && is_known
    }

    /// Scans what was not scanned yet.
    fn scan(&mut self, (rules, view): (&Rules, View), scratch: &Scratch, found: &mut Vec<u16>) {
        let looker = Looker { rules, scratch, view };
        let is_fresh = self.meant.as_ref().is_some_and(|meant| meant.tail.fresh > 0);
        if self.plain.fresh == 0 && !is_fresh {
            return;
        }
        let gate = self.scan_plain(looker, found);
        if let Some(meant) = self.meant.as_ref().filter(|meant| meant.odd > 0) {
            let said = looker.said(&meant.tail.text);
            self.add(&said, found);
        }
        if let Some(at) = gate.filter(|_| !self.is_turned) {
            self.is_turned = true;
            let from = self.plain.text.ceil_char_boundary(at.saturating_sub(WORD_MAX));
            self.turned.push(self.plain.text.get(from..).unwrap_or_default());
        } else if self.is_turned {
            let old = self.plain.text.len() - self.plain.fresh;
            self.turned.push(self.plain.text.get(old..).unwrap_or_default());
        }
        if self.is_turned {
            self.add(&looker.said(&rot13(&self.turned.text)), found);
            self.add(&looker.said(&reversed(&self.turned.text)), found);
        }
        self.plain.settle();
        if let Some(meant) = &mut self.meant {
            meant.tail.settle();
        }
        self.turned.settle();
    }

    /// Scans the text as it stands; gives the end of the first gate in it.
    fn scan_plain(&mut self, looker: Looker<'_>, found: &mut Vec<u16>) -> Option<usize> {
        let Looker { rules, scratch, .. } = looker;
        let old = self.plain.text.len() - self.plain.fresh;
        let mut candidates = Vec::new();
        if rules.database().scan(&self.plain.text, scratch, &mut candidates) == Scan::OverDense {
            let said = looker.said(&self.plain.text);
            self.add(&said, found);
            return Some(0);
        }
        let mut gate = None;
        for Candidate { end, rule } in candidates {
            let end = to_usize(end);
            // What a candidate needs behind it may have come only now.
            let is_old = end + if rule == GATE { 0 } else { AFTER_MAX } <= old;
            let text = &self.plain.text;
            if is_old {
                continue;
            }
            if rule == GATE {
                gate = gate.or(Some(end));
            } else if !self.seen.contains(&rule)
                && looker.acts(rule) != Action::Allow
                && is_said_at(rules, rule, text, (0..text.len(), end))
            {
                self.add(&[(rule, Action::Flag)], found);
            }
        }
        gate
    }

    fn add(&mut self, said: &[(u16, Action)], found: &mut Vec<u16>) {
        for (rule, _) in said {
            if !self.seen.contains(rule) {
                self.seen.push(*rule);
                found.push(*rule);
            }
        }
    }
}

fn acts(rules: &Rules, rule: u16, view: View) -> Action {
    rules.get(rule).map_or(Action::Allow, |rule| rule.action(view))
}

/// Where a text begins and ends, and a candidate in it does.
type Candidacy = (Range<usize>, usize);

/// Whether a text says it around where a candidate ends, as far as a phrase can reach.
fn is_said_at(rules: &Rules, rule: u16, text: &str, (own, end): Candidacy) -> bool {
    let from = text.ceil_char_boundary(own.start.max(end.saturating_sub(PHRASE_BYTES_MAX)));
    let until = text.floor_char_boundary(own.end.min(end.saturating_add(AFTER_MAX)));
    is_said(rules, rule, text.get(from..until).unwrap_or_default())
}

fn is_said(rules: &Rules, rule: u16, text: &str) -> bool {
    match rules.get(rule).map(Rule::kind) {
        Some(Kind::Phrase(phrases)) => phrases.iter().any(|phrase| phrase.is_match(text)),
        Some(Kind::Entity(_) | Kind::Detector(_)) | None => false,
    }
}
