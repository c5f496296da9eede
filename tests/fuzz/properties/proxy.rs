//! PROXY headers: the verdict is the same wherever the bytes are split; what ours accepts a plain
//! reading of the specification accepts too, with the same client and the same end; and a header
//! that is made to be sound is accepted, in both versions.

use ringwall::http::head::Parsed;
use ringwall::http::proxy::{HEADER_BYTES_MAX, Origin, parse};
use std::net::{IpAddr, SocketAddr};

/// The mark of version 2 (`proxy-protocol.txt` §2.2).
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

pub(crate) fn check(data: &[u8]) {
    let whole = parse(data);
    for cut in (0..data.len()).filter(|cut| *cut < 256 || data.len() - cut < 4) {
        let part = parse(&data[..cut]);
        assert!(part == Ok(Parsed::Partial) || part == whole, "{cut}: {part:?} {whole:?}");
    }
    match whole {
        Ok(Parsed::Complete { head, length }) => {
            assert!(length <= data.len().min(HEADER_BYTES_MAX));
            assert_eq!(reference(data), Some((head, length)), "another reads another client");
            let more = [data, b"\r\n\r\n"].concat();
            assert_eq!(parse(&more), whole, "what follows is no part of it");
        }
        Ok(Parsed::Partial) => assert!(data.len() < HEADER_BYTES_MAX),
        Err(_) => {
            let more = [data, b"\r\n\r\n"].concat();
            assert_eq!(parse(&more), whole, "a refusal stays");
        }
    }
    check_sound(data);
}

/// The client and the end of a header, read without any strictness.
fn reference(data: &[u8]) -> Option<(Origin, usize)> {
    if !data.starts_with(SIGNATURE) {
        let end = data.windows(2).position(|pair| pair == b"\r\n")? + 2;
        let line = String::from_utf8_lossy(&data[..end - 2]).into_owned();
        let words: Vec<&str> = line.split(' ').collect();
        if words[..2] == ["PROXY", "UNKNOWN"] {
            return Some((Origin::Unknown, end));
        }
        let [_, _, source, _, port, _] = words[..] else { return None };
        let source = SocketAddr::new(source.parse().ok()?, port.parse().ok()?);
        return Some((Origin::Client(source), end));
    }
    let end = 16 + usize::from(u16::from_be_bytes([data[14], data[15]]));
    let at = |range: std::ops::Range<usize>| data[..end].get(range);
    let port = |at: usize| u16::from_be_bytes([data[at], data[at + 1]]);
    let origin = match (data[12] & 15, data[13] >> 4) {
        (0, _) => Origin::Proxy,
        (_, 1) => {
            let ip = <[u8; 4]>::try_from(at(16..20)?).ok()?;
            Origin::Client((ip, port(24)).into())
        }
        (_, 2) => {
            let ip = <[u8; 16]>::try_from(at(16..32)?).ok()?;
            Origin::Client((ip, port(48)).into())
        }
        _ => Origin::Unknown,
    };
    Some((origin, end))
}

/// A header of each version for a client that the data says; what is left of it follows.
fn check_sound(data: &[u8]) {
    let Some((address, rest)) = data.split_first_chunk::<19>() else { return };
    let [kind, high, low, ip @ ..] = *address;
    let port = u16::from_be_bytes([high, low]);
    let source =
        if kind % 2 == 0 { IpAddr::from([ip[0], ip[1], ip[2], ip[3]]) } else { IpAddr::from(ip) };
    let (word, family, octets) = match source {
        IpAddr::V4(v4) => ("TCP4", 0x11, v4.octets().to_vec()),
        IpAddr::V6(v6) => ("TCP6", 0x21, v6.octets().to_vec()),
    };
    let line = format!("PROXY {word} {source} {source} {port} {port}\r\n").into_bytes();
    let extension = &rest[..rest.len().min(64)];
    let length = u8::try_from(extension.len()).expect("it is at most 64");
    let ports = [high, low, high, low];
    let block = [&octets[..], &octets, &ports, &[kind, 0, length], extension].concat();
    let size = u16::try_from(block.len()).expect("it is short").to_be_bytes();
    let binary = [SIGNATURE, &[0x21, family], &size, &block].concat();
    for header in [line, binary] {
        let head = Origin::Client(SocketAddr::new(source, port));
        let expected = Ok(Parsed::Complete { head, length: header.len() });
        assert_eq!(parse(&[&header, rest].concat()), expected);
    }
}
