//! Is it safe? Finds what must not pass in a request or an answer, and flags, masks or blocks it.
//!
//! `rules` compiles the packs, `inspect` clears a whole body, `stream` masks text that arrives in
//! pieces. Both use `run`, so that the same text gives the same result however it was cut.

pub mod airs;
pub mod arguments;
pub mod classes;
pub mod detect;
pub mod hyperscan;
pub mod inspect;
pub mod islands;
pub mod judge;
pub mod mask;
pub mod pack;
pub mod phrases;
pub mod profile;
pub mod rules;
pub mod run;
pub mod seams;
pub mod search;
pub mod stream;
pub mod structure;
pub mod validators;
pub mod webhook;
