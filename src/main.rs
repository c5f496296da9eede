//! Ringwall: parse, dispatch, exit code.

use std::process::ExitCode;

/// Many small buffers come and go on each worker's own thread; mimalloc keeps a heap per thread, so
/// that workers do not wait for each other.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    ringwall::cli::run::main()
}
