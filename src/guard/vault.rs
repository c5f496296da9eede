//! The names that masked values go by within one exchange, and the way back from them.
//!
//! A name is a keyed digest (HMAC-SHA-256) of what the value is and of the value, so the same value
//! of the same team, or of a caller without a team, has the same name whenever it is said: the same
//! conversation sent again is the same bytes, and providers' prompt caches hold. Where two values
//! would share a name, the later one takes the next: what was said before keeps its own.
//!
//! Only what a request held is given back to its answer. The vault ends with its exchange, and so
//! another caller's value is never in it.

use crate::base::caller::Caller;
use ring::hmac::{self, HMAC_SHA256, Key};
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;

/// What all names are made with.
#[derive(Clone)]
pub struct MaskKey(Key);

/// The names of one exchange. Without a key there are none.
#[derive(Default)]
pub struct Vault {
    key: Option<Key>,
    /// By name, in order.
    names: BTreeMap<Box<str>, Named>,
    /// How many of them may be given back.
    own: usize,
}

struct Named {
    value: Box<str>,
    /// The request held it, and its answer may have it back.
    is_own: bool,
}

/// What a name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It tells equal values apart from others: `[CARD#…]`.
    Digest,
    /// An answer that says it is given the value back: `[CARD_…]`.
    Pseudonym,
}

/// What a name says of a longer text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup<'a> {
    /// It is none, and no longer text that begins so is.
    None,
    /// A longer text that begins so may be one.
    Begun,
    /// It is one, of this value.
    Value(&'a str),
}

/// Says what the digests are of, so that no other use of the key makes the same ones.
const PURPOSE: &[u8] = b"ringwall mask 1";
/// The letters of a name: no digit, which a rule could take for a number, and no vowel, so that no
/// name is a word.
const LETTERS: &[u8; 20] = b"bcdfghjklmnpqrstvwxz";
/// Letters of a name: one of 20^9, about 2^39.
const LENGTH: usize = 9;
/// Names of one exchange, at most; a value beyond goes by its rule's placeholder alone.
const NAMES_MAX: usize = 65_536;

impl MaskKey {
    /// From a secret of any length.
    pub fn new(secret: &[u8]) -> Self {
        Self(Key::new(HMAC_SHA256, secret))
    }

    /// What names of that caller are made with: one key for each team, and for each caller without
    /// one.
    fn of(&self, caller: &Caller) -> Key {
        let mut context = hmac::Context::with_key(&self.0);
        let (kind, name) = match &caller.team {
            Some(team) => (b"\0team\0", team),
            None => (b"\0call\0", &caller.name),
        };
        for part in [PURPOSE, kind, name.as_bytes()] {
            context.update(part);
        }
        Key::new(HMAC_SHA256, context.sign().as_ref())
    }
}

impl Vault {
    /// For an exchange of that caller.
    pub fn new(key: &MaskKey, caller: &Caller) -> Self {
        Self { key: Some(key.of(caller)), ..Self::default() }
    }

    /// The name of a value that `placeholder` stands for; none without a key. A request's
    /// pseudonym is remembered for its answer.
    pub fn name(&mut self, placeholder: &str, value: &str, purpose: Purpose) -> Option<String> {
        let key = self.key.as_ref()?;
        let is_own = purpose == Purpose::Pseudonym;
        let stem = placeholder.strip_suffix(']').unwrap_or(placeholder);
        let between = if is_own { '_' } else { '#' };
        for attempt in 0_u32.. {
            let parts = [placeholder.as_bytes(), &attempt.to_be_bytes(), value.as_bytes()];
            let name = format!("{stem}{between}{}]", digest(key, &parts));
            match self.names.get(&*name) {
                Some(named) if *named.value == *value => return Some(name),
                Some(_) => {}
                None if self.names.len() >= NAMES_MAX => return None,
                None => {
                    self.own += usize::from(is_own);
                    let named = Named { value: value.into(), is_own };
                    self.names.insert(name.as_str().into(), named);
                    return Some(name);
                }
            }
        }
        None
    }

    /// A word for a text that whoever wrote it cannot foresee; none without a key.
    pub fn word(&self, text: &str) -> Option<String> {
        self.key.as_ref().map(|key| digest(key, &[b"mark", text.as_bytes()]))
    }

    /// Whether there is anything to give back.
    pub const fn has_own(&self) -> bool {
        self.own > 0
    }

    /// What a text is among the names that may be given back.
    pub fn look_up(&self, text: &str) -> Lookup<'_> {
        let mut from = self
            .names
            .range::<str, _>((Bound::Included(text), Bound::Unbounded))
            .filter(|(_, named)| named.is_own);
        match from.next() {
            Some((name, named)) if **name == *text => Lookup::Value(&named.value),
            Some((name, _)) if name.starts_with(text) => Lookup::Begun,
            Some(_) | None => Lookup::None,
        }
    }
}

/// A keyed digest in letters.
fn digest(key: &Key, parts: &[&[u8]]) -> String {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part);
    }
    let tag = context.sign();
    let bytes = tag.as_ref().first_chunk::<8>().copied().unwrap_or_default();
    let mut number = u64::from_be_bytes(bytes);
    let mut out = String::with_capacity(LENGTH);
    for _ in 0..LENGTH {
        let letter = usize::try_from(number % 20).unwrap_or_default();
        out.push(LETTERS.get(letter).copied().map_or('b', char::from));
        number /= 20;
    }
    out
}

impl fmt::Debug for MaskKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("MaskKey(…)")
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Vault({} names)", self.names.len())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Lookup, MaskKey, Purpose, Vault};
    use crate::base::caller::Caller;

    /// A caller of that name and team.
    pub(crate) fn caller(name: &str, team: Option<&str>) -> Caller {
        Caller {
            name: name.into(),
            index: 0,
            user: None,
            app: None,
            team: team.map(Into::into),
            expires: None,
            metadata: Vec::new(),
        }
    }

    /// A vault of somebody's.
    pub(crate) fn vault() -> Vault {
        Vault::new(&MaskKey::new(b"0123456789abcdef"), &caller("alice", None))
    }

    #[test]
    fn a_team_has_one_name_for_a_value_and_others_have_others() {
        let key = MaskKey::new(b"0123456789abcdef");
        let name = |who: &Caller| {
            let mut vault = Vault::new(&key, who);
            vault.name("[EMAIL]", "a@b.org", Purpose::Pseudonym).unwrap()
        };
        let alice = name(&caller("alice", Some("core")));
        assert_eq!(alice, name(&caller("bob", Some("core"))));
        assert_ne!(alice, name(&caller("alice", None)));
        // A team and a caller of one name are two.
        assert_ne!(name(&caller("core", None)), alice);
        assert!(alice.starts_with("[EMAIL_") && alice.ends_with(']') && alice.len() == 17);
    }

    #[test]
    fn only_pseudonyms_are_found_again() {
        let mut vault = vault();
        let digest = vault.name("[EMAIL]", "a@b.org", Purpose::Digest).unwrap();
        assert!(!vault.has_own());
        assert_eq!(vault.look_up(&digest), Lookup::None);
        let name = vault.name("[EMAIL]", "a@b.org", Purpose::Pseudonym).unwrap();
        assert_eq!(vault.look_up(&name), Lookup::Value("a@b.org"));
        for at in 1..name.len() {
            assert_eq!(vault.look_up(name.split_at(at).0), Lookup::Begun);
        }
        assert_eq!(vault.look_up("[EMAIL_x"), Lookup::None);
        assert_eq!(Vault::default().name("[EMAIL]", "a@b.org", Purpose::Digest), None);
    }

    #[test]
    fn two_values_of_one_name_get_two_in_the_order_they_are_said() {
        let mut vault = vault();
        let first = vault.name("[X]", "one", Purpose::Digest).unwrap();
        // As if the digests of both were the same.
        vault.names.get_mut(&*first).unwrap().value = "other".into();
        let second = vault.name("[X]", "one", Purpose::Digest).unwrap();
        assert_ne!(first, second);
        assert_eq!(vault.name("[X]", "one", Purpose::Digest), Some(second));
    }
}
