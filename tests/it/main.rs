//! Integration tests, by room; one binary, so that they link once.
#![expect(clippy::expect_used, clippy::string_slice, reason = "a test may stop where it stands")]

mod house;
