//! The set-up of TLS, both ways: which files, which authorities, and which certificate for which
//! name. It reads files, so it happens at start-up and while a configuration is compiled.
//!
//! Every plan has set-ups of its own. So the key that seals session tickets lives as long as its
//! plan and its listener: a reload ends resumption, and no ticket opens another listener.

use crate::base::map::Map;
use crate::config::model::{ClientCertificates, ClientTls, KeyPair, Roots, ServerTls, Shown};
use crate::wire::names;
use crate::wire::tls::TlsFault;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientHello, NoServerSessionStorage, ResolvesServerCert, WebPkiClientVerifier,
};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use std::path::Path;
use std::sync::Arc;

/// The one protocol that we speak (RFC 7301 §6).
const ALPN: &[u8] = b"http/1.1";

/// Where systems keep their authorities: Debian and Alpine, Red Hat, SUSE, others.
const SYSTEM_ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What a listener shows, and what it asks of its clients.
pub fn server_config(tls: &ServerTls) -> Result<Arc<ServerConfig>, TlsFault> {
    let chooser = Chooser::new(&tls.certificates, tls.refuse_unknown)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .ok()
        .ok_or(TlsFault::Protocol)?;
    let builder = match &tls.clients {
        Some(clients) => builder.with_client_cert_verifier(verifier(clients)?),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(chooser));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    if tls.clients.is_some() {
        // A resumed session is not verified anew: its certificate may have expired meanwhile.
        config.send_tls13_tickets = 0;
    } else {
        config.ticketer = ring::Ticketer::new().ok().ok_or(TlsFault::Protocol)?;
    }
    Ok(Arc::new(config))
}

/// Whom we trust as a client, and what we show if we are asked.
pub fn client_config(tls: &ClientTls) -> Result<Arc<ClientConfig>, TlsFault> {
    let roots = match &tls.roots {
        Roots::File(path) => authorities(path)?,
        Roots::Mozilla => RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() },
        Roots::System => system_roots().ok_or(TlsFault::SystemRoots)?,
    };
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .ok()
        .ok_or(TlsFault::Protocol)?
        .with_root_certificates(roots);
    let mut config = match &tls.pair {
        Some(pair) => {
            let (chain, key) = read_pair(pair)?;
            builder.with_client_auth_cert(chain, key).ok().ok_or(TlsFault::Mismatch)?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn verifier(clients: &ClientCertificates) -> Result<Arc<dyn ClientCertVerifier>, TlsFault> {
    let roots = Arc::new(authorities(&clients.authority)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let builder = if clients.required { builder } else { builder.allow_unauthenticated() };
    builder.build().ok().ok_or(TlsFault::Authority)
}

/// Every authority of a file; one that is unfit makes the file unfit.
fn authorities(path: &Path) -> Result<RootCertStore, TlsFault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path).ok_or(TlsFault::Authority)? {
        roots.add(certificate).ok().ok_or(TlsFault::Authority)?;
    }
    Ok(roots)
}

/// The first of the system's files that is there; what it holds that nobody can use is left out.
fn system_roots() -> Option<RootCertStore> {
    let found = SYSTEM_ROOTS.iter().find_map(|path| certificates(Path::new(path)))?;
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found);
    (usable > 0).then_some(roots)
}

/// Every certificate of a PEM file, where there is at least one and none is broken.
fn certificates(path: &Path) -> Option<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).ok()?.collect();
    found.ok().filter(|list| !list.is_empty())
}

type Pair = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn read_pair(pair: &KeyPair) -> Result<Pair, TlsFault> {
    let chain = certificates(&pair.certificate).ok_or(TlsFault::CertificateFile)?;
    let key = PrivateKeyDer::from_pem_file(&pair.key).ok().ok_or(TlsFault::KeyFile)?;
    Ok((chain, key))
}

/// Chooses a listener's certificate by the name that a client asks for (RFC 6066 §3): an exact
/// name before a wildcard, and of several for one name the first whose algorithm the client knows,
/// so that RSA and ECDSA may stand beside each other.
#[derive(Debug)]
struct Chooser {
    keys: Vec<Arc<CertifiedKey>>,
    /// By name in lower case; a wildcard without its `*`.
    names: Map<String, Vec<usize>>,
    refuse_unknown: bool,
}

impl Chooser {
    fn new(shown: &[Shown], refuse_unknown: bool) -> Result<Self, TlsFault> {
        let mut chooser = Self { keys: Vec::new(), names: Map::default(), refuse_unknown };
        for (index, one) in shown.iter().enumerate() {
            let (chain, key) = read_pair(&one.pair)?;
            let own = chain.first().map(names::dns_names).unwrap_or_default();
            let key = CertifiedKey::from_der(chain, key, &ring::default_provider());
            chooser.keys.push(Arc::new(key.ok().ok_or(TlsFault::Mismatch)?));
            let names: Vec<&str> = if one.names.is_empty() {
                own.iter().map(|name| &**name).collect()
            } else {
                one.names.iter().map(|name| &**name).collect()
            };
            if names.is_empty() && (index > 0 || refuse_unknown) {
                return Err(TlsFault::Nameless);
            }
            for name in names {
                let name = name.to_ascii_lowercase();
                let name = name.strip_prefix('*').map_or_else(|| name.clone(), str::to_owned);
                chooser.names.entry(name).or_default().push(index);
            }
        }
        Ok(chooser)
    }

    /// The certificates for that name, best first.
    fn named(&self, name: &str) -> Option<&Vec<usize>> {
        let name = name.to_ascii_lowercase();
        // A wildcard stands for one label (RFC 9525 §6.3).
        let behind = name.find('.').and_then(|dot| name.get(dot..));
        self.names.get(&name).or_else(|| self.names.get(behind?))
    }
}

impl ResolvesServerCert for Chooser {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let fits = |key: &&Arc<CertifiedKey>| key.key.choose_scheme(schemes).is_some();
        let found = match hello.server_name().and_then(|name| self.named(name)) {
            Some(indices) => indices.iter().filter_map(|index| self.keys.get(*index)).find(fits),
            None if self.refuse_unknown => None,
            None => self.keys.iter().find(fits),
        };
        found.map(Arc::clone)
    }
}
