//! Finds the bytes that class-shaped values cannot be without: a digit or an `@`.
//!
//! Cards, account numbers, phones and addresses carry no literal that Hyperscan could anchor on.
//! Prose has few of these bytes, so the pass looks at blocks and stops only where one is.

const BLOCK: usize = 64;

/// The offset of the first digit or `@` at or after `from`.
pub fn next_mark(text: &[u8], from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    let mut at = from;
    let mut blocks = rest.chunks_exact(BLOCK);
    for block in &mut blocks {
        // Without an early exit, so that the compiler makes vector code of it.
        let any = block.iter().fold(0, |any, byte| any | u8::from(is_mark(*byte)));
        if any != 0 {
            return block.iter().position(|byte| is_mark(*byte)).map(|found| at + found);
        }
        at += BLOCK;
    }
    blocks.remainder().iter().position(|byte| is_mark(*byte)).map(|found| at + found)
}

/// How many digits a text has, and whether it has an `@`.
pub fn count(text: &[u8]) -> (usize, bool) {
    text.iter().fold((0, false), |(digits, at), byte| {
        (digits + usize::from(byte.is_ascii_digit()), at || *byte == b'@')
    })
}

const fn is_mark(byte: u8) -> bool {
    byte.wrapping_sub(b'0') < 10 || byte == b'@'
}

#[cfg(test)]
mod tests {
    use super::{count, next_mark};

    #[test]
    fn marks_are_found_at_every_place() {
        for length in [1, 63, 64, 65, 130] {
            for at in 0..length {
                let mut text = vec![b'x'; length];
                text[at] = b"@7"[at % 2];
                assert_eq!(next_mark(&text, 0), Some(at));
                assert_eq!(next_mark(&text, at), Some(at));
                assert_eq!(next_mark(&text, at + 1), None);
            }
        }
        assert_eq!(next_mark(b"", 0), None);
        assert_eq!(next_mark(b"a", 5), None);
        assert_eq!(next_mark(b"/:?A", 0), None);
    }

    #[test]
    fn digits_and_at_signs_are_counted() {
        assert_eq!(count(b"a1@b22"), (3, true));
        assert_eq!(count(b"none"), (0, false));
    }
}
