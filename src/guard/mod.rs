//! Is it safe? Finds what must not pass in a request or an answer, and flags, masks or blocks it.
//!
//! `rules` compiles the packs, `inspect` clears a whole body, `stream` masks text that arrives in
//! pieces. Both use `run`, so that the same text gives the same result however it was cut.

pub mod airs;
pub mod arguments;
pub mod checks;
pub mod classes;
pub mod context;
pub mod conversation;
pub mod dates;
pub mod derived;
pub mod detect;
pub mod encoded;
pub mod encoder;
pub mod fold;
pub mod grounding;
pub mod groups;
pub mod hidden;
pub mod hosts;
pub mod hyperscan;
pub mod ids_europe;
pub mod ids_world;
pub mod inspect;
pub mod islands;
pub mod judge;
pub mod layers;
pub mod leak;
pub mod linear;
pub mod markup;
pub mod mask;
pub mod memory;
pub mod named;
pub mod nominator;
pub mod normal;
pub mod orders;
pub mod own;
pub mod pack;
pub mod phrases;
pub mod places;
pub mod profile;
pub mod restore;
pub mod rules;
pub mod run;
pub mod seams;
pub mod search;
pub mod secrets;
pub mod sentences;
pub mod spotlight;
pub mod stream;
pub mod structure;
pub mod sums;
pub mod turned;
pub mod unescape;
pub mod url;
pub mod validators;
pub mod vault;
pub mod webhook;
pub mod words;

#[cfg(test)]
mod evasion;
