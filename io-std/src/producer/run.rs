//! The producer's background thread.

mod late;
mod stuck;
mod transactions;
mod turns;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant as StdInstant};

use kavka_core::wire::ApiKey;
use kavka_core::{
    Commands, Error as Core, Event, Instant, LimitKind, PeerFault, ProduceError, RecordId, Target,
    TopicId, TopicPartition,
};

use super::batches::Batches;
use super::chunk::{Chunk, Failure, Outcome, Packed};
use super::counts::Counts;
use super::inbox::{Close, Failures, Inbox, Item, Reported, Requested, Sleep, Standing};
use super::parked::{PER_RECORD, Parked, Place, Waiting};
use super::refusals::Refusals;
use crate::config::Config;
use crate::driver::{self, Driver, Waker};
use crate::error::{Error, ErrorKind};
use crate::event::{Freshness, explained, located, owned, refused};
use crate::lost::Lost;
use crate::metrics::ProducerMetrics;
use crate::pending::{Setter, lock};
use crate::reasons::Reasons;
use crate::worker::wall_clock;
use stuck::Stuck;
use turns::Turns;

pub(super) fn run(
    config: &Config,
    mut driver: Driver<'_>,
    waker: Waker,
    inbox: &Arc<Inbox>,
    lost: &Mutex<Lost>,
) {
    inbox.set_waker(waker);
    let mut run = Run::new(config, inbox, lost);
    loop {
        if run.work.is_empty() {
            inbox.take(&mut run.work);
            run.took = !run.work.is_empty();
        }
        let Requested { close, sooner, metrics, until } = inbox.take_requested();
        run.close = run.close.take().or(close);
        if let (Some(close), Some(_)) = (&mut run.close, sooner) {
            close.until = [close.until, sooner].into_iter().flatten().min();
        }
        run.until = [run.until, until].into_iter().flatten().min();
        for done in metrics {
            done.set(Ok(run.metrics(&driver)));
        }
        if run.is_over() {
            run.ended = ErrorKind::Closed.into();
            if !run.settled {
                run.obstacle = Some(run.reasons.timed_out(&driver, driver.last_failure()));
                run.unsure = unsure(&driver);
            }
            return; // `Run::drop` accounts for what is left
        }
        let now = driver.now();
        driver.set_wall_clock(now, wall_clock());
        run.expire(&driver);
        run.work(&mut driver, now);
        let timeout = run.sleep(&mut driver);
        if let Err(error) = driver.turn(timeout) {
            run.ended = error.into();
            return;
        }
        run.events(&mut driver);
        run.stuck.look(&driver, driver.now(), run.handed > run.reported, &inbox.hub);
    }
}

struct Run<'a> {
    config: &'a Config,
    inbox: &'a Inbox,
    lost: &'a Mutex<Lost>,
    work: VecDeque<Item>,
    /// There was some at the last check.
    took: bool,
    /// The chunk at work.
    current: Option<Current>,
    /// Counts chunks.
    chunk: u64,
    topics: Vec<Topic>,
    /// Topics with parked records, and the bytes of all of those.
    waiting: Vec<u32>,
    parked: usize,
    /// Topics of which the inbox does not know the latest.
    unreported: Vec<u32>,
    /// Those that the machine knows; more names than it has places for take turns.
    places: VecDeque<u32>,
    batches: Batches,
    /// The machine said `Full`, and not yet `Room`.
    full: bool,
    flushes: VecDeque<Flush>,
    /// No record that waits has a deadline of its own before this.
    until: Option<u64>,
    /// The end that was requested, and whether all that was sent before is acknowledged or failed.
    close: Option<Close>,
    settled: bool,
    questions: Vec<Expected>,
    turns: Turns,
    failures: Failures,
    refusals: Refusals,
    /// Records that the machine took, and whose outcome it reported.
    handed: u64,
    reported: u64,
    counts: Counts,
    reasons: Reasons,
    stuck: Stuck,
    buffers: Vec<Vec<u8>>,
    /// The error for all waiters when this thread ends.
    ended: Error,
    /// What stood in the way of records that were still waiting when the time for closing was over.
    obstacle: Option<Error>,
    /// Where records are lost that were not acknowledged.
    unsure: Vec<(Arc<str>, u32, u64)>,
}

#[derive(Default)]
struct Topic {
    id: Option<TopicId>,
    /// Something was sent since the last search for an unused topic.
    touched: bool,
    /// Records for it that came while it, or the partition of one before, was not known.
    parked: Parked,
    /// Why it cannot be used, as last reported.
    failed: Option<Core>,
    /// Since when its keys wait no longer for what was produced before it grew.
    drained: Instant,
    /// Whether the machine took any, and what was not reported to the inbox yet.
    taken: bool,
    unreported: bool,
    left: usize,
    more: usize,
}

/// The chunk at work.
struct Current {
    bytes: Vec<u8>,
    at: usize,
    from: Place,
}

struct Flush {
    /// Chunks before this one are meant.
    before: u64,
    started: bool,
    /// `None`: the thread ends after it.
    done: Option<Setter<()>>,
}

struct Expected {
    topic: u32,
    until: Instant,
    report: Setter<Freshness>,
}

/// What the machine did with a record.
enum Step {
    Done,
    Full,
    NotReady,
}

impl<'a> Run<'a> {
    fn new(config: &'a Config, inbox: &'a Inbox, lost: &'a Mutex<Lost>) -> Self {
        Self {
            config,
            inbox,
            lost,
            work: VecDeque::new(),
            took: false,
            current: None,
            chunk: 0,
            topics: Vec::new(),
            waiting: Vec::new(),
            parked: 0,
            unreported: Vec::new(),
            places: VecDeque::new(),
            batches: Batches::default(),
            full: false,
            flushes: VecDeque::new(),
            until: None,
            close: None,
            settled: false,
            questions: Vec::new(),
            turns: Turns::default(),
            failures: Failures::default(),
            refusals: Refusals::default(),
            handed: 0,
            reported: 0,
            counts: Counts::default(),
            reasons: Reasons::default(),
            stuck: Stuck::default(),
            buffers: Vec::new(),
            ended: ErrorKind::Panicked.into(),
            obstacle: None,
            unsure: Vec::new(),
        }
    }

    /// Hands over as much as the machine takes.
    fn work(&mut self, driver: &mut Driver<'_>, now: Instant) {
        self.retry_parked(driver, now);
        while !self.full && !self.is_held(driver, now) {
            if self.current.is_some() {
                self.hand_over(driver, now);
                continue;
            }
            match self.work.pop_front() {
                None => break,
                Some(Item::Chunk(chunk)) => self.begin(chunk),
                Some(Item::Flush { done }) => self.flush(Some(done)),
                Some(item @ (Item::Turn(_) | Item::Close)) => self.take_turn(driver, now, item),
                Some(Item::Know { topic, report }) => {
                    let until = now + self.config.topic_timeout;
                    self.open_topic(driver, topic);
                    self.questions.push(Expected { topic, until, report });
                }
            }
        }
        self.respond(driver, now);
        self.start_flush(driver, now);
    }

    fn flush(&mut self, done: Option<Setter<()>>) {
        let awaited = |done: &Setter<()>| done.is_awaited();
        let forgotten = |flush: &Flush| !flush.started && !flush.done.as_ref().is_some_and(awaited);
        if self.flushes.back().is_some_and(forgotten) {
            self.flushes.pop_back();
        }
        self.flushes.push_back(Flush { before: self.chunk, started: false, done });
    }

    /// Whether the thread is to end: all is settled, or the time for it is over.
    fn is_over(&self) -> bool {
        let over = |until: StdInstant| until <= StdInstant::now();
        self.settled || self.close.as_ref().is_some_and(|close| close.until.is_some_and(over))
    }

    fn begin(&mut self, chunk: Chunk) {
        let seq = self.chunk;
        self.chunk += 1;
        // With one handle left no caller can begin to wait.
        let watched = Arc::strong_count(&chunk.outcomes) > 1;
        if watched {
            self.batches.watch(seq, chunk.count, chunk.over, chunk.outcomes);
        }
        let from = Place { chunk: seq, watched, place: 0 };
        self.current = Some(Current { bytes: chunk.bytes, at: 0, from });
    }

    /// The chunk at work, up to its end or `Full`.
    fn hand_over(&mut self, driver: &mut Driver<'_>, now: Instant) {
        let Some(Current { bytes, mut at, mut from }) = self.current.take() else { return };
        // The topic of the last record, and bytes of it that left: mostly one topic after itself.
        let mut run = (0, 0);
        // And what the machine knows it as: only another topic can take its slot meanwhile.
        let mut opened = None;
        while let Some(packed) = bytes.get(at..).and_then(Packed::read) {
            let step = match opened {
                _ if packed.is_over => {
                    self.turns.note(&ErrorKind::Kafka(Core::TimedOut).into());
                    Step::Done
                }
                Some((topic, id)) if topic == packed.topic => {
                    self.produce_to(driver, now, id, &packed, &from)
                }
                // After the others of its topic.
                _ if self.is_parked(packed.topic) => Step::NotReady,
                _ => {
                    let step = self.produce(driver, now, &packed, &from);
                    opened = self.id_of(packed.topic).map(|id| (packed.topic, id));
                    step
                }
            };
            let end = at + packed.size;
            match step {
                Step::Done => {
                    if run.0 != packed.topic {
                        self.left(run.0, run.1);
                        run = (packed.topic, 0);
                    }
                    run.1 += packed.size;
                }
                Step::Full => {
                    self.left(run.0, run.1);
                    self.full = true;
                    self.current = Some(Current { bytes, at, from });
                    return;
                }
                Step::NotReady => {
                    opened = None;
                    let record = bytes.get(at..end).unwrap_or_default();
                    self.park(packed.topic, record, from, now);
                }
            }
            at = end;
            from.place += 1;
        }
        self.left(run.0, run.1);
        let size = bytes.len();
        self.buffers.push(bytes);
        self.report_inbox(size);
    }

    fn id_of(&self, topic: u32) -> Option<TopicId> {
        self.topics.get(topic as usize)?.id
    }

    fn is_parked(&self, topic: u32) -> bool {
        self.topics.get(topic as usize).is_some_and(|topic| !topic.parked.is_empty())
    }

    /// A record waits for its topic, apart from its chunk.
    fn park(&mut self, topic: u32, record: &[u8], from: Place, now: Instant) {
        let Some(entry) = self.topics.get_mut(topic as usize) else { return };
        if entry.parked.is_empty() {
            self.waiting.push(topic);
        }
        entry.parked.push(record, from, now);
        entry.more += PER_RECORD;
        self.parked += record.len() + PER_RECORD;
        self.changed(topic);
    }

    /// The machine took `bytes` of a topic, or they failed.
    fn left(&mut self, topic: u32, bytes: usize) {
        let Some(entry) = self.topics.get_mut(topic as usize) else { return };
        entry.left += bytes;
        if !entry.unreported {
            self.changed(topic);
        }
    }

    fn changed(&mut self, topic: u32) {
        if let Some(entry) = self.topics.get_mut(topic as usize)
            && !core::mem::replace(&mut entry.unreported, true)
        {
            self.unreported.push(topic);
        }
    }

    /// Reports to the inbox what changed, and that `queued` bytes of it are in the machine or
    /// parked.
    fn report_inbox(&mut self, queued: usize) {
        let topics = &mut self.topics;
        let reported = self.unreported.drain(..).filter_map(|topic| {
            let entry = topics.get_mut(topic as usize)?;
            entry.unreported = false;
            let standing = match (entry.parked.is_empty(), entry.taken) {
                (false, _) => Standing::Parked,
                (true, true) => Standing::Taken,
                (true, false) => Standing::New,
            };
            let (left, more) = (entry.left, entry.more);
            (entry.left, entry.more) = (0, 0);
            Some(Reported { topic, left, more, standing })
        });
        self.inbox.taken(queued, self.parked, reported, &mut self.buffers);
    }

    fn open_topic(&mut self, driver: &mut Driver<'_>, topic: u32) {
        let index = topic as usize;
        if self.topics.len() <= index {
            self.topics.resize_with(index + 1, Topic::default);
        }
        let Some(entry) = self.topics.get_mut(index) else { return };
        match entry.id {
            Some(id) if driver.topic_name(id).is_some() => return,
            // It was not used for so long that the machine evicted it.
            Some(_) => {
                (entry.id, entry.failed) = (None, None);
                self.places.retain(|other| *other != topic);
            }
            None if entry.failed.is_some() => return,
            None => {}
        }
        let Some(name) = self.inbox.name(topic) else { return };
        let mut opened = driver.topic(&name);
        while let Err(Core::Limit { what: LimitKind::Topics, .. }) = opened
            && !self.places.is_empty()
        {
            if !self.make_room(driver) {
                return; // it waits for a slot
            }
            opened = driver.topic(&name);
        }
        let Some(entry) = self.topics.get_mut(index) else { return };
        match opened {
            Ok(id) => {
                entry.id = Some(id);
                self.places.push_back(topic);
                let order = self.config.topic_key_order.get(&*name);
                let _ = driver.set_key_order(id, *order.unwrap_or(&self.config.key_order));
                if let Some((count, wait)) = self.config.topic_key_count.get(&*name) {
                    let now = driver.now();
                    let _ = driver.set_key_count(now, id, *count, *wait);
                }
            }
            Err(error) => entry.failed = Some(error),
        }
    }

    /// Frees a slot in the machine for another topic: one that was not used for long is forgotten,
    /// unless something of it waits or is in flight.
    fn make_room(&mut self, driver: &mut Driver<'_>) -> bool {
        for _ in 0..2 * self.places.len() {
            let Some(topic) = self.places.pop_front() else { break };
            let requested = self.questions.iter().any(|expected| expected.topic == topic);
            let Some(entry) = self.topics.get_mut(topic as usize) else { continue };
            let Some(id) = entry.id else { continue };
            let touched = core::mem::take(&mut entry.touched);
            if touched || requested || !entry.parked.is_empty() {
                self.places.push_back(topic);
                continue;
            }
            driver.unwatch(id);
            if driver.topic_name(id).is_none() {
                (entry.id, entry.failed) = (None, None);
                return true;
            }
            // Batches are in flight: it stays, under the same id.
            if let Some(name) = self.inbox.name(topic) {
                entry.id = driver.topic(&name).ok();
                self.places.push_back(topic);
            }
        }
        false
    }

    fn produce(
        &mut self,
        driver: &mut Driver<'_>,
        now: Instant,
        packed: &Packed<'_>,
        from: &Place,
    ) -> Step {
        self.open_topic(driver, packed.topic);
        let topic = self.topics.get_mut(packed.topic as usize);
        let Some(Topic { id: Some(id), touched, .. }) = topic else {
            let Some(error) = topic.and_then(|topic| topic.failed) else { return Step::NotReady };
            self.refuse(from, packed.topic, ErrorKind::Kafka(error));
            return Step::Done;
        };
        *touched = true;
        let id = *id;
        self.produce_to(driver, now, id, packed, from)
    }

    /// The same for a topic that the machine knows.
    fn produce_to(
        &mut self,
        driver: &mut Driver<'_>,
        now: Instant,
        id: TopicId,
        packed: &Packed<'_>,
        from: &Place,
    ) -> Step {
        let target = match packed.partition {
            Some(partition) => Target::from((id, partition)),
            None => Target::from(id),
        };
        let produced = match packed.until {
            None => driver.produce_packed(now, target, &packed.record),
            Some(until) => {
                let left = Duration::from_micros(until.saturating_sub(self.inbox.micros()));
                if left.is_zero() {
                    self.refuse(
                        from,
                        packed.topic,
                        self.reasons.timed_out(driver, driver.last_failure()),
                    );
                    return Step::Done;
                }
                driver.produce_packed_until(now, target, &packed.record, now + left)
            }
        };
        match produced {
            Ok(record) => {
                let bytes = packed.record.bytes().len();
                self.counts.took(now, packed.topic, record, bytes);
                self.took(packed.topic, from, record);
            }
            Err(ProduceError::Full) => return Step::Full,
            Err(ProduceError::NotReady) => return Step::NotReady,
            Err(ProduceError::TooLarge { max }) => {
                self.refuse(from, packed.topic, ErrorKind::RecordTooLarge { max });
            }
            Err(ProduceError::Refused(error)) => {
                let obstacle = driver.obstacle_of_topic(id);
                self.refuse(from, packed.topic, explained(error, obstacle, driver, None));
            }
            Err(other) => self.refuse(from, packed.topic, ErrorKind::ProduceRefused(other)),
        }
        Step::Done
    }

    fn took(&mut self, topic: u32, from: &Place, record: RecordId) {
        self.handed += 1;
        if let Some(topic) = self.topics.get_mut(topic as usize) {
            topic.taken = true;
        }
        if from.watched {
            self.batches.note(from.chunk, from.place, record);
        }
    }

    /// A record fails without having been sent.
    fn refuse(&mut self, from: &Place, topic: u32, why: impl Into<Error>) {
        self.refuse_at(from, topic, None, why);
    }

    fn refuse_at(
        &mut self,
        from: &Place,
        topic: u32,
        partition: Option<u32>,
        why: impl Into<Error>,
    ) {
        let name = self.inbox.name(topic).unwrap_or_default();
        let doing = match partition {
            Some(partition) => format!("produce to {name}, partition {partition}"),
            None => format!("produce to {name}"),
        };
        self.fail(from, &name, why.into().doing(doing));
    }

    fn metrics(&mut self, driver: &Driver<'_>) -> ProducerMetrics {
        let Self { topics, inbox, counts, .. } = self;
        let mut metrics = counts.metrics(driver, |topic| {
            let id = topics.get(topic as usize).and_then(|topic| topic.id);
            Some((inbox.name(topic)?, id))
        });
        (metrics.queue_bytes, metrics.parked_bytes) = self.inbox.depth();
        metrics.in_flight = self.handed.saturating_sub(self.reported);
        metrics
    }

    fn fail(&mut self, from: &Place, name: &str, error: Error) {
        self.counts.refused(name);
        self.turns.note(&error);
        let failure = Failure::new(error, 1);
        self.failures.add(failure.clone());
        self.batches.report(from.chunk, from.place, 1, |_| Outcome::Failed(failure.clone()));
    }

    fn start_flush(&mut self, driver: &mut Driver<'_>, now: Instant) {
        let oldest = self.oldest().map(|waiting| waiting.from.chunk).min().unwrap_or(u64::MAX);
        if let Some(flush) = self.flushes.front_mut()
            && !flush.started
            && oldest >= flush.before
        {
            flush.started = true;
            driver.flush(now);
        }
    }

    /// The topics with parked records.
    fn parked_topics(&self) -> impl Iterator<Item = &Topic> {
        self.waiting.iter().filter_map(|topic| self.topics.get(*topic as usize))
    }

    /// The oldest parked record of each topic.
    fn oldest(&self) -> impl Iterator<Item = &Waiting> {
        self.parked_topics().filter_map(|topic| Some(topic.parked.first()?.1))
    }

    /// How long the thread may sleep: not at all when there is something to take.
    fn sleep(&mut self, driver: &mut Driver<'_>) -> Option<Duration> {
        if self.full || self.turns.holds() {
            return self.patience(driver); // more would not help
        }
        if !self.work.is_empty() {
            return Some(Duration::ZERO);
        }
        let patience = self.patience(driver);
        // While records gather in the machine others gather in the inbox: they are taken before the
        // machine could conclude that no more come. When none came, the next one ends the sleep.
        let gathers = driver.gathers_until().filter(|_| self.took);
        if !self.inbox.sleep(if gathers.is_some() { Sleep::Lingering } else { Sleep::Asleep }) {
            return Some(Duration::ZERO);
        }
        let Some(until) = gathers else { return patience };
        let mut left = driver.now().until(until);
        if !self.config.linger_when_idle {
            left = left.min(self.config.linger / 8) * 3 / 4;
        }
        Some(patience.map_or(left, |most| most.min(left)))
    }

    /// Returns the time until a parked record or a request is given up, or the thread ends.
    fn patience(&self, driver: &Driver<'_>) -> Option<Duration> {
        let drains = |topic: &Topic| topic.id.is_some_and(|id| driver.drains(id));
        let parked = self.parked_topics().filter(|topic| !drains(topic)).filter_map(|topic| {
            Some(topic.parked.first()?.1.since.max(topic.drained) + self.config.topic_timeout)
        });
        let due = parked.chain(self.questions.iter().map(|expected| expected.until)).min();
        let due = due.into_iter().chain(self.stuck.due()).min();
        let left = due.map(|due| driver.now().until(due));
        let end = self.close.as_ref().and_then(|close| close.until);
        let end = end.map(|until| until.saturating_duration_since(StdInstant::now()));
        let over = self.until.map(|until| until.saturating_sub(self.inbox.micros()));
        left.into_iter().chain(end).chain(over.map(Duration::from_micros)).min()
    }

    fn events(&mut self, driver: &mut Driver<'_>) {
        let now = driver.now();
        let failure = driver.failure();
        while let Some((event, commands)) = driver.poll_event() {
            match event {
                Event::Room => self.full = false,
                Event::Flushed => self.flushed(),
                Event::Delivered { batch, to, first, count, base_offset } => {
                    self.reported += u64::from(count);
                    let name = commands.topic_name(to.topic).unwrap_or_default();
                    let topic = (name, commands.retries(to.topic));
                    self.counts.delivered(now, topic, batch, first, count);
                    let (partition, base) = (to.partition, base_offset);
                    self.refusals.forget(batch.get());
                    self.batches.resolve(batch.get(), first, count, |n| Outcome::Delivered {
                        partition,
                        offset: base.map_or(-1, |base| base.saturating_add(i64::from(n))),
                    });
                }
                Event::Refused { batch, record, code, text, .. } => {
                    self.refusals.add(batch.get(), record, code, text);
                }
                Event::Failed { batch, to, first, count, error, maybe_written } => {
                    self.reported += u64::from(count);
                    let name = commands.topic_name(to.topic).unwrap_or_default();
                    let topic = (name, commands.retries(to.topic));
                    self.counts.failed(topic, batch, first, count);
                    let doing = format!("produce to {name}, partition {}", to.partition);
                    let blamed = !matches!(error, Core::BatchRefused(_));
                    let error = failed(error, to, commands, failure.as_deref());
                    let error = error.doing(doing).with_maybe_written(maybe_written);
                    let code = match error.kind() {
                        ErrorKind::Kafka(Core::BatchRefused(code)) => Some(code),
                        _ => error.code(),
                    };
                    let records = (first, count);
                    for run in self.refusals.take(batch.get(), records, code, blamed) {
                        let error = match run.text {
                            Some(text) => error.clone().with_message(&*text),
                            None => error.clone(),
                        };
                        let failure = Failure::new(error, u64::from(run.count));
                        self.failures.add(failure.clone());
                        let outcome = |_| Outcome::Failed(failure.clone());
                        self.batches.resolve(batch.get(), run.first, run.count, outcome);
                    }
                }
                _ => {
                    self.transaction_event(&event);
                    let ended = matches!(event, Event::Disconnected { .. });
                    self.counts.disconnects += u64::from(ended);
                    self.topic_event(&event, commands, now);
                    self.reasons.note(&event, commands, failure.as_deref());
                    self.inbox.hub.report(|| owned(&event, commands, failure.as_deref()));
                }
            }
        }
        self.reasons.check(driver);
    }

    fn topic_event(&mut self, event: &Event<'_>, commands: &Commands<'_>, now: Instant) {
        if let Event::Drained { topic: id, .. } = *event
            && let Some(topic) = self.topics.iter_mut().find(|topic| topic.id == Some(id))
        {
            topic.drained = now;
        }
        let (id, failed) = match *event {
            Event::TopicReady { topic, .. } | Event::TopicRecreated { topic, .. } => (topic, None),
            Event::TopicFailed { topic, error } => (topic, Some(error)),
            _ => return,
        };
        if failed.is_some()
            && let Some(name) = commands.topic_name(id)
        {
            self.counts.topic_failed(name);
        }
        if let Some(topic) = self.topics.iter_mut().find(|topic| topic.id == Some(id)) {
            topic.failed = failed;
        }
    }

    fn flushed(&mut self) {
        if !self.flushes.front().is_some_and(|flush| flush.started) {
            return;
        }
        let Some(flush) = self.flushes.pop_front() else { return };
        match flush.done {
            Some(done) => {
                let report = self.failures.report();
                done.set(report.map_or(Ok(()), |(_, error)| Err(error)));
            }
            // What failed shows in what was lost.
            None => self.settled = true,
        }
    }
}

/// Returns topic, partition and count of the records that are not acknowledged.
fn unsure(driver: &Driver<'_>) -> Vec<(Arc<str>, u32, u64)> {
    let mut open = BTreeMap::new();
    driver.open_batches(|at, count| {
        let topic = driver.topic_name(at.topic).unwrap_or_default();
        *open.entry((topic, at.partition)).or_insert(0) += u64::from(count);
    });
    open.into_iter().map(|((topic, partition), count)| (topic.into(), partition, count)).collect()
}

/// Returns the error of records of a partition, with the address of its leader where that refused.
fn failed(
    error: Core,
    to: TopicPartition,
    commands: &Commands<'_>,
    failure: Option<&driver::Failure>,
) -> Error {
    let by_leader = match error {
        Core::Broker(_) | Core::BatchRefused(_) => true,
        Core::Peer(PeerFault::NoApi(api) | PeerFault::NoCommonVersion { api, .. }) => {
            api == ApiKey::PRODUCE
        }
        Core::Peer(PeerFault::NoCodec(_) | PeerFault::NoTopicIds { .. }) => true,
        _ => false,
    };
    match commands.leader_of(to).filter(|_| by_leader) {
        Some(leader) => refused(error, leader, Some(ApiKey::PRODUCE), commands, failure),
        None => located(error, commands, failure),
    }
}

impl Drop for Run<'_> {
    /// Also after a panic: no caller waits forever, and what is lost is counted.
    fn drop(&mut self) {
        // A caller that closes now waits for what was lost.
        let mut lost = lock(self.lost);
        let mut waiting = 0;
        let mut items = core::mem::take(&mut self.work);
        waiting += self.topics.iter().map(|topic| topic.parked.open()).sum::<u64>();
        if let Some(Current { bytes, at, .. }) = self.current.take() {
            let mut rest = bytes.get(at..).unwrap_or_default();
            while let Some(packed) = Packed::read(rest) {
                rest = rest.get(packed.size..).unwrap_or_default();
                waiting += u64::from(!packed.is_over);
            }
        }
        for item in items.drain(..) {
            if let Item::Chunk(chunk) = item {
                waiting += u64::from(chunk.count - chunk.over);
                chunk.outcomes.close(&self.ended);
            }
        }
        let (queued, close) = self.inbox.abort(&self.ended);
        waiting += queued;
        let sent = self.handed.saturating_sub(self.reported);
        let unsure = self.ended.clone().with_maybe_written(sent > 0);
        self.turns.close(&self.ended);
        self.batches.waited().for_each(|outcomes| outcomes.close(&unsure));
        let report = self.failures.report();
        let (failed, first) = report.map_or((0, None), |(failed, error)| (failed, Some(error)));
        let first = first.or_else(|| self.obstacle.take());
        let places = core::mem::take(&mut self.unsure);
        let all = Lost { unsent: waiting, unacknowledged: sent, places, failed, first };
        let Some(Close { done, .. }) = self.close.take().or(close) else {
            *lost = all;
            return;
        };
        drop(lost);
        if done.is_awaited() {
            done.set(Ok(all));
        } else {
            self.config.report_lost(&all);
        }
    }
}
