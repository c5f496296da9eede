//! `ringwall key new`: an API key, shown once, and its digest for the configuration.

use crate::base::random::Random;
use crate::cli::print;
use crate::config::model::KeyDigest;
use std::process::ExitCode;

/// How keys are made: from random bytes, the key and its digest.
pub type Mint = fn([u8; 24]) -> (String, KeyDigest);

/// Prints a new key and the line that lets it in.
pub fn new(mint: Option<Mint>) -> ExitCode {
    let Some(mint) = mint else {
        print::err("error: this build cannot make keys\n");
        return ExitCode::FAILURE;
    };
    match Random::default().bytes() {
        Ok(random) => {
            let (key, digest) = mint(random);
            print::out(&text(&key, &digest))
        }
        Err(fault) => {
            print::err(&format!("error: {fault}\n"));
            ExitCode::FAILURE
        }
    }
}

fn text(key: &str, digest: &KeyDigest) -> String {
    let hex = data_encoding::HEXLOWER.encode(&digest.0);
    format!(
        "API key, shown this once; give it to the caller:\n\n  {key}\n\n\
         Its digest; put it into the caller's table:\n\n  keys = [\"sha256:{hex}\"]\n"
    )
}

#[cfg(test)]
mod tests {
    use super::text;
    use crate::config::model::KeyDigest;

    #[test]
    fn the_digest_is_printed_as_the_file_takes_it() {
        let shown = text("rw_abc", &KeyDigest([0xab; 32]));
        assert!(shown.contains("  rw_abc\n"));
        assert!(shown.contains(&format!("keys = [\"sha256:{}\"]", "ab".repeat(32))));
    }
}
