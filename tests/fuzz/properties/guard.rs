//! The whole guard: any text, as a body, as parts, as a stream at any split, in bounded time.
use ringwall::base::clock::Clock;
use ringwall::base::hit::{Action, Direction};
use ringwall::base::text::{Channel, Form, Place, Source, Text, Trust};
use ringwall::config::model::Guard;
use ringwall::guard::inspect::Matcher;
use ringwall::guard::rules::Rules;
use ringwall::guard::stream::{StreamForm, StreamMasker};
use std::cell::RefCell;
use std::sync::Arc;

const PLACE: Place = Place { path: "messages[#].content", indexes: [0, 0] };
/// Nanoseconds for each byte, and for any text at all, beyond which a text costs too much. Far from
/// the aim, since the machine that this runs on has other things to do.
const NANOS_EACH: u64 = 20_000;
const NANOS_FREE: u64 = 5_000_000_000;

thread_local! {
    static MATCHER: RefCell<Matcher> = RefCell::new({
        let rules = Rules::compile(&Guard::default());
        Matcher::new(Arc::new(rules.expect("the packs compile"))).expect("a matcher")
    });
}

pub(crate) fn check(data: &[u8]) {
    // The first bytes say where the rest is split.
    let Some((cuts, text)) = data.split_at_checked(4) else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    // It parts the segments of a body, and stands for nothing in a stream.
    let text = &text.replace('\0', " ");
    let clock = Clock::machine();
    MATCHER.with_borrow_mut(|matcher| {
        let begun = clock.mono().0;
        let whole = cleared(matcher, text);
        let took = clock.mono().0 - begun;
        let most = NANOS_FREE + NANOS_EACH * u64::try_from(text.len()).unwrap_or(u64::MAX);
        assert!(took < most, "{took} ns for {} bytes: {text:?}", text.len());
        let pieces = pieces(text, cuts);
        let split = streamed(matcher, &pieces);
        assert_eq!(whole, split, "{pieces:?}");
        // As parts of one content they are looked at together; nothing may go wrong.
        parts(matcher, &pieces);
    });
}

fn pieces<'a>(text: &'a str, cuts: &[u8]) -> Vec<&'a str> {
    let (mut pieces, mut rest) = (Vec::new(), text);
    for cut in cuts.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let at = rest.ceil_char_boundary(usize::from(*cut % 61) + 1).min(rest.len());
        let (piece, left) = rest.split_at(at);
        pieces.push(piece);
        rest = left;
    }
    pieces
}

/// What a body says after it was cleared, and how many hits there were; nothing if it is blocked.
fn cleared(matcher: &mut Matcher, said: &str) -> Option<(String, usize)> {
    let mut text = Text::default();
    let source = Source { raw: 0..said.len(), form: Form::PlainString };
    text.push(said, source, Channel::Assistant, Trust::Upstream, PLACE);
    let cleared = matcher.clear(said.as_bytes(), &text, Direction::Response).ok()?;
    let hits = cleared.hits().len();
    let out = cleared.into_splices().apply(said.as_bytes());
    Some((String::from_utf8(out).expect("masks are cut at letters"), hits))
}

fn streamed(matcher: &mut Matcher, pieces: &[&str]) -> Option<(String, usize)> {
    let mut masker = StreamMasker::new(StreamForm::Text, Channel::Assistant, PLACE);
    let (mut out, mut hits) = (String::new(), Vec::new());
    for piece in pieces {
        masker.push(matcher, piece, &mut out).ok()?;
        hits.append(&mut masker.take_hits());
    }
    masker.finish(matcher, &mut out).ok()?;
    hits.append(&mut masker.take_hits());
    Some((out, hits.len().min(ringwall::guard::inspect::HITS_MAX)))
}

fn parts(matcher: &mut Matcher, pieces: &[&str]) {
    let (mut text, mut raw) = (Text::default(), String::new());
    for (index, piece) in pieces.iter().enumerate() {
        let source = Source { raw: raw.len()..raw.len() + piece.len(), form: Form::PlainString };
        text.push(piece, source, Channel::User, Trust::Caller, PLACE);
        if index % 3 > 0 {
            text.last_follows(index - 1);
        }
        raw.push_str(piece);
    }
    match matcher.clear(raw.as_bytes(), &text, Direction::Request) {
        Ok(cleared) => {
            let out = cleared.into_splices().apply(raw.as_bytes());
            String::from_utf8(out).expect("masks are cut at letters");
        }
        Err(blocked) => {
            assert_eq!(blocked.hits.last().map(|hit| hit.action), Some(Action::Block));
        }
    }
}
