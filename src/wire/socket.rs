//! One connection, plain or TLS, with a time limit on whatever it does.
//!
//! An operation that fails, runs out of time or is dropped spends its socket: with `io_uring` the
//! kernel may have taken bytes for a buffer that nobody waits for any more, so every later
//! operation is `Closed` and the connection ends when the socket is dropped. After a read that ran
//! out of time, reads are `Closed` and writes go on.

use crate::base::clock::Mono;
use crate::wire::error::WireError;
#[cfg(test)]
use crate::wire::fault::{self, Fault, Operation};
use crate::wire::names;
use crate::wire::runtime::{Either, race, yield_now};
use crate::wire::speak::{Pace, Tally, Term, feed, flush, say};
use crate::wire::stream::{Raw, Stream};
use crate::wire::tls::{Heard, PIECE_BYTES, Session};
use crate::wire::watch::{Manner, Seat, Watch};
use monoio::buf::IoBufMut;
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

/// How long an answer may take before its client is watched at all. To watch costs two entries of
/// the ring for each read, and most reads of a stream are over sooner. A client that left is
/// noticed at the first tick of the watch after this.
const PATIENCE: Duration = Duration::from_millis(10);

/// One connection.
pub struct Socket {
    stream: Stream,
    tls: Option<Box<Session>>,
    /// What the peer sent while another socket was waited for.
    ahead: Vec<u8>,
    seat: Seat,
    peer: Option<SocketAddr>,
    life: Life,
    tally: Tally,
}

/// What a socket is still good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    /// Everything.
    Open,
    /// A read ran out of time, and the kernel may still take bytes for it; it may be written to,
    /// so that a slow client can be told.
    Deaf,
    /// The peer sent its last byte; it may still be written to.
    Ended,
    /// Nothing.
    Spent,
}

impl std::fmt::Debug for Socket {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Never what was read: it may hold credentials.
        out.debug_struct("Socket")
            .field("peer", &self.peer)
            .field("tls", &self.tls.is_some())
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

impl Socket {
    /// Takes a connection over, on the worker that will serve it.
    pub fn adopt(stream: impl Into<Raw>, watch: &Watch) -> Result<Self, WireError> {
        let raw = stream.into();
        let peer = raw.peer();
        Ok(Self::plain(Stream::adopt(raw)?, peer, watch.sit()))
    }

    pub(crate) fn plain(stream: Stream, peer: Option<SocketAddr>, seat: Seat) -> Self {
        Self {
            stream,
            tls: None,
            ahead: Vec::new(),
            seat,
            peer,
            life: Life::Open,
            tally: Tally::default(),
        }
    }

    /// Shakes hands as a server within `limit`.
    pub async fn accept_tls(
        mut self,
        config: Arc<ServerConfig>,
        limit: Duration,
    ) -> Result<Self, WireError> {
        let deadline = self.deadline(limit);
        let mut session = Session::server(config).map_err(WireError::Tls)?;
        session.input().append(&mut self.ahead);
        self.shake(session, deadline).await
    }

    /// Gives back what was read too far, for the next read or the handshake.
    pub(crate) fn unread(&mut self, rest: Vec<u8>) {
        self.ahead = rest;
    }

    /// The names in the verified certificate of the peer, as `names::client_names` writes them.
    pub fn peer_names(&self) -> Vec<Box<str>> {
        let session = self.tls.as_ref();
        session.and_then(|tls| tls.peer_certificate()).map(names::client_names).unwrap_or_default()
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

    /// Like [`Socket::read`] with a small buffer, for the wait between two requests: an empty
    /// `into` that is larger gives its memory back.
    pub async fn idle(&mut self, into: &mut Vec<u8>, limit: Duration) -> Result<usize, WireError> {
        if let Some(session) = &mut self.tls {
            session.rest();
        }
        if self.ahead.is_empty() {
            self.ahead = Vec::new();
        }
        if into.is_empty() && into.capacity() > IDLE_BYTES {
            *into = Vec::new();
        }
        let deadline = self.deadline(limit);
        self.read_by(into, (IDLE_BYTES, IDLE_BYTES), deadline, None).await
    }

    /// Like [`Socket::read`], for the answer that `client` waits for: `PeerGone` when the client
    /// ends its side meanwhile, within two ticks of the watch. What it sends meanwhile is kept, and
    /// its next read gives it back.
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
    pub async fn write(&mut self, bytes: Vec<u8>, limit: Duration) -> Result<Vec<u8>, WireError> {
        let deadline = self.deadline(limit);
        self.tell(bytes, None, deadline).await
    }

    /// Writes all of `bytes` for as long as the peer takes them at that pace, over this write and
    /// the ones before; gives the buffer back, cleared.
    pub async fn write_paced(&mut self, bytes: Vec<u8>, pace: Pace) -> Result<Vec<u8>, WireError> {
        let now = self.seat.now();
        self.tell(bytes, Some(pace), now).await
    }

    async fn tell(
        &mut self,
        mut bytes: Vec<u8>,
        pace: Option<Pace>,
        deadline: Mono,
    ) -> Result<Vec<u8>, WireError> {
        let life = self.spend()?;
        let Self { stream, tls, seat, tally, .. } = self;
        let mut term = pace.map_or(Term::By(deadline), |pace| Term::Paced(pace, tally));
        if let Some(session) = tls {
            for piece in bytes.chunks(PIECE_BYTES) {
                session.write(piece).map_err(WireError::Tls)?;
                flush(stream, seat, session, &mut term).await?;
            }
        } else {
            bytes = say(stream, seat, bytes, &mut term).await?;
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
            let mut term = Term::By(deadline);
            if flush(&mut self.stream, &self.seat, session, &mut term).await.is_err() {
                return;
            }
        }
        if self.stream.shutdown().await.is_err() {
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

    /// Ends the connection at once: without `close_notify`, and by a reset where it is TCP.
    pub fn abort(self) {
        self.stream.reset_on_close();
    }

    /// The peer's address; a Unix socket's has none.
    pub fn peer(&self) -> Option<SocketAddr> {
        self.peer
    }

    /// Whether another exchange may use it: nothing failed, nothing ended, and nothing is left
    /// that the last exchange did not ask for.
    pub fn is_reusable(&self) -> bool {
        let quiet = self.tls.as_ref().is_none_or(|session| !session.has_input());
        self.life == Life::Open && self.ahead.is_empty() && quiet
    }

    /// Whether nothing came since the last read: neither bytes nor the peer's end, as far as the
    /// kernel knows now. Costs a turn of the loop.
    pub async fn is_quiet(&self) -> bool {
        // Asked in the first turn, answered by the second.
        let turns = async { (yield_now().await, yield_now().await) };
        let seen = race(self.stream.readable(), turns).await;
        self.is_reusable() && matches!(seen, Either::Second(_))
    }

    fn deadline(&self, limit: Duration) -> Mono {
        self.seat.now().plus(limit)
    }

    /// Marks the socket spent until its operation comes to a good end.
    fn spend(&mut self) -> Result<Life, WireError> {
        match std::mem::replace(&mut self.life, Life::Spent) {
            Life::Spent => Err(WireError::Closed),
            life @ (Life::Open | Life::Deaf | Life::Ended) => Ok(life),
        }
    }

    async fn shake(mut self, session: Session, deadline: Mono) -> Result<Self, WireError> {
        let life = self.spend()?;
        let mut session = Box::new(session);
        let (stream, seat) = (&mut self.stream, &self.seat);
        loop {
            flush(stream, seat, &mut session, &mut Term::By(deadline)).await?;
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
        if self.life == Life::Deaf {
            return Err(WireError::Closed);
        }
        let life = self.spend()?;
        let read = if self.tls.is_some() {
            self.read_tls(into, (room, raw_room), deadline, client).await?
        } else {
            let bounds = (room, deadline);
            hear_while(&mut self.stream, &self.seat, into, bounds, client)
                .await
                .inspect_err(|error| self.life = error.life())?
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
        let Self { stream, tls, seat, life, .. } = self;
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
            let heard = hear_while(stream, seat, session.input(), bounds, client).await;
            if heard.inspect_err(|error| *life = error.life())? == 0 {
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
        let patience = deadline.min(self.seat.now().plus(PATIENCE));
        if let Ok(done) = self.seat.guard(Manner::Listen, patience, operation.as_mut()).await {
            return done;
        }
        loop {
            match self.life {
                Life::Open if self.ahead.len() < AHEAD_BYTES_MAX => {}
                // Too much was sent ahead: reading it would let a client fill our memory, and
                // looking without reading would spin.
                Life::Open => return operation.await,
                Life::Deaf | Life::Ended | Life::Spent => return Err(WireError::PeerGone),
            }
            match race(operation.as_mut(), self.stream.readable()).await {
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
    (stream, seat): (&mut Stream, &Seat),
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
    stream: &mut Stream,
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
    stream: &mut Stream,
    seat: &Seat,
    into: &mut Vec<u8>,
    room: usize,
    deadline: Mono,
) -> Result<usize, WireError> {
    #[cfg(test)]
    match fault::strike(Operation::Read) {
        None => {}
        Some(Fault::Error(error)) => {
            if error != WireError::Closed {
                *into = Vec::new();
            }
            return Err(error);
        }
        Some(Fault::End | Fault::Panic) => return Ok(0),
    }
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

impl WireError {
    /// What a socket is good for after a receive that failed so.
    const fn life(self) -> Life {
        match self {
            Self::Deadline => Life::Deaf,
            Self::Closed
            | Self::Io(_)
            | Self::PeerGone
            | Self::Refused
            | Self::Stopped
            | Self::Tls(_) => Life::Spent,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{AHEAD_BYTES_MAX, Socket};
    use crate::base::clock::Clock;
    use crate::wire::dial;
    use crate::wire::error::WireError;
    use crate::wire::listen::Listener;
    use crate::wire::runtime::{self, Driver, Either};
    use crate::wire::watch::Watch;
    use std::time::Duration;

    const LIMIT: Duration = Duration::from_secs(5);
    const SHORT: Duration = Duration::from_millis(60);
    /// After this the client of a read is surely watched.
    const WATCHED: Duration = Duration::from_millis(130);

    /// Runs a test with a ticking watch on both drivers.
    fn on_both<F: Future<Output = ()>>(test: impl Fn(Watch) -> F) {
        for driver in [Driver::IoUring, Driver::Epoll] {
            let result = runtime::run(Some(driver), |given| {
                assert_eq!(given, driver);
                let watch = Watch::new(Clock::machine());
                runtime::spawn(watch.clone().keep(), || panic!("the watch must not panic"));
                test(watch)
            });
            result.unwrap();
        }
    }

    /// Two ends of one connection: the one that dialled, the one that was accepted.
    async fn pair(watch: &Watch) -> (Socket, Socket) {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let near = dial::connect(listener.local(), watch, LIMIT).await.unwrap();
        let (stream, from) = listener.accept().await.unwrap();
        let far = Socket::adopt(stream, watch).unwrap();
        assert_eq!((far.peer(), from.is_some()), (from, true));
        (near, far)
    }

    #[test]
    fn bytes_arrive_in_order_and_an_end_is_zero() {
        on_both(async |watch| {
            let (mut near, mut far) = pair(&watch).await;
            let sent = near.write(b"hello".to_vec(), LIMIT).await.unwrap();
            assert!(sent.is_empty() && sent.capacity() >= 5);
            let mut got = b"> ".to_vec();
            assert_eq!(far.read(&mut got, 2, LIMIT).await, Ok(2));
            assert_eq!(far.read(&mut got, 64, LIMIT).await, Ok(3));
            assert_eq!(got, b"> hello");
            runtime::spawn(near.shutdown(), || {});
            assert_eq!(far.idle(&mut got, LIMIT).await, Ok(0));
            assert!(!far.is_reusable());
            // The peer only ended its own side.
            far.write(b"bye".to_vec(), LIMIT).await.unwrap();
        });
    }

    #[test]
    fn a_large_write_arrives_whole() {
        on_both(async |watch| {
            let (mut near, mut far) = pair(&watch).await;
            let body: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_le_bytes()[1]).collect();
            let expected = body.clone();
            runtime::spawn(
                async move {
                    near.write(body, LIMIT).await.unwrap();
                    near.shutdown().await;
                },
                || panic!("the writer must not panic"),
            );
            let mut got = Vec::new();
            while far.read(&mut got, 64 * 1024, LIMIT).await.unwrap() > 0 {}
            assert!(got == expected);
        });
    }

    #[test]
    fn a_deadline_ends_all_reading_and_the_peer_can_still_be_told() {
        on_both(async |watch| {
            let (mut near, mut far) = pair(&watch).await;
            let before = watch.now();
            let mut got = Vec::new();
            assert_eq!(far.read(&mut got, 64, SHORT).await, Err(WireError::Deadline));
            let took = watch.now().since(before);
            assert!((SHORT..SHORT * 5).contains(&took), "{took:?}");
            assert_eq!(far.read(&mut got, 64, LIMIT).await, Err(WireError::Closed));
            assert!(!far.is_reusable());
            assert_eq!(far.write(b"late".to_vec(), LIMIT).await, Ok(Vec::new()));
            got.clear();
            assert_eq!(near.read(&mut got, 64, LIMIT).await, Ok(4));
            assert_eq!(got, b"late");
            drop(far);
            // The connection went with it.
            assert_eq!(near.read(&mut got, 64, LIMIT).await, Ok(0));
        });
    }

    #[test]
    fn a_deadline_ends_a_write_that_nobody_reads() {
        on_both(async |watch| {
            let (mut near, far) = pair(&watch).await;
            let result = near.write(vec![0; 64 << 20], SHORT).await;
            assert_eq!(result, Err(WireError::Deadline));
            drop(far);
        });
    }

    #[test]
    fn a_socket_is_quiet_until_something_comes() {
        on_both(async |watch| {
            for says in [&b"unasked"[..], b""] {
                let (mut near, far) = pair(&watch).await;
                assert!(far.is_quiet().await && far.is_quiet().await);
                if says.is_empty() {
                    drop(near);
                } else {
                    near.write(says.to_vec(), LIMIT).await.unwrap();
                }
                assert!(!far.is_quiet().await, "{says:?}");
            }
        });
    }

    #[test]
    fn a_dropped_read_spends_the_socket() {
        on_both(async |watch| {
            let (near, mut far) = pair(&watch).await;
            let mut got = Vec::new();
            let raced = runtime::race(far.read(&mut got, 64, LIMIT), runtime::yield_now()).await;
            assert_eq!(raced, Either::Second(()));
            assert_eq!(far.read(&mut got, 64, LIMIT).await, Err(WireError::Closed));
            drop(near);
        });
    }

    #[test]
    fn a_stop_ends_waiting_and_leaves_last_words() {
        on_both(async |watch| {
            let (mut near, mut far) = pair(&watch).await;
            let stopper = watch.clone();
            runtime::spawn(
                async move {
                    runtime::sleep(Duration::from_millis(5)).await;
                    stopper.stop_all();
                },
                || {},
            );
            let mut got = Vec::new();
            let before = watch.now();
            assert_eq!(far.read(&mut got, 64, LIMIT).await, Err(WireError::Stopped));
            assert!(watch.now().since(before) < Duration::from_secs(1));
            assert!(watch.is_stopped());
            near.write(b"last words".to_vec(), LIMIT).await.unwrap();
            assert_eq!(near.read(&mut got, 64, LIMIT).await, Err(WireError::Stopped));
        });
    }

    #[test]
    fn an_upstream_read_ends_when_the_client_leaves() {
        on_both(async |watch| {
            let (mut upstream, _silent) = pair(&watch).await;
            let (leaver, mut client) = pair(&watch).await;
            runtime::spawn(
                async move {
                    runtime::sleep(Duration::from_millis(5)).await;
                    drop(leaver);
                },
                || {},
            );
            let mut got = Vec::new();
            let before = watch.now();
            let read = upstream.read_while(&mut got, 64, LIMIT, &mut client).await;
            assert_eq!(read, Err(WireError::PeerGone));
            assert!(watch.now().since(before) < Duration::from_secs(1));
            assert!(!upstream.is_reusable());
            let again = upstream.read_while(&mut got, 64, LIMIT, &mut client).await;
            assert_eq!(again, Err(WireError::Closed));
        });
    }

    #[test]
    fn what_a_client_sends_ahead_is_kept_and_upstream_loses_nothing() {
        on_both(async |watch| {
            let (mut upstream, origin) = pair(&watch).await;
            let (caller, mut client) = pair(&watch).await;
            let talk = talk(caller, origin);
            runtime::spawn(talk, || panic!("the peers must not panic"));
            let mut got = Vec::new();
            while got.len() < 11 {
                upstream.read_while(&mut got, 64, LIMIT, &mut client).await.unwrap();
            }
            assert_eq!(got, b"onetwothree");
            assert!(!client.is_reusable());
            let mut ahead = Vec::new();
            assert_eq!(client.read(&mut ahead, 4, LIMIT).await, Ok(4));
            assert_eq!(client.idle(&mut ahead, LIMIT).await, Ok(7));
            assert_eq!(ahead, b"onetwothree");
        });
    }

    /// Says three words on both connections in turn, then keeps them open.
    async fn talk(mut caller: Socket, mut origin: Socket) {
        for part in [&b"one"[..], b"two", b"three"] {
            caller.write(part.to_vec(), LIMIT).await.unwrap();
            runtime::sleep(WATCHED).await;
            origin.write(part.to_vec(), LIMIT).await.unwrap();
        }
        runtime::sleep(LIMIT).await;
        drop((caller, origin));
    }

    #[test]
    fn a_client_that_sends_too_much_ahead_is_held_back() {
        on_both(async |watch| {
            let (mut upstream, mut origin) = pair(&watch).await;
            let (mut caller, mut client) = pair(&watch).await;
            runtime::spawn(
                async move {
                    caller.write(vec![b'x'; 4 * AHEAD_BYTES_MAX], LIMIT).await.unwrap();
                    runtime::sleep(WATCHED).await;
                    origin.write(b"answer".to_vec(), LIMIT).await.unwrap();
                    runtime::sleep(LIMIT).await;
                    drop((caller, origin));
                },
                || panic!("the peers must not panic"),
            );
            let mut got = Vec::new();
            let read = upstream.read_while(&mut got, 64, LIMIT, &mut client).await;
            assert_eq!(read, Ok(6));
            assert_eq!(client.ahead.len(), AHEAD_BYTES_MAX);
            let mut all = Vec::new();
            while all.len() < 4 * AHEAD_BYTES_MAX {
                client.read(&mut all, 64 * 1024, LIMIT).await.unwrap();
            }
            assert!(all.iter().all(|byte| *byte == b'x'));
        });
    }

    #[test]
    fn nobody_listening_is_refused() {
        on_both(async |watch| {
            let address = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap().local();
            let result = dial::connect(address, &watch, LIMIT).await;
            assert_eq!(result.map(drop), Err(WireError::Refused));
        });
    }

    /// Sends back whatever comes.
    async fn echo(mut socket: Socket) {
        let mut got = Vec::new();
        while let Ok(1..) = socket.read(&mut got, 4096, LIMIT).await {
            match socket.write(std::mem::take(&mut got), LIMIT).await {
                Ok(spare) => got = spare,
                Err(_) => return,
            }
        }
    }

    /// Rounds of an echo whose bytes only this task sends, then a read that is given up.
    async fn rounds(watch: Watch, mark: u8) {
        let (mut near, far) = pair(&watch).await;
        runtime::spawn(echo(far), || {});
        for round in 1..20 {
            let size = usize::from(mark) * 7 * round;
            near.write(vec![mark; size], LIMIT).await.unwrap();
            let mut got = Vec::new();
            while got.len() < size {
                near.read(&mut got, 1000, LIMIT).await.unwrap();
            }
            assert_eq!(got, vec![mark; size]);
        }
        let given_up = near.read(&mut Vec::new(), 64, Duration::from_millis(1)).await;
        assert_eq!(given_up, Err(WireError::Deadline));
    }

    #[test]
    fn many_connections_keep_their_bytes_apart_and_give_their_places_back() {
        on_both(async |watch| {
            let start = |mark| monoio::spawn(rounds(watch.clone(), mark));
            let tasks: Vec<_> = (1..40).chain(1..40).map(start).collect();
            for task in tasks {
                task.await;
            }
            let tasks: Vec<_> = (1..40).chain(1..40).map(start).collect();
            for task in tasks {
                task.await;
            }
            // 78 pairs live at once; those of the first half may still have their tails.
            assert!(watch.places() <= 2 * 2 * 78, "{}", watch.places());
        });
    }
}
