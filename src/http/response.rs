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

#[cfg(test)]
mod tests {
    use super::{ResponseHead, parse_response};
    use crate::http::encode::response_head;
    use crate::http::head::{BodyLength, HeadBounds, HeadFault, Parsed};
    use http::{Method, StatusCode};
    use proptest::prelude::*;

    const BOUNDS: HeadBounds = HeadBounds { bytes: 32 * 1024, count: 100 };

    fn parse_for(method: &Method, text: &str) -> Result<ResponseHead, HeadFault> {
        parse_response(text.as_bytes(), &BOUNDS, method).map(complete)
    }

    fn complete(parsed: Parsed<ResponseHead>) -> ResponseHead {
        let Parsed::Complete { head, .. } = parsed else { panic!("partial") };
        head
    }

    fn parse(text: &str) -> Result<ResponseHead, HeadFault> {
        parse_for(&Method::POST, text)
    }

    fn body(text: &str) -> Result<BodyLength, HeadFault> {
        parse(&format!("HTTP/1.1 {text}\r\n\r\n")).map(|head| head.body)
    }

    #[test]
    fn status_and_fields_decide_on_the_body() {
        use BodyLength::{Chunked, Empty, Exact, UntilClose};
        for (text, expected) in [
            ("200 OK\r\ncontent-length: 5", Exact(5)),
            ("200 OK\r\ntransfer-encoding: chunked", Chunked),
            ("200 ", UntilClose),
            ("200", UntilClose),
            ("204 No Content", Empty),
            ("204 No Content\r\ncontent-length: 0", Empty),
            ("304 Not Modified\r\ncontent-length: 5", Empty),
            ("100 Continue", Empty),
            ("103 Early Hints\r\nlink: x", Empty),
        ] {
            assert_eq!(body(text), Ok(expected), "{text:?}");
        }
        let head = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n";
        assert_eq!(parse_for(&Method::HEAD, head).unwrap().body, Empty);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        use HeadFault::{
            BareLineEnd, BodyForbidden, BothLengths, ContentLength, StartLine, Status,
            TransferEncoding, Value,
        };
        for (text, expected) in [
            ("200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked", BothLengths),
            ("200 OK\r\ncontent-length: 5\r\ncontent-length: 5", ContentLength),
            ("200 OK\r\ncontent-length: +5", ContentLength),
            ("200 OK\r\ntransfer-encoding: gzip, chunked", TransferEncoding),
            ("204 No Content\r\ncontent-length: 5", BodyForbidden),
            ("100 Continue\r\ntransfer-encoding: chunked", BodyForbidden),
            ("200 OK\r\nx: a\0", Value),
            ("200 OK\nx: a", BareLineEnd),
            ("99 Low", Status),
            ("600 High", Status),
            ("2000 Long", Status),
            ("099 Low", Status),
        ] {
            assert_eq!(body(text), Err(expected), "{text:?}");
        }
        assert_eq!(parse("\r\nHTTP/1.1 200 OK\r\n\r\n").map(drop), Err(StartLine));
        let old = "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        assert_eq!(parse(old).map(drop), Err(TransferEncoding));
        let two = "HTTP/2.0 200 OK\r\n\r\n";
        assert_eq!(parse(two).map(drop), Err(HeadFault::VersionUnsupported));
    }

    #[test]
    fn a_connection_is_kept_where_both_sides_know_the_end() {
        let kept = |text: &str| parse(&format!("{text}\r\n\r\n")).unwrap().keep_alive;
        assert!(kept("HTTP/1.1 200 OK\r\ncontent-length: 0"));
        assert!(!kept("HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close"));
        assert!(!kept("HTTP/1.1 200 OK"));
        assert!(!kept("HTTP/1.0 200 OK\r\ncontent-length: 0"));
        assert!(kept("HTTP/1.0 200 OK\r\ncontent-length: 0\r\nconnection: keep-alive"));
    }

    #[test]
    fn every_prefix_of_a_sound_head_is_partial() {
        let whole = "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nx_y: z\r\n\r\n";
        for end in 0..whole.len() {
            let parsed = parse_response(&whole.as_bytes()[..end], &BOUNDS, &Method::GET).unwrap();
            assert!(matches!(parsed, Parsed::Partial), "{end}");
        }
        parse(whole).unwrap();
    }

    proptest! {
        #[test]
        fn noise_does_not_panic(
            start in prop_oneof![Just(""), Just("HTTP/1.1 200 OK\r\n"), Just("HTTP/1.1 2")],
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            end in prop_oneof![Just(""), Just("\r\n\r\n")],
        ) {
            let all = [start.as_bytes(), &bytes, end.as_bytes()].concat();
            let ours = parse_response(&all, &BOUNDS, &Method::GET);
            if let Ok(Parsed::Complete { length, .. }) = ours {
                let mut headers = [httparse::EMPTY_HEADER; 128];
                let status = httparse::Response::new(&mut headers).parse(&all).unwrap();
                prop_assert_eq!(status, httparse::Status::Complete(length));
            }
        }

        #[test]
        fn what_is_written_is_read_back(
            code in 200_u16..600,
            length in 0_u64..1_000_000_000_000,
            keep_alive: bool,
        ) {
            let status = StatusCode::from_u16(code).unwrap();
            let bodyless = matches!(code, 204 | 304);
            let body = if bodyless { BodyLength::Empty } else { BodyLength::Exact(length) };
            let mut out = Vec::new();
            let fields = [("x-a", &b"1"[..]), ("Content-Length", b"7"), ("connection", b"x")];
            response_head(&mut out, status, fields.into_iter(), body, keep_alive).unwrap();
            let head = parse(std::str::from_utf8(&out).unwrap()).unwrap();
            prop_assert_eq!(head.status, status);
            prop_assert_eq!(head.body, body);
            prop_assert_eq!(head.keep_alive, keep_alive);
            prop_assert_eq!(head.fields.text("x-a"), Some("1"));
        }
    }
}
