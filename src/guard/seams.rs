//! Finds a value that begins in one part of a message and ends in a later one.
//!
//! A model reads the parts of one content as one text, so what is cut in two is whole again there.
//! Each part is inspected on its own as well: where two meet, a border that a rule wants may be
//! gone. A mask would have to be written in several places; nobody cuts a value in good faith, so
//! such a one is blocked instead.

use crate::base::hit::Action;
use crate::base::text::Text;
use crate::guard::run::{Found, Run};
use crate::guard::search::{BlockedBy, Search};

/// How much of a part is looked at on each side of a seam: no value that is cut is longer.
const REACH: usize = 256;

/// A value over a seam.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// The index of the segment that it begins in, or the one before the seam.
    pub segment: usize,
    /// The rule.
    pub rule: u16,
    /// What to do about it: flag or block.
    pub action: Action,
}

/// All values over seams, up to the first that blocks.
pub fn crossings(text: &Text, search: &Search<'_>) -> Vec<Crossing> {
    let mut found = Vec::new();
    let mut parts: Vec<usize> = Vec::new();
    for (index, segment) in text.segments().iter().enumerate() {
        let Some(earlier) = segment.follows else { continue };
        if parts.last() != Some(&earlier) {
            look(text, &parts, search, &mut found);
            parts = vec![earlier];
        }
        parts.push(index);
    }
    look(text, &parts, search, &mut found);
    found
}

/// Looks at parts that are read as one text.
fn look(text: &Text, parts: &[usize], search: &Search<'_>, found: &mut Vec<Crossing>) {
    let (joined, seams) = join(text, parts);
    // The parts of one content have one author.
    let first = parts.first().and_then(|part| text.segments().get(*part));
    let view = first.map_or(search.view, |segment| search.view.on(segment));
    let values = match values(&joined, &Search { view, ..*search }) {
        Ok(values) => values,
        // Each part alone had nothing that blocks.
        Err(blocked) => {
            let first = parts.first().copied().unwrap_or_default();
            found.push(Crossing { segment: first, rule: blocked.rule, action: Action::Block });
            return;
        }
    };
    for value in values.iter().filter(|value| !value.is_rest) {
        let crosses = |(at, _): &&Seam| value.span.start < *at && *at < value.span.end;
        if let Some((_, segment)) = seams.iter().find(crosses) {
            let action = if value.action == Action::Mask { Action::Block } else { value.action };
            found.push(Crossing { segment: *segment, rule: value.rule, action });
        }
    }
}

/// Where in a joined text a part begins, and the segment before it.
type Seam = (usize, usize);

/// What stands around the seams, as one text, and where in it the seams are.
fn join(text: &Text, parts: &[usize]) -> (String, Vec<Seam>) {
    let (mut joined, mut seams) = (String::new(), Vec::with_capacity(parts.len()));
    let mut before = None;
    for part in parts {
        let Some(segment) = text.segments().get(*part) else { continue };
        let said = text.joined().get(segment.at.clone()).unwrap_or_default();
        if let Some(before) = before.replace(*part) {
            seams.push((joined.len(), before));
        }
        if said.len() <= 2 * REACH {
            joined.push_str(said);
            continue;
        }
        let front = said.get(..said.floor_char_boundary(REACH)).unwrap_or_default();
        let back = said.get(said.ceil_char_boundary(said.len() - REACH)..).unwrap_or_default();
        joined.push_str(front);
        joined.push(Text::SEPARATOR);
        joined.push_str(back);
    }
    (joined, seams)
}

fn values(joined: &str, search: &Search<'_>) -> Result<Vec<Found>, BlockedBy> {
    let mut run = Run::starting_at(0);
    for next in joined.chars() {
        run.take(next, false, search)?;
    }
    run.finish(search)?;
    Ok(run.drain().collect())
}

#[cfg(test)]
mod tests {
    use crate::base::hit::{Action, Direction};
    use crate::base::text::{Channel, Form, Place, Source, Text, Trust};
    use crate::config::model::{Guard, GuardAction, Pattern};
    use crate::guard::inspect::Matcher;
    use crate::guard::rules::Rules;
    use proptest::prelude::{prop_assert, proptest};
    use std::sync::Arc;

    const CARD: &str = "4012888888881881";

    /// The rule that blocks these parts of one content, if one does, and how many findings.
    fn blocked(parts: &[&str], are_one: bool, action: Action) -> (Option<String>, usize) {
        let request = Some(action);
        let entry = GuardAction { request, ..GuardAction::new(Pattern::Prefix("pii.".into())) };
        let rules =
            Rules::compile(&Guard { enabled: true, actions: vec![entry], ..Guard::default() })
                .unwrap();
        let mut matcher = Matcher::new(Arc::new(rules)).unwrap();
        let (mut text, mut raw) = (Text::default(), String::new());
        let mut earlier = None;
        for part in parts {
            let source = Source { raw: raw.len()..raw.len() + part.len(), form: Form::PlainString };
            let place = Place { path: "messages[#].content[#].text", indexes: [0, 0] };
            text.push(part, source, Channel::User, Trust::Caller, place);
            raw.push_str(part);
            if let Some(earlier) = earlier.filter(|_| are_one) {
                text.last_follows(earlier);
            }
            earlier = Some(text.segments().len() - 1);
        }
        match matcher.clear(raw.as_bytes(), &text, Direction::Request) {
            Ok(cleared) => (None, cleared.hits().len()),
            Err(blocked) => (Some(blocked.rule.to_string()), blocked.hits.len()),
        }
    }

    #[test]
    fn a_card_in_two_parts_is_blocked_where_one_would_be_masked() {
        let parts = ["pay 4012888", "888881881 please"];
        assert_eq!(blocked(&parts, true, Action::Mask), (Some("pii.card".into()), 1));
        assert_eq!(blocked(&parts, true, Action::Flag), (None, 1));
        assert_eq!(blocked(&parts, true, Action::Allow), (None, 0));
        assert_eq!(blocked(&parts, false, Action::Mask), (None, 0), "two messages");
    }

    #[test]
    fn long_parts_and_many_are_seen_through() {
        let long = "word and ".repeat(200);
        let (front, back) = (format!("{long}4012888"), format!("888881881 {long}"));
        assert!(blocked(&[&front, &back], true, Action::Mask).0.is_some());
        let pieces = ["40", "1288", "8888881", "881"];
        assert!(blocked(&pieces, true, Action::Mask).0.is_some());
    }

    #[test]
    fn what_stands_in_one_part_is_masked_as_ever() {
        let parts = ["pay 4012888888881881 now", "please", "4012888888881881"];
        assert_eq!(blocked(&parts, true, Action::Mask), (None, 2));
        assert_eq!(blocked(&["one 1", "2 two", "3"], true, Action::Mask), (None, 0));
    }

    proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(24))]
        #[test]
        fn no_cut_hides_a_card(at in 1_usize..16, lead in "[a-z ]{0,300} ", tail in " [a-z ]{0,300}") {
            let (front, back) = CARD.split_at(at);
            let parts = [format!("{lead}{front}"), format!("{back}{tail}")];
            let parts = [&*parts[0], &*parts[1]];
            prop_assert!(blocked(&parts, true, Action::Mask).0.is_some());
        }
    }
}
