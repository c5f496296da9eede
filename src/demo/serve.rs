//! Runs the demo servers: on listeners of a loop that is there, or on a thread of their own.

use crate::base::clock::Clock;
use crate::demo::connection::Connection;
use crate::demo::mcp_server::McpServer;
use crate::demo::model::Model;
use crate::wire::error::WireError;
use crate::wire::listen::Listener;
use crate::wire::runtime;
use crate::wire::socket::Socket;
use crate::wire::watch::Watch;
use std::cell::Cell;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Connections of one server; more are closed at once.
const CONNECTIONS_MAX: usize = 8192;
/// How often the thread looks whether it is to stop, and sockets whether their time is over.
const TICK: Duration = Duration::from_millis(50);
/// After an accept that failed, such as for want of file descriptors.
const BACK_OFF: Duration = Duration::from_millis(100);

/// The demo servers on a thread of their own; they stop when this is dropped.
#[derive(Debug)]
pub struct Running {
    /// Where the model listens.
    pub model_addr: SocketAddr,
    /// Where the MCP server listens.
    pub mcp_addr: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Running {
    /// Stops both servers and waits for their thread.
    pub fn stop(mut self) -> io::Result<()> {
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        self.stop.store(true, Ordering::Release);
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().map_err(|_panic| io::Error::other("the demo's thread panicked"))?
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Who wants to know how it ended calls `stop`.
        drop(self.end());
    }
}

/// Starts both servers; with port 0 the system chooses.
pub fn start(model: SocketAddr, mcp: SocketAddr) -> io::Result<Running> {
    let stop = Arc::new(AtomicBool::new(false));
    let (bound, wait) = sync_channel(1);
    let stopped = Arc::clone(&stop);
    let thread = std::thread::Builder::new().name("demo".to_owned()).spawn(move || {
        runtime::run(None, |_driver| serve_both((model, mcp), stopped, bound))
            .and_then(|ended| ended)
    })?;
    let Ok((model_addr, mcp_addr)) = wait.recv() else {
        // It ended before it was bound, and its result says why.
        let ended =
            thread.join().map_err(|_panic| io::Error::other("the demo's thread panicked"))?;
        return Err(ended.err().unwrap_or_else(|| io::Error::other("the demo ended early")));
    };
    Ok(Running { model_addr, mcp_addr, stop, thread: Some(thread) })
}

async fn serve_both(
    (at_model, at_mcp): (SocketAddr, SocketAddr),
    stop: Arc<AtomicBool>,
    bound: SyncSender<(SocketAddr, SocketAddr)>,
) -> io::Result<()> {
    let watch = Watch::new(Clock::machine());
    let (at_model, at_mcp) = (Listener::bind(at_model)?, Listener::bind(at_mcp)?);
    let addresses = (at_model.local(), at_mcp.local());
    runtime::spawn(model(at_model, watch.clone()), || {});
    runtime::spawn(mcp(at_mcp, watch.clone()), || {});
    // `start` waits for it, whatever happens.
    bound.send(addresses).map_err(io::Error::other)?;
    while !stop.load(Ordering::Acquire) {
        runtime::sleep(TICK).await;
        watch.tick(watch.now());
    }
    watch.stop_all();
    Ok(())
}

/// Serves the demo model until the watch stops. The caller ticks the watch.
pub async fn model(listener: Listener, watch: Watch) {
    let model = Rc::new(Model::new(Clock::machine()));
    let converse = move |connection| {
        let model = Rc::clone(&model);
        async move { model.converse(connection).await }
    };
    accept(listener, watch, converse).await;
}

/// Serves the demo MCP server until the watch stops. The caller ticks the watch.
pub async fn mcp(listener: Listener, watch: Watch) {
    let server = Rc::new(McpServer::default());
    let converse = move |connection| {
        let server = Rc::clone(&server);
        async move { server.converse(connection).await }
    };
    accept(listener, watch, converse).await;
}

async fn accept<F>(listener: Listener, watch: Watch, converse: impl Fn(Connection) -> F)
where
    F: Future<Output = Result<(), WireError>> + 'static,
{
    let open = Rc::new(Cell::new(0_usize));
    while !watch.is_stopped() {
        let Ok((stream, _peer)) = listener.accept().await else {
            runtime::sleep(BACK_OFF).await;
            continue;
        };
        if open.get() >= CONNECTIONS_MAX {
            continue;
        }
        let Ok(socket) = Socket::adopt(stream, &watch) else { continue };
        let seat = Seat::take(&open);
        let conversation = converse(Connection::new(socket));
        let task = async move {
            // A client that goes away is no news.
            conversation.await.unwrap_or_default();
            drop(seat);
        };
        runtime::spawn(task, || {});
    }
}

/// One connection in the count; given back when dropped.
struct Seat(Rc<Cell<usize>>);

impl Seat {
    fn take(open: &Rc<Cell<usize>>) -> Self {
        open.set(open.get() + 1);
        Self(Rc::clone(open))
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::start;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};
    use std::time::Duration;

    fn exchange(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn post(path: &str, fields: &str, body: &str) -> String {
        let length = body.len();
        format!(
            "POST {path} HTTP/1.1\r\nhost: demo\r\nconnection: close\r\n\
             content-length: {length}\r\ncontent-type: application/json\r\n{fields}\r\n{body}"
        )
    }

    fn chat(prompt: &str, more: &str) -> String {
        let messages = format!("[{{\"role\":\"user\",\"content\":\"{prompt}\"}}]");
        let body = format!("{{\"model\":\"demo\",\"messages\":{messages}{more}}}");
        post("/v1/chat/completions", "", &body)
    }

    fn loopback() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[test]
    fn the_model_answers_streams_refuses_and_cuts() {
        let demo = start(loopback(), loopback()).unwrap();
        let whole = exchange(demo.model_addr, &chat("hi", ""));
        assert!(whole.starts_with("HTTP/1.1 200") && whole.contains("You said: hi"), "{whole}");
        let stream = exchange(demo.model_addr, &chat("hi", ",\"stream\":true"));
        assert!(
            stream.contains("chunked") && stream.ends_with("[DONE]\n\n\r\n0\r\n\r\n"),
            "{stream}"
        );
        let refused = exchange(demo.model_addr, &chat("[demo status=503]", ""));
        assert!(
            refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"),
            "{refused}"
        );
        let cut = exchange(demo.model_addr, &chat("[demo cut=2]", ",\"stream\":true"));
        assert!(cut.starts_with("HTTP/1.1 200") && !cut.contains("[DONE]"), "{cut}");
        assert!(!cut.ends_with("0\r\n\r\n"), "{cut}");
        let bad = exchange(demo.model_addr, &post("/v1/chat/completions", "", "no"));
        assert!(bad.starts_with("HTTP/1.1 400"), "{bad}");
        demo.stop().unwrap();
    }

    #[test]
    fn the_mcp_server_wants_a_session_and_ends_it() {
        let demo = start(loopback(), loopback()).unwrap();
        let ping = "{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\"}";
        let without = exchange(demo.mcp_addr, &post("/mcp", "", ping));
        assert!(without.starts_with("HTTP/1.1 400"), "{without}");
        let hello = "{\"jsonrpc\":\"2.0\",\"id\":0,\"method\":\"initialize\",\"params\":{}}";
        let opened = exchange(demo.mcp_addr, &post("/mcp", "", hello));
        let session =
            opened.split("mcp-session-id: ").nth(1).unwrap().split("\r\n").next().unwrap();
        let field = format!("mcp-session-id: {session}\r\n");
        let with = exchange(demo.mcp_addr, &post("/mcp", &field, ping));
        assert!(with.ends_with("{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{}}"), "{with}");
        let delete =
            format!("DELETE /mcp HTTP/1.1\r\nhost: demo\r\nconnection: close\r\n{field}\r\n");
        assert!(exchange(demo.mcp_addr, &delete).starts_with("HTTP/1.1 200"));
        let gone = exchange(demo.mcp_addr, &post("/mcp", &field, ping));
        assert!(gone.starts_with("HTTP/1.1 404"), "{gone}");
        demo.stop().unwrap();
    }

    #[test]
    fn an_address_that_is_not_ours_is_an_error() {
        let elsewhere = "192.0.2.1:1".parse().unwrap();
        let error = start(elsewhere, loopback()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);
    }
}
