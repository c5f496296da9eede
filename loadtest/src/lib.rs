//! The load generator: asks a gateway on this machine for answers, checks them, and times them.
//!
//! One thread, on the gateway's own wire and codec. `load::run` is the whole of it; `drive` is
//! the file to read first. Whatever judges an answer (`prompt`, `chat`, `mcp`) is pure.

pub mod args;
pub mod chat;
pub mod drive;
pub mod line;
pub mod load;
pub mod mcp;
pub mod mistake;
pub mod pace;
pub mod plan;
pub mod print;
pub mod prompt;
pub mod report;
pub mod tally;
pub mod target;
pub mod turnstile;
