//! Durations as a histogram of bounded size: from 0.1 microseconds to ten minutes, within 1 %.

use hdrhistogram::Histogram;
use std::time::Duration;

/// Shorter durations are told apart no further, nanoseconds.
const LOWEST: u64 = 100;
/// Longer durations count as this, nanoseconds.
const HIGHEST: u64 = 600_000_000_000;
/// Significant decimal digits.
const DIGITS: u8 = 2;

/// How long something took, many times. Its memory, some 25 KiB, is taken at the first record.
#[derive(Clone, Debug, Default)]
pub struct Latency {
    histogram: Option<Box<Histogram<u64>>>,
    sum: u128,
}

impl Latency {
    /// Counts one duration.
    pub fn record(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        if self.histogram.is_none() {
            self.histogram = empty();
        }
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(nanos);
            self.sum += u128::from(nanos);
        }
    }

    /// Adds what another has counted.
    pub fn absorb(&mut self, other: &Self) {
        let Some(theirs) = &other.histogram else { return };
        let Some(own) = &mut self.histogram else {
            self.clone_from(other);
            return;
        };
        // All have the same bounds, so none is out of range.
        if own.add(&**theirs).is_ok() {
            self.sum += other.sum;
        }
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.histogram.as_ref().map_or(0, |histogram| histogram.len())
    }

    /// All of them together.
    pub fn sum(&self) -> Duration {
        let seconds = u64::try_from(self.sum / 1_000_000_000).unwrap_or(u64::MAX);
        let nanos = u32::try_from(self.sum % 1_000_000_000).unwrap_or(0);
        Duration::new(seconds, nanos)
    }

    /// The duration that a share of all did not exceed, within 1 %; zero if none was counted.
    pub fn quantile(&self, share: f64) -> Duration {
        let nanos = self.histogram.as_ref().map_or(0, |it| it.value_at_quantile(share));
        Duration::from_nanos(nanos)
    }

    /// For each bound, how many were not longer, within 1 %. The bounds must ascend.
    pub fn cumulative(&self, bounds: &[Duration]) -> Vec<u64> {
        let mut counts = vec![0; bounds.len()];
        let Some(histogram) = &self.histogram else { return counts };
        for step in histogram.iter_recorded() {
            let value = Duration::from_nanos(histogram.lowest_equivalent(step.value_iterated_to()));
            let fits = bounds.partition_point(|bound| *bound < value);
            if let Some(count) = counts.get_mut(fits) {
                *count += step.count_at_value();
            }
        }
        let mut total = 0;
        for count in &mut counts {
            total += *count;
            *count = total;
        }
        counts
    }
}

/// A histogram with the bounds of all; they are valid, so there always is one.
fn empty() -> Option<Box<Histogram<u64>>> {
    Histogram::new_with_bounds(LOWEST, HIGHEST, DIGITS).ok().map(Box::new)
}
