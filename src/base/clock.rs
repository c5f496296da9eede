//! Time, as a reading that is handed in: monotonic for limits and deadlines, wall for stamps.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
#[expect(clippy::disallowed_types, reason = "the one place that reads the clock")]
use std::time::{Instant, SystemTime};

/// Where readings come from: the machine, or a test that moves time by hand.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    #[expect(clippy::disallowed_types, reason = "the one place that reads the clock")]
    Machine {
        start: Instant,
    },
    Simulated(Arc<Simulated>),
}

#[derive(Debug, Default)]
struct Simulated {
    /// Nanoseconds.
    mono: AtomicU64,
    /// Milliseconds that the wall is ahead of it.
    ahead: AtomicU64,
}

/// A monotonic reading: nanoseconds since the clock was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mono(pub u64);

/// A wall reading: milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wall(pub u64);

impl Clock {
    /// The machine's clock.
    #[expect(clippy::disallowed_types, reason = "the one place that reads the clock")]
    pub fn machine() -> Self {
        Self(Source::Machine { start: Instant::now() })
    }

    /// A clock that stands still until [`Clock::advance`].
    pub fn simulated() -> Self {
        Self(Source::Simulated(Arc::new(Simulated {
            mono: AtomicU64::new(1),
            ..Simulated::default()
        })))
    }

    /// The monotonic reading.
    pub fn mono(&self) -> Mono {
        match &self.0 {
            Source::Machine { start } => {
                Mono(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX))
            }
            Source::Simulated(now) => Mono(now.mono.load(Ordering::Acquire)),
        }
    }

    /// The wall reading; a simulated clock counts from the epoch.
    #[expect(clippy::disallowed_types, reason = "the one place that reads the clock")]
    pub fn wall(&self) -> Wall {
        match &self.0 {
            Source::Machine { .. } => {
                let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
                let millis = since.unwrap_or_default().as_millis();
                Wall(u64::try_from(millis).unwrap_or(u64::MAX))
            }
            Source::Simulated(now) => {
                let own = now.mono.load(Ordering::Acquire) / 1_000_000;
                Wall(own + now.ahead.load(Ordering::Acquire))
            }
        }
    }

    /// Moves a simulated clock forward; the machine's clock moves by itself.
    pub fn advance(&self, by: Duration) {
        if let Source::Simulated(now) = &self.0 {
            now.mono.fetch_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX), Ordering::AcqRel);
        }
    }

    /// Lets a simulated clock's wall stand so far ahead of its monotonic reading from now on: it
    /// jumps, forth or back, as a machine's does that is set.
    pub fn set_ahead(&self, by: Duration) {
        if let Source::Simulated(now) = &self.0 {
            now.ahead.store(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::Release);
        }
    }
}

impl Mono {
    /// The time from `earlier` to this; zero if that is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// This reading and a while.
    #[must_use]
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Wall {
    /// As RFC 3339 in UTC with milliseconds, for records: `2026-11-25T09:53:00.000Z`.
    pub fn rfc3339(self) -> String {
        let (days, millis) = (self.0 / 86_400_000, self.0 % 86_400_000);
        let (year, month, day) = civil(days);
        let seconds = millis / 1000;
        format!(
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            seconds / 3600,
            seconds / 60 % 60,
            seconds % 60,
            millis % 1000
        )
    }

    /// Reads a date (`2026-12-31`) or an RFC 3339 time in UTC (`2026-12-31T23:59:59Z`).
    pub fn parse(text: &str) -> Option<Self> {
        let (date, time) = match text.split_once(['T', ' ']) {
            Some((date, time)) => (date, time.strip_suffix('Z')?),
            None => (text, "00:00:00"),
        };
        let (time, millis) = match time.split_once('.') {
            Some((time, fraction)) => {
                let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
                (time, digits.parse().ok()?)
            }
            None => (time, 0),
        };
        let [year, month, day] = numbers(date, '-')?;
        let [hour, minute, second] = numbers(time, ':')?;
        let valid = (1970..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_in(year, month)).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        let seconds =
            days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
        valid.then_some(Self(seconds * 1000 + millis))
    }
}

fn numbers(text: &str, by: char) -> Option<[u64; 3]> {
    let mut parts = text.split(by).map(|part| {
        (part.len() >= 2 && part.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| part.parse::<u64>().ok())
            .flatten()
    });
    let found = [parts.next()??, parts.next()??, parts.next()??];
    parts.next().is_none().then_some(found)
}

fn days_in(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

/// Days since 1970-01-01 of a date in the Gregorian calendar, counting years from March.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year.saturating_sub(1) } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.saturating_sub(1);
    (365 * year + year / 4 - year / 100 + year / 400 + day_of_year).saturating_sub(719_468)
}

/// The inverse of [`days_from_civil`].
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::{Clock, Wall};
    use std::time::Duration;

    #[test]
    fn wall_times_read_back_as_they_were_written() {
        for text in
            ["1970-01-01T00:00:00.000Z", "2024-02-29T23:59:59.999Z", "2026-11-25T09:53:00.120Z"]
        {
            assert_eq!(Wall::parse(text).map(Wall::rfc3339).as_deref(), Some(text));
        }
        assert_eq!(Wall::parse("2026-12-31").map(|wall| wall.0), Some(1_798_675_200_000));
        for bad in
            ["2026-02-30", "2026-1-1", "tomorrow", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00"]
        {
            assert_eq!(Wall::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_simulated_clock_moves_by_hand() {
        let clock = Clock::simulated();
        let before = clock.mono();
        clock.advance(Duration::from_secs(2));
        assert_eq!(clock.mono().since(before), Duration::from_secs(2));
    }
}
