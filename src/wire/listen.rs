//! Listening sockets: each worker has its own on the same address (`SO_REUSEPORT`), and its own
//! handle of the one socket behind a Unix socket's path, which has no such thing.
//!
//! monoio only says when something waits; the accept itself is std's, non-blocking. So a dropped
//! wait loses no connection.

use crate::base::endpoint::Endpoint;
use crate::wire::runtime;
use crate::wire::stream::Raw;
use monoio::net::{TcpListener as MonoioListener, UnixListener as MonoioUnixListener};
use rustix::fs::{FileType, Mode};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::cell::{Cell, OnceCell};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

/// Connections that the kernel keeps for us while we are busy.
const BACKLOG: i32 = 1024;
/// Accepts in a row before other tasks get their turn.
const IN_A_ROW: u32 = 16;

/// An endpoint of which this process has taken hold, for every worker to listen on.
#[derive(Clone, Debug)]
pub struct Door {
    endpoint: Endpoint,
    /// The one socket of a Unix path, of which workers get handles.
    socket: Option<Arc<UnixListener>>,
}

/// A door, and the listener that holds its TCP port until the workers have theirs.
pub type Opened = (Door, Option<Listener>);

/// A connection, and its peer's address where it has one.
pub type Arrival = (Raw, Option<SocketAddr>);

/// One worker's listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: Ear,
    /// For readiness only; made on the worker at the first accept.
    ready: OnceCell<Ready>,
    local: SocketAddr,
    accepted: Cell<u32>,
}

#[derive(Debug)]
enum Ear {
    Tcp(TcpListener),
    Unix(UnixListener),
}

#[derive(Debug)]
enum Ready {
    Tcp(MonoioListener),
    Unix(MonoioUnixListener),
}

impl Door {
    /// Takes hold of an endpoint; `mode` is for a Unix socket's file. An error names what is taken.
    ///
    /// A socket file that nobody listens on was left by a process that ended badly: it is
    /// replaced. Any other file stays, and is an error.
    ///
    /// The listener holds a TCP port until the workers have theirs: drop it before they serve,
    /// since nothing may wait on a socket that nobody reads.
    pub fn open(endpoint: &Endpoint, mode: u32) -> io::Result<Opened> {
        match endpoint {
            Endpoint::Tcp(address) => {
                let held = Listener::bind(*address)?;
                Ok((Self { endpoint: Endpoint::Tcp(held.local()), socket: None }, Some(held)))
            }
            Endpoint::Unix(path) => {
                let socket = Some(Arc::new(bind_unix(path, mode)?));
                Ok((Self { endpoint: endpoint.clone(), socket }, None))
            }
        }
    }

    /// What it is: with the port that the system chose.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A listening socket for one worker.
    pub fn listen(&self) -> io::Result<Listener> {
        match (&self.endpoint, &self.socket) {
            (Endpoint::Tcp(address), _) => Listener::bind(*address),
            (Endpoint::Unix(_), Some(socket)) => {
                Ok(Listener::of(Ear::Unix(socket.try_clone()?), UNIX_HAS_NO_ADDRESS))
            }
            (Endpoint::Unix(_), None) => Err(ErrorKind::NotConnected.into()),
        }
    }
}

/// Removes a Unix socket's file once its process listens no more. It does not matter where it is
/// gone already.
pub fn remove(endpoint: &Endpoint) {
    if let Endpoint::Unix(path) = endpoint {
        rustix::fs::unlink(&**path).unwrap_or_default();
    }
}

impl Listener {
    /// Binds and listens. With port 0 the system chooses one; see [`Listener::local`].
    pub fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        rustix::net::sockopt::set_socket_reuseport(&socket, true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        let socket = TcpListener::from(socket);
        let local = socket.local_addr()?;
        Ok(Self::of(Ear::Tcp(socket), local))
    }

    fn of(socket: Ear, local: SocketAddr) -> Self {
        Self { socket, ready: OnceCell::new(), local, accepted: Cell::new(0) }
    }

    /// The next connection, and its peer's address where it has one. An error is the kernel's lack
    /// of something, such as file descriptors (`EMFILE`): wait a little and try again. A dropped
    /// wait loses nothing.
    pub async fn accept(&self) -> io::Result<Arrival> {
        // Before the accept, not after: a wait dropped here has no connection in its hands.
        if self.accepted.get() >= IN_A_ROW {
            self.accepted.set(0);
            runtime::yield_now().await;
        }
        loop {
            match self.socket.accept() {
                Ok(accepted) => {
                    self.accepted.set(self.accepted.get().saturating_add(1));
                    return Ok(accepted);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.accepted.set(0);
                    self.wait().await?;
                }
                // The caller hung up before we looked.
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                    ) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Ends all waiting for connections; [`Listener::accept_now`] goes on. The runtime closes its
    /// own handle a few turns of the loop later, and until then the socket would outlive this one.
    pub fn end_waiting(&mut self) {
        drop(self.ready.take());
    }

    /// The next connection that the kernel has already; none where it has none, or lacks something.
    pub fn accept_now(&self) -> Option<Arrival> {
        loop {
            match self.socket.accept() {
                Ok(accepted) => return Some(accepted),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                    ) => {}
                Err(_) => return None,
            }
        }
    }

    /// The address it listens on; all zero for a Unix socket.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    async fn wait(&self) -> io::Result<()> {
        let ready = if let Some(ready) = self.ready.get() {
            ready
        } else {
            let ready = self.socket.ready()?;
            self.ready.get_or_init(|| ready)
        };
        match ready {
            Ready::Tcp(ready) => ready.readable(false).await,
            Ready::Unix(ready) => ready.readable(false).await,
        }
    }
}

impl Ear {
    fn accept(&self) -> io::Result<Arrival> {
        match self {
            Self::Tcp(socket) => {
                socket.accept().map(|(stream, peer)| (Raw::Tcp(stream), Some(peer)))
            }
            Self::Unix(socket) => {
                socket.accept().map(|(stream, _unnamed)| (Raw::Unix(stream), None))
            }
        }
    }

    fn ready(&self) -> io::Result<Ready> {
        Ok(match self {
            Self::Tcp(socket) => Ready::Tcp(MonoioListener::from_std(socket.try_clone()?)?),
            Self::Unix(socket) => Ready::Unix(MonoioUnixListener::from_std(socket.try_clone()?)?),
        })
    }
}

/// What [`Listener::local`] says where there is none.
const UNIX_HAS_NO_ADDRESS: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 0);

fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    let address = SockAddr::unix(path)?;
    match socket.bind(&address) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && is_left_behind(path) => {
            rustix::fs::unlink(path)?;
            socket.bind(&address)?;
        }
        bound => bound?,
    }
    // Nobody can connect before `listen`, so nobody slips in under a wider mode.
    rustix::fs::chmod(path, Mode::from_raw_mode(mode))?;
    socket.listen(BACKLOG)?;
    Ok(UnixListener::from(std::os::fd::OwnedFd::from(socket)))
}

/// Whether a path is a socket that nobody listens on.
fn is_left_behind(path: &Path) -> bool {
    let is_socket = rustix::fs::lstat(path)
        .is_ok_and(|found| FileType::from_raw_mode(found.st_mode) == FileType::Socket);
    is_socket
        && UnixStream::connect(path)
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
}

#[cfg(test)]
mod tests {
    use super::{Door, IN_A_ROW, Listener, remove};
    use crate::base::endpoint::Endpoint;
    use crate::wire::runtime::{self, Driver, Either};
    use std::io::ErrorKind;
    use std::net::TcpStream;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};
    use tempfile::TempDir;

    #[test]
    fn two_workers_listen_on_one_address() {
        let first = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let second = Listener::bind(first.local()).unwrap();
        assert_eq!(first.local(), second.local());
    }

    #[test]
    fn every_connection_of_a_burst_is_accepted_and_dropped_waits_lose_none() {
        for driver in [Driver::IoUring, Driver::Epoll] {
            let count = usize::try_from(IN_A_ROW).unwrap() * 3;
            assert_eq!(runtime::run(Some(driver), |_| accept_burst(count)).unwrap(), count);
        }
    }

    /// Accepts until that many came, giving each wait up very soon.
    async fn accept_burst(count: usize) -> usize {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let given_up = runtime::race(listener.accept(), runtime::yield_now()).await;
        assert!(matches!(given_up, Either::Second(())));
        let callers: Vec<_> = (0..count).map(|_| TcpStream::connect(listener.local())).collect();
        let mut accepted = 0;
        while accepted < count {
            let next = runtime::race(listener.accept(), runtime::yield_now()).await;
            accepted += usize::from(matches!(next, Either::First(Ok(_))));
        }
        drop(callers);
        accepted
    }

    fn socket_in(folder: &TempDir) -> Endpoint {
        Endpoint::Unix(folder.path().join("one.sock").into())
    }

    fn path_of(endpoint: &Endpoint) -> &std::path::Path {
        let Endpoint::Unix(path) = endpoint else { panic!("it is a path") };
        path
    }

    #[test]
    fn workers_share_one_unix_socket_with_the_mode_that_was_asked_for() {
        let folder = TempDir::new().unwrap();
        let endpoint = socket_in(&folder);
        let (door, held) = Door::open(&endpoint, 0o600).unwrap();
        assert!(held.is_none());
        let mode = std::fs::metadata(path_of(&endpoint)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        for driver in [Driver::IoUring, Driver::Epoll] {
            let (first, second) = (door.listen().unwrap(), door.listen().unwrap());
            let accepted = runtime::run(Some(driver), async |_| {
                let waiting = runtime::race(first.accept(), runtime::yield_now()).await;
                assert!(matches!(waiting, Either::Second(())));
                let _one = UnixStream::connect(path_of(&endpoint)).unwrap();
                let (_, peer) = first.accept().await.unwrap();
                let _two = UnixStream::connect(path_of(&endpoint)).unwrap();
                (peer, second.accept().await.unwrap().1)
            });
            assert_eq!(accepted.unwrap(), (None, None));
        }
        remove(&endpoint);
        assert!(!path_of(&endpoint).exists());
    }

    #[test]
    fn a_socket_that_was_left_behind_is_replaced_and_one_in_use_is_not() {
        let folder = TempDir::new().unwrap();
        let endpoint = socket_in(&folder);
        drop(UnixListener::bind(path_of(&endpoint)).unwrap());
        let (door, _) = Door::open(&endpoint, 0o660).unwrap();
        let taken = Door::open(&endpoint, 0o660).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        UnixStream::connect(path_of(&endpoint)).unwrap();
        drop(door);
        UnixStream::connect(path_of(&endpoint)).unwrap_err();
    }

    #[test]
    fn a_file_that_is_no_socket_stays() {
        let folder = TempDir::new().unwrap();
        let endpoint = socket_in(&folder);
        std::fs::write(path_of(&endpoint), "precious").unwrap();
        let refused = Door::open(&endpoint, 0o660).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::AddrInUse);
        assert_eq!(std::fs::read_to_string(path_of(&endpoint)).unwrap(), "precious");
    }
}
