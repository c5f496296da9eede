//! SIGHUP: a good file takes over for the next request, a bad one changes nothing and says why.

use crate::observe::{ask_chat, meter};
use crate::support::{
    Client, Gateway, KEY, LIMITED_KEY, config, digest, free_address, until, upstreams,
};
use ringwall::demo::serve::Running;
use serde_json::{Value, json};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
const CARD: &str = "4111 1111 1111 1111";
const NEW_KEY: &str = "another-key";
const CALL: &str =
    r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"leak","arguments":{}}}"#;

/// Writes another configuration and tells the gateway to read it.
fn reload(gateway: &Gateway, config: &str) {
    fs::write(gateway.config_file(), config).expect("the configuration is written");
    gateway.signal("HUP");
}

/// How many configurations took over so far.
fn taken(gateway: &Gateway) -> usize {
    gateway.log().matches(" serves").count()
}

/// Writes another configuration and waits until it serves.
fn reload_well(gateway: &Gateway, config: &str) {
    let before = taken(gateway);
    reload(gateway, config);
    assert!(until(SOON, || taken(gateway) > before), "{}", gateway.log());
}

/// Writes another configuration and waits until it is refused for that reason.
fn reload_badly(gateway: &Gateway, config: &str, why: &str) {
    reload(gateway, config);
    assert!(until(SOON, || gateway.log().contains(why)), "{}", gateway.log());
    assert!(until(SOON, || !is_latest(gateway)), "it counts as a success");
}

fn is_latest(gateway: &Gateway) -> bool {
    meter(gateway, "ringwall_config_last_reload_successful") == 1
}

fn content(answer: &Value) -> &str {
    answer.pointer("/choices/0/message/content").and_then(Value::as_str).unwrap_or_default()
}

/// The status of a tool call, and what the client read.
fn call(gateway: &Gateway) -> String {
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "it", "version": "1"}}});
    let mut client = Client::connect(gateway.address);
    let key = format!("Bearer {KEY}");
    let mut fields = vec![
        ("authorization", key.as_str()),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    client.ask("POST", "/mcp/demo", &fields, hello.to_string().as_bytes());
    let opened = client.answer("POST");
    let session = opened.field("mcp-session-id").expect("a session").to_owned();
    fields.push(("mcp-session-id", &session));
    client.ask("POST", "/mcp/demo", &fields, CALL.as_bytes());
    client.answer("POST").text()
}

/// The configuration with a second key, without the tool `leak`, and with cards blocked.
fn changed(before: &str) -> String {
    let keys = format!("keys = [\"sha256:{}\"]", digest(KEY));
    let both = format!("keys = [\"sha256:{}\", \"sha256:{}\"]", digest(KEY), digest(NEW_KEY));
    let changed = before
        .replace(&keys, &both)
        .replace("tools = [\"delete_*\"]", "tools = [\"delete_*\", \"leak\"]")
        .replace("request = \"mask\"", "request = \"block\"");
    assert_ne!(changed.len(), before.len());
    changed
}

fn begin() -> (Running, Gateway, String) {
    let upstreams = upstreams();
    let gateway = Gateway::start(&config(&upstreams), &["--set", "gateway.workers=2"]);
    let before = fs::read_to_string(gateway.config_file()).expect("its configuration");
    (upstreams, gateway, before)
}

#[test]
fn keys_tools_and_guards_change_for_the_next_request_and_a_live_stream_ends_on_the_old() {
    let (_upstreams, gateway, before) = begin();
    let hello = json!({"model": "demo-model", "messages": [{"role": "user", "content": "hi"}]});
    let as_new = || gateway.post_as(NEW_KEY, "/v1/chat/completions", &hello.to_string()).status();
    assert_eq!(as_new(), 401);
    assert!(call(&gateway).contains("[CARD]"), "the tool is called, and masked");
    assert!(content(&gateway.chat(&format!("pay {CARD}"), "").json()).contains("pay [CARD]"));

    let mut live = Client::connect(gateway.address);
    let slow = format!("pay {CARD} [demo chunks=1500 gap_ms=5]");
    ask_chat(&mut live, &slow, ",\"stream\":true");
    let mut heard = live.hear();
    assert!(heard.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&heard));

    reload_well(&gateway, &changed(&before));
    assert_eq!(as_new(), 200, "the new key");
    assert_eq!(gateway.chat("hi", "").status(), 200, "the old key too");
    let denied = call(&gateway);
    assert!(!denied.contains("[CARD]") && denied.contains("policy_denied"), "{denied}");
    let blocked = gateway.chat(&format!("pay {CARD}"), "");
    assert_eq!(blocked.status(), 400, "{}", blocked.text());
    assert!(blocked.text().contains("guard_blocked"), "{}", blocked.text());

    assert_eq!(meter(&gateway, "ringwall_in_flight"), 1, "it ended too early to say anything");
    while !heard.ends_with(b"\r\n0\r\n\r\n") {
        let more = live.hear();
        assert!(!more.is_empty(), "the stream was cut");
        heard.extend(more);
    }
    assert!(String::from_utf8_lossy(&heard).contains("data: [DONE]"), "no end");
}

#[test]
fn a_bad_file_or_one_that_needs_a_restart_changes_nothing_and_says_why() {
    let (_upstreams, gateway, before) = begin();
    assert!(is_latest(&gateway));
    reload_badly(&gateway, &before.replace("version = 1", "vresion = 1"), "vresion");
    assert_eq!(gateway.chat("hi", "").status(), 200, "the last good one stays");

    reload_well(&gateway, &before);
    assert!(is_latest(&gateway));
    let elsewhere = free_address().to_string();
    let moved = before.replace(&gateway.address.to_string(), &elsewhere);
    reload_badly(&gateway, &moved, "the listeners changed, which needs a restart");
    assert_eq!(gateway.chat("hi", "").status(), 200, "it listens where it did");

    reload_well(&gateway, &before);
    assert!(is_latest(&gateway));
}

/// Asks again and again, whole and as a stream; every answer must be good.
fn ask_until(gateway: &Gateway, stop: &AtomicBool, served: &AtomicUsize) {
    let mut client = Client::connect(gateway.address);
    for more in ["", ",\"stream\":true"].iter().cycle() {
        if stop.load(Ordering::Acquire) {
            return;
        }
        ask_chat(&mut client, "hi", more);
        let answer = client.answer("POST");
        assert_eq!((answer.status(), answer.is_whole), (200, true));
        served.fetch_add(1, Ordering::AcqRel);
    }
}

#[test]
fn ten_reloads_under_load_fail_no_request() {
    let (_upstreams, gateway, before) = begin();
    let other = changed(&before);
    let (stop, served) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| ask_until(&gateway, &stop, &served));
        }
        for round in 0..10 {
            let before_it = served.load(Ordering::Acquire);
            reload_well(&gateway, if round % 2 == 0 { &other } else { &before });
            let goes_on = until(SOON, || served.load(Ordering::Acquire) > before_it);
            assert!(goes_on, "nothing is served any more");
        }
        stop.store(true, Ordering::Release);
    });
    assert_eq!(taken(&gateway), 10, "{}", gateway.log());
}

#[test]
fn a_reload_gives_nobody_a_fresh_budget() {
    let (_upstreams, gateway, before) = begin();
    let hello = json!({"model": "demo-model", "messages": [{"role": "user", "content": "hi"}]});
    let ask = || gateway.post_as(LIMITED_KEY, "/v1/chat/completions", &hello.to_string()).status();
    let passed = |statuses: &[u16]| statuses.iter().filter(|status| **status == 200).count();
    let first: Vec<u16> = (0..3).map(|_| ask()).collect();
    reload_well(&gateway, &changed(&before));
    let second: Vec<u16> = (0..6).map(|_| ask()).collect();
    assert_eq!((passed(&first), passed(&second)), (3, 2), "{first:?} {second:?}");
}

#[test]
fn of_two_reloads_at_once_the_last_file_wins() {
    let (_upstreams, gateway, before) = begin();
    reload(&gateway, &changed(&before));
    let closed = before.replacen("effect = \"allow\"", "effect = \"deny\"", 1);
    reload(&gateway, &closed);
    assert!(until(SOON, || gateway.chat("hi", "").status() == 403), "{}", gateway.log());
}
