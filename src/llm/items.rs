//! The walk through OpenAI's items, of which the input and the output of a response are made.
//!
//! Requests and answers hold the same items. What is not known is read as text all the same.

use crate::base::json::Value;
use crate::base::text::{Channel, Place, Trust};
use crate::llm::walk::{Walk, Who, is_base64, is_binary, place, place2};

/// The paths that the places of the items' texts have; `#` where an index belongs.
#[derive(Debug)]
pub struct Paths {
    arguments: &'static str,
    content: &'static str,
    item: &'static str,
    part: &'static str,
    result: &'static str,
    text: &'static str,
}

/// The paths of a request's items.
pub static INPUT: Paths = Paths {
    arguments: "input[#].arguments",
    content: "input[#].content",
    item: "input[#]",
    part: "input[#].content[#]",
    result: "input[#].output",
    text: "input[#].content[#].text",
};

/// The paths of an answer's items.
pub static OUTPUT: Paths = Paths {
    arguments: "output[#].arguments",
    content: "output[#].content",
    item: "output[#]",
    part: "output[#].content[#]",
    result: "output[#].output",
    text: "output[#].content[#].text",
};

/// What an item is, by its type: what it holds on which channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ItemKind {
    /// A tool is called, whoever runs it.
    Call,
    /// Which tools a server has.
    Definitions,
    /// Something is said.
    Message,
    /// Something was thought.
    Reasoning,
    /// What a tool answered.
    Result,
}

impl ItemKind {
    /// Of an item; one without a type is a message.
    pub fn of(item: Value<'_>) -> Self {
        let kind = item.member("type").and_then(Value::as_str).unwrap_or_default();
        match kind {
            "reasoning" => Self::Reasoning,
            "mcp_list_tools" => Self::Definitions,
            _ if kind.ends_with("_output") => Self::Result,
            _ if kind.ends_with("_call") || kind.starts_with("mcp_approval") => Self::Call,
            _ => Self::Message,
        }
    }

    /// Who says what of a known item, where the author of its message would be `who`.
    pub const fn who(self, who: Who) -> Who {
        match self {
            Self::Call => who.on(Channel::ToolArguments),
            Self::Definitions => who.on(Channel::ToolDefinition),
            Self::Message => who,
            Self::Reasoning => who.on(Channel::Reasoning),
            Self::Result => RESULT,
        }
    }
}

const DOCUMENT: Who = Who { channel: Channel::Document, trust: Trust::Retrieved };
const RESULT: Who = Who { channel: Channel::ToolResult, trust: Trust::Retrieved };

/// Items and where they stand.
#[derive(Debug)]
pub struct Items<'w> {
    /// What gathers the texts.
    pub walk: &'w mut Walk,
    /// How places are called.
    pub paths: &'static Paths,
}

impl Items<'_> {
    /// Reads one item, the `index`th of its body. `author` says what its role means.
    pub fn item(&mut self, item: Value<'_>, author: fn(&str) -> Who, index: usize) {
        let at = place(self.paths.item, index);
        let role = item.member("role").and_then(Value::as_str).unwrap_or("assistant");
        let kind = ItemKind::of(item);
        let who = kind.who(author(role));
        if !item.is_object() {
            self.walk.value(item, who, at);
        }
        for (key, value) in item.members() {
            match (kind, key.as_str().unwrap_or_default()) {
                (ItemKind::Message | ItemKind::Reasoning, "content" | "summary") => {
                    self.content(value, who, (self.paths.content, index));
                }
                (ItemKind::Result, "output") => {
                    self.content(value, who, (self.paths.result, index));
                }
                // What the provider's own tools found comes with their call.
                (ItemKind::Call, "output" | "error") if value.as_str().is_some() => {
                    self.walk.value(value, RESULT, place(self.paths.result, index));
                }
                (ItemKind::Call, "output" | "outputs" | "results" | "error") => {
                    self.walk.value(value, RESULT, at);
                }
                (ItemKind::Call, "arguments") => {
                    self.walk.arguments(value, who, place(self.paths.arguments, index));
                }
                (ItemKind::Call, "result") if is_base64(value) || is_binary(value) => {
                    self.walk.leave_out(value);
                }
                _ => self.walk.member(key, value, who, at),
            }
        }
    }

    /// Reads a text, a list of parts whose texts are read on from each other, or one part, such as
    /// a screenshot.
    fn content(&mut self, content: Value<'_>, who: Who, (path, index): (&'static str, usize)) {
        if content.is_object() {
            self.part(content, who, (index, 0), None);
            return;
        }
        if !content.is_array() {
            self.walk.value(content, who, place(path, index));
            return;
        }
        let mut earlier = None;
        for (order, part) in content.items().enumerate() {
            let at = place2(self.paths.part, index, order);
            if !part.is_object() {
                self.walk.value(part, who, at);
            }
            earlier = self.part(part, who, (index, order), earlier);
        }
    }

    fn part(
        &mut self,
        part: Value<'_>,
        who: Who,
        (index, order): (usize, usize),
        mut earlier: Option<usize>,
    ) -> Option<usize> {
        let at = place2(self.paths.part, index, order);
        for (key, value) in part.members() {
            match key.as_str().unwrap_or_default() {
                "text" => {
                    let at = place2(self.paths.text, index, order);
                    earlier = self.walk.part_text(value, earlier, (who, at));
                }
                "refusal" => self.walk.value(value, who.on(Channel::Refusal), at),
                "annotations" => self.walk.value(value, DOCUMENT, at),
                "image_url" => self.walk.image(value, who, at),
                "input_audio" => self.walk.media(value, who, at),
                "file_data" if is_binary(value) || is_base64(value) => self.walk.leave_out(value),
                "file_id" | "file_url" if value.as_str().is_some() => {
                    self.walk.leave_out_elsewhere();
                    self.member(key, value, (DOCUMENT, at));
                }
                "file_data" | "file_url" | "filename" => self.walk.value(value, DOCUMENT, at),
                "logprobs" => {}
                _ => self.member(key, value, (who, at)),
            }
        }
        earlier
    }

    fn member(&mut self, key: Value<'_>, value: Value<'_>, (who, at): (Who, Place)) {
        if is_binary(value) {
            self.walk.leave_out(value);
        } else {
            self.walk.member(key, value, who, at);
        }
    }
}
