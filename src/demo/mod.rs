//! A model and an MCP server to try the gateway with, and the upstreams of tests and benchmarks.
//!
//! Why servers of our own: the tour must work with no key and no network, and tests need upstreams
//! that misbehave on request.

pub mod chat;
pub mod connection;
pub mod dialects;
pub mod knobs;
pub mod mcp_server;
pub mod model;
pub mod serve;
pub mod tools;
