//! Heads and chunks as bytes. Every head is written anew, so that nothing ambiguous passes on.
//!
//! Framing and connection fields are written here and nowhere else; those handed in are skipped.

use crate::base::numbers::to_u64;
use crate::http::head::{BodyLength, is_token_byte, is_value_byte};
use crate::http::request::is_target_byte;
use http::{Method, StatusCode};

/// Why a head is not written; nothing of it is left in the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EncodeFault {
    /// A request body cannot end with the connection.
    Body,
    /// The host holds a byte that it may not.
    Host,
    /// A field's name is no token.
    Name,
    /// The target is empty or holds a byte that it may not.
    Target,
    /// A field's value holds a control character: a line of its own could hide behind it.
    Value,
}

impl std::fmt::Display for EncodeFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Body => "a request body cannot end with the connection",
            Self::Host => "the host is malformed",
            Self::Name => "a field name is malformed",
            Self::Target => "the target is malformed",
            Self::Value => "a field value holds a control character",
        })
    }
}

impl std::error::Error for EncodeFault {}

/// Writes a request's head. `host` is `name` or `name:port`; `target` a path with its query.
pub fn request_head<'a>(
    out: &mut Vec<u8>,
    method: &Method,
    target: &str,
    host: &str,
    fields: impl Iterator<Item = (&'a str, &'a [u8])>,
    body: BodyLength,
) -> Result<(), EncodeFault> {
    let before = out.len();
    let written = try_request(out, (method, target, host), fields, body);
    if written.is_err() {
        out.truncate(before);
    }
    written
}

fn try_request<'a>(
    out: &mut Vec<u8>,
    (method, target, host): (&Method, &str, &str),
    fields: impl Iterator<Item = (&'a str, &'a [u8])>,
    body: BodyLength,
) -> Result<(), EncodeFault> {
    if !target.starts_with('/') || !target.bytes().all(is_target_byte) {
        return Err(EncodeFault::Target);
    }
    if host.is_empty() || !host.bytes().all(|byte| is_target_byte(byte) && byte != b'/') {
        return Err(EncodeFault::Host);
    }
    push_all(out, &[method.as_str(), " ", target, " HTTP/1.1\r\nhost: ", host, "\r\n"]);
    write_fields(out, fields.filter(|(name, _)| !name.eq_ignore_ascii_case("host")))?;
    match body {
        // A method that means to send something says that it sends nothing (RFC 9110 §8.6).
        BodyLength::Empty if *method == Method::POST || *method == Method::PUT => {
            write_length(out, 0);
        }
        BodyLength::Empty => {}
        BodyLength::Exact(bytes) => write_length(out, bytes),
        BodyLength::Chunked => out.extend_from_slice(CHUNKED),
        BodyLength::UntilClose => return Err(EncodeFault::Body),
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes a response's head. A body until close always closes.
pub fn response_head<'a>(
    out: &mut Vec<u8>,
    status: StatusCode,
    fields: impl Iterator<Item = (&'a str, &'a [u8])>,
    body: BodyLength,
    keep_alive: bool,
) -> Result<(), EncodeFault> {
    let before = out.len();
    let reason = status.canonical_reason().unwrap_or_default();
    push_all(out, &["HTTP/1.1 ", status.as_str(), " ", reason, "\r\n"]);
    if let Err(fault) = write_fields(out, fields) {
        out.truncate(before);
        return Err(fault);
    }
    let bodyless = status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED;
    match body {
        BodyLength::Empty if bodyless => {}
        BodyLength::Empty => write_length(out, 0),
        BodyLength::Exact(bytes) => write_length(out, bytes),
        BodyLength::Chunked => out.extend_from_slice(CHUNKED),
        BodyLength::UntilClose => {}
    }
    if !status.is_informational() && (!keep_alive || body == BodyLength::UntilClose) {
        out.extend_from_slice(b"connection: close\r\n");
    }
    out.extend_from_slice(b"\r\n");
    Ok(())
}

/// Writes one chunk. No bytes write nothing: an empty chunk would end the body.
pub fn chunk(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.is_empty() {
        return;
    }
    write_hex(out, to_u64(bytes.len()));
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Ends a chunked body.
pub fn last_chunk(out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n\r\n");
}

fn write_fields<'a>(
    out: &mut Vec<u8>,
    fields: impl Iterator<Item = (&'a str, &'a [u8])>,
) -> Result<(), EncodeFault> {
    for (name, value) in fields {
        if OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            continue;
        }
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return Err(EncodeFault::Name);
        }
        if !value.iter().all(|byte| is_value_byte(*byte)) {
            return Err(EncodeFault::Value);
        }
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value);
        out.extend_from_slice(b"\r\n");
    }
    Ok(())
}

fn push_all(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

fn write_length(out: &mut Vec<u8>, bytes: u64) {
    out.extend_from_slice(b"content-length: ");
    write_digits(out, bytes, 10);
    out.extend_from_slice(b"\r\n");
}

fn write_hex(out: &mut Vec<u8>, number: u64) {
    write_digits(out, number, 16);
}

/// Digits from the last to the first, then the right way round: no allocation for a number.
fn write_digits(out: &mut Vec<u8>, mut number: u64, base: u64) {
    let from = out.len();
    loop {
        let digit = u8::try_from(number % base).unwrap_or_default();
        out.push(if digit < 10 { b'0' + digit } else { b'a' + digit - 10 });
        number /= base;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(from..) {
        digits.reverse();
    }
}

/// Fields that only this file writes.
const OWN: [&str; 4] = ["connection", "content-length", "keep-alive", "transfer-encoding"];
const CHUNKED: &[u8] = b"transfer-encoding: chunked\r\n";

#[cfg(test)]
mod tests {
    use super::{EncodeFault, chunk, last_chunk, request_head, response_head};
    use crate::http::head::BodyLength;
    use http::{Method, StatusCode};

    type Field<'a> = (&'a str, &'a [u8]);

    fn request(method: &Method, target: &str, fields: &[Field<'_>], body: BodyLength) -> String {
        let mut out = b"before".to_vec();
        let written = request_head(&mut out, method, target, "up", fields.iter().copied(), body);
        if let Err(fault) = written {
            assert_eq!(out, b"before");
            return fault.to_string();
        }
        String::from_utf8(out.split_off(6)).unwrap()
    }

    #[test]
    fn a_request_frames_itself_whatever_was_handed_in() {
        let fields: [Field<'_>; 5] = [
            ("Host", b"evil"),
            ("Transfer-Encoding", b"gzip"),
            ("content-length", b"9"),
            ("Connection", b"upgrade"),
            ("accept", b"*/*"),
        ];
        assert_eq!(
            request(&Method::POST, "/v1?x", &fields, BodyLength::Exact(0x10_0000_0000)),
            "POST /v1?x HTTP/1.1\r\nhost: up\r\naccept: */*\r\ncontent-length: 68719476736\r\n\r\n"
        );
        assert_eq!(
            request(&Method::GET, "/", &[], BodyLength::Empty),
            "GET / HTTP/1.1\r\nhost: up\r\n\r\n"
        );
        assert!(request(&Method::POST, "/", &[], BodyLength::Empty).contains("content-length: 0"));
        let chunked = request(&Method::POST, "/", &[], BodyLength::Chunked);
        assert!(chunked.contains("transfer-encoding: chunked\r\n"));
    }

    #[test]
    fn nothing_hides_a_second_line() {
        for value in [&b"a\r\nx: y"[..], b"a\nb", b"a\rb", b"a\0b", b"\x7f"] {
            let text = request(&Method::GET, "/", &[("a", value)], BodyLength::Empty);
            assert_eq!(text, EncodeFault::Value.to_string());
            let mut out = Vec::new();
            let fields = [("a", value)].into_iter();
            let result = response_head(&mut out, StatusCode::OK, fields, BodyLength::Empty, true);
            assert_eq!((result, out.len()), (Err(EncodeFault::Value), 0));
        }
        for name in ["", "a b", "a:", "a\r\nb", "é"] {
            let text = request(&Method::GET, "/", &[(name, b"1")], BodyLength::Empty);
            assert_eq!(text, EncodeFault::Name.to_string(), "{name:?}");
        }
        for target in ["", "x", "/a b", "/a\r\n", "http://a/"] {
            let text = request(&Method::GET, target, &[], BodyLength::Empty);
            assert_eq!(text, EncodeFault::Target.to_string(), "{target:?}");
        }
    }

    #[test]
    fn a_response_says_when_the_connection_ends() {
        let response = |status, body, keep_alive| {
            let mut out = Vec::new();
            response_head(&mut out, status, std::iter::empty(), body, keep_alive).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            response(StatusCode::OK, BodyLength::Chunked, true),
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        );
        assert_eq!(
            response(StatusCode::OK, BodyLength::UntilClose, true),
            "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"
        );
        assert_eq!(
            response(StatusCode::NO_CONTENT, BodyLength::Empty, true),
            "HTTP/1.1 204 No Content\r\n\r\n"
        );
        assert_eq!(
            response(StatusCode::CONTINUE, BodyLength::Empty, false),
            "HTTP/1.1 100 Continue\r\n\r\n"
        );
        assert_eq!(
            response(StatusCode::NOT_FOUND, BodyLength::Empty, false),
            "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        );
    }

    #[test]
    fn an_empty_chunk_does_not_end_the_body() {
        let mut out = Vec::new();
        chunk(&mut out, b"");
        assert!(out.is_empty());
        chunk(&mut out, &[b'x'; 26]);
        last_chunk(&mut out);
        assert_eq!(out, b"1a\r\nxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n0\r\n\r\n");
    }
}
