//! What masks say, and how they are written into a body: from a span of decoded text to a splice
//! over its raw form.
//!
//! A placeholder needs no escape; only where it takes the place of a number does it bring quotes.

use crate::base::hit::{Direction, Style};
use crate::base::offsets::RawOffsets;
use crate::base::splice::Splices;
use crate::base::text::{Form, Segment, Text};
use crate::guard::arguments::decoded;
use crate::guard::restore::escaped;
use crate::guard::rules::Rule;
use crate::guard::run::Found;
use crate::guard::search::Search;
use crate::guard::vault::{Purpose, Vault};
use std::borrow::Cow;
use std::ops::Range;

/// A value that was found and is to be masked.
#[derive(Clone, Debug)]
pub struct Value<'a> {
    /// The rule that found it.
    rule: u16,
    /// The value, without escapes of the JSON that it stands in.
    text: Cow<'a, str>,
    /// More of it may follow.
    is_cut: bool,
    /// It names a member of an object, where two masks must not be the same.
    is_key: bool,
}

impl<'a> Value<'a> {
    /// What was found, as it is `said` in a text that is or is not JSON.
    pub fn new(said: &'a str, is_json: bool, found: &Found) -> Self {
        let is_escaped = is_json && !found.is_bare && said.contains('\\');
        let text = if is_escaped { Cow::Owned(decoded(said)) } else { Cow::Borrowed(said) };
        Self { rule: found.rule, text, is_cut: found.is_cut, is_key: found.is_key }
    }

    /// One that was put together from several texts.
    pub fn whole(rule: u16, text: &'a str) -> Self {
        Self { rule, text: Cow::Borrowed(text), is_cut: false, is_key: false }
    }
}

/// What is written where the value stands. The one place that decides so.
///
/// It holds nothing that JSON would escape, and no rule finds anything in it. Values that are too
/// long to be seen whole, such as private keys, have their placeholder and nothing else.
pub fn written<'a>(search: &Search<'a>, value: &Value<'_>, vault: &mut Vault) -> Cow<'a, str> {
    let rules = search.rules;
    let rule = rules.get(value.rule);
    let fixed = rules.placeholder(value.rule);
    let style = rule.and_then(|rule| rule.act(search.view)).map_or(Style::Fixed, |act| act.style);
    let is_block = rule.and_then(Rule::entity).is_some_and(|entity| entity.pack.is_block);
    let purpose = match (style, search.view.direction) {
        _ if value.is_cut || is_block => return Cow::Borrowed(fixed),
        (Style::Fixed, _) if !value.is_key => return Cow::Borrowed(fixed),
        (Style::Format, _) if !value.is_key => {
            let keeps = rule.is_some_and(|rule| rule.name().starts_with(PERSONAL));
            return Cow::Owned(stars(&value.text, keeps));
        }
        // What is found in an answer is not the caller's own, and is not given back.
        (Style::Pseudonym, Direction::Request) => Purpose::Pseudonym,
        (Style::Fixed | Style::Format | Style::Hash | Style::Pseudonym, _) => Purpose::Digest,
    };
    let name = vault.name(fixed, &value.text, purpose);
    name.map_or(Cow::Borrowed(fixed), Cow::Owned)
}

/// Rules whose values may keep their end: whoever knows the person knows it, and it opens nothing.
const PERSONAL: &str = "pii.";
/// Letters and digits of a value whose last four stay.
const LONG: usize = 12;
const KEPT: usize = 4;

/// Stars in the shape of a value: letters and digits go, what separates them stays.
fn stars(value: &str, keeps_end: bool) -> String {
    let all = value.chars().filter(char::is_ascii_alphanumeric).count();
    let keeps = keeps_end && all >= LONG && !value.contains('@');
    let mut left = all;
    let shown = value.chars().map(|next| match next {
        _ if next.is_ascii_alphanumeric() => {
            left -= 1;
            if keeps && left < KEPT { next } else { '*' }
        }
        '"' | '\\' => '*',
        _ if next.is_ascii_graphic() => next,
        _ if next.is_whitespace() => ' ',
        _ => '*',
    });
    shown.collect()
}

/// Writes the masks of one segment, in ascending order.
#[derive(Debug)]
pub struct Masks<'a> {
    segment: &'a Segment,
    /// Only where raw and decoded offsets differ.
    offsets: Option<RawOffsets<'a>>,
    is_number_done: bool,
    /// The segment is the name of an object's member.
    is_key: bool,
}

impl<'a> Masks<'a> {
    /// Begins with a segment of the body `raw`.
    pub fn new(segment: &'a Segment, raw: &'a [u8]) -> Self {
        let inner = raw.get(segment.source.raw.clone()).unwrap_or_default();
        let offsets = match segment.source.form {
            Form::EscapedString | Form::EscapedJson => Some(RawOffsets::new(inner)),
            Form::Number | Form::PlainString | Form::PlainJson => None,
        };
        let is_key = is_key(segment, raw);
        Self { segment, offsets, is_number_done: false, is_key }
    }

    /// The value of a finding, whose span is counted from the segment's beginning.
    pub fn value<'t>(&self, text: &'t Text, found: &Found) -> Value<'t> {
        let start = self.segment.at.start;
        let span = start + found.span.start..start + found.span.end;
        let said = text.joined().get(span).unwrap_or_default();
        let is_json = matches!(self.segment.source.form, Form::PlainJson | Form::EscapedJson);
        let mut value = Value::new(said, is_json, found);
        value.is_key |= self.is_key;
        value
    }

    /// Puts a text over `span` that is the caller's own, with the escapes of the body.
    pub fn write_value(&mut self, span: &Range<usize>, value: &str, splices: &mut Splices) {
        self.write(span, &escaped(value), false, splices);
    }

    /// Puts `placeholder` over `span`, counted from the segment's beginning. `bare` says that it
    /// takes the place of a bare word of a JSON text and needs quotes.
    pub fn write(
        &mut self,
        span: &Range<usize>,
        placeholder: &str,
        bare: bool,
        splices: &mut Splices,
    ) {
        let raw = &self.segment.source.raw;
        if self.segment.source.form == Form::Number {
            // Part of a number cannot be a string: all of it goes.
            if !std::mem::replace(&mut self.is_number_done, true) {
                splices.replace(raw.clone(), format!("\"{placeholder}\""));
            }
            return;
        }
        let (start, end) = match &mut self.offsets {
            Some(offsets) => (offsets.of(span.start), offsets.of(span.end)),
            None => (span.start, span.end),
        };
        let with = if bare { format!("\\\"{placeholder}\\\"") } else { placeholder.to_owned() };
        splices.replace(raw.start + start..raw.start + end, with);
    }
}

/// Whether a segment of a JSON body is the name of an object's member: a colon follows it.
pub fn is_key(segment: &Segment, raw: &[u8]) -> bool {
    let after = raw.get(segment.source.raw.end..).unwrap_or_default();
    let mut after = after.strip_prefix(b"\"").unwrap_or_default().iter();
    after.find(|byte| !matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) == Some(&b':')
}

#[cfg(test)]
mod tests {
    use super::stars;
    use crate::base::hit::{Action, Direction, Style};
    use crate::base::json::Reader;
    use crate::base::text::{Channel, Form, Place, Source, Text, Trust};
    use crate::config::guard_rules::GuardAction;
    use crate::config::model::{Guard, Pattern};
    use crate::guard::inspect::Matcher;
    use crate::guard::pack::{PACKS, read};
    use crate::guard::profile::View;
    use crate::guard::restore::restore;
    use crate::guard::rules::Rules;
    use crate::guard::vault::Vault;
    use crate::guard::vault::tests::vault;
    use proptest::prelude::{ProptestConfig, prop, prop_assert, prop_assert_eq, proptest};
    use std::sync::{Arc, LazyLock};

    const STYLES: [Style; 4] = [Style::Fixed, Style::Format, Style::Hash, Style::Pseudonym];

    static RULES: LazyLock<[Arc<Rules>; 4]> = LazyLock::new(|| {
        STYLES.map(|style| {
            let style = Some(style);
            let own = GuardAction { style, ..GuardAction::new(Pattern::Prefix("".into())) };
            let config = Guard { actions: vec![own], ..Guard::default() };
            Arc::new(Rules::compile(&config).unwrap())
        })
    });

    static VALUES: LazyLock<Vec<String>> = LazyLock::new(|| {
        let rules = PACKS.iter().flat_map(|(name, text)| read(name, text).unwrap());
        let masked = rules.filter(|rule| rule.request == Action::Mask);
        masked.flat_map(|rule| rule.positive).collect()
    });

    fn matcher(style: usize) -> Matcher {
        Matcher::new(Arc::clone(&RULES[style])).unwrap()
    }

    /// All strings of a body, names of members too, and what is left of it.
    fn masked(matcher: &mut Matcher, raw: &str, vault: &mut Vault) -> String {
        let document = Reader::default().read(raw.as_bytes()).unwrap();
        let mut text = Text::default();
        let mut todo = vec![document.root()];
        while let Some(value) = todo.pop() {
            if let Some(said) = value.as_str() {
                let is_json = said.starts_with(['{', '[']);
                let form = match (value.is_escaped(), is_json) {
                    (false, false) => Form::PlainString,
                    (true, false) => Form::EscapedString,
                    (false, true) => Form::PlainJson,
                    (true, true) => Form::EscapedJson,
                };
                let source = Source { raw: value.inner(), form };
                let place = Place { path: "messages[#].content", indexes: [0, 0] };
                text.push(said, source, Channel::User, Trust::Caller, place);
            }
            let inner: Vec<_> = value
                .items()
                .chain(value.members().flat_map(|(key, value)| [key, value]))
                .collect();
            todo.extend(inner.into_iter().rev());
        }
        let view = View::from(Direction::Request);
        let cleared = matcher.clear_with(raw.as_bytes(), &text, view, (None, vault)).unwrap();
        String::from_utf8(cleared.into_splices().apply(raw.as_bytes())).unwrap()
    }

    #[test]
    fn stars_keep_the_shape_and_the_end_of_long_personal_data() {
        assert_eq!(stars("4111 1111-1111.1111", true), "**** ****-****.1111");
        assert_eq!(stars("a.b@example.org", true), "*.*@*******.***");
        assert_eq!(stars("078-05-1120", true), "***-**-****");
        assert_eq!(stars("sk-live-0123456789abcdef\"\\é", false), "**-****-*******************");
    }

    #[test]
    fn masks_of_every_style_are_final() {
        for (style, _) in STYLES.iter().enumerate() {
            let (mut matcher, mut vault) = (matcher(style), vault());
            for value in VALUES.iter() {
                let raw = serde_json::to_string(&format!("so: {value}, then")).unwrap();
                let once = masked(&mut matcher, &raw, &mut vault);
                assert_ne!(once, raw, "{style}");
                assert_eq!(masked(&mut matcher, &once, &mut vault), once, "{style}");
            }
        }
    }

    #[test]
    fn two_masked_names_of_one_object_stay_two() {
        let raw = r#"{"a@b.org":1,"c@d.org" : 2,"in":"{\"a@b.org\":\"a@b.org\",\"c@d.org\":{}}"}"#;
        for (style, _) in STYLES.iter().enumerate() {
            let left = masked(&mut matcher(style), raw, &mut vault());
            assert!(!left.contains("@b.org") && !left.contains("@d.org"), "{left}");
            // The reader refuses a name that is there twice.
            let document = Reader::default().read(left.as_bytes()).unwrap();
            let inner = document.root().member("in").unwrap().as_str().unwrap().to_owned();
            Reader::default().read(inner.as_bytes()).unwrap();
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn a_conversation_that_grows_begins_with_the_same_bytes_and_is_given_all_back(
            words in prop::collection::vec(("[a-z \\n]{0,12}", 0_usize..64), 1..12),
            cut in 0_usize..12,
        ) {
            let say = |(word, which): &(String, usize)| {
                let value = &VALUES[which % VALUES.len()];
                serde_json::json!({ "role": "user", "content": format!("{word} {value} so") })
            };
            let all: Vec<String> = words.iter().map(|one| say(one).to_string()).collect();
            let body = |all: &[String]| format!("[{}]", all.join(","));
            for style in 0..STYLES.len() {
                let mut matcher = matcher(style);
                let mut fresh = |raw: &str| masked(&mut matcher, raw, &mut vault());
                let whole = fresh(&body(&all));
                prop_assert_eq!(&fresh(&body(&all)), &whole);
                let part = fresh(&body(&all[..cut.min(all.len())]));
                prop_assert!(whole.starts_with(part.trim_end_matches(']')));
            }
            // Pseudonyms are undone but for private keys, which have none.
            let raw = body(&all);
            let mut vault = vault();
            let named = masked(&mut matcher(3), &raw, &mut vault);
            let mut text = Text::default();
            let inner = serde_json::to_string(&named).unwrap();
            let source = Source { raw: 1..inner.len() - 1, form: Form::EscapedJson };
            let place = Place { path: "choices[#].message.content", indexes: [0, 0] };
            text.push(&named, source, Channel::Assistant, Trust::Upstream, place);
            let mut splices = crate::base::splice::Splices::default();
            restore(inner.as_bytes(), &text, &vault, &mut splices);
            let back: String = serde_json::from_slice(&splices.apply(inner.as_bytes())).unwrap();
            if !named.contains("PRIVATE_KEY]") {
                let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
                prop_assert_eq!(read(&back), read(&raw));
            }
        }
    }
}
