//! Growth under load with three replicas: the first batch to a new partition waits for followers
//! for up to 1.6 s, and acknowledgements of old partitions must not wait behind it.

use core::time::Duration;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use kavka_std::{Config, Delivered, Pending, Producer, Record};
use kavka_tests::sim::{Options, Server};

use crate::measure::{Failure, Figure, Outcome};

const TOPIC: &str = "grows";
const OLD: u32 = 6;
const NEW: u32 = 12;
/// Time that followers of a new partition need.
const FIRST: Duration = Duration::from_millis(1600);
const PAUSE: Duration = Duration::from_millis(5);
const BAR: Duration = Duration::from_millis(100);

pub(crate) fn run() -> Outcome {
    let options = Options { first_append_delay: FIRST, ..Options::default() };
    let server = Server::start(options)?;
    server.create_topic(TOPIC, OLD).map_err(|code| format!("no topic: {code}"))?;
    let producer = Producer::new(Config::new(server.bootstrap()))?;
    for partition in 0..OLD {
        producer.send_to(TOPIC, partition, &Record::new(b"first"))?.wait()?;
    }
    let over = AtomicBool::new(false);
    let (before, after) = thread::scope(|scope| {
        let mut waiting = Vec::new();
        let mut old = Vec::new();
        for partition in 0..OLD {
            let (send, receive) = channel();
            old.push((partition, send));
            waiting.push(scope.spawn(move || longest(&receive)));
        }
        let (producer, stop) = (&producer, &over);
        scope.spawn(move || {
            while !stop.load(Ordering::Acquire) {
                for (partition, to) in &old {
                    if let Ok(sent) =
                        producer.send_to(TOPIC, *partition, &Record::new(&[b'v'; 100]))
                    {
                        let _ = to.send(sent);
                    }
                }
                // Records without key go to new partitions first.
                drop(producer.send(TOPIC, &Record::new(&[b'k'; 100])));
                thread::sleep(PAUSE); // the application sends a record from time to time
            }
        });
        thread::sleep(Duration::from_secs(3));
        let grown = Instant::now();
        let result = server.grow(TOPIC, NEW);
        thread::sleep(Duration::from_secs(6));
        over.store(true, Ordering::Release);
        result.map_err(|code| format!("not grown: {code}"))?;
        let gaps = waiting.into_iter().map(|thread| thread.join().map_err(|_| "a panic"));
        let gaps: Vec<Gap> = gaps.collect::<Result<Vec<_>, _>>()?.concat();
        let worst = |after: bool| {
            let of = gaps.iter().filter(|gap| (gap.end > grown) == after);
            of.map(|gap| gap.length).max().unwrap_or(Duration::ZERO)
        };
        Ok::<_, Failure>((worst(false), worst(true)))
    })?;
    let used = (OLD..NEW).filter(|partition| server.log_len(TOPIC, *partition) > 0).count();
    if used == 0 {
        return Err("no new partition was used".into());
    }
    Ok(Figure {
        found: format!(
            "{OLD} partitions become {NEW}: old ones' acknowledgements silent for {after:.0?} at \
             worst ({before:.0?} before; {used} new ones used)"
        ),
        bar: format!("{BAR:?}"),
        kept: after < BAR,
    })
}

/// Time between two acknowledgements of a partition.
#[derive(Clone, Copy)]
struct Gap {
    end: Instant,
    length: Duration,
}

/// Returns the long gaps of a partition: the longest of each second.
fn longest(sent: &Receiver<Pending<Delivered>>) -> Vec<Gap> {
    let mut gaps: Vec<Gap> = Vec::new();
    let mut last = None;
    for pending in sent {
        let ended = pending.wait();
        let end = Instant::now();
        if ended.is_err() {
            continue; // its silence counts
        }
        if let Some(last) = last.replace(end) {
            gaps.push(Gap { end, length: end - last });
        }
    }
    gaps
}
