//! The demo model and the demo MCP server alone, for suites and for trying a gateway of one's own.
//!
//! `upstreams [MODEL_ADDRESS [MCP_ADDRESS]]`; the default is a free port of 127.0.0.1 for each. It
//! prints `model ADDRESS` and `mcp ADDRESS`, and runs until it is killed.

#![expect(clippy::print_stdout, reason = "its addresses are its answer")]
#![expect(clippy::infinite_loop, reason = "it runs until it is killed")]

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;

fn main() -> Result<(), Box<dyn Error>> {
    let mut addresses = std::env::args().skip(1);
    let mut next = || -> Result<SocketAddr, std::net::AddrParseError> {
        addresses.next().as_deref().unwrap_or("127.0.0.1:0").parse()
    };
    let running = ringwall::demo::serve::start(next()?, next()?)?;
    println!("model {}", running.model_addr);
    println!("mcp {}", running.mcp_addr);
    std::io::stdout().flush()?;
    loop {
        std::thread::park();
    }
}
