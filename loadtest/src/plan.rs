//! A run that was checked: what is asked of whom, how often and for how long.

use crate::target::Target;
use ringwall::base::secret::Secret;
use std::time::Duration;

/// Connections, unless something else is said.
pub const CONNECTIONS: u32 = 32;
/// Most connections: each is a file descriptor here and in the server.
pub const CONNECTIONS_MAX: u32 = 10_000;
/// Requests, unless something else is said.
pub const REQUESTS: u64 = 10_000;
/// Most requests.
pub const REQUESTS_MAX: u64 = 100_000_000;
/// No run sends for longer, whatever ends it otherwise.
pub const DURATION_MAX: Duration = Duration::from_mins(10);
/// Most requests each second.
pub const RATE_MAX: u32 = 1_000_000;

/// A run.
#[derive(Debug)]
pub struct Plan {
    /// Whom it asks.
    pub target: Target,
    /// What it asks for.
    pub work: Work,
    /// The caller's API key.
    pub key: Option<Secret>,
    /// Connections, all open from the start.
    pub connections: u32,
    /// Sending ends after so many requests.
    pub requests: u64,
    /// Sending ends after so much time.
    pub duration: Duration,
    /// Requests each second; `None`: each connection sends as soon as it was answered.
    pub rate: Option<u32>,
    /// Bytes of each prompt.
    pub prompt_bytes: usize,
    /// Each so manieth prompt holds a card.
    pub card_every: Option<u64>,
    /// Whether an answer that is no echo is an error.
    pub expect_echo: bool,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Chat completions.
    Chat {
        /// Of this model.
        model: String,
        /// As streams.
        is_stream: bool,
    },
    /// Calls of an MCP tool.
    Mcp {
        /// Of this name.
        tool: String,
    },
}
