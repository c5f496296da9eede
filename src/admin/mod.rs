//! What operators see: health, readiness, metrics. Served by the control thread.
//!
//! Why not by a worker: a scrape must answer when every worker is busy, and what it shows is what
//! the control thread knows anyway.

pub mod metrics;
pub mod serve;
