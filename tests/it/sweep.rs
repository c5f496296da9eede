//! Connections that end, reset or crawl at every byte, on either side; and a disk that is full.

use crate::faults::before;
use crate::observe::{chat_body, meter, records};
use crate::puppet::{Puppet, STREAM, Then, chat_answer, delta, reset};
use crate::support::{Client, Gateway, KEY, get, run, until, upstreams};
use ringwall::http::head::BodyLength;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// How a connection ends amid what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Fin,
    Reset,
}

/// Nothing is held any more, and so many exchanges left one record each.
fn assert_settled(gateway: &Gateway, least: usize, most: usize) {
    let free = || meter(gateway, "ringwall_in_flight") == 0;
    assert!(until(SOON, free), "leases are held");
    assert!(until(SOON, || meter(gateway, "ringwall_connections") == 0), "connections are held");
    assert!(until(SOON, || records(gateway).len() >= least), "records are missing");
    let kept = records(gateway);
    assert!((least..=most).contains(&kept.len()), "{} and not {least} to {most}", kept.len());
    let ids: BTreeSet<String> = kept.iter().map(|record| record["id"].to_string()).collect();
    assert_eq!(ids.len(), kept.len(), "an exchange left two records");
    let panicked = kept.iter().any(|record| record["outcome"] == "panicked");
    assert!(!panicked, "an exchange panicked");
}

/// An upstream that answers the n-th request with n bytes of this, and then ends.
fn breaking(answer: Arc<str>, end: End, cut: &Arc<AtomicUsize>) -> Puppet {
    let cut = Arc::clone(cut);
    Puppet::start(move |visit| {
        visit.say(&answer[..cut.load(Ordering::Acquire)]);
        if end == End::Reset {
            visit.reset();
        }
        Then::Close
    })
}

fn chunked(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

#[test]
fn an_upstream_that_breaks_off_at_any_byte_never_looks_whole() {
    let head = STREAM.replace("\r\n\r\n", "\r\ntransfer-encoding: chunked\r\n\r\n");
    let events = chunked(&delta("so ")) + &chunked(&delta("far.")) + &chunked("data: [DONE]\n\n");
    let stream = format!("{head}{events}0\r\n\r\n");
    for (answer, more) in [(chat_answer("well"), ""), (stream, ",\"stream\":true")] {
        let answer: Arc<str> = answer.into();
        for end in [End::Fin, End::Reset] {
            let cut = Arc::<AtomicUsize>::default();
            let puppet = breaking(Arc::clone(&answer), end, &cut);
            let gateway = before(&[puppet.address], &[]);
            // The last bytes of a chunked body say nothing but that it ended: a reset with them
            // may be noticed or not.
            for length in 0..answer.len() {
                cut.store(length, Ordering::Release);
                let read = gateway.chat("hi", more);
                let case = format!("{end:?} after {length} of {}: {}", answer.len(), read.text());
                match read.status() {
                    200 => assert!(!read.is_whole, "{case}"),
                    502 => assert!(read.is_whole && read.json()["error"].is_object(), "{case}"),
                    _ => panic!("{case}"),
                }
            }
            assert_settled(&gateway, answer.len(), answer.len());
            assert!(records(&gateway).iter().all(|record| record["outcome"] == "upstream_failed"));
            assert_eq!(puppet.requests(), answer.len(), "something was asked twice");
            cut.store(answer.len(), Ordering::Release);
            if end == End::Fin {
                let read = gateway.chat("hi", more);
                assert!(read.status() == 200 && read.is_whole, "{}", read.text());
            }
        }
    }
}

fn request(more: &str) -> Vec<u8> {
    let body = chat_body("hi", more);
    let length = body.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

#[test]
fn a_client_that_breaks_off_at_any_byte_holds_nothing() {
    let upstreams = upstreams();
    let request = request("");
    let head = request.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    for end in [End::Fin, End::Reset] {
        let gateway = before(&[upstreams.model_addr], &[]);
        for length in 0..=request.len() {
            let mut stream = TcpStream::connect(gateway.address).expect("it connects");
            stream.set_read_timeout(Some(SOON)).expect("a timeout");
            stream.write_all(&request[..length]).expect("it takes them");
            let mut answer = Vec::new();
            if end == End::Reset {
                reset(&stream);
                continue;
            }
            stream.shutdown(Shutdown::Write).expect("it is open");
            // Half-closed: it could still be answered, and must at least be ended.
            stream.read_to_end(&mut answer).unwrap_or_else(|e| panic!("{length} bytes: {e}"));
            let text = String::from_utf8_lossy(&answer);
            assert!(!text.starts_with("HTTP/1.1 200") || length == request.len(), "{text}");
        }
        let begun = request.len() - head + 1;
        // A reset may overtake what was sent before it.
        assert_settled(&gateway, if end == End::Fin { begun } else { 0 }, begun);
        assert_eq!(gateway.chat("still there", "").status(), 200);
    }
}

#[test]
fn bytes_that_come_one_by_one_are_the_same_bytes() {
    let stream = format!("{STREAM}{}data: [DONE]\n\n", delta("one by one."));
    for (answer, more) in [(chat_answer("one by one."), ""), (stream, ",\"stream\":true")] {
        let is_stream = !more.is_empty();
        let puppet = Puppet::start(move |visit| {
            for at in 0..answer.len() {
                visit.say(&answer[at..=at]);
            }
            if is_stream { Then::Close } else { Then::Keep }
        });
        let gateway = before(&[puppet.address], &[]);
        for _ in 0..5 {
            let mut client = Client::connect(gateway.address);
            for byte in request(more) {
                client.say(&[byte]);
            }
            let read = client.answer("POST");
            assert!(read.status() == 200 && read.is_whole, "{}", read.text());
            assert_eq!(matches!(read.head.body, BodyLength::Chunked), is_stream);
            // The guard may let out in two events what came in one.
            let said = read.text().contains("one by ") && read.text().contains("one.");
            assert!(said, "{}", read.text());
        }
        assert_settled(&gateway, 5, 5);
    }
}

/// Lets no file of the process grow beyond so many bytes; `None`: as far as it likes.
fn bound_files(gateway: &Gateway, bytes: Option<u64>) {
    let pid = i32::try_from(gateway.pid()).ok().and_then(Pid::from_raw).expect("a process");
    let limit = Rlimit { current: bytes, maximum: None };
    prlimit(Some(pid), Resource::Fsize, limit).expect("it may be bounded");
}

#[test]
fn a_log_that_cannot_grow_is_told_loses_nothing_and_goes_on_by_itself() {
    let upstreams = upstreams();
    let mut gateway = Gateway::before(&upstreams);
    assert_eq!(gateway.chat("before", "").status(), 200);
    assert!(until(SOON, || records(&gateway).len() == 1), "no record");
    let folder = fs::read_dir(gateway.audit_folder()).expect("a folder").flatten();
    let lengths = folder.filter_map(|entry| entry.metadata().ok()).map(|file| file.len());
    bound_files(&gateway, Some(lengths.max().unwrap_or(0) + 100));
    let stop = AtomicBool::new(false);
    let asked = std::thread::scope(|scope| {
        let ask = || {
            let mut asked = 0;
            while !stop.load(Ordering::Acquire) {
                let answer = gateway.chat("while it is full", "");
                assert_eq!(answer.status(), 200, "{}", answer.text());
                asked += 1;
            }
            asked
        };
        let client = scope.spawn(ask);
        assert!(until(SOON, || get(gateway.admin, "/readyz").status() == 503), "it looks ready");
        assert_eq!(meter(&gateway, "ringwall_audit_down"), 1);
        std::thread::sleep(Duration::from_millis(500));
        assert_eq!(get(gateway.admin, "/healthz").status(), 200);
        stop.store(true, Ordering::Release);
        client.join().expect("the client is answered")
    });
    assert!(records(&gateway).len() < asked, "nothing was held up: the test shows nothing");
    bound_files(&gateway, None);
    assert!(until(SOON, || get(gateway.admin, "/readyz").status() == 200), "it does not recover");
    assert!(until(SOON, || records(&gateway).len() == asked + 1), "records are lost");
    assert_settled(&gateway, asked + 1, asked + 1);
    gateway.signal("TERM");
    assert!(gateway.wait().success(), "{}", gateway.log());
    let verified = run(&["audit", "verify", &gateway.audit_folder().display().to_string()]);
    assert!(verified.status.success(), "{verified:?}");
}
