//! The only file that prints: answers to stdout, everything about the way there to stderr.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// Prints an answer. A reader that went away (`ringwall reference | head`) is a failure without
/// words.
pub fn out(text: &str) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints what an operator should know while the gateway runs.
pub fn note(line: &str) {
    err(&format!("ringwall: {line}\n"));
}

/// Prints a message. If nobody can read it there is nobody to tell.
pub fn err(text: &str) {
    let mut stderr = std::io::stderr().lock();
    stderr.write_all(text.as_bytes()).unwrap_or_default();
}

/// Whether messages go to a terminal that shows colours (<https://no-color.org>).
#[expect(clippy::disallowed_methods, reason = "how to print is no part of the configuration")]
pub fn has_colour() -> bool {
    let is_off = std::env::var("NO_COLOR").is_ok_and(|value| !value.is_empty());
    std::io::stderr().is_terminal() && !is_off
}
