//! The admin's background thread.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};

use kavka_core::wire::ApiKey;
use kavka_core::{
    Admin as Request, AdminError, CloseReason, Commands, Duration, Error as Core, Event, Instant,
    LimitKind, Obstacle, PeerFault, Reply, RequestId, Start, TopicId,
};

use super::group::{Found, GroupListing};
use super::listing::Listing;
use super::offsets::{self, Offsets};
use super::topic::{
    BrokerDescription, ClusterDescription, NewTopic, PartitionDescription, TopicDescription,
};
use super::wanted::Wanted;
use crate::config::Config;
use crate::driver::{Driver, Failure};
use crate::error::{Error, ErrorKind, is_permanent};
use crate::event::{Event as Told, Hub, explained, explained_at, located, owned, refused, why_not};
use crate::reasons::Reasons;

/// How long a request may be refused and repeated before that is reported.
const REFUSED: Duration = Duration::from_millis(500);
/// First pause before a request is retried, doubled each time up to [`PAUSE_MAX`].
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// For this long brokers may not agree on a topic that was created or deleted here.
const SETTLING: Duration = Duration::from_secs(10);

/// A request of the application.
pub(super) struct Job {
    pub(super) operation: Operation,
    /// How long it is tried, where that is not [`Config::admin_timeout`].
    pub(super) within: Option<Duration>,
    pub(super) finish: Finish,
    /// Whether a caller still waits for the result.
    pub(super) is_awaited: Box<dyn Fn() -> bool + Send>,
}

type Finish = Box<dyn FnOnce(Result<Gathered, Error>) + Send>;

pub(super) enum Operation {
    Create(NewTopic),
    Grow {
        name: String,
        count: i32,
    },
    Delete {
        name: String,
    },
    Describe {
        name: Option<String>,
    },
    /// `list`: these partitions, each with its own result; without, all or nothing.
    Offsets {
        name: String,
        starts: Vec<Start>,
        list: Option<Vec<u32>>,
    },
    Group(Wanted),
}

impl Operation {
    /// The request that is sent, or that finds the topic.
    fn api(&self) -> ApiKey {
        match self {
            Self::Create(_) => ApiKey::CREATE_TOPICS,
            Self::Grow { .. } => ApiKey::CREATE_PARTITIONS,
            Self::Delete { .. } => ApiKey::DELETE_TOPICS,
            Self::Describe { .. } | Self::Offsets { .. } => ApiKey::METADATA,
            Self::Group(wanted) => wanted.api(),
        }
    }

    /// The topic that it is about.
    fn topic(&self) -> Option<&str> {
        match self {
            Self::Create(topic) => Some(&topic.name),
            Self::Grow { name, .. } | Self::Delete { name } | Self::Offsets { name, .. } => {
                Some(name)
            }
            Self::Describe { name } => name.as_deref(),
            Self::Group(_) => None,
        }
    }

    /// Whether the request changes nothing in the cluster.
    fn only_reports(&self) -> bool {
        match self {
            Self::Group(wanted) => wanted.only_reports(),
            other => matches!(other, Self::Describe { .. } | Self::Offsets { .. }),
        }
    }
}

/// What was read of a response so far.
#[derive(Default)]
pub(super) struct Gathered {
    pub(super) cluster: ClusterDescription,
    pub(super) topics: Vec<TopicDescription>,
    pub(super) offsets: Vec<offsets::Result>,
    pub(super) group: Found,
    pub(super) listing: GroupListing,
    said: Option<String>,
}

/// A job and its tries.
struct Task {
    job: Job,
    until: Instant,
    state: State,
    pause: Duration,
    gathered: Gathered,
    /// Why the last try failed.
    last: Option<Error>,
    /// An attempt ended without a response: what it requested may have happened.
    unsure: bool,
    /// When to look whether it is refused again and again; `None` once that was reported.
    report_at: Option<Instant>,
}

enum State {
    Waiting { until: Instant },
    Requested(RequestId),
    Offsets(Offsets),
    Listing(Listing),
}

pub(super) fn run(config: &Config, mut driver: Driver<'_>, jobs: &Receiver<Job>, hub: &Hub) {
    let mut tasks: Vec<Task> = Vec::new();
    let mut recent = Recent::default();
    let mut reasons = Reasons::default();
    loop {
        let now = driver.now();
        loop {
            match jobs.try_recv() {
                Ok(job) => tasks.push(Task::new(job, now, config.admin_timeout)),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return,
            }
        }
        let offsets = tasks.iter().filter_map(|task| match &task.state {
            State::Offsets(offsets) => Some(offsets.topic()),
            _ => None,
        });
        let mut busy = offsets.collect();
        for task in &mut tasks {
            task.start(&mut driver, now, &mut busy);
        }
        let due = tasks.iter().map(Task::due).min();
        if let Err(error) = driver.turn(due.map(|due| now.until(due))) {
            let error = Error::from(error);
            tasks.into_iter().for_each(|task| (task.job.finish)(Err(error.clone())));
            return;
        }
        events(&mut driver, &mut tasks, &mut recent, &mut reasons, hub);
        reasons.check(&driver);
        let now = driver.now();
        let failure = driver.failure();
        let mut open = Vec::new();
        for task in tasks {
            if let Some(task) = task.advance(&mut driver, now, failure.as_deref(), &reasons, hub) {
                open.push(task);
            }
        }
        tasks = open;
    }
}

fn events(
    driver: &mut Driver<'_>,
    tasks: &mut Vec<Task>,
    recent: &mut Recent,
    reasons: &mut Reasons,
    hub: &Hub,
) {
    let now = driver.now();
    let failure = driver.failure();
    let mut done = Vec::new();
    while let Some((event, commands)) = driver.poll_event() {
        let failure = failure.as_deref();
        match event {
            Event::Reply { id, reply } => {
                let Some(at) = tasks.iter().position(|task| task.awaits(id)) else { continue };
                let api = Some(tasks[at].job.operation.api());
                let why = |error, commands: &Commands<'_>| {
                    (error, refused(error, commands.replied_by(), api, commands, failure))
                };
                if let State::Listing(listing) = &mut tasks[at].state {
                    match reply {
                        Reply::Done(result) => {
                            listing.done(id, now, result.err().map(|error| why(error, commands)));
                        }
                        reply => listing.add(id, &reply),
                    }
                    continue;
                }
                match reply {
                    Reply::Done(result) => {
                        // It awaits no response now: no later event is for it.
                        tasks[at].state = State::Waiting { until: now };
                        let task = tasks.swap_remove(at);
                        let why = task.trouble(result).map(|error| why(error, commands));
                        done.push((task, why));
                    }
                    reply => tasks[at].gathered.add(&reply),
                }
            }
            _ => {
                if let Event::PartitionFailed { at, error } = event {
                    let error = explained_at(error, at, commands, failure);
                    for task in tasks.iter_mut() {
                        if let State::Offsets(offsets) = &mut task.state {
                            offsets.failed(commands, now, at, error.clone());
                        }
                    }
                }
                if let Event::TopicFailed { topic, error } = event {
                    let obstacle = commands.obstacle_of_topic(topic);
                    let why = explained(error, obstacle, commands, failure);
                    for task in tasks.iter_mut().filter(|task| task.is_about(topic)) {
                        task.topic_failed(now, error, why.clone(), recent);
                    }
                }
                reasons.note(&event, commands, failure);
                hub.report(|| owned(&event, commands, failure));
            }
        }
    }
    for (task, why) in done {
        tasks.extend(task.done(why, now, recent, hub));
    }
}

/// Names that were created or deleted here a short while ago.
#[derive(Default)]
struct Recent {
    created: HashMap<String, Instant>,
    deleted: HashMap<String, Instant>,
}

impl Recent {
    fn note(&mut self, operation: &Operation, now: Instant) {
        self.created.retain(|_, at| *at + SETTLING > now);
        self.deleted.retain(|_, at| *at + SETTLING > now);
        match operation {
            Operation::Create(topic) => drop(self.created.insert(topic.name.clone(), now)),
            Operation::Delete { name } => drop(self.deleted.insert(name.clone(), now)),
            _ => {}
        }
    }

    fn has(names: &HashMap<String, Instant>, name: &str, now: Instant) -> bool {
        names.get(name).is_some_and(|at| *at + SETTLING > now)
    }

    /// Whether a retry may succeed.
    fn worth_retrying(&self, operation: &Operation, code: i16, now: Instant) -> bool {
        match (code, operation) {
            // COORDINATOR_NOT_AVAILABLE, NOT_CONTROLLER, THROTTLING_QUOTA_EXCEEDED, and
            // LEADER_NOT_AVAILABLE of a topic in the making.
            (15 | 41 | 89 | 5, _) => true,
            // TOPIC_ALREADY_EXISTS: ZooKeeper brokers mark a topic for deletion and take a while.
            (36, Operation::Create(topic)) => Self::has(&self.deleted, &topic.name, now),
            // UNKNOWN_TOPIC_OR_PARTITION: another broker than the one that created it.
            (3, Operation::Grow { name, .. } | Operation::Delete { name }) => {
                Self::has(&self.created, name, now)
            }
            (3, Operation::Describe { name: Some(name) } | Operation::Offsets { name, .. }) => {
                Self::has(&self.created, name, now)
            }
            _ => false,
        }
    }
}

/// Whether a refusal after an attempt whose response was lost means that the attempt succeeded.
fn had_worked(operation: &Operation, code: i16) -> bool {
    matches!(
        (operation, code),
        (Operation::Create(_), 36)
            | (Operation::Delete { .. }, 3)
            | (Operation::Grow { .. }, 37)
            | (Operation::Group(Wanted::Delete { .. }), 69)
    )
}

impl Task {
    fn new(job: Job, now: Instant, timeout: Duration) -> Self {
        Self {
            until: now + job.within.unwrap_or(timeout),
            job,
            state: State::Waiting { until: now },
            pause: PAUSE,
            gathered: Gathered::default(),
            last: None,
            unsure: false,
            report_at: Some(now + REFUSED),
        }
    }

    fn due(&self) -> Instant {
        match &self.state {
            State::Waiting { until } => (*until).min(self.until),
            State::Offsets(offsets) => offsets.due().map_or(self.until, |at| at.min(self.until)),
            State::Listing(listing) => listing.due().map_or(self.until, |at| at.min(self.until)),
            State::Requested(_) => self.report_at.map_or(self.until, |at| at.min(self.until)),
        }
    }

    /// Sends the request when it is due.
    fn start(&mut self, driver: &mut Driver<'_>, now: Instant, busy: &mut Vec<TopicId>) {
        if let State::Listing(listing) = &mut self.state {
            return listing.start(driver, now);
        }
        if !matches!(self.state, State::Waiting { until } if until <= now) {
            return;
        }
        self.gathered = Gathered::default();
        let requested = match &self.job.operation {
            Operation::Create(topic) => {
                let configs = topic.configs.iter();
                let configs: Vec<_> =
                    configs.map(|(name, value)| (name.as_str(), value.as_deref())).collect();
                driver.admin(
                    now,
                    &Request::CreateTopic {
                        name: &topic.name,
                        partitions: topic.partitions,
                        replication_factor: topic.replication_factor,
                        configs: &configs,
                    },
                )
            }
            Operation::Grow { name, count } => {
                let validate_only = false;
                driver.admin(now, &Request::CreatePartitions { name, count: *count, validate_only })
            }
            Operation::Delete { name } => driver.admin(now, &Request::DeleteTopic { name }),
            Operation::Group(wanted) => wanted.submit(driver, now),
            Operation::Describe { name } => {
                driver.admin(now, &Request::Describe { topic: name.as_deref() })
            }
            Operation::Offsets { name, starts, list } => match driver.topic(name) {
                // A topic serves one task at a time.
                Ok(topic) if busy.contains(&topic) => return self.again(now),
                Ok(topic) => {
                    busy.push(topic);
                    self.state = State::Offsets(Offsets::new(topic, starts.clone(), list.clone()));
                    return;
                }
                // Other topics are in use, and their slots become free.
                Err(Core::Limit { what: LimitKind::Topics, .. }) if !busy.is_empty() => {
                    return self.again(now);
                }
                Err(error) => return self.give_up(ErrorKind::Kafka(error)),
            },
        };
        match requested {
            Ok(id) => self.state = State::Requested(id),
            Err(AdminError::Full) => self.again(now),
            Err(AdminError::TooLarge { what, needed, max }) => {
                self.give_up(ErrorKind::RequestTooLarge { what, needed, max });
            }
            Err(AdminError::Caller(misuse)) => self.give_up(ErrorKind::Kafka(Core::Caller(misuse))),
            Err(other) => self.give_up(ErrorKind::AdminRefused(other)),
        }
    }

    /// Ends at once: a retry would not help.
    fn give_up(&mut self, why: ErrorKind) {
        self.last = Some(why.into());
        self.until = Instant::ZERO;
    }

    /// Retries, a little later.
    fn again(&mut self, now: Instant) {
        self.state = State::Waiting { until: now + self.pause };
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }

    /// Whether a response is for it.
    fn awaits(&self, id: RequestId) -> bool {
        match &self.state {
            State::Requested(of) => *of == id,
            State::Listing(listing) => listing.awaits(id),
            _ => false,
        }
    }

    /// Whether it searches for offsets of a topic.
    fn is_about(&self, topic: TopicId) -> bool {
        matches!(&self.state, State::Offsets(offsets) if offsets.topic() == topic)
    }

    /// Its topic cannot be used for now. Where waiting does not mend that it is over.
    fn topic_failed(&mut self, now: Instant, error: Core, why: Error, recent: &Recent) {
        let code = match error {
            Core::Broker(code) => code.0,
            _ => 0,
        };
        let missing = code == 3 && !recent.worth_retrying(&self.job.operation, code, now);
        if missing || is_permanent(&why) {
            self.until = Instant::ZERO;
        }
        self.last = Some(why);
    }

    /// Returns the error of an attempt, which may be one of the topic that it was about.
    fn trouble(&self, result: Result<(), Core>) -> Option<Core> {
        match (&self.job.operation, self.gathered.topics.first()) {
            _ if result.is_err() => result.err(),
            (Operation::Describe { name: Some(_) }, Some(topic)) if topic.error.0 != 0 => {
                Some(Core::Broker(topic.error))
            }
            _ => None,
        }
    }

    /// Handles the end of an attempt: why it failed, if it did. `None`: the task has ended, too.
    fn done(
        mut self,
        why: Option<(Core, Error)>,
        now: Instant,
        recent: &mut Recent,
        hub: &Hub,
    ) -> Option<Self> {
        let Some((error, why)) = why else {
            recent.note(&self.job.operation, now);
            return self.proceed(now);
        };
        match error {
            Core::Broker(code) if self.unsure && had_worked(&self.job.operation, code.0) => {
                recent.note(&self.job.operation, now);
                return self.succeed();
            }
            Core::Broker(code) if recent.worth_retrying(&self.job.operation, code.0, now) => {}
            Core::Closed(why) => self.unsure |= !matches!(why, CloseReason::Refused),
            Core::TimedOut => self.unsure = true,
            // It may be starting.
            Core::Peer(PeerFault::NoBrokers) => {}
            _ => {
                self.fail(why);
                return None;
            }
        }
        self.report(&why, hub);
        self.last = Some(why);
        self.again(now);
        Some(self)
    }

    /// Handles the success of a request; `None` where it was the last one.
    fn proceed(mut self, now: Instant) -> Option<Self> {
        let Operation::Group(wanted) = &mut self.job.operation else { return self.succeed() };
        if let Wanted::List = wanted {
            let brokers = self.gathered.cluster.brokers.iter().map(|broker| broker.id);
            self.state = State::Listing(Listing::new(brokers));
        } else if wanted.next_part() {
            (self.state, self.pause) = (State::Waiting { until: now }, PAUSE);
        } else {
            return self.succeed();
        }
        Some(self)
    }

    fn succeed(self) -> Option<Self> {
        let mut gathered = self.gathered;
        gathered.sort();
        (self.job.finish)(Ok(gathered));
        None
    }

    fn fail(self, error: Error) {
        let mut error = error.doing(self.job.operation.to_string());
        if let Some(said) = self.gathered.said {
            error = error.with_message(said);
        }
        (self.job.finish)(Err(error));
    }

    /// Advances what needs no response. `None`: the task has ended.
    fn advance(
        mut self,
        driver: &mut Driver<'_>,
        now: Instant,
        failure: Option<&Failure>,
        reasons: &Reasons,
        hub: &Hub,
    ) -> Option<Self> {
        if let State::Offsets(offsets) = &mut self.state {
            for (partition, error) in offsets.stuck(driver, now) {
                let Some(topic) = driver.topic_name(offsets.topic()) else { break };
                let topic: Arc<str> = topic.into();
                let error = error.reading(&topic, partition);
                hub.report(|| Some(Told::PartitionFailed { topic, partition, error }));
            }
            match offsets.advance(driver, now) {
                Ok(None) => {}
                Ok(Some(found)) => {
                    self.gathered.offsets = found;
                    return self.succeed();
                }
                Err(error) => {
                    self.fail(error.into());
                    return None;
                }
            }
        }
        let over = self.until <= now || driver.is_hopeless();
        if matches!(&self.state, State::Listing(listing) if over || listing.is_complete()) {
            self.end_listing(driver, failure, reasons);
            return None;
        }
        self.report_refusals(driver, now, hub);
        if self.is_forgotten() {
            self.stop(driver, now);
            return None;
        }
        let hopeless = driver.is_hopeless();
        if self.until > now && !hopeless {
            return Some(self);
        }
        if let State::Offsets(offsets) = &mut self.state
            && matches!(self.job.operation, Operation::Offsets { list: Some(_), .. })
            && let Some(partial) = offsets.partial(driver, &reasons.timed_out(driver, failure))
        {
            offsets.stop(driver, now);
            self.gathered.offsets = partial;
            return self.succeed();
        }
        if hopeless {
            self.stop(driver, now);
            self.fail(reasons.timed_out(driver, failure));
            return None;
        }
        let error = self.why_late(driver, failure, reasons);
        self.stop(driver, now);
        self.fail(error);
        None
    }

    /// Returns why there is no result when the time is over.
    fn why_late(
        &mut self,
        driver: &Driver<'_>,
        failure: Option<&Failure>,
        reasons: &Reasons,
    ) -> Error {
        // The present obstacle says more than how the last attempt ended.
        let over = |last: &Error| {
            !matches!(last.kind(), ErrorKind::Kafka(Core::Closed(_) | Core::TimedOut))
        };
        let late = || reasons.timed_out(driver, failure);
        match (self.last.take(), &self.state) {
            (Some(last), _) if over(&last) || driver.obstacle().is_none() => last,
            (_, State::Requested(id)) => {
                why_not(driver.obstacle_of_request(*id), driver, failure, late)
            }
            (_, State::Offsets(offsets)) => {
                why_not(driver.obstacle_of_topic(offsets.topic()), driver, failure, late)
            }
            _ => late(),
        }
    }

    /// Ends with the groups that brokers have listed.
    fn end_listing(mut self, driver: &Driver<'_>, failure: Option<&Failure>, reasons: &Reasons) {
        let State::Listing(listing) = &mut self.state else { return };
        let late = || reasons.timed_out(driver, failure);
        let listed = listing.result(|id| match id {
            Some(id) => why_not(driver.obstacle_of_request(id), driver, failure, late),
            None => late(),
        });
        match listed {
            Ok(listing) => {
                self.gathered.listing = listing;
                self.succeed();
            }
            Err(error) => self.fail(error),
        }
    }

    /// Reports, once, what a request is refused with although it is repeated.
    fn report_refusals(&mut self, driver: &Driver<'_>, now: Instant, hub: &Hub) {
        let State::Requested(id) = self.state else { return };
        if self.report_at.is_none_or(|at| at > now) {
            return;
        }
        self.report_at = Some(now + REFUSED);
        if let Some(obstacle) = driver.obstacle_of_request(id)
            && matches!(obstacle, Obstacle::Refused { .. } | Obstacle::NoController { .. })
        {
            self.report_at = None;
            self.report(&located(Core::Blocked(obstacle), driver, None), hub);
        }
    }

    /// Reports what keeps a topic from what is wanted of it; nothing where it is about no topic.
    fn report(&self, why: &Error, hub: &Hub) {
        if let Some(topic) = self.job.operation.topic() {
            let error = why.clone().doing(self.job.operation.to_string());
            hub.report(|| Some(Told::TopicFailed { topic: topic.into(), error }));
        }
    }

    fn stop(&mut self, driver: &mut Driver<'_>, now: Instant) {
        if let State::Offsets(offsets) = &mut self.state {
            offsets.stop(driver, now);
        }
    }

    /// Whether no caller waits for the result any more.
    fn is_forgotten(&self) -> bool {
        let requested = matches!(self.state, State::Requested(_));
        !requested && self.job.operation.only_reports() && !(self.job.is_awaited)()
    }
}

impl Gathered {
    fn add(&mut self, reply: &Reply<'_>) {
        match *reply {
            Reply::Broker { id, host, port, rack } => {
                let port = u16::try_from(port).unwrap_or_default();
                let (host, rack) = (host.to_owned(), rack.map(str::to_owned));
                self.cluster.brokers.push(BrokerDescription { id, host, port, rack });
            }
            Reply::Cluster { id, controller } => {
                self.cluster.id = id.map(str::to_owned);
                self.cluster.controller = controller;
            }
            Reply::Topic { name, id, internal, error } => {
                let (name, partitions) = (name.to_owned(), Vec::new());
                self.topics.push(TopicDescription { name, id, internal, error, partitions });
            }
            Reply::Partition { index, leader, epoch, replicas, isr, error } => {
                let (Some(topic), Ok(index)) = (self.topics.last_mut(), u32::try_from(index))
                else {
                    return;
                };
                topic.partitions.push(PartitionDescription {
                    index,
                    leader: (leader >= 0).then_some(leader),
                    epoch,
                    replicas: replicas.collect(),
                    isr: isr.collect(),
                    error,
                });
            }
            Reply::Message(said) => self.said = Some(said.to_owned()),
            Reply::Group(ref reply) => self.group.add(reply),
            _ => {}
        }
    }

    /// Sorts the result: brokers return the order of their hash tables.
    fn sort(&mut self) {
        self.group.sort();
        self.cluster.brokers.sort_by_key(|broker| broker.id);
        self.topics.sort_by(|a, b| a.name.cmp(&b.name));
        for topic in &mut self.topics {
            topic.partitions.sort_by_key(|partition| partition.index);
        }
    }
}

impl core::fmt::Display for Operation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Create(topic) => write!(f, "create topic {}", topic.name),
            Self::Grow { name, count } => write!(f, "grow topic {name} to {count} partitions"),
            Self::Delete { name } => write!(f, "delete topic {name}"),
            Self::Describe { name: Some(name) } => write!(f, "describe topic {name}"),
            Self::Describe { name: None } => f.write_str("describe the cluster"),
            Self::Offsets { name, .. } => write!(f, "offsets of topic {name}"),
            Self::Group(wanted) => wanted.fmt(f),
        }
    }
}
