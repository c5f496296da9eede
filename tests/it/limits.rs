//! Limits under all workers at once, from outside.

use crate::support::{Client, Gateway, KEY, config, upstreams};
use std::sync::atomic::{AtomicUsize, Ordering};

const REQUESTS: usize = 10_000;
const LIMIT: usize = 1000;
const CLIENTS: usize = 8;

#[test]
fn four_workers_together_never_pass_more_than_the_limit() {
    let upstreams = upstreams();
    let limit = format!("keys = [\"sha256:{}\"]", crate::support::digest(KEY));
    let limited = format!("{limit}\nrequests_per_minute = {LIMIT}");
    let config = config(&upstreams).replace("workers = 1", "workers = 4").replace(&limit, &limited);
    let gateway = Gateway::start(&config, &[]);
    let (passed, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| rush(&gateway, &passed, &refused));
        }
    });
    let (passed, refused) = (passed.into_inner(), refused.into_inner());
    assert_eq!(passed + refused, REQUESTS);
    assert!(passed <= LIMIT, "{passed} passed");
    // Leases must not starve a caller either.
    assert!(passed >= LIMIT * 9 / 10, "only {passed} passed");
}

fn rush(gateway: &Gateway, passed: &AtomicUsize, refused: &AtomicUsize) {
    let key = format!("Bearer {KEY}");
    let fields = [("authorization", key.as_str()), ("content-type", "application/json")];
    let body = b"{\"model\":\"demo-model\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}";
    let mut client = Client::connect(gateway.address);
    for _ in 0..REQUESTS / CLIENTS {
        client.ask("POST", "/v1/chat/completions", &fields, body);
        let answer = client.answer("POST");
        match answer.status() {
            200 => passed.fetch_add(1, Ordering::Relaxed),
            429 => refused.fetch_add(1, Ordering::Relaxed),
            other => panic!("{other}: {}", answer.text()),
        };
    }
}
