//! API keys and client certificates: what a request presents, and whose it is.
//!
//! Of keys only digests are held, and they are compared in constant time. Several keys of one
//! caller are valid at once, so that they can be rotated. A wrong key is never taken for no key,
//! and a certificate of one caller never goes with the key of another.

use crate::base::caller::Caller;
use crate::base::clock::Wall;
use crate::base::map::Map;
use crate::config::model::{CallerEntry, KeyDigest};
use crate::identity::mint::{digest, looks_mistyped};
use std::fmt;
use std::sync::Arc;

/// A longer key is none of anybody's; it is not even hashed.
pub const KEY_BYTES_MAX: usize = 512;

/// All keys of a configuration.
pub struct KeyTable {
    /// By the beginning of the digest, which is all that a look-up may branch on.
    buckets: Map<u64, Vec<Entry>>,
    /// By a name in a certificate. Which ones there are is no secret.
    certificates: Map<Arc<str>, Arc<Caller>>,
    anonymous: Option<Arc<Caller>>,
}

/// What a request presents to show who asks.
#[derive(Clone, Copy, Default)]
pub struct Presented<'a> {
    /// The field `authorization`: `Bearer KEY` (RFC 6750 §2.1).
    pub authorization: Option<&'a [u8]>,
    /// The field `x-api-key`.
    pub api_key: Option<&'a [u8]>,
    /// The names in the client's certificate, which was verified.
    pub certificate: &'a [Box<str>],
}

/// The caller that a certificate is of, where it is of one.
type Shown<'a> = Option<&'a Arc<Caller>>;

struct Entry {
    digest: KeyDigest,
    caller: Arc<Caller>,
}

/// The proof that the caller is who it says: only [`KeyTable::identify`] makes it.
#[derive(Clone, Debug)]
pub struct Identified {
    caller: Arc<Caller>,
    method: &'static str,
}

/// Why nobody is identified. It carries no part of what was presented.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityFault {
    /// Two different keys in two headers, or proofs of two callers.
    Conflicting,
    /// The key was right once.
    Expired,
    /// Not `Bearer KEY`, or not a key at all.
    Malformed,
    /// No key, and nobody may come without one.
    Missing,
    /// Nobody's key.
    Unknown {
        /// It looks like one of Ringwall's, and its check digits do not fit.
        mistyped: bool,
    },
}

impl KeyTable {
    /// Takes the keys of all callers.
    pub fn new(entries: &[CallerEntry]) -> Self {
        let mut buckets: Map<u64, Vec<Entry>> = Map::default();
        for entry in entries {
            for digest in &entry.keys {
                let caller = Arc::clone(&entry.caller);
                buckets.entry(bucket(digest)).or_default().push(Entry { digest: *digest, caller });
            }
        }
        let certificates = entries.iter().flat_map(|entry| {
            entry.certificates.iter().map(|name| (Arc::clone(name), Arc::clone(&entry.caller)))
        });
        let certificates = certificates.collect();
        let anonymous = entries.iter().find(|entry| entry.anonymous);
        let anonymous = anonymous.map(|entry| Arc::clone(&entry.caller));
        Self { buckets, certificates, anonymous }
    }

    /// Whose request it is: by a key in one of two fields, by a client certificate where there is
    /// no key, or by nothing where an anonymous caller is configured.
    pub fn identify(
        &self,
        presented: Presented<'_>,
        now: Wall,
    ) -> Result<Identified, IdentityFault> {
        let bearer = presented.authorization.map(bearer_token).transpose()?;
        let header = presented.api_key.map(|value| key_text(value.trim_ascii())).transpose()?;
        let shown = self.certified(presented.certificate)?;
        let (key, method) = match (bearer, header) {
            (Some(one), Some(two)) if one != two => return Err(IdentityFault::Conflicting),
            (Some(key), _) => (key, "bearer"),
            (None, Some(key)) => (key, "x-api-key"),
            (None, None) => {
                return match shown {
                    Some(caller) => proven(caller, "mtls", now),
                    None => self.nobody(now),
                };
            }
        };
        let caller = self.owner(&digest(key)).ok_or_else(|| unknown(key))?;
        if shown.is_some_and(|shown| shown.index != caller.index) {
            return Err(IdentityFault::Conflicting);
        }
        proven(caller, method, now)
    }

    /// The caller that a certificate is of. One that is of several is a mistake of whoever signed
    /// or configured it.
    fn certified(&self, names: &[Box<str>]) -> Result<Shown<'_>, IdentityFault> {
        let mut found: Option<&Arc<Caller>> = None;
        for caller in names.iter().filter_map(|name| self.certificates.get(&**name)) {
            if found.is_some_and(|found| found.index != caller.index) {
                return Err(IdentityFault::Conflicting);
            }
            found = Some(caller);
        }
        Ok(found)
    }

    fn nobody(&self, now: Wall) -> Result<Identified, IdentityFault> {
        let caller = self.anonymous.as_ref().filter(|caller| !is_expired(caller, now));
        let caller = caller.ok_or(IdentityFault::Missing)?;
        Ok(Identified { caller: Arc::clone(caller), method: "anonymous" })
    }

    fn owner(&self, presented: &KeyDigest) -> Option<&Arc<Caller>> {
        let bucket = self.buckets.get(&bucket(presented))?;
        bucket.iter().find(|entry| is_same(&entry.digest, presented)).map(|entry| &entry.caller)
    }
}

impl Identified {
    /// Who asks.
    pub fn caller(&self) -> &Arc<Caller> {
        &self.caller
    }

    /// By what, for records: `bearer`, `x-api-key`, `mtls` or `anonymous`.
    pub fn method(&self) -> &'static str {
        self.method
    }
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the keys.
        out.debug_struct("Presented")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for KeyTable {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("KeyTable").field("keys", &self.buckets.len()).finish_non_exhaustive()
    }
}

impl IdentityFault {
    /// The name in answers, records and metrics; stable.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Conflicting => "conflicting_api_keys",
            Self::Expired => "expired_api_key",
            Self::Malformed => "malformed_api_key",
            Self::Missing => "missing_api_key",
            Self::Unknown { .. } => "invalid_api_key",
        }
    }
}

impl fmt::Display for IdentityFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Conflicting => {
                "the request proves two different callers: send one API key, and no key of another \
                 caller than that of the client certificate"
            }
            Self::Expired => {
                "this API key or caller has expired: ask the gateway's operator for a new one"
            }
            Self::Malformed => {
                "the API key cannot be read: send authorization: Bearer KEY, or x-api-key: KEY"
            }
            Self::Missing => {
                "an API key is needed: send authorization: Bearer KEY, or x-api-key: KEY"
            }
            Self::Unknown { mistyped: true } => {
                "this API key is mistyped or incomplete: copy it again as a whole"
            }
            Self::Unknown { mistyped: false } => {
                "this API key is not known here: ask the gateway's operator for a valid one"
            }
        })
    }
}

impl std::error::Error for IdentityFault {}

/// `Bearer` in any case, spaces, and exactly one token (RFC 9110 §11.4).
fn bearer_token(value: &[u8]) -> Result<&str, IdentityFault> {
    let value = value.trim_ascii();
    let scheme = value.iter().position(|byte| *byte == b' ').ok_or(IdentityFault::Malformed)?;
    let (scheme, rest) = value.split_at_checked(scheme).ok_or(IdentityFault::Malformed)?;
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(IdentityFault::Malformed);
    }
    key_text(rest.trim_ascii_start())
}

/// A key is visible ASCII without spaces or commas, so that no list of keys is taken for one.
fn key_text(value: &[u8]) -> Result<&str, IdentityFault> {
    let sound = (1..=KEY_BYTES_MAX).contains(&value.len())
        && value.iter().all(|byte| byte.is_ascii_graphic() && *byte != b',');
    let text = sound.then(|| std::str::from_utf8(value).ok()).flatten();
    text.ok_or(IdentityFault::Malformed)
}

fn proven(
    caller: &Arc<Caller>,
    method: &'static str,
    now: Wall,
) -> Result<Identified, IdentityFault> {
    if is_expired(caller, now) {
        return Err(IdentityFault::Expired);
    }
    Ok(Identified { caller: Arc::clone(caller), method })
}

fn unknown(key: &str) -> IdentityFault {
    IdentityFault::Unknown { mistyped: looks_mistyped(key) }
}

fn is_expired(caller: &Caller, now: Wall) -> bool {
    caller.expires.is_some_and(|end| end <= now)
}

fn bucket(digest: &KeyDigest) -> u64 {
    let first = digest.0.first_chunk().copied().unwrap_or_default();
    u64::from_ne_bytes(first)
}

/// Compares whole digests whatever they hold; `black_box` keeps the compiler from leaving early.
fn is_same(one: &KeyDigest, two: &KeyDigest) -> bool {
    let difference =
        one.0.iter().zip(&two.0).fold(0, |sum, (one, two)| std::hint::black_box(sum | (one ^ two)));
    difference == 0
}

#[cfg(test)]
mod tests {
    use super::{Identified, IdentityFault, KEY_BYTES_MAX, KeyTable, Presented};
    use crate::base::caller::Caller;
    use crate::base::clock::Wall;
    use crate::config::model::{CallerEntry, Limits};
    use crate::identity::mint::{digest, mint};
    use proptest::prelude::{any, proptest};
    use std::sync::Arc;

    fn entry(name: &str, keys: &[&str], expires: Option<u64>) -> CallerEntry {
        let caller = Caller {
            name: name.into(),
            index: name.len(),
            user: None,
            app: None,
            team: None,
            expires: expires.map(Wall),
            metadata: Vec::new(),
        };
        CallerEntry {
            caller: Arc::new(caller),
            keys: keys.iter().map(|key| digest(key)).collect(),
            certificates: vec![format!("dns:{name}.example.org").into()],
            limits: Limits::default(),
            anonymous: false,
        }
    }

    fn table(anonymous: bool) -> KeyTable {
        let mut nobody = entry("nobody", &[], None);
        nobody.anonymous = anonymous;
        KeyTable::new(&[
            entry("ada", &["key-old", "key-new"], None),
            entry("bobby", &["key-bob"], Some(1000)),
            nobody,
        ])
    }

    fn ask(
        authorization: Option<&str>,
        api_key: Option<&str>,
    ) -> Result<Identified, IdentityFault> {
        let (one, two) = (authorization.map(str::as_bytes), api_key.map(str::as_bytes));
        identify(&table(false), one, two, 999)
    }

    fn identify(
        table: &KeyTable,
        authorization: Option<&[u8]>,
        api_key: Option<&[u8]>,
        now: u64,
    ) -> Result<Identified, IdentityFault> {
        table.identify(Presented { authorization, api_key, certificate: &[] }, Wall(now))
    }

    fn name(found: &Result<Identified, IdentityFault>) -> &str {
        &found.as_ref().unwrap().caller().name
    }

    #[test]
    fn both_keys_of_a_rotation_work_in_both_headers() {
        for key in ["key-old", "key-new"] {
            assert_eq!(name(&ask(Some(&format!("Bearer {key}")), None)), "ada");
            assert_eq!(name(&ask(Some(&format!("bEARER   {key}")), Some(key))), "ada");
            assert_eq!(name(&ask(None, Some(key))), "ada");
        }
        assert_eq!(ask(None, Some("key-bob")).unwrap().method(), "x-api-key");
        assert_eq!(ask(Some("Bearer key-bob"), None).unwrap().method(), "bearer");
    }

    #[test]
    fn a_key_stops_working_at_the_moment_it_expires() {
        let at = |now| identify(&table(false), None, Some(b"key-bob"), now).err();
        assert_eq!(at(999), None);
        assert_eq!(at(1000), Some(IdentityFault::Expired));
    }

    #[test]
    fn two_different_keys_are_refused_even_if_both_are_valid() {
        let both = ask(Some("Bearer key-old"), Some("key-new"));
        assert_eq!(both.err(), Some(IdentityFault::Conflicting));
    }

    #[test]
    fn what_is_not_one_bearer_token_is_refused() {
        let long = format!("Bearer {}", "k".repeat(KEY_BYTES_MAX + 1));
        for bad in [
            "",
            "Bearer",
            "Bearer ",
            "key-old",
            "Basic key-old",
            "Bearer key-old key-new",
            "Bearer key-old, key-new",
            "Bearer\tkey-old",
            "Bearer kéy",
            &long,
        ] {
            assert_eq!(ask(Some(bad), None).err(), Some(IdentityFault::Malformed), "{bad}");
            assert_eq!(ask(Some(bad), Some("key-old")).err(), Some(IdentityFault::Malformed));
        }
        assert_eq!(ask(None, Some("")).err(), Some(IdentityFault::Malformed));
    }

    #[test]
    fn nobody_is_somebody_only_where_configured_and_only_without_a_key() {
        assert_eq!(ask(None, None).err(), Some(IdentityFault::Missing));
        let open = table(true);
        let found = identify(&open, None, None, 1).unwrap();
        assert_eq!((&*found.caller().name, found.method()), ("nobody", "anonymous"));
        let wrong = identify(&open, Some(b"Bearer key-wrong"), None, 1);
        assert_eq!(wrong.err(), Some(IdentityFault::Unknown { mistyped: false }));
        let empty = identify(&open, Some(b"Bearer "), None, 1);
        assert_eq!(empty.err(), Some(IdentityFault::Malformed));
    }

    #[test]
    fn a_cut_key_is_told_from_a_revoked_one() {
        let (key, _) = mint([7; 24]);
        let of = |key: &str| ask(None, Some(key)).err();
        assert_eq!(of(&key), Some(IdentityFault::Unknown { mistyped: false }));
        let cut = key.get(..20).unwrap();
        assert_eq!(of(cut), Some(IdentityFault::Unknown { mistyped: true }));
    }

    /// Asks with a certificate that holds these names, and maybe a key.
    fn show(names: &[&str], key: Option<&str>) -> Result<Identified, IdentityFault> {
        let certificate: Vec<Box<str>> = names.iter().map(|name| Box::from(*name)).collect();
        let api_key = key.map(str::as_bytes);
        let presented = Presented { authorization: None, api_key, certificate: &certificate };
        table(true).identify(presented, Wall(999))
    }

    #[test]
    fn a_certificate_is_its_callers_where_no_key_is() {
        let found = show(&["cn:whoever", "dns:ada.example.org"], None);
        assert_eq!((name(&found), found.as_ref().unwrap().method()), ("ada", "mtls"));
        let both = show(&["dns:ada.example.org"], Some("key-old"));
        assert_eq!((name(&both), both.as_ref().unwrap().method()), ("ada", "x-api-key"));
        assert_eq!(name(&show(&["dns:unknown.example.org"], None)), "nobody");
        assert_eq!(name(&show(&["dns:unknown.example.org"], Some("key-old"))), "ada");
    }

    #[test]
    fn proofs_of_two_callers_are_refused() {
        let conflict = Some(IdentityFault::Conflicting);
        assert_eq!(show(&["dns:ada.example.org"], Some("key-bob")).err(), conflict);
        let of_both = ["dns:ada.example.org", "dns:bobby.example.org"];
        assert_eq!(show(&of_both, None).err(), conflict);
    }

    #[test]
    fn a_wrong_key_is_not_mended_by_a_certificate_and_neither_is_an_end() {
        let wrong = show(&["dns:ada.example.org"], Some("key-wrong"));
        assert_eq!(wrong.err(), Some(IdentityFault::Unknown { mistyped: false }));
        let names = [Box::from("dns:bobby.example.org")];
        let presented = Presented { certificate: &names, ..Presented::default() };
        let late = table(true).identify(presented, Wall(1000));
        assert_eq!(late.err(), Some(IdentityFault::Expired));
    }

    proptest! {
        #[test]
        fn whatever_is_presented_gets_an_answer_and_is_nobody(
            authorization in proptest::option::of(any::<Vec<u8>>()),
            api_key in any::<Vec<u8>>(),
        ) {
            let found = identify(&table(true), authorization.as_deref(), Some(&api_key), 1);
            found.unwrap_err();
        }
    }
}
