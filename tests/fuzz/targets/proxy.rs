//! Lets the fuzzer look for bytes for which `properties/proxy.rs` does not hold.
#![no_main]

#[path = "../properties/proxy.rs"]
mod property;

libfuzzer_sys::fuzz_target!(|data: &[u8]| property::check(data));
