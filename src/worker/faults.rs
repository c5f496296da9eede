//! For tests: one worker's floor, whose sockets fail at each operation in turn.
//!
//! Whole exchanges of every kind go through `worker::serve`, in front of the demo upstreams, and
//! their k-th read, write or connect fails in each way, for every k. After each, the invariants of
//! the house hold.

#[cfg(test)]
mod tests {
    use crate::base::clock::Clock;
    use crate::config::load;
    use crate::config::model::{ClientTls, KeyPair, Roots, ServerTls, Shown};
    use crate::demo::serve::{self as demo, Running};
    use crate::gateway::loads::Loads;
    use crate::gateway::mail::{Accepted, BATCHES_MAX, Batch, Mailbox, NOTES_MAX};
    use crate::gateway::plan::Plan;
    use crate::gateway::shard::{Deployed, RECORDS_MAX, Shard};
    use crate::http::body::BodyDecoder;
    use crate::http::head::{BodyLength, HeadBounds, Parsed};
    use crate::http::response::parse_response;
    use crate::mcp::session::Seal;
    use crate::wire::bell::bell;
    use crate::wire::certificates::{client_config, server_config};
    use crate::wire::error::WireError;
    use crate::wire::fault::{Fault, arm, disarm};
    use crate::wire::runtime::{self, Driver, sleep};
    use crate::wire::stream::Raw;
    use crate::wire::watch::Watch;
    use crate::worker::accept::Floor;
    use crate::worker::flag::Flag;
    use crate::worker::serve;
    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection, StreamOwned};
    use serde_json::Value;
    use std::io::{ErrorKind, Read, Write};
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::path::{Path, PathBuf};
    use std::rc::Rc;
    use std::sync::Arc;
    use std::thread::Builder;
    use std::time::Duration;
    use tempfile::TempDir;

    const CONFIG: &str = include_str!("../../tests/clients/gateway.toml.in");
    const KEY: &str = "suite-key";
    /// What the masker must keep from the client; the demo model gives it away.
    const LEAK: &str = "4242 4242 4242 4242";
    const PATIENCE: Duration = Duration::from_secs(10);
    /// More than any exchange here has operations.
    const OPERATIONS_MAX: u32 = 200;

    /// Reads and writes of a server's handshake, and the read that waits for the request.
    const HANDSHAKE_OPERATIONS_MAX: u32 = 6;

    const FAULTS: [Fault; 6] = [
        Fault::Error(WireError::Closed),
        Fault::Error(WireError::Deadline),
        Fault::Error(WireError::Stopped),
        Fault::Error(WireError::Io(ErrorKind::Other)),
        Fault::End,
        Fault::Panic,
    ];

    /// A worker without its threads: everything on the test's own loop.
    struct Bench {
        floor: Rc<Floor>,
        plan: Arc<Plan>,
        batches: Mailbox<Batch>,
        listener: TcpListener,
        /// What clients of the listener that speaks TLS trust; `None`: they speak in the clear.
        trust: Option<Arc<ClientConfig>>,
    }

    /// One exchange: its bytes, and what a whole answer has in its body.
    #[derive(Clone)]
    struct Kind {
        name: &'static str,
        request: Vec<u8>,
        status: u16,
        says: &'static str,
    }

    /// What a client read.
    #[derive(Debug, Default)]
    struct Heard {
        /// The statuses and bodies of whole answers.
        whole: Vec<(u16, String)>,
        /// Everything, as it came.
        raw: Vec<u8>,
        /// Whether something came after the last whole answer, which then is a part of one.
        is_cut: bool,
    }

    #[expect(clippy::disallowed_methods, reason = "a test may wait for the disk")]
    fn config(upstreams: &Running, text: &str) -> Arc<Plan> {
        let digest = |key: &str| {
            let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
            data_encoding::HEXLOWER.encode(digest.as_ref())
        };
        let mcp = upstreams.mcp_addr.to_string();
        let text = text
            .replace("%GATEWAY%", "127.0.0.1:1")
            .replace("%ADMIN%", "127.0.0.1:2")
            .replace("%AUDIT%", "audit")
            .replace("%MODEL%", &upstreams.model_addr.to_string())
            .replace("%EVERYTHING%", &mcp)
            .replace("%MCP%", &mcp)
            .replace("%SUITE_DIGEST%", &digest(KEY))
            .replace("%LIMITED_DIGEST%", &digest("limited-key"));
        let files = |path: &Path| std::fs::read(path);
        let config = load::parse("faults.toml", &text, &[], &|_| None, &files);
        let config = config.unwrap_or_else(|faults| panic!("{:?}", faults.list));
        Arc::new(Plan::compile(config, Arc::new(Seal::new([7; 32])), None).unwrap())
    }

    /// Two routes, of which the first leads nowhere.
    fn with_a_dead_route(text: &str, dead: SocketAddr) -> String {
        let provider = format!("[[provider]]\nname = \"dead\"\nurl = \"http://{dead}/v1\"\n\n");
        text.replace("[\"demo/demo-model\"]", "[\"dead/demo-model\", \"demo/demo-model\"]")
            .replace("[[model]]", &format!("{provider}[[model]]"))
    }

    fn addresses(plan: &Plan) -> Vec<Arc<[SocketAddr]>> {
        let at = |host: &str, port| Arc::from([SocketAddr::new(host.parse().unwrap(), port)]);
        plan.config.targets.iter().map(|target| at(&target.host, target.port)).collect()
    }

    impl Bench {
        fn new(plan: &Arc<Plan>) -> Self {
            Self::with(plan, Clock::machine())
        }

        fn with(plan: &Arc<Plan>, clock: Clock) -> Self {
            let plan = Arc::clone(plan);
            let book = Arc::new(addresses(&plan));
            let deployed = Deployed::build(Arc::clone(&plan), book).unwrap();
            let (ringer, _bell) = bell().unwrap();
            let batches = Mailbox::new(BATCHES_MAX, ringer.clone());
            let notes = Mailbox::new(NOTES_MAX, ringer);
            let watch = Watch::new(clock.clone());
            runtime::spawn(watch.clone().keep(), || {});
            let shard = Shard::new(0, clock, watch, deployed, notes, batches.clone());
            let (loads, drain) = (Loads::new(1), Flag::default());
            let floor = Rc::new(Floor { shard: Rc::new(shard), loads, peers: Vec::new(), drain });
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            Self { floor, plan, batches, listener, trust: None }
        }

        /// One connection, on which a client says this; ends when both sides are done with it.
        async fn converse(&self, requests: Vec<Vec<u8>>) -> Heard {
            let address = self.listener.local_addr().unwrap();
            let (tell, told) = std::sync::mpsc::channel();
            let trust = self.trust.clone();
            let client = move || tell.send(client(address, trust, &requests)).unwrap();
            let thread = Builder::new().spawn(client).unwrap();
            let (stream, peer) = self.listener.accept().unwrap();
            let counted = self.floor.loads.count(0, Some(peer.ip()));
            let listener = self.plan.listener_tls.iter().position(Option::is_some).unwrap_or(0);
            let accepted = Accepted { stream: Raw::Tcp(stream), peer: Some(peer), listener };
            serve::start(Rc::clone(&self.floor), accepted, counted);
            let clock = Clock::machine();
            let began = clock.mono();
            let mut heard = None;
            while heard.is_none() || self.floor.loads.of(0) > 0 {
                sleep(Duration::from_millis(1)).await;
                heard = heard.or_else(|| told.try_recv().ok());
                assert!(clock.mono().since(began) < PATIENCE, "it does not end: {heard:?}");
            }
            thread.join().unwrap();
            heard.unwrap()
        }

        fn records(&self) -> Vec<Value> {
            self.floor.shard.flush();
            let lines = std::iter::from_fn(|| self.batches.take()).flatten();
            lines.map(|line| serde_json::from_slice(&line).unwrap()).collect()
        }

        fn pooled(&self) -> usize {
            self.floor.shard.deployed().pool.borrow().idle()
        }

        /// Nothing is held once all connections ended.
        fn assert_released(&self, case: &str) {
            assert_eq!(self.floor.shard.live.get(), 0, "{case}: an exchange lives");
            assert_eq!(self.plan.ledger.live(), 0, "{case}: a lease is held");
            // One client and the two targets' connections; a place that leaks adds one each time.
            assert!(self.floor.shard.watch.places() <= 6, "{case}: places leak");
            assert!(self.pooled() <= 3, "{case}: {} connections are pooled", self.pooled());
        }

        /// Without a fault the exchange goes well, over whatever the pool holds.
        async fn assert_well(&self, kind: &Kind, case: &str) {
            let heard = self.converse(vec![kind.request.clone()]).await;
            let [(status, body)] = &heard.whole[..] else { panic!("{case}, after it: {heard:?}") };
            assert_eq!(*status, kind.status, "{case}, after it: {body}");
            assert!(body.contains(kind.says), "{case}, after it: {body}");
            assert_eq!(self.records().len(), 1, "{case}, after it");
            self.assert_released(case);
        }
    }

    /// A client's connection.
    enum Line {
        Plain(TcpStream),
        Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    }

    impl Line {
        fn connect(address: SocketAddr, trust: Option<Arc<ClientConfig>>) -> Self {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let Some(trust) = trust else { return Self::Plain(stream) };
            let name = ServerName::try_from("localhost").unwrap();
            let session = ClientConnection::new(trust, name).unwrap();
            Self::Tls(Box::new(StreamOwned::new(session, stream)))
        }

        fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
            match self {
                Self::Plain(stream) => stream.write_all(bytes),
                Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            }
        }

        fn read(&mut self, block: &mut [u8]) -> std::io::Result<usize> {
            match self {
                Self::Plain(stream) => stream.read(block),
                Self::Tls(stream) => stream.read(block),
            }
        }

        /// Says that nothing will follow.
        fn end(&mut self) {
            let stream = match self {
                Self::Plain(stream) => stream,
                Self::Tls(stream) => {
                    stream.conn.send_close_notify();
                    drop(stream.flush());
                    &mut stream.sock
                }
            };
            drop(stream.shutdown(std::net::Shutdown::Write));
        }
    }

    /// Asks one request after the other on one connection, while it is kept.
    fn client(
        address: SocketAddr,
        trust: Option<Arc<ClientConfig>>,
        requests: &[Vec<u8>],
    ) -> Heard {
        let mut stream = Line::connect(address, trust);
        let mut heard = Heard::default();
        let mut at = 0;
        for request in requests {
            // A connection that was closed meanwhile takes nothing, and is read to its end below.
            if stream.write(request).is_err() {
                break;
            }
            match answer(&mut stream, &mut heard.raw, at) {
                Some((status, body, length, keeps)) => {
                    heard.whole.push((status, body));
                    at += length;
                    if !keeps {
                        break;
                    }
                }
                None => break,
            }
        }
        stream.end();
        while receive(&mut stream, &mut heard.raw) {}
        heard.is_cut = heard.raw.len() > at;
        heard
    }

    fn receive(stream: &mut Line, raw: &mut Vec<u8>) -> bool {
        let mut block = [0; 4096];
        match stream.read(&mut block) {
            Ok(count @ 1..) => {
                raw.extend_from_slice(&block[..count]);
                true
            }
            Ok(_) => false,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => false,
            // Without `close_notify`, or amid a handshake or a record.
            Err(error)
                if matches!(stream, Line::Tls(_))
                    && !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
            {
                false
            }
            Err(error) => panic!("the gateway leaves its client waiting: {error}"),
        }
    }

    /// Status, body, length, and whether the connection is kept.
    type Answer = (u16, String, usize, bool);

    /// A whole answer from there on.
    fn answer(stream: &mut Line, raw: &mut Vec<u8>, at: usize) -> Option<Answer> {
        let bounds = HeadBounds { bytes: 64 * 1024, count: 64 };
        loop {
            let rest = &raw[at..];
            if let Ok(Parsed::Complete { head, length }) =
                parse_response(rest, &bounds, &http::Method::POST)
            {
                let mut body = Vec::new();
                let mut decoder = BodyDecoder::new(head.body);
                let progress = decoder.decode(&rest[length..], &mut body).unwrap();
                if decoder.is_done() || head.body == BodyLength::Empty {
                    let text = String::from_utf8(body).unwrap();
                    let length = length + progress.consumed;
                    return Some((head.status.as_u16(), text, length, head.keep_alive));
                }
            }
            if !receive(stream, raw) {
                return None;
            }
        }
    }

    fn request(path: &str, more: &str, body: &str) -> Vec<u8> {
        format!(
            "POST {path} HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\n{more}\
             accept: application/json, text/event-stream\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        )
        .into_bytes()
    }

    fn chat(prompt: &str, more: &str) -> Vec<u8> {
        let body = format!(
            "{{\"model\":\"demo-model\",\"messages\":[{{\"role\":\"user\",\"content\":\
             \"{prompt}\"}}]{more}}}"
        );
        request("/v1/chat/completions", "", &body)
    }

    fn chats() -> Vec<Kind> {
        let kind = |name, request, status, says| Kind { name, request, status, says };
        let stream = ",\"stream\":true";
        let long = "long ".repeat(1500);
        let whole = chat("whole body", "");
        let (head, body) = whole.split_at(whole.windows(4).position(|w| w == b"\r\n\r\n").unwrap());
        let head = String::from_utf8(head.to_vec()).unwrap();
        let (head, _) = head.split_once("content-length").unwrap();
        let mut chunked = format!("{head}transfer-encoding: chunked\r\n\r\n").into_bytes();
        for piece in body[4..].chunks(50) {
            chunked.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
            chunked.extend_from_slice(piece);
            chunked.extend_from_slice(b"\r\n");
        }
        chunked.extend_from_slice(b"0\r\n\r\n");
        vec![
            kind("chat", chat("nonce-one leak", ""), 200, "owner is"),
            // Slower than the gateway is patient, so that it looks after its client meanwhile.
            kind("slow chat", chat("[demo delay_ms=15]nonce-one", ""), 200, "nonce-one"),
            kind("chat of a long body", chat(&long, ""), 200, "long long"),
            kind("chat of a chunked body", chunked, 200, "whole body"),
            kind("stream", chat("leak", stream), 200, "[DONE]"),
            kind("slow stream", chat("[demo chunks=4 gap_ms=12]hi", stream), 200, "[DONE]"),
        ]
    }

    fn others(session: &str) -> Vec<Kind> {
        let kind = |name, request, status, says| Kind { name, request, status, says };
        let mcp =
            |body: &str| request("/mcp/demo", &format!("mcp-session-id: {session}\r\n"), body);
        let call = |tool: &str, arguments: &str| {
            mcp(&format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"tools/call\",\"params\":\
                 {{\"name\":\"{tool}\",\"arguments\":{arguments},\"_meta\":{{\"progressToken\":7}}}}}}"
            ))
        };
        let mut stranger = chat("hi", "");
        let key = stranger.windows(9).position(|window| window == KEY.as_bytes()).unwrap();
        stranger[key] = b'x';
        let list = format!("GET /v1/models HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {KEY}\r\n");
        vec![
            kind("models", format!("{list}\r\n").into_bytes(), 200, "demo-model"),
            kind("opening of a session", request("/mcp/demo", "", INITIALIZE), 200, "serverInfo"),
            kind("tool call", call("lookup_customer", "{\"name\":\"Ada\"}"), 200, "result"),
            kind("tool stream", call("count_down", "{\"from\":3}"), 200, "lift-off"),
            kind("denied tool", call("delete_all", "{}"), 200, "isError"),
            kind("stranger", stranger, 401, "error"),
            kind("no JSON", request("/v1/chat/completions", "", "{"), 400, "error"),
            kind("bad head", b"GET / HTTP/1.1\r\nhost : g\r\n\r\n".to_vec(), 400, "error"),
            kind("nowhere", b"GET /none HTTP/1.1\r\nhost: g\r\n\r\n".to_vec(), 404, "error"),
        ]
    }

    const INITIALIZE: &str = "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":\
        {\"protocolVersion\":\"2025-06-18\",\"capabilities\":{},\
        \"clientInfo\":{\"name\":\"t\",\"version\":\"1\"}}}";

    async fn open_session(bench: &Bench) -> String {
        let heard = bench.converse(vec![request("/mcp/demo", "", INITIALIZE)]).await;
        let raw = String::from_utf8(heard.raw).unwrap();
        bench.records();
        let session = raw.split("mcp-session-id: ").nth(1).unwrap_or_else(|| panic!("{raw}"));
        session.split("\r\n").next().unwrap().to_owned()
    }

    /// A second request on the same connection, which is in step or closed.
    fn second() -> Vec<u8> {
        b"GET /second HTTP/1.1\r\nhost: g\r\nconnection: close\r\n\r\n".to_vec()
    }

    /// Lets every operation of this exchange fail in this way, one after the other; how many.
    async fn fail_each(bench: &Bench, kind: &Kind, fault: Fault) -> u32 {
        for nth in 1..OPERATIONS_MAX {
            let case = format!("{}, operation {nth}, {fault:?}", kind.name);
            arm(nth, fault);
            let heard = bench.converse(vec![kind.request.clone(), second()]).await;
            let struck = disarm();
            check(bench, kind, (nth, fault), &heard, &case);
            bench.assert_released(&case);
            bench.assert_well(kind, &case).await;
            if !struck {
                assert_eq!(heard.whole.last().map(|(status, _)| *status), Some(kind.last()));
                return nth - 1;
            }
        }
        panic!("{} never ends", kind.name);
    }

    impl Kind {
        /// The last status of a conversation in which nothing fails.
        fn last(&self) -> u16 {
            if self.name == "bad head" { self.status } else { 404 }
        }
    }

    fn check(bench: &Bench, kind: &Kind, (nth, fault): (u32, Fault), heard: &Heard, case: &str) {
        let records = bench.records();
        let is_second = |record: &&Value| record["ask"].to_string().contains("/second");
        let firsts: Vec<&Value> = records.iter().filter(|record| !is_second(record)).collect();
        let seconds = records.iter().filter(is_second).count();
        // The first operation waits for the request: where that fails there is no exchange. A
        // handshake comes before it, in whichever pieces.
        let may_be_none = nth <= if bench.trust.is_some() { HANDSHAKE_OPERATIONS_MAX } else { 1 };
        assert!(firsts.len() == 1 || firsts.is_empty() && may_be_none, "{case}: {records:?}");
        assert!(nth > 1 || firsts.is_empty(), "{case}: {records:?}");
        assert!(seconds <= 1 && seconds + 1 >= heard.whole.len(), "{case}: {records:?}");
        let raw = String::from_utf8_lossy(&heard.raw);
        assert!(!raw.contains(LEAK), "{case}: it leaks: {raw}");
        let Some(record) = firsts.first() else {
            assert!(heard.raw.is_empty(), "{case}: {raw}");
            return;
        };
        let outcome = record["outcome"].as_str().unwrap();
        assert!(outcome != "panicked" || fault == Fault::Panic, "{case}: {record}");
        match heard.whole.first() {
            Some((status, body)) if *status == kind.status => {
                assert!(body.contains(kind.says), "{case}: it only looks whole: {body}");
                assert_eq!(record["status"], *status, "{case}: {record}");
            }
            Some((status, _)) => {
                assert!(*status >= 400, "{case}: {raw}");
                assert_eq!(record["status"], *status, "{case}: {record}");
                assert_ne!(outcome, "answered", "{case}: {record}");
            }
            None => assert_ne!(outcome, "answered", "{case}: {record}"),
        }
        assert!(record["upstream"]["attempts"].as_u64().unwrap_or(0) <= 3, "{case}: {record}");
    }

    /// What is made of the configuration.
    type Rewrite<'a> = dyn Fn(&str) -> String + 'a;
    /// The kinds of exchanges, given an MCP session.
    type Kinds<'a> = dyn Fn(&str) -> Vec<Kind> + 'a;

    fn run_all(driver: Driver, text: &Rewrite<'_>, kinds: &Kinds<'_>) {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let upstreams = demo::start(loopback, loopback).unwrap();
        let plan = config(&upstreams, &text(CONFIG));
        let ran = runtime::run(Some(driver), async |_| {
            let bench = Bench::new(&plan);
            let session = open_session(&bench).await;
            fail_all(&bench, kinds(&session)).await;
        });
        ran.unwrap();
    }

    async fn fail_all(bench: &Bench, kinds: Vec<Kind>) {
        for kind in kinds {
            bench.assert_well(&kind, "before any fault").await;
            for fault in FAULTS {
                let operations = fail_each(bench, &kind, fault).await;
                let least = if bench.trust.is_some() { 6 } else { 3 };
                assert!(operations >= least, "{}: only {operations}", kind.name);
            }
        }
    }

    /// A certificate for this machine that vouches for itself, and its key.
    struct Identity {
        folder: TempDir,
    }

    impl Identity {
        fn new() -> Self {
            let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
            let made = rcgen::generate_simple_self_signed(names).unwrap();
            let own = Self { folder: TempDir::new().unwrap() };
            std::fs::write(own.file("certificate"), made.cert.pem()).unwrap();
            std::fs::write(own.file("key"), made.signing_key.serialize_pem()).unwrap();
            own
        }

        fn file(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        /// How it is served.
        fn server(&self) -> Arc<ServerConfig> {
            let pair = KeyPair { certificate: self.file("certificate"), key: self.file("key") };
            let certificates = vec![Shown { pair, names: Vec::new() }];
            let tls = ServerTls { certificates, refuse_unknown: false, clients: None };
            server_config(&tls).unwrap()
        }

        /// Who trusts it.
        fn client(&self) -> Arc<ClientConfig> {
            let roots = Roots::File(self.file("certificate"));
            client_config(&ClientTls { roots, pair: None, name: None }).unwrap()
        }

        /// The configuration with TLS on both sides: its listener, and a model at that address.
        fn secure(&self, text: &str, model: SocketAddr) -> String {
            let (certificate, key) = (self.file("certificate"), self.file("key"));
            let url = format!("url = \"https://{model}/v1\"\nca = {certificate:?}");
            let listener = format!(
                "\n[[listener]]\naddress = \"127.0.0.1:3\"\ncertificate = {certificate:?}\n\
                 private_key = {key:?}\n"
            );
            text.replace("url = \"http://%MODEL%/v1\"", &url) + &listener
        }
    }

    /// Takes TLS off for a server that speaks in the clear, for as long as the process lives.
    fn terminate(config: Arc<ServerConfig>, to: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accept = move || {
            for near in listener.incoming().flatten() {
                let (config, far) = (Arc::clone(&config), TcpStream::connect(to).unwrap());
                // A connection that breaks is what these tests are about.
                let relay = move || drop(relay(near, far, config));
                Builder::new().spawn(relay).unwrap();
            }
        };
        Builder::new().spawn(accept).unwrap();
        address
    }

    fn relay(
        near: TcpStream,
        mut far: TcpStream,
        config: Arc<ServerConfig>,
    ) -> std::io::Result<()> {
        let session = ServerConnection::new(config).unwrap();
        let mut near = StreamOwned::new(session, near);
        let (socket, upstream) = (near.sock.try_clone()?, far.try_clone()?);
        // Reads return at once, and writes wait.
        let waits = |waits: bool| {
            socket.set_nonblocking(!waits).and_then(|()| upstream.set_nonblocking(!waits))
        };
        let mut block = [0; 4096];
        loop {
            waits(false)?;
            let (asked, told) = (near.read(&mut block[..2048]), far.read(&mut block[2048..]));
            waits(true)?;
            // Each has its own half.
            match asked {
                Ok(0) => return Ok(()),
                Ok(count) => far.write_all(&block[..count])?,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            match told {
                Ok(0) => {
                    near.conn.send_close_notify();
                    return near.flush();
                }
                Ok(count) => {
                    near.write_all(&block[2048..2048 + count])?;
                    near.flush()?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_micros(100));
                }
                Err(error) => return Err(error),
            }
        }
    }

    #[test]
    fn whatever_operation_fails_with_tls_on_both_sides_nothing_is_held() {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let upstreams = demo::start(loopback, loopback).unwrap();
        let identity = Identity::new();
        let model = terminate(identity.server(), upstreams.model_addr);
        let plan = config(&upstreams, &identity.secure(CONFIG, model));
        for driver in [Driver::IoUring, Driver::Epoll] {
            let ran = runtime::run(Some(driver), async |_| {
                let bench = Bench { trust: Some(identity.client()), ..Bench::new(&plan) };
                let mut kinds = chats();
                kinds.retain(|kind| matches!(kind.name, "chat" | "stream"));
                assert_eq!(kinds.len(), 2);
                fail_all(&bench, kinds).await;
            });
            ran.unwrap();
        }
    }

    #[test]
    fn whatever_operation_of_a_chat_fails_one_record_is_left_and_nothing_held() {
        run_all(Driver::IoUring, &str::to_owned, &|_| chats());
    }

    #[test]
    fn whatever_operation_of_a_tool_call_or_a_refusal_fails_nothing_is_held() {
        run_all(Driver::IoUring, &str::to_owned, &others);
    }

    #[test]
    fn whatever_operation_fails_on_the_way_to_the_second_route_nothing_is_held() {
        let dead = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let text = |text: &str| with_a_dead_route(text, dead);
        let kinds = |_: &str| {
            let mut all = chats();
            all.retain(|kind| matches!(kind.name, "chat" | "stream"));
            all
        };
        run_all(Driver::Epoll, &text, &kinds);
    }

    #[test]
    fn a_worker_whose_records_nobody_takes_refuses_until_somebody_does() {
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let upstreams = demo::start(loopback, loopback).unwrap();
        let plan = config(&upstreams, CONFIG);
        let ran = runtime::run(None, async |_| {
            let bench = Bench::new(&plan);
            let kind = &chats()[0];
            for _ in 0..RECORDS_MAX + BATCHES_MAX * 256 {
                bench.floor.shard.record(b"{}".to_vec());
            }
            assert_eq!(bench.floor.shard.records_waiting(), RECORDS_MAX);
            for _ in 0..3 {
                let heard = bench.converse(vec![kind.request.clone(), second()]).await;
                let (status, body) = &heard.whole[0];
                assert_eq!(*status, 503, "{body}");
                assert!(body.contains("audit_unavailable"), "{body}");
            }
            let fill = 2 * RECORDS_MAX - bench.floor.shard.records_waiting();
            (0..fill).for_each(|_| bench.floor.shard.record(b"{}".to_vec()));
            let heard = bench.converse(vec![kind.request.clone()]).await;
            assert!(heard.raw.is_empty(), "an answer that leaves no record");
            assert_eq!(bench.floor.shard.records_waiting(), 2 * RECORDS_MAX);
            let mut kept = 0;
            while bench.floor.shard.records_waiting() > 0 || bench.batches.depth() > 0 {
                kept += bench.records().len();
            }
            assert!(kept >= 2 * RECORDS_MAX + BATCHES_MAX * 256, "{kept}: records are lost");
            bench.assert_well(kind, "once they are taken").await;
        });
        ran.unwrap();
    }

    #[test]
    fn a_wall_clock_that_jumps_frees_no_limit_and_ends_no_session() {
        const YEAR: Duration = Duration::from_hours(24 * 365);
        let loopback = SocketAddr::from(([127, 0, 0, 1], 0));
        let upstreams = demo::start(loopback, loopback).unwrap();
        let text = CONFIG.replace("user = \"suite@", "expires = \"2030-01-01\"\nuser = \"suite@");
        let plan = config(&upstreams, &text);
        let ran = runtime::run(None, async |_| {
            let clock = Clock::simulated();
            let (today, later) = (YEAR * 56, YEAR * 61);
            clock.set_ahead(today);
            let bench = Bench::with(&plan, clock.clone());
            let limited = String::from_utf8(chat("hi", "")).unwrap();
            let limited = limited.replace(KEY, "limited-key").into_bytes();
            let status = async |request: &[u8]| {
                let heard = bench.converse(vec![request.to_vec()]).await;
                let [(status, _)] = heard.whole[..] else { panic!("{heard:?}") };
                status
            };
            for _ in 0..5 {
                assert_eq!(status(&limited).await, 200);
            }
            let session = open_session(&bench).await;
            let more = format!("mcp-session-id: {session}\r\n");
            let ping = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}";
            let ping = request("/mcp/demo", &more, ping);
            let hour = Duration::from_hours(1);
            for ahead in [today + hour, today.saturating_sub(hour), later, Duration::ZERO, today] {
                clock.set_ahead(ahead);
                plan.ledger.roll(clock.mono());
                assert_eq!(status(&limited).await, 429, "{ahead:?}: the wall frees a limit");
                // Keys end by the wall, as they are written; sessions live through a jump back.
                let expected = if ahead == later { 401 } else { 200 };
                assert_eq!(status(&ping).await, expected, "{ahead:?}");
                for record in bench.records() {
                    assert!(record["micros"].as_u64().unwrap() < 60_000_000, "{record}");
                }
            }
            // The monotonic clock does free it.
            for _ in 0..700 {
                clock.advance(Duration::from_millis(100));
                plan.ledger.roll(clock.mono());
                bench.floor.shard.deployed().limits.borrow_mut().give_back(clock.mono());
            }
            assert_eq!(status(&limited).await, 200);
            bench.assert_released("after all jumps");
        });
        ran.unwrap();
    }
}
