//! Who asks: API keys as digests, and the keys that Ringwall itself makes.

pub mod keys;
pub mod mint;
