//! Fetch: sessions, long polls, byte limits (`KafkaApis.handleFetchRequest`, `DelayedFetch`).
//! Followers serve consumers of version 11 and later up to the high watermark that they know; what
//! they do not have yet is out of range there.

use core::time::Duration;

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::{
    AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch, NodeEndpoint,
    PartitionData,
};
use kafka_protocol::messages::{
    BrokerId, FetchRequest, FetchResponse, ProducerId, ResponseKind, TopicName,
};
use kafka_protocol::protocol::StrBytes;

use super::replica::Partition;
use super::session::{BY_ID, Item, Source};
use super::{Cluster, Ctx, Denied, Event, Output, Reply, Touched};
use crate::code;
use crate::fault::Fault;
use crate::image::TopicRef;
use crate::log::Log;
use crate::profile::Profile;

/// First version with leader hints (KIP-951).
const HINTS: i16 = 16;
/// `fetch.max.bytes` of a broker.
const BROKER_LIMIT: i32 = 57_671_680;
/// `READ_COMMITTED`.
const COMMITTED: i8 = 1;
/// First version whose consumers may read from followers (KIP-392).
const FOLLOWERS: i16 = 11;
/// First version that gets records of topics in zstd (KIP-110).
const ZSTD: i16 = 10;

/// A fetch that waits for data.
pub(super) struct Parked {
    pub(super) ctx: Ctx,
    id: u64,
    source: Source,
    min_bytes: i32,
    max_bytes: i32,
    isolation: i8,
    reader: Reader,
    /// Its wait ended while the broker was paused.
    expired: bool,
}

/// The client that fetches (`ClientMetadata`).
#[derive(Clone)]
struct Reader {
    version: i16,
    rack: StrBytes,
}

/// One partition's part of a response.
struct Part {
    turn: u64,
    topic: TopicRef,
    data: PartitionData,
    reported: Option<(i64, i64)>,
}

/// Why a partition returns no records.
enum Unread {
    Denied(Denied),
    Diverging {
        epoch: i32,
        end: i64,
    },
    /// To be read at this follower; (high watermark, log start) of the leader.
    Elsewhere {
        replica: i32,
        log: (i64, i64),
    },
}

impl Cluster {
    pub(super) fn fetch(&mut self, ctx: &Ctx, request: &FetchRequest) -> Reply {
        if let Some(Fault::TopError(code)) = ctx.fault {
            return self.refuse_fetch(ctx, code);
        }
        let Some(node) = self.nodes.get_mut(&ctx.broker) else { return Reply::Close };
        let source = match node.sessions.open(request, ctx.version) {
            Ok(source) => source,
            Err(code) => return self.refuse_fetch(ctx, code),
        };
        self.order += 1;
        let parked = Parked {
            ctx: ctx.clone(),
            id: self.order,
            source,
            min_bytes: request.min_bytes,
            max_bytes: request.max_bytes.min(BROKER_LIMIT),
            isolation: request.isolation_level,
            reader: Reader { version: ctx.version, rack: request.rack_id.clone() },
            expired: false,
        };
        if request.max_wait_ms <= 0 || ctx.injected().is_some() || self.satisfied(&parked) {
            return self.respond_to_fetch(parked);
        }
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        self.schedule(self.now + wait, Event::Expire(parked.id));
        self.parked.push(parked);
        Reply::Later
    }

    fn refuse_fetch(&self, ctx: &Ctx, code: i16) -> Reply {
        let body =
            FetchResponse::default().with_error_code(code).with_throttle_time_ms(ctx.throttle());
        Reply::Now(ctx.respond(ResponseKind::Fetch(body)))
    }

    /// Ends the longest wait of a parked fetch.
    pub(super) fn expire(&mut self, id: u64) {
        let Some(at) = self.parked.iter().position(|parked| parked.id == id) else { return };
        if self.nodes.get(&self.parked[at].ctx.broker).is_some_and(|node| node.paused) {
            self.parked[at].expired = true; // a stopped process responds after it resumes
            return;
        }
        let parked = self.parked.remove(at);
        self.finish(parked);
    }

    /// Resumes a broker after a pause: what became due meanwhile gets its response.
    pub(super) fn catch_up(&mut self, broker: i32) {
        let (here, elsewhere) = core::mem::take(&mut self.parked)
            .into_iter()
            .partition(|parked: &Parked| parked.ctx.broker == broker);
        self.parked = elsewhere;
        for parked in here {
            if parked.expired || self.satisfied(&parked) {
                self.finish(parked);
            } else {
                self.parked.push(parked);
            }
        }
        self.acknowledge();
    }

    /// Responds to parked fetches that touched partitions have satisfied.
    pub(super) fn wake(&mut self) {
        if self.touched.is_empty() {
            return;
        }
        let touched = core::mem::take(&mut self.touched);
        self.acknowledge();
        let mut at = 0;
        while let Some(parked) = self.parked.get(at) {
            let node = self.nodes.get(&parked.ctx.broker);
            let running = node.is_some_and(|node| node.alive && !node.paused);
            if running && self.reads_any(parked, &touched) && self.satisfied(parked) {
                let parked = self.parked.remove(at);
                self.finish(parked);
            } else {
                at += 1;
            }
        }
    }

    fn finish(&mut self, parked: Parked) {
        let (broker, conn, ctx) = (parked.ctx.broker, parked.ctx.conn, parked.ctx.clone());
        let reply = self.respond_to_fetch(parked);
        match self.afterwards(&ctx, reply) {
            Reply::Later => {}
            reply => self.ready.push_back(Output { broker, conn, reply }),
        }
    }

    fn reads_any(&self, parked: &Parked, touched: &[Touched]) -> bool {
        let items = match &parked.source {
            Source::Own { items, .. } => Some(items),
            Source::Session(id) => {
                self.nodes.get(&parked.ctx.broker).and_then(|node| node.sessions.items(*id))
            }
        };
        let by_id = parked.ctx.version >= BY_ID;
        items.is_none_or(|items| {
            touched.iter().any(|touched| {
                let topic = match by_id {
                    true => TopicRef::Id(touched.id),
                    false => TopicRef::Name(touched.name.clone()),
                };
                items.contains(&(topic, touched.partition))
            })
        })
    }

    /// Returns whether the fetch can get its response now. Unknown partitions do not end a wait as
    /// long as the request names a known one; other errors do.
    fn satisfied(&self, parked: &Parked) -> bool {
        let broker = parked.ctx.broker;
        let items = match &parked.source {
            Source::Own { items, .. } => Some(items),
            Source::Session(id) => self.nodes.get(&broker).and_then(|n| n.sessions.items(*id)),
        };
        let Some(items) = items else { return true };
        let (mut bytes, mut known) = (0, false);
        for (_, item) in items.iter() {
            match self.readable(broker, &parked.reader, item) {
                Ok(log) => {
                    known = true;
                    let limit = u64::try_from(item.max_bytes).unwrap_or(0);
                    let end = log.end_for(parked.isolation == COMMITTED);
                    let available = log.available(item.offset, end);
                    bytes += available.min(limit.max(1)); // at least one batch would be returned
                }
                Err(Unread::Denied(Denied {
                    code: code::UNKNOWN_TOPIC_OR_PARTITION | code::UNKNOWN_TOPIC_ID,
                    ..
                })) => {}
                Err(_) => return true,
            }
        }
        !known || bytes >= u64::try_from(parked.min_bytes).unwrap_or(0)
    }

    /// Returns the log to read from, checked for the item's offset and epochs.
    fn readable(&self, broker: i32, reader: &Reader, item: &Item) -> Result<&Log, Unread> {
        let Item { topic, partition, leader_epoch, .. } = item;
        let found = match reader.version {
            FOLLOWERS.. if self.options.racks > 0 => {
                self.locate_replica(broker, topic, *partition, *leader_epoch)
            }
            _ => self.locate(broker, topic, *partition, *leader_epoch).map(|truth| (truth, None)),
        };
        let (partition, _) = found.map_err(|mut denied| {
            // 2.4 returns 9 where it has no replica.
            let outsider = denied.code == code::NOT_LEADER_OR_FOLLOWER
                && self.profile(broker) == Profile::V2_4
                && !self.is_replica(broker, item);
            if outsider {
                denied.code = code::REPLICA_NOT_AVAILABLE;
            }
            Unread::Denied(denied)
        })?;
        if let Some(replica) = self.preferred(broker, reader, partition, item.offset) {
            let log = partition.log();
            let log = (log.high_watermark(), log.start());
            return Err(Unread::Elsewhere { replica, log });
        }
        let Some(log) = partition.log_at(broker) else {
            return Err(Unread::Denied(Denied::plain(code::NOT_LEADER_OR_FOLLOWER)));
        };
        // Whatever the codec of its batches is (`KafkaApis.maybeConvertFetchedData`).
        let config = self.view(broker).topic(topic).and_then(|seen| self.topics.get(&seen.id));
        if reader.version < ZSTD && config.is_some_and(|topic| topic.compression == Some(4)) {
            return Err(Unread::Denied(Denied::plain(code::UNSUPPORTED_COMPRESSION_TYPE)));
        }
        let out_of_range = || Unread::Denied(Denied::plain(code::OFFSET_OUT_OF_RANGE));
        if item.last_fetched_epoch >= 0 {
            let (epoch, end) = log.epoch_end(item.last_fetched_epoch);
            if epoch < 0 || end < 0 || item.offset < log.start() {
                return Err(out_of_range());
            }
            if epoch < item.last_fetched_epoch || end < item.offset {
                return Err(Unread::Diverging { epoch, end });
            }
        }
        if item.offset < log.start() || item.offset > log.end() {
            return Err(out_of_range());
        }
        Ok(log)
    }

    /// Returns the follower that a leader names instead of reading (`findPreferredReadReplica`).
    fn preferred(
        &self,
        broker: i32,
        reader: &Reader,
        partition: &Partition,
        offset: i64,
    ) -> Option<i32> {
        let wants_requests = reader.version >= FOLLOWERS && !reader.rack.is_empty();
        if !wants_requests || !self.options.rack_aware || partition.leader != broker {
            return None;
        }
        let image = self.view(broker);
        let rack = |id| image.endpoint(id).and_then(|endpoint| endpoint.rack.as_ref());
        let in_sync = self.profile(broker) >= Profile::V3_9; // not in 2.4 and 2.8
        partition.preferred(offset, in_sync, |id| rack(id) == Some(&reader.rack))
    }

    fn is_replica(&self, broker: i32, item: &Item) -> bool {
        let index = usize::try_from(item.partition).unwrap_or(usize::MAX);
        let image = self.view(broker).topic(&item.topic);
        let partition = image.and_then(|topic| topic.partitions.get(index));
        partition.is_some_and(|partition| partition.replicas.contains(&broker))
    }

    fn respond_to_fetch(&mut self, parked: Parked) -> Reply {
        let slots = self.options.session_slots;
        let parts = match &parked.source {
            Source::Own { items, .. } => self.read_all(&parked, items.iter()),
            Source::Session(id) => {
                let node = self.nodes.get(&parked.ctx.broker);
                let Some(items) = node.and_then(|node| node.sessions.items(*id)) else {
                    return self.refuse_fetch(&parked.ctx, code::FETCH_SESSION_ID_NOT_FOUND);
                };
                self.read_all(&parked, items.iter())
            }
        };
        let Parked { ctx, source, .. } = parked;
        let Some(node) = self.nodes.get_mut(&ctx.broker) else { return Reply::Close };
        let (session, parts) = match source {
            Source::Own { mut items, keep } => {
                for part in &parts {
                    if let Some(item) = items.get_mut(part.turn) {
                        item.reported = part.reported;
                    }
                }
                let id = if keep {
                    node.sessions.keep(ctx.broker, items, ctx.version, slots)
                } else {
                    0
                };
                (id, parts)
            }
            Source::Session(id) => {
                let items = node.sessions.items_mut(id);
                (id, items.map_or_else(Vec::new, |items| news(items, parts)))
            }
        };
        let mut body = FetchResponse::default().with_throttle_time_ms(ctx.throttle());
        if ctx.version >= 7 {
            body.session_id = session;
        }
        let leaders = parts.iter().map(|part| part.data.current_leader.leader_id.0);
        let leaders: Vec<i32> = leaders.filter(|id| *id >= 0).collect();
        body.responses = group(parts);
        if ctx.version >= HINTS {
            body.node_endpoints = self.hints(ctx.broker, leaders).map(node_endpoint).collect();
        }
        Reply::Now(ctx.respond(ResponseKind::Fetch(body)))
    }

    fn read_all<'a>(
        &self,
        parked: &Parked,
        items: impl Iterator<Item = (u64, &'a Item)>,
    ) -> Vec<Part> {
        let Parked { ctx, isolation, reader, .. } = parked;
        let mut room = usize::try_from(parked.max_bytes).unwrap_or(0);
        let mut first = true;
        let mut parts = Vec::new();
        for (turn, item) in items {
            let mut data = PartitionData::default().with_partition_index(item.partition);
            data.high_watermark = -1;
            data.last_stable_offset = -1;
            if ctx.version >= 5 {
                data.log_start_offset = -1;
            }
            data.records = Some(Bytes::new());
            let injected = ctx.injected().map(|code| Unread::Denied(Denied::plain(code)));
            let read = injected.map_or_else(|| self.readable(ctx.broker, reader, item), Err);
            let mut reported = None;
            match read {
                Ok(log) => {
                    let limit = usize::try_from(item.max_bytes).unwrap_or(0).min(room);
                    let committed = *isolation == COMMITTED;
                    let end = log.end_for(committed);
                    let records = log.read(item.offset, end, limit, first);
                    first &= records.is_empty();
                    room = room.saturating_sub(records.len());
                    fill(ctx, &mut data, log);
                    data.aborted_transactions = committed.then(|| {
                        let found = log.aborted(item.offset, records.len());
                        found.into_iter().map(aborted).collect()
                    });
                    data.records = Some(records);
                    data.error_code = ctx.reported(code::NONE);
                    reported = Some((log.high_watermark(), log.start()));
                }
                Err(Unread::Diverging { epoch, end }) => {
                    data.diverging_epoch =
                        EpochEndOffset::default().with_epoch(epoch).with_end_offset(end);
                }
                Err(Unread::Elsewhere { replica, log }) => {
                    data.preferred_read_replica = BrokerId(replica);
                    (data.high_watermark, data.log_start_offset) = log;
                }
                Err(Unread::Denied(denied)) => deny(ctx, &mut data, &denied),
            }
            parts.push(Part { turn, topic: item.topic.clone(), data, reported });
        }
        parts
    }
}

fn fill(ctx: &Ctx, data: &mut PartitionData, log: &Log) {
    data.high_watermark = log.high_watermark();
    data.last_stable_offset = log.stable();
    if ctx.version >= 5 {
        data.log_start_offset = log.start();
    }
}

fn aborted((producer_id, first_offset): (i64, i64)) -> AbortedTransaction {
    AbortedTransaction::default()
        .with_producer_id(ProducerId(producer_id))
        .with_first_offset(first_offset)
}

fn deny(ctx: &Ctx, data: &mut PartitionData, denied: &Denied) {
    data.error_code = denied.code;
    let hinted = matches!(denied.code, code::NOT_LEADER_OR_FOLLOWER | code::FENCED_LEADER_EPOCH);
    if let Some((leader, epoch)) = denied.hint.filter(|_| hinted && ctx.version >= HINTS) {
        data.current_leader =
            LeaderIdAndEpoch::default().with_leader_id(BrokerId(leader)).with_leader_epoch(epoch);
    }
}

/// Returns what an incremental response repeats: data, errors, and changed offsets. Partitions that
/// had data move to the end of the session's order.
fn news(items: &mut super::session::Items, parts: Vec<Part>) -> Vec<Part> {
    let mut kept = Vec::new();
    for part in parts {
        let Some(item) = items.get_mut(part.turn) else { continue };
        let data = part.data.records.as_ref().is_some_and(|records| !records.is_empty());
        let changed = part.reported.is_none() || part.reported != item.reported;
        if part.data.error_code != code::NONE || data || changed {
            item.reported = part.reported;
            if data {
                items.move_back(part.turn);
            }
            kept.push(part);
        }
    }
    kept
}

/// Groups consecutive partitions of one topic.
fn group(parts: Vec<Part>) -> Vec<FetchableTopicResponse> {
    let mut topics: Vec<(TopicRef, FetchableTopicResponse)> = Vec::new();
    for part in parts {
        if topics.last().is_none_or(|(topic, _)| *topic != part.topic) {
            let reported = FetchableTopicResponse::default();
            let reported = match &part.topic {
                TopicRef::Name(name) => reported.with_topic(TopicName(name.clone())),
                TopicRef::Id(id) => reported.with_topic_id(*id),
            };
            topics.push((part.topic, reported));
        }
        if let Some((_, reported)) = topics.last_mut() {
            reported.partitions.push(part.data);
        }
    }
    topics.into_iter().map(|(_, reported)| reported).collect()
}

fn node_endpoint((id, host, port, rack): (i32, StrBytes, i32, Option<StrBytes>)) -> NodeEndpoint {
    NodeEndpoint::default()
        .with_node_id(BrokerId(id))
        .with_host(host)
        .with_port(port)
        .with_rack(rack)
}
