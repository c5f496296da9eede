//! Model dialects: what a chat request asks, what an answer says, and how both are rewritten.
//!
//! The OpenAI chat dialect, in bytes and out bytes, without IO. A guard never meets the dialect:
//! it sees `base::text` segments of whole bodies and `base::mask` runs of streams.

pub mod answer;
pub mod chat;
pub mod error;
pub mod models;
pub mod pass;
pub mod run;
pub mod stream;
pub mod walk;
