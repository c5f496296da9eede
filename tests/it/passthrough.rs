//! Passthrough routes: what Ringwall does not model passes by the same gates, and nobody but us
//! says who asks.

use crate::bounds::gzip;
use crate::observe::{record, records};
use crate::puppet::{Puppet, Then, json_answer};
use crate::support::{Answer, Client, Gateway, KEY, LIMITED_KEY, config, send, until, upstreams};
use serde_json::json;
use std::net::SocketAddr;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);
const CARD: &str = "4111111111111111";

/// A gateway whose `/v1/files` leads there, for the caller with [`KEY`] only. The upstream's key is
/// a file that every machine has.
fn before(upstream: SocketAddr) -> Gateway {
    let routes = format!(
        "[[provider]]\nname = \"files\"\nurl = \"http://{upstream}/v1\"\nkey = \"file:/proc/sys/kernel/ostype\"\n\n\
         [[route]]\nname = \"files\"\nprefix = \"/v1/files\"\nupstream = \"files\"\n\
         identity_headers = {{ X-Gw-Team = \"team\" }}\n\n\
         [[route]]\nname = \"raw\"\nprefix = \"/v1/raw\"\nupstream = \"files\"\nguard = false\n\n\
         [[rule]]\nname = \"suite-files\"\neffect = \"allow\"\ncallers = [\"suite\"]\n\
         routes = [\"files\", \"raw\"]\n"
    );
    Gateway::start(&format!("{}\n\n{routes}", config(&upstreams())), &[])
}

/// An upstream that tells what it is asked and answers this.
fn telling(answer: String) -> (Puppet, Receiver<String>) {
    let (tell, heard) = mpsc::channel();
    let puppet = Puppet::start(move |visit| {
        tell.send(visit.request.clone()).unwrap_or_default();
        visit.say(&answer);
        Then::Keep
    });
    (puppet, heard)
}

fn ask(gateway: &Gateway, method: &str, path: &str, more: &[(&str, &str)], body: &str) -> Answer {
    let key = format!("Bearer {KEY}");
    let mut fields = vec![("authorization", &*key)];
    fields.extend_from_slice(more);
    send(gateway.address, method, path, &fields, body.as_bytes())
}

fn id(answer: &Answer) -> String {
    answer.field("x-request-id").expect("every answer has an id").to_owned()
}

fn code(answer: &Answer) -> String {
    answer.json().pointer("/error/code").and_then(|code| code.as_str()).unwrap_or("none").to_owned()
}

#[test]
fn a_request_passes_as_it_is_but_for_who_asks_and_what_proves_it() {
    let (puppet, heard) = telling(
        "HTTP/1.1 201 Created\r\ncontent-length: 2\r\nx-mine: 1\r\ncontent-encoding: br\r\n\r\nok"
            .to_owned(),
    );
    let gateway = before(puppet.address);
    let more = [
        ("content-type", "text/plain"),
        ("x-ringwall-user", "eve"),
        ("x.gw.team", "eve"),
        ("x-forwarded-for", "eve"),
        ("x-kept", "yes"),
    ];
    let answer = ask(&gateway, "PUT", "/v1/files/a%20b?purpose=%2fx", &more, "hello");
    assert_eq!((answer.status(), answer.text().as_str()), (201, "ok"));
    assert_eq!((answer.field("x-mine"), answer.field("content-encoding")), (Some("1"), Some("br")));
    let said = heard.recv_timeout(SOON).expect("a request");
    assert!(said.starts_with("PUT /v1/files/a%20b?purpose=%2fx HTTP/1.1\r\n"), "{said}");
    for line in [
        "x-ringwall-user: suite@example.com\r\n",
        "x-gw-team: tests\r\n",
        "authorization: Bearer Linux\r\n",
        "x-kept: yes\r\n",
        "content-length: 5\r\n",
    ] {
        assert_eq!(said.matches(line).count(), 1, "{line} in {said}");
    }
    assert!(!said.contains("eve") && !said.contains(KEY) && said.ends_with("\r\n\r\nhello"));
    let kept = record(&gateway, &id(&answer));
    assert_eq!((&kept["kind"], &kept["outcome"]), (&json!("route"), &json!("answered")));
    assert_eq!(kept["ask"], json!({"route": "files", "path": "PUT /v1/files/a%20b"}));
    let unseen =
        |way: &str, bytes: u64| json!({"direction": way, "channel": "unseen", "bytes": bytes});
    assert_eq!(kept["coverage"], json!([unseen("request", 5), unseen("response", 2)]));
}

#[test]
fn whom_no_rule_allows_is_refused_and_odd_paths_are_too() {
    let (puppet, heard) = telling(json_answer("200 OK", "{}"));
    let gateway = before(puppet.address);
    let other = format!("Bearer {LIMITED_KEY}");
    let denied = send(gateway.address, "GET", "/v1/files/a", &[("authorization", &other)], b"");
    assert_eq!((denied.status(), code(&denied).as_str()), (403, "policy_denied"));
    let nobody = send(gateway.address, "GET", "/v1/files/a", &[], b"");
    assert_eq!(nobody.status(), 401);
    for path in ["/v1/files/../x", "/v1/files/%2e%2e/x", "/v1/files//x", "/v1/files/a;b"] {
        let odd = ask(&gateway, "GET", path, &[], "");
        assert_eq!((odd.status(), code(&odd).as_str()), (400, "ambiguous_path"), "{path}");
    }
    assert_eq!(ask(&gateway, "TRACE", "/v1/files/a", &[], "").status(), 405);
    assert_eq!(ask(&gateway, "GET", "/v1/filesystem", &[], "").status(), 404);
    assert_eq!(heard.try_iter().count(), 0);
}

#[test]
fn json_that_is_sent_is_inspected_whatever_it_is_called() {
    let (puppet, heard) = telling(json_answer("200 OK", "{}"));
    let gateway = before(puppet.address);
    let body = format!("{{\"note\":\"pay {CARD}\",\"n\":[{{\"{CARD}\":1}}]}}");
    for media_type in ["application/json", "text/plain"] {
        let answer = ask(&gateway, "POST", "/v1/files", &[("content-type", media_type)], &body);
        assert_eq!(answer.status(), 200);
        let said = heard.recv_timeout(SOON).expect("a request");
        assert!(!said.contains(CARD) && said.contains("\"note\":\"pay "), "{said}");
        assert_eq!(record(&gateway, &id(&answer))["hits"][0]["rule"], "pii.card");
    }
    let json = ("content-type", "application/json");
    let broken = ask(&gateway, "POST", "/v1/files", &[json], "{\"a\":1,\"a\":2}");
    assert_eq!((broken.status(), code(&broken).as_str()), (400, "invalid_json"));
    assert_eq!(heard.try_iter().count(), 0);
}

#[test]
fn a_coded_body_is_inspected_decoded_or_refused_and_passes_as_it_is_where_nobody_looks() {
    let (puppet, heard) = telling(json_answer("200 OK", "{}"));
    let gateway = before(puppet.address);
    let json = format!("{{\"note\":\"pay {CARD}\"}}").into_bytes();
    let coded = gzip(&json);
    let post = |path: &str, coding: &str, body: &[u8]| {
        let key = format!("Bearer {KEY}");
        let fields = [
            ("authorization", &*key),
            ("content-type", "application/json"),
            ("content-encoding", coding),
        ];
        send(gateway.address, "POST", path, &fields, body)
    };
    let answer = post("/v1/files", "gzip", &coded);
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let said = heard.recv_timeout(SOON).expect("a request");
    assert!(said.contains("\"note\":\"pay ") && !said.contains(CARD), "{said}");
    assert!(!said.contains("content-encoding"), "{said}");
    assert_eq!(record(&gateway, &id(&answer))["hits"][0]["rule"], "pii.card");

    let broken = post("/v1/files", "gzip", b"x");
    assert_eq!((broken.status(), code(&broken).as_str()), (400, "invalid_encoding"));
    let unknown = post("/v1/files", "compress", &coded);
    assert_eq!(unknown.status(), 415);
    let bomb = post("/v1/files", "gzip", &gzip(&vec![b' '; 32 << 20]));
    assert_eq!(bomb.status(), 413);
    assert_eq!(heard.try_iter().count(), 0, "none of them passed");

    // A route that nobody guards takes any coding, and leaves it on.
    for (coding, body) in [("gzip", &*coded), ("compress", b"\x1f\x9d?")] {
        assert_eq!(post("/v1/raw", coding, body).status(), 200, "{coding}");
        let said = heard.recv_timeout(SOON).expect("a request");
        assert!(said.contains(&format!("content-encoding: {coding}\r\n")), "{said}");
        assert!(said.ends_with(&*String::from_utf8_lossy(body)), "{said}");
    }
}

#[test]
fn an_answer_passes_piece_by_piece_and_a_broken_one_looks_broken() {
    let puppet = Puppet::start(|visit| {
        visit.say("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n");
        // Nothing more until the other side goes.
        visit.is_left();
        Then::Close
    });
    let gateway = before(puppet.address);
    let mut client = Client::connect(gateway.address);
    let key = format!("Bearer {KEY}");
    client.ask("GET", "/v1/files/a", &[("authorization", &key)], b"");
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("first") {
        heard.extend(client.hear());
    }
    drop(client);
    assert!(until(SOON, || records(&gateway).len() == 1), "no record");
    assert_eq!(records(&gateway)[0]["outcome"], "client_gone");
    let cut = Puppet::start(|visit| {
        visit.say("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello");
        Then::Close
    });
    let gateway = before(cut.address);
    let answer = ask(&gateway, "GET", "/v1/files/a", &[], "");
    assert_eq!((answer.status(), answer.is_whole, answer.text().as_str()), (200, false, "hello"));
    assert_eq!(record(&gateway, &id(&answer))["outcome"], "upstream_failed");
}

#[test]
fn head_has_a_length_and_no_body_whoever_answers_it() {
    let (puppet, _heard) = telling("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".to_owned());
    let gateway = before(puppet.address);
    let mut client = Client::connect(gateway.address);
    let key = format!("Bearer {KEY}");
    let key = [("authorization", &*key)];
    for (path, status, length) in [
        ("/v1/files/a", 200, Some("9")),
        ("/v1/models", 405, None),
        ("/v1/files/b", 200, Some("9")),
    ] {
        client.ask("HEAD", path, &key, b"");
        let answer = client.answer("HEAD");
        assert_eq!(answer.status(), status, "{path}");
        assert!(length.is_none() || answer.field("content-length") == length, "{path}");
    }
}

#[test]
fn what_an_upstream_says_unasked_is_nobodys_answer() {
    let puppet = Puppet::start(|visit| {
        visit.say(&json_answer("200 OK", "{}"));
        std::thread::sleep(Duration::from_millis(50));
        visit.say(&json_answer("200 OK", "{\"of\":\"another\"}"));
        Then::Keep
    });
    let gateway = before(puppet.address);
    for method in ["GET", "POST", "GET"] {
        let answer = ask(&gateway, method, "/v1/files", &[], "");
        assert_eq!((answer.status(), answer.text().as_str()), (200, "{}"), "{method}");
        std::thread::sleep(Duration::from_millis(150));
    }
}

#[test]
fn what_must_not_happen_twice_is_not_sent_to_a_dead_connection() {
    let puppet = Puppet::start(|visit| {
        visit.say(&json_answer("200 OK", "{}"));
        // It says nothing of closing, and does.
        Then::Close
    });
    let gateway = before(puppet.address);
    for method in ["POST", "POST", "GET"] {
        assert_eq!(ask(&gateway, method, "/v1/files", &[], "").status(), 200);
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(puppet.requests(), 3);
}

#[test]
fn the_server_as_a_whole_says_what_it_takes() {
    let (puppet, _heard) = telling(json_answer("200 OK", "{}"));
    let gateway = before(puppet.address);
    let answer = ask(&gateway, "OPTIONS", "*", &[], "");
    assert_eq!(answer.status(), 204);
    assert!(answer.field("allow").is_some_and(|methods| methods.contains("POST")));
}
