//! Text to checked data: the TOML file, its every mistake, and the types that the house reads.
//!
//! `load` is the way; `keys` describes every key once, and the reader, the messages, the reference
//! and the JSON Schema are all made of that description, so that they cannot differ.

pub mod fault;
pub mod guards;
pub mod judges;
pub mod keys;
pub mod kinds;
pub mod listener_keys;
pub mod listeners;
pub mod load;
pub mod model;
pub mod pass;
pub mod people;
pub mod profile_keys;
pub mod profile_model;
pub mod profiles;
pub mod quantities;
pub mod recover;
pub mod redact;
pub mod reference;
pub mod routes;
pub mod schema;
pub mod sets;
pub mod tree;
pub mod units;
pub mod upstreams;
