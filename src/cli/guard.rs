//! `ringwall guard`: what the guard finds in a text, and how well and how fast it finds.

use crate::base::hit::Action;
use crate::base::numbers::{to_f64, to_u64};
use crate::base::text::{Channel, Text};
use crate::cli::args::{Guard as Command, GuardRules};
use crate::cli::guard_score::{Inspected, Scorer, direction_of};
use crate::cli::{check, corpus, guard_bench, measure, print};
use crate::config::model::Guard;
use crate::guard::inspect::Matcher;
use crate::guard::phrases;
use crate::guard::rules::Rules;
use std::fmt::Write as _;
use std::io::{self, Read};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// The largest text that `guard test` reads, in bytes.
const TEXT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A text is inspected so often, unless that takes longer than [`TEST_NS_MAX`]; the median counts.
const TEST_ROUNDS: usize = 101;
const TEST_NS_MAX: u64 = 500_000_000;

/// What a tool exits with that could not read what it was given.
pub const UNREADABLE: u8 = 2;

/// Does what is asked about the guard.
pub fn run(command: &Command) -> ExitCode {
    match command {
        Command::Test { file, channel, show, rules } => test(file, channel, *show, rules),
        Command::Score { file, rules } => score(file, rules),
        Command::Bench { files, task, json, rules } => {
            let Some(mut scorer) = scorer(rules) else { return ExitCode::from(UNREADABLE) };
            match guard_bench::measure(&mut scorer, files, task.as_deref()) {
                Ok(report) => print::out(&if *json { report.json() } else { report.table() }),
                Err(error) => unreadable(&error),
            }
        }
    }
}

/// A scorer with the rules that are asked for; if there is none, says why.
pub fn scorer(rules: &GuardRules) -> Option<Scorer> {
    let guard = match &rules.config {
        Some(path) => check::load_or_tell(path, &[]).ok()?.guard,
        None => Guard { enabled: true, ..Guard::default() },
    };
    let matcher = Rules::compile(&guard).and_then(|rules| Matcher::new(Arc::new(rules)));
    match matcher {
        Ok(matcher) => Some(Scorer::new(matcher)),
        Err(fault) => {
            print::err(&format!("error: {fault}\n"));
            None
        }
    }
}

/// Says that something could not be read.
pub fn unreadable(error: &io::Error) -> ExitCode {
    print::err(&format!("error: {error}\n"));
    ExitCode::from(UNREADABLE)
}

fn score(file: &Path, rules: &GuardRules) -> ExitCode {
    let Some(mut scorer) = scorer(rules) else { return ExitCode::from(UNREADABLE) };
    let mut lines = String::new();
    let mut is_read = true;
    let done = corpus::rows(file, |row| {
        let line = serde_json::to_string(&scorer.score(&row)).map_err(io::Error::other)?;
        lines.push_str(&line);
        lines.push('\n');
        if lines.len() >= LINES_BYTES {
            is_read &= print::out(&lines) == ExitCode::SUCCESS;
            lines.clear();
        }
        if is_read { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
    });
    let printed = if is_read { print::out(&lines) } else { ExitCode::FAILURE };
    match done {
        Err(error) if is_read => unreadable(&with_name(file, error)),
        Err(_) | Ok(()) => printed,
    }
}

/// So much is printed at once.
const LINES_BYTES: usize = 64 * 1024;

/// The same error, with the name of its file.
#[expect(clippy::needless_pass_by_value, reason = "it takes its place")]
pub fn with_name(file: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", file.display()))
}

fn test(file: &Path, channel: &str, show: bool, rules: &GuardRules) -> ExitCode {
    let Some(channel) = corpus::channel_named(channel) else {
        let names: Vec<&str> = Channel::ALL.iter().map(|channel| channel.name()).collect();
        print::err(&format!("error: no such channel; there are: {}\n", names.join(", ")));
        return ExitCode::from(UNREADABLE);
    };
    let said = match read(file) {
        Ok(said) => said,
        Err(error) => return unreadable(&with_name(file, error)),
    };
    let Some(mut scorer) = scorer(rules) else { return ExitCode::from(UNREADABLE) };
    let mut text = Text::default();
    corpus::push(&mut text, &said, channel);
    let inspected = inspect(&mut scorer, &text, channel);
    let printed = print::out(&report(&scorer, &said, channel, &inspected, show));
    if inspected.hits.is_empty() { printed } else { ExitCode::FAILURE }
}

fn read(file: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    corpus::open(file)?.take(TEXT_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if to_u64(bytes.len()) > TEXT_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "more than 64 MiB"));
    }
    String::from_utf8(bytes)
        .map_err(|_bytes| io::Error::new(io::ErrorKind::InvalidData, "the text is not UTF-8"))
}

/// The last inspection of several, with the median of what they took.
fn inspect(scorer: &mut Scorer, text: &Text, channel: Channel) -> Inspected {
    let direction = direction_of(channel);
    let mut inspected = scorer.inspect(text, direction);
    let mut costs = vec![inspected.cost_ns];
    while costs.len() < TEST_ROUNDS && costs.iter().sum::<u64>() < TEST_NS_MAX {
        inspected = scorer.inspect(text, direction);
        costs.push(inspected.cost_ns);
    }
    costs.sort_unstable();
    inspected.cost_ns = measure::quantile(&costs, 50);
    inspected
}

/// What was found. The values themselves are told only if `show` says so.
fn report(
    scorer: &Scorer,
    said: &str,
    channel: Channel,
    inspected: &Inspected,
    show: bool,
) -> String {
    let action = inspected.hits.iter().map(|hit| hit.action).max().unwrap_or_default();
    let way = direction_of(channel).name();
    let mut out = String::new();
    let micros = to_f64(inspected.cost_ns) / 1000.0;
    let kilobytes = to_f64(to_u64(said.len())) / 1024.0;
    writeln!(
        out,
        "{}, {way}, {} bytes: {} ({} found by {} rules in {micros:.1} us, {:.1} us/KB)",
        channel.name(),
        said.len(),
        action.name(),
        inspected.hits.len(),
        scorer.rules().count(),
        micros / kilobytes.max(1.0 / 1024.0),
    )
    .unwrap_or_default();
    for (hit, spot) in inspected.hits.iter().zip(&inspected.spots) {
        let rules = scorer.rules();
        let span = spot.span.clone().or_else(|| phrases::place_of(rules, spot.rule, said));
        let mask = if hit.action == Action::Mask { rules.placeholder(spot.rule) } else { "" };
        let (place, value) = match span {
            Some(span) => {
                let value = said.get(span.clone()).unwrap_or_default();
                let value = if show { format!("{value:?}") } else { String::new() };
                (place(said, span.start, span.end), value)
            }
            None => ("the whole text".to_owned(), String::new()),
        };
        let line =
            format!("  {:<32} {:<6} {place:<34} {mask} {value}", hit.rule, hit.action.name());
        writeln!(out, "{}", line.trim_end()).unwrap_or_default();
    }
    out
}

/// Bytes, and where an editor finds them.
fn place(said: &str, start: usize, end: usize) -> String {
    let before = said.get(..start).unwrap_or_default();
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    format!("{start}..{end} (line {line}, column {column})")
}

#[cfg(test)]
mod tests {
    use super::{inspect, report, scorer};
    use crate::base::text::{Channel, Text};
    use crate::cli::args::GuardRules;
    use crate::cli::corpus;

    #[test]
    fn a_value_is_shown_only_if_that_is_asked_for() {
        let mut scorer = scorer(&GuardRules { config: None }).unwrap();
        let said = "Hello,\npay 4111 1111 1111 1111";
        let mut text = Text::default();
        corpus::push(&mut text, said, Channel::User);
        let inspected = inspect(&mut scorer, &text, Channel::User);
        let quiet = report(&scorer, said, Channel::User, &inspected, false);
        assert!(quiet.contains("pii.card"), "{quiet}");
        assert!(quiet.contains("11..30 (line 2, column 5)") && quiet.contains("[CARD]"), "{quiet}");
        assert!(!quiet.contains("4111"), "{quiet}");
        let shown = report(&scorer, said, Channel::User, &inspected, true);
        assert!(shown.contains("\"4111 1111 1111 1111\""), "{shown}");
    }
}
