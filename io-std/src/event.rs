//! Events of a background thread: growth, moved leaders, lost connections.

use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use kavka_core::wire::{ApiKey, ErrorCode, Uuid};
use kavka_core::{
    Commands, Instant, LoginFault, MoveReason, Obstacle, PartitionId, PeerFault, Signal, TopicId,
};

use crate::address;
use crate::driver::Failure;
use crate::error::{Error, ErrorKind, is_foreign, login_fault};
use crate::pending::{Pending, lock};
use crate::queue::Queue;

/// Events that wait for one receiver before the oldest are dropped.
const WAITING: usize = 1024;

/// Something happened to a topic or a connection.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// The topic's partitions are known for the first time.
    TopicReady {
        /// The topic.
        topic: Arc<str>,
        /// How many partitions it has.
        partitions: u32,
    },
    /// The topic has grown.
    PartitionsAdded {
        /// The topic.
        topic: Arc<str>,
        /// Partitions before.
        from: u32,
        /// Partitions now.
        to: u32,
        /// Node id of the broker that reported it, -1 for a bootstrap address.
        broker: i32,
        /// Kind of the response.
        signal: Signal,
    },
    /// A partition in use has a new leader.
    LeaderMoved {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: u32,
        /// Its leader epoch, -1 where brokers have none.
        epoch: i32,
    },
    /// The topic was deleted and recreated.
    TopicRecreated {
        /// The topic.
        topic: Arc<str>,
        /// Partitions of the new one.
        partitions: u32,
    },
    /// The topic cannot be used for now; the client retries.
    TopicFailed {
        /// The topic.
        topic: Arc<str>,
        /// Why.
        error: Error,
    },
    /// A broker responded with less than is known of the topic.
    BrokerStale {
        /// Node id, -1 for a bootstrap address.
        broker: i32,
        /// The topic.
        topic: Arc<str>,
    },
    /// A topic has grown under [`KeyOrder::Drain`](kavka_core::KeyOrder::Drain), and keys wait no
    /// longer for what was produced before.
    Drained {
        /// The topic.
        topic: Arc<str>,
        /// Partitions that keys are spread over now.
        partitions: u32,
        /// Whether all of it was settled. `false`: the time was over, and records of a key may be
        /// out of order.
        settled: bool,
    },
    /// Partitions that were added to a topic are read from now on
    /// ([`OrderedGrowth`](kavka_core::OrderedGrowth)).
    GrowthRead {
        /// The topic.
        topic: Arc<str>,
        /// The first of them.
        from: u32,
        /// How many were held by this consumer.
        partitions: u32,
        /// For how long.
        waited: Duration,
        /// Whether those that keys come from have been read, in a group committed. `false`: the
        /// time was over, and records of a key may be out of order.
        ordered: bool,
    },
    /// A partition was assigned.
    Assigned {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: u32,
    },
    /// The group takes a partition away: no more records of it come, and it is given up when the
    /// application has committed what it took, see
    /// [`Config::revocation_wait`](crate::Config::revocation_wait).
    Revoking {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: u32,
    },
    /// The group took a partition away without a chance to commit: another member may read it
    /// already.
    Lost {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: u32,
    },
    /// A topic is part of a subscription by pattern from now on: where the coordinator finds the
    /// topics, when this member gets partitions of it.
    TopicJoined {
        /// The topic.
        topic: Arc<str>,
    },
    /// A topic is no longer part of it: it was deleted or, where the coordinator finds the topics,
    /// this member has none of its partitions.
    TopicLeft {
        /// The topic.
        topic: Arc<str>,
    },
    /// All that the group has assigned is in place.
    Rebalanced {
        /// Partitions that this member reads.
        partitions: u32,
    },
    /// Partitions are no member's: the group is led by another client, which plans by older counts
    /// than this one has. Its member begins another round each minute until they are assigned.
    Unassigned {
        /// The topic.
        topic: Arc<str>,
        /// The first of them.
        first: u32,
        /// The last of them, among the 256 from the first one that may be.
        last: u32,
        /// How many they are up to the last.
        partitions: u32,
        /// The client id of the member that leads.
        leader: Arc<str>,
    },
    /// The group's coordinator has been of no use for half a second; the client retries.
    GroupTrouble {
        /// Why.
        error: Error,
    },
    /// The coordinator of transactions has been of no use for half a second; the client retries.
    TransactionTrouble {
        /// Why.
        error: Error,
    },
    /// A commit of no caller that waits for it has failed.
    CommitFailed {
        /// Why.
        error: Error,
    },
    /// A leader returned the position where reading begins: what is written from now on is not
    /// missed.
    Positioned {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: u32,
        /// Offset of the next record.
        offset: i64,
    },
    /// All that there was in a partition has been taken. Once for each move of the position, also
    /// for a move past what holds no records, such as a transaction marker.
    EndOfPartition {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: u32,
        /// Offset of the next record.
        offset: i64,
    },
    /// A position jumped.
    Moved {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: u32,
        /// Position before.
        from: i64,
        /// Position now.
        to: i64,
        /// Why.
        why: MoveReason,
    },
    /// A partition cannot be read, or records of a producer cannot be written to it, for now; the
    /// client retries.
    PartitionFailed {
        /// The topic.
        topic: Arc<str>,
        /// The partition.
        partition: u32,
        /// Why.
        error: Error,
    },
    /// A broker has not responded for some seconds, or a connection to it is not established for so
    /// long. Once for each silence.
    Unresponsive {
        /// Node id, -1 for a bootstrap address.
        broker: i32,
        /// `host:port`.
        address: Arc<str>,
        /// How long nothing has arrived.
        silent: Duration,
    },
    /// A connection ended or could not be established; the client retries.
    Disconnected {
        /// Node id, -1 for a bootstrap address.
        broker: i32,
        /// Why; its [`Error::broker`] has the address.
        error: Error,
    },
}

/// What is known of a topic, and how old that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Partitions.
    pub partitions: u32,
    /// How often the topic was recreated since it is watched.
    pub generation: u32,
    /// Kafka's id of the topic, zero where brokers have none (before 2.8).
    pub id: Uuid,
    /// How long ago a broker last confirmed the count.
    pub age: Duration,
    /// Node id of that broker, -1 for a bootstrap address.
    pub broker: i32,
    /// Kind of its response.
    pub signal: Signal,
}

impl Freshness {
    pub(crate) fn new(known: &kavka_core::Freshness, now: Instant) -> Self {
        Self {
            partitions: known.partitions,
            generation: known.generation,
            id: known.id,
            age: known.confirmed.until(now),
            broker: known.by.broker,
            signal: known.by.signal,
        }
    }
}

/// Receives [`Event`]s from its creation on; the first one of a client also those from before. When
/// it is not read, the oldest of more than 1024 are dropped.
pub struct Events {
    queue: Arc<Queue<Event>>,
}

impl Events {
    /// The next event.
    ///
    /// # Errors
    /// When the client it belongs to is gone.
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`] loses no event: it waits for the next call.
    #[must_use = "nothing else reports the result"]
    pub fn next(&self) -> Pending<Event> {
        Pending::new(self.queue.clone(), 0)
    }

    /// The events as a stream; each goes to the first taker.
    #[cfg(feature = "stream")]
    pub fn stream(&self) -> crate::stream::Items<Event> {
        crate::stream::Items::new(self.queue.clone())
    }

    /// The next event if there is one now.
    #[must_use]
    pub fn try_next(&self) -> Option<Event> {
        self.queue.try_pop()?.ok()
    }

    /// The next event if there is one within `timeout`.
    #[must_use]
    pub fn next_timeout(&self, timeout: Duration) -> Option<Event> {
        self.next().wait_timeout(timeout).ok()?.ok()
    }
}

/// The background thread's side: all receivers.
pub(crate) struct Hub {
    state: Mutex<Receivers>,
}

struct Receivers {
    list: Vec<Weak<Queue<Event>>>,
    /// For the first receiver, which also gets the events before its creation.
    early: Option<Arc<Queue<Event>>>,
}

impl Default for Hub {
    fn default() -> Self {
        let early = Arc::new(Queue::new());
        let list = vec![Arc::downgrade(&early)];
        Self { state: Mutex::new(Receivers { list, early: Some(early) }) }
    }
}

impl Hub {
    pub(crate) fn subscribe(&self) -> Events {
        let mut state = lock(&self.state);
        let queue = state.early.take().unwrap_or_else(|| {
            let queue = Arc::new(Queue::new());
            state.list.push(Arc::downgrade(&queue));
            queue
        });
        Events { queue }
    }

    /// Sends an event to all receivers; `event` is called only when there is one.
    pub(crate) fn report(&self, event: impl FnOnce() -> Option<Event>) {
        let mut state = lock(&self.state);
        state.list.retain(|receiver| receiver.strong_count() > 0);
        let logs = cfg!(any(feature = "log", feature = "tracing"));
        if state.list.is_empty() && !logs {
            return;
        }
        let Some(event) = event() else { return };
        #[cfg(any(feature = "log", feature = "tracing"))]
        crate::logged::event(name(&event), Text(&event));
        for queue in state.list.iter().filter_map(Weak::upgrade) {
            queue.push_with(|items| {
                if items.len() >= WAITING {
                    items.pop_front();
                }
                items.push_back(event.clone());
            });
        }
    }

    pub(crate) fn close(&self, error: &Error) {
        for receiver in lock(&self.state).list.iter().filter_map(Weak::upgrade) {
            receiver.close(error.clone());
        }
    }
}

#[cfg(any(feature = "log", feature = "tracing"))]
/// Name of an event in logs, and whether an operator should look at it.
fn name(event: &Event) -> (&'static str, bool) {
    match event {
        Event::TopicReady { .. } => ("topic_ready", false),
        Event::PartitionsAdded { .. } => ("partitions_added", false),
        Event::LeaderMoved { .. } => ("leader_moved", false),
        Event::TopicRecreated { .. } => ("topic_recreated", true),
        Event::TopicFailed { .. } => ("topic_failed", true),
        Event::BrokerStale { .. } => ("broker_stale", true),
        Event::Drained { settled, .. } => ("drained", !*settled),
        Event::GrowthRead { ordered, .. } => ("growth_read", !*ordered),
        Event::Assigned { .. } => ("assigned", false),
        Event::Revoking { .. } => ("revoking", false),
        Event::TopicJoined { .. } => ("topic_joined", false),
        Event::TopicLeft { .. } => ("topic_left", false),
        Event::Rebalanced { .. } => ("rebalanced", false),
        Event::Lost { .. } => ("lost", true),
        Event::Unassigned { .. } => ("unassigned", true),
        Event::GroupTrouble { .. } => ("group_trouble", true),
        Event::TransactionTrouble { .. } => ("transaction_trouble", true),
        Event::CommitFailed { .. } => ("commit_failed", true),
        Event::Positioned { .. } => ("positioned", false),
        Event::EndOfPartition { .. } => ("end_of_partition", false),
        Event::Moved { .. } => ("moved", true),
        Event::PartitionFailed { .. } => ("partition_failed", true),
        Event::Disconnected { .. } => ("disconnected", true),
        Event::Unresponsive { .. } => ("unresponsive", true),
    }
}

/// What happened, for people.
#[cfg(any(feature = "log", feature = "tracing"))]
struct Text<'a>(&'a Event);

#[cfg(any(feature = "log", feature = "tracing"))]
impl std::fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Event::TopicFailed { error, .. }
            | Event::PartitionFailed { error, .. }
            | Event::GroupTrouble { error }
            | Event::TransactionTrouble { error }
            | Event::CommitFailed { error }
            | Event::Disconnected { error, .. } => write!(f, "{error}"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// Returns events that need no more than the client's own names; `None` for the others.
pub(crate) fn owned(
    event: &kavka_core::Event<'_>,
    commands: &Commands<'_>,
    failure: Option<&Failure>,
) -> Option<Event> {
    use kavka_core::Event as Core;
    let name = |topic: TopicId| commands.topic_name(topic).map(Arc::<str>::from);
    Some(match *event {
        Core::TopicReady { topic, partitions } => {
            Event::TopicReady { topic: name(topic)?, partitions }
        }
        Core::PartitionsAdded { topic, from, to, by } => {
            let (broker, signal) = (by.broker, by.signal);
            Event::PartitionsAdded { topic: name(topic)?, from, to, broker, signal }
        }
        Core::LeaderMoved { topic, partition, epoch } => {
            Event::LeaderMoved { topic: name(topic)?, partition, epoch }
        }
        Core::TopicRecreated { topic, partitions } => {
            Event::TopicRecreated { topic: name(topic)?, partitions }
        }
        Core::TopicFailed { topic, error } => {
            let error = explained(error, commands.obstacle_of_topic(topic), commands, failure);
            let topic = name(topic)?;
            let error = error.doing(format!("topic {topic}"));
            Event::TopicFailed { topic, error }
        }
        Core::Drained { topic, partitions, settled, .. } => {
            Event::Drained { topic: name(topic)?, partitions, settled }
        }
        Core::GrowthRead { topic, from, partitions, waited, ordered } => {
            Event::GrowthRead { topic: name(topic)?, from, partitions, waited, ordered }
        }
        Core::BrokerStale { broker, topic } => Event::BrokerStale { broker, topic: name(topic)? },
        Core::Unresponsive { broker, silent } => {
            let address = commands.broker_address(broker);
            let address = address.map(|(host, port)| address::text(host, port));
            Event::Unresponsive { broker, address: address.unwrap_or_default().into(), silent }
        }
        Core::TransactionTrouble { error } => Event::TransactionTrouble {
            error: located(error, commands, failure).doing("coordinator of transactions"),
        },
        Core::Disconnected { broker, error } => {
            Event::Disconnected { broker, error: disconnected(broker, error, commands, failure) }
        }
        _ => return None,
    })
}

/// A connection's error, with the address that it led to, and what the system said of it.
fn disconnected(
    broker: i32,
    error: kavka_core::Error,
    commands: &Commands<'_>,
    failure: Option<&Failure>,
) -> Error {
    let doing = match error {
        kavka_core::Error::Closed(_) => "", // its text begins so
        _ => "connection",
    };
    at_address(Error::from(error).doing(doing), broker, commands, failure)
}

/// Returns an error with the address of its obstacle, where it has one.
pub(crate) fn located(
    error: kavka_core::Error,
    commands: &Commands<'_>,
    failure: Option<&Failure>,
) -> Error {
    let broker = match error {
        kavka_core::Error::Blocked(obstacle) => obstacle.broker(),
        // No broker has it: the bootstrap address stands for all.
        kavka_core::Error::Peer(PeerFault::NoApi(_) | PeerFault::NoCommonVersion { .. }) => {
            Some(-1)
        }
        _ => None,
    };
    match broker {
        Some(broker) => at_address(Error::from(error), broker, commands, failure),
        None => error.into(),
    }
}

/// Returns what a broker responded with, or how it broke the protocol, with the request and the
/// address of the obstacle if that is the same.
pub(crate) fn explained(
    error: kavka_core::Error,
    obstacle: Option<Obstacle>,
    commands: &Commands<'_>,
    failure: Option<&Failure>,
) -> Error {
    use kavka_core::Error as Core;
    let same = match (error, obstacle) {
        (Core::Broker(code), Some(Obstacle::Refused { code: other, .. })) => code == other,
        (Core::Peer(fault), Some(Obstacle::Peer { fault: other, .. })) => fault == other,
        _ => false,
    };
    match obstacle.filter(|_| same).and_then(|obstacle| Some((obstacle.broker()?, obstacle.api())))
    {
        Some((broker, api)) => refused(error, broker, api, commands, failure),
        None => located(error, commands, failure),
    }
}

/// The same of a partition, whose leader it was where no obstacle is left: of an offset that is out
/// of range.
pub(crate) fn explained_at(
    error: kavka_core::Error,
    at: PartitionId,
    commands: &Commands<'_>,
    failure: Option<&Failure>,
) -> Error {
    let why = explained(error, commands.obstacle_of(at), commands, failure);
    let (kavka_core::Error::Broker(code), None) = (error, why.broker()) else { return why };
    let leader = commands.topic_partition(at).and_then(|at| commands.leader_of(at));
    let api = (code == ErrorCode::OFFSET_OUT_OF_RANGE).then_some(ApiKey::FETCH);
    leader.map_or(why, |leader| refused(error, leader, api, commands, failure))
}

/// Returns how a broker responded to a request.
pub(crate) fn refused(
    error: kavka_core::Error,
    broker: i32,
    api: Option<ApiKey>,
    commands: &Commands<'_>,
    failure: Option<&Failure>,
) -> Error {
    at_address(Error::from(error).to(api), broker, commands, failure)
}

/// Returns an obstacle as an error; `late` where there is none but that of all requests.
pub(crate) fn why_not(
    obstacle: Option<Obstacle>,
    commands: &Commands<'_>,
    failure: Option<&Failure>,
    late: impl FnOnce() -> Error,
) -> Error {
    match obstacle {
        // What stands in the way of everything has more to say.
        Some(obstacle) if commands.obstacle() != Some(obstacle) => {
            located(kavka_core::Error::Blocked(obstacle), commands, failure)
        }
        _ => late(),
    }
}

/// Returns a time-out, with the obstacle of all requests if there is one.
pub(crate) fn timed_out(commands: &Commands<'_>, failure: Option<&Failure>) -> Error {
    let error = commands.obstacle().map_or(kavka_core::Error::TimedOut, kavka_core::Error::Blocked);
    located(error, commands, failure)
}

/// Which cluster an address led to, and which is this client's.
fn why_refused(error: &Error, commands: &Commands<'_>) -> Option<String> {
    if !is_foreign(error.kind()) {
        return None;
    }
    let ours = commands.cluster_id()?;
    let by = commands.cluster_address().map(|(host, port)| address::text(host, port));
    let by = by.map_or_else(String::new, |address| format!(", that of {address}"));
    Some(match commands.refused_cluster_id() {
        Some(other) => format!("its cluster id is {other}, this client's is {ours}{by}"),
        None => format!("it names no cluster id, this client's is {ours}{by}"),
    })
}

fn at_address(
    error: Error,
    broker: i32,
    commands: &Commands<'_>,
    failure: Option<&Failure>,
) -> Error {
    let Some((host, port)) = commands.broker_address(broker) else {
        return if broker < 0 { error } else { error.at_broker(broker.to_string()) };
    };
    let address = address::text(host, port);
    let text = match error.kind() {
        ErrorKind::Kafka(error) => text_of(error, &address, failure),
        _ => None,
    };
    let why = why_refused(&error, commands).or_else(|| {
        // The broker's own words, or what it offers.
        let words = commands.login_refusal().filter(|_| login_fault(error.kind()).is_some())?;
        Some(match login_fault(error.kind()) {
            Some(LoginFault::Mechanism) => format!("it has {words}"),
            _ => words.to_owned(),
        })
    });
    let error = match why {
        Some(why) => error.with_message(why),
        None => error,
    };
    error.at_broker(text.unwrap_or(address))
}

/// An address with what the system said of it last, unless that is about another connection.
pub(crate) fn text_of(
    error: kavka_core::Error,
    address: &str,
    failure: Option<&Failure>,
) -> Option<String> {
    use kavka_core::Error as Core;
    let why = match error {
        Core::Closed(why) | Core::Blocked(Obstacle::Unreachable { why, .. }) => why,
        _ => return None,
    };
    let same = failure.filter(|failure| failure.explains(address, why));
    same.map(|failure| failure.text().to_string())
}

#[cfg(all(test, any(feature = "log", feature = "tracing")))]
mod tests {
    use super::*;

    fn samples() -> [Event; 24] {
        let (topic, partition, offset): (Arc<str>, _, _) = ("t".into(), 1, 2);
        let error: Error = ErrorKind::Closed.into();
        let why = MoveReason::OutOfRange;
        let of = || topic.clone();
        [
            Event::TopicReady { topic: of(), partitions: 3 },
            Event::PartitionsAdded {
                topic: of(),
                from: 3,
                to: 4,
                broker: 5,
                signal: Signal::Metadata,
            },
            Event::LeaderMoved { topic: of(), partition, epoch: 6 },
            Event::Drained { topic: of(), partitions: 3, settled: true },
            Event::GrowthRead {
                topic: of(),
                from: 3,
                partitions: 2,
                waited: Duration::from_secs(1),
                ordered: true,
            },
            Event::Assigned { topic: of(), partition },
            Event::Positioned { topic: of(), partition, offset },
            Event::EndOfPartition { topic: of(), partition, offset },
            Event::Revoking { topic: of(), partition },
            Event::TopicJoined { topic: of() },
            Event::TopicLeft { topic: of() },
            Event::Rebalanced { partitions: 3 },
            Event::Lost { topic: of(), partition },
            Event::Unassigned { topic: of(), first: 1, last: 3, partitions: 3, leader: of() },
            Event::GroupTrouble { error: error.clone() },
            Event::TransactionTrouble { error: error.clone() },
            Event::CommitFailed { error: error.clone() },
            Event::TopicRecreated { topic: of(), partitions: 3 },
            Event::TopicFailed { topic: of(), error: error.clone() },
            Event::BrokerStale { broker: 5, topic: of() },
            Event::Moved { topic: of(), partition, from: 1, to: 2, why },
            Event::PartitionFailed { topic: of(), partition, error: error.clone() },
            Event::Disconnected { broker: 5, error },
            Event::Unresponsive { broker: 5, address: "b:1".into(), silent: Duration::ZERO },
        ]
    }

    /// In logs an event has the name of its variant, and only what goes wrong is a warning.
    #[test]
    fn events_are_named_and_warn_of_what_goes_wrong() {
        for (n, event) in samples().iter().enumerate() {
            let variant = format!("{event:?}");
            let variant = variant.split(' ').next().unwrap();
            let snake = |(at, c): (usize, char)| match c.is_uppercase() {
                true if at > 0 => format!("_{}", c.to_lowercase()),
                _ => c.to_lowercase().to_string(),
            };
            let snake: String = variant.chars().enumerate().map(snake).collect();
            assert_eq!(name(event), (snake.as_str(), n >= 12), "{variant}");
        }
    }
}
