//! One connection, plain or TLS, with a time limit on whatever it does.
//!
//! An operation that fails, runs out of time or is dropped spends its socket: with `io_uring` the
//! kernel may have taken bytes for a buffer that nobody waits for any more, so every later
//! operation is `Closed` and the connection ends when the socket is dropped.

use crate::base::clock::Mono;
use crate::wire::error::WireError;
use crate::wire::runtime::{Either, race};
use crate::wire::tls::{Heard, PIECE_BYTES, Session, TlsFault};
use crate::wire::watch::{Fired, Manner, Seat, Watch};
use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncReadRent, AsyncWriteRent};
use monoio::net::TcpStream;
use rustls::{ClientConfig, ServerConfig};
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// The buffer of a connection that waits for its next request: thousands of them wait.
pub const IDLE_BYTES: usize = 512;
/// What a client may send ahead while its answer is waited for. Beyond it the client is no longer
/// watched until the answer begins.
pub const AHEAD_BYTES_MAX: usize = 16 * 1024;
/// How much ciphertext is read at once.
const RECORD_BYTES: usize = 16 * 1024 + 512;
/// What is read at once from a client that sends ahead.
const LOOK_BYTES: usize = 4096;
/// How long a closing socket reads what its peer still sends. A connection that is closed with
/// unread bytes is reset, and the reset may overtake the answer (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(1);
/// How many bytes it reads at most for that.
const LINGER_BYTES_MAX: usize = 256 * 1024;

/// One connection.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
    tls: Option<Box<Session>>,
    /// What the peer sent while another socket was waited for.
    ahead: Vec<u8>,
    seat: Seat,
    peer: Option<SocketAddr>,
    life: Life,
}

/// What a socket is still good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// Everything.
    Open,
    /// The peer sent its last byte; it may still be written to.
    Ended,
    /// Nothing.
    Spent,
}

impl Socket {
    /// Takes a connection over, on the worker that will serve it.
    pub fn adopt(stream: std::net::TcpStream, watch: &Watch) -> Result<Self, WireError> {
        // Two writes, head and body, must not wait for an acknowledgement in between.
        stream.set_nodelay(true)?;
        // Only epoll wants it so: a ring would answer "again" where nothing is there.
        stream.set_nonblocking(monoio::utils::is_legacy())?;
        let peer = stream.peer_addr().ok();
        Ok(Self::plain(TcpStream::from_std(stream)?, peer, watch.sit()))
    }

    pub(crate) fn plain(stream: TcpStream, peer: Option<SocketAddr>, seat: Seat) -> Self {
        Self { stream, tls: None, ahead: Vec::new(), seat, peer, life: Life::Open }
    }

    /// Shakes hands as a server within `limit`.
    pub async fn accept_tls(
        self,
        config: Arc<ServerConfig>,
        limit: Duration,
    ) -> Result<Self, WireError> {
        let deadline = self.deadline(limit);
        let session = Session::server(config).map_err(WireError::Tls)?;
        self.shake(session, deadline).await
    }

    pub(crate) async fn connect_tls(
        self,
        config: Arc<ClientConfig>,
        name: &str,
        deadline: Mono,
    ) -> Result<Self, WireError> {
        let session = Session::client(config, name).map_err(WireError::Tls)?;
        self.shake(session, deadline).await
    }

    /// Appends at most `room` bytes. Zero is the peer's proper end; over TLS a connection that
    /// ends without `close_notify` is `Closed`, since the end may be forged.
    ///
    /// After an error that is not the peer's, `into` is empty: its memory went down with the
    /// operation.
    pub async fn read(
        &mut self,
        into: &mut Vec<u8>,
        room: usize,
        limit: Duration,
    ) -> Result<usize, WireError> {
        let deadline = self.deadline(limit);
        self.read_by(into, (room, RECORD_BYTES), deadline, None).await
    }

    /// Like [`Socket::read`] with a small buffer, for the wait between two requests.
    pub async fn idle(&mut self, into: &mut Vec<u8>, limit: Duration) -> Result<usize, WireError> {
        if let Some(session) = &mut self.tls {
            session.rest();
        }
        if self.ahead.is_empty() {
            self.ahead = Vec::new();
        }
        let deadline = self.deadline(limit);
        self.read_by(into, (IDLE_BYTES, IDLE_BYTES), deadline, None).await
    }

    /// Like [`Socket::read`], for the answer that `client` waits for: `PeerGone` as soon as the
    /// client ends its side. What it sends meanwhile is kept, and its next read gives it back.
    pub async fn read_while(
        &mut self,
        into: &mut Vec<u8>,
        room: usize,
        limit: Duration,
        client: &mut Self,
    ) -> Result<usize, WireError> {
        let deadline = self.deadline(limit);
        self.read_by(into, (room, RECORD_BYTES), deadline, Some(client)).await
    }

    /// Writes all of `bytes` within `limit`; gives the buffer back, cleared.
    pub async fn write(
        &mut self,
        mut bytes: Vec<u8>,
        limit: Duration,
    ) -> Result<Vec<u8>, WireError> {
        let life = self.spend()?;
        let deadline = self.deadline(limit);
        if let Some(session) = &mut self.tls {
            for piece in bytes.chunks(PIECE_BYTES) {
                session.write(piece).map_err(WireError::Tls)?;
                flush(&mut self.stream, &self.seat, session, deadline).await?;
            }
        } else {
            bytes = say(&mut self.stream, &self.seat, bytes, deadline).await?;
        }
        self.life = life;
        bytes.clear();
        Ok(bytes)
    }

    /// Ends our side and reads, for a short while, what the peer still sends.
    pub async fn shutdown(mut self) {
        if self.spend().is_err() {
            return;
        }
        let deadline = self.deadline(LINGER);
        if let Some(session) = &mut self.tls {
            session.close();
            if flush(&mut self.stream, &self.seat, session, deadline).await.is_err() {
                return;
            }
        }
        if AsyncWriteRent::shutdown(&mut self.stream).await.is_err() {
            return;
        }
        let mut read = 0;
        let mut scrap = Vec::new();
        while read < LINGER_BYTES_MAX {
            scrap.clear();
            match hear(&mut self.stream, &self.seat, &mut scrap, LOOK_BYTES, deadline).await {
                Ok(0) | Err(_) => return,
                Ok(more) => read += more,
            }
        }
    }

    /// The peer's address.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Whether another exchange may use it: nothing failed, nothing ended, and nothing is left
    /// that the last exchange did not ask for.
    pub fn is_reusable(&self) -> bool {
        let quiet = self.tls.as_ref().is_none_or(|session| !session.has_input());
        self.life == Life::Open && self.ahead.is_empty() && quiet
    }

    fn deadline(&self, limit: Duration) -> Mono {
        self.seat.now().plus(limit)
    }

    /// Marks the socket spent until its operation comes to a good end.
    fn spend(&mut self) -> Result<Life, WireError> {
        match std::mem::replace(&mut self.life, Life::Spent) {
            Life::Spent => Err(WireError::Closed),
            life @ (Life::Open | Life::Ended) => Ok(life),
        }
    }

    async fn shake(mut self, session: Session, deadline: Mono) -> Result<Self, WireError> {
        let life = self.spend()?;
        let mut session = Box::new(session);
        let (stream, seat) = (&mut self.stream, &self.seat);
        loop {
            flush(stream, seat, &mut session, deadline).await?;
            if !session.is_handshaking() {
                break;
            }
            if session.has_input() {
                feed(stream, seat, &mut session, deadline).await?;
            } else if hear(stream, seat, session.input(), LOOK_BYTES, deadline).await? == 0 {
                return Err(WireError::Closed);
            }
        }
        self.life = life;
        self.tls = Some(session);
        Ok(self)
    }

    /// `room` is for plain bytes and for those of the socket.
    async fn read_by(
        &mut self,
        into: &mut Vec<u8>,
        (room, raw_room): (usize, usize),
        deadline: Mono,
        client: Option<&mut Self>,
    ) -> Result<usize, WireError> {
        let room = room.max(1);
        if !self.ahead.is_empty() {
            let taken = self.ahead.len().min(room);
            into.extend(self.ahead.drain(..taken));
            return Ok(taken);
        }
        let life = self.spend()?;
        let read = if self.tls.is_some() {
            self.read_tls(into, (room, raw_room), deadline, client).await?
        } else {
            hear_while(&mut self.stream, &self.seat, into, (room, deadline), client).await?
        };
        self.life = if read == 0 { Life::Ended } else { life };
        Ok(read)
    }

    async fn read_tls(
        &mut self,
        into: &mut Vec<u8>,
        (room, raw_room): (usize, usize),
        deadline: Mono,
        mut client: Option<&mut Self>,
    ) -> Result<usize, WireError> {
        let Self { stream, tls, seat, .. } = self;
        let Some(session) = tls else { return Err(WireError::Closed) };
        loop {
            match session.read(into, room).map_err(WireError::Tls)? {
                Heard::Bytes(read) => return Ok(read),
                Heard::End => return Ok(0),
                Heard::Nothing => {}
            }
            if session.has_input() {
                feed(stream, seat, session, deadline).await?;
                continue;
            }
            let client = client.as_deref_mut();
            let bounds = (raw_room, deadline);
            if hear_while(stream, seat, session.input(), bounds, client).await? == 0 {
                return Err(WireError::Closed);
            }
        }
    }

    /// Runs an operation on another socket, and watches meanwhile whether this peer stays.
    async fn attend<T>(
        &mut self,
        operation: impl Future<Output = Result<T, WireError>>,
        deadline: Mono,
    ) -> Result<T, WireError> {
        let mut operation = std::pin::pin!(operation);
        loop {
            match self.life {
                Life::Open if self.ahead.len() < AHEAD_BYTES_MAX => {}
                // Too much was sent ahead: reading it would let a client fill our memory, and
                // looking without reading would spin.
                Life::Open => return operation.await,
                Life::Ended | Life::Spent => return Err(WireError::PeerGone),
            }
            match race(operation.as_mut(), self.stream.readable(false)).await {
                Either::First(done) => return done,
                Either::Second(_) => self.look(deadline).await?,
            }
        }
    }

    /// Reads what made this socket readable; `PeerGone` where that is its end.
    async fn look(&mut self, deadline: Mono) -> Result<(), WireError> {
        let life = self.spend()?;
        let seen = match &mut self.tls {
            None => {
                let room = AHEAD_BYTES_MAX.saturating_sub(self.ahead.len()).clamp(1, LOOK_BYTES);
                hear(&mut self.stream, &self.seat, &mut self.ahead, room, deadline).await
            }
            Some(session) => {
                look_tls((&mut self.stream, &self.seat), session, &mut self.ahead, deadline).await
            }
        };
        match seen {
            Ok(0) | Err(WireError::Closed) => Err(WireError::PeerGone),
            Ok(_) => {
                self.life = life;
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Takes in what an encrypted peer sends ahead; zero where that is its end.
async fn look_tls(
    (stream, seat): (&mut TcpStream, &Seat),
    session: &mut Session,
    ahead: &mut Vec<u8>,
    deadline: Mono,
) -> Result<usize, WireError> {
    if hear(stream, seat, session.input(), LOOK_BYTES, deadline).await? == 0 {
        return Ok(0);
    }
    while session.has_input() {
        feed(stream, seat, session, deadline).await?;
        loop {
            match session.read(ahead, AHEAD_BYTES_MAX).map_err(WireError::Tls)? {
                Heard::Bytes(_) => {}
                Heard::End => return Ok(0),
                Heard::Nothing => break,
            }
        }
    }
    Ok(1)
}

/// Hears, with an eye on a client where there is one.
async fn hear_while(
    stream: &mut TcpStream,
    seat: &Seat,
    into: &mut Vec<u8>,
    (room, deadline): (usize, Mono),
    client: Option<&mut Socket>,
) -> Result<usize, WireError> {
    let operation = hear(stream, seat, into, room, deadline);
    match client {
        Some(client) => client.attend(operation, deadline).await,
        None => operation.await,
    }
}

/// One receive of the kernel, appended to `into`.
async fn hear(
    stream: &mut TcpStream,
    seat: &Seat,
    into: &mut Vec<u8>,
    room: usize,
    deadline: Mono,
) -> Result<usize, WireError> {
    loop {
        let mut buffer = std::mem::take(into);
        buffer.reserve(room);
        let from = buffer.len();
        let operation = stream.read(buffer.slice_mut(from..from + room));
        let (result, slice) = seat.guard(Manner::Listen, deadline, operation).await?;
        *into = slice.into_inner();
        match result {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return Ok(result?),
        }
    }
}

/// Sends all of `bytes`.
async fn say(
    stream: &mut TcpStream,
    seat: &Seat,
    mut bytes: Vec<u8>,
    deadline: Mono,
) -> Result<Vec<u8>, WireError> {
    let mut at = 0;
    while at < bytes.len() {
        let operation = stream.write(bytes.slice(at..));
        let (result, slice) = seat.guard(Manner::Speak, deadline, operation).await?;
        bytes = slice.into_inner();
        match result {
            Ok(0) => return Err(WireError::Closed),
            Ok(sent) => at += sent,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(bytes)
}

/// Sends all that a session has to say.
async fn flush(
    stream: &mut TcpStream,
    seat: &Seat,
    session: &mut Session,
    deadline: Mono,
) -> Result<(), WireError> {
    while let Some(output) = session.take_output() {
        let output = say(stream, seat, output, deadline).await?;
        session.give_output(output);
    }
    Ok(())
}

/// Lets a session take in what came, and sends what that calls for: an alert where it failed.
async fn feed(
    stream: &mut TcpStream,
    seat: &Seat,
    session: &mut Session,
    deadline: Mono,
) -> Result<(), WireError> {
    let fed: Result<(), TlsFault> = session.feed();
    let flushed = flush(stream, seat, session, deadline).await;
    // The fault is the reason; that its alert could not be sent is not.
    fed.map_err(WireError::Tls)?;
    flushed
}

impl From<Fired> for WireError {
    fn from(fired: Fired) -> Self {
        match fired {
            Fired::Deadline => Self::Deadline,
            Fired::Stopped => Self::Stopped,
        }
    }
}
