//! Clears a whole body: one scan over all its text, then a close look where something may be.
//!
//! [`Cleared`] is the guard gate's proof; only this file can make it.

use crate::base::hit::{Action, Direction, Hit};
use crate::base::numbers::to_u64;
use crate::base::splice::Splices;
use crate::base::text::{Channel, Form, Segment, Text};
use crate::guard::arguments::{Lexer, RawMap};
use crate::guard::classes::next_mark;
use crate::guard::hyperscan::{Candidate, Scan, Scratch};
use crate::guard::islands::border_before;
use crate::guard::mask::Masks;
use crate::guard::pack::PackFault;
use crate::guard::phrases::in_text;
use crate::guard::rules::Rules;
use crate::guard::run::{Found, Run};
use crate::guard::search::{BlockedBy, Search, Source};
use std::sync::Arc;

/// Findings of one body beyond this are acted on, but not listed.
pub const HITS_MAX: usize = 1024;

/// Inspects text; holds the working memory. One for each worker.
#[derive(Debug)]
pub struct Matcher {
    rules: Arc<Rules>,
    scratch: Scratch,
    candidates: Vec<Candidate>,
}

/// A body was inspected and may go on, with these edits.
#[derive(Debug)]
pub struct Cleared {
    splices: Splices,
    hits: Vec<Hit>,
    coverage: Box<[(Channel, u64)]>,
}

/// A rule says no.
#[derive(Clone, Debug)]
pub struct Blocked {
    /// Which.
    pub rule: Arc<str>,
    /// What was found until then, the one that blocks last.
    pub hits: Vec<Hit>,
    /// How many bytes of each channel were inspected.
    pub coverage: Box<[(Channel, u64)]>,
}

impl Cleared {
    /// The masks.
    pub const fn splices(&self) -> &Splices {
        &self.splices
    }

    /// The masks, to be joined with other edits of the body.
    pub fn into_splices(self) -> Splices {
        self.splices
    }

    /// What was found, without the values.
    pub fn hits(&self) -> &[Hit] {
        &self.hits
    }

    /// How many bytes of each channel were inspected, decoded.
    pub const fn coverage(&self) -> &[(Channel, u64)] {
        &self.coverage
    }
}

impl Matcher {
    /// Makes the working memory for these rules.
    pub fn new(rules: Arc<Rules>) -> Result<Self, PackFault> {
        let databases = rules.databases();
        let scratch = Scratch::of(&[&databases.all, &databases.anchors, &databases.phrases])
            .ok_or(PackFault::Memory)?;
        Ok(Self { rules, scratch, candidates: Vec::new() })
    }

    /// The rules it works with.
    pub const fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// The working memory of scans.
    pub const fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Inspects the text of the body `raw`.
    pub fn clear(
        &mut self,
        raw: &[u8],
        text: &Text,
        direction: Direction,
    ) -> Result<Cleared, Blocked> {
        let mut cleared =
            Cleared { splices: Splices::default(), hits: Vec::new(), coverage: Box::default() };
        if !self.rules.is_enabled() {
            return Ok(cleared);
        }
        cleared.coverage = coverage(text);
        self.candidates.clear();
        let all = &self.rules.databases().all;
        let scan = all.scan(text.joined(), &self.scratch, &mut self.candidates);
        let source = match scan {
            Scan::Whole => Source::Known(&self.candidates),
            Scan::OverDense => Source::Scan,
        };
        let rules = &*self.rules;
        let search = Search { rules, scratch: &self.scratch, source, direction };
        let mut phrases =
            in_text(rules, text, &self.candidates, scan, direction).into_iter().peekable();
        let mut hits = Hits { rules, direction, list: Vec::new() };
        let mut anchors = Anchors { candidates: &self.candidates, scan, next: 0 };
        for (index, segment) in text.segments().iter().enumerate() {
            while let Some(phrase) = phrases.next_if(|phrase| phrase.segment == index) {
                hits.note(phrase.rule, segment);
                if rules.get(phrase.rule).map(|rule| rule.action(direction)) == Some(Action::Block)
                {
                    return Err(hits.blocked(phrase.rule, cleared.coverage));
                }
            }
            let found = match look(text, segment, &search, &mut anchors) {
                Ok(found) => found,
                Err(block) => {
                    hits.note(block.rule, segment);
                    return Err(hits.blocked(block.rule, cleared.coverage));
                }
            };
            let mut masks = Masks::new(segment, raw);
            for one in found {
                hits.note(one.rule, segment);
                if one.action == Action::Mask {
                    let entity = rules.get(one.rule).and_then(|rule| rule.entity());
                    let placeholder = entity.map_or("[MASKED]", |entity| &entity.pack.placeholder);
                    masks.write(&one.span, placeholder, one.is_bare, &mut cleared.splices);
                }
            }
        }
        cleared.hits = hits.list;
        Ok(cleared)
    }
}

/// The scan's candidates, as the segments go by.
struct Anchors<'a> {
    candidates: &'a [Candidate],
    scan: Scan,
    next: usize,
}

impl Anchors<'_> {
    /// The last byte of the first anchor that ends behind `at`; nothing but "everywhere" where the
    /// scan did not see all.
    fn after(&mut self, at: usize) -> Option<usize> {
        if self.scan == Scan::OverDense {
            return Some(at);
        }
        loop {
            let candidate = self.candidates.get(self.next)?;
            let end = usize::try_from(candidate.end).ok()?;
            if end > at {
                return end.checked_sub(1);
            }
            self.next += 1;
        }
    }
}

struct Hits<'a> {
    rules: &'a Rules,
    direction: Direction,
    list: Vec<Hit>,
}

impl Hits<'_> {
    fn note(&mut self, rule: u16, segment: &Segment) {
        let Some(rule) = self.rules.get(rule) else { return };
        if self.list.len() < HITS_MAX {
            self.list.push(Hit {
                rule: Arc::clone(rule.name()),
                action: rule.action(self.direction),
                channel: segment.channel,
                place: segment.place,
                direction: self.direction,
            });
        }
    }

    fn blocked(self, rule: u16, coverage: Box<[(Channel, u64)]>) -> Blocked {
        let name = self.rules.get(rule).map(|rule| Arc::clone(rule.name()));
        Blocked { rule: name.unwrap_or_default(), hits: self.list, coverage }
    }
}

fn coverage(text: &Text) -> Box<[(Channel, u64)]> {
    let bytes = |channel: Channel| {
        let own = text.segments().iter().filter(|segment| segment.channel == channel);
        to_u64(own.map(|segment| segment.at.len()).sum())
    };
    let all = Channel::ALL.into_iter().map(|channel| (channel, bytes(channel)));
    all.filter(|(_, bytes)| *bytes > 0).collect()
}

/// What is found in one segment, with spans from its beginning.
fn look(
    text: &Text,
    segment: &Segment,
    search: &Search<'_>,
    anchors: &mut Anchors<'_>,
) -> Result<Vec<Found>, BlockedBy> {
    let joined = text.joined().get(..segment.at.end).unwrap_or_default();
    let is_json = matches!(segment.source.form, Form::PlainJson | Form::EscapedJson);
    if is_json {
        return look_at_json(joined, segment, search, anchors);
    }
    let start = segment.at.start;
    let mut run = Run::starting_at(start);
    while let Some(place) = next_place(joined, run.taken(), anchors) {
        if run.is_at_rest() {
            run.skip_to(border_before(joined, run.taken()..place));
        }
        // Up to the end of what may be there, and on until nothing is undecided.
        let rest = joined.get(run.taken()..).unwrap_or_default();
        for next in rest.chars() {
            if run.is_at_rest() && run.taken() > place {
                break;
            }
            run.take(next, false, search)?;
        }
    }
    run.finish(search)?;
    let moved =
        |found: Found| Found { span: found.span.start - start..found.span.end - start, ..found };
    Ok(run.drain().map(moved).collect())
}

/// The next byte at or after `from` that something could be at.
fn next_place(joined: &str, from: usize, anchors: &mut Anchors<'_>) -> Option<usize> {
    let mark = next_mark(joined.as_bytes(), from);
    let anchor = anchors.after(from).filter(|place| *place < joined.len());
    match (mark, anchor) {
        (Some(mark), Some(anchor)) => Some(mark.min(anchor)),
        (mark, anchor) => mark.or(anchor),
    }
}

/// A JSON text is read from its beginning: what is a string cannot be told from the middle.
fn look_at_json(
    joined: &str,
    segment: &Segment,
    search: &Search<'_>,
    anchors: &mut Anchors<'_>,
) -> Result<Vec<Found>, BlockedBy> {
    let said = joined.get(segment.at.start..).unwrap_or_default();
    let is_escaped = said.contains('\\');
    if !is_escaped && next_place(joined, segment.at.start, anchors).is_none() {
        return Ok(Vec::new());
    }
    // Behind escapes the scan did not look, and offsets differ: each island is scanned.
    let search =
        Search { source: if is_escaped { Source::Scan } else { search.source }, ..*search };
    let base = if is_escaped { 0 } else { segment.at.start };
    let (mut lexer, mut map, mut units) = (Lexer::default(), RawMap::default(), Vec::new());
    let mut run = Run::starting_at(base);
    for next in said.chars() {
        lexer.take(next, &mut units);
        for unit in units.drain(..) {
            map.push(unit);
            run.take(unit.letter, unit.bare, &search)?;
        }
    }
    lexer.finish(&mut units);
    for unit in units.drain(..) {
        map.push(unit);
        run.take(unit.letter, unit.bare, &search)?;
    }
    run.finish(&search)?;
    let moved = |found: Found| Found {
        span: map.raw(found.span.start - base)..map.raw(found.span.end - base),
        ..found
    };
    Ok(run.drain().map(moved).collect())
}
