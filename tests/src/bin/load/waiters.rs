//! Callers that wait for space, or for records, and give up: nothing of them is kept.

use core::pin::pin;
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Wake;
use std::thread;
use std::time::Instant;

use kavka_std::{Config, Consumer, Pending, Producer, Record};
use kavka_tests::sim::{Options, Server};

use crate::measure::{Failure, Figure, Outcome, mib, resident, thread_time, time_of};

const A_SECOND: u32 = 20_000;
const PATIENCE: Duration = Duration::from_millis(200);
const TOPIC: &str = "full";
/// Bytes above the memory used before. 4,000 callers wait at a time.
const BYTES: u64 = 8 << 20;
/// CPU time for each caller, including what the caller itself does.
const TIME: Duration = Duration::from_micros(5);

struct Sleeper;

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {}
}

struct Cost {
    bytes: u64,
    /// CPU time of one caller.
    time: Duration,
    callers: u32,
}

pub(crate) fn run() -> Outcome {
    let server = Server::start(Options { brokers: 1, replication: 1, ..Options::default() })?;
    server.create_topic(TOPIC, 1).map_err(|code| format!("no topic: {code}"))?;
    let config = Config::new(server.bootstrap()).close_timeout(Duration::ZERO).on_lost(|_| ());
    let producer = Producer::new(config.clone())?;
    let consumer = Consumer::assign_all(config, &[TOPIC])?;
    producer.send(TOPIC, &Record::new(b"first"))?.wait()?;
    let events = consumer.events();
    while consumer.next_timeout(Duration::from_millis(500))?.is_some() {}
    while events.next_timeout(Duration::from_millis(500)).is_some() {}
    let next = wait(Duration::from_secs(4), || consumer.next(), || ())?;
    let event = wait(Duration::from_secs(4), || events.next(), || ())?;
    server.pause(1);
    let fill = || {
        // Whatever error ends this loop, the callers get it next.
        while let Ok(pending) = producer.try_send(TOPIC, &Record::new(&[b'v'; 1000])) {
            drop(pending);
        }
    };
    // Send memory that is touched for the first time is not left by callers.
    while producer.room().wait_timeout(Duration::from_millis(500)).is_ok() {
        fill();
    }
    let room = wait(Duration::from_secs(8), || producer.room(), fill)?;
    let costs = [("room", &room), ("next", &next), ("events", &event)];
    let say = |(name, cost): (&str, &Cost)| {
        let Cost { bytes, time, callers } = cost;
        format!("{name} {:.1} MiB and {time:.1?} of a core each for {callers}", mib(*bytes))
    };
    Ok(Figure {
        found: format!(
            "{A_SECOND} callers a second give up after {PATIENCE:?}: {}",
            costs.map(say).join(", ")
        ),
        bar: format!("{:.0} MiB, {TIME:?} each", mib(BYTES)),
        kept: costs.iter().all(|(_, cost)| cost.bytes <= BYTES && cost.time <= TIME),
    })
}

/// Runs callers for `length`, each with its own waker. `empty` consumes everything
/// that a caller could get at once.
fn wait<T>(
    length: Duration,
    operation: impl Fn() -> Pending<T>,
    empty: impl Fn(),
) -> Result<Cost, Failure> {
    empty();
    let mut served = 0;
    let (memory, own, theirs) = (resident()?, thread_time(), time_of("kavka-")?);
    let begun = Instant::now();
    let mut waiting: VecDeque<(Instant, Pending<T>)> = VecDeque::new();
    let mut callers = 0;
    while begun.elapsed() < length {
        let due = (begun.elapsed().as_secs_f64() * f64::from(A_SECOND)) as u32;
        while callers < due && begun.elapsed() < length {
            callers += 1;
            let mut pending = operation();
            let waker = Waker::from(Arc::new(Sleeper));
            match pin!(&mut pending).poll(&mut Context::from_waker(&waker)) {
                Poll::Pending => waiting.push_back((Instant::now(), pending)),
                Poll::Ready(Err(error)) => return Err(error.into()),
                Poll::Ready(Ok(_)) => {
                    served += 1;
                    empty();
                }
            }
            while waiting.front().is_some_and(|(since, _)| since.elapsed() > PATIENCE) {
                waiting.pop_front();
            }
        }
        thread::sleep(Duration::from_millis(1)); // callers come in bunches
    }
    let used = thread_time() - own + time_of("kavka-")?.saturating_sub(theirs);
    let bytes = resident()?.saturating_sub(memory);
    if served * 10 > callers {
        return Err(format!("{served} of {callers} callers did not have to wait").into());
    }
    Ok(Cost { bytes, time: used / callers.max(1), callers })
}
