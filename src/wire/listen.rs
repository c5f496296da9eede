//! Listening sockets: each worker has its own on the same address (`SO_REUSEPORT`).
//!
//! monoio only says when something waits; the accept itself is std's, non-blocking. So a dropped
//! wait loses no connection.

use crate::wire::runtime;
use monoio::net::TcpListener as MonoioListener;
use socket2::{Domain, Protocol, Socket, Type};
use std::cell::{Cell, OnceCell};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};

/// Connections that the kernel keeps for us while we are busy.
const BACKLOG: i32 = 1024;
/// Accepts in a row before other tasks get their turn.
const IN_A_ROW: u32 = 16;

/// One worker's listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    /// For readiness only; made on the worker at the first accept.
    ready: OnceCell<MonoioListener>,
    local: SocketAddr,
    accepted: Cell<u32>,
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
        Ok(Self { socket, ready: OnceCell::new(), local, accepted: Cell::new(0) })
    }

    /// The next connection. An error is the kernel's lack of something, such as file descriptors
    /// (`EMFILE`): wait a little and try again. A dropped wait loses nothing.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
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
                    self.ready()?.readable(false).await?;
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
    pub fn accept_now(&self) -> Option<(TcpStream, SocketAddr)> {
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

    /// The address it listens on.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    fn ready(&self) -> io::Result<&MonoioListener> {
        if let Some(ready) = self.ready.get() {
            return Ok(ready);
        }
        let ready = MonoioListener::from_std(self.socket.try_clone()?)?;
        Ok(self.ready.get_or_init(|| ready))
    }
}

#[cfg(test)]
mod tests {
    use super::{IN_A_ROW, Listener};
    use crate::wire::runtime::{self, Driver, Either};
    use std::net::TcpStream;

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
}
