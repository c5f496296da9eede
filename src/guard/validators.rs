//! Checks that make a candidate a hit: check digits, countries, issuers, encodings, entropy.
//!
//! A check gets the text that a rule's expression matched and says which part of it is the value.

use crate::guard::named::{NAMED, find};
use std::ops::Range;

/// A check by its name in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// A Bitcoin address: `Base58Check`, or the length and alphabet of Bech32.
    Bitcoin,
    /// A payment card within a run of digits: issuer, length, grouping, Luhn (ISO/IEC 7812).
    Card,
    /// An e-mail address, not a file name such as `icon@2x.png`.
    Email,
    /// Not a word or a repeated letter: at least three bits for each character.
    Entropy,
    /// An IBAN: length by country, remainder 1 modulo 97 (ISO 13616).
    Iban,
    /// Four numbers up to 255 that could be a host.
    Ipv4,
    /// A JSON Web Token: its header decodes to a JSON object (RFC 7519).
    Jwt,
    /// The expression says it all.
    None,
    /// A telephone number: 7 to 15 digits (ITU-T E.164), North American codes begin with 2–9.
    Phone,
    /// A US social security number: area, group and serial that are given out.
    Ssn,
    /// One of [`NAMED`], by its index: the whole of it is the value or nothing is.
    Named(usize),
}

impl Check {
    /// The check of that name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "bitcoin" => Self::Bitcoin,
            "card" => Self::Card,
            "email" => Self::Email,
            "entropy" => Self::Entropy,
            "iban" => Self::Iban,
            "ipv4" => Self::Ipv4,
            "jwt" => Self::Jwt,
            "phone" => Self::Phone,
            "ssn" => Self::Ssn,
            _ => Self::Named(find(name)?),
        })
    }

    /// Whether it looks at every beginning within the match, so that one failure settles it all.
    pub const fn explores(self) -> bool {
        matches!(self, Self::Card)
    }

    /// The part of `text` that is the value; `open` says that more of it may follow.
    pub fn apply(self, text: &str, open: bool) -> Option<Range<usize>> {
        let whole = 0..text.len();
        match self {
            Self::Bitcoin => bitcoin(text).then_some(whole),
            Self::Card => card(text),
            Self::Email => email(text).then_some(whole),
            Self::Entropy => (entropy(text) >= ENTROPY_MIN).then_some(whole),
            Self::Iban => iban(text),
            Self::Ipv4 => ipv4(text).then_some(whole),
            Self::Jwt => jwt(text, open).then_some(whole),
            Self::None => Some(whole),
            Self::Phone => phone(text).then_some(whole),
            Self::Ssn => ssn(text).then_some(whole),
            Self::Named(index) => {
                let (_, check) = NAMED.get(index)?;
                check(text).then_some(whole)
            }
        }
    }
}

/// Bits for each character below which a token is rather a word or a placeholder.
const ENTROPY_MIN: f64 = 3.0;
/// Numbers printed in advertisements and therefore never given to a person.
const SSN_PUBLISHED: [&str; 2] = ["078051120", "219099999"];
/// Endings that make `name@2x.png` a file.
const FILE_ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js"];

/// A country, and how long its IBANs are.
type IbanLength = ([u8; 2], usize);

/// Country and length of every IBAN in the SWIFT registry, in order.
#[rustfmt::skip]
const IBAN_LENGTHS: [IbanLength; 89] = [
    (*b"AD", 24), (*b"AE", 23), (*b"AL", 28), (*b"AT", 20), (*b"AZ", 28), (*b"BA", 20),
    (*b"BE", 16), (*b"BG", 22), (*b"BH", 22), (*b"BI", 27), (*b"BR", 29), (*b"BY", 28),
    (*b"CH", 21), (*b"CR", 22), (*b"CY", 28), (*b"CZ", 24), (*b"DE", 22), (*b"DJ", 27),
    (*b"DK", 18), (*b"DO", 28), (*b"EE", 20), (*b"EG", 29), (*b"ES", 24), (*b"FI", 18),
    (*b"FK", 18), (*b"FO", 18), (*b"FR", 27), (*b"GB", 22), (*b"GE", 22), (*b"GI", 23),
    (*b"GL", 18), (*b"GR", 27), (*b"GT", 28), (*b"HN", 28), (*b"HR", 21), (*b"HU", 28),
    (*b"IE", 22), (*b"IL", 23), (*b"IQ", 23), (*b"IS", 26), (*b"IT", 27), (*b"JO", 30),
    (*b"KW", 30), (*b"KZ", 20), (*b"LB", 28), (*b"LC", 32), (*b"LI", 21), (*b"LT", 20),
    (*b"LU", 20), (*b"LV", 21), (*b"LY", 25), (*b"MC", 27), (*b"MD", 24), (*b"ME", 22),
    (*b"MK", 19), (*b"MN", 20), (*b"MR", 27), (*b"MT", 31), (*b"MU", 30), (*b"NI", 28),
    (*b"NL", 18), (*b"NO", 15), (*b"OM", 23), (*b"PK", 24), (*b"PL", 28), (*b"PS", 29),
    (*b"PT", 25), (*b"QA", 29), (*b"RO", 24), (*b"RS", 22), (*b"RU", 33), (*b"SA", 24),
    (*b"SC", 31), (*b"SD", 18), (*b"SE", 24), (*b"SI", 19), (*b"SK", 24), (*b"SM", 27),
    (*b"SO", 23), (*b"ST", 25), (*b"SV", 28), (*b"TL", 23), (*b"TN", 24), (*b"TR", 26),
    (*b"UA", 29), (*b"VA", 22), (*b"VG", 24), (*b"XK", 20), (*b"YE", 30),
];

fn digits(text: &str) -> impl Iterator<Item = u32> {
    text.chars().filter_map(|letter| letter.to_digit(10))
}

/// The first run of groups that is a card, at group borders.
fn card(text: &str) -> Option<Range<usize>> {
    let groups = groups(text);
    for first in 0..groups.len() {
        let rest = groups.get(first..).unwrap_or_default();
        let start = rest.first()?.start;
        for length in (1..=rest.len().min(5)).rev() {
            let parts = rest.get(..length).unwrap_or_default();
            let end = parts.last()?.end;
            // The digits after a decimal point are no card, however they add up.
            let decimals = length == 1 && text.get(..start).is_some_and(|left| left.ends_with('.'));
            if !decimals && is_grouped_as_card(parts) && is_card(text.get(start..end)?) {
                return Some(start..end);
            }
        }
    }
    None
}

fn groups(text: &str) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    for (at, _) in text.char_indices().filter(|(_, letter)| letter.is_ascii_digit()) {
        match groups.last_mut() {
            Some(group) if group.end == at => group.end = at + 1,
            _ => groups.push(at..at + 1),
        }
    }
    groups
}

/// Unbroken, in fours, or as American Express (4-6-5) and Diners (4-6-4) print it.
fn is_grouped_as_card(parts: &[Range<usize>]) -> bool {
    let mut lengths = [0_usize; 5];
    for (length, part) in lengths.iter_mut().zip(parts) {
        *length = part.len();
    }
    matches!(
        lengths,
        [13..=19, 0, ..] | [4, 6, 4 | 5, 0, 0] | [4, 4, 4, 1..=4, 0] | [4, 4, 4, 4, 1..=3]
    )
}

fn is_card(text: &str) -> bool {
    let mut number = [0_u32; 19];
    let mut length = 0;
    for (place, digit) in number.iter_mut().zip(digits(text)) {
        *place = digit;
        length += 1;
    }
    let number = number.get(..length).unwrap_or_default();
    let prefix = |count: usize| number.iter().take(count).fold(0, |sum, digit| sum * 10 + digit);
    let (two, three, four) = (prefix(2), prefix(3), prefix(4));
    let fits = match number.len() {
        13 => prefix(1) == 4,
        14 => matches!(two, 36 | 38 | 39) || matches!(three, 300..=305 | 309),
        15 => matches!(two, 34 | 37) || matches!(four, 1800 | 2131),
        16 => {
            prefix(1) == 4
                || matches!(two, 51..=55 | 60 | 62 | 64 | 65 | 81)
                || matches!(four, 2200..=2204 | 2221..=2720 | 3500..=3599 | 5018 | 5020 | 5038)
                || matches!(four, 6304 | 6759 | 6761 | 6763)
                || matches!(two, 36 | 38 | 39)
        }
        17 | 18 => matches!(two, 62 | 63 | 67) || matches!(four, 5018 | 5020 | 5038),
        19 => prefix(1) == 4 || matches!(two, 60 | 62 | 63 | 64 | 65 | 67),
        _ => false,
    };
    let same = number.iter().skip(1).all(|digit| number.first() == Some(digit));
    fits && !same && luhn(number)
}

fn luhn(number: &[u32]) -> bool {
    let sum: u32 = number
        .iter()
        .rev()
        .enumerate()
        .map(|(place, digit)| match (place % 2, digit * 2) {
            (0, _) => *digit,
            (_, double) => double / 10 + double % 10,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Takes as many characters as the country's IBANs have; the expression may have taken more.
fn iban(text: &str) -> Option<Range<usize>> {
    let [first, second, ..] = text.as_bytes() else { return None };
    let country = [first.to_ascii_uppercase(), second.to_ascii_uppercase()];
    let row = IBAN_LENGTHS.binary_search_by_key(&country, |(country, _)| *country).ok()?;
    let (_, length) = *IBAN_LENGTHS.get(row)?;
    let letters = text.char_indices().filter(|(_, letter)| letter.is_ascii_alphanumeric());
    let (last, _) = letters.clone().nth(length - 1)?;
    let letters = letters.take(length);
    // The country and check digits belong at the end; the remainder is taken as one goes.
    let moved = letters.clone().skip(4).chain(letters.take(4));
    let rest = moved.filter_map(|(_, letter)| letter.to_digit(36)).fold(0_u32, |rest, value| {
        let shift = if value > 9 { 100 } else { 10 };
        (rest * shift + value) % 97
    });
    (rest == 1).then_some(0..last + 1)
}

fn ssn(text: &str) -> bool {
    let number: String = text.chars().filter(char::is_ascii_digit).collect();
    let part = |span: Range<usize>| number.get(span).unwrap_or_default();
    let area = part(0..3);
    let given = !matches!(area, "000" | "666") && !area.starts_with('9');
    given && part(3..5) != "00" && part(5..9) != "0000" && !SSN_PUBLISHED.contains(&number.as_str())
}

fn phone(text: &str) -> bool {
    // An extension is no part of the number.
    let text = text.split('x').next().unwrap_or_default();
    let number: Vec<u32> = digits(text).collect();
    let national = match number.as_slice() {
        [1, rest @ ..] if rest.len() == 10 && !text.starts_with('+') => rest,
        all if !text.starts_with('+') => all,
        all => return (7..=15).contains(&all.len()),
    };
    match national {
        [area, _, _, exchange, ..] if national.len() == 10 => *area >= 2 && *exchange >= 2,
        _ => (7..=15).contains(&national.len()),
    }
}

fn email(text: &str) -> bool {
    let ending = text.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let local = text.split('@').next().unwrap_or_default();
    !FILE_ENDINGS.contains(&ending.as_str()) && !local.ends_with('.') && !text.contains("..")
}

fn ipv4(text: &str) -> bool {
    let mut parts = text.split('.').map(|part| part.parse::<u16>().ok().filter(|n| *n <= 255));
    let first = parts.next().flatten();
    let plain = text.split('.').all(|part| part.len() == 1 || !part.starts_with('0'));
    plain && first.is_some_and(|first| first != 0) && parts.all(|part| part.is_some())
}

fn jwt(text: &str, open: bool) -> bool {
    let header = match text.split_once('.') {
        Some((header, _)) => header,
        // A header as long as a window, with a certificate in it.
        None if open => text,
        None => return false,
    };
    // Whole groups of four decode on their own.
    let whole = header.get(..header.len() - header.len() % 4).unwrap_or_default();
    let Ok(decoded) = data_encoding::BASE64URL_NOPAD.decode(whole.as_bytes()) else { return false };
    decoded.starts_with(b"{") && decoded.contains(&b'"') && decoded.contains(&b':')
}

fn bitcoin(text: &str) -> bool {
    if text.get(..3).is_some_and(|head| head.eq_ignore_ascii_case("bc1")) {
        return bech32(text);
    }
    let mut number = [0_u8; 25];
    for letter in text.bytes() {
        const ALPHABET: &[u8] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
        let Some(value) = ALPHABET.iter().position(|own| *own == letter) else { return false };
        let mut carry = u32::try_from(value).unwrap_or(0);
        for byte in number.iter_mut().rev() {
            carry += u32::from(*byte) * 58;
            let [low, ..] = carry.to_le_bytes();
            *byte = low;
            carry >>= 8;
        }
        if carry != 0 {
            return false;
        }
    }
    let Some((payload, sum)) = number.split_at_checked(21) else { return false };
    let once = ring::digest::digest(&ring::digest::SHA256, payload);
    let twice = ring::digest::digest(&ring::digest::SHA256, once.as_ref());
    twice.as_ref().starts_with(sum)
}

/// The checksum of BIP 173 (Bech32) or BIP 350 (Bech32m).
fn bech32(text: &str) -> bool {
    const ALPHABET: &[u8] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    const STEPS: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let step = |sum: u32, value: u32| {
        let top = sum >> 25;
        let shifted = ((sum & 0x01ff_ffff) << 5) ^ value;
        STEPS.iter().enumerate().fold(shifted, |sum, (bit, constant)| {
            if (top >> bit) & 1 == 1 { sum ^ constant } else { sum }
        })
    };
    // The human-readable part "bc", expanded: high bits, zero, low bits.
    let mut sum = [3, 3, 0, 2, 3].into_iter().fold(1, step);
    for letter in text.bytes().skip(3) {
        let letter = letter.to_ascii_lowercase();
        let Some(value) = ALPHABET.iter().position(|own| *own == letter) else { return false };
        sum = step(sum, u32::try_from(value).unwrap_or(0));
    }
    matches!(sum, 1 | 0x2bc8_30a3)
}

/// Shannon entropy in bits for each byte.
pub fn entropy(text: &str) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in text.bytes() {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let total = f64::from(u32::try_from(text.len()).unwrap_or(u32::MAX));
    let bits = |count: &u32| {
        let share = f64::from(*count) / total;
        -share * share.log2()
    };
    counts.iter().filter(|count| **count > 0).map(bits).sum()
}

#[cfg(test)]
mod tests {
    use super::Check;

    fn value(check: Check, text: &str) -> Option<&str> {
        check.apply(text, false).and_then(|span| text.get(span))
    }

    #[test]
    fn cards_are_found_at_group_borders_by_issuer_and_luhn() {
        let found = |text| value(Check::Card, text);
        assert_eq!(found("4111111111111111"), Some("4111111111111111"));
        assert_eq!(found("05 4111 1111 1111 1111 123"), Some("4111 1111 1111 1111"));
        assert_eq!(found("3782-822463-10005"), Some("3782-822463-10005"));
        assert_eq!(found("2223003122003222"), Some("2223003122003222"));
        for bad in
            ["4111111111111112", "9111111111111111", "0000000000000000", "0.4111111111111111"]
        {
            assert_eq!(found(bad), None, "{bad}");
        }
    }

    #[test]
    fn ibans_take_the_length_of_their_country() {
        let found = |text| value(Check::Iban, text);
        assert_eq!(found("DE89370400440532013000"), Some("DE89370400440532013000"));
        assert_eq!(found("GB29 NWBK 6016 1331 9268 19 77"), Some("GB29 NWBK 6016 1331 9268 19"));
        assert_eq!(found("DE89370400440532013001"), None);
        assert_eq!(found("ZZ89370400440532013000"), None);
        assert_eq!(found("DE89"), None);
    }

    #[test]
    fn numbers_that_are_not_given_out_are_none() {
        assert!(value(Check::Ssn, "536-22-1234").is_some());
        for bad in ["000-22-1234", "666-22-1234", "912-22-1234", "536-00-1234", "536-22-0000"] {
            assert_eq!(value(Check::Ssn, bad), None, "{bad}");
        }
        assert_eq!(value(Check::Ssn, "078-05-1120"), None);
        assert!(value(Check::Phone, "+44 20 7946 0958").is_some());
        assert_eq!(value(Check::Phone, "155-123-4567"), None);
        assert_eq!(value(Check::Ipv4, "1.2.3.256"), None);
        assert_eq!(value(Check::Ipv4, "0.2.3.25"), None);
    }

    #[test]
    fn encodings_are_decoded() {
        assert!(value(Check::Jwt, "eyJhbGciOiJIUzI1NiJ9.e30.x").is_some());
        assert_eq!(value(Check::Jwt, "eyJhbGciOiJIUzI1NiJ9"), None);
        assert!(Check::Jwt.apply("eyJhbGciOiJIUzI1NiJ9", true).is_some());
        assert_eq!(value(Check::Jwt, "eyJhbGci!iJIUzI1NiJ9.e30.x"), None);
        assert!(value(Check::Bitcoin, "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2").is_some());
        assert_eq!(value(Check::Bitcoin, "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3"), None);
        let segwit = "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq";
        assert!(value(Check::Bitcoin, segwit).is_some());
        assert_eq!(value(Check::Bitcoin, &segwit.replace("mdq", "mdp")), None);
    }

    #[test]
    fn words_have_less_entropy_than_keys() {
        assert_eq!(value(Check::Entropy, "xxxxxxxxxxxxxxxxxxxx"), None);
        assert!(value(Check::Entropy, "a8F3kL0pQz7XvB2nM5tY").is_some());
    }
}
