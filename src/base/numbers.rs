//! Conversions between number types that cannot lose a value silently.

/// A `u32` as an index; lossless on every platform Ringwall runs on (64 bit).
pub const fn to_usize(number: u32) -> usize {
    const { assert!(usize::BITS >= 32) };
    #[expect(clippy::as_conversions, reason = "widening, asserted above")]
    {
        number as usize
    }
}

/// A length as `u32`, saturating: lengths are bounded long before four gigabytes.
pub fn to_u32(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A length as `u64`; lossless where `usize` has at most 64 bits.
pub fn to_u64(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// A count as a float, for rates and averages: exact up to 2^53.
pub const fn to_f64(number: u64) -> f64 {
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "said above")]
    {
        number as f64
    }
}
