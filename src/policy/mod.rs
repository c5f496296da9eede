//! May they: the rules of the configuration, default deny.

pub mod rules;
