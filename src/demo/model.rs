//! The demo model's endpoints: chat, responses, completions, embeddings and models as OpenAI has
//! them, messages as Anthropic has them.

use crate::base::ask::Api;
use crate::base::clock::Clock;
use crate::demo::chat::{self, Chat};
use crate::demo::connection::{Connection, Field, Request};
use crate::demo::dialects::Spoken;
use crate::demo::knobs::Knobs;
use crate::wire::error::WireError;
use crate::wire::runtime;
use http::{Method, StatusCode};
use std::cell::Cell;

const JSON: Field<'_> = ("content-type", b"application/json");
const EVENTS: [Field<'_>; 2] =
    [("content-type", b"text/event-stream; charset=utf-8"), ("cache-control", b"no-cache")];

/// Writes the next block of a stream; `false` when there is none.
type Step<'a> = dyn FnMut(&mut Vec<u8>) -> bool + 'a;

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
            (&Method::POST, path) if api_of(path).is_some() => {
                let api = api_of(path).unwrap_or_default();
                return self.speak(connection, api, request).await;
            }
            (_, path) if path == "/v1/models" || api_of(path).is_some() => {
                let status = StatusCode::METHOD_NOT_ALLOWED;
                refuse(connection, Api::Chat, status, "method_not_allowed").await?;
            }
            _ => refuse(connection, Api::Chat, StatusCode::NOT_FOUND, "not_found").await?,
        }
        Ok(true)
    }

    async fn complete(
        &self,
        connection: &mut Connection,
        request: &Request,
    ) -> Result<bool, WireError> {
        let Ok(chat) = Chat::read(&request.body) else {
            refuse(connection, Api::Chat, StatusCode::BAD_REQUEST, "invalid_request").await?;
            return Ok(true);
        };
        if !self.may_answer(connection, Api::Chat, &chat.knobs).await? {
            return Ok(true);
        }
        let id = self.answers.get();
        if chat.is_stream {
            let mut stream = chat.stream(id, self.seconds());
            return self.stream(connection, &chat.knobs, &mut |out| stream.step(out)).await;
        }
        if chat.knobs.cut.is_some() {
            return Ok(false);
        }
        let mut body = Vec::with_capacity(1024);
        chat.whole(id, self.seconds(), &mut body);
        connection.answer(StatusCode::OK, &[JSON], &body).await?;
        Ok(true)
    }

    /// Answers in another dialect than chat.
    async fn speak(
        &self,
        connection: &mut Connection,
        api: Api,
        request: &Request,
    ) -> Result<bool, WireError> {
        let Ok(spoken) = Spoken::read(api, &request.body) else {
            refuse(connection, api, StatusCode::BAD_REQUEST, "invalid_request").await?;
            return Ok(true);
        };
        if !self.may_answer(connection, api, spoken.knobs()).await? {
            return Ok(true);
        }
        let (id, created) = (self.answers.get(), self.seconds());
        if spoken.is_stream() {
            let mut blocks = spoken.stream(id, created).into_iter();
            let mut step = |out: &mut Vec<u8>| {
                let block = blocks.next();
                out.extend_from_slice(block.as_deref().unwrap_or_default());
                block.is_some()
            };
            return self.stream(connection, spoken.knobs(), &mut step).await;
        }
        if spoken.knobs().cut.is_some() {
            return Ok(false);
        }
        connection.answer(StatusCode::OK, &[JSON], &spoken.whole(id, created)).await?;
        Ok(true)
    }

    /// Waits as asked; where it was asked to refuse, it has.
    async fn may_answer(
        &self,
        connection: &mut Connection,
        api: Api,
        knobs: &Knobs,
    ) -> Result<bool, WireError> {
        if !knobs.delay.is_zero() {
            runtime::sleep(knobs.delay).await;
        }
        if let Some(status) = knobs.status.filter(|status| *status != StatusCode::OK) {
            refuse(connection, api, status, "on_request").await?;
            return Ok(false);
        }
        self.answers.set(self.answers.get() + 1);
        Ok(true)
    }

    async fn stream(
        &self,
        connection: &mut Connection,
        knobs: &Knobs,
        step: &mut Step<'_>,
    ) -> Result<bool, WireError> {
        connection.begin_stream(&EVENTS)?;
        let mut events = Vec::with_capacity(512);
        let mut steps = 0;
        while step(&mut events) {
            if knobs.cut.is_some_and(|cut| steps >= cut) {
                connection.flush().await?;
                return Ok(false);
            }
            connection.stream(&events).await?;
            events.clear();
            steps += 1;
            if !knobs.gap.is_zero() {
                connection.flush().await?;
                runtime::sleep(knobs.gap).await;
            }
        }
        connection.end_stream().await?;
        Ok(true)
    }

    fn seconds(&self) -> u64 {
        self.clock.wall().0 / 1000
    }
}

/// The endpoint of models that stands at a path.
fn api_of(path: &str) -> Option<Api> {
    let endpoint = path.strip_prefix("/v1")?;
    Api::ALL.into_iter().find(|api| api.path() == endpoint)
}

async fn refuse(
    connection: &mut Connection,
    api: Api,
    status: StatusCode,
    code: &str,
) -> Result<(), WireError> {
    let mut body = Vec::new();
    let reason = status.canonical_reason().unwrap_or("No reason");
    chat::refusal(api, &format!("The demo model says: {reason}"), code, &mut body);
    let retry: Field<'_> = ("retry-after", b"1");
    let asks_to_wait =
        [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE].contains(&status);
    let fields = if asks_to_wait { [JSON, retry].to_vec() } else { vec![JSON] };
    // These two have no body, whatever one writes.
    let bodyless = [StatusCode::NO_CONTENT, StatusCode::NOT_MODIFIED].contains(&status);
    connection.answer(status, &fields, if bodyless { b"" } else { &body }).await
}
