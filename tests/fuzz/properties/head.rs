//! Heads: what ours accepts httparse accepts too, with the same fields and the same end; the
//! verdict is the same wherever the bytes are split; the framing is without doubt, and a decoder
//! that believes httparse finds the body's end where ours does; and what is written anew reads the
//! same.

use http::Method;
use ringwall::http::body::BodyDecoder;
use ringwall::http::encode::{request_head, response_head};
use ringwall::http::fields::Fields;
use ringwall::http::head::{BodyLength, HeadBounds, HeadFault, Parsed};
use ringwall::http::request::parse_request;
use ringwall::http::response::parse_response;

const BOUNDS: HeadBounds = HeadBounds { bytes: 16 * 1024, count: 64 };
/// What we write may be longer than what we read.
const WRITTEN: HeadBounds = HeadBounds { bytes: 64 * 1024, count: 128 };

/// Fields that belong to one connection (RFC 9110 §7.6.1).
const HOP_BY_HOP: [&str; 7] = [
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "upgrade",
];

pub(crate) fn check(data: &[u8]) {
    request(data);
    response(data, &Method::GET);
    response(data, &Method::HEAD);
}

/// No prefix of a head is one, and no more bytes make a refusal good.
fn check_prefixes<T>(data: &[u8], parse: impl Fn(&[u8]) -> Result<Parsed<T>, HeadFault>) {
    let verdict = |bytes: &[u8]| match parse(bytes) {
        Ok(Parsed::Complete { length, .. }) => Some(Some(length)),
        Ok(Parsed::Partial) => None,
        Err(_) => Some(None),
    };
    let whole = verdict(data);
    // All of them where they are few: this is quadratic.
    let step = data.len() / 256 + 1;
    let near = whole.flatten().unwrap_or(data.len());
    for cut in (0..data.len()).step_by(step).chain(near.saturating_sub(4)..near) {
        let part = verdict(&data[..cut]);
        assert!(part.is_none() || part == whole, "{cut}: {part:?}, and then {whole:?}");
    }
}

fn request(data: &[u8]) {
    check_prefixes(data, |bytes| parse_request(bytes, &BOUNDS));
    let Ok(Parsed::Complete { head, length }) = parse_request(data, &BOUNDS) else { return };
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut theirs = httparse::Request::new(&mut fields);
    assert_eq!(theirs.parse(data), Ok(httparse::Status::Complete(length)));
    assert_eq!(theirs.method, Some(head.method.as_str()));
    assert_eq!(theirs.version, Some(u8::from(head.version == http::Version::HTTP_11)));
    check_fields(&head.fields, theirs.headers);
    let values = |name: &str| values(theirs.headers, name);
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    match head.body {
        BodyLength::Empty => assert!(lengths.is_empty() && codings.is_empty()),
        BodyLength::Exact(count) => check_length(&lengths, &codings, count),
        BodyLength::Chunked => check_chunked(&lengths, &codings),
        BodyLength::UntilClose => panic!("a request never ends with its connection"),
    }
    let hosts = values("host").len();
    assert!(hosts == 1 || hosts == 0 && head.version == http::Version::HTTP_10);
    check_body(head.body, &data[length..]);
    let mut out = Vec::new();
    let target = match &head.query {
        Some(query) => format!("{}?{query}", head.path),
        None => head.path.clone(),
    };
    let fields = head.fields.end_to_end().filter(|(name, _)| *name != "host");
    if request_head(&mut out, &head.method, &target, "upstream", fields, head.body).is_err() {
        return;
    }
    let Ok(Parsed::Complete { head: again, length }) = parse_request(&out, &WRITTEN) else {
        panic!("what was written does not read: {:?}", String::from_utf8_lossy(&out))
    };
    // A POST without a body is written with a length of nought (RFC 9110 §8.6).
    let nought = head.body == BodyLength::Empty && again.body == BodyLength::Exact(0);
    assert!(length == out.len() && (again.body == head.body || nought));
    assert_eq!((&again.method, &again.path, &again.query), (&head.method, &head.path, &head.query));
    for (name, _) in again.fields.iter() {
        assert!(!HOP_BY_HOP.contains(&name), "{name} passes");
        let framing = matches!(name, "host" | "content-length" | "transfer-encoding");
        assert!(framing || !head.fields.nominates(name), "{name} passes, though it is nominated");
    }
}

fn response(data: &[u8], method: &Method) {
    check_prefixes(data, |bytes| parse_response(bytes, &BOUNDS, method));
    let Ok(Parsed::Complete { head, length }) = parse_response(data, &BOUNDS, method) else {
        return;
    };
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut theirs = httparse::Response::new(&mut fields);
    assert_eq!(theirs.parse(data), Ok(httparse::Status::Complete(length)));
    assert_eq!(theirs.code, Some(head.status.as_u16()));
    check_fields(&head.fields, theirs.headers);
    let values = |name: &str| values(theirs.headers, name);
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    assert!(lengths.len() + codings.len() <= 1);
    let code = head.status.as_u16();
    let is_bodyless = *method == Method::HEAD || code < 200 || matches!(code, 204 | 304);
    match head.body {
        BodyLength::Empty => assert!(is_bodyless),
        BodyLength::Exact(count) => check_length(&lengths, &codings, count),
        BodyLength::Chunked => check_chunked(&lengths, &codings),
        BodyLength::UntilClose => {
            assert!(lengths.is_empty() && codings.is_empty() && !head.keep_alive);
        }
    }
    assert!(!is_bodyless || head.body == BodyLength::Empty);
    check_body(head.body, &data[length..]);
    let mut out = Vec::new();
    let fields = head.fields.end_to_end();
    if response_head(&mut out, head.status, fields, head.body, head.keep_alive).is_ok() {
        let Ok(Parsed::Complete { head: again, length }) = parse_response(&out, &WRITTEN, method)
        else {
            panic!("what was written does not read: {:?}", String::from_utf8_lossy(&out))
        };
        assert_eq!((length, again.status), (out.len(), head.status));
    }
}

/// Ours are httparse's: as many, in that order, names in lower case and values without the blanks
/// around them.
fn check_fields(ours: &Fields, theirs: &[httparse::Header<'_>]) {
    assert_eq!(ours.iter().count(), theirs.len());
    for ((name, value), field) in ours.iter().zip(theirs) {
        assert_eq!(name, field.name.to_ascii_lowercase());
        assert_eq!(value, field.value.trim_ascii());
    }
}

fn values<'a>(fields: &[httparse::Header<'a>], name: &str) -> Vec<&'a [u8]> {
    let named = fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
    named.map(|field| field.value.trim_ascii()).collect()
}

fn check_length(lengths: &[&[u8]], codings: &[&[u8]], count: u64) {
    assert!(codings.is_empty());
    let [text] = lengths[..] else { panic!("{lengths:?}") };
    assert!(text.iter().all(u8::is_ascii_digit));
    assert_eq!(std::str::from_utf8(text).expect("digits").parse(), Ok(count));
}

fn check_chunked(lengths: &[&[u8]], codings: &[&[u8]]) {
    assert!(lengths.is_empty());
    let [coding] = codings[..] else { panic!("{codings:?}") };
    assert!(coding.eq_ignore_ascii_case(b"chunked"));
}

/// Whether another decoder finds the end of a body that ours read whole at the same place.
fn check_body(length: BodyLength, rest: &[u8]) {
    let mut body = Vec::new();
    let Ok(progress) = BodyDecoder::new(length).decode(rest, &mut body) else { return };
    if !progress.done {
        return;
    }
    let end = match length {
        BodyLength::Empty => 0,
        BodyLength::Exact(count) => usize::try_from(count).expect("it is all there"),
        BodyLength::Chunked => chunked_end(rest).expect("another finds no end"),
        BodyLength::UntilClose => panic!("it never is done"),
    };
    assert_eq!(progress.consumed, end, "another finds another end");
}

/// Where a decoder that believes httparse's sizes, and takes trailers as they come, is done.
fn chunked_end(data: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(&data[at..])
        else {
            return None;
        };
        at += line;
        if size == 0 {
            break;
        }
        at = at.checked_add(usize::try_from(size).ok()?)?.checked_add(2)?;
        data.get(..at)?;
    }
    loop {
        let line = data[at..].windows(2).position(|pair| pair == b"\r\n")?;
        at += line + 2;
        if line == 0 {
            return Some(at);
        }
    }
}
