//! ListOffsets, OffsetForLeaderEpoch and InitProducerId.

use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, ListOffsetsRequest, ListOffsetsResponse,
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProducerId, ResponseKind,
};

use super::{Cluster, Ctx, Reply};
use crate::code;
use crate::image::TopicRef;
use crate::log::Log;

/// `READ_COMMITTED`.
const COMMITTED: i8 = 1;
const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

impl Cluster {
    pub(super) fn list_offsets(&self, ctx: &Ctx, request: &ListOffsetsRequest) -> Reply {
        let mut body = ListOffsetsResponse::default().with_throttle_time_ms(ctx.throttle());
        for topic in &request.topics {
            let name = TopicRef::Name(topic.name.0.clone());
            let requested = topic.partitions.iter();
            let committed = request.isolation_level == COMMITTED;
            let reported = requested.map(|p| self.list_offset(ctx, &name, p, committed));
            let mut reported: Vec<_> = reported.collect();
            // Brokers group them; the order is not the request's.
            reported.sort_by_key(|partition| partition.error_code == code::NONE);
            body.topics.push(
                ListOffsetsTopicResponse::default()
                    .with_name(topic.name.clone())
                    .with_partitions(reported),
            );
        }
        Reply::Now(ctx.respond(ResponseKind::ListOffsets(body)))
    }

    fn list_offset(
        &self,
        ctx: &Ctx,
        topic: &TopicRef,
        request: &ListOffsetsPartition,
        committed: bool,
    ) -> ListOffsetsPartitionResponse {
        let mut reported = ListOffsetsPartitionResponse::default()
            .with_partition_index(request.partition_index)
            .with_timestamp(-1)
            .with_offset(-1)
            .with_leader_epoch(-1);
        let epoch = if ctx.version >= 4 { request.current_leader_epoch } else { -1 };
        let found = self.locate(ctx.broker, topic, request.partition_index, epoch);
        let found = match (ctx.injected(), found) {
            (Some(code), _) => Err(code),
            (None, Err(denied)) => Err(denied.code),
            (None, Ok(partition)) => {
                let log = partition.log();
                at(log, request.timestamp, ctx.version, log.end_for(committed))
            }
        };
        match found {
            Ok((timestamp, offset, epoch)) => {
                reported.timestamp = timestamp;
                reported.offset = offset;
                reported.leader_epoch = if ctx.version >= 4 { epoch } else { -1 };
                reported.error_code = ctx.reported(code::NONE);
            }
            Err(code) => reported.error_code = code,
        }
        reported
    }

    pub(super) fn epoch_ends(&self, ctx: &Ctx, request: &OffsetForLeaderEpochRequest) -> Reply {
        let mut body =
            OffsetForLeaderEpochResponse::default().with_throttle_time_ms(ctx.throttle());
        for topic in &request.topics {
            let name = TopicRef::Name(topic.topic.0.clone());
            let requested = topic.partitions.iter();
            body.topics.push(
                OffsetForLeaderTopicResult::default()
                    .with_topic(topic.topic.clone())
                    .with_partitions(requested.map(|p| self.epoch_end(ctx, &name, p)).collect()),
            );
        }
        Reply::Now(ctx.respond(ResponseKind::OffsetForLeaderEpoch(body)))
    }

    fn epoch_end(
        &self,
        ctx: &Ctx,
        topic: &TopicRef,
        request: &OffsetForLeaderPartition,
    ) -> EpochEndOffset {
        let reported = EpochEndOffset::default().with_partition(request.partition);
        let found = self.locate(ctx.broker, topic, request.partition, request.current_leader_epoch);
        match (ctx.injected(), found) {
            (Some(code), _) => reported.with_error_code(code),
            (None, Err(denied)) => reported.with_error_code(denied.code),
            (None, Ok(partition)) => {
                let (epoch, end) = partition.log().epoch_end(request.leader_epoch);
                reported.with_leader_epoch(epoch).with_end_offset(end)
            }
        }
    }

    /// Returns a fresh id for every request without a transactional id, whatever producer id it has
    /// (`TransactionCoordinator.handleInitProducerId`).
    pub(super) fn init_producer_id(&mut self, ctx: &Ctx, request: &InitProducerIdRequest) -> Reply {
        let mut body = InitProducerIdResponse::default().with_throttle_time_ms(ctx.throttle());
        body.producer_id = ProducerId(-1);
        body.producer_epoch = -1;
        if let Some(code) = ctx.injected() {
            body.error_code = code;
        } else if let Some(id) = &request.transactional_id {
            match self.init_transactions(ctx, &id.0.clone(), request) {
                Ok((id, epoch)) => {
                    (body.producer_id, body.producer_epoch) = (ProducerId(id), epoch);
                }
                Err(code) => body.error_code = code,
            }
        } else {
            self.next_producer_id += 1;
            body.producer_id = ProducerId(self.next_producer_id);
            body.producer_epoch = 0;
        }
        body.error_code = ctx.reported(body.error_code);
        Reply::Now(ctx.respond(ResponseKind::InitProducerId(body)))
    }
}

/// Returns (timestamp, offset, leader epoch), or an error code. `end`: that of the log for the
/// reader.
fn at(log: &Log, timestamp: i64, version: i16, end: i64) -> Result<(i64, i64, i32), i16> {
    let plain = |offset| (-1, offset, log.epoch_at(offset));
    let found = |hit: Option<(i64, i64)>| match hit {
        Some((timestamp, offset)) => (timestamp, offset, log.epoch_at(offset)),
        None => (-1, -1, -1),
    };
    match timestamp {
        // A new leader does not know yet up to where the old one had committed (KIP-207).
        LATEST if log.high_watermark() < log.latest_epoch().1 => {
            Err(if version >= 5 { code::OFFSET_NOT_AVAILABLE } else { code::LEADER_NOT_AVAILABLE })
        }
        LATEST => Ok(plain(end)),
        EARLIEST => Ok(plain(log.start())),
        MAX_TIMESTAMP if version >= 7 => Ok(found(log.max_timestamp(end))),
        EARLIEST_LOCAL if version >= 8 => Ok(plain(log.start())),
        LATEST_TIERED if version >= 9 => Ok((-1, -1, -1)), // no tiered storage here
        ..LATEST if version >= 8 => Err(code::UNSUPPORTED_VERSION),
        time => Ok(found(log.at_time(time, end))),
    }
}
