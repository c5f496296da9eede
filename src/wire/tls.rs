//! TLS as bytes in and bytes out: a thin layer over rustls with owned buffers.
//!
//! The buffers are ours because an operation of the runtime owns its buffer while it waits. Only
//! TLS 1.2 and 1.3, ring, and HTTP/1.1 are offered; `certificates` sets them up.

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    CertificateError, ClientConfig, ClientConnection, Connection, Error, ServerConfig,
    ServerConnection,
};
use std::io::{BufRead, ErrorKind, Write};
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
    /// A certificate beside the first that holds no name, and is given none: nobody would see it.
    Nameless,
    /// The name to verify is no host name or address.
    Name,
    /// The peer's certificate is for another name.
    OtherName,
    /// The peer does not keep to the protocol, or offers nothing that we accept.
    Protocol,
    /// The system's file of authorities is at none of the usual places, or holds none.
    SystemRoots,
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
            Self::Nameless => "the certificate holds no name that it could be chosen for",
            Self::Name => "the name to verify is no host name or address",
            Self::OtherName => "the peer's certificate is for another name",
            Self::Protocol => "the peer does not keep to the protocol",
            Self::SystemRoots => "the system's authorities are at none of the usual places",
            Self::Untrusted => "the peer's certificate is not trusted",
        })
    }
}

impl std::error::Error for TlsFault {}

/// One connection's TLS, between the plain bytes and those of the socket.
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

    /// The certificate that the peer has shown and that was verified.
    pub(crate) fn peer_certificate(&self) -> Option<&CertificateDer<'static>> {
        self.connection.peer_certificates()?.first()
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

#[cfg(test)]
mod tests {
    use super::TlsFault;
    use crate::base::clock::Clock;
    use crate::config::model::{ClientTls, KeyPair, Roots, ServerTls, Shown};
    use crate::wire::certificates::{client_config, server_config};
    use crate::wire::dial;
    use crate::wire::error::WireError;
    use crate::wire::listen::Listener;
    use crate::wire::runtime::{self, Driver};
    use crate::wire::socket::{AHEAD_BYTES_MAX, Socket};
    use crate::wire::watch::Watch;
    use rustls::{ClientConfig, ServerConfig};
    use std::path::PathBuf;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::time::Duration;
    use tempfile::TempDir;

    const LIMIT: Duration = Duration::from_secs(5);

    struct Files {
        folder: TempDir,
    }

    impl Files {
        fn new() -> Self {
            let files = Self { folder: TempDir::new().unwrap() };
            let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
            let made = rcgen::generate_simple_self_signed(names).unwrap();
            std::fs::write(files.certificate(), made.cert.pem()).unwrap();
            std::fs::write(files.key(), made.signing_key.serialize_pem()).unwrap();
            files
        }

        fn pair(&self) -> KeyPair {
            KeyPair { certificate: self.certificate(), key: self.key() }
        }

        fn certificate(&self) -> PathBuf {
            self.folder.path().join("certificate.pem")
        }

        fn key(&self) -> PathBuf {
            self.folder.path().join("key.pem")
        }
    }

    fn shown(pair: KeyPair) -> ServerTls {
        let certificates = vec![Shown { pair, names: Vec::new() }];
        ServerTls { certificates, refuse_unknown: false, clients: None }
    }

    fn trusting(roots: Roots) -> ClientTls {
        ClientTls { roots, pair: None, name: None }
    }

    /// A worker's worth of TLS: both configurations and a watch that ticks.
    struct Stage {
        server: Arc<ServerConfig>,
        client: Arc<ClientConfig>,
        watch: Watch,
    }

    impl Stage {
        fn new() -> Rc<Self> {
            let files = Files::new();
            let stage = Self {
                server: server_config(&shown(files.pair())).unwrap(),
                client: client_config(&trusting(Roots::File(files.certificate()))).unwrap(),
                watch: Watch::new(Clock::machine()),
            };
            runtime::spawn(stage.watch.clone().keep(), || panic!("the watch must not panic"));
            Rc::new(stage)
        }

        /// What each side of a handshake says.
        async fn shake(
            self: &Rc<Self>,
            client: Arc<ClientConfig>,
            name: &str,
        ) -> (Result<Socket, WireError>, Result<Socket, WireError>) {
            let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.local();
            let (server, watch) = (Arc::clone(&self.server), self.watch.clone());
            let far = monoio::spawn(async move {
                let (stream, _) = listener.accept().await.unwrap();
                let socket = Socket::adopt(stream, &watch).unwrap();
                socket.accept_tls(server, LIMIT).await
            });
            let near = dial::connect_tls(address, &self.watch, LIMIT, client, name).await;
            (near, far.await)
        }

        async fn pair(self: &Rc<Self>) -> (Socket, Socket) {
            let (near, far) = self.shake(Arc::clone(&self.client), "localhost").await;
            (near.unwrap(), far.unwrap())
        }
    }

    fn on_both<F: Future<Output = ()>>(test: impl Fn(Rc<Stage>) -> F) {
        for driver in [Driver::IoUring, Driver::Epoll] {
            runtime::run(Some(driver), async |_| test(Stage::new()).await).unwrap();
        }
    }

    #[test]
    fn bytes_arrive_and_close_notify_is_the_end() {
        on_both(async |stage| {
            let (mut near, mut far) = stage.pair().await;
            near.write(b"hello".to_vec(), LIMIT).await.unwrap();
            let mut got = Vec::new();
            assert_eq!(far.idle(&mut got, LIMIT).await, Ok(5));
            far.write(b"world".to_vec(), LIMIT).await.unwrap();
            assert_eq!(near.read(&mut got, 2, LIMIT).await, Ok(2));
            assert_eq!(near.read(&mut got, 9, LIMIT).await, Ok(3));
            assert_eq!(got, b"helloworld");
            assert!(near.is_reusable());
            runtime::spawn(near.shutdown(), || {});
            assert_eq!(far.read(&mut got, 9, LIMIT).await, Ok(0));
        });
    }

    #[test]
    fn a_connection_that_ends_without_close_notify_is_no_end() {
        on_both(async |stage| {
            let (near, mut far) = stage.pair().await;
            drop(near);
            let mut got = Vec::new();
            assert_eq!(far.read(&mut got, 9, LIMIT).await, Err(WireError::Closed));
        });
    }

    /// Sends that many bytes back and ends.
    async fn echo(mut socket: Socket, count: usize) {
        let mut got = Vec::new();
        while got.len() < count {
            socket.read(&mut got, 64 * 1024, LIMIT).await.unwrap();
        }
        socket.write(got, LIMIT).await.unwrap();
        socket.shutdown().await;
    }

    #[test]
    fn large_bodies_arrive_whole_both_ways() {
        on_both(async |stage| {
            let (mut near, far) = stage.pair().await;
            let body: Vec<u8> = (0..500_000_u32).map(|at| at.to_le_bytes()[1]).collect();
            let expected = body.clone();
            runtime::spawn(echo(far, body.len()), || panic!("the echo must not panic"));
            near.write(body, LIMIT).await.unwrap();
            let mut got = Vec::new();
            while near.read(&mut got, 64 * 1024, LIMIT).await.unwrap() > 0 {}
            assert!(got == expected);
        });
    }

    #[test]
    fn a_client_that_leaves_is_noticed_with_and_without_close_notify() {
        on_both(async |stage| {
            assert_eq!(leave(&stage, true).await, Err(WireError::PeerGone));
            assert_eq!(leave(&stage, false).await, Err(WireError::PeerGone));
        });
    }

    /// What reading a silent upstream says when the client leaves meanwhile.
    async fn leave(stage: &Rc<Stage>, notify: bool) -> Result<usize, WireError> {
        let (mut upstream, _silent) = stage.pair().await;
        let (leaver, mut client) = stage.pair().await;
        let leave = async move {
            runtime::sleep(Duration::from_millis(3)).await;
            if notify {
                leaver.shutdown().await;
            }
        };
        runtime::spawn(leave, || {});
        upstream.read_while(&mut Vec::new(), 64, LIMIT, &mut client).await
    }

    #[test]
    fn what_a_client_sends_ahead_is_kept() {
        on_both(async |stage| {
            let (mut upstream, mut origin) = stage.pair().await;
            let (mut caller, mut client) = stage.pair().await;
            let size = 3 * AHEAD_BYTES_MAX;
            let talk = async move {
                caller.write(vec![b'x'; size], LIMIT).await.unwrap();
                // Long enough for the client to be watched.
                runtime::sleep(Duration::from_millis(130)).await;
                origin.write(b"answer".to_vec(), LIMIT).await.unwrap();
                runtime::sleep(LIMIT).await;
                drop((caller, origin));
            };
            runtime::spawn(talk, || panic!("the peers must not panic"));
            let mut got = Vec::new();
            let read = upstream.read_while(&mut got, 64, LIMIT, &mut client).await;
            assert_eq!(read, Ok(6));
            assert!(!client.is_reusable());
            let mut all = Vec::new();
            while all.len() < size {
                client.read(&mut all, 4096, LIMIT).await.unwrap();
            }
            assert!(all.iter().all(|byte| *byte == b'x'));
        });
    }

    #[test]
    fn only_the_right_name_signed_by_the_right_authority_is_trusted() {
        on_both(async |stage| {
            let (near, _) = stage.shake(Arc::clone(&stage.client), "127.0.0.1").await;
            near.unwrap();
            let (near, far) = stage.shake(Arc::clone(&stage.client), "example.com").await;
            assert_eq!(near.map(drop), Err(WireError::Tls(TlsFault::OtherName)));
            // The server is told by an alert.
            assert_eq!(far.map(drop), Err(WireError::Tls(TlsFault::Alert)));
            let stranger = client_config(&trusting(Roots::Mozilla)).unwrap();
            let (near, _) = stage.shake(stranger, "localhost").await;
            assert_eq!(near.map(drop), Err(WireError::Tls(TlsFault::Untrusted)));
            let (near, _) = stage.shake(Arc::clone(&stage.client), "no name").await;
            assert_eq!(near.map(drop), Err(WireError::Tls(TlsFault::Name)));
        });
    }

    #[test]
    fn plain_text_on_a_tls_port_is_a_fault() {
        on_both(async |stage| {
            let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = listener.local();
            let mut near = dial::connect(address, &stage.watch, LIMIT).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            near.write(b"GET / HTTP/1.1\r\n\r\n".to_vec(), LIMIT).await.unwrap();
            let far = Socket::adopt(stream, &stage.watch).unwrap();
            let shaken = far.accept_tls(Arc::clone(&stage.server), LIMIT).await;
            assert_eq!(shaken.map(drop), Err(WireError::Tls(TlsFault::Protocol)));
        });
    }

    #[test]
    fn a_silent_handshake_runs_into_its_limit() {
        on_both(async |stage| {
            let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let _near = dial::connect(listener.local(), &stage.watch, LIMIT).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let far = Socket::adopt(stream, &stage.watch).unwrap();
            let short = Duration::from_millis(10);
            let shaken = far.accept_tls(Arc::clone(&stage.server), short).await;
            assert_eq!(shaken.map(drop), Err(WireError::Deadline));
        });
    }

    #[test]
    fn a_file_that_does_not_serve_is_named() {
        let files = Files::new();
        let (certificate, key) = (files.certificate(), files.key());
        let missing = files.folder.path().join("missing.pem");
        let server = |certificate: &PathBuf, key: &PathBuf| {
            let pair = KeyPair { certificate: certificate.clone(), key: key.clone() };
            server_config(&shown(pair)).map(drop)
        };
        let client = |roots| client_config(&trusting(roots)).map(drop);
        assert_eq!(server(&certificate, &key), Ok(()));
        assert_eq!(server(&missing, &key), Err(TlsFault::CertificateFile));
        assert_eq!(server(&key, &key), Err(TlsFault::CertificateFile));
        assert_eq!(server(&certificate, &missing), Err(TlsFault::KeyFile));
        assert_eq!(server(&certificate, &certificate), Err(TlsFault::KeyFile));
        assert_eq!(client(Roots::File(missing)), Err(TlsFault::Authority));
        assert_eq!(client(Roots::File(key)), Err(TlsFault::Authority));
        assert_eq!(client(Roots::Mozilla), Ok(()));
    }
}
