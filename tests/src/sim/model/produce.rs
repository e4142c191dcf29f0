//! Produce: one checked batch per partition into its log.

use core::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{
    LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ProduceRequest, ProduceResponse, ResponseKind};
use kafka_protocol::protocol::StrBytes;

use super::{Append, Cluster, Ctx, Denied, Event, Output, Reply, Touched};
use crate::sim::batch;
use crate::sim::code;
use crate::sim::image::TopicRef;
use crate::sim::log::Appended;

/// First version with leader hints (KIP-951).
const HINTS: i16 = 10;
/// First version that names topics by id.
const BY_ID: i16 = 13;

/// What became of one partition's batch.
struct Outcome {
    result: Result<(i64, i64), Denied>,
    why: Option<&'static str>,
    /// When acks=all is reached.
    at: Duration,
}

impl Cluster {
    pub(super) fn produce(&mut self, ctx: &Ctx, ask: ProduceRequest) -> Reply {
        let mut body = ProduceResponse::default().with_throttle_time_ms(ctx.throttle());
        let mut hinted = Vec::new();
        let mut done_at = self.now;
        let mut failed = false;
        for topic in ask.topic_data {
            let mut told = TopicProduceResponse::default();
            let place = if ctx.version >= BY_ID {
                told.topic_id = topic.topic_id;
                TopicRef::Id(topic.topic_id)
            } else {
                told.name = topic.name.clone();
                TopicRef::Name(topic.name.0)
            };
            for data in &topic.partition_data {
                let outcome = self.append(ctx, &place, data, ask.acks);
                done_at = done_at.max(outcome.at);
                failed |= outcome.result.is_err();
                let leader = outcome.result.as_ref().err().and_then(|denied| denied.hint);
                hinted.extend(leader.map(|(id, _)| id));
                told.partition_responses.push(partition_answer(ctx, data.index, outcome));
            }
            body.responses.push(told);
        }
        if ask.acks == 0 {
            // All that a client without answers can be told is that something went wrong.
            return if failed { Reply::Close } else { Reply::Silent };
        }
        if ctx.version >= HINTS {
            body.node_endpoints = self.hints(ctx.broker, hinted).map(node).collect();
        }
        let answer = ctx.answer(ResponseKind::Produce(body));
        if ask.acks == 1 || done_at <= self.now {
            return Reply::Now(answer);
        }
        let reply = self.afterwards(ctx, Reply::Now(answer));
        let output = Output { broker: ctx.broker, conn: ctx.conn, reply };
        if !matches!(output.reply, Reply::Later) {
            self.schedule(done_at, Event::Output(output));
        }
        Reply::Later
    }

    fn append(
        &mut self,
        ctx: &Ctx,
        topic: &TopicRef,
        data: &PartitionProduceData,
        acks: i16,
    ) -> Outcome {
        let at = self.now;
        let failed = |denied, why| Outcome { result: Err(denied), why, at };
        if let Some(code) = ctx.injected() {
            return failed(Denied::plain(code), None);
        }
        if !(-1..=1).contains(&acks) {
            return failed(Denied::plain(code::INVALID_REQUIRED_ACKS), None);
        }
        let bytes = data.records.as_deref().unwrap_or_default();
        let limit = self.options.max_message_bytes;
        let delay = self.options.replication_delay;
        // The shape first: a batch that no broker takes is a mistake wherever it was sent.
        let header = match batch::check(bytes, ctx.version, limit) {
            Ok(header) => header,
            Err(refused) => return failed(Denied::plain(refused.code), Some(refused.why)),
        };
        let (id, partition) = match self.locate_mut(ctx.broker, topic, data.index) {
            Ok(found) => found,
            Err(denied) => {
                let hint = denied.hint.filter(|_| denied.code == code::NOT_LEADER_OR_FOLLOWER);
                return failed(Denied { hint, ..denied }, None);
            }
        };
        let appended = match partition.log.append(&header, bytes, partition.epoch) {
            Ok(appended) => appended,
            Err(refused) => return failed(Denied::plain(refused.code), Some(refused.why)),
        };
        let (Appended::New(base) | Appended::Duplicate(base)) = appended;
        let mut done = at;
        if partition.replicas.len() > 1 {
            done = at.max(partition.ready_at) + delay;
        }
        let (start, end) = (partition.log.start(), partition.log.end());
        let stored = match appended {
            Appended::New(_) => partition.log.batches().next_back().cloned(),
            Appended::Duplicate(_) => None,
        };
        self.note_append(id, data.index, stored);
        self.replicate(id, topic, data.index, end, done);
        Outcome { result: Ok((base, start)), why: None, at: done }
    }

    fn note_append(&mut self, id: uuid::Uuid, partition: i32, batch: Option<Bytes>) {
        let Some(topic) = self.topics.get(&id).map(|topic| topic.name.clone()) else { return };
        if let (Some(appends), Some(batch)) = (&mut self.appends, batch) {
            let partition = u32::try_from(partition).unwrap_or(u32::MAX);
            appends.push(Append { topic, partition, batch });
        }
    }

    fn replicate(
        &mut self,
        id: uuid::Uuid,
        topic: &TopicRef,
        partition: i32,
        end: i64,
        at: Duration,
    ) {
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        if at > self.now {
            self.schedule(at, Event::Commit { topic: id, partition: index, offset: end });
            return;
        }
        let Some(found) = self.topics.get_mut(&id) else { return };
        let name = match topic {
            TopicRef::Name(name) => name.clone(),
            TopicRef::Id(_) => found.name.clone(),
        };
        if let Some(state) = found.partitions.get_mut(index) {
            state.log.commit(end);
            self.touched.push(Touched { id, name, partition });
        }
    }

    /// (id, host, port, rack) of hinted leaders, each once.
    pub(super) fn hints(
        &self,
        broker: i32,
        mut leaders: Vec<i32>,
    ) -> impl Iterator<Item = (i32, StrBytes, i32, Option<StrBytes>)> {
        leaders.sort_unstable();
        leaders.dedup();
        let image = self.view(broker).clone();
        leaders.into_iter().filter_map(move |id| {
            let e = image.endpoint(id)?;
            Some((e.id, e.host.clone(), i32::from(e.port), e.rack.clone()))
        })
    }
}

fn partition_answer(ctx: &Ctx, index: i32, outcome: Outcome) -> PartitionProduceResponse {
    let mut told = PartitionProduceResponse::default()
        .with_index(index)
        .with_base_offset(-1)
        .with_log_append_time_ms(-1);
    if ctx.version >= 5 {
        told.log_start_offset = -1;
    }
    match outcome.result {
        Ok((base, start)) => {
            told.error_code = ctx.told(code::NONE);
            if told.error_code == code::NONE {
                told.base_offset = base;
                if ctx.version >= 5 {
                    told.log_start_offset = start;
                }
            }
        }
        Err(denied) => {
            told.error_code = denied.code;
            if ctx.version >= 8 {
                told.error_message = outcome.why.map(StrBytes::from_static_str);
            }
            if let Some((leader, epoch)) = denied.hint.filter(|_| ctx.version >= HINTS) {
                told.current_leader = LeaderIdAndEpoch::default()
                    .with_leader_id(BrokerId(leader))
                    .with_leader_epoch(epoch);
            }
        }
    }
    told
}

fn node((id, host, port, rack): (i32, StrBytes, i32, Option<StrBytes>)) -> NodeEndpoint {
    NodeEndpoint::default()
        .with_node_id(BrokerId(id))
        .with_host(host)
        .with_port(port)
        .with_rack(rack)
}
