//! Names to addresses. This blocks, so only the control thread does it; workers get a book.

use std::net::SocketAddr;
use std::sync::Arc;

/// The addresses of every target, by its index.
pub type AddressBook = Vec<Arc<[SocketAddr]>>;

/// Asks the system's resolver. Blocks for as long as that takes; never call it on a worker.
#[expect(clippy::disallowed_methods, reason = "the one place that resolves, off the workers")]
pub fn resolve(host: &str, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let found = std::net::ToSocketAddrs::to_socket_addrs(&(bare, port))?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    Ok(addresses)
}
