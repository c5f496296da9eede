//! Masks text that arrives in pieces: the same as the whole text would be, whatever the pieces.
//!
//! What could still become part of a value is held back, which in prose is the last word. Phrases
//! are found but cannot be masked, since their beginning has left; one that blocks stops the
//! stream as soon as it is complete. A stream is always on its way back to the caller.

use crate::base::hit::{Action, Direction, Hit};
use crate::base::numbers::to_u64;
use crate::base::text::{Channel, Place};
use crate::guard::arguments::{Lexer, RawMap, Unit};
use crate::guard::inspect::{Blocked, HITS_MAX, Matcher};
use crate::guard::phrases::Watch;
use crate::guard::rules::Rules;
use crate::guard::run::Run;
use crate::guard::search::{BlockedBy, Search, Source};
use std::sync::Arc;

/// What the pieces make up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamForm {
    /// JSON text, such as a tool call's arguments: a mask keeps it valid.
    Json,
    /// Plain text.
    Text,
}

/// Masks one run of text. What it needs of the worker comes with each call.
#[derive(Debug)]
pub struct StreamMasker {
    channel: Channel,
    place: Place,
    run: Run,
    watch: Watch,
    lexer: Option<Lexer>,
    map: RawMap,
    /// Raw text that has not left.
    raw: String,
    /// Where it begins in the stream's raw text.
    raw_from: usize,
    hits: Vec<Hit>,
    seen: u64,
    /// The rule that stopped it.
    stopped: Option<Arc<str>>,
}

impl StreamMasker {
    /// Begins a run of text of that channel, at that place of the answer.
    pub fn new(form: StreamForm, channel: Channel, place: Place) -> Self {
        Self {
            channel,
            place,
            run: Run::default(),
            watch: Watch::default(),
            lexer: (form == StreamForm::Json).then(Lexer::default),
            map: RawMap::default(),
            raw: String::new(),
            raw_from: 0,
            hits: Vec::new(),
            seen: 0,
            stopped: None,
        }
    }

    /// Takes the next piece and appends what may leave to `out`.
    ///
    /// Once a rule blocks, it blocks again at every call, and nothing is appended any more.
    pub fn push(
        &mut self,
        matcher: &mut Matcher,
        text: &str,
        out: &mut String,
    ) -> Result<(), Blocked> {
        if !matcher.rules().is_enabled() {
            out.push_str(text);
            return Ok(());
        }
        self.check_stopped()?;
        self.seen += to_u64(text.len());
        self.raw.push_str(text);
        let rules = Arc::clone(matcher.rules());
        let mut phrases = Vec::new();
        self.watch.push(text, &rules, matcher.scratch(), &mut phrases);
        self.note_phrases(&phrases, &rules)?;
        let taken = self.take(text, matcher, &rules);
        self.release(&rules, out);
        taken.map_err(|block| self.stop(block.rule, &rules))
    }

    /// The text has ended: appends what was still held back.
    pub fn finish(&mut self, matcher: &mut Matcher, out: &mut String) -> Result<(), Blocked> {
        if !matcher.rules().is_enabled() {
            return Ok(());
        }
        self.check_stopped()?;
        let rules = Arc::clone(matcher.rules());
        let mut phrases = Vec::new();
        self.watch.scan(&rules, matcher.scratch(), &mut phrases);
        self.note_phrases(&phrases, &rules)?;
        let ended = self.end(matcher, &rules);
        self.release(&rules, out);
        ended.map_err(|block| self.stop(block.rule, &rules))
    }

    /// What was found since the last time.
    pub fn take_hits(&mut self) -> Vec<Hit> {
        std::mem::take(&mut self.hits)
    }

    /// How many bytes were inspected.
    pub const fn seen_bytes(&self) -> u64 {
        self.seen
    }

    /// How many bytes are held back.
    pub const fn held_bytes(&self) -> usize {
        self.raw.len()
    }

    fn take(&mut self, text: &str, matcher: &Matcher, rules: &Rules) -> Result<(), BlockedBy> {
        let search = search(matcher, rules);
        let Some(lexer) = &mut self.lexer else {
            for next in text.chars() {
                self.run.take(next, false, &search)?;
            }
            return Ok(());
        };
        let mut units = Vec::new();
        for next in text.chars() {
            lexer.take(next, &mut units);
        }
        self.take_units(&units, &search)
    }

    fn end(&mut self, matcher: &Matcher, rules: &Rules) -> Result<(), BlockedBy> {
        let search = search(matcher, rules);
        let mut units = Vec::new();
        if let Some(lexer) = &mut self.lexer {
            lexer.finish(&mut units);
        }
        self.take_units(&units, &search)?;
        self.run.finish(&search)
    }

    fn take_units(&mut self, units: &[Unit], search: &Search<'_>) -> Result<(), BlockedBy> {
        for unit in units {
            self.map.push(*unit);
            self.run.take(unit.letter, unit.bare, search)?;
        }
        Ok(())
    }

    /// Moves what is decided from `raw` to `out`, with masks in place.
    fn release(&mut self, rules: &Rules, out: &mut String) {
        let is_json = self.lexer.is_some();
        let decided = self.run.decided();
        let map = &self.map;
        let raw = |at: usize| if is_json { map.raw(at) } else { at };
        let from = self.raw_from;
        let text = &self.raw;
        let mut sent = from;
        for found in self.run.drain() {
            let (channel, place) = (self.channel, self.place);
            let Some(rule) = rules.get(found.rule) else { continue };
            if !found.is_rest && self.hits.len() < HITS_MAX {
                let (rule, action) = (Arc::clone(rule.name()), found.action);
                self.hits.push(Hit {
                    rule,
                    action,
                    channel,
                    place,
                    direction: Direction::Response,
                });
            }
            if found.action != Action::Mask {
                continue;
            }
            let (start, end) = (raw(found.span.start), raw(found.span.end));
            out.push_str(text.get(sent - from..start - from).unwrap_or_default());
            if !found.is_rest {
                let entity = rule.entity();
                let placeholder = entity.map_or("[MASKED]", |entity| &entity.pack.placeholder);
                let quote = if found.is_bare { "\"" } else { "" };
                out.extend([quote, placeholder, quote]);
            }
            sent = end;
        }
        let until = raw(decided).max(sent);
        out.push_str(text.get(sent - from..until - from).unwrap_or_default());
        self.raw.drain(..until - from);
        self.raw_from = until;
        self.map.forget(decided);
    }

    fn note_phrases(&mut self, phrases: &[u16], rules: &Rules) -> Result<(), Blocked> {
        for &index in phrases {
            let Some(rule) = rules.get(index) else { continue };
            let action = rule.action(Direction::Response);
            if action == Action::Block {
                return Err(self.stop(index, rules));
            }
            self.note(Arc::clone(rule.name()), action);
        }
        Ok(())
    }

    fn note(&mut self, rule: Arc<str>, action: Action) {
        if self.hits.len() < HITS_MAX {
            let (channel, place) = (self.channel, self.place);
            self.hits.push(Hit { rule, action, channel, place, direction: Direction::Response });
        }
    }

    fn stop(&mut self, rule: u16, rules: &Rules) -> Blocked {
        let rule = rules.get(rule).map(|rule| Arc::clone(rule.name())).unwrap_or_default();
        self.note(Arc::clone(&rule), Action::Block);
        self.raw.clear();
        self.stopped = Some(Arc::clone(&rule));
        let coverage = Box::new([(self.channel, self.seen)]);
        Blocked { rule, hits: self.hits.clone(), coverage }
    }

    fn check_stopped(&self) -> Result<(), Blocked> {
        let Some(rule) = &self.stopped else { return Ok(()) };
        let coverage = Box::new([(self.channel, self.seen)]);
        Err(Blocked { rule: Arc::clone(rule), hits: Vec::new(), coverage })
    }
}

fn search<'a>(matcher: &'a Matcher, rules: &'a Rules) -> Search<'a> {
    Search {
        rules,
        scratch: matcher.scratch(),
        source: Source::Scan,
        direction: Direction::Response,
    }
}
