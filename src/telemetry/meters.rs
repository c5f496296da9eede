//! What one worker counts: plain numbers in places found by index, no text and no sharing.
//!
//! A worker has one for its whole life, since counters must never go back; a new configuration
//! brings new labels, and what was counted under a name stays under it. The control thread asks
//! for copies and merges them by name.

use crate::base::hit::{Action, Direction};
use crate::base::usage::Usage;
use crate::telemetry::labels::{Labels, OTHER};
use crate::telemetry::latency::Latency;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Pairs of gate and code that are told apart; they are our own words, so this is never reached.
pub const REFUSALS_MAX: usize = 512;
/// Gates that are timed.
pub const GATES_MAX: usize = 32;

/// One worker's counts.
#[derive(Clone, Debug)]
pub struct Meters {
    labels: Arc<Labels>,
    requests: BTreeMap<(&'static str, StatusClass), u64>,
    refusals: BTreeMap<(&'static str, &'static str), u64>,
    /// By gate and the rule's index.
    refused_by_rule: BTreeMap<(&'static str, usize), u64>,
    /// By the rule's index, action, direction and whether it was in shadow.
    hits: Vec<[u64; HIT_KINDS]>,
    /// By the model's index.
    tokens: Vec<Usage>,
    gates: Vec<(&'static str, Latency)>,
    /// By the target's index; the last is `other`.
    upstreams: Vec<UpstreamTimes>,
    whole: Latency,
    counts: Counts,
}

/// Actions, each way, each of them done or in shadow.
const HIT_KINDS: usize = 2 * SHADOW;
const SHADOW: usize = 8;

/// The first digit of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StatusClass {
    /// 2xx, and 1xx and 3xx, which we do not send of our own.
    Good,
    /// 4xx.
    Refused,
    /// 5xx.
    Failed,
    /// Nothing was answered.
    Nothing,
}

impl StatusClass {
    /// The class of what was answered, if anything.
    pub const fn of(status: Option<u16>) -> Self {
        match status {
            None => Self::Nothing,
            Some(..400) => Self::Good,
            Some(400..500) => Self::Refused,
            Some(500..) => Self::Failed,
        }
    }

    /// The label value.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "2xx",
            Self::Refused => "4xx",
            Self::Failed => "5xx",
            Self::Nothing => "none",
        }
    }
}

/// A step of an upstream's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpstreamStep {
    /// Connecting, TLS included.
    Connect,
    /// From the request to the first byte.
    FirstByte,
    /// From the request to the last byte.
    Total,
}

/// How long one upstream's steps took.
#[derive(Clone, Debug, Default)]
pub struct UpstreamTimes {
    /// Connecting.
    pub connect: Latency,
    /// To the first byte.
    pub first_byte: Latency,
    /// To the last byte.
    pub total: Latency,
    /// Attempts that failed.
    pub failures: u64,
}

/// Numbers without labels. The first three go up and down, the others only up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Client connections that are open.
    pub connections: u64,
    /// Streams that run.
    pub streams: u64,
    /// Records that wait for the archive.
    pub records_queued: u64,
    /// Client connections accepted.
    pub accepted: u64,
    /// Client connections closed at a bound, unanswered.
    pub turned_away: u64,
    /// Records that were lost because a queue was full.
    pub dropped: u64,
    /// Exchanges that a fault of ours ended.
    pub panics: u64,
    /// Body bytes from clients.
    pub bytes_in: u64,
    /// Body bytes to clients.
    pub bytes_out: u64,
}

impl Meters {
    /// Counts of nothing yet.
    pub fn new(labels: Arc<Labels>) -> Self {
        Self {
            requests: BTreeMap::new(),
            refusals: BTreeMap::new(),
            refused_by_rule: BTreeMap::new(),
            hits: vec![[0; HIT_KINDS]; labels.rules.count()],
            tokens: vec![Usage::default(); labels.models.count()],
            gates: Vec::new(),
            upstreams: vec![UpstreamTimes::default(); labels.targets.len() + 1],
            whole: Latency::default(),
            counts: Counts::default(),
            labels,
        }
    }

    /// Goes on under the labels of a new configuration. What was counted under a name that is gone
    /// goes to `other`, so that no sum goes back.
    pub fn relabel(&mut self, labels: &Arc<Labels>) {
        if **labels == *self.labels {
            return;
        }
        let old = std::mem::replace(self, Self::new(Arc::clone(labels)));
        self.requests = old.requests;
        self.refusals = old.refusals;
        self.gates = old.gates;
        self.whole = old.whole;
        self.counts = old.counts;
        for ((gate, rule), count) in old.refused_by_rule {
            let rule = labels.rules.index(old.labels.rules.name(rule));
            *self.refused_by_rule.entry((gate, rule)).or_default() += count;
        }
        for (index, hits) in old.hits.iter().enumerate() {
            let own = self.hits.get_mut(labels.rules.index(old.labels.rules.name(index)));
            own.into_iter().flatten().zip(hits).for_each(|(own, more)| *own += more);
        }
        for (index, tokens) in old.tokens.iter().enumerate() {
            self.add_tokens(labels.models.index(old.labels.models.name(index)), tokens);
        }
        for (index, times) in old.upstreams.iter().enumerate() {
            let name = old.labels.targets.get(index);
            let place = labels.targets.iter().position(|own| Some(own) == name);
            let place = place.unwrap_or(labels.targets.len());
            if let Some(own) = self.upstreams.get_mut(place) {
                own.absorb(times);
            }
        }
    }

    /// One exchange ended: its kind, what was answered, and how long it took.
    pub fn request(&mut self, kind: &'static str, status: Option<u16>, took: Duration) {
        *self.requests.entry((kind, StatusClass::of(status))).or_default() += 1;
        self.whole.record(took);
    }

    /// One was refused: by which gate, with which code, by which rule if by one.
    pub fn refusal(&mut self, gate: &'static str, code: &'static str, rule: Option<&str>) {
        let known = self.refusals.len() < REFUSALS_MAX || self.refusals.contains_key(&(gate, code));
        let key = if known { (gate, code) } else { (OTHER, OTHER) };
        *self.refusals.entry(key).or_default() += 1;
        if let Some(rule) = rule
            && known
        {
            let rule = self.labels.rules.index(rule);
            *self.refused_by_rule.entry((gate, rule)).or_default() += 1;
        }
    }

    /// A guard found something.
    pub fn hit(&mut self, rule: &str, action: Action, direction: Direction) {
        let rule = self.hits.get_mut(self.labels.rules.index(rule));
        if let Some(count) = rule.and_then(|kinds| kinds.get_mut(hit_kind(action, direction))) {
            *count += 1;
        }
    }

    /// A guard's rule in shadow found something that it would have done this about.
    pub fn shadow_hit(&mut self, rule: &str, action: Action, direction: Direction) {
        let rule = self.hits.get_mut(self.labels.rules.index(rule));
        let kind = SHADOW + hit_kind(action, direction);
        if let Some(count) = rule.and_then(|kinds| kinds.get_mut(kind)) {
            *count += 1;
        }
    }

    /// A model's answer cost so much.
    pub fn tokens(&mut self, model: &str, usage: &Usage) {
        self.add_tokens(self.labels.models.index(model), usage);
    }

    fn add_tokens(&mut self, model: usize, usage: &Usage) {
        if let Some(own) = self.tokens.get_mut(model) {
            own.input_tokens = own.input_tokens.saturating_add(usage.input_tokens);
            own.output_tokens = own.output_tokens.saturating_add(usage.output_tokens);
            own.cached_tokens = own.cached_tokens.saturating_add(usage.cached_tokens);
        }
    }

    /// A gate took so long.
    pub fn gate(&mut self, gate: &'static str, took: Duration) {
        // A handful of names: looking through them is cheaper than a map.
        if let Some((_, latency)) = self.gates.iter_mut().find(|(own, _)| *own == gate) {
            latency.record(took);
        } else if self.gates.len() < GATES_MAX {
            let mut latency = Latency::default();
            latency.record(took);
            self.gates.push((gate, latency));
        }
    }

    /// A step of an upstream, by its index in the configuration, took so long.
    pub fn upstream(&mut self, target: usize, step: UpstreamStep, took: Duration) {
        let Some(times) = self.times(target) else { return };
        match step {
            UpstreamStep::Connect => times.connect.record(took),
            UpstreamStep::FirstByte => times.first_byte.record(took),
            UpstreamStep::Total => times.total.record(took),
        }
    }

    /// An attempt at an upstream failed.
    pub fn upstream_failed(&mut self, target: usize) {
        if let Some(times) = self.times(target) {
            times.failures += 1;
        }
    }

    fn times(&mut self, target: usize) -> Option<&mut UpstreamTimes> {
        let place = target.min(self.labels.targets.len());
        self.upstreams.get_mut(place)
    }

    /// The numbers without labels, to be changed in place.
    pub const fn counts(&mut self) -> &mut Counts {
        &mut self.counts
    }
}

impl UpstreamTimes {
    /// Adds what another has counted.
    pub fn absorb(&mut self, other: &Self) {
        self.connect.absorb(&other.connect);
        self.first_byte.absorb(&other.first_byte);
        self.total.absorb(&other.total);
        self.failures += other.failures;
    }
}

/// A rule, an action and a direction.
pub type HitKey = (String, &'static str, &'static str);

/// The counts of all workers together, by name.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    /// By kind and class of status.
    pub requests: BTreeMap<(&'static str, &'static str), u64>,
    /// By gate and code.
    pub refusals: BTreeMap<(&'static str, &'static str), u64>,
    /// By gate and rule.
    pub refused_by_rule: BTreeMap<(&'static str, String), u64>,
    /// By rule, action and direction.
    pub hits: BTreeMap<HitKey, u64>,
    /// By rule, action that would have been done, and direction.
    pub shadow_hits: BTreeMap<HitKey, u64>,
    /// By model.
    pub tokens: BTreeMap<String, Usage>,
    /// By gate.
    pub gates: BTreeMap<&'static str, Latency>,
    /// By target.
    pub upstreams: BTreeMap<String, UpstreamTimes>,
    /// Whole exchanges.
    pub whole: Latency,
    /// Numbers without labels.
    pub counts: Counts,
    /// What the control thread knows itself.
    pub control: Control,
}

/// What the control thread counts.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts, each a metric")]
pub struct Control {
    /// How many wait in each queue between threads.
    pub queues: Vec<(&'static str, u64)>,
    /// Records in the audit log.
    pub audit_records: u64,
    /// Whether the archive cannot write.
    pub audit_is_down: bool,
    /// Whether the last configuration that was read is the one that runs.
    pub last_reload_successful: bool,
    /// Requests that hold a lease.
    pub in_flight: u64,
    /// Threads that serve.
    pub workers: u64,
    /// Resident memory.
    pub resident_bytes: u64,
    /// Whether new work is refused for want of memory.
    pub memory_is_short: bool,
}

impl Merged {
    /// Adds one worker's counts.
    pub fn absorb(&mut self, meters: &Meters) {
        let labels = &meters.labels;
        for ((kind, class), count) in &meters.requests {
            *self.requests.entry((kind, class.name())).or_default() += count;
        }
        for (key, count) in &meters.refusals {
            *self.refusals.entry(*key).or_default() += count;
        }
        for ((gate, rule), count) in &meters.refused_by_rule {
            let rule = labels.rules.name(*rule).to_owned();
            *self.refused_by_rule.entry((gate, rule)).or_default() += count;
        }
        for (index, kinds) in meters.hits.iter().enumerate() {
            self.absorb_hits(labels.rules.name(index), kinds);
        }
        for (index, more) in meters.tokens.iter().enumerate() {
            if *more == Usage::default() {
                continue;
            }
            let own = self.tokens.entry(labels.models.name(index).to_owned()).or_default();
            own.input_tokens = own.input_tokens.saturating_add(more.input_tokens);
            own.output_tokens = own.output_tokens.saturating_add(more.output_tokens);
            own.cached_tokens = own.cached_tokens.saturating_add(more.cached_tokens);
        }
        for (gate, latency) in &meters.gates {
            self.gates.entry(gate).or_default().absorb(latency);
        }
        for (index, times) in meters.upstreams.iter().enumerate() {
            let name = labels.targets.get(index).map_or(OTHER, |name| name);
            self.upstreams.entry(name.to_owned()).or_default().absorb(times);
        }
        self.whole.absorb(&meters.whole);
        self.counts.absorb(&meters.counts);
    }

    fn absorb_hits(&mut self, rule: &str, kinds: &[u64; HIT_KINDS]) {
        let actions = [Action::Allow, Action::Flag, Action::Mask, Action::Block];
        let kinds_of = |action| [(action, Direction::Request), (action, Direction::Response)];
        for (action, direction) in actions.into_iter().flat_map(kinds_of) {
            let kind = hit_kind(action, direction);
            for (offset, all) in [(0, &mut self.hits), (SHADOW, &mut self.shadow_hits)] {
                let count = kinds.get(offset + kind).copied().unwrap_or_default();
                if count > 0 {
                    let key = (rule.to_owned(), action.name(), direction.name());
                    *all.entry(key).or_default() += count;
                }
            }
        }
    }
}

impl Counts {
    fn absorb(&mut self, more: &Self) {
        self.connections += more.connections;
        self.streams += more.streams;
        self.records_queued += more.records_queued;
        self.accepted += more.accepted;
        self.turned_away += more.turned_away;
        self.dropped += more.dropped;
        self.panics += more.panics;
        self.bytes_in += more.bytes_in;
        self.bytes_out += more.bytes_out;
    }
}

const fn hit_kind(action: Action, direction: Direction) -> usize {
    let action = match action {
        Action::Allow => 0,
        Action::Flag => 2,
        Action::Mask => 4,
        Action::Block => 6,
    };
    action
        + match direction {
            Direction::Request => 0,
            Direction::Response => 1,
        }
}

#[cfg(test)]
mod tests {
    use super::{GATES_MAX, Merged, Meters, REFUSALS_MAX, UpstreamStep};
    use crate::base::hit::{Action, Direction};
    use crate::base::usage::Usage;
    use crate::telemetry::labels::{Labels, Names};
    use std::sync::Arc;
    use std::time::Duration;

    const TOOK: Duration = Duration::from_millis(3);

    fn labels(models: &[&str], rules: &[&str], targets: &[&str]) -> Arc<Labels> {
        let names = |names: &[&str]| Names::new(names.iter().map(|name| Arc::from(*name)));
        let targets = targets.iter().map(|name| Arc::from(*name)).collect();
        Arc::new(Labels { models: names(models), rules: names(rules), targets })
    }

    fn usage(input_tokens: u64) -> Usage {
        Usage { input_tokens, output_tokens: 1, cached_tokens: 0 }
    }

    fn merged(meters: &[&Meters]) -> Merged {
        let mut merged = Merged::default();
        for meters in meters {
            merged.absorb(meters);
        }
        merged
    }

    #[test]
    fn workers_merge_by_name_even_under_different_labels() {
        let mut one = Meters::new(labels(&["a", "b"], &["pii.card"], &["x", "y"]));
        let mut two = Meters::new(labels(&["b"], &["aws.key", "pii.card"], &["y"]));
        for meters in [&mut one, &mut two] {
            meters.request("chat", Some(200), TOOK);
            meters.refusal("permit", "denied", Some("pii.card"));
            meters.hit("pii.card", Action::Mask, Direction::Request);
            meters.shadow_hit("pii.card", Action::Block, Direction::Response);
            meters.tokens("b", &usage(5));
            meters.gate("caller", TOOK);
            meters.counts().connections += 2;
        }
        one.upstream(1, UpstreamStep::FirstByte, TOOK);
        two.upstream(0, UpstreamStep::FirstByte, TOOK);
        two.upstream_failed(0);
        let all = merged(&[&one, &two]);
        assert_eq!(all.requests[&("chat", "2xx")], 2);
        assert_eq!(all.refusals[&("permit", "denied")], 2);
        assert_eq!(all.refused_by_rule[&("permit", "pii.card".to_owned())], 2);
        assert_eq!(all.hits[&("pii.card".to_owned(), "mask", "request")], 2);
        assert_eq!(all.shadow_hits[&("pii.card".to_owned(), "block", "response")], 2);
        assert_eq!((all.hits.len(), all.shadow_hits.len()), (1, 1));
        assert_eq!(all.tokens["b"].input_tokens, 10);
        assert_eq!((all.gates["caller"].count(), all.whole.count()), (2, 2));
        assert_eq!(all.upstreams["y"].first_byte.count(), 2);
        assert_eq!((all.upstreams["y"].failures, all.counts.connections), (1, 4));
    }

    #[test]
    fn names_that_the_configuration_does_not_know_are_other() {
        let mut meters = Meters::new(labels(&["a"], &[], &[]));
        meters.tokens("made up by a caller", &usage(1));
        meters.hit("unknown", Action::Block, Direction::Response);
        meters.upstream(99, UpstreamStep::Connect, TOOK);
        let all = merged(&[&meters]);
        assert_eq!(all.tokens.keys().collect::<Vec<_>>(), ["other"]);
        assert_eq!(all.hits[&("other".to_owned(), "block", "response")], 1);
        assert_eq!(all.upstreams["other"].connect.count(), 1);
    }

    #[test]
    fn words_of_our_own_are_bounded_too() {
        let mut meters = Meters::new(labels(&[], &[], &[]));
        for count in 0..REFUSALS_MAX + 10 {
            let name: &'static str = Box::leak(count.to_string().into_boxed_str());
            meters.refusal(name, "code", None);
            meters.gate(name, TOOK);
        }
        let all = merged(&[&meters]);
        assert_eq!(all.refusals[&("other", "other")], 10);
        assert_eq!(all.gates.len(), GATES_MAX);
    }

    #[test]
    fn a_reload_loses_no_count() {
        let mut meters = Meters::new(labels(&["gone", "stays"], &["r1", "r2"], &["x", "y"]));
        meters.request("mcp", None, TOOK);
        meters.tokens("gone", &usage(1));
        meters.tokens("stays", &usage(2));
        meters.hit("r1", Action::Flag, Direction::Request);
        meters.hit("r2", Action::Flag, Direction::Request);
        meters.refusal("permit", "denied", Some("r2"));
        meters.upstream(1, UpstreamStep::Total, TOOK);
        meters.relabel(&labels(&["new", "stays"], &["r0", "r2"], &["y"]));
        meters.tokens("stays", &usage(2));
        let all = merged(&[&meters]);
        assert_eq!(all.requests[&("mcp", "none")], 1);
        assert_eq!((all.tokens["stays"].input_tokens, all.tokens["other"].input_tokens), (4, 1));
        assert_eq!(all.hits[&("r2".to_owned(), "flag", "request")], 1);
        assert_eq!(all.hits[&("other".to_owned(), "flag", "request")], 1);
        assert_eq!(all.refused_by_rule[&("permit", "r2".to_owned())], 1);
        assert_eq!((all.upstreams["y"].total.count(), all.whole.count()), (1, 1));
    }
}
