//! Every endpoint of models as a process: what its record and its meters say, where it leads, and
//! what an upstream gets of a client's head.

#![expect(clippy::indexing_slicing, reason = "a test may stop where it stands")]

use crate::observe::record;
use crate::puppet::{Puppet, Then};
use crate::support::{Answer, Client, Gateway, KEY, config, get, upstreams};
use ringwall::base::ask::Api;
use serde_json::{Value, json};
use std::sync::mpsc::channel;

const CARD: &str = "4111 1111 1111 1111";

/// A request that tells an endpoint a card.
fn body(api: Api, text: &str) -> Value {
    let mut body = json!({"model": "demo-model", "max_tokens": 99});
    let (name, said) = match api {
        Api::Completions => ("prompt", Value::from(text)),
        Api::Embeddings | Api::Responses => ("input", Value::from(text)),
        Api::Chat | Api::CountTokens | Api::Messages => {
            ("messages", json!([{"role": "user", "content": text}]))
        }
    };
    body[name] = said;
    body
}

fn path(api: Api) -> String {
    format!("/v1{}", api.path())
}

fn recorded(gateway: &Gateway, answer: &Answer) -> Value {
    record(gateway, answer.field("x-request-id").expect("a request id"))
}

#[test]
fn every_endpoint_is_masked_recorded_and_counted() {
    let upstreams = upstreams();
    let gateway = Gateway::before(&upstreams);
    for api in Api::ALL {
        let asked = body(api, &format!("Take {CARD} today")).to_string();
        let answer = gateway.post(&path(api), &asked);
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert!(!answer.text().contains(CARD), "{}", answer.text());
        let kept = recorded(&gateway, &answer);
        assert_eq!(kept["kind"], api.name());
        assert_eq!(kept["ask"]["dialect"], api.dialect().name());
        assert_eq!(kept["ask"]["model"], "demo-model");
        assert_eq!(kept["hits"][0]["rule"], "pii.card", "{kept}");
        assert_eq!(kept["coverage"][0]["channel"], "user", "{kept}");
        if api != Api::CountTokens {
            assert!(kept["usage"]["input"].as_u64() > Some(0), "{kept}");
        }
        let page = get(gateway.admin, "/metrics").text();
        let meter = format!("ringwall_requests_total{{kind=\"{}\",status=\"2xx\"}} 1", api.name());
        assert!(page.contains(&meter), "no {meter} in {page}");
    }
}

#[test]
fn streams_are_masked_on_every_channel_and_say_what_they_cost() {
    let upstreams = upstreams();
    let gateway = Gateway::before(&upstreams);
    for api in [Api::Messages, Api::Responses, Api::Completions] {
        let mut asked = body(api, "leak");
        asked["stream"] = Value::from(true);
        asked["thinking"] = json!({"type": "enabled", "budget_tokens": 1024});
        asked["reasoning"] = json!({"effort": "low"});
        let answer = gateway.post(&path(api), &asked.to_string());
        assert!(answer.is_whole && answer.status() == 200, "{}", answer.text());
        let digits: String = answer.text().chars().filter(char::is_ascii_digit).collect();
        assert!(!digits.contains("4242424242424242"), "{}", answer.text());
        let kept = recorded(&gateway, &answer);
        let cards: Vec<&str> = kept["hits"]
            .as_array()
            .expect("hits")
            .iter()
            .filter(|hit| hit["rule"] == "pii.card")
            .filter_map(|hit| hit["channel"].as_str())
            .collect();
        let expected: &[&str] =
            if api == Api::Completions { &["assistant"] } else { &["reasoning", "assistant"] };
        assert_eq!(cards.len(), expected.len(), "{kept}");
        assert!(expected.iter().all(|channel| cards.contains(channel)), "{kept}");
        assert!(kept["usage"]["output"].as_u64() > Some(1), "{kept}");
        // Of completions it is the gateway that asked, and so the client does not read it.
        assert_eq!(answer.text().contains("\"usage\""), api != Api::Completions);
    }
}

#[test]
fn a_dialect_that_no_provider_speaks_is_refused_in_its_own_terms() {
    let upstreams = upstreams();
    let both = "dialects = [\"openai\", \"anthropic\"]";
    let plain = config(&upstreams);
    let gateway = Gateway::start(&plain.replace(both, ""), &[]);
    let answer = gateway.post("/v1/messages", &body(Api::Messages, "hi").to_string());
    assert_eq!(answer.status(), 400, "{}", answer.text());
    let error = answer.json();
    assert_eq!(error["error"]["code"], "dialect_not_served");
    assert_eq!(error["request_id"], answer.field("request-id").expect("an id"));
    assert_eq!(gateway.chat("hi", "").status(), 200);
    let gateway = Gateway::start(&plain.replace(both, "dialects = [\"anthropic\"]"), &[]);
    assert_eq!(gateway.chat("hi", "").json()["error"]["code"], "dialect_not_served");
}

#[test]
fn each_dialect_goes_to_the_provider_that_speaks_it_with_its_own_fields() {
    let (hears, heard) = channel();
    let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    let puppet = Puppet::start(move |visit| {
        hears.send(visit.request.clone()).expect("the test listens");
        visit.say(answer);
        Then::Keep
    });
    let upstreams = upstreams();
    let provider = format!(
        "[[provider]]\nname = \"claude\"\nurl = \"http://{}/v1\"\ndialects = [\"anthropic\"]\n\
         key = \"file:/proc/sys/kernel/ostype\"\nheader = \"x-api-key\"\n\n[[model]]",
        puppet.address
    );
    let config = config(&upstreams)
        .replace("dialects = [\"openai\", \"anthropic\"]", "")
        .replace("[[model]]", &provider)
        .replace(
            "routes = [\"demo/demo-model\"]",
            "routes = [\"demo/demo-model\", \"claude/c-4\"]",
        );
    let gateway = Gateway::start(&config, &[]);
    assert_eq!(gateway.chat("hi", "").status(), 200);
    let mut client = Client::connect(gateway.address);
    let fields = [
        ("x-api-key", KEY),
        ("content-type", "application/json"),
        ("anthropic-version", "2023-06-01"),
        ("anthropic-beta", "files-api-2025-04-14"),
        ("openai-organization", "org"),
    ];
    let asked = body(Api::Messages, "hi").to_string();
    client.ask("POST", "/v1/messages", &fields, asked.as_bytes());
    assert_eq!(client.answer("POST").status(), 200);
    let heard: Vec<String> = heard.try_iter().collect();
    assert_eq!(heard.len(), 1, "chat went to the other provider");
    let request = &heard[0];
    assert!(request.starts_with("POST /v1/messages HTTP/1.1\r\n"), "{request}");
    for sent in ["anthropic-version: 2023-06-01", "anthropic-beta: files", "x-api-key: Linux"] {
        assert!(request.contains(sent), "{sent} in {request}");
    }
    assert!(request.contains(&asked.replace("demo-model", "c-4")), "{request}");
    assert!(!request.contains(KEY) && !request.contains("openai-organization"), "{request}");
}
