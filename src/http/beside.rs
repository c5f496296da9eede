//! For tests: our codec beside httparse, over messages near the grammar's edge.
//!
//! What ours accepts, a reader that believes httparse accepts too, and both agree on where the head
//! and the body end and on what the body is; and ours says the same wherever the bytes are split.

#[cfg(test)]
mod tests {
    use crate::http::body::BodyDecoder;
    use crate::http::head::{BodyLength, HeadBounds, HeadFault, Parsed};
    use crate::http::request::parse_request;
    use crate::http::response::parse_response;
    use http::Method;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::{Index, select};
    use proptest::test_runner::{Config, TestRunner};
    use std::cell::Cell;

    const BOUNDS: HeadBounds = HeadBounds { bytes: 8 * 1024, count: 32 };
    const CASES: u32 = 3000;

    /// What becomes of the bytes of one message.
    #[derive(Debug, PartialEq, Eq)]
    enum Verdict {
        Refused,
        /// More has to come.
        Unfinished,
        /// Where the head and the body end, and what the body is.
        Whole(usize, usize, Vec<u8>),
    }

    /// A field's name in lower case, and its value.
    type Field = (String, Vec<u8>);
    /// Where a head ends, its fields, and its status where it has one.
    type Head = (usize, Vec<Field>, u16);

    /// Where a head and its body end, and the body.
    type Message = (usize, usize, Vec<u8>);
    /// Where a body ends, and the body.
    type Body = (usize, Vec<u8>);

    type ReadHead = dyn Fn(&[u8]) -> Result<Parsed<BodyLength>, HeadFault>;

    fn request_head(bytes: &[u8]) -> Result<Parsed<BodyLength>, HeadFault> {
        Ok(match parse_request(bytes, &BOUNDS)? {
            Parsed::Complete { head, length } => Parsed::Complete { head: head.body, length },
            Parsed::Partial => Parsed::Partial,
        })
    }

    fn response_head(bytes: &[u8]) -> Result<Parsed<BodyLength>, HeadFault> {
        Ok(match parse_response(bytes, &BOUNDS, &Method::GET)? {
            Parsed::Complete { head, length } => Parsed::Complete { head: head.body, length },
            Parsed::Partial => Parsed::Partial,
        })
    }

    /// Ours, given the bytes in these pieces and then the end.
    fn ours(read: &ReadHead, pieces: &[&[u8]]) -> Verdict {
        let (mut held, mut body) = (Vec::new(), Vec::new());
        let mut found: Option<(usize, BodyDecoder)> = None;
        let mut end = 0;
        for piece in pieces {
            held.extend_from_slice(piece);
            if found.is_none() {
                match read(&held) {
                    Err(_) => return Verdict::Refused,
                    Ok(Parsed::Partial) => continue,
                    Ok(Parsed::Complete { head, length }) => {
                        held.drain(..length);
                        end = length;
                        found = Some((length, BodyDecoder::new(head)));
                    }
                }
            }
            let Some((length, decoder)) = &mut found else { continue };
            let Ok(progress) = decoder.decode(&held, &mut body) else { return Verdict::Refused };
            held.drain(..progress.consumed);
            end += progress.consumed;
            if progress.done {
                return Verdict::Whole(*length, end, body);
            }
        }
        match found {
            Some((length, decoder)) if decoder.ended_by_close() => {
                Verdict::Whole(length, end, body)
            }
            _ => Verdict::Unfinished,
        }
    }

    /// httparse's fields, where it reads a whole head, and where that ends.
    fn fields(bytes: &[u8], is_request: bool) -> Option<Head> {
        let mut room = [httparse::EMPTY_HEADER; 64];
        let (status, headers, code) = if is_request {
            let mut head = httparse::Request::new(&mut room);
            (head.parse(bytes).ok()?, head.headers, 0)
        } else {
            let mut head = httparse::Response::new(&mut room);
            (head.parse(bytes).ok()?, head.headers, head.code?)
        };
        let httparse::Status::Complete(length) = status else { return None };
        let own = |field: &httparse::Header<'_>| {
            (field.name.to_ascii_lowercase(), field.value.trim_ascii().to_vec())
        };
        Some((length, headers.iter().map(own).collect(), code))
    }

    /// Another reader: httparse's grammar, and RFC 9112 §6.3 without any strictness. `None` where it
    /// finds no end.
    fn theirs(bytes: &[u8], is_request: bool) -> Option<Message> {
        let (length, fields, code) = fields(bytes, is_request)?;
        let rest = &bytes[length..];
        let get = |name: &str| fields.iter().rev().find(|(key, _)| key == name).map(|(_, v)| v);
        if !is_request && (code < 200 || matches!(code, 204 | 304)) {
            return Some((length, length, Vec::new()));
        }
        if let Some(coding) = get("transfer-encoding") {
            let coding = String::from_utf8_lossy(coding).to_ascii_lowercase();
            if coding.split(',').next_back().is_some_and(|last| last.trim() == "chunked") {
                let (end, body) = unchunk(rest)?;
                return Some((length, length + end, body));
            }
        }
        let size = get("content-length").map(|digits| String::from_utf8_lossy(digits).into_owned());
        let size = match size {
            Some(digits) => digits.parse().ok()?,
            None if is_request => 0,
            None => rest.len(),
        };
        Some((length, length + size, rest.get(..size)?.to_vec()))
    }

    /// A chunked body by httparse's sizes, and trailers as they come.
    fn unchunk(rest: &[u8]) -> Option<Body> {
        let (mut at, mut body) = (0, Vec::new());
        loop {
            let parsed = httparse::parse_chunk_size(&rest[at..]).ok()?;
            let httparse::Status::Complete((line, size)) = parsed else { return None };
            at += line;
            if size == 0 {
                break;
            }
            let end = at.checked_add(usize::try_from(size).ok()?)?;
            body.extend_from_slice(rest.get(at..end)?);
            at = end + 2;
        }
        loop {
            let line = rest.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
            at += line + 2;
            if line == 0 {
                return Some((at, body));
            }
        }
    }

    fn start_lines(is_request: bool) -> BoxedStrategy<String> {
        if is_request {
            let method = select(vec!["GET", "POST", "PUT", "DELETE", "M-SEARCH", "get"]);
            let target = select(vec!["/", "/a?b", "/a/%2e", "http://h/a", "//x", "/a\\b", "*"]);
            let version =
                prop_oneof![9 => Just("HTTP/1.1"), 1 => Just("HTTP/1.0"), 1 => Just("HTTP/1.2")];
            let host = prop_oneof![
                12 => Just("host: h\r\n"), 1 => Just(""), 1 => Just("host: h\r\nHost: h\r\n"),
            ];
            (method, target, version, host)
                .prop_map(|(method, target, version, host)| {
                    format!("{method} {target} {version}\r\n{host}")
                })
                .boxed()
        } else {
            let version = prop_oneof![9 => Just("HTTP/1.1"), 1 => Just("HTTP/1.0")];
            let status =
                select(vec!["200 OK", "200", "204 No", "304 Not", "404 ", "103 E", "99 X"]);
            (version, status)
                .prop_map(|(version, status)| format!("{version} {status}\r\n"))
                .boxed()
        }
    }

    /// Framing that is sound, with the body that it frames.
    fn framed() -> impl Strategy<Value = (String, String)> {
        let sized = "[ -~]{0,20}"
            .prop_map(|body: String| (format!("Content-Length: {}\r\n", body.len()), body));
        let extension = select(vec!["", "", ";a", ";a=b", "; a=\"b;c\"", ";", " "]);
        let trailer = select(vec!["", "", "x: y\r\n", "content-length: 3\r\n", "x\r\n"]);
        let chunks = vec(("[ -~]{1,20}", extension), 0..4);
        let chunked = (chunks, trailer).prop_map(|(chunks, trailer)| {
            let one =
                |(data, more): (String, &str)| format!("{:x}{more}\r\n{data}\r\n", data.len());
            let body: String = chunks.into_iter().map(one).collect();
            ("Transfer-Encoding: chunked\r\n".to_owned(), format!("{body}0\r\n{trailer}\r\n"))
        });
        prop_oneof![2 => Just((String::new(), String::new())), 3 => sized, 3 => chunked]
    }

    /// A message that is mostly sound, and may have a strange field, a changed byte, or more behind.
    fn messages(is_request: bool) -> impl Strategy<Value = Vec<u8>> {
        let line = prop_oneof![
            8 => select(vec!["", "x: y\r\n", "Accept:\t*/* \r\n", "connection: close\r\n", "x:\r\n"]),
            1 => select(vec![
                "x_y: z\r\n", "x : y\r\n", " x: y\r\n", "x: y\n", "x: \u{b}\r\n", "x\r\n",
                "content-length: 3\r\n", "content-length: +3\r\n", "transfer-encoding: chunked\r\n",
                "transfer-encoding: identity\r\n", "transfer-encoding: gzip, chunked\r\n",
                "expect: 100-continue\r\n", "expect: x\r\n",
            ]),
        ];
        let change = (any::<Index>(), 0_u8..4, select(b"\r\n \t:;,0aF\0_\xff".to_vec()));
        let change = prop::option::weighted(0.3, change);
        let behind = select(vec!["", "", "GET / HTTP/1.1\r\n\r\n", "0\r\n\r\n", "\r\n"]);
        (start_lines(is_request), vec(line, 0..4), framed(), behind, change).prop_map(
            |(start, lines, (framing, body), behind, change)| {
                let head = format!("{start}{}{framing}\r\n", lines.concat());
                let mut bytes = format!("{head}{body}{behind}").into_bytes();
                if let Some((at, kind, byte)) = change {
                    let at = at.index(bytes.len());
                    match kind {
                        0 => drop(bytes.remove(at)),
                        1 => bytes.insert(at, byte),
                        2 => bytes.truncate(at),
                        _ => bytes[at] = byte,
                    }
                }
                bytes
            },
        )
    }

    /// Runs all cases; how many were accepted and refused.
    fn compare(is_request: bool) -> (u32, u32) {
        let read: &ReadHead = if is_request { &request_head } else { &response_head };
        let (accepted, refused) = (Cell::new(0), Cell::new(0));
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        let ran = TestRunner::new(config).run(&messages(is_request), |bytes| {
            let verdict = ours(read, &[&bytes]);
            for at in 0..=bytes.len() {
                let (one, two) = bytes.split_at(at);
                prop_assert_eq!(&verdict, &ours(read, &[one, two]), "split at {}", at);
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            prop_assert_eq!(&verdict, &ours(read, &single), "byte by byte");
            match verdict {
                Verdict::Refused => refused.set(refused.get() + 1),
                Verdict::Unfinished => {}
                Verdict::Whole(head, end, body) => {
                    accepted.set(accepted.get() + 1);
                    prop_assert_eq!(theirs(&bytes, is_request), Some((head, end, body)));
                }
            }
            Ok(())
        });
        ran.unwrap();
        (accepted.get(), refused.get())
    }

    #[test]
    fn what_we_accept_of_requests_another_reader_accepts_and_ends_at_the_same_byte() {
        let (accepted, refused) = compare(true);
        assert!(accepted > CASES / 5 && refused > CASES / 5, "{accepted} and {refused}");
    }

    #[test]
    fn what_we_accept_of_answers_another_reader_accepts_and_ends_at_the_same_byte() {
        let (accepted, refused) = compare(false);
        assert!(accepted > CASES / 5 && refused > CASES / 5, "{accepted} and {refused}");
    }
}
