//! Event streams: every split reads the same events, and an event that is written reads the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringwall::http::sse::{SseDecoder, SseEvent};

const EVENT_BYTES_MAX: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let mut whole = read(data, usize::MAX);
    let step = usize::from(data.first().copied().unwrap_or_default() % 13) + 1;
    assert_eq!(format!("{whole:?}"), format!("{:?}", read(data, 1)));
    assert_eq!(format!("{whole:?}"), format!("{:?}", read(data, step)));
    let mut out = Vec::new();
    for event in &mut whole.0 {
        // It is not written, and would begin no field: an id that has one does not count at all.
        event.event = event.event.take().map(|name| name.replace('\0', ""));
        event.encode(&mut out);
    }
    let again = read(&out, usize::MAX);
    assert!(!again.1 || whole.0.iter().any(|event| event.data.len() * 2 > EVENT_BYTES_MAX));
    if !again.1 {
        assert_eq!(format!("{:?}", whole.0), format!("{:?}", again.0));
    }
});

/// The events, and whether a fault ended them.
fn read(data: &[u8], step: usize) -> (Vec<SseEvent>, bool) {
    let mut decoder = SseDecoder::new(EVENT_BYTES_MAX);
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
