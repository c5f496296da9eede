//! Where a listener is: an address and port, or a socket in the file system.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

/// Bytes of a Unix socket's path; the kernel's structure has room for no more (`unix(7)`).
pub const PATH_BYTES_MAX: usize = 107;

/// What is written before a Unix socket's path.
pub const UNIX_PREFIX: &str = "unix:";

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// An address and port.
    Tcp(SocketAddr),
    /// A socket of this machine, by its absolute path.
    Unix(Arc<Path>),
}

impl Endpoint {
    /// Reads `127.0.0.1:80`, `[::1]:80`, `:80` (loopback) or `unix:/run/one.sock`.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix(UNIX_PREFIX) {
            return socket_path(path).map(Self::Unix);
        }
        if let Some(port) = text.strip_prefix(':') {
            let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
            let port = is_port.then(|| port.parse().ok()).flatten()?;
            return Some(Self::Tcp(SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
        }
        text.parse().ok().map(Self::Tcp)
    }
}

/// A path that a socket can have: absolute, since a working directory is nobody's agreement.
pub fn socket_path(text: &str) -> Option<Arc<Path>> {
    let fits = text.starts_with('/')
        && !text.ends_with('/')
        && text.len() <= PATH_BYTES_MAX
        && !text.contains('\0');
    fits.then(|| Arc::from(Path::new(text)))
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(out),
            Self::Unix(path) => write!(out, "{UNIX_PREFIX}{}", path.display()),
        }
    }
}

impl PartialEq<SocketAddr> for Endpoint {
    fn eq(&self, other: &SocketAddr) -> bool {
        matches!(self, Self::Tcp(own) if own == other)
    }
}

#[cfg(test)]
mod tests {
    use super::{Endpoint, PATH_BYTES_MAX};

    #[test]
    fn endpoints_are_shown_as_they_are_read() {
        for text in ["127.0.0.1:80", "[::1]:0", "unix:/run/one.sock"] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(Endpoint::parse(":81").unwrap().to_string(), "127.0.0.1:81");
    }

    #[test]
    fn what_cannot_be_listened_on_is_none() {
        let long = format!("unix:/{}", "p".repeat(PATH_BYTES_MAX));
        for text in ["", ":", ":+1", "80", "unix:", "unix:here", "unix:/run/", "unix:/a\0b", &long]
        {
            assert_eq!(Endpoint::parse(text), None, "{text}");
        }
        assert!(Endpoint::parse(long.trim_end_matches('p')).is_none());
        assert!(Endpoint::parse(long.strip_suffix('p').unwrap()).is_some());
    }
}
