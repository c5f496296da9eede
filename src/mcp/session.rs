//! MCP sessions without a store: the session id is a sealed token that says whose it is.
//!
//! `Mcp-Session-Id` carries caller, server, the upstream's own session and the time, encrypted and
//! authenticated (ChaCha20-Poly1305, RFC 8439), so that every worker and every node with the key
//! can serve the next request. It is never a proof of identity: the caller's key is asked for each
//! time, and a token in the wrong hands opens nothing.

use crate::base::clock::Wall;
use crate::base::secret::Secret;
use data_encoding::BASE64URL_NOPAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;
use std::fmt;
use std::time::Duration;

/// Bytes of an upstream's own session id; a longer one is refused rather than cut.
pub const UPSTREAM_BYTES_MAX: usize = 1024;
/// Bytes of a caller's and of a server's name, which the configuration bounds far below.
const NAME_BYTES_MAX: usize = 1024;
/// A token cannot be longer: base64 of nonce, three texts with their lengths, time and tag.
pub const TOKEN_BYTES_MAX: usize =
    (NONCE_LEN + 8 + 1 + 3 * 2 + 2 * NAME_BYTES_MAX + UPSTREAM_BYTES_MAX + 16).div_ceil(3) * 4;

/// Says what the sealed bytes are for, so that nothing else sealed with the key passes for it.
const PURPOSE: &[u8] = b"ringwall mcp session 1";

/// Seals and opens session ids. The key is the same wherever a session must be valid.
#[derive(Debug)]
pub struct Seal {
    key: Secret,
}

/// What a session id says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claims {
    /// The caller's name.
    pub caller: String,
    /// The server's name in the path.
    pub server: String,
    /// The upstream's own session id, if it gave one.
    pub upstream: Option<String>,
    /// When the session began.
    pub issued: Wall,
}

/// Why there is no such session. To a client all are the same: 404, begin anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionFault {
    /// Another caller's, or another server's.
    Foreign,
    /// It began too long ago.
    Old,
    /// Not sealed by this key, or changed since.
    Tampered,
    /// The upstream's session id is empty, too long, or not visible ASCII; or a name is too long.
    Unfit,
}

impl Seal {
    /// Takes the key over.
    pub fn new(key: [u8; 32]) -> Self {
        Self { key: Secret::new(key) }
    }

    /// A key for another use, which tells nothing of this one.
    pub fn derive(&self, purpose: &[u8]) -> Secret {
        let own = hmac::Key::new(hmac::HMAC_SHA256, self.key.expose());
        Secret::new(hmac::sign(&own, purpose).as_ref())
    }

    /// The token for a session. A nonce must never be used twice with one key: draw it by chance.
    ///
    /// The upstream's session id is a stranger's text: one that could not stand in a header again
    /// (MCP, "Session Management": visible ASCII) is [`SessionFault::Unfit`].
    pub fn seal(&self, claims: &Claims, nonce: [u8; NONCE_LEN]) -> Result<String, SessionFault> {
        let names_fit = [&claims.caller, &claims.server].iter().all(|n| n.len() <= NAME_BYTES_MAX);
        if !names_fit || claims.upstream.as_deref().is_some_and(|id| !is_session_id(id)) {
            return Err(SessionFault::Unfit);
        }
        let mut plain = claims.issued.0.to_be_bytes().to_vec();
        write_text(&mut plain, &claims.caller)?;
        write_text(&mut plain, &claims.server)?;
        plain.push(u8::from(claims.upstream.is_some()));
        write_text(&mut plain, claims.upstream.as_deref().unwrap_or_default())?;
        let tag = self
            .aead()?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(PURPOSE),
                &mut plain,
            )
            .map_err(|ring::error::Unspecified| SessionFault::Unfit)?;
        let sealed = [&nonce[..], &plain, tag.as_ref()].concat();
        Ok(BASE64URL_NOPAD.encode(&sealed))
    }

    /// What the token says, if it was sealed here, for this caller and this server, and not more
    /// than `max_age` ago.
    pub fn open(
        &self,
        token: &str,
        caller: &str,
        server: &str,
        now: Wall,
        max_age: Duration,
    ) -> Result<Claims, SessionFault> {
        let claims = self.unseal(token)?;
        if claims.caller != caller || claims.server != server {
            return Err(SessionFault::Foreign);
        }
        // Another node's clock may be ahead of ours: its token is young, not faulty.
        let age = now.0.saturating_sub(claims.issued.0);
        if Duration::from_millis(age) > max_age {
            return Err(SessionFault::Old);
        }
        Ok(claims)
    }

    fn unseal(&self, token: &str) -> Result<Claims, SessionFault> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(SessionFault::Tampered);
        }
        // Strict: neither padding, nor blanks, nor stray bits at the end. One token, one text.
        let mut bytes =
            BASE64URL_NOPAD.decode(token.as_bytes()).map_err(|_position| SessionFault::Tampered)?;
        let (nonce, sealed) =
            bytes.split_first_chunk_mut::<NONCE_LEN>().ok_or(SessionFault::Tampered)?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self
            .aead()?
            .open_in_place(nonce, Aad::from(PURPOSE), sealed)
            .map_err(|ring::error::Unspecified| SessionFault::Tampered)?;
        read_claims(plain).ok_or(SessionFault::Tampered)
    }

    fn aead(&self) -> Result<LessSafeKey, SessionFault> {
        let key = UnboundKey::new(&CHACHA20_POLY1305, self.key.expose());
        key.map(LessSafeKey::new).map_err(|ring::error::Unspecified| SessionFault::Unfit)
    }
}

impl fmt::Display for SessionFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Foreign | Self::Old | Self::Tampered => {
                "there is no such session here (any more): begin anew with initialize"
            }
            Self::Unfit => "the MCP server gave a session id that cannot be passed on",
        })
    }
}

impl std::error::Error for SessionFault {}

/// Whether a text may be a session id in a header: visible ASCII, and not too long to be sealed.
pub fn is_session_id(text: &str) -> bool {
    (1..=UPSTREAM_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn write_text(out: &mut Vec<u8>, text: &str) -> Result<(), SessionFault> {
    let length = u16::try_from(text.len()).map_err(|_large| SessionFault::Unfit)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn read_claims(plain: &[u8]) -> Option<Claims> {
    let (issued, rest) = plain.split_first_chunk()?;
    let (caller, rest) = read_text(rest)?;
    let (server, rest) = read_text(rest)?;
    let (has_upstream, rest) = rest.split_first()?;
    let (upstream, rest) = read_text(rest)?;
    rest.is_empty().then(|| Claims {
        caller,
        server,
        upstream: (*has_upstream == 1).then_some(upstream),
        issued: Wall(u64::from_be_bytes(*issued)),
    })
}

/// A text and what follows it.
type TextAndRest<'a> = (String, &'a [u8]);

fn read_text(bytes: &[u8]) -> Option<TextAndRest<'_>> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    Some((std::str::from_utf8(text).ok()?.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::{Claims, Seal, SessionFault, TOKEN_BYTES_MAX, UPSTREAM_BYTES_MAX};
    use crate::base::clock::Wall;
    use proptest::prelude::{any, proptest};
    use std::time::Duration;

    const DAY: Duration = Duration::from_hours(24);

    fn claims() -> Claims {
        Claims {
            caller: "ada".to_owned(),
            server: "git".to_owned(),
            upstream: Some("up-1".to_owned()),
            issued: Wall(1_000),
        }
    }

    fn seal() -> Seal {
        Seal::new([7; 32])
    }

    #[test]
    fn a_session_opens_for_its_caller_and_server_and_within_its_age() {
        let token = seal().seal(&claims(), [1; 12]).unwrap();
        assert!(token.bytes().all(|byte| (0x21..=0x7e).contains(&byte)), "{token}");
        assert!(!token.contains("ada"));
        let open = |caller, server, now| seal().open(&token, caller, server, Wall(now), DAY);
        assert_eq!(open("ada", "git", 1_000), Ok(claims()));
        assert_eq!(open("ada", "git", 0), Ok(claims()), "sealed where the clock is ahead");
        assert_eq!(open("bob", "git", 1_000), Err(SessionFault::Foreign));
        assert_eq!(open("ada", "hub", 1_000), Err(SessionFault::Foreign));
        assert_eq!(open("ada", "git", 86_401_000), Ok(claims()));
        assert_eq!(open("ada", "git", 86_401_001), Err(SessionFault::Old));
        let other = Seal::new([8; 32]).open(&token, "ada", "git", Wall(1_000), DAY);
        assert_eq!(other, Err(SessionFault::Tampered));
    }

    #[test]
    fn an_upstreams_session_id_is_checked_before_it_is_sealed() {
        let sealed = |id: &str| {
            let upstream = Some(id.to_owned());
            seal().seal(&Claims { upstream, ..claims() }, [1; 12])
        };
        for bad in ["", "a b", "a\r\nx: y", "é", &"x".repeat(UPSTREAM_BYTES_MAX + 1)] {
            assert_eq!(sealed(bad), Err(SessionFault::Unfit), "{bad}");
        }
        let longest = sealed(&"x".repeat(UPSTREAM_BYTES_MAX)).unwrap();
        assert!(longest.len() <= TOKEN_BYTES_MAX);
        seal().open(&longest, "ada", "git", Wall(1_000), DAY).unwrap();
    }

    #[test]
    fn the_longest_token_fits_its_bound() {
        let name = "n".repeat(1024);
        let upstream = Some("u".repeat(UPSTREAM_BYTES_MAX));
        let long = Claims { caller: name.clone(), server: name.clone(), upstream, issued: Wall(1) };
        let token = seal().seal(&long, [0; 12]).unwrap();
        assert!(token.len() <= TOKEN_BYTES_MAX);
        assert_eq!(seal().open(&token, &name, &name, Wall(1), DAY), Ok(long));
        let caller = "n".repeat(1025);
        let longer = seal().seal(&Claims { caller, ..claims() }, [0; 12]);
        assert_eq!(longer, Err(SessionFault::Unfit));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_refused() {
        let token = seal().seal(&claims(), [1; 12]).unwrap();
        let opened = |token: &str| seal().open(token, "ada", "git", Wall(1_000), DAY);
        let flipped = |at: usize, bit: u32| {
            let mut bytes = token.clone().into_bytes();
            bytes[at] ^= 1 << bit;
            String::from_utf8(bytes)
        };
        // A byte of the text above 0x7f is no UTF-8, so no header text either.
        for (at, bit) in (0..token.len()).flat_map(|at| (0..7).map(move |bit| (at, bit))) {
            let bent = flipped(at, bit).unwrap();
            assert_eq!(opened(&bent), Err(SessionFault::Tampered), "byte {at}, bit {bit}");
        }
        for at in 0..token.len() {
            let cut = token.get(..at).unwrap();
            assert_eq!(opened(cut), Err(SessionFault::Tampered), "cut at {at}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_sealed_opens_to_the_same(
            caller in "\\PC{0,40}",
            server in "\\PC{0,40}",
            upstream in proptest::option::of("[!-~]{1,80}"),
            issued: u64,
            nonce: [u8; 12],
        ) {
            let claims = Claims { caller, server, upstream, issued: Wall(issued) };
            let token = seal().seal(&claims, nonce).unwrap();
            let opened = seal().open(&token, &claims.caller, &claims.server, Wall(issued), DAY);
            assert_eq!(opened, Ok(claims));
        }

        #[test]
        fn any_text_is_no_session(text in any::<String>()) {
            let opened = seal().open(&text, "ada", "git", Wall(0), DAY);
            assert_eq!(opened, Err(SessionFault::Tampered));
        }
    }
}
