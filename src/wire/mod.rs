//! All IO of the data path: sockets, TLS, dialling, listening, pools, deadlines, the runtime.
//!
//! The one room below the workers that names monoio, so that the runtime can be changed here.
//! The rules that its pitfalls ask for are kept here too: an operation that was given up spends
//! its socket, names are resolved elsewhere, and a panic never leaves its task.

pub mod bell;
pub mod certificates;
pub mod dial;
pub mod dns;
pub mod error;
pub mod listen;
pub mod names;
pub mod pool;
pub mod proxied;
pub mod runtime;
pub mod socket;
pub mod speak;
pub mod stream;
pub mod tls;
pub mod watch;

#[cfg(test)]
pub(crate) mod fault;
