//! The way back of a streamed chat, all of it: from the bytes of an upstream to what a client of
//! server-sent events reads. Whatever the deltas and whatever the network's chunks, the client reads
//! the same masked text, and no planted value ever leaves.

use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_oneof, proptest};
use proptest::sample::select;
use ringwall::base::hit::Direction;
use ringwall::base::json::Reader;
use ringwall::config::load;
use ringwall::gateway::clear::StreamGuard;
use ringwall::gateway::plan::Plan;
use ringwall::gateway::shard::Deployed;
use ringwall::http::sse::{SseDecoder, SseEvent};
use ringwall::llm::answer;
use ringwall::llm::stream::{ChatStream, Flow};
use ringwall::mcp::session::Seal;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

const CONFIG: &str = r#"
version = 1
[[caller]]
name = "anybody"
anonymous = true
[[rule]]
name = "all"
effect = "allow"
models = ["*"]
[[provider]]
name = "p"
url = "http://127.0.0.1:1/v1"
[[model]]
name = "m"
routes = ["p/m"]
[guard]
enabled = true
[[guard.action]]
rule = "pii.*"
response = "mask"
[[guard.action]]
rule = "secret.*"
response = "mask"
"#;

/// What is planted, and the part of it that must never be read by anybody.
pub(crate) const PLANTED: [(&str, &str); 12] = [
    ("4111 1111 1111 1111", "4111 1111 1111"),
    ("5555-5555-5555-4444", "5555-5555-5555"),
    ("378282246310005", "37828224631000"),
    ("536-22-1234", "536-22-1234"),
    ("DE89 3704 0044 0532 0130 00", "3704 0044 0532"),
    ("FR1420041010050500013M02606", "20041010050500013M"),
    ("ada.lovelace+x@mail.example.co.uk", "lovelace+x@mail"),
    (concat!("AKIA", "UJZDEGXDNCF32EPF"), "UJZDEGXDNCF32EPF"),
    (concat!("ghp_", "6PwZPf1Qh6yYTWmE4lBYOvfZ8UzDzV8fUkki"), "6PwZPf1Qh6yYTWmE4lBYOvfZ8U"),
    (
        concat!("sk-", "zC5T4uUhf7kvmlP7HVDctQUy1xvCkgafrfwA94hJ9WnywX0t"),
        "zC5T4uUhf7kvmlP7HVDctQUy1",
    ),
    (
        concat!(
            "-----BEGIN RSA ",
            "PRIVATE KEY-----\nMIIEowIBAAKCAQEAwJ8c2Zk1\nq7Yv0Lk3mN5pQ9==\n-----END RSA PRIVATE KEY-----"
        ),
        "MIIEowIBAAKCAQEA",
    ),
    (
        concat!(
            "eyJhbG",
            "ciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
        ),
        "eyJzdWIiOiIxMjM0NTY3ODkwIn0",
    ),
];

/// The rules' database takes a while to build; every test shares it.
fn plan() -> Arc<Plan> {
    static PLAN: OnceLock<Arc<Plan>> = OnceLock::new();
    let compile = || {
        let nothing = |_: &Path| Err(io::ErrorKind::NotFound.into());
        let config = load::parse("stream.toml", CONFIG, &[], &|_| None, &nothing);
        let config = config.unwrap_or_else(|faults| panic!("{:?}", faults.list));
        let seal = Arc::new(Seal::new([7; 32]));
        Arc::new(Plan::compile(config, seal, None).expect("the plan compiles"))
    };
    Arc::clone(PLAN.get_or_init(compile))
}

/// What a worker has of it.
pub(crate) fn deployed() -> Rc<Deployed> {
    Rc::new(Deployed::build(plan(), Arc::default()).expect("it is built"))
}

/// Which run of text: the choice, and the tool call where it is one's arguments.
type Name = (u64, Option<u64>);
type Texts = BTreeMap<Name, String>;
/// A text in pieces.
type Pieces = Vec<String>;
/// How a text is cut.
type Cut<'a> = dyn Fn(&str) -> Pieces + 'a;

/// The gateway's half, on this thread.
struct Bench {
    deployed: Rc<Deployed>,
    reader: Reader,
}

impl Bench {
    fn new() -> Self {
        Self { deployed: deployed(), reader: Reader::default() }
    }

    /// What the gateway makes of an upstream's bytes that come in these blocks.
    fn relay(&mut self, blocks: &mut dyn Iterator<Item = &[u8]>) -> Vec<u8> {
        let mut decoder = SseDecoder::new(1 << 20);
        let mut stream = ChatStream::new(false);
        let mut guard = StreamGuard::new(&self.deployed);
        let mut out = Vec::new();
        let mut flow = Flow::Continue;
        for block in blocks {
            decoder.push(block);
            while let Some(event) = decoder.next().expect("a sound stream") {
                if event.is_comment {
                    continue;
                }
                let reader = &mut self.reader;
                flow = stream.event(&event.data, reader, &mut guard, &mut out).expect("it passes");
            }
        }
        assert_eq!(flow, Flow::Done);
        out
    }

    /// What the same texts become as one answer that is masked whole.
    fn whole(&mut self, texts: &Texts) -> Texts {
        let choices: Vec<Value> = numbers(texts).map(|choice| message(texts, choice)).collect();
        let raw = json!({"id": "c", "object": "chat.completion", "choices": choices}).to_string();
        let json = self.reader.read(raw.as_bytes()).expect("it is JSON");
        let text = answer::read(&json).text;
        let mut matcher = self.deployed.matcher.borrow_mut();
        let cleared =
            matcher.clear(raw.as_bytes(), &text, Direction::Response).expect("masks only");
        let masked = cleared.into_splices().apply(raw.as_bytes());
        let masked: Value = serde_json::from_slice(&masked).expect("it is JSON still");
        let mut found = Texts::new();
        for choice in list(&masked, "choices") {
            collect(choice, &choice["message"], &mut found);
        }
        found
    }
}

fn numbers(texts: &Texts) -> impl Iterator<Item = u64> {
    let mut all: Vec<u64> = texts.keys().map(|(choice, _)| *choice).collect();
    all.dedup();
    all.into_iter()
}

fn message(texts: &Texts, choice: u64) -> Value {
    let calls = texts.iter().filter(|((own, tool), _)| *own == choice && tool.is_some());
    let calls: Vec<Value> = calls
        .map(|((_, tool), text)| {
            json!({"index": tool, "id": "t", "type": "function",
                "function": {"name": "f", "arguments": text}})
        })
        .collect();
    let content = texts.get(&(choice, None));
    json!({"index": choice, "finish_reason": "stop",
        "message": {"role": "assistant", "content": content, "tool_calls": calls}})
}

fn list<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// Adds the texts of a message, or of a piece of one.
fn collect(choice: &Value, message: &Value, found: &mut Texts) {
    let number = choice["index"].as_u64().expect("a choice has its number");
    if let Some(text) = message["content"].as_str() {
        found.entry((number, None)).or_default().push_str(text);
    }
    for call in list(message, "tool_calls") {
        let tool = call["index"].as_u64();
        let text = call.pointer("/function/arguments").and_then(Value::as_str).unwrap_or_default();
        found.entry((number, tool)).or_default().push_str(text);
    }
}

/// One event with one choice in it.
fn event(choice: u64, delta: &Value, reason: Option<&str>) -> String {
    let choices = json!([{"index": choice, "delta": delta, "finish_reason": reason}]);
    let chunk = json!({"id": "c", "object": "chat.completion.chunk", "created": 1,
        "model": "m", "choices": choices, "usage": null});
    format!("data: {chunk}\n\n")
}

/// Text of a run as it stands in a delta; a call's first piece has its name.
fn piece((_, tool): Name, text: &str, is_first: bool) -> Value {
    match tool {
        None => json!({"content": text}),
        Some(tool) if is_first => json!({"tool_calls": [{"index": tool, "id": "t",
            "type": "function", "function": {"name": "f", "arguments": text}}]}),
        Some(tool) => json!({"tool_calls": [{"index": tool, "function": {"arguments": text}}]}),
    }
}

/// An upstream's stream of these texts, each in the pieces that `cut` makes of it, in turns.
fn upstream(texts: &Texts, cut: &Cut<'_>) -> Vec<u8> {
    let mut out = String::new();
    let runs: Vec<Pieces> = texts.values().map(|text| cut(text)).collect();
    let turns = runs.iter().map(Vec::len).max().unwrap_or_default();
    for turn in 0..turns {
        for (name, pieces) in texts.keys().zip(&runs) {
            if let Some(text) = pieces.get(turn) {
                out.push_str(&event(name.0, &piece(*name, text, turn == 0), None));
            }
        }
        out.push_str(": keep-alive\n\n");
    }
    for choice in numbers(texts) {
        out.push_str(&event(choice, &json!({}), Some("stop")));
    }
    out.push_str("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1}}\n\n");
    out.push_str("data: [DONE]\n\n");
    out.into_bytes()
}

/// What a client reads: every event whole, nothing of a choice after its finish reason, nothing
/// at all after `[DONE]`.
fn client(bytes: &[u8]) -> Texts {
    let mut decoder = SseDecoder::new(1 << 20);
    decoder.push(bytes);
    let mut found = Texts::new();
    let mut finished = Vec::new();
    let mut done = false;
    while let Some(SseEvent { data, is_comment, .. }) = decoder.next().expect("a sound stream") {
        assert!(!done, "after [DONE]: {data}");
        done = data == "[DONE]";
        if done || is_comment {
            continue;
        }
        let chunk: Value = serde_json::from_str(&data).unwrap_or_else(|e| panic!("{e}: {data}"));
        for choice in list(&chunk, "choices") {
            let number = choice["index"].as_u64();
            let mut new = Texts::new();
            collect(choice, &choice["delta"], &mut new);
            let says_more = new.values().any(|text| !text.is_empty());
            assert!(!says_more || !finished.contains(&number), "after the finish reason: {data}");
            for (name, text) in new {
                found.entry(name).or_default().push_str(&text);
            }
            if choice["finish_reason"].is_string() {
                finished.push(number);
            }
        }
    }
    assert!(done, "no [DONE]");
    assert_eq!(finished.len(), numbers(&found).count(), "each choice finishes once");
    found
}

/// Nothing of what was planted is there, neither in the texts nor in the bytes.
fn assert_clean(bytes: &[u8], texts: &Texts) {
    let raw = String::from_utf8_lossy(bytes);
    for (_, secret) in PLANTED {
        assert!(!raw.contains(secret), "{secret} is in the bytes");
        for (name, text) in texts {
            assert!(!text.contains(secret), "{secret} is in {name:?}: {text}");
        }
    }
    for ((_, tool), text) in texts {
        if tool.is_some() {
            let parsed: Result<Value, _> = serde_json::from_str(text);
            assert!(parsed.is_ok(), "no JSON any more: {text}");
        }
    }
}

/// Pieces of so many characters, by turns.
pub(crate) fn pieces(text: &str, lengths: &[usize]) -> Pieces {
    let mut out = Vec::new();
    let mut rest = text.chars().peekable();
    for length in lengths.iter().cycle() {
        if rest.peek().is_none() {
            break;
        }
        out.push(rest.by_ref().take((*length).max(1)).collect());
    }
    out
}

/// Two pieces, the first of so many characters.
pub(crate) fn halves(text: &str, first: usize) -> Pieces {
    let rest = text.chars().skip(first).collect();
    vec![text.chars().take(first).collect(), rest]
}

/// Texts in which the place of a split matters most.
fn interesting() -> Vec<Texts> {
    let mut all = Vec::new();
    for (value, _) in PLANTED {
        let said = format!("Take {value}, and thanks.");
        all.push(Texts::from([((0, None), said.clone())]));
        let arguments = json!({"note": said, "n": [1, value]}).to_string();
        all.push(Texts::from([((0, Some(0)), arguments)]));
    }
    for arguments in [
        r#"{"card":4111111111111111,"ok":true}"#,
        r#"{"card":"\u0034111\u00201111 1111 1111","mail":"ada.lovelace\u002bx@mail.example.co.uk"}"#,
        r#"{"4111 1111 1111 1111":"key"}"#,
    ] {
        all.push(Texts::from([((0, Some(0)), arguments.to_owned())]));
    }
    all
}

#[test]
fn every_split_into_two_deltas_reads_as_the_whole_answer_does() {
    let mut bench = Bench::new();
    for texts in interesting() {
        let expected = bench.whole(&texts);
        assert_ne!(expected, texts, "nothing was masked");
        let length = texts.values().map(|text| text.chars().count()).max().unwrap_or_default();
        for at in 0..=length {
            let sent = upstream(&texts, &|text| halves(text, at));
            let read = bench.relay(&mut std::iter::once(&*sent));
            let found = client(&read);
            assert_eq!(found, expected, "split at {at}");
            assert_clean(&read, &found);
        }
        for lengths in [&[1][..], &[2], &[3], &[7], &[1, 5, 2]] {
            let sent = upstream(&texts, &|text| pieces(text, lengths));
            let read = bench.relay(&mut std::iter::once(&*sent));
            let found = client(&read);
            assert_eq!(found, expected, "pieces of {lengths:?}");
            assert_clean(&read, &found);
        }
    }
}

#[test]
fn the_networks_chunks_change_nothing() {
    let mut bench = Bench::new();
    let card = "Take 4111 1111 1111 1111, Ada — thanks.".to_owned();
    let arguments = r#"{"to":"ada.lovelace+x@mail.example.co.uk"}"#.to_owned();
    let texts = Texts::from([((0, None), card), ((1, Some(0)), arguments)]);
    let sent = upstream(&texts, &|text| pieces(text, &[9]));
    let expected = bench.relay(&mut std::iter::once(&*sent));
    assert_eq!(client(&expected), bench.whole(&texts));
    for at in 0..=sent.len() {
        let (first, second) = sent.split_at(at);
        assert_eq!(bench.relay(&mut [first, second].into_iter()), expected, "split at byte {at}");
    }
    assert_eq!(bench.relay(&mut sent.chunks(1)), expected, "byte by byte");
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    let planted: Vec<&str> = PLANTED.iter().map(|(value, _)| *value).collect();
    let prose = [
        "the quick fox",
        "Grüße aus Köln",
        "naïve café",
        "一二三",
        "🦊",
        "sk-",
        "eyJ",
        "AK",
        "-----BEGIN",
        "a@",
        "\"quoted\" and \\ back",
        "{\"half\":",
        "version 4",
    ];
    let fragment = prop_oneof![select(planted), select(prose.to_vec())];
    let between = prop_oneof![Just(" "), Just(", "), Just("\n"), Just(" — "), Just("\t\"")];
    vec((fragment, between), 0..7)
        .prop_map(|parts| parts.iter().flat_map(|(one, after)| [*one, *after]).collect())
}

/// Values cut and glued together anywhere: whether they still are values, the guard decides.
pub(crate) fn rubble() -> impl Strategy<Value = String> {
    let planted: Vec<&str> = PLANTED.iter().map(|(value, _)| *value).collect();
    let shard = (select(planted), 0_usize..40, 1_usize..60)
        .prop_map(|(value, skip, take)| value.chars().skip(skip).take(take).collect::<String>());
    let planted: Vec<String> = PLANTED.iter().map(|(value, _)| (*value).to_owned()).collect();
    let glue = ["", " ", "-", ".", ",", "_", "x", "4", "@", "\n", "\u{a0}", "é", "\"", "\\", "+1 "];
    let glue = select(glue.map(str::to_owned).to_vec());
    vec(prop_oneof![select(planted), shard, glue], 0..9).prop_map(|parts| parts.concat())
}

/// Two choices, each with text and two tool calls.
fn texts(text: impl Strategy<Value = String>) -> impl Strategy<Value = Texts> {
    vec(text, 6).prop_map(|all| {
        let mut texts = Texts::new();
        for (index, text) in (0_u64..).zip(all) {
            let choice = index / 3;
            let (tool, text) = match index % 3 {
                0 => (None, format!("{text}.")),
                tool => (Some(tool - 1), json!({"a": text, "list": [text, 1, null]}).to_string()),
            };
            texts.insert((choice, tool), text);
        }
        texts
    })
}

/// Blocks of so many bytes, by turns.
pub(crate) fn blocks<'a>(
    mut rest: &'a [u8],
    lengths: &'a [usize],
) -> impl Iterator<Item = &'a [u8]> {
    lengths.iter().cycle().map_while(move |length| {
        let (block, after) = rest.split_at((*length).min(rest.len()));
        rest = after;
        (!block.is_empty()).then_some(block)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn any_deltas_in_any_chunks_read_as_the_whole_answer_does(
        texts in texts(text()),
        deltas in vec(1_usize..14, 1..12),
        chunks in vec(1_usize..300, 1..12),
    ) {
        let mut bench = Bench::new();
        let sent = upstream(&texts, &|text| pieces(text, &deltas));
        let read = bench.relay(&mut blocks(&sent, &chunks));
        let found = client(&read);
        assert_eq!(found, bench.whole(&texts));
        assert_clean(&read, &found);
    }

    #[test]
    fn values_cut_and_glued_are_judged_alike_in_pieces_and_whole(
        texts in texts(rubble()),
        deltas in vec(1_usize..14, 1..12),
    ) {
        let mut bench = Bench::new();
        let sent = upstream(&texts, &|text| pieces(text, &deltas));
        let found = client(&bench.relay(&mut std::iter::once(&*sent)));
        assert_eq!(found, bench.whole(&texts));
    }
}
