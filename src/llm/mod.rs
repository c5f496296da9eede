//! Model dialects: what a request asks, what an answer says, and how both are rewritten.
//!
//! OpenAI's chat, completions, embeddings and responses, and Anthropic's messages, in bytes and out
//! bytes, without IO; `api` says which is which. A guard never meets the dialect:
//! it sees `base::text` segments of whole bodies and `base::mask` runs of streams.
//!
//! Why a run of a stream ends only with its choice (or, for arguments, with their last bracket):
//! a client joins all pieces of a run, whatever comes between them. Were text given free when the
//! model turns from reasoning to answering, a value could be cut there and come through in halves.

pub mod alone;
pub mod answer;
pub mod api;
pub mod blocks;
pub mod chat;
pub mod completions;
pub mod error;
pub mod event;
pub mod items;
pub mod message_stream;
pub mod messages;
pub mod models;
pub mod pass;
pub mod repeat;
pub mod request;
pub mod response_stream;
pub mod responses;
pub mod run;
pub mod stream;
pub mod walk;
