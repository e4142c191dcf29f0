//! What an application does with a transaction, on its way to the background thread.

use kavka_core::{Consumed, Membership};

use crate::consumer::MemberId;

use crate::error::Error;
use crate::pending::Setter;

/// A step of a transaction, in its place between the records.
pub(super) enum Turn {
    /// Completes when the coordinator has given the transactional id to this producer.
    Init {
        done: Setter<()>,
    },
    Begin,
    Offsets {
        offsets: Offsets,
        done: Setter<()>,
    },
    End {
        commits: bool,
        done: Setter<()>,
    },
}

/// Offsets on their way to the background thread.
pub(super) struct Offsets {
    member: MemberId,
    list: Vec<(String, i32, i64, i32, String)>,
}

impl Offsets {
    pub(super) fn new(member: &MemberId, offsets: &[Consumed<'_>]) -> Self {
        let owned = |at: &Consumed<'_>| {
            let mark = member.marks.iter().find(|(topic, _)| topic == at.topic);
            let text = mark.map_or("", |(_, mark)| mark).to_owned() + at.metadata;
            (at.topic.to_owned(), at.partition, at.offset, at.leader_epoch, text)
        };
        Self { member: member.clone(), list: offsets.iter().map(owned).collect() }
    }

    /// Calls `f` with the form that the machine takes.
    pub(super) fn with<T>(&self, f: impl FnOnce(&Membership<'_>, &[Consumed<'_>]) -> T) -> T {
        let lent = |(topic, partition, offset, leader_epoch, metadata)| Consumed {
            topic,
            partition,
            offset,
            leader_epoch,
            metadata,
        };
        let list = self.list.iter().map(|(topic, index, offset, epoch, text)| {
            lent((topic.as_str(), *index, *offset, *epoch, text.as_str()))
        });
        f(&self.member.lent(), &list.collect::<Vec<_>>())
    }
}

/// The error of a transaction, in words.
pub(super) fn failed(error: kavka_core::TransactionError, doing: &'static str) -> Error {
    Error::from(crate::ErrorKind::Transaction(error)).doing(doing)
}
