//! Chance from the operating system, in blocks: a system call each few hundred draws, not each one.

use ring::rand::{SecureRandom, SystemRandom};

const BLOCK_BYTES: usize = 4096;

/// A source of random bytes that nobody can foresee. One for each worker.
#[derive(Debug)]
pub struct Random {
    system: SystemRandom,
    block: Vec<u8>,
    used: usize,
}

/// The operating system gave no random bytes; nothing that needs them may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRandom;

impl Default for Random {
    fn default() -> Self {
        Self { system: SystemRandom::new(), block: vec![0; BLOCK_BYTES], used: BLOCK_BYTES }
    }
}

impl Random {
    /// `N` fresh bytes, at most 4096; they are not handed out again.
    pub fn bytes<const N: usize>(&mut self) -> Result<[u8; N], NoRandom> {
        const { assert!(N <= BLOCK_BYTES) };
        if self.used + N > self.block.len() {
            self.system.fill(&mut self.block).map_err(|ring::error::Unspecified| NoRandom)?;
            self.used = 0;
        }
        let mut out = [0; N];
        let fresh = self.block.get_mut(self.used..self.used + N).ok_or(NoRandom)?;
        out.copy_from_slice(fresh);
        fresh.fill(0);
        self.used += N;
        Ok(out)
    }
}

impl std::fmt::Display for NoRandom {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the operating system gave no random bytes")
    }
}

impl std::error::Error for NoRandom {}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn no_draw_repeats() {
        let mut random = Random::default();
        let draws: std::collections::BTreeSet<[u8; 16]> =
            (0..2000).map(|_| random.bytes().unwrap()).collect();
        assert_eq!(draws.len(), 2000);
    }
}
