//! Events in words, on stderr.

use core::time::Duration;
use std::io::{self, Write};
use std::thread;

use kavka_std::{Error, Event, Events, Pending};

use super::failure;

/// Requests that end within this time need no comment.
const PATIENCE: Duration = Duration::from_secs(1);

/// Prints events: what goes wrong, or with `all` whatever happens.
pub(super) struct Notices {
    all: bool,
    last: String,
}

impl Notices {
    pub(super) fn new(all: bool) -> Self {
        Self { all, last: String::new() }
    }

    pub(super) fn show(&mut self, event: &Event) {
        let text = describe(event);
        if (self.all || trouble(event).is_some()) && text != self.last {
            // Without a reader of stderr there are still results.
            let _ = writeln!(io::stderr(), "kavka: {text}");
            self.last = text;
        }
    }

    /// Shows what has happened up to now.
    pub(super) fn show_all(&mut self, events: &Events) {
        while let Some(event) = events.try_next() {
            self.show(&event);
        }
    }

    /// Waits for a result; what goes wrong is printed when it takes longer than a moment.
    pub(super) fn wait<T>(&mut self, pending: Pending<T>, events: &Events) -> Result<T, Error> {
        let mut pending = pending;
        loop {
            match pending.wait_timeout(PATIENCE) {
                Ok(result) => {
                    if self.all {
                        self.show_all(events);
                    }
                    return result;
                }
                Err(waiting) => pending = waiting,
            }
            self.show_all(events);
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
            | Event::PartitionFailed { .. }
    );
    wrong.then(|| describe(event))
}

/// Prints events on a thread of their own until the client ends.
pub(super) fn in_background(events: Events, all: bool) {
    let run = move || {
        let mut notices = Notices::new(all);
        while let Ok(event) = events.next().wait() {
            notices.show(&event);
        }
    };
    // Without another thread there are no notices, only results.
    let _ = thread::Builder::new().name("kavka-notices".into()).spawn(run);
}

/// An event in words.
pub(super) fn describe(event: &Event) -> String {
    match event {
        Event::TopicReady { topic, partitions } => format!("{topic}: {partitions} partitions"),
        Event::PartitionsAdded { topic, from, to, broker, signal } => {
            format!("{topic}: grown from {from} to {to} partitions (broker {broker}, {signal:?})")
        }
        Event::LeaderMoved { topic, partition, epoch } => {
            format!("{topic}, partition {partition}: new leader, epoch {epoch}")
        }
        Event::TopicRecreated { topic, partitions } => {
            format!("{topic}: recreated with {partitions} partitions")
        }
        Event::TopicFailed { error, .. }
        | Event::PartitionFailed { error, .. }
        | Event::Disconnected { error, .. } => failure::describe(error),
        Event::Unresponsive { address, silent, .. } => {
            format!("no answer from broker {address} for {} s", silent.as_secs())
        }
        Event::BrokerStale { broker, topic } => format!("{topic}: broker {broker} is stale"),
        Event::Assigned { topic, partition } => format!("{topic}, partition {partition}: reading"),
        Event::Moved { topic, partition, from, to, why } => {
            format!("{topic}, partition {partition}: position {from} -> {to} ({why:?})")
        }
        other => format!("{other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use kavka_std::kavka_core::MoveReason;

    use super::*;

    #[test]
    fn events_are_put_in_words_and_only_some_are_trouble() {
        let topic = || "t".into();
        let ready = Event::TopicReady { topic: topic(), partitions: 2 };
        assert_eq!((describe(&ready).as_str(), trouble(&ready)), ("t: 2 partitions", None));
        let moved = Event::LeaderMoved { topic: topic(), partition: 1, epoch: 4 };
        assert_eq!(describe(&moved), "t, partition 1: new leader, epoch 4");
        let again = Event::TopicRecreated { topic: topic(), partitions: 3 };
        assert_eq!(describe(&again), "t: recreated with 3 partitions");
        let stale = Event::BrokerStale { broker: 7, topic: topic() };
        assert_eq!(describe(&stale), "t: broker 7 is stale");
        let taken = Event::Assigned { topic: topic(), partition: 1 };
        assert_eq!(describe(&taken), "t, partition 1: reading");
        let jump = Event::Moved {
            topic: topic(),
            partition: 0,
            from: 9,
            to: 5,
            why: MoveReason::Truncated,
        };
        let text = trouble(&jump).expect("trouble");
        assert!(text.starts_with("t, partition 0: position 9 -> 5"), "{text}");
    }
}
