//! Finds the values in one island, or in one window of a long one.
//!
//! The result depends on the text alone: which rules were nominated only saves work, since a match
//! always contains what nominates its rule. Overlaps are settled by the earliest start, then the
//! greatest length, then the order of the rules; what masks leave over is looked at again, so that
//! a mask never uncovers a value that stood beside it.

use crate::base::hit::Action;
use crate::base::numbers::to_usize;
use crate::guard::classes;
use crate::guard::hyperscan::{Candidate, Scan, Scratch};
use crate::guard::pack::Edge;
use crate::guard::profile::View;
use crate::guard::rules::{Entity, Rules};
use std::ops::Range;

/// A shorter text is not looked at for anchors: no key is that short.
const ANCHORED_MIN: usize = 12;
/// Failed attempts of one rule in one text beyond this: the rest counts as a match, for a text
/// made to cost time must not be a way around.
const ATTEMPTS_MAX: usize = 128;

/// How often what masks leave over is looked at. Text that still holds values then was made to;
/// what is left of it is masked as a whole.
const ROUNDS_MAX: usize = 8;

/// Where nominations come from.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// A scan of the whole text, in ascending order of `end`.
    Known(&'a [Candidate]),
    /// The island is scanned on its own.
    Scan,
}

/// What a search works with.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// The rules.
    pub rules: &'a Rules,
    /// The worker's working memory.
    pub scratch: &'a Scratch,
    /// Where nominations come from.
    pub source: Source<'a>,
    /// Where the text is looked at.
    pub view: View,
}

/// The piece of text that is searched.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// The text, with a little of what stands before it.
    pub text: &'a str,
    /// Where it begins within `text`.
    pub from: usize,
    /// Where `text` begins in the whole text.
    pub base: usize,
    /// Whether the island goes on behind it.
    pub open: bool,
}

/// A value that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Where, in the piece's text.
    pub span: Range<usize>,
    /// Which rule.
    pub rule: u16,
    /// What to do.
    pub action: Action,
    /// Where its expression began to match, which settles overlaps: before the value if that is
    /// but a part of the match.
    pub lead: usize,
}

/// What one rule finds: the value, and where its expression began to match.
struct Occurrence {
    span: Range<usize>,
    lead: usize,
}

/// A rule blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockedBy {
    /// The rule.
    pub rule: u16,
    /// Where the value begins, in the piece's text.
    pub at: usize,
}

impl Search<'_> {
    /// All matches in order, without overlaps; an error if a rule that blocks has one.
    pub fn find(&self, piece: Piece<'_>) -> Result<Vec<Match>, BlockedBy> {
        let nominated = self.nominate(piece);
        let mut settled = Vec::new();
        if nominated.is_empty() {
            return Ok(settled);
        }
        let mut free = vec![Range { start: piece.from, end: piece.text.len() }];
        for round in 0..=ROUNDS_MAX {
            let masks = settle(self.collect(piece, &free, &nominated, true));
            // The strictest wins: a block under a mask is still a block.
            let blocks = masks.iter().find(|found| found.action == Action::Block);
            if let Some(found) = blocks {
                return Err(BlockedBy { rule: found.rule, at: found.span.start });
            }
            let Some(first) = masks.first() else { break };
            if round == ROUNDS_MAX {
                let (rule, action) = (first.rule, first.action);
                let all = free.drain(..);
                settled.extend(all.map(|span| Match { lead: span.start, span, rule, action }));
                break;
            }
            free = without(&free, &masks);
            settled.extend(masks);
        }
        settled.extend(settle(self.collect(piece, &free, &nominated, false)));
        settled.sort_by_key(|found| found.span.start);
        Ok(settled)
    }

    /// The rules worth a look, in their order.
    fn nominate(&self, piece: Piece<'_>) -> Vec<u16> {
        let text = piece.text.as_bytes();
        let (digits, at) = classes::count(text);
        let mut nominated = Vec::new();
        if digits > 0 || at {
            let entities = self.rules.marked().iter().copied();
            nominated.extend(entities.filter(|index| {
                let entity = self.rules.get(*index).and_then(|rule| rule.entity());
                entity.is_some_and(|entity| entity.is_marked(digits, at))
            }));
        }
        if text.len() >= ANCHORED_MIN {
            self.nominate_anchored(piece, &mut nominated);
        }
        nominated.retain(|index| {
            self.rules.get(*index).is_some_and(|rule| {
                rule.entity().is_some() && rule.action(self.view) != Action::Allow
            })
        });
        nominated.sort_unstable();
        nominated.dedup();
        nominated
    }

    fn nominate_anchored(&self, piece: Piece<'_>, nominated: &mut Vec<u16>) {
        match self.source {
            Source::Known(all) => {
                let end = piece.base + piece.text.len();
                let after = |limit| all.partition_point(|one| to_usize(one.end) <= limit);
                let within = all.get(after(piece.base)..after(end)).unwrap_or_default();
                nominated.extend(within.iter().map(|candidate| candidate.rule));
            }
            Source::Scan => {
                let mut found = Vec::new();
                let database = self.rules.database();
                match database.scan(piece.text, self.scratch, &mut found) {
                    Scan::Whole => nominated.extend(found.iter().map(|candidate| candidate.rule)),
                    Scan::OverDense => nominated.extend(self.rules.anchored()),
                }
            }
        }
    }

    /// What rules that mask or block (`strict`), or those that flag, find in what is still free.
    fn collect(
        &self,
        piece: Piece<'_>,
        free: &[Range<usize>],
        nominated: &[u16],
        strict: bool,
    ) -> Vec<Match> {
        let mut all = Vec::new();
        for &index in nominated {
            let Some(rule) = self.rules.get(index) else { continue };
            let Some(entity) = rule.entity() else { continue };
            let action = rule.action(self.view);
            if (action >= Action::Mask) != strict {
                continue;
            }
            for part in free {
                let found = occurrences(entity, piece, part.clone());
                all.extend(found.into_iter().map(|Occurrence { span, lead }| Match {
                    span,
                    rule: index,
                    action,
                    lead,
                }));
            }
        }
        all
    }
}

/// Blocks first; of the rest the earliest, longest, first.
fn settle(mut all: Vec<Match>) -> Vec<Match> {
    if let Some(block) = all.iter().position(|found| found.action == Action::Block) {
        return vec![all.swap_remove(block)];
    }
    all.sort_by_key(|found| (found.lead, usize::MAX - found.span.end, found.rule));
    let mut settled: Vec<Match> = Vec::new();
    for found in all {
        let apart = |other: &Match| {
            found.span.end <= other.span.start || other.span.end <= found.span.start
        };
        if settled.iter().all(apart) {
            settled.push(found);
        }
    }
    settled.sort_by_key(|found| found.span.start);
    settled
}

fn without(free: &[Range<usize>], taken: &[Match]) -> Vec<Range<usize>> {
    let mut left = Vec::new();
    for part in free {
        let mut start = part.start;
        for found in taken.iter().filter(|found| part.contains(&found.span.start)) {
            left.push(start..found.span.start);
            start = found.span.end;
        }
        left.push(start..part.end);
    }
    left.retain(|part| !part.is_empty());
    left
}

/// All places in `part` where the rule hits.
fn occurrences(entity: &Entity, piece: Piece<'_>, part: Range<usize>) -> Vec<Occurrence> {
    let mut found = Vec::new();
    let mut at = part.start;
    let mut failed = 0;
    while let Some(rest) = piece.text.get(at..part.end) {
        let Some((whole, value)) = candidate(entity, rest) else { break };
        let (start, end) = (at + value.start, at + value.end);
        if !entity.explores() && !is_clear(entity.pack.edge, piece, &part, &(start..part.end)) {
            // What stands before it rules it out, and what begins in the same word, too.
            let rest = piece.text.get(start..part.end).unwrap_or_default();
            at = start + ruled_out(rest, entity.pack.edge);
            continue;
        }
        let inner = piece.text.get(start..end).unwrap_or_default();
        let open = piece.open && end == piece.text.len();
        let checked = entity.pack.check.apply(inner, open);
        let span = checked.map(|span| start + span.start..start + span.end);
        let next = match span {
            Some(span) if is_clear(entity.pack.edge, piece, &part, &span) => {
                let next = span.end.max(at + 1);
                let lead = if entity.explores() { span.start } else { at + whole.start };
                found.push(Occurrence { span, lead });
                next
            }
            Some(_) | None if entity.explores() => at + whole.end,
            Some(_) | None => {
                failed += 1;
                at + whole.start + 1
            }
        };
        if failed > ATTEMPTS_MAX {
            found.push(Occurrence { span: at..part.end, lead: at });
            break;
        }
        // Expressions may match other than ASCII inside, so the next place is a character's.
        at = (next..=part.end).find(|at| piece.text.is_char_boundary(*at)).unwrap_or(part.end);
    }
    found
}

/// Where an expression matches, and which part of that is the value.
type Places = (Range<usize>, Range<usize>);

fn candidate(entity: &Entity, rest: &str) -> Option<Places> {
    if entity.refine.captures_len() == 1 {
        return entity.refine.find(rest).map(|found| (found.range(), found.range()));
    }
    let groups = entity.refine.captures(rest)?;
    let whole = groups.get(0)?.range();
    let value = groups.get(1).map_or_else(|| whole.clone(), |group| group.range());
    Some((whole, value))
}

/// How far a text goes in which no value can begin, if none can at its beginning for what stands
/// before it.
fn ruled_out(text: &str, edge: Edge) -> usize {
    let bytes = text.as_bytes();
    let first = text.chars().next().map_or(1, char::len_utf8);
    let word = |from: usize| {
        let rest = bytes.get(from..).unwrap_or_default();
        from + rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count()
    };
    let mut end = word(0);
    match edge {
        // A letter may stand before these.
        Edge::Digit | Edge::Free => return first,
        Edge::Alphanumeric => {}
        // `1.2.3`: no number begins at the 2 or the 3.
        Edge::Number => {
            while let Some([b'0'..=b'9', b'.' | b'-', b'0'..=b'9']) =
                bytes.get(end.saturating_sub(1)..end + 2)
            {
                end = word(end + 1);
            }
        }
    }
    end.max(first)
}

/// Whether what stands beside the value allows it. A mask beside it is no neighbour.
fn is_clear(edge: Edge, piece: Piece<'_>, part: &Range<usize>, span: &Range<usize>) -> bool {
    let from = if part.start == piece.from { 0 } else { part.start };
    let left = piece.text.get(from..span.start).unwrap_or_default();
    let right = piece.text.get(span.end..part.end).unwrap_or_default();
    let mut before = left.chars().rev();
    let mut after = right.chars();
    let near = [(before.next(), before.next()), (after.next(), after.next())];
    near.into_iter().all(|(next, second)| match (edge, next) {
        (Edge::Free, _) | (_, None) => true,
        (Edge::Alphanumeric, Some(next)) => !next.is_ascii_alphanumeric(),
        (Edge::Digit, Some(next)) => !next.is_ascii_digit(),
        (Edge::Number, Some('.' | '-')) => !second.is_some_and(|digit| digit.is_ascii_digit()),
        (Edge::Number, Some('+')) => false,
        (Edge::Number, Some(next)) => !next.is_ascii_alphanumeric(),
    })
}

#[cfg(test)]
mod tests {
    use super::{ATTEMPTS_MAX, Match, Piece, Search, Source};
    use crate::base::hit::Direction;
    use crate::config::model::Guard;
    use crate::guard::hyperscan::Scratch;
    use crate::guard::pack::{PackRule, read};
    use crate::guard::rules::Rules;

    /// Rules of this form: name, expression, edge, action.
    fn rules(all: &[[&str; 4]]) -> Rules {
        let write = |[name, refine, edge, action]: &[&str; 4]| {
            format!(
                "[[rule]]\nname = \"{name}\"\nplaceholder = \"[X]\"\ndigits = 1\n\
                 refine = '{refine}'\nedge = \"{edge}\"\nrequest = \"{action}\"\n\
                 positive = []\nnegative = []\n"
            )
        };
        let packed: Vec<PackRule> =
            read("test", &all.iter().map(write).collect::<String>()).unwrap();
        Rules::from_packs(&Guard { enabled: true, actions: Vec::new(), ..Guard::default() }, packed)
            .unwrap()
    }

    /// What is found, as `rule:text` with blanks between, or `rule!` for the rule that blocks.
    fn find(rules: &Rules, text: &str) -> String {
        let scratch = Scratch::of(rules.database()).unwrap();
        let view = Direction::Request.into();
        let search = Search { rules, scratch: &scratch, source: Source::Scan, view };
        let shown = |one: &Match| format!("{}:{}", one.rule, text.get(one.span.clone()).unwrap());
        match search.find(Piece { text, from: 0, base: 0, open: false }) {
            Ok(found) => found.iter().map(shown).collect::<Vec<_>>().join(" "),
            Err(block) => format!("{}!", block.rule),
        }
    }

    #[test]
    fn the_earliest_then_the_longest_then_the_first_rule_wins() {
        let rules = rules(&[
            ["a.short", "1b", "none", "mask"],
            ["a.long", "1bc", "none", "mask"],
            ["a.same", "1bc", "none", "mask"],
            ["a.late", "c2222222", "none", "mask"],
            ["a.group", "x=(1)", "none", "mask"],
        ]);
        assert_eq!(find(&rules, "1bc2222222"), "1:1bc");
        assert_eq!(find(&rules, "x=1bc"), "4:1");
    }

    #[test]
    fn a_mask_wins_over_a_flag_and_a_block_over_all() {
        let flagged = rules(&[["a.flag", "a1b", "none", "flag"], ["a.mask", "1b", "none", "mask"]]);
        assert_eq!(find(&flagged, "a1b"), "1:1b");
        let free = rules(&[["a.flag", "a1b", "none", "flag"]]);
        assert_eq!(find(&free, "a1b a1b"), "0:a1b 0:a1b");
        let blocked =
            rules(&[["a.mask", "a1b2", "none", "mask"], ["a.stop", "2", "none", "block"]]);
        assert_eq!(find(&blocked, "a1b2"), "1!");
        // Silent on the way there; what it does on the way back keeps it compiled.
        let silent = rules(&[["a.silent", "1", "none", "allow"]]);
        assert_eq!((find(&silent, "1").as_str(), silent.count()), ("", 1));
    }

    #[test]
    fn what_stands_beside_a_mask_is_looked_at_again() {
        let rules =
            rules(&[["a.key", "k[0-9]", "none", "mask"], ["a.word", "w1", "alnum", "mask"]]);
        assert_eq!(find(&rules, "k7w1"), "0:k7 1:w1");
        assert_eq!(find(&rules, "xw1"), "");
    }

    #[test]
    fn text_made_to_cost_time_is_masked_whole() {
        let rules = rules(&[["a.key", "k[0-9]+", "number", "mask"]]);
        assert_eq!(find(&rules, &"k1x ".repeat(ATTEMPTS_MAX)), "");
        assert!(find(&rules, &"k1x ".repeat(ATTEMPTS_MAX + 2)).len() > 2);
    }
}
