//! Names of hosts: which imitate others, and which are numbers in disguise.

use std::net::Ipv4Addr;

/// A name, and domains.
type Brand = (&'static str, &'static [&'static str]);

/// Names that are imitated most, and the domains that are theirs beside `name.com`.
const BRANDS: [Brand; 36] = [
    ("adobe", &[]),
    ("airbnb", &[]),
    ("alibaba", &[]),
    ("amazon", &["amazonaws.com", "amazon."]),
    ("anthropic", &[]),
    ("apple", &["apple.co"]),
    ("binance", &[]),
    ("blockchain", &[]),
    ("coinbase", &[]),
    ("discord", &["discord.gg", "discordapp.com"]),
    ("docusign", &["docusign.net"]),
    ("dropbox", &["dropboxusercontent.com"]),
    ("facebook", &["facebook.net"]),
    ("fedex", &[]),
    ("github", &["github.io", "githubusercontent.com", "github.blog", "github.dev"]),
    ("gitlab", &["gitlab.io"]),
    (
        "google",
        &[
            "googleapis.com",
            "googleusercontent.com",
            "google.",
            "googleblog.com",
            "googlesource.com",
        ],
    ),
    ("icloud", &[]),
    ("instagram", &[]),
    ("kraken", &[]),
    ("linkedin", &[]),
    ("metamask", &["metamask.io"]),
    ("microsoft", &["microsoftonline.com", "microsoft.net"]),
    ("netflix", &[]),
    ("office365", &[]),
    ("openai", &["openai.org"]),
    ("outlook", &["outlook."]),
    ("paypal", &["paypal.me", "paypalobjects.com"]),
    ("roblox", &[]),
    ("shopify", &["myshopify.com", "shopify.dev"]),
    ("spotify", &[]),
    ("steamcommunity", &[]),
    ("telegram", &["telegram.org", "telegram.me"]),
    ("wellsfargo", &[]),
    ("whatsapp", &["whatsapp.net"]),
    ("youtube", &["youtube-nocookie.com"]),
];

/// The known name that a host imitates: as a part of another's domain, or with a letter changed.
pub fn imitates(host: &str) -> Option<&'static str> {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    let own = registered(&host);
    BRANDS
        .iter()
        .find(|(brand, homes)| {
            let is_home = |home: &&str| match home.strip_suffix('.') {
                Some(name) => own.split('.').next() == Some(name),
                None => own == *home || host.ends_with(&format!(".{home}")),
            };
            let is_own =
                own.strip_prefix(*brand).is_some_and(|rest| rest == ".com" || rest == ".org");
            if is_own || homes.iter().any(is_home) {
                return false;
            }
            let parts = host.split(['.', '-', '_']);
            let last = host.rsplit('.').next().unwrap_or_default();
            parts.filter(|part| *part != last).any(|part| {
                let plain = plain(part);
                let changed = part.len() >= 5 && plain != *part && plain == *brand;
                let near = brand.len() >= 6 && is_one_off(&plain, brand) && part != *brand;
                let as_part = part == *brand && is_bait(&host, own);
                changed || near || as_part
            })
        })
        .map(|(brand, _)| *brand)
}

/// Whether a host that holds a known name elsewhere than in its own domain wants to be taken for
/// it: the name is beside a point or a dash of a longer name.
fn is_bait(host: &str, own: &str) -> bool {
    let words = [
        "login", "signin", "secure", "account", "verify", "update", "support", "wallet", "auth",
        "service", "billing", "com",
    ];
    let mut parts = host.split(['.', '-', '_']);
    let inner = host.len() - own.len();
    let is_outside = host.get(..inner).is_some_and(|before| before.contains(".com"));
    is_outside || (own.contains('-') && parts.any(|part| words.contains(&part) && part != "com"))
}

/// The last two labels, or three where the second is short, as in `co.uk`.
fn registered(host: &str) -> &str {
    let mut points = host.rmatch_indices('.').map(|(at, _)| at);
    let (_, second, third) = (points.next(), points.next(), points.next());
    let Some(second) = second else { return host };
    let label = host.get(second + 1..).unwrap_or_default().split('.').next().unwrap_or_default();
    let is_shared =
        label.len() <= 3 && matches!(label, "co" | "com" | "net" | "org" | "gov" | "ac");
    match (is_shared, third) {
        (true, Some(third)) => host.get(third + 1..).unwrap_or(host),
        (true, None) => host,
        (false, _) => host.get(second + 1..).unwrap_or(host),
    }
}

/// Digits and pairs that are read as letters.
fn plain(part: &str) -> String {
    let letters = part.chars().map(|letter| match letter {
        '0' => 'o',
        '1' | '|' => 'l',
        '3' => 'e',
        '4' => 'a',
        '5' => 's',
        '7' => 't',
        _ => letter,
    });
    letters.collect::<String>().replace("rn", "m").replace("vv", "w")
}

/// Whether one letter was changed, added, left out, or swapped with its neighbour.
fn is_one_off(one: &str, other: &str) -> bool {
    if one == other || one.len().abs_diff(other.len()) > 1 {
        return false;
    }
    let same = one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count();
    let tail = |text: &str, from: usize| text.get(from..).unwrap_or_default().to_owned();
    let (mine, theirs) = (tail(one, same), tail(other, same));
    let swapped = || {
        let mut letters = mine.bytes();
        let (first, second) = (letters.next(), letters.next());
        let mut known = theirs.bytes();
        first == known.nth(1)
            && second == theirs.bytes().next()
            && tail(&mine, 2) == tail(&theirs, 2)
    };
    tail(&mine, 1) == tail(&theirs, 1)
        || tail(&mine, 1) == theirs
        || mine == tail(&theirs, 1)
        || (mine.len() >= 2 && theirs.len() >= 2 && swapped())
}

/// Letters of other scripts that are read as Latin ones.
const LATIN_LOOKS: &str = "аеорсухіјѕһӏԁԛԝьпгтмкνορταικυω";

/// Whether a label mixes scripts, or is made of letters alone that look Latin.
pub fn is_confusable(host: &str) -> bool {
    // Under a name of its own script, letters that look Latin are just letters.
    let last = host.rsplit('.').next().unwrap_or_default();
    last.is_ascii()
        && !last.starts_with("xn--")
        && host.split('.').any(|label| match label.get(..4) {
            Some(prefix) if prefix.eq_ignore_ascii_case("xn--") => {
                decode(label.get(4..).unwrap_or_default()).is_some_and(|label| is_mixed(&label))
            }
            Some(_) | None => !label.is_ascii() && is_mixed(label),
        })
}

fn is_mixed(label: &str) -> bool {
    let latin = label.chars().any(|letter| letter.is_ascii_alphabetic());
    let mut other =
        label.chars().filter(|letter| matches!(letter, '\u{370}'..='\u{58f}')).peekable();
    if other.peek().is_none() {
        return false;
    }
    latin || other.all(|letter| LATIN_LOOKS.contains(letter))
}

/// Punycode (RFC 3492) to letters.
fn decode(text: &str) -> Option<String> {
    let (basic, extended) = text.rsplit_once('-').unwrap_or(("", text));
    let mut letters: Vec<char> = basic.chars().collect();
    let (mut code, mut index, mut bias) = (128_u32, 0_u32, 72_u32);
    let mut digits = extended.bytes();
    while digits.len() > 0 {
        let (old, mut weight, mut step) = (index, 1_u32, 36_u32);
        loop {
            let digit = match digits.next()? {
                byte @ b'a'..=b'z' => u32::from(byte - b'a'),
                byte @ b'A'..=b'Z' => u32::from(byte - b'A'),
                byte @ b'0'..=b'9' => u32::from(byte - b'0') + 26,
                _ => return None,
            };
            index = index.checked_add(digit.checked_mul(weight)?)?;
            let least = step.saturating_sub(bias).clamp(1, 26);
            if digit < least {
                break;
            }
            weight = weight.checked_mul(36 - least)?;
            step += 36;
        }
        let count = u32::try_from(letters.len()).ok()? + 1;
        bias = adapt(index - old, count, old == 0);
        code = code.checked_add(index / count)?;
        index %= count;
        letters.insert(usize::try_from(index).ok()?, char::from_u32(code)?);
        index += 1;
    }
    Some(letters.into_iter().collect())
}

/// RFC 3492 §6.1.
const fn adapt(delta: u32, count: u32, first: bool) -> u32 {
    let mut delta = if first { delta / 700 } else { delta / 2 };
    delta += delta / count;
    let mut steps = 0;
    while delta > 455 {
        delta /= 35;
        steps += 36;
    }
    steps + 36 * delta / (delta + 38)
}

/// Whether strangers can be there.
pub const fn is_public(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_unspecified()
        || address.is_documentation()
        || address.is_broadcast()
        || (first == 100 && second >= 64 && second < 128))
}

/// A whole address in one number, or octets in octal or hexadecimal, as some readers allow.
pub fn is_obscured(host: &str) -> bool {
    let parts: Vec<&str> = host.split('.').collect();
    let is_number = |part: &&str| {
        let hex = part.strip_prefix("0x").or_else(|| part.strip_prefix("0X"));
        match hex {
            Some(hex) => !hex.is_empty() && hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
            None => !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()),
        }
    };
    let odd = |part: &&str| part.len() > 1 && part.starts_with('0');
    parts.iter().all(is_number)
        && parts.len() <= 4
        && (parts.iter().any(odd) || (parts.len() == 1 && host.len() >= 8))
}

#[cfg(test)]
mod tests {
    use super::{decode, imitates, is_confusable, registered};

    #[test]
    fn punycode_is_read_as_the_rfc_says() {
        assert_eq!(decode("mnchen-3ya").as_deref(), Some("m\u{fc}nchen"));
        let look = "\u{430}\u{440}\u{440}\u{4cf}\u{435}";
        assert_eq!(decode("80ak6aa92e").as_deref(), Some(look));
        assert_eq!(decode("!"), None);
        assert_eq!(decode("99999999999999"), None);
        assert!(is_confusable("xn--80ak6aa92e.com"), "all letters look Latin");
    }

    #[test]
    fn what_imitates_a_name_is_told_from_its_owner() {
        for host in [
            "paypa1.com",
            "paypall.net",
            "goggle.com",
            "rnicrosoft.com",
            "paypal.com.evil.example",
            "secure-paypal-login.tk",
            "arnazon.co",
            "facebook-login.xyz",
        ] {
            assert!(imitates(host).is_some(), "{host}");
        }
        for host in [
            "paypal.com",
            "www.amazon.co.uk",
            "s3.amazonaws.com",
            "docs.github.com",
            "ringwall.github.io",
            "googleblog.com",
            "apples.com",
            "example.com",
            "microsoft.com",
            "maps.google.de",
        ] {
            assert_eq!(imitates(host), None, "{host}");
        }
        assert_eq!(registered("a.b.co.uk"), "b.co.uk");
    }
}
