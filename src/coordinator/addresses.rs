//! Where the targets are, at a start and for a deploy: names are looked up here, off the workers.

use crate::config::model::{Config, Target};
use crate::wire::dns::AddressBook;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::{Builder, scope};

/// Finds a host's addresses at a port, and may take its time: the system's resolver, or a test's.
pub type Resolve = Arc<dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync>;

/// Looks up every target's host, all at once: it takes as long as the slowest. One that cannot be
/// found keeps the addresses it had; without any it is listed with none, and its requests are
/// refused until a later look finds it.
pub fn look_up(config: &Config, before: Option<&AddressBook>, resolve: &Resolve) -> AddressBook {
    scope(|scope| {
        let begin = |target| Builder::new().spawn_scoped(scope, move || find(target, resolve));
        let looks: Vec<_> = config.targets.iter().map(begin).collect();
        let ended = looks.into_iter().map(|look| look.ok().and_then(|look| look.join().ok()));
        ended
            .enumerate()
            .map(|(index, found)| {
                let known = || before.and_then(|book| book.get(index)).map(Arc::clone);
                found.flatten().or_else(known).unwrap_or_else(|| Arc::from([]))
            })
            .collect()
    })
}

fn find(target: &Target, resolve: &Resolve) -> Option<Arc<[SocketAddr]>> {
    if target.socket.is_some() {
        return None;
    }
    let found = resolve(&target.host, target.port).ok()?;
    (!found.is_empty()).then(|| found.into())
}
