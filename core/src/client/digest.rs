//! Received bytes become items for their owners and events for the application. Frames may be
//! larger than the buffer: they are read element by element, never from the start again.

use super::Commands;
use crate::answer::{AnswerSlot, Decoder, Frame, HandshakeCx, Origin};
use crate::cluster::MetadataCx;
use crate::consumer::{FetchCx, Found, OffsetsCx};
use crate::error::{Error, PeerFault};
use crate::event::{Event, Reply};
use crate::producer::AnswerCx;
use crate::time::{Duration, Instant};
use crate::wire::{
    ApiKey, Decode, ErrorCode, Malformed, Step, create_partitions, create_topics, delete_topics,
    describe_topic_partitions, fetch, header, init_producer_id, list_offsets, metadata, produce,
};

/// Kafka's answers are far below this; what claims to be larger is not Kafka.
const FRAME_MAX: i32 = 256 << 20;
/// Records that nobody takes keep a connection that others need no longer than this.
const HOLD_UP: Duration = Duration::from_secs(1);

/// What became of one step.
enum Progress<'a> {
    /// Something was read.
    On,
    /// Nothing more can be read before more bytes are there.
    Need,
    /// The application has to poll for what comes next.
    Stall,
    Event(Event<'a>),
    /// The answer is complete.
    Complete,
}

impl Commands<'_> {
    /// Reads what a connection received, up to what the application has to take. With `present`
    /// it takes it now.
    pub(super) fn digest<'a>(
        &mut self,
        now: Instant,
        slot: usize,
        memory: &'a [u8],
        present: bool,
    ) -> Option<Event<'a>> {
        self.answers[slot].ready = false;
        loop {
            let conn = &self.net.conns[slot];
            if !conn.is_open() {
                return None;
            }
            let (start, end) = (conn.rx_start as usize, conn.rx_end as usize);
            let input = memory.get(start..end).unwrap_or_default();
            match self.step(now, slot, input, present) {
                Ok(Progress::On) => {}
                Ok(Progress::Complete) => self.complete(slot),
                Ok(Progress::Need) => return None,
                Ok(Progress::Stall) => {
                    let answer = &mut self.answers[slot];
                    answer.ready = true;
                    answer.waiting_since.get_or_insert(now);
                    return None;
                }
                Ok(Progress::Event(event)) => {
                    self.answers[slot].ready = true;
                    self.answers[slot].waiting_since = None;
                    return Some(event);
                }
                Err(fault) => {
                    self.lose(now, slot, Error::Peer(fault), true);
                    return None;
                }
            }
        }
    }

    /// Bytes of a frame were read.
    fn consume(&mut self, slot: usize, bytes: usize) {
        let conn = &mut self.net.conns[slot];
        conn.rx_start = (conn.rx_start + bytes as u32).min(conn.rx_end);
        let answer = &mut self.answers[slot];
        answer.left = answer.left.saturating_sub(bytes as u32);
    }

    /// An answer was read to its end; bytes that may follow in its frame are tolerated.
    fn complete(&mut self, slot: usize) {
        let answer = &mut self.answers[slot];
        self.stats.trailing_bytes += u64::from(answer.left);
        answer.frame = if answer.left > 0 { Frame::Rest } else { Frame::Length };
        answer.decoder = Decoder::None;
        answer.request = None;
        answer.waiting_since = None;
        self.net.answered(slot);
    }

    fn step<'a>(
        &mut self,
        now: Instant,
        slot: usize,
        input: &'a [u8],
        present: bool,
    ) -> Result<Progress<'a>, PeerFault> {
        let left = self.answers[slot].left as usize;
        let body = &input[..input.len().min(left)];
        match &mut self.answers[slot].frame {
            Frame::Length => self.read_length(slot, input),
            Frame::Correlation => self.read_correlation(now, slot, input),
            Frame::Tags(tags) => {
                let mut rest = body;
                let step = tags.step(&mut rest).map_err(|_: Malformed| PeerFault::Malformed)?;
                let (used, unknown) = (body.len() - rest.len(), u64::from(tags.unknown_tags()));
                self.consume(slot, used);
                match step {
                    Step::Done => {
                        self.stats.unknown_tags += unknown;
                        self.answers[slot].frame = Frame::Body;
                        Ok(Progress::On)
                    }
                    Step::More { .. } if body.len() < left => Ok(Progress::Need),
                    Step::More { .. } => Err(PeerFault::Malformed),
                    Step::Item(_) => Ok(Progress::On),
                }
            }
            Frame::Body => self.read_body(now, slot, body, present),
            Frame::Rest => {
                self.consume(slot, body.len());
                if body.len() == left {
                    self.answers[slot].frame = Frame::Length;
                    return Ok(Progress::On);
                }
                Ok(Progress::Need)
            }
        }
    }

    fn read_length<'a>(&mut self, slot: usize, input: &[u8]) -> Result<Progress<'a>, PeerFault> {
        let Some(front) = input.first_chunk::<4>() else { return Ok(Progress::Need) };
        if matches!(front, [0x15 | 0x16, 3, 0..=4, _] | b"HTTP") {
            return Err(PeerFault::NotKafka);
        }
        let length = i32::from_be_bytes(*front);
        if !(4..=FRAME_MAX).contains(&length) {
            return Err(PeerFault::FrameLength);
        }
        self.consume(slot, 4);
        let answer = &mut self.answers[slot];
        answer.left = length as u32;
        answer.frame = Frame::Correlation;
        Ok(Progress::On)
    }

    fn read_correlation<'a>(
        &mut self,
        now: Instant,
        slot: usize,
        input: &[u8],
    ) -> Result<Progress<'a>, PeerFault> {
        // Of an ApiVersions answer the error code is needed too: it tells the version.
        let Some(front) = input.first_chunk::<4>() else { return Ok(Progress::Need) };
        let mut request = self.net.expect(slot, i32::from_be_bytes(*front))?;
        if request.api == ApiKey::API_VERSIONS && request.version > 0 {
            match (input.get(4..6), self.answers[slot].left) {
                (Some([0, 35]), _) => request.version = 0,
                (None, 6..) => return Ok(Progress::Need),
                _ => {}
            }
        }
        let length = self.answers[slot].left;
        self.consume(slot, 4);
        let conn = &self.net.conns[slot];
        let origin = Origin {
            now,
            node: conn.peer.node(),
            session: conn.session.serial,
            metadata: self.cluster.metadata_serial(),
        };
        let decoder = Decoder::new(&request, &origin).ok_or(PeerFault::Malformed)?;
        if matches!(decoder, Decoder::Describe(..) | Decoder::Probe(..)) {
            self.cluster.probes.bytes_in += u64::from(length) + 4;
        }
        let flexible = header::response_tags(request.api, request.version);
        let answer = &mut self.answers[slot];
        answer.request = Some(request);
        answer.decoder = decoder;
        answer.frame = if flexible { Frame::Tags(header::Tags::new()) } else { Frame::Body };
        Ok(Progress::On)
    }

    fn read_body<'a>(
        &mut self,
        now: Instant,
        slot: usize,
        body: &'a [u8],
        present: bool,
    ) -> Result<Progress<'a>, PeerFault> {
        // The decoder is taken out so that its owner may look at everything else.
        let mut decoder = core::mem::replace(&mut self.answers[slot].decoder, Decoder::None);
        let whole = body.len() == self.answers[slot].left as usize;
        let result = self.read_with(now, slot, body, whole, present, &mut decoder);
        if self.net.conns[slot].is_open() {
            self.answers[slot].decoder = decoder;
        }
        result
    }

    fn read_with<'a>(
        &mut self,
        now: Instant,
        slot: usize,
        body: &'a [u8],
        whole: bool,
        present: bool,
        decoder: &mut Decoder,
    ) -> Result<Progress<'a>, PeerFault> {
        let at = At { now, slot, body, whole };
        match decoder {
            Decoder::None => Err(PeerFault::Malformed),
            Decoder::ApiVersions(answer, cx) => match self.items(&at, answer, |c, item| {
                c.on_versions(slot, cx, item);
            }) {
                Ok(Progress::Complete) => self.versions_answered(now, slot, cx),
                // Some brokers leave the throttle time out that version 1 brought.
                Err(PeerFault::Malformed) if whole && cx.ranges > 0 => {
                    self.versions_answered(now, slot, cx)
                }
                other => other,
            },
            Decoder::Metadata(answer, cx) => self.read_metadata(&at, answer, cx),
            Decoder::Describe(answer, cx) => {
                let progress = self.items(&at, answer, |c, item| {
                    if let describe_topic_partitions::Item::Throttle { ms } = item {
                        c.throttle(now, slot, ms);
                    }
                    c.cluster.on_describe(cx, item);
                })?;
                if let (Progress::Complete, Some(request)) = (&progress, self.answers[slot].request)
                {
                    self.cluster.describe_done(now, &mut self.net, slot, request.ticket, cx);
                }
                Ok(progress)
            }
            Decoder::Probe(answer, cx) => self.items(&at, answer, |c, item| {
                if let list_offsets::Item::Throttle { ms } = item {
                    c.throttle(now, slot, ms);
                }
                c.cluster.on_list_offsets_probe(now, &mut c.net, slot, cx, item);
            }),
            Decoder::Offsets(answer, cx) => self.read_offsets(&at, answer, cx),
            Decoder::InitProducerId(answer) => self.items(&at, answer, |c, item| {
                if let init_producer_id::Item::Answer {
                    error, producer_id, producer_epoch, ..
                } = item
                {
                    let answer = match error {
                        ErrorCode(0) => Ok((producer_id, producer_epoch)),
                        error => Err(Error::Broker(error)),
                    };
                    c.producer.on_identity(&mut c.cluster, now, answer);
                }
            }),
            Decoder::Produce(answer, cx) => self.read_produce(&at, answer, cx),
            Decoder::Fetch(answer, cx) if answer.records_left() > 0 => {
                self.read_records(&at, answer, cx, present)
            }
            Decoder::Fetch(answer, cx) => self.items(&at, answer, |c, item| {
                if let fetch::Item::Head { throttle_ms, .. } = item {
                    c.throttle(now, slot, throttle_ms);
                }
                c.consumer.on_fetch(&mut c.cluster, &mut c.net, now, slot, cx, item);
            }),
            admin => self.read_admin(&at, present, admin),
        }
    }

    fn read_metadata<'a>(
        &mut self,
        at: &At<'a>,
        answer: &mut metadata::Answer,
        cx: &mut MetadataCx,
    ) -> Result<Progress<'a>, PeerFault> {
        let progress = self.items(at, answer, |c, item| {
            if let metadata::Item::Throttle { ms } = item {
                c.throttle(at.now, at.slot, ms);
            }
            c.cluster.on_metadata(at.now, cx, item);
        })?;
        if matches!(progress, Progress::Complete) {
            self.cluster.metadata_done(at.now, cx);
        }
        Ok(progress)
    }

    fn read_offsets<'a>(
        &mut self,
        at: &At<'a>,
        answer: &mut list_offsets::Answer,
        cx: &mut OffsetsCx,
    ) -> Result<Progress<'a>, PeerFault> {
        let correlation = self.answers[at.slot].request.map_or(0, |r| r.correlation);
        let progress = self.items(at, answer, |c, item| {
            if let list_offsets::Item::Throttle { ms } = item {
                c.throttle(at.now, at.slot, ms);
            }
            c.consumer.on_offsets(&mut c.cluster, at.now, correlation, cx, item);
        })?;
        if matches!(progress, Progress::Complete) {
            self.consumer.offsets_done(at.now, correlation);
        }
        Ok(progress)
    }

    fn read_produce<'a>(
        &mut self,
        at: &At<'a>,
        answer: &mut produce::Answer,
        cx: &mut AnswerCx,
    ) -> Result<Progress<'a>, PeerFault> {
        let Some(request) = self.answers[at.slot].request else {
            return Err(PeerFault::Malformed);
        };
        let progress = self.items(at, answer, |c, item| {
            if let produce::Item::Throttle { ms } = item {
                c.throttle(at.now, at.slot, ms);
            }
            c.producer.on_answer(&mut c.cluster, &mut c.net, at.now, &request, cx, item);
        })?;
        if matches!(progress, Progress::Complete) {
            self.producer.on_complete(&mut self.cluster, at.now, &request, cx);
        }
        Ok(progress)
    }

    /// One step of a decoder, its item given to its owner.
    fn items<'a, D: Decode>(
        &mut self,
        at: &At<'a>,
        decoder: &mut D,
        owner: impl FnOnce(&mut Self, D::Item<'a>),
    ) -> Result<Progress<'a>, PeerFault> {
        match self.pull(at, decoder)? {
            Pulled::Item(item) => {
                owner(self, item);
                Ok(Progress::On)
            }
            Pulled::Progress(progress) => Ok(progress),
        }
    }

    fn pull<'a, D: Decode>(
        &mut self,
        at: &At<'a>,
        decoder: &mut D,
    ) -> Result<Pulled<'a, D::Item<'a>>, PeerFault> {
        let mut rest = at.body;
        let step = decoder.step(&mut rest);
        let used = at.body.len() - rest.len();
        self.consume(at.slot, used);
        let have = at.body.len() - used;
        Ok(match step.map_err(|_| PeerFault::Malformed)? {
            Step::Item(item) => Pulled::Item(item),
            Step::Done => {
                self.stats.unknown_tags += u64::from(decoder.unknown_tags());
                Pulled::Progress(Progress::Complete)
            }
            // The frame ends where the answer does not.
            Step::More { .. } if at.whole => return Err(PeerFault::Malformed),
            Step::More { needed } if needed > self.rx_bytes => {
                decoder.skip();
                Pulled::Progress(Progress::On)
            }
            Step::More { needed } if used > 0 && needed <= have => Pulled::Progress(Progress::On),
            Step::More { .. } => Pulled::Progress(Progress::Need),
        })
    }

    fn versions_answered<'a>(
        &mut self,
        now: Instant,
        slot: usize,
        cx: &HandshakeCx,
    ) -> Result<Progress<'a>, PeerFault> {
        // The request leaves the queue first: the next one may be asked in its place.
        self.complete(slot);
        self.versions_done(now, slot, cx)?;
        Ok(Progress::On)
    }

    fn read_records<'a>(
        &mut self,
        at: &At<'a>,
        answer: &mut fetch::Answer,
        cx: &mut FetchCx,
        present: bool,
    ) -> Result<Progress<'a>, PeerFault> {
        let left = answer.records_left() as usize;
        let slot = at.slot;
        if !present {
            if at.body.is_empty() {
                return Ok(Progress::Need);
            }
            // On a connection of its own a fetch can wait for ever; else it makes way in time.
            if self.is_held_up(at.now, slot) {
                cx.drop_records();
            } else if !cx.is_dropped() {
                return Ok(Progress::Stall);
            }
        }
        match self.consumer.look(&self.cluster, cx, at.body, left) {
            Found::More if at.whole => Err(PeerFault::Malformed),
            Found::More => Ok(Progress::Need),
            Found::Skip(len) => {
                cx.next_batch();
                let n = len.min(at.body.len());
                answer.take(n as u32);
                self.consume(slot, n);
                if n < len {
                    // The rest of it is skipped with the partition's other records.
                    cx.drop_records();
                }
                Ok(Progress::On)
            }
            Found::Drop => {
                cx.drop_records();
                let n = left.min(at.body.len());
                answer.take(n as u32);
                self.consume(slot, n);
                if n == 0 { Ok(Progress::Need) } else { Ok(Progress::On) }
            }
            Found::Batch(batch, taken) => {
                self.taken = Some((slot as u16, taken));
                Ok(Progress::Event(Event::Records(batch)))
            }
        }
    }

    /// Whether an answer has waited to be taken for so long that others wait for it in vain.
    pub(super) fn is_held_up(&self, now: Instant, slot: usize) -> bool {
        let since = self.answers[slot].waiting_since;
        !self.net.splits_roles() && since.is_some_and(|since| since + HOLD_UP <= now)
    }

    /// A batch that was handed out leaves the buffer.
    pub(super) fn consume_records(&mut self, slot: usize, len: usize, rest_is_wanted: bool) {
        if let Decoder::Fetch(answer, cx) = &mut self.answers[slot].decoder {
            answer.take(len as u32);
            cx.next_batch();
            if !rest_is_wanted {
                cx.drop_records();
            }
            self.consume(slot, len);
        }
    }

    /// Whether a connection that is ready would give an event.
    pub(super) fn has_answer_event(&mut self, now: Instant, slot: usize, memory: &[u8]) -> bool {
        loop {
            let is_fetch = matches!(&self.answers[slot].decoder,
                Decoder::Fetch(answer, _) if answer.records_left() > 0);
            if !is_fetch {
                self.digest(now, slot, memory, false);
                let AnswerSlot { ready, decoder, .. } = &self.answers[slot];
                match decoder {
                    Decoder::Fetch(answer, _) if *ready && answer.records_left() > 0 => continue,
                    _ => return *ready,
                }
            }
            let conn = &self.net.conns[slot];
            let (start, end) = (conn.rx_start as usize, conn.rx_end as usize);
            let input = memory.get(start..end).unwrap_or_default();
            match self.step(now, slot, input, true) {
                Ok(Progress::On) => {}
                Ok(Progress::Event(_)) => {
                    // Looked at, not handed out.
                    self.taken = None;
                    return true;
                }
                Ok(_) => {
                    self.answers[slot].ready = false;
                    return false;
                }
                Err(fault) => {
                    self.lose(now, slot, Error::Peer(fault), true);
                    return false;
                }
            }
        }
    }

    fn read_admin<'a>(
        &mut self,
        at: &At<'a>,
        present: bool,
        decoder: &mut Decoder,
    ) -> Result<Progress<'a>, PeerFault> {
        if !present {
            return Ok(if at.body.is_empty() && !at.whole {
                Progress::Need
            } else {
                Progress::Stall
            });
        }
        let Some(request) = self.answers[at.slot].request else {
            return Err(PeerFault::Malformed);
        };
        let id = self.admin.id(request.ticket);
        let pulled = match decoder {
            Decoder::AdminMetadata(answer) => {
                self.pull(at, answer)?.map(|i| self.described(&request.ticket, i))
            }
            Decoder::CreateTopics(answer) => self.pull(at, answer)?.map(|item| match item {
                create_topics::Item::Topic { error, message, .. } => {
                    self.admin.note(request.ticket, error);
                    message.map(Reply::Message)
                }
                _ => None,
            }),
            Decoder::CreatePartitions(answer) => self.pull(at, answer)?.map(|item| match item {
                create_partitions::Item::Topic { error, message, .. } => {
                    self.admin.note(request.ticket, error);
                    message.map(Reply::Message)
                }
                _ => None,
            }),
            Decoder::DeleteTopics(answer) => self.pull(at, answer)?.map(|item| match item {
                delete_topics::Item::Topic { error, message, .. } => {
                    self.admin.note(request.ticket, error);
                    message.map(Reply::Message)
                }
                _ => None,
            }),
            _ => return Err(PeerFault::Malformed),
        };
        match pulled {
            Pulled::Item(Some(reply)) => Ok(match id {
                Some(id) => Progress::Event(Event::Reply { id, reply }),
                None => Progress::On,
            }),
            Pulled::Item(None) => Ok(Progress::On),
            Pulled::Progress(Progress::Complete) => {
                let event = self.admin.answered(&mut self.cluster, at.now, request.ticket);
                self.complete(at.slot);
                Ok(event.map_or(Progress::On, Progress::Event))
            }
            Pulled::Progress(progress) => Ok(progress),
        }
    }

    fn described<'a>(
        &mut self,
        ticket: &crate::connection::Ticket,
        item: metadata::Item<'a>,
    ) -> Option<Reply<'a>> {
        Some(match item {
            metadata::Item::Broker { id, host, port, rack } => {
                Reply::Broker { id, host, port, rack }
            }
            metadata::Item::Cluster { id, controller } => Reply::Cluster { id, controller },
            metadata::Item::Topic { error, name, id, internal } => {
                if self.admin.is_about_one(*ticket) {
                    self.admin.note(*ticket, error);
                }
                Reply::Topic { name: name.unwrap_or_default(), id, internal, error }
            }
            metadata::Item::Partition { error, index, leader, epoch, replicas, isr, .. } => {
                Reply::Partition { index, leader, epoch, replicas, isr, error }
            }
            metadata::Item::End { error } => {
                self.admin.note(*ticket, error);
                return None;
            }
            _ => return None,
        })
    }

    /// A broker asks for less (KIP-219): nothing is sent on this connection until then.
    fn throttle(&mut self, now: Instant, slot: usize, ms: i32) {
        let Some(request) = self.answers[slot].request else { return };
        // Before these versions the broker has waited itself.
        let since = match request.api {
            ApiKey::PRODUCE | ApiKey::METADATA => 6,
            ApiKey::FETCH => 8,
            ApiKey::LIST_OFFSETS => 3,
            _ => 1,
        };
        if ms > 0 && request.version >= since {
            let pause = Duration::from_millis(u64::from(ms.unsigned_abs()))
                .min(self.cluster.config.request_timeout);
            self.net.conns[slot].throttled_until = now + pause;
            self.dirty = true;
        }
    }
}

/// Where a step reads.
struct At<'a> {
    now: Instant,
    slot: usize,
    body: &'a [u8],
    /// The frame ends with `body`.
    whole: bool,
}

enum Pulled<'a, T> {
    Item(T),
    Progress(Progress<'a>),
}

impl<'a, T> Pulled<'a, T> {
    fn map<U>(self, f: impl FnOnce(T) -> U) -> Pulled<'a, U> {
        match self {
            Self::Item(item) => Pulled::Item(f(item)),
            Self::Progress(progress) => Pulled::Progress(progress),
        }
    }
}
