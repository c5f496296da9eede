//! A streamed message in Anthropic's dialect, event by event: masks its texts and leaves every
//! other byte as it came.
//!
//! A message is made of content blocks, each with a beginning, pieces and an end. A block's text,
//! thinking and input are runs, each masked on its own; what is held back of them leaves, in a
//! piece of Ringwall's own, before the block's end.

use crate::base::json::{Reader, Value, escape_into};
use crate::base::mask::{StreamKey, StreamMask};
use crate::base::numbers::to_u32;
use crate::base::splice::Splices;
use crate::base::text::Channel;
use crate::base::usage::Usage;
use crate::http::sse::SseEvent;
use crate::llm::alone::{Alone, escaped};
use crate::llm::event::{index_of, is_type, type_of, write_event};
use crate::llm::messages::Count;
use crate::llm::stream::{Flow, StreamFault};

/// More blocks than any answer has open at once.
const OPEN_MAX: usize = 64;
/// More kinds of pieces than any block has.
const RUNS_MAX: usize = 8;

/// The state of one streamed message.
#[derive(Debug, Default)]
pub struct MessageStream {
    stage: Stage,
    count: Option<Count>,
    /// The least index that the next block may have.
    next: u32,
    open: Vec<Block>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// `message_start` has not come.
    #[default]
    Before,
    /// Blocks come.
    Within,
    /// `message_delta` has said why it ended.
    Ending,
    /// `message_stop` went out.
    Over,
}

/// A content block that has begun and not ended.
#[derive(Debug)]
struct Block {
    index: u32,
    runs: Vec<Run>,
}

/// A run of text within a block: the pieces that clients join.
#[derive(Clone, Debug)]
struct Run {
    /// The member of a delta that holds its pieces.
    member: String,
    /// The type of those deltas.
    delta: String,
}

/// What one event changes.
struct Turn<'a> {
    mask: &'a mut dyn StreamMask,
    splices: Splices,
    /// Events that must stand before it.
    before: Vec<u8>,
}

impl MessageStream {
    /// The provider's count, as far as it has said it.
    pub fn usage(&self) -> Option<Usage> {
        self.count.map(Count::usage)
    }

    /// Takes one event and writes whole events to `out`: those that it releases, and itself. On a
    /// fault nothing is written.
    pub fn event(
        &mut self,
        event: &SseEvent,
        reader: &mut Reader,
        mask: &mut dyn StreamMask,
        out: &mut Vec<u8>,
    ) -> Result<Flow, StreamFault> {
        if self.stage == Stage::Over {
            return Ok(Flow::Done);
        }
        if event.data.trim_ascii() == "[DONE]" {
            // Not of this dialect, but some servers end every stream so.
            self.finish(mask, out)?;
            write_event(event.event.as_deref().filter(|name| is_type(name)), b"[DONE]", out);
            self.stage = Stage::Over;
            return Ok(Flow::Done);
        }
        let json = reader.read(event.data.as_bytes()).map_err(StreamFault::Json)?;
        let root = json.root();
        let kind = type_of(root, event.event.as_deref())?;
        let mut turn = Turn { mask, splices: Splices::default(), before: Vec::new() };
        match kind {
            "message_start" => self.message_start(root, &mut turn)?,
            "content_block_start" => self.block_start(root, &mut turn)?,
            "content_block_delta" => self.block_delta(root, &mut turn)?,
            "content_block_stop" => self.block_stop(root, &mut turn)?,
            "message_delta" => self.message_delta(root, &mut turn)?,
            "message_stop" | "error" => {
                self.end_all(&mut turn)?;
                turn.alone(0).value(root, Channel::Assistant)?;
                self.stage = Stage::Ending;
            }
            _ => turn.alone(0).value(root, Channel::Assistant)?,
        }
        out.extend_from_slice(&turn.before);
        if turn.splices.is_empty() {
            write_event(event.event.as_deref(), event.data.as_bytes(), out);
        } else {
            let data = turn.splices.apply(event.data.as_bytes());
            write_event(event.event.as_deref(), &data, out);
        }
        if kind == "message_stop" {
            self.stage = Stage::Over;
            return Ok(Flow::Done);
        }
        Ok(Flow::Continue)
    }

    /// The upstream has ended without `message_stop`: writes what was still held back.
    pub fn finish(
        &mut self,
        mask: &mut dyn StreamMask,
        out: &mut Vec<u8>,
    ) -> Result<(), StreamFault> {
        let mut turn = Turn { mask, splices: Splices::default(), before: Vec::new() };
        self.end_all(&mut turn)?;
        out.extend_from_slice(&turn.before);
        Ok(())
    }

    /// Ends the stream from our side in a form that clients take for an end: open blocks stop, and
    /// the message's stop reason is `refusal`, with `message` (and `code`) as its explanation. Text
    /// that is held back is dropped.
    ///
    /// No `error` event: official clients raise it as an exception and lose the text that they had
    /// been given.
    pub fn cut(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        if self.stage == Stage::Over {
            return;
        }
        if self.stage == Stage::Before {
            write_event(Some("message_start"), EMPTY_MESSAGE, out);
        }
        for block in self.open.drain(..) {
            let data = format!("{{\"type\":\"content_block_stop\",\"index\":{}}}", block.index);
            write_event(Some("content_block_stop"), data.as_bytes(), out);
        }
        if self.stage != Stage::Ending {
            let mut data = REFUSED.as_bytes().to_vec();
            escape_into(message, &mut data);
            data.extend_from_slice(b" (");
            escape_into(code, &mut data);
            data.extend_from_slice(b")\"}},\"usage\":{\"output_tokens\":");
            let tokens = self.usage().map_or(0, |usage| usage.output_tokens);
            data.extend_from_slice(tokens.to_string().as_bytes());
            data.extend_from_slice(b"}}");
            write_event(Some("message_delta"), &data, out);
        }
        write_event(Some("message_stop"), b"{\"type\":\"message_stop\"}", out);
        self.stage = Stage::Over;
    }

    fn message_start(&mut self, root: Value<'_>, turn: &mut Turn<'_>) -> Result<(), StreamFault> {
        if self.stage != Stage::Before {
            return Err(StreamFault::Shape("a message must begin once"));
        }
        let mut alone = turn.alone(0);
        for (key, value) in root.members() {
            if key.as_str() != Some("message") || !value.is_object() {
                alone.member(key, value, Channel::Assistant)?;
            }
        }
        let message = root.member("message").into_iter().flat_map(Value::members);
        for (key, value) in message {
            match key.as_str().unwrap_or_default() {
                "usage" => self.count.get_or_insert_default().take(value),
                "id" | "model" => {}
                _ => alone.member(key, value, Channel::Assistant)?,
            }
        }
        self.stage = Stage::Within;
        Ok(())
    }

    fn block_start(&mut self, root: Value<'_>, turn: &mut Turn<'_>) -> Result<(), StreamFault> {
        let index = index_of(root, "index")?;
        if self.stage == Stage::Before {
            return Err(StreamFault::Shape("a message must begin before its content"));
        }
        if self.stage == Stage::Ending {
            return Err(StreamFault::AfterEnd);
        }
        if index < self.next || self.open.len() == OPEN_MAX {
            return Err(StreamFault::Shape("blocks must come in order and end"));
        }
        let mut block = Block { index, runs: Vec::new() };
        for (key, value) in root.members() {
            if key.as_str() != Some("content_block") || !value.is_object() {
                turn.alone(index).member(key, value, Channel::Assistant)?;
                continue;
            }
            let kind = value.member("type").and_then(Value::as_str).unwrap_or_default();
            let channel = if kind.ends_with("tool_result") {
                Channel::ToolResult
            } else {
                Channel::Assistant
            };
            for (key, value) in value.members() {
                match (kind, key.as_str().unwrap_or_default()) {
                    // What stands here already is the first piece.
                    ("text", "text") => block.piece(turn, ("text", "text_delta"), value)?,
                    ("thinking", "thinking") => {
                        block.piece(turn, ("thinking", "thinking_delta"), value)?;
                    }
                    _ => turn.alone(index).member(key, value, channel)?,
                }
            }
        }
        self.next = index.saturating_add(1);
        self.open.push(block);
        Ok(())
    }

    /// Every string of a delta is a piece of a run, known or not: a client may join it.
    fn block_delta(&mut self, root: Value<'_>, turn: &mut Turn<'_>) -> Result<(), StreamFault> {
        let index = index_of(root, "index")?;
        let block = self.open.iter_mut().find(|block| block.index == index);
        let block = block.filter(|_| self.stage == Stage::Within).ok_or(StreamFault::AfterEnd)?;
        for (key, value) in root.members() {
            if key.as_str() != Some("delta") || !value.is_object() {
                turn.alone(index).member(key, value, Channel::Assistant)?;
                continue;
            }
            let kind = value.member("type").and_then(Value::as_str).unwrap_or_default();
            if !is_type(kind) {
                return Err(StreamFault::Shape("a delta must have a type"));
            }
            for (key, value) in value.members() {
                let name = key.as_str().unwrap_or_default();
                match name {
                    "type" => {}
                    // A change would make it worthless, and it comes at once.
                    "signature" => turn.alone(index).member(key, value, Channel::Reasoning)?,
                    "citation" => turn.alone(index).value(value, Channel::Document)?,
                    _ if value.as_str().is_some() => block.piece(turn, (name, kind), value)?,
                    _ => turn.alone(index).member(key, value, Channel::Assistant)?,
                }
            }
        }
        Ok(())
    }

    fn block_stop(&mut self, root: Value<'_>, turn: &mut Turn<'_>) -> Result<(), StreamFault> {
        let index = index_of(root, "index")?;
        turn.alone(index).value(root, Channel::Assistant)?;
        let at = self.open.iter().position(|block| block.index == index);
        let Some(at) = at else { return Err(StreamFault::AfterEnd) };
        if let Some(block) = self.open.get_mut(at) {
            block.end(turn)?;
        }
        self.open.remove(at);
        Ok(())
    }

    fn message_delta(&mut self, root: Value<'_>, turn: &mut Turn<'_>) -> Result<(), StreamFault> {
        self.end_all(turn)?;
        for (key, value) in root.members() {
            if key.as_str() == Some("usage") {
                self.count.get_or_insert_default().take(value);
            } else {
                turn.alone(0).member(key, value, Channel::Assistant)?;
            }
        }
        self.stage = Stage::Ending;
        Ok(())
    }

    fn end_all(&mut self, turn: &mut Turn<'_>) -> Result<(), StreamFault> {
        self.open.iter_mut().try_for_each(|block| block.end(turn))
    }
}

impl Block {
    /// Takes the next piece of a run, which is in the event that the turn is about.
    fn piece(
        &mut self,
        turn: &mut Turn<'_>,
        (member, delta): (&str, &str),
        value: Value<'_>,
    ) -> Result<(), StreamFault> {
        let Some(text) = value.as_str() else {
            return Ok(turn.alone(self.index).value(value, Channel::Assistant)?);
        };
        if text.is_empty() {
            return Ok(());
        }
        let known = self.runs.iter().position(|run| run.member == member);
        let order = known.unwrap_or(self.runs.len());
        if known.is_none() {
            if !is_type(member) || order == RUNS_MAX {
                return Err(StreamFault::TooManyRuns);
            }
            self.runs.push(Run { member: member.to_owned(), delta: delta.to_owned() });
        }
        let mut released = String::with_capacity(text.len());
        turn.mask.push(key(self.index, member, order), text, &mut released)?;
        if released != text {
            turn.splices.replace(value.inner(), escaped(&released));
        }
        Ok(())
    }

    /// Ends all runs, and writes what was held back of them as pieces of our own.
    fn end(&mut self, turn: &mut Turn<'_>) -> Result<(), StreamFault> {
        for (order, run) in self.runs.iter().enumerate() {
            let mut rest = String::new();
            turn.mask.finish(key(self.index, &run.member, order), &mut rest)?;
            if rest.is_empty() {
                continue;
            }
            let mut data = format!(
                "{{\"type\":\"content_block_delta\",\"index\":{},\"delta\":{{\"type\":\"{}\",\
                 \"{}\":\"",
                self.index, run.delta, run.member
            )
            .into_bytes();
            escape_into(&rest, &mut data);
            data.extend_from_slice(b"\"}}");
            write_event(Some("content_block_delta"), &data, &mut turn.before);
        }
        self.runs.clear();
        Ok(())
    }
}

impl Turn<'_> {
    fn alone(&mut self, block: u32) -> Alone<'_> {
        let path = "content[#]";
        Alone { mask: self.mask, splices: &mut self.splices, choice: block, path }
    }
}

/// The key that a run is masked under: its block stands in the choice's place.
fn key(block: u32, member: &str, order: usize) -> StreamKey {
    let (channel, path) = match member {
        "partial_json" => (Channel::ToolArguments, "content[#].input"),
        "thinking" => (Channel::Reasoning, "content[#].thinking"),
        _ => (Channel::Assistant, "content[#].text"),
    };
    let tool = to_u32(order);
    StreamKey { channel, choice: block, tool: Some(tool), json: member == "partial_json", path }
}

/// What a stream that never began is made to begin with.
const EMPTY_MESSAGE: &[u8] = concat!(
    r#"{"type":"message_start","message":{"id":"msg_ringwall","type":"message","#,
    r#""role":"assistant","model":"","content":[],"stop_reason":null,"stop_sequence":null,"#,
    r#""usage":{"input_tokens":0,"output_tokens":0}}}"#
)
.as_bytes();
/// The end of a message that was cut, up to its explanation.
const REFUSED: &str = concat!(
    r#"{"type":"message_delta","delta":{"stop_reason":"refusal","stop_sequence":null,"#,
    r#""stop_details":{"type":"refusal","category":null,"explanation":""#
);

#[cfg(test)]
mod tests {
    use super::MessageStream;
    use crate::base::json::Reader;
    use crate::base::mask::StreamMask;
    use crate::base::mask::doubles::{Hold, Pass, Word};
    use crate::base::usage::Usage;
    use crate::http::sse::SseEvent;
    use crate::llm::stream::{Flow, StreamFault};
    use serde_json::Value;

    fn event(data: &str) -> SseEvent {
        let value: Value = serde_json::from_str(data).unwrap();
        let event = Some(value["type"].as_str().unwrap().to_owned());
        SseEvent { event, data: data.to_owned(), ..SseEvent::default() }
    }

    const START: &str = r#"{"type":"message_start","message":{"id":"m","role":"assistant","content":[],"usage":{"input_tokens":9,"cache_read_input_tokens":4,"output_tokens":1}}}"#;
    const STOP: &str = r#"{"type":"message_stop"}"#;

    fn begin(index: u32, block: &str) -> String {
        format!(r#"{{"type":"content_block_start","index":{index},"content_block":{block}}}"#)
    }

    fn text(index: u32) -> String {
        begin(index, r#"{"type":"text","text":""}"#)
    }

    fn delta(index: u32, kind: &str, member: &str, text: &str) -> String {
        format!(
            r#"{{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}","{member}":{}}}}}"#,
            Value::from(text)
        )
    }

    fn end(index: u32) -> String {
        format!(r#"{{"type":"content_block_stop","index":{index}}}"#)
    }

    /// What a stream of these events becomes, and how far it came.
    struct Read {
        stream: MessageStream,
        out: Vec<u8>,
        last: Result<Flow, StreamFault>,
    }

    fn read(events: &[&str], mask: &mut dyn StreamMask) -> Read {
        let mut read =
            Read { stream: MessageStream::default(), out: Vec::new(), last: Ok(Flow::Continue) };
        let mut reader = Reader::default();
        for one in events {
            read.last = read.stream.event(&event(one), &mut reader, mask, &mut read.out);
            if read.last.is_err() {
                break;
            }
        }
        read
    }

    impl Read {
        fn cut(mut self) -> Vec<Value> {
            self.stream.cut("guard_blocked", "No \"such\" thing.", &mut self.out);
            self.events()
        }

        fn events(&self) -> Vec<Value> {
            let text = std::str::from_utf8(&self.out).unwrap();
            let data = |event: &str| {
                let data: Vec<&str> =
                    event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
                let data: Value = serde_json::from_str(&data.join("\n")).unwrap();
                assert!(event.starts_with(&format!("event: {}", data["type"].as_str().unwrap())));
                data
            };
            text.split_terminator("\n\n").map(data).collect()
        }

        /// All strings of that member of the deltas.
        fn joined(&self, member: &str) -> String {
            let events = self.events();
            events.iter().filter_map(|event| event["delta"][member].as_str()).collect()
        }
    }

    #[test]
    fn without_a_match_every_byte_is_as_it_came() {
        let events = [
            START,
            r#"{"type": "ping"}"#,
            &text(0),
            &delta(0, "text_delta", "text", "Gr\u{fc}\u{df}e"),
            &end(0),
            r#"{"type":"something_new","of":["tomorrow", 1]}"#,
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5}}"#,
            STOP,
        ];
        let read = read(&events, &mut Pass);
        let expected = events
            .iter()
            .map(|data| format!("event: {}\ndata: {data}\n\n", event(data).event.unwrap()))
            .collect::<Vec<_>>()
            .concat();
        assert_eq!(String::from_utf8(read.out.clone()).unwrap(), expected);
        assert_eq!(read.last, Ok(Flow::Done));
        let usage = Usage { input_tokens: 13, output_tokens: 5, cached_tokens: 4 };
        assert_eq!(read.stream.usage(), Some(usage));
    }

    #[test]
    fn what_is_held_back_leaves_before_its_block_ends() {
        let events = [
            START,
            &text(0),
            &delta(0, "text_delta", "text", "a sec"),
            &delta(0, "text_delta", "text", "ret is sec"),
            &end(0),
            &begin(1, r#"{"type":"tool_use","id":"t","name":"f","input":{}}"#),
            &delta(1, "input_json_delta", "partial_json", "{\"a\":\"secr"),
            &delta(1, "input_json_delta", "partial_json", "et\"}"),
            &end(1),
            STOP,
        ];
        let read = read(&events, &mut Word::default());
        assert_eq!(read.joined("text"), "a [W] is sec");
        assert_eq!(read.joined("partial_json"), "{\"a\":\"[W]\"}");
        let kinds: Vec<Value> = read.events().iter().map(|event| event["type"].clone()).collect();
        let stop = kinds.iter().position(|kind| kind == "content_block_stop").unwrap();
        assert_eq!(kinds[stop - 1], "content_block_delta");
        assert_eq!(read.events()[stop - 1]["index"], 0);
    }

    #[test]
    fn a_piece_of_a_kind_that_nobody_knows_is_a_run_too() {
        let events = [
            START,
            &begin(0, r#"{"type":"novel","text":"secret"}"#),
            &delta(0, "novel_delta", "content", "sec"),
            &delta(0, "novel_delta", "content", "ret"),
            &end(0),
            STOP,
        ];
        let read = read(&events, &mut Word::default());
        assert_eq!(read.joined("content"), "[W]");
        assert!(!String::from_utf8(read.out).unwrap().contains("secret"));
    }

    #[test]
    fn texts_that_stand_whole_are_masked_where_they_stand() {
        let result = r#"{"type":"web_search_tool_result","content":[{"title":"secret"}]}"#;
        let events = [
            START,
            &begin(0, result),
            &end(0),
            &text(1),
            r#"{"type":"content_block_delta","index":1,"delta":{"type":"citations_delta","citation":{"cited_text":"secret"}}}"#,
            r#"{"type":"error","error":{"type":"api_error","message":"secret"}}"#,
        ];
        let read = read(&events, &mut Word::default());
        let text = String::from_utf8(read.out).unwrap();
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(text.matches("[W]").count(), 3);
    }

    #[test]
    fn a_block_in_the_middle_ends_the_message_well_formed() {
        let events = [START, &text(0), &delta(0, "text_delta", "text", "a forbidden word")];
        let read = read(&events, &mut Word::default());
        assert!(matches!(read.last, Err(StreamFault::Blocked(_))));
        let events = read.cut();
        let kinds: Vec<&str> = events.iter().filter_map(|event| event["type"].as_str()).collect();
        let tail = ["content_block_stop", "message_delta", "message_stop"];
        assert_eq!(kinds, [&["message_start", "content_block_start"][..], &tail].concat());
        let delta = &events[3]["delta"];
        assert_eq!(delta["stop_reason"], "refusal");
        let said = delta["stop_details"]["explanation"].as_str().unwrap();
        assert_eq!(said, "No \"such\" thing. (guard_blocked)");
        assert_eq!(events[3]["usage"]["output_tokens"], 1);
    }

    #[test]
    fn a_cut_before_the_first_event_is_a_whole_message_and_one_after_the_last_is_nothing() {
        let kinds = |events: Vec<Value>| -> Vec<Value> {
            events.into_iter().map(|mut event| event["type"].take()).collect()
        };
        let begun = read(&[], &mut Pass);
        assert_eq!(kinds(begun.cut()), ["message_start", "message_delta", "message_stop"]);
        let over = read(&[START, STOP], &mut Pass);
        assert_eq!(kinds(over.cut()), ["message_start", "message_stop"]);
    }

    #[test]
    fn an_early_end_lets_out_what_was_held() {
        let events = [START, &text(0), &delta(0, "text_delta", "text", "almost")];
        let mut mask = Hold::default();
        let mut read = read(&events, &mut mask);
        assert_eq!(read.joined("text"), "");
        read.stream.finish(&mut mask, &mut read.out).unwrap();
        assert_eq!(read.joined("text"), "almost");
    }

    #[test]
    fn what_is_no_stream_of_blocks_is_never_forwarded() {
        let say = delta(0, "text_delta", "text", "x");
        let stop_reason = r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#;
        for events in [
            &[START, &say][..],
            &[&text(0)],
            &[START, START],
            &[START, &text(0), &end(0), &say],
            &[START, &text(0), &end(0), &text(0)],
            &[START, &text(0), stop_reason, &say],
            &[START, &end(0)],
            &[START, r#"{"type":"4111111111111111"}"#],
            &[START, r#"{"type":"content_block_start","index":-1,"content_block":{}}"#],
        ] {
            let read = read(events, &mut Pass);
            assert!(read.last.is_err(), "{events:?}");
            assert_eq!(read.events().len(), events.len() - 1);
        }
        let mut stream = MessageStream::default();
        let odd =
            SseEvent { event: Some("ping".into()), data: START.to_owned(), ..SseEvent::default() };
        let read = stream.event(&odd, &mut Reader::default(), &mut Pass, &mut Vec::new());
        assert!(matches!(read, Err(StreamFault::Shape(_))), "{read:?}");
    }
}
