//! What happened: counts, and a histogram for each time that is measured.

use crate::mistake::Mistake;
use hdrhistogram::{CreationError, Histogram};
use ringwall::base::clock::Mono;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longer than a run may take with its last answer.
const NANOS_MAX: u64 = 15 * 60 * 1_000_000_000;
/// A value is kept to a thousandth of itself.
const DIGITS: u8 = 3;

/// The counts and times of a run. Times are of sound answers only, in nanoseconds.
#[derive(Clone, Debug)]
pub struct Tally {
    /// From when a request was due, or sent where there is no rate, to the end of its answer.
    pub request_latency: Histogram<u64>,
    /// From the same moment to the first text of a stream that is not empty.
    pub time_to_first_token: Histogram<u64>,
    /// How long after it was due a request was sent.
    pub start_delay: Histogram<u64>,
    /// Sound answers.
    pub sound: u64,
    /// Those among them that were echoes, and so were checked to the last byte.
    pub echoes: u64,
    /// Prompts that held a card, whatever was answered.
    pub cards: u64,
    /// Errors by kind.
    pub mistakes: BTreeMap<Mistake, u64>,
    /// When the last answer ended.
    pub last: Mono,
}

/// The times of one sound answer.
#[derive(Clone, Copy, Debug)]
pub struct Sound {
    /// When it was due, or sent where there is no rate.
    pub from: Mono,
    /// When its first text came, if it is a stream.
    pub first: Option<Mono>,
    /// When it ended.
    pub to: Mono,
    /// Whether it was an echo.
    pub is_echo: bool,
}

impl Tally {
    /// Nothing yet.
    pub fn new() -> Result<Self, CreationError> {
        let empty = Histogram::new_with_bounds(1, NANOS_MAX, DIGITS)?;
        Ok(Self {
            request_latency: empty.clone(),
            time_to_first_token: empty.clone(),
            start_delay: empty,
            sound: 0,
            echoes: 0,
            cards: 0,
            mistakes: BTreeMap::new(),
            last: Mono::default(),
        })
    }

    /// A sound answer.
    pub fn sound(&mut self, answer: Sound) {
        record(&mut self.request_latency, answer.to.since(answer.from));
        if let Some(first) = answer.first {
            record(&mut self.time_to_first_token, first.since(answer.from));
        }
        self.sound += 1;
        self.echoes += u64::from(answer.is_echo);
    }

    /// So many errors of a kind.
    pub fn mistake(&mut self, kind: Mistake, times: u64) {
        if times > 0 {
            *self.mistakes.entry(kind).or_default() += times;
        }
    }

    /// A request was sent so long after it was due.
    pub fn delayed(&mut self, by: Duration) {
        record(&mut self.start_delay, by);
    }

    /// Errors of every kind.
    pub fn mistaken(&self) -> u64 {
        self.mistakes.values().sum()
    }
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(NANOS_MAX));
}
