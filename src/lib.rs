//! Ringwall: an AI and MCP edge gateway.
//!
//! `src/README.md` is the map; `gateway/way.rs` is the first file to read.

pub mod admin;
pub mod audit;
pub mod base;
pub mod cli;
pub mod config;
pub mod coordinator;
pub mod demo;
pub mod gateway;
pub mod guard;
pub mod http;
pub mod identity;
pub mod limits;
pub mod llm;
pub mod mcp;
pub mod policy;
pub mod supply;
pub mod telemetry;
pub mod wire;
pub mod worker;
