//! Buffers between two uses. A connection may wait for minutes, and thousands of them do.

/// An empty buffer of at most so many bytes is kept for its next use.
pub const KEPT_BYTES: usize = 2 * 1024;

/// Gives the memory of an empty buffer back, unless it is small.
pub fn give_back(buffer: &mut Vec<u8>) {
    if buffer.is_empty() && buffer.capacity() > KEPT_BYTES {
        *buffer = Vec::new();
    }
}

/// Forgets what a buffer holds, and gives its memory back, unless it is small.
pub fn clear(buffer: &mut Vec<u8>) {
    buffer.clear();
    give_back(buffer);
}

#[cfg(test)]
mod tests {
    use super::{KEPT_BYTES, clear, give_back};

    #[test]
    fn only_a_buffer_that_is_empty_and_large_gives_its_memory_back() {
        let mut large = vec![7; KEPT_BYTES + 1];
        give_back(&mut large);
        assert_eq!(large.len(), KEPT_BYTES + 1);
        clear(&mut large);
        assert_eq!(large.capacity(), 0);
        let mut small = Vec::with_capacity(KEPT_BYTES);
        small.push(7);
        clear(&mut small);
        assert_eq!((small.len(), small.capacity()), (0, KEPT_BYTES));
    }
}
