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

#[cfg(test)]
mod tests {
    use super::BodyDecoder;
    use crate::http::head::BodyLength;
    use proptest::prelude::*;

    /// What is decoded, what is left over, whether it is done, and whether an end now is proper.
    fn decode(length: BodyLength, pieces: &[&[u8]]) -> (Vec<u8>, usize, bool, bool) {
        let mut decoder = BodyDecoder::new(length);
        let (mut body, mut left) = (Vec::new(), 0);
        for piece in pieces {
            let progress = decoder.decode(piece, &mut body).unwrap();
            left += piece.len() - progress.consumed;
        }
        (body, left, decoder.is_done(), decoder.ended_by_close())
    }

    #[test]
    fn every_length_has_its_own_end() {
        let some = |text: &str| text.as_bytes().to_vec();
        assert_eq!(decode(BodyLength::Empty, &[b"next"]), (some(""), 4, true, true));
        assert_eq!(decode(BodyLength::Exact(3), &[b"ab"]), (some("ab"), 0, false, false));
        assert_eq!(decode(BodyLength::Exact(3), &[b"abcd"]), (some("abc"), 1, true, true));
        assert_eq!(decode(BodyLength::Chunked, &[b"1\r\na"]), (some("a"), 0, false, false));
        assert_eq!(decode(BodyLength::UntilClose, &[b"abc"]), (some("abc"), 0, false, true));
        assert!(BodyDecoder::new(BodyLength::Empty).is_done());
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(
            wire in proptest::collection::vec(any::<u8>(), 0..60),
            length in prop_oneof![
                Just(BodyLength::Empty), Just(BodyLength::UntilClose),
                (0_u64..80).prop_map(BodyLength::Exact),
            ],
            at in 0_usize..60,
        ) {
            let (first, second) = wire.split_at(at.min(wire.len()));
            prop_assert_eq!(decode(length, &[&wire]), decode(length, &[first, second]));
        }
    }
}
