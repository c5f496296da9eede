//! Whether a path can be read in one way only (RFC 3986 §3.3, §6.2).
//!
//! Where a decision depends on a path, it is not normalised and passed on: servers normalise in
//! many ways, and one of them would see another path than the one that was decided on. A path that
//! any of them reads differently is refused instead.

/// A path as every server reads it: decoded, with what some servers drop or merge taken out.
///
/// `None` where servers disagree: dot segments, empty segments, escaped separators, escapes that
/// are broken or escape an escape, controls, parameters, bytes that are no UTF-8. The text that is
/// given back is for comparing only: letter case is gone, and so are dots and spaces at the ends of
/// segments.
pub fn fold(path: &str) -> Option<String> {
    let decoded = decode(path)?;
    let mut segments = decoded.strip_prefix('/')?.split('/').peekable();
    let mut folded = String::with_capacity(decoded.len());
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if segment.is_empty() && !is_last {
            return None;
        }
        let bare = segment.trim_matches([' ', '.']);
        if bare.is_empty() && !segment.is_empty() {
            return None;
        }
        // A dot at the front of a name is part of it: `.well-known`.
        let named = segment.trim_start_matches(' ').trim_end_matches([' ', '.']);
        folded.push('/');
        folded.extend(named.chars().flat_map(char::to_lowercase));
    }
    Some(folded)
}

/// The decoded path; a slash in it is one that stood there.
fn decode(path: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            if matches!(byte, b'\\' | b';' | b'?' | b'#') {
                return None;
            }
            decoded.push(byte);
            continue;
        }
        let (high, low) = (digit(bytes.next()?)?, digit(bytes.next()?)?);
        let escaped = high * 16 + low;
        if separates(char::from(escaped)) {
            return None;
        }
        decoded.push(escaped);
    }
    let decoded = String::from_utf8(decoded).ok()?;
    let mut narrow = String::with_capacity(decoded.len());
    for character in decoded.chars() {
        let plain = narrowed(character);
        if plain.is_control() || (plain != character && separates(plain)) || is_invisible(plain) {
            return None;
        }
        narrow.push(plain);
    }
    Some(narrow)
}

/// What parts a path, an escape or a URL; decoded at another place it would do so there.
const fn separates(character: char) -> bool {
    matches!(character, '/' | '\\' | '%' | ';' | '?' | '#')
}

/// Full-width forms, which compatibility normalisation reads as ASCII.
fn narrowed(character: char) -> char {
    match character {
        '\u{ff01}'..='\u{ff5e}' => {
            char::from_u32(u32::from(character) - 0xfee0).unwrap_or(character)
        }
        '\u{2024}' => '.',
        '\u{2044}' | '\u{2215}' => '/',
        '\u{a0}' | '\u{3000}' => ' ',
        _ => character,
    }
}

/// Characters that some readers drop.
const fn is_invisible(character: char) -> bool {
    matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}')
        || matches!(character, '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::fold;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn a_plain_path_is_itself() {
        for path in ["/", "/v1/files", "/v1/files/", "/a.b/c_d-e~f", "/.well-known/x", "/a:b@c"] {
            assert_eq!(fold(path).as_deref(), Some(path));
        }
    }

    #[test]
    fn what_servers_may_read_alike_folds_alike() {
        for path in ["/Admin", "/%61dmin", "/admin.", "/admin..", "/admin%20", "/%EF%BD%81dmin"] {
            assert_eq!(fold(path).as_deref(), Some("/admin"), "{path}");
        }
        assert_eq!(fold("/caf%C3%89").as_deref(), Some("/café"));
    }

    #[test]
    fn what_servers_read_differently_is_refused() {
        for path in [
            "",
            "*",
            "admin",
            "//a",
            "/a//b",
            "/./a",
            "/a/.",
            "/a/..",
            "/../a",
            "/a/...",
            "/%2e/a",
            "/a/.%2E/b",
            "/a/%2e%2e%20/b",
            "/%2fa",
            "/a%5Cb",
            "/a\\b",
            "/%2561",
            "/a%00",
            "/a%0a",
            "/a%7f",
            "/a%C2%85",
            "/a;b",
            "/a%3bb",
            "/a%3fb",
            "/a%23",
            "/%",
            "/%4",
            "/%4g",
            "/%u0061",
            "/%c0%af",
            "/%ff",
            "/a%EF%BC%8Fb",
            "/a%E2%80%8Bb",
            "/%EF%BC%8E%EF%BC%8E/a",
            "/%20/a",
        ] {
            assert_eq!(fold(path), None, "{path}");
        }
    }

    proptest! {
        #[test]
        fn folding_is_done_once(path in any::<String>()) {
            if let Some(folded) = fold(&path) {
                prop_assert!(folded.starts_with('/') && !folded.contains("//"));
                prop_assert_eq!(fold(&folded), Some(folded));
            }
        }

        #[test]
        fn escapes_of_letters_change_nothing(path in "(/[a-zA-Z0-9]{1,4}){1,3}") {
            let escaped: String = path.chars().map(|each| match each {
                '/' => each.to_string(),
                _ => format!("%{:02X}", u32::from(each)),
            }).collect();
            prop_assert_eq!(fold(&escaped), fold(&path));
        }
    }
}
