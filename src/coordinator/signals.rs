//! Signals of the operating system, as flags with a bell.
//!
//! SIGTERM and SIGINT drain, a second one ends at once; SIGHUP reloads the configuration. SIGXFSZ
//! would end the process where a file reaches a limit of its size: it is taken, and so the write
//! fails.

use crate::wire::bell::Ringer;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// What was signalled since it was last asked.
#[derive(Debug, Default)]
pub struct Signalled {
    ends: AtomicU32,
    reload: AtomicBool,
}

impl Signalled {
    /// How often the process was told to end.
    pub fn ends(&self) -> u32 {
        self.ends.load(Ordering::Acquire)
    }

    /// Whether a reload was asked for; asking clears it.
    pub fn take_reload(&self) -> bool {
        self.reload.swap(false, Ordering::AcqRel)
    }
}

/// Listens for signals on a thread of its own, which ends with the process.
pub fn listen(ringer: Ringer) -> io::Result<Arc<Signalled>> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGXFSZ])?;
    let signalled = Arc::new(Signalled::default());
    let own = Arc::clone(&signalled);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        for signal in signals.forever() {
            if signal == SIGXFSZ {
                // The archive sees its write fail, and says so.
                continue;
            }
            if signal == SIGHUP {
                own.reload.store(true, Ordering::Release);
            } else {
                own.ends.fetch_add(1, Ordering::AcqRel);
            }
            ringer.ring();
        }
    })?;
    Ok(signalled)
}
