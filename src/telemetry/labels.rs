//! The names that may be label values: those of the configuration, and `other` for the rest.

use std::sync::Arc;

/// The label value of whatever the configuration does not know.
pub const OTHER: &str = "other";
/// Names of one sort, at most; what is over counts as `other`.
pub const NAMES_MAX: usize = 4096;

/// Names of one sort, found by binary search.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names(Vec<Arc<str>>);

/// All names of a configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Labels {
    /// Public model names.
    pub models: Names,
    /// Rules: of guards and of policy.
    pub rules: Names,
    /// Targets, in the order of the configuration: they are known by index.
    pub targets: Vec<Arc<str>>,
}

impl Names {
    /// The distinct ones of some names, at most [`NAMES_MAX`].
    pub fn new(names: impl IntoIterator<Item = Arc<str>>) -> Self {
        let mut names: Vec<Arc<str>> = names.into_iter().collect();
        names.sort_unstable();
        names.dedup();
        names.truncate(NAMES_MAX);
        Self(names)
    }

    /// The index of a name; that of `other` if it is not known.
    pub fn index(&self, name: &str) -> usize {
        self.0.binary_search_by(|own| (**own).cmp(name)).unwrap_or(self.0.len())
    }

    /// The name of an index.
    pub fn name(&self, index: usize) -> &str {
        self.0.get(index).map_or(OTHER, |name| name)
    }

    /// How many indexes there are, with that of `other`.
    pub fn count(&self) -> usize {
        self.0.len() + 1
    }
}
