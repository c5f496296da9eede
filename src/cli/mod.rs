//! The command line: what each command does, and everything that is printed.

pub mod args;
pub mod check;
pub mod corpus;
pub mod demo;
pub mod gateway;
pub mod guard;
pub mod guard_bench;
pub mod guard_entities;
pub mod guard_score;
pub mod key;
pub mod measure;
pub mod print;
pub mod run;
pub mod serve;
pub mod verify;
