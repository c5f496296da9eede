//! How good scores are: area under the curve, recall at a false-positive rate, F-measure.

use crate::base::numbers::{to_f64, to_u64};

/// The chance that a positive scores higher than a negative, ties counting half; nothing if
/// either is missing.
pub fn auc(positives: &[f64], negatives: &[f64]) -> Option<f64> {
    if positives.is_empty() || negatives.is_empty() {
        return None;
    }
    let mut sorted = negatives.to_vec();
    sorted.sort_by(f64::total_cmp);
    let mut won = 0.0;
    for score in positives {
        let below = sorted.partition_point(|other| other < score);
        let up_to = sorted.partition_point(|other| other <= score);
        won += f64::midpoint(to_f64(to_u64(below)), to_f64(to_u64(up_to)));
    }
    Some(won / (count(positives) * count(negatives)))
}

/// The lowest threshold at which at most `rate` of the negatives score as high or higher.
pub fn threshold(negatives: &[f64], rate: f64) -> f64 {
    let mut sorted = negatives.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.reverse();
    let allowed = rate * count(negatives);
    // The first negative that may not pass: the threshold lies above it, and above its equals.
    let first_too_many = sorted.iter().zip(1_u64..).find(|(_, rank)| to_f64(*rank) > allowed);
    first_too_many.map_or(f64::MIN, |(score, _)| score.next_up())
}

/// A ratio; nothing if there is nothing to divide by.
pub fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| to_f64(part) / to_f64(whole))
}

/// The F-measure that weighs recall `beta` times as much as precision.
pub fn f_measure(precision: f64, recall: f64, beta: f64) -> f64 {
    let weight = beta * beta;
    let below = weight.mul_add(precision, recall);
    if below > 0.0 { (1.0 + weight) * precision * recall / below } else { 0.0 }
}

/// The nearest-rank quantile of sorted values.
pub fn quantile(sorted: &[u64], hundredths: usize) -> u64 {
    let at = (sorted.len() * hundredths).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

fn count(scores: &[f64]) -> f64 {
    to_f64(to_u64(scores.len()))
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "the expected values are exact")]
mod tests {
    use super::{auc, f_measure, quantile, ratio, threshold};
    use crate::base::numbers::to_u64;

    fn rate(scores: &[f64], threshold: f64) -> Option<f64> {
        let over = scores.iter().filter(|score| **score >= threshold).count();
        ratio(to_u64(over), to_u64(scores.len()))
    }

    #[test]
    fn the_area_counts_ties_half() {
        assert_eq!(auc(&[1.0, 1.0], &[0.0]), Some(1.0));
        assert_eq!(auc(&[0.0, 1.0], &[0.0, 1.0]), Some(0.5));
        assert_eq!(auc(&[0.0], &[1.0]), Some(0.0));
        assert_eq!(auc(&[], &[1.0]), None);
    }

    #[test]
    fn a_threshold_lets_no_more_negatives_pass_than_it_says() {
        let negatives: Vec<f64> = (0_u32..100).map(f64::from).collect();
        for (allowed, wanted) in [(0.01, 0.01), (0.05, 0.05), (0.0, 0.0), (1.0, 1.0)] {
            assert_eq!(rate(&negatives, threshold(&negatives, allowed)), Some(wanted));
        }
        // Half of them score alike: none of those may pass at one in a hundred.
        let ties = [0.0, 0.0, 1.0, 1.0];
        assert_eq!(rate(&[1.0], threshold(&ties, 0.01)), Some(0.0));
        assert_eq!(rate(&[1.0], threshold(&ties, 0.5)), Some(1.0));
    }

    #[test]
    fn two_thirds_and_one_are_weighed() {
        assert!((f_measure(0.5, 1.0, 2.0) - 2.5 / 3.0).abs() < 1e-9);
        assert_eq!(f_measure(0.0, 0.0, 2.0), 0.0);
        assert_eq!((quantile(&[1, 2, 3], 50), quantile(&[1, 2, 3], 99)), (2, 3));
        assert_eq!(quantile(&[], 50), 0);
    }
}
