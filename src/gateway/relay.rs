//! Gate *relay*: the way back. Answers that are held whole are masked whole; event streams are
//! masked as they pass, one read at a time: the upstream is read again only when the client has
//! taken what was written, so nothing piles up in between.

use crate::base::hit::Direction;
use crate::base::judge::Event;
use crate::base::numbers::to_u64;
use crate::gateway::answer::{self, Field};
use crate::gateway::client::Client;
use crate::gateway::exchange::Exchange;
use crate::gateway::judge;
use crate::gateway::refusal::{Refusal, UpstreamFaultKind};
use crate::gateway::reply::Reply;
use crate::gateway::said::Said;
use crate::gateway::shard::Shard;
use crate::http::encode::{chunk, last_chunk};
use crate::http::head::BodyLength;
use crate::http::sse::{SseDecoder, SseEvent};
use http::StatusCode;
use std::rc::Rc;

/// What a protocol does with an upstream's answer.
pub trait Dialect {
    /// Rewrites an answer that was held whole.
    fn whole(&mut self, exchange: &mut Exchange, raw: Vec<u8>) -> Result<Vec<u8>, Refusal>;

    /// Rewrites one event of a stream into `out`. True when the stream is over.
    fn event(
        &mut self,
        exchange: &mut Exchange,
        event: SseEvent,
        out: &mut Vec<u8>,
    ) -> Result<bool, Refusal>;

    /// The upstream's stream ended: what was held back is written.
    fn end(&mut self, exchange: &mut Exchange, out: &mut Vec<u8>) -> Result<(), Refusal>;

    /// A refusal ends the stream: it ends well-formed.
    fn cut(&mut self, exchange: &mut Exchange, refusal: &Refusal, out: &mut Vec<u8>);

    /// Fields that the answer gets from this protocol.
    fn fields(&mut self, exchange: &mut Exchange, reply: &Reply) -> Result<Vec<Field>, Refusal>;

    /// An answer without JSON, such as a bare error page: what the client reads instead of it.
    fn opaque(&mut self, exchange: &Exchange, status: StatusCode) -> Vec<u8>;

    /// The stream is over, one way or another: what was seen is noted.
    fn report(&mut self, exchange: &mut Exchange);

    /// What an outside judge is asked about in an answer, if anything.
    fn judged_as(&self) -> Option<Event>;

    /// What a judge reads of an answer that is held whole.
    fn said(&self, exchange: &Exchange, body: &[u8]) -> Result<Said, Refusal>;

    /// From now on what is released of a stream is kept for a judge.
    fn listen(&mut self);

    /// What was released since the last time.
    fn take_heard(&mut self) -> String;
}

/// Passes an upstream's answer on to the client.
pub async fn relay(
    exchange: &mut Exchange,
    client: &mut Client,
    mut reply: Reply,
    dialect: &mut dyn Dialect,
) -> Result<(), Refusal> {
    reply.uncode(exchange.deployed.plan.config.bounds.encodings)?;
    let media_type = reply.head.fields.media_type().unwrap_or_default().to_ascii_lowercase();
    if media_type == "text/event-stream" && reply.head.status.is_success() {
        return stream(exchange, client, reply, dialect).await;
    }
    let bounds = exchange.deployed.plan.config.bounds;
    let idle = exchange.deployed.plan.config.deadlines.upstream_idle;
    let raw = reply.whole(bounds.answer_bytes, client, idle).await?;
    let status = reply.head.status;
    let ours = dialect.fields(exchange, &reply)?;
    let is_json = media_type == "application/json" || media_type.ends_with("+json");
    if raw.is_empty() {
        write_whole(exchange, client, &reply, ours, Vec::new()).await?;
    } else if is_json {
        let body = dialect.whole(exchange, raw)?;
        let body = judged(exchange, dialect, body).await?;
        write_whole(exchange, client, &reply, ours, body).await?;
    } else if status.is_client_error() || status.is_server_error() {
        // Nobody can inspect this text, so nobody reads it: the status says enough.
        let mut ours = ours;
        ours.push(("content-type", "application/json".into()));
        let body = dialect.opaque(exchange, status);
        write_whole(exchange, client, &reply, ours, body).await?;
    } else {
        return Err(reply.refuse(UpstreamFaultKind::Unreadable));
    }
    reply.give_back(exchange);
    Ok(())
}

/// Asks the outside judges about an answer that is held whole, and masks what they would.
async fn judged(
    exchange: &mut Exchange,
    dialect: &dyn Dialect,
    mut body: Vec<u8>,
) -> Result<Vec<u8>, Refusal> {
    let Some(event) = dialect.judged_as() else { return Ok(body) };
    for index in judge::asked(exchange, event) {
        let said = dialect.said(exchange, &body)?;
        let masks = judge::answer(exchange, (index, event), &said.text, true).await?;
        if masks.is_empty() {
            continue;
        }
        body = said.splices(&body, &masks).apply(&body);
        let read = exchange.shard.reader.borrow_mut().read(&body);
        if read.is_err() {
            return Err(judge::block(exchange, index, Direction::Response));
        }
    }
    Ok(body)
}

async fn write_whole(
    exchange: &mut Exchange,
    client: &mut Client,
    reply: &Reply,
    ours: Vec<Field>,
    body: Vec<u8>,
) -> Result<(), Refusal> {
    let limit = exchange.deployed.plan.config.deadlines.write;
    let status = reply.head.status;
    let length = if matches!(status.as_u16(), 204 | 304) {
        BodyLength::Empty
    } else {
        BodyLength::Exact(to_u64(body.len()))
    };
    let mut out = answer::head(exchange, status, Some(&reply.head.fields), &ours, length)?;
    out.extend_from_slice(&body);
    exchange.bytes_out = to_u64(body.len());
    client.send(out, limit).await?;
    Ok(())
}

async fn stream(
    exchange: &mut Exchange,
    client: &mut Client,
    mut reply: Reply,
    dialect: &mut dyn Dialect,
) -> Result<(), Refusal> {
    exchange.open_stream()?;
    let chunked = exchange.takes_chunks();
    let length = if chunked { BodyLength::Chunked } else { BodyLength::UntilClose };
    exchange.close |= !chunked;
    let mut ours = dialect.fields(exchange, &reply)?;
    ours.push(("cache-control", "no-cache".into()));
    // Proxies of nginx's family would buffer events otherwise.
    ours.push(("x-accel-buffering", "no".into()));
    let theirs = Some(&reply.head.fields);
    let head = answer::head(exchange, reply.head.status, theirs, &ours, length)?;
    let mut sink = Sink { chunked, ready: head };
    // The head leaves at once: a client may wait for it before the first event.
    sink.flush(exchange, client).await?;
    let live = Live::begin(exchange);
    let ended = pump(exchange, client, &mut reply, dialect, &mut sink).await;
    drop(live);
    if let Err(refusal) = &ended {
        let mut tail = Vec::new();
        if matches!(refusal, Refusal::GuardAnswer(_)) {
            dialect.cut(exchange, refusal, &mut tail);
        } else if matches!(refusal, Refusal::Upstream(_)) {
            // What was held back still belongs to the client, if the guard lets it pass; the end
            // is missing, and the client sees that it is.
            let held = dialect.end(exchange, &mut tail);
            let is_judged =
                dialect.judged_as().is_some_and(|event| !judge::asked(exchange, event).is_empty());
            if held.is_err() || is_judged {
                tail.clear();
            }
        }
        sink.put(exchange, &tail);
        let well_formed = matches!(refusal, Refusal::GuardAnswer(_));
        if well_formed && chunked {
            last_chunk(&mut sink.ready);
        }
        exchange.close |= !well_formed;
        dialect.report(exchange);
        if !matches!(refusal, Refusal::ClientGone) {
            sink.flush(exchange, client).await?;
        }
        return ended;
    }
    dialect.report(exchange);
    if chunked {
        last_chunk(&mut sink.ready);
    }
    sink.flush(exchange, client).await?;
    reply.give_back(exchange);
    Ok(())
}

/// Reads, rewrites and writes until the stream is over.
async fn pump(
    exchange: &mut Exchange,
    client: &mut Client,
    reply: &mut Reply,
    dialect: &mut dyn Dialect,
    sink: &mut Sink,
) -> Result<(), Refusal> {
    let idle = exchange.deployed.plan.config.deadlines.upstream_idle;
    let mut decoder = SseDecoder::new(exchange.deployed.plan.config.bounds.event_bytes);
    let mut raw = Vec::new();
    let mut out = Vec::new();
    let mut over = false;
    let mut bench = Bench::new(exchange, dialect);
    loop {
        raw.clear();
        out.clear();
        let read = reply.read(&mut raw, client, idle).await;
        if read.is_err() && bench.is_some() {
            sink.ready.clear();
        }
        let done = read?;
        decoder.push(&raw);
        let ended =
            rewrite(exchange, (&*reply, done), dialect, (&mut decoder, &mut over), &mut out);
        // What came before a refusal still leaves: it was released.
        sink.put(exchange, &out);
        if let Some(bench) = &mut bench {
            bench.heard.push_str(&dialect.take_heard());
            let is_due = bench.is_due(sink.ready.len()) || done;
            if is_due && let Err(refusal) = bench.ask(exchange).await {
                // What was not judged does not leave.
                sink.ready.clear();
                return Err(refusal);
            }
            if ended.is_err() && !is_due {
                sink.ready.clear();
            }
            ended?;
            if is_due {
                sink.flush(exchange, client).await?;
            }
        } else {
            ended?;
            sink.flush(exchange, client).await?;
        }
        if done {
            return Ok(());
        }
    }
}

/// Rewrites the events that are whole, and at the end what is left.
fn rewrite(
    exchange: &mut Exchange,
    (reply, done): (&Reply, bool),
    dialect: &mut dyn Dialect,
    (decoder, over): (&mut SseDecoder, &mut bool),
    out: &mut Vec<u8>,
) -> Result<(), Refusal> {
    let unreadable = |_fault| reply.refuse(UpstreamFaultKind::Unreadable);
    while let Some(event) = decoder.next().map_err(unreadable)? {
        if !*over {
            *over = dialect.event(exchange, event, out)?;
        }
    }
    if done && !*over {
        if let Some(event) = decoder.finish().map_err(unreadable)? {
            dialect.event(exchange, event, out)?;
        }
        dialect.end(exchange, out)?;
    }
    Ok(())
}

/// What of a stream the outside judges have not read yet. It is held back until they have.
struct Bench {
    event: Event,
    judges: Vec<usize>,
    window: usize,
    heard: String,
}

/// Bytes of events that are held at most before the judges are asked, whatever they hold.
const HELD_BYTES_MAX: usize = 256 * 1024;

impl Bench {
    /// None where nobody is to be asked.
    fn new(exchange: &Exchange, dialect: &mut dyn Dialect) -> Option<Self> {
        let event = dialect.judged_as()?;
        let judges = judge::asked(exchange, event);
        let all = &exchange.deployed.plan.config.judges;
        let windows = judges.iter().filter_map(|index| all.get(*index));
        let window = windows.map(|judge| judge.window_bytes).min()?;
        dialect.listen();
        Some(Self { event, judges, window, heard: String::new() })
    }

    fn is_due(&self, held: usize) -> bool {
        self.heard.len() >= self.window || held >= HELD_BYTES_MAX
    }

    async fn ask(&mut self, exchange: &mut Exchange) -> Result<(), Refusal> {
        let heard = std::mem::take(&mut self.heard);
        for index in &self.judges {
            if !heard.is_empty() {
                judge::answer(exchange, (*index, self.event), &heard, false).await?;
            }
        }
        Ok(())
    }
}

/// A stream that runs, counted until it ends, however it does.
struct Live(Rc<Shard>);

impl Live {
    fn begin(exchange: &Exchange) -> Self {
        let streams = &exchange.shard.streams;
        streams.set(streams.get() + 1);
        Self(Rc::clone(&exchange.shard))
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.0.streams.set(self.0.streams.get().saturating_sub(1));
    }
}

/// What is ready to be written to the client.
struct Sink {
    chunked: bool,
    ready: Vec<u8>,
}

impl Sink {
    fn put(&mut self, exchange: &mut Exchange, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        exchange.bytes_out += to_u64(bytes.len());
        if self.chunked {
            chunk(&mut self.ready, bytes);
        } else {
            self.ready.extend_from_slice(bytes);
        }
    }

    async fn flush(&mut self, exchange: &Exchange, client: &mut Client) -> Result<(), Refusal> {
        if self.ready.is_empty() {
            return Ok(());
        }
        let limit = exchange.deployed.plan.config.deadlines.write;
        self.ready = client.send(std::mem::take(&mut self.ready), limit).await?;
        Ok(())
    }
}
