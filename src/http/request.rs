//! A request's head, read strictly (RFC 9112 §3, RFC 9110 §7.2).

use crate::http::fields::Fields;
use crate::http::head::{
    BodyLength, FIELDS_MAX, HeadBounds, HeadFault, Parsed, TARGET_BYTES_MAX, fault_of, framing,
    keeps_alive, take_fields, whole,
};
use std::mem::MaybeUninit;

/// The longest method read; the registry's longest has 17 letters.
const METHOD_BYTES_MAX: usize = 32;

/// What a request says before its body.
#[derive(Debug)]
pub struct RequestHead {
    /// The method, in upper case.
    pub method: http::Method,
    /// The path, beginning with `/`, exactly as sent.
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
        check_unfinished_target(bytes)?;
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
    let (path, query) = target_of(target, host)?;
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

/// A start line that grows without end is answered with 414, not with 431.
fn check_unfinished_target(bytes: &[u8]) -> Result<(), HeadFault> {
    if bytes.len() > METHOD_BYTES_MAX + TARGET_BYTES_MAX && !bytes.contains(&b'\r') {
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
