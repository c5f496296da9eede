//! One connection of a demo server: a whole request in, an answer or a stream of events out.
//!
//! Everything is bounded, and a request that breaks a bound or the grammar is answered and ends the
//! connection.

use crate::base::numbers::to_u64;
use crate::http::body::BodyDecoder;
use crate::http::encode;
use crate::http::head::{BodyLength, HeadBounds, HeadFault, Parsed};
use crate::http::request::{RequestHead, parse_request};
use crate::wire::error::WireError;
use crate::wire::socket::Socket;
use http::StatusCode;
use std::time::Duration;

const HEAD: HeadBounds = HeadBounds { bytes: 32 * 1024, count: 100 };
/// Bytes of a request body.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Bytes of one read.
const READ_BYTES: usize = 16 * 1024;
/// Events are gathered up to so many bytes before they are sent.
const GATHER_BYTES: usize = 16 * 1024;
/// Between two requests, and for each read or write within one.
const WAIT: Duration = Duration::from_mins(2);

/// A header field of an answer.
pub type Field<'a> = (&'a str, &'a [u8]);

/// A client's connection.
#[derive(Debug)]
pub struct Connection {
    socket: Socket,
    /// Read, and not yet used.
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    keep_alive: bool,
}

/// A request that was read whole.
#[derive(Debug)]
pub struct Request {
    /// Its head.
    pub head: RequestHead,
    /// Its body, unchunked.
    pub body: Vec<u8>,
}

impl Connection {
    /// Takes a connection over.
    pub fn new(socket: Socket) -> Self {
        Self { socket, inbox: Vec::new(), outbox: Vec::new(), keep_alive: true }
    }

    /// The next request; `None` when there will be none.
    pub async fn request(&mut self) -> Result<Option<Request>, WireError> {
        if !self.keep_alive {
            return Ok(None);
        }
        if self.inbox.is_empty() && self.socket.idle(&mut self.inbox, WAIT).await? == 0 {
            return Ok(None);
        }
        let head = match self.next_head().await? {
            Some(Ok(head)) => head,
            Some(Err(fault)) => return self.turn_away(fault.status()).await,
            None => return Ok(None),
        };
        self.keep_alive = head.keep_alive;
        if head.expects_continue {
            self.outbox.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
            self.flush().await?;
        }
        self.body(head).await
    }

    /// The next head, sound or not; `None` when the client ended before it was whole.
    async fn next_head(&mut self) -> Result<Option<Result<RequestHead, HeadFault>>, WireError> {
        loop {
            match parse_request(&self.inbox, &HEAD) {
                Ok(Parsed::Complete { head, length }) => {
                    self.inbox.drain(..length);
                    return Ok(Some(Ok(head)));
                }
                Ok(Parsed::Partial) if self.read().await? == 0 => return Ok(None),
                Ok(Parsed::Partial) => {}
                Err(fault) => return Ok(Some(Err(fault))),
            }
        }
    }

    async fn body(&mut self, head: RequestHead) -> Result<Option<Request>, WireError> {
        let mut decoder = BodyDecoder::new(head.body);
        let mut body = Vec::new();
        loop {
            let Ok(progress) = decoder.decode(&self.inbox, &mut body) else {
                return self.turn_away(StatusCode::BAD_REQUEST).await;
            };
            self.inbox.drain(..progress.consumed);
            if progress.done || decoder.is_done() {
                return Ok(Some(Request { head, body }));
            }
            if body.len() > BODY_BYTES_MAX {
                return self.turn_away(StatusCode::PAYLOAD_TOO_LARGE).await;
            }
            if self.read().await? == 0 {
                return Ok(None);
            }
        }
    }

    async fn read(&mut self) -> Result<usize, WireError> {
        self.socket.read(&mut self.inbox, READ_BYTES, WAIT).await
    }

    /// Refuses what cannot be understood, and ends.
    async fn turn_away(&mut self, status: StatusCode) -> Result<Option<Request>, WireError> {
        self.keep_alive = false;
        self.answer(status, &[], b"").await?;
        Ok(None)
    }

    /// Sends a whole answer.
    pub async fn answer(
        &mut self,
        status: StatusCode,
        fields: &[Field<'_>],
        body: &[u8],
    ) -> Result<(), WireError> {
        let length =
            if body.is_empty() { BodyLength::Empty } else { BodyLength::Exact(to_u64(body.len())) };
        self.head(status, fields, length)?;
        self.outbox.extend_from_slice(body);
        self.flush().await
    }

    /// Begins a stream of events; its head leaves with the first of them.
    pub fn begin_stream(&mut self, fields: &[Field<'_>]) -> Result<(), WireError> {
        self.head(StatusCode::OK, fields, BodyLength::Chunked)
    }

    /// Adds to the stream; sent once enough is gathered, see [`Connection::flush`].
    pub async fn stream(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        encode::chunk(&mut self.outbox, bytes);
        if self.outbox.len() >= GATHER_BYTES { self.flush().await } else { Ok(()) }
    }

    /// Ends the stream.
    pub async fn end_stream(&mut self) -> Result<(), WireError> {
        encode::last_chunk(&mut self.outbox);
        self.flush().await
    }

    /// Sends what is gathered.
    pub async fn flush(&mut self) -> Result<(), WireError> {
        if !self.outbox.is_empty() {
            self.outbox = self.socket.write(std::mem::take(&mut self.outbox), WAIT).await?;
        }
        Ok(())
    }

    /// Ends our side once all is said.
    pub async fn close(self) {
        self.socket.shutdown().await;
    }

    fn head(
        &mut self,
        status: StatusCode,
        fields: &[Field<'_>],
        length: BodyLength,
    ) -> Result<(), WireError> {
        let fields = fields.iter().copied();
        encode::response_head(&mut self.outbox, status, fields, length, self.keep_alive)
            // Our own fields only: a fault in one is a fault of ours.
            .map_err(|_fault| WireError::Io(std::io::ErrorKind::InvalidData))
    }
}
