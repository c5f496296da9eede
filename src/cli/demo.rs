//! `ringwall demo`: the quickstart configuration in front of a model and an MCP server of our own.

use crate::cli::{check, print};
use crate::config::fault::Faults;
use crate::config::load;
use crate::config::model::Config;
use std::io;
use std::path::Path;
use std::process::ExitCode;

/// Runs the demo until it is told to stop.
pub fn run(sets: &[String]) -> ExitCode {
    match quickstart(sets) {
        Ok(_config) => print::err("error: this build has no demo\n"),
        Err(faults) => print::err(&check::draw(&faults, print::has_colour())),
    }
    ExitCode::FAILURE
}

/// The quickstart configuration, which every binary carries; it refers to no secret and no file.
pub fn quickstart(sets: &[String]) -> Result<Config, Faults> {
    let nothing = |_: &Path| Err(io::ErrorKind::NotFound.into());
    load::parse("quickstart.toml", QUICKSTART, sets, &|_| None, &nothing)
}

const QUICKSTART: &str = include_str!("../../config/quickstart.toml");
