//! What a model dialect asks of the guard while an answer streams, without knowing the guard.

use crate::base::text::Channel;
use std::sync::Arc;

/// One run of text within a stream: each is masked on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamKey {
    /// Whose text.
    pub channel: Channel,
    /// Of which answer, where several were asked for.
    pub choice: u32,
    /// Of which tool call, for arguments; else it tells runs of one channel apart.
    pub tool: Option<u32>,
    /// Whether the text is itself JSON, which a mask must leave valid.
    pub json: bool,
    /// Its place in the answer, for records, with `#` where choice and tool belong.
    pub path: &'static str,
}

/// The guard blocks the stream: nothing more of it may pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// The rule that said so.
    pub rule: Arc<str>,
}

/// Masks runs of text that arrive in pieces, holding back what could still become a match.
pub trait StreamMask {
    /// Takes the next piece and appends what may be released to `out`.
    fn push(&mut self, key: StreamKey, text: &str, out: &mut String) -> Result<(), Stopped>;
    /// The run has ended: appends what was still held back.
    fn finish(&mut self, key: StreamKey, out: &mut String) -> Result<(), Stopped>;
}
