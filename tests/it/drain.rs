//! SIGTERM under load: whoever was let in is answered, whoever comes later is refused at once.

use crate::observe::chat_body;
use crate::support::{Gateway, KEY, config, run, until, upstreams};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// Chats until nobody listens any more: over a connection for each, or over one for as long as the
/// gateway keeps it. What was let in is answered whole.
fn chat_until_refused(address: SocketAddr, connection: &str, answered: &AtomicUsize) {
    let body = chat_body("hi", "");
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: g\r\nconnection: {connection}\r\n\
         authorization: Bearer {KEY}\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    while let Ok(mut stream) = TcpStream::connect(address) {
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        let mut is_kept = true;
        while is_kept {
            stream.write_all(request.as_bytes()).expect("it takes the request");
            let answer = whole_answer(&mut stream);
            assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("}}"), "{answer:?}");
            answered.fetch_add(1, Ordering::AcqRel);
            is_kept = !answer.contains("connection: close");
        }
    }
}

/// Reads up to the end of a chat completion, or of the connection.
fn whole_answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut block = [0; 4096];
    while !answer.ends_with(b"}}") {
        let count = stream.read(&mut block).expect("it answers to its end");
        if count == 0 {
            break;
        }
        answer.extend_from_slice(block.get(..count).unwrap_or_default());
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_drain_answers_all_who_were_let_in_and_records_them() {
    let upstreams = upstreams();
    let mut gateway = Gateway::start(&config(&upstreams), &["--set", "gateway.workers=2"]);
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for connection in ["close", "close", "keep-alive", "keep-alive"] {
            let (address, answered) = (gateway.address, &answered);
            scope.spawn(move || chat_until_refused(address, connection, answered));
        }
        assert!(until(SOON, || answered.load(Ordering::Acquire) > 100), "no load");
        gateway.signal("TERM");
    });
    assert!(gateway.wait().success(), "{}", gateway.log());
    let audit = gateway.audit_folder().display().to_string();
    let verified = run(&["audit", "verify", &audit]);
    let said = String::from_utf8_lossy(&verified.stdout).into_owned();
    let whole = format!("whole up to record {}:", answered.load(Ordering::Acquire));
    assert!(verified.status.success() && said.starts_with(&whole), "{said}, not {whole}");
}
