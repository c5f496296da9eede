//! The gateway as a process: each gate once, from outside, and what is left on disk.

use crate::support::{Client, Gateway, KEY, LIMITED_KEY, get, run, send, until, upstreams};
use serde_json::{Value, json};
use std::time::Duration;

const CARD: &str = "4111 1111 1111 1111";
const LEAKED: &str = "4242 4242 4242 4242";

fn said(answer: &Value) -> &str {
    answer.pointer("/choices/0/message/content").and_then(Value::as_str).unwrap_or_default()
}

#[test]
fn a_chat_goes_through_and_comes_back_masked() {
    let upstreams = upstreams();
    let gateway = Gateway::before(&upstreams);
    let answer = gateway.chat(&format!("Please charge {CARD} today"), "");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let answer = answer.json();
    let text = said(&answer);
    assert!(text.contains("Please charge") && text.contains("today"), "{text}");
    assert!(!text.contains(CARD), "{text}");
    assert!(!said(&gateway.chat("leak", "").json()).contains(LEAKED));
}

#[test]
fn a_stream_is_masked_and_ends_whole() {
    let upstreams = upstreams();
    let gateway = Gateway::before(&upstreams);
    let answer = gateway.chat("leak", ",\"stream\":true");
    assert!(answer.is_whole);
    let events = answer.events();
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"));
    let whole = gateway.chat("leak", "").json();
    let streamed: String = events
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .filter_map(|event| Some(event.pointer("/choices/0/delta/content")?.as_str()?.to_owned()))
        .collect();
    assert_eq!(streamed, said(&whole));
    assert!(!streamed.contains("4242 4242"), "{streamed}");
}

#[test]
fn every_gate_refuses_in_the_callers_dialect() {
    let upstreams = upstreams();
    let gateway = Gateway::before(&upstreams);
    let body = json!({"model": "demo-model", "messages": [{"role": "user", "content": "hi"}]});
    let other = json!({"model": "other", "messages": [{"role": "user", "content": "hi"}]});
    let chat = "/v1/chat/completions";
    let refusals = [
        (401, gateway.post_as("wrong-key", chat, &body.to_string())),
        (403, gateway.post(chat, &other.to_string())),
        (400, gateway.post(chat, "{")),
        (404, gateway.post("/nowhere", "{}")),
    ];
    for (status, answer) in refusals {
        assert_eq!(answer.status(), status, "{}", answer.text());
        assert!(answer.json().pointer("/error/message").is_some(), "{}", answer.text());
        assert!(answer.field("x-request-id").is_some(), "{status} has no request id");
    }
}

#[test]
fn json_that_is_refused_is_refused_with_its_place_in_the_callers_dialect() {
    let upstreams = upstreams();
    let gateway = Gateway::before(&upstreams);
    let key = format!("Bearer {KEY}");
    let fields = [
        ("authorization", &*key),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ];
    let post = |path: &str, body: &[u8]| send(gateway.address, "POST", path, &fields, body);
    let deep = [b"{\"a\":".as_slice(), &[b'['; 200]].concat();
    for (body, place) in [
        (br#"{"a":1,"\u0061":2}"#.as_slice(), "at byte 7"),
        (br#"{"a":"\udc00"}"#, "at byte 6"),
        (b"{\"a\":\"\xff\"}", "at byte 6"),
        (&deep, "at byte 100"),
        (br#"{"a":1} x"#, "at byte 6"),
        (br#"{"a":NaN}"#, "at byte "),
    ] {
        let answer = post("/v1/chat/completions", body);
        let (json, text) = (answer.json(), answer.text());
        assert_eq!(
            (answer.status(), &json["error"]["code"]),
            (400, &json!("invalid_json")),
            "{text}"
        );
        let message = json["error"]["message"].as_str().expect("a message");
        assert!(message.contains(place), "{place}: {text}");
        let answer = post("/mcp/demo", body);
        let (json, text) = (answer.json(), answer.text());
        assert_eq!((answer.status(), &json["error"]["code"]), (400, &json!(-32700)), "{text}");
        assert_eq!((&json["jsonrpc"], &json["id"]), (&json!("2.0"), &Value::Null), "{text}");
        let message = json["error"]["message"].as_str().expect("a message");
        assert!(message.contains(place), "{place}: {text}");
    }
}

#[test]
fn a_limit_holds_and_says_when_to_come_back() {
    let upstreams = upstreams();
    let gateway = Gateway::before(&upstreams);
    let body = json!({"model": "demo-model", "messages": [{"role": "user", "content": "hi"}]});
    let ask = || gateway.post_as(LIMITED_KEY, "/v1/chat/completions", &body.to_string());
    let answers: Vec<_> = (0..12).map(|_| ask()).collect();
    let passed = answers.iter().filter(|answer| answer.status() == 200).count();
    assert_eq!(passed, 5);
    let refused = answers.iter().find(|answer| answer.status() == 429).expect("one is refused");
    assert!(refused.field("retry-after").is_some());
    // The other caller is not concerned.
    assert_eq!(gateway.chat("hi", "").status(), 200);
}

#[test]
fn a_dead_stream_ends_as_a_failure_and_not_as_an_end() {
    let upstreams = upstreams();
    let gateway = Gateway::before(&upstreams);
    let answer = gateway.chat("A long one [demo chunks=50 cut=20]", ",\"stream\":true");
    assert_eq!(answer.status(), 200);
    let text = answer.text();
    assert!(!answer.is_whole || text.contains("\"error\""), "a cut looks like an end: {text}");
}

#[test]
fn an_mcp_call_goes_through_and_a_denied_tool_is_unknown() {
    let upstreams = upstreams();
    let gateway = Gateway::before(&upstreams);
    let mut client = Client::connect(gateway.address);
    let key = format!("Bearer {KEY}");
    let hello = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "it", "version": "1"}}});
    let mut session = String::new();
    let mut ask = |message: &Value| {
        let mut fields = vec![
            ("authorization", key.as_str()),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
        ];
        let own = session.clone();
        if !own.is_empty() {
            fields.push(("mcp-session-id", &own));
        }
        client.ask("POST", "/mcp/demo", &fields, message.to_string().as_bytes());
        let answer = client.answer("POST");
        if let Some(opened) = answer.field("mcp-session-id") {
            opened.clone_into(&mut session);
        }
        answer
    };
    assert_eq!(ask(&hello).status(), 200);
    let note = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
    assert_eq!(ask(&note).status(), 202);
    let list = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"});
    let list = ask(&list).text();
    assert!(list.contains("lookup_customer") && !list.contains("delete_everything"), "{list}");
    let call = |name: &str| {
        json!({"jsonrpc": "2.0", "id": 2, "method": "tools/call",
            "params": {"name": name, "arguments": {"name": "Ada"}}})
    };
    let record = ask(&call("lookup_customer")).text();
    assert!(record.contains("London") && !record.contains(LEAKED), "{record}");
    let denied = ask(&call("delete_everything")).text();
    assert!(!denied.contains("Everything is deleted"), "{denied}");
}

#[test]
fn an_mcp_revision_that_nobody_knows_is_refused_with_every_verb() {
    let upstreams = upstreams();
    let gateway = Gateway::before(&upstreams);
    let key = format!("Bearer {KEY}");
    for verb in ["GET", "DELETE", "POST"] {
        let fields = [
            ("authorization", key.as_str()),
            ("accept", "application/json, text/event-stream"),
            ("content-type", "application/json"),
            ("mcp-protocol-version", "4111 1111 1111 1111"),
        ];
        let ping = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let body: &[u8] = if verb == "POST" { ping } else { b"" };
        let answer = send(gateway.address, verb, "/mcp/demo", &fields, body);
        assert_eq!(answer.status(), 400, "{verb}: {}", answer.text());
        assert!(answer.text().contains("unsupported_protocol_version"), "{}", answer.text());
    }
}

#[test]
fn operators_see_health_and_meters() {
    let upstreams = upstreams();
    let gateway = Gateway::before(&upstreams);
    assert_eq!(gateway.chat("hi", "").status(), 200);
    assert_eq!(get(gateway.admin, "/healthz").status(), 200);
    let meters = get(gateway.admin, "/metrics").text();
    assert!(meters.contains("# TYPE ringwall_"), "{meters}");
    assert_eq!(get(gateway.address, "/metrics").status(), 404, "not for clients");
}

#[test]
fn term_drains_a_live_stream_and_the_audit_log_verifies() {
    let upstreams = upstreams();
    let mut gateway = Gateway::before(&upstreams);
    let mut stream = gateway.begin_stream("slow [demo chunks=40 gap_ms=25]");
    gateway.signal("TERM");
    let answer = stream.answer("POST");
    assert!(answer.is_whole, "the stream was cut");
    assert_eq!(answer.events().last().map(String::as_str), Some("[DONE]"));
    assert!(gateway.wait().success(), "{}", gateway.log());
    let folder = gateway.audit_folder().display().to_string();
    let verified = run(&["audit", "verify", &folder]);
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
}

#[test]
fn no_secret_and_no_card_is_in_the_audit_log() {
    let upstreams = upstreams();
    let gateway = Gateway::before(&upstreams);
    assert_eq!(gateway.chat(&format!("pay {CARD}"), "").status(), 200);
    assert_eq!(gateway.chat("leak", ",\"stream\":true").status(), 200);
    assert_eq!(gateway.post_as("wrong-key", "/v1/chat/completions", "{}").status(), 401);
    let written =
        until(Duration::from_secs(5), || gateway.audit_text().matches("pii.card").count() >= 2);
    let log = gateway.audit_text();
    assert!(written, "the hits are not in the log: {log}");
    for secret in [CARD, LEAKED, KEY, "wrong-key", "4111111111111111"] {
        assert!(!log.contains(secret), "{secret} is in the log");
    }
}
