//! One text, read as it stands and as it is meant, at once.
//!
//! A run takes the text as it stands. Where a character may stand for another, a second run goes on
//! from there with the normal text, until both are between islands again: then they are the same,
//! and plain text costs one run only. Characters that are not seen may spell a text of their own,
//! which a third reader looks at. What any of them finds is told in order and without overlaps.

use crate::base::hit::Action;
use crate::guard::arguments::Unit;
use crate::guard::hidden::Hidden;
use crate::guard::islands::border_before;
use crate::guard::normal::{Normalizer, Way, is_odd};
use crate::guard::places::Places;
use crate::guard::run::{Found, Run};
use crate::guard::search::{BlockedBy, Search, Source};
use crate::guard::unescape::GONE;

/// All readers of one text.
#[derive(Debug, Default)]
pub struct Layers {
    plain: Run,
    fork: Fork,
    hidden: Hidden,
    /// Not told yet, in order.
    found: Vec<Found>,
    /// Up to where masks reach that were told.
    masked: usize,
}

/// The second run.
#[derive(Debug, Default)]
struct Fork {
    is_on: bool,
    normalizer: Normalizer,
    run: Run,
    way: Way,
    units: Vec<Unit>,
    /// Bytes of the island that grows that are not seen.
    gone: usize,
}

/// More bytes that are not seen end an island: they are held back with it.
const GONE_BYTES_MAX: usize = 8 * 1024;

impl Layers {
    /// Begins at an offset of the text where an island may begin.
    pub fn starting_at(at: usize) -> Self {
        Self { plain: Run::starting_at(at), masked: at, ..Self::default() }
    }

    /// Takes the next character. `bare` says that it is part of a JSON text outside of strings.
    pub fn take(&mut self, next: char, bare: bool, search: &Search<'_>) -> Result<(), BlockedBy> {
        if next.is_ascii_alphanumeric() && !self.fork.is_on && !self.hidden.is_on() {
            return self.plain.take(next, bare, search);
        }
        if !self.fork.is_on && !next.is_ascii_alphanumeric() && !bare && is_odd(next) {
            self.fork.begin(&self.plain);
        }
        let at = self.plain.taken();
        self.plain.take(next, bare, search)?;
        if self.fork.is_on {
            self.fork.take(Unit { bare, ..Unit::plain(next) }, search)?;
            self.join();
        }
        if !next.is_ascii() || self.hidden.is_on() {
            self.hidden.take(next, at, search)?;
        }
        Ok(())
    }

    /// The text, or this part of it, has ended.
    pub fn finish(&mut self, search: &Search<'_>) -> Result<(), BlockedBy> {
        self.plain.finish(search)?;
        if self.fork.is_on {
            self.fork.finish(search)?;
            self.join();
        }
        self.hidden.finish(self.plain.taken(), search)
    }

    /// Whether nothing is held and no mask goes on: text may be skipped here.
    pub fn is_at_rest(&self) -> bool {
        self.plain.is_at_rest() && !self.fork.is_on && !self.hidden.is_on()
    }

    /// Whether every island is to be looked at from here on.
    pub const fn is_wary(&self) -> bool {
        self.plain.gates().any()
    }

    /// How many bytes of the text were taken, or skipped.
    pub const fn taken(&self) -> usize {
        self.plain.taken()
    }

    /// Goes on at `at`: what lies before it needs no look. Only at rest.
    /// `before` is the text up to there, or its end.
    pub fn skip_to(&mut self, at: usize, before: &str) {
        self.plain.skip_to(at, before);
    }

    /// Up to where everything is decided, counted from the beginning of the text.
    pub fn decided(&self) -> usize {
        let plain = self.plain.decided();
        let normal = if self.fork.is_on { self.fork.decided() } else { plain };
        plain.min(normal).min(self.hidden.decided().unwrap_or(plain))
    }

    /// Hands over what was found and is decided since the last time, in order: no mask reaches over
    /// another one.
    pub fn drain(&mut self, out: &mut Vec<Found>) {
        self.found.extend(self.plain.drain());
        if self.fork.is_on {
            self.fork.drain(&mut self.found);
        }
        self.found.extend(self.hidden.drain());
        if self.found.is_empty() {
            return;
        }
        // Of two that begin together the longer one comes first; equal ones as they were found.
        self.found.sort_by_key(|found| (found.span.start, usize::MAX - found.span.end));
        let decided = self.decided();
        let ready = self.found.partition_point(|found| found.span.start < decided);
        for found in self.found.drain(..ready) {
            tell(found, &mut self.masked, out);
        }
    }

    /// What is decided is not asked for any more.
    pub fn forget(&mut self) {
        self.fork.way.forget(self.fork.run.decided());
    }

    fn join(&mut self) {
        let is_even = !self.fork.normalizer.is_changed() && self.fork.normalizer.is_idle();
        let is_rest = self.plain.is_at_rest() && self.fork.run.is_at_rest();
        if is_even || (is_rest && self.fork.normalizer.is_idle()) {
            self.fork.drain(&mut self.found);
            self.fork.is_on = false;
            self.plain.open(self.fork.run.gates());
        }
    }
}

/// What is found in a text from `start` on; only places that are worth it are looked at.
pub fn sweep(
    text: &str,
    start: usize,
    search: &Search<'_>,
    places: &mut Places<'_>,
) -> Result<Vec<Found>, BlockedBy> {
    let mut found = Vec::new();
    let mut layers = Layers::starting_at(start);
    while let Some(place) = places.next(text, layers.taken(), layers.is_wary()) {
        if layers.is_at_rest() {
            let border = border_before(text, layers.taken()..place);
            layers.skip_to(border, text.get(start..border).unwrap_or_default());
        }
        // Up to the end of what may be there, and on until nothing is undecided.
        for next in text.get(layers.taken()..).unwrap_or_default().chars() {
            if layers.is_at_rest() && layers.taken() > place {
                break;
            }
            layers.take(next, false, search)?;
        }
    }
    layers.finish(search)?;
    layers.drain(&mut found);
    Ok(found)
}

/// Cuts off what was masked already, and drops what says the same twice.
fn tell(mut found: Found, masked: &mut usize, out: &mut Vec<Found>) {
    if found.action != Action::Mask {
        let is_known = |other: &Found| {
            other.rule == found.rule && other.span == found.span && other.action == found.action
        };
        if !out.iter().rev().take(8).any(is_known) {
            out.push(found);
        }
        return;
    }
    if found.span.end <= *masked {
        return;
    }
    if found.span.start < *masked {
        // What goes on behind a mask belongs to it.
        found.span.start = *masked;
        found.is_rest = true;
    }
    *masked = found.span.end;
    out.push(found);
}

impl Fork {
    fn begin(&mut self, plain: &Run) {
        self.is_on = true;
        self.normalizer.reset();
        self.run.follow(plain);
        self.gone = 0;
        self.way.reset(plain.taken());
    }

    fn take(&mut self, unit: Unit, search: &Search<'_>) -> Result<(), BlockedBy> {
        self.normalizer.take(unit, &mut self.units);
        self.pass_on(search)
    }

    fn finish(&mut self, search: &Search<'_>) -> Result<(), BlockedBy> {
        self.normalizer.finish(&mut self.units);
        self.pass_on(search)?;
        self.run.finish(&Search { source: Source::Scan, ..*search })
    }

    fn pass_on(&mut self, search: &Search<'_>) -> Result<(), BlockedBy> {
        // The scan of the text did not see it like this.
        let search = Search { source: Source::Scan, ..*search };
        for unit in self.units.drain(..) {
            self.way.push(unit);
            if unit.letter != GONE {
                self.run.take(unit.letter, unit.bare, &search)?;
                continue;
            }
            self.gone = if self.run.is_at_rest() { 0 } else { self.gone + unit.raw };
            if self.gone > GONE_BYTES_MAX {
                self.run.finish(&search)?;
                self.gone = 0;
            }
        }
        Ok(())
    }

    fn decided(&self) -> usize {
        // Between islands nothing is held, not even what is not seen.
        if self.run.is_at_rest() { self.way.taken() } else { self.way.done(self.run.decided()) }
    }

    fn drain(&mut self, out: &mut Vec<Found>) {
        let way = &self.way;
        out.extend(self.run.drain().map(|found| Found { span: way.plain(&found.span), ..found }));
    }
}

#[cfg(test)]
mod tests {
    use super::tell;
    use crate::base::hit::Action;
    use crate::guard::run::Found;

    #[test]
    fn masks_that_overlap_become_one() {
        let found = |start, end| Found::new(start..end, 0, Action::Mask);
        let (mut masked, mut out) = (0, Vec::new());
        for one in [found(2, 6), found(3, 5), found(4, 9), found(9, 10)] {
            tell(one, &mut masked, &mut out);
        }
        let spans: Vec<_> = out.iter().map(|one| (one.span.clone(), one.is_rest)).collect();
        assert_eq!(spans, [(2..6, false), (6..9, true), (9..10, false)]);
    }
}
