//! Produce: one checked batch per partition into its log.

use core::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::produce_request::PartitionProduceData;
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    TopicProduceResponse,
};
use kafka_protocol::messages::{BrokerId, ProduceRequest, ProduceResponse, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::replica::Partition;
use super::{Cluster, Ctx, Denied, Event, Node, Output, Reply};
use crate::batch;
use crate::code;
use crate::deed::What;
use crate::image::TopicRef;
use crate::log::Appended;
use crate::packed;
use crate::profile::Profile;

/// First version with leader hints (KIP-951).
const HINTS: i16 = 10;
/// First version that names topics by id.
const BY_ID: i16 = 13;

/// What Kafka's `LogValidator` says of a batch, and of a record without a key in a compacted topic.
const REJECTED: &str = "One or more records have been rejected";
const NO_KEY: &str = "Compacted topic cannot accept message without key";

/// The outcome of one partition's batch.
struct Outcome {
    result: Result<(i64, i64), Denied>,
    why: Option<&'static str>,
    /// Places of the records that are the reason.
    bad: Vec<i32>,
    /// The replication that acks=all waits for.
    wait: Option<Wait>,
}

/// A batch that is not yet on all in-sync replicas.
struct Wait {
    topic: Uuid,
    partition: usize,
    /// The high watermark that it needs.
    end: i64,
    /// Index in the response: topic and partition.
    place: (usize, usize),
}

/// A request that waits for replicas (`DelayedProduce`).
pub(super) struct Unacked {
    pub(super) ctx: Ctx,
    id: u64,
    body: ProduceResponse,
    waits: Vec<Wait>,
    /// Its timeout passed while the broker was paused.
    expired: bool,
}

impl Cluster {
    pub(super) fn produce(&mut self, ctx: &Ctx, request: ProduceRequest) -> Reply {
        let mut body = ProduceResponse::default().with_throttle_time_ms(ctx.throttle());
        let (mut hinted, mut waits) = (Vec::new(), Vec::new());
        let mut failed = false;
        for topic in request.topic_data {
            let mut reported = TopicProduceResponse::default();
            let place = if ctx.version >= BY_ID {
                reported.topic_id = topic.topic_id;
                TopicRef::Id(topic.topic_id)
            } else {
                reported.name = topic.name.clone();
                TopicRef::Name(topic.name.0)
            };
            for data in &topic.partition_data {
                let id = request.transactional_id.as_ref().map(|id| &id.0);
                let mut outcome = self.append(ctx, (&place, id), data, request.acks);
                if let Some(mut wait) = outcome.wait.take() {
                    wait.place = (body.responses.len(), reported.partition_responses.len());
                    waits.push(wait);
                }
                failed |= outcome.result.is_err();
                let leader = outcome.result.as_ref().err().and_then(|denied| denied.hint);
                hinted.extend(leader.map(|(id, _)| id));
                reported.partition_responses.push(partition_response(ctx, data.index, outcome));
            }
            body.responses.push(reported);
        }
        if request.acks == 0 {
            // A client without responses can only be shown by a close that something went wrong.
            return if failed { Reply::Close } else { Reply::Silent };
        }
        if ctx.version >= HINTS {
            body.node_endpoints = self.hints(ctx.broker, hinted).map(node).collect();
        }
        self.order += 1;
        let id = self.order;
        let mut unacked = Unacked { ctx: ctx.clone(), id, body, waits, expired: false };
        self.examine(&mut unacked);
        if unacked.waits.is_empty() {
            return Reply::Now(ctx.respond(ResponseKind::Produce(unacked.body)));
        }
        let most = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
        self.schedule(self.now + most, Event::Unacked(id));
        self.unacked.push(unacked);
        Reply::Later
    }

    /// Removes what is done, or cannot be done here any more, from what a request waits for.
    fn examine(&self, unacked: &mut Unacked) {
        let broker = unacked.ctx.broker;
        let mut waits = core::mem::take(&mut unacked.waits);
        waits.retain(|wait| {
            let topic = self.topics.get(&wait.topic);
            let state = topic.and_then(|topic| topic.partitions.get(wait.partition));
            let code = match state {
                None => code::UNKNOWN_TOPIC_OR_PARTITION,
                Some(state) if state.leader != broker => code::NOT_LEADER_OR_FOLLOWER,
                Some(state) if state.log().high_watermark() < wait.end => return true,
                Some(state) if self.too_few(broker, state) => {
                    code::NOT_ENOUGH_REPLICAS_AFTER_APPEND
                }
                Some(_) => return false,
            };
            refuse(&mut unacked.body, wait.place, code);
            false
        });
        unacked.waits = waits;
    }

    /// Returns whether `min.insync.replicas` is not met. Since 3.9 it is at most the replica count.
    fn too_few(&self, broker: i32, state: &Partition) -> bool {
        let wanted = self.options.min_in_sync as usize;
        let wanted = match self.profile(broker) >= Profile::V3_9 {
            true => wanted.min(state.brokers().len()),
            false => wanted,
        };
        state.isr.len() < wanted
    }

    /// Responds to requests that have what they waited for.
    pub(super) fn acknowledge(&mut self) {
        let mut at = 0;
        while at < self.unacked.len() {
            let broker = self.unacked[at].ctx.broker;
            if !self.nodes.get(&broker).is_some_and(Node::runs) {
                at += 1;
                continue;
            }
            let mut unacked = self.unacked.swap_remove(at);
            self.examine(&mut unacked);
            if unacked.expired {
                unacked.expire();
            }
            if unacked.waits.is_empty() {
                self.respond_to_produce(unacked);
            } else {
                let last = self.unacked.len();
                self.unacked.push(unacked);
                self.unacked.swap(at, last);
                at += 1;
            }
        }
    }

    /// Ends a request's wait after its `timeout_ms`.
    pub(super) fn give_up_waiting(&mut self, id: u64) {
        if let Some(unacked) = self.unacked.iter_mut().find(|unacked| unacked.id == id) {
            unacked.expired = true; // a stopped process responds after it resumes
            self.acknowledge();
        }
    }

    fn respond_to_produce(&mut self, unacked: Unacked) {
        let Unacked { ctx, body, .. } = unacked;
        let reply = Reply::Now(ctx.respond(ResponseKind::Produce(body)));
        match self.afterwards(&ctx, reply) {
            Reply::Later => {}
            reply => self.ready.push_back(Output { broker: ctx.broker, conn: ctx.conn, reply }),
        }
    }

    fn append(
        &mut self,
        ctx: &Ctx,
        (topic, id): (&TopicRef, Option<&StrBytes>),
        data: &PartitionProduceData,
        acks: i16,
    ) -> Outcome {
        let failed = |denied, why| Outcome { result: Err(denied), why, bad: vec![], wait: None };
        if let Some(code) = ctx.injected() {
            return failed(Denied::plain(code), Some("a fault of the simulation"));
        }
        if !(-1..=1).contains(&acks) {
            return failed(Denied::plain(code::INVALID_REQUIRED_ACKS), None);
        }
        let bytes = data.records.as_deref().unwrap_or_default();
        // The format first: a batch that no broker accepts is an error whatever its partition.
        let header = match batch::check(bytes, ctx.version, self.options.max_message_bytes) {
            Ok(header) => header,
            Err(refused) => return failed(Denied::plain(refused.code), Some(refused.why)),
        };
        if bytes.len() > self.options.segment_bytes {
            return failed(Denied::plain(code::RECORD_LIST_TOO_LARGE), None);
        }
        let keyless = if self.options.needs_keys { keyless(bytes) } else { Vec::new() };
        if !keyless.is_empty() {
            let denied = Denied::plain(code::INVALID_RECORD);
            return Outcome { bad: keyless, ..failed(denied, Some(REJECTED)) };
        }
        // Since KIP-360 (2.5) unknown producers may start anywhere.
        let strict = self.profile(ctx.broker) <= Profile::V2_4;
        if let Ok(state) = self.locate(ctx.broker, topic, data.index, -1)
            && acks == -1
            && self.too_few(ctx.broker, state)
        {
            return failed(Denied::plain(code::NOT_ENOUGH_REPLICAS), None);
        }
        let admitted = self.admit(ctx, id, &header, (topic, data.index));
        let repacked = match admitted.and_then(|()| self.repack(ctx.broker, topic, data)) {
            Ok(repacked) => repacked,
            Err(refused) => return failed(Denied::plain(refused.code), Some(refused.why)),
        };
        let old = self.old_format(ctx.broker, topic);
        let (id, state) = match self.locate_mut(ctx.broker, topic, data.index) {
            Ok(found) => found,
            Err(denied) => {
                let hint = denied.hint.filter(|_| denied.code == code::NOT_LEADER_OR_FOLLOWER);
                return failed(Denied { hint, ..denied }, None);
            }
        };
        let (epoch, amid) = (state.epoch, state.log().joins_amid(&header));
        let bytes = repacked.as_deref().unwrap_or(bytes);
        let appended = match state.log_mut().append(&header, bytes, epoch, strict, old) {
            Ok(appended) => appended,
            Err(refused) => return failed(Denied::plain(refused.code), Some(refused.why)),
        };
        let (base, stored) = match appended {
            Appended::New(base) => (base, state.log().batches().next_back().cloned()),
            Appended::Duplicate(base) => (base, None),
        };
        let start = state.log().start();
        let end = base + i64::from(header.last_offset_delta) + 1;
        let partition = usize::try_from(data.index).unwrap_or(usize::MAX);
        if let Some(batch) = stored {
            self.note_append(id, partition, batch, amid);
            self.replicate(id, partition);
        }
        let wait = (acks == -1).then_some(Wait { topic: id, partition, end, place: (0, 0) });
        Outcome { result: Ok((base, start)), why: None, bad: vec![], wait }
    }

    /// Returns a batch in the codec of its topic where that is another one than the producer's. It
    /// may be too large then, however small it came (`UnifiedLog.append`).
    fn repack(
        &self,
        broker: i32,
        topic: &TopicRef,
        data: &PartitionProduceData,
    ) -> Result<Option<Bytes>, batch::Refused> {
        if self.locate(broker, topic, data.index, -1).is_err() {
            return Ok(None);
        }
        let known = self.view(broker).topic(topic).and_then(|seen| self.topics.get(&seen.id));
        let Some(codec) = known.and_then(|topic| topic.compression) else { return Ok(None) };
        let sent = data.records.clone().unwrap_or_default();
        let stored = packed::packed(&sent, codec);
        match stored {
            Some(stored) if stored.len() > self.options.max_message_bytes => Err(batch::Refused {
                code: code::MESSAGE_TOO_LARGE,
                why: "batch above max.message.bytes in the topic's codec",
            }),
            stored => Ok(stored),
        }
    }

    /// Returns the older format of a topic's log, and up to which offset it has it.
    fn old_format(&self, broker: i32, topic: &TopicRef) -> Option<(i8, i64)> {
        let seen = self.view(broker).topic(topic)?;
        self.topics.get(&seen.id)?.old
    }

    fn note_append(&mut self, id: Uuid, partition: usize, batch: Bytes, amid: bool) {
        let Some(name) = self.topics.get(&id).map(|topic| topic.name.clone()) else { return };
        let partition = u32::try_from(partition).unwrap_or(u32::MAX);
        self.note(&name, What::Appended { partition, batch, amid });
    }

    /// Returns (id, host, port, rack) of hinted leaders, each once.
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

impl Unacked {
    fn expire(&mut self) {
        for wait in self.waits.drain(..) {
            refuse(&mut self.body, wait.place, code::REQUEST_TIMED_OUT);
        }
    }
}

/// Returns the places of the records that have no key.
fn keyless(bytes: &[u8]) -> Vec<i32> {
    let records = batch::records(&Bytes::copy_from_slice(bytes)).unwrap_or_default();
    (0..).zip(records).filter(|(_, record)| record.key.is_none()).map(|(at, _)| at).collect()
}

/// Sets an error for a partition whose batch was stored nevertheless.
fn refuse(body: &mut ProduceResponse, (topic, partition): (usize, usize), code: i16) {
    let reported = body.responses.get_mut(topic);
    if let Some(reported) = reported.and_then(|topic| topic.partition_responses.get_mut(partition))
    {
        reported.error_code = code;
        reported.base_offset = -1;
    }
}

fn partition_response(ctx: &Ctx, index: i32, outcome: Outcome) -> PartitionProduceResponse {
    let mut reported = PartitionProduceResponse::default()
        .with_index(index)
        .with_base_offset(-1)
        .with_log_append_time_ms(-1);
    if ctx.version >= 5 {
        reported.log_start_offset = -1;
    }
    match outcome.result {
        Ok((base, start)) => {
            reported.error_code = ctx.reported(code::NONE);
            if reported.error_code == code::NONE {
                reported.base_offset = base;
                if ctx.version >= 5 {
                    reported.log_start_offset = start;
                }
            }
        }
        Err(denied) => {
            reported.error_code = denied.code;
            if ctx.version >= 8 {
                reported.error_message = outcome.why.map(StrBytes::from_static_str);
                let bad = outcome.bad.into_iter().map(|index| {
                    BatchIndexAndErrorMessage::default()
                        .with_batch_index(index)
                        .with_batch_index_error_message(Some(StrBytes::from_static_str(NO_KEY)))
                });
                reported.record_errors = bad.collect();
            }
            if let Some((leader, epoch)) = denied.hint.filter(|_| ctx.version >= HINTS) {
                reported.current_leader = LeaderIdAndEpoch::default()
                    .with_leader_id(BrokerId(leader))
                    .with_leader_epoch(epoch);
            }
        }
    }
    reported
}

fn node((id, host, port, rack): (i32, StrBytes, i32, Option<StrBytes>)) -> NodeEndpoint {
    NodeEndpoint::default()
        .with_node_id(BrokerId(id))
        .with_host(host)
        .with_port(port)
        .with_rack(rack)
}
