//! OpenAI's responses dialect, whole bodies: what a request asks and what an answer says.

use crate::base::ask::{Api, ChatAsk};
use crate::base::json::{Json, Kind, Value};
use crate::base::splice::Splices;
use crate::base::text::{Channel, Text, Trust};
use crate::base::usage::Usage;
use crate::llm::answer::Answer;
use crate::llm::items::{INPUT, Items, OUTPUT};
use crate::llm::request::{
    ChatFault, ChatRequest, flag, list, missing, model, optional, whole, wrong,
};
use crate::llm::walk::{Walk, Who, place};

const UPSTREAM: Who = Who { channel: Channel::Assistant, trust: Trust::Upstream };

/// Reads a request.
pub fn read(root: Value<'_>) -> Result<ChatRequest, ChatFault> {
    let (name, at) = model(root)?;
    check_input(root)?;
    let ask = ChatAsk {
        api: Api::Responses,
        model: name,
        stream: flag(root, "stream")?,
        include_usage: true,
        tools: tool_names(root)?,
        max_tokens: whole(root, "max_output_tokens")?,
        choices: 1,
    };
    Ok(ChatRequest { ask, text: texts(root), model: at, count: None })
}

/// The input is a text or items; absent where an earlier response or a stored prompt has it.
fn check_input(root: Value<'_>) -> Result<(), ChatFault> {
    let Some(input) = optional(root, "input") else { return Ok(()) };
    match input.kind() {
        Kind::String => Ok(()),
        Kind::Array => match input.items().position(|item| !item.is_object()) {
            Some(index) => Err(wrong("input", &format!("input[{index}]"), "an object")),
            None => Ok(()),
        },
        Kind::Bool(_) | Kind::Float | Kind::Null | Kind::Object | Kind::Unsigned(_) => {
            Err(wrong("input", "input", "a string or an array of items"))
        }
    }
}

/// The names under which policy knows the tools. One that the provider brings along has no name
/// of its own: its type stands for it.
fn tool_names(root: Value<'_>) -> Result<Vec<String>, ChatFault> {
    let mut names = Vec::new();
    for (index, tool) in list(root, "tools")?.enumerate() {
        if !tool.is_object() {
            return Err(wrong("tools", &format!("tools[{index}]"), "an object"));
        }
        let kind = tool.member("type");
        let is_named = matches!(kind.and_then(Value::as_str), Some("function" | "custom"));
        let (rest, name) = if is_named { ("name", tool.member("name")) } else { ("type", kind) };
        let at = format!("tools[{index}].{rest}");
        let name = name.ok_or_else(|| missing("tools", &at))?;
        names.push(name.as_str().ok_or_else(|| wrong("tools", &at, "a string"))?.to_owned());
    }
    Ok(names)
}

fn texts(root: Value<'_>) -> Text {
    let tools = Who { channel: Channel::ToolDefinition, trust: Trust::Caller };
    let caller = Who { channel: Channel::User, trust: Trust::Caller };
    let system = Who { channel: Channel::System, trust: Trust::Caller };
    let mut walk = Walk::default();
    for (key, value) in root.members() {
        match key.as_str().unwrap_or_default() {
            "input" if value.is_array() => {
                for (index, item) in value.items().enumerate() {
                    Items { walk: &mut walk, paths: &INPUT }.item(item, Who::of_role, index);
                }
            }
            "input" => walk.value(value, caller, place("input", 0)),
            "instructions" => walk.value(value, system, place("instructions", 0)),
            "model" | "stream" | "stream_options" | "previous_response_id" => {}
            "tools" => {
                for (index, tool) in value.items().enumerate() {
                    walk.value(tool, tools, place("tools[#]", index));
                }
            }
            "text" => walk.value(value, tools, place("text", 0)),
            "prompt" => walk.value(value, caller, place("prompt", 0)),
            "metadata" => walk.value(value, caller, place("metadata", 0)),
            "user" => walk.value(value, caller, place("user", 0)),
            _ if value.is_number() => {}
            _ => walk.value(value, caller, place("request", 0)),
        }
    }
    walk.into_text()
}

/// Reads an answer: a response or an error.
pub fn answer(json: &Json) -> Answer {
    let mut walk = Walk::default();
    let mut counted = None;
    let root = json.root();
    if !root.is_object() {
        walk.value(root, UPSTREAM, place("answer", 0));
    }
    for (key, value) in root.members() {
        let name = key.as_str().unwrap_or_default();
        match name {
            "output" if value.is_array() => {
                for (index, item) in value.items().enumerate() {
                    Items { walk: &mut walk, paths: &OUTPUT }.item(item, |_role| UPSTREAM, index);
                }
            }
            "instructions" => {
                walk.value(value, UPSTREAM.on(Channel::System), place("instructions", 0));
            }
            "tools" | "text" => {
                walk.value(value, UPSTREAM.on(Channel::ToolDefinition), place("tools", 0));
            }
            "usage" => counted = usage(value),
            "error" => walk.value(value, UPSTREAM, place("error", 0)),
            _ if names_response(name) || value.is_number() => {}
            _ => walk.value(value, UPSTREAM, place("answer", 0)),
        }
    }
    Answer { text: walk.into_text(), usage: counted }
}

/// Members of a response that only say which and how.
pub fn names_response(name: &str) -> bool {
    matches!(name, "id" | "model" | "object" | "previous_response_id" | "status")
}

/// The provider's count in a `usage` member. A missing or odd number is nought; `null` is no count.
pub fn usage(value: Value<'_>) -> Option<Usage> {
    if !value.is_object() {
        return None;
    }
    let number = |value: Option<Value<'_>>| value.and_then(Value::as_u64).unwrap_or(0);
    let input_tokens = number(value.member("input_tokens"));
    let cached =
        value.member("input_tokens_details").and_then(|details| details.member("cached_tokens"));
    Some(Usage {
        input_tokens,
        output_tokens: number(value.member("output_tokens")),
        cached_tokens: number(cached).min(input_tokens),
    })
}

/// Takes the token probabilities out of an answer: they repeat it, token by token.
pub fn hide_logprobs(json: &Json, splices: &mut Splices) {
    for item in json.root().member("output").into_iter().flat_map(Value::items) {
        for part in item.member("content").into_iter().flat_map(Value::items) {
            if let Some(value) = part.member("logprobs") {
                hide_logprobs_of(value, splices);
            }
        }
    }
}

/// As [`hide_logprobs`], for one list of them. The dialect wants a list there, so it is empty.
pub fn hide_logprobs_of(value: Value<'_>, splices: &mut Splices) {
    let is_empty = value.is_array() && value.items().next().is_none();
    if !value.is_null() && !is_empty {
        splices.replace(value.span(), b"[]".as_slice());
    }
}
