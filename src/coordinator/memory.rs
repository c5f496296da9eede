//! Measures the process's resident memory, as the kernel sees it.

use crate::gateway::plan::Plan;
use rustix::fs::{Mode, OFlags, open};
use rustix::io::pread;
use std::os::fd::OwnedFd;

/// The kernel's page on this process; it is made anew at each read.
const STATM: &str = "/proc/self/statm";

/// The page, open.
#[derive(Debug)]
pub struct Memory(Option<OwnedFd>);

impl Memory {
    /// Opens it. Where there is none, as without `/proc`, pressure is never high.
    pub fn open() -> Self {
        Self(open(STATM, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok())
    }

    /// Measures, and tells the workers by the plan. A line for the operator where that changes
    /// whether new work is taken.
    pub fn look(&self, plan: &Plan) -> Option<String> {
        let resident = self.resident()?;
        let ceiling = plan.config.bounds.memory_bytes;
        if !plan.pressure.note(resident, ceiling) {
            return None;
        }
        let mib = resident >> 20;
        Some(if plan.pressure.is_high() {
            format!("memory: {mib} MiB are resident, at `bounds.memory`: new requests are refused")
        } else {
            format!("memory: {mib} MiB are resident: requests are served again")
        })
    }

    fn resident(&self) -> Option<u64> {
        let mut page = [0; 128];
        let read = pread(self.0.as_ref()?, &mut page, 0).ok()?;
        let text = std::str::from_utf8(page.get(..read)?).ok()?;
        let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
        let page_bytes = u64::try_from(rustix::param::page_size()).ok()?;
        pages.checked_mul(page_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::Memory;

    #[test]
    fn what_is_touched_is_resident() {
        let memory = Memory::open();
        let before = memory.resident().unwrap();
        assert!(before > 1 << 20, "{before}");
        let touched = vec![7_u8; 64 << 20];
        let after = memory.resident().unwrap();
        assert!(touched.iter().all(|byte| *byte == 7));
        assert!(after > before + (48 << 20), "{before}, then {after}");
    }
}
