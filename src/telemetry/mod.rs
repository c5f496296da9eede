//! Counts and timings: plain numbers on each worker, merged and written when they are asked for.
//!
//! Label values come from the configuration only, as indexes; what it does not know is `other`. So
//! recording builds no text, and no caller can make a series.

pub mod labels;
pub mod latency;
pub mod meters;
pub mod prometheus;
