//! One Hyperscan database in block mode: which patterns end where in a text.
//!
//! Patterns carry literals and only nominate candidates, so the start of a match is not asked for:
//! it would cost speed, and patterns with long bounded repeats do not compile with it. Scanning
//! stops at a cap, and the caller must then look at everything itself.

use ::hyperscan::{
    BlockDatabase, Builder as _, Matching, Pattern, PatternFlags, Patterns, Scratch as Space,
};
use std::cell::Cell;
use std::fmt;

/// Candidates in one scan beyond this, and beyond one for [`BYTES_EACH`] bytes: the text is
/// over-dense.
pub const CANDIDATES_MAX: usize = 4096;
/// More candidates than one for so many bytes are no help.
pub const BYTES_EACH: usize = 8;

/// One expression to look for.
#[derive(Clone, Debug)]
pub struct Expression {
    /// In the syntax that Hyperscan and `regex` share.
    pub text: String,
    /// Whether upper and lower case are the same.
    pub caseless: bool,
    /// The rule that it speaks for.
    pub rule: u16,
}

/// What a scan reports: a rule's expression ended here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// Offset of the byte after the last one.
    pub end: u32,
    /// The rule.
    pub rule: u16,
}

/// Whether a scan saw the whole text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// All candidates were reported.
    Whole,
    /// Too many, or the scan failed: nothing may be concluded from what is missing.
    OverDense,
}

/// Why expressions do not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpressionFault {
    /// The rule of the first expression that is wrong; `None` where only all together fail.
    pub rule: Option<u16>,
}

/// Compiled expressions; shared by all workers.
pub struct Database {
    inner: Option<BlockDatabase>,
    rules: Vec<u16>,
}

/// Working memory of scans: one for each worker, made for one database.
pub struct Scratch {
    inner: Option<Space>,
    /// Room for the candidates of small scans, which are many.
    candidates: Cell<Vec<Candidate>>,
}

impl fmt::Debug for Database {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Database({} expressions)", self.rules.len())
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Scratch")
    }
}

impl Database {
    /// Compiles; no expression at all is fine and never matches.
    pub fn compile(expressions: &[Expression]) -> Result<Self, ExpressionFault> {
        let rules = expressions.iter().map(|expression| expression.rule).collect();
        if expressions.is_empty() {
            return Ok(Self { inner: None, rules });
        }
        let patterns: Result<Vec<Pattern>, ExpressionFault> =
            expressions.iter().map(pattern).collect();
        let built = Patterns(patterns?).build();
        match built {
            Ok(database) => Ok(Self { inner: Some(database), rules }),
            // Which one it was is found by compiling each alone: this only happens at a mistake.
            Err(_) => Err(ExpressionFault {
                rule: expressions.iter().find(|one| !compiles(one)).map(|one| one.rule),
            }),
        }
    }

    /// Looks through `text` once and adds what it finds to `found`, in order of `end`.
    pub fn scan(&self, text: &str, scratch: &Scratch, found: &mut Vec<Candidate>) -> Scan {
        let Some(database) = &self.inner else { return Scan::Whole };
        let Some(space) = &scratch.inner else { return Scan::OverDense };
        // Hyperscan takes the length as 32 bits; the crate would cut it silently.
        if u32::try_from(text.len()).is_err() {
            return Scan::OverDense;
        }
        let room = CANDIDATES_MAX.min(text.len()).max(text.len() / BYTES_EACH);
        let limit = found.len() + room;
        // No allocation, and so no panic, within the callback: it would unwind through C.
        found.reserve(room);
        let result = database.scan(text, space, |pattern: u32, _: u64, end: u64, _: u32| {
            if found.len() >= limit {
                return Matching::Terminate;
            }
            let rule = usize::try_from(pattern).ok().and_then(|index| self.rules.get(index));
            if let (Some(&rule), Ok(end)) = (rule, u32::try_from(end)) {
                found.push(Candidate { end, rule });
            }
            Matching::Continue
        });
        if result.is_ok() { Scan::Whole } else { Scan::OverDense }
    }
}

impl Scratch {
    /// Room for scans of that database; `None` when memory is short.
    pub fn of(database: &Database) -> Option<Self> {
        let inner = match &database.inner {
            Some(database) => Some(database.alloc_scratch().ok()?),
            None => None,
        };
        Some(Self { inner, candidates: Cell::default() })
    }

    /// Room for candidates, empty; nobody else has it until it is given back.
    pub fn candidates(&self) -> Vec<Candidate> {
        let mut candidates = self.candidates.take();
        candidates.clear();
        candidates
    }

    /// Gives the room back.
    pub fn give_back(&self, candidates: Vec<Candidate>) {
        self.candidates.set(candidates);
    }
}

/// The longest text an expression can match, in bytes; `None` without a bound.
pub fn width_max(expression: &Expression) -> Option<usize> {
    let info = pattern(expression).ok()?.info().ok()?;
    let width = info.max_width();
    // Hyperscan says UINT_MAX for "no bound".
    (u32::try_from(width).is_ok_and(|width| width != u32::MAX)).then_some(width)
}

fn compiles(expression: &Expression) -> bool {
    pattern(expression).is_ok_and(|pattern| {
        let built: Result<BlockDatabase, _> = pattern.build();
        built.is_ok()
    })
}

fn pattern(expression: &Expression) -> Result<Pattern, ExpressionFault> {
    // Plain letters need no letters of other scripts that fold to them: it compiles in a fraction.
    let is_plain = expression.text.is_ascii() && !expression.text.contains(r"\x{");
    let mut flags = if is_plain { PatternFlags::empty() } else { PatternFlags::UTF8 };
    if expression.caseless {
        flags |= PatternFlags::CASELESS;
    }
    let fault = ExpressionFault { rule: Some(expression.rule) };
    Pattern::with_flags(expression.text.as_str(), flags).ok().ok_or(fault)
}

#[cfg(test)]
mod tests {
    use super::{CANDIDATES_MAX, Candidate, Database, Expression, Scan, Scratch, width_max};

    fn expression(text: &str, rule: u16) -> Expression {
        Expression { text: text.to_owned(), caseless: true, rule }
    }

    #[test]
    fn candidates_come_with_rule_and_end() {
        let database = Database::compile(&[expression("ab[0-9]", 7), expression("é", 3)]).unwrap();
        let scratch = Scratch::of(&database).unwrap();
        let mut found = Vec::new();
        assert_eq!(database.scan("x AB1 É", &scratch, &mut found), Scan::Whole);
        assert_eq!(found, [Candidate { end: 5, rule: 7 }, Candidate { end: 8, rule: 3 }]);
    }

    #[test]
    fn too_many_candidates_are_said_and_not_hidden() {
        let database = Database::compile(&[expression("a", 0)]).unwrap();
        let scratch = Scratch::of(&database).unwrap();
        let mut found = Vec::new();
        let text = "a".repeat(CANDIDATES_MAX);
        assert_eq!(database.scan(&text, &scratch, &mut found), Scan::Whole);
        found.clear();
        let text = "a".repeat(CANDIDATES_MAX + 1);
        assert_eq!(database.scan(&text, &scratch, &mut found), Scan::OverDense);
    }

    #[test]
    fn a_wrong_expression_is_named_and_widths_are_known() {
        let fault = Database::compile(&[expression("a", 1), expression("(?<=a)b", 2)]).unwrap_err();
        assert_eq!(fault.rule, Some(2));
        assert_eq!(width_max(&expression("ab{1,3}", 0)), Some(4));
        assert_eq!(width_max(&expression("ab*", 0)), None);
    }

    #[test]
    fn an_empty_database_finds_nothing() {
        let database = Database::compile(&[]).unwrap();
        let scratch = Scratch::of(&database).unwrap();
        assert_eq!(database.scan("anything", &scratch, &mut Vec::new()), Scan::Whole);
    }
}
