//! The producer's background thread.

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kavka_core::wire::ErrorCode;
use kavka_core::{
    Commands, Error as Core, Event, Instant, ProduceError, RecordId, Target, TopicId,
};

use super::Lost;
use super::batches::Batches;
use super::chunk::{Chunk, Failure, Outcome, Packed};
use super::inbox::{Failures, Inbox, Item, Sleep};
use crate::config::Config;
use crate::driver::{self, Driver, Waker};
use crate::error::{Error, ErrorKind};
use crate::event::{Freshness, owned};
use crate::pending::{Setter, lock};
use crate::worker::wall_clock;

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
            if !inbox.take(&mut run.work) {
                return; // closed; `Run::drop` accounts for what is left
            }
            run.took = !run.work.is_empty();
        } else if inbox.is_closed() {
            return;
        }
        let now = driver.now();
        driver.set_wall_clock(now, wall_clock());
        run.work(&mut driver, now);
        let timeout = run.sleep(&mut driver);
        if let Err(error) = driver.turn(timeout) {
            run.ended = error.into();
            return;
        }
        run.events(&mut driver);
    }
}

struct Run<'a> {
    config: &'a Config,
    inbox: &'a Inbox,
    lost: &'a Mutex<Lost>,
    work: VecDeque<Item>,
    /// There was some when it was looked for last.
    took: bool,
    /// The chunk at work.
    current: Option<Current>,
    /// Counts chunks.
    chunk: u64,
    topics: Vec<Topic>,
    batches: Batches,
    /// The machine said `Full`, and not yet `Room`.
    full: bool,
    flushes: VecDeque<Flush>,
    questions: Vec<Question>,
    failures: Failures,
    /// Records that the machine took, and that it told the outcome of.
    handed: u64,
    told: u64,
    buffers: Vec<Vec<u8>>,
    /// What they are told who wait when this thread ends.
    ended: Error,
}

#[derive(Default)]
struct Topic {
    id: Option<TopicId>,
    /// Records for it that came while it, or the partition of one before, was not known.
    parked: VecDeque<Parked>,
    /// Why it cannot be used, as last told.
    failed: Option<Core>,
}

/// A chunk's bytes, shared by those of its records that are parked.
struct Body {
    bytes: Vec<u8>,
    seq: u64,
    watched: bool,
}

struct Current {
    body: Rc<Body>,
    at: usize,
    place: u32,
}

struct Parked {
    body: Rc<Body>,
    at: usize,
    place: u32,
    since: Instant,
}

struct Flush {
    /// Chunks before this one are meant.
    before: u64,
    started: bool,
    report: bool,
    done: Setter<()>,
}

struct Question {
    topic: u32,
    until: Instant,
    tell: Setter<Freshness>,
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
            batches: Batches::default(),
            full: false,
            flushes: VecDeque::new(),
            questions: Vec::new(),
            failures: Failures::default(),
            handed: 0,
            told: 0,
            buffers: Vec::new(),
            ended: ErrorKind::Panicked.into(),
        }
    }

    /// Hands over as much as the machine takes.
    fn work(&mut self, driver: &mut Driver<'_>, now: Instant) {
        self.retry_parked(driver, now);
        while !self.full {
            if self.current.is_some() {
                self.hand_over(driver, now);
                continue;
            }
            match self.work.pop_front() {
                None => break,
                Some(Item::Chunk(chunk)) => self.begin(chunk),
                Some(Item::Flush { report, done }) => {
                    let before = self.chunk;
                    self.flushes.push_back(Flush { before, started: false, report, done });
                }
                Some(Item::Know { topic, tell }) => {
                    let until = now + self.config.topic_timeout;
                    self.open_topic(driver, topic);
                    self.questions.push(Question { topic, until, tell });
                }
            }
        }
        self.answer(driver, now);
        self.start_flush(driver, now);
    }

    fn begin(&mut self, chunk: Chunk) {
        let seq = self.chunk;
        self.chunk += 1;
        // Nobody can begin to wait any more: with one handle left nobody ever will.
        let watched = Arc::strong_count(&chunk.outcomes) > 1;
        if watched {
            self.batches.watch(seq, chunk.count, chunk.outcomes);
        }
        let body = Rc::new(Body { bytes: chunk.bytes, seq, watched });
        self.current = Some(Current { body, at: 0, place: 0 });
    }

    /// The chunk at work, up to its end or `Full`.
    fn hand_over(&mut self, driver: &mut Driver<'_>, now: Instant) {
        let Some(Current { body, mut at, mut place }) = self.current.take() else { return };
        while let Some(packed) = body.bytes.get(at..).and_then(Packed::read) {
            let topic = packed.topic as usize;
            self.open_topic(driver, packed.topic);
            let waiting = self.topics.get(topic).is_some_and(|topic| !topic.parked.is_empty());
            let step = if waiting {
                Step::NotReady // behind the others of its topic
            } else {
                self.produce(driver, now, &packed, &body, place)
            };
            match step {
                Step::Done => {}
                Step::Full => {
                    self.full = true;
                    self.current = Some(Current { body, at, place });
                    return;
                }
                Step::NotReady => {
                    if let Some(topic) = self.topics.get_mut(topic) {
                        topic.parked.push_back(Parked {
                            body: body.clone(),
                            at,
                            place,
                            since: now,
                        });
                    }
                }
            }
            at += packed.size;
            place += 1;
        }
        self.release(body);
    }

    /// Gives the bytes of a chunk back when its last record left.
    fn release(&mut self, body: Rc<Body>) {
        if let Ok(body) = Rc::try_unwrap(body) {
            let bytes = body.bytes.len();
            self.buffers.push(body.bytes);
            self.inbox.taken(bytes, &mut self.buffers);
        }
    }

    fn open_topic(&mut self, driver: &mut Driver<'_>, topic: u32) {
        let index = topic as usize;
        if self.topics.get(index).is_some_and(|topic| topic.id.is_some() || topic.failed.is_some())
        {
            return;
        }
        if self.topics.len() <= index {
            self.topics.resize_with(index + 1, Topic::default);
        }
        let Some(name) = self.inbox.name(topic) else { return };
        match driver.topic(&name) {
            Ok(id) => self.topics[index].id = Some(id),
            Err(error) => self.topics[index].failed = Some(error),
        }
    }

    fn produce(
        &mut self,
        driver: &mut Driver<'_>,
        now: Instant,
        packed: &Packed<'_>,
        body: &Body,
        place: u32,
    ) -> Step {
        let topic = self.topics.get(packed.topic as usize);
        let Some(id) = topic.and_then(|topic| topic.id) else {
            let error = topic.and_then(|topic| topic.failed).unwrap_or(Core::TimedOut);
            self.refuse(body, place, packed.topic, ErrorKind::Kafka(error));
            return Step::Done;
        };
        let target = match packed.partition {
            Some(partition) => Target::from((id, partition)),
            None => Target::from(id),
        };
        match driver.produce(now, target, &packed.record) {
            Ok(record) => self.took(body, place, record),
            Err(ProduceError::Full) => return Step::Full,
            Err(ProduceError::NotReady) => return Step::NotReady,
            Err(ProduceError::TooLarge { max }) => {
                self.refuse(body, place, packed.topic, ErrorKind::RecordTooLarge { max });
            }
            Err(ProduceError::Refused(error)) => {
                self.refuse(body, place, packed.topic, ErrorKind::Kafka(error));
            }
            Err(other) => self.refuse(body, place, packed.topic, ErrorKind::NotTaken(other)),
        }
        Step::Done
    }

    fn took(&mut self, body: &Body, place: u32, record: RecordId) {
        self.handed += 1;
        if body.watched {
            self.batches.note(body.seq, place, record);
        }
    }

    /// A record fails without having been sent.
    fn refuse(&mut self, body: &Body, place: u32, topic: u32, why: ErrorKind) {
        let name = self.inbox.name(topic).unwrap_or_default();
        let failure = Failure::new(Error::from(why).doing(format!("produce to {name}")), 1);
        self.failures.add(failure.clone());
        self.batches.tell(body.seq, place, 1, |_| Outcome::Failed(failure.clone()));
    }

    /// Parked records: in the order of their topic, as far as it goes now.
    fn retry_parked(&mut self, driver: &mut Driver<'_>, now: Instant) {
        for topic in 0..self.topics.len() {
            while !self.full
                && let Some(Parked { body, at, place, since }) =
                    self.topics.get_mut(topic).and_then(|topic| topic.parked.pop_front())
            {
                let Some(packed) = body.bytes.get(at..).and_then(Packed::read) else { continue };
                let step = match self.give_up(topic, since, now) {
                    Some(why) => {
                        self.refuse(&body, place, packed.topic, why);
                        Step::Done
                    }
                    None => self.produce(driver, now, &packed, &body, place),
                };
                if !matches!(step, Step::Done) {
                    self.full = matches!(step, Step::Full);
                    if let Some(topic) = self.topics.get_mut(topic) {
                        topic.parked.push_front(Parked { body, at, place, since });
                    }
                    break;
                }
                self.release(body);
            }
        }
    }

    /// Why a record should wait no longer for its topic.
    fn give_up(&self, topic: usize, since: Instant, now: Instant) -> Option<ErrorKind> {
        let failed = self.topics.get(topic)?.failed;
        if let Some(Core::Broker(code)) = failed
            && is_final(code)
        {
            return Some(ErrorKind::Kafka(Core::Broker(code)));
        }
        let over = since + self.config.topic_timeout <= now;
        over.then(|| ErrorKind::Kafka(failed.unwrap_or(Core::TimedOut)))
    }

    /// Answers questions about topics.
    fn answer(&mut self, driver: &Driver<'_>, now: Instant) {
        let mut rest = Vec::new();
        for question in core::mem::take(&mut self.questions) {
            let topic = self.topics.get(question.topic as usize);
            let known = topic.and_then(|topic| driver.freshness(topic.id?));
            let failed = topic.and_then(|topic| topic.failed);
            let lost = failed.is_some_and(|e| match e {
                Core::Broker(code) => is_final(code),
                _ => topic.is_some_and(|topic| topic.id.is_none()),
            });
            match known {
                Some(known) if known.partitions > 0 => {
                    question.tell.set(Ok(Freshness::new(&known, now)));
                }
                _ if lost || question.until <= now => {
                    let name = self.inbox.name(question.topic).unwrap_or_default();
                    let error = Error::from(failed.unwrap_or(Core::TimedOut));
                    let error = error.doing(format!("topic {name}"));
                    let silent = driver.last_failure().filter(|_| failed.is_none());
                    question.tell.set(Err(match silent {
                        Some(failure) => error.at_broker(&*failure.text()),
                        None => error,
                    }));
                }
                _ => rest.push(question),
            }
        }
        self.questions = rest;
    }

    fn start_flush(&mut self, driver: &mut Driver<'_>, now: Instant) {
        let parked = self.topics.iter().filter_map(|topic| Some(topic.parked.front()?.body.seq));
        let oldest = parked.min().unwrap_or(u64::MAX);
        if let Some(flush) = self.flushes.front_mut()
            && !flush.started
            && oldest >= flush.before
        {
            flush.started = true;
            driver.flush(now);
        }
    }

    /// How long the thread may sleep: not at all when there is something to take.
    fn sleep(&mut self, driver: &mut Driver<'_>) -> Option<Duration> {
        if self.full {
            return self.patience(driver); // more would not help
        }
        if !self.work.is_empty() {
            return Some(Duration::ZERO);
        }
        let patience = self.patience(driver);
        // While records gather in the machine others gather in the inbox: they are looked after
        // before the machine could find that none come any more. When none came, the next one
        // ends the sleep.
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

    /// Until a parked record or a question is given up.
    fn patience(&self, driver: &Driver<'_>) -> Option<Duration> {
        let parked = self.topics.iter().filter_map(|topic| topic.parked.front());
        let parked = parked.map(|parked| parked.since + self.config.topic_timeout);
        let due = parked.chain(self.questions.iter().map(|question| question.until)).min()?;
        Some(driver.now().until(due))
    }

    fn events(&mut self, driver: &mut Driver<'_>) {
        let failure = driver.last_failure().map(driver::Failure::text);
        while let Some((event, commands)) = driver.poll_event() {
            match event {
                Event::Room => self.full = false,
                Event::Flushed => self.flushed(),
                Event::Delivered { batch, to, first, count, base_offset } => {
                    self.told += u64::from(count);
                    let (partition, base) = (to.partition, base_offset);
                    self.batches.resolve(batch.get(), first, count, |n| Outcome::Delivered {
                        partition,
                        offset: base.map_or(-1, |base| base.saturating_add(i64::from(n))),
                    });
                }
                Event::Failed { batch, to, first, count, error, maybe_written } => {
                    self.told += u64::from(count);
                    let name = commands.topic_name(to.topic).unwrap_or_default();
                    let doing = format!("produce to {name}, partition {}", to.partition);
                    let error = Error::from(error).doing(doing).with_maybe_written(maybe_written);
                    let failure = Failure::new(error, u64::from(count));
                    self.failures.add(failure.clone());
                    let outcome = |_| Outcome::Failed(failure.clone());
                    self.batches.resolve(batch.get(), first, count, outcome);
                }
                _ => {
                    self.topic_event(&event, commands);
                    self.inbox.hub.tell(|| owned(&event, commands, failure.as_deref()));
                }
            }
        }
    }

    fn topic_event(&mut self, event: &Event<'_>, _: &Commands<'_>) {
        let (id, failed) = match *event {
            Event::TopicReady { topic, .. } | Event::TopicRecreated { topic, .. } => (topic, None),
            Event::TopicFailed { topic, error } => (topic, Some(error)),
            _ => return,
        };
        if let Some(topic) = self.topics.iter_mut().find(|topic| topic.id == Some(id)) {
            topic.failed = failed;
        }
    }

    fn flushed(&mut self) {
        if !self.flushes.front().is_some_and(|flush| flush.started) {
            return;
        }
        let Some(flush) = self.flushes.pop_front() else { return };
        let report = if flush.report { self.failures.report() } else { None };
        flush.done.set(report.map_or(Ok(()), |(_, error)| Err(error)));
    }
}

/// Refusals that trying again does not mend: INVALID_TOPIC_EXCEPTION and authorization.
fn is_final(code: ErrorCode) -> bool {
    matches!(code.0, 17 | 29 | 30 | 31)
}

impl Drop for Run<'_> {
    /// Also after a panic: nobody waits for ever, and what is lost is counted.
    fn drop(&mut self) {
        if self.inbox.is_closed() {
            self.ended = ErrorKind::Closed.into();
        }
        let mut waiting = 0;
        let mut items = core::mem::take(&mut self.work);
        let parked = self.topics.iter().flat_map(|topic| &topic.parked);
        waiting += parked.count() as u64;
        if let Some(Current { body, at, .. }) = self.current.take() {
            let mut rest = body.bytes.get(at..).unwrap_or_default();
            while let Some(packed) = Packed::read(rest) {
                rest = rest.get(packed.size..).unwrap_or_default();
                waiting += 1;
            }
        }
        for item in items.drain(..) {
            if let Item::Chunk(chunk) = item {
                waiting += u64::from(chunk.count);
                chunk.outcomes.close(&self.ended);
            }
        }
        waiting += self.inbox.abort(&self.ended);
        let sent = self.handed.saturating_sub(self.told);
        let unsure = self.ended.clone().with_maybe_written(sent > 0);
        self.batches.waited().for_each(|outcomes| outcomes.close(&unsure));
        let report = self.failures.report();
        let (failed, first) = report.map_or((0, None), |(failed, error)| (failed, Some(error)));
        *lock(self.lost) = Lost { unsent: waiting, unacknowledged: sent, failed, first };
    }
}
