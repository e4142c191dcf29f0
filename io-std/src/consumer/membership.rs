//! What the background thread keeps of a group.

use std::collections::HashMap;
use std::sync::Arc;

use kavka_core::{CommitId, Instant, PartitionId};

use super::idle::Polls;
use crate::error::Error;
use crate::pending::Setter;

/// A group's member.
#[derive(Default)]
pub(super) struct Member {
    /// The group; `None`: partitions are assigned otherwise.
    pub(super) group: Option<Arc<str>>,
    pub(super) commits: HashMap<CommitId, Vec<Setter<()>>>,
    pub(super) revoking: Vec<Revoking>,
    /// Who waits for the end of the membership, and the error of the last commit.
    pub(super) leaving: Option<Setter<()>>,
    pub(super) failed: Option<Error>,
    pub(super) left: bool,
    pub(super) polls: Polls,
}

/// A partition that the application is to be done with.
pub(super) struct Revoking {
    pub(super) at: PartitionId,
    pub(super) topic: Arc<str>,
    pub(super) index: u32,
    pub(super) until: Instant,
}
