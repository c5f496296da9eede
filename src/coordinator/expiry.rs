//! Says until when the listeners' certificates are valid, before clients notice.

use crate::base::clock::{Mono, Wall};
use crate::gateway::plan::{Certificate, Plan};
use std::time::Duration;

/// What is left of a certificate from when on it is said every day: authorities that renew by
/// themselves do so a month before the end, so with two weeks left that has failed.
const SOON: Duration = Duration::from_hours(14 * 24);
/// How often it is said then.
const AGAIN: Duration = Duration::from_hours(24);

/// What was said of the certificates of one plan.
#[derive(Debug, Default)]
pub struct Expiry {
    /// The plan's generation; zero before the first.
    generation: u64,
    /// By certificate: what was said last, and when.
    said: Vec<(Term, Mono)>,
}

/// How long a certificate has still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Term {
    /// Nobody knows.
    Unread,
    /// Long enough.
    Long,
    /// Less than [`SOON`].
    Short,
    /// It ended.
    Over,
}

impl Expiry {
    /// What is to be said now: of every certificate of a new plan, of one whose term became
    /// shorter, and once a day of those that end soon.
    pub fn look(&mut self, plan: &Plan, now: Mono, wall: Wall) -> Vec<String> {
        self.lines(plan.generation, &plan.certificates, now, wall)
    }

    fn lines(
        &mut self,
        generation: u64,
        certificates: &[Certificate],
        now: Mono,
        wall: Wall,
    ) -> Vec<String> {
        let is_new = generation != self.generation;
        if is_new {
            self.generation = generation;
            self.said = vec![(Term::Unread, now); certificates.len()];
        }
        let each = certificates.iter().zip(&mut self.said);
        let due = each.filter_map(|(certificate, (said, since))| {
            let term = term(certificate, wall);
            let is_urgent = matches!(term, Term::Short | Term::Over);
            let is_due = is_new || is_urgent && (term != *said || now.since(*since) >= AGAIN);
            if is_due {
                *since = now;
            }
            *said = term;
            is_due.then(|| line(certificate, term, wall))
        });
        due.collect()
    }
}

fn term(certificate: &Certificate, wall: Wall) -> Term {
    match certificate.until {
        None => Term::Unread,
        Some(until) if until <= wall => Term::Over,
        Some(until) if left(until, wall) < SOON => Term::Short,
        Some(_) => Term::Long,
    }
}

fn left(until: Wall, wall: Wall) -> Duration {
    Duration::from_millis(until.0.saturating_sub(wall.0))
}

fn line(certificate: &Certificate, term: Term, wall: Wall) -> String {
    let Certificate { listener, file, until } = certificate;
    let until = until.unwrap_or_default();
    let stamp = until.rfc3339();
    let hours = left(until, wall).as_secs() / 3600;
    let what = match term {
        Term::Unread => "nobody can read until when it is valid".to_owned(),
        Term::Long => format!("valid until {stamp}"),
        Term::Short => format!("ends in {} days and {} hours, at {stamp}", hours / 24, hours % 24),
        Term::Over => format!("ended at {stamp}, and clients refuse it"),
    };
    format!("certificate `{file}` of {listener}: {what}")
}

#[cfg(test)]
mod tests {
    use super::Expiry;
    use crate::base::clock::{Clock, Wall};
    use crate::gateway::plan::Certificate;
    use std::time::Duration;

    const HOUR: Duration = Duration::from_hours(1);

    fn until(days: u64) -> Certificate {
        let until = Some(Wall(days * 24 * 3_600_000));
        Certificate { listener: "127.0.0.1:443".into(), file: "one.pem".into(), until }
    }

    /// Lines, and the hours after the start at which they were said.
    fn said(certificate: Certificate, hours: usize) -> Vec<(usize, String)> {
        let (clock, mut expiry) = (Clock::simulated(), Expiry::default());
        let certificates = [certificate];
        let mut all = Vec::new();
        for hour in 0..hours {
            let lines = expiry.lines(1, &certificates, clock.mono(), clock.wall());
            all.extend(lines.into_iter().map(|line| (hour, line)));
            assert!(expiry.lines(1, &certificates, clock.mono(), clock.wall()).is_empty());
            clock.advance(HOUR);
        }
        all
    }

    #[test]
    fn a_certificate_is_named_at_the_start_and_every_day_of_its_last_two_weeks() {
        let lines = said(until(16), 24 * 18 + 1);
        let (first, rest) = lines.split_first().unwrap();
        let head = "certificate `one.pem` of 127.0.0.1:443: ";
        assert_eq!(*first, (0, format!("{head}valid until 1970-01-17T00:00:00.000Z")));
        // Two weeks before the end are two days after the start; an hour later less is left.
        let hours: Vec<usize> = rest.iter().map(|(hour, _)| *hour).collect();
        let days = (0..14).map(|day| 49 + 24 * day);
        assert_eq!(hours, days.chain([384, 408, 432]).collect::<Vec<_>>());
        let end = "at 1970-01-17T00:00:00.000Z";
        assert_eq!(rest[0].1, format!("{head}ends in 13 days and 23 hours, {end}"));
        assert_eq!(rest[13].1, format!("{head}ends in 0 days and 23 hours, {end}"));
        assert_eq!(rest[14].1, format!("{head}ended {end}, and clients refuse it"));
        assert_eq!(rest[16].1, rest[14].1);
    }

    #[test]
    fn a_reload_says_it_anew_and_a_new_certificate_ends_the_warnings() {
        let (clock, mut expiry) = (Clock::simulated(), Expiry::default());
        let mut look = |generation, certificates: &[Certificate]| {
            clock.advance(HOUR * 24);
            expiry.lines(generation, certificates, clock.mono(), clock.wall())
        };
        assert_eq!(look(1, &[until(9), until(90)]).len(), 2);
        assert_eq!(look(1, &[until(9), until(90)]).len(), 1);
        assert_eq!(look(2, &[until(99), until(90)]).len(), 2);
        assert!(look(2, &[until(99), until(90)]).is_empty());
        let unread = Certificate { until: None, ..until(1) };
        assert!(look(3, std::slice::from_ref(&unread))[0].contains("nobody can read"));
        assert!(look(3, &[unread]).is_empty());
    }

    #[test]
    fn a_wall_clock_that_jumps_back_and_forth_is_followed() {
        let (clock, mut expiry) = (Clock::simulated(), Expiry::default());
        let mut look = |ahead: Duration| {
            clock.set_ahead(ahead);
            expiry.lines(1, &[until(30)], clock.mono(), clock.wall()).pop()
        };
        assert!(look(Duration::ZERO).unwrap().contains("valid until"));
        assert!(look(HOUR * 24 * 20).unwrap().contains("ends in 10 days and 0 hours"));
        assert!(look(HOUR * 24 * 31).unwrap().contains("ended at"));
        assert_eq!(look(Duration::ZERO), None);
        assert!(look(HOUR * 24 * 31).unwrap().contains("ended at"));
    }
}
