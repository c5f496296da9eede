//! The PROXY protocol, versions 1 and 2: for whom a proxy connects, said once before anything else.
//!
//! After `proxy-protocol.txt`. Stricter than it where it leaves a choice: numbers have no
//! leading zeros, a header of version 2 holds nothing that its own lengths do not account for, and
//! whoever speaks of anything but a stream is refused.

use crate::http::head::Parsed;
use std::net::{IpAddr, SocketAddr};

/// Bytes of a version 1 header, with its line end (§2.1).
const TEXT_BYTES_MAX: usize = 107;
/// Bytes of a version 2 header behind its first sixteen: addresses, and what a proxy adds of the
/// TLS that it ended. No proxy has more to say.
pub const BINARY_BYTES_MAX: usize = 4096;
/// Bytes of the longest header.
pub const HEADER_BYTES_MAX: usize = 16 + BINARY_BYTES_MAX;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const TEXT: &[u8; 6] = b"PROXY ";

/// For whom a proxy connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A client at that address.
    Client(SocketAddr),
    /// A client whose address the proxy cannot say.
    Unknown,
    /// The proxy itself, such as for a health check.
    Proxy,
}

/// Why a header is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyFault {
    /// An address or port that is none, or not of the family that was named.
    Address,
    /// Neither a stream over IPv4 or IPv6 nor one through a Unix socket.
    Family,
    /// Lengths that do not add up.
    Length,
    /// Not the beginning of a header.
    NoHeader,
    /// A version or command that there is not.
    Version,
}

impl std::fmt::Display for ProxyFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Address => "the PROXY header's addresses are malformed",
            Self::Family => "the PROXY header is about no stream",
            Self::Length => "the PROXY header's lengths do not add up",
            Self::NoHeader => "the connection does not begin with a PROXY header",
            Self::Version => "the PROXY header is of an unknown version or command",
        })
    }
}

impl std::error::Error for ProxyFault {}

/// Reads the header that a connection begins with.
pub fn parse(bytes: &[u8]) -> Result<Parsed<Origin>, ProxyFault> {
    if begins(bytes, SIGNATURE) {
        return parse_binary(bytes);
    }
    if begins(bytes, TEXT) { parse_text(bytes) } else { Err(ProxyFault::NoHeader) }
}

/// Whether the bytes are the mark, its beginning, or more than it.
fn begins(bytes: &[u8], mark: &[u8]) -> bool {
    bytes.iter().zip(mark).all(|(one, other)| one == other)
}

/// Version 1: a line of text (§2.1).
fn parse_text(bytes: &[u8]) -> Result<Parsed<Origin>, ProxyFault> {
    let window = bytes.get(..TEXT_BYTES_MAX.min(bytes.len())).unwrap_or_default();
    let Some(end) = memchr::memchr(b'\n', window) else {
        let is_over = bytes.len() >= TEXT_BYTES_MAX;
        return if is_over { Err(ProxyFault::Length) } else { Ok(Parsed::Partial) };
    };
    let line = window.get(TEXT.len()..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.filter(|line| !line.contains(&b'\r')).ok_or(ProxyFault::Length)?;
    let complete = |head| Ok(Parsed::Complete { head, length: end + 1 });
    // What follows UNKNOWN must be ignored (§2.1).
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return complete(Origin::Unknown);
    }
    let line = std::str::from_utf8(line).map_err(|_binary| ProxyFault::Address)?;
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    if !matches!(family, "TCP4" | "TCP6") {
        return Err(ProxyFault::Family);
    }
    // std takes no leading zeros, and no zone.
    let read = |word: &str| {
        let address: IpAddr = word.parse().ok()?;
        (address.is_ipv4() == (family == "TCP4")).then_some(address)
    };
    let mut next = || words.next().ok_or(ProxyFault::Address);
    let (source, destination) = (next()?, next()?);
    let (from, to) = (next()?, next()?);
    let source = read(source).ok_or(ProxyFault::Address)?;
    read(destination).ok_or(ProxyFault::Address)?;
    let from = port(from).ok_or(ProxyFault::Address)?;
    port(to).ok_or(ProxyFault::Address)?;
    if words.next().is_some() {
        return Err(ProxyFault::Address);
    }
    complete(Origin::Client(SocketAddr::new(source, from)))
}

fn port(word: &str) -> Option<u16> {
    let plain = word.bytes().all(|byte| byte.is_ascii_digit());
    let sound = plain && (word == "0" || !word.starts_with('0'));
    sound.then(|| word.parse().ok()).flatten()
}

/// Version 2: sixteen bytes, addresses, and extensions (§2.2).
fn parse_binary(bytes: &[u8]) -> Result<Parsed<Origin>, ProxyFault> {
    let Some((head, rest)) = bytes.split_first_chunk::<16>() else {
        // Told as early as it is known.
        return match bytes.get(12) {
            Some(version) if !matches!(version, 0x20 | 0x21) => Err(ProxyFault::Version),
            _ => Ok(Parsed::Partial),
        };
    };
    let [.., command, family, high, low] = *head;
    if !matches!(command, 0x20 | 0x21) {
        return Err(ProxyFault::Version);
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > BINARY_BYTES_MAX {
        return Err(ProxyFault::Length);
    }
    let Some(block) = rest.get(..length) else { return Ok(Parsed::Partial) };
    let is_local = command == 0x20;
    let (origin, extensions) = match family {
        0x11 => {
            let (addresses, rest) = block.split_first_chunk::<12>().ok_or(ProxyFault::Length)?;
            let [a, b, c, d, _, _, _, _, high, low, ..] = *addresses;
            let port = u16::from_be_bytes([high, low]);
            (Origin::Client(SocketAddr::from(([a, b, c, d], port))), rest)
        }
        0x21 => {
            let (addresses, rest) = block.split_first_chunk::<36>().ok_or(ProxyFault::Length)?;
            let (source, ports) = addresses.split_first_chunk::<16>().ok_or(ProxyFault::Length)?;
            let port = ports.get(16..18).and_then(|port| <[u8; 2]>::try_from(port).ok());
            let port = u16::from_be_bytes(port.ok_or(ProxyFault::Length)?);
            (Origin::Client(SocketAddr::from((*source, port))), rest)
        }
        // A path says nothing of a client that anyone else could understand.
        0x31 => (Origin::Unknown, block.get(216..).ok_or(ProxyFault::Length)?),
        // Unspecified: the receiver ignores the addresses, so their length is not known (§2.2).
        0x00 => (Origin::Unknown, &[][..]),
        // A proxy that speaks for itself may say any family (§2.2).
        _ if is_local => (Origin::Proxy, &[][..]),
        _ => return Err(ProxyFault::Family),
    };
    check_extensions(extensions)?;
    let head = if is_local { Origin::Proxy } else { origin };
    Ok(Parsed::Complete { head, length: 16 + length })
}

/// Each extension is a kind, a length and that many bytes (§2.2.1). None of them is needed here.
fn check_extensions(mut bytes: &[u8]) -> Result<(), ProxyFault> {
    while !bytes.is_empty() {
        let ([_kind, high, low], rest) =
            bytes.split_first_chunk::<3>().ok_or(ProxyFault::Length)?;
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        bytes = rest.get(length..).ok_or(ProxyFault::Length)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{BINARY_BYTES_MAX, HEADER_BYTES_MAX, Origin, ProxyFault, SIGNATURE, parse};
    use crate::http::head::Parsed;
    use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
    use std::net::SocketAddr;

    fn text(line: &str) -> Result<Parsed<Origin>, ProxyFault> {
        parse(format!("{line}\r\nGET / HTTP/1.1\r\n").as_bytes())
    }

    fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let length = u16::try_from(block.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, block].concat()
    }

    fn client(address: &str) -> Origin {
        Origin::Client(address.parse().unwrap())
    }

    fn addresses(source: SocketAddr) -> (u8, Vec<u8>) {
        let port = source.port().to_be_bytes();
        match source {
            SocketAddr::V4(own) => {
                (0x11, [&own.ip().octets()[..], &[127, 0, 0, 1], &port, &[1, 187]].concat())
            }
            SocketAddr::V6(own) => {
                (0x21, [&own.ip().octets()[..], &[0; 16], &port, &[1, 187]].concat())
            }
        }
    }

    #[test]
    fn both_versions_say_the_client() {
        let line = "PROXY TCP4 192.0.2.7 198.51.100.1 51234 443";
        let head = client("192.0.2.7:51234");
        assert_eq!(text(line), Ok(Parsed::Complete { head, length: line.len() + 2 }));
        let line = "PROXY TCP6 2001:db8::7 ::1 1 65535";
        let head = client("[2001:db8::7]:1");
        assert_eq!(text(line), Ok(Parsed::Complete { head, length: line.len() + 2 }));
        for address in ["192.0.2.7:51234", "[2001:db8::7]:1"] {
            let (family, block) = addresses(address.parse().unwrap());
            let bytes = binary(0x21, family, &block);
            let head = client(address);
            assert_eq!(parse(&bytes), Ok(Parsed::Complete { head, length: bytes.len() }));
        }
    }

    #[test]
    fn a_proxy_may_not_know_or_speak_for_itself() {
        for line in ["PROXY UNKNOWN", "PROXY UNKNOWN ff:: anything 1 \x01"] {
            let head = Origin::Unknown;
            assert_eq!(text(line), Ok(Parsed::Complete { head, length: line.len() + 2 }));
        }
        let (family, block) = addresses("192.0.2.7:1".parse().unwrap());
        for (command, family, block, head) in [
            (0x20, 0x00, &b""[..], Origin::Proxy),
            (0x20, family, &block, Origin::Proxy),
            (0x20, 0x77, b"whatever", Origin::Proxy),
            (0x21, 0x00, b"whatever", Origin::Unknown),
            (0x21, 0x31, &[7; 216], Origin::Unknown),
        ] {
            let bytes = binary(command, family, block);
            assert_eq!(parse(&bytes), Ok(Parsed::Complete { head, length: bytes.len() }));
        }
    }

    #[test]
    fn a_line_that_is_not_exactly_one_is_refused() {
        for (line, fault) in [
            ("GET / HTTP/1.1", ProxyFault::NoHeader),
            ("proxy TCP4 1.2.3.4 1.2.3.4 1 2", ProxyFault::NoHeader),
            ("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2", ProxyFault::Family),
            ("PROXY UDP4 1.2.3.4 1.2.3.4 1 2", ProxyFault::Family),
            ("PROXY UNKNOWNS", ProxyFault::Family),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1", ProxyFault::Address),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3", ProxyFault::Address),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 ", ProxyFault::Address),
            ("PROXY TCP4 1.2.3.4  1.2.3.4 1 2", ProxyFault::Address),
            ("PROXY TCP4 01.2.3.4 1.2.3.4 1 2", ProxyFault::Address),
            ("PROXY TCP4 1.2.3 1.2.3.4 1 2", ProxyFault::Address),
            ("PROXY TCP4 ::1 1.2.3.4 1 2", ProxyFault::Address),
            ("PROXY TCP6 1.2.3.4 ::1 1 2", ProxyFault::Address),
            ("PROXY TCP6 fe80::1%eth0 ::1 1 2", ProxyFault::Address),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 01 2", ProxyFault::Address),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2", ProxyFault::Address),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 65536 2", ProxyFault::Address),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 \r2", ProxyFault::Length),
            ("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n", ProxyFault::Length),
        ] {
            assert_eq!(text(line), Err(fault), "{line:?}");
        }
        let long = format!("PROXY UNKNOWN {}", "x".repeat(107));
        assert_eq!(text(&long), Err(ProxyFault::Length));
    }

    #[test]
    fn a_binary_header_that_does_not_add_up_is_refused() {
        let (family, block) = addresses("192.0.2.7:1".parse().unwrap());
        let with = |more: &[u8]| binary(0x21, family, &[&block[..], more].concat());
        assert_eq!(parse(&binary(0x11, family, &block)), Err(ProxyFault::Version));
        assert_eq!(parse(&binary(0x22, family, &block)), Err(ProxyFault::Version));
        assert_eq!(parse(&binary(0x21, 0x12, &block)), Err(ProxyFault::Family));
        assert_eq!(parse(&binary(0x21, 0x21, &block)), Err(ProxyFault::Length));
        assert_eq!(parse(&binary(0x21, 0x31, &[7; 215])), Err(ProxyFault::Length));
        assert_eq!(parse(&with(&[4, 0])), Err(ProxyFault::Length));
        assert_eq!(parse(&with(&[4, 0, 2, 9])), Err(ProxyFault::Length));
        let fine = with(&[4, 0, 2, 9, 9]);
        let head = client("192.0.2.7:1");
        assert_eq!(parse(&fine), Ok(Parsed::Complete { head, length: fine.len() }));
        let most = u16::try_from(BINARY_BYTES_MAX + 1).unwrap().to_be_bytes();
        let large = [&SIGNATURE[..], &[0x21, family], &most].concat();
        assert_eq!(parse(&large), Err(ProxyFault::Length));
    }

    fn header() -> impl Strategy<Value = (Vec<u8>, Origin)> {
        let v4 = (any::<[u8; 4]>(), any::<u16>()).prop_map(SocketAddr::from);
        let v6 = (any::<[u8; 16]>(), any::<u16>()).prop_map(SocketAddr::from);
        prop_oneof![v4, v6].prop_flat_map(|source| {
            let kind = if source.is_ipv4() { "TCP4" } else { "TCP6" };
            let (ip, port) = (source.ip(), source.port());
            let line = format!("PROXY {kind} {ip} {ip} {port} 0\r\n").into_bytes();
            let (family, block) = addresses(source);
            let binary = binary(0x21, family, &block);
            (prop_oneof![Just(line), Just(binary)], Just(Origin::Client(source)))
        })
    }

    proptest! {
        #[test]
        fn a_header_is_whole_at_its_last_byte_and_not_before(
            (bytes, head) in header(),
            behind in any::<Vec<u8>>(),
        ) {
            for at in 0..bytes.len() {
                assert_eq!(parse(&bytes[..at]), Ok(Parsed::Partial), "cut at {at}");
            }
            let all = [&bytes[..], &behind].concat();
            assert_eq!(parse(&all), Ok(Parsed::Complete { head, length: bytes.len() }));
        }

        #[test]
        fn whatever_comes_is_answered_within_the_bound(
            mark in prop_oneof![Just(&b""[..]), Just(&b"PROXY "[..]), Just(&SIGNATURE[..])],
            rest in proptest::collection::vec(any::<u8>(), 0..6000),
        ) {
            let bytes = [mark, &rest].concat();
            match parse(&bytes) {
                Ok(Parsed::Complete { length, .. }) => {
                    assert!(length <= bytes.len() && length <= HEADER_BYTES_MAX);
                }
                Ok(Parsed::Partial) => assert!(bytes.len() < HEADER_BYTES_MAX),
                Err(_) => {}
            }
        }
    }
}
