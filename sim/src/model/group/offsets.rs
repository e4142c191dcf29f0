//! OffsetCommit and OffsetFetch (`OffsetMetadataManager`). Commits belong to a topic's id: those of
//! a deleted topic are gone.

use core::time::Duration;
use std::collections::BTreeMap;

use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse,
    ResponseKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::code;
use crate::image::TopicRef;
use crate::model::txn::Pending;
use crate::model::{Cluster, Ctx, Reply};

/// First version that members of KIP-848 use: it knows their epochs.
const NATIVE: i16 = 9;
/// First version with several groups.
const SEVERAL: i16 = 8;
/// Longest metadata, in UTF-16 units (`offset.metadata.max.bytes`).
const TEXT: usize = 4096;

#[derive(Clone, Debug)]
pub(super) struct Committed {
    pub(super) offset: i64,
    pub(super) epoch: i32,
    pub(super) metadata: StrBytes,
    /// When it was written.
    at: Duration,
}

impl Cluster {
    pub(in crate::model) fn offset_commit(
        &mut self,
        ctx: &Ctx,
        request: &OffsetCommitRequest,
    ) -> Reply {
        let mut body = OffsetCommitResponse::default().with_throttle_time_ms(ctx.throttle());
        let group = request.group_id.0.clone();
        let allowed = self.coordinates(ctx, &group).and_then(|()| self.may_commit(ctx, request));
        for topic in &request.topics {
            let mut reported = OffsetCommitResponseTopic::default().with_name(topic.name.clone());
            for partition in &topic.partitions {
                let done = allowed.and_then(|()| self.commit(ctx, &group, &topic.name, partition));
                let code = ctx.reported(done.err().unwrap_or(code::NONE));
                reported.partitions.push(
                    OffsetCommitResponsePartition::default()
                        .with_partition_index(partition.partition_index)
                        .with_error_code(code),
                );
            }
            body.topics.push(reported);
        }
        Reply::Now(ctx.respond(ResponseKind::OffsetCommit(body)))
    }

    /// Returns the epoch of a group's member.
    pub(in crate::model) fn member_epoch(&self, group: &StrBytes, id: &StrBytes) -> Option<i32> {
        let group = self.groups.get(group)?;
        let classic = group.classic.members.contains_key(id).then_some(group.classic.generation);
        classic.or_else(|| Some(group.members.get(id)?.epoch))
    }

    /// Commits an offset of a transaction.
    pub(in crate::model) fn settle_offset(&mut self, group: &StrBytes, pending: Pending) {
        let Pending { place, offset, epoch, metadata } = pending;
        let committed = Committed { offset, epoch, metadata, at: self.now };
        self.groups.entry(group.clone()).or_default().offsets.insert(place, committed);
        self.note_commit(group, place, offset);
    }

    fn may_commit(&mut self, ctx: &Ctx, request: &OffsetCommitRequest) -> Result<(), i16> {
        let (epoch, id) = (request.generation_id_or_member_epoch, &request.member_id);
        let Some(group) = self.groups.get(&request.group_id.0) else {
            return match epoch {
                ..0 => Ok(()), // of a group without members
                _ if ctx.version >= NATIVE => Err(code::GROUP_ID_NOT_FOUND),
                _ => Err(code::ILLEGAL_GENERATION),
            };
        };
        if group.classic.is_used() {
            let (group, instance) = (&request.group_id.0, &request.group_instance_id);
            return self.may_commit_classic(group, id, instance, epoch);
        }
        if epoch < 0 && id.is_empty() && group.members.is_empty() {
            return Ok(());
        }
        if !group.members.contains_key(id) && ctx.version < NATIVE {
            return Err(code::UNKNOWN_MEMBER_ID);
        }
        let member = group.members.get(id).ok_or(code::UNKNOWN_MEMBER_ID)?;
        match member.epoch == epoch {
            false if member.hosted.is_some() => Err(code::ILLEGAL_GENERATION),
            true if member.hosted.is_some() => Ok(()),
            _ if ctx.version < NATIVE => Err(code::UNSUPPORTED_VERSION),
            true => Ok(()),
            false => Err(code::STALE_MEMBER_EPOCH),
        }
    }

    fn commit(
        &mut self,
        ctx: &Ctx,
        group: &StrBytes,
        topic: &TopicName,
        wanted: &OffsetCommitRequestPartition,
    ) -> Result<(), i16> {
        let seen = self.view(ctx.broker).topic(&TopicRef::Name(topic.0.clone()));
        let index = usize::try_from(wanted.partition_index).unwrap_or(usize::MAX);
        let seen = seen.filter(|topic| index < topic.partitions.len());
        let id = seen.ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?.id;
        let metadata = wanted.committed_metadata.clone().unwrap_or_default();
        if metadata.encode_utf16().count() > TEXT {
            return Err(code::OFFSET_METADATA_TOO_LARGE);
        }
        let (place, at) = ((id, wanted.partition_index), self.now);
        let committed = Committed {
            offset: wanted.committed_offset,
            epoch: if ctx.version >= 6 { wanted.committed_leader_epoch } else { -1 },
            metadata,
            at,
        };
        self.groups.entry(group.clone()).or_default().offsets.insert(place, committed);
        self.note_commit(group, place, wanted.committed_offset);
        Ok(())
    }

    pub(in crate::model) fn offset_fetch(
        &mut self,
        ctx: &Ctx,
        request: &OffsetFetchRequest,
    ) -> Reply {
        let mut body = OffsetFetchResponse::default().with_throttle_time_ms(ctx.throttle());
        if ctx.version >= SEVERAL {
            for wanted in &request.groups {
                let reported = self.committed_by(ctx, wanted, request.require_stable);
                body.groups.push(reported);
            }
            return Reply::Now(ctx.respond(ResponseKind::OffsetFetch(body)));
        }
        let group = request.group_id.0.clone();
        let allowed = self.coordinates(ctx, &group);
        body.error_code = allowed.err().unwrap_or(code::NONE);
        self.expire_offsets(&group);
        let all = request.topics.is_none().then(|| self.all_committed(&group));
        let all = all.unwrap_or_default().into_iter().map(|(name, partition_indexes)| {
            OffsetFetchRequestTopic::default()
                .with_name(name)
                .with_partition_indexes(partition_indexes)
        });
        for topic in request.topics.iter().flatten().cloned().chain(all) {
            let mut reported = OffsetFetchResponseTopic::default().with_name(topic.name.clone());
            for index in &topic.partition_indexes {
                let place = (&group, &topic.name, *index);
                let (found, unstable) = self.committed(ctx, place, request.require_stable);
                let (offset, epoch, metadata) = found;
                reported.partitions.push(
                    OffsetFetchResponsePartition::default()
                        .with_partition_index(*index)
                        .with_committed_offset(offset)
                        .with_committed_leader_epoch(if ctx.version >= 5 { epoch } else { -1 })
                        .with_metadata(Some(metadata))
                        .with_error_code(allowed.and(unstable).err().unwrap_or(code::NONE)),
                );
            }
            body.topics.push(reported);
        }
        if ctx.version < 2 {
            body.error_code = code::NONE; // only partitions have one
        }
        Reply::Now(ctx.respond(ResponseKind::OffsetFetch(body)))
    }

    fn committed_by(
        &mut self,
        ctx: &Ctx,
        wanted: &OffsetFetchRequestGroup,
        stable: bool,
    ) -> OffsetFetchResponseGroup {
        let group = wanted.group_id.0.clone();
        let mut reported =
            OffsetFetchResponseGroup::default().with_group_id(wanted.group_id.clone());
        let allowed = self.coordinates(ctx, &group).and_then(|()| self.may_fetch(wanted));
        if let Err(code) = allowed {
            return reported.with_error_code(code);
        }
        self.expire_offsets(&group);
        let all = wanted.topics.is_none().then(|| self.all_committed(&group));
        let all = all.unwrap_or_default().into_iter().map(|(name, partition_indexes)| {
            OffsetFetchRequestTopics::default()
                .with_name(name)
                .with_partition_indexes(partition_indexes)
        });
        for topic in wanted.topics.iter().flatten().cloned().chain(all) {
            let mut of = OffsetFetchResponseTopics::default().with_name(topic.name.clone());
            for index in &topic.partition_indexes {
                let place = (&group, &topic.name, *index);
                let (found, unstable) = self.committed(ctx, place, stable);
                let (offset, epoch, metadata) = found;
                of.partitions.push(
                    OffsetFetchResponsePartitions::default()
                        .with_partition_index(*index)
                        .with_committed_offset(offset)
                        .with_committed_leader_epoch(epoch)
                        .with_metadata(Some(metadata))
                        .with_error_code(unstable.err().unwrap_or(code::NONE)),
                );
            }
            reported.topics.push(of);
        }
        reported.error_code = ctx.reported(code::NONE);
        reported
    }

    /// Returns the partitions with commits of each topic that there is.
    fn all_committed(&self, group: &StrBytes) -> BTreeMap<TopicName, Vec<i32>> {
        let mut all: BTreeMap<TopicName, Vec<i32>> = BTreeMap::new();
        let group = self.groups.get(group);
        for (id, index) in group.into_iter().flat_map(|group| group.offsets.keys()) {
            if let Some(topic) = self.topics.get(id) {
                all.entry(TopicName(topic.name.clone())).or_default().push(*index);
            }
        }
        all
    }

    fn may_fetch(&self, wanted: &OffsetFetchRequestGroup) -> Result<(), i16> {
        let group = self.groups.get(&wanted.group_id.0);
        let (Some(id), Some(group)) = (&wanted.member_id, group) else { return Ok(()) };
        if id.is_empty() && wanted.member_epoch < 0 {
            return Ok(());
        }
        let member = group.members.get(id).ok_or(code::UNKNOWN_MEMBER_ID)?;
        match member.epoch == wanted.member_epoch {
            true => Ok(()),
            false if member.hosted.is_some() => Err(code::ILLEGAL_GENERATION),
            false => Err(code::STALE_MEMBER_EPOCH),
        }
    }

    /// Offset, leader epoch and metadata; -1 for none. With `stable`, refused for what is part of a
    /// transaction that has not ended (`require_stable`, KIP-447).
    fn committed(
        &self,
        ctx: &Ctx,
        (group, topic, index): (&StrBytes, &TopicName, i32),
        stable: bool,
    ) -> ((i64, i32, StrBytes), Result<(), i16>) {
        let id = self.view(ctx.broker).topic(&TopicRef::Name(topic.0.clone())).map(|seen| seen.id);
        let none = (-1, -1, StrBytes::default());
        let Some(place) = id.map(|id: Uuid| (id, index)) else { return (none, Ok(())) };
        if stable && self.is_pending(group, place) {
            return (none, Err(code::UNSTABLE_OFFSET_COMMIT));
        }
        let found = self.groups.get(group).and_then(|group| group.offsets.get(&place));
        (found.map_or(none, |at| (at.offset, at.epoch, at.metadata.clone())), Ok(()))
    }

    /// Forgets commits that are too old, of a group without members.
    fn expire_offsets(&mut self, group: &StrBytes) {
        let (now, retention) = (self.now, self.behaviour().retention);
        let Some(group) = self
            .groups
            .get_mut(group)
            .filter(|group| group.members.is_empty() && !group.classic.is_used())
        else {
            return;
        };
        group.offsets.retain(|_, committed| committed.at + retention > now);
    }
}
