//! The set-up of TLS, both ways: which files, which authorities, and which certificate for which
//! name. It reads files, so it happens at start-up and while a configuration is compiled.
//!
//! Every plan has set-ups of its own. So the key that seals session tickets lives as long as its
//! plan and its listener: a reload ends resumption, and no ticket opens another listener.

use crate::base::map::Map;
use crate::config::model::{ClientCertificates, ClientTls, KeyPair, Roots, ServerTls, Shown};
use crate::wire::names;
use crate::wire::tls::TlsFault;
use rustls::client::Resumption;
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
        Roots::System => system_roots(&SYSTEM_ROOTS).ok_or(TlsFault::SystemRoots)?,
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
    // A resumed session shows no certificate, so one that expired meanwhile would stay trusted for
    // as long as there are tickets. Connections are pooled: few handshakes are saved by them.
    config.resumption = Resumption::disabled();
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
fn system_roots(paths: &[&str]) -> Option<RootCertStore> {
    let found = paths.iter().find_map(|path| certificates(Path::new(path)))?;
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

#[cfg(test)]
mod tests {
    use super::{client_config, server_config, system_roots};
    use crate::config::model::{ClientTls, KeyPair, Roots, ServerTls, Shown};
    use crate::wire::tls::TlsFault;
    use rcgen::{CertificateParams, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SignatureAlgorithm};
    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{
        ClientConnection, Connection, DigitallySignedStruct, Error, ServerConnection,
        SignatureScheme,
    };
    use std::path::PathBuf;
    use std::sync::Arc;
    use tempfile::TempDir;

    /// A certificate for these names in the folder.
    fn make(
        folder: &TempDir,
        file: &str,
        names: &[&str],
        algorithm: &'static SignatureAlgorithm,
    ) -> KeyPair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let made = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        let path = |end: &str| folder.path().join(format!("{file}.{end}"));
        let pair = KeyPair { certificate: path("pem"), key: path("key") };
        std::fs::write(&pair.certificate, made.pem()).unwrap();
        std::fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }

    fn showing(pairs: Vec<KeyPair>, refuse_unknown: bool) -> ServerTls {
        let shown = |pair| Shown { pair, names: Vec::new() };
        let certificates = pairs.into_iter().map(shown).collect();
        ServerTls { certificates, refuse_unknown, clients: None }
    }

    /// A verifier that accepts whatever is signed in one way.
    #[derive(Debug)]
    struct OneWay(SignatureScheme);

    impl ServerCertVerifier for OneWay {
        fn verify_server_cert(
            &self,
            _leaf: &CertificateDer<'_>,
            _chain: &[CertificateDer<'_>],
            _name: &ServerName<'_>,
            _ocsp: &[u8],
            _now: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            _message: &[u8],
            _leaf: &CertificateDer<'_>,
            _signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn verify_tls13_signature(
            &self,
            _message: &[u8],
            _leaf: &CertificateDer<'_>,
            _signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            Ok(HandshakeSignatureValid::assertion())
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            vec![self.0]
        }
    }

    /// The leaf that a client is shown which knows one way to sign.
    fn shown_to(tls: &ServerTls, name: &str, scheme: SignatureScheme) -> Option<Vec<u8>> {
        let trusting = ClientTls { roots: Roots::Mozilla, pair: None, name: None };
        let mut config = (*client_config(&trusting).unwrap()).clone();
        config.dangerous().set_certificate_verifier(Arc::new(OneWay(scheme)));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let near = ClientConnection::new(Arc::new(config), name).unwrap();
        let far = ServerConnection::new(server_config(tls).unwrap()).unwrap();
        let (mut near, mut far) = (Connection::from(near), Connection::from(far));
        while near.is_handshaking() || far.is_handshaking() {
            pass(&mut near, &mut far)?;
            pass(&mut far, &mut near)?;
        }
        Some(near.peer_certificates()?.first()?.to_vec())
    }

    /// Carries what one has to say to the other.
    fn pass(from: &mut Connection, to: &mut Connection) -> Option<()> {
        let mut carried = Vec::new();
        while from.wants_write() {
            from.write_tls(&mut carried).unwrap();
        }
        let mut rest = &carried[..];
        while !rest.is_empty() {
            to.read_tls(&mut rest).unwrap();
            to.process_new_packets().ok()?;
        }
        Some(())
    }

    fn der(pair: &KeyPair) -> Vec<u8> {
        super::certificates(&pair.certificate).unwrap()[0].to_vec()
    }

    #[test]
    fn of_two_certificates_for_one_name_the_client_gets_the_one_that_it_can_check() {
        let folder = TempDir::new().unwrap();
        let modern = make(&folder, "modern", &["one.example.org"], &PKCS_ED25519);
        let usual = make(&folder, "usual", &["one.example.org"], &PKCS_ECDSA_P256_SHA256);
        let tls = showing(vec![modern.clone(), usual.clone()], true);
        let shown = |scheme| shown_to(&tls, "one.example.org", scheme);
        assert_eq!(shown(SignatureScheme::ED25519), Some(der(&modern)));
        assert_eq!(shown(SignatureScheme::ECDSA_NISTP256_SHA256), Some(der(&usual)));
        assert_eq!(shown(SignatureScheme::RSA_PSS_SHA256), None);
    }

    #[test]
    fn who_names_no_host_is_shown_the_first_or_nothing() {
        let folder = TempDir::new().unwrap();
        let one = make(&folder, "one", &["one.example.org"], &PKCS_ECDSA_P256_SHA256);
        let two = make(&folder, "two", &["two.example.org"], &PKCS_ECDSA_P256_SHA256);
        let scheme = SignatureScheme::ECDSA_NISTP256_SHA256;
        // An address is no name: it is not asked for (RFC 6066 §3).
        let shown = |refuse| {
            shown_to(&showing(vec![one.clone(), two.clone()], refuse), "127.0.0.1", scheme)
        };
        assert_eq!(shown(false), Some(der(&one)));
        assert_eq!(shown(true), None);
    }

    #[test]
    fn a_certificate_that_nobody_could_be_shown_is_unfit() {
        let folder = TempDir::new().unwrap();
        let named = make(&folder, "named", &["one.example.org"], &PKCS_ECDSA_P256_SHA256);
        let bare = make(&folder, "bare", &["127.0.0.1"], &PKCS_ECDSA_P256_SHA256);
        let fault = |tls: &ServerTls| server_config(tls).err();
        let (named, bare) = (|| named.clone(), || bare.clone());
        assert_eq!(fault(&showing(vec![named(), bare()], false)), Some(TlsFault::Nameless));
        assert_eq!(fault(&showing(vec![bare()], true)), Some(TlsFault::Nameless));
        assert_eq!(fault(&showing(vec![bare(), named()], false)), None);
        let mut told = showing(vec![named(), bare()], false);
        told.certificates[1].names.push("told.example.org".into());
        assert_eq!(fault(&told), None);
    }

    #[test]
    fn the_systems_authorities_are_those_of_the_first_file_that_is_there() {
        let folder = TempDir::new().unwrap();
        let root = make(&folder, "root", &["root"], &PKCS_ECDSA_P256_SHA256);
        let text = |path: &PathBuf| path.to_str().unwrap().to_owned();
        let (missing, found) = (text(&folder.path().join("missing")), text(&root.certificate));
        let (key, broken) = (text(&root.key), text(&folder.path().join("broken")));
        // Bundles hold certificates that nobody can use; the others count.
        let odd = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let good = std::fs::read_to_string(&root.certificate).unwrap();
        std::fs::write(&broken, format!("{odd}{good}")).unwrap();
        let count = |paths: &[&str]| system_roots(paths).map(|roots| roots.len());
        assert_eq!(count(&[&missing, &found]), Some(1));
        assert_eq!(count(&[&broken]), Some(1));
        assert_eq!(count(&[&missing]), None);
        assert_eq!(count(&[&key]), None);
    }
}
