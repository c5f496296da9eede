//! Integration tests, by room; one binary, so that they link once.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::string_slice,
    reason = "a test may stop where it stands, and say why"
)]

mod bounds;
mod certificates;
mod cli;
mod corpus;
mod crash;
mod dialects;
mod doors;
mod drain;
mod endpoints;
mod evidence;
mod faults;
mod forward;
mod house;
mod judges;
mod limits;
mod observe;
mod passthrough;
mod profiles;
mod puppet;
mod record;
mod reload;
mod serve;
mod strangers;
mod stream;
mod support;
mod sweep;
mod tls;
