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

#[cfg(test)]
mod tests {
    use super::Latency;
    use std::time::Duration;

    #[test]
    fn buckets_are_cumulative_and_the_sum_is_exact() {
        let mut latency = Latency::default();
        for micros in [1, 30, 30, 900, 2_000_000] {
            latency.record(Duration::from_micros(micros));
        }
        let bounds = [10, 100, 1000, 10_000].map(Duration::from_micros);
        assert_eq!(latency.cumulative(&bounds), [1, 3, 4, 4]);
        assert_eq!((latency.count(), latency.sum()), (5, Duration::from_micros(2_000_961)));
        let median = latency.quantile(0.5).as_nanos();
        assert!((29_700..=30_300).contains(&median), "{median}");
    }

    #[test]
    fn a_value_on_a_bound_counts_as_not_longer() {
        let mut latency = Latency::default();
        let bounds = [1, 5, 250, 1000, 10_000_000].map(Duration::from_micros);
        for bound in bounds {
            latency.record(bound);
        }
        assert_eq!(latency.cumulative(&bounds), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn what_is_out_of_range_is_counted_at_the_end_of_it() {
        let mut latency = Latency::default();
        latency.record(Duration::ZERO);
        latency.record(Duration::MAX);
        assert_eq!(latency.count(), 2);
        assert_eq!(latency.cumulative(&[Duration::from_secs(1)]), [1]);
    }

    #[test]
    fn two_together_are_as_one_that_saw_all() {
        let (mut one, mut two, mut all) =
            (Latency::default(), Latency::default(), Latency::default());
        for nanos in (0..1_000_000).step_by(997) {
            let took = Duration::from_nanos(nanos);
            if nanos % 2 == 0 {
                one.record(took);
            } else {
                two.record(took);
            }
            all.record(took);
        }
        one.absorb(&two);
        one.absorb(&Latency::default());
        let mut empty = Latency::default();
        empty.absorb(&one);
        let bounds: Vec<_> = (0..20).map(|step| Duration::from_micros(step * 50)).collect();
        assert_eq!(empty.cumulative(&bounds), all.cumulative(&bounds));
        assert_eq!((empty.count(), empty.sum()), (all.count(), all.sum()));
    }
}
