//! `kill -9` under load: what was answered is on disk, the log says where it ends, and goes on.

use crate::observe::{ask_chat, records};
use crate::support::{Client, Gateway, config, run, until, upstreams};
use ringwall::base::clock::{Clock, Mono};
use serde_json::Value;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;

const CLIENTS: usize = 3;
/// Chats that are answered before the kill.
const ENOUGH: usize = 300;
const SOON: Duration = Duration::from_secs(20);
/// What may be lost is younger than this: the configured window, which is much shorter, and as long
/// as one flush may take on a disk that others write to. It was seen to take over a second.
const LOSS: Duration = Duration::from_secs(3);

/// The request id of an answered chat, and when it was answered.
type Answered = (String, Mono);

#[test]
fn after_a_kill_under_load_all_that_was_answered_is_on_disk_and_the_log_goes_on() {
    let upstreams = upstreams();
    let config = config(&upstreams);
    let gateway = Gateway::start(&config, &["--set", "gateway.workers=2"]);
    let (folder, answered, killed) = kill_under_load(gateway);
    let audit = folder.path().join("audit");

    let (code, said) = verify(&audit);
    assert!(code == Some(0) || code == Some(2), "{code:?}: {said}");
    let is_torn = code == Some(2);
    let whole = said.strip_prefix("whole up to record ").and_then(|rest| rest.split_once(':'));
    let whole: usize = whole.and_then(|(count, _)| count.parse().ok()).expect("it says where");
    assert_eq!(is_torn, said.contains("torn after that: "), "{said}");

    let mut again = Gateway::start_in(folder, &config, &[]);
    let recorded: Vec<Value> = records(&again);
    assert_eq!(recorded.len(), whole, "it goes on from the last complete batch");
    let is_recorded = |id: &str| recorded.iter().any(|record| record["id"] == id);
    let due: Vec<&str> = answered
        .iter()
        .filter(|(_, at)| killed.since(*at) > LOSS)
        .map(|(id, _)| id.as_str())
        .collect();
    assert!(!due.is_empty(), "the load was too short to say anything");
    let lost: Vec<&&str> = due.iter().filter(|id| !is_recorded(id)).collect();
    assert!(lost.is_empty(), "{} of {} are lost: {lost:?}", lost.len(), due.len());

    assert_eq!(again.chat("after the crash", "").status(), 200);
    again.signal("TERM");
    assert!(again.wait().success(), "{}", again.log());
    let (code, said) = verify(&audit);
    assert_eq!(code, Some(0), "{said}");
    // The chat's record, and one that says what was left behind if anything was.
    let more = if is_torn { 2 } else { 1 };
    assert!(said.starts_with(&format!("whole up to record {}:", whole + more)), "{said}");
}

/// Lets clients chat, kills the gateway amid it: its folder, what was answered, when it died.
fn kill_under_load(gateway: Gateway) -> (TempDir, Vec<Answered>, Mono) {
    let clock = Clock::machine();
    let count = AtomicUsize::new(0);
    let address = gateway.address;
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| chat_until_it_dies(address, &clock, &count)))
            .collect();
        let began = clock.mono();
        let busy = until(SOON, || {
            let is_long_enough = clock.mono().since(began) > 2 * LOSS;
            is_long_enough && count.load(Ordering::Acquire) >= ENOUGH
        });
        assert!(busy, "only {} were answered", count.load(Ordering::Acquire));
        let killed = clock.mono();
        let folder = gateway.crash();
        let answered = clients.into_iter().flat_map(|one| one.join().expect("a client"));
        (folder, answered.collect(), killed)
    })
}

fn chat_until_it_dies(address: SocketAddr, clock: &Clock, count: &AtomicUsize) -> Vec<Answered> {
    let mut answered = Vec::new();
    let mut client = Client::connect(address);
    // A raw client panics when its gateway is gone, which here is what it waits for.
    let mut one = || {
        ask_chat(&mut client, "hi", "");
        let answer = client.answer("POST");
        assert_eq!(answer.status(), 200, "{}", answer.text());
        let id = answer.field("x-request-id").expect("it has an id").to_owned();
        answered.push((id, clock.mono()));
        count.fetch_add(1, Ordering::AcqRel);
    };
    while catch_unwind(AssertUnwindSafe(&mut one)).is_ok() {}
    answered
}

#[test]
fn a_batch_that_was_cut_off_is_named_and_left_behind() {
    let upstreams = upstreams();
    let config = config(&upstreams);
    let gateway = Gateway::before(&upstreams);
    for _ in 0..3 {
        assert_eq!(gateway.chat("hi", "").status(), 200);
    }
    assert!(until(SOON, || records(&gateway).len() == 3), "{}", gateway.audit_text());
    let folder = gateway.crash();
    let audit = folder.path().join("audit");
    // What a power cut leaves: a batch of which the beginning reached the disk.
    let segment = newest_segment(&audit);
    let before = fs::metadata(&segment).expect("it is there").len();
    let text = fs::read_to_string(&segment).expect("it is text");
    let line = text.lines().find(|line| line.starts_with("{\"seq\":")).expect("a record");
    let mut file = OpenOptions::new().append(true).open(&segment).expect("it opens");
    file.write_all(line.as_bytes().split_at(line.len() / 2).0).expect("it is written");

    let (code, said) = verify(&audit);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.starts_with("whole up to record 3:"), "{said}");
    let name = segment.file_name().expect("it has a name").to_string_lossy().into_owned();
    assert!(said.contains(&format!("{name} from byte {before} on")), "{said}");

    let mut again = Gateway::start_in(folder, &config, &[]);
    assert_eq!(again.chat("after the cut", "").status(), 200);
    again.signal("TERM");
    assert!(again.wait().success(), "{}", again.log());
    let (code, said) = verify(&audit);
    assert_eq!(code, Some(0), "{said}");
    // The chat's record, and one that says what was left behind.
    assert!(said.starts_with("whole up to record 5:"), "{said}");
    assert!(again.audit_text().contains("\"kind\":\"recovered\""), "{}", again.audit_text());
}

/// The exit code of `ringwall audit verify`, and what it printed.
fn verify(folder: &Path) -> (Option<i32>, String) {
    let output = run(&["audit", "verify", &folder.display().to_string()]);
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

fn newest_segment(folder: &Path) -> PathBuf {
    let entries = fs::read_dir(folder).expect("the log's folder").flatten();
    let files = entries.map(|entry| entry.path());
    let has_records =
        |path: &PathBuf| fs::read_to_string(path).is_ok_and(|text| text.contains("\"outcome\""));
    files.filter(has_records).max().expect("a file with records")
}
