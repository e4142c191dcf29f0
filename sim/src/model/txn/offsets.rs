//! TxnOffsetCommit: offsets of a group that count when the transaction is committed.

use std::collections::BTreeMap;

use kafka_protocol::messages::txn_offset_commit_response::{
    TxnOffsetCommitResponsePartition, TxnOffsetCommitResponseTopic,
};
use kafka_protocol::messages::{ResponseKind, TxnOffsetCommitRequest, TxnOffsetCommitResponse};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::{Cluster, Ctx, TxnState};
use crate::code;
use crate::image::TopicRef;
use crate::model::Reply;

/// First version that checks the member (KIP-447).
const FENCES: i16 = 3;
/// First version whose coordinator adds the group itself.
const ADDS: i16 = 5;

/// An offset that is not committed yet.
pub(in crate::model) struct Pending {
    pub(in crate::model) place: (Uuid, i32),
    pub(in crate::model) offset: i64,
    pub(in crate::model) epoch: i32,
    pub(in crate::model) metadata: StrBytes,
}

impl Cluster {
    pub(in crate::model) fn txn_offset_commit(
        &mut self,
        ctx: &Ctx,
        request: &TxnOffsetCommitRequest,
    ) -> Reply {
        let group = request.group_id.0.clone();
        let allowed = self
            .coordinates_group(ctx, &group)
            .and_then(|()| self.is_member(ctx, request))
            .and_then(|()| self.add_group(ctx, request));
        let mut body = TxnOffsetCommitResponse::default().with_throttle_time_ms(ctx.throttle());
        for topic in &request.topics {
            let mut of = TxnOffsetCommitResponseTopic::default().with_name(topic.name.clone());
            let seen = self.view(ctx.broker).topic(&TopicRef::Name(topic.name.0.clone()));
            let seen = seen.map(|seen| (seen.id, seen.partitions.len()));
            for partition in &topic.partitions {
                let at = usize::try_from(partition.partition_index).unwrap_or(usize::MAX);
                let place = seen.filter(|(_, count)| at < *count);
                let place = place.ok_or(code::UNKNOWN_TOPIC_OR_PARTITION);
                let done = allowed.and(place).map(|(id, _)| Pending {
                    place: (id, partition.partition_index),
                    offset: partition.committed_offset,
                    epoch: partition.committed_leader_epoch,
                    metadata: partition.committed_metadata.clone().unwrap_or_default(),
                });
                let code = done.as_ref().err().copied().unwrap_or(code::NONE);
                if let (Ok(pending), Some(txn)) =
                    (done, self.txns.get_mut(&request.transactional_id.0))
                {
                    txn.pending.entry(group.clone()).or_default().push(pending);
                }
                of.partitions.push(
                    TxnOffsetCommitResponsePartition::default()
                        .with_partition_index(partition.partition_index)
                        .with_error_code(ctx.reported(code)),
                );
            }
            body.topics.push(of);
        }
        Reply::Now(ctx.respond(ResponseKind::TxnOffsetCommit(body)))
    }

    /// Whether a transaction that has not ended commits an offset there.
    pub(in crate::model) fn is_pending(&self, group: &StrBytes, place: (Uuid, i32)) -> bool {
        let pending = self.txns.values().filter_map(|txn| txn.pending.get(group));
        pending.flatten().any(|pending| pending.place == place)
    }

    fn is_member(&self, ctx: &Ctx, request: &TxnOffsetCommitRequest) -> Result<(), i16> {
        if ctx.version < FENCES || request.member_id.is_empty() && request.generation_id < 0 {
            return Ok(());
        }
        match self.member_epoch(&request.group_id.0, &request.member_id) {
            None => Err(code::UNKNOWN_MEMBER_ID),
            Some(epoch) if epoch == request.generation_id => Ok(()),
            Some(_) => Err(code::ILLEGAL_GENERATION),
        }
    }

    /// Adds the group to the transaction, or checks that it was added.
    fn add_group(&mut self, ctx: &Ctx, request: &TxnOffsetCommitRequest) -> Result<(), i16> {
        let (id, group) = (request.transactional_id.0.clone(), request.group_id.0.clone());
        let now = self.now;
        let txn = self.txns.get_mut(&id).ok_or(code::INVALID_PRODUCER_ID_MAPPING)?;
        if txn.producer_id != request.producer_id.0 {
            return Err(code::INVALID_PRODUCER_ID_MAPPING);
        }
        if txn.epoch != request.producer_epoch {
            return Err(code::INVALID_PRODUCER_EPOCH);
        }
        if ctx.version >= ADDS {
            if txn.is_preparing() {
                return Err(code::CONCURRENT_TRANSACTIONS);
            }
            let begins = txn.join(now);
            txn.pending.entry(group).or_default();
            if begins {
                self.watch_transaction(&id);
            }
            return Ok(());
        }
        let added = txn.state == TxnState::Ongoing && txn.pending.contains_key(&group);
        let refusal = [code::INVALID_TXN_STATE, code::TRANSACTION_ABORTABLE];
        added.then_some(()).ok_or(refusal[usize::from(ctx.version >= 4)])
    }

    /// Commits the offsets of a transaction.
    pub(super) fn settle_offsets(&mut self, pending: BTreeMap<StrBytes, Vec<Pending>>) {
        for (group, offsets) in pending {
            for offset in offsets {
                self.settle_offset(&group, offset);
            }
        }
    }
}
