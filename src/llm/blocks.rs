//! The walk through Anthropic's content: a text, or a list of blocks, that finds every text in it.
//!
//! Requests and answers hold the same blocks. What is not known is read as text all the same.

use crate::base::json::Value;
use crate::base::text::{Channel, Place, Trust};
use crate::llm::walk::{Walk, Who, is_base64, is_binary, place, place2};

/// What was fetched from somewhere.
const DOCUMENT: Who = Who { channel: Channel::Document, trust: Trust::Retrieved };
/// What a tool answered, ours or one that the provider runs.
const RESULT: Who = Who { channel: Channel::ToolResult, trust: Trust::Retrieved };

/// The paths that the places of a content's texts have; `#` where an index belongs.
#[derive(Debug)]
pub struct Paths {
    block: &'static str,
    content: &'static str,
    inner: &'static str,
    input: &'static str,
    text: &'static str,
    thinking: &'static str,
}

/// The paths of a request's messages.
pub static MESSAGE: Paths = Paths {
    block: "messages[#].content[#]",
    content: "messages[#].content",
    inner: "messages[#].content[#].content",
    input: "messages[#].content[#].input",
    text: "messages[#].content[#].text",
    thinking: "messages[#].content[#].thinking",
};

/// The paths of the instructions.
pub static SYSTEM: Paths = Paths {
    block: "system[#]",
    content: "system",
    inner: "system[#].content",
    input: "system[#].input",
    text: "system[#].text",
    thinking: "system[#].thinking",
};

/// The paths of an answer.
pub static ANSWER: Paths = Paths {
    block: "content[#]",
    content: "content",
    inner: "content[#].content",
    input: "content[#].input",
    text: "content[#].text",
    thinking: "content[#].thinking",
};

/// One content and where it stands.
#[derive(Debug)]
pub struct Blocks<'w> {
    /// What gathers the texts.
    pub walk: &'w mut Walk,
    /// How places are called.
    pub paths: &'static Paths,
    /// Of which message, where there are several.
    pub message: Option<usize>,
}

impl Blocks<'_> {
    /// Reads a content: a text, or a list of blocks.
    pub fn content(&mut self, content: Value<'_>, who: Who) {
        if content.is_array() {
            self.list(content, who, None);
        } else {
            let at = place(self.paths.content, self.message.unwrap_or_default());
            self.walk.value(content, who, at);
        }
    }

    /// Reads a list of blocks, whose texts are read on from each other. Those within a block have
    /// its place.
    fn list(&mut self, list: Value<'_>, who: Who, outer: Option<usize>) {
        let mut earlier = None;
        for (index, block) in list.items().enumerate() {
            let order = outer.unwrap_or(index);
            if block.member("type").and_then(Value::as_str) == Some("text") {
                earlier = self.text(block, who, order, earlier);
            } else {
                self.block(block, who, order);
            }
        }
    }

    fn at(&self, path: &'static str, order: usize) -> Place {
        match self.message {
            Some(message) => place2(path, message, order),
            None => place(path, order),
        }
    }

    fn text(
        &mut self,
        block: Value<'_>,
        who: Who,
        order: usize,
        mut earlier: Option<usize>,
    ) -> Option<usize> {
        let at = self.at(self.paths.block, order);
        for (key, value) in block.members() {
            match key.as_str().unwrap_or_default() {
                "text" => {
                    let at = self.at(self.paths.text, order);
                    earlier = self.walk.part_text(value, earlier, (who, at));
                }
                "citations" => self.walk.value(value, DOCUMENT, at),
                _ => self.walk.member(key, value, who, at),
            }
        }
        earlier
    }

    fn block(&mut self, block: Value<'_>, who: Who, order: usize) {
        let at = self.at(self.paths.block, order);
        if !block.is_object() {
            self.walk.value(block, who, at);
        }
        let kind = block.member("type").and_then(Value::as_str).unwrap_or_default();
        for (key, value) in block.members() {
            let name = key.as_str().unwrap_or_default();
            match (kind, name) {
                ("thinking", "thinking") => {
                    let at = self.at(self.paths.thinking, order);
                    self.walk.value(value, who.on(Channel::Reasoning), at);
                }
                ("redacted_thinking", "data") if is_base64(value) => self.walk.leave_out(value),
                ("thinking" | "redacted_thinking", _) => {
                    self.walk.member(key, value, who.on(Channel::Reasoning), at);
                }
                ("image", "source") => self.source(value, who, order),
                ("document", "source") => self.source(value, DOCUMENT, order),
                ("document" | "search_result", "content") if value.is_array() => {
                    self.list(value, DOCUMENT, Some(order));
                }
                ("document" | "search_result", _) => self.walk.member(key, value, DOCUMENT, at),
                (kind, "content") if kind.ends_with("tool_result") && value.is_array() => {
                    self.list(value, RESULT, Some(order));
                }
                (kind, "content") if kind.ends_with("tool_result") && value.as_str().is_some() => {
                    self.walk.value(value, RESULT, self.at(self.paths.inner, order));
                }
                (kind, _) if kind.ends_with("tool_result") => {
                    self.walk.member(key, value, RESULT, at);
                }
                (kind, "input") if kind.ends_with("tool_use") => {
                    let at = self.at(self.paths.input, order);
                    self.walk.value(value, who.on(Channel::ToolArguments), at);
                }
                (kind, _) if kind.ends_with("tool_use") => {
                    self.walk.member(key, value, who.on(Channel::ToolArguments), at);
                }
                _ => self.walk.member(key, value, who, at),
            }
        }
    }

    /// Where an image or document comes from: a link, which can carry a secret out, or itself.
    fn source(&mut self, source: Value<'_>, who: Who, order: usize) {
        let at = self.at(self.paths.block, order);
        if !source.is_object() {
            self.walk.value(source, who, at);
        }
        let said = |name| source.member(name).and_then(Value::as_str).unwrap_or_default();
        let (kind, is_text) = (said("type"), said("media_type").starts_with("text/"));
        for (key, value) in source.members() {
            match key.as_str().unwrap_or_default() {
                "data" if !is_text && is_base64(value) => self.walk.leave_out(value),
                "data" if kind == "text" => {
                    self.walk.value(value, who, self.at(self.paths.text, order));
                }
                "url" if is_binary(value) => self.walk.leave_out(value),
                "url" | "file_id" => {
                    self.walk.leave_out_elsewhere();
                    self.walk.member(key, value, who, at);
                }
                "content" if value.is_array() => self.list(value, who, Some(order)),
                "content" => self.walk.value(value, who, self.at(self.paths.inner, order)),
                name => {
                    if name == "data" && !is_text {
                        // Too short to be known as no text, so it is read, and counted.
                        self.walk.leave_out(value);
                    }
                    self.walk.member(key, value, who, at);
                }
            }
        }
    }
}
