//! The chunked transfer coding, decoded strictly and for any split of the input (RFC 9112 §7.1).
//!
//! Extensions and trailers are checked, bounded and dropped. httparse's size parser is not used:
//! it takes an empty size for zero, and line feeds inside an extension.

use crate::base::numbers::to_u64;
use crate::http::head::is_token_byte;

/// Hexadecimal digits of a chunk's size: fifteen cannot overflow.
pub const SIZE_DIGITS_MAX: u8 = 15;
/// Bytes of extensions in a whole body: nobody uses them, and each is one way to hide something.
pub const EXTENSION_BYTES_MAX: usize = 256;
/// Bytes of trailers in a body.
pub const TRAILER_BYTES_MAX: usize = 4096;

/// Decodes one chunked body.
#[derive(Clone, Copy, Debug, Default)]
pub struct ChunkedDecoder {
    state: State,
    /// Bytes of the current chunk still to come, or its size as read so far.
    left: u64,
    extension_bytes: usize,
    trailer_bytes: usize,
}

/// How far one call came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes of the input that belong to this body; fewer than all only when done.
    pub consumed: usize,
    /// Whether the body is complete.
    pub done: bool,
}

/// Why a chunked body is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkFault {
    /// An extension without a name or value, or a byte in it that it may not hold.
    Extension,
    /// More than [`EXTENSION_BYTES_MAX`].
    ExtensionTooLong,
    /// A chunk's data, size line or trailer does not end with CRLF.
    LineEnd,
    /// The size is not 1 to 15 hexadecimal digits.
    Size,
    /// A trailer line is no field.
    Trailer,
    /// More than [`TRAILER_BYTES_MAX`].
    TrailerTooLong,
}

/// What the next byte must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// The first digit of a size.
    #[default]
    Start,
    /// A further digit, `;` or CR; that many digits were read.
    Size(u8),
    /// The first byte of an extension's name, or blanks before it.
    ExtensionName,
    /// A byte of an extension, or CR.
    Extension,
    /// The first byte of an extension's value, or blanks before it.
    ExtensionValue,
    /// A byte within the quotes of a value.
    Quoted,
    /// The byte that a backslash in quotes stands before.
    QuotedPair,
    /// The LF of a size line.
    SizeEnd,
    /// Data.
    Data,
    /// The CR behind data.
    DataCr,
    /// The LF behind data.
    DataLf,
    /// The first byte of a trailer's name, or the CR of the empty line.
    TrailerStart,
    /// A further byte of a trailer's name, or `:`.
    TrailerName,
    /// A byte of a trailer's value, or CR.
    TrailerValue,
    /// The LF of a trailer line.
    TrailerEnd,
    /// The LF of the empty line.
    LastLf,
    /// Nothing.
    Done,
}

impl std::fmt::Display for ChunkFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Extension => "a chunk extension holds a control character",
            Self::ExtensionTooLong => "the chunk extensions are too long",
            Self::LineEnd => "a chunk does not end with CRLF",
            Self::Size => "a chunk size is malformed",
            Self::Trailer => "a trailer is malformed",
            Self::TrailerTooLong => "the trailers are too long",
        })
    }
}

impl std::error::Error for ChunkFault {}

impl ChunkedDecoder {
    /// Appends what `input` holds of the body to `out`.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Progress, ChunkFault> {
        let mut rest = input;
        while self.state != State::Done {
            if self.state == State::Data {
                rest = self.data(rest, out);
            }
            let Some((byte, after)) = rest.split_first() else { break };
            self.state = self.step(*byte)?;
            rest = after;
        }
        Ok(Progress { consumed: input.len() - rest.len(), done: self.is_done() })
    }

    /// Whether the body is complete.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the chunk's data off the front of `input`; what is left is no data.
    fn data<'a>(&mut self, input: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
        let length = usize::try_from(self.left).map_or(input.len(), |left| left.min(input.len()));
        let (data, rest) = input.split_at_checked(length).unwrap_or((input, b""));
        out.extend_from_slice(data);
        self.left -= to_u64(data.len());
        if self.left == 0 {
            self.state = State::DataCr;
        }
        rest
    }

    /// The state behind one byte that is not data.
    fn step(&mut self, byte: u8) -> Result<State, ChunkFault> {
        match self.state {
            State::Start => self.digit(byte, 0),
            State::Size(digits) => match byte {
                b'\r' => Ok(State::SizeEnd),
                b';' => Ok(State::ExtensionName),
                _ => self.digit(byte, digits),
            },
            State::ExtensionName
            | State::Extension
            | State::ExtensionValue
            | State::Quoted
            | State::QuotedPair => self.extension(byte),
            State::SizeEnd => match (byte, self.left) {
                (b'\n', 0) => Ok(State::TrailerStart),
                (b'\n', _) => Ok(State::Data),
                _ => Err(ChunkFault::LineEnd),
            },
            State::DataCr => expect(byte, b'\r', State::DataLf),
            State::DataLf => expect(byte, b'\n', State::Start),
            State::TrailerStart if byte == b'\r' => Ok(State::LastLf),
            State::TrailerStart | State::TrailerName | State::TrailerValue => self.trailer(byte),
            State::TrailerEnd => expect(byte, b'\n', State::TrailerStart),
            State::LastLf => expect(byte, b'\n', State::Done),
            // `decode` handles both before it steps.
            State::Data | State::Done => Ok(self.state),
        }
    }

    fn digit(&mut self, byte: u8, digits: u8) -> Result<State, ChunkFault> {
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => return Err(ChunkFault::Size),
        };
        if digits == SIZE_DIGITS_MAX {
            return Err(ChunkFault::Size);
        }
        let before = if digits == 0 { 0 } else { self.left };
        self.left = before * 16 + u64::from(value);
        Ok(State::Size(digits + 1))
    }

    fn extension(&mut self, byte: u8) -> Result<State, ChunkFault> {
        self.extension_bytes += 1;
        if self.extension_bytes > EXTENSION_BYTES_MAX && byte != b'\r' {
            return Err(ChunkFault::ExtensionTooLong);
        }
        match (self.state, byte) {
            (State::Quoted, b'"') => Ok(State::Extension),
            (State::Quoted, b'\\') => Ok(State::QuotedPair),
            (State::Quoted | State::QuotedPair, b'\t' | 0x20..=0x7e) => Ok(State::Quoted),
            (State::ExtensionName | State::ExtensionValue, b'\t' | b' ') => Ok(self.state),
            (State::ExtensionValue, b'"') => Ok(State::Quoted),
            (State::ExtensionName | State::ExtensionValue, _) if is_token_byte(byte) => {
                Ok(State::Extension)
            }
            (State::Extension, b'\r') => Ok(State::SizeEnd),
            (State::Extension, b';') => Ok(State::ExtensionName),
            (State::Extension, b'=') => Ok(State::ExtensionValue),
            (State::Extension, b'\t' | b' ') => Ok(State::Extension),
            (State::Extension, _) if is_token_byte(byte) => Ok(State::Extension),
            _ => Err(ChunkFault::Extension),
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, ChunkFault> {
        self.trailer_bytes += 1;
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(ChunkFault::TrailerTooLong);
        }
        match (self.state, byte) {
            (State::TrailerValue, b'\r') => Ok(State::TrailerEnd),
            (State::TrailerValue, b'\t' | 0x20..=0x7e | 0x80..) => Ok(State::TrailerValue),
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerStart | State::TrailerName, _) if is_token_byte(byte) => {
                Ok(State::TrailerName)
            }
            _ => Err(ChunkFault::Trailer),
        }
    }
}

fn expect(byte: u8, expected: u8, next: State) -> Result<State, ChunkFault> {
    if byte == expected { Ok(next) } else { Err(ChunkFault::LineEnd) }
}

#[cfg(test)]
mod tests {
    use super::{
        ChunkFault, ChunkedDecoder, EXTENSION_BYTES_MAX, SIZE_DIGITS_MAX, TRAILER_BYTES_MAX,
    };
    use crate::http::encode::{chunk, last_chunk};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    /// A body that came to its end, and how many bytes were left over.
    type Decoded = Option<(Vec<u8>, usize)>;

    fn decode(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Result<Decoded, ChunkFault> {
        let mut decoder = ChunkedDecoder::default();
        let (mut body, mut left) = (Vec::new(), 0);
        for piece in pieces {
            let piece = piece.as_ref();
            let progress = decoder.decode(piece, &mut body)?;
            left += piece.len() - progress.consumed;
        }
        Ok(decoder.is_done().then_some((body, left)))
    }

    #[test]
    fn sound_bodies_are_decoded() {
        for (input, body, left) in [
            (&b"0\r\n\r\n"[..], &b""[..], 0),
            (b"5\r\nhello\r\n0\r\n\r\nnext", b"hello", 4),
            (b"5;a=\"b c\"\r\nhello\r\n1\r\n!\r\n000\r\n\r\n", b"hello!", 0),
            (b"00000000000000A\r\n0123456789\r\n0\r\nx: y\r\nz:\r\n\r\n", b"0123456789", 0),
            (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n", 0),
            (b"1; a = b ;c=\"\\\";d\"\r\nx\r\n0\r\n\r\n", b"x", 0),
        ] {
            assert_eq!(decode([input]), Ok(Some((body.to_vec(), left))));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        use ChunkFault::{Extension, LineEnd, Size, Trailer};
        for (input, expected) in [
            ("\r\n", Size),
            (" 5\r\n", Size),
            ("5 \r\n", Size),
            ("+5\r\n", Size),
            ("-1\r\n", Size),
            ("0x5\r\n", Size),
            ("5_0\r\n", Size),
            ("g\r\n", Size),
            (";a\r\n", Size),
            ("1000000000000000\r\n", Size),
            ("5\nhello", Size),
            ("5\r\rhello", LineEnd),
            ("5\rhello", LineEnd),
            ("5\r\nhello5", LineEnd),
            ("5\r\nhello\n", LineEnd),
            ("5\r\nhello\r\r", LineEnd),
            ("5\r\nhello\r\n\r\n", Size),
            ("5;a\nb\r\n", Extension),
            ("5;a\0\r\n", Extension),
            ("5;a\x7f\r\n", Extension),
            ("5;a\r5\r\n", LineEnd),
            ("5;\r\n", Extension),
            ("5; \r\n", Extension),
            ("5;;a\r\n", Extension),
            ("5;a;\r\n", Extension),
            ("5;a=\r\n", Extension),
            ("5;=b\r\n", Extension),
            ("5;a=\"b\r\n", Extension),
            ("5;a(\r\n", Extension),
            ("5;a=\"\\\r\n", Extension),
            ("0\r\nx\r\n\r\n", Trailer),
            ("0\r\n x: y\r\n\r\n", Trailer),
            ("0\r\n: y\r\n\r\n", Trailer),
            ("0\r\nx: y\n\r\n", Trailer),
            ("0\r\nx: \0\r\n\r\n", Trailer),
            ("0\r\nx: y\rz", LineEnd),
            ("0\r\n\n", Trailer),
            ("0\r\n\rx", LineEnd),
        ] {
            assert_eq!(decode([input.as_bytes()]), Err(expected), "{input:?}");
        }
    }

    #[test]
    fn sizes_extensions_and_trailers_are_bounded() {
        let digits = "0".repeat(SIZE_DIGITS_MAX.into());
        let whole = format!("{digits}\r\n\r\n");
        assert_eq!(decode([whole.as_bytes()]), Ok(Some((Vec::new(), 0))));
        assert_eq!(decode([format!("{digits}0\r\n").as_bytes()]), Err(ChunkFault::Size));
        let huge = format!("{}\r\nx", "f".repeat(SIZE_DIGITS_MAX.into()));
        assert_eq!(decode([huge.as_bytes()]), Ok(None));
        // The bound is for the whole body, not for one chunk.
        let chunks = "1;aaaaaaaaa\r\nx\r\n".repeat(EXTENSION_BYTES_MAX / 10 + 1);
        assert_eq!(decode([chunks.as_bytes()]), Err(ChunkFault::ExtensionTooLong));
        let trailers = format!("0\r\n{}", "a: b\r\n".repeat(TRAILER_BYTES_MAX / 5 + 1));
        assert_eq!(decode([trailers.as_bytes()]), Err(ChunkFault::TrailerTooLong));
    }

    #[test]
    fn every_split_in_three_gives_the_same() {
        let inputs: [&[u8]; 4] = [
            b"5;x\r\nhello\r\nB\r\n0123456789a\r\n0\r\nt: v\r\n\r\nnext",
            b"1\r\n\r\r\n0\r\n\r\n",
            b"5\r\nhello5\r\n",
            b"3\r\nabc\r\n0\r\n\r x",
        ];
        for input in inputs {
            let expected = decode([input]);
            let ends = 0..=input.len();
            for (first, second) in ends.clone().flat_map(|at| ends.clone().map(move |to| (at, to)))
            {
                let second = second.max(first);
                let pieces = [&input[..first], &input[first..second], &input[second..]];
                assert_eq!(decode(pieces), expected, "{first} {second}");
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_in_any_pieces(
            bodies in vec(vec(any::<u8>(), 0..40), 0..8),
            sizes in vec(1_usize..9, 1..5),
        ) {
            let mut wire = Vec::new();
            for body in &bodies {
                chunk(&mut wire, body);
            }
            last_chunk(&mut wire);
            let mut rest = wire.as_slice();
            let mut pieces = Vec::new();
            for size in sizes.iter().cycle() {
                if rest.is_empty() {
                    break;
                }
                let (piece, after) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece);
                rest = after;
            }
            prop_assert_eq!(decode(pieces), Ok(Some((bodies.concat(), 0))));
        }

        #[test]
        fn noise_is_the_same_whole_and_byte_by_byte(
            bytes in vec(prop_oneof![select(b"\r\n01;:".to_vec()), any::<u8>()], 0..40),
        ) {
            prop_assert_eq!(decode([bytes.as_slice()]), decode(bytes.chunks(1)));
        }
    }
}
