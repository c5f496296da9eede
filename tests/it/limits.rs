//! Limits, from outside: exact over all workers at once, and nothing leaks when clients leave.

use crate::observe::{ask_chat, meter};
use crate::support::{Client, Gateway, config, until, upstreams};
use ringwall::base::clock::Clock;
use serde_json::Value;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const REQUESTS: usize = 10_000;
const LIMIT: usize = 1000;
const CLIENTS: usize = 5;
/// Connections of each client; together they reach every worker.
const CONNECTIONS: usize = 8;
const WINDOW: Duration = Duration::from_mins(1);
/// Seconds after which a use is sure to be back: the window, the bucket it fell into, the roll
/// after that, the rounding up; and as much again as a starved control thread may be late.
const BACK_MAX: u64 = 60 + 1 + 1 + 1 + 10;
const SOON: Duration = Duration::from_secs(10);

#[test]
fn four_workers_together_never_pass_more_than_the_limit() {
    let upstreams = upstreams();
    let sets = ["--set", "gateway.workers=4", "--set", "caller.suite.requests_per_minute=1000"];
    let gateway = Gateway::start(&config(&upstreams), &sets);
    let (passed, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let clock = Clock::machine();
    let began = clock.mono();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| rush(&gateway, &passed, &refused));
        }
    });
    assert!(clock.mono().since(began) < WINDOW, "too slow to say anything about one window");
    let (passed, refused) = (passed.into_inner(), refused.into_inner());
    assert_eq!(passed + refused, REQUESTS);
    assert!(passed <= LIMIT, "{passed} passed");
    // Leases must not starve a caller either.
    assert!(passed >= LIMIT * 95 / 100, "only {passed} passed");
    assert!(until(SOON, || meter(&gateway, "ringwall_in_flight") == 0), "a lease leaked");
}

fn rush(gateway: &Gateway, passed: &AtomicUsize, refused: &AtomicUsize) {
    let connect = |_| Client::connect(gateway.address);
    let mut clients: Vec<Client> = (0..CONNECTIONS).map(connect).collect();
    for _ in 0..REQUESTS / CLIENTS / CONNECTIONS {
        // All at once, so that all workers decide at once.
        for client in &mut clients {
            ask_chat(client, "hi", "");
        }
        for client in &mut clients {
            let answer = client.answer("POST");
            match answer.status() {
                200 => passed.fetch_add(1, Ordering::Relaxed),
                429 => {
                    let wait = answer.field("retry-after").and_then(|wait| wait.parse().ok());
                    assert!(
                        wait.is_some_and(|wait: u64| (1..=BACK_MAX).contains(&wait)),
                        "{wait:?}"
                    );
                    refused.fetch_add(1, Ordering::Relaxed)
                }
                other => panic!("{other}: {}", answer.text()),
            };
        }
    }
}

/// Begins a stream of so many chunks, each a fiftieth of a second after the other.
fn stream(gateway: &Gateway, chunks: usize) -> Client {
    let mut client = Client::connect(gateway.address);
    ask_chat(&mut client, &format!("slow [demo chunks={chunks} gap_ms=20]"), ",\"stream\":true");
    client
}

#[test]
fn no_more_run_at_once_than_may_and_every_lease_comes_back() {
    let upstreams = upstreams();
    let sets = ["--set", "gateway.workers=2", "--set", "caller.suite.in_flight=3"];
    let gateway = Gateway::start(&config(&upstreams), &sets);
    let mut ending = stream(&gateway, 60);
    let leaving = [stream(&gateway, 2000), stream(&gateway, 2000)];
    let running = || meter(&gateway, "ringwall_in_flight");
    assert!(until(SOON, || running() == 3), "{} run", running());

    let refused = gateway.chat("one too many", "");
    assert_eq!(refused.status(), 429, "{}", refused.text());
    let code = refused.json().pointer("/error/code").and_then(Value::as_str).map(str::to_owned);
    assert_eq!(code.as_deref(), Some("rate_limited"));
    assert!(refused.field("retry-after").is_some());
    assert_eq!(running(), 3, "a refusal holds nothing");

    // One ends by itself: there is room again.
    let ended = ending.answer("POST");
    assert!(ended.is_whole && ended.text().ends_with("[DONE]\n\n"), "{}", ended.text());
    assert!(until(SOON, || running() == 2), "{} run", running());
    assert_eq!(gateway.chat("room for one", "").status(), 200);

    // The others' clients leave.
    drop(leaving);
    assert!(until(SOON, || running() == 0), "{} run", running());
    let all = [stream(&gateway, 5), stream(&gateway, 5), stream(&gateway, 5)];
    for mut one in all {
        let answer = one.answer("POST");
        assert_eq!((answer.status(), answer.is_whole), (200, true), "{}", answer.text());
    }
    assert!(until(SOON, || running() == 0), "{} run", running());
}
