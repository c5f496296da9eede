//! Ringwall's own API keys: how one is made, how a mistyped one is told, and what is stored of it.
//!
//! `rw_` lets secret scanners find a leaked key; the check digits at its end tell a slip of the
//! hand from a key that was revoked. Only its SHA-256 is stored: 192 random bits need no slow hash.

use crate::config::model::KeyDigest;
use ring::digest::{SHA256, digest as hash};

/// What every key begins with.
pub const PREFIX: &str = "rw_";
/// Random bytes of a key.
pub const RANDOM_BYTES: usize = 24;

/// 192 bits in base 62.
const BODY_DIGITS: usize = 33;
/// 32 bits in base 62.
const CHECK_DIGITS: usize = 6;
const KEY_LENGTH: usize = PREFIX.len() + BODY_DIGITS + CHECK_DIGITS;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
const DIGEST_PREFIX: &str = "sha256:";
const CRC_TABLE: [u32; 256] = crc_table();

/// Makes a key of fresh random bytes, and the digest to store in its place.
pub fn mint(random: [u8; RANDOM_BYTES]) -> (String, KeyDigest) {
    let mut key = String::with_capacity(KEY_LENGTH);
    key.push_str(PREFIX);
    key.extend(base62::<BODY_DIGITS>(&random).map(char::from));
    key.extend(check_digits(&key).map(char::from));
    let stored = digest(&key);
    (key, stored)
}

/// Whether a key claims to be one of ours and cannot be: mistyped, cut or pasted with more.
pub fn looks_mistyped(key: &str) -> bool {
    if !key.starts_with(PREFIX) {
        return false;
    }
    let split = key.len().checked_sub(CHECK_DIGITS).filter(|_| key.len() == KEY_LENGTH);
    let Some((body, check)) = split.and_then(|at| key.split_at_checked(at)) else { return true };
    check.as_bytes() != check_digits(body)
}

/// What is stored of a key: the SHA-256 of its text.
pub fn digest(key: &str) -> KeyDigest {
    let mut bytes = [0; 32];
    // SHA-256 has 32 bytes: the zip leaves none of them out.
    for (to, from) in bytes.iter_mut().zip(hash(&SHA256, key.as_bytes()).as_ref()) {
        *to = *from;
    }
    KeyDigest(bytes)
}

/// A digest as the configuration writes it: `sha256:` and 64 lower-case hex digits.
pub fn digest_text(digest: &KeyDigest) -> String {
    let mut text = DIGEST_PREFIX.to_owned();
    data_encoding::HEXLOWER.encode_append(&digest.0, &mut text);
    text
}

/// Reads what [`digest_text`] writes, and nothing else.
pub fn parse_digest(text: &str) -> Option<KeyDigest> {
    let hex = text.strip_prefix(DIGEST_PREFIX)?;
    let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes()).ok()?;
    bytes.try_into().ok().map(KeyDigest)
}

fn check_digits(text: &str) -> [u8; CHECK_DIGITS] {
    base62(&crc32(text.as_bytes()).to_be_bytes())
}

/// A big-endian number in base 62, `DIGITS` long: by long division, one digit a round.
fn base62<const DIGITS: usize>(number: &[u8]) -> [u8; DIGITS] {
    let mut quotient = [0_u8; RANDOM_BYTES];
    for (to, from) in quotient.iter_mut().rev().zip(number.iter().rev()) {
        *to = *from;
    }
    let mut digits = [b'0'; DIGITS];
    for digit in digits.iter_mut().rev() {
        let mut rest = 0_u16;
        for byte in &mut quotient {
            let value = rest * 256 + u16::from(*byte);
            // The rest is below 62, so the quotient fits a byte.
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            rest = value % 62;
        }
        *digit = ALPHABET.get(usize::from(rest)).copied().unwrap_or(b'0');
    }
    digits
}

/// CRC-32 as in IEEE 802.3 and zlib.
fn crc32(bytes: &[u8]) -> u32 {
    let sum = bytes.iter().fold(u32::MAX, |sum, byte| {
        let [low, ..] = sum.to_le_bytes();
        let entry = CRC_TABLE.get(usize::from(low ^ byte)).copied().unwrap_or_default();
        entry ^ (sum >> 8)
    });
    !sum
}

#[expect(clippy::indexing_slicing, reason = "the index is below 256; a fault would not compile")]
const fn crc_table() -> [u32; 256] {
    const POLYNOMIAL: u32 = 0xedb8_8320;
    let mut table = [0; 256];
    let mut byte = 0_u32;
    let mut index = 0;
    while index < table.len() {
        let mut entry = byte;
        let mut bit = 0;
        while bit < 8 {
            let shifted = entry >> 1;
            entry = if entry & 1 == 1 { shifted ^ POLYNOMIAL } else { shifted };
            bit += 1;
        }
        table[index] = entry;
        index += 1;
        byte += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::{KEY_LENGTH, crc32, digest, digest_text, looks_mistyped, mint, parse_digest};
    use proptest::prelude::{any, proptest};

    #[test]
    fn the_checksum_is_the_one_of_zlib() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn the_digest_is_the_sha256_of_the_text() {
        let text = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest_text(&digest("abc")), text);
        assert_eq!(parse_digest(text), Some(digest("abc")));
    }

    #[test]
    fn only_the_one_form_of_a_digest_is_read() {
        let text = digest_text(&digest("abc"));
        for bad in [
            "",
            "sha256:",
            text.trim_start_matches("sha256:"),
            &text.to_uppercase(),
            &format!("{text}0"),
            &format!("{text}00"),
            text.get(..text.len() - 2).unwrap(),
            &format!(" {text}"),
        ] {
            assert_eq!(parse_digest(bad), None, "{bad}");
        }
    }

    #[test]
    fn keys_at_the_ends_of_the_range_have_the_same_length() {
        for random in [[0; 24], [0xff; 24]] {
            let (key, _) = mint(random);
            assert_eq!(key.len(), KEY_LENGTH, "{key}");
            assert!(!looks_mistyped(&key));
        }
    }

    #[test]
    fn a_foreign_key_is_not_called_mistyped() {
        assert!(!looks_mistyped("sk-live-1234"));
        assert!(!looks_mistyped(""));
        assert!(looks_mistyped("rw_"));
        assert!(looks_mistyped("rw_é"));
    }

    proptest! {
        #[test]
        fn one_wrong_character_is_always_seen(random: [u8; 24], at in 3_usize..42, by in 1_u8..62) {
            let (key, stored) = mint(random);
            assert_eq!(stored, digest(&key));
            let mut wrong = key.clone().into_bytes();
            let old = super::ALPHABET.iter().position(|digit| *digit == wrong[at]).unwrap();
            wrong[at] = super::ALPHABET[(old + usize::from(by)) % 62];
            assert!(looks_mistyped(std::str::from_utf8(&wrong).unwrap()), "{key}");
        }

        #[test]
        fn any_text_can_be_asked_about(text in any::<String>()) {
            let mistyped = looks_mistyped(&format!("rw_{text}"));
            assert!(mistyped || text.len() + 3 == KEY_LENGTH);
        }
    }
}
