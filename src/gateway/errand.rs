//! Errands: a request of our own to a target of the plan, such as a question to an outside judge.
//! Question and answer are held whole. Nothing that a client sent to an upstream goes this way.

use crate::base::clock::Mono;
use crate::base::numbers::to_u64;
use crate::config::model::Target;
use crate::gateway::shard::{Deployed, Shard};
use crate::gateway::upstream::{host_of, open};
use crate::http::body::BodyDecoder;
use crate::http::encode::request_head;
use crate::http::head::{BodyLength, HeadBounds, Parsed};
use crate::http::response::{ResponseHead, parse_response};
use crate::wire::error::WireError;
use crate::wire::socket::Socket;
use http::{Method, StatusCode};
use std::rc::Rc;
use std::time::Duration;

/// What one read of an answer asks for.
const READ_BYTES: usize = 16 * 1024;
/// An answer's head is held to this.
const HEAD: HeadBounds = HeadBounds { bytes: 16 * 1024, count: 100 };
/// How we name ourselves.
const USER_AGENT: &[u8] = concat!("ringwall/", env!("CARGO_PKG_VERSION")).as_bytes();

/// What is asked of whom. JSON, by `POST`.
#[derive(Clone, Copy, Debug)]
pub struct Errand<'a> {
    /// Index of the target.
    pub target: usize,
    /// Where, below the target's own path.
    pub path: &'a str,
    /// The body.
    pub body: &'a [u8],
    /// How long all of it may take.
    pub limit: Duration,
    /// The largest answer that is read.
    pub answer_bytes: usize,
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Vec<u8>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrandFault {
    /// It broke the connection, or its answer is none.
    Broken,
    /// The worker ends.
    Stopped,
    /// Out of time.
    Slow,
    /// Not to be reached.
    Unreachable,
}

/// A header field.
type Line<'a> = (&'a str, &'a [u8]);

/// One run of an errand.
struct Run<'a> {
    shard: &'a Rc<Shard>,
    deployed: &'a Rc<Deployed>,
    errand: &'a Errand<'a>,
    entry: &'a Target,
    began: Mono,
}

/// Asks, over a connection that was kept alive if there is one; once more over a new one where
/// that is dead.
pub async fn run(
    shard: &Rc<Shard>,
    deployed: &Rc<Deployed>,
    errand: &Errand<'_>,
) -> Result<Answer, ErrandFault> {
    let plan = &deployed.plan;
    let entry = plan.config.targets.get(errand.target).ok_or(ErrandFault::Unreachable)?;
    let run = Run { shard, deployed, errand, entry, began: shard.clock.mono() };
    let kept = deployed.pool.borrow_mut().take(errand.target, run.began);
    if let Some(socket) = kept {
        match run.ask(socket).await {
            Err(ErrandFault::Broken) => {}
            other => return other,
        }
    }
    let opened = open(shard, deployed, (errand.target, entry), run.left()).await;
    let socket = opened.map_err(|kind| match kind {
        None => ErrandFault::Stopped,
        Some(_) => ErrandFault::Unreachable,
    })?;
    run.ask(socket).await
}

impl Run<'_> {
    async fn ask(&self, mut socket: Socket) -> Result<Answer, ErrandFault> {
        let question = self.question().ok_or(ErrandFault::Broken)?;
        socket.write(question, self.left()).await.map_err(fault)?;
        let mut ahead = Vec::new();
        let head = self.head(&mut socket, &mut ahead).await?;
        let mut decoder = BodyDecoder::new(head.body);
        let mut body = Vec::new();
        loop {
            let progress =
                decoder.decode(&ahead, &mut body).map_err(|_unframed| ErrandFault::Broken)?;
            ahead.drain(..progress.consumed);
            if body.len() > self.errand.answer_bytes {
                return Err(ErrandFault::Broken);
            }
            if progress.done {
                break;
            }
            match socket.read(&mut ahead, READ_BYTES, self.left()).await.map_err(fault)? {
                0 if decoder.ended_by_close() => break,
                0 => return Err(ErrandFault::Broken),
                _ => {}
            }
        }
        if decoder.is_done() && ahead.is_empty() && head.keep_alive {
            let now = self.shard.clock.mono();
            self.deployed.pool.borrow_mut().put(self.errand.target, socket, now);
        }
        Ok(Answer { status: head.status, body })
    }

    async fn head(
        &self,
        socket: &mut Socket,
        ahead: &mut Vec<u8>,
    ) -> Result<ResponseHead, ErrandFault> {
        loop {
            let parsed = parse_response(ahead, &HEAD, &Method::POST);
            match parsed.map_err(|_unreadable| ErrandFault::Broken)? {
                Parsed::Complete { head, length } => {
                    ahead.drain(..length);
                    if !head.status.is_informational() {
                        return Ok(head);
                    }
                }
                Parsed::Partial => {
                    if socket.read(ahead, READ_BYTES, self.left()).await.map_err(fault)? == 0 {
                        return Err(ErrandFault::Broken);
                    }
                }
            }
        }
    }

    fn question(&self) -> Option<Vec<u8>> {
        let path = format!("{}{}", self.entry.path, self.errand.path);
        let path = if path.is_empty() { "/" } else { &path };
        let ours: [Line<'_>; 4] = [
            ("content-type", b"application/json"),
            ("accept", b"application/json"),
            ("accept-encoding", b"identity"),
            ("user-agent", USER_AGENT),
        ];
        let credential = self.entry.credential.iter();
        let credential = credential.map(|own| (own.header.as_str(), own.value.expose()));
        let length = BodyLength::Exact(to_u64(self.errand.body.len()));
        let mut out = Vec::with_capacity(512 + self.errand.body.len());
        let fields = ours.into_iter().chain(credential);
        request_head(&mut out, &Method::POST, path, &host_of(self.entry), fields, length).ok()?;
        out.extend_from_slice(self.errand.body);
        Some(out)
    }

    fn left(&self) -> Duration {
        self.errand.limit.saturating_sub(self.shard.clock.mono().since(self.began))
    }
}

const fn fault(error: WireError) -> ErrandFault {
    match error {
        WireError::Deadline => ErrandFault::Slow,
        WireError::Stopped => ErrandFault::Stopped,
        WireError::Refused
        | WireError::PeerGone
        | WireError::Closed
        | WireError::Io(_)
        | WireError::Tls(_) => ErrandFault::Broken,
    }
}
