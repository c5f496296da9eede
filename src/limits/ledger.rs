//! The limits of all callers: one shared counter each, owned by the control thread, which rolls it.
//! A new configuration's ledger takes over the counters of the callers that stay.

use crate::base::clock::Mono;
use crate::base::map::Map;
use crate::config::model::Limits;
use crate::limits::allowance::Allowance;
use std::sync::Arc;

/// A caller's name and its limits.
pub type Named = (Arc<str>, Limits);

/// The counters of all callers, in the order of the configuration.
#[derive(Debug)]
pub struct Ledger {
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: Arc<str>,
    limits: Limits,
    allowance: Arc<Allowance>,
}

impl Ledger {
    /// A ledger of callers without names: none of its counters is taken over by a later one.
    pub fn new(limits: &[Limits]) -> Self {
        let nameless: Arc<str> = Arc::from("");
        let entries = limits.iter().map(|limits| Entry::fresh(&nameless, *limits)).collect();
        Self { entries }
    }

    /// A ledger in which nothing is used.
    pub fn named(callers: &[Named]) -> Self {
        let entries = callers.iter().map(|(name, limits)| Entry::fresh(name, *limits)).collect();
        Self { entries }
    }

    /// The ledger of the next configuration: a caller that stays keeps its counter, with what it
    /// has used, what workers hold and what runs. Changed limits hold from the first [`Self::roll`]
    /// of the new ledger on: one that is never rolled changes nothing.
    #[must_use]
    pub fn succeed(old: &Self, callers: &[Named]) -> Self {
        let known: Map<&str, &Entry> = old
            .entries
            .iter()
            .filter(|entry| !entry.name.is_empty())
            .map(|entry| (&*entry.name, entry))
            .collect();
        let entries = callers
            .iter()
            .map(|(name, limits)| match known.get(&**name) {
                None => Entry::fresh(name, *limits),
                Some(before) => Entry {
                    name: Arc::clone(name),
                    limits: *limits,
                    allowance: Arc::clone(&before.allowance),
                },
            })
            .collect();
        Self { entries }
    }

    /// Gives back what was used a window ago. The control thread calls it every 100 to 250
    /// milliseconds, each time with a reading taken after the call before returned; late calls are
    /// safe. Only one of several ledgers that share counters may be rolled: the committed one.
    pub fn roll(&self, now: Mono) {
        for entry in &self.entries {
            entry.apply();
            entry.allowance.roll(now);
        }
    }

    /// Requests of all callers that run now.
    pub fn live(&self) -> u64 {
        self.entries.iter().map(|entry| u64::from(entry.allowance.live())).sum()
    }

    /// The counters, in the order of the configuration.
    pub fn allowances(&self) -> impl Iterator<Item = &Arc<Allowance>> {
        self.entries.iter().map(|entry| &entry.allowance)
    }
}

impl Entry {
    fn fresh(name: &Arc<str>, limits: Limits) -> Self {
        Self { name: Arc::clone(name), limits, allowance: Arc::new(Allowance::new(limits)) }
    }

    /// Makes this ledger's limits hold; changes nothing when they already do.
    fn apply(&self) {
        self.allowance.adapt(self.limits);
    }
}
