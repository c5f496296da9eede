//! The commands and their arguments; help and completions are made of this.

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// An edge gateway for AI models and tools: who asks, what they may, what is said, what happened.
#[derive(Debug, Parser)]
#[command(name = "ringwall", version, subcommand_required = true, arg_required_else_help = true)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the gateway
    Serve {
        /// The configuration
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Lay a value over the file, such as `gateway.workers=2`; may be repeated
        #[arg(long = "set", value_name = "PATH=VALUE")]
        sets: Vec<String>,
    },
    /// Say every mistake of a configuration; exits with 0 if there is none, 1 if there is, 2 if
    /// the file cannot be read
    Check {
        /// The configuration
        #[arg(value_name = "FILE")]
        config: PathBuf,
        /// Lay a value over the file, such as `gateway.workers=2`; may be repeated
        #[arg(long = "set", value_name = "PATH=VALUE")]
        sets: Vec<String>,
    },
    /// Run the gateway in front of a demo model and a demo MCP server
    Demo {
        /// Lay a value over the quickstart configuration; may be repeated
        #[arg(long = "set", value_name = "PATH=VALUE")]
        sets: Vec<String>,
    },
    /// Make API keys
    #[command(subcommand)]
    Key(Key),
    /// Look into audit logs
    #[command(subcommand)]
    Audit(Audit),
    /// Try and measure what the guard finds
    #[command(subcommand)]
    Guard(Guard),
    /// Print the JSON Schema of the configuration
    Schema,
    /// Print the reference of the configuration, in Markdown
    Reference,
    /// Print completions for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// About API keys.
#[derive(Debug, Subcommand)]
pub enum Key {
    /// Print a new API key, once, and the digest to put into the configuration
    New,
}

/// About audit logs.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Check that no record was changed, dropped or moved
    Verify {
        /// The folder of the log
        #[arg(value_name = "FOLDER")]
        folder: PathBuf,
    },
}

/// About the guard.
#[derive(Debug, Subcommand)]
pub enum Guard {
    /// Say what would be found in a text, where, by which rule and at what cost; never the value.
    /// Exits with 0 if nothing is found, 1 if something is, 2 if it cannot be told
    Test {
        /// The text, plain or gzipped; `-` is standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Whose text it is: `user`, `system`, `assistant`, `tool_result`, `document`, ...
        #[arg(long, value_name = "CHANNEL", default_value = "user")]
        channel: String,
        /// Print the values that are found, too
        #[arg(long)]
        show: bool,
        /// Which rules
        #[command(flatten)]
        rules: GuardRules,
    },
    /// Score labelled rows: a line of JSON for each
    Score {
        /// Rows as JSON Lines, plain or gzipped; `-` is standard input
        #[arg(value_name = "FILE")]
        file: PathBuf,
        /// Which rules
        #[command(flatten)]
        rules: GuardRules,
    },
    /// Measure recall, false positives and latency for each source of labelled rows
    Bench {
        /// Rows as JSON Lines, plain or gzipped
        #[arg(value_name = "FILE", required = true)]
        files: Vec<PathBuf>,
        /// What the labels speak of, such as `injection`; otherwise the file's name says it
        #[arg(long, value_name = "TASK")]
        task: Option<String>,
        /// Print JSON instead of tables
        #[arg(long)]
        json: bool,
        /// Which rules
        #[command(flatten)]
        rules: GuardRules,
    },
}

/// Which rules a tool works with.
#[derive(Debug, clap::Args)]
pub struct GuardRules {
    /// The configuration whose rules and actions apply; otherwise those of an empty one
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::Args;
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_commands_fit_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn sets_may_be_repeated() {
        let words = ["ringwall", "serve", "--config", "x", "--set", "a.b=1", "--set", "c.d=2"];
        let args = Args::try_parse_from(words).unwrap();
        let super::Command::Serve { sets, .. } = args.command else { panic!() };
        assert_eq!(sets, ["a.b=1", "c.d=2"]);
    }
}
