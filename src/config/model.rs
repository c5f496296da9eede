//! The checked configuration: everything is typed, resolved and cross-checked; nothing in it can be
//! wrong any more. `config::load` makes it from text; the rest of the house only reads it.

use crate::base::caller::Caller;
use crate::base::hit::Action;
use crate::base::secret::Secret;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// One whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect.
    pub listeners: Vec<Listener>,
    /// Where operators connect: health and metrics.
    pub admin: SocketAddr,
    /// Threads and draining.
    pub process: Process,
    /// Bounds on what a client may send or hold.
    pub bounds: Bounds,
    /// How long each step may take.
    pub deadlines: Deadlines,
    /// Who may ask; `Caller::index` is the position here.
    pub callers: Vec<CallerEntry>,
    /// What they may ask for; deny is the default.
    pub rules: Vec<Rule>,
    /// Public model names and where they lead.
    pub models: Vec<Model>,
    /// MCP servers by the name in their path.
    pub mcp_servers: Vec<McpServer>,
    /// Every upstream of models and servers; the others refer to it by index.
    pub targets: Vec<Target>,
    /// What guards look for and do.
    pub guard: Guard,
    /// The audit log.
    pub audit: Audit,
}

/// One address that clients connect to.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Where.
    pub address: SocketAddr,
    /// With TLS, if there.
    pub tls: Option<ServerTls>,
}

/// A server certificate and its key, PEM.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// Threads and draining.
#[derive(Clone, Debug)]
pub struct Process {
    /// Worker threads; default cores less one, at least one.
    pub workers: usize,
    /// Which CPUs the workers are bound to.
    pub pinning: Pinning,
    /// How long SIGTERM waits for live exchanges.
    pub drain: Duration,
}

/// Which CPUs workers are bound to, of those that the process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pinning {
    /// The n-th worker to the n-th CPU from this one on.
    From(usize),
    /// To the last ones, one each, where there are enough.
    Last,
    /// To none.
    Off,
}

/// Bounds on what a client or an upstream may send or hold.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes of a request head.
    pub head_bytes: usize,
    /// Header fields of a request.
    pub header_count: usize,
    /// Bytes of a request's target.
    pub uri_bytes: usize,
    /// Bytes of a request body, decoded.
    pub body_bytes: usize,
    /// What becomes of bodies with a content coding.
    pub encodings: Encodings,
    /// Bytes a second that a request body brings at least; 0: any.
    pub body_rate: u64,
    /// Bytes a second that a client takes at least of what waits for it; 0: any.
    pub write_rate: u64,
    /// Bytes of an upstream's answer that is held whole.
    pub answer_bytes: usize,
    /// Bytes of one event of an upstream's stream.
    pub event_bytes: usize,
    /// Bytes that guards hold back of one stream.
    pub held_bytes: usize,
    /// Bytes of the head of an upstream's answer.
    pub upstream_head_bytes: usize,
    /// Header fields of an upstream's answer.
    pub upstream_header_count: usize,
    /// Client connections of one worker.
    pub connections: usize,
    /// Client connections of all workers.
    pub connections_total: usize,
    /// Client connections from one address.
    pub connections_per_address: u32,
    /// Streams that one caller has open.
    pub streams_per_caller: u32,
    /// Resident memory at which new requests are refused.
    pub memory_bytes: u64,
}

/// What becomes of bodies with a content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encodings {
    /// It is taken off.
    Decode,
    /// They are not taken.
    Refuse,
}

/// How long each step may take. None limits a stream as a whole.
#[derive(Clone, Copy, Debug)]
pub struct Deadlines {
    /// A new client connection's first byte.
    pub first_request: Duration,
    /// A client's request head, from its first byte.
    pub head: Duration,
    /// A client's request body.
    pub body: Duration,
    /// How long a request body may come slower than the bound says.
    pub body_grace: Duration,
    /// A client connection between requests.
    pub idle: Duration,
    /// A client that does not read, or reads slower than the bound says.
    pub write: Duration,
    /// Connecting to an upstream, TLS included.
    pub connect: Duration,
    /// An upstream's first byte of the answer.
    pub first_byte: Duration,
    /// Between two reads of an upstream's answer.
    pub upstream_idle: Duration,
}

/// A caller and what proves it.
#[derive(Clone, Debug)]
pub struct CallerEntry {
    /// Who.
    pub caller: Arc<Caller>,
    /// Digests of its API keys, any of which is valid (rotation).
    pub keys: Vec<KeyDigest>,
    /// Its limits.
    pub limits: Limits,
    /// A caller that no key names: who presents none is this one. At most one.
    pub anonymous: bool,
}

/// SHA-256 of an API key.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyDigest(pub [u8; 32]);

impl std::fmt::Debug for KeyDigest {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("KeyDigest(…)")
    }
}

/// How much a caller may ask for. `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Requests in any sixty seconds.
    pub requests_per_minute: Option<u32>,
    /// Requests at the same time.
    pub in_flight: Option<u32>,
}

/// One rule of who may do what. A rule applies where every list that is not empty matches.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Its name in records.
    pub name: Arc<str>,
    /// What it says.
    pub effect: Effect,
    /// Who, by the caller's name. Patterns may end in `*`.
    pub callers: Vec<Pattern>,
    /// Who, by app.
    pub apps: Vec<Pattern>,
    /// Who, by team.
    pub teams: Vec<Pattern>,
    /// Which models.
    pub models: Vec<Pattern>,
    /// Which MCP servers.
    pub servers: Vec<Pattern>,
    /// Which tools of them. Empty: all of them, where `servers` is not empty.
    pub tools: Vec<Pattern>,
}

/// What a rule says. A `Deny` that applies wins over every `Allow`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It may.
    Allow,
    /// It may not.
    Deny,
}

/// A name, or the beginning of names when it ends in `*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Exactly this.
    Exact(Arc<str>),
    /// Whatever begins so; empty for everything.
    Prefix(Arc<str>),
}

impl Pattern {
    /// Whether the name fits.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(own) => **own == *name,
            Self::Prefix(own) => name.starts_with(&**own),
        }
    }
}

/// A public model name.
#[derive(Clone, Debug)]
pub struct Model {
    /// The name that clients use.
    pub name: Arc<str>,
    /// Where it leads, best first.
    pub routes: Vec<ModelRoute>,
}

/// One place that a model name leads to.
#[derive(Clone, Debug)]
pub struct ModelRoute {
    /// Index into `Config::targets`.
    pub target: usize,
    /// The model's name there.
    pub upstream_model: Arc<str>,
}

/// One MCP server.
#[derive(Clone, Debug)]
pub struct McpServer {
    /// The name in `/mcp/{name}`.
    pub name: Arc<str>,
    /// Index into `Config::targets`.
    pub target: usize,
}

/// One upstream.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name in records and metrics.
    pub name: Arc<str>,
    /// `http` or `https`.
    pub tls: Option<ClientTls>,
    /// Host as in the URL; resolved off the workers.
    pub host: Arc<str>,
    /// Port.
    pub port: u16,
    /// Path before the endpoint's own, without a slash at its end: `/v1`, or `/mcp` for a server.
    pub path: Arc<str>,
    /// The credential that is swapped in, as a whole header: name in lower case, and value.
    pub credential: Option<Credential>,
    /// Idle connections kept by each worker.
    pub idle_connections: usize,
}

/// How an upstream's certificate is checked.
#[derive(Clone, Debug)]
pub struct ClientTls {
    /// Instead of Mozilla's roots: a PEM file of authorities.
    pub authority: Option<PathBuf>,
}

/// A header that proves us to an upstream.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Header name in lower case.
    pub header: http::HeaderName,
    /// Its whole value.
    pub value: Secret,
}

/// What guards look for and do.
#[derive(Clone, Debug)]
pub struct Guard {
    /// Whether guards run at all.
    pub enabled: bool,
    /// What a rule does when nothing else is said, by the beginning of its name; the longest that
    /// fits wins. `("pii.card", Request, Mask)`.
    pub actions: Vec<GuardAction>,
}

/// What one rule, or a family of rules, does.
#[derive(Clone, Debug)]
pub struct GuardAction {
    /// The rule's name, or a prefix of names.
    pub rule: Pattern,
    /// On the way to the upstream.
    pub request: Option<Action>,
    /// On the way back.
    pub response: Option<Action>,
}

/// The audit log.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The folder of its files.
    pub folder: PathBuf,
    /// How long a record may wait for its batch: the loss window.
    pub window: Duration,
    /// Bytes of a file before the next is begun.
    pub file_bytes: u64,
}
