//! JSON and requests to models: what ours reads `serde_json` reads too, value by value at the same place;
//! every segment stands where it says; and a body whose texts are replaced is a chat again whose
//! texts are the replacements, each of them once, and nothing else.

use ringwall::base::ask::Api;
use ringwall::base::json::{Kind, Reader, Value};
use ringwall::base::splice::Splices;
use ringwall::base::text::Form;
use ringwall::llm::api;
use serde_json::value::RawValue;
use std::cell::RefCell;
use std::collections::BTreeMap;

thread_local! {
    static READER: RefCell<Reader> = RefCell::default();
}

pub(crate) fn check(data: &[u8]) {
    READER.with_borrow_mut(|reader| check_with(reader, data));
}

fn check_with(reader: &mut Reader, data: &[u8]) {
    let Ok(json) = reader.read(data) else { return };
    let text = std::str::from_utf8(data).expect("what is read is UTF-8");
    let theirs = serde_json::from_str::<&RawValue>(text).expect("only ours reads it");
    compare(json.root(), theirs.get(), text);
    for api in Api::ALL {
        let said = api::answer(api, &json).text;
        let asked = api::read(api, data, &json).map(|request| request.text);
        for text_of in std::iter::once(&said).chain(&asked) {
            for segment in text_of.segments() {
                assert!(text_of.joined().get(segment.at.clone()).is_some());
                assert!(text.get(segment.source.raw.clone()).is_some());
            }
        }
    }
    let Ok(request) = api::read(Api::Chat, data, &json) else { return };
    let mut splices = Splices::default();
    request.rewrite("another-model", &mut splices);
    let mut masks = Vec::new();
    for (nth, segment) in request.text.segments().iter().enumerate() {
        let source = &segment.source;
        let raw = text.get(source.raw.clone()).expect("it stands in the body");
        let decoded = &request.text.joined()[segment.at.clone()];
        match source.form {
            Form::Number | Form::PlainString | Form::PlainJson => assert_eq!(raw, decoded),
            Form::EscapedString | Form::EscapedJson => {
                let quoted = format!("\"{raw}\"");
                assert_eq!(serde_json::from_str::<String>(&quoted).expect("a string"), decoded);
            }
        }
        // Each its own, since two keys of one object may be among them; and longer than an id, a
        // role or a type that is passed over.
        let mask = format!("[M{nth:-<70}]");
        masks.push(mask.clone());
        let mask = if source.form == Form::Number { format!("\"{mask}\"") } else { mask };
        splices.replace(source.raw.clone(), mask);
    }
    let sent = splices.apply(data);
    let json = reader.read(&sent).expect("what is sent is JSON");
    assert_eq!(json.root().member("model").and_then(Value::as_str), Some("another-model"));
    let again = api::read(Api::Chat, &sent, &json).expect("what is sent is a chat");
    // In whichever order: a type that is text and masked is another's, whose parts come otherwise.
    let left = again.text.segments().iter().map(|each| &again.text.joined()[each.at.clone()]);
    let mut left: Vec<&str> = left.collect();
    left.sort_unstable();
    masks.sort_unstable();
    assert_eq!(left, masks);
}

/// Whether a value is what `serde_json` finds in its raw text, with all that it holds.
fn compare(ours: Value<'_>, theirs: &str, text: &str) {
    assert_eq!(text.get(ours.span()), Some(theirs), "it stands elsewhere");
    match ours.kind() {
        Kind::Array => {
            let items: Vec<&RawValue> = serde_json::from_str(theirs).expect("an array");
            assert_eq!(ours.items().count(), items.len());
            ours.items().zip(items).for_each(|(one, other)| compare(one, other.get(), text));
        }
        Kind::Object => {
            let members: BTreeMap<String, &RawValue> =
                serde_json::from_str(theirs).expect("an object");
            assert_eq!(ours.members().count(), members.len());
            for (key, value) in ours.members() {
                let key = key.as_str().expect("a key is a string");
                compare(value, members[key].get(), text);
            }
        }
        Kind::String => {
            let string: String = serde_json::from_str(theirs).expect("a string");
            assert_eq!(ours.as_str(), Some(&*string));
        }
        Kind::Unsigned(0) if theirs == "-0" => {}
        Kind::Unsigned(number) => assert_eq!(theirs.parse(), Ok(number)),
        Kind::Float => assert!(theirs.parse::<f64>().is_ok() && theirs.parse::<u64>().is_err()),
        Kind::Bool(value) => assert_eq!(theirs.parse(), Ok(value)),
        Kind::Null => assert_eq!(theirs, "null"),
    }
}
