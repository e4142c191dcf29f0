//! What the application's threads and the background thread share.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Poll, Waker};
use std::time::Duration;

use kavka_core::{Error as Core, Misuse, Start};

use super::chunk::{Chunk, Commit, Entry, Spare, Unpacked};
use super::membership::MemberId;
use crate::codec::Decoders;
use crate::driver;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Hub};
use crate::metrics::ConsumerMetrics;
use crate::pending::{Cell, Pending, Setter, Slots, lock};
use crate::wakers::{Ticket, Wakers};

pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) hub: Hub,
    pub(super) spare: Arc<Spare>,
    waker: OnceLock<driver::Waker>,
    /// Bytes that may wait for the application.
    limit: usize,
    /// Of the thread that takes a chunk: locked from before it leaves the queue until what is not
    /// unpacked of it is back there. Locked before the state.
    decoders: Mutex<Decoders>,
    /// Bytes that a batch may unpack to.
    unpacked_limit: usize,
}

#[derive(Default)]
struct State {
    chunks: VecDeque<Result<Part, Error>>,
    bytes: usize,
    /// The background thread is to be woken when half of the space is free.
    blocked: bool,
    wakers: Wakers,
    closed: Option<Error>,
    partitions: HashMap<Arc<str>, HashMap<u32, At>>,
    commands: VecDeque<Command>,
    requested: Vec<Requested>,
    /// Of a group; whether it commits by itself.
    grouped: bool,
    commits: bool,
    /// Partitions of the chunk that the application took last: when it comes back it is done with
    /// them.
    fresh: Vec<(Arc<str>, u32)>,
    /// Partitions whose positions the background thread does not know yet.
    marks: Vec<(Arc<str>, u32)>,
    /// The background thread waits for the application to be done with some.
    revoking: bool,
    /// How often the application has come for records.
    polls: u64,
    /// The background thread waits for that.
    away: bool,
}

/// What the background thread reports on request.
pub(super) enum Requested {
    Metrics(Setter<ConsumerMetrics>),
    /// What keeps a partition from being read.
    Obstacle(Arc<str>, u32, Setter<Option<Error>>),
    Commit(Vec<Commit>, Setter<()>),
    Release(Arc<str>, u32, Setter<()>),
    Committed(Arc<str>, u32, Setter<Option<i64>>),
    Membership(Setter<Option<MemberId>>),
    /// Leave the group, within this time.
    Leave(Duration, Setter<()>),
}

/// A partition as the application has it.
#[derive(Default)]
struct At {
    epoch: u32,
    position: Option<i64>,
    paused: bool,
    /// Leader epoch of the record before the position, -1 for unknown.
    leader_epoch: i32,
    /// The position up to which the application is done.
    done: Option<i64>,
}

/// What waits for the application, in order.
enum Part {
    Chunk(Chunk),
    End(End),
}

/// A partition was read to its end, which may lie behind the last record.
pub(super) struct End {
    pub(super) topic: Arc<str>,
    pub(super) partition: u32,
    pub(super) epoch: u32,
    pub(super) offset: i64,
}

/// A command for the background thread.
pub(super) struct Command {
    pub(super) topic: Arc<str>,
    pub(super) partition: u32,
    pub(super) epoch: u32,
    pub(super) what: What,
    pub(super) done: Setter<()>,
}

#[derive(Clone, Copy)]
pub(super) enum What {
    Assign(Start),
    Unassign,
    Seek(Start),
    Pause,
    /// The batch at this offset cannot be unpacked, or what is there cannot be read.
    Park(i64),
    /// From the application's position, `None` when it has taken nothing yet.
    Resume(Option<i64>),
}

impl Shared {
    pub(super) fn new(limit: usize, chunk_bytes: usize, unpacked_limit: usize) -> Self {
        Self {
            state: Mutex::default(),
            hub: Hub::default(),
            spare: Arc::new(Spare::new(chunk_bytes)),
            waker: OnceLock::new(),
            limit,
            decoders: Mutex::default(),
            unpacked_limit,
        }
    }

    pub(super) fn set_waker(&self, waker: driver::Waker) {
        // Set once, by the caller that starts the thread.
        let _ = self.waker.set(waker);
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.get() {
            waker.wake();
        }
    }

    // The application's side.

    pub(super) fn command(&self, topic: &str, partition: u32, mut what: What) -> Pending<()> {
        let (done, pending) = Cell::pair();
        if let What::Assign(start) | What::Seek(start) = what
            && let Start::Offset(negative @ ..0) | Start::Timestamp(negative @ ..0) = start
        {
            let error = Error::from(Core::Caller(Misuse::Negative));
            done.set(Err(error.doing(format!("{topic}, partition {partition}, {negative}"))));
            return pending;
        }
        let mut state = lock(&self.state);
        if state.closed.is_some() {
            return pending; // dropping `done` reports "closed"
        }
        let at = state.at(topic, partition);
        // What was fetched so far is not delivered.
        at.epoch += u32::from(!matches!(what, What::Assign(_)));
        match &mut what {
            What::Assign(_) | What::Park(_) => {}
            What::Seek(Start::Offset(offset)) => {
                (at.position, at.done, at.leader_epoch) = (Some(*offset), Some(*offset), -1);
            }
            What::Seek(_) | What::Unassign => (at.position, at.done) = (None, None),
            What::Pause => at.paused = true,
            What::Resume(position) => {
                *position = at.position;
                at.paused = false;
            }
        }
        let epoch = at.epoch;
        let topic = Arc::<str>::from(topic);
        if state.grouped && matches!(what, What::Seek(_)) {
            state.marks.push((topic.clone(), partition));
        }
        state.commands.push_back(Command { topic, partition, epoch, what, done });
        drop(state);
        self.wake();
        pending
    }

    pub(super) fn submit(&self, requested: Requested) {
        let mut state = lock(&self.state);
        if state.closed.is_some() {
            return; // dropping `done` reports "closed"
        }
        state.requested.push(requested);
        drop(state);
        self.wake();
    }

    pub(super) fn position(&self, topic: &str, partition: u32) -> Option<i64> {
        lock(&self.state).partitions.get(topic)?.get(&partition)?.position
    }

    /// The next chunk that the application still wants; `None` when there is none now.
    pub(super) fn try_pop(&self) -> Option<Result<Chunk, Error>> {
        let mut decoders = lock(&self.decoders);
        loop {
            let popped = self.pop(&mut lock(&self.state))?;
            if let Some(got) = self.unpack(&mut decoders, popped) {
                return Some(got);
            }
        }
    }

    /// Unpacks what was popped and hands it over; `None` when nothing is left of it.
    fn unpack(
        &self,
        decoders: &mut Decoders,
        popped: Result<Chunk, Error>,
    ) -> Option<Result<Chunk, Error>> {
        let mut chunk = match popped {
            Ok(chunk) if chunk.is_packed() => chunk,
            other => return Some(other),
        };
        let mut done = chunk.unpack(&self.spare, decoders, self.unpacked_limit).into_iter();
        let mut state = lock(&self.state);
        let (mut failed, mut parked) = (Vec::new(), false);
        if let Some(rest) = chunk.split_off(done.len()) {
            state.bytes += rest.size();
            state.chunks.push_front(Ok(Part::Chunk(rest)));
        }
        chunk.batches.retain(|entry| {
            let (error, whole) = match done.next() {
                Some(Unpacked::Nothing(error)) => (Some(error), false),
                Some(Unpacked::Part(error)) => (Some(error), true),
                Some(Unpacked::Whole) | None => (None, true),
            };
            let accepted =
                whole && state.accept(&entry.topic, entry.partition, entry.epoch, entry.end());
            if let Some(error) = error
                && state.park(entry, if whole { entry.next_offset } else { entry.position })
            {
                failed.push(error);
                parked = true;
            }
            accepted
        });
        for error in failed.into_iter().rev() {
            state.chunks.push_front(Err(error));
        }
        drop(state);
        if parked {
            self.wake();
        }
        (!chunk.batches.is_empty()).then_some(Ok(chunk))
    }

    /// Takes the next chunk. The positions of one that has to be unpacked do not move yet.
    fn pop(&self, state: &mut State) -> Option<Result<Chunk, Error>> {
        state.polls = state.polls.wrapping_add(1);
        if state.confirm() && state.revoking || state.away {
            state.away = false;
            self.wake();
        }
        while let Some(chunk) = state.chunks.pop_front() {
            let mut chunk = match chunk {
                Ok(Part::Chunk(chunk)) => chunk,
                Ok(Part::End(end)) => {
                    let to = (end.offset, None);
                    if state.accept(&end.topic, end.partition, end.epoch, to) {
                        let End { topic, partition, offset, .. } = end;
                        self.hub
                            .report(|| Some(Event::EndOfPartition { topic, partition, offset }));
                    }
                    continue;
                }
                Err(error) => return Some(Err(error)),
            };
            state.bytes = state.bytes.saturating_sub(chunk.size());
            if !chunk.is_packed() {
                chunk.batches.retain(|entry| {
                    state.accept(&entry.topic, entry.partition, entry.epoch, entry.end())
                });
            }
            if state.blocked && state.bytes <= self.limit / 2 {
                state.blocked = false;
                self.wake();
            }
            if !chunk.batches.is_empty() {
                return Some(Ok(chunk));
            }
        }
        state.closed.clone().map(Err)
    }

    pub(super) fn close(&self) {
        lock(&self.state).closed.get_or_insert_with(|| ErrorKind::Closed.into());
        self.wake();
    }

    // The background thread's side.

    /// Partitions are a group's from now on.
    pub(super) fn group(&self, commits: bool) {
        let mut state = lock(&self.state);
        (state.grouped, state.commits) = (true, commits);
    }

    /// The application is done with all that it has taken.
    pub(super) fn confirm(&self) {
        lock(&self.state).confirm();
    }

    /// Returns positions that the application is done with and that were not returned before, with
    /// the leader epoch of the record before each.
    pub(super) fn take_marks(&self) -> Vec<(Arc<str>, u32, i64, i32)> {
        let mut state = lock(&self.state);
        let marks = core::mem::take(&mut state.marks);
        let of = |(topic, partition): (Arc<str>, u32)| {
            let at = state.partitions.get(&topic)?.get(&partition)?;
            Some((topic, partition, at.done?, at.leader_epoch))
        };
        marks.into_iter().filter_map(of).collect()
    }

    /// A partition is taken away: what was fetched of it is not delivered any more.
    pub(super) fn revoke(&self, topic: &str, partition: u32) {
        lock(&self.state).at(topic, partition).epoch += 1;
    }

    /// A partition is gone.
    pub(super) fn forget(&self, topic: &str, partition: u32) {
        let mut state = lock(&self.state);
        let at = state.at(topic, partition);
        *at = At { epoch: at.epoch + 1, ..At::default() };
    }

    /// Whether the application is done with a partition that is being taken away, of which the
    /// group has committed this offset.
    pub(super) fn is_done(&self, topic: &str, partition: u32, committed: Option<i64>) -> bool {
        let mut state = lock(&self.state);
        let commits = state.commits;
        let at = state.at(topic, partition);
        match at.position {
            None => true,
            Some(position) if commits => at.done == Some(position),
            Some(position) => committed.is_some_and(|committed| committed >= position),
        }
    }

    /// Returns how often the application has come for records; `None` while it waits for some.
    pub(super) fn polls(&self) -> Option<u64> {
        let state = lock(&self.state);
        (!state.wakers.is_waited_for()).then_some(state.polls)
    }

    /// The background thread is to be woken when the application comes for records.
    pub(super) fn await_poll(&self) {
        lock(&self.state).away = true;
    }

    pub(super) fn set_revoking(&self, revoking: bool) {
        lock(&self.state).revoking = revoking;
    }

    /// Returns the epoch of a partition that is assigned.
    pub(super) fn epoch(&self, topic: &str, partition: u32) -> u32 {
        lock(&self.state).at(topic, partition).epoch
    }

    /// The command named a partition that is not being read: it is not paused, and there is no
    /// position in it.
    pub(super) fn refused(&self, topic: &str, partition: u32) {
        let mut state = lock(&self.state);
        let at = state.at(topic, partition);
        (at.paused, at.position) = (false, None);
    }

    /// `None`: closed.
    pub(super) fn commands(&self) -> Option<VecDeque<Command>> {
        let mut state = lock(&self.state);
        state.closed.is_none().then(|| core::mem::take(&mut state.commands))
    }

    pub(super) fn take_requested(&self) -> Vec<Requested> {
        core::mem::take(&mut lock(&self.state).requested)
    }

    /// Bytes that wait for the application.
    pub(super) fn depth(&self) -> usize {
        lock(&self.state).bytes
    }

    /// Hands a chunk or an error over.
    pub(super) fn push(&self, chunk: Result<Chunk, Error>) {
        let size = chunk.as_ref().map_or(0, Chunk::size);
        self.push_part(chunk.map(Part::Chunk), size);
    }

    /// Hands an error over, unless something waits already: it is not urgent.
    pub(super) fn push_if_empty(&self, error: Error) {
        let is_empty = lock(&self.state).chunks.is_empty();
        if is_empty {
            self.push(Err(error));
        }
    }

    /// Reports, in its place among the records, that a partition was read to its end.
    pub(super) fn push_end(&self, end: End) {
        self.push_part(Ok(Part::End(end)), 0);
    }

    fn push_part(&self, part: Result<Part, Error>, size: usize) {
        let mut state = lock(&self.state);
        state.bytes += size;
        state.chunks.push_back(part);
        let woken = state.wakers.take();
        drop(state);
        woken.wake();
    }

    /// Whether too much waits already. If so the thread is woken when half of it is gone.
    pub(super) fn is_full(&self) -> bool {
        let mut state = lock(&self.state);
        state.blocked |= state.bytes >= self.limit;
        state.blocked
    }

    pub(super) fn abort(&self, error: &Error) {
        let mut state = lock(&self.state);
        state.closed = Some(error.clone());
        state.commands.clear(); // reports "closed"
        let requested = core::mem::take(&mut state.requested);
        let woken = state.wakers.take();
        drop(state);
        drop(requested);
        woken.wake();
        self.hub.close(error);
    }

    pub(super) fn is_closed(&self) -> bool {
        lock(&self.state).closed.is_some()
    }
}

impl State {
    /// The application is done with what it took last. Returns whether there was something.
    fn confirm(&mut self) -> bool {
        if self.fresh.is_empty() {
            return false;
        }
        for (topic, partition) in core::mem::take(&mut self.fresh) {
            let at = self.at(&topic, partition);
            if at.done != at.position {
                at.done = at.position;
                self.marks.push((topic, partition));
            }
        }
        true
    }

    fn note_fresh(&mut self, topic: &Arc<str>, partition: u32) {
        let same = |(name, index): &(Arc<str>, u32)| *index == partition && name == topic;
        if !self.fresh.last().is_some_and(same) {
            self.fresh.push((topic.clone(), partition));
        }
    }

    fn at(&mut self, topic: &str, partition: u32) -> &mut At {
        if !self.partitions.contains_key(topic) {
            self.partitions.insert(topic.into(), HashMap::new());
        }
        self.partitions.entry(topic.into()).or_default().entry(partition).or_default()
    }

    /// The position stays where a batch cannot be unpacked, or read further, and what was fetched
    /// after it is dropped; the partition waits for a seek. False when the application wants none
    /// of it.
    fn park(&mut self, entry: &Entry, offset: i64) -> bool {
        let (topic, partition) = (entry.topic.clone(), entry.partition);
        let at = self.at(&topic, partition);
        if at.epoch != entry.epoch || at.paused {
            return false;
        }
        at.epoch += 1;
        at.position = Some(offset);
        let (epoch, what) = (at.epoch, What::Park(offset));
        let done = Cell::pair().0;
        self.commands.push_back(Command { topic, partition, epoch, what, done });
        true
    }

    /// Whether the application still wants what was read in an epoch of a partition; if so its
    /// position moves to what comes after it.
    fn accept(
        &mut self,
        topic: &Arc<str>,
        partition: u32,
        epoch: u32,
        (next_offset, leader_epoch): (i64, Option<i32>),
    ) -> bool {
        let grouped = self.grouped;
        let known = self.partitions.get_mut(topic);
        let at = match known.and_then(|partitions| partitions.get_mut(&partition)) {
            Some(at) => at,
            None => self.at(topic, partition),
        };
        let wanted = at.epoch == epoch && !at.paused;
        if wanted {
            at.position = Some(next_offset);
            at.leader_epoch = leader_epoch.unwrap_or(at.leader_epoch);
            if grouped {
                self.note_fresh(topic, partition);
            }
        }
        wanted
    }
}

impl Slots<Chunk> for Shared {
    fn poll(
        &self,
        _: u32,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
    ) -> Poll<Result<Chunk, Error>> {
        let mut decoders = lock(&self.decoders);
        loop {
            let mut state = lock(&self.state);
            let popped = self.pop(&mut state);
            let old = match &popped {
                Some(_) => state.wakers.leave(ticket),
                None => state.wakers.wait(ticket, waker),
            };
            drop(state);
            drop(old);
            let Some(popped) = popped else { return Poll::Pending };
            if let Some(got) = self.unpack(&mut decoders, popped) {
                return Poll::Ready(got);
            }
        }
    }

    fn leave(&self, _: u32, ticket: &mut Option<Ticket>) {
        let old = lock(&self.state).wakers.leave(ticket);
        drop(old);
    }

    #[cfg(feature = "stream")]
    fn is_over(&self) -> bool {
        let state = lock(&self.state);
        state.closed.is_some() && state.chunks.is_empty()
    }
}
