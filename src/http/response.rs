//! A response's head, read as strictly as a request's (RFC 9112 §4, §6.3).

use crate::http::fields::Fields;
use crate::http::head::{
    BodyLength, FIELDS_MAX, HeadBounds, HeadFault, Parsed, fault_of, framing, keeps_alive,
    take_fields, whole,
};
use http::StatusCode;
use std::mem::MaybeUninit;

/// What a response says before its body.
#[derive(Debug)]
pub struct ResponseHead {
    /// The status; interim ones (1xx) are returned too and another head follows them.
    pub status: StatusCode,
    /// All fields.
    pub fields: Fields,
    /// How the body ends.
    pub body: BodyLength,
    /// Whether the connection may carry another request after the body.
    pub keep_alive: bool,
}

/// Reads a response's head from the front of `bytes`; the request's method decides on the body.
///
/// Names may hold an underscore here: what is ambiguous in a request, where a name becomes a
/// variable of the application, is harmless in an answer.
pub fn parse_response(
    bytes: &[u8],
    bounds: &HeadBounds,
    request_method: &http::Method,
) -> Result<Parsed<ResponseHead>, HeadFault> {
    // httparse skips empty lines before a status line; a response that begins with one is refused.
    if bytes.first().is_some_and(|byte| *byte != b'H') {
        return Err(HeadFault::StartLine);
    }
    let Some(head) = whole(bytes, bounds)? else { return Ok(Parsed::Partial) };
    let mut room = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut []);
    let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
        &mut response,
        head,
        &mut room,
    );
    match parsed {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Ok(_) => return Err(HeadFault::StartLine),
        Err(error) => return Err(fault_of(error, head)),
    }
    let (Some(code), Some(minor)) = (response.code, response.version) else {
        return Err(HeadFault::StartLine);
    };
    let status = StatusCode::from_u16(code)
        .ok()
        .filter(|status| status.as_u16() < 600)
        .ok_or(HeadFault::Status)?;
    let fields = take_fields(response.headers, bounds, true)?;
    let body = body_of(status, framing(&fields, minor)?, request_method)?;
    let keep_alive = keeps_alive(&fields, minor) && body != BodyLength::UntilClose;
    let length = head.len();
    Ok(Parsed::Complete { head: ResponseHead { status, fields, body, keep_alive }, length })
}

/// RFC 9112 §6.3: the status and the method come before the length fields.
fn body_of(
    status: StatusCode,
    framing: Option<BodyLength>,
    request_method: &http::Method,
) -> Result<BodyLength, HeadFault> {
    if status.is_informational() || status == StatusCode::NO_CONTENT {
        return match framing {
            None | Some(BodyLength::Empty | BodyLength::Exact(0)) => Ok(BodyLength::Empty),
            Some(_) => Err(HeadFault::BodyForbidden),
        };
    }
    if request_method == http::Method::HEAD || status == StatusCode::NOT_MODIFIED {
        return Ok(BodyLength::Empty);
    }
    Ok(framing.unwrap_or(BodyLength::UntilClose))
}
