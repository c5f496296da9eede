//! A bell on every worker that another thread can ring: there is mail.
//!
//! A pair of local sockets carries it. Rings that were not heard yet are one ring.

use crate::wire::error::WireError;
use monoio::io::AsyncReadRent;
use monoio::net::UnixStream as MonoioStream;
use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Rings that are taken in one read.
const RINGS: usize = 64;

/// The end that rings, on any thread.
#[derive(Clone, Debug)]
pub struct Ringer(Arc<UnixStream>);

/// The end that hears, on one worker.
#[derive(Debug)]
pub struct Bell {
    ear: Ear,
    rings: Vec<u8>,
}

#[derive(Debug)]
enum Ear {
    /// Made, and not on its worker yet.
    Outside(UnixStream),
    /// On its worker.
    Inside(MonoioStream),
    /// A wait was given up, or failed.
    Deaf,
}

/// A new bell.
pub fn bell() -> io::Result<(Ringer, Bell)> {
    let (ringer, ear) = UnixStream::pair()?;
    ringer.set_nonblocking(true)?;
    Ok((Ringer(Arc::new(ringer)), Bell { ear: Ear::Outside(ear), rings: Vec::new() }))
}

impl Ringer {
    /// Rings, and never blocks: where the pair is full, rings enough wait already; where the
    /// worker is gone, nobody is left to hear.
    pub fn ring(&self) {
        let mut out: &UnixStream = &self.0;
        drop(out.write_all(&[1]));
    }
}

impl Bell {
    /// Waits until the bell was rung since the last time. `Closed` when every ringer is gone.
    ///
    /// Give it a task of its own: a wait that is dropped makes the bell deaf.
    pub async fn heard(&mut self) -> Result<(), WireError> {
        let mut stream = match std::mem::replace(&mut self.ear, Ear::Deaf) {
            Ear::Inside(stream) => stream,
            Ear::Outside(stream) => {
                // Only epoll wants it so: a ring would answer "again" where nothing is there.
                stream.set_nonblocking(monoio::utils::is_legacy())?;
                MonoioStream::from_std(stream)?
            }
            Ear::Deaf => return Err(WireError::Closed),
        };
        let mut rings = std::mem::take(&mut self.rings);
        rings.clear();
        rings.reserve(RINGS);
        let (result, rings) = stream.read(rings).await;
        self.rings = rings;
        match result {
            Ok(0) => Err(WireError::Closed),
            Ok(_) => {
                self.ear = Ear::Inside(stream);
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.ear = Ear::Inside(stream);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bell, Ringer, bell};
    use crate::wire::error::WireError;
    use crate::wire::runtime::{self, Driver, Either};
    use std::time::Duration;

    #[test]
    fn rings_from_another_thread_are_heard_and_never_block() {
        for driver in [Driver::IoUring, Driver::Epoll] {
            let (ringer, bell) = bell().unwrap();
            runtime::run(Some(driver), |_| ring_and_hear(ringer, bell)).unwrap();
        }
    }

    async fn ring_and_hear(ringer: Ringer, mut bell: Bell) {
        std::thread::scope(|scope| {
            // More than any pair holds, so a blocking ring would hang here.
            scope.spawn(|| (0..100_000).for_each(|_| ringer.ring()));
        });
        assert_eq!(bell.heard().await, Ok(()));
        drop(ringer);
        while bell.heard().await == Ok(()) {}
        assert_eq!(bell.heard().await, Err(WireError::Closed));
    }

    #[test]
    fn a_bell_that_nobody_rings_is_silent() {
        for driver in [Driver::IoUring, Driver::Epoll] {
            let (_ringer, mut bell) = bell().unwrap();
            let heard = runtime::run(Some(driver), async move |_| {
                runtime::race(bell.heard(), runtime::sleep(Duration::from_millis(5))).await
            });
            assert_eq!(heard.unwrap(), Either::Second(()));
        }
    }
}
