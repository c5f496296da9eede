//! The text that guards look at: decoded segments of a body, with the way back to its raw bytes.

use crate::base::numbers::to_u64;
use std::fmt;
use std::ops::Range;

/// All segments of one body, decoded and joined by NUL so that one scan sees them all.
#[derive(Debug, Default)]
pub struct Text {
    joined: String,
    segments: Vec<Segment>,
    unseen: Unseen,
}

/// Parts of a body that hold no text: nobody can look into them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unseen {
    /// How many: pictures, sounds, files, encrypted parts.
    pub parts: u64,
    /// How many raw bytes of them the body holds; none where it only refers to one.
    pub bytes: u64,
}

/// One piece of text that somebody said.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Where it stands in the joined text.
    pub at: Range<usize>,
    /// Where it stands in the raw body, and in which form.
    pub source: Source,
    /// Who said it to whom.
    pub channel: Channel,
    /// How far its author is trusted.
    pub trust: Trust,
    /// Its place in the body, for records.
    pub place: Place,
    /// The segment that it is read on from, as one text.
    pub follows: Option<usize>,
}

/// Where a segment came from in the raw body.
#[derive(Clone, Debug)]
pub struct Source {
    /// Raw span of the text, without quotes.
    pub raw: Range<usize>,
    /// How a replacement must be written there.
    pub form: Form,
}

/// How text is written in the body, which says how a mask must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A bare JSON number: its replacement brings its own quotes.
    Number,
    /// The content of a JSON string without escapes: offsets are the same.
    PlainString,
    /// The content of a JSON string with escapes: offsets must be mapped.
    EscapedString,
    /// As `PlainString`, and the decoded text is itself JSON (arguments of a tool call): a mask
    /// that replaces a bare number in it brings quotes, written for the outer string.
    PlainJson,
    /// As `EscapedString`, and the decoded text is itself JSON.
    EscapedJson,
}

/// Who speaks, and in which part of the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Channel {
    /// What the model said.
    Assistant,
    /// A document or resource.
    Document,
    /// What the model thought.
    Reasoning,
    /// Why the model would not.
    Refusal,
    /// System or developer instructions.
    System,
    /// What a tool is called with.
    ToolArguments,
    /// A tool's name, description and schema.
    ToolDefinition,
    /// What a tool answered.
    ToolResult,
    /// What the user said.
    User,
}

impl Channel {
    /// All channels, in the order of their indexes.
    pub const ALL: [Self; 9] = [
        Self::Assistant,
        Self::Document,
        Self::Reasoning,
        Self::Refusal,
        Self::System,
        Self::ToolArguments,
        Self::ToolDefinition,
        Self::ToolResult,
        Self::User,
    ];

    /// The name in records, metrics and configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Assistant => "assistant",
            Self::Document => "document",
            Self::Reasoning => "reasoning",
            Self::Refusal => "refusal",
            Self::System => "system",
            Self::ToolArguments => "tool_arguments",
            Self::ToolDefinition => "tool_definition",
            Self::ToolResult => "tool_result",
            Self::User => "user",
        }
    }
}

/// How far the author of a text is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// The authenticated caller wrote it.
    Caller,
    /// It was fetched from somewhere: a tool result or document inside a prompt.
    Retrieved,
    /// An upstream answered it.
    Upstream,
}

/// A place in a body, such as `messages[3].content[0].text`, without an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The path with `#` where an index belongs.
    pub path: &'static str,
    /// The indexes, in order.
    pub indexes: [u16; 2],
}

impl fmt::Display for Place {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut indexes = self.indexes.iter();
        for (order, part) in self.path.split('#').enumerate() {
            if order > 0 {
                write!(out, "{}", indexes.next().copied().unwrap_or(0))?;
            }
            out.write_str(part)?;
        }
        Ok(())
    }
}

impl Text {
    /// Between segments; no rule's match crosses it.
    pub const SEPARATOR: char = '\0';

    /// Adds a segment; an empty one is left out.
    pub fn push(
        &mut self,
        decoded: &str,
        source: Source,
        channel: Channel,
        trust: Trust,
        place: Place,
    ) {
        if decoded.is_empty() {
            return;
        }
        if !self.segments.is_empty() {
            self.joined.push(Self::SEPARATOR);
        }
        let start = self.joined.len();
        self.joined.push_str(decoded);
        let at = start..self.joined.len();
        self.segments.push(Segment { at, source, channel, trust, place, follows: None });
    }

    /// A part of the body that holds no text has so many bytes in it.
    pub fn leave_out(&mut self, bytes: usize) {
        self.unseen.parts += 1;
        self.unseen.bytes += to_u64(bytes);
    }

    /// What was left out.
    pub const fn unseen(&self) -> Unseen {
        self.unseen
    }

    /// Says that the last segment is read on from this earlier one.
    pub fn last_follows(&mut self, earlier: usize) {
        let is_earlier = earlier + 1 < self.segments.len();
        if let Some(last) = self.segments.last_mut().filter(|_| is_earlier) {
            last.follows = Some(earlier);
        }
    }

    /// These segments alone, as a text of their own; what they are read on from must be among them.
    #[must_use]
    pub fn part(&self, range: Range<usize>) -> Self {
        let segments = self.segments.get(range.clone()).unwrap_or_default();
        let from = segments.first().map_or(0, |segment| segment.at.start);
        let to = segments.last().map_or(from, |segment| segment.at.end);
        let joined = self.joined.get(from..to).unwrap_or_default().to_owned();
        let moved = |segment: &Segment| Segment {
            at: segment.at.start - from..segment.at.end - from,
            follows: segment.follows.and_then(|earlier| earlier.checked_sub(range.start)),
            ..segment.clone()
        };
        let segments = segments.iter().map(moved).collect();
        Self { joined, segments, unseen: Unseen::default() }
    }

    /// All text, decoded.
    pub fn joined(&self) -> &str {
        &self.joined
    }

    /// The segments in order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The segment that holds a span of the joined text whole, and its index.
    pub fn segment_of(&self, span: &Range<usize>) -> Option<(usize, &Segment)> {
        let after = self.segments.partition_point(|segment| segment.at.start <= span.start);
        let index = after.checked_sub(1)?;
        let segment = self.segments.get(index)?;
        (span.end <= segment.at.end).then_some((index, segment))
    }
}

#[cfg(test)]
mod tests {
    use super::{Channel, Form, Place, Source, Text, Trust};

    #[test]
    fn a_span_belongs_to_one_segment_or_to_none() {
        let mut text = Text::default();
        let place = Place { path: "messages[#].content[#].text", indexes: [3, 1] };
        for word in ["one", "", "three"] {
            let source = Source { raw: 0..0, form: Form::PlainString };
            text.push(word, source, Channel::User, Trust::Caller, place);
        }
        assert_eq!(text.joined(), "one\0three");
        assert_eq!(text.segment_of(&(0..3)).map(|(index, _)| index), Some(0));
        assert_eq!(text.segment_of(&(4..9)).map(|(index, _)| index), Some(1));
        assert!(text.segment_of(&(2..5)).is_none());
        assert_eq!(place.to_string(), "messages[3].content[1].text");
        text.last_follows(1);
        assert_eq!(text.segments()[1].follows, None, "nothing follows itself");
        text.last_follows(0);
        assert_eq!(text.segments()[1].follows, Some(0));
    }
}
