//! The consumer's background thread.

use std::collections::HashMap;
use std::sync::Arc;

#[cfg(feature = "pattern")]
use kavka_core::wire::ErrorCode;
use kavka_core::{
    Batch, Commands, Duration, Error as Core, Event as CoreEvent, Instant, Misuse, PartitionId,
    Start, TopicId,
};

use super::chunk::Chunk;
use super::membership::Member;
use super::shared::{Command, End, Requested, Shared, What};
use crate::config::Config;
use crate::driver::{Driver, Failure};
use crate::error::{Error, ErrorKind, is_permanent};
use crate::event::{Event, explained, explained_at, located, owned, why_not};
use crate::metrics::{ConsumerMetrics, Known, NetMetrics, TopicRead};
use crate::pending::Setter;
use crate::reasons::Reasons;
use crate::stuck::Stuck;

/// What to read from the start.
pub(super) enum Wanted {
    Topics(Vec<Arc<str>>),
    Partitions(Vec<(Arc<str>, u32, Start)>),
    /// Topics, whose partitions start where this says.
    From(Vec<Arc<str>>, StartOf),
    /// Topics of a group.
    Group(Vec<Arc<str>>),
    /// The same by a regular expression.
    #[cfg(feature = "pattern")]
    Pattern(Box<crate::PatternTopics>),
}

impl Wanted {
    /// The topics' names.
    fn names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = match self {
            Self::Topics(topics) | Self::From(topics, _) | Self::Group(topics) => topics.clone(),
            #[cfg(feature = "pattern")]
            Self::Pattern(_) => Vec::new(),
            Self::Partitions(list) => list.iter().map(|(topic, ..)| topic.clone()).collect(),
        };
        names.dedup();
        names
    }
}

/// Where a partition starts; `None`: where it would without this.
pub(super) type StartOf = Box<dyn FnMut(&str, u32) -> Option<Start> + Send>;

/// An assigned partition.
pub(super) struct Partition {
    pub(super) topic: Arc<str>,
    pub(super) index: u32,
    epoch: u32,
    /// By the application.
    paused: bool,
    /// Position of the first batch since the last seek.
    first: Option<i64>,
    /// The end of its log, as last reported.
    end: Option<i64>,
    /// The last error that was reported to the application.
    reported: Option<Core>,
}

pub(super) fn run(
    config: &Config,
    mut driver: Driver<'_>,
    shared: &Shared,
    wanted: Wanted,
    ready: Setter<()>,
) {
    let mut run = Run {
        config,
        shared,
        partitions: HashMap::new(),
        ids: HashMap::new(),
        member: Member::default(),
        topics: HashMap::new(),
        stuck: Stuck::default(),
        open: Chunk::default(),
        full: false,
        start_of: None,
        counts: HashMap::new(),
        outgrown: Vec::new(),
        disconnects: 0,
        reasons: Reasons::default(),
        unheard: Some(driver.now()),
        wanted: wanted.names(),
        foreign: false,
        ended: ErrorKind::Panicked.into(),
    };
    let begun = run.begin(&mut driver, wanted);
    let failed = begun.is_err();
    ready.set(begun);
    if failed {
        return;
    }
    while let Some(commands) = shared.commands() {
        let now = driver.now();
        for command in commands {
            run.command(&mut driver, now, command);
        }
        for requested in shared.take_requested() {
            run.respond(&mut driver, requested);
        }
        run.mark(&mut driver);
        #[cfg(feature = "pattern")]
        run.find_topics(&mut driver);
        if let Err(error) = run.check_polls(&mut driver) {
            shared.push(Err(error));
        }
        if let Err(error) = run.turn(&mut driver) {
            run.ended = error.into();
            return;
        }
        run.events(&mut driver);
        run.grow(&mut driver);
        run.give();
        run.report_topics(&driver);
        run.report_silence(&mut driver);
        run.report_foreign(&driver);
        run.report_stuck(&driver);
    }
    run.leave_at_last(&mut driver);
}

pub(super) struct Run<'a> {
    pub(super) config: &'a Config,
    pub(super) shared: &'a Shared,
    pub(super) partitions: HashMap<PartitionId, Partition>,
    pub(super) ids: HashMap<(Arc<str>, u32), PartitionId>,
    pub(super) member: Member,
    topics: HashMap<TopicId, Topic>,
    stuck: Stuck,
    open: Chunk,
    /// The application has not taken what is there: records stay in the machine, and with them
    /// the bytes behind. TCP holds the broker back.
    full: bool,
    start_of: Option<StartOf>,
    counts: HashMap<Arc<str>, TopicRead>,
    /// Batches that did not fit.
    outgrown: Vec<Outgrown>,
    disconnects: u64,
    reasons: Reasons,
    /// No broker has said anything about topics since then.
    unheard: Option<Instant>,
    /// The topics that are read from the start.
    pub(super) wanted: Vec<Arc<str>>,
    /// The application knows that all addresses lead to another cluster.
    foreign: bool,
    /// The error for the application when this thread ends.
    ended: Error,
}

/// A batch that is larger than the receive buffer.
struct Outgrown {
    at: PartitionId,
    offset: i64,
    next_offset: i64,
    needed: usize,
}

/// A topic that cannot be used.
struct Topic {
    since: Instant,
    error: Core,
    reported: bool,
}

impl Run<'_> {
    /// Does what the application requested.
    fn respond(&mut self, driver: &mut Driver<'_>, requested: Requested) {
        match requested {
            Requested::Metrics(done) => done.set(Ok(self.metrics(driver))),
            Requested::Obstacle(topic, partition, done) => {
                done.set(Ok(self.obstacle(driver, &topic, partition)));
            }
            Requested::Commit(list, done) => self.commit(driver, list, done),
            Requested::Release(topic, partition, done) => self.release(&topic, partition, done),
            Requested::Committed(topic, partition, done) => {
                done.set(Ok(self.committed(driver, topic, partition)));
            }
            Requested::Membership(done) => done.set(Ok(self.membership(driver))),
            Requested::Leave(limit, done) => self.leave(driver, limit, done),
        }
    }

    fn begin(&mut self, driver: &mut Driver<'_>, wanted: Wanted) -> Result<(), Error> {
        let now = driver.now();
        match wanted {
            Wanted::Topics(topics) => {
                for name in topics {
                    let start = self.config.start;
                    let begun =
                        driver.topic(&name).and_then(|id| driver.assign_all(now, id, start));
                    begun.map_err(|error| Error::from(error).doing(format!("read {name}")))?;
                }
            }
            Wanted::From(topics, start_of) => {
                self.start_of = Some(start_of);
                for name in topics {
                    let start = self.config.start;
                    let begun =
                        driver.topic(&name).and_then(|id| driver.assign_all_paused(now, id, start));
                    begun.map_err(|error| Error::from(error).doing(format!("read {name}")))?;
                }
            }
            Wanted::Group(topics) => self.join(driver, now, topics)?,
            #[cfg(feature = "pattern")]
            Wanted::Pattern(topics) => self.join_by_pattern(driver, now, topics)?,
            Wanted::Partitions(list) => {
                for (topic, index, start) in list {
                    self.assign(driver, now, &topic, index, start)?;
                }
            }
        }
        Ok(())
    }

    fn assign(
        &mut self,
        driver: &mut Driver<'_>,
        now: Instant,
        topic: &Arc<str>,
        index: u32,
        start: Start,
    ) -> Result<(), Error> {
        let assigned = driver.topic(topic).and_then(|id| driver.assign(now, id, index, start));
        let doing = |error| Error::from(error).doing(format!("read {topic}, partition {index}"));
        self.add(assigned.map_err(doing)?, topic.clone(), index);
        Ok(())
    }

    fn add(&mut self, id: PartitionId, topic: Arc<str>, index: u32) {
        let epoch = self.shared.epoch(&topic, index);
        self.ids.insert((topic.clone(), index), id);
        let partition = Partition {
            topic,
            index,
            epoch,
            paused: false,
            first: None,
            end: None,
            reported: None,
        };
        self.partitions.insert(id, partition);
    }

    fn command(&mut self, driver: &mut Driver<'_>, now: Instant, command: Command) {
        let Command { topic, partition, epoch, what, done } = command;
        if let What::Assign(start) = what {
            return done.set(self.assign(driver, now, &topic, partition, start));
        }
        let key = (topic, partition);
        let known = self.ids.get(&key).and_then(|id| Some((*id, self.partitions.get_mut(id)?)));
        let Some((id, at)) = known else {
            self.shared.refused(&key.0, partition);
            let error = Error::from(Core::Caller(Misuse::StaleId));
            return done.set(Err(error.doing(format!("{}, partition {partition}", key.0))));
        };
        at.epoch = epoch;
        let result = match what {
            What::Assign(_) => Ok(()),
            What::Unassign => {
                driver.unassign(now, id);
                self.partitions.remove(&id);
                self.ids.remove(&key);
                Ok(())
            }
            What::Seek(start) => {
                (at.first, at.reported) = (None, None);
                let sought = driver.seek(now, id, start);
                if !at.paused {
                    driver.resume(now, id); // it may wait for its start
                }
                sought
            }
            What::Pause => {
                at.paused = true;
                driver.pause(id);
                Ok(())
            }
            What::Park(offset) => {
                driver.park(id, offset);
                Ok(())
            }
            What::Resume(position) => {
                at.paused = false;
                // What was fetched before the pause was dropped.
                let from = position.or(at.first);
                let sought = from.map_or(Ok(()), |from| driver.seek(now, id, Start::Offset(from)));
                driver.resume(now, id);
                sought
            }
        };
        done.set(result.map_err(Error::from));
    }

    fn turn(&mut self, driver: &mut Driver<'_>) -> std::io::Result<()> {
        let was_full = core::mem::replace(&mut self.full, self.shared.is_full());
        if was_full && !self.full {
            // Records are taken again, and they may be there already.
            return driver.turn_now();
        }
        driver.turn(self.patience(driver))
    }

    /// Returns the time until a topic that cannot be used must be reported.
    fn patience(&self, driver: &Driver<'_>) -> Option<Duration> {
        let unreported = self.topics.values().filter(|topic| !topic.reported);
        let due = unreported.map(|topic| topic.since + self.config.topic_timeout);
        let unheard = self.unheard.map(|since| since + self.config.topic_timeout);
        let due = due.chain(self.stuck.due()).chain(unheard).chain(self.group_due()).min()?;
        Some(driver.now().until(due))
    }

    fn events(&mut self, driver: &mut Driver<'_>) {
        let now = driver.now();
        let failure = driver.failure();
        let full = self.full;
        while let Some((event, commands)) =
            if full { driver.poll_news() } else { driver.poll_event() }
        {
            match event {
                CoreEvent::Records(batch) => {
                    self.records(&batch, commands);
                    if self.open.size() >= self.config.chunk_bytes {
                        self.give();
                        if self.shared.is_full() {
                            return;
                        }
                    }
                }
                _ => self.other(now, &event, commands, failure.as_deref()),
            }
        }
    }

    fn records(&mut self, batch: &Batch<'_>, commands: &Commands<'_>) {
        let id = batch.partition();
        if !self.partitions.contains_key(&id) {
            // Assigned, but its event was not polled yet.
            let at = batch.topic_partition();
            let Some(topic) = commands.topic_name(at.topic) else { return };
            self.add(id, topic.into(), at.partition);
        }
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        partition.first.get_or_insert(batch.position());
        partition.reported = None;
        partition.end = Some(batch.high_watermark().max(batch.next_offset()));
        let count = self.counts.entry(partition.topic.clone()).or_default();
        count.batches += 1;
        count.bytes += batch.bytes().len() as u64;
        let Partition { topic, index, epoch, .. } = &*partition;
        self.open.push(&self.shared.spare, topic, *index, *epoch, batch);
    }

    /// Makes room for batches that did not fit, and reads their partitions again.
    fn grow(&mut self, driver: &mut Driver<'_>) {
        let (now, limit) = (driver.now(), self.config.max_batch_bytes);
        let fits = |outgrown: &&Outgrown| outgrown.needed <= limit;
        let needed = self.outgrown.iter().filter(fits).map(|outgrown| outgrown.needed).max();
        // Twice as much as before, so that few sizes are tried.
        let grown = needed.is_some_and(|needed| {
            let bytes = needed.checked_next_power_of_two().unwrap_or(needed).min(limit);
            driver.grow_receive_buffers(bytes).is_ok()
        });
        for Outgrown { at, offset, next_offset, needed } in core::mem::take(&mut self.outgrown) {
            if grown && needed <= limit {
                driver.retry(now, at);
            } else {
                let kind = ErrorKind::BatchTooLarge { offset, next_offset, needed };
                self.fail(at, kind.into());
            }
        }
    }

    /// Hands over what has come.
    pub(super) fn give(&mut self) {
        if self.open.size() > 0 {
            self.shared.push(Ok(self.open.take(&self.shared.spare)));
        }
    }

    fn other(
        &mut self,
        now: Instant,
        event: &CoreEvent<'_>,
        commands: &mut Commands<'_>,
        failure: Option<&Failure>,
    ) {
        #[cfg(feature = "pattern")]
        if self.topics_event(now, event, commands) {
            return;
        }
        match *event {
            CoreEvent::Assigned { at, partition } => {
                let Some(topic) = commands.topic_name(partition.topic) else { return };
                let topic = Arc::<str>::from(topic);
                self.add(at, topic.clone(), partition.partition);
                let partition = partition.partition;
                self.start(now, commands, at, &topic, partition);
                self.shared.hub.report(|| Some(Event::Assigned { topic, partition }));
            }
            CoreEvent::TooLarge { at, offset, next_offset, needed } => {
                self.outgrown.push(Outgrown { at, offset, next_offset, needed });
            }
            CoreEvent::Corrupt { at, offset, next_offset, why } => {
                self.fail(at, ErrorKind::Unreadable { offset, next_offset, why }.into());
            }
            CoreEvent::EndOfPartition { at, offset } => {
                self.give();
                let Some(Partition { topic, index, epoch, .. }) = self.partitions.get(&at) else {
                    return;
                };
                let (topic, partition, epoch) = (topic.clone(), *index, *epoch);
                self.shared.push_end(End { topic, partition, epoch, offset });
            }
            CoreEvent::Positioned { at, offset } => {
                let Some(Partition { topic, index, .. }) = self.partitions.get(&at) else { return };
                let (topic, partition) = (topic.clone(), *index);
                self.shared.hub.report(|| Some(Event::Positioned { topic, partition, offset }));
            }
            CoreEvent::PartitionFailed { at, error } => {
                let why = explained_at(error, at, commands, failure);
                self.partition_failed(at, error, why);
            }
            CoreEvent::Moved { at, from, to, why } => {
                let Some(Partition { topic, index, .. }) = self.partitions.get(&at) else { return };
                let (topic, partition) = (topic.clone(), *index);
                self.shared.hub.report(|| Some(Event::Moved { topic, partition, from, to, why }));
            }
            _ if self.group_event(now, event, commands, failure) => {}
            _ => {
                self.disconnects += u64::from(matches!(event, CoreEvent::Disconnected { .. }));
                self.topic_event(now, event);
                if let CoreEvent::TopicFailed { topic, .. } = *event
                    && let Some(name) = commands.topic_name(topic)
                {
                    self.counts.entry(name.into()).or_default().errors += 1;
                }
                self.reasons.note(event, commands, failure);
                self.shared.hub.report(|| owned(event, commands, failure));
            }
        }
    }

    /// Reports that no broker responds at all, or none of use, to an application that waits for
    /// records.
    fn report_silence(&mut self, driver: &mut Driver<'_>) {
        self.reasons.check(driver);
        let now = driver.now();
        let timeout = self.config.topic_timeout;
        if self.unheard.is_none_or(|since| since + timeout > now) {
            return;
        }
        self.unheard = Some(now);
        if driver.obstacle().is_some() {
            let error = self.reasons.timed_out(driver, driver.last_failure());
            return self.shared.push_if_empty(self.reading(error));
        }
        let ids = self.wanted.iter().filter_map(|name| driver.topic(name).ok());
        let ids = ids.collect::<Vec<_>>();
        if let Some(obstacle) = ids.into_iter().find_map(|id| driver.obstacle_of_topic(id)) {
            let error = located(Core::Blocked(obstacle), driver, driver.last_failure());
            self.shared.push_if_empty(self.reading(error));
        }
    }

    /// Some broker has said something about topics.
    #[cfg(feature = "pattern")]
    pub(super) fn heard(&mut self) {
        self.unheard = None;
    }

    pub(super) fn reading(&self, error: Error) -> Error {
        #[cfg(feature = "pattern")]
        if self.member.pattern.is_some() {
            return error.doing(format!("read topics that match {}", self.config.group_pattern));
        }
        error.doing(format!("read {}", self.wanted.join(", ")))
    }

    /// Whether a topic that is gone is nothing to report: it leaves the subscription.
    fn may_go(&self, error: Core) -> bool {
        #[cfg(feature = "pattern")]
        if self.member.pattern.is_some() {
            return error == Core::Broker(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        }
        #[cfg(not(feature = "pattern"))]
        let _ = error;
        false
    }

    /// Reports, once, that every address leads to another cluster: nothing will be read until one
    /// leads back.
    fn report_foreign(&mut self, driver: &Driver<'_>) {
        let foreign = driver.is_hopeless();
        if foreign && !self.foreign {
            let error = self.reasons.timed_out(driver, driver.last_failure());
            self.shared.push(Err(self.reading(error)));
        }
        self.foreign = foreign;
    }

    fn metrics(&self, driver: &mut Driver<'_>) -> ConsumerMetrics {
        let net = NetMetrics::of(driver, self.disconnects);
        let queue_bytes = self.shared.depth();
        let topics = self.counts.iter().map(|(name, read)| (name.clone(), read.clone())).collect();
        let mut metrics = ConsumerMetrics { queue_bytes, net, topics };
        for at in self.partitions.values() {
            let read = metrics.topics.entry(at.topic.clone()).or_default();
            let position = self.shared.position(&at.topic, at.index).or(at.first);
            if let (Some(end), Some(position)) = (at.end, position) {
                read.lag.insert(at.index, (end - position).max(0));
            }
        }
        for (name, read) in &mut metrics.topics {
            let id = driver.topic(name).ok();
            let known = Known::of(driver, id);
            (read.partitions, read.age) = (known.partitions, known.age);
            read.leaders_age = known.leaders_age;
        }
        metrics
    }

    /// Starts a partition where the application has it.
    fn start(
        &mut self,
        now: Instant,
        commands: &mut Commands<'_>,
        at: PartitionId,
        topic: &str,
        index: u32,
    ) {
        let Some(start_of) = &mut self.start_of else { return };
        let start = start_of(topic, index);
        match start.map_or(Ok(()), |start| commands.seek(now, at, start)) {
            Ok(()) => commands.resume(now, at),
            Err(error) => self.fail(at, error.into()),
        }
    }

    /// Reports an error that the application has to handle, in its place among the records.
    fn fail(&mut self, at: PartitionId, error: Error) {
        self.give();
        let error = match self.partitions.get(&at) {
            Some(at) => error.reading(&at.topic, at.index),
            None => error,
        };
        self.shared.push(Err(error));
    }

    fn partition_failed(&mut self, at: PartitionId, error: Core, why: Error) {
        let Some(partition) = self.partitions.get_mut(&at) else { return };
        let (topic, index) = (partition.topic.clone(), partition.index);
        self.counts.entry(topic.clone()).or_default().errors += 1;
        let permanent = is_permanent(&why) && partition.reported != Some(error);
        if permanent {
            partition.reported = Some(error);
        }
        self.shared.hub.report(|| {
            let error = why.clone().reading(&topic, index);
            Some(Event::PartitionFailed { topic, partition: index, error })
        });
        if permanent {
            self.fail(at, why);
        }
    }

    /// Reports topics that could not be used for long.
    fn report_topics(&mut self, driver: &Driver<'_>) {
        let now = driver.now();
        for (id, topic) in self.topics.iter_mut().filter(|(_, topic)| !topic.reported) {
            let over = topic.since + self.config.topic_timeout <= now;
            let obstacle = driver.obstacle_of_topic(*id);
            let error = explained(topic.error, obstacle, driver, driver.last_failure());
            if over || is_permanent(&error) {
                topic.reported = true;
                let name = driver.topic_name(*id).unwrap_or_default();
                self.shared.push(Err(error.doing(format!("read {name}"))));
            }
        }
    }

    /// Reports partitions that could not be read for long.
    fn report_stuck(&mut self, driver: &Driver<'_>) {
        let (now, ids) = (driver.now(), self.partitions.keys().copied());
        for (id, obstacle) in self.stuck.look(driver, now, self.config.topic_timeout, ids) {
            let Some(Partition { topic, index, .. }) = self.partitions.get(&id) else { continue };
            let (topic, partition) = (topic.clone(), *index);
            let error = located(Core::Blocked(obstacle), driver, driver.last_failure());
            let error = error.reading(&topic, partition);
            self.shared.hub.report(|| Some(Event::PartitionFailed { topic, partition, error }));
        }
    }

    /// Returns what keeps a partition from being read now.
    fn obstacle(&self, driver: &mut Driver<'_>, topic: &Arc<str>, index: u32) -> Option<Error> {
        let found = match self.ids.get(&(topic.clone(), index)) {
            Some(at) => driver.obstacle_of(*at),
            None if self.wanted.contains(topic) => {
                driver.topic(topic).ok().and_then(|id| driver.obstacle_of_topic(id))
            }
            None => None,
        };
        let obstacle = found.or(driver.obstacle())?;
        let late = || self.reasons.timed_out(driver, driver.last_failure());
        let error = why_not(Some(obstacle), driver, driver.last_failure(), late);
        Some(error.reading(topic, index))
    }

    fn topic_event(&mut self, now: Instant, event: &CoreEvent<'_>) {
        match *event {
            CoreEvent::TopicReady { topic, .. } | CoreEvent::TopicRecreated { topic, .. } => {
                self.unheard = None;
                self.topics.remove(&topic);
            }
            CoreEvent::TopicFailed { topic, error } => {
                self.unheard = None;
                if self.may_go(error) {
                    return;
                }
                let entry = self.topics.entry(topic);
                entry.or_insert(Topic { since: now, error, reported: false }).error = error;
            }
            _ => {}
        }
    }
}

impl Drop for Run<'_> {
    /// Also after a panic: no caller waits forever.
    fn drop(&mut self) {
        if self.shared.is_closed() {
            self.ended = ErrorKind::Closed.into();
        }
        self.shared.abort(&self.ended);
    }
}
