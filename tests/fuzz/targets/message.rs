//! Lets the fuzzer look for bytes for which `properties/message.rs` does not hold.
#![no_main]

#[path = "../properties/message.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::check(data));
