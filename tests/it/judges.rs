//! Outside judges, from outside: what they read, what their verdicts come to, and what happens
//! where they give none. And the other way round: the scan API that we serve.

#![expect(clippy::disallowed_types, reason = "a test's threads may wait for each other")]

use crate::observe::{chat_body, record};
use crate::puppet::{Puppet, STREAM, Then, chat_answer, delta, json_answer};
use crate::support::{Answer, Gateway, KEY, config, send, upstreams};
use ringwall::demo::serve::Running;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const CARD: &str = "4111 1111 1111 1111";

/// What a judge was asked, oldest first.
type Asked = Arc<Mutex<Vec<Value>>>;

/// A judge that says this about each question.
fn judge(say: impl Fn(&Value) -> String + Clone + Send + 'static) -> (Puppet, Asked) {
    let asked = Asked::default();
    let seen = Arc::clone(&asked);
    let puppet = Puppet::start(move |visit| {
        let (_, body) = visit.request.split_once("\r\n\r\n").unwrap_or_default();
        let question: Value = serde_json::from_str(body).expect("a question is JSON");
        let answer = say(&question);
        if let Ok(mut all) = seen.lock() {
            all.push(question);
        }
        visit.say(&json_answer("200 OK", &answer));
        Then::Keep
    });
    (puppet, asked)
}

/// A gateway with the demo that it stands in front of.
struct Judged(Gateway, #[expect(dead_code, reason = "it lives as long")] Running);

impl Deref for Judged {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.0
    }
}

/// A gateway in front of the demo, or of this model, with a judge of that address.
fn before(judge: SocketAddr, more: &str, model: Option<SocketAddr>) -> Judged {
    let upstreams = upstreams();
    let mut text = config(&upstreams);
    if let Some(model) = model {
        text = text.replace(&upstreams.model_addr.to_string(), &model.to_string());
    }
    let table = format!("\n[[judge]]\nname = \"j\"\nurl = \"http://{judge}\"\n{more}\n");
    Judged(Gateway::start(&(text + &table), &[]), upstreams)
}

/// Two words of a JSON object.
fn words<'a>(json: &'a Value, one: &str, other: &str) -> [&'a str; 2] {
    [one, other].map(|key| json.get(key).and_then(Value::as_str).unwrap_or_default())
}

fn code(answer: &Answer) -> String {
    answer.json().pointer("/error/code").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn said(answer: &Answer) -> String {
    let json = answer.json();
    json.pointer("/choices/0/message/content").and_then(Value::as_str).unwrap_or_default().into()
}

fn streamed(answer: &Answer) -> String {
    let events = answer.events();
    let deltas = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
    let content =
        |event: Value| Some(event.pointer("/choices/0/delta/content")?.as_str()?.to_owned());
    deltas.filter_map(content).collect()
}

fn lines(gateway: &Gateway, answer: &Answer) -> Vec<String> {
    let record = record(gateway, answer.field("x-request-id").expect("an id"));
    let lines = record.get("judges").and_then(Value::as_array).cloned().unwrap_or_default();
    let word = |line: &Value, key: &str| {
        line.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    lines
        .iter()
        .map(|line| {
            format!("{} {} {}", word(line, "judge"), word(line, "event"), word(line, "ruling"))
        })
        .collect()
}

#[test]
fn a_judge_reads_what_our_rules_let_pass_and_its_no_is_final() {
    let (judge, asked) = judge(|question| {
        let is_bad = question["text"].as_str().unwrap().contains("forbidden");
        let action = if is_bad { "block" } else { "allow" };
        format!("{{\"action\":\"{action}\",\"reasons\":[\"topic\"]}}")
    });
    let gateway = before(judge.address, "events = [\"prompt\"]", None);
    let passed = gateway.chat(&format!("charge {CARD}"), "");
    assert_eq!((passed.status(), &*said(&passed)), (200, "You said: charge [CARD]"));
    let refused = gateway.chat("a forbidden thing", "");
    assert_eq!((refused.status(), &*code(&refused)), (400, "guard_blocked"), "{}", refused.text());
    assert!(refused.text().contains("judge.j"), "{}", refused.text());
    let asked = asked.lock().unwrap();
    assert_eq!(asked[0]["text"], "charge [CARD]", "it never reads what we mask");
    assert_eq!(words(&asked[0], "event", "user"), ["prompt", "suite@example.com"]);
    assert_eq!(lines(&gateway, &passed), ["judge.j prompt allow"]);
    assert_eq!(lines(&gateway, &refused), ["judge.j prompt block"]);
    let kept = record(&gateway, refused.field("x-request-id").unwrap());
    assert_eq!(kept["hits"][0]["rule"], "judge.j");
    assert_eq!(kept["upstream"], Value::Null, "it was not sent");
}

#[test]
fn what_a_judge_masks_neither_the_model_nor_the_client_reads() {
    let (judge, _) = judge(|question| {
        let text = question["text"].as_str().unwrap();
        let at = text
            .chars()
            .collect::<Vec<_>>()
            .windows(4)
            .position(|four| four == ['z', 'e', 'b', 'u']);
        match at {
            Some(at) => format!("{{\"action\":\"mask\",\"spans\":[[{at},{}]]}}", at + 4),
            None => "{\"action\":\"allow\"}".to_owned(),
        }
    });
    let gateway = before(judge.address, "", None);
    let answer = gateway.chat("é \"my\" zebu is here", "");
    assert_eq!(said(&answer), "You said: é \"my\" [MASKED] is here");
    assert_eq!(lines(&gateway, &answer), ["judge.j prompt mask", "judge.j response allow"]);

    let model = Puppet::answering(chat_answer("the zebu\\nsleeps"));
    let gateway = before(judge.address, "events = [\"response\"]", Some(model.address));
    assert_eq!(said(&gateway.chat("hi", "")), "the [MASKED]\nsleeps");
}

#[test]
fn no_verdict_is_no_pass_unless_it_is_said_and_a_judge_that_fails_is_left_alone() {
    let (judge, asked) = judge(|_| "{\"action\":\"perhaps\"}".to_owned());
    let keys = "events = [\"prompt\"]\nfailures = 3\ncooldown = \"1h\"";
    let gateway = before(judge.address, keys, None);
    let refused = gateway.chat("hi", "");
    assert_eq!((refused.status(), &*code(&refused)), (503, "guard_unavailable"));
    assert_eq!(lines(&gateway, &refused), ["judge.j prompt failed"]);
    for _ in 0..4 {
        assert_eq!(gateway.chat("hi", "").status(), 503);
    }
    assert_eq!(asked.lock().unwrap().len(), 3, "it is asked no more");

    let open = before(judge.address, &format!("{keys}\non_error = \"open\""), None);
    let passed = open.chat("hi", "");
    assert_eq!(
        (passed.status(), lines(&open, &passed)),
        (200, vec!["judge.j prompt failed".into()])
    );
    let kept = record(&open, passed.field("x-request-id").unwrap());
    assert_eq!(kept["hits"][0]["action"], "flag", "it is seen that it did not run");
    let small = before(judge.address, &format!("{keys}\nbytes = \"1 KiB\""), None);
    let before = asked.lock().unwrap().len();
    assert_eq!(small.chat(&"much ".repeat(400), "").status(), 503);
    assert_eq!(asked.lock().unwrap().len(), before, "it was too much to ask");
}

#[test]
fn a_judge_that_is_too_slow_has_not_spoken() {
    let puppet = Puppet::start(|visit| {
        std::thread::sleep(Duration::from_millis(600));
        visit.say(&json_answer("200 OK", "{\"action\":\"allow\"}"));
        Then::Keep
    });
    let gateway = before(puppet.address, "timeout = \"100ms\"", None);
    let refused = gateway.chat("hi", "");
    assert_eq!((refused.status(), &*code(&refused)), (503, "guard_unavailable"));
}

#[test]
fn in_parallel_the_answer_waits_for_the_verdict() {
    let model_asked = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&model_asked);
    let model = Puppet::start(move |visit| {
        count.fetch_add(1, Ordering::AcqRel);
        visit.say(&chat_answer("at once"));
        Then::Keep
    });
    let (judge, _) = judge(|question| {
        std::thread::sleep(Duration::from_millis(300));
        let is_bad = question["text"].as_str().unwrap().contains("forbidden");
        format!("{{\"action\":\"{}\"}}", if is_bad { "block" } else { "allow" })
    });
    let keys = "mode = \"parallel\"\nevents = [\"prompt\"]";
    let gateway = before(judge.address, keys, Some(model.address));
    assert_eq!(said(&gateway.chat("hi", "")), "at once");
    let refused = gateway.chat("a forbidden thing", "");
    assert_eq!((refused.status(), &*code(&refused)), (400, "guard_blocked"));
    assert!(!refused.text().contains("at once"));
    assert_eq!(model_asked.load(Ordering::Acquire), 2, "the model was asked meanwhile");
    assert_eq!(lines(&gateway, &refused), ["judge.j prompt block"]);
}

#[test]
fn of_a_stream_nothing_leaves_that_was_not_judged() {
    let model = Puppet::start(|visit| {
        visit.say(STREAM);
        for word in ["one two three ", "four five six ", "and the poison ", "comes after "] {
            for _ in 0..4 {
                visit.say(&delta(word));
            }
            std::thread::sleep(Duration::from_millis(30));
        }
        visit.say("data: [DONE]\n\n");
        Then::Close
    });
    let (judge, asked) = judge(|question| {
        let is_bad = question["text"].as_str().unwrap().contains("poison");
        format!("{{\"action\":\"{}\"}}", if is_bad { "block" } else { "allow" })
    });
    let keys = "window = \"64 B\"\nevents = [\"response\"]";
    let gateway = before(judge.address, keys, Some(model.address));
    let answer = gateway.chat("hi", ",\"stream\":true");
    let text = streamed(&answer);
    assert!(answer.is_whole, "it ends well-formed: {}", answer.text());
    assert!(text.starts_with("one two three ") && !text.contains("poison"), "{text}");
    assert!(answer.text().contains("guard_blocked"), "{}", answer.text());
    assert!(asked.lock().unwrap().len() >= 2, "in windows");

    let calm = Puppet::start(|visit| {
        visit.say(STREAM);
        for _ in 0..40 {
            visit.say(&delta("calm words "));
        }
        visit.say("data: [DONE]\n\n");
        Then::Close
    });
    let gateway = before(judge.address, keys, Some(calm.address));
    let answer = gateway.chat("hi", ",\"stream\":true");
    assert_eq!(streamed(&answer), "calm words ".repeat(40));
    assert_eq!(answer.events().last().map(String::as_str), Some("[DONE]"));
}

#[test]
fn a_tools_input_and_output_are_told_to_airs_and_masked_as_it_says() {
    let (judge, asked) = judge(|question| {
        let event = &question["contents"][0]["tool_event"];
        if let Some(output) = event["output"].as_str() {
            let masked = Value::from(output.replace("London", "XXXXXX"));
            return format!(
                "{{\"action\":\"allow\",\"category\":\"malicious\",\"tool_detected\":\
                 {{\"output_detected\":{{\"detection_entries\":[{{\"detections\":{{\"dlp\":true}},\
                 \"masked_data\":{{\"data\":{masked}}}}}]}}}}}}"
            );
        }
        let is_bad = event["input"].as_str().unwrap_or_default().contains("Mallory");
        format!("{{\"action\":\"{}\"}}", if is_bad { "block" } else { "allow" })
    });
    let keys = "kind = \"airs\"\nprofile = \"strict\"\nservers = [\"demo\"]";
    let gateway = before(judge.address, keys, None);
    let call = |name: &str| {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call",
            "params": {"name": "lookup_customer", "arguments": {"name": name}}});
        let session = {
            let body = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params":
                {"protocolVersion": "2025-11-25", "capabilities": {},
                 "clientInfo": {"name": "t", "version": "1"}}});
            let answer = gateway.post("/mcp/demo", &body.to_string());
            answer.field("mcp-session-id").expect("a session").to_owned()
        };
        let bearer = format!("Bearer {KEY}");
        let fields = [
            ("authorization", &*bearer),
            ("content-type", "application/json"),
            ("accept", "application/json, text/event-stream"),
            ("mcp-session-id", &*session),
        ];
        send(gateway.address, "POST", "/mcp/demo", &fields, body.to_string().as_bytes())
    };
    let answer = call("Ada");
    let text = answer.text();
    assert_eq!(answer.status(), 200, "{text}");
    assert!(text.contains("[MASKED]") && !text.contains("London"), "{text}");
    assert_eq!(lines(&gateway, &answer), ["judge.j tool_input allow", "judge.j tool_output mask"]);
    let refused = call("Mallory").json();
    assert_eq!(refused.pointer("/result/isError"), Some(&Value::Bool(true)), "{refused}");
    let asked = asked.lock().unwrap();
    let first = &asked[0];
    assert_eq!(first["ai_profile"]["profile_name"], "strict");
    let event = &first["contents"][0]["tool_event"];
    assert_eq!(event["metadata"]["tool_invoked"], "lookup_customer");
    assert_eq!(event["input"], "{\"name\":\"Ada\"}");
    assert!(!asked.iter().any(|question| question.to_string().contains("4111")), "{asked:?}");
}

#[test]
fn the_scan_api_finds_masks_and_refuses_what_is_no_scan() {
    let upstreams = upstreams();
    let text = config(&upstreams)
        + "\n[[guard.action]]\nrule = \"secret.*\"\nrequest = \"block\"\nresponse = \"block\"\n";
    let gateway = Gateway::start(&text, &[]);
    let scan = |key: &str, body: &Value| {
        let fields = [("x-pan-token", key), ("content-type", "application/json")];
        let body = body.to_string();
        send(gateway.address, "POST", "/v1/scan/sync/request", &fields, body.as_bytes())
    };
    let asked = json!({"tr_id": "t-1", "ai_profile": {"profile_name": "p"}, "contents": [
        {"prompt": format!("charge \"{CARD}\" é"), "response": "fine"}]});
    let report = scan(KEY, &asked);
    assert_eq!(report.status(), 200, "{}", report.text());
    let json = report.json();
    assert_eq!(words(&json, "action", "category"), ["allow", "malicious"]);
    assert_eq!(words(&json, "tr_id", "profile_name"), ["t-1", "p"]);
    assert_eq!(json["prompt_detected"], json!({"dlp": true}));
    assert_eq!(json["response_detected"], json!({}));
    assert_eq!(json["prompt_masked_data"]["data"], "charge \"[CARD]\" é");
    let patterns = &json["prompt_masked_data"]["pattern_detections"];
    assert_eq!(*patterns, json!([{"pattern": "pii.card", "locations": [[8, 27]]}]));
    assert!(!report.text().contains("4111"));
    let kept = record(&gateway, report.field("x-request-id").unwrap());
    assert_eq!(words(&kept, "kind", "outcome"), ["scan", "answered"]);

    let key = format!("AKIA{}", "Z7PQ3XW5LM2NB4CD");
    let tool = json!({"contents": [{"tool_event": {"metadata": {"ecosystem": "mcp", "method":
        "tools/call", "server_name": "s", "tool_invoked": "t"}, "output": format!("k {key}")}}]});
    let json = scan(KEY, &tool).json();
    assert_eq!(words(&json, "action", "category"), ["block", "malicious"]);
    assert_eq!(json["tool_detected"]["verdict"], "malicious");
    let entries = &json["tool_detected"]["output_detected"]["detection_entries"];
    assert_eq!(entries[0]["detections"], json!({"dlp": true}), "{json}");
    let calm = scan(KEY, &json!({"contents": [{"prompt": "good morning"}]})).json();
    assert_eq!(words(&calm, "action", "category"), ["allow", "benign"]);

    assert_eq!(scan("nobody", &asked).status(), 401);
    for wrong in [json!({}), json!({"contents": 7}), json!({"contents": [{"prompt": 7}]})] {
        let refused = scan(KEY, &wrong);
        assert_eq!((refused.status(), &*code(&refused)), (400, "invalid_scan"), "{wrong}");
    }
    assert_eq!(gateway.post("/v1/chat/completions", &chat_body("hi", "")).status(), 200);
}
