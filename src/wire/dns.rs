//! Names to addresses. This blocks, so only the control thread does it; workers get a book.

use std::net::SocketAddr;
use std::sync::Arc;

/// The addresses of every target, by its index.
pub type AddressBook = Vec<Arc<[SocketAddr]>>;

/// A host's name, and the port at it.
pub type Name = (Arc<str>, u16);

/// The addresses of a name, or why there are none.
pub type Found = Result<Arc<[SocketAddr]>, String>;

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

#[cfg(test)]
mod tests {
    use super::resolve;

    #[test]
    fn addresses_resolve_to_themselves_and_names_to_each_address_once() {
        assert_eq!(resolve("127.0.0.1", 80).unwrap(), ["127.0.0.1:80".parse().unwrap()]);
        assert_eq!(resolve("[::1]", 443).unwrap(), ["[::1]:443".parse().unwrap()]);
        let mut found = resolve("localhost", 1).unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback()));
        let before = found.len();
        found.sort();
        found.dedup();
        assert_eq!(found.len(), before);
        resolve("no such name", 1).unwrap_err();
    }
}
