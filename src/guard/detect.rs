//! Detectors: rules whose finding is computed by code, and not matched by an expression.
//!
//! A detector looks at one segment at a time, in windows that lie at fixed offsets of its text, so
//! that a stream says what the whole text says, however it was cut. It is told once for each rule
//! and segment. What it finds is noted (flag or block) and never masked.

use crate::base::hit::Action;
use crate::base::text::{Channel, Text};
use crate::guard::pack::PackDetector;
use crate::guard::profile::View;
use crate::guard::rules::{Kind, Rule, Rules};
use crate::guard::structure::{self, Check};
use std::ops::Range;

/// A window ends at each multiple of so many bytes.
pub const STEP: usize = 2048;
/// How far a window reaches back into the one before it, in bytes.
pub const OVERLAP: usize = 512;

/// What a detector found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: u16,
    /// The index of its segment.
    pub segment: usize,
    /// Where, counted from the segment's beginning, if it is at one place.
    pub span: Option<Range<usize>>,
}

/// Which code looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detector {
    /// One of the exact checks of shape.
    Structure(Check),
}

impl Detector {
    /// The detector of that name, as packs write it.
    pub fn named(name: &str) -> Option<Self> {
        let (family, own) = name.split_once('.')?;
        match family {
            "structure" => Check::named(own).map(Self::Structure),
            _ => None,
        }
    }
}

/// The rules that are detectors.
#[derive(Debug, Default)]
pub struct Detectors {
    list: Vec<(u16, PackDetector)>,
}

impl Detectors {
    /// Those among these rules.
    pub fn of(rules: &[Rule]) -> Self {
        let own = |(index, rule): (u16, &Rule)| match rule.kind() {
            Kind::Detector(detector) => Some((index, *detector)),
            Kind::Entity(_) | Kind::Phrase(_) => None,
        };
        Self { list: (0..).zip(rules).filter_map(own).collect() }
    }

    /// Those that do something that way.
    fn active<'a>(
        &'a self,
        rules: &'a Rules,
        view: View,
    ) -> impl Iterator<Item = (u16, PackDetector)> {
        let acts =
            move |rule: u16| rules.get(rule).is_some_and(|rule| rule.action(view) != Action::Allow);
        self.list.iter().copied().filter(move |(rule, _)| acts(*rule))
    }
}

/// What all detectors find in a text, segment by segment.
pub fn in_text(rules: &Rules, text: &Text, view: View) -> Vec<Finding> {
    let mut found = Vec::new();
    if rules.detectors().list.is_empty() {
        return found;
    }
    for (index, segment) in text.segments().iter().enumerate() {
        let active: Vec<_> = rules.detectors().active(rules, view.on(segment)).collect();
        if active.is_empty() {
            continue;
        }
        let said = text.joined().get(segment.at.clone()).unwrap_or_default();
        let mut seen = Vec::new();
        let mut window = Window::default();
        while let Some(at) = window.next(said, 0) {
            let sight = Sight { said, at, channel: segment.channel };
            look(&active, &sight, &mut seen, |rule, span| {
                found.push(Finding { rule, segment: index, span });
            });
        }
        if let Some(at) = window.rest(said, 0) {
            let sight = Sight { said, at, channel: segment.channel };
            look(&active, &sight, &mut seen, |rule, span| {
                found.push(Finding { rule, segment: index, span });
            });
        }
    }
    found
}

/// One window of a segment.
#[derive(Debug)]
struct Sight<'a> {
    said: &'a str,
    at: Range<usize>,
    channel: Channel,
}

/// Tells what is new in a window.
fn look(
    active: &[(u16, PackDetector)],
    sight: &Sight<'_>,
    seen: &mut Vec<u16>,
    mut tell: impl FnMut(u16, Option<Range<usize>>),
) {
    let said = sight.said.get(sight.at.clone()).unwrap_or_default();
    let shapes = structure::look(said, sight.channel);
    for (rule, own) in active {
        if seen.contains(rule) {
            continue;
        }
        match own.detector {
            Detector::Structure(check) => {
                let Some(span) = shapes.first(check) else { continue };
                seen.push(*rule);
                tell(*rule, Some(span.start + sight.at.start..span.end + sight.at.start));
            }
        }
    }
}

/// Where the next window ends, as a text grows.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    done: usize,
}

impl Window {
    /// The next whole window of a text of which `held` is the part from `from` on, as a span of
    /// `held`.
    fn next(&mut self, held: &str, from: usize) -> Option<Range<usize>> {
        let end = (self.done + 1) * STEP;
        if end > from + held.len() {
            return None;
        }
        let start = self.start(held, from);
        self.done += 1;
        Some(start..boundary(held, end - from))
    }

    /// What is left at the end.
    fn rest(self, held: &str, from: usize) -> Option<Range<usize>> {
        let end = boundary(held, (self.done * STEP).saturating_sub(from));
        (end < held.len()).then(|| self.start(held, from)..held.len())
    }

    fn start(self, held: &str, from: usize) -> usize {
        boundary(held, (self.done * STEP).saturating_sub(OVERLAP).saturating_sub(from))
    }
}

/// Looks at a stream.
#[derive(Debug)]
pub struct Lookout {
    channel: Channel,
    window: Window,
    /// The latest text, as far back as the next window begins.
    held: String,
    /// Where it begins in the stream.
    from: usize,
    seen: Vec<u16>,
}

impl Lookout {
    /// Begins with a stream of that channel.
    pub const fn new(channel: Channel) -> Self {
        let window = Window { done: 0 };
        Self { channel, window, held: String::new(), from: 0, seen: Vec::new() }
    }

    /// Takes more text and adds the rules that are new to `found`.
    pub fn push(&mut self, text: &str, (rules, view): (&Rules, View), found: &mut Vec<u16>) {
        if rules.detectors().list.is_empty() {
            return;
        }
        self.held.push_str(text);
        if self.from + self.held.len() < (self.window.done + 1) * STEP {
            return;
        }
        let active: Vec<_> = rules.detectors().active(rules, view).collect();
        while let Some(at) = self.window.next(&self.held, self.from) {
            self.look(&active, at, found);
        }
        let cut = self.window.start(&self.held, self.from);
        self.held.drain(..cut);
        self.from += cut;
    }

    /// The stream has ended.
    pub fn finish(&mut self, (rules, view): (&Rules, View), found: &mut Vec<u16>) {
        if let Some(at) = self.window.rest(&self.held, self.from) {
            let active: Vec<_> = rules.detectors().active(rules, view).collect();
            self.look(&active, at, found);
        }
        self.held = String::new();
    }

    fn look(&mut self, active: &[(u16, PackDetector)], at: Range<usize>, found: &mut Vec<u16>) {
        let sight = Sight { said: &self.held, at, channel: self.channel };
        look(active, &sight, &mut self.seen, |rule, _| found.push(rule));
    }
}

fn boundary(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at)
}

#[cfg(test)]
mod tests {
    use super::{Finding, Lookout, STEP, in_text};
    use crate::base::hit::Direction;
    use crate::base::text::{Channel, Form, Place, Source, Text, Trust};
    use crate::config::model::Guard;
    use crate::guard::rules::Rules;
    use proptest::prelude::{Strategy, prop, prop_oneof, proptest};
    use std::sync::LazyLock;

    static RULES: LazyLock<Rules> =
        LazyLock::new(|| Rules::compile(&Guard { enabled: true, ..Guard::default() }).unwrap());

    const SMUGGLED: &str = "\u{E0072}\u{E0075}\u{E006E}\u{E0020}\u{E0069}\u{E0074}";

    fn whole(said: &str, channel: Channel) -> Vec<Finding> {
        let mut text = Text::default();
        let source = Source { raw: 0..said.len(), form: Form::PlainString };
        let place = Place { path: "choices[#].message.content", indexes: [0, 0] };
        text.push(said, source, channel, Trust::Upstream, place);
        in_text(&RULES, &text, Direction::Response.into())
    }

    fn streamed(said: &str, channel: Channel, lengths: &[usize]) -> Vec<u16> {
        let (mut lookout, mut found) = (Lookout::new(channel), Vec::new());
        let mut letters = said.chars().peekable();
        for length in lengths.iter().copied().cycle() {
            if letters.peek().is_none() {
                break;
            }
            let piece: String = letters.by_ref().take(length.max(1)).collect();
            lookout.push(&piece, (&RULES, Direction::Response.into()), &mut found);
        }
        lookout.finish((&RULES, Direction::Response.into()), &mut found);
        found
    }

    #[test]
    fn a_finding_on_a_windows_border_is_told_once_with_its_place() {
        for before in STEP - 30..STEP + 30 {
            let said = format!("{}{SMUGGLED} and on", "x".repeat(before));
            let found = whole(&said, Channel::ToolResult);
            let name = |rule| RULES.get(rule).unwrap().name().to_string();
            let names: Vec<_> = found.iter().map(|found| name(found.rule)).collect();
            assert_eq!(names, ["structure.hidden_unicode"], "{before}");
            assert_eq!(found[0].span.as_ref().map(|span| span.start), Some(before));
        }
    }

    fn mixture() -> impl Strategy<Value = String> {
        let part = prop_oneof![
            "[a-z é好]{1,40}",
            "[a-z \n]{500,1500}",
            prop::sample::select(vec![SMUGGLED.to_owned(), "<!-- ".to_owned()]),
        ];
        prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
    }

    proptest! {
        #[test]
        fn a_stream_finds_what_the_whole_text_does(
            said in mixture(),
            lengths in prop::collection::vec(1_usize..700, 1..20),
        ) {
            for channel in [Channel::Assistant, Channel::ToolResult] {
                let mut wanted: Vec<u16> =
                    whole(&said, channel).into_iter().map(|found| found.rule).collect();
                let mut found = streamed(&said, channel, &lengths);
                wanted.sort_unstable();
                found.sort_unstable();
                assert_eq!(found, wanted);
            }
        }
    }
}
