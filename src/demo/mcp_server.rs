//! The demo MCP server's endpoint: Streamable HTTP of the legacy era at `/mcp`.
//!
//! A session opens with `initialize`; without one there is only refusal, as the official servers
//! have it, so that a gateway's handling of sessions is tried for real.

use crate::base::random::{NoRandom, Random};
use crate::demo::connection::{Connection, Field, Request};
use crate::demo::tools::{self, Message, Reply};
use crate::wire::error::WireError;
use crate::wire::runtime;
use data_encoding::HEXLOWER;
use http::{Method, StatusCode};
use std::cell::RefCell;
use std::collections::{BTreeSet, VecDeque};
use std::io::ErrorKind;
use std::time::Duration;

/// Sessions kept; the oldest make room.
const SESSIONS_MAX: usize = 65_536;
/// Between two comments on an idle stream.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const SESSION: &str = "mcp-session-id";
const JSON: Field<'_> = ("content-type", b"application/json");
const EVENTS: [Field<'_>; 2] =
    [("content-type", b"text/event-stream"), ("cache-control", b"no-cache")];

/// The server: its sessions.
#[derive(Debug, Default)]
pub struct McpServer {
    sessions: RefCell<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    random: Random,
    live: BTreeSet<String>,
    /// Oldest first; those that ended by themselves are still here until their turn comes.
    order: VecDeque<String>,
}

impl Sessions {
    fn open(&mut self) -> Result<String, NoRandom> {
        let id = HEXLOWER.encode(&self.random.bytes::<16>()?);
        while self.order.len() >= SESSIONS_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.live.remove(&oldest);
            }
        }
        self.order.push_back(id.clone());
        self.live.insert(id.clone());
        Ok(id)
    }

    fn end(&mut self, id: &str) -> bool {
        self.live.remove(id)
    }
}

impl McpServer {
    /// Answers requests until the connection ends.
    pub async fn converse(&self, mut connection: Connection) -> Result<(), WireError> {
        while let Some(request) = connection.request().await? {
            if request.head.path != "/mcp" {
                connection.answer(StatusCode::NOT_FOUND, &[], b"").await?;
                continue;
            }
            match request.head.method {
                Method::POST => self.post(&mut connection, &request).await?,
                Method::GET => self.listen(&mut connection, &request).await?,
                Method::DELETE => self.delete(&mut connection, &request).await?,
                _ => {
                    let allow: Field<'_> = ("allow", b"GET, POST, DELETE");
                    connection.answer(StatusCode::METHOD_NOT_ALLOWED, &[allow], b"").await?;
                }
            }
        }
        connection.close().await;
        Ok(())
    }

    async fn post(&self, connection: &mut Connection, request: &Request) -> Result<(), WireError> {
        let Ok(message) = serde_json::from_slice::<Message<'_>>(&request.body) else {
            let error = tools::error(None, tools::PARSE_ERROR, "Parse error");
            return connection.answer(StatusCode::BAD_REQUEST, &[JSON], &error).await;
        };
        if message.is_initialize() && message.id.is_some() {
            let opened = self.sessions.borrow_mut().open();
            let session = opened.map_err(|NoRandom| WireError::Io(ErrorKind::Other))?;
            let Reply::One(body) = message.reply() else { return Ok(()) };
            let fields = [JSON, (SESSION, session.as_bytes())];
            return connection.answer(StatusCode::OK, &fields, &body).await;
        }
        if let Err((status, why)) = self.admit(request) {
            let error = tools::error(message.id, tools::NO_SESSION, why);
            return connection.answer(status, &[JSON], &error).await;
        }
        match message.reply() {
            Reply::Accepted => connection.answer(StatusCode::ACCEPTED, &[], b"").await,
            Reply::One(body) => connection.answer(StatusCode::OK, &[JSON], &body).await,
            Reply::Stream(messages) => {
                connection.begin_stream(&EVENTS)?;
                let mut event = Vec::new();
                for message in messages {
                    event.clear();
                    event.extend_from_slice(b"event: message\ndata: ");
                    event.extend_from_slice(&message);
                    event.extend_from_slice(b"\n\n");
                    connection.stream(&event).await?;
                }
                connection.end_stream().await
            }
        }
    }

    /// The stream for what a server says unasked. This one has nothing to say but that it lives;
    /// it ends when the client does.
    async fn listen(
        &self,
        connection: &mut Connection,
        request: &Request,
    ) -> Result<(), WireError> {
        if let Err((status, why)) = self.admit(request) {
            let error = tools::error(None, tools::NO_SESSION, why);
            return connection.answer(status, &[JSON], &error).await;
        }
        connection.begin_stream(&EVENTS)?;
        let session = request.head.fields.text(SESSION).unwrap_or_default();
        while self.sessions.borrow().live.contains(session) {
            connection.stream(b": still here\n\n").await?;
            connection.flush().await?;
            runtime::sleep(KEEP_ALIVE).await;
        }
        connection.end_stream().await
    }

    async fn delete(
        &self,
        connection: &mut Connection,
        request: &Request,
    ) -> Result<(), WireError> {
        let session = request.head.fields.text(SESSION).unwrap_or_default();
        let ended = self.sessions.borrow_mut().end(session);
        let status = if ended { StatusCode::OK } else { StatusCode::NOT_FOUND };
        connection.answer(status, &[], b"").await
    }

    fn admit(&self, request: &Request) -> Result<(), (StatusCode, &'static str)> {
        match request.head.fields.text(SESSION) {
            None => Err((StatusCode::BAD_REQUEST, "Bad Request: No valid session ID provided")),
            Some(id) if self.sessions.borrow().live.contains(id) => Ok(()),
            Some(_) => Err((StatusCode::NOT_FOUND, "Session not found")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{SESSIONS_MAX, Sessions};

    #[test]
    fn sessions_are_bounded_and_the_oldest_makes_room() {
        let mut sessions = Sessions::default();
        let first = sessions.open().unwrap();
        for _ in 0..SESSIONS_MAX {
            sessions.open().unwrap();
        }
        assert_eq!(sessions.order.len(), SESSIONS_MAX);
        assert!(!sessions.end(&first));
    }

    #[test]
    fn a_session_ends_once() {
        let mut sessions = Sessions::default();
        let id = sessions.open().unwrap();
        assert!(sessions.end(&id));
        assert!(!sessions.end(&id));
    }
}
