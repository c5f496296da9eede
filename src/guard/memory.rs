//! What a worker remembers of messages: that nothing was found in them, and their facts.
//!
//! A chat is sent again whole with each turn. A message that was clean under the same rules and
//! profile, on the same channel and way, is clean again, so only what is new is inspected, with
//! what it is read on from. Only a keyed digest is kept, of a bounded number of messages; nobody
//! outside can find two texts with one digest without the key.

use crate::base::hit::Direction;
use crate::base::text::{Channel, Form, Segment, Text, Trust};
use crate::guard::conversation::Turn;
use crate::guard::profile::View;
use std::hash::{BuildHasher as _, RandomState};
use std::ops::Range;

/// How many messages are remembered; the newer one takes the place of an older.
const SLOTS: usize = 4096;

/// What is known of messages. One for each matcher, and so for one set of rules.
#[derive(Debug)]
pub struct Memory {
    keys: [RandomState; 2],
    slots: Box<[Slot]>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    digest: [u64; 2],
    turn: Turn,
}

/// What is known of one body.
#[derive(Debug)]
pub struct Recalled {
    digests: Vec<[u64; 2]>,
    /// The facts of each segment, the known ones and the new.
    pub turns: Vec<Turn>,
    /// What is to be inspected: the others are clean, and nothing in them matters to it.
    pub part: Range<usize>,
}

impl Default for Memory {
    fn default() -> Self {
        let slots = vec![Slot::default(); SLOTS].into();
        Self { keys: [RandomState::new(), RandomState::new()], slots }
    }
}

impl Memory {
    /// Looks a body's segments up; `facts` says whether the facts of new ones are wanted.
    pub fn recall(&self, text: &Text, view: View, facts: bool) -> Recalled {
        let (mut digests, mut turns, mut known) = (Vec::new(), Vec::new(), Vec::new());
        for segment in text.segments() {
            let said = text.joined().get(segment.at.clone()).unwrap_or_default();
            let digest = self.digest(said, segment, view);
            let slot = self.slot(digest).filter(|slot| slot.digest == digest);
            let of_new = || if facts { Turn::of(said, segment.channel) } else { Turn::default() };
            turns.push(slot.map_or_else(of_new, |slot| slot.turn));
            known.push(slot.is_some());
            digests.push(digest);
        }
        let part = part(text, &known);
        Recalled { digests, turns, part }
    }

    /// Remembers a segment in which nothing was found.
    pub fn learn(&mut self, recalled: &Recalled, index: usize) {
        let (Some(&digest), Some(&turn)) = (recalled.digests.get(index), recalled.turns.get(index))
        else {
            return;
        };
        let count = self.slots.len();
        if let Some(slot) = self.slots.get_mut(place(digest, count)) {
            *slot = Slot { digest, turn };
        }
    }

    fn slot(&self, digest: [u64; 2]) -> Option<&Slot> {
        self.slots.get(place(digest, self.slots.len()))
    }

    fn digest(&self, said: &str, segment: &Segment, view: View) -> [u64; 2] {
        let form = match segment.source.form {
            Form::Number => 0_u8,
            Form::PlainString => 1,
            Form::EscapedString => 2,
            Form::PlainJson => 3,
            Form::EscapedJson => 4,
        };
        let trust = match segment.trust {
            Trust::Caller => 0_u8,
            Trust::Retrieved => 1,
            Trust::Upstream => 2,
        };
        let way = (view.direction == Direction::Request, view.profile, view.untrusted);
        let [first, second] = &self.keys;
        let all = (said, segment.channel.name(), form, trust, way);
        [first.hash_one(all), second.hash_one(all)]
    }
}

fn place([first, _]: [u64; 2], count: usize) -> usize {
    usize::try_from(first % 4096).unwrap_or_default() % count.max(1)
}

/// What is to be inspected when these are known: from the first new one to the last, with what they
/// are read on from or are read on by, in one content or over messages of one author. The last
/// segment at least.
fn part(text: &Text, known: &[bool]) -> Range<usize> {
    let segments = text.segments();
    let last = segments.len().saturating_sub(1);
    let first_new = known.iter().position(|known| !known).unwrap_or(last);
    let last_new = known.iter().rposition(|known| !known).unwrap_or(last);
    let of = |range: Range<usize>| segments.get(range).unwrap_or_default();
    let mut part = first_new..(last_new + 1).min(segments.len());
    let new = of(part.clone());
    let behind = part.end;
    for channel in Channel::ALL {
        let is_in = |segment: &Segment| segment.channel == channel;
        if !new.iter().any(is_in) {
            continue;
        }
        let before = of(0..first_new).iter().rposition(is_in);
        let after = of(behind..segments.len()).iter().position(is_in);
        part.start = part.start.min(before.unwrap_or(first_new));
        part.end = part.end.max(after.map_or(behind, |after| behind + after + 1));
    }
    loop {
        let earliest = of(part.clone()).iter().filter_map(|segment| segment.follows).min();
        let reads_on = |segment: &Segment| segment.follows.is_some_and(|from| from >= part.start);
        let later = of(part.end..segments.len()).iter().rposition(reads_on);
        let start = earliest.map_or(part.start, |earliest| earliest.min(part.start));
        let end = later.map_or(part.end, |later| part.end + later + 1);
        if (start..end) == part {
            return part;
        }
        part = start..end;
    }
}

#[cfg(test)]
mod tests {
    use super::{Memory, part};
    use crate::base::hit::Direction;
    use crate::base::text::{Channel, Form, Place, Source, Text, Trust};

    fn chat(said: &[(Channel, &str)]) -> Text {
        let mut text = Text::default();
        for (channel, said) in said {
            let source = Source { raw: 0..said.len(), form: Form::PlainString };
            let place = Place { path: "messages[#].content", indexes: [0, 0] };
            text.push(said, source, *channel, Trust::Caller, place);
        }
        text
    }

    #[test]
    fn inspection_begins_at_the_author_s_message_before_the_first_new_one() {
        use Channel::{Assistant, System, ToolDefinition, User};
        let all = [System, User, Assistant, User, Assistant, User, ToolDefinition];
        let text = chat(&all.map(|channel| (channel, "x")));
        let known = |new: &[usize]| (0..7).map(|at| !new.contains(&at)).collect::<Vec<bool>>();
        assert_eq!(part(&text, &known(&[5])), 3..6);
        assert_eq!(part(&text, &known(&[4, 5])), 2..6);
        assert_eq!(part(&text, &known(&[])), 6..7);
        assert_eq!(part(&text, &known(&[0])), 0..1);
        assert_eq!(part(&text, &known(&[1])), 1..4);
        assert_eq!(part(&text, &known(&[0, 6])), 0..7);
        assert_eq!(part(&Text::default(), &[]), 0..0);
    }

    #[test]
    fn a_message_is_known_by_its_text_channel_and_way() {
        let mut memory = Memory::default();
        let text = chat(&[(Channel::User, "hello"), (Channel::User, "more")]);
        let recalled = memory.recall(&text, Direction::Request.into(), true);
        assert_eq!(recalled.part, 0..2);
        memory.learn(&recalled, 0);
        memory.learn(&recalled, 1);
        let known = |said: &[(Channel, &str)], direction: Direction| {
            let more = [(Channel::Assistant, "one"), (Channel::Document, "two")];
            let text = chat(&[said, &more].concat());
            memory.recall(&text, direction.into(), true).part.start == 1
        };
        assert!(known(&[(Channel::User, "hello")], Direction::Request));
        assert!(!known(&[(Channel::User, "hello")], Direction::Response));
        assert!(!known(&[(Channel::System, "hello")], Direction::Request));
        assert!(!known(&[(Channel::User, "hello!")], Direction::Request));
    }
}
