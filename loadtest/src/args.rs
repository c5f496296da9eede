//! The command line, and the plan that it means.

use crate::plan::{
    CONNECTIONS, CONNECTIONS_MAX, DURATION_MAX, Plan, RATE_MAX, REQUESTS, REQUESTS_MAX, Work,
};
use crate::prompt::{BYTES_MAX, BYTES_MIN};
use crate::target::Target;
use clap::{Parser, Subcommand, value_parser};
use ringwall::base::numbers::{to_u32, to_usize};
use ringwall::base::secret::Secret;
use std::path::PathBuf;
use std::time::Duration;

/// Asks a gateway on this machine for answers, checks them, and times them.
///
/// Exits with 0 if every answer was sound, 1 if one was not, 2 if the command line is wrong.
#[derive(Debug, Parser)]
#[command(
    name = "ringwall-load",
    version,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Args {
    /// What to ask for.
    #[command(subcommand)]
    pub command: Command,
}

/// What to ask for.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask for chat completions
    Chat {
        /// Of this model
        #[arg(long, default_value = "demo-model")]
        model: String,
        /// As streams
        #[arg(long)]
        stream: bool,
        /// How.
        #[command(flatten)]
        load: Load,
    },
    /// Call an MCP tool, on a session for each connection
    Mcp {
        /// Of this name; its only argument is `message`, the prompt
        #[arg(long, default_value = "echo")]
        tool: String,
        /// How.
        #[command(flatten)]
        load: Load,
    },
}

/// How to ask.
#[derive(Debug, clap::Args)]
pub struct Load {
    /// Where: http, and on this machine only
    #[arg(long, value_parser = Target::parse)]
    url: Target,
    /// The caller's API key
    #[arg(long, value_parser = key)]
    key: Option<String>,
    /// Connections
    #[arg(
        long, default_value_t = CONNECTIONS,
        value_parser = value_parser!(u32).range(1..=i64::from(CONNECTIONS_MAX))
    )]
    connections: u32,
    /// End after so many requests [default: 10000, unless --duration is given]
    #[arg(
        long, conflicts_with = "duration",
        value_parser = value_parser!(u64).range(1..=REQUESTS_MAX)
    )]
    requests: Option<u64>,
    /// End after so much time, such as 500ms, 10s or 2m; at most 10m, which ends every run
    #[arg(long, value_parser = duration)]
    duration: Option<Duration>,
    /// Requests each second, sent when they are due whether or not others were answered; without
    /// it each connection sends as soon as it was answered
    #[arg(long, value_parser = value_parser!(u32).range(1..=i64::from(RATE_MAX)))]
    rate: Option<u32>,
    /// Bytes of each prompt
    #[arg(
        long, default_value_t = 2048,
        value_parser = value_parser!(u32).range(prompt_bytes())
    )]
    prompt_bytes: u32,
    /// Put the number of a test card into each so manieth prompt; it must not come back
    #[arg(long, value_name = "K", value_parser = value_parser!(u64).range(1..))]
    card_every: Option<u64>,
    /// Count an answer that does not echo its prompt as an error
    #[arg(long)]
    expect_echo: bool,
    /// Write the report as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Args {
    /// The plan, and where to write its report.
    pub fn plan(self) -> (Plan, Option<PathBuf>) {
        let (work, load) = match self.command {
            Command::Chat { model, stream, load } => {
                (Work::Chat { model, is_stream: stream }, load)
            }
            Command::Mcp { tool, load } => (Work::Mcp { tool }, load),
        };
        let requests = match load.duration {
            Some(_) => load.requests.unwrap_or(REQUESTS_MAX),
            None => load.requests.unwrap_or(REQUESTS),
        };
        let plan = Plan {
            target: load.url,
            work,
            key: load.key.map(Secret::new),
            connections: load.connections,
            requests,
            duration: load.duration.unwrap_or(DURATION_MAX),
            rate: load.rate,
            prompt_bytes: to_usize(load.prompt_bytes),
            card_every: load.card_every,
            expect_echo: load.expect_echo,
        };
        (plan, load.json)
    }
}

fn prompt_bytes() -> std::ops::RangeInclusive<i64> {
    i64::from(to_u32(BYTES_MIN))..=i64::from(to_u32(BYTES_MAX))
}

/// A key is sent in a header field. The message must not repeat it.
fn key(text: &str) -> Result<String, &'static str> {
    let is_sound = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_sound { Ok(text.to_owned()) } else { Err("a key is visible ASCII without spaces") }
}

fn duration(text: &str) -> Result<Duration, &'static str> {
    const FORM: &str = "a duration is a number with ms, s or m, such as 10s";
    let (digits, millis) = if let Some(digits) = text.strip_suffix("ms") {
        (digits, 1)
    } else if let Some(digits) = text.strip_suffix('s') {
        (digits, 1000)
    } else {
        (text.strip_suffix('m').ok_or(FORM)?, 60_000)
    };
    let count: u32 = digits.parse().map_err(|_digits| FORM)?;
    let duration = Duration::from_millis(u64::from(count) * millis);
    if duration.is_zero() || duration > DURATION_MAX {
        return Err("a duration is more than 0 and at most 10m");
    }
    Ok(duration)
}

#[cfg(test)]
mod tests {
    use super::{Args, duration};
    use crate::plan::{DURATION_MAX, Plan, REQUESTS, Work};
    use clap::{CommandFactory, Parser};
    use std::time::Duration;

    fn parse(more: &str) -> Result<Plan, clap::Error> {
        let words = format!("ringwall-load {more}");
        Args::try_parse_from(words.split(' ')).map(|args| args.plan().0)
    }

    #[test]
    fn the_arguments_fit_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn a_run_is_bounded_without_being_told() {
        let plan = parse("chat --url http://127.0.0.1:1/").unwrap();
        assert_eq!((plan.requests, plan.duration), (REQUESTS, DURATION_MAX));
        assert_eq!((plan.connections, plan.prompt_bytes, plan.rate), (32, 2048, None));
        let timed = parse("mcp --url http://127.0.0.1:1/ --duration 10s").unwrap();
        assert!(timed.requests > REQUESTS);
        assert_eq!(timed.duration, Duration::from_secs(10));
        assert_eq!(timed.work, Work::Mcp { tool: "echo".to_owned() });
    }

    #[test]
    fn what_goes_too_far_is_a_usage_error() {
        for more in [
            "--connections 10001",
            "--connections 0",
            "--requests 0",
            "--requests 5 --duration 1s",
            "--duration 11m",
            "--duration 0s",
            "--duration 5",
            "--rate 0",
            "--prompt-bytes 127",
            "--prompt-bytes 1048577",
            "--card-every 0",
        ] {
            let error = parse(&format!("chat --url http://127.0.0.1:1/ {more}")).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{more}");
        }
        let error = parse("chat --url http://192.0.2.1/").unwrap_err().to_string();
        assert!(error.contains("not a loopback address"), "{error}");
    }

    #[test]
    fn durations_have_units() {
        for (text, millis) in [("500ms", 500), ("10s", 10_000), ("2m", 120_000), ("10m", 600_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }
}
