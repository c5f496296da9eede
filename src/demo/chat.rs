//! What the demo model reads and says: a chat completion request in, an answer or a stream out.
//!
//! It echoes what reached it, so that a user sees what was masked on the way, and gives away a test
//! card when a prompt says `leak`, so that masking on the way back can be seen too. Pure.

use crate::base::ask::{Api, Dialect};
use crate::base::numbers::{to_u64, to_usize};
use crate::demo::knobs::Knobs;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::io::Write as _;

/// What it gives away: a card number of a payment company's test pages, and a reserved domain.
pub const LEAK: &str =
    "Of course: the card is 4242 4242 4242 4242, and its owner is ada@example.com.";
/// Characters of one piece of a stream: few, so that everything worth masking is split.
const PIECE_CHARS: usize = 3;
/// Choices of one answer.
const CHOICES_MAX: u32 = 16;
/// What a stretched text is stretched with.
const PADDING: &str = " and so on";

/// A request that was read, and what will be said to it.
#[derive(Debug, PartialEq, Eq)]
pub struct Chat {
    /// How to behave.
    pub knobs: Knobs,
    /// Whether a stream was asked for.
    pub is_stream: bool,
    /// The model that was asked.
    pub model: String,
    /// What will be said.
    pub said: Said,
    /// What the question costs.
    pub prompt_tokens: u64,
    choices: u32,
    wants_usage: bool,
}

/// An answer: text, or a call of a tool with its arguments as JSON text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Text.
    Text(String),
    /// A call.
    Call {
        /// The tool's name.
        tool: String,
        /// Its arguments, as JSON text.
        arguments: String,
    },
}

/// Writes a stream, step by step.
#[derive(Debug)]
pub struct Stream<'a> {
    chat: &'a Chat,
    text: &'a str,
    /// All that stands before the choices in each event.
    prelude: Vec<u8>,
    step: Step,
    id: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Open,
    /// From this byte of the text on.
    Piece(usize),
    End,
    Done,
}

#[derive(Deserialize)]
struct Ask<'a> {
    #[serde(borrow)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    messages: Vec<Message<'a>>,
    stream: Option<bool>,
    stream_options: Option<StreamOptions>,
    n: Option<u32>,
    #[serde(borrow)]
    tools: Option<Vec<Tool<'a>>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    role: Cow<'a, str>,
    #[serde(borrow)]
    content: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct StreamOptions {
    include_usage: Option<bool>,
}

#[derive(Deserialize)]
struct Tool<'a> {
    #[serde(borrow)]
    function: Option<Function<'a>>,
}

#[derive(Deserialize)]
struct Function<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    parameters: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Part {
    text: Option<String>,
}

impl Chat {
    /// Reads a request body.
    pub fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        let ask: Ask<'_> = serde_json::from_slice(body)?;
        let last = ask.messages.last();
        let is_result = last.is_some_and(|message| message.role == "tool");
        let prompt = last.and_then(|message| message.content).map(text_of).unwrap_or_default();
        let (knobs, prompt) = Knobs::take(&prompt);
        let functions = ask.tools.iter().flatten().filter_map(|tool| tool.function.as_ref());
        let said = match wanted(&prompt, functions).filter(|_| !is_result) {
            Some(function) => call(function, &prompt),
            None => Said::Text(stretched(answer(&prompt, is_result), knobs.chunks)),
        };
        Ok(Self {
            knobs,
            is_stream: ask.stream == Some(true),
            model: ask.model.into_owned(),
            said,
            choices: ask.n.unwrap_or(1).clamp(1, CHOICES_MAX),
            wants_usage: ask.stream_options.is_some_and(|o| o.include_usage == Some(true)),
            prompt_tokens: tokens(body.len()),
        })
    }

    /// Writes the answer as one body. `created` counts seconds since the Unix epoch.
    pub fn whole(&self, id: u64, created: u64, out: &mut Vec<u8>) {
        self.head("chat.completion", id, created, out);
        for index in 0..self.choices {
            if index > 0 {
                out.push(b',');
            }
            write(out, format_args!("{{\"index\":{index},\"message\":{{\"role\":\"assistant\","));
            match &self.said {
                Said::Text(text) => {
                    out.extend_from_slice(b"\"content\":");
                    quote(text, out);
                    out.extend_from_slice(b",\"refusal\":null}");
                }
                Said::Call { tool, arguments } => {
                    out.extend_from_slice(b"\"content\":null,\"refusal\":null,\"tool_calls\":[");
                    call_head(id, index, tool, out);
                    quote(arguments, out);
                    out.extend_from_slice(b"}}]}");
                }
            }
            let reason = self.reason();
            write(out, format_args!(",\"logprobs\":null,\"finish_reason\":\"{reason}\"}}"));
        }
        out.extend_from_slice(b"],");
        self.usage(out);
        out.push(b'}');
    }

    /// Begins to write it as a stream.
    pub fn stream(&self, id: u64, created: u64) -> Stream<'_> {
        let mut prelude = b"data: ".to_vec();
        self.head("chat.completion.chunk", id, created, &mut prelude);
        let text = match &self.said {
            Said::Text(text) => text,
            Said::Call { arguments, .. } => arguments,
        };
        Stream { chat: self, text, prelude, step: Step::Open, id }
    }

    fn head(&self, object: &str, id: u64, created: u64, out: &mut Vec<u8>) {
        write(
            out,
            format_args!(
                "{{\"id\":\"chatcmpl-demo{id}\",\"object\":\"{object}\",\"created\":{created},\
                 \"model\":"
            ),
        );
        quote(&self.model, out);
        out.extend_from_slice(b",\"system_fingerprint\":\"fp_demo\",\"choices\":[");
    }

    /// What the answer costs.
    pub fn completion_tokens(&self) -> u64 {
        let said = match &self.said {
            Said::Text(text) => text,
            Said::Call { arguments, .. } => arguments,
        };
        tokens(said.len()) * u64::from(self.choices)
    }

    fn usage(&self, out: &mut Vec<u8>) {
        let completion = self.completion_tokens();
        let (prompt, total) = (self.prompt_tokens, self.prompt_tokens + completion);
        write(
            out,
            format_args!(
                "\"usage\":{{\"prompt_tokens\":{prompt},\"completion_tokens\":{completion},\
                 \"total_tokens\":{total}}}"
            ),
        );
    }

    fn reason(&self) -> &'static str {
        match self.said {
            Said::Text(_) => "stop",
            Said::Call { .. } => "tool_calls",
        }
    }
}

impl Stream<'_> {
    /// Writes the next events, one for each choice; `false` when there are no more.
    pub fn step(&mut self, out: &mut Vec<u8>) -> bool {
        match self.step {
            Step::Open => {
                self.each_choice(out, Self::opening);
                self.step = if self.text.is_empty() { Step::End } else { Step::Piece(0) };
            }
            Step::Piece(from) => {
                let rest = self.text.get(from..).unwrap_or_default();
                let piece = pieces(rest).next().unwrap_or(rest);
                self.each_choice(out, |stream, index, out| stream.piece(index, piece, out));
                let end = from + piece.len();
                self.step = if end < self.text.len() { Step::Piece(end) } else { Step::End };
            }
            Step::End => {
                let reason = self.chat.reason();
                self.each_choice(out, |_, index, out| {
                    write(
                        out,
                        format_args!(
                            "{{\"index\":{index},\"delta\":{{}},\"finish_reason\":\"{reason}\"}}"
                        ),
                    );
                });
                if self.chat.wants_usage {
                    out.extend_from_slice(&self.prelude);
                    out.extend_from_slice(b"],");
                    self.chat.usage(out);
                    out.extend_from_slice(b"}\n\n");
                }
                out.extend_from_slice(b"data: [DONE]\n\n");
                self.step = Step::Done;
            }
            Step::Done => return false,
        }
        true
    }

    fn each_choice(&self, out: &mut Vec<u8>, write: impl Fn(&Self, u32, &mut Vec<u8>)) {
        // As OpenAI does: whoever asks for usage is told at once that it comes later.
        let tail: &[u8] = if self.chat.wants_usage { b"],\"usage\":null}\n\n" } else { b"]}\n\n" };
        for index in 0..self.chat.choices {
            out.extend_from_slice(&self.prelude);
            write(self, index, out);
            out.extend_from_slice(tail);
        }
    }

    fn opening(&self, index: u32, out: &mut Vec<u8>) {
        write(out, format_args!("{{\"index\":{index},\"delta\":{{\"role\":\"assistant\","));
        match &self.chat.said {
            Said::Text(_) => out.extend_from_slice(b"\"content\":\"\""),
            Said::Call { tool, .. } => {
                out.extend_from_slice(b"\"content\":null,\"tool_calls\":[");
                call_head(self.id, index, tool, out);
                out.extend_from_slice(b"\"\"}}]");
            }
        }
        out.extend_from_slice(b"},\"finish_reason\":null}");
    }

    fn piece(&self, index: u32, piece: &str, out: &mut Vec<u8>) {
        write(out, format_args!("{{\"index\":{index},\"delta\":{{"));
        match &self.chat.said {
            Said::Text(_) => {
                out.extend_from_slice(b"\"content\":");
                quote(piece, out);
            }
            Said::Call { .. } => {
                out.extend_from_slice(b"\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":");
                quote(piece, out);
                out.extend_from_slice(b"}}]");
            }
        }
        out.extend_from_slice(b"},\"finish_reason\":null}");
    }
}

/// Writes the body of an answer that refuses, as the dialect's error object.
pub fn refusal(api: Api, message: &str, code: &str, out: &mut Vec<u8>) {
    if api.dialect() == Dialect::Anthropic {
        out.extend_from_slice(
            b"{\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":",
        );
        quote(message, out);
        out.extend_from_slice(b"},\"request_id\":\"req_demo\"}");
        return;
    }
    out.extend_from_slice(b"{\"error\":{\"message\":");
    quote(message, out);
    out.extend_from_slice(b",\"type\":\"demo_error\",\"param\":null,\"code\":");
    quote(code, out);
    out.extend_from_slice(b"}}");
}

/// Writes the list of models: the one there is.
pub fn models(created: u64, out: &mut Vec<u8>) {
    write(
        out,
        format_args!(
            "{{\"object\":\"list\",\"data\":[{{\"id\":\"demo-model\",\"object\":\"model\",\
             \"created\":{created},\"owned_by\":\"ringwall\"}}]}}"
        ),
    );
}

/// Content is a string, or an array of parts of which some have text.
fn text_of(content: &RawValue) -> String {
    let text = content.get();
    if let Ok(whole) = serde_json::from_str::<Cow<'_, str>>(text) {
        return whole.into_owned();
    }
    let parts = serde_json::from_str::<Vec<Part>>(text).unwrap_or_default();
    parts.into_iter().filter_map(|part| part.text).collect::<Vec<_>>().join("\n")
}

/// A text in the small pieces of a stream.
pub fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let length: usize = rest.chars().take(PIECE_CHARS).map(char::len_utf8).sum();
        let (piece, after) = rest.split_at_checked(length)?;
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

fn answer(prompt: &str, is_result: bool) -> String {
    let lower = prompt.to_ascii_lowercase();
    if is_result {
        format!("The tool said: {prompt}")
    } else if lower.contains("leak") || lower.contains("tell me a card") {
        LEAK.to_owned()
    } else if let Some((_, after)) = prompt.split_once("repeat after me") {
        after.trim_start_matches([':', ' ']).to_owned()
    } else {
        format!("You said: {prompt}")
    }
}

fn stretched(mut text: String, chunks: Option<u32>) -> String {
    let Some(chunks) = chunks else { return text };
    let wanted = to_usize(chunks) * PIECE_CHARS;
    let have = text.chars().count();
    text.extend(PADDING.chars().cycle().take(wanted.saturating_sub(have)));
    text
}

/// The tool that the prompt names, or the first one if it says `use the tool`.
fn wanted<'a>(
    prompt: &str,
    functions: impl Iterator<Item = &'a Function<'a>>,
) -> Option<&'a Function<'a>> {
    let lower = prompt.to_ascii_lowercase();
    let mut first = None;
    for function in functions {
        if prompt.contains(&*function.name) {
            return Some(function);
        }
        first = first.or(Some(function));
    }
    first.filter(|_| lower.contains("use the tool"))
}

fn call(function: &Function<'_>, prompt: &str) -> Said {
    let text = if prompt.to_ascii_lowercase().contains("leak") { LEAK } else { prompt };
    let schema = function.parameters.map_or("{}", RawValue::get);
    let schema = serde_json::from_str::<Value>(schema).unwrap_or_default();
    let properties = schema.get("properties").and_then(Value::as_object);
    let arguments: serde_json::Map<String, Value> = properties
        .into_iter()
        .flatten()
        .filter_map(|(name, property)| Some((name.clone(), filled(property, text)?)))
        .collect();
    Said::Call { tool: function.name.to_string(), arguments: Value::Object(arguments).to_string() }
}

fn filled(property: &Value, text: &str) -> Option<Value> {
    match property.get("type").and_then(Value::as_str)? {
        "string" => Some(Value::from(text)),
        "integer" | "number" => Some(Value::from(42)),
        "boolean" => Some(Value::from(true)),
        _ => None,
    }
}

fn call_head(id: u64, index: u32, tool: &str, out: &mut Vec<u8>) {
    write(
        out,
        format_args!(
            "{{\"index\":0,\"id\":\"call_demo{id}_{index}\",\"type\":\"function\",\
             \"function\":{{\"name\":"
        ),
    );
    quote(tool, out);
    out.extend_from_slice(b",\"arguments\":");
}

/// Four bytes a token: near enough for numbers that must only be there.
fn tokens(bytes: usize) -> u64 {
    to_u64(bytes / 4).max(1)
}

/// Appends text as a JSON string.
pub fn quote(text: &str, out: &mut Vec<u8>) {
    let written = serde_json::to_writer(&mut *out, text);
    debug_assert!(written.is_ok(), "a vector takes every byte");
}

fn write(out: &mut Vec<u8>, words: std::fmt::Arguments<'_>) {
    let written = out.write_fmt(words);
    debug_assert!(written.is_ok(), "a vector takes every byte");
}

#[cfg(test)]
mod tests {
    use super::{Chat, LEAK};
    use serde_json::{Value, json};

    fn chat(prompt: &str, more: &Value) -> Chat {
        let mut ask = json!({"model": "m\"1", "messages": [{"role": "user", "content": prompt}]});
        ask.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Chat::read(ask.to_string().as_bytes()).unwrap()
    }

    fn whole(chat: &Chat) -> Value {
        let mut out = Vec::new();
        chat.whole(7, 1, &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    fn events(chat: &Chat) -> Vec<Value> {
        let mut out = Vec::new();
        let mut stream = chat.stream(7, 1);
        while stream.step(&mut out) {}
        let text = String::from_utf8(out).unwrap();
        let body = text.strip_suffix("data: [DONE]\n\n").unwrap();
        let data = body.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").unwrap());
        data.map(|data| serde_json::from_str(data).unwrap()).collect()
    }

    fn joined(events: &[Value], choice: u64, pointer: &str) -> String {
        let choices = events.iter().flat_map(|event| event["choices"].as_array().unwrap());
        let own = choices.filter(|one| one["index"] == choice);
        own.filter_map(|one| one.pointer(pointer)?.as_str()).collect()
    }

    #[test]
    fn it_echoes_what_reached_it() {
        let answer = whole(&chat("Grüße \"x\"", &json!({})));
        assert_eq!(answer["choices"][0]["message"]["content"], "You said: Grüße \"x\"");
        assert_eq!(answer["model"], "m\"1");
        assert!(answer["usage"]["total_tokens"].as_u64().unwrap() > 1);
    }

    #[test]
    fn it_leaks_a_card_when_asked() {
        assert_eq!(
            whole(&chat("Please LEAK", &json!({})))["choices"][0]["message"]["content"],
            LEAK
        );
    }

    #[test]
    fn content_parts_are_read() {
        let parts = json!([{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}]);
        let answer = whole(&chat("", &json!({"messages": [{"role": "user", "content": parts}]})));
        assert_eq!(answer["choices"][0]["message"]["content"], "You said: a");
    }

    #[test]
    fn a_stream_says_the_same_in_small_pieces_for_each_choice() {
        let chat = chat("leak", &json!({"stream": true, "n": 2}));
        let events = events(&chat);
        for choice in [0, 1] {
            assert_eq!(joined(&events, choice, "/delta/content"), LEAK);
        }
        assert!(events.len() > 40);
        assert!(events.iter().all(|event| event.get("usage").is_none()));
    }

    #[test]
    fn usage_comes_last_and_is_null_before_when_it_was_asked_for() {
        let events = events(&chat("hi", &json!({"stream_options": {"include_usage": true}})));
        let (last, before) = events.split_last().unwrap();
        assert_eq!(last["choices"], json!([]));
        assert!(last["usage"]["prompt_tokens"].is_u64());
        assert!(before.iter().all(|event| event["usage"].is_null()));
        assert!(before.iter().all(|event| event.get("usage").is_some()));
    }

    #[test]
    fn a_tool_is_called_whole_and_streamed() {
        let schema = json!({"type": "object", "properties": {"q": {"type": "string"}}});
        let tools =
            json!([{"type": "function", "function": {"name": "find", "parameters": schema}}]);
        let chat = chat("Use the tool \u{1F600}", &json!({"tools": tools}));
        let answer = whole(&chat);
        let call = &answer["choices"][0]["message"]["tool_calls"][0]["function"];
        let arguments = call["arguments"].as_str().unwrap();
        assert_eq!(
            serde_json::from_str::<Value>(arguments).unwrap()["q"],
            "Use the tool \u{1F600}"
        );
        assert_eq!(answer["choices"][0]["finish_reason"], "tool_calls");
        let events = events(&chat);
        let pointer = "/delta/tool_calls/0/function/arguments";
        assert_eq!(joined(&events, 0, pointer), arguments);
        assert_eq!(joined(&events, 0, "/delta/tool_calls/0/function/name"), "find");
    }

    #[test]
    fn a_tool_result_is_answered_with_text() {
        let messages = json!([{"role": "tool", "tool_call_id": "1", "content": "42"}]);
        let tools = json!([{"type": "function", "function": {"name": "find"}}]);
        let answer = whole(&chat("", &json!({"messages": messages, "tools": tools})));
        assert_eq!(answer["choices"][0]["message"]["content"], "The tool said: 42");
    }

    #[test]
    fn a_stretched_text_has_the_chunks_that_were_asked_for() {
        let events = events(&chat("x [demo chunks=100]", &json!({})));
        assert_eq!(events.len(), 102);
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for body in ["", "{}", "[]", "{\"model\":\"m\"}", "{\"model\":1,\"messages\":[]}"] {
            assert!(Chat::read(body.as_bytes()).is_err(), "{body}");
        }
    }
}
