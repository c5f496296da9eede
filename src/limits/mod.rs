//! How much a caller may ask for: requests in any sixty seconds, and requests at the same time.
//!
//! `allowance.rs` counts for one caller and argues why it is exact, `ledger.rs` holds all of them
//! for the control thread, `shard.rs` is a worker's own part, where a decision is made.
//!
//! Why not GCRA here: its promise is `rate * t + burst`, which lets a caller that was idle have
//! nearly twice its limit within a minute. What is promised is a number in any minute, so use is
//! kept by the second and comes back sixty seconds later.

pub mod allowance;
pub mod ledger;
pub mod shard;
