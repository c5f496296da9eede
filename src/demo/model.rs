//! The demo model's endpoint: `POST /v1/chat/completions` and `GET /v1/models`, as OpenAI has them.

use crate::base::clock::Clock;
use crate::demo::chat::{self, Chat};
use crate::demo::connection::{Connection, Field, Request};
use crate::wire::error::WireError;
use crate::wire::runtime;
use http::{Method, StatusCode};
use std::cell::Cell;

const JSON: Field<'_> = ("content-type", b"application/json");
const EVENTS: [Field<'_>; 2] =
    [("content-type", b"text/event-stream; charset=utf-8"), ("cache-control", b"no-cache")];

/// The model: it only counts its answers.
#[derive(Debug)]
pub struct Model {
    clock: Clock,
    answers: Cell<u64>,
}

impl Model {
    /// A model that stamps its answers by this clock.
    pub fn new(clock: Clock) -> Self {
        Self { clock, answers: Cell::new(0) }
    }

    /// Answers requests until the connection ends.
    pub async fn converse(&self, mut connection: Connection) -> Result<(), WireError> {
        while let Some(request) = connection.request().await? {
            let whole = self.answer(&mut connection, &request).await?;
            if !whole {
                // Cut: the socket is dropped with the answer unfinished.
                return Ok(());
            }
        }
        connection.close().await;
        Ok(())
    }

    /// `false`: the answer was cut on request.
    async fn answer(
        &self,
        connection: &mut Connection,
        request: &Request,
    ) -> Result<bool, WireError> {
        match (&request.head.method, &*request.head.path) {
            (&Method::POST, "/v1/chat/completions") => {
                return self.complete(connection, request).await;
            }
            (&Method::GET, "/v1/models") => {
                let mut body = Vec::new();
                chat::models(self.seconds(), &mut body);
                connection.answer(StatusCode::OK, &[JSON], &body).await?;
            }
            (_, "/v1/chat/completions" | "/v1/models") => {
                refuse(connection, StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed").await?;
            }
            _ => refuse(connection, StatusCode::NOT_FOUND, "not_found").await?,
        }
        Ok(true)
    }

    async fn complete(
        &self,
        connection: &mut Connection,
        request: &Request,
    ) -> Result<bool, WireError> {
        let Ok(chat) = Chat::read(&request.body) else {
            refuse(connection, StatusCode::BAD_REQUEST, "invalid_request").await?;
            return Ok(true);
        };
        if !chat.knobs.delay.is_zero() {
            runtime::sleep(chat.knobs.delay).await;
        }
        if let Some(status) = chat.knobs.status.filter(|status| *status != StatusCode::OK) {
            refuse(connection, status, "on_request").await?;
            return Ok(true);
        }
        let id = self.answers.get() + 1;
        self.answers.set(id);
        if chat.is_stream {
            return self.stream(connection, &chat, id).await;
        }
        if chat.knobs.cut.is_some() {
            return Ok(false);
        }
        let mut body = Vec::with_capacity(1024);
        chat.whole(id, self.seconds(), &mut body);
        connection.answer(StatusCode::OK, &[JSON], &body).await?;
        Ok(true)
    }

    async fn stream(
        &self,
        connection: &mut Connection,
        chat: &Chat,
        id: u64,
    ) -> Result<bool, WireError> {
        connection.begin_stream(&EVENTS)?;
        let mut stream = chat.stream(id, self.seconds());
        let mut events = Vec::with_capacity(512);
        let mut steps = 0;
        while stream.step(&mut events) {
            if chat.knobs.cut.is_some_and(|cut| steps >= cut) {
                connection.flush().await?;
                return Ok(false);
            }
            connection.stream(&events).await?;
            events.clear();
            steps += 1;
            if !chat.knobs.gap.is_zero() {
                connection.flush().await?;
                runtime::sleep(chat.knobs.gap).await;
            }
        }
        connection.end_stream().await?;
        Ok(true)
    }

    fn seconds(&self) -> u64 {
        self.clock.wall().0 / 1000
    }
}

async fn refuse(
    connection: &mut Connection,
    status: StatusCode,
    code: &str,
) -> Result<(), WireError> {
    let mut body = Vec::new();
    let reason = status.canonical_reason().unwrap_or("No reason");
    chat::refusal(&format!("The demo model says: {reason}"), code, &mut body);
    let retry: Field<'_> = ("retry-after", b"1");
    let asks_to_wait =
        [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
    let fields = if asks_to_wait { [JSON, retry].to_vec() } else { vec![JSON] };
    // These two have no body, whatever one writes.
    let bodyless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
    connection.answer(status, &fields, if bodyless { b"" } else { &body }).await
}
