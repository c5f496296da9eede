//! Who asks.

use crate::base::clock::Wall;
use std::sync::Arc;

/// The human and the service behind a call, as the configuration knows them.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The name in the configuration; unique.
    pub name: Arc<str>,
    /// Which of the plan's callers this is.
    pub index: usize,
    /// The human.
    pub user: Option<Arc<str>>,
    /// The service or agent.
    pub app: Option<Arc<str>>,
    /// The team both belong to.
    pub team: Option<Arc<str>>,
    /// When its keys stop working.
    pub expires: Option<Wall>,
    /// Anything else that the configuration says of it.
    pub metadata: Vec<Metadata>,
}

/// A name and a value that the configuration gives a caller.
pub type Metadata = (Arc<str>, Arc<str>);
