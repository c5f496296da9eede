//! `ringwall serve`: a checked configuration, handed to the gateway.

use crate::cli::{check, print};
use std::path::Path;
use std::process::ExitCode;

/// Runs the gateway until it is told to stop.
pub fn run(path: &Path, sets: &[String]) -> ExitCode {
    match check::load_or_tell(path, sets) {
        Ok(_config) => {
            print::err("error: this build has no gateway\n");
            ExitCode::FAILURE
        }
        Err(code) => code,
    }
}
