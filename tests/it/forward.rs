//! What reaches an upstream: the caller's bytes but for the masks, our credential and never theirs.

use crate::observe::record;
use crate::puppet::{Puppet, Then, chat_answer};
use crate::support::{Client, Gateway, KEY, config, upstreams};
use std::fs;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);
const PROVIDER_KEY: &str = "the-providers-own-key";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// A gateway in front of an upstream that tells what reached it.
fn begin() -> (Gateway, Receiver<String>, Puppet) {
    let upstreams = upstreams();
    let (tell, told) = channel();
    let puppet = Puppet::start(move |visit| {
        tell.send(visit.request.clone()).expect("the test listens");
        visit.say(&chat_answer("well"));
        Then::Keep
    });
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("key");
    fs::write(&secret, PROVIDER_KEY).expect("the key is written");
    let model = format!("url = \"http://{}/v1\"", upstreams.model_addr);
    let ours =
        format!("url = \"http://{}/v1\"\nkey = \"file:{}\"", puppet.address, secret.display());
    let config = config(&upstreams)
        .replace(&model, &ours)
        .replace("demo/demo-model", "demo/their-name/for-it");
    (Gateway::start_in(folder, &config, &[]), told, puppet)
}

/// Asks with this body and these fields beside; what reached the upstream, head and body.
fn forwarded(body: &str, fields: &[(&str, &str)]) -> (String, String, Gateway) {
    let (gateway, told, _puppet) = begin();
    let key = format!("Bearer {KEY}");
    let mut all = vec![("authorization", key.as_str()), ("content-type", "application/json")];
    all.extend_from_slice(fields);
    let mut client = Client::connect(gateway.address);
    client.ask("POST", "/v1/chat/completions", &all, body.as_bytes());
    let answer = client.answer("POST");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let request = told.recv_timeout(SOON).expect("it reached the upstream");
    let (head, body) = request.split_once("\r\n\r\n").expect("a head");
    (head.to_owned(), body.to_owned(), gateway)
}

#[test]
fn every_byte_but_a_mask_and_the_models_name_arrives_as_it_was_sent() {
    let sent = concat!(
        "{ \"model\" :\"demo-model\",\t\"x_unknown\": 1.0E+3,\r\n",
        " \"messages\":[{\"role\":\"user\", \"content\":\"caf\\u00e9 \u{fc}\\/ ",
        "pay \\u0034111\\u00201111 1111 1111 now \"}],\"seed\": 12345678901234567890 }\n"
    );
    let expected = sent
        .replace("\\u0034111\\u00201111 1111 1111", "[CARD]")
        .replace("\"demo-model\"", "\"their-name/for-it\"");
    let (head, body, _gateway) = forwarded(sent, &[]);
    assert_eq!(body, expected);
    let length = format!("content-length: {}", expected.len());
    assert!(head.lines().any(|line| line == length), "{head}");
}

#[test]
fn our_credential_goes_and_the_callers_key_and_unknown_fields_stay() {
    let body = r#"{"model":"demo-model","messages":[{"role":"user","content":"hi"}]}"#;
    let parent = format!("00-{TRACE}-b7ad6b7169203331-01");
    let fields = [
        ("traceparent", parent.as_str()),
        ("cookie", "session=caller"),
        ("x-forwarded-for", "192.0.2.7"),
        ("connection", "x-private, keep-alive"),
        ("x-private", "mine"),
        ("openai-organization", "org-1"),
    ];
    let (head, _, gateway) = forwarded(body, &fields);
    assert!(head.starts_with("POST /v1/chat/completions HTTP/1.1\r\n"), "{head}");
    let head = format!("{head}\r\n");
    assert!(head.contains(&format!("authorization: Bearer {PROVIDER_KEY}\r\n")), "{head}");
    assert!(head.contains("openai-organization: org-1\r\n"), "{head}");
    assert!(head.contains(&format!("traceparent: 00-{TRACE}-")), "{head}");
    assert!(!head.contains("b7ad6b7169203331"), "our span is the next hop's parent: {head}");
    for stays in [KEY, "cookie", "x-forwarded-for", "x-private", "mine"] {
        assert!(!head.contains(stays), "{stays} went along: {head}");
    }
    assert_eq!(head.matches("host: ").count(), 1, "{head}");
    let answer = gateway.chat("again", "");
    let id = answer.field("x-request-id").expect("an id").to_owned();
    assert_ne!(record(&gateway, &id)["trace_id"], TRACE, "a trace of its own");
    assert!(gateway.audit_text().contains(TRACE), "the caller's trace is in its record");
    assert!(!gateway.audit_text().contains(PROVIDER_KEY) && !gateway.log().contains(PROVIDER_KEY));
}

#[test]
fn a_stream_is_counted_without_its_client_noticing() {
    let upstreams = upstreams();
    let gateway = Gateway::before(&upstreams);
    let unasked = gateway.chat("hi", ",\"stream\":true");
    assert!(!unasked.text().contains("usage"), "{}", unasked.text());
    let asked = gateway.chat("hi", ",\"stream\":true,\"stream_options\":{\"include_usage\":true}");
    assert!(asked.text().contains("\"prompt_tokens\""), "{}", asked.text());
    for answer in [unasked, asked] {
        assert!(answer.text().ends_with("data: [DONE]\n\n"));
        let kept = record(&gateway, answer.field("x-request-id").expect("an id"));
        assert!(kept["usage"]["input"].as_u64() > Some(0), "{kept}");
        assert!(kept["usage"]["output"].as_u64() > Some(0), "{kept}");
    }
}
