//! Where Ringwall listens, and how: addresses, TLS, the PROXY protocol.

use crate::base::endpoint::Endpoint;
use crate::base::network::Network;
use crate::config::fault::Mistake;
use crate::config::keys::Key;
use crate::config::kinds::Kind;
use crate::config::listener_keys::{LISTENER, LISTENER_SNI};
use crate::config::model::{ClientCertificates, KeyPair, Listener, Proxies, ServerTls, Shown};
use crate::config::pass::{Names, Pass, Section, Spot};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// Reads where clients and operators connect.
pub fn read(
    pass: &mut Pass<'_>,
    top: &Section<'_>,
    gateway: &Section<'_>,
) -> (Vec<Listener>, SocketAddr) {
    let mut names = Names::default();
    let mut listeners = Vec::new();
    let tables = pass.sections(top, &LISTENER);
    let key = gateway.key("listen");
    for spot in pass.texts(gateway, "listen") {
        let address = endpoint(pass, &spot, key, &mut names);
        listeners
            .extend(address.map(|address| Listener { mode: MODE, ..Listener::plain(address) }));
    }
    for section in &tables {
        listeners.extend(listener(pass, section, &mut names));
    }
    if tables.is_empty() && !gateway.has("listen") {
        let spot = Spot { place: gateway.place, value: "127.0.0.1:8080" };
        let address = endpoint(pass, &spot, key, &mut names);
        listeners.extend(address.map(Listener::plain));
    }
    let key = gateway.key("admin");
    let spot = match gateway.node("admin") {
        Some(_) => pass.text(gateway, "admin"),
        None => Some(Spot { place: gateway.place, value: "127.0.0.1:9090" }),
    };
    let admin = spot.and_then(|spot| match endpoint(pass, &spot, key, &mut names)? {
        Endpoint::Tcp(address) => Some(address),
        Endpoint::Unix(_) => {
            pass.note(spot.place, Mistake::Invalid(key));
            None
        }
    });
    (listeners, admin.unwrap_or_else(|| SocketAddr::from((Ipv4Addr::LOCALHOST, 0))))
}

/// The path of a PEM file that is there and holds what the key takes.
pub fn pem(pass: &mut Pass<'_>, section: &Section<'_>, name: &str) -> Option<PathBuf> {
    let (key, spot) = (section.key(name), pass.path(section, name)?);
    let is_key = key.kind == Kind::PrivateKey;
    let mark: &[u8] = if is_key { b"PRIVATE KEY-----" } else { b"-----BEGIN CERTIFICATE-----" };
    match (pass.read)(&spot.value) {
        Err(error) => pass.note(spot.place, Mistake::PemUnreadable(error.kind())),
        Ok(bytes) => {
            if memchr::memmem::find(&bytes, mark).is_none() {
                pass.note(spot.place, Mistake::NotPem(key));
            }
        }
    }
    Some(spot.value)
}

/// A certificate and its key, of which none is there without the other.
pub fn key_pair(pass: &mut Pass<'_>, section: &Section<'_>) -> Option<KeyPair> {
    for (one, other) in [("certificate", "private_key"), ("private_key", "certificate")] {
        if section.has(one) && !section.has(other) {
            pass.note(section.at(one), Mistake::HalfTls(section.key(other)));
        }
    }
    let certificate = pem(pass, section, "certificate");
    let key = pem(pass, section, "private_key");
    Some(KeyPair { certificate: certificate?, key: key? })
}

/// Whether a text can be a host's name (RFC 1123 §2.1; underscores are seen in the wild).
pub fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        (1..=63).contains(&label.len()) && label.bytes().all(fits)
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

/// The mode of a Unix socket that no table says one for: its owner and group.
const MODE: u32 = 0o660;

/// An address that nothing else takes. Port 0 is one that the system chooses.
fn endpoint(
    pass: &mut Pass<'_>,
    spot: &Spot<&str>,
    key: &'static Key,
    names: &mut Names,
) -> Option<Endpoint> {
    let Some(address) = Endpoint::parse(spot.value) else {
        pass.note(spot.place, Mistake::InvalidItem(key));
        return None;
    };
    if !matches!(address, Endpoint::Tcp(address) if address.port() == 0) {
        names.add(pass, "address", &address.to_string(), (spot.place, 0));
    }
    Some(address)
}

fn listener(pass: &mut Pass<'_>, section: &Section<'_>, names: &mut Names) -> Option<Listener> {
    let tls = server_tls(pass, section);
    let proxy = proxies(pass, section);
    let mode = mode(pass, section);
    let spot = pass.text(section, "address")?;
    let address = endpoint(pass, &spot, section.key("address"), names)?;
    if section.has("mode") && matches!(address, Endpoint::Tcp(_)) {
        let why = "without a Unix socket";
        pass.note(section.at("mode"), Mistake::Idle(section.key("mode"), why));
    }
    Some(Listener { address, mode, tls, proxy })
}

fn mode(pass: &mut Pass<'_>, section: &Section<'_>) -> u32 {
    let Some(spot) = pass.text(section, "mode") else { return MODE };
    let is_octal = (3..=4).contains(&spot.value.len())
        && spot.value.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = is_octal.then(|| u32::from_str_radix(spot.value, 8).ok()).flatten();
    // Neither set-user-id nor sticky means anything on a socket.
    let mode = mode.filter(|mode| *mode <= 0o777);
    if mode.is_none() {
        pass.note(spot.place, Mistake::Invalid(section.key("mode")));
    }
    mode.unwrap_or(MODE)
}

fn server_tls(pass: &mut Pass<'_>, section: &Section<'_>) -> Option<ServerTls> {
    let pair = key_pair(pass, section);
    let more = more_certificates(pass, section);
    let refuse_unknown = pass.choice(section, "unknown_name") == Some("refuse");
    let is_required = pass.choice(section, "client_auth") != Some("optional");
    let authority = pem(pass, section, "client_ca");
    if section.has("client_auth") && !section.has("client_ca") {
        let why = "without `client_ca`";
        pass.note(section.at("client_auth"), Mistake::Idle(section.key("client_auth"), why));
    }
    if !section.has("certificate") && !section.has("private_key") {
        for key in ["unknown_name", "client_ca"].iter().filter(|key| section.has(key)) {
            let why = "without `certificate`";
            pass.note(section.at(key), Mistake::Idle(section.key(key), why));
        }
        if section.has("sni") {
            pass.note(section.at("sni"), Mistake::HalfTls(section.key("certificate")));
        }
    }
    let first = Shown { pair: pair?, names: Vec::new() };
    let clients =
        authority.map(|authority| ClientCertificates { authority, required: is_required });
    Some(ServerTls {
        certificates: std::iter::once(first).chain(more).collect(),
        refuse_unknown,
        clients,
    })
}

fn more_certificates(pass: &mut Pass<'_>, above: &Section<'_>) -> Vec<Shown> {
    let mut more = Vec::new();
    for section in pass.sections(above, &LISTENER_SNI) {
        let mut names = Vec::new();
        for spot in pass.texts(&section, "names") {
            let bare = spot.value.strip_prefix("*.").unwrap_or(spot.value);
            if is_host_name(bare) {
                names.push(Arc::from(spot.value));
            } else {
                pass.note(spot.place, Mistake::InvalidItem(section.key("names")));
            }
        }
        more.extend(key_pair(pass, &section).map(|pair| Shown { pair, names }));
    }
    more
}

fn proxies(pass: &mut Pass<'_>, section: &Section<'_>) -> Option<Proxies> {
    let is_on = pass.flag(section, "proxy_protocol");
    let mut proxies = Proxies { networks: Vec::new(), unix: false };
    let key = section.key("proxy_from");
    for spot in pass.texts(section, "proxy_from") {
        if spot.value == "unix:" {
            proxies.unix = true;
        } else if let Some(network) = Network::parse(spot.value) {
            proxies.networks.push(network);
        } else {
            pass.note(spot.place, Mistake::InvalidItem(key));
        }
    }
    if is_on && !section.has("proxy_from") {
        pass.note(section.at("proxy_protocol"), Mistake::Missing(key));
    }
    if !is_on && section.has("proxy_from") {
        pass.note(section.at("proxy_from"), Mistake::Idle(key, "without `proxy_protocol = true`"));
    }
    is_on.then_some(proxies)
}
