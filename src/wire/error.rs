//! What can go wrong on the wire, by whose doing.

use crate::wire::tls::TlsFault;
use crate::wire::watch::Fired;

/// Why an operation on a socket ended without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// The peer ended or reset the connection, or it was spent by an operation before.
    Closed,
    /// The time limit passed.
    Deadline,
    /// The kernel said something else.
    Io(std::io::ErrorKind),
    /// The other side, the client, went away while its answer was waited for.
    PeerGone,
    /// Nobody listens there.
    Refused,
    /// The worker stops.
    Stopped,
    /// TLS failed.
    Tls(TlsFault),
}

impl std::fmt::Display for WireError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Closed => out.write_str("the peer closed the connection"),
            Self::Deadline => out.write_str("the time limit passed"),
            Self::Io(kind) => write!(out, "input or output failed: {kind}"),
            Self::PeerGone => out.write_str("the client went away"),
            Self::Refused => out.write_str("the connection was refused"),
            Self::Stopped => out.write_str("the worker stops"),
            Self::Tls(fault) => write!(out, "TLS failed: {fault}"),
        }
    }
}

impl std::error::Error for WireError {}

impl From<std::io::Error> for WireError {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind;
        let kind = error.kind();
        if matches!(
            kind,
            ErrorKind::BrokenPipe
                | ErrorKind::ConnectionAborted
                | ErrorKind::ConnectionReset
                | ErrorKind::NotConnected
                | ErrorKind::UnexpectedEof
        ) {
            return Self::Closed;
        }
        if matches!(kind, ErrorKind::ConnectionRefused) { Self::Refused } else { Self::Io(kind) }
    }
}

impl From<Fired> for WireError {
    fn from(fired: Fired) -> Self {
        match fired {
            Fired::Deadline => Self::Deadline,
            Fired::Stopped => Self::Stopped,
        }
    }
}
