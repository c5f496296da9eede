//! Text to checked data: the TOML file, its every mistake, and the types that the house reads.

pub mod model;
