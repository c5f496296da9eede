//! `ringwall serve`: a checked configuration, handed to the gateway.

use crate::cli::check;
use crate::cli::gateway;
use crate::config::load;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

/// Runs the gateway until it is told to stop.
pub fn run(path: &Path, sets: &[String]) -> ExitCode {
    let config = match check::load_or_tell(path, sets) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let (path, sets) = (path.to_owned(), sets.to_vec());
    let reread = move || load::load(&path, &sets).map_err(|faults| check::draw(&faults, false));
    gateway::exit_code(gateway::serve(config, Arc::new(reread)))
}
