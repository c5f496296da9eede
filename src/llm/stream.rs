//! A streamed answer, event by event: masks its texts and leaves every other byte as it came.
//!
//! Text that the mask holds back comes out with a later piece of the same run, or, when the run
//! ends, in a chunk of Ringwall's own before the event that ends it. Text of the fields that
//! clients join is masked as one run; any other string is masked by itself.

use crate::base::json::{JsonError, Reader, Value};
use crate::base::mask::{Stopped, StreamMask};
use crate::base::text::Channel;
use crate::base::usage::Usage;
use crate::llm::answer::{hide_logprobs_of, usage};
use crate::llm::pass::{Pass, Piece, escaped};
use crate::llm::run::{CHOICES_MAX, Field, RUNS_MAX, Run, Runs, frame, write_event};
use std::fmt;

/// The state of one streamed answer.
#[derive(Debug)]
pub struct ChatStream {
    usage_asker: Asker,
    logprobs: Logprobs,
    done: bool,
    usage: Option<Usage>,
    /// What a chunk of our own begins with; empty until a chunk with a choice was seen.
    frame: Vec<u8>,
    runs: Runs,
}

/// Who asked the provider to count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asker {
    Caller,
    Gateway,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Logprobs {
    Hide,
    Keep,
}

/// Whether the answer goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// More events are to come.
    Continue,
    /// `[DONE]` went out; what comes after it is no part of the answer.
    Done,
}

/// Why a stream cannot be passed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamFault {
    /// A choice goes on after its finish reason: what was released could join with it.
    AfterEnd,
    /// The guard blocks it.
    Blocked(Stopped),
    /// An event's data is not JSON.
    Json(JsonError),
    /// An event is JSON, but no chunk; the text says what is wrong.
    Shape(&'static str),
    /// More than [`CHOICES_MAX`] choices.
    TooManyChoices,
    /// More than [`RUNS_MAX`] runs of text.
    TooManyRuns,
}

impl fmt::Display for StreamFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AfterEnd => out.write_str("a choice goes on after its finish reason"),
            Self::Blocked(stopped) => write!(out, "blocked by rule `{}`", stopped.rule),
            Self::Json(error) => write!(out, "not JSON at byte {}: {:?}", error.at, error.fault),
            Self::Shape(what) => out.write_str(what),
            Self::TooManyChoices => write!(out, "more than {CHOICES_MAX} choices"),
            Self::TooManyRuns => write!(out, "more than {RUNS_MAX} runs of text"),
        }
    }
}

impl std::error::Error for StreamFault {}

impl From<Stopped> for StreamFault {
    fn from(stopped: Stopped) -> Self {
        Self::Blocked(stopped)
    }
}

impl ChatStream {
    /// Begins a stream. `include_usage_wanted` says whether the caller itself asked for usage; if
    /// not, the count that `ChatRequest::rewrite` asked for stays with the gateway.
    pub fn new(include_usage_wanted: bool) -> Self {
        Self {
            usage_asker: if include_usage_wanted { Asker::Caller } else { Asker::Gateway },
            logprobs: Logprobs::Hide,
            done: false,
            usage: None,
            frame: Vec::new(),
            runs: Runs::default(),
        }
    }

    /// Lets `logprobs` pass, which repeats the text unmasked: only where no guard masks.
    pub fn keep_logprobs(&mut self) {
        self.logprobs = Logprobs::Keep;
    }

    /// The provider's count, once it has sent it.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }

    /// Takes the data of one event and writes whole events to `out`: those that it releases, and
    /// itself. On a fault nothing is written, but for `[DONE]`, before which each run ends alone.
    pub fn event(
        &mut self,
        data: &str,
        reader: &mut Reader,
        mask: &mut dyn StreamMask,
        out: &mut Vec<u8>,
    ) -> Result<Flow, StreamFault> {
        if self.done {
            return Ok(Flow::Done);
        }
        if data.trim_ascii() == "[DONE]" {
            self.finish(mask, out)?;
            out.extend_from_slice(b"data: [DONE]\n\n");
            self.done = true;
            return Ok(Flow::Done);
        }
        let json = reader.read(data.as_bytes()).map_err(StreamFault::Json)?;
        let root = json.root();
        if !root.is_object() {
            return Err(StreamFault::Shape("a chunk must be an object"));
        }
        if let Some(counted) = root.member("usage").and_then(usage) {
            self.usage = Some(counted);
            if self.usage_asker == Asker::Gateway && is_count_only(root) {
                return Ok(Flow::Continue);
            }
        }
        let mut pass = Pass::new(mask, &mut self.runs);
        read_chunk(root, self.usage_asker, self.logprobs, &mut pass)?;
        if self.frame.is_empty() && !pass.runs.choices.is_empty() {
            self.frame = frame(root, data);
        }
        let before = end_runs(&mut pass, &self.frame)?;
        pass.runs.finish(&pass.ended);
        out.extend_from_slice(&before);
        write_chunk(data, pass, out);
        Ok(Flow::Continue)
    }

    /// The upstream has ended without `[DONE]`: writes what was still held back.
    pub fn finish(
        &mut self,
        mask: &mut dyn StreamMask,
        out: &mut Vec<u8>,
    ) -> Result<(), StreamFault> {
        for run in self.runs.all.iter_mut().filter(|run| run.open) {
            end_run(run, mask, &self.frame, out)?;
        }
        Ok(())
    }

    /// Ends the stream from our side in a form that clients take for an end: every choice that
    /// has not finished gets one chunk with `message` (and `code`) as its refusal and the finish
    /// reason `content_filter`, then `[DONE]`. Text that is held back is dropped.
    ///
    /// No `error` event: official clients raise it as an exception and lose the text that they
    /// had been given, whereas a refusal and a finish reason are part of every answer's shape.
    pub fn cut(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        if self.done {
            return;
        }
        self.done = true;
        let text = format!("{message} ({code})");
        if self.runs.choices.is_empty() {
            write_event(&self.frame, 0, Field::Refusal, &text, FILTERED, out);
        }
        for choice in self.runs.choices.iter_mut().filter(|choice| !choice.finished) {
            choice.finished = true;
            write_event(&self.frame, choice.index, Field::Refusal, &text, FILTERED, out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }
}

/// The finish reason of a choice that a guard or a budget has ended.
const FILTERED: &str = "\"content_filter\"";

/// Whether a chunk carries nothing but the count: no choice, as the dialect has it.
fn is_count_only(root: Value<'_>) -> bool {
    root.member("choices").is_some_and(|list| list.is_array() && list.items().next().is_none())
}

fn read_chunk<'j>(
    root: Value<'j>,
    usage_asker: Asker,
    logprobs: Logprobs,
    pass: &mut Pass<'j, '_>,
) -> Result<(), StreamFault> {
    let mut before = None;
    let mut members = root.members().peekable();
    while let Some((key, value)) = members.next() {
        match key.as_str().unwrap_or_default() {
            "choices" if value.is_array() => {
                for (position, choice) in value.items().enumerate() {
                    pass.choice(choice, position)?;
                }
                if logprobs == Logprobs::Hide {
                    value.items().for_each(|one| hide_logprobs_of(one, &mut pass.splices));
                }
            }
            "usage" if value.is_null() && usage_asker == Asker::Gateway => {
                // The member goes with one comma: the one after it, or else the one before.
                let start = key.span().start;
                let span = match (members.peek(), before) {
                    (Some((next, _)), _) => start..next.span().start,
                    (None, Some(end)) => end..value.span().end,
                    (None, None) => start..value.span().end,
                };
                pass.splices.replace(span, Vec::new());
            }
            "id"
            | "object"
            | "created"
            | "model"
            | "system_fingerprint"
            | "service_tier"
            | "usage"
            | "obfuscation"
            | "prompt_filter_results" => {}
            "error" if !value.is_null() => {
                pass.ends_all = true;
                pass.alone(value, Channel::Assistant, 0)?;
            }
            _ => pass.alone(value, Channel::Assistant, 0)?,
        }
        before = Some(value.span().end);
    }
    Ok(())
}

/// Ends the runs that end with the chunk. What was held back joins the run's last piece in it;
/// without one it becomes an event that must stand before the chunk.
fn end_runs(pass: &mut Pass<'_, '_>, frame: &[u8]) -> Result<Vec<u8>, StreamFault> {
    let mut before = Vec::new();
    if pass.ended.is_empty() && !pass.ends_all {
        return Ok(before);
    }
    for run in pass.runs.all.iter_mut().filter(|run| run.open) {
        if !pass.ends_all && !pass.ended.contains(&run.choice) {
            continue;
        }
        let is_same =
            |piece: &&mut Piece<'_>| piece.choice == run.choice && piece.field == run.field;
        match pass.pieces.iter_mut().rev().find(is_same) {
            Some(piece) => run.close(pass.mask, &mut piece.released)?,
            None => end_run(run, pass.mask, frame, &mut before)?,
        }
    }
    Ok(before)
}

fn end_run(
    run: &mut Run,
    mask: &mut dyn StreamMask,
    frame: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), StreamFault> {
    let mut text = String::new();
    run.close(mask, &mut text)?;
    if !text.is_empty() {
        write_event(frame, run.choice, run.field, &text, "null", out);
    }
    Ok(())
}

fn write_chunk(data: &str, mut pass: Pass<'_, '_>, out: &mut Vec<u8>) {
    for piece in pass.pieces {
        if piece.released != piece.text {
            pass.splices.replace(piece.at, escaped(&piece.released));
        }
    }
    if pass.splices.is_empty() {
        write_data(data.as_bytes(), out);
    } else {
        write_data(&pass.splices.apply(data.as_bytes()), out);
    }
}

/// Writes an event. A line break, which can only stand between two tokens of the JSON, begins a
/// data line of its own.
fn write_data(data: &[u8], out: &mut Vec<u8>) {
    out.reserve(data.len() + 8);
    for line in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
}
