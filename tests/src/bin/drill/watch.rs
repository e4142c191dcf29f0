//! The receiving side: records, events, and a client that only watches.

use core::ops::Range;
use core::time::Duration;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use kavka_std::kavka_core::{self, Storage};
use kavka_std::{Consumer, Error, ErrorKind, Event, Events, Limits};

use crate::secure::Security;
use crate::state::{Probes, Shared, State, Who};

/// How often a thread checks whether the run is over.
pub(crate) const TICK: Duration = Duration::from_millis(50);

/// Records what a consumer reads, until the run or its part in it is over.
pub(crate) fn read(consumer: &Consumer, shared: &Shared, over: &dyn Fn() -> bool) {
    while !over() {
        let chunk = match consumer.next_timeout(TICK) {
            Ok(Some(chunk)) => chunk,
            Ok(None) => continue,
            Err(error) => {
                let over = matches!(error.kind(), ErrorKind::Closed | ErrorKind::Panicked);
                shared.change(|state| note_error(state, &error, over));
                if over {
                    return;
                }
                continue;
            }
        };
        let (now, micros) = (Instant::now(), shared.micros());
        shared.change(|state| {
            for record in chunk.records() {
                match record {
                    Ok(record) => {
                        let Some(tag) = state.book.delivered(&record) else { continue };
                        state.delivered.entry(record.partition).or_insert(now);
                        state.latencies.push(micros.saturating_sub(tag.sent));
                    }
                    Err(error) => note_error(state, &error, false),
                }
            }
        });
    }
}

fn note_error(state: &mut State, error: &Error, fatal: bool) {
    let text = format!("consumer: {error}");
    if fatal {
        state.fatal.get_or_insert_with(|| text.clone());
    }
    state.note(text);
}

/// Records a client's events; `added` is called with new partitions.
pub(crate) fn listen(
    events: &Events,
    who: Who,
    shared: &Shared,
    stop: &AtomicBool,
    mut added: impl FnMut(Range<u32>),
) {
    while !stop.load(Ordering::Acquire) {
        match events.next_timeout(TICK) {
            Some(Event::TopicReady { partitions, .. }) => {
                shared.change(|state| state.report(who, partitions));
            }
            Some(Event::PartitionsAdded { from, to, signal, .. }) => {
                shared.change(|state| state.report_growth(who, to, signal));
                added(from..to);
            }
            Some(event) => {
                if let Some(text) = notable(&event) {
                    shared.change(|state| state.note(text));
                }
            }
            None => {}
        }
    }
}

fn notable(event: &Event) -> Option<String> {
    Some(match event {
        Event::LeaderMoved { .. } => "a leader moved".into(),
        Event::TopicRecreated { .. } => "the topic was deleted and recreated".into(),
        Event::TopicFailed { error, .. } => format!("topic: {error}"),
        Event::BrokerStale { broker, .. } => format!("broker {broker} was behind"),
        Event::Moved { why, .. } => format!("a position jumped: {why:?}"),
        Event::PartitionFailed { error, .. } => format!("partition: {error}"),
        Event::Disconnected { error, .. } => format!("disconnected: {error}"),
        _ => return None,
    })
}

/// Runs a client that neither sends nor reads: it shows how soon an idle client notices, and what
/// watching costs.
///
/// # Errors
/// Errors of the system or the machine at the start, or of the poller later.
pub(crate) fn look_on(
    (bootstrap, security): (&str, &Security),
    topic: &str,
    seed: u64,
    shared: &Shared,
    stop: &AtomicBool,
) -> Result<(), Box<dyn core::error::Error>> {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    let mut config = kavka_core::Config::new(bootstrap);
    config.client_id = "drill-watcher";
    let mut driver = security.drive(config, Storage::heap(&Limits::small()), bytes)?;
    driver.topic(topic).map_err(|error| format!("{error:?}"))?;
    while !stop.load(Ordering::Acquire) {
        driver.turn(Some(TICK))?;
        while let Some((event, _)) = driver.poll_event() {
            match event {
                kavka_core::Event::TopicReady { partitions, .. } => {
                    shared.change(|state| state.report(Who::Watcher, partitions));
                }
                kavka_core::Event::PartitionsAdded { to, by, .. } => {
                    shared.change(|state| state.report_growth(Who::Watcher, to, by.signal));
                }
                _ => {}
            }
        }
        let probes = driver.stats().probes;
        let bytes = probes.bytes_in + probes.bytes_out;
        shared.lock().probes = Probes { requests: probes.requests, bytes };
    }
    Ok(())
}
