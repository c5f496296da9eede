//! A connection below TLS: over TCP, or through a Unix socket of this machine.

use crate::wire::error::WireError;
use monoio::BufResult;
use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::net::{TcpStream, UnixStream};
use rustix::net::sockopt::set_socket_linger;
use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::time::Duration;

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

    /// Lets the connection end by a reset once it is dropped, so that its peer takes the end for no
    /// orderly one. Where that cannot be had, it ends like any other.
    pub(crate) fn reset_on_close(&self) {
        let Self::Tcp(stream) = self else { return };
        // The runtime lends no descriptor, only its number; this asks the kernel for our own.
        let own = pidfd_open(getpid(), PidfdFlags::empty())
            .and_then(|own| pidfd_getfd(own, stream.as_raw_fd(), PidfdGetfdFlags::empty()));
        if let Ok(twin) = own {
            set_socket_linger(twin, Some(Duration::ZERO)).unwrap_or_default();
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

#[cfg(test)]
mod tests {
    use crate::base::clock::Clock;
    use crate::base::endpoint::Endpoint;
    use crate::wire::dial;
    use crate::wire::error::WireError;
    use crate::wire::listen::Door;
    use crate::wire::runtime::{self, Driver};
    use crate::wire::socket::Socket;
    use crate::wire::watch::Watch;
    use std::path::Path;
    use std::time::Duration;
    use tempfile::TempDir;

    const LIMIT: Duration = Duration::from_secs(5);

    /// Runs a test with a ticking watch and a path in a folder, on both drivers.
    fn on_both<F: Future<Output = ()>>(test: impl Fn(Watch, Box<Path>) -> F) {
        for driver in [Driver::IoUring, Driver::Epoll] {
            let folder = TempDir::new().unwrap();
            let path = folder.path().join("one.sock").into_boxed_path();
            let ran = runtime::run(Some(driver), |_| {
                let watch = Watch::new(Clock::machine());
                runtime::spawn(watch.clone().keep(), || panic!("the watch must not panic"));
                test(watch, path)
            });
            ran.unwrap();
        }
    }

    /// Two ends of one connection.
    async fn pair(watch: &Watch, path: &Path) -> (Socket, Socket) {
        let (door, _) = Door::open(&Endpoint::Unix(path.into()), 0o600).unwrap();
        let listener = door.listen().unwrap();
        let near = dial::connect_unix(path, watch, LIMIT).await.unwrap();
        let (stream, peer) = listener.accept().await.unwrap();
        let far = Socket::adopt(stream, watch).unwrap();
        assert_eq!((peer, far.peer(), near.peer()), (None, None, None));
        (near, far)
    }

    #[test]
    fn bytes_go_both_ways_through_a_unix_socket_and_an_end_is_an_end() {
        on_both(async |watch, path| {
            let (mut near, mut far) = pair(&watch, &path).await;
            let body: Vec<u8> = (0..1_000_000_u32).map(|at| at.to_le_bytes()[1]).collect();
            let expected = body.clone();
            let talk = async move {
                near.write(body, LIMIT).await.unwrap();
                let mut got = Vec::new();
                assert_eq!(near.idle(&mut got, LIMIT).await, Ok(3));
                near.shutdown().await;
            };
            runtime::spawn(talk, || panic!("the peer must not panic"));
            let mut got = Vec::new();
            while got.len() < expected.len() {
                far.read(&mut got, 64 * 1024, LIMIT).await.unwrap();
            }
            assert!(got == expected);
            assert!(far.is_reusable());
            far.write(b"end".to_vec(), LIMIT).await.unwrap();
            assert_eq!(far.read(&mut got, 64, LIMIT).await, Ok(0));
        });
    }

    #[test]
    fn a_client_of_a_unix_socket_that_leaves_is_noticed_and_a_silent_one_runs_out_of_time() {
        on_both(async |watch, path| {
            let (leaver, mut client) = pair(&watch, &path).await;
            std::fs::remove_file(&path).unwrap();
            let (mut upstream, _silent) = pair(&watch, &path).await;
            let short = Duration::from_millis(60);
            let late = upstream.read_while(&mut Vec::new(), 64, short, &mut client).await;
            assert_eq!(late, Err(WireError::Deadline));
            std::fs::remove_file(&path).unwrap();
            let (mut upstream, _silent) = pair(&watch, &path).await;
            drop(leaver);
            let gone = upstream.read_while(&mut Vec::new(), 64, LIMIT, &mut client).await;
            assert_eq!(gone, Err(WireError::PeerGone));
        });
    }

    #[test]
    fn a_path_that_nobody_listens_on_is_refused() {
        on_both(async |watch, path| {
            let missing = dial::connect_unix(&path, &watch, LIMIT).await.map(drop);
            assert_eq!(missing, Err(WireError::Refused));
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            let left_behind = dial::connect_unix(&path, &watch, LIMIT).await.map(drop);
            assert_eq!(left_behind, Err(WireError::Refused));
        });
    }
}
