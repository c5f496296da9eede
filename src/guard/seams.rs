//! Finds a value that begins in one part of a message and ends in a later one.
//!
//! A model reads the parts of one content as one text, so what is cut in two is whole again there.
//! Each part is inspected on its own as well: where two meet, a border that a rule wants may be
//! gone. A mask would have to be written in several places; nobody cuts a value in good faith, so
//! such a one is blocked instead.
//!
//! Messages of one author are read on from each other as well, though a person may happen to end
//! one with a number and begin the next with another: there both ends are masked.

use crate::base::hit::{Action, Direction};
use crate::base::text::{Channel, Form, Segment, Text};
use crate::guard::layers::Layers;
use crate::guard::run::Found;
use crate::guard::search::{BlockedBy, Search};
use std::ops::Range;

/// How much of a part is looked at on each side of a seam: no value that is cut is longer.
const REACH: usize = 256;
/// The same for a seam between messages, of which a long chat has many.
const NEAR: usize = 64;
/// Words without a digit on both sides of a seam that are shorter together are no value.
const JOINED_MIN: usize = 16;

/// A segment, and a span from its beginning.
type Spot = (usize, Range<usize>);

/// A value over a seam.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// The index of the segment that it begins in, or the one before the seam.
    pub segment: usize,
    /// The rule.
    pub rule: u16,
    /// What to do about it.
    pub action: Action,
    /// What to mask: segments, and spans from their beginnings.
    pub masks: Vec<Spot>,
    /// What is masked, as one text.
    pub value: String,
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
            let (rule, action) = (blocked.rule, Action::Block);
            found.push(Crossing {
                segment: first,
                rule,
                action,
                masks: Vec::new(),
                value: String::new(),
            });
            return;
        }
    };
    for value in values.iter().filter(|value| !value.is_rest) {
        let crosses = |(at, _): &&Seam| value.span.start < *at && *at < value.span.end;
        if let Some((_, segment)) = seams.iter().find(crosses) {
            let action = if value.action == Action::Mask { Action::Block } else { value.action };
            let (segment, rule) = (*segment, value.rule);
            found.push(Crossing { segment, rule, action, masks: Vec::new(), value: String::new() });
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

/// All values that are cut over messages of one author.
pub fn over_messages(text: &Text, search: &Search<'_>) -> Vec<Crossing> {
    let mut found = Vec::new();
    let mut chains: Vec<Chain<'_>> = Vec::new();
    for (index, segment) in text.segments().iter().enumerate() {
        let is_text = matches!(segment.source.form, Form::PlainString | Form::EscapedString);
        // Fields of one record, or arguments of one call, are no messages that follow each other;
        // and an answer reads the same when it streams, one text after the other.
        let is_listed = segment.place.path.contains('#')
            && segment.channel == Channel::User
            && search.view.direction == Direction::Request;
        if !is_text || !is_listed || segment.follows.is_some() {
            continue;
        }
        let said = text.joined().get(segment.at.clone()).unwrap_or_default();
        let known = chains.iter_mut().find(|chain| chain.is_of(segment));
        match known {
            Some(chain) => chain.take(index, said, search, &mut found),
            None => chains.push(Chain::new(segment, index, said)),
        }
    }
    for chain in &mut chains {
        chain.look(search, &mut found);
    }
    found
}

/// Messages that are read on from each other, as far as a seam reaches.
#[derive(Debug)]
struct Chain<'a> {
    author: &'a Segment,
    joined: String,
    parts: Vec<Part>,
    /// A value may reach over one of its seams.
    is_tight: bool,
}

/// A part of a chain, and where it stood.
#[derive(Debug)]
struct Part {
    segment: usize,
    /// Where it begins in its segment and in the chain.
    from: usize,
    at: usize,
}

impl<'a> Chain<'a> {
    fn new(author: &'a Segment, index: usize, said: &str) -> Self {
        let mut chain = Self { author, joined: String::new(), parts: Vec::new(), is_tight: false };
        chain.begin(index, said);
        chain
    }

    fn is_of(&self, segment: &Segment) -> bool {
        self.author.channel == segment.channel && self.author.place.path == segment.place.path
    }

    /// The next message. Blanks beside a seam are no part of a value.
    fn take(&mut self, index: usize, said: &str, search: &Search<'_>, found: &mut Vec<Crossing>) {
        let left = said.len() - said.trim_start().len();
        let head = said.get(left..said.floor_char_boundary(left + NEAR)).unwrap_or_default();
        self.joined.truncate(self.joined.trim_end().len());
        self.is_tight |= is_tight(&self.joined, head);
        self.parts.push(Part { segment: index, from: left, at: self.joined.len() });
        if said.len() <= left + NEAR {
            self.joined.push_str(head);
            return;
        }
        self.joined.push_str(head);
        self.look(search, found);
        self.begin(index, said);
    }

    /// Begins again with the end of a message.
    fn begin(&mut self, index: usize, said: &str) {
        let from = said.ceil_char_boundary(said.len().saturating_sub(NEAR));
        self.joined.clear();
        self.joined.push_str(said.get(from..).unwrap_or_default());
        self.parts.clear();
        self.parts.push(Part { segment: index, from, at: 0 });
        self.is_tight = false;
    }

    fn look(&mut self, search: &Search<'_>, found: &mut Vec<Crossing>) {
        if !self.is_tight {
            return;
        }
        let Some(first) = self.parts.first().map(|part| part.segment) else { return };
        let search = Search { view: search.view.on(self.author), ..*search };
        match values(&self.joined, &search) {
            Ok(values) => found.extend(values.iter().filter_map(|value| self.crossing(value))),
            Err(block) => {
                let (rule, action) = (block.rule, Action::Block);
                found.push(Crossing {
                    segment: first,
                    rule,
                    action,
                    masks: Vec::new(),
                    value: String::new(),
                });
            }
        }
    }

    fn crossing(&self, value: &Found) -> Option<Crossing> {
        let ends = self.parts.iter().skip(1).map(|part| part.at).chain([self.joined.len()]);
        let masks: Vec<Spot> = self
            .parts
            .iter()
            .zip(ends)
            .filter_map(|(part, end)| {
                let own = value.span.start.max(part.at)..value.span.end.min(end);
                let moved = |at: usize| at - part.at + part.from;
                (own.start < own.end).then(|| (part.segment, moved(own.start)..moved(own.end)))
            })
            .collect();
        let segment = masks.first().map(|(segment, _)| *segment)?;
        let is_over = masks.len() > 1 && !value.is_rest;
        let said = self.joined.get(value.span.clone()).unwrap_or_default().to_owned();
        let (rule, action) = (value.rule, value.action);
        is_over.then_some(Crossing { segment, rule, action, masks, value: said })
    }
}

/// Whether what ends there and what begins here could be one value.
fn is_tight(left: &str, right: &str) -> bool {
    let before = left.rsplit(char::is_whitespace).next().unwrap_or_default();
    let after = right.split(char::is_whitespace).next().unwrap_or_default();
    let mut both = before.bytes().chain(after.bytes());
    let is_short = before.len() + after.len() < JOINED_MIN;
    let may_be = |byte: u8| byte.is_ascii_digit() || byte == b'@' || !byte.is_ascii();
    !before.is_empty() && !after.is_empty() && (!is_short || both.any(may_be))
}

fn values(joined: &str, search: &Search<'_>) -> Result<Vec<Found>, BlockedBy> {
    let (mut layers, mut found) = (Layers::starting_at(0), Vec::new());
    for next in joined.chars() {
        layers.take(next, false, search)?;
    }
    layers.finish(search)?;
    layers.drain(&mut found);
    Ok(found)
}

#[cfg(test)]
mod tests {
    use crate::base::hit::{Action, Direction};
    use crate::base::text::{Channel, Form, Place, Source, Text, Trust};
    use crate::config::guard_rules::GuardAction;
    use crate::config::model::{Guard, Pattern};
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
        assert_eq!(blocked(&parts, false, Action::Mask), (None, 1), "two messages");
    }

    #[test]
    fn a_card_over_any_number_of_messages_is_masked() {
        let many =
            ["one", "4012888", " ", "\n", "888881881", "two 4012888888881881 three", "", "4"];
        assert_eq!(blocked(&many, false, Action::Mask), (None, 2));
        let long = "word and ".repeat(50);
        let (front, back) = (format!("{long}4012888"), format!("888881881 {long}"));
        assert_eq!(blocked(&[&front, &back, "on"], false, Action::Mask), (None, 1));
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
