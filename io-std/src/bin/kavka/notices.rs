//! Events in words, on stderr.

use core::time::Duration;
use std::thread;
use std::time::Instant;

use kavka_std::kavka_core::{CloseReason, Error as Core, MoveReason, Obstacle, PeerFault, Signal};
use kavka_std::{Error, ErrorKind, Event, Events, Freshness, NetMetrics, Pending, Producer};

use super::failure::UNKNOWN;
use super::{Failure, failure, interrupt, lines};

/// Requests that end within this time need no comment.
pub(super) const PATIENCE: Duration = Duration::from_secs(1);
/// A topic that was just created may be unknown to some brokers for this long.
const NEW: Duration = Duration::from_secs(2);
/// Between two requests for such a topic.
const AGAIN: Duration = Duration::from_millis(100);
/// How often an interrupt is looked for.
const TICK: Duration = Duration::from_millis(50);

/// Prints events: what goes wrong, or with `all` whatever happens.
pub(super) struct Notices {
    all: bool,
}

impl Notices {
    pub(super) fn new(all: bool) -> Self {
        Self { all }
    }

    pub(super) fn show(&self, event: &Event) {
        if self.all || trouble(event).is_some() {
            lines::notice(&describe(event));
        }
    }

    /// Waits for a result of an [`Admin`](kavka_std::Admin); what goes wrong is printed when it
    /// takes longer than a moment. Ends early with a signal.
    pub(super) fn wait<T>(&self, pending: Pending<T>, events: &Events) -> Result<T, Failure> {
        Ok(self.wait_for(pending, events, |_| None)??)
    }

    /// Waits until a topic is known, or until it is known that it will not be.
    pub(super) fn wait_known(
        &self,
        producer: &Producer,
        topic: &str,
        events: &Events,
    ) -> Result<Freshness, Failure> {
        let net = || Some(producer.metrics().wait_timeout(PATIENCE).ok()?.ok()?.net);
        let ends = |event: &Event| hopeless(event, net);
        Ok(self.wait_for(producer.freshness(topic), events, ends)??)
    }

    /// The same for a topic that brokers may not know yet: it may have been created just now. With
    /// an error to examine.
    pub(super) fn wait_for_topic<T>(
        &self,
        request: impl Fn() -> Pending<T>,
        events: &Events,
    ) -> Result<Result<T, Error>, Failure> {
        let begun = Instant::now();
        loop {
            match self.wait_for(request(), events, |_| None)? {
                Err(error)
                    if error.code().is_some_and(|code| code.0 == UNKNOWN)
                        && begun.elapsed() < NEW
                        && !interrupt::came() =>
                {
                    thread::sleep(AGAIN);
                }
                other => return Ok(other),
            }
        }
    }

    /// Waits for a result, with an error to examine. `ends`: why there will be none.
    pub(super) fn wait_for<T>(
        &self,
        pending: Pending<T>,
        events: &Events,
        ends: impl Fn(&Event) -> Option<String>,
    ) -> Result<Result<T, Error>, Failure> {
        let begun = Instant::now();
        let mut pending = pending;
        let mut early = Vec::new();
        loop {
            let (result, again) = match pending.wait_timeout(TICK) {
                Ok(result) => (Some(result), None),
                Err(again) => (None, Some(again)),
            };
            early.extend(core::iter::from_fn(|| events.try_next()));
            if self.all || begun.elapsed() >= PATIENCE {
                early.iter().for_each(|event| self.show(event));
                if result.is_none()
                    && let Some(why) = early.iter().find_map(&ends)
                {
                    return Err(Failure::Failed(why));
                }
                early.clear();
            }
            pending = match (result, again) {
                (Some(result), _) => return Ok(result),
                (None, Some(again)) if !interrupt::came() => again,
                _ => {
                    let text = "interrupted before a broker had responded";
                    return Err(Failure::Interrupted(text.to_owned()));
                }
            };
        }
    }
}

/// What goes wrong, if something does.
pub(super) fn trouble(event: &Event) -> Option<String> {
    let wrong = matches!(
        event,
        Event::TopicFailed { .. }
            | Event::Disconnected { .. }
            | Event::Unresponsive { .. }
            | Event::Moved { .. }
            | Event::Unassigned { .. }
            | Event::GroupTrouble { .. }
            | Event::TransactionTrouble { .. }
            | Event::CommitFailed { .. }
            | Event::Drained { settled: false, .. }
            | Event::GrowthRead { ordered: false, .. }
            | Event::PartitionFailed { .. }
    );
    wrong.then(|| describe(event))
}

/// Why waiting is in vain, if it is: brokers agree that a topic does not exist, or an address leads
/// to another cluster and no other broker responds. `net`: the connections.
pub(super) fn hopeless(event: &Event, net: impl FnOnce() -> Option<NetMetrics>) -> Option<String> {
    match event {
        Event::TopicFailed { error, .. } if error.code().is_some_and(|code| code.0 == UNKNOWN) => {
            Some(failure::describe(error))
        }
        Event::Disconnected { error, .. } if leads_elsewhere(error) || is_refused(error) => {
            let address = error.broker().unwrap_or_default();
            let alone = net().is_some_and(|net| {
                net.each.iter().all(|at| at.round_trip.is_none() || *at.address == *address)
            });
            alone.then(|| failure::describe(error))
        }
        _ => None,
    }
}

/// Whether the address refuses the login, as long as nothing is changed.
fn is_refused(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Kafka(
            Core::Closed(CloseReason::Certificate)
            | Core::Blocked(Obstacle::Unreachable { why: CloseReason::Certificate, .. }),
        ) => true,
        ErrorKind::Kafka(
            Core::Peer(PeerFault::Login(fault))
            | Core::Blocked(Obstacle::Peer { fault: PeerFault::Login(fault), .. }),
        ) => fault.is_permanent(),
        _ => false,
    }
}

/// Whether the address belongs to another cluster.
pub(super) fn leads_elsewhere(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::Kafka(
            Core::Peer(PeerFault::OtherCluster)
                | Core::Blocked(Obstacle::Peer { fault: PeerFault::OtherCluster, .. })
        )
    )
}

/// Prints events on a thread of their own until the client ends. `ending` returns whether an event
/// ended the command.
pub(super) fn in_background(
    events: Events,
    all: bool,
    ending: impl Fn(&Event) -> bool + Send + 'static,
) {
    let run = move || {
        let notices = Notices::new(all);
        while let Ok(event) = events.next().wait() {
            if !ending(&event) {
                notices.show(&event);
            }
        }
    };
    // Without another thread there are no notices, only results.
    let _ = thread::Builder::new().name("kavka-notices".into()).spawn(run);
}

/// An event in words.
pub(super) fn describe(event: &Event) -> String {
    let at = |topic: &str, partition: &u32| format!("{topic}, partition {partition}");
    match event {
        Event::TopicReady { topic, partitions } => {
            format!("{topic}: {}", count(*partitions))
        }
        Event::PartitionsAdded { topic, from, to, broker, signal } => {
            let (broker, signal) = (node(*broker), signal_name(*signal));
            format!("{topic}: grown from {from} to {to} partitions ({broker}, by {signal})")
        }
        Event::LeaderMoved { topic, partition, epoch: -1 } => {
            format!("{}: new leader", at(topic, partition))
        }
        Event::LeaderMoved { topic, partition, epoch } => {
            format!("{}: new leader, epoch {epoch}", at(topic, partition))
        }
        Event::TopicRecreated { topic, partitions } => {
            format!("{topic}: recreated with {}", count(*partitions))
        }
        Event::Drained { topic, partitions, settled } => {
            let late = if *settled { "" } else { "; not all of before was settled in time" };
            format!("{topic}: keys are spread over {} now{late}", count(*partitions))
        }
        Event::GrowthRead { topic, partitions, waited, ordered, .. } => {
            let late = if *ordered { "" } else { "; not all that keys come from was read in time" };
            let (partitions, seconds) = (count(*partitions), waited.as_secs_f64());
            format!("{topic}: {partitions} are read after {seconds:.1} s{late}")
        }
        Event::TopicFailed { error, .. }
        | Event::PartitionFailed { error, .. }
        | Event::Disconnected { error, .. } => failure::describe(error),
        Event::Unresponsive { address, silent, .. } => {
            let (seconds, advice) = (silent.as_secs(), failure::SILENT);
            format!("no response from broker {address} for {seconds} s; {advice}")
        }
        Event::BrokerStale { broker, topic } => {
            format!("{topic}: {} knows less of it than was known before", node(*broker))
        }
        Event::Assigned { topic, partition } => format!("{}: reading", at(topic, partition)),
        Event::Revoking { topic, partition } => {
            format!("{}: another member of the group gets it", at(topic, partition))
        }
        Event::Lost { topic, partition } => {
            format!("{}: lost to another member of the group", at(topic, partition))
        }
        Event::TopicJoined { topic } => format!("{topic}: part of the subscription"),
        Event::TopicLeft { topic } => format!("{topic}: no longer part of the subscription"),
        Event::Unassigned { topic, first, last, partitions, leader } => {
            unassigned(topic, (*first, *last, *partitions), leader)
        }
        Event::Rebalanced { partitions } => format!("the group gives {}", count(*partitions)),
        Event::GroupTrouble { error }
        | Event::TransactionTrouble { error }
        | Event::CommitFailed { error } => failure::describe(error),
        Event::Positioned { topic, partition, offset } => {
            format!("{}: reading begins at offset {offset}", at(topic, partition))
        }
        Event::EndOfPartition { topic, partition, offset } => {
            format!("{}: read to its end, offset {offset}", at(topic, partition))
        }
        Event::Moved { topic, partition, from, to, why } => {
            moved(&at(topic, partition), *from, *to, *why)
        }
        // There is none that this command does not know.
        _ => "something else happened".to_owned(),
    }
}

/// `which`: the first and the last one, and how many there are.
fn unassigned(topic: &str, which: (u32, u32, u32), leader: &str) -> String {
    let which = match which {
        (first, _, 1) => format!("partition {first} of {topic} is"),
        (first, last, n) if n == last - first + 1 => {
            format!("partitions {first} to {last} of {topic} are")
        }
        (first, last, n) => format!("{n} of partitions {first} to {last} of {topic} are"),
    };
    format!(
        "{which} assigned to nobody: the leader of the group, {leader}, has not looked for new \
         partitions; it is asked again each minute"
    )
}

fn moved(at: &str, from: i64, to: i64, why: MoveReason) -> String {
    let why = match why {
        MoveReason::Skipped => {
            return format!(
                "read {at}: records from offset {from} on are skipped: their batch claims to have \
                 none, or the one before it claims their offsets"
            );
        }
        MoveReason::OutOfRange => &no_offset(from),
        MoveReason::Truncated => "the log was truncated",
        MoveReason::Recreated => "the topic was recreated",
        _ => "it is not known why",
    };
    format!("{at}: position {from} -> {to}: {why}")
}

/// Why a position moved.
pub(super) fn no_offset(offset: i64) -> String {
    format!("the log does not have offset {offset}")
}

fn count(partitions: u32) -> String {
    super::text::counted(partitions.into(), "partition")
}

/// A node id, -1 for a bootstrap address.
pub(super) fn node(broker: i32) -> String {
    match broker {
        0.. => format!("broker {broker}"),
        _ => "a bootstrap broker".to_owned(),
    }
}

/// How a broker reported the number of partitions: names of Kafka's APIs.
pub(super) fn signal_name(signal: Signal) -> &'static str {
    match signal {
        Signal::Metadata => "Metadata",
        Signal::DescribeTopicPartitions => "DescribeTopicPartitions",
        Signal::ListOffsets => "ListOffsets",
        Signal::Snapshot => "Snapshot",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_in_words_and_only_some_are_trouble() {
        let topic = || "t".into();
        let ready = Event::TopicReady { topic: topic(), partitions: 2 };
        assert_eq!((describe(&ready).as_str(), trouble(&ready)), ("t: 2 partitions", None));
        let moved = Event::LeaderMoved { topic: topic(), partition: 1, epoch: 4 };
        assert_eq!(describe(&moved), "t, partition 1: new leader, epoch 4");
        let moved = Event::LeaderMoved { topic: topic(), partition: 1, epoch: -1 };
        assert_eq!(describe(&moved), "t, partition 1: new leader");
        let again = Event::TopicRecreated { topic: topic(), partitions: 1 };
        assert_eq!(describe(&again), "t: recreated with 1 partition");
        let drained = Event::Drained { topic: topic(), partitions: 4, settled: false };
        assert_eq!(
            describe(&drained),
            "t: keys are spread over 4 partitions now; not all of before was settled in time"
        );
        let stale = Event::BrokerStale { broker: 7, topic: topic() };
        assert_eq!(describe(&stale), "t: broker 7 knows less of it than was known before");
        let taken = Event::Assigned { topic: topic(), partition: 1 };
        assert_eq!(describe(&taken), "t, partition 1: reading");
        let positioned = Event::Positioned { topic: topic(), partition: 1, offset: 5 };
        assert_eq!(describe(&positioned), "t, partition 1: reading begins at offset 5");
        let ended = Event::EndOfPartition { topic: topic(), partition: 1, offset: 9 };
        assert_eq!(describe(&ended), "t, partition 1: read to its end, offset 9");
        let (broker, signal) = (-1, Signal::ListOffsets);
        let grown = Event::PartitionsAdded { topic: topic(), from: 1, to: 2, broker, signal };
        assert_eq!(
            describe(&grown),
            "t: grown from 1 to 2 partitions (a bootstrap broker, by ListOffsets)"
        );
        for (why, words) in [
            (MoveReason::OutOfRange, "the log does not have offset 9"),
            (MoveReason::Truncated, "the log was truncated"),
            (MoveReason::Recreated, "the topic was recreated"),
        ] {
            let jump = Event::Moved { topic: topic(), partition: 0, from: 9, to: 5, why };
            let text = trouble(&jump).expect("trouble");
            assert_eq!(text, format!("t, partition 0: position 9 -> 5: {words}"));
        }
    }
}
