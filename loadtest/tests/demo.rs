//! The generator against the demo servers without a gateway: what it counts, and that its checks
//! can fail.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop where it stands"
)]

use clap::Parser;
use ringwall::demo::serve::{self, Running};
use ringwall_load::args::Args;
use ringwall_load::load;
use ringwall_load::mistake::Mistake;
use ringwall_load::report::Report;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

fn demo() -> Running {
    let loopback: SocketAddr = "127.0.0.1:0".parse().unwrap();
    serve::start(loopback, loopback).unwrap()
}

fn run(words: &str) -> Report {
    let words = format!("ringwall-load {words}");
    load::run(Args::try_parse_from(words.split(' ')).unwrap().plan().0).unwrap()
}

fn chat(demo: &Running, more: &str) -> Report {
    run(&format!("chat --url http://{}/v1/chat/completions {more}", demo.model_addr))
}

fn mcp(demo: &Running, more: &str) -> Report {
    run(&format!("mcp --url http://{}/mcp {more}", demo.mcp_addr))
}

fn errors(report: &Report) -> Vec<(Mistake, u64)> {
    report.tally.mistakes.iter().map(|(mistake, times)| (*mistake, *times)).collect()
}

#[test]
fn every_answer_of_the_demo_model_is_an_echo() {
    let demo = demo();
    let report = chat(&demo, "--requests 300 --connections 7 --expect-echo");
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.tally.sound, report.tally.echoes), (300, 300));
    assert_eq!(report.tally.request_latency.len(), 300);
    assert!(report.tally.time_to_first_token.is_empty());
}

#[test]
fn streams_are_checked_and_their_first_token_is_timed() {
    let demo = demo();
    let report = chat(&demo, "--stream --requests 40 --connections 4 --expect-echo");
    assert!(report.is_clean(), "{report}");
    let tally = &report.tally;
    assert_eq!((tally.echoes, tally.time_to_first_token.len()), (40, 40));
    assert!(tally.time_to_first_token.min() <= tally.request_latency.min());
}

#[test]
fn a_card_that_comes_back_is_an_error() {
    let demo = demo();
    for more in ["", "--stream "] {
        let report = chat(&demo, &format!("{more}--requests 30 --card-every 3"));
        assert_eq!(errors(&report), [(Mistake::CardCameBack, 10)]);
        assert_eq!((report.tally.sound, report.tally.cards), (20, 10));
        assert!(!report.is_clean());
    }
    let report = mcp(&demo, "--requests 30 --card-every 3");
    assert_eq!(errors(&report), [(Mistake::CardCameBack, 10)]);
}

#[test]
fn tools_are_called_on_sessions() {
    let demo = demo();
    let report = mcp(&demo, "--tool echo --requests 100 --connections 5 --expect-echo");
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.tally.echoes, 100);
    // It wants two numbers.
    let report = mcp(&demo, "--tool add --requests 3 --connections 1");
    assert_eq!(errors(&report), [(Mistake::ToolError, 3)]);
    let report = mcp(&demo, "--tool leak --requests 3 --connections 1 --expect-echo");
    assert_eq!(errors(&report), [(Mistake::NotEchoed, 3)]);
}

#[test]
fn a_rate_is_kept() {
    let demo = demo();
    let report = chat(&demo, "--rate 200 --duration 2s --connections 8");
    assert!(report.is_clean(), "{report}");
    assert_eq!(report.tally.sound, 400);
    assert!((report.throughput() - 200.0).abs() < 4.0, "{}", report.throughput());
    assert_eq!(report.tally.start_delay.len(), 400);
}

#[test]
fn wrong_paths_and_nobody_there_are_errors() {
    let demo = demo();
    let report = run(&format!("chat --url http://{}/no --requests 3", demo.model_addr));
    assert_eq!(errors(&report), [(Mistake::Status(404), 3)]);
    let vacant = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let report = run(&format!("chat --url http://{vacant}/ --requests 3 --connections 2"));
    assert_eq!(errors(&report), [(Mistake::Refused, 3)]);
    assert!(!report.is_clean());
}

/// A server that does what it likes for a few connections, one after the other.
fn server(
    connections: usize,
    mut serve: impl FnMut(&[u8]) -> Vec<u8> + Send + 'static,
) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let builder = std::thread::Builder::new();
    let thread = builder.spawn(move || {
        for stream in listener.incoming().take(connections) {
            let mut stream = stream.unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut buffer = vec![0; 64 * 1024];
            // Prompts are small here: a request comes in one read.
            while let Ok(read) = stream.read(&mut buffer) {
                let answer = serve(&buffer[..read]);
                let closes = answer.windows(5).any(|word| word == b"close");
                if read == 0 || stream.write_all(&answer).is_err() || closes {
                    break;
                }
            }
        }
    });
    (address, thread.unwrap())
}

fn whole(body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

fn content(text: &str) -> String {
    format!("{{\"choices\":[{{\"message\":{{\"content\":\"{text}\"}}}}]}}")
}

#[test]
fn the_answer_to_another_prompt_is_an_error() {
    let mut first = None;
    let (address, thread) = server(1, move |request| {
        let request = String::from_utf8_lossy(request).into_owned();
        let prompt = request.split("\"content\":\"").nth(1).unwrap_or_default();
        let prompt = prompt.split('"').next().unwrap_or_default().to_owned();
        // As a cache would that looks at too little.
        whole(&content(&format!("You said: {}", first.get_or_insert(prompt))))
    });
    let report = run(&format!(
        "chat --url http://{address}/ --requests 5 --connections 1 --prompt-bytes 128"
    ));
    assert_eq!(errors(&report), [(Mistake::NonceMissing, 4)]);
    assert_eq!(report.tally.echoes, 1);
    thread.join().unwrap();
}

#[test]
fn what_is_wrong_on_the_wire_is_told_apart() {
    let json = "content-type: application/json\r\n";
    let fine = content("Fine.");
    let length = fine.len();
    for (answer, expected) in [
        (format!("{json}content-length: {length}\r\n\r\n{fine}HTTP/1.1 200"), Mistake::Surplus),
        (format!("{json}content-length: x\r\n\r\n"), Mistake::Head),
        (format!("{json}transfer-encoding: chunked\r\n\r\nx\r\n"), Mistake::Framing),
        (format!("content-length: {length}\r\n\r\n{fine}"), Mistake::ContentType),
        (format!("{json}content-length: 2\r\n\r\n{{}}"), Mistake::NotJson),
    ] {
        let (address, thread) =
            server(1, move |_| format!("HTTP/1.1 200 OK\r\n{answer}").into_bytes());
        let report = run(&format!("chat --url http://{address}/ --requests 1 --connections 1"));
        assert_eq!(errors(&report), [(expected, 1)]);
        thread.join().unwrap();
    }
}

#[test]
fn a_connection_that_ends_is_replaced() {
    // Each answers once; the first two say that they end, the third ends in its answer.
    let mut answered = 0;
    let (address, thread) = server(4, move |_| {
        answered += 1;
        let body = content("Fine.");
        let (length, close) = (body.len(), "connection: close");
        let length = if answered == 3 { length + 1 } else { length };
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
             {close}\r\n\r\n{body}"
        )
        .into_bytes()
    });
    let report = run(&format!("chat --url http://{address}/ --requests 4 --connections 1"));
    assert_eq!(errors(&report), [(Mistake::Closed, 1)]);
    assert_eq!(report.tally.sound, 3);
    thread.join().unwrap();
}

#[test]
fn at_a_rate_a_stall_shows_in_the_percentiles() {
    let stall = || {
        let mut answered = 0;
        move |_: &[u8]| {
            answered += 1;
            if answered == 50 {
                std::thread::sleep(Duration::from_secs(1));
            }
            whole(&content("Fine."))
        }
    };
    let one = "--connections 1 --prompt-bytes 128 --requests 200";
    let (address, thread) = server(1, stall());
    let closed = run(&format!("chat --url http://{address}/ {one}"));
    thread.join().unwrap();
    let (address, thread) = server(1, stall());
    let open = run(&format!("chat --url http://{address}/ {one} --rate 100"));
    thread.join().unwrap();
    assert!(closed.is_clean() && open.is_clean());
    let p90 =
        |report: &Report| Duration::from_nanos(report.tally.request_latency.value_at_quantile(0.9));
    // One request of 200 was slow; but at 100 requests/sec a hundred of them would have waited.
    assert!(p90(&closed) < Duration::from_millis(100), "{:?}", p90(&closed));
    assert!(p90(&open) > Duration::from_millis(500), "{:?}", p90(&open));
}
