//! Anthropic's dialect, whole bodies: what a request asks, what an answer says, and how many tokens
//! a message would cost.

use crate::base::ask::{Api, ChatAsk};
use crate::base::json::{Json, Value};
use crate::base::text::{Channel, Text, Trust};
use crate::base::usage::Usage;
use crate::llm::answer::Answer;
use crate::llm::blocks::{ANSWER, Blocks, MESSAGE, SYSTEM};
use crate::llm::chat::check_messages;
use crate::llm::request::{
    ChatFault, ChatRequest, flag, list, missing, model, required, whole, wrong,
};
use crate::llm::walk::{Walk, Who, place};

const UPSTREAM: Who = Who { channel: Channel::Assistant, trust: Trust::Upstream };

/// Reads a request for a message, or for its count of tokens.
pub fn read(api: Api, root: Value<'_>) -> Result<ChatRequest, ChatFault> {
    let (name, at) = model(root)?;
    check_messages(required(root, "messages")?)?;
    let ask = ChatAsk {
        api,
        model: name,
        stream: api == Api::Messages && flag(root, "stream")?,
        include_usage: true,
        tools: tool_names(root)?,
        max_tokens: whole(root, "max_tokens")?,
        choices: 1,
    };
    Ok(ChatRequest { ask, text: texts(root), model: at, count: None })
}

/// The names under which policy knows the tools. A set of tools that the provider fetches from a
/// server has no name of its own: its type stands for it.
fn tool_names(root: Value<'_>) -> Result<Vec<String>, ChatFault> {
    let mut names = Vec::new();
    for (index, tool) in list(root, "tools")?.enumerate() {
        if !tool.is_object() {
            return Err(wrong("tools", &format!("tools[{index}]"), "an object"));
        }
        let at = format!("tools[{index}].name");
        let name = tool.member("name").or_else(|| tool.member("type"));
        let name = name.ok_or_else(|| missing("tools", &at))?;
        names.push(name.as_str().ok_or_else(|| wrong("tools", &at, "a string"))?.to_owned());
    }
    Ok(names)
}

fn texts(root: Value<'_>) -> Text {
    let tools = Who { channel: Channel::ToolDefinition, trust: Trust::Caller };
    let caller = Who { channel: Channel::User, trust: Trust::Caller };
    let mut walk = Walk::default();
    for (key, value) in root.members() {
        match key.as_str().unwrap_or_default() {
            "system" => {
                let who = Who { channel: Channel::System, trust: Trust::Caller };
                Blocks { walk: &mut walk, paths: &SYSTEM, message: None }.content(value, who);
            }
            "messages" => {
                for (index, one) in value.items().enumerate() {
                    message(one, index, &mut walk);
                }
            }
            "model" | "stream" => {}
            "tools" => {
                for (index, tool) in value.items().enumerate() {
                    walk.value(tool, tools, place("tools[#]", index));
                }
            }
            "output_config" | "output_format" => walk.value(value, tools, place("output", 0)),
            "metadata" => walk.value(value, caller, place("metadata", 0)),
            _ if value.is_number() => {}
            _ => walk.value(value, caller, place("request", 0)),
        }
    }
    walk.into_text()
}

fn message(message: Value<'_>, index: usize, walk: &mut Walk) {
    let role = message.member("role").and_then(Value::as_str).unwrap_or_default();
    let who = Who::of_role(role);
    for (key, value) in message.members() {
        if key.as_str() == Some("content") {
            Blocks { walk, paths: &MESSAGE, message: Some(index) }.content(value, who);
        } else {
            walk.member(key, value, who, place("messages[#]", index));
        }
    }
}

/// Reads an answer: a message, a count of tokens or an error.
pub fn answer(json: &Json) -> Answer {
    let mut walk = Walk::default();
    let mut counted = None;
    let root = json.root();
    if !root.is_object() {
        walk.value(root, UPSTREAM, place("answer", 0));
    }
    for (key, value) in root.members() {
        match key.as_str().unwrap_or_default() {
            "content" => {
                Blocks { walk: &mut walk, paths: &ANSWER, message: None }.content(value, UPSTREAM);
            }
            "usage" => counted = usage(value),
            "id" | "input_tokens" | "model" | "request_id" | "role" | "type" => {}
            "error" => walk.value(value, UPSTREAM, place("error", 0)),
            _ => walk.value(value, UPSTREAM, place("answer", 0)),
        }
    }
    Answer { text: walk.into_text(), usage: counted }
}

/// The provider's count. What it read from its cache or wrote into it, it does not count as input;
/// we do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    input: u64,
    cached: u64,
    written: u64,
    output: u64,
}

impl Count {
    /// Takes what a `usage` member says; a stream says it bit by bit, each time as a total.
    pub fn take(&mut self, usage: Value<'_>) {
        for (name, own) in [
            ("input_tokens", &mut self.input),
            ("cache_read_input_tokens", &mut self.cached),
            ("cache_creation_input_tokens", &mut self.written),
            ("output_tokens", &mut self.output),
        ] {
            if let Some(number) = usage.member(name).and_then(Value::as_u64) {
                *own = number;
            }
        }
    }

    /// In the terms of every dialect.
    pub const fn usage(self) -> Usage {
        Usage {
            input_tokens: self.input.saturating_add(self.cached).saturating_add(self.written),
            output_tokens: self.output,
            cached_tokens: self.cached,
        }
    }
}

fn usage(value: Value<'_>) -> Option<Usage> {
    let mut count = Count::default();
    count.take(value);
    value.is_object().then(|| count.usage())
}
