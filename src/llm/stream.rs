//! A streamed answer, event by event: masks its texts and leaves every other byte as it came.
//!
//! Text that the mask holds back comes out with a later piece of the same run, or, when the run
//! ends, in a chunk of Ringwall's own before the event that ends it. Text of the fields that
//! clients join is masked as one run; any other string is masked by itself, under one key that
//! ends each time: a mask takes a piece after `finish` as the beginning of a new run.

use crate::base::json::{JsonError, Reader, Value};
use crate::base::mask::{Stopped, StreamMask};
use crate::base::text::Channel;
use crate::base::usage::Usage;
use crate::llm::alone::escaped;
use crate::llm::answer::{hide_logprobs_of, usage};
use crate::llm::event::write_event as write_data;
use crate::llm::pass::{Pass, Piece};
use crate::llm::run::{CHOICES_MAX, Field, RUNS_MAX, Run, Runs, frame, write_event};
use std::fmt;

/// The state of one streamed answer.
#[derive(Debug)]
pub struct ChatStream {
    usage_asker: Asker,
    logprobs: Logprobs,
    /// Where a choice that we cut says so.
    last_word: Field,
    done: bool,
    usage: Option<Usage>,
    /// What a chunk of our own begins with; empty until a chunk with a choice was seen.
    frame: Vec<u8>,
    runs: Runs,
}

/// Who asked the provider to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Caller,
    Gateway,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Logprobs {
    Hide,
    Keep,
}

/// Whether the answer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// More events are to come.
    Continue,
    /// `[DONE]` went out; what comes after it is no part of the answer.
    Done,
}

/// Why a stream cannot be passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// A choice goes on after its finish reason: what was released could join with it.
    AfterEnd,
    /// The guard blocks it.
    Blocked(Stopped),
    /// An event's data is not JSON.
    Json(JsonError),
    /// An event is JSON, but no chunk; the text says what is wrong.
    Shape(&'static str),
    /// More than [`CHOICES_MAX`] choices.
    TooManyChoices,
    /// More than [`RUNS_MAX`] runs of text.
    TooManyRuns,
}

impl fmt::Display for StreamFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AfterEnd => out.write_str("a choice goes on after its finish reason"),
            Self::Blocked(stopped) => write!(out, "blocked by rule `{}`", stopped.rule),
            Self::Json(error) => write!(out, "not JSON at byte {}: {:?}", error.at, error.fault),
            Self::Shape(what) => out.write_str(what),
            Self::TooManyChoices => write!(out, "more than {CHOICES_MAX} choices"),
            Self::TooManyRuns => write!(out, "more than {RUNS_MAX} runs of text"),
        }
    }
}

impl std::error::Error for StreamFault {}

impl From<Stopped> for StreamFault {
    fn from(stopped: Stopped) -> Self {
        Self::Blocked(stopped)
    }
}

impl ChatStream {
    /// Begins a stream. `include_usage_wanted` says whether the caller itself asked for usage; if
    /// not, the count that `ChatRequest::rewrite` asked for stays with the gateway.
    pub fn new(include_usage_wanted: bool) -> Self {
        Self {
            usage_asker: if include_usage_wanted { Asker::Caller } else { Asker::Gateway },
            logprobs: Logprobs::Hide,
            last_word: Field::Refusal,
            done: false,
            usage: None,
            frame: Vec::new(),
            runs: Runs::default(),
        }
    }

    /// Lets `logprobs` pass, which repeats the text unmasked: only where no guard masks.
    pub fn keep_logprobs(&mut self) {
        self.logprobs = Logprobs::Keep;
    }

    /// Its choices hold bare text, as completions before chat had it: there is no refusal.
    pub fn is_text(&mut self) {
        self.last_word = Field::Text;
    }

    /// The provider's count, once it has sent it.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Takes the data of one event and writes whole events to `out`: those that it releases, and
    /// itself. On a fault nothing is written, but for `[DONE]`, before which each run ends alone.
    pub fn event(
        &mut self,
        data: &str,
        reader: &mut Reader,
        mask: &mut dyn StreamMask,
        out: &mut Vec<u8>,
    ) -> Result<Flow, StreamFault> {
        if self.done {
            return Ok(Flow::Done);
        }
        if data.trim_ascii() == "[DONE]" {
            self.finish(mask, out)?;
            out.extend_from_slice(b"data: [DONE]\n\n");
            self.done = true;
            return Ok(Flow::Done);
        }
        let json = reader.read(data.as_bytes()).map_err(StreamFault::Json)?;
        let root = json.root();
        if !root.is_object() {
            return Err(StreamFault::Shape("a chunk must be an object"));
        }
        if let Some(counted) = root.member("usage").and_then(usage) {
            self.usage = Some(counted);
            if self.usage_asker == Asker::Gateway && is_count_only(root) {
                return Ok(Flow::Continue);
            }
        }
        let mut pass = Pass::new(mask, &mut self.runs);
        read_chunk(root, self.usage_asker, self.logprobs, &mut pass)?;
        if self.frame.is_empty() && !pass.runs.choices.is_empty() {
            self.frame = frame(root, data);
        }
        let before = end_runs(&mut pass, &self.frame)?;
        pass.runs.finish(&pass.ended);
        out.extend_from_slice(&before);
        write_chunk(data, pass, out);
        Ok(Flow::Continue)
    }

    /// The upstream has ended without `[DONE]`: writes what was still held back.
    pub fn finish(
        &mut self,
        mask: &mut dyn StreamMask,
        out: &mut Vec<u8>,
    ) -> Result<(), StreamFault> {
        for run in self.runs.all.iter_mut().filter(|run| run.open) {
            end_run(run, mask, &self.frame, out)?;
        }
        Ok(())
    }

    /// Ends the stream from our side in a form that clients take for an end: every choice that
    /// has not finished gets one chunk with `message` (and `code`) as its refusal and the finish
    /// reason `content_filter`, then `[DONE]`. Text that is held back is dropped.
    ///
    /// No `error` event: official clients raise it as an exception and lose the text that they
    /// had been given, whereas a refusal and a finish reason are part of every answer's shape.
    pub fn cut(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        if self.done {
            return;
        }
        self.done = true;
        let field = self.last_word;
        let text = if field == Field::Text { String::new() } else { format!("{message} ({code})") };
        if self.runs.choices.is_empty() {
            write_event(&self.frame, 0, field, &text, FILTERED, out);
        }
        for choice in self.runs.choices.iter_mut().filter(|choice| !choice.finished) {
            choice.finished = true;
            write_event(&self.frame, choice.index, field, &text, FILTERED, out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

/// The finish reason of a choice that a guard or a budget has ended.
const FILTERED: &str = "\"content_filter\"";

/// Whether a chunk carries nothing but the count: no choice, as the dialect has it.
fn is_count_only(root: Value<'_>) -> bool {
    root.member("choices").is_some_and(|list| list.is_array() && list.items().next().is_none())
}

fn read_chunk<'j>(
    root: Value<'j>,
    usage_asker: Asker,
    logprobs: Logprobs,
    pass: &mut Pass<'j, '_>,
) -> Result<(), StreamFault> {
    let mut before = None;
    let mut members = root.members().peekable();
    while let Some((key, value)) = members.next() {
        match key.as_str().unwrap_or_default() {
            "choices" if value.is_array() => {
                for (position, choice) in value.items().enumerate() {
                    pass.choice(choice, position)?;
                }
                if logprobs == Logprobs::Hide {
                    value.items().for_each(|one| hide_logprobs_of(one, &mut pass.splices));
                }
            }
            "usage" if value.is_null() && usage_asker == Asker::Gateway => {
                // The member goes with one comma: the one after it, or else the one before.
                let start = key.span().start;
                let span = match (members.peek(), before) {
                    (Some((next, _)), _) => start..next.span().start,
                    (None, Some(end)) => end..value.span().end,
                    (None, None) => start..value.span().end,
                };
                pass.splices.replace(span, Vec::new());
            }
            "id"
            | "object"
            | "created"
            | "model"
            | "system_fingerprint"
            | "service_tier"
            | "usage"
            | "obfuscation"
            | "prompt_filter_results" => {}
            "error" if !value.is_null() => {
                pass.ends_all = true;
                pass.alone(value, Channel::Assistant, 0)?;
            }
            _ => pass.alone(value, Channel::Assistant, 0)?,
        }
        before = Some(value.span().end);
    }
    Ok(())
}

/// Ends the runs that end with the chunk. What was held back joins the run's last piece in it;
/// without one it becomes an event that must stand before the chunk.
fn end_runs(pass: &mut Pass<'_, '_>, frame: &[u8]) -> Result<Vec<u8>, StreamFault> {
    let mut before = Vec::new();
    if pass.ended.is_empty() && !pass.ends_all {
        return Ok(before);
    }
    for run in pass.runs.all.iter_mut().filter(|run| run.open) {
        if !pass.ends_all && !pass.ended.contains(&run.choice) {
            continue;
        }
        let is_same =
            |piece: &&mut Piece<'_>| piece.choice == run.choice && piece.field == run.field;
        match pass.pieces.iter_mut().rev().find(is_same) {
            Some(piece) => run.close(pass.mask, &mut piece.released)?,
            None => end_run(run, pass.mask, frame, &mut before)?,
        }
    }
    Ok(before)
}

fn end_run(
    run: &mut Run,
    mask: &mut dyn StreamMask,
    frame: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), StreamFault> {
    let mut text = String::new();
    run.close(mask, &mut text)?;
    if !text.is_empty() {
        write_event(frame, run.choice, run.field, &text, "null", out);
    }
    Ok(())
}

fn write_chunk(data: &str, mut pass: Pass<'_, '_>, out: &mut Vec<u8>) {
    for piece in pass.pieces {
        if piece.released != piece.text {
            pass.splices.replace(piece.at, escaped(&piece.released));
        }
    }
    if pass.splices.is_empty() {
        write_data(None, data.as_bytes(), out);
    } else {
        write_data(None, &pass.splices.apply(data.as_bytes()), out);
    }
}

#[cfg(test)]
mod tests {
    use super::{ChatStream, Flow, StreamFault};
    use crate::base::json::{Reader, escape_into};
    use crate::base::mask::doubles::{Hold, Pass, WORD, Word};
    use crate::base::mask::{Stopped, StreamMask};
    use crate::base::text::Channel;
    use crate::base::usage::Usage;
    use proptest::collection::vec;
    use proptest::prelude::{ProptestConfig, Strategy, any, prop_oneof, proptest};
    use serde_json::Value;
    use std::collections::BTreeMap;

    /// What a client makes of a stream.
    #[derive(Debug, Default)]
    struct Client {
        events: Vec<String>,
        texts: BTreeMap<(u64, String), String>,
        finished: BTreeMap<u64, String>,
        done: bool,
    }

    impl Client {
        fn read(bytes: &[u8]) -> Self {
            let mut client = Self::default();
            let text = std::str::from_utf8(bytes).unwrap();
            text.split_terminator("\n\n").for_each(|event| client.event(event));
            client
        }

        fn event(&mut self, event: &str) {
            assert!(!self.done, "after [DONE]: {event}");
            let lines = event.lines().map(|line| line.strip_prefix("data: ").unwrap());
            let data = lines.collect::<Vec<_>>().join("\n");
            self.done = data == "[DONE]";
            if !self.done {
                let chunk: Value = serde_json::from_str(&data).unwrap();
                let choices = chunk["choices"].as_array().into_iter().flatten();
                choices.for_each(|choice| self.choice(choice));
            }
            self.events.push(data);
        }

        fn choice(&mut self, choice: &Value) {
            let index = choice["index"].as_u64().unwrap();
            let delta = &choice["delta"];
            for name in ["content", "refusal", "reasoning_content", "reasoning"] {
                self.text(index, name.to_owned(), &delta[name]);
            }
            for call in delta["tool_calls"].as_array().into_iter().flatten() {
                let name = format!("tool{}", call["index"]);
                self.text(index, name, &call["function"]["arguments"]);
            }
            if let Some(reason) = choice["finish_reason"].as_str() {
                assert_eq!(self.finished.insert(index, reason.to_owned()), None);
            }
        }

        fn text(&mut self, choice: u64, name: String, text: &Value) {
            let Some(text) = text.as_str().filter(|text| !text.is_empty()) else { return };
            assert!(!self.finished.contains_key(&choice), "text after the finish reason");
            self.texts.entry((choice, name)).or_default().push_str(text);
        }

        fn of(&self, choice: u64, name: &str) -> &str {
            self.texts.get(&(choice, name.to_owned())).map_or("", String::as_str)
        }
    }

    fn relay(events: &[String], mask: &mut dyn StreamMask, usage_wanted: bool) -> Vec<u8> {
        let mut stream = ChatStream::new(usage_wanted);
        let mut reader = Reader::default();
        let mut out = Vec::new();
        for event in events {
            stream.event(event, &mut reader, mask, &mut out).unwrap();
        }
        stream.finish(mask, &mut out).unwrap();
        out
    }

    const HEAD: &str =
        r#"{"id":"c1","object":"chat.completion.chunk","created":7,"model":"m","choices":["#;

    fn chunk(choices: &str) -> String {
        format!("{HEAD}{choices}]}}")
    }

    fn delta(choice: u32, delta: &str, finish: &str) -> String {
        format!(r#"{{"index":{choice},"delta":{{{delta}}},"finish_reason":{finish}}}"#)
    }

    fn quoted(text: &str) -> String {
        let mut out = Vec::new();
        escape_into(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// A stream as providers send it: two answers, one of which calls two tools.
    fn realistic() -> Vec<String> {
        let call = |index: u32, rest: &str| {
            chunk(&delta(1, &format!(r#""tool_calls":[{{"index":{index},{rest}}}]"#), "null"))
        };
        let begin = |index: u32, name: &str, arguments: &str| {
            let function = format!(r#""function":{{"name":"{name}","arguments":"{arguments}"}}"#);
            call(index, &format!(r#""id":"call_{name}","type":"function",{function}"#))
        };
        [
            chunk(&delta(0, r#""role":"assistant","content":"","refusal":null"#, "null")),
            chunk(&delta(1, r#""role":"assistant","content":null"#, "null")),
            chunk(&delta(0, r#""content":"The sec""#, "null")),
            begin(0, "f", ""),
            call(0, r#""function":{"arguments":"{\"a\":\"sec"}"#),
            chunk(&delta(0, r#""content":"ret is se""#, "null")),
            call(0, r#""function":{"arguments":"ret\"}"}"#),
            begin(1, "g", "[1"),
            call(1, r#""function":{"arguments":",2]"}"#),
            chunk(&delta(0, "", "\"stop\"")),
            chunk(&delta(1, "", "\"tool_calls\"")),
            format!(r#"{HEAD}],"usage":{{"prompt_tokens":5,"completion_tokens":6}}}}"#),
            "[DONE]".to_owned(),
        ]
        .into()
    }

    #[test]
    fn a_stream_without_a_match_passes_byte_for_byte() {
        let events = realistic();
        let out = relay(&events, &mut Pass, true);
        let expected = format!("data: {}\n\n", events.join("\n\ndata: "));
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn a_word_that_is_split_over_events_is_masked_in_every_run() {
        let client = Client::read(&relay(&realistic(), &mut Word::default(), false));
        assert_eq!(client.of(0, "content"), "The [W] is se");
        assert_eq!(client.of(1, "tool0"), r#"{"a":"[W]"}"#);
        assert_eq!(client.of(1, "tool1"), "[1,2]");
        assert_eq!(client.finished[&0], "stop");
        assert_eq!(client.finished[&1], "tool_calls");
        assert!(client.done);
    }

    #[test]
    fn arguments_are_whole_before_the_next_tool_begins() {
        let mut stream = ChatStream::new(false);
        let (mut reader, mut mask, mut out) = (Reader::default(), Hold::default(), Vec::new());
        for event in &realistic()[..7] {
            stream.event(event, &mut reader, &mut mask, &mut out).unwrap();
        }
        assert_eq!(Client::read(&out).of(1, "tool0"), r#"{"a":"secret"}"#);
    }

    #[test]
    fn held_text_joins_the_last_piece_or_comes_as_an_event_before_the_end() {
        let joined = [
            chunk(&delta(0, r#""content":"a""#, "null")),
            chunk(&delta(0, r#""content":"b""#, "\"length\"")),
        ];
        let out = String::from_utf8(relay(&joined, &mut Hold::default(), true)).unwrap();
        let expected = [
            chunk(&delta(0, r#""content":"""#, "null")),
            chunk(&delta(0, r#""content":"ab""#, "\"length\"")),
        ];
        assert_eq!(out, expected.map(|event| format!("data: {event}\n\n")).concat());

        let both = format!("{},{}", delta(0, "", "\"stop\""), delta(1, r#""content":"x""#, "null"));
        let apart = [chunk(&delta(0, r#""content":"a\"b""#, "null")), chunk(&both)];
        let client = Client::read(&relay(&apart, &mut Hold::default(), true));
        assert_eq!(client.events[1], chunk(&delta(0, r#""content":"a\"b""#, "null")));
        assert_eq!(client.events.len(), 4, "{:?}", client.events);
        assert_eq!(client.of(1, "content"), "x");
    }

    #[test]
    fn done_and_an_early_end_flush_what_is_held() {
        let first = chunk(&delta(0, r#""content":"tail""#, "null"));
        for events in [vec![first.clone(), "[DONE]".to_owned()], vec![first]] {
            let client = Client::read(&relay(&events, &mut Hold::default(), false));
            assert_eq!(client.of(0, "content"), "tail");
            assert_eq!(client.done, events.len() == 2);
        }
    }

    #[test]
    fn the_count_that_the_caller_did_not_ask_for_stays_here() {
        let mut stream = ChatStream::new(false);
        let (mut reader, mut out) = (Reader::default(), Vec::new());
        for (data, expected) in [
            (r#"{"id":"a","choices":[],"usage":null}"#, r#"{"id":"a","choices":[]}"#),
            (r#"{"id":"a", "usage" : null, "choices":[] }"#, r#"{"id":"a", "choices":[] }"#),
            (r#"{"usage":null,"id":"a"}"#, r#"{"id":"a"}"#),
            (r#"{ "usage":null }"#, "{  }"),
        ] {
            out.clear();
            stream.event(data, &mut reader, &mut Pass, &mut out).unwrap();
            assert_eq!(String::from_utf8_lossy(&out), format!("data: {expected}\n\n"));
        }
        out.clear();
        let count = r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}"#;
        stream.event(count, &mut reader, &mut Pass, &mut out).unwrap();
        assert!(out.is_empty());
        let usage = Usage { input_tokens: 5, output_tokens: 6, cached_tokens: 0 };
        assert_eq!(stream.usage(), Some(usage));
    }

    #[test]
    fn logprobs_are_hidden_unless_no_guard_masks() {
        let event =
            r#"{"choices":[{"index":0,"delta":{},"logprobs":{"content":[{"token":"s"}]}}]}"#;
        let mut reader = Reader::default();
        for keep in [false, true] {
            let (mut stream, mut out) = (ChatStream::new(true), Vec::new());
            if keep {
                stream.keep_logprobs();
            }
            stream.event(event, &mut reader, &mut Pass, &mut out).unwrap();
            let logprobs = if keep { r#"{"content":[{"token":"s"}]}"# } else { "null" };
            let expected = format!(
                "data: {{\"choices\":[{{\"index\":0,\"delta\":{{}},\"logprobs\":{logprobs}}}]}}\n\n"
            );
            assert_eq!(String::from_utf8_lossy(&out), expected);
        }
    }

    #[test]
    fn an_error_comes_after_what_was_held_and_is_masked_itself() {
        let events = [
            chunk(&delta(0, r#""content":"a sec""#, "null")),
            r#"{"error":{"message":"no secret","code":500}}"#.to_owned(),
        ];
        let client = Client::read(&relay(&events, &mut Word::default(), false));
        assert_eq!(client.of(0, "content"), "a sec");
        assert_eq!(client.events[2], r#"{"error":{"message":"no [W]","code":500}}"#);
    }

    #[test]
    fn strings_outside_the_known_runs_are_masked_too() {
        let events = [
            r#"{"id":"secret","choices":[{"index":0,"message":{"content":"secret"},
                "delta":{"new":["secret"],"audio":{"transcript":"sec"}}}],
                "citations":["secret"]}"#,
            r#"{"choices":[{"index":0,"delta":{"audio":{"transcript":"ret"},
                "content":[{"type":"text","text":"secret"}],
                "reasoning_details":[{"index":0,"text":"secret"}]}}]}"#,
        ];
        let out = relay(&events.map(str::to_owned), &mut Word::default(), false);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text.matches(WORD).count(), 1, "only the id stays: {text}");
        assert_eq!(text.matches("[W]").count(), 6, "{text}");
    }

    #[test]
    fn a_cut_ends_every_open_choice_and_then_the_stream() {
        let mut stream = ChatStream::new(false);
        let (mut reader, mut mask, mut out) = (Reader::default(), Word::default(), Vec::new());
        let two = format!("{},{}", delta(0, r#""content":"hi""#, "null"), delta(1, "", "\"stop\""));
        stream.event(&chunk(&two), &mut reader, &mut mask, &mut out).unwrap();
        let bad = chunk(&delta(0, r#""content":"forbidden""#, "null"));
        let sent = out.len();
        let fault = stream.event(&bad, &mut reader, &mut mask, &mut out).unwrap_err();
        assert_eq!(fault, StreamFault::Blocked(Stopped { rule: "word".into() }));
        assert_eq!(out.len(), sent, "nothing of a blocked event goes out");
        stream.cut("guard_blocked", "The answer was stopped.", &mut out);
        let length = out.len();
        stream.cut("again", "again", &mut out);
        assert_eq!(out.len(), length);
        let client = Client::read(&out);
        assert_eq!(client.finished[&0], "content_filter");
        assert_eq!(client.finished[&1], "stop");
        assert_eq!(client.of(0, "refusal"), "The answer was stopped. (guard_blocked)");
        assert!(client.done && client.events[1].contains(r#""id":"c1""#));
        let later = stream.event(&bad, &mut reader, &mut mask, &mut out);
        assert_eq!((later, out.len()), (Ok(Flow::Done), length));
    }

    #[test]
    fn a_cut_before_the_first_event_is_a_whole_answer() {
        let mut out = Vec::new();
        ChatStream::new(false).cut("budget", "Stopped.", &mut out);
        let client = Client::read(&out);
        assert_eq!(client.finished[&0], "content_filter");
        assert!(client.done);
    }

    #[test]
    fn what_is_no_chunk_is_never_forwarded() {
        let many = |count: usize, one: &dyn Fn(usize) -> String| {
            chunk(&(0..count).map(one).collect::<Vec<_>>().join(","))
        };
        let tools = |index: usize| {
            format!(
                r#"{{"index":{index},"delta":{{"content":"a","refusal":"b","reasoning":"c"}}}}"#
            )
        };
        for (event, expected) in [
            ("[1]".to_owned(), StreamFault::Shape("a chunk must be an object")),
            (chunk("1"), StreamFault::Shape("a choice must be an object")),
            (chunk(r#"{"index":-1}"#), StreamFault::Shape("an index must be a whole number")),
            (chunk(r#"{"index":4294967295}"#), StreamFault::Shape("an index is too large")),
            (many(129, &|_| "{}".to_owned()), StreamFault::TooManyChoices),
            (many(86, &tools), StreamFault::TooManyRuns),
        ] {
            let (mut stream, mut out) = (ChatStream::new(false), Vec::new());
            let fault = stream.event(&event, &mut Reader::default(), &mut Pass, &mut out);
            assert_eq!((fault, out.len()), (Err(expected), 0));
        }
        for event in ["", "{", r#"{"id":"a","id":"b"}"#, "data"] {
            let (mut stream, mut out) = (ChatStream::new(false), Vec::new());
            let fault = stream.event(event, &mut Reader::default(), &mut Pass, &mut out);
            assert!(matches!(fault, Err(StreamFault::Json(_))) && out.is_empty());
        }
    }

    #[test]
    fn text_after_the_finish_reason_is_refused_but_an_empty_delta_is_not() {
        let mut stream = ChatStream::new(false);
        let (mut reader, mut out) = (Reader::default(), Vec::new());
        let mut send = |text: &str, finish: &str| {
            let event = chunk(&delta(0, &format!(r#""content":"{text}""#), finish));
            stream.event(&event, &mut reader, &mut Pass, &mut out)
        };
        assert_eq!(send("a", "\"\""), Ok(Flow::Continue));
        assert_eq!(send("b", "\"stop\""), Ok(Flow::Continue));
        assert_eq!(send("", "\"stop\""), Ok(Flow::Continue));
        assert_eq!(send("c", "null"), Err(StreamFault::AfterEnd));
    }

    #[test]
    fn data_of_several_lines_stays_data_of_several_lines() {
        let out = relay(&["{\"choices\":\n[]}".to_owned()], &mut Pass, true);
        assert_eq!(out, b"data: {\"choices\":\ndata: []}\n\n");
    }

    /// One piece of a run: choice, which of its runs, text.
    type Step = (u64, usize, String);

    const NAMES: [&str; 6] =
        ["content", "refusal", "reasoning_content", "reasoning", "tool0", "tool1"];

    fn event(steps: &[Step], finish: &BTreeMap<u64, bool>) -> String {
        let choice = |(choice, run, text): &Step| {
            let text = quoted(text);
            let inner = match NAMES[*run] {
                "tool0" => {
                    format!(r#""tool_calls":[{{"index":0,"function":{{"arguments":"{text}"}}}}]"#)
                }
                "tool1" => {
                    format!(r#""tool_calls":[{{"index":1,"function":{{"arguments":"{text}"}}}}]"#)
                }
                name => format!(r#""{name}":"{text}""#),
            };
            let finish = if finish.contains_key(choice) { "\"stop\"" } else { "null" };
            format!(r#"{{"index":{choice},"delta":{{{inner}}},"finish_reason":{finish}}}"#)
        };
        chunk(&steps.iter().map(choice).collect::<Vec<_>>().join(","))
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let piece = prop_oneof![
            "[secrt]{1,4}",
            "(secret|se|cret|s|ec|ret|cre|t)",
            "[a-z{}\\[\\]\"\\\\\n\t🙂é]{0,6}",
        ];
        vec((0..3_u64, 0..NAMES.len(), piece), 1..40)
    }

    fn whole(steps: &[Step]) -> BTreeMap<(u64, String), String> {
        let mut texts: BTreeMap<_, String> = BTreeMap::new();
        for (choice, run, text) in steps.iter().filter(|(.., text)| !text.is_empty()) {
            texts.entry((*choice, NAMES[*run].to_owned())).or_default().push_str(text);
        }
        texts
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]
        #[test]
        fn for_any_split_the_client_reads_the_same_text(
            steps in steps(),
            ends_alone in any::<bool>(),
            sends_done in any::<bool>(),
        ) {
            let mut events = Vec::new();
            let last = |choice: u64| steps.iter().rposition(|step| step.0 == choice);
            for (order, step) in steps.iter().enumerate() {
                let mut finish = BTreeMap::new();
                if !ends_alone && last(step.0) == Some(order) {
                    finish.insert(step.0, true);
                }
                events.push(event(std::slice::from_ref(step), &finish));
            }
            if ends_alone {
                events.extend((0..3).map(|choice| chunk(&delta(choice, "", "\"stop\""))));
            }
            if sends_done {
                events.push("[DONE]".to_owned());
            }
            let plain = Client::read(&relay(&events, &mut Pass, false));
            assert_eq!(plain.texts, whole(&steps));
            assert_eq!(plain.events, events, "unmasked events are the same bytes");
            let held = Client::read(&relay(&events, &mut Hold::default(), false));
            assert_eq!(held.texts, whole(&steps));
            let masked = Client::read(&relay(&events, &mut Word::default(), false));
            for ((choice, name), text) in whole(&steps) {
                let expected = text.replace(WORD, "[W]");
                assert_eq!(masked.of(choice, &name), expected, "{choice} {name}");
            }
            for client in [&held, &masked] {
                assert_eq!(client.finished, plain.finished);
                for event in client.events.iter().filter(|event| *event != "[DONE]") {
                    assert!(event.starts_with(HEAD), "{event}");
                }
            }
        }

        #[test]
        fn several_pieces_in_one_chunk_are_the_same_text(steps in steps()) {
            let finish = (0..3).map(|choice| (choice, true)).collect();
            let events = [event(&steps, &finish)];
            let out = relay(&events, &mut Word::default(), false);
            // One event: what was held joined the last piece of its run.
            let text = String::from_utf8(out).unwrap();
            let data = text.trim().strip_prefix("data: ").unwrap();
            let chunk: Value = serde_json::from_str(data).unwrap();
            let mut client = Client::default();
            for mut choice in chunk["choices"].as_array().unwrap().clone() {
                choice["finish_reason"] = Value::Null;
                client.choice(&choice);
            }
            for (key, text) in whole(&steps) {
                assert_eq!(client.texts[&key], text.replace(WORD, "[W]"));
            }
        }
    }

    #[test]
    fn keys_tell_runs_apart() {
        let key = super::Field::ReasoningContent.key(4);
        assert_eq!((key.channel, key.choice, key.tool), (Channel::Reasoning, 4, None));
        assert_ne!(key, super::Field::Reasoning.key(4));
    }
}
