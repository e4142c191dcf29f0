//! AddPartitionsToTxn and AddOffsetsToTxn.

use kafka_protocol::messages::add_partitions_to_txn_response::{
    AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddOffsetsToTxnResponse, AddPartitionsToTxnRequest,
    AddPartitionsToTxnResponse, ResponseKind,
};

use super::{Cluster, Ctx};
use crate::code;
use crate::image::TopicRef;
use crate::model::Reply;

impl Cluster {
    pub(in crate::model) fn add_partitions(
        &mut self,
        ctx: &Ctx,
        request: &AddPartitionsToTxnRequest,
    ) -> Reply {
        let id = request.v3_and_below_transactional_id.0.clone();
        let producer = (request.v3_and_below_producer_id.0, request.v3_and_below_producer_epoch);
        let mut places = Vec::new();
        let mut missing = false;
        let topics = &request.v3_and_below_topics;
        for topic in topics {
            let seen = self.view(ctx.broker).topic(&TopicRef::Name(topic.name.0.clone()));
            for index in &topic.partitions {
                let at = usize::try_from(*index).unwrap_or(usize::MAX);
                match seen.filter(|seen| at < seen.partitions.len()) {
                    Some(seen) => places.push((seen.id, at)),
                    None => missing = true,
                }
            }
        }
        let fenced = if ctx.version >= 2 { code::PRODUCER_FENCED } else { 47 };
        let now = self.now;
        let added = self.known_txn(ctx, &id, producer, fenced).and_then(|txn| {
            if missing {
                return Err(code::OPERATION_NOT_ATTEMPTED);
            }
            let begins = txn.join(now);
            txn.partitions.extend(places);
            Ok(begins)
        });
        if added == Ok(true) {
            self.watch_transaction(&id);
        }
        let mut body = AddPartitionsToTxnResponse::default().with_throttle_time_ms(ctx.throttle());
        for topic in topics {
            let seen = self.view(ctx.broker).topic(&TopicRef::Name(topic.name.0.clone()));
            let mut of = AddPartitionsToTxnTopicResult::default().with_name(topic.name.clone());
            for index in &topic.partitions {
                let at = usize::try_from(*index).unwrap_or(usize::MAX);
                let code = match added.err() {
                    Some(code::OPERATION_NOT_ATTEMPTED)
                        if seen.is_none_or(|seen| at >= seen.partitions.len()) =>
                    {
                        code::UNKNOWN_TOPIC_OR_PARTITION
                    }
                    code => ctx.reported(code.unwrap_or(code::NONE)),
                };
                of.results_by_partition.push(
                    AddPartitionsToTxnPartitionResult::default()
                        .with_partition_index(*index)
                        .with_partition_error_code(code),
                );
            }
            body.results_by_topic_v3_and_below.push(of);
        }
        Reply::Now(ctx.respond(ResponseKind::AddPartitionsToTxn(body)))
    }

    pub(in crate::model) fn add_offsets(
        &mut self,
        ctx: &Ctx,
        request: &AddOffsetsToTxnRequest,
    ) -> Reply {
        let id = request.transactional_id.0.clone();
        let producer = (request.producer_id.0, request.producer_epoch);
        let fenced = if ctx.version >= 2 { code::PRODUCER_FENCED } else { 47 };
        let now = self.now;
        let added = self.known_txn(ctx, &id, producer, fenced).map(|txn| {
            txn.pending.entry(request.group_id.0.clone()).or_default();
            txn.join(now)
        });
        if added == Ok(true) {
            self.watch_transaction(&id);
        }
        let code = ctx.reported(added.err().unwrap_or(code::NONE));
        let body = AddOffsetsToTxnResponse::default()
            .with_throttle_time_ms(ctx.throttle())
            .with_error_code(code);
        Reply::Now(ctx.respond(ResponseKind::AddOffsetsToTxn(body)))
    }
}
