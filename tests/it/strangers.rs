//! What strangers send, on either side, against the running gateway: each request is refused, and
//! its connection closed, or reaches the upstream as exactly the bytes that stand here; each answer
//! reaches the client whole, visibly cut, or not at all. And whatever it was, the next exchange is
//! its own.

use crate::puppet::{Puppet, Then, json_answer};
use crate::support::{Answer, Client, Gateway, send};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread::Builder;

/// What an upstream is told of who asks.
const WHO: &str = "x-ringwall-user: alice\r\nx-gw-user: alice\r\n";
/// A request that follows on the same connection, in the same write.
const SECOND: &str = "GET /second HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n";

/// The status that answers a request, and its bytes.
type Strange = (u16, Vec<u8>);

/// Every path leads to that upstream; nobody is asked for a key, and all are alice.
fn before(upstream: SocketAddr) -> Gateway {
    let text = format!(
        "version = 1\n[gateway]\nlisten = [\"%GATEWAY%\"]\nadmin = \"%ADMIN%\"\nworkers = 1\n\
         pin = false\n[audit]\nfolder = \"%AUDIT%\"\n\
         [[caller]]\nname = \"alice\"\nuser = \"alice\"\nanonymous = true\n\
         [[rule]]\nname = \"all\"\neffect = \"allow\"\ncallers = [\"alice\"]\nroutes = [\"all\"]\n\
         [[route]]\nname = \"all\"\nprefix = \"/\"\nupstream = \"http://{upstream}\"\n\
         guard = false\nidentity_headers = {{ X-Gw-User = \"user\" }}\n"
    );
    Gateway::start(&text, &[])
}

/// A gateway before an upstream that tells what reaches it, without what is new in each request.
fn telling() -> (Gateway, Puppet, Receiver<String>) {
    let (tell, told) = channel();
    let puppet = Puppet::start(move |visit| {
        let fresh = |line: &&str| {
            !["x-request-id: ", "traceparent: ", "host: "].iter().any(|name| line.starts_with(name))
        };
        let kept: Vec<&str> = visit.request.split("\r\n").filter(fresh).collect();
        tell.send(kept.join("\r\n")).unwrap_or_default();
        visit.say(&json_answer("200 OK", "{}"));
        Then::Keep
    });
    (before(puppet.address), puppet, told)
}

/// The statuses of a client's answers, and what reached the upstream.
type Conversation = (Vec<u16>, Vec<String>);

/// Says this and the second request in one write: the statuses of the answers, and what reached
/// the upstream. The gateway must end the connection.
fn converse(gateway: &Gateway, told: &Receiver<String>, said: &[u8]) -> Conversation {
    let mut client = Client::connect(gateway.address);
    client.say(&[said, SECOND.as_bytes()].concat());
    let mut raw = Vec::new();
    loop {
        let more = client.hear();
        if more.is_empty() {
            break;
        }
        raw.extend(more);
    }
    let text = String::from_utf8_lossy(&raw).into_owned();
    let lines = text.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)?.parse().ok());
    (lines.collect(), told.try_iter().collect())
}

/// It is answered once with that status, the connection ends, and nothing reaches the upstream.
fn assert_refused(cases: &[Strange]) {
    let (gateway, _puppet, told) = telling();
    let mut wrong = Vec::new();
    for (status, said) in cases {
        let (statuses, reached) = converse(&gateway, &told, said);
        if statuses != [*status] || !reached.is_empty() {
            let said = said.escape_ascii();
            wrong.push(format!("{status}: \"{said}\": {statuses:?} {reached:?}"));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// The same bytes in a POST that has a sound head but for these lines, and that body.
fn post(lines: &str, body: &str) -> Vec<u8> {
    format!("POST /a HTTP/1.1\r\nhost: g\r\n{lines}\r\n{body}").into_bytes()
}

fn chunked(body: &str) -> Vec<u8> {
    post("transfer-encoding: chunked\r\n", body)
}

fn get(line: &str) -> Vec<u8> {
    format!("{line}\r\nhost: g\r\n\r\n").into_bytes()
}

#[test]
fn a_request_whose_end_could_be_read_in_two_ways_is_refused() {
    const HIDDEN: &str = "0\r\n\r\nGET /hidden HTTP/1.1\r\nhost: g\r\n\r\n";
    let codings = [
        "transfer-encoding: xchunked",
        "transfer-encoding: chunkedx",
        "transfer-encoding: chunked, identity",
        "transfer-encoding: identity, chunked",
        "transfer-encoding: identity",
        "transfer-encoding: chunked, chunked",
        "transfer-encoding: chunked,",
        "transfer-encoding: ,chunked",
        "transfer-encoding: chunked;q=1",
        "transfer-encoding: \"chunked\"",
        "transfer-encoding: 'chunked'",
        "transfer-encoding: chun\tked",
        "transfer-encoding: \u{b}chunked",
        "transfer-encoding: chunked\u{c}",
        "transfer-encoding: \u{a0}chunked",
        "transfer-encoding: \0chunked",
        "transfer-encoding:",
        "transfer-encoding:\r\n chunked",
        "transfer-encoding : chunked",
        "transfer-encoding\t: chunked",
        " transfer-encoding: chunked",
        "transfer_encoding: chunked",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "transfer-encoding: chunked\r\nTransfer-Encoding: identity",
        "transfer-encoding: identity\r\nTRANSFER-ENCODING: chunked",
        "transfer-encoding: chunked\r\ncontent-length: 5",
        "content-length: 5\r\ntransfer-encoding: chunked",
        "content-length: 5\r\ntransfer-encoding: identity",
        "x: y\rtransfer-encoding: chunked",
        "x: y\ntransfer-encoding: chunked",
        "x: y\r\n\ttransfer-encoding: chunked",
    ];
    let lengths = [
        "+5",
        "-5",
        "-0",
        "5_0",
        "0x5",
        "5,5",
        "5, 5",
        "5 5",
        "",
        "5;",
        "5.0",
        "5e0",
        "\u{665}",
        "\"5\"",
        "0000000000000005",
        "18446744073709551621",
        "99999999999999999999999999",
        "5\u{b}",
        "5\r\ncontent-length: 5",
        "5\r\nContent-Length: 6",
        "0\r\ncontent-length: 5",
        "5\r\ncontent_length: 0",
        "5\r\n 0",
    ];
    let mut cases: Vec<Strange> = Vec::new();
    cases.extend(codings.map(|line| (400, post(&format!("{line}\r\n"), HIDDEN))));
    cases.extend(lengths.map(|text| (400, post(&format!("content-length: {text}\r\n"), HIDDEN))));
    let old = format!("POST /a HTTP/1.0\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\n{HIDDEN}");
    cases.push((400, old.into_bytes()));
    assert_refused(&cases);
}

#[test]
fn a_chunk_that_is_not_exactly_one_is_refused() {
    let bodies = [
        "5 \r\nhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5\t\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5_\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5h\r\nhello\r\n0\r\n\r\n",
        "5.\r\nhello\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
        ";a\r\n\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "fffffffffffffffb\r\nhello\r\n0\r\n\r\n",
        "0000000000000005\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        "5\r\rhello\r\n0\r\n\r\n",
        "5;a=\"b\nc\"\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\r\n\"\r\nhello\r\n0\r\n\r\n",
        "5;a=\"b\r\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "5;a\u{b}b\r\nhello\r\n0\r\n\r\n",
        "5;a=b c\r\u{0}hello\r\n0\r\n\r\n",
        "5;\r\nhello\r\n0\r\n\r\n",
        "5,a\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhelloXX0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhell\r\n0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\r\nhello\r\n0\r\nx y: 1\r\n\r\n",
        "5\r\nhello\r\n0\r\nx : 1\r\n\r\n",
        "5\r\nhello\r\n0\r\n: 1\r\n\r\n",
        "5\r\nhello\r\n0\r\nx\r\n\r\n",
        "5\r\nhello\r\n0\r\nx: 1\r\n folded\r\n\r\n",
        "5\r\nhello\r\n0\r\nx: 1\nGET /hidden HTTP/1.1\r\n\r\n",
        "5\r\nhello\r\n0\r\nx: \0\r\n\r\n",
        "5\r\nhello\r\n0\r\nGET /hidden HTTP/1.1\r\nhost: g\r\n\r\n",
    ];
    let mut cases: Vec<Strange> = bodies.map(|body| (400, chunked(body))).into();
    let long = format!("5;{}\r\nhello\r\n0\r\n\r\n", "a".repeat(300));
    cases.push((400, chunked(&long)));
    let many = format!("0\r\n{}\r\n", "a: b\r\n".repeat(1000));
    cases.push((400, chunked(&many)));
    assert_refused(&cases);
}

/// What no `Host` may be, and what may not follow it.
const HOSTS: [&str; 27] = [
    "",
    "g@evil",
    "eve@g",
    "g:80:80",
    "g:0x50",
    "g:-1",
    "g:+80",
    "g:99999",
    "g:8 0",
    "g/evil",
    "g evil",
    "g,evil",
    "g?x",
    "g#x",
    "[::1",
    "::1",
    "[::1]x",
    "[g]",
    "%67",
    "g\\evil",
    "g\u{b}",
    "\u{e9}",
    "g\r\nhost: g",
    "g\r\nHost: evil",
    "g\r\n evil",
    "g\r\nhost : evil",
    "g\r\nx_host: evil",
];

const LINES: [(u16, &str); 52] = [
    (400, "GET  /a HTTP/1.1"),
    (400, "GET\t/a HTTP/1.1"),
    (400, "GET /a\tHTTP/1.1"),
    (400, "GET /a  HTTP/1.1"),
    (400, " GET /a HTTP/1.1"),
    (400, "GET /a HTTP/1.1 "),
    (400, "GET /a HTTP/1.1\u{b}"),
    (400, "GET /a HTTP/01.1"),
    (400, "GET /a HTTP/1.01"),
    (400, "GET /a HTTP/1,1"),
    (400, "GET /a HTTP/11"),
    (400, "GET /a HTTP/1.1.1"),
    (400, "GET /a HTTPS/1.1"),
    (400, "GET /a http/1.1"),
    (400, "GET /a HtTP/1.1"),
    (505, "GET /a HTTP/1.2"),
    (505, "GET /a HTTP/0.9"),
    (505, "GET /a HTTP/2.0"),
    (505, "GET /a HTTP/3.0"),
    (400, "GET /a HTTP/2"),
    (400, "GET /a"),
    (400, "GET /a b HTTP/1.1"),
    (400, "get /a HTTP/1.1"),
    (400, "Get /a HTTP/1.1"),
    (400, "G\0ET /a HTTP/1.1"),
    (400, "GET\u{a0}/a HTTP/1.1"),
    (400, "\u{feff}GET /a HTTP/1.1"),
    (400, "\nGET /a HTTP/1.1"),
    (400, "GET /a HTTP/1.1\nx: y"),
    (400, "GET /a\0 HTTP/1.1"),
    (400, "GET /a\u{7f} HTTP/1.1"),
    (400, "GET /\u{e9} HTTP/1.1"),
    (400, "GET /a#b HTTP/1.1"),
    (400, "GET /a\\b HTTP/1.1"),
    (400, "GET /a?b\\c HTTP/1.1"),
    (400, "GET \\a HTTP/1.1"),
    (400, "GET a HTTP/1.1"),
    (400, "GET ?a HTTP/1.1"),
    (400, "GET * HTTP/1.1"),
    (400, "GET g:80 HTTP/1.1"),
    (400, "CONNECT g:443 HTTP/1.1"),
    (400, "GET http://evil/a HTTP/1.1"),
    (400, "GET http://g:80/a HTTP/1.1"),
    (400, "GET http://eve@g/a HTTP/1.1"),
    (400, "GET http://g@evil/a HTTP/1.1"),
    (400, "GET http://g:80@evil/a HTTP/1.1"),
    (400, "GET http:///a HTTP/1.1"),
    (400, "GET http:/a HTTP/1.1"),
    (400, "GET http:\\\\g\\a HTTP/1.1"),
    (400, "GET ftp://g/a HTTP/1.1"),
    (400, "GET file:///etc/passwd HTTP/1.1"),
    (400, "GET http://g#/a HTTP/1.1"),
];

#[test]
fn a_request_line_or_host_that_is_not_plain_is_refused() {
    let mut cases: Vec<Strange> = LINES.map(|(code, line)| (code, get(line))).into();
    cases.push((505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()));
    cases.push((414, get(&format!("GET /{} HTTP/1.1", "a".repeat(8 * 1024)))));
    cases.push((431, post(&format!("x: {}\r\n", "a".repeat(64 * 1024)), "")));
    cases.push((431, post(&"x: y\r\n".repeat(128), "")));
    cases.push((400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()));
    for host in HOSTS {
        let said = format!("GET /a HTTP/1.1\r\nhost: {host}\r\n\r\n");
        cases.push((400, said.into_bytes()));
    }
    cases.push((400, b"GET /a HTTP/1.1\r\n\r\n".to_vec()));
    cases.push((400, b"GET /a HTTP/1.1\r\nx-host: g\r\n\r\n".to_vec()));
    assert_refused(&cases);
}

#[test]
fn a_field_that_others_could_read_as_another_is_refused() {
    let mut cases: Vec<Strange> = [
        "X_Gw_User: eve",
        "x-gw_user: eve",
        "x_ringwall_user: eve",
        "x-gw-user : eve",
        "x-gw-user\t: eve",
        "x-gw-user\0: eve",
        "x-gw-user\u{b}: eve",
        "x-a: b\r\n x-gw-user: eve",
        "x-a: b\nx-gw-user: eve",
        "x-a: b\rx-gw-user: eve",
        "x-a: b\0x-gw-user: eve",
        "x-a: \u{1}",
        "x-a: b\u{7f}",
        "(x): 1",
        "x\u{e9}: 1",
        ": eve",
        "x-gw-user",
        "x-gw-user= eve",
        "x y: 1",
        "\"x\": 1",
        "x;y: 1",
    ]
    .map(|line| (400, post(&format!("content-length: 0\r\n{line}\r\n"), "")))
    .into();
    for line in ["200-ok", "100-continue, 100-continue", "", "100-continued"] {
        cases.push((417, post(&format!("expect: {line}\r\ncontent-length: 1\r\n"), "x")));
    }
    assert_refused(&cases);
}

#[test]
fn a_path_that_servers_read_differently_reaches_none_of_them() {
    let (gateway, _puppet, told) = telling();
    let second = format!("GET /second HTTP/1.1\r\n{WHO}\r\n");
    for path in [
        "//evil/a",
        "/a//b",
        "/./a",
        "/a/.",
        "/a/./b",
        "/../a",
        "/a/..",
        "/a/../b",
        "/a/...",
        "/%2e/a",
        "/%2e%2e/a",
        "/.%2E/a",
        "/a/%2e%2e%2fb",
        "/a%2fb",
        "/a%5cb",
        "/%2Fa",
        "/a%00",
        "/a%0d%0ax:%20y",
        "/a%09",
        "/a%7f",
        "/a;b",
        "/a;b=c/d",
        "/a/..;/b",
        "/a%3bb",
        "/a%3fb",
        "/a%23b",
        "/%252e%252e/a",
        "/a%25",
        "/a%",
        "/a%2",
        "/a%g0",
        "/%u002e/a",
        "/%c0%ae/a",
        "/%e0%80%ae/a",
        "/%ff",
        "/%ed%a0%80",
        "/%ef%bc%8e%ef%bc%8e/a",
        "/a%ef%bc%8fb",
        "/%20/a",
        "/a%e2%80%8b",
    ] {
        let (statuses, reached) = converse(&gateway, &told, &get(&format!("GET {path} HTTP/1.1")));
        // The head was read without doubt, so the connection goes on.
        assert_eq!((statuses, reached), (vec![400, 200], vec![second.clone()]), "{path}");
    }
}

/// A request as it is said, and as the upstream hears it: its line, the fields that pass, and what
/// comes behind those that say who asks.
type Passing = (&'static str, (&'static str, &'static str, &'static str));

const PASSING: [Passing; 27] = [
    ("GET /a HTTP/1.1\r\nhost: g\r\n\r\n", ("GET /a", "", "\r\n")),
    ("GET /a?b=//c/../%2e&d HTTP/1.1\r\nhost: g\r\n\r\n", ("GET /a?b=//c/../%2e&d", "", "\r\n")),
    ("GET http://g/a?b HTTP/1.1\r\nhost: G\r\n\r\n", ("GET /a?b", "", "\r\n")),
    ("GET HTTP://g HTTP/1.1\r\nhost: g\r\n\r\n", ("GET /", "", "\r\n")),
    ("GET /.a/b. HTTP/1.1\r\nhost: g\r\n\r\n", ("GET /.a/b.", "", "\r\n")),
    ("GET /%41 HTTP/1.1\r\nhost: [::1]:1\r\n\r\n", ("GET /%41", "", "\r\n")),
    (
        "POST /a HTTP/1.1\r\nhost: g\r\ncontent-length: 0005\r\n\r\nhello",
        ("POST /a", "", "content-length: 5\r\n\r\nhello"),
    ),
    (
        "POST /a HTTP/1.1\r\nhost: g\r\ncontent-length:\t5 \r\n\r\nhello",
        ("POST /a", "", "content-length: 5\r\n\r\nhello"),
    ),
    (
        "POST /a HTTP/1.1\r\nhost: g\r\nTransfer-Encoding: \tCHUNKED \r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ("POST /a", "", "content-length: 5\r\n\r\nhello"),
    ),
    (
        "POST /a HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\n\
         2;a;b=c\r\nhe\r\n03;d=\"e;f\\\"g\"\r\nllo\r\n000\r\n\r\n",
        ("POST /a", "", "content-length: 5\r\n\r\nhello"),
    ),
    (
        "POST /a HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\ntrailer: x\r\n\r\n5\r\nhello\r\n\
         0\r\ncontent-length: 0\r\nhost: evil\r\nx-gw-user: eve\r\ntransfer-encoding: chunked\r\n\r\n",
        ("POST /a", "", "content-length: 5\r\n\r\nhello"),
    ),
    (
        "POST /a HTTP/1.1\r\nhost: g\r\ncontent-length: 24\r\n\r\nGET /hidden HTTP/1.1\r\n\r\n",
        ("POST /a", "", "content-length: 24\r\n\r\nGET /hidden HTTP/1.1\r\n\r\n"),
    ),
    (
        "POST /a HTTP/1.1\r\nhost: g\r\ntransfer-encoding: chunked\r\n\r\n7\r\n0\r\n\r\nGE\r\n0\r\n\r\n",
        ("POST /a", "", "content-length: 7\r\n\r\n0\r\n\r\nGE"),
    ),
    (
        "GET /a HTTP/1.1\r\nhost: g\r\ncontent-length: 5\r\n\r\nhello",
        ("GET /a", "", "content-length: 5\r\n\r\nhello"),
    ),
    ("POST /a HTTP/1.1\r\nhost: g\r\n\r\n", ("POST /a", "", "content-length: 0\r\n\r\n")),
    ("GET /a HTTP/1.1\r\nhost: g\r\nx-gw-user: eve\r\n\r\n", ("GET /a", "", "\r\n")),
    ("GET /a HTTP/1.1\r\nhost: g\r\nX.Gw~User: eve\r\n\r\n", ("GET /a", "", "\r\n")),
    ("GET /a HTTP/1.1\r\nhost: g\r\nx-ringwall-user: eve\r\n\r\n", ("GET /a", "", "\r\n")),
    (
        "GET /a HTTP/1.1\r\nhost: g\r\nconnection: x-gw-user, X-Ringwall-User, x-b\r\n\
         x-b: 1\r\nx-c: 2\r\n\r\n",
        ("GET /a", "x-c: 2\r\n", "\r\n"),
    ),
    (
        "POST /a HTTP/1.1\r\nhost: g\r\nconnection: content-length, host\r\ncontent-length: 2\r\n\r\nhi",
        ("POST /a", "", "content-length: 2\r\n\r\nhi"),
    ),
    (
        "POST /a HTTP/1.1\r\nhost: g\r\nconnection: transfer-encoding\r\n\
         transfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        ("POST /a", "", "content-length: 2\r\n\r\nhi"),
    ),
    (
        "GET /a HTTP/1.1\r\nhost: g\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\n\
         http2-settings: AAMAAABk\r\nte: trailers\r\nkeep-alive: 5\r\nproxy-connection: x\r\n\r\n",
        ("GET /a", "", "\r\n"),
    ),
    (
        "GET /a HTTP/1.1\r\nhost: g\r\nx-forwarded-for: 1.2.3.4\r\nforwarded: for=1.2.3.4\r\n\
         x-real-ip: 1.2.3.4\r\nvia: 1.1 x\r\n\r\n",
        ("GET /a", "", "\r\n"),
    ),
    (
        "GET /a HTTP/1.1\r\nhost: g\r\nproxy-authorization: x\r\n\
         cookie: a=b\r\n\r\n",
        ("GET /a", "cookie: a=b\r\n", "\r\n"),
    ),
    (
        "GET /a HTTP/1.1\r\nhost: g\r\nX-A:  b \t c \r\nx-a:\r\n\r\n",
        ("GET /a", "x-a: b \t c\r\nx-a: \r\n", "\r\n"),
    ),
    (
        "GET /a HTTP/1.1\r\nhost: g\r\n1content-length: 5\r\ncontent-length!: 5\r\nx: y\r\n\r\n",
        ("GET /a", "x: y\r\n", "\r\n"),
    ),
    ("DELETE /a HTTP/1.1\r\nhost: g\r\n\r\n", ("DELETE /a", "", "\r\n")),
];

#[test]
fn what_passes_is_written_anew_byte_for_byte_and_the_next_request_is_the_next() {
    let (gateway, _puppet, told) = telling();
    let second = format!("GET /second HTTP/1.1\r\n{WHO}\r\n");
    for (said, (line, fields, rest)) in PASSING {
        let expected = format!("{line} HTTP/1.1\r\n{fields}{WHO}{rest}");
        let (statuses, reached) = converse(&gateway, &told, said.as_bytes());
        assert_eq!(reached, [expected, second.clone()], "{said:?}");
        assert_eq!(statuses, [200, 200], "{said:?}");
    }
    // A client of HTTP/1.0 says nothing of keeping, so what follows it is not heard.
    for said in ["GET /a HTTP/1.0\r\n\r\n", "GET /a HTTP/1.0\r\nhost: g\r\n\r\n"] {
        let (statuses, reached) = converse(&gateway, &told, said.as_bytes());
        assert_eq!((statuses, reached), (vec![200], vec![format!("GET /a HTTP/1.1\r\n{WHO}\r\n")]));
    }
}

/// What becomes of an upstream's answer.
#[derive(Clone, Copy, Debug)]
enum Comes {
    /// It comes whole: its status and body.
    Whole(u16, &'static str),
    /// Its head comes, and the body visibly breaks off.
    Cut,
    /// It does not come: 502.
    Not,
}

const ANSWERS: [(&str, Comes); 60] = [
    ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", Comes::Whole(200, "hello")),
    ("HTTP/1.1 200\r\ncontent-length: 5\r\n\r\nhello", Comes::Whole(200, "hello")),
    ("HTTP/1.1 200 \r\ncontent-length: 5\r\n\r\nhello", Comes::Whole(200, "hello")),
    ("HTTP/1.0 200 OK\r\n\r\nhello", Comes::Whole(200, "hello")),
    ("HTTP/1.1 200 OK\r\n\r\nhello", Comes::Whole(200, "hello")),
    (
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\n\r\n",
        Comes::Whole(200, "hello"),
    ),
    (
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        Comes::Not,
    ),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 5\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!", Comes::Not),
    ("HTTP/1.1 200 OK\r\ncontent-length: 5, 5\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1 200 OK\r\ncontent-length: +5\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1 200 OK\r\ncontent-length: 0x5\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1 200 OK\r\ncontent-length:\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551621\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", Comes::Not),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n", Comes::Not),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: \u{b}chunked\r\n\r\n0\r\n\r\n", Comes::Not),
    ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", Comes::Not),
    ("HTTP/1.1 200 OK\ncontent-length: 5\n\nhello", Comes::Not),
    ("HTTP/1.1 200 OK\r\ncontent-length: 5\n\r\nhello", Comes::Not),
    ("HTTP/1.1 200 OK\r\nx: y\rz\r\ncontent-length: 5\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1 200 OK\r\nno colon\r\ncontent-length: 5\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1 200 OK\r\ncontent-length : 5\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1 200 OK\r\nx: y\r\n folded\r\ncontent-length: 5\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1 200 OK\r\nx: \0\r\ncontent-length: 5\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1 200 OK\r\n: y\r\ncontent-length: 5\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1 200 OK\r\n x: y\r\ncontent-length: 5\r\n\r\nhello", Comes::Not),
    ("hello", Comes::Not),
    ("<html>hello</html>", Comes::Not),
    ("\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", Comes::Not),
    ("ICY 200 OK\r\ncontent-length: 5\r\n\r\nhello", Comes::Not),
    ("http/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", Comes::Not),
    ("HTTP/2 200 OK\r\ncontent-length: 5\r\n\r\nhello", Comes::Not),
    ("HTTP/2.0 200 OK\r\ncontent-length: 5\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1  200 OK\r\ncontent-length: 5\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1 2000 OK\r\ncontent-length: 5\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1 20 OK\r\ncontent-length: 5\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1 099 OK\r\ncontent-length: 5\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1 600 OK\r\ncontent-length: 5\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1 -20 OK\r\ncontent-length: 5\r\n\r\nhello", Comes::Not),
    (
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\nhello",
        Comes::Not,
    ),
    (
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        Comes::Whole(200, "hello"),
    ),
    (
        "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello",
        Comes::Whole(200, "hello"),
    ),
    (
        "HTTP/1.1 103 Early Hints\r\ncontent-length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        Comes::Not,
    ),
    ("HTTP/1.1 204 No Content\r\n\r\n", Comes::Whole(204, "")),
    ("HTTP/1.1 204 No Content\r\n\r\nhello", Comes::Whole(204, "")),
    ("HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello", Comes::Not),
    ("HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", Comes::Not),
    ("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", Comes::Whole(304, "")),
    ("HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\nhello", Comes::Whole(304, "")),
    (
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-gw: 1\r\n\r\n",
        Comes::Whole(200, "hello"),
    ),
    ("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", Comes::Cut),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n", Comes::Cut),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n", Comes::Cut),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nhello", Comes::Cut),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0x0\r\n\r\n", Comes::Not),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n", Comes::Not),
    ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello0\r\n\r\n", Comes::Not),
];

/// An upstream that answers `/case/n` with the n-th of these, and ends; and everything else with
/// where it was asked.
fn answering(answers: Vec<String>) -> Puppet {
    let answers: Arc<[String]> = answers.into();
    Puppet::start(move |visit| {
        let path = visit.request.split(' ').nth(1).unwrap_or_default().to_owned();
        let nth = path.strip_prefix("/case/").and_then(|nth| nth.parse::<usize>().ok());
        if let Some(raw) = nth.and_then(|nth| answers.get(nth)) {
            visit.say(raw);
            return Then::Close;
        }
        visit.say(&json_answer("200 OK", &path));
        Then::Keep
    })
}

fn assert_comes(answer: &Answer, comes: Comes, case: &str) {
    let said = (answer.status(), answer.is_whole, answer.text());
    match comes {
        Comes::Whole(status, body) => assert_eq!(said, (status, true, body.to_owned()), "{case}"),
        Comes::Cut => assert!(said.0 == 200 && !said.1, "{case}: {said:?}"),
        Comes::Not => assert!(said.0 == 502 && said.1, "{case}: {said:?}"),
    }
}

#[test]
fn an_answer_without_doubt_comes_whole_and_any_other_never_looks_so() {
    let flood = |count| {
        let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n".repeat(count);
        format!("{hints}HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello")
    };
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(70_000));
    let lines = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(300));
    let extended = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;{}\r\nhello\r\n0\r\n\r\n",
        "a".repeat(300)
    );
    let mut cases: Vec<(String, Comes)> =
        ANSWERS.iter().map(|(raw, comes)| ((*raw).to_owned(), *comes)).collect();
    cases.push((flood(8), Comes::Whole(200, "hello")));
    cases.extend([flood(9), flood(5000), long, lines, extended].map(|raw| (raw, Comes::Not)));
    let puppet = answering(cases.iter().map(|(raw, _)| raw.clone()).collect());
    let gateway = before(puppet.address);
    for (nth, (raw, comes)) in cases.iter().enumerate() {
        let case = raw.get(..raw.len().min(200)).unwrap_or_default();
        // A connection to the upstream is kept when the case begins.
        let first = send(gateway.address, "GET", "/first", &[], b"");
        assert_eq!((first.status(), first.text().as_str()), (200, "/first"), "{case}");
        let mut client = Client::connect(gateway.address);
        client.ask("GET", &format!("/case/{nth}"), &[], b"");
        assert_comes(&client.answer("GET"), *comes, case);
        // Whoever asks next gets an answer of their own.
        for path in ["/next", "/last"] {
            let answer = send(gateway.address, "GET", path, &[], b"");
            assert_eq!((answer.status(), answer.text().as_str()), (200, path), "{case}");
        }
    }
}

#[test]
fn an_upstream_that_answers_before_it_has_read_the_request_is_heard() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let upstream = move || {
        let (mut stream, _) = listener.accept().expect("the gateway connects");
        let mut block = [0; 1024];
        let mut read = stream.read(&mut block).expect("a beginning");
        let early =
            "HTTP/1.1 413 Content Too Large\r\ncontent-length: 4\r\nconnection: close\r\n\r\nlong";
        stream.write_all(early.as_bytes()).expect("it is heard");
        while let Ok(more @ 1..) = stream.read(&mut block) {
            read += more;
        }
        read
    };
    let upstream = Builder::new().spawn(upstream).expect("a thread");
    let gateway = before(address);
    let body = vec![b'x'; 1_000_000];
    let answer = send(gateway.address, "POST", "/a", &[], &body);
    assert_eq!((answer.status(), answer.text().as_str()), (413, "long"));
    // The connection was not kept for anybody else.
    assert!(upstream.join().expect("it ends") >= body.len());
}
