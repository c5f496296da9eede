//! One run of text in a chat stream: where its pieces stand in a chunk, under which key it is
//! masked, and how a piece that was held back is written as a chunk of its own.

use crate::base::json::{Value, escape_into};
use crate::base::mask::{Stopped, StreamKey, StreamMask};
use crate::base::text::Channel;
use crate::llm::stream::StreamFault;

/// More choices than any provider gives; what comes beyond is refused.
pub const CHOICES_MAX: usize = 128;
/// More runs of text than any answer has: of each choice text, reasoning and tool calls.
pub const RUNS_MAX: usize = 256;

/// An id or a model's name that is longer is left out of chunks that Ringwall writes.
const FRAME_VALUE_BYTES_MAX: usize = 1024;
/// The members that make a chunk recognisable as part of its stream.
const FRAME_MEMBERS: [&str; 6] =
    ["id", "object", "created", "model", "service_tier", "system_fingerprint"];
/// The places of runs that are called alike.
const ARGUMENTS: &str = "choices[#].delta.tool_calls[#].function.arguments";
const CUSTOM: &str = "choices[#].delta.tool_calls[#].custom.input";
const REASONING: &str = "choices[#].delta.reasoning";
/// Says what follows where no chunk of the provider's has been seen.
const FRAME_DEFAULT: &str =
    r#""id":"chatcmpl-ringwall","object":"chat.completion.chunk","created":0,"model":"","#;

/// The place of a run within its choice. Each is joined by clients on its own, so each is masked
/// on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// `delta.content`, also the `text` parts of a list.
    Content,
    /// `delta.tool_calls[].custom.input` of the tool with that index.
    Custom(u32),
    /// `delta.reasoning_details[].text` of the detail with that index.
    Detail(u32),
    /// `delta.function_call.arguments`, the form before tools.
    FunctionCall,
    /// `delta.reasoning`.
    Reasoning,
    /// `delta.reasoning_content`.
    ReasoningContent,
    /// `delta.refusal`.
    Refusal,
    /// `delta.reasoning_details[].summary` of the detail with that index.
    Summary(u32),
    /// `text` of the choice itself, as completions before chat had it.
    Text,
    /// `delta.content[].thinking[].text`.
    Thinking,
    /// `delta.tool_calls[].function.arguments` of the tool with that index.
    Tool(u32),
    /// `delta.audio.transcript`.
    Transcript,
}

/// A run that has begun.
#[derive(Debug)]
pub struct Run {
    /// Of which choice.
    pub choice: u32,
    /// Where in it.
    pub field: Field,
    /// Whether the mask may hold text of it.
    pub open: bool,
    /// For arguments: how far their JSON has come.
    pub balance: Balance,
}

/// The choices and runs that a stream has shown so far. Bounded, since the upstream names them.
#[derive(Debug, Default)]
pub struct Runs {
    /// The choices, in the order of their first chunk.
    pub choices: Vec<Choice>,
    /// The runs, in the order of their first piece.
    pub all: Vec<Run>,
}

/// A choice that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Its number.
    pub index: u32,
    /// Whether its finish reason has come.
    pub finished: bool,
}

impl Runs {
    /// Takes note of a choice.
    pub fn see(&mut self, index: u32) -> Result<(), StreamFault> {
        if self.choices.iter().any(|seen| seen.index == index) {
            return Ok(());
        }
        if self.choices.len() == CHOICES_MAX {
            return Err(StreamFault::TooManyChoices);
        }
        self.choices.push(Choice { index, finished: false });
        Ok(())
    }

    /// The run that a piece belongs to, open. After a choice's finish reason there is none: what
    /// was released could join with the piece to what should have been masked.
    pub fn open(&mut self, field: Field, choice: u32) -> Result<&mut Run, StreamFault> {
        if self.choices.iter().any(|seen| seen.index == choice && seen.finished) {
            return Err(StreamFault::AfterEnd);
        }
        let found = self.all.iter().position(|run| run.field == field && run.choice == choice);
        let index = found.unwrap_or(self.all.len());
        if found.is_none() && index < RUNS_MAX {
            self.all.push(Run { choice, field, open: false, balance: Balance::default() });
        }
        let run = self.all.get_mut(index).ok_or(StreamFault::TooManyRuns)?;
        run.open = true;
        Ok(run)
    }

    /// The finish reasons of these choices have come.
    pub fn finish(&mut self, ended: &[u32]) {
        for choice in self.choices.iter_mut().filter(|seen| ended.contains(&seen.index)) {
            choice.finished = true;
        }
    }
}

impl Run {
    /// Ends the run and appends what was held back of it.
    pub fn close(&mut self, mask: &mut dyn StreamMask, out: &mut String) -> Result<(), Stopped> {
        self.open = false;
        self.balance = Balance::default();
        mask.finish(self.field.key(self.choice), out)
    }
}

/// Follows the brackets of JSON that arrives in pieces, to see where it ends.
///
/// Clients act on a tool call as soon as the next one begins, so its arguments must be whole by
/// then; waiting for the next to begin would be too late to put the rest into its own chunk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    depth: u32,
    state: Lexeme,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Lexeme {
    /// After a backslash within a string.
    Escape,
    /// Between strings.
    #[default]
    Outside,
    /// Within a string.
    String,
}

impl Balance {
    /// Takes the next piece; says whether an object or array has just been closed at its end.
    pub fn take(&mut self, piece: &str) -> bool {
        let mut closed = false;
        for byte in piece.bytes() {
            match (self.state, byte) {
                (Lexeme::Escape, _) => self.state = Lexeme::String,
                (Lexeme::String, b'\\') => self.state = Lexeme::Escape,
                (Lexeme::String, b'"') => self.state = Lexeme::Outside,
                (Lexeme::String, _) => {}
                (Lexeme::Outside, b'"') => self.state = Lexeme::String,
                (Lexeme::Outside, b'{' | b'[') => self.depth = self.depth.saturating_add(1),
                (Lexeme::Outside, b'}' | b']') => {
                    self.depth = self.depth.saturating_sub(1);
                    closed = self.depth == 0;
                    continue;
                }
                (Lexeme::Outside, b' ' | b'\t' | b'\r' | b'\n') => continue,
                (Lexeme::Outside, _) => {}
            }
            closed = false;
        }
        closed
    }
}

impl Field {
    /// The key that the run is masked under. A channel with several runs beside each other tells
    /// them apart by a number in the tool's place.
    pub const fn key(self, choice: u32) -> StreamKey {
        let (channel, tool, path) = match self {
            Self::Content => (Channel::Assistant, None, "choices[#].delta.content"),
            Self::Transcript => (Channel::Assistant, Some(0), "choices[#].delta.audio.transcript"),
            Self::Text => (Channel::Assistant, Some(1), "choices[#].text"),
            Self::ReasoningContent => (Channel::Reasoning, None, REASONING),
            Self::Reasoning => (Channel::Reasoning, Some(0), REASONING),
            Self::Thinking => (Channel::Reasoning, Some(1), REASONING),
            Self::Detail(index) => (Channel::Reasoning, Some(2 + (index & 0xffff) * 2), REASONING),
            Self::Summary(index) => (Channel::Reasoning, Some(3 + (index & 0xffff) * 2), REASONING),
            Self::Refusal => (Channel::Refusal, None, "choices[#].delta.refusal"),
            Self::FunctionCall => (Channel::ToolArguments, None, "choices[#].delta.function_call"),
            Self::Tool(index) => (Channel::ToolArguments, Some(index), ARGUMENTS),
            Self::Custom(index) => (Channel::ToolArguments, Some(index), CUSTOM),
        };
        StreamKey { channel, choice, tool, json: self.is_json(), path }
    }

    /// Whether the run's text is JSON.
    pub const fn is_json(self) -> bool {
        matches!(self, Self::FunctionCall | Self::Tool(_))
    }

    /// Writes `text` as the one piece of a choice, without index and finish reason.
    fn write(self, text: &str, out: &mut Vec<u8>) {
        let (open, index, middle, close) = match self {
            Self::Content => (r#""delta":{"content":""#, None, "", "\"}"),
            Self::Custom(index) => (
                r#""delta":{"tool_calls":[{"index":"#,
                Some(index),
                r#","custom":{"input":""#,
                "\"}}]}",
            ),
            Self::Detail(index) => (
                r#""delta":{"reasoning_details":[{"type":"reasoning.text","index":"#,
                Some(index),
                r#","text":""#,
                "\"}]}",
            ),
            Self::FunctionCall => (r#""delta":{"function_call":{"arguments":""#, None, "", "\"}}"),
            Self::Reasoning => (r#""delta":{"reasoning":""#, None, "", "\"}"),
            Self::ReasoningContent => (r#""delta":{"reasoning_content":""#, None, "", "\"}"),
            Self::Refusal => (r#""delta":{"refusal":""#, None, "", "\"}"),
            Self::Summary(index) => (
                r#""delta":{"reasoning_details":[{"type":"reasoning.summary","index":"#,
                Some(index),
                r#","summary":""#,
                "\"}]}",
            ),
            Self::Text => (r#""text":""#, None, "", "\""),
            Self::Thinking => (
                r#""delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":""#,
                None,
                "",
                "\"}]}]}",
            ),
            Self::Tool(index) => (
                r#""delta":{"tool_calls":[{"index":"#,
                Some(index),
                r#","function":{"arguments":""#,
                "\"}}]}",
            ),
            Self::Transcript => (r#""delta":{"audio":{"transcript":""#, None, "", "\"}}"),
        };
        out.extend_from_slice(open.as_bytes());
        if let Some(index) = index {
            out.extend_from_slice(index.to_string().as_bytes());
        }
        out.extend_from_slice(middle.as_bytes());
        escape_into(text, out);
        out.extend_from_slice(close.as_bytes());
    }
}

/// The members of a chunk that every chunk of its stream carries, as they stand in it.
pub fn frame(root: Value<'_>, raw: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(192);
    for name in FRAME_MEMBERS {
        let Some(value) = root.member(name) else { continue };
        let text = raw.get(value.span()).unwrap_or_default();
        let flat = !value.is_object() && !value.is_array();
        if flat && text.len() <= FRAME_VALUE_BYTES_MAX {
            out.push(b'"');
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b"\":");
            out.extend_from_slice(text.as_bytes());
            out.push(b',');
        }
    }
    out
}

/// Writes one event with one choice that carries `text` in `field` and ends with `finish_reason`
/// (raw JSON). An empty frame is that of a stream that never began.
pub fn write_event(
    frame: &[u8],
    choice: u32,
    field: Field,
    text: &str,
    finish_reason: &str,
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(b"data: {");
    out.extend_from_slice(if frame.is_empty() { FRAME_DEFAULT.as_bytes() } else { frame });
    out.extend_from_slice(b"\"choices\":[{\"index\":");
    out.extend_from_slice(choice.to_string().as_bytes());
    out.push(b',');
    field.write(text, out);
    out.extend_from_slice(b",\"finish_reason\":");
    out.extend_from_slice(finish_reason.as_bytes());
    out.extend_from_slice(b"}]}\n\n");
}

#[cfg(test)]
mod tests {
    use super::{Balance, Field, write_event};

    #[test]
    fn arguments_end_with_their_last_bracket_however_they_are_cut() {
        let whole = r#"{"a":"}\"]","b":[{},"\\"]} "#;
        for cut in 1..whole.len() {
            let (first, second) = whole.split_at(cut);
            let mut balance = Balance::default();
            let early = balance.take(first);
            assert_eq!(early, cut >= whole.len() - 1, "{first}");
            assert_eq!(balance.take(second), !second.trim().is_empty(), "{second}");
        }
    }

    #[test]
    fn what_is_no_object_or_array_never_ends() {
        for text in ["", "12", "\"{}\"", "{", "{}x", "[\"]"] {
            assert!(!Balance::default().take(text), "{text}");
        }
    }

    #[test]
    fn every_field_writes_a_valid_event() {
        for field in [
            Field::Content,
            Field::Custom(3),
            Field::Detail(3),
            Field::FunctionCall,
            Field::Reasoning,
            Field::ReasoningContent,
            Field::Refusal,
            Field::Summary(3),
            Field::Text,
            Field::Thinking,
            Field::Tool(3),
            Field::Transcript,
        ] {
            let mut out = Vec::new();
            write_event(b"\"id\":\"x\",", 2, field, "a \"b\"\n", "null", &mut out);
            let json = std::str::from_utf8(&out).unwrap().strip_prefix("data: ").unwrap();
            let value: serde_json::Value = serde_json::from_str(json).unwrap();
            assert_eq!(value["id"], "x");
            assert_eq!(value["choices"][0]["index"], 2);
            assert!(json.contains(r#""a \"b\"\n""#), "{json}");
        }
    }
}
