//! Where the targets are: names are looked up here, off the workers.

use crate::config::model::{Config, Target};
use crate::wire::dns::{AddressBook, resolve};
use std::sync::Arc;

/// Looks up every target's host. One that cannot be found keeps the addresses it had; without any
/// it is listed with none, and its requests are refused until a later look finds it.
pub fn look_up(config: &Config, before: Option<&AddressBook>) -> AddressBook {
    config
        .targets
        .iter()
        .enumerate()
        .map(|(index, target)| {
            find(target)
                .or_else(|| before.and_then(|book| book.get(index)).map(Arc::clone))
                .unwrap_or_else(|| Arc::from([]))
        })
        .collect()
}

fn find(target: &Target) -> Option<Arc<[std::net::SocketAddr]>> {
    if target.socket.is_some() {
        return None;
    }
    let found = resolve(&target.host, target.port).ok()?;
    (!found.is_empty()).then(|| found.into())
}
