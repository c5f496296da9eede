//! Ringwall.
fn main() {}
