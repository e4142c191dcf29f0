//! What the background thread keeps of a group.

use std::collections::HashMap;
use std::sync::Arc;

use kavka_core::{CommitId, Instant, Membership, PartitionId};

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
    /// Finds the topics of a subscription by pattern.
    #[cfg(feature = "pattern")]
    pub(super) pattern: Option<Box<crate::PatternTopics>>,
    pub(super) polls: Polls,
    /// Partitions that were taken away before the application was done with them.
    pub(super) losses: u64,
}

/// A partition that the application is to be done with.
pub(super) struct Revoking {
    pub(super) at: PartitionId,
    pub(super) topic: Arc<str>,
    pub(super) index: u32,
    pub(super) until: Instant,
}

/// When the application came for records last.
#[derive(Default)]
pub(super) struct Polls {
    /// How often it had come by then; nothing while it waits.
    pub(super) count: Option<u64>,
    /// When that was noticed first.
    pub(super) since: Option<Instant>,
    /// The member has left because of that.
    pub(super) left: bool,
}

/// What a group knows a member by, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemberId {
    /// The group.
    pub group: String,
    /// The member's id.
    pub member: String,
    /// Its epoch, or the generation of a classic group.
    pub generation: i32,
    /// Its instance id, if it is a static member.
    pub instance: Option<String>,
    /// Partitions that were taken away from this consumer so far before the application was done
    /// with them: others may read them already, so that what was taken of them must not be
    /// committed.
    pub losses: u64,
    /// What this group's commits of a topic have in front of their metadata, so that later members
    /// begin where nothing is skipped. [`Transaction::send_offsets`] puts it there, too.
    ///
    /// [`Transaction::send_offsets`]: crate::Transaction::send_offsets
    pub marks: Vec<(String, String)>,
}

impl MemberId {
    /// Returns what commits offsets of a group without being a member of it: only one process at a
    /// time may do that, and the coordinator does not check it.
    #[must_use]
    pub fn outside(group: &str) -> Self {
        Self { group: group.to_owned(), generation: -1, ..Self::default() }
    }

    /// Returns the same group without the member, so that coordinators of every version take its
    /// offsets. They do not check who commits then. For brokers before 2.5, which could not check
    /// it, and only with **one producer for each partition**: its transactional id is that of the
    /// partition in every process, and what the group has committed of the partition is read after
    /// [`Producer::init_transactions`](crate::Producer::init_transactions), which fences whichever
    /// process had the partition before.
    #[must_use]
    pub fn without_member(mut self) -> Self {
        (self.member, self.generation, self.instance) = (String::new(), -1, None);
        self
    }

    /// Returns it in the form that a transaction takes.
    #[must_use]
    pub fn lent(&self) -> Membership<'_> {
        Membership {
            group: &self.group,
            member: &self.member,
            generation: self.generation,
            instance: self.instance.as_deref(),
        }
    }
}
