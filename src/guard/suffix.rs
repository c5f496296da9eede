//! Finds the part of a phrase's expression that is worth looking for in every text: its end.
//!
//! A phrase such as `send (up to forty letters) password to` begins with a word that every text
//! has, and Hyperscan would follow each of them for forty letters. Its end is rare, and a candidate
//! needs no more: it is confirmed on the text before it.

use regex_syntax::hir::{Hir, HirKind};

/// From so many repetitions on, what stands before is not looked for.
const WIDE: u32 = 16;
/// A shorter end would be found everywhere.
const LEAST: usize = 6;

/// The end of an expression behind its last wide repetition; `None` where all of it is best.
pub fn suffix(expression: &str) -> Option<String> {
    let parsed = regex_syntax::parse(expression).ok()?;
    let HirKind::Concat(parts) = parsed.kind() else { return None };
    let wide = parts.iter().rposition(is_wide)?;
    let end = Hir::concat(parts.get(wide + 1..)?.to_vec());
    let is_long = end.properties().minimum_len().is_some_and(|least| least >= LEAST);
    (is_long && end.properties().look_set().is_empty()).then(|| end.to_string())
}

fn is_wide(part: &Hir) -> bool {
    let HirKind::Repetition(own) = part.kind() else { return false };
    own.max.is_none_or(|max| max >= WIDE)
}

#[cfg(test)]
mod tests {
    use super::suffix;
    use regex::Regex;

    #[test]
    fn an_expression_loses_what_stands_before_a_wide_repetition() {
        let end =
            suffix("(?:send|post) [a-z ]{0,40}(?:password|credential)s?[a-z ]{0,4} to ").unwrap();
        let found = Regex::new(&end).unwrap().find("send me the passwords now to x").unwrap();
        assert_eq!(found.as_str(), "passwords now to ");
    }

    #[test]
    fn one_without_a_long_end_stays_whole() {
        assert_eq!(suffix("ignore (?:all )?previous instructions"), None);
        assert_eq!(suffix("password[a-z]{0,40} to"), None);
        assert_eq!(suffix("a(?:b|c)"), None);
    }
}
