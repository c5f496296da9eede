//! Finds what is written in base64 or hexadecimal within a text, and reads it.
//!
//! A token's bytes are read wherever they could be ASCII text, at each of the offsets that a group
//! of letters can begin at: what stands before a token is not always cut off from it. Random bytes
//! fail that test within a few groups. What was packed (gzip, zlib) is unpacked, with a bound.

use flate2::{Decompress, FlushDecompress};
use std::ops::Range;

/// A shorter token holds nothing that any rule looks for.
pub const TOKEN_MIN: usize = 16;
/// Fewer bytes in a row that could be text are none.
const TEXT_MIN: usize = 9;
/// So many groups of letters are the least that could be so many bytes.
const GROUPS_MIN: usize = TEXT_MIN / 3;
/// Packed data is unpacked up to so many bytes, and so many times its own length: what a person
/// writes does not get much shorter, and what does is a bomb.
const UNPACKED_MAX: usize = 8 * 1024;
const UNPACKED_TIMES: usize = 8;

/// What was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The token that holds it, with its padding.
    pub token: Range<usize>,
    /// Its bytes as text: what is not printable stands for itself as U+FFFD.
    pub text: String,
}

/// All that is written in another form within `text`.
pub fn decoded(text: &str) -> Vec<Decoded> {
    let mut all = Vec::new();
    for token in tokens(text.as_bytes()) {
        let said = text.as_bytes().get(token.clone()).unwrap_or_default();
        let letters: Vec<u8> = said.iter().filter_map(|byte| sextet(*byte)).collect();
        let mut push = |text: String| all.push(Decoded { token: token.clone(), text });
        if said.iter().all(|byte| byte.is_ascii_hexdigit() || is_break(*byte)) {
            (0..2).for_each(|offset| hexadecimal(said, offset).into_iter().for_each(&mut push));
        }
        if matches!(said, [b'H', b'4', b's', b'I', ..] | [b'e', b'A' | b'F' | b'J' | b'N', ..]) {
            unpacked(&letters).into_iter().for_each(&mut push);
        }
        (0..4).for_each(|offset| base64(&letters, offset).into_iter().for_each(&mut push));
    }
    all
}

/// The first place at or after `from` where a token may be.
pub fn next_token(text: &[u8], from: usize) -> Option<usize> {
    // Every token covers one such block of the text whole.
    const BLOCK: usize = TOKEN_MIN / 2;
    let mut at = from;
    while let Some(rest) = text.get(at..).filter(|rest| rest.len() >= BLOCK) {
        at += rest.chunks_exact(BLOCK).take_while(|block| !is_whole(block)).count() * BLOCK;
        let block = text.get(at..).filter(|rest| rest.len() >= BLOCK)?;
        let before = text.get(from..at).unwrap_or_default();
        let left = before.iter().rev().take_while(|byte| sextet(**byte).is_some()).count();
        let right = block.iter().take_while(|byte| sextet(**byte).is_some()).count();
        if left + right >= TOKEN_MIN {
            return Some(at - left);
        }
        at += right.max(BLOCK);
    }
    None
}

/// Whether all bytes are letters of base64.
fn is_whole(block: &[u8]) -> bool {
    // Without an early exit, so that the compiler makes vector code of it.
    block.iter().fold(true, |all, byte| all & is_letter(*byte))
}

/// Whether a byte may stand between two lines of a token.
pub const fn is_break(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

/// Runs of letters that are long enough, over line ends, with padding.
fn tokens(text: &[u8]) -> Vec<Range<usize>> {
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(start) = next_token(text, at) {
        let rest = text.get(start..).unwrap_or_default();
        let own = rest.iter().take_while(|byte| sextet(**byte).is_some() || is_break(**byte));
        let length = own.count();
        let padding = rest.iter().skip(length).take(2).take_while(|byte| **byte == b'=').count();
        at = start + length + padding;
        let breaks = rest.iter().take(length).rev().take_while(|byte| is_break(**byte)).count();
        all.push(start..at - if padding == 0 { breaks } else { 0 });
    }
    all
}

/// The value of a letter, in the usual and in the URL's alphabet (RFC 4648 sections 4 and 5).
pub const fn sextet(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

/// Whether a byte is such a letter.
#[inline]
#[expect(clippy::needless_bitwise_bool, reason = "a branch for each byte would cost vector code")]
const fn is_letter(byte: u8) -> bool {
    let is_sign = (byte == b'+') | (byte == b'-') | (byte == b'/') | (byte == b'_');
    ((byte | 0x20).wrapping_sub(b'a') < 26) | (byte.wrapping_sub(b'0') < 10) | is_sign
}

/// The parts of a token that read as text when groups begin at this offset.
fn base64(letters: &[u8], offset: usize) -> Vec<String> {
    let groups = letters.get(offset..).unwrap_or_default();
    let mut texts = Texts::default();
    let mut at = 0;
    // Groups of random letters are rarely ASCII, three in a row hardly ever.
    while let Some(rest) = groups.get(at..).filter(|rest| rest.len() >= GROUPS_MIN * 4) {
        let ascii = rest.chunks(4).take_while(|group| is_ascii(group)).count();
        if ascii >= GROUPS_MIN {
            let end = rest.len().min(ascii * 4);
            for byte in bytes_of(rest.get(..end).unwrap_or_default()) {
                texts.push(byte);
            }
            texts.cut();
        }
        at += 4 * (ascii + 1);
    }
    texts.finish()
}

/// Whether all bytes of a group have their highest bit clear.
const fn is_ascii(group: &[u8]) -> bool {
    match *group {
        [one, two, three, _] => (one & 0x20) | (two & 0x08) | (three & 0x02) == 0,
        [one, two, _] => (one & 0x20) | (two & 0x08) == 0,
        [one, _] => one & 0x20 == 0,
        _ => false,
    }
}

fn bytes_of(letters: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(letters.len());
    for group in letters.chunks(4) {
        let bits = group.iter().fold(0_u32, |bits, letter| bits << 6 | u32::from(*letter));
        let [_, whole @ ..] = (bits << (6 * (4 - group.len()))).to_be_bytes();
        bytes.extend(whole.get(..group.len() * 3 / 4).unwrap_or_default());
    }
    bytes
}

fn hexadecimal(said: &[u8], offset: usize) -> Vec<String> {
    let digits: Vec<u8> = said
        .iter()
        .filter_map(|byte| char::from(*byte).to_digit(16))
        .filter_map(|digit| u8::try_from(digit).ok())
        .collect();
    let mut texts = Texts::default();
    for pair in digits.get(offset..).unwrap_or_default().chunks_exact(2) {
        if let [high, low] = pair {
            texts.push(high << 4 | low);
        }
    }
    texts.finish()
}

/// Bytes that could be text, in runs that are long enough.
#[derive(Default)]
struct Texts {
    run: String,
    all: Vec<String>,
}

impl Texts {
    fn push(&mut self, byte: u8) {
        match byte {
            b' '..=b'~' | b'\n' | b'\r' | b'\t' => self.run.push(char::from(byte)),
            // UTF-16 has one with every letter.
            0 => {}
            _ => self.cut(),
        }
    }

    fn cut(&mut self) {
        if self.run.len() >= TEXT_MIN {
            self.all.push(std::mem::take(&mut self.run));
        } else {
            self.run.clear();
        }
    }

    fn finish(mut self) -> Vec<String> {
        self.cut();
        self.all
    }
}

/// What a token that was packed before holds, as far as it is there.
fn unpacked(letters: &[u8]) -> Vec<String> {
    let mut texts = Texts::default();
    for byte in unpack(&bytes_of(letters)).unwrap_or_default() {
        texts.push(byte);
    }
    texts.finish()
}

fn unpack(bytes: &[u8]) -> Option<Vec<u8>> {
    let (body, is_zlib) = match bytes {
        [0x1f, 0x8b, 8, ..] => (bytes.get(gzip_head(bytes)?..)?, false),
        [0x78, ..] => (bytes, true),
        _ => return None,
    };
    let mut out = vec![0; UNPACKED_MAX.min(body.len().saturating_mul(UNPACKED_TIMES))];
    let mut unpacker = Decompress::new(is_zlib);
    // However it ends, what came out is what it holds.
    let ended = unpacker.decompress(body, &mut out, FlushDecompress::Finish);
    out.truncate(usize::try_from(unpacker.total_out()).unwrap_or(0));
    ended.is_ok().then_some(out)
}

/// How long the head of a gzip member is (RFC 1952 section 2.3).
fn gzip_head(bytes: &[u8]) -> Option<usize> {
    let flags = *bytes.get(3)?;
    let mut at = 10;
    if flags & 4 != 0 {
        let [low, high] = *bytes.get(at..at + 2)? else { return None };
        at += 2 + usize::from(u16::from_le_bytes([low, high]));
    }
    for named in [8, 16] {
        if flags & named != 0 {
            at += bytes.get(at..)?.iter().position(|byte| *byte == 0)? + 1;
        }
    }
    Some(if flags & 2 != 0 { at + 2 } else { at })
}

#[cfg(test)]
mod tests {
    use super::{decoded, next_token};

    fn texts(text: &str) -> Vec<String> {
        decoded(text).into_iter().map(|one| one.text).collect()
    }

    #[test]
    fn text_in_base64_is_read_in_every_form() {
        let cases = [
            "NDAxMjg4ODg4ODg4MTg4MQ==",
            "x=NDAxMjg4ODg4ODg4MTg4MQ",
            "cGF5IDQwMTI4ODg4\r\nODg4ODE4ODE=",
            "NDAxMjg4ODg4ODg4MTg4MQ\n",
            "path/NDAxMjg4ODg4ODg4MTg4MQ",
            "aNDAxMjg4ODg4ODg4MTg4MQ",
            "34303132383838383838383831383831",
            "NAAwADEAMgA4ADgAOAA4ADgAOAA4ADgAMQA4ADgAMQA=",
        ];
        for said in cases {
            let texts = texts(said);
            assert!(
                texts.iter().any(|text| text.ends_with("4012888888881881")),
                "{said}: {texts:?}"
            );
        }
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        let gzip = "H4sIAAAAAAACAzMxMDSygAJDIAIAtBb6qhAAAAA=";
        let zlib = "eJwzMTA0soACQyACABxFA1o=";
        let named = "H4sICAAAAAAC/25hbWUAMzEwNLKAAkMgAgC0FvqqEAAAAA==";
        for said in [gzip, zlib, named] {
            assert_eq!(texts(said), ["4012888888881881"], "{said}");
        }
    }

    #[test]
    fn words_and_random_bytes_read_as_nothing() {
        let cases = [
            "state-of-the-art-things",
            "get_user_permissions_by_identifier",
            "7d865e959b2466918c9863afca942d0fb89d7c9ac0c99bafc3749504ded97730",
            "Zm9v",
            "sh/usr/local/share/documents",
        ];
        for said in cases {
            assert_eq!(texts(said), [""; 0], "{said}");
        }
    }

    #[test]
    fn tokens_are_found_at_every_place_and_length() {
        for before in 0..40 {
            for length in 10..40 {
                let text = format!("{}{}  ", " ".repeat(before), "a".repeat(length));
                let found = next_token(text.as_bytes(), 0);
                assert_eq!(found, (length >= 16).then_some(before), "{before} {length}");
            }
        }
    }
}
