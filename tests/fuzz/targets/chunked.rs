//! Lets the fuzzer look for bytes for which `properties/chunked.rs` does not hold.
#![no_main]

#[path = "../properties/chunked.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::check(data));
