//! Ringwall: an AI and MCP edge gateway.
//!
//! `src/README.md` is the map; `gateway/way.rs` is the first file to read.

pub mod base;
pub mod config;
pub mod demo;
pub mod http;
pub mod wire;
