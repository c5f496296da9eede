//! The checked configuration: everything is typed, resolved and cross-checked; nothing in it can be
//! wrong any more. `config::load` makes it from text; the rest of the house only reads it.

use crate::base::ask::Dialect;
use crate::base::caller::Caller;
use crate::base::endpoint::Endpoint;
use crate::base::hit::Style;
use crate::base::network::Network;
use crate::base::secret::Secret;
use crate::base::text::Channel;
use crate::config::guard_rules::{GuardAction, GuardPack, GuardRule};
use crate::config::judges::Judge;
use crate::config::profile_model::{GuardOptions, GuardProfile, Spotlight};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
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
    /// Paths that lead to an upstream as they are.
    pub routes: Vec<Route>,
    /// Every upstream of models and servers; the others refer to it by index.
    pub targets: Vec<Target>,
    /// What guards look for and do.
    pub guard: Guard,
    /// Who is asked outside, in order.
    pub judges: Vec<Judge>,
    /// The audit log.
    pub audit: Audit,
}

/// One address that clients connect to.
#[derive(Clone, Debug)]
pub struct Listener {
    /// Where.
    pub address: Endpoint,
    /// Permissions of a Unix socket's file.
    pub mode: u32,
    /// With TLS, if there.
    pub tls: Option<ServerTls>,
    /// With the PROXY protocol, if there.
    pub proxy: Option<Proxies>,
}

impl Listener {
    /// One without TLS or anything else.
    pub const fn plain(address: Endpoint) -> Self {
        Self { address, mode: 0, tls: None, proxy: None }
    }
}

/// Who may say, by the PROXY protocol, for whom it connects. Nobody else may connect.
#[derive(Clone, Debug)]
pub struct Proxies {
    /// By address.
    pub networks: Vec<Network>,
    /// Whoever connects to a Unix socket.
    pub unix: bool,
}

impl Proxies {
    /// Whether what comes from there is believed; no address: from a Unix socket.
    pub fn trusts(&self, peer: Option<IpAddr>) -> bool {
        match peer {
            Some(address) => self.networks.iter().any(|network| network.contains(address)),
            None => self.unix,
        }
    }
}

/// How a listener speaks TLS.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// The certificates to choose from, at least one.
    pub certificates: Vec<Shown>,
    /// Whether a client that names none of their names is refused, and not shown the first.
    pub refuse_unknown: bool,
    /// Whether clients show certificates as well.
    pub clients: Option<ClientCertificates>,
}

/// A certificate that is shown to clients.
#[derive(Clone, Debug)]
pub struct Shown {
    /// Its files.
    pub pair: KeyPair,
    /// The names that it is chosen for. Empty: those that it holds.
    pub names: Vec<Arc<str>>,
}

/// A certificate and its key, PEM.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// The chain, leaf first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
}

/// What a listener asks of its clients' certificates.
#[derive(Clone, Debug)]
pub struct ClientCertificates {
    /// A PEM file of the authorities that vouch for them.
    pub authority: PathBuf,
    /// Whether a client without one is refused.
    pub required: bool,
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
    /// Names of its client certificates, any of which is valid: `spiffe://…`, `dns:…` or `cn:…`.
    pub certificates: Vec<Arc<str>>,
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
    /// Which passthrough routes.
    pub routes: Vec<Pattern>,
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

/// Paths that lead to an upstream as they are: whatever Ringwall does not model.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name in rules and records.
    pub name: Arc<str>,
    /// The beginning of its paths, without a slash at its end; empty for all of them.
    pub prefix: Arc<str>,
    /// Index into `Config::targets`.
    pub target: usize,
    /// Whether JSON that is sent is inspected.
    pub guard: bool,
    /// Indexes into `Config::listeners`. Empty: every listener that no route names.
    pub listeners: Vec<usize>,
    /// What the upstream is told of the caller, besides `x-ringwall-user`.
    pub identity: Vec<IdentityHeader>,
}

/// A header that tells an upstream who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityHeader {
    /// Its name in lower case.
    pub name: http::HeaderName,
    /// What of the caller it holds.
    pub part: CallerPart,
}

/// What an upstream may be told of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerPart {
    /// The service or agent.
    App,
    /// The name in the configuration.
    Name,
    /// The team.
    Team,
    /// The human.
    User,
}

/// One upstream.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its name in records and metrics.
    pub name: Arc<str>,
    /// `http` or `https`.
    pub tls: Option<ClientTls>,
    /// The Unix socket to connect to; host and port are then only words in its requests.
    pub socket: Option<Arc<Path>>,
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
    /// What a provider of models speaks.
    pub dialects: Vec<Dialect>,
}

/// How TLS to an upstream is spoken.
#[derive(Clone, Debug)]
pub struct ClientTls {
    /// Who vouches for its certificate.
    pub roots: Roots,
    /// The certificate that we show, if it asks.
    pub pair: Option<KeyPair>,
    /// The name that is asked for and that the certificate must be for, where it is not the host.
    pub name: Option<Arc<str>>,
}

/// Whom we trust to vouch for an upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Roots {
    /// The authorities of a PEM file, and nobody else.
    File(PathBuf),
    /// Mozilla's, as they were when Ringwall was built.
    Mozilla,
    /// The operating system's, as they are now.
    System,
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
    /// What keyed masks are made with; none: by chance for each process.
    pub mask_key: Option<Secret>,
    /// Words that no answer may say, parted by blanks.
    pub canaries: Option<Secret>,
    /// Whose text an answer may be grounded in.
    pub sources: Vec<Channel>,
    /// What is done besides, where no profile says otherwise.
    pub options: GuardOptions,
    /// The profiles; the first that fits an exchange is its own.
    pub profiles: Vec<GuardProfile>,
    /// What a rule does when nothing else is said, by the beginning of its name; the longest that
    /// fits wins. `("pii.card", Request, Mask)`.
    pub actions: Vec<GuardAction>,
    /// Pack files of the user's own.
    pub packs: Vec<GuardPack>,
    /// Rules of the user's own.
    pub rules: Vec<GuardRule>,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            enabled: true,
            mask_key: None,
            canaries: None,
            sources: vec![Channel::Document, Channel::ToolResult],
            options: GuardOptions::default(),
            profiles: Vec::new(),
            actions: Vec::new(),
            packs: Vec::new(),
            rules: Vec::new(),
        }
    }
}

impl Guard {
    /// Whether something is made with a key, and there is none but one of this process.
    pub fn lacks_key(&self) -> bool {
        let named = self.profiles.iter().map(|profile| (&profile.actions, &profile.options));
        let mut all = std::iter::once((&self.actions, &self.options)).chain(named);
        let keyed =
            |action: &GuardAction| matches!(action.style, Some(Style::Hash | Style::Pseudonym));
        self.mask_key.is_none()
            && all.any(|(actions, options)| {
                options.spotlight != Spotlight::Off || actions.iter().any(keyed)
            })
    }
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
