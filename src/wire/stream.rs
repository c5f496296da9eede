//! A connection below TLS: over TCP, or through a Unix socket of this machine.

use crate::wire::error::WireError;
use monoio::BufResult;
use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::net::{TcpStream, UnixStream};
use std::io;
use std::net::SocketAddr;
use std::os::unix::net::UnixStream as StdUnixStream;

/// A connection that is on no worker yet, so that it can be handed to any.
#[derive(Debug)]
pub enum Raw {
    /// Over TCP.
    Tcp(std::net::TcpStream),
    /// Through a Unix socket.
    Unix(StdUnixStream),
}

impl Raw {
    /// Who is at its other end. A Unix socket's peer has no address.
    pub fn peer(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(stream) => stream.peer_addr().ok(),
            Self::Unix(_) => None,
        }
    }
}

impl From<std::net::TcpStream> for Raw {
    fn from(stream: std::net::TcpStream) -> Self {
        Self::Tcp(stream)
    }
}

impl From<StdUnixStream> for Raw {
    fn from(stream: StdUnixStream) -> Self {
        Self::Unix(stream)
    }
}

/// A connection on the worker that serves it.
pub(crate) enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    /// Takes a connection over.
    pub(crate) fn adopt(raw: Raw) -> Result<Self, WireError> {
        // Only epoll wants it so: a ring would answer "again" where nothing is there.
        let nonblocking = monoio::utils::is_legacy();
        Ok(match raw {
            Raw::Tcp(stream) => {
                // Two writes, head and body, must not wait for an acknowledgement in between.
                stream.set_nodelay(true)?;
                stream.set_nonblocking(nonblocking)?;
                Self::Tcp(TcpStream::from_std(stream)?)
            }
            Raw::Unix(stream) => {
                stream.set_nonblocking(nonblocking)?;
                Self::Unix(UnixStream::from_std(stream)?)
            }
        })
    }

    pub(crate) async fn read<B: IoBufMut>(&mut self, buffer: B) -> BufResult<usize, B> {
        match self {
            Self::Tcp(stream) => stream.read(buffer).await,
            Self::Unix(stream) => stream.read(buffer).await,
        }
    }

    pub(crate) async fn write<B: IoBuf>(&mut self, buffer: B) -> BufResult<usize, B> {
        match self {
            Self::Tcp(stream) => stream.write(buffer).await,
            Self::Unix(stream) => stream.write(buffer).await,
        }
    }

    /// Ends our side.
    pub(crate) async fn shutdown(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => AsyncWriteRent::shutdown(stream).await,
            Self::Unix(stream) => AsyncWriteRent::shutdown(stream).await,
        }
    }

    /// Waits until there is something to read, or an end.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable(false).await,
            Self::Unix(stream) => stream.readable(false).await,
        }
    }
}
