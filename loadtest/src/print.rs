//! The only file that prints: the report to stdout, everything else to stderr.

use std::io::Write;

/// Prints the report. `false` if nobody could read it.
pub fn out(text: &str) -> bool {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).is_ok()
}

/// Prints a message. If nobody can read it there is nobody to tell.
pub fn err(text: &str) {
    let mut stderr = std::io::stderr().lock();
    stderr.write_all(text.as_bytes()).unwrap_or_default();
}
