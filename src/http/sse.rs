//! Server-sent events, read and written (WHATWG HTML, "Server-sent events", §9.2).
//!
//! Lines end with CR, LF or CRLF, and a CRLF may be split over two reads. Text that is not UTF-8
//! becomes U+FFFD, as every reader of the format does it.

use crate::base::spare::KEPT_BYTES;

/// Reads a stream of events from any split of its bytes.
pub struct SseDecoder {
    max_event_bytes: usize,
    buffer: Vec<u8>,
    /// Where the first line that was not read begins.
    at: usize,
    /// How far that line was searched for its end.
    searched: usize,
    /// The last line ended with CR: an LF that follows belongs to it.
    after_cr: bool,
    /// No line was read yet: a byte order mark may come.
    at_start: bool,
    block: Block,
}

/// One event, or a block of the stream that no reader is told of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The type; `None` means `message`.
    pub event: Option<String>,
    /// The id that a reader would resume from.
    pub id: Option<String>,
    /// Milliseconds before a reader connects again.
    pub retry: Option<u64>,
    /// The data lines, joined with LF; of a comment its text.
    pub data: String,
    /// The block has no data field: readers are told nothing, but may note its id. Keep-alive
    /// comments look like this.
    pub is_comment: bool,
}

/// Why a stream of events is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SseFault {
    /// An event is larger than the bound.
    EventTooLong,
}

/// The fields of the event that is being read.
#[derive(Default)]
struct Block {
    event: SseEvent,
    comment: Option<String>,
    has_data: bool,
    has_field: bool,
    bytes: usize,
}

impl std::fmt::Display for SseFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::EventTooLong => "an event is too long",
        })
    }
}

impl std::error::Error for SseFault {}

impl std::fmt::Debug for SseDecoder {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never the text: it is what people said to a model.
        out.debug_struct("SseDecoder").field("buffered", &self.buffer.len()).finish_non_exhaustive()
    }
}

impl SseDecoder {
    /// A decoder that refuses events of more bytes than this.
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            max_event_bytes,
            buffer: Vec::new(),
            at: 0,
            searched: 0,
            after_cr: false,
            at_start: true,
            block: Block::default(),
        }
    }

    /// Takes what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.searched -= self.at;
            self.at = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole block, or `None` until more is pushed.
    #[expect(clippy::should_implement_trait, reason = "an end here is only an end for now")]
    pub fn next(&mut self) -> Result<Option<SseEvent>, SseFault> {
        while let Some((from, to)) = self.line() {
            if from < to {
                self.take(from, to)?;
            } else if let Some(event) = self.block.finish() {
                return Ok(Some(event));
            }
        }
        self.check(self.buffer.len() - self.at)?;
        Ok(None)
    }

    /// Gives back the memory that only what was read needed: the next bytes may be long in coming.
    pub fn rest(&mut self) {
        self.buffer.drain(..self.at);
        self.searched -= self.at;
        self.at = 0;
        if self.buffer.capacity() / 2 > self.buffer.len().max(KEPT_BYTES) {
            self.buffer.shrink_to_fit();
        }
    }

    /// The block at the end of a stream that lacks its empty line. Readers drop it, but a stream
    /// that is cut short must not lose what a guard has to see.
    pub fn finish(&mut self) -> Result<Option<SseEvent>, SseFault> {
        if let Some(event) = self.next()? {
            return Ok(Some(event));
        }
        // An empty line more than the stream has changes nothing but that its last line ends.
        if self.at < self.buffer.len() {
            self.buffer.push(b'\n');
        }
        if let Some((from, to)) = self.line()
            && from < to
        {
            self.take(from, to)?;
        }
        Ok(self.block.finish())
    }

    /// The span of the next whole line without its end.
    fn line(&mut self) -> Option<(usize, usize)> {
        if self.after_cr && self.at < self.buffer.len() {
            self.after_cr = false;
            if self.buffer.get(self.at) == Some(&b'\n') {
                self.at += 1;
            }
            self.searched = self.searched.max(self.at);
        }
        let rest = self.buffer.get(self.searched..).unwrap_or_default();
        let Some(end) = memchr::memchr2(b'\r', b'\n', rest).map(|at| self.searched + at) else {
            self.searched = self.buffer.len();
            return None;
        };
        // Only the very first line may begin with a byte order mark.
        let mut from = self.at;
        if std::mem::take(&mut self.at_start)
            && self.buffer.get(from..end).is_some_and(|line| line.starts_with(MARK))
        {
            from += MARK.len();
        }
        self.after_cr = self.buffer.get(end) == Some(&b'\r');
        self.at = end + 1;
        self.searched = self.at;
        Some((from, end))
    }

    fn take(&mut self, from: usize, to: usize) -> Result<(), SseFault> {
        self.check(to - from)?;
        let line = self.buffer.get(from..to).unwrap_or_default();
        self.block.bytes += line.len() + 1;
        self.block.line(line);
        Ok(())
    }

    fn check(&self, more: usize) -> Result<(), SseFault> {
        if self.block.bytes.saturating_add(more) > self.max_event_bytes {
            return Err(SseFault::EventTooLong);
        }
        Ok(())
    }
}

impl Block {
    fn line(&mut self, line: &[u8]) {
        let (name, value) = match memchr::memchr(b':', line) {
            Some(at) => {
                let (name, rest) = line.split_at_checked(at).unwrap_or((line, b""));
                let value = rest.strip_prefix(b":").unwrap_or(rest);
                (name, value.strip_prefix(b" ").unwrap_or(value))
            }
            None => (line, &b""[..]),
        };
        match name {
            b"data" => {
                append_line(&mut self.event.data, self.has_data, value);
                self.has_data = true;
            }
            b"event" => self.event.event = Some(String::from_utf8_lossy(value).into_owned()),
            b"id" if !value.contains(&0) => {
                self.event.id = Some(String::from_utf8_lossy(value).into_owned());
            }
            b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                self.event.retry =
                    std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
            }
            b"" => {
                let more = self.comment.is_some();
                append_line(self.comment.get_or_insert_default(), more, value);
                return;
            }
            _ => return,
        }
        self.has_field = true;
    }

    /// The block as an event, where it says anything; empty afterwards.
    fn finish(&mut self) -> Option<SseEvent> {
        let block = std::mem::take(self);
        let mut event = block.event;
        if !block.has_data {
            if !block.has_field && block.comment.is_none() {
                return None;
            }
            event.is_comment = true;
            event.data = block.comment.unwrap_or_default();
        }
        Some(event)
    }
}

fn append_line(text: &mut String, more: bool, line: &[u8]) {
    if more {
        text.push('\n');
    }
    text.push_str(&String::from_utf8_lossy(line));
}

impl SseEvent {
    /// Writes the block with its empty line. Line ends in a type or id are left out: they would
    /// begin a field of their own.
    pub fn encode(&self, out: &mut Vec<u8>) {
        if let Some(event) = &self.event {
            write_field(out, b"event: ", event);
        }
        if let Some(id) = &self.id {
            write_field(out, b"id: ", id);
        }
        if let Some(retry) = self.retry {
            write_field(out, b"retry: ", &retry.to_string());
        }
        let prefix: &[u8] = if self.is_comment { b": " } else { b"data: " };
        if !self.is_comment || !self.data.is_empty() || !self.has_field() {
            write_lines(out, prefix, self.data.as_bytes());
        }
        out.push(b'\n');
    }

    fn has_field(&self) -> bool {
        self.event.is_some() || self.id.is_some() || self.retry.is_some()
    }
}

/// One field for each line: CR, LF and CRLF all end one.
fn write_lines(out: &mut Vec<u8>, prefix: &[u8], text: &[u8]) {
    let mut rest = text;
    loop {
        let end = memchr::memchr2(b'\r', b'\n', rest);
        let (line, after) = rest.split_at_checked(end.unwrap_or(rest.len())).unwrap_or((rest, b""));
        out.extend_from_slice(prefix);
        out.extend_from_slice(line);
        out.push(b'\n');
        rest = match after {
            [b'\r', b'\n', next @ ..] | [_, next @ ..] => next,
            [] => return,
        };
    }
}

fn write_field(out: &mut Vec<u8>, prefix: &[u8], value: &str) {
    out.extend_from_slice(prefix);
    out.extend(value.bytes().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
    out.push(b'\n');
}

/// UTF-8's byte order mark.
const MARK: &[u8] = b"\xEF\xBB\xBF";

#[cfg(test)]
mod tests {
    use super::{SseDecoder, SseEvent, SseFault};
    use proptest::prelude::*;

    fn read(pieces: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Vec<SseEvent> {
        let mut decoder = SseDecoder::new(1 << 20);
        let mut events = Vec::new();
        for piece in pieces {
            decoder.push(piece.as_ref());
            while let Some(event) = decoder.next().unwrap() {
                events.push(event);
            }
            decoder.rest();
        }
        while let Some(event) = decoder.finish().unwrap() {
            events.push(event);
        }
        events
    }

    #[test]
    fn a_decoder_that_rests_keeps_what_was_not_read_and_little_more() {
        let mut decoder = SseDecoder::new(1 << 20);
        let long = "x".repeat(40_000);
        decoder.push(format!("data: {long}\n\ndata: b").as_bytes());
        assert_eq!(decoder.next(), Ok(Some(data(&long))));
        assert_eq!(decoder.next(), Ok(None));
        decoder.rest();
        assert!(decoder.buffer.capacity() < 100, "{}", decoder.buffer.capacity());
        decoder.push(b"\n\n");
        assert_eq!(decoder.next(), Ok(Some(data("b"))));
    }

    fn data(text: &str) -> SseEvent {
        SseEvent { data: text.to_owned(), ..SseEvent::default() }
    }

    fn comment(text: &str) -> SseEvent {
        SseEvent { is_comment: true, ..data(text) }
    }

    #[test]
    fn events_are_read_as_browsers_read_them() {
        for (wire, expected) in [
            ("data: a\n\ndata: b\n\n", vec![data("a"), data("b")]),
            ("data:a\r\rdata:  b\r\n\r\n", vec![data("a"), data(" b")]),
            ("data: a\ndata\ndata: b\n\n", vec![data("a\n\nb")]),
            ("\u{feff}data: a\n\n\u{feff}data: b\n\n", vec![data("a")]),
            ("\n\n\r\n", vec![]),
            ("other: x\n\n", vec![]),
            (": ping\n\n:\n\n", vec![comment("ping"), comment("")]),
            (": note\ndata: a\n\n", vec![data("a")]),
            ("data\n\n", vec![data("")]),
            ("data: tail", vec![data("tail")]),
            ("data: tail\n", vec![data("tail")]),
        ] {
            assert_eq!(read([wire.as_bytes()]), expected, "{wire:?}");
        }
        let all = "event: e\nid: 7\nretry: 50\nretry: x\nid: a\0b\ndata: d\n\n";
        let expected = SseEvent {
            event: Some("e".to_owned()),
            id: Some("7".to_owned()),
            retry: Some(50),
            ..data("d")
        };
        assert_eq!(read([all.as_bytes()]), [expected]);
    }

    #[test]
    fn a_block_without_data_keeps_its_id() {
        let only = SseEvent { id: Some("7".to_owned()), ..comment("") };
        assert_eq!(read([&b"id: 7\n\n"[..]]), std::slice::from_ref(&only));
        let mut out = Vec::new();
        only.encode(&mut out);
        assert_eq!(out, b"id: 7\n\n");
        let primed = SseEvent { id: Some("7".to_owned()), ..data("") };
        out.clear();
        primed.encode(&mut out);
        assert_eq!(out, b"id: 7\ndata: \n\n");
    }

    #[test]
    fn bytes_that_are_no_text_become_replacement_characters() {
        assert_eq!(read([&b"data: a\xff\n\n"[..]]), [data("a\u{fffd}")]);
    }

    #[test]
    fn an_event_is_bounded_whether_or_not_it_ends() {
        for wire in ["data: 123456789\n\n", "data: 12345678901234", "data: 1\ndata: 2\ndata: 3\n\n"]
        {
            let mut decoder = SseDecoder::new(14);
            decoder.push(wire.as_bytes());
            assert_eq!(decoder.next(), Err(SseFault::EventTooLong), "{wire:?}");
        }
        let mut decoder = SseDecoder::new(14);
        for _ in 0..100 {
            decoder.push(b"data: 12\n\n");
            assert_eq!(decoder.next(), Ok(Some(data("12"))));
        }
    }

    #[test]
    fn every_split_in_three_gives_the_same() {
        let wire =
            "\u{feff}: c\r\nevent: ü\r\ndata: a\r\n\r\nid: 1\n\r\ndata:b\rdata: c\r\r\n\ndata: t";
        let wire = wire.as_bytes();
        let expected = read([wire]);
        assert_eq!(expected.len(), 4);
        for first in 0..=wire.len() {
            for second in first..=wire.len() {
                let pieces = [&wire[..first], &wire[first..second], &wire[second..]];
                assert_eq!(read(pieces), expected, "{first} {second}");
            }
        }
    }

    #[test]
    fn nothing_in_a_field_begins_another() {
        let event = SseEvent {
            event: Some("a\ndata: x".to_owned()),
            id: Some("1\r\n\r\n2\0".to_owned()),
            ..data("a\r\nb\rc")
        };
        let mut out = Vec::new();
        event.encode(&mut out);
        assert_eq!(out, b"event: adata: x\nid: 12\ndata: a\ndata: b\ndata: c\n\n");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            event in prop::option::of("[a-z:ü ]{0,6}"),
            id in prop::option::of("[ -~]{0,6}"),
            retry: Option<u64>,
            text in "[a-z: ü\\n]{0,20}",
            cut in 0_usize..64,
        ) {
            let event = SseEvent { event, id, retry, ..data(&text) };
            let mut wire = Vec::new();
            event.encode(&mut wire);
            let (first, second) = wire.split_at(cut.min(wire.len()));
            prop_assert_eq!(read([first, second]), [event]);
        }

        #[test]
        fn noise_is_the_same_whole_and_byte_by_byte(
            bytes in proptest::collection::vec(
                prop_oneof![Just(b'\r'), Just(b'\n'), Just(b':'), Just(b'd'), any::<u8>()],
                0..60,
            ),
        ) {
            prop_assert_eq!(read([bytes.as_slice()]), read(bytes.chunks(1)));
        }
    }
}
