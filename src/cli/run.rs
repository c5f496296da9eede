//! The commands as one list: what was asked for, and who does it.

use crate::cli::args::{Args, Audit, Command, Key};
use crate::cli::{check, demo, guard, key, print, serve, verify};
use crate::config::{reference, schema};
use clap::{CommandFactory, Parser};
use std::process::ExitCode;

/// Does what the process's arguments ask for.
pub fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return explain(&error),
    };
    match args.command {
        Command::Serve { config, sets } => serve::run(&config, &sets),
        Command::Check { config, sets } => check::run(&config, &sets),
        Command::Demo { sets } => demo::run(&sets),
        Command::Key(Key::New) => key::new(),
        Command::Audit(Audit::Verify { folder }) => verify::run(&folder),
        Command::Guard(command) => guard::run(&command),
        Command::Schema => print::out(&schema::json()),
        Command::Reference => print::out(&reference::markdown()),
        Command::Completions { shell } => completions(shell),
    }
}

/// What wrong usage exits with.
const USAGE: u8 = 2;

/// Help and version are answers; everything else is a mistake in the arguments.
fn explain(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if error.use_stderr() {
        print::err(&text);
        return ExitCode::from(USAGE);
    }
    print::out(&text)
}

fn completions(shell: clap_complete::Shell) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "ringwall", &mut script);
    print::out(&String::from_utf8_lossy(&script))
}
