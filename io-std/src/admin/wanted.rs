//! Requests about groups, as the application makes them.

use core::fmt;

use kavka_core::wire::ApiKey;
use kavka_core::{Admin as Request, AdminError, GroupAdmin, GroupOffset, Instant, RequestId};

use super::group::NewOffset;
use crate::driver::Driver;

/// Partitions of a request that changes offsets; others follow in the next one.
const AT_A_TIME: usize = 500;

pub(super) enum Wanted {
    List,
    Describe { group: String },
    Delete { group: String },
    Offsets { group: String },
    Set { group: String, topic: String, offsets: Vec<NewOffset>, done: usize },
    Forget { group: String, topic: String, partitions: Vec<i32>, done: usize },
}

impl Wanted {
    /// The request that is sent.
    pub(super) fn api(&self) -> ApiKey {
        match self {
            Self::List => ApiKey::LIST_GROUPS,
            Self::Describe { .. } => ApiKey::DESCRIBE_GROUPS,
            Self::Delete { .. } => ApiKey::DELETE_GROUPS,
            Self::Offsets { .. } => ApiKey::OFFSET_FETCH,
            Self::Set { .. } => ApiKey::OFFSET_COMMIT,
            Self::Forget { .. } => ApiKey::OFFSET_DELETE,
        }
    }

    /// Whether the request changes nothing in the cluster.
    pub(super) fn only_reports(&self) -> bool {
        matches!(self, Self::List | Self::Describe { .. } | Self::Offsets { .. })
    }

    pub(super) fn submit(
        &self,
        driver: &mut Driver<'_>,
        now: Instant,
    ) -> Result<RequestId, AdminError> {
        let mut send = |wanted| driver.admin(now, &Request::Group(wanted));
        match self {
            // The brokers, each of which is sent its own request.
            Self::List => driver.admin(now, &Request::Brokers),
            Self::Describe { group } => send(GroupAdmin::Describe { group }),
            Self::Delete { group } => send(GroupAdmin::Delete { group }),
            Self::Offsets { group } => send(GroupAdmin::Offsets { group }),
            Self::Set { group, topic, offsets, done } => {
                let part = offsets.iter().skip(*done).take(AT_A_TIME);
                let offsets: Vec<_> = part
                    .map(|new| GroupOffset {
                        partition: i32::try_from(new.partition).unwrap_or(i32::MAX),
                        offset: new.offset,
                        leader_epoch: new.leader_epoch,
                        metadata: &new.metadata,
                    })
                    .collect();
                send(GroupAdmin::SetOffsets { group, topic, offsets: &offsets })
            }
            Self::Forget { group, topic, partitions, done } => {
                let end = partitions.len().min(done + AT_A_TIME);
                let partitions = partitions.get(*done..end).unwrap_or_default();
                send(GroupAdmin::DeleteOffsets { group, topic, partitions })
            }
        }
    }

    /// Goes on to the next part after one has succeeded. Returns whether there is one.
    pub(super) fn next_part(&mut self) -> bool {
        let (done, len) = match self {
            Self::Set { done, offsets, .. } => (done, offsets.len()),
            Self::Forget { done, partitions, .. } => (done, partitions.len()),
            _ => return false,
        };
        *done = done.saturating_add(AT_A_TIME);
        *done < len
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::List => f.write_str("list groups"),
            Self::Describe { group } => write!(f, "describe group {group}"),
            Self::Delete { group } => write!(f, "delete group {group}"),
            Self::Offsets { group } => write!(f, "offsets of group {group}"),
            Self::Set { group, topic, .. } => {
                write!(f, "set offsets of group {group} in topic {topic}")
            }
            Self::Forget { group, topic, .. } => {
                write!(f, "delete offsets of group {group} in topic {topic}")
            }
        }
    }
}
