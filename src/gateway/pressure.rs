//! Memory pressure: the control thread measures, the workers look before they take new work.
//!
//! Refusing early keeps the process alive for what lives already; the kernel's answer to a full
//! container would end all of it at once. A little below the ceiling work is taken again, so that
//! the two do not alternate with each request.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Work is taken again once resident memory is below this many tenths of the ceiling.
const CALM_TENTHS: u64 = 9;

/// What was measured last; shared by all plans of a process.
#[derive(Debug, Default)]
pub struct Pressure {
    is_high: AtomicBool,
    resident: AtomicU64,
}

impl Pressure {
    /// Takes a measurement in. True where it changed whether pressure is high.
    pub fn note(&self, resident: u64, ceiling: u64) -> bool {
        self.resident.store(resident, Ordering::Relaxed);
        let was_high = self.is_high();
        let is_calm = resident < ceiling / 10 * CALM_TENTHS;
        let is_high = resident >= ceiling || (was_high && !is_calm);
        self.is_high.store(is_high, Ordering::Relaxed);
        is_high != was_high
    }

    /// Whether new work is refused.
    pub fn is_high(&self) -> bool {
        self.is_high.load(Ordering::Relaxed)
    }

    /// Resident bytes, as measured last.
    pub fn resident(&self) -> u64 {
        self.resident.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::Pressure;

    #[test]
    fn it_is_high_from_the_ceiling_on_and_until_a_tenth_below() {
        let pressure = Pressure::default();
        assert!(!pressure.note(999, 1000) && !pressure.is_high());
        assert!(pressure.note(1000, 1000) && pressure.is_high());
        assert!(!pressure.note(900, 1000) && pressure.is_high());
        assert!(pressure.note(899, 1000) && !pressure.is_high());
        assert!(!pressure.note(950, 1000) && !pressure.is_high());
        assert_eq!(pressure.resident(), 950);
    }
}
