//! Nouns that every room may use, and the ground tools: a clock, chance, JSON, secrets.
//!
//! Nothing here does IO or knows a protocol. What two rooms of a higher floor need is a noun here.

pub mod ask;
pub mod caller;
pub mod clock;
pub mod endpoint;
pub mod hit;
pub mod ids;
pub mod json;
pub mod judge;
pub mod map;
pub mod mask;
pub mod network;
pub mod numbers;
pub mod random;
pub mod secret;
pub mod splice;
pub mod text;
pub mod usage;
