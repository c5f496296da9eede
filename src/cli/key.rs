//! `ringwall key new`: an API key, shown once, and its digest for the configuration.

use crate::base::random::Random;
use crate::cli::print;
use crate::config::model::KeyDigest;
use crate::identity::mint::{digest_text, mint};
use std::process::ExitCode;

/// Prints a new key and the line that lets it in.
pub fn new() -> ExitCode {
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
    let digest = digest_text(digest);
    format!(
        "API key, shown this once; give it to the caller:\n\n  {key}\n\n\
         Its digest; put it into the caller's table:\n\n  keys = [\"{digest}\"]\n"
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
