//! Other ways in and out than TCP: connections through a proxy that says for whom, and Unix sockets.

use crate::certificates::{Authority, chat, client, read_answer};
use crate::observe::records;
use crate::support::{Gateway, KEY, config, free_address, until, upstreams};
use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(20);

fn with_key() -> String {
    format!("authorization: Bearer {KEY}\r\n")
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it connects");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// A version 2 header for that client.
fn binary(client: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(client) = client else { panic!("IPv4 is enough here") };
    let addresses = [&client.ip().octets()[..], &[127, 0, 0, 1]].concat();
    let ports = [client.port().to_be_bytes(), [1, 187]].concat();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &addresses[..], &ports].concat()
}

/// Where the clients of all records were, once there are so many.
fn clients(gateway: &Gateway, count: usize) -> Vec<Value> {
    assert!(until(SOON, || records(gateway).len() == count), "{}", gateway.audit_text());
    records(gateway).iter().map(|record| record["client"].clone()).collect()
}

/// Whether a connection is closed without a word.
fn is_closed(mut stream: TcpStream) -> bool {
    let mut said = Vec::new();
    match stream.read_to_end(&mut said) {
        Ok(count) => count == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn the_client_that_a_listed_proxy_names_is_in_the_record() {
    let upstreams = upstreams();
    let address = free_address();
    let authority = Authority::new();
    let pair = authority.server("one", &["one.example.org"]);
    let secure = free_address();
    let proxied = "proxy_protocol = true\nproxy_from = [\"127.0.0.0/8\"]\n";
    let text = config(&upstreams)
        + &format!("\n[[listener]]\naddress = \"{address}\"\n{proxied}")
        + &format!("\n[[listener]]\naddress = \"{secure}\"\n{proxied}{}", pair.keys());
    let gateway = Gateway::start(&text, &[]);

    let mut stream = connect(address);
    stream.write_all(b"PROXY TCP4 192.0.2.7 127.0.0.1 51234 80\r\n").expect("it takes it");
    assert_eq!(chat(&mut stream, &with_key()).expect("an answer").0, 200);
    // A header comes once: a second one is no request.
    stream.write_all(b"PROXY TCP4 192.0.2.9 127.0.0.1 1 80\r\n\r\n").expect("it takes it");
    assert_eq!(read_answer(&mut stream).expect("an answer").0, 400);

    let mut stream = connect(address);
    stream.write_all(&binary("192.0.2.8:4711".parse().expect("an address"))).expect("it takes it");
    assert_eq!(chat(&mut stream, &with_key()).expect("an answer").0, 200);

    // Before TLS, and cut in two.
    let mut stream = connect(secure);
    let header = binary("192.0.2.9:4712".parse().expect("an address"));
    let (one, two) = header.split_at(13);
    stream.write_all(one).expect("it takes it");
    std::thread::sleep(Duration::from_millis(20));
    stream.write_all(two).expect("it takes it");
    let name = ServerName::try_from("one.example.org").expect("a name");
    let session = ClientConnection::new(client(&authority, None, &[]), name).expect("a session");
    let mut stream = StreamOwned::new(session, stream);
    assert_eq!(chat(&mut stream, &with_key()).expect("an answer").0, 200);

    let named = ["192.0.2.7:51234", "192.0.2.7:51234", "192.0.2.8:4711", "192.0.2.9:4712"];
    assert_eq!(clients(&gateway, 4), named);
}

#[test]
fn nobody_else_may_claim_an_address() {
    let upstreams = upstreams();
    let (listed, unlisted) = (free_address(), free_address());
    let text = config(&upstreams)
        + &format!("\n[[listener]]\naddress = \"{listed}\"\nproxy_protocol = true\n")
        + "proxy_from = [\"127.0.0.1\"]\n"
        + &format!("\n[[listener]]\naddress = \"{unlisted}\"\nproxy_protocol = true\n")
        + "proxy_from = [\"10.0.0.0/8\", \"unix:\"]\n";
    let gateway = Gateway::start(&text, &[]);
    let header = b"PROXY TCP4 192.0.2.7 127.0.0.1 51234 80\r\n";

    let mut stream = connect(unlisted);
    // It may be closed before it takes the header.
    stream.write_all(header).unwrap_or_default();
    assert!(is_closed(stream), "a source that is not listed");

    let mut stream = connect(listed);
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: g\r\n\r\n").expect("it takes it");
    assert!(is_closed(stream), "a connection without a header");

    let mut stream = connect(gateway.address);
    stream.write_all(header).expect("it takes it");
    stream.write_all(b"\r\n").unwrap_or_default();
    assert_eq!(read_answer(&mut stream).expect("an answer").0, 400, "no such listener");
    let seen = clients(&gateway, 1);
    assert!(seen[0].as_str().is_some_and(|client| client.starts_with("127.0.0.1:")), "{seen:?}");
}

#[test]
fn a_unix_socket_leads_in_and_another_leads_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let (way_in, way_out) = (folder.path().join("in.sock"), folder.path().join("out.sock"));
    // What a process that ended badly left behind.
    drop(UnixListener::bind(&way_in).expect("a socket"));
    let model = UnixListener::bind(&way_out).expect("a socket");
    let serve = move || {
        for mut stream in model.incoming().flatten() {
            let mut said = Vec::new();
            let mut block = [0; 4096];
            while !String::from_utf8_lossy(&said).contains("\"messages\"") {
                let count = stream.read(&mut block).unwrap_or(0);
                if count == 0 {
                    break;
                }
                said.extend_from_slice(&block[..count]);
            }
            let said = String::from_utf8_lossy(&said).into_owned();
            let first = said.lines().next().unwrap_or_default().to_owned();
            let is_local = said.contains("\r\nhost: localhost\r\n");
            let answer = crate::puppet::chat_answer(&format!("{first} {is_local}"));
            stream.write_all(answer.as_bytes()).unwrap_or_default();
        }
    };
    std::thread::Builder::new().spawn(serve).expect("a thread");

    let upstreams = upstreams();
    let plain = format!("url = \"http://{}/v1\"", upstreams.model_addr);
    let text = config(&upstreams)
        .replace(&plain, &format!("url = \"unix:{}:/v1\"", way_out.display()))
        .replace("workers = 1", "workers = 2")
        + &format!("\n[[listener]]\naddress = \"unix:{}\"\nmode = \"0600\"\n", way_in.display());
    let mut gateway = Gateway::start(&text, &[]);
    let mode = std::fs::metadata(&way_in).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for _ in 0..4 {
        let mut stream = UnixStream::connect(&way_in).expect("it connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (status, body) = chat(&mut stream, &with_key()).expect("an answer");
        assert_eq!(status, 200, "{body}");
        assert!(body.contains("POST /v1/chat/completions HTTP/1.1 true"), "{body}");
    }
    assert_eq!(clients(&gateway, 4), ["unix", "unix", "unix", "unix"]);

    gateway.signal("HUP");
    assert!(until(SOON, || gateway.log().contains(" serves")), "{}", gateway.log());
    gateway.signal("TERM");
    assert!(gateway.wait().success(), "{}", gateway.log());
    assert!(!way_in.exists(), "its file is left behind");
}

#[test]
fn a_unix_upstream_that_nobody_serves_cannot_be_reached() {
    let upstreams = upstreams();
    let plain = format!("url = \"http://{}/v1\"", upstreams.model_addr);
    let text = config(&upstreams).replace(&plain, "url = \"unix:/nowhere/at/all.sock\"");
    let gateway = Gateway::start(&text, &[]);
    let answer = gateway.chat("hi", "");
    assert_eq!(answer.status(), 503, "{}", answer.text());
    assert!(answer.text().contains("`demo` cannot be reached"), "{}", answer.text());
}
