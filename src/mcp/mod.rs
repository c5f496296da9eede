//! The Model Context Protocol: messages as envelopes over raw bytes, their texts, sealed sessions.
//!
//! The legacy era (revisions up to 2025-11-25) is spoken; a modern client is sent back to it.

pub mod answer;
pub mod error;
pub mod message;
pub mod session;
pub mod transport;
pub mod walk;
