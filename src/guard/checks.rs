//! What an answer is held against: the sources and the system prompt of its own request.
//!
//! These detectors speak of an answer as a whole and know what was asked, so they follow each of
//! its texts from its beginning. Whole answers and streams both go through [`Follow`], so that both
//! say the same.

use crate::base::hit::{Action, Direction};
use crate::base::text::{Channel, Text};
use crate::guard::detect::{Detector, Finding};
use crate::guard::grounding::Evidence;
use crate::guard::leak::{Canaries, Perch, Prompt, Trace};
use crate::guard::profile::View;
use crate::guard::rules::{Kind, Rule, Rules};
use crate::guard::sentences::{Sentence, Sentences};
use std::ops::Range;

/// What is looked for in an answer, or in the arguments of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// A hidden word.
    Canary,
    /// A claim that the sources support less than the rule's threshold says, in percent.
    Claim,
    /// A name that nobody gave.
    Name,
    /// A number that nobody gave.
    Number,
    /// The system prompt, from so many percent of it on.
    Prompt,
}

impl Check {
    /// The check of that name, as packs write it.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "grounding.claim" => Self::Claim,
            "grounding.name" => Self::Name,
            "grounding.number" => Self::Number,
            "leak.canary" => Self::Canary,
            "leak.prompt" => Self::Prompt,
            _ => return None,
        })
    }

    /// The threshold where the rule says none.
    const fn usual(self) -> i32 {
        match self {
            Self::Claim => 40,
            Self::Prompt => 30,
            Self::Canary | Self::Name | Self::Number => 0,
        }
    }

    const fn is_grounding(self) -> bool {
        match self {
            Self::Claim | Self::Name | Self::Number => true,
            Self::Canary | Self::Prompt => false,
        }
    }
}

/// Where something is, if it is at one place.
pub type At = Option<Range<usize>>;

/// The rules of this kind, and what they go by.
#[derive(Debug, Default)]
pub struct Checks {
    list: Vec<Wanted>,
    canaries: Canaries,
    sources: Vec<Channel>,
}

#[derive(Clone, Copy, Debug)]
struct Wanted {
    rule: u16,
    check: Check,
    threshold: i32,
}

impl Checks {
    /// Those among these rules, with the canaries and the channels that count as sources.
    pub fn of(rules: &[Rule], canaries: Canaries, sources: Vec<Channel>) -> Self {
        let own = |(rule, one): (u16, &Rule)| match one.kind() {
            Kind::Detector(own) => match own.detector {
                Detector::Answer(check) => {
                    let threshold = own.threshold.unwrap_or_else(|| check.usual());
                    Some(Wanted { rule, check, threshold })
                }
                Detector::Conversation(_)
                | Detector::Link(_)
                | Detector::Score(_)
                | Detector::Structure(_) => None,
            },
            Kind::Entity(_) | Kind::Phrase(_) => None,
        };
        let list = (0..).zip(rules).filter_map(own);
        let list = list.filter(|own| own.check != Check::Canary || !canaries.is_empty()).collect();
        Self { list, canaries, sources }
    }

    /// Those that look at a text of that channel.
    fn on(&self, rules: &Rules, channel: Channel, view: View) -> Vec<Wanted> {
        let acts =
            |rule: u16| rules.get(rule).is_some_and(|rule| rule.action(view) != Action::Allow);
        let looks = |check: Check| match (check, view.direction) {
            (Check::Canary, Direction::Request) => channel == Channel::ToolArguments,
            (Check::Canary, Direction::Response) => true,
            (_, Direction::Request) => false,
            (Check::Claim | Check::Name | Check::Number, Direction::Response) => {
                channel == Channel::Assistant
            }
            // What a model thinks of its orders is no leak before it says so.
            (Check::Prompt, Direction::Response) => channel != Channel::Reasoning,
        };
        let list = self.list.iter().copied();
        list.filter(|wanted| looks(wanted.check) && acts(wanted.rule)).collect()
    }
}

/// What of a request its answer is held against.
#[derive(Debug, Default)]
pub struct Context {
    evidence: Evidence,
    prompt: Option<Prompt>,
}

impl Context {
    /// That of a request; nothing if no rule asks for it.
    pub fn of(rules: &Rules, request: &Text, answer: View) -> Option<Self> {
        let checks = rules.checks();
        let wanted = checks.on(rules, Channel::Assistant, answer);
        let mut context = Self::default();
        let is_wanted = |check: fn(Check) -> bool| wanted.iter().any(|own| check(own.check));
        if is_wanted(Check::is_grounding) {
            context.evidence = evidence(request, &checks.sources);
        } else if !is_wanted(|check| check == Check::Prompt) {
            return None;
        }
        if is_wanted(|check| check == Check::Prompt) {
            context.prompt = Prompt::of(request);
        }
        Some(context)
    }
}

/// The sources of a request. Numbers and names of the other texts may be repeated.
fn evidence(request: &Text, sources: &[Channel]) -> Evidence {
    let mut evidence = Evidence::default();
    for segment in request.segments() {
        let said = request.joined().get(segment.at.clone()).unwrap_or_default();
        if sources.contains(&segment.channel) {
            evidence.add(said);
        } else if matches!(segment.channel, Channel::User | Channel::System) {
            evidence.allow(said);
        }
    }
    evidence
}

/// All findings in a text, segment by segment.
pub fn in_text(rules: &Rules, context: Option<&Context>, text: &Text, view: View) -> Vec<Finding> {
    let mut found = Vec::new();
    if rules.checks().list.is_empty() {
        return found;
    }
    for (index, segment) in text.segments().iter().enumerate() {
        let Some(mut follow) = Follow::new(rules, segment.channel, view) else { continue };
        let said = text.joined().get(segment.at.clone()).unwrap_or_default();
        let mut tell = |rule, span| found.push(Finding { rule, segment: index, span });
        follow.push(said, rules, context, &mut tell);
        follow.finish(context, &mut tell);
    }
    found
}

/// Follows one text. Each rule is told once.
#[derive(Debug)]
pub struct Follow {
    wanted: Vec<Wanted>,
    holds: bool,
    sentences: Sentences,
    trace: Trace,
    perch: Perch,
}

impl Follow {
    /// Begins with a text of that channel; nothing if no rule looks at it.
    pub fn new(rules: &Rules, channel: Channel, view: View) -> Option<Self> {
        let wanted = rules.checks().on(rules, channel, view);
        if wanted.is_empty() {
            return None;
        }
        let blocks =
            |rule: u16| rules.get(rule).is_some_and(|rule| rule.action(view) == Action::Block);
        let holds = wanted.iter().any(|own| own.check.is_grounding() && blocks(own.rule));
        let (sentences, trace, perch) = Default::default();
        Some(Self { wanted, holds, sentences, trace, perch })
    }

    /// Takes more of the text and tells the rules that hit, and where if it is one place.
    pub fn push(
        &mut self,
        text: &str,
        rules: &Rules,
        context: Option<&Context>,
        tell: &mut dyn FnMut(u16, At),
    ) {
        if self.wants(|check| check == Check::Canary)
            && self.perch.push(text, &rules.checks().canaries)
        {
            self.tell(|own| own.check == Check::Canary, &None, tell);
        }
        let Some(context) = context else { return };
        if let Some(prompt) = &context.prompt
            && self.wants(|check| check == Check::Prompt)
        {
            let told = self.trace.push(text, prompt);
            self.tell_prompt(told, tell);
        }
        if self.holds || self.wants(Check::is_grounding) {
            let mut whole = Vec::new();
            self.sentences.push(text, &mut whole);
            self.judge(&whole, context, tell);
        }
    }

    /// The text has ended.
    pub fn finish(&mut self, context: Option<&Context>, tell: &mut dyn FnMut(u16, At)) {
        let Some(context) = context else { return };
        if let Some(prompt) = &context.prompt
            && self.wants(|check| check == Check::Prompt)
        {
            let told = self.trace.finish(prompt);
            self.tell_prompt(told, tell);
        }
        let mut whole = Vec::new();
        self.sentences.finish(&mut whole);
        self.judge(&whole, context, tell);
    }

    /// Up to where the text may leave: a sentence that could be refused waits for its end.
    pub const fn judged(&self, context: Option<&Context>) -> usize {
        if self.holds && context.is_some() { self.sentences.judged() } else { usize::MAX }
    }

    fn wants(&self, check: fn(Check) -> bool) -> bool {
        self.wanted.iter().any(|own| check(own.check))
    }

    fn judge(&mut self, whole: &[Sentence], context: &Context, tell: &mut dyn FnMut(u16, At)) {
        for sentence in whole {
            let judged = context.evidence.judge(&sentence.text);
            let moved = |span: Range<usize>| sentence.from + span.start..sentence.from + span.end;
            if let Some(number) = judged.number {
                self.tell(|own| own.check == Check::Number, &Some(moved(number)), tell);
            }
            if let Some(name) = judged.name {
                self.tell(|own| own.check == Check::Name, &Some(moved(name)), tell);
            }
            if let Some(support) = judged.support {
                let is_less = |own: &Wanted| support * 100.0 < f64::from(own.threshold);
                let span = moved(0..sentence.text.len());
                self.tell(|own| own.check == Check::Claim && is_less(own), &Some(span), tell);
            }
        }
    }

    fn tell_prompt(&mut self, told: usize, tell: &mut dyn FnMut(u16, At)) {
        let told = i32::try_from(told).unwrap_or(i32::MAX);
        let is_told = |own: &Wanted| told > 0 && told >= own.threshold;
        self.tell(|own| own.check == Check::Prompt && is_told(own), &None, tell);
    }

    /// Tells those rules, and never again.
    fn tell(&mut self, hits: impl Fn(&Wanted) -> bool, span: &At, tell: &mut dyn FnMut(u16, At)) {
        self.wanted.retain(|own| {
            let is_hit = hits(own);
            if is_hit {
                tell(own.rule, span.clone());
            }
            !is_hit
        });
    }
}

#[cfg(test)]
mod tests {
    use super::{Context, Follow, in_text};
    use crate::base::hit::{Action, Direction};
    use crate::base::secret::Secret;
    use crate::base::text::{Channel, Form, Place, Source, Text, Trust};
    use crate::config::guard_rules::GuardAction;
    use crate::config::model::{Guard, Pattern};
    use crate::guard::detect::Detector;
    use crate::guard::pack::{PACKS, PackKind, read};
    use crate::guard::profile::View;
    use crate::guard::rules::Rules;
    use proptest::prelude::{prop, proptest};
    use std::sync::LazyLock;

    const WAY: View = View::new(Direction::Response, 0);
    const CANARY: &str = "cn-example-canary-0001";

    fn rules(action: Action) -> Rules {
        let entry = |name: &str| GuardAction {
            request: Some(action),
            response: Some(action),
            ..GuardAction::new(Pattern::Prefix(name.into()))
        };
        let actions = vec![entry("grounding."), entry("leak.")];
        let canaries = Some(Secret::new(CANARY));
        Rules::compile(&Guard { canaries, actions, ..Guard::default() }).unwrap()
    }

    static FLAGGING: LazyLock<Rules> = LazyLock::new(|| rules(Action::Flag));

    fn text(segments: &[(Channel, &str)]) -> Text {
        let mut text = Text::default();
        for (channel, said) in segments {
            let source = Source { raw: 0..said.len(), form: Form::PlainString };
            let place = Place { path: "messages[#].content", indexes: [0, 0] };
            text.push(said, source, *channel, Trust::Caller, place);
        }
        text
    }

    /// `system|source => answer`, and what is found in the answer.
    fn names(example: &str) -> Vec<String> {
        let (request, answer) = example.split_once("=>").unwrap();
        let (system, source) = request.split_once('|').unwrap_or_default();
        let request = text(&[(Channel::System, system), (Channel::ToolResult, source)]);
        let context = Context::of(&FLAGGING, &request, WAY).unwrap();
        let answer = text(&[(Channel::Assistant, answer.trim())]);
        let found = in_text(&FLAGGING, Some(&context), &answer, WAY);
        let name = |rule| FLAGGING.get(rule).unwrap().name().to_string();
        found.into_iter().map(|found| name(found.rule)).collect()
    }

    #[test]
    fn every_example_of_the_answer_pack_holds() {
        let mut seen = 0;
        for rule in PACKS.iter().flat_map(|(name, text)| read(name, text).unwrap()) {
            let PackKind::Detector(own) = &rule.kind else { continue };
            let Detector::Answer(_) = own.detector else { continue };
            for example in &rule.positive {
                assert!(names(example).contains(&rule.name), "{}: {example}", rule.name);
            }
            for example in &rule.negative {
                assert!(!names(example).contains(&rule.name), "{}: {example}", rule.name);
            }
            seen += 1;
        }
        assert_eq!(seen, 5);
    }

    #[test]
    fn a_canary_may_be_asked_with_but_not_called_with() {
        let found = |channel, direction| {
            in_text(&FLAGGING, None, &text(&[(channel, CANARY)]), View::new(direction, 0)).len()
        };
        assert_eq!(found(Channel::System, Direction::Request), 0);
        assert_eq!(found(Channel::ToolArguments, Direction::Request), 1);
        assert_eq!(found(Channel::Reasoning, Direction::Response), 1);
    }

    #[test]
    fn nothing_is_kept_of_a_request_where_no_rule_asks_for_it() {
        let request = text(&[(Channel::System, "s"), (Channel::ToolResult, "r")]);
        assert!(Context::of(&rules(Action::Allow), &request, WAY).is_none());
    }

    const ANSWER: &str = "The bridge has eight lanes. It opened in 1932! Entry to the museum costs \
        12 dollars for each person. Ask Brunel.\nThe bridge has eight lanes and opened then.";

    proptest! {
        #[test]
        fn an_answer_in_pieces_says_what_the_whole_says(
            lengths in prop::collection::vec(1_usize..40, 1..12),
        ) {
            let source = "The bridge has eight lanes and opened in March 1932.";
            let request = text(&[(Channel::ToolResult, source)]);
            let context = Context::of(&FLAGGING, &request, WAY).unwrap();
            let answer = text(&[(Channel::Assistant, ANSWER)]);
            let whole = in_text(&FLAGGING, Some(&context), &answer, WAY);
            let mut wanted: Vec<_> = whole.into_iter().map(|one| (one.rule, one.span)).collect();
            let mut follow =
                Follow::new(&FLAGGING, Channel::Assistant, WAY).unwrap();
            let mut found = Vec::new();
            let mut letters = ANSWER.chars().peekable();
            for length in lengths.into_iter().cycle() {
                if letters.peek().is_none() {
                    break;
                }
                let piece: String = letters.by_ref().take(length).collect();
                follow.push(&piece, &FLAGGING, Some(&context), &mut |rule, span| {
                    found.push((rule, span));
                });
            }
            follow.finish(Some(&context), &mut |rule, span| found.push((rule, span)));
            assert_eq!(found.len(), 3, "claim, number and name");
            wanted.sort_by_key(|(rule, _)| *rule);
            found.sort_by_key(|(rule, _)| *rule);
            assert_eq!(found, wanted);
        }
    }
}
