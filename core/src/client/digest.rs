//! Received bytes become items for their owners and events for the application. Frames may be
//! larger than the buffer: they are read element by element, never from the start again.

use super::Commands;
use crate::api::{Kind, Owner};
use crate::connection::Origin;
use crate::consumer::Found;
use crate::error::{Error, PeerFault, Protocol};
use crate::event::{Event, Reply};
use crate::has::{ADMIN, LENIENT, REASONS};
use crate::response::{Frame, Memo, ResponseSlot};
use crate::time::{Span, Tick};
use crate::wire::table::{Segment, Values, Walker};
use crate::wire::{ApiKey, ErrorCode, Step, api_versions, header, table};

/// Kafka's responses are far below this; what claims to be larger is not Kafka.
const FRAME_MAX: i32 = 256 << 20;
/// Records that the application does not take hold up a shared connection no longer than this.
const HOLD_UP: Span = Span::from_secs(1);

/// What the application accepts now.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Present {
    Nothing,
    /// Anything but records.
    News,
    All,
}

/// The result of one step.
enum Progress<'a> {
    /// Something was read.
    On,
    /// Nothing more can be read before more bytes arrive.
    Need,
    /// The application has to poll for what comes next.
    Stall,
    Event(Event<'a>),
}

/// The result of one pass over a response.
enum Pulled {
    Piece(table::Piece),
    On,
    Need,
    Done,
}

/// Where a step reads.
struct At<'a> {
    slot: usize,
    body: &'a [u8],
    /// The frame ends with `body`.
    whole: bool,
}

impl Commands<'_> {
    /// Reads what a connection received, up to what the application has to take.
    pub(super) fn digest<'a>(
        &mut self,
        slot: usize,
        memory: &'a [u8],
        present: Present,
    ) -> Option<Event<'a>> {
        let found = self.read_on(slot, memory, present);
        self.note_blocked(slot);
        found
    }

    /// While a response waits for the application its broker is not to blame.
    fn note_blocked(&mut self, slot: usize) {
        let ready = self.responses[slot].ready;
        self.cx.net.set_blocked(self.cx.now, slot, ready);
    }

    /// Whether polling an event may yield one from a response.
    fn set_ready(&mut self, slot: usize, ready: bool) {
        let before = core::mem::replace(&mut self.responses[slot].ready, ready);
        self.ready = self.ready + usize::from(ready) - usize::from(before);
    }

    /// Returns how many slots to search for responses that wait for the application; 0 where none
    /// waits.
    pub(super) fn waiting(&self) -> usize {
        if self.ready > 0 { self.responses.len() } else { 0 }
    }

    /// Drops the response that an ended connection was in the middle of.
    pub(super) fn drop_response(&mut self, slot: usize) {
        self.set_ready(slot, false);
        self.responses[slot] = ResponseSlot::EMPTY;
    }

    fn read_on<'a>(
        &mut self,
        slot: usize,
        memory: &'a [u8],
        present: Present,
    ) -> Option<Event<'a>> {
        self.set_ready(slot, false);
        loop {
            let conn = &self.cx.net.conns[slot];
            if !conn.is_up() {
                return None;
            }
            let (start, end) = (conn.rx_start as usize, conn.rx_end as usize);
            let input = memory.get(start..end).unwrap_or_default();
            match self.step(slot, input, present) {
                Ok(Progress::On) => {}
                Ok(Progress::Need) => return None,
                Ok(Progress::Stall) => {
                    self.set_ready(slot, true);
                    self.responses[slot].waiting_since.get_or_insert(self.cx.now);
                    return None;
                }
                Ok(Progress::Event(event)) => {
                    self.set_ready(slot, true);
                    self.responses[slot].waiting_since = None;
                    return Some(event);
                }
                Err(fault) => {
                    let error = self.cx.net.watch.blame(fault);
                    self.lose(slot, error, true);
                    return None;
                }
            }
        }
    }

    /// Counts bytes of a frame as read.
    fn consume(&mut self, slot: usize, bytes: usize) {
        let conn = &mut self.cx.net.conns[slot];
        conn.rx_start = (conn.rx_start + bytes as u32).min(conn.rx_end);
        let response = &mut self.responses[slot];
        response.left = response.left.saturating_sub(bytes as u32);
    }

    /// Ends a response that was read completely; bytes that may follow in its frame are tolerated.
    fn complete(&mut self, slot: usize, proof: bool) {
        let response = &mut self.responses[slot];
        self.stats.trailing_bytes += u64::from(response.left);
        response.frame = if response.left > 0 { Frame::Rest } else { Frame::Length };
        response.walker = Walker::IDLE;
        response.memo = Memo::None;
        response.waiting_since = None;
        let kind = response.expected.kind;
        let confirms = guard!("who confirms its cluster has proven nothing", kind.confirms());
        // So do the messages of a login.
        let greets = match cfg!(feature = "sasl") {
            true => kind.row().owner == Owner::Handshake && !kind.confirms(),
            false => kind == Kind::Versions,
        };
        if !greets && !confirms {
            self.cx.cluster.on_response();
            let conn = &mut self.cx.net.conns[slot];
            if !conn.proven && proof {
                conn.proven = self.cx.cluster.on_proven(conn.peer, kind.api());
            }
        }
        self.cx.net.responded(self.cx.now, slot);
        self.cx.net.watch.responded();
    }

    fn step<'a>(
        &mut self,
        slot: usize,
        input: &'a [u8],
        present: Present,
    ) -> Result<Progress<'a>, PeerFault> {
        let left = self.responses[slot].left as usize;
        let body = input.get(..left).unwrap_or(input);
        let at = At { slot, body, whole: body.len() == left };
        match self.responses[slot].frame {
            Frame::Length => self.read_length(slot, input),
            Frame::Correlation => self.read_correlation(slot, input),
            Frame::Tags => self.read_tags(&at),
            Frame::Body => self.read_body(&at, present),
            Frame::Rest => {
                self.consume(slot, body.len());
                if at.whole {
                    self.responses[slot].frame = Frame::Length;
                    return Ok(Progress::On);
                }
                Ok(Progress::Need)
            }
        }
    }

    fn read_length<'a>(&mut self, slot: usize, input: &[u8]) -> Result<Progress<'a>, PeerFault> {
        let Some(front) = input.first_chunk::<4>() else { return Ok(Progress::Need) };
        match front {
            // Each of them is an impossible length, too.
            _ if !REASONS => {}
            [0x15 | 0x16, 3, 0..=4, _] => return Err(PeerFault::NotKafka(Protocol::Tls)),
            b"HTTP" => return Err(PeerFault::NotKafka(Protocol::Http)),
            b"SSH-" => return Err(PeerFault::NotKafka(Protocol::Ssh)),
            text if text.iter().all(|at| matches!(at, b' '..=b'~' | b'\r' | b'\n' | b'\t')) => {
                return Err(PeerFault::NotKafka(Protocol::Text(*text)));
            }
            _ => {}
        }
        let length = i32::from_be_bytes(*front);
        if guard!("frame lengths have limits", !(4..=FRAME_MAX).contains(&length)) {
            return Err(PeerFault::FrameLength(length));
        }
        self.consume(slot, 4);
        let response = &mut self.responses[slot];
        response.left = length as u32;
        response.frame = Frame::Correlation;
        Ok(Progress::On)
    }

    fn read_correlation<'a>(
        &mut self,
        slot: usize,
        input: &[u8],
    ) -> Result<Progress<'a>, PeerFault> {
        // Of an ApiVersions response the error code is needed too: it determines the version.
        let Some(front) = input.first_chunk::<4>() else { return Ok(Progress::Need) };
        let mut expected = self.cx.net.expect(slot, i32::from_be_bytes(*front))?;
        let response = &mut self.responses[slot];
        let length = response.left;
        if expected.kind == Kind::Versions {
            match (input.get(4..6), length) {
                (_, ..6) | (Some([0, 0]), _) => {}
                (Some([0, 35]), _) => expected.version = 0,
                (Some(&[high, low]), _) if REASONS => {
                    let code = i16::from_be_bytes([high, low]);
                    return Err(PeerFault::NoVersions(ErrorCode(code)));
                }
                (Some(_), _) => {}
                (None, _) => return Ok(Progress::Need),
            }
        }
        response.expected = expected;
        // The tags in a header are a message without fields of its own.
        response.walker = Walker::new(&header::SCHEMA, 0);
        response.frame = Frame::Tags;
        if expected.kind.is_probe() {
            self.cx.cluster.probes.bytes_in += u64::from(length) + 4;
        }
        self.consume(slot, 4);
        Ok(Progress::On)
    }

    fn read_tags<'a>(&mut self, at: &At<'a>) -> Result<Progress<'a>, PeerFault> {
        let expected = self.responses[at.slot].expected;
        // Never for ApiVersions (KIP-511).
        if expected.kind != Kind::Versions && expected.kind.is_flexible(expected.version) {
            match self.pull(at, &mut Values::default())? {
                Pulled::Done => {}
                Pulled::Need => return Ok(Progress::Need),
                _ => return Ok(Progress::On),
            }
        }
        let from = Origin { conn: at.slot, requested: expected };
        let memo = self.owners.begin(&self.cx, &from);
        let response = &mut self.responses[at.slot];
        response.walker = Walker::new(expected.kind.row().schema, expected.version as i8);
        response.memo = memo;
        response.frame = Frame::Body;
        Ok(Progress::On)
    }

    fn read_body<'a>(&mut self, at: &At<'a>, present: Present) -> Result<Progress<'a>, PeerFault> {
        let response = &self.responses[at.slot];
        if cfg!(feature = "consumer") && response.records_left() > 0 {
            return self.read_records(at, present);
        }
        // The application takes these element by element.
        let taken = match &response.memo {
            Memo::Admin(_) => true,
            Memo::Producer(memo) => memo.explains(),
            _ => false,
        };
        let waits = taken && present == Present::Nothing;
        if guard!("what the application takes piece by piece waits for it", waits) {
            let waits = at.body.is_empty() && !at.whole;
            return Ok(if waits { Progress::Need } else { Progress::Stall });
        }
        let mut values = Values::default();
        match self.pull(at, &mut values) {
            Ok(Pulled::Piece(piece)) => Ok(self.give(at, piece, &values)),
            Ok(Pulled::On) => Ok(Progress::On),
            Ok(Pulled::Need) => Ok(Progress::Need),
            Ok(Pulled::Done) => self.finish(at),
            Err(PeerFault::Malformed(_)) if LENIENT && self.lacks_throttle_time(at) => {
                self.finish(at)
            }
            Err(PeerFault::Malformed(_)) if LENIENT && self.takes_no_such_version(at) => {
                self.finish(at)
            }
            Err(fault) => Err(fault),
        }
    }

    /// Whether an ApiVersions response says that its version is unknown: the rest should have the
    /// format of version 0, has any format on some brokers, and is ignored.
    fn takes_no_such_version(&mut self, at: &At<'_>) -> bool {
        match &mut self.responses[at.slot].memo {
            Memo::Handshake(memo) if memo.error == ErrorCode::UNSUPPORTED_VERSION => {
                memo.max = 0;
                true
            }
            _ => false,
        }
    }

    /// Whether an ApiVersions response ends where its throttle time was due: some brokers leave
    /// that out. Any other end is damage.
    fn lacks_throttle_time(&self, at: &At<'_>) -> bool {
        let ResponseSlot { memo, walker, .. } = &self.responses[at.slot];
        let ends = at.whole && at.body.is_empty() && walker.is_at(api_versions::THROTTLE_FIELD);
        guard!("only a missing throttle time is tolerated", ends => at.whole)
            && matches!(memo, Memo::Handshake(memo) if memo.ranges > 0)
    }

    /// One step through a response.
    fn pull<'a>(&mut self, at: &At<'a>, values: &mut Values<'a>) -> Result<Pulled, PeerFault> {
        let response = &mut self.responses[at.slot];
        let malformed = PeerFault::Malformed(response.expected.kind.api());
        let walker = &mut response.walker;
        let mut rest = at.body;
        let step = walker.step(&mut rest, values);
        let have = rest.len();
        let used = at.body.len() - have;
        let pulled = match step.map_err(|_| malformed)? {
            Step::Item(piece) => Pulled::Piece(piece),
            Step::Done => {
                self.stats.unknown_tags += u64::from(walker.unknown_tags());
                Pulled::Done
            }
            // The frame ends where the response does not.
            Step::More { .. } if guard!("a response ends in its frame", at.whole) => {
                return Err(malformed);
            }
            Step::More { needed } if needed > self.rx_bytes => {
                walker.skip();
                Pulled::On
            }
            Step::More { needed } if used > 0 && needed <= have => Pulled::On,
            Step::More { .. } => Pulled::Need,
        };
        self.consume(at.slot, used);
        Ok(pulled)
    }

    /// Passes what was read to its owner.
    fn give<'a>(&mut self, at: &At<'a>, piece: table::Piece, values: &Values<'a>) -> Progress<'a> {
        let slot = at.slot;
        let Self { responses, cx, owners, .. } = self;
        let ResponseSlot { walker, memo, expected, .. } = &mut responses[slot];
        let got = Segment { piece, values, walker };
        let row = expected.kind.row();
        let pause = got.throttle_ms(row.throttle_field);
        let throttled = pause > 0 && expected.version >= row.throttles;
        let from = Origin { conn: slot, requested: *expected };
        let event = owners.item(cx, &from, memo, got);
        if guard!("throttled connections are quiet", throttled) {
            self.throttle(slot, pause);
        }
        event.map_or(Progress::On, Progress::Event)
    }

    /// Handles the end of a response.
    fn finish<'a>(&mut self, at: &At<'a>) -> Result<Progress<'a>, PeerFault> {
        let slot = at.slot;
        let Self { responses, cx, owners, .. } = self;
        let ResponseSlot { memo, expected, .. } = &mut responses[slot];
        let from = Origin { conn: slot, requested: *expected };
        if let Memo::Handshake(memo) = *memo {
            // The request leaves the queue first: the next one may take its place.
            let kind = from.requested.kind;
            self.complete(slot, true);
            self.handshake_done(slot, kind, &memo)?;
            return Ok(Progress::On);
        }
        if let Memo::Cluster(memo) = memo {
            if memo.is_foreign() {
                return Err(PeerFault::OtherCluster);
            }
            let useless = memo.names_no_brokers() && cx.cluster.knows_no_broker();
            if guard!("a peer that names no brokers is left", useless) {
                return Err(PeerFault::NoBrokers);
            }
        }
        let event = owners.done(cx, &from, memo);
        let senseless = ADMIN
            && matches!(event, Some(Event::Reply { reply: Reply::Done(Err(Error::Peer(_))), .. }));
        let proof = !guard!("what makes no sense proves nothing", senseless);
        self.complete(slot, proof);
        Ok(event.map_or(Progress::On, Progress::Event))
    }

    fn read_records<'a>(
        &mut self,
        at: &At<'a>,
        present: Present,
    ) -> Result<Progress<'a>, PeerFault> {
        let slot = at.slot;
        let held_up = self.is_held_up(slot);
        let Self { responses, cx, owners, .. } = self;
        let left = responses[slot].records_left();
        let malformed = PeerFault::Malformed(ApiKey::FETCH);
        let ResponseSlot { walker, memo: Memo::Consumer(memo), .. } = &mut responses[slot] else {
            return Err(malformed);
        };
        let Some(memo) = memo.fetch() else { return Err(malformed) };
        if present != Present::All {
            if at.body.is_empty() {
                return Ok(Progress::Need);
            }
            // On a connection of its own a fetch can wait without limit; else its records are
            // dropped after a while.
            if held_up {
                memo.drop_records();
                // If they were fetched again at once, they would only be dropped again.
                owners.consumer.set_sated(guard!("who takes nothing fetches nothing", true));
            } else if !memo.is_dropped() {
                return Ok(Progress::Stall);
            }
        }
        let (progress, used) = match owners.consumer.look(cx, memo, at.body, left) {
            Found::More if at.whole => return Err(malformed),
            Found::More => return Ok(Progress::Need),
            Found::Skip(len) => {
                memo.next_batch();
                let n = len.min(at.body.len());
                if n < len {
                    // The rest of it is skipped with the partition's other records.
                    memo.drop_records();
                }
                (Progress::On, n)
            }
            Found::Drop => {
                memo.drop_records();
                match left.min(at.body.len()) {
                    0 => (Progress::Need, 0),
                    n => (Progress::On, n),
                }
            }
            Found::Batch(batch, taken) => {
                self.taken = Some((slot as u16, taken));
                return Ok(Progress::Event(Event::Records(batch)));
            }
        };
        walker.take(used as u32);
        self.consume(slot, used);
        Ok(progress)
    }

    /// Whether there is a response that has something that the application takes now.
    pub(super) fn has_responses(&self) -> bool {
        let waits = |response: &ResponseSlot| self.records_wait && response.records_left() > 0;
        self.ready > 0 && self.responses.iter().any(|response| response.ready && !waits(response))
    }

    /// Sets whether the application takes records from now on.
    pub(super) fn take_records(&mut self, wanted: bool) {
        self.records_wait = !wanted;
        if wanted {
            self.owners.consumer.set_sated(false);
        }
    }

    /// Returns when waiting records are dropped at the latest.
    pub(super) fn hold_up(&self) -> Tick {
        if !self.records_wait || self.ready == 0 {
            return Tick::NEVER;
        }
        let shared = (0..self.responses.len()).filter(|slot| self.cx.net.conns[*slot].is_shared());
        let since = shared.filter_map(|slot| self.responses[slot].waiting_since).min();
        since.map_or(Tick::NEVER, |since| since + HOLD_UP)
    }

    /// Whether a response has waited for the application for so long that it has to free the
    /// connection.
    pub(super) fn is_held_up(&self, slot: usize) -> bool {
        let since = self.responses[slot].waiting_since;
        let shared = self.cx.net.conns[slot].is_shared();
        guard!("records wait where no other caller does", shared => true)
            && since.is_some_and(|since| since + HOLD_UP <= self.cx.now)
    }

    /// Removes a batch that was handed out from the buffer.
    pub(super) fn consume_records(&mut self, slot: usize, len: usize, rest_is_wanted: bool) {
        let response = &mut self.responses[slot];
        if let Memo::Consumer(memo) = &mut response.memo
            && let Some(memo) = memo.fetch()
        {
            response.walker.take(len as u32);
            memo.next_batch();
            if !rest_is_wanted {
                memo.drop_records();
            }
            self.consume(slot, len);
        }
    }

    /// Whether a connection that is ready would yield an event.
    pub(super) fn has_response_event(&mut self, slot: usize, memory: &[u8]) -> bool {
        loop {
            if self.responses[slot].records_left() == 0 {
                self.digest(slot, memory, Present::Nothing);
                let response = &self.responses[slot];
                if response.ready && response.records_left() > 0 {
                    continue;
                }
                return response.ready;
            }
            let conn = &self.cx.net.conns[slot];
            let (start, end) = (conn.rx_start as usize, conn.rx_end as usize);
            let input = memory.get(start..end).unwrap_or_default();
            match self.step(slot, input, Present::All) {
                Ok(Progress::On) => {}
                Ok(Progress::Event(_)) => {
                    // Only checked, not handed out.
                    self.taken = None;
                    return true;
                }
                Ok(_) => {
                    self.set_ready(slot, false);
                    self.note_blocked(slot);
                    return false;
                }
                Err(fault) => {
                    let error = self.cx.net.watch.blame(fault);
                    self.lose(slot, error, true);
                    return false;
                }
            }
        }
    }

    /// Throttles a connection as its broker requests (KIP-219): nothing is sent on it until then.
    fn throttle(&mut self, slot: usize, ms: i32) {
        let now = self.cx.now;
        let longest = now + self.cx.settings.request_timeout;
        let until = (now + Span::from_millis(ms.unsigned_abs())).min(longest);
        self.cx.net.conns[slot].throttled_until = until;
        self.dirty = true;
    }
}
