//! A streamed response in OpenAI's responses dialect, event by event: masks its texts and leaves
//! every other byte as it came.
//!
//! Pieces of a text come as `*.delta` events, and the whole of it comes again up to four times:
//! with `*.done`, with its part, with its item and with the response. What was released is kept
//! until then, so that every repetition says the same and is not looked at again.

use crate::base::json::{Reader, Value, escape_into};
use crate::base::mask::{StreamKey, StreamMask};
use crate::base::splice::Splices;
use crate::base::text::Channel;
use crate::base::usage::Usage;
use crate::http::sse::SseEvent;
use crate::llm::alone::escaped;
use crate::llm::event::{index_of, type_of, write_event};
use crate::llm::repeat::{Repeats, Turn};
use crate::llm::responses::usage;
use crate::llm::stream::{Flow, StreamFault};

/// More texts than any response has.
const RUNS_MAX: usize = 1024;
/// What a piece of our own repeats of the provider's; longer is left out.
const FRAME_BYTES_MAX: usize = 1024;
/// The end of every type of event that holds a piece.
const DELTA: &str = ".delta";
/// The end of every type of event that holds a whole.
const DONE: &str = ".done";

/// The state of one streamed response.
#[derive(Debug, Default)]
pub struct ResponseStream {
    over: bool,
    usage: Option<Usage>,
    runs: Vec<Run>,
    repeats: Repeats,
    /// How many events of our own went out, by which later ones are numbered higher.
    added: u64,
    /// The number of the next event, where they are numbered.
    number: Option<u64>,
    /// The members of the response that say which it is, as they stand in its first event.
    frame: Vec<u8>,
}

/// A text that comes in pieces.
#[derive(Debug)]
struct Run {
    /// The type of its events, without `.delta`.
    stem: String,
    /// Of which item, and which part or summary of it.
    at: (u32, u32),
    key: StreamKey,
    is_open: bool,
    /// What its pieces have around them.
    frame: Vec<u8>,
    raw: String,
    released: String,
}

impl ResponseStream {
    /// Lets `logprobs` pass, which repeats the text unmasked: only where no guard masks.
    pub fn keep_logprobs(&mut self) {
        self.repeats.keep_logprobs = true;
    }

    /// The provider's count, once it has sent it.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
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
        if self.over {
            return Ok(Flow::Done);
        }
        if event.data.trim_ascii() == "[DONE]" {
            self.finish(mask, out)?;
            write_event(None, b"[DONE]", out);
            self.over = true;
            return Ok(Flow::Done);
        }
        let json = reader.read(event.data.as_bytes()).map_err(StreamFault::Json)?;
        let root = json.root();
        let kind = type_of(root, event.event.as_deref())?;
        let sent = root.member("sequence_number").and_then(Value::as_u64);
        self.number = sent.map(|number| number.saturating_add(self.added)).or(self.number);
        let mut before = Vec::new();
        let mut splices = Splices::default();
        let item = index_of(root, "output_index")?;
        let last = is_last(kind);
        if last {
            self.end(|_| true, mask, &mut before)?;
        } else if let Some(stem) = kind.strip_suffix(DONE) {
            let part = part_of(root)?;
            let is_item = stem == "response.output_item";
            let is_part = stem.ends_with("_part");
            self.end(
                |run| {
                    let same = run.at == (item, part) && (is_part || run.stem == stem);
                    same || (is_item && run.at.0 == item)
                },
                mask,
                &mut before,
            )?;
        }
        let mut turn =
            Turn { mask, splices: &mut splices, repeats: &mut self.repeats, choice: item };
        if kind.ends_with(DELTA) && root.member("delta").is_some() {
            piece(&mut self.runs, root, (kind, item), (event, &mut turn))?;
        } else {
            turn.event(root)?;
        }
        if let Some(response) = root.member("response").filter(|value| value.is_object()) {
            self.usage = response.member("usage").and_then(usage).or(self.usage);
            if self.frame.is_empty() {
                self.frame = identity(response, &event.data);
            }
        }
        self.renumber(root, sent, &mut splices);
        out.extend_from_slice(&before);
        let name = event.event.as_deref();
        if splices.is_empty() {
            write_event(name, event.data.as_bytes(), out);
        } else {
            write_event(name, &splices.apply(event.data.as_bytes()), out);
        }
        self.number = self.number.map(|number| number.saturating_add(1));
        self.over = last;
        Ok(if last { Flow::Done } else { Flow::Continue })
    }

    /// The upstream has ended without the response's end: writes what was still held back.
    pub fn finish(
        &mut self,
        mask: &mut dyn StreamMask,
        out: &mut Vec<u8>,
    ) -> Result<(), StreamFault> {
        let mut before = Vec::new();
        self.end(|_| true, mask, &mut before)?;
        out.extend_from_slice(&before);
        Ok(())
    }

    /// Ends the stream from our side in a form that clients take for an end: the response is
    /// incomplete for its content, and its one output is a refusal with `message` (and `code`).
    /// Text that is held back is dropped.
    ///
    /// No `error` event: official clients raise it as an exception and lose the text that they had
    /// been given.
    pub fn cut(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        if std::mem::replace(&mut self.over, true) {
            return;
        }
        let is_first = self.frame.is_empty();
        if is_first {
            self.frame = NO_RESPONSE.as_bytes().to_vec();
            self.number.get_or_insert(0);
            // Clients want the beginning of a response before its end.
            self.write_response("response.created", "in_progress", b"", out);
        }
        let mut refusal = escaped(message);
        refusal.extend_from_slice(b" (");
        escape_into(code, &mut refusal);
        refusal.push(b')');
        self.write_response("response.incomplete", "incomplete", &refusal, out);
    }

    /// Writes an event about the whole response; an empty refusal is none.
    fn write_response(&mut self, kind: &str, status: &str, refusal: &[u8], out: &mut Vec<u8>) {
        let mut data = format!("{{\"type\":\"{kind}\",").into_bytes();
        if let Some(number) = &mut self.number {
            data.extend_from_slice(format!("\"sequence_number\":{number},").as_bytes());
            *number = number.saturating_add(1);
        }
        data.extend_from_slice(b"\"response\":{");
        data.extend_from_slice(&self.frame);
        data.extend_from_slice(format!("\"status\":\"{status}\",\"error\":null,").as_bytes());
        if refusal.is_empty() {
            data.extend_from_slice(b"\"incomplete_details\":null,\"output\":[]}}");
        } else {
            data.extend_from_slice(REFUSED.as_bytes());
            data.extend_from_slice(refusal);
            data.extend_from_slice(b"\"}]}]}}");
        }
        write_event(Some(kind), &data, out);
    }

    /// Ends the runs that fit, and writes what was held back of them as pieces of our own.
    fn end(
        &mut self,
        fits: impl Fn(&Run) -> bool,
        mask: &mut dyn StreamMask,
        out: &mut Vec<u8>,
    ) -> Result<(), StreamFault> {
        for run in self.runs.iter_mut().filter(|run| run.is_open && fits(run)) {
            let held = run.released.len();
            mask.finish(run.key, &mut run.released)?;
            run.is_open = false;
            let frame = std::mem::take(&mut run.frame);
            let rest = run.released.get(held..).unwrap_or_default();
            if !rest.is_empty() {
                write_piece(&run.stem, &frame, rest, self.number, out);
                if let Some(number) = &mut self.number {
                    *number = number.saturating_add(1);
                    self.added += 1;
                }
            }
            let (raw, released) = (std::mem::take(&mut run.raw), std::mem::take(&mut run.released));
            self.repeats.note(run.key, raw, released);
        }
        Ok(())
    }

    /// Numbers an event after those that we added.
    fn renumber(&self, root: Value<'_>, sent: Option<u64>, splices: &mut Splices) {
        let (Some(value), Some(number)) = (root.member("sequence_number"), self.number) else {
            return;
        };
        if sent.is_some_and(|sent| sent != number) {
            splices.replace(value.span(), number.to_string());
        }
    }
}

/// Takes the next piece of a run.
fn piece(
    runs: &mut Vec<Run>,
    root: Value<'_>,
    (kind, item): (&str, u32),
    (event, turn): (&SseEvent, &mut Turn<'_>),
) -> Result<(), StreamFault> {
    let stem = kind.strip_suffix(DELTA).unwrap_or(kind);
    let at = (item, part_of(root)?);
    for (key, value) in root.members() {
        let name = key.as_str().unwrap_or_default();
        let text = match value.as_str() {
            Some(text) if name == "delta" => text,
            _ => {
                turn.member(key, value, Channel::Assistant)?;
                continue;
            }
        };
        // Samples of sound: no text.
        if text.is_empty() || (is_sound(stem) && text.bytes().all(is_base64_digit)) {
            continue;
        }
        let known = runs.iter().position(|run| run.at == at && run.stem == stem);
        let order = known.unwrap_or(runs.len());
        if known.is_none() {
            if runs.len() == RUNS_MAX {
                return Err(StreamFault::TooManyRuns);
            }
            runs.push(Run {
                stem: stem.to_owned(),
                at,
                key: key_of(stem, at),
                is_open: true,
                frame: frame(root, &event.data),
                raw: String::new(),
                released: String::new(),
            });
        }
        let Some(run) = runs.get_mut(order) else { continue };
        if !run.is_open {
            return Err(StreamFault::AfterEnd);
        }
        let from = run.released.len();
        turn.mask.push(run.key, text, &mut run.released)?;
        run.raw.push_str(text);
        let released = run.released.get(from..).unwrap_or_default();
        if released != text {
            turn.splices.replace(value.inner(), escaped(released));
        }
    }
    Ok(())
}

/// Whether a response ends with an event of that type.
fn is_last(kind: &str) -> bool {
    matches!(kind, "error" | "response.completed" | "response.failed" | "response.incomplete")
}

/// The part of an item, or of its summary, that an event is about.
fn part_of(root: Value<'_>) -> Result<u32, StreamFault> {
    let name =
        if root.member("summary_index").is_some() { "summary_index" } else { "content_index" };
    index_of(root, name)
}

fn is_sound(stem: &str) -> bool {
    matches!(stem, "response.audio" | "response.output_audio")
}

fn is_base64_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)
}

/// The key that a run is masked under: its item stands in the choice's place.
fn key_of(stem: &str, (item, part): (u32, u32)) -> StreamKey {
    let (channel, json, path) = match stem {
        "response.function_call_arguments" | "response.mcp_call_arguments" => {
            (Channel::ToolArguments, true, "output[#].arguments")
        }
        "response.custom_tool_call_input" | "response.code_interpreter_call_code" => {
            (Channel::ToolArguments, false, "output[#].input")
        }
        "response.refusal" => (Channel::Refusal, false, "output[#].content[#].refusal"),
        "response.reasoning_summary_text" => (Channel::Reasoning, false, "output[#].summary[#]"),
        _ if stem.starts_with("response.reasoning") => {
            (Channel::Reasoning, false, "output[#].content[#].text")
        }
        _ => (Channel::Assistant, false, "output[#].content[#].text"),
    };
    StreamKey { channel, choice: item, tool: Some(part), json, path }
}

/// The members of a piece that the pieces of its run have in common.
fn frame(root: Value<'_>, raw: &str) -> Vec<u8> {
    members(root, raw, &["item_id", "output_index", "content_index", "summary_index"])
}

/// The members of a response that say which it is.
fn identity(response: Value<'_>, raw: &str) -> Vec<u8> {
    members(response, raw, &["id", "object", "created_at", "model"])
}

fn members(object: Value<'_>, raw: &str, names: &[&str]) -> Vec<u8> {
    let mut out = Vec::with_capacity(128);
    for name in names {
        let Some(value) = object.member(name) else { continue };
        let text = raw.get(value.span()).unwrap_or_default();
        let flat = !value.is_object() && !value.is_array();
        if flat && text.len() <= FRAME_BYTES_MAX {
            out.extend_from_slice(format!("\"{name}\":{text},").as_bytes());
        }
    }
    out
}

fn write_piece(stem: &str, frame: &[u8], text: &str, number: Option<u64>, out: &mut Vec<u8>) {
    let kind = format!("{stem}{DELTA}");
    let mut data = format!("{{\"type\":\"{kind}\",").into_bytes();
    if let Some(number) = number {
        data.extend_from_slice(format!("\"sequence_number\":{number},").as_bytes());
    }
    data.extend_from_slice(frame);
    data.extend_from_slice(b"\"delta\":\"");
    escape_into(text, &mut data);
    let tail: &[u8] = if stem == "response.output_text" { b"\",\"logprobs\":[]}" } else { b"\"}" };
    data.extend_from_slice(tail);
    write_event(Some(&kind), &data, out);
}

/// What stands for a response that never began.
const NO_RESPONSE: &str = r#""id":"resp_ringwall","object":"response","created_at":0,"model":"","#;
/// A response that was cut, up to the text of its refusal.
const REFUSED: &str = concat!(
    r#""incomplete_details":{"reason":"content_filter"},"output":[{"type":"message","#,
    r#""id":"msg_ringwall","role":"assistant","status":"incomplete","#,
    r#""content":[{"type":"refusal","refusal":""#
);

#[cfg(test)]
mod tests {
    use super::ResponseStream;
    use crate::base::json::Reader;
    use crate::base::mask::doubles::{Hold, Pass, Word};
    use crate::base::mask::{Stopped, StreamKey, StreamMask};
    use crate::http::sse::SseEvent;
    use crate::llm::stream::{Flow, StreamFault};
    use serde_json::{Value, json};

    /// Numbers the events and gives each its type.
    fn stream(events: &[(&str, Value)]) -> Vec<SseEvent> {
        let event = |(number, (kind, data)): (usize, &(&str, Value))| {
            let mut data = data.clone();
            data["type"] = Value::from(*kind);
            data["sequence_number"] = Value::from(number);
            let (event, data) = (Some((*kind).to_owned()), data.to_string());
            SseEvent { event, data, ..SseEvent::default() }
        };
        events.iter().enumerate().map(event).collect()
    }

    struct Read {
        stream: ResponseStream,
        out: Vec<u8>,
        last: Result<Flow, StreamFault>,
    }

    fn read(events: &[(&str, Value)], mask: &mut dyn StreamMask) -> Read {
        let mut read =
            Read { stream: ResponseStream::default(), out: Vec::new(), last: Ok(Flow::Continue) };
        let mut reader = Reader::default();
        for event in stream(events) {
            read.last = read.stream.event(&event, &mut reader, mask, &mut read.out);
            if read.last.is_err() {
                break;
            }
        }
        read
    }

    impl Read {
        /// The events that went out, whose numbers have no gap.
        fn events(&self) -> Vec<Value> {
            let text = std::str::from_utf8(&self.out).unwrap();
            let data = |(number, event): (usize, &str)| {
                let data = event.split_once("\ndata: ").unwrap().1;
                let data: Value = serde_json::from_str(data).unwrap();
                assert_eq!(data["sequence_number"], number, "{text}");
                data
            };
            text.split_terminator("\n\n").enumerate().map(data).collect()
        }

        fn text(&self) -> String {
            String::from_utf8(self.out.clone()).unwrap()
        }
    }

    fn created() -> (&'static str, Value) {
        let response = json!({"id": "r1", "model": "m", "created_at": 7, "output": [],
            "instructions": "Keep the secret."});
        ("response.created", json!({"response": response}))
    }

    fn delta(text: &str) -> (&'static str, Value) {
        let data = json!({"item_id": "i", "output_index": 0, "content_index": 0, "delta": text,
            "logprobs": [{"token": text}]});
        ("response.output_text.delta", data)
    }

    fn done(text: &str) -> (&'static str, Value) {
        let data = json!({"item_id": "i", "output_index": 0, "content_index": 0, "text": text});
        ("response.output_text.done", data)
    }

    fn completed(text: &str) -> (&'static str, Value) {
        let part = json!({"type": "output_text", "text": text, "annotations": []});
        let item = json!({"type": "message", "id": "i", "role": "assistant", "content": [part]});
        (
            "response.completed",
            json!({"response": {"id": "r1", "output": [item],
            "instructions": "Keep the secret.", "usage": {"input_tokens": 1, "output_tokens": 2}}}),
        )
    }

    /// Counts what it is asked to mask.
    struct Counting(Word, usize);

    impl StreamMask for Counting {
        fn push(&mut self, key: StreamKey, text: &str, out: &mut String) -> Result<(), Stopped> {
            self.1 += text.matches("secret").count();
            self.0.push(key, text, out)
        }
        fn finish(&mut self, key: StreamKey, out: &mut String) -> Result<(), Stopped> {
            self.0.finish(key, out)
        }
    }

    #[test]
    fn a_text_that_is_said_again_is_looked_at_once_and_says_the_same() {
        let text = "the secret, and sec";
        let events =
            [created(), delta("the secret"), delta(", and sec"), done(text), completed(text)];
        let mut mask = Counting(Word::default(), 0);
        let read = read(&events, &mut mask);
        let all = read.events();
        assert_eq!(all.len(), events.len() + 1, "what was held came as a piece");
        let said: String = all.iter().filter_map(|event| event["delta"].as_str()).collect();
        assert_eq!(said, "the [W], and sec");
        assert_eq!(all[4]["text"], said.as_str());
        assert_eq!(all[5]["response"]["output"][0]["content"][0]["text"], said.as_str());
        assert_eq!(all[5]["response"]["instructions"], "Keep the [W].");
        assert!(!read.text().contains("secret"));
        assert_eq!(mask.1, 2, "the text and the instructions, once each");
        assert_eq!(read.last, Ok(Flow::Done));
        assert_eq!(read.stream.usage().map(|usage| usage.output_tokens), Some(2));
    }

    #[test]
    fn without_a_match_every_byte_is_as_it_came() {
        let events = [
            created(),
            ("response.novel", json!({"of": ["tomorrow", 1]})),
            ("response.audio.delta", json!({"delta": "UklGRg=="})),
            completed("x"),
        ];
        let expected = stream(&events)
            .iter()
            .map(|event| {
                format!("event: {}\ndata: {}\n\n", event.event.as_deref().unwrap(), event.data)
            })
            .collect::<Vec<_>>()
            .concat();
        assert_eq!(read(&events, &mut Pass).text(), expected);
    }

    #[test]
    fn a_whole_that_is_not_what_its_pieces_were_is_masked_all_the_same() {
        let read = read(&[created(), delta("a"), done("another secret")], &mut Word::default());
        assert!(!read.text().contains("secret"), "{}", read.text());
    }

    #[test]
    fn probabilities_are_hidden_unless_no_guard_masks() {
        let events = [created(), delta("x")];
        assert_eq!(read(&events, &mut Pass).events()[1]["logprobs"], json!([]));
        let mut stream_kept = ResponseStream::default();
        stream_kept.keep_logprobs();
        let mut out = Vec::new();
        let events = stream(&events);
        stream_kept.event(&events[1], &mut Reader::default(), &mut Pass, &mut out).unwrap();
        assert!(String::from_utf8(out).unwrap().contains("token"));
    }

    #[test]
    fn a_block_in_the_middle_ends_the_response_as_incomplete() {
        let mut blocked =
            read(&[created(), delta("fine, "), delta("a forbidden word")], &mut Word::default());
        assert!(matches!(blocked.last, Err(StreamFault::Blocked(_))));
        blocked.stream.cut("guard_blocked", "No \"such\" thing.", &mut blocked.out);
        let all = blocked.events();
        let last = all.last().unwrap();
        assert_eq!((all.len(), &last["type"]), (3, &json!("response.incomplete")));
        let response = &last["response"];
        assert_eq!((&response["id"], &response["status"]), (&json!("r1"), &json!("incomplete")));
        assert_eq!(response["incomplete_details"]["reason"], "content_filter");
        let refusal = &response["output"][0]["content"][0]["refusal"];
        assert_eq!(refusal, "No \"such\" thing. (guard_blocked)");
        let mut never = read(&[], &mut Pass);
        never.stream.cut("guard_blocked", "No.", &mut never.out);
        let kinds: Vec<Value> = never.events().iter().map(|event| event["type"].clone()).collect();
        assert_eq!(kinds, ["response.created", "response.incomplete"]);
    }

    #[test]
    fn an_early_end_lets_out_what_was_held() {
        let mut mask = Hold::default();
        let mut read = read(&[created(), delta("almost")], &mut mask);
        read.stream.finish(&mut mask, &mut read.out).unwrap();
        assert_eq!(read.events().last().unwrap()["delta"], "almost");
    }

    #[test]
    fn what_is_no_stream_of_events_is_never_forwarded() {
        for events in [
            &[delta("x"), done("x"), delta("y")][..],
            &[("Odd.Type", json!({}))],
            &[("response.output_text.delta", json!({"output_index": "0", "delta": "x"}))],
        ] {
            let read = read(events, &mut Pass);
            assert!(read.last.is_err(), "{events:?}");
            assert_eq!(read.events().len(), events.len() - 1);
        }
    }
}
