//! Exactly one record for each exchange, whatever happened to it.

use crate::observe::{ask_chat, chat_body, meter, records};
use crate::puppet::{Puppet, Then};
use crate::support::{Client, Gateway, KEY, LIMITED_KEY, config, until, upstreams};
use ringwall::base::clock::Clock;
use ringwall::cli::demo::quickstart;
use ringwall::gateway::exchange::Exchange;
use ringwall::gateway::finish::Outcome;
use ringwall::gateway::mail::{BATCHES_MAX, Batch, Mailbox, NOTES_MAX};
use ringwall::gateway::plan::Plan;
use ringwall::gateway::shard::{Deployed, Shard};
use ringwall::http::head::{HeadBounds, Parsed};
use ringwall::http::request::parse_request;
use ringwall::mcp::session::Seal;
use ringwall::wire::bell::bell;
use ringwall::wire::runtime;
use ringwall::wire::watch::Watch;
use serde_json::Value;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);
const CHAT: &str = "/v1/chat/completions";

/// Asks in every way that ends an exchange with an answer; how many were asked.
fn ask_all(gateway: &Gateway) -> usize {
    let hello = chat_body("hi", "");
    let card = chat_body("pay 4111 1111 1111 1111", "");
    let mcp =
        r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_everything"}}"#;
    let asked = [
        (200, gateway.post(CHAT, &hello)),
        (200, gateway.post(CHAT, &chat_body("hi", ",\"stream\":true"))),
        (404, gateway.post("/nowhere", "{}")),
        (405, crate::support::get(gateway.address, CHAT)),
        (401, gateway.post_as("wrong-key", CHAT, &hello)),
        (400, gateway.post(CHAT, "{")),
        (400, gateway.post(CHAT, "{\"model\":\"demo-model\"}")),
        (403, gateway.post(CHAT, &hello.replace("demo-model", "another-model"))),
        (400, gateway.post(CHAT, &card)),
        (503, gateway.post(CHAT, &chat_body("[demo status=503]", ""))),
        (502, gateway.post(CHAT, &chat_body("[demo cut=0]", ""))),
        (200, gateway.post(CHAT, &chat_body("[demo chunks=9 cut=3]", ",\"stream\":true"))),
        (200, gateway.post("/mcp/demo", mcp)),
        (413, gateway.post(CHAT, &chat_body(&"long ".repeat(4000), ""))),
    ];
    for (status, answer) in &asked {
        assert_eq!(answer.status(), *status, "{}", answer.text());
    }
    // Five pass within the minute; what was refused before its lease counts nothing.
    for number in 0..8 {
        let status = gateway.post_as(LIMITED_KEY, CHAT, &hello).status();
        assert_eq!(status, if number < 5 { 200 } else { 429 });
    }
    asked.len() + 8
}

/// Breaks off, or never becomes a request; how many exchanges that makes.
fn break_off(gateway: &Gateway) -> usize {
    for broken in
        ["GET / HTTP/9.9\r\n\r\n", "nonsense\r\n\r\n", "POST /v1/chat/completions HTTP/1.1\r\n\r\n"]
    {
        let mut client = Client::connect(gateway.address);
        client.say(broken.as_bytes());
        assert!((400..600).contains(&client.answer("POST").status()), "{broken}");
    }
    let before = meter(gateway, "ringwall_in_flight");
    let mut leaving = Client::connect(gateway.address);
    ask_chat(&mut leaving, "slow [demo chunks=5000 gap_ms=20]", ",\"stream\":true");
    assert!(until(SOON, || meter(gateway, "ringwall_in_flight") > before), "it did not begin");
    drop(leaving);
    // A body that never comes whole.
    let mut half = Client::connect(gateway.address);
    half.say(
        format!(
            "POST {CHAT} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\n\
             content-type: application/json\r\ncontent-length: 100\r\n\r\n{{\"model\""
        )
        .as_bytes(),
    );
    drop(half);
    // A connection that says nothing is no exchange.
    drop(Client::connect(gateway.address));
    5
}

#[test]
fn every_exchange_leaves_one_record_and_no_two_share_an_id() {
    let upstreams = upstreams();
    let sets = ["--set", "gateway.workers=2", "--set", "bounds.body=8 KiB"];
    let blocking = config(&upstreams).replace("request = \"mask\"", "request = \"block\"");
    let mut gateway = Gateway::start(&blocking, &sets);
    let exchanges = ask_all(&gateway) + break_off(&gateway);
    let written = until(SOON, || records(&gateway).len() >= exchanges);
    assert!(written, "{} of {exchanges}", records(&gateway).len());
    gateway.signal("TERM");
    assert!(gateway.wait().success(), "{}", gateway.log());

    let kept = records(&gateway);
    assert_eq!(kept.len(), exchanges);
    let mut ids: Vec<&str> = kept.iter().filter_map(|record| record["id"].as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), exchanges, "two records share an id");
    let count = |outcome: &str| kept.iter().filter(|one| one["outcome"] == outcome).count();
    let counted = ["answered", "client_gone", "upstream_failed"].map(count);
    // The 503 was the upstream's own answer, and passed on.
    assert_eq!(counted, [8, 2, 2], "{kept:#?}");
    assert_eq!(count("refused"), exchanges - 12, "{kept:#?}");
    for record in &kept {
        let by = record.pointer("/refusal/gate").and_then(Value::as_str);
        let last = record["gates"].as_array().and_then(|gates| gates.last());
        let last = last.filter(|gate| gate["decision"] == "refuse");
        assert_eq!(by, last.and_then(|gate| gate["gate"].as_str()), "{record}");
    }
}

#[test]
fn a_drain_that_cuts_a_stream_leaves_its_record() {
    let puppet = Puppet::start(|visit| {
        visit.say(crate::puppet::STREAM);
        visit.say(&crate::puppet::delta("a word and "));
        visit.is_left();
        Then::Close
    });
    let upstreams = upstreams();
    let config =
        config(&upstreams).replace(&upstreams.model_addr.to_string(), &puppet.address.to_string());
    let mut gateway = Gateway::start(&config, &["--set", "gateway.drain=200ms"]);
    let mut client = Client::connect(gateway.address);
    ask_chat(&mut client, "hi", ",\"stream\":true");
    assert!(client.hear().starts_with(b"HTTP/1.1 200"));
    gateway.signal("TERM");
    assert!(gateway.wait().success(), "{}", gateway.log());
    let kept = records(&gateway);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0]["outcome"], "stopped", "{kept:?}");
}

/// A worker's things, and where its records go.
fn shard() -> (Rc<Shard>, Mailbox<Batch>) {
    let config = quickstart(&[]).unwrap_or_else(|faults| panic!("{:?}", faults.list));
    let plan = Plan::compile(config, Arc::new(Seal::new([7; 32])), None).expect("it compiles");
    let deployed = Deployed::build(Arc::new(plan), Arc::default()).expect("it is built");
    let (ringer, _bell) = bell().expect("a bell");
    let batches = Mailbox::new(BATCHES_MAX, ringer.clone());
    let notes = Mailbox::new(NOTES_MAX, ringer);
    let clock = Clock::machine();
    let watch = Watch::new(clock.clone());
    (Rc::new(Shard::new(0, clock, watch, deployed, notes, batches.clone())), batches)
}

fn written(shard: &Shard, batches: &Mailbox<Batch>) -> Vec<Value> {
    shard.flush();
    let lines = std::iter::from_fn(|| batches.take()).flatten();
    lines.map(|line| serde_json::from_slice(&line).expect("a record is JSON")).collect()
}

#[test]
fn an_exchange_whose_future_panics_is_recorded_once_and_counted() {
    let (shard, batches) = shard();
    let head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\ncontent-length: 0\r\n\r\n";
    let parsed = parse_request(head, &HeadBounds { bytes: 1024, count: 16 });
    let Ok(Parsed::Complete { head, .. }) = parsed else { panic!("the head is whole") };
    let own = Rc::clone(&shard);
    let ran = runtime::run(None, async move |_| {
        let (told, tell) = std::sync::mpsc::channel();
        let task = async move {
            let _exchange = Exchange::begin(&own, &head);
            runtime::yield_now().await;
            panic!("on purpose");
        };
        runtime::spawn(task, move || told.send(()).unwrap_or_default());
        while tell.try_recv().is_err() {
            runtime::yield_now().await;
        }
    });
    ran.expect("the loop goes on");
    let kept = written(&shard, &batches);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(kept[0]["outcome"], "panicked");
    assert_eq!(shard.live.get(), 0, "it still counts as live");
    assert_eq!(shard.meters.borrow_mut().counts().panics, 1);
}

#[test]
fn a_settled_exchange_is_not_recorded_again_when_it_is_dropped() {
    let (shard, batches) = shard();
    let mut exchange = Exchange::blank(&shard);
    exchange.settle(Outcome::Answered);
    exchange.settle(Outcome::Refused);
    drop(exchange);
    let kept = written(&shard, &batches);
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!((&kept[0]["outcome"], shard.live.get()), (&Value::from("answered"), 0));
}
