//! Model dialects: what a chat request asks, what an answer says, and how both are rewritten.
//!
//! The OpenAI chat dialect, in bytes and out bytes, without IO. A guard never meets the dialect:
//! it sees `base::text` segments of whole bodies and `base::mask` runs of streams.
//!
//! Why a run of a stream ends only with its choice (or, for arguments, with their last bracket):
//! a client joins all pieces of a run, whatever comes between them. Were text given free when the
//! model turns from reasoning to answering, a value could be cut there and come through in halves.

pub mod answer;
pub mod chat;
pub mod error;
pub mod models;
pub mod pass;
pub mod run;
pub mod stream;
pub mod walk;
