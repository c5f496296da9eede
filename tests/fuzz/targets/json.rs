//! JSON and chat requests: what ours reads serde_json reads too; every segment stands where it
//! says; and a body whose texts are replaced is a document again, with nothing of them left.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringwall::base::json::Reader;
use ringwall::base::splice::Splices;
use ringwall::base::text::Form;
use ringwall::llm::{answer, chat};
use serde_json::value::RawValue;
use std::cell::RefCell;

thread_local! {
    static READER: RefCell<Reader> = RefCell::default();
}

fuzz_target!(|data: &[u8]| READER.with_borrow_mut(|reader| {
    let Ok(json) = reader.read(data) else { return };
    let text = std::str::from_utf8(data).expect("what is read is UTF-8");
    if let Err(error) = serde_json::from_str::<&RawValue>(text) {
        assert!(error.to_string().contains("recursion"), "only ours reads it: {error}");
    }
    let said = answer::read(&json).text;
    for segment in said.segments() {
        assert!(said.joined().get(segment.at.clone()).is_some());
        assert!(text.get(segment.source.raw.clone()).is_some());
    }
    let Ok(request) = chat::read(data, &json) else { return };
    let mut splices = Splices::default();
    request.rewrite("another-model", &mut splices);
    for (nth, segment) in request.text.segments().iter().enumerate() {
        let source = &segment.source;
        let raw = text.get(source.raw.clone()).expect("it stands in the body");
        let decoded = &request.text.joined()[segment.at.clone()];
        match source.form {
            Form::Number => assert_eq!(raw, decoded),
            Form::PlainString | Form::PlainJson => assert_eq!(raw, decoded),
            Form::EscapedString | Form::EscapedJson => {
                let quoted = format!("\"{raw}\"");
                assert_eq!(serde_json::from_str::<String>(&quoted).expect("a string"), decoded);
            }
        }
        // Each its own, since two keys of one object may be among them.
        let mask = format!("[M{nth}]");
        let mask = if source.form == Form::Number { format!("\"{mask}\"") } else { mask };
        splices.replace(source.raw.clone(), mask);
    }
    let sent = splices.apply(data);
    let json = reader.read(&sent).expect("what is sent is JSON");
    assert_eq!(json.root().member("model").and_then(|model| model.as_str()), Some("another-model"));
    let again = chat::read(&sent, &json).expect("what is sent is a chat");
    // In whichever order: an unknown role is text too, and masked it may be another's.
    for segment in again.text.segments() {
        let left = &again.text.joined()[segment.at.clone()];
        assert!(left.starts_with("[M") && left.ends_with(']'), "left over: {left}");
    }
}));
