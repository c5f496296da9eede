//! Heads: what ours accepts httparse accepts too, at the same length; no prefix of a head is one;
//! the framing is without doubt; and what is written anew reads the same.
#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use ringwall::http::encode::{request_head, response_head};
use ringwall::http::head::{BodyLength, HeadBounds, Parsed};
use ringwall::http::request::parse_request;
use ringwall::http::response::parse_response;

const BOUNDS: HeadBounds = HeadBounds { bytes: 16 * 1024, count: 64 };

fuzz_target!(|data: &[u8]| {
    request(data);
    response(data, &Method::GET);
    response(data, &Method::HEAD);
});

fn request(data: &[u8]) {
    let Ok(Parsed::Complete { head, length }) = parse_request(data, &BOUNDS) else { return };
    let bytes = &data[..length];
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut theirs = httparse::Request::new(&mut fields);
    assert_eq!(theirs.parse(data), Ok(httparse::Status::Complete(length)));
    assert_eq!(theirs.method, Some(head.method.as_str()));
    for cut in [length - 1, length / 2, 1] {
        let prefix = parse_request(&bytes[..cut], &BOUNDS);
        assert!(matches!(prefix, Ok(Parsed::Partial)), "{cut} of {length}: {prefix:?}");
    }
    let values = |name: &str| -> Vec<&[u8]> {
        let named = theirs.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
        named.map(|field| field.value).collect()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    match head.body {
        BodyLength::Empty => assert!(lengths.is_empty() || lengths == [b"0"], "{lengths:?}"),
        BodyLength::Exact(count) => {
            assert!(codings.is_empty());
            let [text] = lengths[..] else { panic!("{lengths:?}") };
            assert!(text.iter().all(u8::is_ascii_digit));
            assert_eq!(std::str::from_utf8(text).unwrap().parse(), Ok(count));
        }
        BodyLength::Chunked => {
            assert!(lengths.is_empty());
            let [coding] = codings[..] else { panic!("{codings:?}") };
            assert!(coding.trim_ascii().eq_ignore_ascii_case(b"chunked"));
        }
        BodyLength::UntilClose => panic!("a request never ends with its connection"),
    }
    if head.version == http::Version::HTTP_11 {
        assert_eq!(values("host").len(), 1);
    }
    let mut out = Vec::new();
    let target = match &head.query {
        Some(query) => format!("{}?{query}", head.path),
        None => head.path.clone(),
    };
    let fields = head.fields.end_to_end().filter(|(name, _)| *name != "host");
    if request_head(&mut out, &head.method, &target, "upstream", fields, head.body).is_err() {
        return;
    }
    let bounds = HeadBounds { bytes: 64 * 1024, count: 128 };
    let Ok(Parsed::Complete { head: again, length }) = parse_request(&out, &bounds) else {
        panic!("what was written does not read: {:?}", String::from_utf8_lossy(&out))
    };
    assert_eq!(length, out.len());
    assert_eq!((&again.method, &again.path, &again.query), (&head.method, &head.path, &head.query));
    for name in ["connection", "keep-alive", "te", "trailer", "upgrade", "proxy-authorization"] {
        assert!(name == "connection" || again.fields.get(name).is_none(), "{name} passes");
    }
}

fn response(data: &[u8], method: &Method) {
    let Ok(Parsed::Complete { head, length }) = parse_response(data, &BOUNDS, method) else {
        return;
    };
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut theirs = httparse::Response::new(&mut fields);
    assert_eq!(theirs.parse(data), Ok(httparse::Status::Complete(length)));
    assert_eq!(theirs.code, Some(head.status.as_u16()));
    assert!(matches!(parse_response(&data[..length - 1], &BOUNDS, method), Ok(Parsed::Partial)));
    let count = |name: &str| {
        theirs.headers.iter().filter(|field| field.name.eq_ignore_ascii_case(name)).count()
    };
    if head.keep_alive {
        assert!(count("content-length") + count("transfer-encoding") <= 1);
        assert!(!matches!(head.body, BodyLength::UntilClose));
    }
    if *method == Method::HEAD {
        assert!(matches!(head.body, BodyLength::Empty));
    }
    let mut out = Vec::new();
    let fields = head.fields.end_to_end();
    if response_head(&mut out, head.status, fields, head.body, head.keep_alive).is_ok() {
        let bounds = HeadBounds { bytes: 64 * 1024, count: 128 };
        let again = parse_response(&out, &bounds, method);
        let Ok(Parsed::Complete { head: again, length }) = again else {
            panic!("what was written does not read: {:?}", String::from_utf8_lossy(&out))
        };
        assert_eq!((length, again.status), (out.len(), head.status));
    }
}
