//! Authorities and certificates that live as long as their test, and a TLS client and upstream
//! that say exactly what a test says.

#![expect(unreachable_pub, reason = "`pub(crate)` says no more in a test binary")]

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType,
    date_time_ymd,
};
use ringwall::base::clock::Clock;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, ServerConfig,
    ServerConnection, SignatureScheme, StreamOwned,
};
use std::fs;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::Builder;
use std::time::Duration;
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(20);

/// An authority, and the folder of what it signs.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: TempDir,
}

/// A certificate and its key, as PEM files.
#[derive(Clone)]
pub struct Pair {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Authority {
    /// A new one, which nobody trusts yet.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("an authority");
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("it is written");
        Self { issuer, folder }
    }

    /// Its certificate, as a PEM file.
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// A server's certificate for these names.
    pub fn server(&self, file: &str, names: &[&str]) -> Pair {
        self.sign(file, names, |_| {})
    }

    /// A client's certificate with that URI.
    pub fn client(&self, file: &str, uri: &str) -> Pair {
        let uri = SanType::URI(uri.try_into().expect("a URI"));
        self.sign(file, &[], |params| params.subject_alt_names.push(uri))
    }

    /// A server's certificate that was valid once.
    pub fn expired(&self, file: &str, names: &[&str]) -> Pair {
        self.sign(file, names, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2020, 2, 1);
        })
    }

    /// A server's certificate that ends so soon after now.
    pub fn brief(&self, file: &str, names: &[&str], life: Duration) -> Pair {
        let seconds = Clock::machine().wall().0 / 1000 + life.as_secs();
        let ends = i64::try_from(seconds).expect("it is not that late");
        self.sign(file, names, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            let epoch = date_time_ymd(1970, 1, 1);
            params.not_after = epoch + Duration::from_secs(ends.unsigned_abs());
        })
    }

    /// A certificate; a file of that name is replaced.
    fn sign(&self, file: &str, names: &[&str], more: impl FnOnce(&mut CertificateParams)) -> Pair {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        more(&mut params);
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("a certificate");
        let path = |end: &str| self.folder.path().join(format!("{file}.{end}"));
        let pair = Pair { certificate: path("pem"), key: path("key") };
        fs::write(&pair.certificate, signed.pem()).expect("it is written");
        fs::write(&pair.key, key.serialize_pem()).expect("it is written");
        pair
    }

    /// Whom a client of ours trusts.
    pub fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("an authority");
        roots
    }
}

impl Pair {
    /// As the configuration names them.
    pub fn keys(&self) -> String {
        let (certificate, key) = (self.certificate.display(), self.key.display());
        format!("certificate = \"{certificate}\"\nprivate_key = \"{key}\"\n")
    }

    fn read(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let chain = CertificateDer::pem_file_iter(&self.certificate).expect("a file");
        let chain = chain.collect::<Result<_, _>>().expect("certificates");
        (chain, PrivateKeyDer::from_pem_file(&self.key).expect("a key"))
    }
}

/// A client that trusts that authority, shows that certificate and offers these protocols.
pub fn client(authority: &Authority, shows: Option<&Pair>, alpn: &[&str]) -> Arc<ClientConfig> {
    client_of(authority, shows, alpn, rustls::DEFAULT_VERSIONS)
}

/// The same for some versions of TLS only.
pub fn client_of(
    authority: &Authority,
    shows: Option<&Pair>,
    alpn: &[&str],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_root_certificates(authority.roots());
    let mut config = match shows.map(Pair::read) {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key).expect("a pair"),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// A TLS connection.
pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// Connects and shakes hands, asking for that name.
pub fn connect(address: SocketAddr, config: &Arc<ClientConfig>, name: &str) -> io::Result<Tls> {
    let socket = TcpStream::connect_timeout(&address, PATIENCE)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let name = ServerName::try_from(name.to_owned()).expect("a name");
    let session = ClientConnection::new(Arc::clone(config), name).expect("a session");
    let mut stream = StreamOwned::new(session, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Connects and accepts whatever is shown.
pub fn connect_blindly(address: SocketAddr, name: &str) -> Tls {
    let mut config = (*client(&Authority::new(), None, &["http/1.1"])).clone();
    config.dangerous().set_certificate_verifier(Arc::new(Blind));
    connect(address, &Arc::new(config), name).expect("it accepts anything")
}

#[derive(Debug)]
struct Blind;

impl ServerCertVerifier for Blind {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _leaf: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

/// Sends a chat and reads its answer; more fields as `name: value\r\n`.
pub fn chat(stream: &mut (impl Read + Write), more: &str) -> io::Result<(u16, String)> {
    let body = crate::observe::chat_body("hi", "");
    let length = body.len();
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: gateway\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes())?;
    stream.flush()?;
    read_answer(stream)
}

/// One answer with a known length: its status and body.
pub fn read_answer(stream: &mut impl Read) -> io::Result<(u16, String)> {
    let mut inbox = Vec::new();
    let mut block = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&inbox).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length: usize = length.and_then(|length| length.parse().ok()).expect("a length");
            if body.len() >= length {
                let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
                return Ok((status.expect("a status"), body.to_owned()));
            }
        }
        let count = stream.read(&mut block)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        inbox.extend_from_slice(block.get(..count).expect("it read no more"));
    }
}

/// A TLS connection of an upstream.
pub type Served = StreamOwned<ServerConnection, TcpStream>;

/// An upstream over TLS that answers every chat with the name that it was asked for. It trusts the
/// clients of that authority only, where there is one, and lives as long as the test process.
pub fn upstream(pair: &Pair, clients: Option<&Authority>) -> SocketAddr {
    upstream_that(pair, clients, |stream, _request| {
        let name = stream.conn.server_name().unwrap_or("none").to_owned();
        let answer = crate::puppet::chat_answer(&format!("asked for {name}"));
        stream.write_all(answer.replacen("\r\n", "\r\nconnection: close\r\n", 1).as_bytes())?;
        stream.conn.send_close_notify();
        stream.flush()
    })
}

/// The same that does this with each first request of a connection, and then drops it.
pub fn upstream_that(
    pair: &Pair,
    clients: Option<&Authority>,
    act: impl Fn(&mut Served, &str) -> io::Result<()> + Send + 'static,
) -> SocketAddr {
    let (chain, key) = pair.read();
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = match clients {
        Some(authority) => {
            let roots = Arc::new(authority.roots());
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        }
        None => builder.with_no_client_auth(),
    };
    let config = Arc::new(builder.with_single_cert(chain, key).expect("a pair"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let accept = move || {
        for socket in listener.incoming().flatten() {
            // One that breaks off is what some tests are about.
            serve(socket, &config, &act).unwrap_or_default();
        }
    };
    Builder::new().spawn(accept).expect("a thread to accept on");
    address
}

fn serve(
    socket: TcpStream,
    config: &Arc<ServerConfig>,
    act: &impl Fn(&mut Served, &str) -> io::Result<()>,
) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    let session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let mut stream = StreamOwned::new(session, socket);
    let mut inbox = Vec::new();
    let mut block = [0; 4096];
    let is_whole = |said: &str| {
        said.contains("\"messages\"") || said.starts_with("GET ") && said.ends_with("\r\n\r\n")
    };
    while !is_whole(&String::from_utf8_lossy(&inbox)) {
        let count = stream.read(&mut block)?;
        if count == 0 {
            return Ok(());
        }
        inbox.extend_from_slice(block.get(..count).unwrap_or_default());
    }
    let request = String::from_utf8_lossy(&inbox).into_owned();
    act(&mut stream, &request)
}

/// The leaf that a connection was shown.
pub fn leaf(stream: &Tls) -> Vec<u8> {
    let chain = stream.conn.peer_certificates().unwrap_or_default();
    chain.first().map(|leaf| leaf.to_vec()).unwrap_or_default()
}

/// The first certificate of a PEM file.
pub fn der(file: &Path) -> Vec<u8> {
    CertificateDer::from_pem_file(file).expect("a certificate").to_vec()
}
