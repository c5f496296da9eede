//! Masks strings of a streamed event that no client joins with others, each by itself.

use crate::base::json::{Kind, Value, escape_into};
use crate::base::mask::{Stopped, StreamKey, StreamMask};
use crate::base::splice::Splices;
use crate::base::text::Channel;
use crate::llm::walk::{NUMBER_DIGITS_MIN, is_identifier, is_reference, is_sealed, is_setting};

/// The key of strings that are masked by themselves: no tool has that number.
const ALONE: Option<u32> = Some(u32::MAX);

/// What masks, and where the edits go.
pub struct Alone<'a> {
    /// What masks.
    pub mask: &'a mut dyn StreamMask,
    /// The edits of the event.
    pub splices: &'a mut Splices,
    /// Of which choice, item or block.
    pub choice: u32,
    /// The place, for records.
    pub path: &'static str,
}

impl std::fmt::Debug for Alone<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Alone").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Alone<'_> {
    /// Masks every string and long number in a value.
    pub fn value(&mut self, value: Value<'_>, channel: Channel) -> Result<(), Stopped> {
        match value.kind() {
            Kind::String => self.string(value, channel, false),
            Kind::Unsigned(number) => self.number(number, value, channel),
            Kind::Array | Kind::Object => {
                for item in value.items() {
                    self.value(item, channel)?;
                }
                for (key, value) in value.members() {
                    self.member(key, value, channel)?;
                }
                Ok(())
            }
            Kind::Bool(_) | Kind::Float | Kind::Null => Ok(()),
        }
    }

    /// A member of an object whose meaning is not known.
    pub fn member(
        &mut self,
        key: Value<'_>,
        value: Value<'_>,
        channel: Channel,
    ) -> Result<(), Stopped> {
        if !is_identifier(key.as_str().unwrap_or_default()) {
            self.string(key, channel, false)?;
        }
        if is_reference(key, value) || is_sealed(key, value) || is_setting(key, value) {
            return Ok(());
        }
        self.value(value, channel)
    }

    /// Masks one string. `json`: its text is itself JSON.
    pub fn string(
        &mut self,
        value: Value<'_>,
        channel: Channel,
        json: bool,
    ) -> Result<(), Stopped> {
        let text = value.as_str().unwrap_or_default();
        let released = self.masked(text, channel, json)?;
        if released != text {
            self.splices.replace(value.inner(), escaped(&released));
        }
        Ok(())
    }

    /// A text as it may leave.
    pub fn masked(&mut self, text: &str, channel: Channel, json: bool) -> Result<String, Stopped> {
        let mut released = String::with_capacity(text.len());
        if text.is_empty() {
            return Ok(released);
        }
        let key = StreamKey { channel, choice: self.choice, tool: ALONE, json, path: self.path };
        self.mask.push(key, text, &mut released)?;
        self.mask.finish(key, &mut released)?;
        Ok(released)
    }

    fn number(&mut self, number: u64, value: Value<'_>, channel: Channel) -> Result<(), Stopped> {
        let digits = number.to_string();
        if digits.len() < NUMBER_DIGITS_MIN {
            return Ok(());
        }
        let released = self.masked(&digits, channel, false)?;
        if released != digits {
            let mut quoted = vec![b'"'];
            escape_into(&released, &mut quoted);
            quoted.push(b'"');
            self.splices.replace(value.span(), quoted);
        }
        Ok(())
    }
}

/// Text as it stands between the quotes of a JSON string.
pub fn escaped(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + 8);
    escape_into(text, &mut out);
    out
}
