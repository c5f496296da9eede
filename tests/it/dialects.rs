//! The way back of streamed messages and responses, all of it: whatever the pieces and whatever the
//! network's chunks, the client reads what the whole answer would say, and no planted value leaves.

#![expect(clippy::indexing_slicing, reason = "a test may stop where it stands")]

use crate::stream::{PLANTED, blocks, deployed, halves, pieces, rubble, text};
use proptest::collection::vec;
use proptest::prelude::{ProptestConfig, Strategy, proptest};
use ringwall::base::ask::{Api, ChatAsk};
use ringwall::base::hit::Direction;
use ringwall::base::json::Reader;
use ringwall::gateway::clear::StreamGuard;
use ringwall::gateway::shard::Deployed;
use ringwall::http::sse::SseDecoder;
use ringwall::llm::api::{self, AnswerStream};
use ringwall::llm::stream::Flow;
use serde_json::{Value, json};
use std::rc::Rc;

/// What an answer says, in its order.
#[derive(Clone, Debug, PartialEq)]
struct Said {
    thought: String,
    text: String,
    /// The arguments of two calls, as JSON text.
    calls: [String; 2],
}

/// How a text is cut.
type Cut<'a> = dyn Fn(&str) -> Vec<String> + 'a;

/// The gateway's half, on this thread.
struct Bench {
    deployed: Rc<Deployed>,
    reader: Reader,
    api: Api,
}

impl Bench {
    fn new(api: Api) -> Self {
        Self { deployed: deployed(), reader: Reader::default(), api }
    }

    /// What the gateway makes of an upstream's bytes that come in these blocks.
    fn relay(&mut self, blocks: &mut dyn Iterator<Item = &[u8]>) -> Vec<u8> {
        let mut decoder = SseDecoder::new(1 << 20);
        let ask = ChatAsk { api: self.api, stream: true, ..ChatAsk::default() };
        let mut stream = AnswerStream::new(&ask, true);
        let mut guard = StreamGuard::new(&self.deployed);
        let mut out = Vec::new();
        let mut flow = Flow::Continue;
        for block in blocks {
            decoder.push(block);
            while let Some(event) = decoder.next().expect("a sound stream") {
                if !event.is_comment {
                    let reader = &mut self.reader;
                    flow = stream.event(&event, reader, &mut guard, &mut out).expect("it passes");
                }
            }
        }
        assert_eq!(flow, Flow::Done);
        assert_eq!(stream.usage().map(|usage| usage.output_tokens), Some(7));
        out
    }

    /// What the same becomes as one answer that is masked whole.
    fn whole(&mut self, said: &Said) -> Said {
        let raw = if self.api == Api::Messages {
            json!({"id": "m", "type": "message", "content": contents(said)})
        } else {
            response(said, "completed")
        };
        let raw = raw.to_string();
        let json = self.reader.read(raw.as_bytes()).expect("it is JSON");
        let text = api::answer(self.api, &json).text;
        let mut matcher = self.deployed.matcher.borrow_mut();
        let cleared =
            matcher.clear(raw.as_bytes(), &text, Direction::Response).expect("masks only");
        let masked = cleared.into_splices().apply(raw.as_bytes());
        let masked: Value = serde_json::from_slice(&masked).expect("it is JSON still");
        if self.api == Api::Messages {
            said_in_contents(&masked["content"])
        } else {
            said_in_items(&masked["output"])
        }
    }

    fn upstream(&self, said: &Said, cut: &Cut<'_>) -> Vec<u8> {
        let mut events = if self.api == Api::Messages {
            message_events(said, cut)
        } else {
            response_events(said, cut)
        };
        // Data over several lines, and a comment, are what they are anywhere.
        if let Some(first) = events.first_mut() {
            *first = first.replacen("data: {", "data: {\ndata: ", 1);
        }
        events.insert(1, ": keep-alive\n\n".to_owned());
        events.concat().into_bytes()
    }

    fn client(&self, bytes: &[u8]) -> Said {
        if self.api == Api::Messages { message_client(bytes) } else { response_client(bytes) }
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn event(kind: &str, mut data: Value) -> String {
    data["type"] = Value::from(kind);
    format!("event: {kind}\ndata: {data}\n\n")
}

/// Every event of a stream, its name checked against its type.
fn events(bytes: &[u8]) -> Vec<Value> {
    let mut decoder = SseDecoder::new(1 << 20);
    decoder.push(bytes);
    let mut found = Vec::new();
    while let Some(event) = decoder.next().expect("a sound stream") {
        if !event.is_comment {
            let data = parsed(&event.data);
            assert_eq!(event.event.as_deref(), data["type"].as_str());
            found.push(data);
        }
    }
    found
}

// Anthropic's messages.

fn contents(said: &Said) -> Value {
    let call =
        |text: &String| json!({"type": "tool_use", "id": "t", "name": "f", "input": parsed(text)});
    json!([
        {"type": "thinking", "thinking": said.thought, "signature": "c2ln"},
        {"type": "text", "text": said.text},
        call(&said.calls[0]),
        call(&said.calls[1]),
    ])
}

fn said_in_contents(contents: &Value) -> Said {
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    Said {
        thought: text(&contents[0]["thinking"]),
        text: text(&contents[1]["text"]),
        calls: [2, 3].map(|index| contents[index]["input"].to_string()),
    }
}

fn message_events(said: &Said, cut: &Cut<'_>) -> Vec<String> {
    let message = json!({"id": "m", "type": "message", "role": "assistant", "content": [],
        "model": "x", "usage": {"input_tokens": 3, "output_tokens": 1}});
    let mut all =
        vec![event("message_start", json!({"message": message})), event("ping", json!({}))];
    let runs = [
        (json!({"type": "thinking", "thinking": "", "signature": ""}), &said.thought),
        (json!({"type": "text", "text": ""}), &said.text),
        (json!({"type": "tool_use", "id": "t", "name": "f", "input": {}}), &said.calls[0]),
        (json!({"type": "tool_use", "id": "t", "name": "f", "input": {}}), &said.calls[1]),
    ];
    for (index, (block, text)) in runs.iter().enumerate() {
        all.push(event("content_block_start", json!({"index": index, "content_block": block})));
        let (kind, member) = match index {
            0 => ("thinking_delta", "thinking"),
            1 => ("text_delta", "text"),
            _ => ("input_json_delta", "partial_json"),
        };
        for piece in cut(text) {
            let delta = json!({"type": kind, member: piece});
            all.push(event("content_block_delta", json!({"index": index, "delta": delta})));
        }
        if index == 0 {
            let delta = json!({"type": "signature_delta", "signature": "c2ln"});
            all.push(event("content_block_delta", json!({"index": index, "delta": delta})));
        }
        all.push(event("content_block_stop", json!({"index": index})));
    }
    let delta = json!({"stop_reason": "end_turn", "stop_sequence": null});
    all.push(event("message_delta", json!({"delta": delta, "usage": {"output_tokens": 7}})));
    all.push(event("message_stop", json!({})));
    all
}

fn message_client(bytes: &[u8]) -> Said {
    let mut texts: Vec<String> = Vec::new();
    let (mut open, mut over) = (None, false);
    for event in events(bytes) {
        assert!(!over, "after the end: {event}");
        let index = event["index"].as_u64();
        match event["type"].as_str().expect("a type") {
            "content_block_start" => {
                assert_eq!(open, None);
                assert_eq!(index, u64::try_from(texts.len()).ok());
                open = index;
                texts.push(String::new());
            }
            "content_block_delta" => {
                assert_eq!(open, index, "outside of its block: {event}");
                for member in ["thinking", "text", "partial_json"] {
                    let piece = event["delta"][member].as_str().unwrap_or_default();
                    texts.last_mut().expect("a block").push_str(piece);
                }
            }
            "content_block_stop" => {
                assert_eq!(open, index);
                open = None;
            }
            "message_stop" => over = true,
            _ => {}
        }
    }
    assert!(over && open.is_none() && texts.len() == 4, "it is whole");
    let calls = [2, 3].map(|index: usize| parsed(&texts[index]).to_string());
    Said { thought: texts[0].clone(), text: texts[1].clone(), calls }
}

// OpenAI's responses.

fn items(said: &Said) -> [Value; 4] {
    let call = |text: &String| json!({"type": "function_call", "id": "c", "call_id": "c", "name": "f", "arguments": text});
    [
        json!({"type": "reasoning", "id": "r",
            "summary": [{"type": "summary_text", "text": said.thought}]}),
        json!({"type": "message", "id": "m", "role": "assistant", "content": [
            {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}]}),
        call(&said.calls[0]),
        call(&said.calls[1]),
    ]
}

fn response(said: &Said, status: &str) -> Value {
    let items = if status == "completed" { items(said).to_vec() } else { Vec::new() };
    json!({"id": "r", "object": "response", "status": status, "model": "x", "output": items,
        "usage": {"input_tokens": 3, "output_tokens": 7}})
}

fn said_in_items(items: &Value) -> Said {
    let text = |value: &Value| value.as_str().expect("it is text").to_owned();
    Said {
        thought: text(&items[0]["summary"][0]["text"]),
        text: text(&items[1]["content"][0]["text"]),
        calls: [2, 3].map(|index| parsed(&text(&items[index]["arguments"])).to_string()),
    }
}

fn response_events(said: &Said, cut: &Cut<'_>) -> Vec<String> {
    let mut all =
        vec![("response.created".to_owned(), json!({"response": response(said, "in_progress")}))];
    let texts = [&said.thought, &said.text, &said.calls[0], &said.calls[1]];
    for (index, (item, text)) in items(said).into_iter().zip(texts).enumerate() {
        let (stem, part) = match index {
            0 => ("response.reasoning_summary_text", Some(&item["summary"][0])),
            1 => ("response.output_text", Some(&item["content"][0])),
            _ => ("response.function_call_arguments", None),
        };
        let place = if index == 0 { "summary_index" } else { "content_index" };
        let about = |name: &str, value: Value| {
            let mut data = json!({"item_id": item["id"], "output_index": index, name: value});
            if part.is_some() {
                data[place] = Value::from(0);
            }
            data
        };
        let empty = json!({"type": item["type"], "id": item["id"]});
        all.push(("response.output_item.added".to_owned(), about("item", empty)));
        for piece in cut(text) {
            let mut data = about("delta", Value::from(piece.clone()));
            data["logprobs"] = json!([{"token": piece, "top_logprobs": []}]);
            all.push((format!("{stem}.delta"), data));
        }
        let name = if part.is_some() { "text" } else { "arguments" };
        all.push((format!("{stem}.done"), about(name, Value::from(text.clone()))));
        if let Some(part) = part {
            let kind = if index == 0 { "reasoning_summary_part" } else { "content_part" };
            all.push((format!("response.{kind}.done"), about("part", part.clone())));
        }
        all.push(("response.output_item.done".to_owned(), about("item", item.clone())));
    }
    all.push(("response.completed".to_owned(), json!({"response": response(said, "completed")})));
    let numbered = all.into_iter().enumerate().map(|(number, (kind, mut data))| {
        data["sequence_number"] = Value::from(number);
        event(&kind, data)
    });
    numbered.collect()
}

/// Wherever a text is said again, it says the same.
fn response_client(bytes: &[u8]) -> Said {
    let mut texts = vec![String::new(); 4];
    let all = events(bytes);
    for (number, event) in all.iter().enumerate() {
        assert_eq!(event["sequence_number"], number, "{event}");
        assert!(event["logprobs"].as_array().is_none_or(Vec::is_empty), "{event}");
        let Some(index) = event["output_index"].as_u64() else { continue };
        let own = &mut texts[usize::try_from(index).expect("an index")];
        own.push_str(event["delta"].as_str().unwrap_or_default());
        let again = [
            "/text",
            "/arguments",
            "/part/text",
            "/item/arguments",
            "/item/content/0/text",
            "/item/summary/0/text",
        ];
        for again in again.iter().filter_map(|pointer| event.pointer(pointer)?.as_str()) {
            assert_eq!(again, own, "{event}");
        }
    }
    let last = all.last().expect("an end");
    assert_eq!(last["type"], "response.completed");
    let said = said_in_items(&last["response"]["output"]);
    assert_eq!([&said.thought, &said.text], [&texts[0], &texts[1]]);
    for (said, text) in said.calls.iter().zip(&texts[2..]) {
        assert_eq!(said, &parsed(text).to_string());
    }
    said
}

/// Nothing of what was planted is there, neither in the texts nor in the bytes.
fn assert_clean(bytes: &[u8], said: &Said) {
    let raw = String::from_utf8_lossy(bytes);
    let texts = format!("{said:?}");
    for (_, secret) in PLANTED {
        assert!(!raw.contains(secret) && !texts.contains(secret), "{secret}: {texts}");
    }
}

/// The same text on every channel.
fn everywhere(text: &str) -> Said {
    let arguments = json!({"note": text, "n": [1, text]}).to_string();
    Said { thought: text.to_owned(), text: text.to_owned(), calls: [arguments.clone(), arguments] }
}

fn every_split(api: Api) {
    let mut bench = Bench::new(api);
    for (value, _) in PLANTED {
        let said = everywhere(&format!("Take {value}"));
        let expected = bench.whole(&said);
        assert_ne!(expected, said, "nothing was masked");
        // As far as the first of the two in the arguments.
        for at in 0..=said.text.chars().count() + 12 {
            let sent = bench.upstream(&said, &|text| halves(text, at));
            let read = bench.relay(&mut std::iter::once(&*sent));
            let found = bench.client(&read);
            assert_eq!(found, expected, "split at {at}");
            assert_clean(&read, &found);
        }
        for lengths in [&[1][..], &[2], &[3], &[7], &[1, 5, 2]] {
            let sent = bench.upstream(&said, &|text| pieces(text, lengths));
            let read = bench.relay(&mut std::iter::once(&*sent));
            assert_eq!(bench.client(&read), expected, "pieces of {lengths:?}");
        }
    }
}

#[test]
fn every_split_of_a_message_reads_as_the_whole_one_does() {
    every_split(Api::Messages);
}

#[test]
fn every_split_of_a_response_reads_as_the_whole_one_does() {
    every_split(Api::Responses);
}

#[test]
fn the_networks_chunks_change_nothing_in_either_dialect() {
    for api in [Api::Messages, Api::Responses] {
        let mut bench = Bench::new(api);
        let said =
            everywhere("Take 4111 1111 1111 1111, Ada — thanks, ada.lovelace+x@mail.example.org");
        let sent = bench.upstream(&said, &|text| pieces(text, &[9]));
        let expected = bench.relay(&mut std::iter::once(&*sent));
        assert_eq!(bench.client(&expected), bench.whole(&said));
        for at in (0..=sent.len()).step_by(3) {
            let (first, second) = sent.split_at(at);
            let read = bench.relay(&mut [first, second].into_iter());
            assert_eq!(read, expected, "split at byte {at}");
        }
        assert_eq!(bench.relay(&mut sent.chunks(1)), expected, "byte by byte");
    }
}

fn said(text: impl Strategy<Value = String>) -> impl Strategy<Value = Said> {
    vec(text, 4).prop_map(|texts| {
        let call = |text: &String| json!({"a": text, "list": [text, 1, null]}).to_string();
        let calls = [call(&texts[2]), call(&texts[3])];
        Said { thought: texts[0].clone() + ".", text: texts[1].clone(), calls }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_pieces_in_any_chunks_read_as_the_whole_answer_does(
        said in said(text()),
        cuts in vec(1_usize..14, 1..12),
        chunks in vec(1_usize..300, 1..12),
    ) {
        for api in [Api::Messages, Api::Responses] {
            let mut bench = Bench::new(api);
            let sent = bench.upstream(&said, &|text| pieces(text, &cuts));
            let read = bench.relay(&mut blocks(&sent, &chunks));
            let found = bench.client(&read);
            assert_eq!(found, bench.whole(&said));
            assert_clean(&read, &found);
        }
    }

    #[test]
    fn values_cut_and_glued_are_judged_alike_in_either_dialect(
        said in said(rubble()),
        cuts in vec(1_usize..14, 1..12),
    ) {
        for api in [Api::Messages, Api::Responses] {
            let mut bench = Bench::new(api);
            let sent = bench.upstream(&said, &|text| pieces(text, &cuts));
            let read = bench.relay(&mut std::iter::once(&*sent));
            assert_eq!(bench.client(&read), bench.whole(&said));
        }
    }
}
