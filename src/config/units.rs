//! Quantities with a unit: `"30s"`, `"500ms"`, `"10 MiB"`. A bare number is refused everywhere,
//! since nobody reads `timeout = 30` the same way.

use std::time::Duration;

/// Why a text is no quantity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UnitFault {
    /// It does not begin with a whole number, or that does not fit.
    NoNumber,
    /// There is no unit; holds the number.
    NoUnit(u64),
    /// The unit is none of ours; holds what it may have meant to say.
    UnknownUnit(Option<String>),
    /// The whole does not fit 64 bits.
    TooLarge,
}

/// A duration: a whole number and `ms`, `s`, `m`, `h` or `d`.
pub fn duration(text: &str) -> Result<Duration, UnitFault> {
    quantity(text, &SPANS, "").map(Duration::from_millis)
}

/// A size in bytes: a whole number and `B`, `KB`, `KiB`, `MB`, `MiB`, `GB`, `GiB`, `TB` or `TiB`.
pub fn size(text: &str) -> Result<u64, UnitFault> {
    quantity(text, &SIZES, " ")
}

/// The units of a duration, as a message lists them.
pub const SPAN_UNITS: &str = "`ms`, `s`, `m`, `h`, `d`";
/// The units of a size, as a message lists them.
pub const SIZE_UNITS: &str = "`B`, `KiB`, `MiB`, `GiB`, `TiB` (or `KB`, `MB`, `GB`, `TB`)";

/// A unit, its worth, and other ways in which people write it.
type Unit = (&'static str, u64, &'static [&'static str]);

/// In milliseconds.
const SPANS: [Unit; 5] = [
    ("ms", 1, &["msec", "millis", "milliseconds", "millisecond"]),
    ("s", 1_000, &["sec", "secs", "second", "seconds"]),
    ("m", 60_000, &["min", "mins", "minute", "minutes"]),
    ("h", 3_600_000, &["hr", "hrs", "hour", "hours"]),
    ("d", 86_400_000, &["day", "days"]),
];

/// In bytes.
const SIZES: [Unit; 9] = [
    ("B", 1, &["byte", "bytes"]),
    ("KB", 1_000, &[]),
    ("KiB", 1 << 10, &["k", "kibibytes"]),
    ("MB", 1_000_000, &[]),
    ("MiB", 1 << 20, &["m", "meg", "mebibytes"]),
    ("GB", 1_000_000_000, &[]),
    ("GiB", 1 << 30, &["g", "gig", "gibibytes"]),
    ("TB", 1_000_000_000_000, &[]),
    ("TiB", 1 << 40, &["t", "tebibytes"]),
];

fn quantity(text: &str, units: &[Unit], space: &str) -> Result<u64, UnitFault> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or(UnitFault::NoNumber)?;
    let Ok(number) = number.parse::<u64>() else {
        return Err(if digits == 0 { UnitFault::NoNumber } else { UnitFault::TooLarge });
    };
    let unit = unit.trim_matches(' ');
    if unit.is_empty() {
        return Err(UnitFault::NoUnit(number));
    }
    if let Some((_, worth, _)) = units.iter().find(|(name, _, _)| *name == unit) {
        return number.checked_mul(*worth).ok_or(UnitFault::TooLarge);
    }
    let lower = unit.to_ascii_lowercase();
    let meant = units
        .iter()
        .find(|(name, _, others)| name.eq_ignore_ascii_case(unit) || others.contains(&&*lower));
    Err(UnitFault::UnknownUnit(meant.map(|(name, _, _)| format!("{number}{space}{name}"))))
}

#[cfg(test)]
mod tests {
    use super::{UnitFault, duration, size};
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use std::time::Duration;

    #[test]
    fn quantities_are_read_with_their_unit() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("30 s"), Ok(Duration::from_secs(30)));
        assert_eq!(duration("2m"), Ok(Duration::from_mins(2)));
        assert_eq!(duration("1d"), Ok(Duration::from_hours(24)));
        assert_eq!(size("10 MiB"), Ok(10 << 20));
        assert_eq!(size("64KiB"), Ok(65_536));
        assert_eq!(size("1 KB"), Ok(1_000));
    }

    #[test]
    fn a_wrong_unit_says_what_it_may_have_meant() {
        let meant = |text: &str| UnitFault::UnknownUnit(Some(text.to_owned()));
        assert_eq!(duration("30sec"), Err(meant("30s")));
        assert_eq!(duration("30S"), Err(meant("30s")));
        assert_eq!(size("10mib"), Err(meant("10 MiB")));
        assert_eq!(size("10M"), Err(meant("10 MiB")));
        assert_eq!(duration("3 fortnights"), Err(UnitFault::UnknownUnit(None)));
        assert_eq!(duration("30"), Err(UnitFault::NoUnit(30)));
        assert_eq!(duration("1.5s"), Err(UnitFault::UnknownUnit(None)));
        assert_eq!(duration("-1s"), Err(UnitFault::NoNumber));
        assert_eq!(duration(""), Err(UnitFault::NoNumber));
        assert_eq!(size("99999999999 TiB"), Err(UnitFault::TooLarge));
        assert_eq!(size("99999999999999999999999 B"), Err(UnitFault::TooLarge));
    }

    proptest! {
        #[test]
        fn only_a_number_and_a_letter_make_a_quantity(text in any::<String>()) {
            let shaped = text.starts_with(|first: char| first.is_ascii_digit())
                && text.contains(|letter: char| letter.is_ascii_alphabetic());
            prop_assert!(shaped || (duration(&text).is_err() && size(&text).is_err()));
        }

        #[test]
        fn every_duration_in_milliseconds_is_read(millis in any::<u64>()) {
            prop_assert_eq!(duration(&format!("{millis}ms")), Ok(Duration::from_millis(millis)));
        }
    }
}
