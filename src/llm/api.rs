//! The endpoints through which models are asked, each with its reader, its answer and its stream.

use crate::base::ask::{Api, ChatAsk, Dialect};
use crate::base::json::{Json, Reader};
use crate::base::mask::StreamMask;
use crate::base::splice::Splices;
use crate::base::usage::Usage;
use crate::http::sse::SseEvent;
use crate::llm::answer::{self, Answer};
use crate::llm::message_stream::MessageStream;
use crate::llm::request::{ChatFault, ChatRequest};
use crate::llm::response_stream::ResponseStream;
use crate::llm::stream::{ChatStream, Flow, StreamFault};
use crate::llm::{chat, completions, messages, responses};

/// Reads a request. `raw` is the text that `json` was read from.
pub fn read(api: Api, raw: &[u8], json: &Json) -> Result<ChatRequest, ChatFault> {
    let root = json.root();
    if raw.get(root.span().start) != Some(&b'{') {
        return Err(ChatFault {
            code: "invalid_type",
            param: None,
            message: "The body must be a JSON object.".into(),
        });
    }
    match api {
        Api::Chat => chat::read(root),
        Api::Completions => completions::read(root),
        Api::CountTokens | Api::Messages => messages::read(api, root),
        Api::Embeddings => completions::read_embeddings(root),
        Api::Responses => responses::read(root),
    }
}

/// Reads a whole answer, which may be an error.
pub fn answer(api: Api, json: &Json) -> Answer {
    match api {
        Api::Chat | Api::Completions | Api::Embeddings => answer::read(json),
        Api::CountTokens | Api::Messages => messages::answer(json),
        Api::Responses => responses::answer(json),
    }
}

/// Takes out of a whole answer what repeats it in pieces that no rule can see.
pub fn hide_logprobs(api: Api, json: &Json, splices: &mut Splices) {
    match api {
        Api::Chat | Api::Completions => answer::hide_logprobs(json, splices),
        Api::Responses => responses::hide_logprobs(json, splices),
        Api::CountTokens | Api::Embeddings | Api::Messages => {}
    }
}

/// A streamed answer in the dialect of its endpoint.
#[derive(Debug)]
pub enum AnswerStream {
    /// Chat, and completions before chat.
    Chat(ChatStream),
    /// A message.
    Message(MessageStream),
    /// A response.
    Response(Box<ResponseStream>),
}

impl AnswerStream {
    /// Begins the stream of what was asked. `guarded`: some guard masks it.
    pub fn new(ask: &ChatAsk, guarded: bool) -> Self {
        match ask.api {
            Api::Responses => {
                let mut stream = ResponseStream::default();
                if !guarded {
                    stream.keep_logprobs();
                }
                Self::Response(Box::new(stream))
            }
            Api::CountTokens | Api::Messages => Self::Message(MessageStream::default()),
            Api::Chat | Api::Completions | Api::Embeddings => {
                let mut stream = ChatStream::new(ask.include_usage);
                if ask.api == Api::Completions {
                    stream.is_text();
                }
                if !guarded {
                    stream.keep_logprobs();
                }
                Self::Chat(stream)
            }
        }
    }

    /// Takes one event and writes whole events to `out`: those that it releases, and itself.
    pub fn event(
        &mut self,
        event: &SseEvent,
        reader: &mut Reader,
        mask: &mut dyn StreamMask,
        out: &mut Vec<u8>,
    ) -> Result<Flow, StreamFault> {
        match self {
            Self::Chat(stream) => stream.event(&event.data, reader, mask, out),
            Self::Message(stream) => stream.event(event, reader, mask, out),
            Self::Response(stream) => stream.event(event, reader, mask, out),
        }
    }

    /// The upstream has ended too early: writes what was still held back.
    pub fn finish(
        &mut self,
        mask: &mut dyn StreamMask,
        out: &mut Vec<u8>,
    ) -> Result<(), StreamFault> {
        match self {
            Self::Chat(stream) => stream.finish(mask, out),
            Self::Message(stream) => stream.finish(mask, out),
            Self::Response(stream) => stream.finish(mask, out),
        }
    }

    /// Ends the stream from our side in a form that clients take for an end.
    pub fn cut(&mut self, code: &str, message: &str, out: &mut Vec<u8>) {
        match self {
            Self::Chat(stream) => stream.cut(code, message, out),
            Self::Message(stream) => stream.cut(code, message, out),
            Self::Response(stream) => stream.cut(code, message, out),
        }
    }

    /// The provider's count, once it has sent it.
    pub fn usage(&self) -> Option<Usage> {
        match self {
            Self::Chat(stream) => stream.usage(),
            Self::Message(stream) => stream.usage(),
            Self::Response(stream) => stream.usage(),
        }
    }
}

/// The fields of a client's request that a provider of that dialect may need; all others stay
/// here.
pub const fn passing(dialect: Dialect) -> &'static [&'static str] {
    match dialect {
        Dialect::Anthropic => {
            &["anthropic-beta", "anthropic-version", "idempotency-key", "tracestate"]
        }
        Dialect::OpenAi => &[
            "idempotency-key",
            "openai-beta",
            "openai-organization",
            "openai-project",
            "tracestate",
        ],
    }
}
