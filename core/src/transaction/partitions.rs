//! AddPartitionsToTxn: partitions that the transaction writes to, where Produce does not add them.

use super::{AGAIN, Begun, Transaction};
use crate::api::Kind;
use crate::cluster::Cx;
use crate::connection::{Draft, Origin};
use crate::error::{Error, TransactionError};
use crate::id::TopicPartition;
use crate::memory::Link;
use crate::producer::Producer;
use crate::time::Tick;
use crate::wire::table::Segment;
use crate::wire::{ErrorCode, Full, add_partitions_to_txn};

/// A response as it streams in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PartitionsMemo {
    topic: Link,
    /// The first error that is not only that of others in the request.
    error: ErrorCode,
    partition: Option<TopicPartition>,
}

impl Transaction {
    /// Adds all partitions that records wait for.
    pub(super) fn add_partitions<'d>(
        &mut self,
        cx: &mut Cx<'d>,
        producer: &mut Producer<'d>,
        conn: usize,
    ) -> Tick {
        let Some(mut draft) = cx.net.open(conn, cx.now, Kind::AddPartitions, i16::MAX) else {
            return cx.now + AGAIN;
        };
        producer.step_partitions(cx, true);
        if let Err(Full) = self.write_partitions(cx, producer, &mut draft) {
            cx.net.abandon(draft);
            producer.step_partitions(cx, false);
            return cx.now + AGAIN;
        }
        let timeout = cx.settings.request_timeout;
        cx.net.send(cx.now, draft, self.next_tag(), timeout);
        Tick::NEVER
    }

    fn write_partitions<'d>(
        &self,
        cx: &mut Cx<'d>,
        producer: &Producer<'d>,
        draft: &mut Draft,
    ) -> Result<(), Full> {
        let slots = 0..cx.cluster.topics.len();
        let topics = slots.clone().filter(|slot| producer.adding(cx, *slot) > 0).count();
        let (net, id) = (&mut cx.net, &cx.settings.transactional_id);
        net.write(draft, &mut |w, version| {
            add_partitions_to_txn::begin(w, version, id, self.ids, topics)
        })?;
        for slot in slots {
            let count = producer.adding(cx, slot);
            if count == 0 {
                continue;
            }
            let (net, topic) = (&mut cx.net, &cx.cluster.topics[slot]);
            net.write(draft, &mut |w, version| {
                add_partitions_to_txn::topic(w, version, &topic.name, count)
            })?;
            for part in cx.cluster.table.of_topic(slot) {
                if producer.is_adding(part) {
                    let index = cx.cluster.table[part].index as i32;
                    net.write(draft, &mut |w, _| w.i32(index))?;
                }
            }
            net.write(draft, &mut |w, version| add_partitions_to_txn::end(w, version))?;
        }
        cx.net.write(draft, &mut |w, version| add_partitions_to_txn::end(w, version))
    }

    pub(super) fn on_partitions(
        &mut self,
        cx: &mut Cx<'_>,
        producer: &mut Producer<'_>,
        (from, memo): (&Origin, &mut PartitionsMemo),
        got: Segment<'_, '_>,
    ) {
        if from.requested.tag[0] != self.serial {
            return;
        }
        match add_partitions_to_txn::item(got) {
            Some(add_partitions_to_txn::Item::Topic { name }) => {
                let slot = cx.cluster.topics.named(name);
                memo.topic = slot.map_or(Link::NONE, Link::to);
            }
            Some(add_partitions_to_txn::Item::Partition { index, error }) => {
                let part = cx.cluster.part_of(memo.topic, index);
                let part = part.filter(|part| producer.is_adding(*part));
                if let (Some(part), 0) = (part, error.0) {
                    self.begun = Begun::Yes;
                    producer.added(part);
                } else if memo.error.0 == 0 || memo.error == ErrorCode::OPERATION_NOT_ATTEMPTED {
                    memo.error = error;
                    memo.partition = part.map(|part| TopicPartition {
                        topic: cx.cluster.topic_id(usize::from(cx.cluster.table[part].topic)),
                        partition: cx.cluster.table[part].index,
                    });
                }
            }
            _ => {}
        }
    }

    pub(super) fn partitions_done<'d>(
        &mut self,
        cx: &mut Cx<'d>,
        producer: &mut Producer<'d>,
        memo: &PartitionsMemo,
    ) {
        producer.step_partitions(cx, false);
        let code = memo.error;
        if code.0 == 0 && !producer.wants_partitions() {
            return self.recovered();
        }
        if code.0 == 0 {
            // It left some out, or others have come since.
            self.failures = 0;
            return;
        }
        if self.repeats(cx, code) {
            return;
        }
        match code {
            ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::PRODUCER_FENCED => {
                self.begun = Begun::Perhaps;
                self.fail(TransactionError::Ended(code));
            }
            ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
            | ErrorCode::INVALID_TXN_STATE
            | ErrorCode::INVALID_PRODUCER_ID_MAPPING => self.die(TransactionError::Refused(code)),
            code => self.fail(match memo.partition {
                Some(partition) => TransactionError::Partition { code, partition },
                None => TransactionError::Refused(code),
            }),
        }
    }

    /// Handles a request to the coordinator without a response.
    pub(super) fn partitions_lost<'d>(
        &mut self,
        cx: &mut Cx<'d>,
        producer: &mut Producer<'d>,
        error: Error,
    ) {
        producer.step_partitions(cx, false);
        if self.begun == Begun::No {
            self.begun = Begun::Perhaps;
        }
        self.later(cx, error);
    }
}
