//! What masks say, and how they are written into a body: from a span of decoded text to a splice
//! over its raw form.
//!
//! A placeholder needs no escape; only where it takes the place of a number does it bring quotes.

use crate::base::json::RawOffsets;
use crate::base::splice::Splices;
use crate::base::text::{Form, Segment, Text};
use crate::guard::profile::View;
use crate::guard::rules::Rules;
use std::borrow::Cow;
use std::ops::Range;

/// A value that was found and is to be masked.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    /// The rule that found it.
    pub rule: u16,
    /// The value, as it was found.
    pub text: &'a str,
}

/// What is written where the value stands. The one place that decides so.
pub fn written<'a>(rules: &'a Rules, _view: View, value: Value<'_>) -> Cow<'a, str> {
    Cow::Borrowed(rules.placeholder(value.rule))
}

/// Writes the masks of one segment, in ascending order.
#[derive(Debug)]
pub struct Masks<'a> {
    segment: &'a Segment,
    /// Only where raw and decoded offsets differ.
    offsets: Option<RawOffsets<'a>>,
    is_number_done: bool,
}

impl<'a> Masks<'a> {
    /// Begins with a segment of the body `raw`.
    pub fn new(segment: &'a Segment, raw: &'a [u8]) -> Self {
        let inner = raw.get(segment.source.raw.clone()).unwrap_or_default();
        let offsets = match segment.source.form {
            Form::EscapedString | Form::EscapedJson => Some(RawOffsets::new(inner)),
            Form::Number | Form::PlainString | Form::PlainJson => None,
        };
        Self { segment, offsets, is_number_done: false }
    }

    /// The decoded text of a span, counted from the segment's beginning.
    pub fn value<'t>(&self, text: &'t Text, span: &Range<usize>) -> &'t str {
        let start = self.segment.at.start;
        text.joined().get(start + span.start..start + span.end).unwrap_or_default()
    }

    /// Puts `placeholder` over `span`, counted from the segment's beginning. `bare` says that it
    /// takes the place of a bare word of a JSON text and needs quotes.
    pub fn write(
        &mut self,
        span: &Range<usize>,
        placeholder: &str,
        bare: bool,
        splices: &mut Splices,
    ) {
        let raw = &self.segment.source.raw;
        if self.segment.source.form == Form::Number {
            // Part of a number cannot be a string: all of it goes.
            if !std::mem::replace(&mut self.is_number_done, true) {
                splices.replace(raw.clone(), format!("\"{placeholder}\""));
            }
            return;
        }
        let (start, end) = match &mut self.offsets {
            Some(offsets) => (offsets.of(span.start), offsets.of(span.end)),
            None => (span.start, span.end),
        };
        let with = if bare { format!("\\\"{placeholder}\\\"") } else { placeholder.to_owned() };
        splices.replace(raw.start + start..raw.start + end, with);
    }
}
