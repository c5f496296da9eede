//! The command line: what each command does, and everything that is printed.

pub mod args;
pub mod check;
pub mod demo;
pub mod gateway;
pub mod key;
pub mod print;
pub mod run;
pub mod serve;
pub mod verify;
