//! Producer: records go into batches in the send memory, batches to the leaders of their
//! partitions, in order, exactly once where the producer is idempotent (KIP-98).

mod batch;
mod culprits;
mod lane;
mod moves;
#[cfg(feature = "key-order")]
mod order;
mod own;
mod owner;
#[cfg(feature = "pack")]
mod pack;
mod partition;
mod request;
mod response;
mod retries;
mod send;
mod split;
mod txn;

use crate::cluster::{Cluster, Cx, PRODUCER};
use crate::config::Acks;
use crate::connection::Net;
use crate::error::{Error, LimitKind, Misuse, Obstacle, ProduceError};
use crate::event::{Event, Target};
use crate::has::{MOVES, Moves, Reasons, SPLIT, Witness};
use crate::id::{BatchId, RecordId, TopicPartition};
use crate::memory::{Blocks, Chain, ChainSink, Link, List, Mem, Nodes, Slots};
use crate::rare::Rare;
use crate::record::{self, Content};
use crate::setup::Setup;
use crate::time::Tick;
use crate::wire::{ErrorCode, Full, SliceSink};

/// A place in the producer's lists: none in a build without it.
pub(crate) use crate::memory::Node as Notch;
pub(crate) use batch::Batch;
use batch::Stage;
pub(crate) use lane::Lane;
use lane::Place;
pub(crate) use own::Own;
use own::OwnTimer;
pub(crate) use owner::Memo;
#[cfg(feature = "pack")]
pub(crate) use pack::{Engine, PackMem};
use response::ResponseMemo;
use retries::Retries;
#[cfg(feature = "transactions")]
pub(crate) use txn::Protocol;
use txn::Txn;

/// Largest share of the send memory that record batches leave to requests.
const RESERVE_MOST: usize = 64;

/// What is known of a partition's sequence: bits, since a queue has no byte to spare.
#[derive(Clone, Copy, Debug)]
struct Marks(u8);

impl Marks {
    /// The sequence is broken: a new epoch follows once nothing is in flight.
    const BROKEN: u8 = 1;
    /// The leader knows the sequence: a batch of this epoch was acknowledged.
    const KNOWN: u8 = 2;
    /// The partition belongs to the open transaction; it is being added; it waits to be added.
    #[cfg(feature = "transactions")]
    const ADDED: u8 = 4;
    #[cfg(feature = "transactions")]
    const ADDING: u8 = 8;
    #[cfg(feature = "transactions")]
    const WANTED: u8 = 16;

    const fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }

    const fn add(&mut self, mark: u8, when: bool) {
        if when {
            self.0 |= mark;
        }
    }

    const fn keep(&mut self, mark: u8, when: bool) {
        if !when {
            self.0 &= !mark;
        }
    }
}

/// A partition's queue of batches, in the order of their records, and its sequence (KIP-98).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue {
    head: Link,
    tail: Link,
    /// What its next batch waits for, and the lane whose list it is in, if any.
    place: Place,
    lane: Link,
    in_flight: u8,
    marks: Marks,
    /// A batch was acknowledged at some time: the partition's followers have found it.
    settled: Witness<bool>,
    failures: u8,
    /// What was wrong with the response to its last batch, if something was.
    refused: Reasons<Option<Error>>,
    epoch: i16,
    next_sequence: i32,
    /// The last 32 bits of its producer id.
    id_mark: i32,
    retry_at: Tick,
    /// Leader epoch that the last batch was sent under.
    sent_epoch: i32,
    /// Number of the last record that it took, modulo 2^32.
    newest: Moves<u32>,
}

impl Queue {
    pub(crate) const EMPTY: Self = Self {
        head: Link::NONE,
        tail: Link::NONE,
        place: Place::Nowhere,
        lane: Link::NONE,
        in_flight: 0,
        marks: Marks(0),
        settled: Witness::new(false),
        failures: 0,
        refused: Reasons::new(None),
        epoch: 0,
        next_sequence: 0,
        id_mark: 0,
        retry_at: Tick::ZERO,
        sent_epoch: 0,
        newest: Moves::new(0),
    };
}

/// How a topic's records are spread over its partitions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    /// The partition that records without key go to for now (KIP-794).
    sticky: Link,
    sticky_bytes: u32,
    /// No search for an available partition before this: there was none.
    examine: Tick,
    /// Partitions that entries were made for.
    opened: u32,
    /// Partitions that were there at first, or got records without key since.
    visited: u32,
    /// Last batch of this topic, and how many, in the request being built.
    picked_last: Link,
    picked: u32,
    /// Number of partitions that a refused caller needs, and since when; 0 for none.
    wanted: u32,
    wanted_at: Tick,
    /// The next topic with such a caller.
    next_wanted: Link,
    retries: Retries,
    #[cfg(feature = "key-order")]
    mapping: order::Mapping,
}

impl Spread {
    pub(crate) const EMPTY: Self = Self {
        sticky: Link::NONE,
        sticky_bytes: 0,
        examine: Tick::ZERO,
        opened: 0,
        visited: 0,
        picked_last: Link::NONE,
        picked: 0,
        wanted: 0,
        wanted_at: Tick::ZERO,
        next_wanted: Link::NONE,
        retries: Retries::NONE,
        #[cfg(feature = "key-order")]
        mapping: order::Mapping::EMPTY,
    };
}

/// The memory of a [`Producer`].
pub(crate) struct ProducerMem<'d> {
    /// One for each partition in use, with its place.
    pub(crate) queues: Mem<'d, Queue>,
    pub(crate) places: Mem<'d, Notch>,
    /// One for each topic.
    pub(crate) spreads: Mem<'d, Spread>,
    /// As many as there are send blocks, and their places by age.
    pub(crate) batches: Mem<'d, Batch>,
    pub(crate) ages: Mem<'d, Notch>,
    /// One for each broker, with its place.
    pub(crate) lanes: Mem<'d, Lane>,
    pub(crate) lane_places: Mem<'d, Notch>,
    #[cfg(feature = "pack")]
    pub(crate) pack: PackMem<'d>,
}

/// The state of the producer id.
#[derive(Clone, Copy, Debug)]
enum Identity {
    /// Not idempotent, or not needed yet.
    None,
    /// InitProducerId is in flight until this time.
    Requested(Tick),
    /// InitProducerId is due at this time.
    Wanted(Tick),
    Known,
    /// What waits fails; records after this time cause another request.
    Refused(Error, Tick),
}

/// See the module.
pub(crate) struct Producer<'d> {
    queues: Mem<'d, Queue>,
    /// Partitions by what their next batch waits for: each is in one of `lists`, in one of a lane,
    /// or in none while all its batches are in flight.
    places: Nodes<'d>,
    lists: [List; lane::OWN],
    /// No back-off ends before this.
    paused_until: Tick,
    spreads: Mem<'d, Spread>,
    batches: Mem<'d, Batch>,
    /// Batches that did not end, in the order of their records: all have the same time limit, but
    /// for those whose records have a deadline of their own.
    ages: Nodes<'d>,
    aging: List,
    /// Those whose time was over while they were in flight, and that returned to the queue.
    late: List,
    own_timer: OwnTimer,
    lanes: Mem<'d, Lane>,
    lane_places: Nodes<'d>,
    /// Lanes to be driven now, and those that wait for a moment or a response.
    due: List,
    waiting: List,
    /// No lane that waits is due before this.
    waiting_until: Tick,
    slots: Slots,
    /// Batches that ended and were not reported yet.
    done: Link,
    done_tail: Link,
    identity: Identity,
    producer_id: i64,
    epoch: i16,
    identity_failures: u8,
    /// Why the last request for a producer id failed.
    identity_error: Option<Obstacle>,
    /// Leaders or connections changed since the last search for batches that can move.
    astray: bool,
    txn: Txn,
    /// Records that were taken, and the last one of partitions that were forgotten, modulo 2^32.
    taken: u32,
    evicted: u32,
    rare: Rare,
    serial: u64,
    reserve: usize,
    /// Batches that did not end yet.
    unfinished: usize,
    /// When the last record was taken.
    last_record: Tick,
    /// Free blocks that the application waits for after a refusal; 0 for none.
    wants_blocks: usize,
    /// It waits for the entry of a partition.
    wants_entry: bool,
    /// The first of the topics whose partitions it waits for.
    wanted: Link,
    room: bool,
    /// Topics that are drained, and whether one of them is not any more.
    #[cfg(feature = "key-order")]
    draining: u32,
    #[cfg(feature = "key-order")]
    drained: bool,
    /// Batches up to this serial are being flushed, and how many of them have not ended.
    flush_upto: u64,
    flush_left: usize,
    flushing: bool,
    /// The send memory is short: nothing lingers.
    pressure: bool,
    pub(crate) dirty: bool,
    #[cfg(feature = "pack")]
    packer: pack::Packer<'d>,
}

impl<'d> Producer<'d> {
    pub(crate) fn new(memory: ProducerMem<'d>, setup: &Setup) -> Self {
        let wanted = Identity::Wanted(Tick::ZERO);
        let txn = Txn::new(setup);
        Self {
            queues: memory.queues,
            places: Nodes::new(memory.places),
            lists: [List::EMPTY; lane::OWN],
            paused_until: Tick::NEVER,
            spreads: memory.spreads,
            slots: Slots::new(memory.batches.len()),
            batches: memory.batches,
            ages: Nodes::new(memory.ages),
            aging: List::EMPTY,
            late: List::EMPTY,
            own_timer: OwnTimer::NEVER,
            lanes: memory.lanes,
            lane_places: Nodes::new(memory.lane_places),
            due: List::EMPTY,
            waiting: List::EMPTY,
            waiting_until: Tick::NEVER,
            done: Link::NONE,
            done_tail: Link::NONE,
            identity: txn.identity(if setup.idempotence { wanted } else { Identity::None }),
            producer_id: -1,
            epoch: -1,
            identity_failures: 0,
            identity_error: None,
            astray: false,
            txn,
            taken: 0,
            evicted: 0,
            rare: setup.rare,
            serial: 0,
            #[cfg(feature = "pack")]
            reserve: (setup.blocks / 4).clamp(2, RESERVE_MOST) + pack::reserve(setup),
            #[cfg(not(feature = "pack"))]
            reserve: (setup.blocks / 4).clamp(2, RESERVE_MOST),
            unfinished: 0,
            last_record: Tick::ZERO,
            wants_blocks: 0,
            wants_entry: false,
            wanted: Link::NONE,
            room: false,
            #[cfg(feature = "key-order")]
            draining: 0,
            #[cfg(feature = "key-order")]
            drained: false,
            flush_upto: 0,
            flush_left: 0,
            flushing: false,
            pressure: false,
            dirty: false,
            #[cfg(feature = "pack")]
            packer: pack::Packer::new(memory.pack),
        }
    }

    fn idempotent(&self) -> bool {
        !matches!(self.identity, Identity::None)
    }

    /// Takes a record, which may have a deadline of its own. Its bytes are copied once, into the
    /// block from which they will be sent.
    pub(crate) fn produce(
        &mut self,
        cx: &mut Cx<'d>,
        target: Target,
        record: &impl Content,
        wall_ms: Option<i64>,
        own: Own,
    ) -> Result<RecordId, ProduceError> {
        let slot = cx.cluster.topic_slot(target.topic);
        let slot = slot.ok_or(ProduceError::Refused(Error::Caller(Misuse::StaleId)))?;
        self.may_take(cx.now)?;
        let topic = &mut cx.cluster.topics[slot];
        topic.note_produce(cx.now);
        if let Some(Error::Broker(code)) = topic.failure
            && !code.is_retriable()
        {
            return Err(ProduceError::Refused(Error::Broker(code)));
        }
        if !topic.ready {
            return Err(self.not_ready(cx.now, slot, 1));
        }
        cx.cluster.produced = Some(cx.now);
        let key = record.key();
        let keyed = key.is_some();
        let part = self.choose(cx, slot, target.partition, key)?;
        let timestamp = record.timestamp().or(wall_ms).unwrap_or(-1);
        let open = match self.open_batch(part, record, (timestamp, own), cx) {
            Some(open) => open,
            None => self.another_batch(cx, part, record, timestamp)?,
        };
        let (batch, delta, len) = open;
        if self.append(&mut cx.net.blocks, batch, record, delta, timestamp, len).is_err() {
            return Err(self.full(&cx.net.blocks, len));
        }
        self.last_record = cx.now;
        let b = &mut self.batches[batch];
        if b.count == 0 {
            b.own = own;
            self.own_timer.note(own);
        }
        if MOVES {
            self.taken = self.taken.wrapping_add(1);
            let free = target.partition.is_none() && !keyed;
            b.keyless.set(free && (b.keyless.or(false) || b.count == 0));
            let first = if b.count == 0 { self.taken } else { b.records.or((0, 0)).0 };
            b.records.set((first, self.taken));
            self.queues[part].newest.set(self.taken);
        }
        b.count += 1;
        b.max_timestamp = b.max_timestamp.max(timestamp);
        let id = RecordId { batch: BatchId(b.id), index: delta, partition: b.to.partition };
        if b.chain.len() >= cx.settings.batch_bytes {
            self.close(part, batch);
        }
        if target.partition.is_none() && !keyed {
            let spread = &mut self.spreads[slot];
            spread.sticky_bytes = spread.sticky_bytes.saturating_add(len as u32);
        }
        Ok(id)
    }

    /// Checks whether records are taken at all.
    fn may_take(&mut self, now: Tick) -> Result<(), ProduceError> {
        if let Some(refused) = self.txn.refuses() {
            return Err(refused);
        }
        if let Identity::Refused(error, until) = self.identity {
            if now < until {
                return Err(ProduceError::Refused(error));
            }
            self.identity = Identity::Wanted(now);
        }
        Ok(())
    }

    /// Begins a batch for a record that fits into no open one.
    fn another_batch(
        &mut self,
        cx: &mut Cx<'d>,
        part: usize,
        record: &impl Content,
        timestamp: i64,
    ) -> Result<(usize, u32, usize), ProduceError> {
        let max = self.largest(cx);
        let len = record.len(0, 0);
        let all = len.saturating_add(record::HEADER_LEN);
        if all > max {
            return Err(ProduceError::TooLarge { max: max - record::HEADER_LEN });
        }
        if !self.rare.full()
            && self.has_room(&cx.net.blocks, &Chain::EMPTY, all)
            && let Some(batch) = self.begin_batch(cx, part, timestamp)
        {
            return Ok((batch, 0, len));
        }
        Err(self.full(&cx.net.blocks, all))
    }

    /// Returns the open batch of a partition if the record fits into it: batch, offset delta,
    /// bytes.
    fn open_batch(
        &mut self,
        part: usize,
        record: &impl Content,
        (timestamp, own): (i64, Own),
        cx: &Cx<'d>,
    ) -> Option<(usize, u32, usize)> {
        let tail = self.queues[part].tail.get()?;
        let b = &self.batches[tail];
        if self.is_closed(b) {
            return None;
        }
        if b.count > 0 && !b.own.takes(own) {
            self.close(part, tail);
            return None;
        }
        let len = record.len(b.count, timestamp.wrapping_sub(b.base));
        if b.chain.len() + len <= cx.settings.batch_bytes && b.count < i32::MAX as u32 {
            return Some((tail, b.count, len));
        }
        self.close(part, tail);
        None
    }

    /// Writes a record of `len` bytes to the end of a batch.
    #[inline]
    fn append(
        &mut self,
        blocks: &mut Blocks<'d>,
        batch: usize,
        record: &impl Content,
        delta: u32,
        timestamp: i64,
        len: usize,
    ) -> Result<(), Full> {
        let b = &mut self.batches[batch];
        let ts_delta = timestamp.wrapping_sub(b.base);
        // Faster, but it duplicates the code: for servers.
        if cfg!(feature = "std") {
            let in_place = blocks.append_in_place(&mut b.chain, len, |room| {
                record.write(&mut SliceSink::new(room), len, delta, ts_delta)
            });
            if let Some(written) = in_place {
                return written;
            }
        }
        let chain = b.chain;
        if self.rare.full() || !self.has_room(blocks, &chain, len) {
            return Err(Full);
        }
        let chain = &mut self.batches[batch].chain;
        record.write(&mut ChainSink { blocks, chain }, len, delta, ts_delta)
    }

    /// Returns the size of the largest batch that can exist.
    fn largest(&self, cx: &Cx<'d>) -> usize {
        let memory =
            cx.net.blocks.total().saturating_sub(self.reserve) * cx.net.blocks.block_size();
        cx.settings.request_bytes.min(memory).max(record::HEADER_LEN + 1)
    }

    fn has_room(&self, blocks: &Blocks<'d>, chain: &Chain, extra: usize) -> bool {
        let kept = guard!("blocks are kept for requests", self.reserve => 0);
        blocks.needed(chain, extra) + kept <= blocks.free()
    }

    fn full(&mut self, blocks: &Blocks<'d>, bytes: usize) -> ProduceError {
        let wanted = bytes.div_ceil(blocks.block_size()) + self.reserve;
        let eighth = blocks.total() / 8 + self.reserve;
        self.wants_blocks = wanted.max(eighth).min(blocks.total());
        self.pressure = true;
        self.dirty = true;
        ProduceError::Full
    }

    /// Refuses a record: all entries of partitions are in use. Some may be free later, or none
    /// ever.
    fn no_entry(&mut self) -> ProduceError {
        // Those of other epochs need no entry.
        self.txn.want_epoch();
        if self.unfinished == 0 {
            return Self::limit(LimitKind::Partitions);
        }
        self.wants_entry = true;
        self.pressure = true;
        self.dirty = true;
        ProduceError::Full
    }

    /// Refuses a record: its topic does not have that many partitions, as far as is known.
    fn not_ready(&mut self, now: Tick, slot: usize, partitions: u32) -> ProduceError {
        let spread = &mut self.spreads[slot];
        if spread.wanted == 0 {
            spread.wanted_at = now;
            spread.next_wanted = core::mem::replace(&mut self.wanted, Link::to(slot));
            self.dirty = true;
        }
        spread.wanted = spread.wanted.max(partitions);
        ProduceError::NotReady
    }

    /// Returns the number of batches that are neither acknowledged nor failed.
    pub(crate) const fn unfinished(&self) -> u32 {
        self.unfinished as u32
    }

    /// Sends everything that was taken so far without waiting for linger.
    pub(crate) fn flush(&mut self) {
        self.flushing = true;
        self.close_all();
    }

    /// Closes all batches: partitions where they linger are placed again.
    fn close_all(&mut self) {
        self.flush_upto = self.serial;
        self.flush_left = self.unfinished;
        for lane in 0..self.lanes.len() {
            while let Some(part) = self.lanes[lane].first(Place::Open) {
                self.touch(part);
            }
        }
        self.dirty = true;
    }

    pub(crate) fn has_news(&self) -> bool {
        #[cfg(feature = "key-order")]
        if self.drained {
            return true;
        }
        !self.done.is_none() || self.room || (self.flushing && self.flush_left == 0)
    }

    /// Returns the next event of the producer.
    pub(crate) fn poll_outcome(&mut self, net: &mut Net<'d>) -> Option<Event<'static>> {
        if let Some(batch) = self.done.get() {
            let (event, last) = self.next_run(&mut net.blocks, batch);
            if last {
                self.done = self.batches[batch].next;
                if self.done.is_none() {
                    self.done_tail = Link::NONE;
                }
                self.free_batch(batch);
            }
            return Some(event);
        }
        if core::mem::take(&mut self.room) {
            return Some(Event::Room);
        }
        if self.flushing && self.flush_left == 0 {
            self.flushing = false;
            return Some(Event::Flushed);
        }
        None
    }

    /// Checks whether a refused caller may try again. Returns the time of the next check.
    fn check_room(&mut self, cx: &Cx<'d>) -> Tick {
        if self.wants_blocks > 0 && self.may_begin() && cx.net.blocks.free() >= self.wants_blocks {
            self.wants_blocks = 0;
            self.room = true;
        }
        if self.wants_entry
            && (cx.cluster.table.room() > 0 || self.idle_entry(&cx.cluster).is_some())
        {
            self.wants_entry = false;
            self.room = true;
        }
        self.pressure = self.wants_blocks > 0 || self.wants_entry;
        let next = self.check_topics(cx);
        #[cfg(feature = "key-order")]
        let next = next.min(self.check_drains(cx));
        next
    }

    /// Does the same for callers that were refused because of a topic or its partitions.
    fn check_topics(&mut self, cx: &Cx<'d>) -> Tick {
        let mut next = Tick::NEVER;
        let mut link = core::mem::replace(&mut self.wanted, Link::NONE);
        while let Some(slot) = link.get() {
            let (wish, topic) = (&mut self.spreads[slot], &cx.cluster.topics[slot]);
            link = core::mem::replace(&mut wish.next_wanted, Link::NONE);
            // What may never exist is worth another try from time to time.
            let late = wish.wanted_at + cx.settings.retry_backoff_max;
            let hopeless = topic.ready || topic.failure.is_some();
            let there = topic.ready && topic.count >= wish.wanted;
            if there || (hopeless && late <= cx.now) {
                wish.wanted = 0;
                self.room = true;
            } else {
                wish.next_wanted = core::mem::replace(&mut self.wanted, Link::to(slot));
                if hopeless {
                    next = next.min(late);
                }
            }
        }
        next
    }

    /// Returns whether a batch can be begun. One slot stays free for the second half of a batch
    /// that a broker finds too large.
    fn may_begin(&self) -> bool {
        self.slots.left() > usize::from(SPLIT && self.batches.len() > 2)
    }

    /// Forgets a partition. Its sequence ends with it, so that its next user produces under a
    /// higher epoch than it ever saw.
    pub(crate) fn evict(&mut self, part: usize, topic: usize) {
        let q = &self.queues[part];
        let lost = q.next_sequence > 0 && !self.is_of_other_epoch(q);
        if guard!("an evicted sequence raises the epoch", lost) {
            self.raise_epoch();
        }
        self.unplace(part);
        self.evicted = self.taken;
        self.queues[part] = Queue::EMPTY;
        self.unstick(topic, part);
        self.spreads[topic].opened = 0;
    }

    pub(super) fn raise_epoch(&mut self) {
        if self.txn.is_on() {
            // Its coordinator does.
            self.txn.want_epoch();
        } else if self.epoch < i16::MAX {
            self.epoch += 1;
        } else {
            self.identity = Identity::Wanted(Tick::ZERO);
            self.dirty = true;
        }
    }

    /// Handles a recreated topic: new logs, so new sequences; what waits for partitions that are
    /// gone fails.
    pub(crate) fn on_recreated(&mut self, cx: &mut Cx<'d>, slot: usize) {
        let blocks = &mut cx.net.blocks;
        let Spread { wanted, wanted_at, next_wanted, retries, .. } = self.spreads[slot];
        let kept = Spread { wanted, wanted_at, next_wanted, retries, ..Spread::EMPTY };
        #[cfg(feature = "key-order")]
        let kept = Spread { mapping: self.recreated(slot), ..kept };
        self.spreads[slot] = kept;
        let mut link = cx.cluster.table.first_of(slot);
        while let Some(part) = link.get() {
            link = cx.cluster.table.next_of(part);
            let entry = &cx.cluster.table[part];
            if !entry.used_by(PRODUCER) {
                continue;
            }
            self.lose_log(part);
            let transactional = self.txn.is_on();
            let q = &mut self.queues[part];
            let begun = q.next_sequence > 0 || !q.head.is_none();
            q.marks.add(Marks::BROKEN, begun && !transactional);
            q.settled.set(false);
            self.touch(part);
            if entry.index < cx.cluster.topics[slot].count {
                continue;
            }
            let gone = Error::Broker(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
            while let Some(batch) = self.first_waiting(part) {
                let maybe = self.batches[batch].maybe_written;
                self.finish(blocks, part, batch, Err((gone, maybe)));
            }
        }
        self.dirty = true;
    }

    /// Handles a change of a partition's leader or leader epoch.
    pub(crate) fn on_leader(&mut self, _: &Cluster<'d>, part: usize) {
        self.on_ways_changed();
        // Batches in flight are placed again when they return.
        if !matches!(self.queues[part].place, Place::Idle | Place::Nowhere) {
            self.touch(part);
        }
    }

    /// Returns whether acks mean "no response".
    fn silent(acks: Acks) -> bool {
        acks == Acks::None
    }

    fn limit(what: LimitKind) -> ProduceError {
        ProduceError::Refused(Error::Limit { what, needed: 0 })
    }

    /// Returns the destination of a batch.
    fn destination(cluster: &Cluster<'d>, part: usize) -> TopicPartition {
        let entry = &cluster.table[part];
        TopicPartition { topic: cluster.topic_id(usize::from(entry.topic)), partition: entry.index }
    }
}
