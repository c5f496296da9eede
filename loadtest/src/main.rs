//! `ringwall-load`: parse, run, report, exit code.

use clap::Parser;
use ringwall_load::args::Args;
use ringwall_load::{load, print};
use std::path::Path;
use std::process::ExitCode;

/// The command line is wrong.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) if error.use_stderr() => {
            print::err(&error.render().to_string());
            return ExitCode::from(USAGE);
        }
        Err(help) => return exit_code(print::out(&help.render().to_string())),
    };
    let (plan, file) = args.plan();
    let report = match load::run(plan) {
        Ok(report) => report,
        Err(fault) => {
            print::err(&format!("error: {fault}\n"));
            return ExitCode::FAILURE;
        }
    };
    let was_read = print::out(&report.to_string());
    let was_written = file.is_none_or(|file| write(&file, &report.json()));
    exit_code(was_read && was_written && report.is_clean())
}

fn write(file: &Path, json: &serde_json::Value) -> bool {
    match std::fs::write(file, format!("{json:#}\n")) {
        Ok(()) => true,
        Err(error) => {
            print::err(&format!("error: {} cannot be written: {error}\n", file.display()));
            false
        }
    }
}

fn exit_code(fine: bool) -> ExitCode {
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
