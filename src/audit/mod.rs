//! Evidence: one record for each exchange, chained by hash, written durably, and checked.
//!
//! `record.rs` is what is written of an exchange, `chain.rs` how lines depend on each other,
//! `file.rs` the log on disk and `verify.rs` what finds a change in it. All file IO of the house's
//! running gateway is here, on the archive thread.

pub mod chain;
pub mod file;
pub mod folder;
pub mod kind;
pub mod record;
pub mod recover;
pub mod sign;
pub mod verify;
