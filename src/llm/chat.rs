//! A chat request: what it asks, the texts in it, and how it is rewritten for the provider.
//!
//! Only what a gate reads is checked; whatever else a provider understands passes as it is.

use crate::base::ask::ChatAsk;
use crate::base::json::{Json, Kind, Value, escape_into};
use crate::base::splice::Splices;
use crate::base::text::{Channel, Text, Trust};
use crate::llm::walk::{REQUEST, Walk, Who, place};
use std::fmt;
use std::ops::Range;

/// More answers to one prompt than any provider gives.
pub const CHOICES_MAX: u64 = 128;

/// One `POST /v1/chat/completions`, understood.
#[derive(Debug)]
pub struct ChatRequest {
    /// What is asked.
    pub ask: ChatAsk,
    /// Every text in it.
    pub text: Text,
    /// Where the model's name stands, quotes included.
    model: Range<usize>,
    /// The edit that makes the provider count a stream's tokens.
    count: Option<CountEdit>,
}

/// A span of the body and what stands there instead.
type CountEdit = (Range<usize>, &'static str);

/// Why a request cannot be read (400), in the fields of an OpenAI error object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatFault {
    /// Stable, for programs.
    pub code: &'static str,
    /// The top-level field that is at fault.
    pub param: Option<&'static str>,
    /// A sentence that names the exact place, such as `messages[3].role`, and what belongs there.
    pub message: String,
}

impl fmt::Display for ChatFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for ChatFault {}

/// Reads a request. `raw` is the text that `json` was read from.
pub fn read(raw: &[u8], json: &Json) -> Result<ChatRequest, ChatFault> {
    let root = json.root();
    if raw.get(root.span().start) != Some(&b'{') {
        return Err(ChatFault {
            code: "invalid_type",
            param: None,
            message: "The body must be a JSON object.".into(),
        });
    }
    let model = required(root, "model")?;
    let name = model.as_str().ok_or_else(|| wrong("model", "model", "a string"))?;
    if name.is_empty() {
        return Err(wrong("model", "model", "the name of a model"));
    }
    check_messages(required(root, "messages")?)?;
    let stream = flag(root, "stream")?;
    let count = if stream { count_edit(root)? } else { None };
    let ceiling = whole(root, "max_completion_tokens")?;
    let ask = ChatAsk {
        model: name.to_owned(),
        stream,
        include_usage: stream && count.is_none(),
        tools: tool_names(root)?,
        max_tokens: ceiling.or(whole(root, "max_tokens")?),
        choices: choices(root)?,
    };
    Ok(ChatRequest { ask, text: texts(root), model: model.span(), count })
}

impl ChatRequest {
    /// Puts the provider's own name of the model in place of the public one and, for a stream,
    /// makes the provider count its tokens. `ChatStream` takes that count out again where the
    /// caller did not ask for it.
    pub fn rewrite(&self, upstream_model: &str, splices: &mut Splices) {
        if upstream_model != self.ask.model {
            let mut name = Vec::with_capacity(upstream_model.len() + 2);
            name.push(b'"');
            escape_into(upstream_model, &mut name);
            name.push(b'"');
            splices.replace(self.model.clone(), name);
        }
        if let Some((span, with)) = &self.count {
            splices.replace(span.clone(), with.as_bytes());
        }
    }
}

/// The edit that asks for usage in the caller's stead; none where it asked itself.
fn count_edit(root: Value<'_>) -> Result<Option<CountEdit>, ChatFault> {
    // The root is never empty here: it holds a model.
    let after = |value: Value<'_>| value.span().start + 1..value.span().start + 1;
    let Some(options) = root.member("stream_options") else {
        let edit = (after(root), r#""stream_options":{"include_usage":true},"#);
        return Ok(Some(edit));
    };
    if options.is_null() {
        return Ok(Some((options.span(), r#"{"include_usage":true}"#)));
    }
    if !options.is_object() {
        return Err(wrong("stream_options", "stream_options", "an object"));
    }
    match options.member("include_usage").map(|value| (value, value.kind())) {
        None => {
            let empty = options.members().next().is_none();
            let with = if empty { r#""include_usage":true"# } else { r#""include_usage":true,"# };
            Ok(Some((after(options), with)))
        }
        Some((_, Kind::Bool(true))) => Ok(None),
        Some((value, Kind::Bool(false) | Kind::Null)) => Ok(Some((value.span(), "true"))),
        Some(_) => {
            Err(wrong("stream_options", "stream_options.include_usage", "`true` or `false`"))
        }
    }
}

fn check_messages(messages: Value<'_>) -> Result<(), ChatFault> {
    if !messages.is_array() {
        return Err(wrong("messages", "messages", "an array of objects"));
    }
    let mut any = false;
    for (index, message) in messages.items().enumerate() {
        any = true;
        check_message(message, index)?;
    }
    if any {
        return Ok(());
    }
    Err(ChatFault {
        code: "empty_array",
        param: Some("messages"),
        message: "`messages` must hold at least one message.".into(),
    })
}

fn check_message(message: Value<'_>, index: usize) -> Result<(), ChatFault> {
    let fault = |rest: &str, wanted| wrong("messages", &format!("messages[{index}]{rest}"), wanted);
    if !message.is_object() {
        return Err(fault("", "an object"));
    }
    match message.member("role") {
        None => return Err(missing("messages", &format!("messages[{index}].role"))),
        Some(role) if role.as_str().is_none() => return Err(fault(".role", "a string")),
        Some(_) => {}
    }
    match message.member("content").map(|content| (content, content.kind())) {
        None | Some((_, Kind::Null | Kind::String)) => {}
        Some((content, Kind::Array)) => {
            if let Some(part) = content.items().position(|part| !part.is_object()) {
                return Err(fault(&format!(".content[{part}]"), "an object"));
            }
        }
        Some(_) => return Err(fault(".content", "a string or an array of parts")),
    }
    if let Some(calls) = message.member("tool_calls").filter(|calls| !calls.is_null()) {
        if !calls.is_array() {
            return Err(fault(".tool_calls", "an array of objects"));
        }
        if let Some(call) = calls.items().position(|call| !call.is_object()) {
            return Err(fault(&format!(".tool_calls[{call}]"), "an object"));
        }
    }
    Ok(())
}

/// The names under which policy knows the tools. One that the provider brings along has no name
/// of its own: its type stands for it.
fn tool_names(root: Value<'_>) -> Result<Vec<String>, ChatFault> {
    let mut names = Vec::new();
    for (index, tool) in list(root, "tools")?.enumerate() {
        let fault = |rest: &str, wanted| wrong("tools", &format!("tools[{index}]{rest}"), wanted);
        if !tool.is_object() {
            return Err(fault("", "an object"));
        }
        let (rest, name) = match (tool.member("function"), tool.member("custom")) {
            (Some(function), _) => (".function.name", function.member("name")),
            (None, Some(custom)) => (".custom.name", custom.member("name")),
            (None, None) => match tool.member("type") {
                Some(kind) if kind.as_str() != Some("function") => (".type", Some(kind)),
                Some(_) | None => (".function.name", None),
            },
        };
        let Some(name) = name else {
            return Err(missing("tools", &format!("tools[{index}]{rest}")));
        };
        names.push(name.as_str().ok_or_else(|| fault(rest, "a string"))?.to_owned());
    }
    for (index, function) in list(root, "functions")?.enumerate() {
        let at = format!("functions[{index}].name");
        let name = function.member("name").ok_or_else(|| missing("functions", &at))?;
        let name = name.as_str().ok_or_else(|| wrong("functions", &at, "a string"))?;
        names.push(name.to_owned());
    }
    Ok(names)
}

fn choices(root: Value<'_>) -> Result<u64, ChatFault> {
    let Some(number) = whole(root, "n")? else { return Ok(1) };
    if (1..=CHOICES_MAX).contains(&number) {
        return Ok(number);
    }
    Err(ChatFault {
        code: "invalid_value",
        param: Some("n"),
        message: format!("`n` must be a whole number from 1 to {CHOICES_MAX}."),
    })
}

fn texts(root: Value<'_>) -> Text {
    let tools = Who { channel: Channel::ToolDefinition, trust: Trust::Caller };
    let caller = Who { channel: Channel::User, trust: Trust::Caller };
    let mut walk = Walk::default();
    for (key, value) in root.members() {
        match key.as_str().unwrap_or_default() {
            "messages" => {
                for (index, message) in value.items().enumerate() {
                    let role = message.member("role").and_then(Value::as_str).unwrap_or_default();
                    walk.message(message, Who::of_role(role), index, &REQUEST);
                }
            }
            "model" | "stream" | "stream_options" => {}
            "tools" => {
                for (index, tool) in value.items().enumerate() {
                    walk.value(tool, tools, place("tools[#]", index));
                }
            }
            "functions" => {
                for (index, function) in value.items().enumerate() {
                    walk.value(function, tools, place("functions[#]", index));
                }
            }
            "response_format" => walk.value(value, tools, place("response_format", 0)),
            "prediction" => walk.value(value, caller, place("prediction", 0)),
            "metadata" => walk.value(value, caller, place("metadata", 0)),
            "user" => walk.value(value, caller, place("user", 0)),
            // A seed is a number that must arrive.
            "seed" => {}
            _ => walk.value(value, caller, place("request", 0)),
        }
    }
    walk.into_text()
}

fn required<'a>(root: Value<'a>, name: &'static str) -> Result<Value<'a>, ChatFault> {
    root.member(name).ok_or_else(|| missing(name, name))
}

/// A member that may be absent; `null` says the same in this dialect.
fn optional<'a>(root: Value<'a>, name: &str) -> Option<Value<'a>> {
    root.member(name).filter(|value| !value.is_null())
}

fn flag(root: Value<'_>, name: &'static str) -> Result<bool, ChatFault> {
    optional(root, name).map_or(Ok(false), |value| {
        value.as_bool().ok_or_else(|| wrong(name, name, "`true` or `false`"))
    })
}

fn whole(root: Value<'_>, name: &'static str) -> Result<Option<u64>, ChatFault> {
    optional(root, name)
        .map(|value| value.as_u64().ok_or_else(|| wrong(name, name, "a whole number")))
        .transpose()
}

fn list<'a>(
    root: Value<'a>,
    name: &'static str,
) -> Result<impl Iterator<Item = Value<'a>>, ChatFault> {
    let value = optional(root, name);
    if value.is_some_and(|value| !value.is_array()) {
        return Err(wrong(name, name, "an array of objects"));
    }
    Ok(value.into_iter().flat_map(Value::items))
}

fn missing(param: &'static str, at: &str) -> ChatFault {
    ChatFault {
        code: "missing_required_parameter",
        param: Some(param),
        message: format!("`{at}` is missing."),
    }
}

fn wrong(param: &'static str, at: &str, wanted: &str) -> ChatFault {
    ChatFault {
        code: "invalid_type",
        param: Some(param),
        message: format!("`{at}` must be {wanted}."),
    }
}
