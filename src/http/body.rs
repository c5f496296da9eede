//! One decoder for every way a body can end.

use crate::base::numbers::to_u64;
use crate::http::chunked::{ChunkFault, ChunkedDecoder, Progress};
use crate::http::head::BodyLength;

/// Decodes one message's body.
#[derive(Clone, Copy, Debug)]
pub struct BodyDecoder(State);

#[derive(Clone, Copy, Debug)]
enum State {
    /// That many bytes are still to come.
    Exact(u64),
    Chunked(ChunkedDecoder),
    UntilClose,
}

impl BodyDecoder {
    /// A decoder for a body of that length.
    pub fn new(length: BodyLength) -> Self {
        Self(match length {
            BodyLength::Empty => State::Exact(0),
            BodyLength::Exact(bytes) => State::Exact(bytes),
            BodyLength::Chunked => State::Chunked(ChunkedDecoder::default()),
            BodyLength::UntilClose => State::UntilClose,
        })
    }

    /// Appends what `input` holds of the body to `out`; what is not consumed belongs to the next
    /// message.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Progress, ChunkFault> {
        match &mut self.0 {
            State::Exact(left) => {
                let consumed =
                    usize::try_from(*left).map_or(input.len(), |left| left.min(input.len()));
                out.extend_from_slice(input.get(..consumed).unwrap_or(input));
                *left -= to_u64(consumed);
                Ok(Progress { consumed, done: *left == 0 })
            }
            State::Chunked(decoder) => decoder.decode(input, out),
            State::UntilClose => {
                out.extend_from_slice(input);
                Ok(Progress { consumed: input.len(), done: false })
            }
        }
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        match &self.0 {
            State::Exact(left) => *left == 0,
            State::Chunked(decoder) => decoder.is_done(),
            State::UntilClose => false,
        }
    }

    /// Whether an end of the connection now is the body's proper end, and no truncation.
    pub fn ended_by_close(&self) -> bool {
        matches!(self.0, State::UntilClose) || self.is_done()
    }
}
