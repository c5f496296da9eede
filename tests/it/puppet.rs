//! An upstream that does exactly what a test says, on a port of this machine.

#![expect(unreachable_pub, reason = "`pub(crate)` says no more in a test binary")]

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// A connection that says nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(20);

/// The upstream; its listener ends when it is dropped, a connection with its peer.
pub struct Puppet {
    /// Where it listens.
    pub address: SocketAddr,
    requests: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A request that was read whole, and the connection it came on.
pub struct Visit {
    /// Counts the requests of this connection from nought.
    pub nth: usize,
    /// The request, head and body, as it came.
    pub request: String,
    stream: TcpStream,
}

/// What becomes of the connection.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// It closes.
    Close,
    /// It waits for another request.
    Keep,
}

impl Puppet {
    /// Starts one that does this with each request.
    pub fn start(act: impl Fn(&mut Visit) -> Then + Clone + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let (requests, stop) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (count, ended) = (Arc::clone(&requests), Arc::clone(&stop));
        let accept = move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::Acquire) {
                    return;
                }
                let (act, count) = (act.clone(), Arc::clone(&count));
                let serve = move || serve(stream, &act, &count);
                Builder::new().spawn(serve).expect("a thread for a connection");
            }
        };
        let thread = Some(Builder::new().spawn(accept).expect("a thread to accept on"));
        Self { address, requests, stop, thread }
    }

    /// One that answers every request so, and keeps its connections.
    pub fn answering(answer: String) -> Self {
        Self::start(move |visit| {
            visit.say(&answer);
            Then::Keep
        })
    }

    /// How many requests it has read.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Acquire)
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        // Wakes it; whether that was needed does not matter.
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap_or_default();
        }
    }
}

impl Visit {
    /// Sends this; a peer that left does not matter here.
    pub fn say(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).unwrap_or_default();
    }

    /// The same with bytes that are no text.
    pub fn say_bytes(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap_or_default();
    }

    /// Sends this again and again until the peer leaves; how many bytes it took, about.
    pub fn flood(&mut self, text: &str) -> usize {
        self.stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
        let mut sent = 0;
        while self.stream.write_all(text.as_bytes()).is_ok() {
            sent += text.len();
        }
        sent
    }

    /// Ends the connection now.
    pub fn hang_up(&mut self) {
        self.stream.shutdown(Shutdown::Both).unwrap_or_default();
    }

    /// Resets the connection: what is sent already may arrive, and nothing comes after it.
    pub fn reset(&mut self) {
        reset(&self.stream);
        self.hang_up();
    }

    /// Waits until the peer ends the connection; whether it did in time.
    pub fn is_left(&mut self) -> bool {
        let mut block = [0; 1024];
        loop {
            match self.stream.read(&mut block) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::ConnectionReset,
            }
        }
    }
}

fn serve(stream: TcpStream, act: &impl Fn(&mut Visit) -> Then, count: &AtomicUsize) {
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    let mut visit = Visit { nth: 0, request: String::new(), stream };
    while let Some(request) = read(&mut visit.stream) {
        visit.request = request;
        count.fetch_add(1, Ordering::AcqRel);
        if act(&mut visit) == Then::Close {
            return;
        }
        visit.nth += 1;
    }
}

/// Reads one request, head and body; `None` where there is none any more.
fn read(stream: &mut TcpStream) -> Option<String> {
    let mut inbox = Vec::new();
    let mut block = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&inbox);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
            if body.len() >= length {
                return Some(text.into_owned());
            }
        }
        let count = stream.read(&mut block).ok().filter(|count| *count > 0)?;
        inbox.extend_from_slice(block.get(..count)?);
    }
}

/// Lets a connection end by a reset once it is dropped or shut down.
pub fn reset(stream: &TcpStream) {
    socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO)).expect("it is open");
}

/// A whole answer with a JSON body.
pub fn json_answer(status: &str, body: &str) -> String {
    let length = body.len();
    let fields = format!("content-type: application/json\r\ncontent-length: {length}\r\n");
    format!("HTTP/1.1 {status}\r\n{fields}\r\n{body}")
}

/// A whole chat completion that says this.
pub fn chat_answer(text: &str) -> String {
    let message = format!("{{\"role\":\"assistant\",\"content\":\"{text}\"}}");
    let choice = format!("{{\"index\":0,\"message\":{message},\"finish_reason\":\"stop\"}}");
    let body = format!("{{\"id\":\"c\",\"object\":\"chat.completion\",\"choices\":[{choice}]}}");
    json_answer("200 OK", &body)
}

/// The head of a stream of events that ends with its connection.
pub const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

/// One event of a streamed chat.
pub fn delta(text: &str) -> String {
    let choice =
        format!("{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}},\"finish_reason\":null}}");
    format!(
        "data: {{\"id\":\"c\",\"object\":\"chat.completion.chunk\",\"choices\":[{choice}]}}\n\n"
    )
}
