//! The control thread: deploys, the ledger, addresses, the archive, signals, the end.
//!
//! It serves no request. Workers tell it what happened and it tells them what to do; when it is
//! late, they go on with what they have. Why a thread apart: a deploy compiles rules for a second,
//! a name is looked up for five; neither may hold a request.

pub mod addresses;
pub mod archive;
pub mod control;
pub mod deploy;
pub mod memory;
pub mod run;
pub mod signals;
