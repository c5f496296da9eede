//! What goes wrong on the way, on either side: the client reads what it can act on, and the record
//! says what happened.

#![expect(unreachable_pub, reason = "`pub(crate)` says no more in a test binary")]

use crate::observe::{ask_chat, chat_body, meter, record, records};
use crate::puppet::{Puppet, STREAM, Then, chat_answer, delta, json_answer};
use crate::support::{Answer, Client, Gateway, KEY, config, free_address, until, upstreams};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);
const CARD: &str = "4111 1111 1111 1111";

/// A gateway whose model leads to these upstreams, best first.
pub fn before(routes: &[SocketAddr], sets: &[&str]) -> Gateway {
    let upstreams = upstreams();
    let mut names = Vec::new();
    let mut providers = String::new();
    for (index, address) in routes.iter().enumerate() {
        let name = format!("route{index}");
        write!(providers, "[[provider]]\nname = \"{name}\"\nurl = \"http://{address}/v1\"\n\n")
            .expect("a string takes it");
        names.push(format!("\"{name}/demo-model\""));
    }
    let config = config(&upstreams)
        .replace("routes = [\"demo/demo-model\"]", &format!("routes = [{}]", names.join(", ")))
        .replace("[[model]]", &format!("{providers}[[model]]"));
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", *set]).collect();
    Gateway::start(&config, &sets)
}

fn id(answer: &Answer) -> String {
    answer.field("x-request-id").expect("every answer has an id").to_owned()
}

fn code(answer: &Answer) -> String {
    answer.json().pointer("/error/code").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn content(answer: &Answer) -> String {
    let json = answer.json();
    json.pointer("/choices/0/message/content").and_then(Value::as_str).unwrap_or_default().into()
}

#[test]
fn a_client_that_leaves_amid_a_silent_stream_frees_its_upstream_and_its_lease() {
    let left = Arc::<AtomicBool>::default();
    let seen = Arc::clone(&left);
    let puppet = Puppet::start(move |visit| {
        visit.say(STREAM);
        visit.say(&delta("so far so good and "));
        seen.store(visit.is_left(), Ordering::Release);
        Then::Close
    });
    let gateway = before(&[puppet.address], &[]);
    let mut client = Client::connect(gateway.address);
    ask_chat(&mut client, "hi", ",\"stream\":true");
    let mut heard = client.hear();
    while !String::from_utf8_lossy(&heard).contains("so far") {
        heard.extend(client.hear());
    }
    assert_eq!(meter(&gateway, "ringwall_in_flight"), 1);
    drop(client);
    assert!(until(SOON, || left.load(Ordering::Acquire)), "the upstream is still held");
    assert!(until(SOON, || meter(&gateway, "ringwall_in_flight") == 0), "the lease is still held");
    assert!(until(SOON, || records(&gateway).len() == 1), "no record");
    let kept = records(&gateway);
    assert_eq!(kept[0]["outcome"], "client_gone", "{kept:?}");
    assert_eq!(kept[0]["status"], 200);
}

#[test]
fn a_client_that_leaves_before_the_first_byte_frees_its_upstream() {
    let left = Arc::<AtomicBool>::default();
    let seen = Arc::clone(&left);
    let puppet = Puppet::start(move |visit| {
        seen.store(visit.is_left(), Ordering::Release);
        Then::Close
    });
    let gateway = before(&[puppet.address], &[]);
    let mut client = Client::connect(gateway.address);
    ask_chat(&mut client, "hi", "");
    assert!(until(SOON, || puppet.requests() == 1), "it was not asked");
    drop(client);
    assert!(until(SOON, || left.load(Ordering::Acquire)), "the upstream is still held");
    assert!(until(SOON, || records(&gateway).len() == 1), "no record");
    let kept = records(&gateway);
    assert_eq!((&kept[0]["outcome"], &kept[0]["status"]), (&json!("client_gone"), &Value::Null));
}

#[test]
fn an_upstream_that_dies_amid_its_stream_is_no_clean_end() {
    let upstreams = upstreams();
    let gateway = Gateway::before(&upstreams);
    let answer = gateway.chat("A long one [demo chunks=50 cut=20]", ",\"stream\":true");
    assert_eq!((answer.status(), answer.is_whole), (200, false));
    assert!(answer.text().contains("data: {") && !answer.text().contains("[DONE]"));
    let kept = record(&gateway, &id(&answer));
    assert_eq!(kept["outcome"], "upstream_failed", "{kept}");
    let dead = gateway.chat("Not a word [demo cut=0]", "");
    assert_eq!((dead.status(), code(&dead).as_str()), (502, "upstream_error"));
    assert_eq!(record(&gateway, &id(&dead))["outcome"], "upstream_failed");
}

#[test]
fn what_was_released_before_a_broken_event_is_still_read() {
    let puppet = Puppet::start(|visit| {
        visit.say(&format!("{STREAM}{}data: {{broken\n\n", delta("first words. ")));
        Then::Close
    });
    let gateway = before(&[puppet.address], &[]);
    let answer = gateway.chat("hi", ",\"stream\":true");
    assert_eq!((answer.status(), answer.is_whole), (200, false));
    assert!(answer.text().contains("first words"), "{}", answer.text());
    assert!(!answer.text().contains("broken") && !answer.text().contains("[DONE]"));
    assert_eq!(record(&gateway, &id(&answer))["outcome"], "upstream_failed");
}

#[test]
fn no_comment_of_a_stream_passes_a_guard() {
    let puppet = Puppet::start(|visit| {
        visit.say(&format!("{STREAM}: {CARD}\n\nid: {CARD}\nevent: {CARD}\n\n"));
        visit.say(&format!("event: {CARD}\nid: {CARD}\n{}data: [DONE]\n\n", delta("done.")));
        Then::Close
    });
    let gateway = before(&[puppet.address], &[]);
    let answer = gateway.chat("hi", ",\"stream\":true");
    assert!(answer.is_whole && answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
    assert!(answer.text().starts_with(':'), "the keep-alive is gone: {}", answer.text());
    assert!(!answer.text().contains(CARD), "{}", answer.text());

    let puppet = Puppet::start(|visit| {
        let said = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#;
        visit.say(&format!("{STREAM}: {CARD}\n\n: {CARD}\nid: 5\n\ndata: {said}\n\n"));
        Then::Close
    });
    let answer = before_tools(puppet.address).post("/mcp/demo", CALL);
    assert!(answer.is_whole && answer.text().contains("\"result\""), "{}", answer.text());
    assert!(answer.text().contains("id: 5") && !answer.text().contains(CARD), "{}", answer.text());
}

#[test]
fn the_second_route_answers_where_the_first_cannot() {
    let upstreams = upstreams();
    let busy = json_answer("503 Service Unavailable", "{}");
    let limited = json_answer("429 Too Many Requests", "{}");
    let busy = Puppet::answering(busy);
    let limited = Puppet::answering(limited);
    let dead = Puppet::start(|_| Then::Close);
    for first in [busy.address, limited.address, dead.address, free_address()] {
        let gateway = before(&[first, upstreams.model_addr], &[]);
        for more in ["", ",\"stream\":true"] {
            let answer = gateway.chat("hello there", more);
            assert_eq!((answer.status(), answer.is_whole), (200, true), "{}", answer.text());
            let kept = record(&gateway, &id(&answer));
            assert_eq!(kept["outcome"], "answered", "{kept}");
            assert_eq!(kept["upstream"]["attempts"], 2, "{kept}");
            assert_eq!(kept["upstream"]["target"], "route1", "{kept}");
        }
    }
    assert_eq!((busy.requests(), limited.requests(), dead.requests()), (2, 2, 2));
}

#[test]
fn where_all_routes_fail_the_last_one_speaks() {
    let unavailable = "{\"error\":{\"message\":\"busy\",\"code\":\"busy\"}}";
    let busy = Puppet::answering(json_answer("503 Service Unavailable", unavailable));
    let limited = "HTTP/1.1 429 Too Many Requests\r\nretry-after: 7\r\ncontent-length: 2\r\n\
                   content-type: application/json\r\n\r\n{}";
    let limited = Puppet::answering(limited.into());
    let page =
        "HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>";
    let page = Puppet::answering(page.into());
    let dead = Puppet::start(|_| Then::Close);
    let nobody = free_address();
    let cases = [
        (busy.address, limited.address, 429, ""),
        (limited.address, busy.address, 503, "busy"),
        (busy.address, page.address, 502, "upstream_error"),
        (busy.address, dead.address, 502, "upstream_error"),
        (dead.address, nobody, 503, "no_healthy_upstream"),
    ];
    for (first, second, status, error) in cases {
        let gateway = before(&[first, second], &[]);
        let answer = gateway.chat("hi", "");
        assert_eq!((answer.status(), code(&answer).as_str()), (status, error), "{}", answer.text());
        if second == limited.address {
            assert_eq!(answer.field("retry-after"), Some("7"));
        }
        let kept = record(&gateway, &id(&answer));
        assert_eq!(kept["upstream"]["attempts"], 2, "{kept}");
        assert_eq!(kept["upstream"]["target"], "route1", "{kept}");
        assert_eq!(kept["status"], status, "{kept}");
    }
}

#[test]
fn a_kept_connection_that_is_dead_is_replaced_unnoticed() {
    // It closes when the second request has reached it, as a server does whose patience ended.
    let puppet = Puppet::start(|visit| {
        if visit.nth > 0 {
            return Then::Close;
        }
        visit.say(&chat_answer("well"));
        Then::Keep
    });
    let gateway = before(&[puppet.address], &[]);
    assert_eq!(content(&gateway.chat("one", "")), "well");
    for attempts in [2, 2] {
        let answer = gateway.chat("again", "");
        assert_eq!((answer.status(), content(&answer).as_str()), (200, "well"));
        assert_eq!(record(&gateway, &id(&answer))["upstream"]["attempts"], attempts);
    }
    // One that says so, which is no answer to the request that crossed it.
    let (late, well) = (json_answer("408 Request Timeout", "{}"), chat_answer("well"));
    let puppet = Puppet::start(move |visit| {
        visit.say(if visit.nth > 0 { &late } else { &well });
        if visit.nth > 0 { Then::Close } else { Then::Keep }
    });
    let gateway = before(&[puppet.address], &[]);
    for asked in 1..4 {
        assert_eq!(gateway.chat("again", "").status(), 200);
        assert_eq!(puppet.requests(), 2 * asked - 1);
    }
    // And one that closes as soon as it has answered, without saying so.
    let puppet = Puppet::start(|visit| {
        visit.say(&chat_answer("well"));
        Then::Close
    });
    let gateway = before(&[puppet.address], &[]);
    for _ in 0..5 {
        assert_eq!(gateway.chat("again", "").status(), 200);
    }
}

/// A gateway whose MCP server `demo` is this one.
fn before_tools(server: SocketAddr) -> Gateway {
    let upstreams = upstreams();
    let config = config(&upstreams).replace(&upstreams.mcp_addr.to_string(), &server.to_string());
    Gateway::start(&config, &[])
}

const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"pay"}}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;

#[test]
fn no_tool_runs_twice_for_one_call() {
    let done = json_answer("200 OK", r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#);
    let puppet = Puppet::start(move |visit| {
        if visit.nth > 0 {
            // It took the call, and died over it.
            return Then::Close;
        }
        visit.say(&done);
        Then::Keep
    });
    let gateway = before_tools(puppet.address);
    assert_eq!(gateway.post("/mcp/demo", CALL).status(), 200);
    let died = gateway.post("/mcp/demo", CALL);
    assert_eq!((died.status(), puppet.requests()), (502, 2), "{}", died.text());
    assert!(died.text().contains("upstream_error"), "{}", died.text());
    // A list may be asked for again.
    assert_eq!(gateway.post("/mcp/demo", CALL).status(), 200);
    assert_eq!((gateway.post("/mcp/demo", LIST).status(), puppet.requests()), (200, 5));
}

#[test]
fn a_tool_is_called_over_a_connection_that_lives() {
    let done = json_answer("200 OK", r#"{"jsonrpc":"2.0","id":7,"result":{"content":[]}}"#);
    let ended = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&ended);
    let puppet = Puppet::start(move |visit| {
        visit.say(&done);
        visit.hang_up();
        count.fetch_add(1, Ordering::AcqRel);
        Then::Close
    });
    let gateway = before_tools(puppet.address);
    for asked in 1..6 {
        let answer = gateway.post("/mcp/demo", CALL);
        assert_eq!(answer.status(), 200, "{}", answer.text());
        assert!(until(SOON, || ended.load(Ordering::Acquire) == asked), "it was asked more often");
    }
}

#[test]
fn a_silent_upstream_is_a_timeout_before_and_amid_its_answer() {
    let puppet = Puppet::start(|visit| {
        visit.is_left();
        Then::Close
    });
    let gateway = before(&[puppet.address], &["deadlines.first_byte=300ms"]);
    let answer = gateway.chat("hi", "");
    assert_eq!((answer.status(), code(&answer).as_str()), (504, "upstream_timeout"));
    assert_eq!(record(&gateway, &id(&answer))["outcome"], "upstream_failed");

    let puppet = Puppet::start(|visit| {
        visit.say(&format!("{STREAM}{}", delta("and then ")));
        visit.is_left();
        Then::Close
    });
    let gateway = before(&[puppet.address], &["deadlines.upstream_idle=300ms"]);
    let answer = gateway.chat("hi", ",\"stream\":true");
    assert_eq!((answer.status(), answer.is_whole), (200, false), "{}", answer.text());
    assert!(answer.text().contains("and then"), "{}", answer.text());
    assert_eq!(record(&gateway, &id(&answer))["outcome"], "upstream_failed");
}

#[test]
fn an_upstream_that_does_not_read_is_a_timeout_and_nothing_waits_for_it() {
    // The kernel accepts for it; nobody ever reads.
    let deaf = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = deaf.local_addr().expect("its address");
    let gateway = before(&[address], &["deadlines.write=300ms", "deadlines.first_byte=20s"]);
    // More than the kernel holds for a reader that does not read, and less than a body may be.
    let answer = gateway.chat(&"many words ".repeat(800_000), "");
    assert_eq!((answer.status(), code(&answer).as_str()), (504, "upstream_timeout"));
    assert_eq!(record(&gateway, &id(&answer))["outcome"], "upstream_failed");
    assert_eq!(meter(&gateway, "ringwall_in_flight"), 0);
}

#[test]
fn a_client_that_does_not_read_holds_its_upstream_back_and_is_let_go() {
    let taken = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&taken);
    let puppet = Puppet::start(move |visit| {
        visit.say(STREAM);
        count.store(visit.flood(&delta(&"many words ".repeat(500))), Ordering::Release);
        Then::Close
    });
    let gateway = before(&[puppet.address], &["deadlines.write=1s"]);
    let mut client = Client::connect(gateway.address);
    ask_chat(&mut client, "hi", ",\"stream\":true");
    assert!(until(SOON, || records(&gateway).len() == 1), "it is never let go");
    assert_eq!(records(&gateway)[0]["outcome"], "client_gone");
    assert!(until(SOON, || taken.load(Ordering::Acquire) > 0), "the upstream is still held");
    // What the kernel buffers on both sides, and no more.
    let taken = taken.load(Ordering::Acquire);
    assert!(taken < 24 << 20, "{taken} bytes were taken for a client that reads none");
    assert!(until(SOON, || meter(&gateway, "ringwall_in_flight") == 0), "the lease is still held");
}

#[test]
fn an_answer_or_an_event_over_its_bound_is_refused_and_nothing_of_it_leaves() {
    let long = "long ".repeat(1000);
    let whole = Puppet::answering(chat_answer(&long));
    let gateway = before(&[whole.address], &["bounds.answer=2 KiB"]);
    let answer = gateway.chat("hi", "");
    assert_eq!((answer.status(), code(&answer).as_str()), (502, "upstream_error"));
    let streamed = Puppet::start(move |visit| {
        visit.say(&format!("{STREAM}{}{}", delta("short. "), delta(&long)));
        visit.is_left();
        Then::Close
    });
    let gateway = before(&[streamed.address], &["bounds.event=2 KiB"]);
    let answer = gateway.chat("hi", ",\"stream\":true");
    assert_eq!((answer.status(), answer.is_whole), (200, false));
    assert!(answer.text().contains("short.") && !answer.text().contains("long"));
    assert_eq!(record(&gateway, &id(&answer))["outcome"], "upstream_failed");
}

#[test]
fn a_body_over_the_bound_is_refused_however_it_is_framed() {
    let upstreams = upstreams();
    let gateway = Gateway::start(&config(&upstreams), &["--set", "bounds.body=1 KiB"]);
    let answer = gateway.chat(&"long ".repeat(400), "");
    assert_eq!((answer.status(), code(&answer).as_str()), (413, "request_too_large"));
    let mut client = Client::connect(gateway.address);
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    client.say(head.as_bytes());
    client.say(format!("1000\r\n{}\r\n0\r\n\r\n", "x".repeat(0x1000)).as_bytes());
    let answer = client.answer("POST");
    assert_eq!((answer.status(), code(&answer).as_str()), (413, "request_too_large"));
    assert_eq!(gateway.chat("short", "").status(), 200);
}

#[test]
fn a_slow_head_and_a_slow_body_are_refused_in_time() {
    let upstreams = upstreams();
    let sets = ["--set", "deadlines.head=300ms", "--set", "deadlines.body=300ms"];
    let gateway = Gateway::start(&config(&upstreams), &sets);
    let slow_body = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{\"model\":"
    );
    for begun in ["POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\n", &slow_body] {
        let mut client = Client::connect(gateway.address);
        client.say(begun.as_bytes());
        let answer = client.answer("POST");
        assert_eq!((answer.status(), code(&answer).as_str()), (408, "request_timeout"));
        assert!(client.hear().is_empty(), "the connection stays open");
        assert_eq!(record(&gateway, &id(&answer))["outcome"], "client_slow");
    }
}

#[test]
fn a_connection_that_stays_silent_is_closed_and_leaves_no_record() {
    let upstreams = upstreams();
    let gateway = Gateway::start(&config(&upstreams), &["--set", "deadlines.idle=300ms"]);
    let mut silent = Client::connect(gateway.address);
    let mut served = Client::connect(gateway.address);
    ask_chat(&mut served, "hi", "");
    assert_eq!(served.answer("POST").status(), 200);
    assert!(silent.hear().is_empty() && served.hear().is_empty(), "an unasked answer");
    assert!(until(SOON, || records(&gateway).len() == 1), "no record");
}

#[test]
fn a_client_that_waits_to_be_told_sends_its_body_only_where_it_is_wanted() {
    let upstreams = upstreams();
    let gateway = Gateway::before(&upstreams);
    let body = chat_body("hi", "");
    let head = |key: &str| {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {key}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\nexpect: 100-continue\r\n\r\n",
            body.len()
        )
    };
    let mut client = Client::connect(gateway.address);
    client.say(head(KEY).as_bytes());
    let told = client.hear();
    assert_eq!(String::from_utf8_lossy(&told), "HTTP/1.1 100 Continue\r\n\r\n");
    client.say(body.as_bytes());
    assert_eq!(content(&client.answer("POST")), "You said: hi");
    let mut stranger = Client::connect(gateway.address);
    stranger.say(head("wrong-key").as_bytes());
    assert_eq!(stranger.answer("POST").status(), 401);
    assert!(stranger.hear().is_empty(), "the body that never came would be read as a head");
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let upstreams = upstreams();
    let gateway = Gateway::before(&upstreams);
    let one = |body: &str| {
        format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let mut client = Client::connect(gateway.address);
    let bodies = [
        chat_body("the first [demo delay_ms=100]", ""),
        chat_body("the second", ",\"stream\":true"),
        chat_body("the third", ""),
    ];
    client.say(bodies.iter().map(|body| one(body)).collect::<String>().as_bytes());
    assert_eq!(content(&client.answer("POST")).trim(), "You said: the first");
    let stream = client.answer("POST");
    assert!(stream.is_whole && stream.text().ends_with("data: [DONE]\n\n"), "{}", stream.text());
    assert_eq!(content(&client.answer("POST")), "You said: the third");
}

#[test]
fn a_client_of_http_1_0_reads_a_stream_until_it_closes() {
    let upstreams = upstreams();
    let gateway = Gateway::before(&upstreams);
    let mut client = Client::connect(gateway.address);
    let body = chat_body("hi", ",\"stream\":true");
    let head = format!(
        "POST /v1/chat/completions HTTP/1.0\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.say(head.as_bytes());
    let answer = client.answer("POST");
    assert_eq!((answer.status(), answer.is_whole), (200, true));
    assert_eq!(answer.field("transfer-encoding"), None);
    assert!(answer.text().ends_with("data: [DONE]\n\n"), "{}", answer.text());
}
