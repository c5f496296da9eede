//! The hash map of the house: keyed by chance, so that no caller can choose collisions.

#[expect(clippy::disallowed_types, reason = "the one place that names it")]
use std::collections::HashMap;

/// A map with std's keyed hasher (`SipHash` 1-3 with random keys).
#[expect(clippy::disallowed_types, reason = "the one place that names it")]
pub type Map<K, V> = HashMap<K, V>;
