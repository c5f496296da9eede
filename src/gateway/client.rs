//! The client's side of a connection: heads, bodies and answers, one exchange after the other.

use crate::base::clock::{Clock, Mono};
use crate::base::numbers::to_u64;
use crate::config::model::{Bounds, Deadlines};
use crate::gateway::refusal::Refusal;
use crate::http::body::BodyDecoder;
use crate::http::head::{BodyLength, HeadBounds, HeadFault, Parsed};
use crate::http::request::{RequestHead, parse_request};
use crate::wire::error::WireError;
use crate::wire::socket::Socket;
use crate::wire::speak::Pace;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What one read of a head or a chunked body asks for.
const READ_BYTES: usize = 8 * 1024;
/// Reads of a body whose length is known ask for what is left of it, up to this.
const BODY_READ_BYTES: usize = 256 * 1024;
/// The interim answer to `Expect: 100-continue` (RFC 9110 §10.1.1).
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// One client connection.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    /// What was read and not yet understood: the next head, or the beginning of a body.
    ahead: Vec<u8>,
    origin: Origin,
    listener: usize,
    clock: Clock,
    slowest: Slowest,
}

/// How slow a client may be, by the plan of its last request.
#[derive(Clone, Copy, Debug, Default)]
struct Slowest {
    /// Bytes a second of what waits for it.
    write_rate: u64,
    /// Bytes a second of a body, once the grace is over.
    body_rate: u64,
    body_grace: Duration,
}

/// A body on its way: when it began and how long it may take.
#[derive(Clone, Copy)]
struct Term {
    began: Mono,
    limit: Duration,
}

/// Where a connection comes from, and what it proved by its TLS.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The client's address, as records say it: that of a PROXY header where the listener believes
    /// in one, `unix` for the peer of a Unix socket.
    pub address: Arc<str>,
    /// The names in its verified certificate.
    pub names: Arc<[Box<str>]>,
}

/// What a connection says next.
#[derive(Debug)]
pub enum Next {
    /// Nothing: it closed, or stayed idle for too long.
    Nothing,
    /// Something that is refused; the connection closes after the answer.
    Refused(Refusal),
    /// A request.
    Request(Box<RequestHead>),
}

impl Client {
    /// A connection that was just accepted (and, where so configured, has its TLS).
    pub fn new(socket: Socket, peer: Option<SocketAddr>, clock: Clock) -> Self {
        let address = peer.map_or_else(|| Arc::from("unix"), |peer| peer.to_string().into());
        let origin = Origin { address, names: socket.peer_names().into() };
        let slowest = Slowest::default();
        Self { socket, ahead: Vec::new(), origin, listener: 0, clock, slowest }
    }

    /// The same, known to have come through that listener of the configuration.
    #[must_use]
    pub fn through(self, listener: usize) -> Self {
        Self { listener, ..self }
    }

    /// Which listener of the configuration took it.
    pub fn listener(&self) -> usize {
        self.listener
    }

    /// Who connected.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The connection itself, to be watched while an upstream is waited for.
    pub fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }

    /// Waits for the first byte of a request, holding next to no memory. False: none comes.
    pub async fn wait(&mut self, idle: Duration) -> bool {
        if !self.ahead.is_empty() {
            return true;
        }
        self.ahead = Vec::new();
        matches!(self.socket.idle(&mut self.ahead, idle).await, Ok(1..))
    }

    /// Reads the head whose first byte is there.
    pub async fn next(&mut self, bounds: &Bounds, deadlines: &Deadlines) -> Next {
        let limits = HeadBounds { bytes: bounds.head_bytes, count: bounds.header_count };
        let began = self.clock.mono();
        self.slowest = Slowest {
            write_rate: bounds.write_rate,
            body_rate: bounds.body_rate,
            body_grace: deadlines.body_grace,
        };
        loop {
            match parse_request(&self.ahead, &limits) {
                Err(fault) => return Next::Refused(Refusal::Head(fault)),
                Ok(Parsed::Complete { head, .. }) if target_bytes(&head) > bounds.uri_bytes => {
                    return Next::Refused(Refusal::Head(HeadFault::TargetTooLong));
                }
                Ok(Parsed::Complete { head, length }) => {
                    self.ahead.drain(..length);
                    return Next::Request(Box::new(head));
                }
                Ok(Parsed::Partial) => {}
            }
            let left = deadlines.head.saturating_sub(self.clock.mono().since(began));
            match self.socket.read(&mut self.ahead, READ_BYTES, left).await {
                Ok(0) => return Next::Nothing,
                Ok(_) => {}
                Err(WireError::Deadline) => return Next::Refused(Refusal::HeadSlow),
                Err(_) => return Next::Nothing,
            }
        }
    }

    /// Reads the request's body, whole and bounded.
    pub async fn body(
        &mut self,
        head: &RequestHead,
        most: usize,
        limit: Duration,
    ) -> Result<Vec<u8>, Refusal> {
        let known = match head.body {
            BodyLength::Empty => return Ok(Vec::new()),
            BodyLength::Exact(length) if length > to_u64(most) => {
                return Err(Refusal::BodyTooLarge(most));
            }
            BodyLength::Exact(length) => usize::try_from(length).ok(),
            BodyLength::Chunked | BodyLength::UntilClose => None,
        };
        if head.expects_continue && self.ahead.is_empty() {
            self.send(CONTINUE.to_vec(), limit).await?;
        }
        let term = Term { began: self.clock.mono(), limit };
        match known {
            Some(length) => self.exact_body(length, term).await,
            None => self.framed_body(head.body, most, term).await,
        }
    }

    /// Sends bytes for as long as the client takes them fast enough, reckoned over `window`; gives
    /// the buffer back, empty.
    pub async fn send(&mut self, bytes: Vec<u8>, window: Duration) -> Result<Vec<u8>, Refusal> {
        let pace = Pace { rate: self.slowest.write_rate, window };
        self.socket.write_paced(bytes, pace).await.map_err(client_refusal)
    }

    /// Ends the connection in an orderly way.
    pub async fn close(self) {
        self.socket.shutdown().await;
    }

    /// Ends the connection so that nobody takes it for an orderly end.
    pub fn abort(self) {
        self.socket.abort();
    }

    async fn exact_body(&mut self, length: usize, term: Term) -> Result<Vec<u8>, Refusal> {
        if self.ahead.len() >= length {
            let rest = self.ahead.split_off(length);
            return Ok(std::mem::replace(&mut self.ahead, rest));
        }
        let mut body = std::mem::take(&mut self.ahead);
        while body.len() < length {
            let room = (length - body.len()).min(BODY_READ_BYTES);
            let left = self.left(term, body.len());
            match self.socket.read(&mut body, room, left).await {
                Ok(0) => return Err(Refusal::ClientGone),
                Ok(_) => {}
                Err(error) => return Err(body_refusal(error)),
            }
        }
        Ok(body)
    }

    async fn framed_body(
        &mut self,
        length: BodyLength,
        most: usize,
        term: Term,
    ) -> Result<Vec<u8>, Refusal> {
        let mut decoder = BodyDecoder::new(length);
        let mut body = Vec::new();
        loop {
            let progress =
                decoder.decode(&self.ahead, &mut body).map_err(|_fault| Refusal::BodyUnframed)?;
            self.ahead.drain(..progress.consumed);
            if body.len() > most {
                return Err(Refusal::BodyTooLarge(most));
            }
            if progress.done {
                return Ok(body);
            }
            let left = self.left(term, body.len());
            match self.socket.read(&mut self.ahead, READ_BYTES, left).await {
                Ok(0) => return Err(Refusal::ClientGone),
                Ok(_) => {}
                Err(error) => return Err(body_refusal(error)),
            }
        }
    }

    /// How long the next bytes of a body may take: what came so far has bought time.
    fn left(&self, term: Term, received: usize) -> Duration {
        let spent = self.clock.mono().since(term.began);
        self.slowest.patience(received).min(term.limit).saturating_sub(spent)
    }
}

impl Slowest {
    /// How long a body may take of which so much has come.
    fn patience(self, received: usize) -> Duration {
        match to_u64(received).saturating_mul(1000).checked_div(self.body_rate) {
            Some(millis) => self.body_grace.saturating_add(Duration::from_millis(millis)),
            None => Duration::MAX,
        }
    }
}

fn target_bytes(head: &RequestHead) -> usize {
    head.path.len() + head.query.as_ref().map_or(0, |query| query.len() + 1)
}

/// What an error of the client's connection means for the exchange.
pub fn client_refusal(error: WireError) -> Refusal {
    if matches!(error, WireError::Stopped) { Refusal::Stopped } else { Refusal::ClientGone }
}

fn body_refusal(error: WireError) -> Refusal {
    if matches!(error, WireError::Deadline) { Refusal::BodySlow } else { client_refusal(error) }
}

#[cfg(test)]
mod tests {
    use super::Slowest;
    use std::time::Duration;

    #[test]
    fn each_byte_of_a_body_buys_time_beyond_the_grace() {
        let grace = Duration::from_secs(10);
        let slowest = Slowest { write_rate: 0, body_rate: 1000, body_grace: grace };
        assert_eq!(slowest.patience(0), grace);
        assert_eq!(slowest.patience(2500), grace + Duration::from_millis(2500));
        let any = Slowest { body_rate: 0, ..slowest };
        assert_eq!(any.patience(0), Duration::MAX);
    }
}
