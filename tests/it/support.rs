//! What makes a test of the whole gateway one screen: the built binary on free ports, the demo
//! upstreams in this process, and a raw HTTP client that times out instead of hanging.

#![expect(unreachable_pub, reason = "`pub(crate)` says no more in a test binary")]

use ringwall::base::clock::{Clock, Mono};
use ringwall::demo::serve::{self, Running};
use ringwall::http::body::BodyDecoder;
use ringwall::http::head::{BodyLength, HeadBounds, Parsed};
use ringwall::http::response::{ResponseHead, parse_response};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// Any single wait of a test: long enough for a loaded machine, short enough to see a hang.
const PATIENCE: Duration = Duration::from_secs(20);
/// Compiling some hundred rules takes seconds in a build without optimisation.
const STARTED: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(20);
const BOUNDS: HeadBounds = HeadBounds { bytes: 64 * 1024, count: 128 };

/// A key that [`CONFIG`] knows.
pub const KEY: &str = "suite-key";
/// A key of a caller with five requests a minute.
pub const LIMITED_KEY: &str = "limited-key";
/// A configuration in front of the demo upstreams, the one that the client suites use too.
const CONFIG: &str = include_str!("../clients/gateway.toml.in");

/// The gateway as its own process; killed when dropped.
pub struct Gateway {
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where operators connect.
    pub admin: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Gateway {
    /// Starts it in front of demo upstreams with [`CONFIG`] and waits until it is ready.
    pub fn before(upstreams: &Running) -> Self {
        Self::start(&config(upstreams), &[])
    }

    /// Starts it with a configuration in which `%GATEWAY%`, `%ADMIN%` and `%AUDIT%` are filled in,
    /// and more arguments, such as `--set`; waits until it is ready.
    pub fn start(config: &str, arguments: &[&str]) -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder"), config, arguments)
    }

    /// Starts another one in the folder of one that ended, over the same audit log.
    pub fn start_in(folder: TempDir, config: &str, arguments: &[&str]) -> Self {
        let (address, admin) = (free_address(), free_address());
        let audit = folder.path().join("audit").display().to_string();
        let config = config
            .replace("%GATEWAY%", &address.to_string())
            .replace("%ADMIN%", &admin.to_string())
            .replace("%AUDIT%", &audit);
        let file = folder.path().join("gateway.toml");
        fs::write(&file, config).expect("the configuration is written");
        let log = File::create(folder.path().join("log")).expect("a log");
        let child = binary()
            .args([Path::new("serve"), Path::new("--config"), &file])
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let mut gateway = Self { address, admin, child, folder };
        gateway.await_ready();
        gateway
    }

    fn await_ready(&mut self) {
        let ready = until(STARTED, || {
            let ended = self.child.try_wait().expect("it can be asked");
            assert!(ended.is_none(), "it ended with {ended:?}:\n{}", self.log());
            // Before it listens, connecting fails; that is no fault yet.
            TcpStream::connect(self.admin).is_ok() && get(self.admin, "/readyz").status() == 200
        });
        assert!(ready, "it was not ready in time:\n{}", self.log());
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal by name: `TERM`, `HUP`, `KILL`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.pid().to_string()]).status();
        assert!(status.expect("kill runs").success(), "no signal {name}");
    }

    /// Waits until it ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        let mut ended = None;
        until(PATIENCE, || {
            ended = self.child.try_wait().expect("it can be asked");
            ended.is_some()
        });
        ended.unwrap_or_else(|| panic!("it did not end in time:\n{}", self.log()))
    }

    /// Ends it at once, as `kill -9` does, and hands its folder on.
    pub fn crash(mut self) -> TempDir {
        self.child.kill().expect("it is killed");
        self.child.wait().expect("it is gone");
        let empty = tempfile::tempdir().expect("a folder");
        std::mem::replace(&mut self.folder, empty)
    }

    /// Its configuration file.
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("gateway.toml")
    }

    /// Its audit log's folder.
    pub fn audit_folder(&self) -> PathBuf {
        self.folder.path().join("audit")
    }

    /// All audit records that are on disk, as text, oldest file first.
    pub fn audit_text(&self) -> String {
        let mut files: Vec<PathBuf> = fs::read_dir(self.audit_folder())
            .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
            .unwrap_or_default();
        files.sort();
        files.iter().filter_map(|file| fs::read_to_string(file).ok()).collect()
    }

    /// What it printed so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Posts JSON with [`KEY`].
    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.post_as(KEY, path, body)
    }

    /// Posts JSON with that key.
    pub fn post_as(&self, key: &str, path: &str, body: &str) -> Answer {
        let key = format!("Bearer {key}");
        let accept = ("accept", "application/json, text/event-stream");
        let fields = [("authorization", &*key), ("content-type", "application/json"), accept];
        send(self.address, "POST", path, &fields, body.as_bytes())
    }

    /// Asks for a chat completion of one user message; `more` is JSON such as `,"stream":true`.
    pub fn chat(&self, prompt: &str, more: &str) -> Answer {
        let prompt = serde_json::Value::from(prompt);
        let messages = format!("[{{\"role\":\"user\",\"content\":{prompt}}}]");
        let body = format!("{{\"model\":\"demo-model\",\"messages\":{messages}{more}}}");
        self.post("/v1/chat/completions", &body)
    }

    /// Asks for a stream with [`KEY`]; it has begun when this returns.
    pub fn begin_stream(&self, prompt: &str) -> Client {
        let mut client = Client::connect(self.address);
        let key = format!("Bearer {KEY}");
        let body = serde_json::json!({"model": "demo-model", "stream": true,
            "messages": [{"role": "user", "content": prompt}]});
        let fields = [("authorization", &*key), ("content-type", "application/json")];
        client.ask("POST", "/v1/chat/completions", &fields, body.to_string().as_bytes());
        while client.inbox.is_empty() {
            assert!(client.read() > 0, "it ended before it began:\n{}", self.log());
        }
        client
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            self.child.wait().map(drop).unwrap_or_default();
        }
        if std::thread::panicking() {
            println!("--- the gateway said\n{}", self.log());
        }
    }
}

/// The demo model and MCP server, in this process, on free ports.
pub fn upstreams() -> Running {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    serve::start(any, any).expect("the demo upstreams start")
}

/// [`CONFIG`] in front of these upstreams; the gateway's own addresses are still open.
pub fn config(upstreams: &Running) -> String {
    let mcp = upstreams.mcp_addr.to_string();
    CONFIG
        .replace("%MODEL%", &upstreams.model_addr.to_string())
        .replace("%EVERYTHING%", &mcp)
        .replace("%MCP%", &mcp)
        .replace("%SUITE_DIGEST%", &digest(KEY))
        .replace("%LIMITED_DIGEST%", &digest(LIMITED_KEY))
}

/// A key's digest as the configuration has it.
pub fn digest(key: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, key.as_bytes());
    data_encoding::HEXLOWER.encode(digest.as_ref())
}

/// The built binary, as a command to add arguments to.
pub fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ringwall"))
}

/// Runs the binary to its end.
pub fn run(arguments: &[&str]) -> Output {
    binary().args(arguments).stdin(Stdio::null()).output().expect("the binary runs")
}

/// An address of this machine where nobody listens just now.
///
/// Each port is given once: gateways listen with `SO_REUSEPORT`, so two of them would share one
/// without a word.
pub fn free_address() -> SocketAddr {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Below those that the system gives to connections, of which tests make thousands; another
    // process begins elsewhere.
    let first = std::process::id().wrapping_mul(101);
    let mut free = None;
    until(PATIENCE, || {
        let nth = first.wrapping_add(GIVEN.fetch_add(1, Ordering::AcqRel)) % 20_000;
        let port = u16::try_from(12_000 + nth).expect("it is below 32768");
        let held = TcpListener::bind(("127.0.0.1", port)).ok();
        free = held.and_then(|held| held.local_addr().ok());
        free.is_some()
    });
    free.expect("a port that nobody was given yet")
}

/// Asks again and again until it is so or the time is over; whether it was so.
pub fn until(limit: Duration, mut is_so: impl FnMut() -> bool) -> bool {
    let clock = Clock::machine();
    let end = clock.mono().plus(limit);
    loop {
        if is_so() {
            return true;
        }
        if clock.mono() > end {
            return false;
        }
        std::thread::sleep(PAUSE);
    }
}

/// An answer that was read whole.
pub struct Answer {
    /// Its head.
    pub head: ResponseHead,
    /// Its body, unchunked.
    pub body: Vec<u8>,
    /// Whether the body came to its proper end.
    pub is_whole: bool,
}

impl Answer {
    /// The status as a number.
    pub fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// A header field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.head.fields.text(name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }

    /// The data of each event, if the body is a stream of them.
    pub fn events(&self) -> Vec<String> {
        let text = self.text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(str::to_owned).collect()
    }
}

/// A connection that says exactly what a test says.
pub struct Client {
    stream: TcpStream,
    inbox: Vec<u8>,
    started: Mono,
    clock: Clock,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).expect("it connects");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        let clock = Clock::machine();
        Self { stream, inbox: Vec::new(), started: clock.mono(), clock }
    }

    /// Sends these bytes as they are.
    pub fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it takes them");
    }

    /// Sends a request; `host` and `content-length` are added.
    pub fn ask(&mut self, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) {
        let mut bytes = format!("{method} {path} HTTP/1.1\r\nhost: gateway\r\n").into_bytes();
        for (name, value) in fields {
            write!(bytes, "{name}: {value}\r\n").expect("a vector takes it");
        }
        if !body.is_empty() || method == "POST" {
            write!(bytes, "content-length: {}\r\n", body.len()).expect("a vector takes it");
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(body);
        self.say(&bytes);
    }

    /// Reads one answer. A connection that ends early gives what there was.
    pub fn answer(&mut self, method: &str) -> Answer {
        let head = self.head(method);
        let mut body = Vec::new();
        if head.body == BodyLength::Empty {
            return Answer { head, body, is_whole: true };
        }
        let mut decoder = BodyDecoder::new(head.body);
        loop {
            let progress = decoder.decode(&self.inbox, &mut body).expect("sound framing");
            self.inbox.drain(..progress.consumed);
            if decoder.is_done() {
                return Answer { head, body, is_whole: true };
            }
            if self.read() == 0 {
                return Answer { head, body, is_whole: decoder.ended_by_close() };
            }
        }
    }

    /// Whatever comes next, as it comes; nothing once the other side ended.
    pub fn hear(&mut self) -> Vec<u8> {
        if self.inbox.is_empty() {
            self.read();
        }
        std::mem::take(&mut self.inbox)
    }

    /// Reads a few bytes and forgets them, as a slow reader does; an end does not matter.
    pub fn sip(&mut self) {
        self.stream.read(&mut [0; 256]).unwrap_or_default();
    }

    fn head(&mut self, method: &str) -> ResponseHead {
        let method = method.parse().expect("a method");
        let mut found = None;
        while found.is_none() {
            match parse_response(&self.inbox, &BOUNDS, &method).expect("a sound head") {
                Parsed::Complete { head, length } => {
                    self.inbox.drain(..length);
                    found = Some(head).filter(|head| !head.status.is_informational());
                }
                Parsed::Partial => assert!(self.read() > 0, "it ended before its head was whole"),
            }
        }
        found.expect("the loop ends with it")
    }

    fn read(&mut self) -> usize {
        let mut block = [0; 16 * 1024];
        let count = match self.stream.read(&mut block) {
            Ok(count) => count,
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("after {:?}: {error}", self.clock.mono().since(self.started)),
        };
        self.inbox.extend_from_slice(block.get(..count).unwrap_or_default());
        count
    }
}

/// One request on a connection of its own.
pub fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: &[u8],
) -> Answer {
    let mut client = Client::connect(address);
    let fields: Vec<(&str, &str)> =
        fields.iter().copied().chain([("connection", "close")]).collect();
    client.ask(method, path, &fields, body);
    client.answer(method)
}

/// `GET` without a key.
pub fn get(address: SocketAddr, path: &str) -> Answer {
    send(address, "GET", path, &[], b"")
}

#[test]
fn the_raw_client_reads_whole_and_chunked_answers() {
    let upstreams = upstreams();
    let mut client = Client::connect(upstreams.model_addr);
    for stream in ["false", "true"] {
        let messages = "[{\"role\":\"user\",\"content\":\"hi\"}]";
        let body =
            format!("{{\"model\":\"demo-model\",\"messages\":{messages},\"stream\":{stream}}}");
        client.ask("POST", "/v1/chat/completions", &[], body.as_bytes());
        let answer = client.answer("POST");
        assert_eq!((answer.status(), answer.is_whole), (200, true));
        assert_eq!(answer.events().len() > 1, stream == "true", "{}", answer.text());
    }
    assert_eq!(get(upstreams.model_addr, "/nowhere").status(), 404);
}
