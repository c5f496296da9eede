//! The way of a request, from its head on a client's socket to its record in the audit log.
//!
//! Read `way.rs` first: it is the whole order of things as one function. Every gate lives in a room
//! below and hands back a proof that only it can make; `upstream::send` demands the proofs, so a
//! path that skips a gate does not compile. Whatever goes wrong is a `Refusal`, is answered in
//! `respond.rs` in the caller's own dialect and is settled in `finish.rs`.

pub mod answer;
pub mod clear;
pub mod client;
pub mod decode;
pub mod errand;
pub mod exchange;
pub mod finish;
pub mod judge;
pub mod llm;
pub mod loads;
pub mod mail;
pub mod mcp;
pub mod passthrough;
pub mod plan;
pub mod pressure;
pub mod refusal;
pub mod relay;
pub mod reply;
pub mod respond;
pub mod route;
pub mod said;
pub mod scan;
pub mod shard;
pub mod upstream;
pub mod way;
