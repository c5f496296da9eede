//! Content codings (RFC 9110 §8.4.1): bytes in, bytes out, bounded.
//!
//! A coding hides what a body says, so bodies are decoded before a guard reads them. Where decoders
//! differ, one of them could read what the other does not; so this one takes the narrow reading:
//! one gzip member, one zlib stream, one zstd frame, one brotli stream, with their checksums, and
//! not a byte after them. Several members or frames are legal on disk; no HTTP client sends them.

use crate::base::numbers::to_u64;
use crate::http::fields::Fields;
use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Crc, Decompress, FlushDecompress, Status};
use std::fmt;
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation};

/// What a 415 and the reference name as taken.
pub const ACCEPTED: &str = "gzip, deflate, br, zstd";
/// Codings over one another. Nobody has a use for two; some proxies compress what is compressed.
pub const STACK_MAX: usize = 2;
/// Bytes that come out for each that went in, once [`FREE_BYTES`] have. JSON and text reach 20,
/// repetitive logs 100, bombs 1,000 and more.
pub const RATIO_MAX: u64 = 200;
/// What may come out whatever went in: so much is no bomb.
pub const FREE_BYTES: u64 = 1 << 20;
/// The largest window of a zstd frame, as a power of two: 8 MiB, what RFC 9659 §3 allows.
const ZSTD_WINDOW_LOG: u32 = 23;
/// Bytes of a gzip header with its file name and comment; real ones have ten to a hundred.
const GZIP_HEADER_MAX: usize = 4096;
/// What is decoded at once.
const PIECE_BYTES: usize = 8 * 1024;

/// A way in which a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `br`, RFC 7932; without the large-window extension.
    Brotli,
    /// `deflate`: a zlib stream (RFC 1950), as RFC 9110 §8.4.1.2 says, and no bare deflate.
    Deflate,
    /// `gzip` or `x-gzip`, RFC 1952.
    Gzip,
    /// `zstd`, RFC 8878.
    Zstd,
}

/// Why a body cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodingFault {
    /// The bytes are not what the coding says, or their checksum does not fit.
    Broken,
    /// Far more comes out than any text would give.
    Ratio,
    /// More than [`STACK_MAX`] codings.
    Stacked,
    /// More comes out than the caller takes.
    TooLarge,
    /// Bytes after the end.
    Trailing,
    /// It ends before its end.
    Truncated,
    /// A coding that is not known.
    Unknown,
}

/// The codings of a message in the order in which they were applied; `identity` is none.
pub fn listed(fields: &Fields) -> Result<Vec<Coding>, CodingFault> {
    let mut codings = Vec::new();
    for (_, value) in fields.iter().filter(|(name, _)| *name == "content-encoding") {
        for word in value.split(|byte| *byte == b',') {
            let word = word.trim_ascii();
            if !word.eq_ignore_ascii_case(b"identity") {
                codings.push(named(word).ok_or(CodingFault::Unknown)?);
            }
            if codings.len() > STACK_MAX {
                return Err(CodingFault::Stacked);
            }
        }
    }
    Ok(codings)
}

fn named(word: &[u8]) -> Option<Coding> {
    match &*word.to_ascii_lowercase() {
        b"br" => Some(Coding::Brotli),
        b"deflate" => Some(Coding::Deflate),
        b"gzip" | b"x-gzip" => Some(Coding::Gzip),
        b"zstd" => Some(Coding::Zstd),
        _ => None,
    }
}

/// Decodes a body that is held whole, of which at most `most` bytes may come out.
pub fn whole(codings: &[Coding], coded: &[u8], most: usize) -> Result<Vec<u8>, CodingFault> {
    let mut decoder = Decoder::new(codings)?;
    let mut out = Vec::new();
    for piece in coded.chunks(PIECE_BYTES) {
        decoder.push(piece);
        while decoder.pull(&mut out, PIECE_BYTES)? > 0 {
            if out.len() > most {
                return Err(CodingFault::TooLarge);
            }
        }
    }
    decoder.finish()?;
    Ok(out)
}

/// Decodes one body as it comes.
#[derive(Debug)]
pub struct Decoder {
    /// The coding that was applied first, and comes off last, is the first.
    layers: Vec<Layer>,
    taken: u64,
}

impl Decoder {
    /// A decoder for a body that was written so.
    pub fn new(codings: &[Coding]) -> Result<Self, CodingFault> {
        if codings.len() > STACK_MAX {
            return Err(CodingFault::Stacked);
        }
        let layers = codings.iter().map(|coding| Layer::new(*coding)).collect::<Result<_, _>>()?;
        Ok(Self { layers, taken: 0 })
    }

    /// Takes coded bytes in. Pull until nothing comes before the next push: they are kept.
    pub fn push(&mut self, coded: &[u8]) {
        self.taken += to_u64(coded.len());
        if let Some(outermost) = self.layers.last_mut() {
            outermost.feed(coded);
        }
    }

    /// Appends at most `room` decoded bytes and says how many; none: push more, or it has ended.
    pub fn pull(&mut self, out: &mut Vec<u8>, room: usize) -> Result<usize, CodingFault> {
        let most = self.taken.saturating_mul(RATIO_MAX).max(FREE_BYTES);
        let mut piece = [0; PIECE_BYTES];
        let mut pulled = 0;
        while pulled < room {
            let space = (room - pulled).min(PIECE_BYTES);
            let made = produce(&mut self.layers, piece.get_mut(..space).unwrap_or(&mut []), most)?;
            if made == 0 {
                break;
            }
            out.extend_from_slice(piece.get(..made).unwrap_or_default());
            pulled += made;
        }
        Ok(pulled)
    }

    /// Whether what was pushed, and pulled to its end, is a whole body. No bytes at all are an
    /// empty one.
    pub fn finish(&self) -> Result<(), CodingFault> {
        let is_whole = self.layers.iter().all(|layer| layer.is_ended && !layer.has_input());
        if is_whole || self.taken == 0 { Ok(()) } else { Err(CodingFault::Truncated) }
    }
}

/// Fills `out` from the innermost layer, which feeds on the ones around it.
fn produce(layers: &mut [Layer], out: &mut [u8], most: u64) -> Result<usize, CodingFault> {
    let Some((own, outer)) = layers.split_first_mut() else { return Ok(0) };
    loop {
        let made = own.run(out, most)?;
        if made > 0 {
            return Ok(made);
        }
        if own.is_ended && own.has_input() {
            return Err(CodingFault::Trailing);
        }
        let mut piece = [0; PIECE_BYTES];
        let came = produce(outer, &mut piece, most)?;
        if came == 0 {
            return Ok(0);
        }
        own.feed(piece.get(..came).unwrap_or_default());
    }
}

/// One coding of a body.
#[derive(Debug)]
struct Layer {
    engine: Engine,
    waiting: Vec<u8>,
    at: usize,
    /// All that could come of what went in has come.
    is_drained: bool,
    is_ended: bool,
    made: u64,
}

impl Layer {
    fn new(coding: Coding) -> Result<Self, CodingFault> {
        let engine = match coding {
            Coding::Brotli => Engine::Brotli(Box::new(BrotliState::new_strict(
                StandardAlloc::default(),
                StandardAlloc::default(),
                StandardAlloc::default(),
            ))),
            Coding::Deflate => Engine::Zlib(Decompress::new(true)),
            Coding::Gzip => Engine::Gzip(Gzip::new()),
            Coding::Zstd => Engine::Zstd(zstd_decoder().map_err(|_no_memory| CodingFault::Broken)?),
        };
        Ok(Self { engine, waiting: Vec::new(), at: 0, is_drained: true, is_ended: false, made: 0 })
    }

    fn feed(&mut self, bytes: &[u8]) {
        if self.at > 0 {
            self.waiting.drain(..self.at);
            self.at = 0;
        }
        self.waiting.extend_from_slice(bytes);
    }

    fn has_input(&self) -> bool {
        self.at < self.waiting.len()
    }

    /// Decodes into `out` what is there; zero where more must be fed, or it has ended.
    fn run(&mut self, out: &mut [u8], most: u64) -> Result<usize, CodingFault> {
        while !self.is_ended && (self.has_input() || !self.is_drained) {
            let input = self.waiting.get(self.at..).unwrap_or_default();
            let step = self.engine.step(input, out)?;
            self.at += step.consumed;
            self.is_ended = step.is_ended;
            self.is_drained = step.written < out.len();
            self.made += to_u64(step.written);
            if self.made > most {
                return Err(CodingFault::Ratio);
            }
            if step.written > 0 {
                return Ok(step.written);
            }
            if step.consumed == 0 {
                break;
            }
        }
        Ok(0)
    }
}

fn zstd_decoder() -> std::io::Result<ZstdDecoder<'static>> {
    let mut decoder = ZstdDecoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
    Ok(decoder)
}

enum Engine {
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    Gzip(Gzip),
    Zlib(Decompress),
    Zstd(ZstdDecoder<'static>),
}

impl fmt::Debug for Engine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Brotli(_) => "Brotli",
            Self::Gzip(_) => "Gzip",
            Self::Zlib(_) => "Zlib",
            Self::Zstd(_) => "Zstd",
        })
    }
}

/// What one call did.
#[derive(Default)]
struct Step {
    consumed: usize,
    written: usize,
    is_ended: bool,
}

impl Engine {
    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step, CodingFault> {
        match self {
            Self::Brotli(state) => brotli(state, input, out),
            Self::Gzip(gzip) => gzip.step(input, out),
            Self::Zlib(inflate) => deflate(inflate, input, out),
            Self::Zstd(decoder) => {
                let ran = decoder.run_on_buffers(input, out);
                let ran = ran.map_err(|_broken| CodingFault::Broken)?;
                Ok(Step {
                    consumed: ran.bytes_read,
                    written: ran.bytes_written,
                    is_ended: ran.remaining == 0,
                })
            }
        }
    }
}

fn brotli(
    state: &mut BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>,
    input: &[u8],
    out: &mut [u8],
) -> Result<Step, CodingFault> {
    let (mut left, mut consumed) = (input.len(), 0);
    let (mut space, mut written, mut total) = (out.len(), 0, 0);
    let result = BrotliDecompressStream(
        &mut left,
        &mut consumed,
        input,
        &mut space,
        &mut written,
        out,
        &mut total,
        state,
    );
    match result {
        BrotliResult::ResultFailure => Err(CodingFault::Broken),
        BrotliResult::ResultSuccess => Ok(Step { consumed, written, is_ended: true }),
        BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {
            Ok(Step { consumed, written, is_ended: false })
        }
    }
}

fn deflate(inflate: &mut Decompress, input: &[u8], out: &mut [u8]) -> Result<Step, CodingFault> {
    let before = (inflate.total_in(), inflate.total_out());
    let status = inflate.decompress(input, out, FlushDecompress::None);
    let is_ended = match status.map_err(|_broken| CodingFault::Broken)? {
        Status::StreamEnd => true,
        Status::Ok | Status::BufError => false,
    };
    let count = |now: u64, before: u64| usize::try_from(now - before).unwrap_or_default();
    Ok(Step {
        consumed: count(inflate.total_in(), before.0),
        written: count(inflate.total_out(), before.1),
        is_ended,
    })
}

/// One gzip member.
struct Gzip {
    part: GzipPart,
    inflate: Decompress,
    sum: Crc,
}

#[derive(Clone, Copy)]
enum GzipPart {
    Header,
    Body,
    Trailer,
}

impl Gzip {
    fn new() -> Self {
        Self { part: GzipPart::Header, inflate: Decompress::new(false), sum: Crc::new() }
    }

    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step, CodingFault> {
        match self.part {
            GzipPart::Header => match header_length(input)? {
                None => Ok(Step::default()),
                Some(consumed) => {
                    self.part = GzipPart::Body;
                    Ok(Step { consumed, ..Step::default() })
                }
            },
            GzipPart::Body => {
                let mut step = deflate(&mut self.inflate, input, out)?;
                self.sum.update(out.get(..step.written).unwrap_or_default());
                if std::mem::take(&mut step.is_ended) {
                    self.part = GzipPart::Trailer;
                }
                Ok(step)
            }
            GzipPart::Trailer => {
                // RFC 1952 §2.3.1: the CRC and the length of what was written, modulo 2^32.
                let Some(trailer) = input.first_chunk::<8>() else { return Ok(Step::default()) };
                let mut own = [0; 8];
                let (sum, length) = own.split_at_mut(4);
                sum.copy_from_slice(&self.sum.sum().to_le_bytes());
                length.copy_from_slice(&self.sum.amount().to_le_bytes());
                if own != *trailer {
                    return Err(CodingFault::Broken);
                }
                Ok(Step { consumed: 8, written: 0, is_ended: true })
            }
        }
    }
}

/// How long a gzip header is (RFC 1952 §2.3); `None` while it is not whole.
fn header_length(bytes: &[u8]) -> Result<Option<usize>, CodingFault> {
    const BEGINNING: [u8; 3] = [0x1f, 0x8b, 8];
    const CRC: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    const RESERVED: u8 = 0xe0;
    if bytes.iter().zip(&BEGINNING).any(|(given, due)| given != due) {
        return Err(CodingFault::Broken);
    }
    let Some(flags) = bytes.get(3) else { return Ok(None) };
    if flags & RESERVED != 0 {
        return Err(CodingFault::Broken);
    }
    let has = |flag: u8| flags & flag != 0;
    let mut length = 10;
    if has(EXTRA) {
        let Some(extra) = bytes.get(length..length + 2) else { return Ok(None) };
        let extra = extra.iter().rev().fold(0, |sum, byte| sum * 256 + usize::from(*byte));
        length += 2 + extra;
    }
    for _text in [NAME, COMMENT].into_iter().filter(|flag| has(*flag)) {
        let text = bytes.get(length..).unwrap_or_default();
        match memchr::memchr(0, text) {
            Some(end) => length += end + 1,
            None => length = length.max(bytes.len()) + 1,
        }
    }
    if has(CRC) {
        let sum = bytes.get(length..length + 2);
        let mut own = Crc::new();
        own.update(bytes.get(..length).unwrap_or_default());
        let due = own.sum().to_le_bytes();
        if sum.is_some_and(|sum| due.get(..2) != Some(sum)) {
            return Err(CodingFault::Broken);
        }
        length += 2;
    }
    if length > GZIP_HEADER_MAX {
        return Err(CodingFault::Broken);
    }
    Ok((length <= bytes.len()).then_some(length))
}

impl fmt::Display for CodingFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Broken => "the bytes are not what `content-encoding` says",
            Self::Ratio => "far more comes out of it than went in",
            Self::Stacked => "more than two content codings",
            Self::TooLarge => "too much comes out of it",
            Self::Trailing => "bytes follow the end of the coded body",
            Self::Truncated => "the coded body ends before its end",
            Self::Unknown => "a content coding that is not known",
        })
    }
}

impl std::error::Error for CodingFault {}

#[cfg(test)]
mod tests {
    use super::{Coding, CodingFault, Decoder, listed, whole};
    use crate::http::fields::Fields;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;
    use std::io::Write;

    /// `{"say":"The quick brown fox jumps over the lazy dog. The quick … dog."}`, by brotli 1.1.
    const BROTLI: &str = "1b6200081d0976ecc41af2f00d91a0cc23d29d1b8fd20bb14ad326d55c5f86e9bcc1061c38\
                          0496ec03e9ec37ea35039a5f59251d789ca8f9a59083706cbcc52f03a901";
    /// 64 MiB of zeros, by brotli 1.1.
    const BROTLI_BOMB: &str = "cbffff3ff82700e2b14020f7fe8fffff7ff04f00c4611180eefd1fffffffe09f0088c30200ddfb3ffeffffc13f0\
         110870500baf77ffcffff837f02200e0b0074effff8ffff07ff04401c1600e8defff1ffff0ffe0980382c00d0bd\
         ffcbffff3ffc1300715800a07bff07";
    const MOST: usize = 10 << 20;
    const DOG: &str = "The quick brown fox jumps over the lazy dog.";

    fn hex(text: &str) -> Vec<u8> {
        data_encoding::HEXLOWER.decode(text.as_bytes()).unwrap()
    }

    fn coded(coding: Coding, text: &[u8]) -> Vec<u8> {
        match coding {
            Coding::Brotli => stored_brotli(text),
            Coding::Deflate => {
                let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            Coding::Gzip => {
                let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            Coding::Zstd => zstd::stream::encode_all(text, 3).unwrap(),
        }
    }

    /// Meta-blocks without compression (RFC 7932 §9.2), a window of 64 KiB, then an empty last one.
    fn stored_brotli(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut header = (0_u64, 1_usize);
        for piece in text.chunks(1 << 16) {
            // ISLAST 0, MNIBBLES 4 (two zero bits), MLEN - 1 in 16 bits, ISUNCOMPRESSED 1.
            let word = ((u64::try_from(piece.len()).unwrap() - 1) << 3) | (1 << 19);
            let (bits, used) = (header.0 | (word << header.1), header.1 + 20);
            out.extend_from_slice(&bits.to_le_bytes()[..used.div_ceil(8)]);
            out.extend_from_slice(piece);
            header = (0, 0);
        }
        let (bits, used) = (header.0 | (0b11 << header.1), header.1 + 2);
        out.extend_from_slice(&bits.to_le_bytes()[..used.div_ceil(8)]);
        out
    }

    const ALL: [Coding; 4] = [Coding::Brotli, Coding::Deflate, Coding::Gzip, Coding::Zstd];

    #[test]
    fn each_coding_gives_its_text_back_and_so_do_two_over_one_another() {
        let text = DOG.repeat(2000);
        for first in ALL {
            let once = coded(first, text.as_bytes());
            assert_eq!(whole(&[first], &once, MOST).unwrap(), text.as_bytes(), "{first:?}");
            for second in ALL {
                let twice = coded(second, &once);
                let back = whole(&[first, second], &twice, MOST);
                assert_eq!(back.as_deref(), Ok(text.as_bytes()), "{first:?}, {second:?}");
            }
        }
        let json = format!("{{\"say\":\"{DOG} {DOG}\"}}");
        assert_eq!(whole(&[Coding::Brotli], &hex(BROTLI), MOST).unwrap(), json.as_bytes());
    }

    #[test]
    fn nothing_is_an_empty_body_and_half_is_none() {
        for coding in ALL {
            assert_eq!(whole(&[coding], b"", MOST), Ok(Vec::new()));
            let full = coded(coding, DOG.as_bytes());
            for end in 1..full.len() {
                let cut = whole(&[coding], &full[..end], MOST);
                assert_eq!(cut, Err(CodingFault::Truncated), "{coding:?} at {end}");
            }
        }
    }

    #[test]
    fn what_follows_the_end_is_refused_and_so_is_a_second_member() {
        for coding in ALL {
            let full = coded(coding, DOG.as_bytes());
            for tail in [b"\0".to_vec(), b"x".to_vec(), full.clone()] {
                let all = [full.clone(), tail].concat();
                assert_eq!(whole(&[coding], &all, MOST), Err(CodingFault::Trailing), "{coding:?}");
            }
            let inner = coded(coding, &[full, vec![b'x']].concat());
            assert_eq!(whole(&[coding, coding], &inner, MOST), Err(CodingFault::Trailing));
        }
    }

    #[test]
    fn bombs_are_stopped_early_whatever_they_are_made_of() {
        let zeros = vec![0; 64 << 20];
        for coding in [Coding::Deflate, Coding::Gzip, Coding::Zstd] {
            let bomb = coded(coding, &zeros);
            assert_eq!(whole(&[coding], &bomb, usize::MAX), Err(CodingFault::Ratio), "{coding:?}");
            let twice = coded(Coding::Gzip, &bomb);
            let stopped = whole(&[coding, Coding::Gzip], &twice, usize::MAX);
            assert_eq!(stopped, Err(CodingFault::Ratio), "{coding:?}");
        }
        let bomb = hex(BROTLI_BOMB);
        assert_eq!(whole(&[Coding::Brotli], &bomb, usize::MAX), Err(CodingFault::Ratio));
        let some = coded(Coding::Gzip, &zeros[..200_000]);
        assert_eq!(whole(&[Coding::Gzip], &some, 199_999), Err(CodingFault::TooLarge));
        assert_eq!(whole(&[Coding::Gzip], &some, 200_000).map(|out| out.len()), Ok(200_000));
    }

    #[test]
    fn an_inner_layer_that_gives_nothing_cannot_be_fed_for_ever() {
        // Empty stored blocks: five bytes each that inflate to none.
        let mut inner = vec![0x78, 0x9c];
        inner.extend([0, 0, 0, 0xff, 0xff].repeat(4 << 20));
        let bomb = coded(Coding::Gzip, &inner);
        let stopped = whole(&[Coding::Deflate, Coding::Gzip], &bomb, MOST);
        assert_eq!(stopped, Err(CodingFault::Ratio));
    }

    #[test]
    fn a_zstd_window_beyond_the_web_s_is_refused() {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(24).unwrap();
        let mut noise = 1_u32;
        let text: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            noise.to_le_bytes()[3]
        })
        .take(1 << 20)
        .collect();
        for piece in text.chunks(4096) {
            encoder.write_all(piece).unwrap();
        }
        let frame = encoder.finish().unwrap();
        assert_eq!(whole(&[Coding::Zstd], &frame, MOST), Err(CodingFault::Broken));
    }

    #[test]
    fn checksums_and_headers_count() {
        let full = coded(Coding::Gzip, DOG.as_bytes());
        let spoil = |at: usize| {
            let mut bytes = full.clone();
            bytes[at] ^= 0x80;
            whole(&[Coding::Gzip], &bytes, MOST)
        };
        for at in [0, 1, 2, 3, full.len() - 8, full.len() - 1] {
            assert_eq!(spoil(at), Err(CodingFault::Broken), "{at}");
        }
        let mut zlib = coded(Coding::Deflate, DOG.as_bytes());
        *zlib.last_mut().unwrap() ^= 1;
        assert_eq!(whole(&[Coding::Deflate], &zlib, MOST), Err(CodingFault::Broken));
        let mut bare = DeflateEncoder::new(Vec::new(), Compression::default());
        bare.write_all(DOG.as_bytes()).unwrap();
        let bare = bare.finish().unwrap();
        assert_eq!(whole(&[Coding::Deflate], &bare, MOST), Err(CodingFault::Broken));
    }

    #[test]
    fn a_gzip_header_may_have_all_its_parts() {
        let plain = coded(Coding::Gzip, DOG.as_bytes());
        let mut named = vec![0x1f, 0x8b, 8, 0b1_1110, 0, 0, 0, 0, 0, 255, 3, 0, 1, 2, 3];
        named.extend_from_slice(b"name\0comment\0");
        let mut sum = flate2::Crc::new();
        sum.update(&named);
        named.extend_from_slice(&sum.sum().to_le_bytes()[..2]);
        let header = named.len();
        named.extend_from_slice(&plain[10..]);
        assert_eq!(whole(&[Coding::Gzip], &named, MOST).unwrap(), DOG.as_bytes());
        named[header - 1] ^= 1;
        assert_eq!(whole(&[Coding::Gzip], &named, MOST), Err(CodingFault::Broken));
        let endless = [&[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 255][..], &[b'n'; 5000]].concat();
        assert_eq!(whole(&[Coding::Gzip], &endless, MOST), Err(CodingFault::Broken));
    }

    #[test]
    fn the_field_is_read_as_a_list() {
        let read = |values: &[&str]| {
            let mut fields = Fields::default();
            for value in values {
                fields.push("content-encoding", value.as_bytes());
            }
            listed(&fields)
        };
        assert_eq!(read(&[]), Ok(vec![]));
        assert_eq!(read(&["identity"]), Ok(vec![]));
        assert_eq!(read(&["GZip"]), Ok(vec![Coding::Gzip]));
        assert_eq!(read(&["x-gzip , identity,br"]), Ok(vec![Coding::Gzip, Coding::Brotli]));
        assert_eq!(read(&["deflate", "zstd"]), Ok(vec![Coding::Deflate, Coding::Zstd]));
        assert_eq!(read(&["gzip,gzip,gzip"]), Err(CodingFault::Stacked));
        for unknown in ["", "gzip,", "compress", "gzip;q=1", "gzip br", "aes128gcm", "*"] {
            assert_eq!(read(&[unknown]), Err(CodingFault::Unknown), "{unknown}");
        }
    }

    fn any_coding() -> impl Strategy<Value = Coding> {
        prop_oneof![
            Just(Coding::Brotli),
            Just(Coding::Deflate),
            Just(Coding::Gzip),
            Just(Coding::Zstd)
        ]
    }

    /// Decodes in pieces of these sizes, with `room` for each pull.
    fn piecewise(
        codings: &[Coding],
        coded: &[u8],
        sizes: &[usize],
        room: usize,
    ) -> Result<Vec<u8>, CodingFault> {
        let mut decoder = Decoder::new(codings)?;
        let (mut out, mut rest) = (Vec::new(), coded);
        for size in sizes.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, later) = rest.split_at((*size).min(rest.len()));
            decoder.push(piece);
            loop {
                if decoder.pull(&mut out, room)? == 0 {
                    break;
                }
            }
            rest = later;
        }
        decoder.finish().map(|()| out)
    }

    proptest! {
        #[test]
        fn every_split_gives_the_same(
            text in proptest::collection::vec(any::<u8>(), 0..3000),
            codings in proptest::collection::vec(any_coding(), 1..3),
            sizes in proptest::collection::vec(1_usize..500, 1..6),
            room in 1_usize..3000,
        ) {
            let wire = codings.iter().fold(text.clone(), |inner, coding| coded(*coding, &inner));
            prop_assert_eq!(piecewise(&codings, &wire, &sizes, room), Ok(text));
        }

        #[test]
        fn noise_is_refused_the_same_way_in_any_split_and_never_breaks_us(
            mut noise in proptest::collection::vec(any::<u8>(), 1..400),
            coding in any_coding(),
            spoiled in any::<bool>(),
            at in 0_usize..400,
            sizes in proptest::collection::vec(1_usize..50, 1..4),
        ) {
            if spoiled {
                noise = coded(coding, &noise);
                let at = at % noise.len();
                noise[at] ^= 0x21;
            }
            let at_once = whole(&[coding], &noise, MOST);
            let in_pieces = piecewise(&[coding], &noise, &sizes, 7);
            prop_assert_eq!(at_once.is_ok(), in_pieces.is_ok());
            if let (Ok(one), Ok(other)) = (at_once, in_pieces) {
                prop_assert_eq!(one, other);
            }
        }
    }
}
