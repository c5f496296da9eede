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
