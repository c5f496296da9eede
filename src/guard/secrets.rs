//! Checks of keys and tokens: how random they look, and the sums that some of them carry.

/// Whether a token has both letters and digits.
pub fn digits(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().any(|byte| byte.is_ascii_alphabetic())
}

/// Whether a token has both small letters and capitals.
pub fn mixed(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_lowercase())
        && text.bytes().any(|byte| byte.is_ascii_uppercase())
}

/// Whether a token could be Base64 or hexadecimal, and not a word.
pub fn encoded(text: &str) -> bool {
    digits(text) || mixed(text.get(1..).unwrap_or_default())
}

/// Whether a value is one, and not what a template puts a value in the place of.
pub fn not_template(text: &str) -> bool {
    let around = |mark: char| text.starts_with(mark) && text.ends_with(mark);
    !text.starts_with('$') && !around('%') && !around('_') && !around('*')
}

/// Whether a token looks drawn at random: digits among its letters, no words, and not a UUID, an
/// alphabet or a version.
pub fn random(text: &str) -> bool {
    digits(text) && !is_wordy(text) && !is_uuid(text) && !is_version(text) && !is_alphabet(text)
}

/// Whether most pairs of letters are the common ones of English and of names in programs.
fn is_wordy(text: &str) -> bool {
    let bytes = text.as_bytes();
    let pairs = bytes.windows(2).filter_map(|pair| match pair {
        [first, second] if first.is_ascii_alphabetic() && second.is_ascii_alphabetic() => {
            Some([first.to_ascii_lowercase(), second.to_ascii_lowercase()])
        }
        _ => None,
    });
    let (mut all, mut common) = (0_usize, 0_usize);
    for pair in pairs {
        all += 1;
        let is_same = |known: &[u8]| known == pair;
        common += usize::from(COMMON_PAIRS.as_bytes().chunks_exact(2).any(is_same));
    }
    all >= PAIRS_MIN && common * 5 >= all * 2
}

/// Fewer pairs of letters say nothing about words.
const PAIRS_MIN: usize = 5;

/// The commonest pairs of letters, one behind the other.
const COMMON_PAIRS: &str = "thheineranreonatesstntentiorteedisitalartongheseatarasetouveromecoride\
                            deraioicchllbemaliursitetiecatadneacaptfoelunicelsigniwaprtrsuplpeplor\
                            eytylecksprtctxtypkekeyesestvivenaexmimpamblobpoidirckifgeagtoacseucod\
                            napiv";

fn is_uuid(text: &str) -> bool {
    let mut lengths = text.split('-').map(str::len);
    let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_hex && [8, 4, 4, 4, 12].into_iter().all(|wanted| lengths.next() == Some(wanted))
}

/// Numbers, points and a word or two, such as `3.5.12-rc1`.
fn is_version(text: &str) -> bool {
    let letters = text.bytes().filter(u8::is_ascii_alphabetic).count();
    let last = text.rsplit('-').next().unwrap_or_default();
    let ends = last.contains('.') && last.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    letters <= 3 || ends || (text.matches('.').count() >= 2 && letters * 2 <= text.len())
}

/// Three letters or digits in the order of the alphabet, again and again.
fn is_alphabet(text: &str) -> bool {
    let bytes = text.as_bytes();
    let follows = |pair: &[u8]| matches!(pair, [first, second] if *second == first + 1);
    let in_order = bytes.windows(2).filter(|pair| follows(pair)).count();
    in_order * 2 > bytes.len()
}

/// Whether a Sentry token's body names its region, as the ones given out do.
pub fn sentry(text: &str) -> bool {
    let body = text.strip_prefix("sntrys_").and_then(|rest| rest.rsplit_once('_'));
    let Some((body, _)) = body else { return false };
    let body = body.trim_end_matches('=');
    let whole = body.get(..body.len() - body.len() % 4).unwrap_or_default();
    let decoded = data_encoding::BASE64.decode(whole.as_bytes()).unwrap_or_default();
    decoded.windows(10).any(|part| part == b"region_url")
}

/// Whether Base64 holds a JSON Web Token.
pub fn jwt_base64(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let whole = body.get(..body.len() - body.len() % 4).unwrap_or_default();
    let url = whole.contains(['-', '_']);
    let encoding = if url { data_encoding::BASE64URL_NOPAD } else { data_encoding::BASE64_NOPAD };
    let decoded = encoding.decode(whole.as_bytes()).unwrap_or_default();
    let is_jwt = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    // The header may hold certificates and be longer than what is looked at.
    let has_header = decoded.contains(&b'.') || decoded.len() >= 300;
    decoded.starts_with(b"eyJ") && has_header && decoded.iter().all(is_jwt)
}

/// Whether a token ends with the CRC-32 of what stands between its prefix and that, in six digits
/// of base 62: the tokens of GitHub and npm since 2021. One that does is no example.
pub fn has_crc32(text: &str) -> bool {
    const BASE62: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let Some((_, body)) = text.split_once('_') else { return false };
    let Some((body, sum)) = body.split_at_checked(body.len().saturating_sub(6)) else {
        return false;
    };
    let mut rest = crc32(body.as_bytes());
    for digit in sum.bytes().rev() {
        let wanted = usize::try_from(rest % 62).ok().and_then(|digit| BASE62.get(digit));
        if wanted != Some(&digit) {
            return false;
        }
        rest /= 62;
    }
    rest == 0 && !body.is_empty()
}

/// CRC-32 as in ISO 3309.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |sum: u32, _| if sum & 1 == 1 { (sum >> 1) ^ 0xedb8_8320 } else { sum >> 1 };
    !bytes.iter().fold(u32::MAX, |sum, byte| (0..8).fold(sum ^ u32::from(*byte), step))
}

#[cfg(test)]
mod tests {
    use super::{crc32, has_crc32, jwt_base64, not_template, random};

    #[test]
    fn names_versions_and_alphabets_are_not_random() {
        for text in ["kV93xq7LpZ20nRbT4wsd", "34bf0e88955ff5a1c328d6a7491acc4f", "Zk4-pq81Lw-x7Tn"]
        {
            assert!(random(text), "{text}");
        }
        let wrong = [
            "SecurityIdentifier1",
            "monthly-report-2024",
            "rc0.13.0_20230412_0712-SNAPSHOT",
            "0123456789abcdefghijklmnopqrstuvwxyz",
            "73082700-1f09-405b-80d0-3131bfd6272d",
            "3.5.12-rc1",
            "jjwt-jackson-0.11.2",
            "NoDigitsHereAtAll",
        ];
        for text in wrong {
            assert!(!random(text), "{text}");
        }
    }

    #[test]
    fn a_sum_in_the_token_is_computed_as_its_maker_does() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let body = "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ";
        let mut rest = crc32(body.as_bytes());
        let mut sum = Vec::new();
        for _ in 0..6 {
            let digit = u8::try_from(rest % 62).unwrap();
            sum.insert(
                0,
                match digit {
                    0..=9 => b'0' + digit,
                    10..=35 => b'A' + digit - 10,
                    _ => b'a' + digit - 36,
                },
            );
            rest /= 62;
        }
        let token = format!("ghp_{body}{}", String::from_utf8(sum).unwrap());
        assert!(has_crc32(&token));
        assert!(!has_crc32(&token.replace("zQW", "zQV")));
        assert!(!has_crc32("ghp_") && !has_crc32("npm") && !has_crc32("ghp_é12345"));
    }

    #[test]
    fn templates_are_no_values_and_base64_of_a_token_is_one() {
        assert!(not_template("pQ4-mistral") && !not_template("$HOME") && !not_template("%NAME%"));
        let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.x";
        assert!(jwt_base64(&data_encoding::BASE64.encode(token.as_bytes())));
        assert!(!jwt_base64(&data_encoding::BASE64.encode(b"eyJ and something else here")));
    }
}
