//! Chunked bodies: every split reads the same, and what ours accepts a decoder over httparse's
//! sizes accepts too, with the same body and the same end.

use ringwall::http::chunked::ChunkedDecoder;
use ringwall::http::encode::{chunk, last_chunk};

/// The body, how much was read, whether it ended; nothing where it was refused.
type Read = Option<(Vec<u8>, usize, bool)>;

/// The body, and where it ends.
type Body = (Vec<u8>, usize);

pub(crate) fn check(data: &[u8]) {
    let whole = read(data, usize::MAX);
    let step = usize::from(data.first().copied().unwrap_or_default() % 13) + 1;
    assert_eq!(whole, read(data, 1));
    assert_eq!(whole, read(data, step));
    let Some((body, end, true)) = whole else { return };
    let theirs = reference(data);
    assert_eq!(theirs, Some((body.clone(), end)), "another reads another body");
    let mut out = Vec::new();
    chunk(&mut out, &body);
    last_chunk(&mut out);
    assert_eq!(read(&out, usize::MAX), Some((body, out.len(), true)));
}

fn read(data: &[u8], step: usize) -> Read {
    let mut decoder = ChunkedDecoder::default();
    let (mut out, mut at) = (Vec::new(), 0);
    let mut held = Vec::new();
    for piece in data.chunks(step.min(data.len().max(1))) {
        held.extend_from_slice(piece);
        let progress = decoder.decode(&held, &mut out).ok()?;
        held.drain(..progress.consumed);
        at += progress.consumed;
        if progress.done {
            return Some((out, at, true));
        }
    }
    Some((out, at + held.len(), false))
}

/// A decoder that believes httparse's sizes, and takes trailers as they come.
fn reference(data: &[u8]) -> Option<Body> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(&data[at..])
        else {
            return None;
        };
        at += line;
        if size == 0 {
            break;
        }
        let end = at.checked_add(usize::try_from(size).ok()?)?;
        body.extend_from_slice(data.get(at..end)?);
        at = end + 2;
        if data.get(end..at)? != b"\r\n" {
            return None;
        }
    }
    loop {
        let line = data[at..].windows(2).position(|pair| pair == b"\r\n")?;
        at += line + 2;
        if line == 0 {
            return Some((body, at));
        }
    }
}
