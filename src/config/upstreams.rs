//! Where Ringwall leads: providers, models and MCP servers.

use crate::base::ask::Dialect;
use crate::base::endpoint::{UNIX_PREFIX, socket_path};
use crate::base::secret::Secret;
use crate::config::fault::Mistake;
use crate::config::keys::{Key, MCP_SERVER, MODEL, PROVIDER};
use crate::config::kinds::Kind;
use crate::config::listeners::{is_host_name, key_pair, pem};
use crate::config::model::{ClientTls, Credential, McpServer, Model, ModelRoute, Roots, Target};
use crate::config::pass::{Names, Pass, Section, Spot, is_name};
use crate::config::tree::Place;
use std::path::Path;
use std::sync::Arc;

/// Everything that requests are led to.
#[derive(Debug, Default)]
pub struct Upstreams {
    /// Public model names.
    pub models: Vec<Model>,
    /// MCP servers.
    pub mcp_servers: Vec<McpServer>,
    /// What both lead to.
    pub targets: Vec<Target>,
    /// The models' names, for rules.
    pub model_names: Names,
    /// The servers' names, for rules.
    pub server_names: Names,
    /// The providers' names, for routes, with their targets.
    pub provider_names: Names,
}

/// Reads providers, models and MCP servers.
pub fn read(pass: &mut Pass<'_>, top: &Section<'_>) -> Upstreams {
    let mut all = Upstreams::default();
    let mut providers = Names::default();
    for section in pass.sections(top, &PROVIDER) {
        if let Some(name) = pass.text(&section, "name") {
            providers.add(pass, "provider", name.value, (name.place, all.targets.len()));
        }
        let dialects = dialects(pass, &section);
        let target = Target { dialects, ..target(pass, &section) };
        all.targets.push(target);
    }
    for section in pass.sections(top, &MODEL) {
        let name = pass.text(&section, "name");
        if let Some(name) = &name {
            all.model_names.add(pass, "model", name.value, (name.place, all.models.len()));
        }
        let name = name.map_or_else(|| Arc::from(""), |name| Arc::from(name.value));
        let routes = routes(pass, &section, &providers);
        all.models.push(Model { name, routes });
    }
    for section in pass.sections(top, &MCP_SERVER) {
        let name = pass.text(&section, "name");
        if let Some(name) = &name {
            let index = all.mcp_servers.len();
            all.server_names.add(pass, "MCP server", name.value, (name.place, index));
        }
        let name = name.map_or_else(|| Arc::from(""), |name| Arc::from(name.value));
        all.mcp_servers.push(McpServer { name, target: all.targets.len() });
        let target = target(pass, &section);
        all.targets.push(target);
    }
    all.provider_names = providers;
    all
}

/// Bytes of a secret; the longest tokens are a few thousand.
const SECRET_BYTES_MOST: usize = 16 << 10;
/// Bytes of a URL.
const URL_BYTES_MOST: usize = 2048;

/// An upstream that is known by its URL alone, which has no path.
pub fn bare_target(
    pass: &mut Pass<'_>,
    section: &Section<'_>,
    name: Arc<str>,
    key: &str,
) -> Option<Target> {
    let url = url(pass, section, key)?;
    if !url.path.is_empty() {
        pass.note(section.at(key), Mistake::Invalid(section.key(key)));
    }
    Some(Target {
        name,
        tls: url.is_tls.then_some(ClientTls { roots: Roots::Mozilla, pair: None, name: None }),
        socket: url.socket,
        host: Arc::from(url.host),
        port: url.port,
        path: Arc::from(""),
        credential: None,
        idle_connections: BARE_IDLE,
        dialects: Vec::new(),
    })
}

/// Idle connections to an upstream that says nothing of them: as for a provider.
const BARE_IDLE: usize = 64;

/// The upstream of a table with a URL, a key and what TLS needs.
pub fn target(pass: &mut Pass<'_>, section: &Section<'_>) -> Target {
    let name = pass.shared(section, "name").unwrap_or_else(|| Arc::from(""));
    let url = url(pass, section, "url").unwrap_or_default();
    let tls = client_tls(pass, section);
    if !url.is_tls && !url.host.is_empty() {
        for key in CLIENT_TLS.iter().filter(|key| section.has(key)) {
            pass.note(section.at(key), Mistake::Idle(section.key(key), "without an `https` URL"));
        }
    }
    Target {
        name,
        tls: url.is_tls.then_some(tls),
        socket: url.socket,
        host: Arc::from(url.host),
        port: url.port,
        path: Arc::from(url.path),
        credential: credential(pass, section),
        idle_connections: pass.capacity(section, "idle_connections"),
        dialects: Vec::new(),
    }
}

/// What a provider speaks.
fn dialects(pass: &mut Pass<'_>, section: &Section<'_>) -> Vec<Dialect> {
    let key = section.key("dialects");
    if !section.has("dialects") {
        return vec![Dialect::OpenAi];
    }
    let mut all = Vec::new();
    for spot in pass.texts(section, "dialects") {
        let known = [Dialect::OpenAi, Dialect::Anthropic];
        match known.into_iter().find(|one| one.name() == spot.value) {
            Some(one) if !all.contains(&one) => all.push(one),
            Some(_) | None => pass.note(spot.place, Mistake::InvalidItem(key)),
        }
    }
    all
}

/// The keys that are about TLS.
const CLIENT_TLS: [&str; 5] = ["ca", "roots", "certificate", "private_key", "server_name"];

fn client_tls(pass: &mut Pass<'_>, section: &Section<'_>) -> ClientTls {
    let is_system = pass.choice(section, "roots") == Some("system");
    if section.has("ca") && section.has("roots") {
        pass.note(section.at("roots"), Mistake::Idle(section.key("roots"), "beside `ca`"));
    }
    let roots = match pem(pass, section, "ca") {
        Some(path) => Roots::File(path),
        None if is_system => Roots::System,
        None => Roots::Mozilla,
    };
    let pair = key_pair(pass, section);
    let name = pass.text(section, "server_name").and_then(|spot| {
        let fits = is_host_name(spot.value) || spot.value.parse::<std::net::IpAddr>().is_ok();
        if !fits {
            pass.note(spot.place, Mistake::Invalid(section.key("server_name")));
        }
        fits.then(|| Arc::from(spot.value))
    });
    ClientTls { roots, pair, name }
}

/// The parts of an upstream's URL.
#[derive(Debug, Default)]
struct Url {
    is_tls: bool,
    host: String,
    port: u16,
    path: String,
    /// A Unix socket instead of host and port.
    socket: Option<Arc<Path>>,
}

fn url(pass: &mut Pass<'_>, section: &Section<'_>, name: &str) -> Option<Url> {
    let (key, spot) = (section.key(name), pass.text(section, name)?);
    let url = parse_url(spot.value);
    if url.is_none() {
        let has_credentials = spot.value.contains('@');
        let mistake = if has_credentials { Mistake::UrlCredentials } else { Mistake::Invalid(key) };
        pass.note(spot.place, mistake);
        if may_hold_secret(spot.value) {
            pass.hidden.push(spot.place);
        }
    }
    url
}

/// Whether a text that is no URL may have been meant as one with a password or token in it: it has
/// signs of a query or user info, or a colon before something else than a port.
fn may_hold_secret(text: &str) -> bool {
    let rest = text.split_once(':').map_or(text, |(_, rest)| rest);
    let after_colon = rest.split(':').skip(1);
    let is_port = |part: &str| part.starts_with(|first: char| first.is_ascii_digit());
    text.contains(['@', '?', '#', '=']) || after_colon.into_iter().any(|part| !is_port(part))
}

/// RFC 3986 §3, the part of it that an upstream needs: no user info, query or fragment.
fn parse_url(text: &str) -> Option<Url> {
    if text.len() > URL_BYTES_MOST || text.contains(['?', '#', '@', '\\']) {
        return None;
    }
    if let Some(rest) = text.strip_prefix(UNIX_PREFIX) {
        return parse_socket(rest);
    }
    let uri: http::Uri = text.parse().ok()?;
    let is_tls = match uri.scheme_str()? {
        "https" => true,
        "http" => false,
        _ => return None,
    };
    let authority = uri.authority()?;
    let host = authority.host();
    let port = match authority.as_str().strip_prefix(host)? {
        "" if is_tls => 443,
        "" => 80,
        rest => rest.strip_prefix(':')?.parse().ok().filter(|port| *port != 0)?,
    };
    let bare = match host.strip_prefix('[') {
        Some(inner) => {
            let inner = inner.strip_suffix(']')?;
            inner.parse::<std::net::Ipv6Addr>().ok()?;
            inner
        }
        None => host,
    };
    let is_name = bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte));
    (!bare.is_empty() && is_name).then(|| Url {
        is_tls,
        host: bare.to_ascii_lowercase(),
        port,
        path: uri.path().trim_end_matches('/').to_owned(),
        socket: None,
    })
}

/// `/run/one.sock`, or with the path of requests behind it: `/run/one.sock:/v1`. Requests name
/// `localhost` as their host, as those of nginx do.
fn parse_socket(text: &str) -> Option<Url> {
    let (file, path) = text.split_once(':').unwrap_or((text, "/"));
    let socket = socket_path(file)?;
    let uri: http::Uri = path.starts_with('/').then(|| path.parse().ok()).flatten()?;
    Some(Url {
        is_tls: false,
        host: "localhost".to_owned(),
        port: 80,
        path: uri.path().trim_end_matches('/').to_owned(),
        socket: Some(socket),
    })
}

fn credential(pass: &mut Pass<'_>, section: &Section<'_>) -> Option<Credential> {
    let header = header(pass, section);
    let secret = secret(pass, section, "key")?;
    let header = header?;
    let mut value = Vec::with_capacity(secret.value.expose().len() + BEARER.len());
    if header == http::header::AUTHORIZATION {
        value.extend_from_slice(BEARER);
    }
    value.extend_from_slice(secret.value.expose());
    Some(Credential { header, value: Secret::new(value) })
}

const BEARER: &[u8] = b"Bearer ";

fn header(pass: &mut Pass<'_>, section: &Section<'_>) -> Option<http::HeaderName> {
    let Some(spot) = pass.text(section, "header") else {
        return (!section.has("header")).then_some(http::header::AUTHORIZATION);
    };
    let header = header_name(spot.value);
    if header.is_none() {
        pass.note(spot.place, Mistake::Invalid(section.key("header")));
    }
    header
}

/// The name of a header that the configuration may write.
pub fn header_name(text: &str) -> Option<http::HeaderName> {
    let name = http::HeaderName::from_bytes(text.as_bytes()).ok();
    name.filter(|name| !RESERVED.contains(&name.as_str()))
}

/// Headers that frame a message or that Ringwall writes itself.
const RESERVED: [&str; 9] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "content-type",
];

/// Looks a secret up where the file says it is.
pub fn secret(pass: &mut Pass<'_>, section: &Section<'_>, name: &str) -> Option<Spot<Secret>> {
    let key = section.key(name);
    let spot = pass.text(section, name)?;
    let place = spot.place;
    let bytes = match spot.value.split_once(':') {
        Some(("env", variable)) if is_variable(variable) => {
            let Some(value) = (pass.environment)(variable) else {
                pass.note(place, Mistake::SecretUnset(variable.to_owned()));
                return None;
            };
            value.into_bytes()
        }
        Some(("file", path)) if !path.is_empty() => match (pass.read)(Path::new(path)) {
            Ok(bytes) => bytes,
            Err(error) => {
                pass.note(place, Mistake::SecretUnreadable(error.kind()));
                return None;
            }
        },
        _ => return literal(pass, place, key),
    };
    let bytes = Secret::new(bytes);
    let bare = bytes.expose().trim_ascii();
    let is_visible = bare.iter().all(|byte| (0x21..=0x7e).contains(byte) || *byte == b' ');
    if bare.is_empty() || bare.len() > SECRET_BYTES_MOST || !is_visible {
        pass.note(place, Mistake::SecretUnusable);
        return None;
    }
    Some(Spot { place, value: Secret::new(bare) })
}

fn literal(pass: &mut Pass<'_>, place: Place, key: &'static Key) -> Option<Spot<Secret>> {
    pass.note(place, Mistake::LiteralSecret(key));
    pass.hidden.push(place);
    None
}

fn is_variable(name: &str) -> bool {
    let starts = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    starts && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn routes(pass: &mut Pass<'_>, section: &Section<'_>, providers: &Names) -> Vec<ModelRoute> {
    let (mut routes, mut seen) = (Vec::new(), Names::default());
    let key = section.key("routes");
    for spot in pass.texts(section, "routes") {
        let parts = spot.value.split_once('/');
        let parts = parts.filter(|(_, model)| is_name(model, Kind::ModelName));
        let Some((provider, model)) = parts else {
            pass.note(spot.place, Mistake::InvalidItem(key));
            continue;
        };
        seen.add(pass, "route", spot.value, (spot.place, 0));
        let named = Spot { place: spot.place, value: provider };
        if let Some(target) = providers.find(pass, "provider", &named) {
            routes.push(ModelRoute { target, upstream_model: Arc::from(model) });
        }
    }
    routes
}
