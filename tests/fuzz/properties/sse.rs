//! Event streams: every split reads the same events; they are those that a plain reading of the
//! standard dispatches, in the same order; and what is written reads the same.

use ringwall::http::sse::{SseDecoder, SseEvent};

const EVENT_BYTES_MAX: usize = 4096;
/// What is written may be longer than what was read: `data` becomes `data: `, and a byte that is
/// no text becomes three.
const WRITTEN_BYTES_MAX: usize = 8 * EVENT_BYTES_MAX;

pub(crate) fn check(data: &[u8]) {
    let whole = read(data, usize::MAX, EVENT_BYTES_MAX);
    let step = usize::from(data.first().copied().unwrap_or_default() % 13) + 1;
    assert_eq!(whole, read(data, 1, EVENT_BYTES_MAX));
    assert_eq!(whole, read(data, step, EVENT_BYTES_MAX));
    let (mut events, is_cut) = whole;
    assert!(!is_cut || data.len() > EVENT_BYTES_MAX, "nothing in it is too long");
    let theirs = dispatched(data);
    let ours: Vec<SseEvent> = events.iter().filter(|event| !event.is_comment).cloned().collect();
    if is_cut {
        assert_eq!(theirs.get(..ours.len()), Some(&ours[..]));
    } else {
        assert_eq!(theirs, ours, "a browser reads other events");
    }
    let mut out = Vec::new();
    for event in &mut events {
        // A NUL in a type is not written; an id that has one does not count at all.
        event.event = event.event.take().map(|name| name.replace('\0', ""));
        event.encode(&mut out);
    }
    assert_eq!(read(&out, usize::MAX, WRITTEN_BYTES_MAX), (events, false));
}

/// The events, and whether a fault ended them.
fn read(data: &[u8], step: usize, most: usize) -> (Vec<SseEvent>, bool) {
    let mut decoder = SseDecoder::new(most);
    let mut events = Vec::new();
    for piece in data.chunks(step.min(data.len().max(1))) {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(_) => return (events, true),
            }
        }
    }
    match decoder.finish() {
        Ok(last) => events.extend(last),
        Err(_) => return (events, true),
    }
    (events, false)
}

/// What the standard's steps dispatch (WHATWG HTML §9.2.6), over the whole text at once, to which
/// an empty line is added: ours gives what stands before the end, too.
fn dispatched(data: &[u8]) -> Vec<SseEvent> {
    let text = String::from_utf8_lossy(data).into_owned() + "\n\n";
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let (mut events, mut block, mut has_data) = (Vec::new(), SseEvent::default(), false);
    for line in text.split('\n') {
        if line.is_empty() {
            let mut event = std::mem::take(&mut block);
            if std::mem::take(&mut has_data) {
                // Each line brought its end, and the last is taken off.
                event.data.pop();
                events.push(event);
            }
            continue;
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "data" => {
                has_data = true;
                block.data.push_str(value);
                block.data.push('\n');
            }
            "event" => block.event = Some(value.to_owned()),
            "id" if !value.contains('\0') => block.id = Some(value.to_owned()),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                block.retry = value.parse().ok();
            }
            _ => {}
        }
    }
    events
}
