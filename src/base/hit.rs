//! What a guard found, without the value it found.

use crate::base::text::{Channel, Place};
use std::sync::Arc;

/// What is done about a match. Ordered: the strictest of several wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Action {
    /// Nothing; it is not even recorded.
    #[default]
    Allow,
    /// It is recorded and passes.
    Flag,
    /// A placeholder takes its place.
    Mask,
    /// The exchange is refused.
    Block,
}

impl Action {
    /// The name in configuration, records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Flag => "flag",
            Self::Mask => "mask",
            Self::Block => "block",
        }
    }
}

/// Whether a rule does what it says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    #[default]
    Enforce,
    /// It only tells what it would have done.
    Shadow,
    /// It is not looked at.
    Off,
}

impl Mode {
    /// The name in configuration and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
            Self::Off => "off",
        }
    }
}

/// What stands in the place of a masked value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// The rule's placeholder: `[CARD]`.
    #[default]
    Fixed,
    /// Stars in the value's shape; a long value of personal data keeps its last four: a card is
    /// `**** **** **** 1111`.
    Format,
    /// The placeholder with a keyed digest of the value, which tells equal values.
    Hash,
    /// The same, and an answer that says it can be given the value back.
    Pseudonym,
}

/// One finding, as records and metrics tell it: which rule, where, what was done. Never the value.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The rule's name, such as `pii.card`.
    pub rule: Arc<str>,
    /// What was done, or in shadow: what would have been.
    pub action: Action,
    /// Whether it was done.
    pub mode: Mode,
    /// Whose text it was in.
    pub channel: Channel,
    /// Where in the body.
    pub place: Place,
    /// On the way in or on the way back.
    pub direction: Direction,
}

/// Which way a text goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the caller to the upstream.
    Request,
    /// From the upstream to the caller.
    Response,
}

impl Direction {
    /// The name in configuration, records and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}
