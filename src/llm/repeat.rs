//! Texts that a streamed response says again: each is masked once and then always the same.

use crate::base::json::{Kind, Value};
use crate::base::mask::{Stopped, StreamKey, StreamMask};
use crate::base::splice::Splices;
use crate::base::text::Channel;
use crate::llm::alone::{Alone, escaped};
use crate::llm::items::ItemKind;
use crate::llm::responses::{hide_logprobs_of, names_response};
use crate::llm::walk::{is_base64, is_binary, is_identifier, is_reference, is_sealed, is_setting};

/// Texts that are kept; what comes beyond is masked each time.
const KEPT_MAX: usize = 256;
/// Bytes of them.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The texts that were masked so far.
#[derive(Debug, Default)]
pub struct Repeats {
    /// Whether `logprobs` may pass.
    pub keep_logprobs: bool,
    kept: Vec<Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    channel: Channel,
    json: bool,
    raw: String,
    /// What was released in its place; none where that is the same.
    released: Option<String>,
}

/// What masks one event, and where the edits go.
pub struct Turn<'a> {
    /// What masks.
    pub mask: &'a mut dyn StreamMask,
    /// The edits of the event.
    pub splices: &'a mut Splices,
    /// What was masked before.
    pub repeats: &'a mut Repeats,
    /// The item that it is about.
    pub choice: u32,
}

impl std::fmt::Debug for Turn<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Turn").field("choice", &self.choice).finish_non_exhaustive()
    }
}

impl Repeats {
    /// Keeps a text and what was released in its place.
    pub fn note(&mut self, key: StreamKey, raw: String, released: String) {
        self.keep(key.channel, key.json, raw, released);
    }

    fn keep(&mut self, channel: Channel, json: bool, raw: String, released: String) {
        let released = (released != raw).then_some(released);
        let bytes = raw.len() + released.as_ref().map_or(0, String::len);
        if self.kept.len() < KEPT_MAX && self.bytes + bytes <= KEPT_BYTES_MAX {
            self.bytes += bytes;
            self.kept.push(Kept { channel, json, raw, released });
        }
    }

    fn find(&self, text: &str, channel: Channel, json: bool) -> Option<&Kept> {
        self.kept
            .iter()
            .find(|kept| kept.channel == channel && kept.json == json && kept.raw.as_str() == text)
    }
}

impl Turn<'_> {
    /// Masks all texts of an event that holds no piece.
    pub fn event(&mut self, root: Value<'_>) -> Result<(), Stopped> {
        let kind = root.member("type").and_then(Value::as_str).unwrap_or_default();
        for (key, value) in root.members() {
            match key.as_str().unwrap_or_default() {
                "response" => self.response(value)?,
                "item" => self.item(value)?,
                "part" => {
                    let is_summary = kind.starts_with("response.reasoning");
                    let channel = if is_summary { Channel::Reasoning } else { Channel::Assistant };
                    self.part(value, channel)?;
                }
                "arguments" => self.text(value, Channel::ToolArguments, true)?,
                "input" | "code" => self.text(value, Channel::ToolArguments, false)?,
                "refusal" => self.text(value, Channel::Refusal, false)?,
                "text" if kind.starts_with("response.reasoning") => {
                    self.text(value, Channel::Reasoning, false)?;
                }
                "annotation" => self.rest(value, Channel::Document)?,
                "partial_image_b64" if is_base64(value) => {}
                _ => self.member(key, value, Channel::Assistant)?,
            }
        }
        Ok(())
    }

    /// A member of an object whose meaning is not known.
    pub fn member(
        &mut self,
        key: Value<'_>,
        value: Value<'_>,
        channel: Channel,
    ) -> Result<(), Stopped> {
        if key.as_str() == Some("logprobs") {
            self.logprobs(value);
            return Ok(());
        }
        if !is_identifier(key.as_str().unwrap_or_default()) {
            self.alone().string(key, channel, false)?;
        }
        let says_nothing = is_reference(key, value) || is_setting(key, value);
        if says_nothing || is_sealed(key, value) || is_binary(value) {
            return Ok(());
        }
        self.rest(value, channel)
    }

    fn response(&mut self, response: Value<'_>) -> Result<(), Stopped> {
        if !response.is_object() {
            return self.rest(response, Channel::Assistant);
        }
        for (key, value) in response.members() {
            let name = key.as_str().unwrap_or_default();
            match name {
                "output" if value.is_array() => {
                    for item in value.items() {
                        self.item(item)?;
                    }
                }
                "instructions" => self.rest(value, Channel::System)?,
                "tools" | "text" => self.rest(value, Channel::ToolDefinition)?,
                "usage" => {}
                _ if names_response(name) || value.is_number() => {}
                _ => self.member(key, value, Channel::Assistant)?,
            }
        }
        Ok(())
    }

    fn item(&mut self, item: Value<'_>) -> Result<(), Stopped> {
        if !item.is_object() {
            return self.rest(item, Channel::Assistant);
        }
        let kind = ItemKind::of(item);
        let channel = match kind {
            ItemKind::Call => Channel::ToolArguments,
            ItemKind::Definitions => Channel::ToolDefinition,
            ItemKind::Message => Channel::Assistant,
            ItemKind::Reasoning => Channel::Reasoning,
            ItemKind::Result => Channel::ToolResult,
        };
        for (key, value) in item.members() {
            match (kind, key.as_str().unwrap_or_default()) {
                (ItemKind::Message | ItemKind::Reasoning, "content" | "summary")
                    if value.is_array() =>
                {
                    for part in value.items() {
                        self.part(part, channel)?;
                    }
                }
                (ItemKind::Call, "arguments") => self.text(value, channel, true)?,
                (ItemKind::Call, "output" | "outputs" | "results" | "error") => {
                    self.rest(value, Channel::ToolResult)?;
                }
                (ItemKind::Call, "result") if is_base64(value) => {}
                _ => self.member(key, value, channel)?,
            }
        }
        Ok(())
    }

    fn part(&mut self, part: Value<'_>, channel: Channel) -> Result<(), Stopped> {
        if !part.is_object() {
            return self.rest(part, channel);
        }
        for (key, value) in part.members() {
            match key.as_str().unwrap_or_default() {
                "refusal" => self.text(value, Channel::Refusal, false)?,
                "annotations" => self.rest(value, Channel::Document)?,
                _ => self.member(key, value, channel)?,
            }
        }
        Ok(())
    }

    /// Probabilities repeat the text token by token; the dialect wants a list there.
    fn logprobs(&mut self, value: Value<'_>) {
        if !self.repeats.keep_logprobs {
            hide_logprobs_of(value, self.splices);
        }
    }

    /// Masks every text in a value.
    fn rest(&mut self, value: Value<'_>, channel: Channel) -> Result<(), Stopped> {
        match value.kind() {
            Kind::String => self.text(value, channel, false),
            Kind::Array | Kind::Object => {
                for item in value.items() {
                    self.rest(item, channel)?;
                }
                for (key, value) in value.members() {
                    self.member(key, value, channel)?;
                }
                Ok(())
            }
            Kind::Unsigned(_) | Kind::Bool(_) | Kind::Float | Kind::Null => {
                self.alone().value(value, channel)
            }
        }
    }

    fn text(&mut self, value: Value<'_>, channel: Channel, json: bool) -> Result<(), Stopped> {
        let Some(text) = value.as_str() else { return self.rest(value, channel) };
        if text.is_empty() {
            return Ok(());
        }
        if let Some(kept) = self.repeats.find(text, channel, json) {
            if let Some(released) = &kept.released {
                self.splices.replace(value.inner(), escaped(released));
            }
            return Ok(());
        }
        let released = self.alone().masked(text, channel, json)?;
        if released != text {
            self.splices.replace(value.inner(), escaped(&released));
        }
        self.repeats.keep(channel, json, text.to_owned(), released);
        Ok(())
    }

    fn alone(&mut self) -> Alone<'_> {
        let path = "output[#]";
        Alone { mask: self.mask, splices: self.splices, choice: self.choice, path }
    }
}
