//! `ringwall audit verify`: whether an audit log is whole.

use crate::audit::verify::{Tail, Verified, verify};
use crate::cli::print;
use std::path::Path;
use std::process::ExitCode;

/// What a log with a torn tail exits with: nothing was tampered with, but a batch was cut off.
const TORN: u8 = 2;

/// Verifies a folder. Exits with 0 if the log is whole, 1 if it was tampered with, 2 if only its
/// last batch is torn, as a crash leaves it.
pub fn run(folder: &Path) -> ExitCode {
    match verify(folder) {
        Ok(log) => {
            let printed = print::out(&text(&log));
            if log.tail == Tail::Complete { printed } else { ExitCode::from(TORN) }
        }
        Err(fault) => {
            print::err(&format!("error: {}: {fault}\n", folder.display()));
            ExitCode::FAILURE
        }
    }
}

fn text(log: &Verified) -> String {
    let Verified { records, batches, files, last_seq, tail } = log;
    let whole = format!(
        "whole up to record {last_seq}: {records} records in {batches} batches and {files} files\n"
    );
    match tail {
        Tail::Complete => whole,
        Tail::Torn { file, byte, records_after } => format!(
            "{whole}torn after that: {file} from byte {byte} on, {records_after} whole lines of a \
             batch that was never finished\n"
        ),
    }
}
