//! TLS, both ways: which certificate for which name, who a client is by its certificate, what a
//! reload changes, and what of an upstream's TLS is refused.

use crate::certificates::{
    Authority, Pair, chat, client, client_of, connect, connect_blindly, der, leaf, upstream,
    upstream_that,
};
use crate::observe::records;
use crate::puppet::reset;
use crate::support::{Gateway, KEY, config, free_address, run, send, until, upstreams};
use ringwall::demo::serve::Running;
use rustls::HandshakeKind;
use rustls::version::{TLS12, TLS13};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
const HTTP: &[&str] = &["http/1.1"];
const AGENT: &str = "spiffe://example.org/agent";

/// The usual gateway with one more listener, whose table goes on with this.
fn with_listener(upstreams: &Running, keys: &str) -> (SocketAddr, String) {
    let address = free_address();
    let agent =
        format!("\n[[caller]]\nname = \"agent\"\nteam = \"tests\"\ncertificates = [\"{AGENT}\"]\n");
    let listener = format!("\n[[listener]]\naddress = \"{address}\"\n{keys}");
    (address, config(upstreams) + &agent + &listener)
}

fn with_key() -> String {
    format!("authorization: Bearer {KEY}\r\n")
}

fn reload(gateway: &Gateway, said: &str) {
    let before = gateway.log().matches(said).count();
    gateway.signal("HUP");
    let is_said = || gateway.log().matches(said).count() > before;
    assert!(until(SOON, is_said), "{}", gateway.log());
}

/// The record of the only request, once it is there.
fn only_record(gateway: &Gateway) -> serde_json::Value {
    assert!(until(SOON, || records(gateway).len() == 1), "{}", gateway.audit_text());
    records(gateway).remove(0)
}

#[test]
fn the_name_that_is_asked_for_chooses_the_certificate() {
    let authority = Authority::new();
    let first = authority.server("first", &["first.example.org"]);
    let second = authority.server("second", &["second.example.org", "*.wild.example.org"]);
    let exact = authority.server("exact", &["one.wild.example.org"]);
    let named = authority.server("named", &["within.example.org"]);
    let keys = format!(
        "{}[[listener.sni]]\n{}[[listener.sni]]\n{}[[listener.sni]]\nnames = [\"Told.example.org\"]\n{}",
        first.keys(),
        second.keys(),
        exact.keys(),
        named.keys()
    );
    let upstreams = upstreams();
    let (address, text) = with_listener(&upstreams, &keys);
    let gateway = Gateway::start(&text, &[]);
    let trusting = client(&authority, None, HTTP);
    for (name, pair) in [
        ("first.example.org", &first),
        ("SECOND.example.org", &second),
        ("two.wild.example.org", &second),
        ("one.wild.example.org", &exact),
    ] {
        let mut stream = connect(address, &trusting, name).expect("it is trusted");
        assert_eq!(leaf(&stream), der(&pair.certificate), "{name}");
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(chat(&mut stream, &with_key()).expect("an answer").0, 200);
    }
    // The first is shown where none fits, and our client does not trust it for that name; what was
    // configured counts, and not what the certificate holds.
    for name in ["other.example.org", "a.b.wild.example.org", "within.example.org"] {
        connect(address, &trusting, name).expect_err(name);
        assert_eq!(leaf(&connect_blindly(address, name)), der(&first.certificate), "{name}");
    }
    assert_eq!(leaf(&connect_blindly(address, "told.example.org")), der(&named.certificate));
    drop(gateway);
}

#[test]
fn an_unknown_name_and_another_protocol_are_refused_where_that_is_asked_for() {
    let authority = Authority::new();
    let pair = authority.server("one", &["one.example.org"]);
    let keys = format!("{}unknown_name = \"refuse\"\n", pair.keys());
    let upstreams = upstreams();
    let (address, text) = with_listener(&upstreams, &keys);
    let gateway = Gateway::start(&text, &[]);
    let trusting = client(&authority, None, HTTP);
    connect(address, &trusting, "one.example.org").expect("it is known");
    let refused = connect(address, &trusting, "other.example.org").expect_err("it is not");
    assert!(refused.to_string().contains("alert"), "{refused}");
    let modern = client(&authority, None, &["h2"]);
    let refused = connect(address, &modern, "one.example.org").expect_err("we speak 1.1 only");
    assert!(refused.to_string().contains("NoApplicationProtocol"), "{refused}");
    drop(gateway);
}

#[test]
fn a_reload_swaps_the_certificate_and_live_connections_go_on() {
    let authority = Authority::new();
    let pair = authority.server("one", &["one.example.org"]);
    let upstreams = upstreams();
    let (address, text) = with_listener(&upstreams, &pair.keys());
    let gateway = Gateway::start(&text, &[]);
    let trusting = client(&authority, None, HTTP);
    let mut live = connect(address, &trusting, "one.example.org").expect("it connects");
    assert_eq!(chat(&mut live, &with_key()).expect("an answer").0, 200);
    let before = leaf(&live);

    authority.server("one", &["one.example.org"]);
    reload(&gateway, " serves");
    let fresh = connect(address, &trusting, "one.example.org").expect("it connects");
    assert_eq!(leaf(&fresh), der(&pair.certificate));
    assert_ne!(leaf(&fresh), before);
    assert_eq!(chat(&mut live, &with_key()).expect("it goes on").0, 200);

    // A key of another certificate: refused as a whole, and what was good stays.
    let other = authority.server("other", &["one.example.org"]);
    fs::copy(&other.key, &pair.key).expect("it is copied");
    reload(&gateway, "certificate and key do not belong together");
    let still = connect(address, &trusting, "one.example.org").expect("it connects");
    assert_eq!(leaf(&still), leaf(&fresh));
    assert!(gateway.log().contains(&format!("TLS of {address}")), "{}", gateway.log());
}

#[test]
fn a_session_is_resumed_until_a_reload() {
    let authority = Authority::new();
    let pair = authority.server("one", &["one.example.org"]);
    let upstreams = upstreams();
    let (address, text) = with_listener(&upstreams, &pair.keys());
    let gateway = Gateway::start(&text, &[]);
    for version in [&TLS12, &TLS13] {
        let trusting = client_of(&authority, None, HTTP, &[version]);
        let shake = || {
            let mut stream = connect(address, &trusting, "one.example.org").expect("it connects");
            // Tickets of TLS 1.3 come behind the handshake.
            assert_eq!(chat(&mut stream, &with_key()).expect("an answer").0, 200);
            stream.conn.handshake_kind()
        };
        assert_eq!(shake(), Some(HandshakeKind::Full), "{version:?}");
        assert_eq!(shake(), Some(HandshakeKind::Resumed), "{version:?}");
        reload(&gateway, " serves");
        assert_eq!(shake(), Some(HandshakeKind::Full), "{version:?}");
    }
}

#[test]
fn a_client_certificate_is_its_callers() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let pair = authority.server("one", &["one.example.org"]);
    let agent = clients.client("agent", AGENT);
    let keys = format!("{}client_ca = {:?}\n", pair.keys(), clients.file());
    let upstreams = upstreams();
    let (address, text) = with_listener(&upstreams, &keys);
    let gateway = Gateway::start(&text, &[]);
    let known = client(&authority, Some(&agent), HTTP);
    let mut stream = connect(address, &known, "one.example.org").expect("it connects");
    let local = stream.sock.local_addr().expect("its address").to_string();
    assert_eq!(chat(&mut stream, "").expect("an answer").0, 200);
    let record = only_record(&gateway);
    assert_eq!(record["caller"]["name"], "agent", "{record}");
    assert_eq!(record["identified_by"], "mtls", "{record}");
    assert_eq!(record["client"], local.as_str(), "{record}");
    // The key of another caller does not go with it.
    let (status, body) = chat(&mut stream, &with_key()).expect("an answer");
    assert!(status == 401 && body.contains("two different callers"), "{status} {body}");
    assert_ne!(stream.conn.handshake_kind(), Some(HandshakeKind::Resumed));
    let again = connect(address, &known, "one.example.org").expect("it connects");
    assert_eq!(again.conn.handshake_kind(), Some(HandshakeKind::Full), "it is verified anew");
}

/// Whether a chat comes through; a refusal of TLS 1.3 is read only behind the handshake.
fn comes_through(address: SocketAddr, authority: &Authority, shows: Option<&Pair>) -> bool {
    let config = client(authority, shows, HTTP);
    let answer = connect(address, &config, "one.example.org")
        .and_then(|mut stream| chat(&mut stream, &with_key()));
    answer.is_ok_and(|(status, _)| status == 200)
}

#[test]
fn a_client_without_a_certificate_or_of_another_authority_is_refused() {
    let (authority, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let pair = authority.server("one", &["one.example.org"]);
    let agent = clients.client("agent", "spiffe://example.org/other");
    let stranger = strangers.client("agent", AGENT);
    for (auth, bare) in [("required", false), ("optional", true)] {
        let keys =
            format!("{}client_ca = {:?}\nclient_auth = \"{auth}\"\n", pair.keys(), clients.file());
        let upstreams = upstreams();
        let (address, text) = with_listener(&upstreams, &keys);
        let _gateway = Gateway::start(&text, &[]);
        assert_eq!(comes_through(address, &authority, None), bare, "{auth}");
        assert!(comes_through(address, &authority, Some(&agent)), "{auth}: the key decides");
        assert!(!comes_through(address, &authority, Some(&stranger)), "{auth}");
    }
}

/// The usual gateway whose model is behind TLS, with more keys of its provider.
fn before_tls(upstreams: &Running, address: SocketAddr, keys: &str) -> Gateway {
    let plain = format!("url = \"http://{}/v1\"\n", upstreams.model_addr);
    let port = address.port();
    let text = config(upstreams);
    assert!(text.contains(&plain), "{text}");
    Gateway::start(
        &text.replace(&plain, &format!("url = \"https://localhost:{port}/v1\"\n{keys}")),
        &[],
    )
}

#[test]
fn an_upstream_is_trusted_by_its_own_authority_under_the_name_that_was_configured() {
    let authority = Authority::new();
    let pair = authority.server("one", &["model.example.org"]);
    let address = upstream(&pair, None);
    let demo = upstreams();
    let ca = format!("ca = {:?}\n", authority.file());
    let gateway = before_tls(&demo, address, &format!("{ca}server_name = \"model.example.org\"\n"));
    let answer = gateway.chat("hi", "");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert!(answer.text().contains("asked for model.example.org"), "{}", answer.text());
    drop(gateway);
    // Its certificate is not for `localhost`, and Mozilla does not vouch for it.
    for keys in [ca.as_str(), ""] {
        refuses(&before_tls(&demo, address, keys));
    }
}

/// A 502 that says that TLS failed.
fn refuses(gateway: &Gateway) {
    let answer = gateway.chat("hi", "");
    assert_eq!(answer.status(), 502, "{}", answer.text());
    assert!(answer.text().contains("TLS with the upstream `demo` failed"), "{}", answer.text());
    let record = only_record(gateway);
    let outcome = record.get("outcome").and_then(serde_json::Value::as_str);
    assert_eq!(outcome, Some("upstream_failed"), "{record}");
}

#[test]
fn an_upstream_whose_certificate_expired_is_refused() {
    let authority = Authority::new();
    let address = upstream(&authority.expired("old", &["localhost"]), None);
    let demo = upstreams();
    refuses(&before_tls(&demo, address, &format!("ca = {:?}\n", authority.file())));
}

#[test]
fn an_upstream_whose_certificate_expires_meanwhile_is_trusted_until_then() {
    let authority = Authority::new();
    let life = Duration::from_secs(6);
    let address = upstream(&authority.brief("brief", &["localhost"], life), None);
    let demo = upstreams();
    let gateway = before_tls(&demo, address, &format!("ca = {:?}\n", authority.file()));
    let answer = gateway.chat("hi", "");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    // It closes after each answer, so each asks for a handshake. A ticket is no second look at the
    // certificate, and must not be taken for one.
    let ended = || gateway.chat("hi", "").status() != 200;
    assert!(until(SOON, ended), "it is trusted for good");
    let answer = gateway.chat("hi", "");
    assert_eq!(answer.status(), 502);
    assert!(answer.text().contains("TLS with the upstream `demo` failed"), "{}", answer.text());
}

/// How an upstream over TLS ends its answer, which is one up to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Properly,
    Silently,
    Reset,
}

/// A gateway with one more listener over TLS, whose `/v1/files` leads to an upstream over TLS.
fn between(authority: &Authority, ends: Ends) -> (SocketAddr, Gateway) {
    let pair = authority.server("one", &["localhost"]);
    let upstream = upstream_that(&pair, None, move |stream, _request| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nhello")?;
        stream.flush()?;
        // The head is on its way to the client before the end comes.
        std::thread::sleep(Duration::from_millis(100));
        match ends {
            Ends::Properly => stream.conn.send_close_notify(),
            Ends::Silently => {}
            Ends::Reset => reset(&stream.sock),
        }
        stream.flush()
    });
    let (port, ca) = (upstream.port(), authority.file().display().to_string());
    let more = format!(
        "\n[[provider]]\nname = \"files\"\nurl = \"https://localhost:{port}/v1\"\nca = \"{ca}\"\n\
         [[route]]\nname = \"files\"\nprefix = \"/v1/files\"\nupstream = \"files\"\n\
         [[rule]]\nname = \"files\"\neffect = \"allow\"\ncallers = [\"suite\"]\n\
         routes = [\"files\"]\n"
    );
    let (address, text) = with_listener(&upstreams(), &pair.keys());
    (address, Gateway::start(&(text + &more), &[]))
}

/// What an old client hears, for which an answer ends with its connection; an error where that is
/// no proper end.
fn hear_old(mut stream: impl Read + Write) -> io::Result<String> {
    write!(stream, "GET /v1/files/a HTTP/1.0\r\n{}\r\n", with_key())?;
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard)?;
    Ok(String::from_utf8_lossy(&heard).into_owned())
}

#[test]
fn an_answer_that_ends_without_a_proper_end_never_looks_whole() {
    for ends in [Ends::Properly, Ends::Silently, Ends::Reset] {
        let authority = Authority::new();
        let (address, gateway) = between(&authority, ends);
        let is_proper = ends == Ends::Properly;
        // A client that reads chunks misses the last one.
        let key = format!("Bearer {KEY}");
        let key = [("authorization", &*key)];
        let answer = send(gateway.address, "GET", "/v1/files/a", &key, b"");
        assert_eq!((answer.status(), answer.is_whole), (200, is_proper), "{ends:?}");
        // One that does not misses the `close_notify` (RFC 8446 §6.1), or is reset.
        let trusting = client(&authority, None, HTTP);
        let secret = connect(address, &trusting, "localhost").expect("it connects");
        let plain = TcpStream::connect(gateway.address).expect("it connects");
        for heard in [hear_old(secret), hear_old(plain)] {
            match heard {
                Ok(text) => {
                    assert!(is_proper && text.ends_with("\r\n\r\nhello"), "{ends:?} {text}");
                }
                Err(error) => assert!(!is_proper, "{ends:?}: {error}"),
            }
        }
        assert!(until(SOON, || records(&gateway).len() == 3), "{}", gateway.audit_text());
        let outcome = if is_proper { "answered" } else { "upstream_failed" };
        let all = records(&gateway).iter().all(|record| record["outcome"] == outcome);
        assert!(all, "{}", gateway.audit_text());
    }
}

#[test]
fn an_upstream_is_shown_our_certificate() {
    let (authority, clients) = (Authority::new(), Authority::new());
    let address = upstream(&authority.server("one", &["localhost"]), Some(&clients));
    let own = clients.client("own", "spiffe://example.org/gateway");
    let ca = format!("ca = {:?}\n", authority.file());
    let demo = upstreams();
    let gateway = before_tls(&demo, address, &format!("{ca}{}", own.keys()));
    let answer = gateway.chat("hi", "");
    assert_eq!(answer.status(), 200, "{}", answer.text());
    drop(gateway);
    refuses(&before_tls(&demo, address, &ca));
}

#[test]
fn a_configuration_whose_keys_do_nothing_is_refused() {
    let authority = Authority::new();
    let pair = authority.server("one", &["one.example.org"]);
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("gateway.toml");
    let head = "version = 1\n[[listener]]\naddress = \"127.0.0.1:1\"\n";
    for (keys, why) in [
        ("mode = \"0600\"\n".to_owned(), "`mode` does nothing without a Unix socket"),
        ("proxy_protocol = true\n".to_owned(), "the key `proxy_from` is missing"),
        ("proxy_from = [\"::/0\"]\n".to_owned(), "`proxy_from` does nothing"),
        ("client_auth = \"optional\"\n".to_owned(), "`client_auth` does nothing"),
        ("unknown_name = \"refuse\"\n".to_owned(), "`unknown_name` does nothing"),
        (format!("[[listener.sni]]\n{}", pair.keys()), "TLS needs `certificate` as well"),
        (
            format!("{}[[listener.sni]]\n{}names = [\"*\"]\n", pair.keys(), pair.keys()),
            "this is not a host name",
        ),
        (
            "[[provider]]\nname = \"p\"\nurl = \"http://a\"\nroots = \"system\"\n".to_owned(),
            "`roots` does nothing without an `https` URL",
        ),
        (
            "[[caller]]\nname = \"c\"\ncertificates = [\"agent\"]\n".to_owned(),
            "this is not a name in a certificate",
        ),
    ] {
        fs::write(&file, format!("{head}{keys}")).expect("it is written");
        let checked = run(&["check", file.to_str().expect("a path")]);
        let said = String::from_utf8_lossy(&checked.stderr).into_owned();
        assert!(!checked.status.success() && said.contains(why), "{keys}: {said}");
    }
}
