//! N worker threads: each accepts, serves and drains on a loop of its own.
//!
//! Why a thread per core: a request stays on the core that accepted it, so nothing on its way is
//! locked or shared. New connections are the exception: a worker that has more than another hands
//! them over, once, before a byte is read.

pub mod accept;
pub mod flag;
pub mod orders;
pub mod serve;
pub mod start;

#[cfg(test)]
mod faults;
#[cfg(test)]
mod moves;
