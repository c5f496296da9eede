//! Finds the part of a phrase's expression that is worth looking for in every text.
//!
//! A phrase such as `send (up to forty letters) password (up to twelve) to` begins with a word that
//! every text has, and ends with one: Hyperscan would follow each of them, at a hundred times the
//! cost of all other phrases. Its middle is rare, and a candidate needs no more: it is confirmed on
//! the text around it.

use regex_syntax::hir::{Hir, HirKind};

/// From so many repetitions on, what stands before is not looked for.
const WIDE_BEFORE: u32 = 16;
/// And from so many on, what stands behind.
const WIDE_AFTER: u32 = 8;
/// A shorter part would be found everywhere.
const LEAST: usize = 4;
/// How much of a phrase may stand behind the part that is looked for, in bytes.
pub const AFTER_MAX: usize = 64;

/// The part of an expression to look for; `None` where all of it is best.
pub fn nominator(expression: &str) -> Option<String> {
    let parsed = regex_syntax::parse(expression).ok()?;
    let HirKind::Concat(parts) = parsed.kind() else { return None };
    let begin = parts.iter().rposition(|part| is_wide(part, WIDE_BEFORE)).map_or(0, |at| at + 1);
    let rest = parts.get(begin..)?;
    let end = rest.iter().position(|part| is_wide(part, WIDE_AFTER)).unwrap_or(rest.len());
    let (middle, after) = rest.split_at_checked(end)?;
    if begin == 0 && after.is_empty() {
        return None;
    }
    let is_short = Hir::concat(after.to_vec()).properties().maximum_len();
    let middle = Hir::concat(middle.to_vec());
    let is_rare = middle.properties().minimum_len().is_some_and(|least| least >= LEAST)
        && middle.properties().look_set().is_empty();
    let written = middle.to_string();
    // Hyperscan reads bytes: a class of all letters there are is none that it knows.
    let is_plain = written.is_ascii() && !written.contains("\\u{");
    (is_plain && is_rare && is_short.is_some_and(|most| most <= AFTER_MAX)).then_some(written)
}

fn is_wide(part: &Hir, most: u32) -> bool {
    let HirKind::Repetition(own) = part.kind() else { return false };
    own.max.is_none_or(|max| max >= most)
}

#[cfg(test)]
mod tests {
    use super::nominator;
    use regex::Regex;

    #[test]
    fn an_expression_loses_what_stands_around_wide_repetitions() {
        let all = "(?:send|post) [a-z ]{0,40}(?:password|credential)s?[a-z ]{0,12} to ";
        let part = nominator(all).unwrap();
        let found = Regex::new(&part).unwrap().find("send me the passwords now to x").unwrap();
        assert_eq!(found.as_str(), "passwords");
    }

    #[test]
    fn one_without_a_rare_part_stays_whole() {
        assert_eq!(nominator("ignore (?:all )?previous instructions"), None);
        assert_eq!(nominator("ab[a-z]{0,40} to"), None);
        assert_eq!(nominator("password[a-z]{0,90}"), None);
        assert_eq!(nominator("a(?:b|c)"), None);
        assert_eq!(nominator("[a-z ]{0,40}(?:don.t tell)"), None);
    }
}
