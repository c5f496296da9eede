//! Lets the fuzzer look for bytes for which `properties/head.rs` does not hold.
#![no_main]

#[path = "../properties/head.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::check(data));
