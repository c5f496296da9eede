//! What is trusted before it is used: here, whether training data was poisoned.

pub mod csv;
pub mod poison;
