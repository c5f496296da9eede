//! One connection to the server under load: a request out, its answer in.

use crate::mistake::Mistake;
use http::{Method, StatusCode};
use ringwall::http::body::BodyDecoder;
use ringwall::http::head::{HeadBounds, Parsed};
use ringwall::http::response::{ResponseHead, parse_response};
use ringwall::wire::dial;
use ringwall::wire::socket::Socket;
use ringwall::wire::watch::Watch;
use std::net::SocketAddr;
use std::time::Duration;

const HEAD: HeadBounds = HeadBounds { bytes: 32 * 1024, count: 100 };
/// Bytes of one answer; no prompt asks for more.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of one read.
const READ_BYTES: usize = 16 * 1024;
/// For the connection, and for each read and write.
const WAIT: Duration = Duration::from_secs(30);

/// A connection.
#[derive(Debug)]
pub struct Line {
    socket: Socket,
    /// Read, and not yet used.
    inbox: Vec<u8>,
    /// The session that was opened on it, and the revision it speaks.
    pub session: Option<Session>,
    /// The buffer of the next request.
    pub outbox: Vec<u8>,
    is_ready: bool,
}

/// An MCP session.
#[derive(Clone, Debug)]
pub struct Session {
    /// What the server calls it.
    pub id: String,
    /// The revision that was agreed on.
    pub revision: String,
}

impl Line {
    /// Connects.
    pub async fn open(address: SocketAddr, watch: &Watch) -> Result<Self, Mistake> {
        let socket = dial::connect(address, watch, WAIT).await?;
        let (inbox, outbox) = (Vec::new(), Vec::new());
        Ok(Self { socket, inbox, session: None, outbox, is_ready: true })
    }

    /// Whether another request may be sent on it.
    pub fn is_ready(&self) -> bool {
        self.is_ready && self.socket.is_reusable()
    }

    /// Sends what is in the outbox, and reads the head of the answer.
    pub async fn ask(&mut self) -> Result<ResponseHead, Mistake> {
        self.is_ready = false;
        let request = std::mem::take(&mut self.outbox);
        self.outbox = self.socket.write(request, WAIT).await?;
        loop {
            let parsed = parse_response(&self.inbox, &HEAD, &Method::POST);
            match parsed.map_err(|_fault| Mistake::Head)? {
                Parsed::Complete { head, length } => {
                    self.inbox.drain(..length);
                    // An interim head: another one follows (RFC 9110 §15.2).
                    if !head.status.is_informational() {
                        return Ok(head);
                    }
                }
                Parsed::Partial => {
                    if self.read().await? == 0 {
                        return Err(Mistake::Closed);
                    }
                }
            }
        }
    }

    /// Hands the body out as it comes, without its framing.
    pub async fn body(
        &mut self,
        head: &ResponseHead,
        mut take: impl FnMut(&[u8]) -> Result<(), Mistake>,
    ) -> Result<(), Mistake> {
        let mut decoder = BodyDecoder::new(head.body);
        let mut piece = Vec::new();
        let mut bytes = 0;
        loop {
            let progress =
                decoder.decode(&self.inbox, &mut piece).map_err(|_fault| Mistake::Framing)?;
            self.inbox.drain(..progress.consumed);
            bytes += piece.len();
            if bytes > BODY_BYTES_MAX {
                return Err(Mistake::TooLong);
            }
            if !piece.is_empty() {
                take(&piece)?;
                piece.clear();
            }
            if progress.done || decoder.is_done() {
                break;
            }
            if self.read().await? == 0 {
                if decoder.ended_by_close() {
                    return Ok(());
                }
                return Err(Mistake::Closed);
            }
        }
        if !self.inbox.is_empty() {
            return Err(Mistake::Surplus);
        }
        self.is_ready = head.keep_alive;
        Ok(())
    }

    /// Reads the body to its end; `Status` unless the answer is of that status.
    pub async fn whole(
        &mut self,
        head: &ResponseHead,
        wanted: StatusCode,
    ) -> Result<Vec<u8>, Mistake> {
        let mut whole = Vec::new();
        let append = |piece: &[u8]| {
            whole.extend_from_slice(piece);
            Ok(())
        };
        self.body(head, append).await?;
        if head.status != wanted {
            return Err(Mistake::Status(head.status.as_u16()));
        }
        Ok(whole)
    }

    async fn read(&mut self) -> Result<usize, Mistake> {
        Ok(self.socket.read(&mut self.inbox, READ_BYTES, WAIT).await?)
    }
}
