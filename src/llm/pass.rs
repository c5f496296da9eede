//! One pass over one chunk of a stream: finds every text in it and has it masked.
//!
//! Pieces of runs are gathered, since a run may end with the chunk and what was held back of it
//! then joins its last piece. Any other string is masked by itself at once.

use crate::base::json::{Kind, Value};
use crate::base::mask::StreamMask;
use crate::base::numbers::to_u32;
use crate::base::splice::Splices;
use crate::base::text::Channel;
use crate::llm::alone::Alone;
use crate::llm::run::{Field, Runs};
use crate::llm::stream::StreamFault;
use crate::llm::walk::is_reference;
use std::fmt;
use std::ops::Range;

/// What is gathered while one chunk is read.
pub struct Pass<'j, 'm> {
    /// What masks.
    pub mask: &'m mut dyn StreamMask,
    /// The choices and runs of the stream so far.
    pub runs: &'m mut Runs,
    /// The edits of the chunk, but for the pieces.
    pub splices: Splices,
    /// The pieces of runs, in document order.
    pub pieces: Vec<Piece<'j>>,
    /// Choices that end with this chunk.
    pub ended: Vec<u32>,
    /// Whether every run ends with this chunk.
    pub ends_all: bool,
}

/// A piece of a run in the chunk, and what is released in its place.
#[derive(Debug)]
pub struct Piece<'j> {
    /// Of which choice.
    pub choice: u32,
    /// Where in it.
    pub field: Field,
    /// As it came.
    pub text: &'j str,
    /// Its raw span, without quotes.
    pub at: Range<usize>,
    /// What may go out so far.
    pub released: String,
}

impl fmt::Debug for Pass<'_, '_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Pass").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl<'j, 'm> Pass<'j, 'm> {
    /// Begins.
    pub fn new(mask: &'m mut dyn StreamMask, runs: &'m mut Runs) -> Self {
        Self {
            mask,
            runs,
            splices: Splices::default(),
            pieces: Vec::new(),
            ended: Vec::new(),
            ends_all: false,
        }
    }

    /// Reads one choice, the `position`th of its chunk.
    pub fn choice(&mut self, choice: Value<'j>, position: usize) -> Result<(), StreamFault> {
        if !choice.is_object() {
            return Err(StreamFault::Shape("a choice must be an object"));
        }
        let index = number(choice, position)?;
        self.runs.see(index)?;
        for (key, value) in choice.members() {
            match key.as_str().unwrap_or_default() {
                "delta" => self.delta(value, index)?,
                "text" => self.piece(value, Field::Text, index)?,
                // Some providers write an empty reason while there is none.
                "finish_reason" if value.is_null() || value.as_str() == Some("") => {}
                "finish_reason" => self.ended.push(index),
                "index" | "logprobs" | "content_filter_results" | "content_filter_offsets" => {}
                _ => self.alone(value, Channel::Assistant, index)?,
            }
        }
        Ok(())
    }

    /// Masks every string in a value, each by itself.
    pub fn alone(
        &mut self,
        value: Value<'_>,
        channel: Channel,
        choice: u32,
    ) -> Result<(), StreamFault> {
        let path = "choices[#]";
        let mut alone = Alone { mask: self.mask, splices: &mut self.splices, choice, path };
        Ok(alone.value(value, channel)?)
    }

    /// A member of an object whose meaning is not known.
    fn member(
        &mut self,
        key: Value<'_>,
        value: Value<'_>,
        channel: Channel,
        choice: u32,
    ) -> Result<(), StreamFault> {
        if is_reference(key, value) { Ok(()) } else { self.alone(value, channel, choice) }
    }

    fn delta(&mut self, delta: Value<'j>, choice: u32) -> Result<(), StreamFault> {
        if !delta.is_object() {
            return self.alone(delta, Channel::Assistant, choice);
        }
        for (key, value) in delta.members() {
            match key.as_str().unwrap_or_default() {
                "content" if value.is_array() => self.parts(value, choice)?,
                "content" => self.piece(value, Field::Content, choice)?,
                "refusal" => self.piece(value, Field::Refusal, choice)?,
                "reasoning" => self.piece(value, Field::Reasoning, choice)?,
                "reasoning_content" => self.piece(value, Field::ReasoningContent, choice)?,
                "reasoning_details" if value.is_array() => self.details(value, choice)?,
                "tool_calls" if value.is_array() => self.tool_calls(value, choice)?,
                "function_call" => self.call(value, Field::FunctionCall, choice)?,
                "audio" => self.audio(value, choice)?,
                _ => self.member(key, value, Channel::Assistant, choice)?,
            }
        }
        Ok(())
    }

    /// Content as a list of parts, as reasoning models of some providers stream it.
    fn parts(&mut self, parts: Value<'j>, choice: u32) -> Result<(), StreamFault> {
        for part in parts.items() {
            if !part.is_object() {
                self.alone(part, Channel::Assistant, choice)?;
            }
            for (key, value) in part.members() {
                match key.as_str() {
                    Some("text") => self.piece(value, Field::Content, choice)?,
                    Some("thinking") => self.thinking(value, choice)?,
                    _ => self.member(key, value, Channel::Assistant, choice)?,
                }
            }
        }
        Ok(())
    }

    fn thinking(&mut self, value: Value<'j>, choice: u32) -> Result<(), StreamFault> {
        if !value.is_array() {
            return self.alone(value, Channel::Reasoning, choice);
        }
        for item in value.items() {
            if !item.is_object() {
                self.alone(item, Channel::Reasoning, choice)?;
            }
            for (key, value) in item.members() {
                match key.as_str() {
                    Some("text") => self.piece(value, Field::Thinking, choice)?,
                    _ => self.member(key, value, Channel::Reasoning, choice)?,
                }
            }
        }
        Ok(())
    }

    fn details(&mut self, details: Value<'j>, choice: u32) -> Result<(), StreamFault> {
        for (position, detail) in details.items().enumerate() {
            self.detail(detail, position, choice)?;
        }
        Ok(())
    }

    fn detail(
        &mut self,
        detail: Value<'j>,
        position: usize,
        choice: u32,
    ) -> Result<(), StreamFault> {
        if !detail.is_object() {
            return self.alone(detail, Channel::Reasoning, choice);
        }
        let index = number(detail, position)?;
        for (key, value) in detail.members() {
            match key.as_str().unwrap_or_default() {
                "text" => self.piece(value, Field::Detail(index), choice)?,
                "summary" => self.piece(value, Field::Summary(index), choice)?,
                // Encrypted or signed: a change would make it worthless, and it is no text.
                "data" | "signature" | "format" => {}
                _ => self.member(key, value, Channel::Reasoning, choice)?,
            }
        }
        Ok(())
    }

    fn tool_calls(&mut self, calls: Value<'j>, choice: u32) -> Result<(), StreamFault> {
        for (position, call) in calls.items().enumerate() {
            self.tool_call(call, position, choice)?;
        }
        Ok(())
    }

    fn tool_call(
        &mut self,
        call: Value<'j>,
        position: usize,
        choice: u32,
    ) -> Result<(), StreamFault> {
        if !call.is_object() {
            return self.alone(call, Channel::ToolArguments, choice);
        }
        let index = number(call, position)?;
        for (key, value) in call.members() {
            match key.as_str().unwrap_or_default() {
                "function" => self.call(value, Field::Tool(index), choice)?,
                "custom" => self.call(value, Field::Custom(index), choice)?,
                _ => self.member(key, value, Channel::ToolArguments, choice)?,
            }
        }
        Ok(())
    }

    fn call(&mut self, call: Value<'j>, field: Field, choice: u32) -> Result<(), StreamFault> {
        if !call.is_object() {
            return self.alone(call, Channel::ToolArguments, choice);
        }
        let run = if matches!(field, Field::Custom(_)) { "input" } else { "arguments" };
        for (key, value) in call.members() {
            if key.as_str() == Some(run) {
                self.piece(value, field, choice)?;
            } else {
                self.member(key, value, Channel::ToolArguments, choice)?;
            }
        }
        Ok(())
    }

    fn audio(&mut self, audio: Value<'j>, choice: u32) -> Result<(), StreamFault> {
        if !audio.is_object() {
            return self.alone(audio, Channel::Assistant, choice);
        }
        for (key, value) in audio.members() {
            match key.as_str().unwrap_or_default() {
                "transcript" => self.piece(value, Field::Transcript, choice)?,
                // Samples: no text, and too many bytes to look at.
                "data" => {}
                _ => self.member(key, value, Channel::Assistant, choice)?,
            }
        }
        Ok(())
    }

    /// Takes the next piece of a run; what is no string is masked by itself.
    fn piece(&mut self, value: Value<'j>, field: Field, choice: u32) -> Result<(), StreamFault> {
        let Some(text) = value.as_str() else {
            return self.alone(value, field.key(choice).channel, choice);
        };
        if text.is_empty() {
            return Ok(());
        }
        let run = self.runs.open(field, choice)?;
        let mut released = String::with_capacity(text.len());
        self.mask.push(field.key(choice), text, &mut released)?;
        if field.is_json() && run.balance.take(text) {
            run.close(self.mask, &mut released)?;
        }
        self.pieces.push(Piece { choice, field, text, at: value.inner(), released });
        Ok(())
    }
}

/// The `index` of a choice or tool call; its position where the provider gives none.
fn number(value: Value<'_>, position: usize) -> Result<u32, StreamFault> {
    match value.member("index").map(Value::kind) {
        None | Some(Kind::Null) => Ok(to_u32(position)),
        Some(Kind::Unsigned(index)) => u32::try_from(index)
            .ok()
            .filter(|index| *index < u32::MAX)
            .ok_or(StreamFault::Shape("an index is too large")),
        Some(_) => Err(StreamFault::Shape("an index must be a whole number")),
    }
}
