//! MCP messages, both ways: segments stand where they say, and a list without its tools is a
//! document again that shows none.

use ringwall::base::json::Reader;
use ringwall::base::splice::Splices;
use ringwall::mcp::{answer, message};
use std::cell::RefCell;

thread_local! {
    static READER: RefCell<Reader> = RefCell::default();
}

pub(crate) fn check(data: &[u8]) {
    READER.with_borrow_mut(|reader| check_with(reader, data));
}

fn check_with(reader: &mut Reader, data: &[u8]) {
    let Ok(json) = reader.read(data) else { return };
    let text = std::str::from_utf8(data).expect("what is read is UTF-8");
    for one in message::read(data, &json).into_iter().flatten() {
        if let Some(id) = &one.id {
            assert!(text.contains(id.as_str()));
        }
        for segment in one.text.segments() {
            assert!(one.text.joined().get(segment.at.clone()).is_some());
            assert!(text.get(segment.source.raw.clone()).is_some());
        }
    }
    let said = answer::read(&json);
    for segment in said.segments() {
        assert!(said.joined().get(segment.at.clone()).is_some());
        assert!(text.get(segment.source.raw.clone()).is_some());
    }
    let mut splices = Splices::default();
    let hidden = answer::hide_tools(data, &json, &mut |_| false, &mut splices);
    let shown = splices.apply(data);
    if hidden == 0 {
        assert_eq!(shown, data);
        return;
    }
    let json = reader.read(&shown).expect("a list without its tools is JSON");
    let mut none = Splices::default();
    let left = answer::hide_tools(&shown, &json, &mut |_| false, &mut none);
    assert_eq!(left, 0, "a tool is still shown");
}
