//! `ringwall audit verify`: whether an audit log is whole.

use crate::cli::print;
use std::path::Path;
use std::process::ExitCode;

/// How a log is verified: what to say of a whole one, or what is wrong with it.
pub type Verify = fn(&Path) -> Result<String, String>;

/// Verifies a folder; exits with 0 if it is whole, 1 if it is not.
pub fn run(verify: Option<Verify>, folder: &Path) -> ExitCode {
    let Some(verify) = verify else {
        print::err("error: this build cannot verify audit logs\n");
        return ExitCode::FAILURE;
    };
    match verify(folder) {
        Ok(whole) => print::out(&format!("{whole}\n")),
        Err(fault) => {
            print::err(&format!("error: {}: {fault}\n", folder.display()));
            ExitCode::FAILURE
        }
    }
}
