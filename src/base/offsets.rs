//! Where the characters of a JSON string stand in its raw, escaped form.

/// Maps offsets into a string's decoded text back to its raw, escaped form.
///
/// `inner` is the raw text between the quotes. Offsets must come in ascending order; one that falls
/// inside an escape maps to where that escape begins.
#[derive(Debug)]
pub struct RawOffsets<'a> {
    inner: &'a [u8],
    raw: usize,
    decoded: usize,
}

impl<'a> RawOffsets<'a> {
    /// Begins at the start of the string.
    pub fn new(inner: &'a [u8]) -> Self {
        Self { inner, raw: 0, decoded: 0 }
    }

    /// The raw offset of a decoded offset, both from the start of the string's content.
    pub fn of(&mut self, decoded: usize) -> usize {
        while self.decoded < decoded && self.raw < self.inner.len() {
            let (raw, long) = step(self.inner, self.raw);
            if self.decoded + long > decoded {
                break;
            }
            self.raw += raw;
            self.decoded += long;
        }
        self.raw
    }
}

/// Raw and decoded length of the character or escape that begins at `at`.
fn step(inner: &[u8], at: usize) -> (usize, usize) {
    let byte = inner.get(at).copied().unwrap_or(0);
    if byte != b'\\' {
        return (1, 1);
    }
    if inner.get(at + 1) != Some(&b'u') {
        return (2, 1);
    }
    match hex4(inner, at + 2) {
        Some(0xd800..=0xdbff) => (12, 4),
        Some(0..=0x7f) => (6, 1),
        Some(0x80..=0x7ff) => (6, 2),
        Some(_) | None => (6, 3),
    }
}

/// The number that four hexadecimal digits write.
pub(super) fn hex4(raw: &[u8], at: usize) -> Option<u16> {
    let digits = std::str::from_utf8(raw.get(at..at + 4)?).ok()?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::RawOffsets;

    #[test]
    fn decoded_offsets_map_to_raw_ones() {
        let inner = r#"a\n\u00e9\ud83d\ude00"b"#;
        let decoded = "a\né😀\"b";
        let mut offsets = RawOffsets::new(inner.as_bytes());
        let starts = decoded.char_indices().map(|(at, _)| at).chain([decoded.len()]);
        let raws: Vec<_> = starts.map(|at| offsets.of(at)).collect();
        assert_eq!(raws, [0, 1, 3, 9, 21, 22, 23]);
    }
}
