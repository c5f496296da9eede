//! Check digits that many numbers share, and what they are computed from.

/// The digits of a text, whatever stands between them, if they are so many.
pub fn digits(text: &str, count: usize) -> Option<Vec<u32>> {
    let all: Vec<u32> = text.chars().filter_map(|letter| letter.to_digit(10)).collect();
    let others = text.chars().any(char::is_alphabetic);
    (all.len() == count && !others).then_some(all)
}

/// Letters in capitals and digits, without what stands between them.
pub fn compact(text: &str) -> String {
    let kept = text.chars().filter(char::is_ascii_alphanumeric);
    kept.map(|letter| letter.to_ascii_uppercase()).collect()
}

/// The sum of digits, each times its weight.
pub fn weighted(digits: &[u32], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(digit, weight)| digit * weight).sum()
}

/// The number that these digits write.
pub fn number(digits: &[u32]) -> u64 {
    digits.iter().fold(0, |sum, digit| sum * 10 + u64::from(*digit))
}

/// The digit at a place; none is zero, which no sum minds.
pub fn at(digits: &[u32], place: usize) -> u32 {
    digits.get(place).copied().unwrap_or_default()
}

/// Whether all digits are the same, as in numbers of examples.
pub fn is_same(digits: &[u32]) -> bool {
    digits.windows(2).all(|pair| matches!(pair, [first, second] if first == second))
}

/// Luhn's sum (ISO/IEC 7812).
pub fn luhn(digits: &[u32]) -> bool {
    let double = |digit: u32| if digit > 4 { digit * 2 - 9 } else { digit * 2 };
    let values = digits.iter().rev().enumerate();
    let sum: u32 =
        values.map(|(nth, digit)| if nth % 2 == 1 { double(*digit) } else { *digit }).sum();
    sum.is_multiple_of(10)
}

/// Verhoeff's sum: the dihedral group of ten elements.
pub fn verhoeff(digits: &[u32]) -> bool {
    const TURNS: [[u32; 10]; 8] = [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 5, 7, 6, 2, 8, 3, 0, 9, 4],
        [5, 8, 0, 3, 7, 9, 6, 1, 4, 2],
        [8, 9, 1, 6, 0, 4, 3, 5, 2, 7],
        [9, 4, 5, 3, 1, 2, 6, 8, 7, 0],
        [4, 2, 8, 6, 5, 7, 3, 9, 0, 1],
        [2, 7, 9, 3, 8, 0, 6, 4, 1, 5],
        [7, 0, 4, 6, 9, 1, 3, 2, 5, 8],
    ];
    let times = |left: u32, right: u32| match (left / 5, right / 5) {
        (0, 0) => (left + right) % 5,
        (0, _) => 5 + (left + right) % 5,
        (_, 0) => 5 + (left + 5 - right) % 5,
        _ => (left + 5 - right % 5) % 5,
    };
    let turned = digits.iter().rev().enumerate().map(|(nth, digit)| {
        let turn = TURNS.get(nth % 8);
        turn.and_then(|turn| turn.get(usize::try_from(*digit).ok()?)).copied().unwrap_or(0)
    });
    turned.fold(0, times) == 0
}

/// ISO 7064, MOD 11,10.
pub fn mod_11_10(digits: &[u32]) -> bool {
    let Some((check, body)) = digits.split_last() else { return false };
    let step = |rest: u32, digit: &u32| {
        let sum = (rest + digit) % 10;
        (if sum == 0 { 10 } else { sum }) * 2 % 11
    };
    (11 - body.iter().fold(10, step)) % 10 == *check
}

/// ISO 7064, MOD 97-10, over letters (A is 10) and digits.
pub fn mod_97_10(text: &str) -> bool {
    let rest = text.chars().filter_map(|letter| letter.to_digit(36)).fold(0, |rest, value| {
        let shift = if value > 9 { 100 } else { 10 };
        (rest * shift + value) % 97
    });
    rest == 1
}

/// Luhn's sum over letters (A is 10) written as two digits: ISO 6166.
pub fn luhn_letters(text: &str) -> bool {
    let mut digits = Vec::new();
    for value in text.chars().filter_map(|letter| letter.to_digit(36)) {
        if value > 9 {
            digits.push(value / 10);
        }
        digits.push(value % 10);
    }
    luhn(&digits)
}

/// Whether there is such a day.
pub fn is_date(year: u32, month: u32, day: u32) -> bool {
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let last = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return false,
    };
    (1..=last).contains(&day)
}

/// Whether two digits each for year, month and day are a day of one of two centuries.
pub fn is_short_date(year: u32, month: u32, day: u32) -> bool {
    is_date(1900 + year, month, day) || is_date(2000 + year, month, day)
}

/// The number of two digits at a place.
pub fn two(digits: &[u32], place: usize) -> u32 {
    at(digits, place) * 10 + at(digits, place + 1)
}

#[cfg(test)]
mod tests {
    use super::{is_date, luhn, luhn_letters, mod_11_10, mod_97_10, verhoeff};

    /// Digits and the sum that they hold.
    type Case<'a> = (&'a [u32], fn(&[u32]) -> bool);

    #[test]
    fn sums_hold_for_published_examples_and_fail_for_any_other_digit() {
        let all: [Case<'_>; 3] = [
            (&[7, 9, 9, 2, 7, 3, 9, 8, 7, 1, 3], luhn),
            (&[2, 3, 6, 3], verhoeff),
            (&[7, 9, 4, 6, 2, 3], mod_11_10),
        ];
        for (number, sum) in all {
            assert!(sum(number));
            let other: Vec<u32> = (0..10)
                .filter(|last| {
                    let mut changed = number.to_vec();
                    *changed.last_mut().unwrap() = *last;
                    sum(&changed)
                })
                .collect();
            assert_eq!(other, [*number.last().unwrap()]);
        }
        assert!(mod_97_10("777") && !mod_97_10("778"));
        assert!(luhn_letters("US0378331005") && !luhn_letters("US0378331003"));
    }

    #[test]
    fn days_that_are_not_there_are_none() {
        assert!(is_date(2000, 2, 29) && is_date(2024, 2, 29));
        assert!(!is_date(1900, 2, 29) && !is_date(2023, 13, 1) && !is_date(2023, 4, 31));
    }
}
