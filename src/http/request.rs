//! A request's head, read strictly (RFC 9112 §3, RFC 9110 §7.2).

use crate::http::fields::Fields;
use crate::http::head::{
    BodyLength, FIELDS_MAX, HeadBounds, HeadFault, Parsed, TARGET_BYTES_MAX, fault_of, framing,
    keeps_alive, take_fields, whole,
};
use std::mem::MaybeUninit;

/// The longest method read; the registry's longest has 17 letters.
const METHOD_BYTES_MAX: usize = 32;
/// The longest start line that is read; its CR follows.
const LINE_BYTES_MAX: usize = METHOD_BYTES_MAX + 1 + TARGET_BYTES_MAX + " HTTP/1.1".len();

/// What a request says before its body.
#[derive(Debug)]
pub struct RequestHead {
    /// The method, in upper case.
    pub method: http::Method,
    /// The path, beginning with `/`, exactly as sent; or `*`, where `OPTIONS` asks of the server.
    pub path: String,
    /// What follows the first `?`, exactly as sent.
    pub query: Option<String>,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: http::Version,
    /// All fields.
    pub fields: Fields,
    /// How the body ends.
    pub body: BodyLength,
    /// Whether the caller will send another request on this connection.
    pub keep_alive: bool,
    /// Whether the caller waits for `100 Continue` before it sends the body.
    pub expects_continue: bool,
}

/// Reads a request's head from the front of `bytes`.
pub fn parse_request(bytes: &[u8], bounds: &HeadBounds) -> Result<Parsed<RequestHead>, HeadFault> {
    // A method is all that may begin a request: what is not one is refused at its first byte.
    if bytes.first().is_some_and(|byte| !byte.is_ascii_uppercase()) {
        return Err(HeadFault::Method);
    }
    let Some(head) = whole(bytes, bounds)? else {
        check_unfinished_line(bytes)?;
        return Ok(Parsed::Partial);
    };
    let mut room = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut room) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(HeadFault::StartLine),
        Err(error) => return Err(fault_of(error, head)),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(HeadFault::StartLine);
    };
    let method = method_of(method)?;
    let fields = take_fields(request.headers, bounds, false)?;
    let host = host_of(&fields, minor)?;
    let (path, query) = match target {
        // RFC 9112 §3.2.4.
        "*" if method == http::Method::OPTIONS => (target, None),
        _ => target_of(target, host)?,
    };
    let body = framing(&fields, minor)?.unwrap_or(BodyLength::Empty);
    let length = head.len();
    let head = RequestHead {
        method,
        path: path.to_owned(),
        query: query.map(str::to_owned),
        version: if minor == 0 { http::Version::HTTP_10 } else { http::Version::HTTP_11 },
        body,
        keep_alive: keeps_alive(&fields, minor),
        expects_continue: expects_continue(&fields, minor, body)?,
        fields,
    };
    Ok(Parsed::Complete { head, length })
}

/// A start line that grows without end is answered with 414, not with 431; a word that is too long
/// for a method is none.
fn check_unfinished_line(bytes: &[u8]) -> Result<(), HeadFault> {
    if bytes.len() > METHOD_BYTES_MAX
        && !bytes.iter().take(METHOD_BYTES_MAX + 1).any(|b| *b == b' ')
    {
        return Err(HeadFault::Method);
    }
    if bytes.len() > LINE_BYTES_MAX && !bytes.contains(&b'\r') {
        return Err(HeadFault::TargetTooLong);
    }
    Ok(())
}

fn method_of(method: &str) -> Result<http::Method, HeadFault> {
    let plain = method.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-');
    if !plain || method.len() > METHOD_BYTES_MAX {
        return Err(HeadFault::Method);
    }
    http::Method::from_bytes(method.as_bytes()).ok().ok_or(HeadFault::Method)
}

/// The one `Host`; HTTP/1.0 may leave it out.
fn host_of(fields: &Fields, minor: u8) -> Result<Option<&str>, HeadFault> {
    match fields.count("host") {
        0 if minor == 0 => Ok(None),
        1 => {
            let host = fields.text("host").filter(|host| is_authority(host));
            host.map(Some).ok_or(HeadFault::Host)
        }
        _ => Err(HeadFault::Host),
    }
}

/// A name or address with an optional port; no user, no percent-encoding.
fn is_authority(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let Some((address, port)) = rest.split_once(']') else { return false };
            if address.parse::<std::net::Ipv6Addr>().is_err() {
                return false;
            }
            match port.strip_prefix(':') {
                Some(port) => ("v6", Some(port)),
                None if port.is_empty() => ("v6", None),
                None => return false,
            }
        }
        None => match text.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        },
    };
    let named =
        host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    let numbered = port.is_none_or(|port| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
    });
    !host.is_empty() && host.len() <= 255 && named && numbered
}

/// A path, and a query where there is one.
type Target<'a> = (&'a str, Option<&'a str>);

/// The path and query. The absolute form is reduced, where it names the very same host.
fn target_of<'a>(target: &'a str, host: Option<&str>) -> Result<Target<'a>, HeadFault> {
    if target.len() > TARGET_BYTES_MAX {
        return Err(HeadFault::TargetTooLong);
    }
    if !target.bytes().all(is_target_byte) {
        return Err(HeadFault::Target);
    }
    let origin = if target.starts_with('/') { target } else { reduce(target, host)? };
    let (path, query) = match origin.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (origin, None),
    };
    // Only a reduced target can have an empty path.
    Ok((if path.is_empty() { "/" } else { path }, query))
}

fn reduce<'a>(target: &'a str, host: Option<&str>) -> Result<&'a str, HeadFault> {
    let (scheme, rest) = target.split_once("://").ok_or(HeadFault::Target)?;
    if !scheme.eq_ignore_ascii_case("http") && !scheme.eq_ignore_ascii_case("https") {
        return Err(HeadFault::Target);
    }
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, origin) = rest.split_at_checked(end).ok_or(HeadFault::Target)?;
    match host {
        Some(host) if host.eq_ignore_ascii_case(authority) => Ok(origin),
        _ => Err(HeadFault::Target),
    }
}

/// Visible ASCII without what no URI holds and what upstreams read differently (RFC 3986 §2).
pub(crate) const fn is_target_byte(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e)
        && !matches!(byte, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}' | b'#')
}

/// HTTP/1.0 has no interim answers, and without a body there is nothing to wait for.
fn expects_continue(fields: &Fields, minor: u8, body: BodyLength) -> Result<bool, HeadFault> {
    let waits = minor > 0 && !matches!(body, BodyLength::Empty | BodyLength::Exact(0));
    match fields.count("expect") {
        0 => Ok(false),
        1 if fields
            .get("expect")
            .is_some_and(|value| value.eq_ignore_ascii_case(b"100-continue")) =>
        {
            Ok(waits)
        }
        _ => Err(HeadFault::Expect),
    }
}

#[cfg(test)]
mod tests {
    use super::{RequestHead, is_target_byte, parse_request};
    use crate::http::encode::request_head;
    use crate::http::head::{
        BodyLength, HeadBounds, HeadFault, Parsed, TARGET_BYTES_MAX, is_token_byte, is_value_byte,
    };
    use proptest::collection::vec;
    use proptest::prelude::*;

    const BOUNDS: HeadBounds = HeadBounds { bytes: 32 * 1024, count: 100 };

    fn parse(text: &str) -> Result<RequestHead, HeadFault> {
        parse_request(text.as_bytes(), &BOUNDS).map(|parsed| complete(parsed, text))
    }

    fn complete(parsed: Parsed<RequestHead>, text: &str) -> RequestHead {
        let Parsed::Complete { head, length } = parsed else { panic!("partial: {text:?}") };
        assert_eq!(length, text.find("\r\n\r\n").unwrap() + 4);
        head
    }

    fn fault(text: &str) -> HeadFault {
        parse(text).map(|head| head.path).expect_err(text)
    }

    fn with(lines: &str) -> String {
        format!("POST /v1 HTTP/1.1\r\nhost: a\r\n{lines}\r\n")
    }

    #[test]
    fn a_request_is_read_whole() {
        let head = parse(
            "POST /v1/chat?x=1?y HTTP/1.1\r\nHost: api.example:8080\r\nContent-Length: 12\r\n\
             X-Trace:  a b \t\r\nExpect: 100-Continue\r\n\r\nrest",
        )
        .unwrap();
        assert_eq!(head.method, http::Method::POST);
        assert_eq!((head.path.as_str(), head.query.as_deref()), ("/v1/chat", Some("x=1?y")));
        assert_eq!(head.version, http::Version::HTTP_11);
        assert_eq!(head.fields.text("x-trace"), Some("a b"));
        assert_eq!(head.body, BodyLength::Exact(12));
        assert!(head.keep_alive && head.expects_continue);
    }

    #[test]
    fn the_version_and_connection_decide_on_keeping_alive() {
        assert!(parse(&with("")).unwrap().keep_alive);
        assert!(!parse(&with("connection: x, Close\r\n")).unwrap().keep_alive);
        assert!(!parse("GET / HTTP/1.0\r\n\r\n").unwrap().keep_alive);
        let kept = "GET / HTTP/1.0\r\nconnection: Keep-Alive\r\n\r\n";
        assert!(parse(kept).unwrap().keep_alive);
    }

    #[test]
    fn a_start_line_has_one_form() {
        use HeadFault::{BareLineEnd, Method, StartLine, Target, Version, VersionUnsupported};
        for (line, expected) in [
            ("get / HTTP/1.1", Method),
            ("GeT / HTTP/1.1", Method),
            ("G@T / HTTP/1.1", StartLine),
            (" GET / HTTP/1.1", Method),
            ("\r\nGET / HTTP/1.1", Method),
            ("GET / HTTP/1.2", VersionUnsupported),
            ("GET / HTTP/2.0", VersionUnsupported),
            ("GET / HTTP/0.9", VersionUnsupported),
            ("GET / HTTP/1.10", StartLine),
            ("GET / http/1.1", Version),
            ("GET / FTP/1.1", Version),
            ("GET  / HTTP/1.1", StartLine),
            ("GET /  HTTP/1.1", Version),
            ("GET / HTTP/1.1 ", StartLine),
            ("GET / HTTP/1.1\r", BareLineEnd),
            ("GET a HTTP/1.1", Target),
            ("GET * HTTP/1.1", Target),
            ("CONNECT a:443 HTTP/1.1", Target),
            ("OPTIONS *a HTTP/1.1", Target),
            ("OPTIONS *?a HTTP/1.1", Target),
            ("GET ftp://a/ HTTP/1.1", Target),
            ("GET /\\ HTTP/1.1", Target),
            ("GET /# HTTP/1.1", Target),
            ("GET /é HTTP/1.1", Target),
            ("GET /{a} HTTP/1.1", Target),
        ] {
            assert_eq!(fault(&format!("{line}\r\nhost: a\r\n\r\n")), expected, "{line:?}");
        }
        let long = "a".repeat(TARGET_BYTES_MAX);
        let whole = format!("GET /{long} HTTP/1.1\r\nhost: a\r\n\r\n");
        assert_eq!(fault(&whole), HeadFault::TargetTooLong);
    }

    #[test]
    fn the_absolute_form_must_name_the_host() {
        let of = |target: &str| parse(&format!("GET {target} HTTP/1.1\r\nhost: A:80\r\n\r\n"));
        let head = of("http://a:80/x?y").unwrap();
        assert_eq!((head.path.as_str(), head.query.as_deref()), ("/x", Some("y")));
        assert_eq!(of("HTTPS://a:80").unwrap().path, "/");
        let head = of("http://a:80?q").unwrap();
        assert_eq!((head.path.as_str(), head.query.as_deref()), ("/", Some("q")));
        for other in ["http://b/x", "http://a/x", "http://u@a:80/", "http:///x", "http:/x"] {
            assert_eq!(of(other).map(|head| head.path), Err(HeadFault::Target), "{other}");
        }
    }

    #[test]
    fn there_is_exactly_one_sound_host() {
        let of = |lines: &str| parse(&format!("GET / HTTP/1.1\r\n{lines}\r\n")).map(drop);
        for good in ["a", "a.b-c:8080", "127.0.0.1", "[::1]", "[::1]:80", "docker_host:1"] {
            assert_eq!(of(&format!("host: {good}\r\n")), Ok(()), "{good}");
        }
        for bad in ["", "a b", "a,b", "a:b", "a:99999", "a/b", "u@a", "[::1", "[x]", "[::1]8", ":1"]
        {
            assert_eq!(of(&format!("host: {bad}\r\n")), Err(HeadFault::Host), "{bad}");
        }
        assert_eq!(of(""), Err(HeadFault::Host));
        assert_eq!(of("host: a\r\nhost: a\r\n"), Err(HeadFault::Host));
    }

    #[test]
    fn a_field_has_one_form() {
        use HeadFault::{BareLineEnd, Expect, Name, Value};
        for (lines, expected) in [
            ("x_y: 1\r\n", Name),
            ("x : 1\r\n", Name),
            (": 1\r\n", Name),
            ("x\r\n", Name),
            (" x: folded\r\n", Name),
            ("x: 1\r\n folded\r\n", Name),
            ("x: a\0b\r\n", Value),
            ("x: a\x7fb\r\n", Value),
            ("x: a\nb\r\n", BareLineEnd),
            ("x: a\rb\r\n", BareLineEnd),
            ("expect: 200-ok\r\n", Expect),
            ("expect: 100-continue\r\nexpect: 100-continue\r\n", Expect),
        ] {
            assert_eq!(fault(&with(lines)), expected, "{lines:?}");
        }
    }

    #[test]
    fn every_byte_stands_only_where_it_may() {
        for byte in 0..=u8::MAX {
            let head = |before: &str, after: &str| {
                let text = [before.as_bytes(), &[byte], after.as_bytes()].concat();
                parse_request(&text, &BOUNDS)
            };
            let value = head("GET / HTTP/1.1\r\nhost: a\r\nx: a", "b\r\n\r\n");
            assert_eq!(value.is_ok(), is_value_byte(byte), "value {byte}");
            let name = head("GET / HTTP/1.1\r\nhost: a\r\nx", "y: b\r\n\r\n");
            let token = is_token_byte(byte) && byte != b'_' || byte == b':';
            assert_eq!(name.is_ok(), token, "name {byte}");
            let target = head("GET /a", "b HTTP/1.1\r\nhost: a\r\n\r\n");
            assert_eq!(target.is_ok(), is_target_byte(byte), "target {byte}");
        }
    }

    #[test]
    fn both_lengths_never_pass() {
        let both = with("content-length: 4\r\ntransfer-encoding: chunked\r\n");
        assert_eq!(fault(&both), HeadFault::BothLengths);
        let twice = with("content-length: 4\r\ncontent-length: 4\r\n");
        assert_eq!(fault(&twice), HeadFault::ContentLength);
        let old = "POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(fault(old), HeadFault::TransferEncoding);
    }

    #[test]
    fn bounds_hold_whether_or_not_the_head_is_whole() {
        let many = with(&"a: 1\r\n".repeat(100));
        assert_eq!(fault(&many), HeadFault::TooManyFields);
        let bounds = HeadBounds { bytes: 32 * 1024, count: 1000 };
        let more = with(&"a: 1\r\n".repeat(200));
        let parsed = parse_request(more.as_bytes(), &bounds).map(drop);
        assert_eq!(parsed, Err(HeadFault::TooManyFields));
        let long = with(&format!("a: {}\r\n", "b".repeat(BOUNDS.bytes)));
        assert_eq!(fault(&long), HeadFault::HeadTooLong);
        let part = &long.as_bytes()[..long.len() - 4];
        assert_eq!(parse_request(part, &BOUNDS).map(drop), Err(HeadFault::HeadTooLong));
        let wordy = "A".repeat(40);
        let parsed = parse_request(wordy.as_bytes(), &BOUNDS).map(drop);
        assert_eq!(parsed, Err(HeadFault::Method));
        assert_eq!(fault(&format!("{wordy} / HTTP/1.1\r\nhost: a\r\n\r\n")), HeadFault::Method);
        let asks = parse("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n").unwrap();
        assert_eq!((asks.path.as_str(), asks.query), ("*", None));
        let endless = format!("GET /{}", "a".repeat(9000));
        let parsed = parse_request(endless.as_bytes(), &BOUNDS).map(drop);
        assert_eq!(parsed, Err(HeadFault::TargetTooLong));
    }

    #[test]
    fn every_prefix_of_a_sound_head_is_partial() {
        let whole = with("content-length: 3\r\nx: y\r\n");
        for end in 0..whole.len() {
            let parsed = parse_request(&whole.as_bytes()[..end], &BOUNDS).unwrap();
            assert!(matches!(parsed, Parsed::Partial), "{end}");
        }
        parse(&whole).unwrap();
    }

    /// Bytes that look like a head often enough to reach the deeper checks.
    fn nearly_a_head() -> impl Strategy<Value = Vec<u8>> {
        let piece = prop_oneof![
            Just(&b"GET / HTTP/1.1\r\n"[..]),
            Just(&b"POST http://a/b?c HTTP/1.0\r\n"[..]),
            Just(&b"host: a\r\n"[..]),
            Just(&b"Content-Length: 5\r\n"[..]),
            Just(&b"transfer-encoding: chunked\r\n"[..]),
            Just(&b"expect: 100-continue\r\n"[..]),
            Just(&b"\r\n"[..]),
            Just(&b"\n"[..]),
            Just(&b": _"[..]),
        ];
        let noise = vec(any::<u8>(), 0..3);
        vec((piece, prop::option::weighted(0.1, noise)), 0..8).prop_map(|parts| {
            let mut bytes = Vec::new();
            for (piece, noise) in parts {
                bytes.extend_from_slice(piece);
                bytes.extend(noise.unwrap_or_default());
            }
            bytes
        })
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_what_is_read_httparse_reads_too(bytes in nearly_a_head()) {
            if let Ok(Parsed::Complete { head, length }) = parse_request(&bytes, &BOUNDS) {
                let mut headers = [httparse::EMPTY_HEADER; 128];
                let mut theirs = httparse::Request::new(&mut headers);
                let status = theirs.parse(&bytes).unwrap();
                prop_assert_eq!(status, httparse::Status::Complete(length));
                prop_assert_eq!(theirs.headers.len(), head.fields.iter().count());
                prop_assert!(head.path.starts_with('/') || head.path == "*");
            }
        }

        #[test]
        fn noise_does_not_panic(bytes in vec(any::<u8>(), 0..200)) {
            drop(parse_request(&bytes, &BOUNDS));
        }

        #[test]
        fn what_is_written_is_read_back(
            path in "/[!$-;=?-Z_a-z~]{0,20}",
            fields in vec(("x-[a-z0-9-]{1,8}", "([!-~]([ -~]{0,9}[!-~])?)?"), 0..6),
            length in 0_u64..1_000_000_000_000,
        ) {
            let mut out = Vec::new();
            let given = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            let body = BodyLength::Exact(length);
            request_head(&mut out, &http::Method::POST, &path, "a:1", given, body).unwrap();
            let head = parse(std::str::from_utf8(&out).unwrap()).unwrap();
            let query = head.query.map_or_else(String::new, |query| format!("?{query}"));
            let target = head.path + &query;
            prop_assert_eq!(target, path);
            prop_assert_eq!(head.body, body);
            // Behind the host, and before the length.
            let read = head.fields.iter().skip(1).take(fields.len());
            let written = fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            prop_assert!(read.eq(written));
            prop_assert_eq!(head.fields.iter().count(), fields.len() + 2);
        }
    }
}
