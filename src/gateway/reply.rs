//! An upstream's answer: its body, read on piece by piece or whole, without framing and codings.

use crate::config::model::Encodings;
use crate::gateway::client::Client;
use crate::gateway::exchange::Exchange;
use crate::gateway::refusal::{Refusal, UpstreamFault, UpstreamFaultKind};
use crate::http::body::BodyDecoder;
use crate::http::coding::{self, CodingFault, Decoder};
use crate::http::head::BodyLength;
use crate::http::response::ResponseHead;
use crate::wire::error::WireError;
use crate::wire::socket::Socket;
use std::sync::Arc;
use std::time::Duration;

/// What one read of an answer asks for.
pub(super) const READ_BYTES: usize = 16 * 1024;
/// What one read gives of an answer with a content coding: a bomb must not fill memory in one.
const DECODED_BYTES: usize = 64 * 1024;
/// Where an answer to be held whole says how long it is, this much is reserved at once.
const RESERVE_BYTES_MAX: usize = 1024 * 1024;

/// An upstream's answer, of which the head was read.
#[derive(Debug)]
pub struct Reply {
    /// The head.
    pub head: ResponseHead,
    target: usize,
    name: Arc<str>,
    socket: Socket,
    ahead: Vec<u8>,
    decoder: BodyDecoder,
    /// Takes content codings off.
    coding: Option<Box<Decoder>>,
    /// The body came to its end on the wire.
    is_over: bool,
}

impl Reply {
    /// An answer of that target, of which `ahead` was read with its head.
    pub(super) fn begin(
        head: ResponseHead,
        (target, name): (usize, &Arc<str>),
        socket: Socket,
        ahead: Vec<u8>,
    ) -> Self {
        let decoder = BodyDecoder::new(head.body);
        let name = Arc::clone(name);
        Self { head, target, name, socket, ahead, decoder, coding: None, is_over: false }
    }

    /// Whether reading on waits for nothing: some of the body is here, or all of it is read.
    pub fn is_ready(&self) -> bool {
        !self.ahead.is_empty() || self.decoder.is_done()
    }

    /// From now on content codings are taken off what is read, or are a fault of the upstream's:
    /// it was asked for none.
    pub fn uncode(&mut self, encodings: Encodings) -> Result<(), Refusal> {
        if matches!(self.head.body, BodyLength::Empty | BodyLength::Exact(0)) {
            return Ok(());
        }
        let unreadable = |_fault| self.refuse(UpstreamFaultKind::Unreadable);
        let codings = coding::listed(&self.head.fields).map_err(unreadable)?;
        if codings.is_empty() {
            return Ok(());
        }
        if encodings == Encodings::Refuse {
            return Err(self.refuse(UpstreamFaultKind::Unreadable));
        }
        self.coding = Some(Box::new(Decoder::new(&codings).map_err(unreadable)?));
        Ok(())
    }

    /// Reads on, appending decoded bytes to `out`. True once the body is complete.
    pub async fn read(
        &mut self,
        out: &mut Vec<u8>,
        client: &mut Client,
        limit: Duration,
    ) -> Result<bool, Refusal> {
        let Some(mut coding) = self.coding.take() else {
            return self.read_plain(out, client, limit).await;
        };
        let blame = |fault| match fault {
            CodingFault::Ratio => UpstreamFaultKind::TooLarge,
            CodingFault::Broken
            | CodingFault::Stacked
            | CodingFault::TooLarge
            | CodingFault::Trailing
            | CodingFault::Truncated
            | CodingFault::Unknown => UpstreamFaultKind::Unreadable,
        };
        let mut raw = Vec::new();
        let is_done = loop {
            let pulled = coding.pull(out, DECODED_BYTES);
            if pulled.map_err(|fault| self.refuse(blame(fault)))? > 0 {
                break false;
            }
            if self.is_over {
                coding.finish().map_err(|fault| self.refuse(blame(fault)))?;
                break true;
            }
            raw.clear();
            self.is_over = self.read_plain(&mut raw, client, limit).await?;
            coding.push(&raw);
        };
        self.coding = Some(coding);
        Ok(is_done)
    }

    async fn read_plain(
        &mut self,
        out: &mut Vec<u8>,
        client: &mut Client,
        limit: Duration,
    ) -> Result<bool, Refusal> {
        if self.ahead.is_empty() && !self.decoder.is_done() {
            let got = self.socket.read_while(&mut self.ahead, READ_BYTES, limit, client.socket());
            match got.await {
                Ok(0) if self.decoder.ended_by_close() => return Ok(true),
                Ok(0) => return Err(self.refuse(UpstreamFaultKind::Broken)),
                Ok(_) => {}
                Err(error) => return Err(upstream_refusal(error, &self.name)),
            }
        }
        let progress = self
            .decoder
            .decode(&self.ahead, out)
            .map_err(|_fault| self.refuse(UpstreamFaultKind::Unreadable))?;
        self.ahead.drain(..progress.consumed);
        Ok(progress.done)
    }

    /// Reads the whole body, of at most `most` bytes.
    pub async fn whole(
        &mut self,
        most: usize,
        client: &mut Client,
        limit: Duration,
    ) -> Result<Vec<u8>, Refusal> {
        let mut body = Vec::new();
        if let BodyLength::Exact(length) = self.head.body {
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            body.reserve(length.min(RESERVE_BYTES_MAX));
        }
        loop {
            let done = self.read(&mut body, client, limit).await?;
            if body.len() > most {
                return Err(self.refuse(UpstreamFaultKind::TooLarge));
            }
            if done {
                return Ok(body);
            }
        }
    }

    /// A fault of this upstream.
    pub fn refuse(&self, kind: UpstreamFaultKind) -> Refusal {
        Refusal::Upstream(fault(&self.name, kind))
    }

    /// Keeps the connection for the next request where nothing speaks against it: the answer was
    /// read whole, nothing follows it, and the upstream keeps it open.
    pub fn give_back(self, exchange: &Exchange) {
        if self.decoder.is_done() && self.ahead.is_empty() && self.head.keep_alive {
            let now = exchange.shard.clock.mono();
            exchange.deployed.pool.borrow_mut().put(self.target, self.socket, now);
        }
    }
}

/// What an error of an upstream's connection means for the exchange.
pub(super) fn upstream_refusal(error: WireError, name: &Arc<str>) -> Refusal {
    let kind = match error {
        WireError::PeerGone => return Refusal::ClientGone,
        WireError::Stopped => return Refusal::Stopped,
        WireError::Deadline => UpstreamFaultKind::Slow,
        WireError::Tls(_) => UpstreamFaultKind::Tls,
        WireError::Refused => UpstreamFaultKind::Connect,
        WireError::Closed | WireError::Io(_) => UpstreamFaultKind::Broken,
    };
    Refusal::Upstream(fault(name, kind))
}

/// A fault of the upstream of that name.
pub(super) fn fault(name: &str, kind: UpstreamFaultKind) -> UpstreamFault {
    UpstreamFault { target: Arc::from(name), kind }
}
