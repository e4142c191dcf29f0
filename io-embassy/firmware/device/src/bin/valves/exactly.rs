//! Replies and the group's offsets in one transaction: what is committed was obeyed exactly once.

use heapless::{LinearMap, String};
use kavka_device::clock;
use kavka_device::console::{fail, need};
use kavka_embassy::core::{
    Batch, Commands, Consumed, Event, Membership, Outcome, PartitionId, Start,
};
use kavka_embassy::now;

use crate::GROUP;

/// As many as the client's memory has.
const PARTITIONS: usize = 8;
/// A transaction is committed after so many milliseconds: each costs some requests, one after the
/// other.
const LENGTH: u32 = 250;

/// Where the open transaction began in a partition, and where the group continues after it.
struct Stretch {
    partition: u32,
    from: i64,
    next: i64,
}

#[derive(Default)]
pub(crate) struct Exactly {
    taken: LinearMap<PartitionId, Stretch, PARTITIONS>,
    begun: u32,
    /// It is being committed, and what comes meanwhile waits in these partitions.
    ends: bool,
    waiting: heapless::Vec<PartitionId, PARTITIONS>,
    pub(crate) committed: u32,
}

impl Exactly {
    /// Sees to it that a transaction is open; `false`: the batch comes again.
    pub(crate) fn begin(&mut self, batch: &Batch<'_>, kafka: &mut Commands<'_>) -> bool {
        let open = !self.taken.is_empty();
        if self.ends || !open && kafka.begin(now()).is_err() {
            kafka.hold(batch.partition(), batch.position());
            if !self.waiting.contains(&batch.partition()) {
                need(self.waiting.push(batch.partition()).ok(), "place");
            }
            return false;
        }
        if !open {
            self.begun = clock::millis();
        }
        self.taken(batch, batch.position());
        true
    }

    /// The batch was obeyed up to this offset.
    pub(crate) fn taken(&mut self, batch: &Batch<'_>, next: i64) {
        let partition = batch.topic_partition().partition;
        let at = batch.partition();
        match self.taken.get_mut(&at) {
            Some(stretch) => stretch.next = next,
            None => {
                let stretch = Stretch { partition, from: next, next };
                need(self.taken.insert(at, stretch).ok(), "place");
            }
        }
    }

    /// Commits what is open, when it is time.
    pub(crate) fn end(&mut self, kafka: &mut Commands<'_>) {
        let early = clock::millis() - self.begun < LENGTH;
        if self.ends || early || self.taken.is_empty() {
            return;
        }
        let Some((member, generation)) = kafka.membership() else { return };
        let member: String<64> = need(member.try_into().ok(), "member");
        let member = Membership { group: GROUP, member: &member, generation, instance: None };
        let consumed = |stretch: &Stretch| Consumed {
            topic: "commands",
            partition: stretch.partition.cast_signed(),
            offset: stretch.next,
            leader_epoch: -1,
            metadata: "",
        };
        let list: heapless::Vec<_, PARTITIONS> = self.taken.values().map(consumed).collect();
        if kafka.send_offsets(now(), &member, &list).is_ok() {
            self.ends = kafka.commit_transaction(now()).is_ok();
        }
    }

    pub(crate) fn heed(&mut self, event: &Event<'_>, kafka: &mut Commands<'_>) {
        match *event {
            Event::TransactionEnded { outcome } => {
                self.ends = false;
                if let Outcome::Unknown(_) = outcome {
                    // What was committed is to be read from the group: from the start.
                    fail("the end of a transaction is not known");
                }
                if outcome == Outcome::Committed {
                    self.committed += 1;
                } else {
                    for (at, stretch) in &self.taken {
                        // It may be another member's by now.
                        let _ = kafka.seek(now(), *at, Start::Offset(stretch.from));
                    }
                }
                self.taken.clear();
                while let Some(at) = self.waiting.pop() {
                    kafka.resume(now(), at);
                }
            }
            Event::Revoking { at, .. } | Event::Lost { at, .. }
                if self.taken.contains_key(&at) && !self.ends =>
            {
                // What is not committed is the next owner's to obey.
                self.ends = kafka.abort_transaction(now()).is_ok();
            }
            Event::TransactionFailed { .. } if !self.ends => {
                self.ends = kafka.abort_transaction(now()).is_ok();
            }
            _ => {}
        }
    }
}
