//! Bounds, from outside: each is reached, answered as the reference says, and left again.

use crate::observe::{chat_body, meter};
use crate::puppet::{Puppet, Then, chat_answer, delta};
use crate::support::{
    Answer, Client, Gateway, KEY, config, free_address, get, send, until, upstreams,
};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use ringwall::base::clock::Clock;
use serde_json::Value;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);

fn gateway(sets: &[&str]) -> Gateway {
    // The demo's threads live as long as this process.
    let config = config(Box::leak(Box::new(upstreams())));
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", *set]).collect();
    Gateway::start(&config, &sets)
}

/// A text in gzip.
pub(crate) fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("a vector takes it");
    encoder.finish().expect("a vector takes it")
}

fn zlib(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).expect("a vector takes it");
    encoder.finish().expect("a vector takes it")
}

fn post_coded(gateway: &Gateway, coding: &str, body: &[u8]) -> Answer {
    let key = format!("Bearer {KEY}");
    let fields = [
        ("authorization", &*key),
        ("content-type", "application/json"),
        ("content-encoding", coding),
    ];
    send(gateway.address, "POST", "/v1/chat/completions", &fields, body)
}

fn code(answer: &Answer) -> String {
    answer.json().pointer("/error/code").and_then(Value::as_str).unwrap_or_default().to_owned()
}

#[test]
fn coded_requests_are_decoded_before_the_guard_or_refused_by_the_switch() {
    let own = gateway(&["guard.action.0.rule=pii.card", "guard.action.0.request=block"]);
    let chat = |prompt: &str| chat_body(prompt, "").into_bytes();
    let (fine, card) = (chat("hi"), chat("card 4111 1111 1111 1111"));
    for (coding, body) in [
        ("gzip", gzip(&fine)),
        ("deflate", zlib(&fine)),
        ("zstd", zstd::stream::encode_all(&*fine, 3).expect("a vector takes it")),
        ("deflate, gzip", gzip(&zlib(&fine))),
    ] {
        let answer = post_coded(&own, coding, &body);
        assert_eq!(answer.status(), 200, "{coding}: {}", answer.text());
    }
    let hidden = post_coded(&own, "gzip", &gzip(&card));
    assert_eq!((hidden.status(), &*code(&hidden)), (400, "guard_blocked"), "{}", hidden.text());
    let broken = post_coded(&own, "gzip", b"not gzip at all");
    assert_eq!((broken.status(), &*code(&broken)), (400, "invalid_encoding"));
    let bomb = post_coded(&own, "gzip", &gzip(&vec![b' '; 32 << 20]));
    assert_eq!(bomb.status(), 413, "{}", bomb.text());
    let unknown = post_coded(&own, "compress", &fine);
    assert_eq!(unknown.status(), 415);
    assert_eq!(unknown.field("accept-encoding"), Some("gzip, deflate, br, zstd"));

    let strict = gateway(&["bounds.encodings=refuse"]);
    let refused = post_coded(&strict, "gzip", &gzip(&fine));
    assert_eq!(refused.status(), 415, "{}", refused.text());
    assert_eq!(refused.field("accept-encoding"), Some("identity"));
    assert_eq!(post_coded(&strict, "identity", &fine).status(), 200);
}

/// A gateway whose model answers every request with this body, coded so.
fn answering(media: &str, coding: &str, body: Vec<u8>, sets: &[&str]) -> (Gateway, Puppet) {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {media}\r\ncontent-encoding: {coding}\r\n\
         content-length: {length}\r\n\r\n"
    );
    let puppet = Puppet::start(move |visit| {
        visit.say(&head);
        visit.say_bytes(&body);
        Then::Keep
    });
    let model = format!("provider.demo.url=http://{}/v1", puppet.address);
    let sets: Vec<&str> = sets.iter().copied().chain([&*model]).collect();
    (gateway(&sets), puppet)
}

#[test]
fn coded_answers_and_streams_are_decoded_or_are_the_upstream_s_fault() {
    let whole = r#"{"id":"c","object":"chat.completion","choices":[{"index":0,"message":
        {"role":"assistant","content":"decoded words"},"finish_reason":"stop"}]}"#;
    let (own, _puppet) = answering("application/json", "gzip", gzip(whole.as_bytes()), &[]);
    let answer = own.chat("hi", "");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert!(answer.text().contains("decoded words"));
    assert_eq!(answer.field("content-encoding"), None);

    let events = format!("{}data: [DONE]\n\n", delta("decoded words and ").repeat(500));
    let coded = zlib(&gzip(events.as_bytes()));
    let (own, _puppet) = answering("text/event-stream", "gzip, deflate", coded, &[]);
    let answer = own.chat("hi", ",\"stream\":true");
    assert!(answer.is_whole && answer.text().ends_with("[DONE]\n\n"), "{}", answer.text());
    assert_eq!(answer.text().matches("decoded").count(), 500);

    let bomb = gzip(&vec![b' '; 64 << 20]);
    let (own, _puppet) = answering("application/json", "gzip", bomb, &[]);
    assert_eq!(own.chat("hi", "").status(), 502);

    let sets = ["bounds.encodings=refuse"];
    let (own, _puppet) = answering("application/json", "gzip", gzip(whole.as_bytes()), &sets);
    assert_eq!(own.chat("hi", "").status(), 502);
}

#[test]
fn a_target_a_head_and_a_count_beyond_the_bound_have_their_statuses() {
    let own = gateway(&["bounds.uri=256 B", "bounds.head=2 KiB", "bounds.headers=8"]);
    let fits = format!("/{}", "a".repeat(255));
    assert_eq!(get(own.address, &fits).status(), 404);
    assert_eq!(get(own.address, &format!("{fits}a")).status(), 414);
    assert_eq!(get(own.address, &format!("/a?{}", "q".repeat(254))).status(), 414);
    let long = "v".repeat(2000);
    assert_eq!(send(own.address, "GET", "/", &[("x-long", &*long)], b"").status(), 431);
    let many = [("x-a", "1"); 9];
    assert_eq!(send(own.address, "GET", "/", &many, b"").status(), 431);
}

#[test]
fn an_upstream_s_head_has_bounds_of_its_own() {
    let sets = ["bounds.upstream_head=2 KiB", "bounds.upstream_headers=8"];
    for (more, status) in [
        (format!("x-long: {}\r\n", "v".repeat(1500)), 200),
        (format!("x-long: {}\r\n", "v".repeat(2100)), 502),
        ("x-many: 1\r\n".repeat(5), 200),
        ("x-many: 1\r\n".repeat(9), 502),
    ] {
        let answer = chat_answer("fine").replacen("\r\n", &format!("\r\n{more}"), 1);
        let puppet = Puppet::answering(answer);
        let model = format!("provider.demo.url=http://{}/v1", puppet.address);
        let own = gateway(&[sets[0], sets[1], &model]);
        assert_eq!(own.chat("hi", "").status(), status, "{more}");
    }
}

#[test]
fn a_slow_body_ends_by_its_rate_and_a_steady_one_does_not() {
    let own = gateway(&["bounds.body_rate=1 KiB", "deadlines.body_grace=300ms"]);
    let begin = || {
        let mut client = Client::connect(own.address);
        client.say(
            format!(
                "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\nauthorization: Bearer \
                 {KEY}\r\ncontent-type: application/json\r\ncontent-length: 4000\r\n\r\n"
            )
            .as_bytes(),
        );
        client
    };
    let mut slow = begin();
    slow.say(b"{");
    let clock = Clock::machine();
    let began = clock.mono();
    assert_eq!(slow.answer("POST").status(), 408);
    assert!(clock.mono().since(began) < SECOND * 3);
    let mut steady = begin();
    let body = format!("{:<4000}", chat_body("hi", ""));
    for piece in body.as_bytes().chunks(500) {
        steady.say(piece);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(steady.answer("POST").status(), 200);
}

#[test]
fn who_connects_and_says_nothing_is_let_go() {
    let own = gateway(&["deadlines.first_request=300ms"]);
    let mut silent = Client::connect(own.address);
    assert!(silent.hear().is_empty(), "it closes without a word");
    let mut talker = Client::connect(own.address);
    talker.ask("GET", "/nowhere", &[], b"");
    assert_eq!(talker.answer("GET").status(), 404);
    std::thread::sleep(Duration::from_millis(700));
    talker.ask("GET", "/nowhere", &[], b"");
    assert_eq!(talker.answer("GET").status(), 404, "between requests the idle deadline holds");
}

#[test]
fn a_reader_below_the_rate_is_closed_and_its_lease_comes_back() {
    let own = gateway(&["deadlines.write=1s", "bounds.write_rate=64 KiB"]);
    let stalled = own.begin_stream("[demo chunks=200000 gap_ms=0]");
    assert!(until(SOON, || meter(&own, "ringwall_in_flight") == 0), "it is still served");
    drop(stalled);
    assert_eq!(own.chat("hi", "").status(), 200);
}

#[test]
fn a_reader_of_a_few_bytes_at_a_time_is_closed_though_it_always_reads() {
    let own = gateway(&["deadlines.write=1s", "bounds.write_rate=64 KiB"]);
    let mut dribbling = own.begin_stream("[demo chunks=200000 gap_ms=0]");
    let is_let_go = || {
        dribbling.sip();
        meter(&own, "ringwall_in_flight") == 0
    };
    assert!(until(SOON, is_let_go), "it is still served");
}

#[test]
fn connections_are_bounded_for_an_address_a_worker_and_in_all() {
    for (bound, workers) in [
        ("bounds.connections_per_address=3", "gateway.workers=2"),
        ("bounds.connections_total=3", "gateway.workers=2"),
        ("bounds.connections=3", "gateway.workers=1"),
    ] {
        let own = gateway(&[bound, workers]);
        let mut held: Vec<Client> = (0..3).map(|_| Client::connect(own.address)).collect();
        for client in &mut held {
            client.ask("GET", "/nowhere", &[], b"");
            assert_eq!(client.answer("GET").status(), 404);
        }
        assert!(Client::connect(own.address).hear().is_empty(), "{bound}");
        assert!(meter(&own, "ringwall_turned_away_total") > 0);
        drop(held);
        assert!(until(SOON, || meter(&own, "ringwall_connections") == 0));
        assert_eq!(get(own.address, "/nowhere").status(), 404);
    }
}

#[test]
fn behind_a_proxy_each_client_has_its_own_address_and_a_unix_socket_has_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("in.sock");
    let proxied = free_address();
    let text = config(Box::leak(Box::new(upstreams())))
        + &format!(
            "\n[[listener]]\naddress = \"{proxied}\"\nproxy_protocol = true\n\
             proxy_from = [\"127.0.0.0/8\"]\n\
             [[listener]]\naddress = \"unix:{}\"\nmode = \"0600\"\n",
            path.display()
        );
    let own = Gateway::start(&text, &["--set", "bounds.connections_per_address=2"]);
    let from = |address: &str| {
        let mut client = Client::connect(proxied);
        client.say(format!("PROXY TCP4 {address} 127.0.0.1 51234 80\r\n").as_bytes());
        client.say(b"GET /nowhere HTTP/1.1\r\nhost: gateway\r\n\r\n");
        client
    };
    let held: Vec<Client> = ["192.0.2.7", "192.0.2.7", "192.0.2.8", "192.0.2.8"]
        .into_iter()
        .map(|address| {
            let mut client = from(address);
            assert_eq!(client.answer("GET").status(), 404, "{address}");
            client
        })
        .collect();
    assert!(from("192.0.2.7").hear().is_empty(), "three from one address");
    assert_eq!(meter(&own, "ringwall_turned_away_total"), 1);
    let local: Vec<UnixStream> =
        (0..5).map(|_| UnixStream::connect(&path).expect("it connects")).collect();
    assert!(until(SOON, || meter(&own, "ringwall_connections") == 9), "{}", own.log());
    drop((held, local));
    assert!(until(SOON, || meter(&own, "ringwall_connections") == 0));
    assert_eq!(from("192.0.2.7").answer("GET").status(), 404);
}

#[test]
fn a_caller_s_streams_are_bounded_over_all_workers() {
    let own = gateway(&["bounds.streams_per_caller=2", "gateway.workers=2"]);
    let begin = || own.begin_stream("[demo chunks=2000 gap_ms=20]");
    let held = [begin(), begin()];
    let refused = own.chat("hi", ",\"stream\":true");
    assert_eq!((refused.status(), &*code(&refused)), (429, "rate_limited"));
    assert!(refused.field("retry-after").is_some());
    assert_eq!(own.chat("hi", "").status(), 200, "what is no stream passes");
    drop(held);
    assert!(until(SOON, || own.chat("hi", ",\"stream\":true").status() == 200));
}

#[test]
fn short_of_memory_new_work_is_refused_and_live_work_goes_on() {
    let own = gateway(&["gateway.workers=1"]);
    let reload = |memory: &str| {
        let file = own.config_file();
        let text = std::fs::read_to_string(&file).expect("it is there");
        let text = text.split("[bounds]").next().unwrap_or_default().to_owned();
        std::fs::write(&file, format!("{text}[bounds]\nmemory = \"{memory}\"\n")).expect("written");
        own.signal("HUP");
    };
    let mut live = own.begin_stream("[demo chunks=150 gap_ms=20]");
    assert!(meter(&own, "ringwall_resident_bytes") > 1 << 20);
    reload("1 MiB");
    assert!(until(SOON, || meter(&own, "ringwall_memory_pressure") == 1), "{}", own.log());
    let refused = own.chat("hi", "");
    assert_eq!((refused.status(), &*code(&refused)), (503, "overloaded"), "{}", refused.text());
    assert!(refused.field("retry-after").is_some());
    let ended = live.answer("POST");
    assert!(ended.is_whole && ended.text().ends_with("[DONE]\n\n"), "{}", ended.text());
    reload("4 GiB");
    assert!(until(SOON, || own.chat("hi", "").status() == 200), "{}", own.log());
}

/// Ticks of processor time that a process has used.
fn ticks(pid: u32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split(' ').collect();
    let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok());
    number(12).unwrap_or(0) + number(13).unwrap_or(0)
}

#[test]
fn without_file_descriptors_accepting_rests_and_then_goes_on() {
    let own = gateway(&["gateway.workers=1"]);
    assert_eq!(own.chat("hi", "").status(), 200, "and leaves an idle upstream connection");
    let open = std::fs::read_dir(format!("/proc/{}/fd", own.pid())).expect("it lives").count();
    let limit = format!("--nofile={0}:{0}", open + 20);
    let status = Command::new("prlimit").args(["--pid", &own.pid().to_string(), &limit]).status();
    assert!(status.expect("prlimit runs").success());
    let held: Vec<TcpStream> =
        (0..200).filter_map(|_| TcpStream::connect(own.address).ok()).collect();
    assert!(held.len() > 150, "the kernel takes them for us");
    std::thread::sleep(SECOND);
    let before = ticks(own.pid());
    std::thread::sleep(SECOND * 2);
    let used = ticks(own.pid()) - before;
    assert!(used < 60, "{used} of 200 ticks: it spins");
    drop(held);
    assert!(until(SOON, || own.chat("hi", "").status() == 200), "{}", own.log());
}

#[test]
fn an_upstream_that_has_too_much_held_back_is_cut_off() {
    let word = |choice: usize| {
        let text = "a1".repeat(400);
        let delta = format!("{{\"index\":{choice},\"delta\":{{\"content\":\"{text}\"}}}}");
        format!("data: {{\"id\":\"c\",\"choices\":[{delta}]}}\n\n")
    };
    let events = |choices| (0..choices).map(word).collect::<String>() + "data: [DONE]\n\n";
    for (choices, is_whole) in [(2, true), (20, false)] {
        let body = events(choices).into_bytes();
        let sets = ["bounds.held=4 KiB"];
        let (own, _puppet) = answering("text/event-stream", "identity", body, &sets);
        let answer = own.chat("hi", ",\"stream\":true");
        assert_eq!((answer.status(), answer.is_whole), (200, is_whole), "{choices} choices");
    }
}
