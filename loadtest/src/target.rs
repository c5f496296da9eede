//! Where the load goes: a URL on this machine, and nowhere else.

use http::Method;
use ringwall::http::encode;
use ringwall::http::head::BodyLength;
use ringwall::wire::dns;
use std::net::{IpAddr, SocketAddr};

/// A URL that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where to connect.
    pub address: SocketAddr,
    /// The `Host` field, as it was written.
    pub host: String,
    /// The path with its query.
    pub path: String,
}

/// Why a URL is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetFault {
    /// The address, or one that the name has, is on another machine.
    Elsewhere,
    /// No host, a port that is no number, or user information.
    Malformed,
    /// A name other than `localhost`.
    Name,
    /// Another scheme than `http`.
    Scheme,
    /// `localhost` has no address.
    Unknown,
}

impl std::fmt::Display for TargetFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Elsewhere => {
                "the address is not a loopback address: load on a machine that is not yours is \
                 an attack, and a network between would be measured too"
            }
            Self::Malformed => "the URL must be http://HOST[:PORT]/PATH",
            Self::Name => {
                "the host must be a loopback address or localhost: another name may lead to a \
                 machine that is not yours"
            }
            Self::Scheme => "the URL must begin with http://; TLS cannot be measured yet",
            Self::Unknown => "localhost has no address here",
        })
    }
}

impl std::error::Error for TargetFault {}

impl Target {
    /// Reads a URL. Only `localhost` is looked up.
    pub fn parse(url: &str) -> Result<Self, TargetFault> {
        let rest = url.strip_prefix("http://").ok_or(TargetFault::Scheme)?;
        let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (host, path) = rest.split_at_checked(at).ok_or(TargetFault::Malformed)?;
        if host.is_empty() || host.contains('@') || path.contains('#') {
            return Err(TargetFault::Malformed);
        }
        let path = match path {
            "" => "/".to_owned(),
            path if path.starts_with('/') => path.to_owned(),
            query => format!("/{query}"),
        };
        // What the codec will not write is no target.
        let none = std::iter::empty();
        encode::request_head(&mut Vec::new(), &Method::POST, &path, host, none, BodyLength::Empty)
            .map_err(|_fault| TargetFault::Malformed)?;
        Ok(Self { address: address(host)?, host: host.to_owned(), path })
    }
}

fn address(host: &str) -> Result<SocketAddr, TargetFault> {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => {
            (name, port.parse().map_err(|_not_a_port| TargetFault::Malformed)?)
        }
        _ => (host, 80),
    };
    let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(name);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        let is_here = ip.is_loopback();
        return if is_here { Ok(SocketAddr::new(ip, port)) } else { Err(TargetFault::Elsewhere) };
    }
    if name != "localhost" {
        return Err(TargetFault::Name);
    }
    let found = dns::resolve(name, port).map_err(|_unknown| TargetFault::Unknown)?;
    if !found.iter().all(|address| address.ip().is_loopback()) {
        return Err(TargetFault::Elsewhere);
    }
    // Most servers that listen on one family listen on this one.
    found
        .iter()
        .find(|address| address.is_ipv4())
        .or_else(|| found.first())
        .copied()
        .ok_or(TargetFault::Unknown)
}

#[cfg(test)]
mod tests {
    use super::{Target, TargetFault};

    #[test]
    fn a_loopback_url_is_taken_apart() {
        let target = Target::parse("http://127.0.0.1:8080/v1/chat/completions?x=1").unwrap();
        assert_eq!(target.address, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(target.host, "127.0.0.1:8080");
        assert_eq!(target.path, "/v1/chat/completions?x=1");
        let six = Target::parse("http://[::1]:9").unwrap();
        assert_eq!((six.address, &*six.path), ("[::1]:9".parse().unwrap(), "/"));
        assert_eq!(Target::parse("http://[::1]?q").unwrap().path, "/?q");
        assert_eq!(Target::parse("http://127.8.0.1").unwrap().address.port(), 80);
    }

    #[test]
    fn no_load_leaves_this_machine() {
        for (url, fault) in [
            ("http://10.0.0.1/", TargetFault::Elsewhere),
            ("http://0.0.0.0:80/", TargetFault::Elsewhere),
            ("http://[::ffff:8.8.8.8]/", TargetFault::Elsewhere),
            ("http://api.openai.com/v1", TargetFault::Name),
            ("http://localhost.evil.example/", TargetFault::Name),
            ("http://127.0.0.1@evil.example/", TargetFault::Malformed),
            ("http://127.0.0.1:x/", TargetFault::Malformed),
            ("http:///x", TargetFault::Malformed),
            ("http://127.0.0.1/a b", TargetFault::Malformed),
            ("https://127.0.0.1/", TargetFault::Scheme),
        ] {
            assert_eq!(Target::parse(url), Err(fault), "{url}");
        }
    }
}
