//! TLS as bytes in and bytes out: a thin layer over rustls with owned buffers, and its set-up.
//!
//! The buffers are ours because an operation of the runtime owns its buffer while it waits. Only
//! TLS 1.2 and 1.3, ring, and HTTP/1.1 are offered. The set-up reads files, so it happens at
//! start-up and on the control thread only.

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Connection, Error, RootCertStore,
    ServerConfig, ServerConnection,
};
use std::io::{BufRead, ErrorKind, Write};
use std::path::Path;
use std::sync::Arc;

/// Plain bytes that are made into records at once, so that a large body is not held twice.
pub(crate) const PIECE_BYTES: usize = 32 * 1024;

/// Why TLS could not be set up, or ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// The peer sent an alert: it does not accept us.
    Alert,
    /// The file of trusted authorities cannot be read or holds no certificate.
    Authority,
    /// The certificate file cannot be read or holds no certificate.
    CertificateFile,
    /// The peer's certificate has expired, or is not valid yet.
    Expired,
    /// The key file cannot be read or holds no private key.
    KeyFile,
    /// Certificate and key do not belong together, or are of no kind that can be used.
    Mismatch,
    /// The name to verify is no host name or address.
    Name,
    /// The peer's certificate is for another name.
    OtherName,
    /// The peer does not keep to the protocol, or offers nothing that we accept.
    Protocol,
    /// Nobody that we trust vouches for the peer's certificate.
    Untrusted,
}

impl std::fmt::Display for TlsFault {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Alert => "the peer sent an alert",
            Self::Authority => "the file of authorities cannot be read or holds no certificate",
            Self::CertificateFile => "the certificate file cannot be read or holds no certificate",
            Self::Expired => "the peer's certificate is not valid at this time",
            Self::KeyFile => "the key file cannot be read or holds no private key",
            Self::Mismatch => "certificate and key do not belong together",
            Self::Name => "the name to verify is no host name or address",
            Self::OtherName => "the peer's certificate is for another name",
            Self::Protocol => "the peer does not keep to the protocol",
            Self::Untrusted => "the peer's certificate is not trusted",
        })
    }
}

impl std::error::Error for TlsFault {}

/// What a listener shows: a chain and its key, both PEM.
pub fn server_config(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsFault> {
    let chain = certificates(certificate).ok_or(TlsFault::CertificateFile)?;
    let key = PrivateKeyDer::from_pem_file(key).ok().ok_or(TlsFault::KeyFile)?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .ok()
        .ok_or(TlsFault::Protocol)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .ok()
        .ok_or(TlsFault::Mismatch)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// Whom we trust as a client: the authorities of a PEM file and nobody else, or Mozilla's.
pub fn client_config(authority: Option<&Path>) -> Result<Arc<ClientConfig>, TlsFault> {
    let mut roots = RootCertStore::empty();
    match authority {
        Some(path) => {
            for certificate in certificates(path).ok_or(TlsFault::Authority)? {
                roots.add(certificate).ok().ok_or(TlsFault::Authority)?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .ok()
        .ok_or(TlsFault::Protocol)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Every certificate of a PEM file, where there is at least one and none is broken.
fn certificates(path: &Path) -> Option<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).ok()?.collect();
    found.ok().filter(|list| !list.is_empty())
}

/// One connection's TLS, between the plain bytes and those of the socket.
#[derive(Debug)]
pub(crate) struct Session {
    connection: Connection,
    /// From the socket; what stands before `at` was taken in.
    input: Vec<u8>,
    at: usize,
    /// For the socket; kept for its capacity.
    output: Vec<u8>,
}

/// What a session has to say to its reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// That many plain bytes were appended.
    Bytes(usize),
    /// The peer ended the session properly.
    End,
    /// More has to come from the socket.
    Nothing,
}

impl Session {
    pub(crate) fn server(config: Arc<ServerConfig>) -> Result<Self, TlsFault> {
        let connection = ServerConnection::new(config).map_err(|error| fault_of(&error))?;
        Ok(Self::new(connection.into()))
    }

    pub(crate) fn client(config: Arc<ClientConfig>, name: &str) -> Result<Self, TlsFault> {
        let name = ServerName::try_from(name.to_owned()).ok().ok_or(TlsFault::Name)?;
        let connection = ClientConnection::new(config, name).map_err(|error| fault_of(&error))?;
        Ok(Self::new(connection.into()))
    }

    fn new(connection: Connection) -> Self {
        Self { connection, input: Vec::new(), at: 0, output: Vec::new() }
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Appends at most `room` plain bytes.
    pub(crate) fn read(&mut self, into: &mut Vec<u8>, room: usize) -> Result<Heard, TlsFault> {
        let mut reader = self.connection.reader();
        let taken = match reader.fill_buf() {
            Ok(plain) => {
                let taken = plain.len().min(room);
                into.extend_from_slice(plain.get(..taken).unwrap_or_default());
                taken
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Heard::Nothing),
            Err(_) => return Err(TlsFault::Protocol),
        };
        reader.consume(taken);
        Ok(if taken == 0 { Heard::End } else { Heard::Bytes(taken) })
    }

    /// The buffer that the next bytes of the socket are appended to.
    pub(crate) fn input(&mut self) -> &mut Vec<u8> {
        if self.at >= self.input.len() {
            self.input.clear();
            self.at = 0;
        }
        &mut self.input
    }

    /// Whether bytes of the socket were not taken in yet.
    pub(crate) fn has_input(&self) -> bool {
        self.at < self.input.len()
    }

    /// Gives the input's memory back before a long wait.
    pub(crate) fn rest(&mut self) {
        if !self.has_input() {
            self.input = Vec::new();
            self.at = 0;
        }
        self.output = Vec::new();
    }

    /// Takes in some of the input. Read what it gave before the next call: the room for plain
    /// bytes is bounded.
    pub(crate) fn feed(&mut self) -> Result<(), TlsFault> {
        let mut rest = self.input.get(self.at..).unwrap_or_default();
        let taken = self.connection.read_tls(&mut rest).ok().ok_or(TlsFault::Protocol)?;
        // Nothing is taken in behind a close_notify: what follows it means nothing.
        self.at = if taken == 0 { self.input.len() } else { self.at + taken };
        let state = self.connection.process_new_packets();
        state.map(drop).map_err(|error| fault_of(&error))
    }

    /// Encrypts at most [`PIECE_BYTES`].
    pub(crate) fn write(&mut self, plain: &[u8]) -> Result<(), TlsFault> {
        self.connection.writer().write_all(plain).ok().ok_or(TlsFault::Protocol)
    }

    /// Says that nothing will follow.
    pub(crate) fn close(&mut self) {
        self.connection.send_close_notify();
    }

    /// All that is to be sent, where there is something.
    pub(crate) fn take_output(&mut self) -> Option<Vec<u8>> {
        let mut output = std::mem::take(&mut self.output);
        output.clear();
        while self.connection.wants_write() {
            // A Vec takes all that it is given.
            if self.connection.write_tls(&mut output).is_err() {
                break;
            }
        }
        if output.is_empty() {
            self.output = output;
            return None;
        }
        Some(output)
    }

    /// Gives the output buffer back for the next time.
    pub(crate) fn give_output(&mut self, output: Vec<u8>) {
        self.output = output;
    }
}

/// Our word for what rustls says; never the peer's text.
fn fault_of(error: &Error) -> TlsFault {
    if let Error::InvalidCertificate(wrong) = error {
        if matches!(
            wrong,
            CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. }
        ) {
            return TlsFault::Expired;
        }
        if matches!(
            wrong,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        ) {
            return TlsFault::OtherName;
        }
        return TlsFault::Untrusted;
    }
    if matches!(error, Error::AlertReceived(_)) { TlsFault::Alert } else { TlsFault::Protocol }
}

/// The one protocol that we speak (RFC 7301 §6).
const ALPN: &[u8] = b"http/1.1";
