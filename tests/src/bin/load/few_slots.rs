//! Many brokers: with fewer connections than brokers, slots rotate slowly; with enough, each
//! broker is connected once.

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use kavka_core::Limits;
use kavka_std::{Config, Consumer, Producer, Record, Start};
use kavka_tests::sim::{Options, Server};

use crate::measure::{Failure, Figure, Outcome};

const TOPIC: &str = "wide";
/// Time before connections are counted, and time during which they are.
const START: Duration = Duration::from_secs(5);
const LENGTH: Duration = Duration::from_secs(10);
/// Highest number of connects a second with too few slots.
const BAR: f64 = 2.0;

/// Connections beside one for each broker: to bootstrap addresses, before they are known.
const BEGIN: u64 = 3;

/// Pause between two records for each partition.
const PAUSE: Duration = Duration::from_millis(100);

/// Brokers and slots.
const CASES: [(u32, usize); 2] = [(40, 32), (100, 128)];

/// Runs against a number of brokers with a number of connections.
type Load = fn(u32, usize) -> Result<Seen, Failure>;

/// Connects before and while they are counted, and the number of brokers that were used.
struct Seen {
    before: u64,
    after: u64,
    used: usize,
}

pub(crate) fn run() -> Outcome {
    let (mut found, mut kept) = (Vec::new(), true);
    let kinds: [(&str, Load); 2] = [("producer", write), ("consumer", read)];
    for ((brokers, slots), (kind, run)) in CASES.iter().flat_map(|case| kinds.map(|k| (*case, k))) {
        let text = match run(brokers, slots) {
            Ok(Seen { before, after, used }) => {
                let rate = after as f64 / LENGTH.as_secs_f64();
                kept &= used == brokers as usize;
                kept &= match slots >= brokers as usize {
                    true => before <= u64::from(brokers) + BEGIN && after == 0,
                    false => rate <= BAR,
                };
                format!("{before} connects in {START:?}, then {rate:.1}/s, {used} brokers used")
            }
            Err(error) => {
                kept = false;
                format!("refused ({error})")
            }
        };
        found.push(format!("{kind} of {brokers} brokers over {slots}: {text}"));
    }
    let bar = format!(
        "{BAR}/s with fewer slots than brokers, else one each and none again; all brokers used"
    );
    Ok(Figure { found: found.join(", "), bar, kept })
}

/// Starts brokers with a partition on each.
fn start(brokers: u32) -> Result<Server, Failure> {
    let server = Server::start(Options { brokers, replication: 1, ..Options::default() })?;
    server.create_topic(TOPIC, brokers).map_err(|code| format!("no topic: {code}"))?;
    Ok(server)
}

fn settings(server: &Server, slots: usize) -> Config {
    let mut limits = Limits::server();
    (limits.conns, limits.rx_bytes) = (slots, 64 << 10);
    let config = Config::new(server.bootstrap()).start(Start::Earliest).limits(limits);
    config.close_timeout(Duration::ZERO).on_lost(|_| ())
}

/// Sends a record to each partition at intervals until `over`.
fn feed(producer: &Producer, partitions: u32, over: &AtomicBool) {
    while !over.load(Ordering::Acquire) {
        for partition in 0..partitions {
            drop(producer.try_send_to(TOPIC, partition, &Record::new(&[b'v'; 100])));
        }
        thread::sleep(PAUSE);
    }
}

fn write(brokers: u32, slots: usize) -> Result<Seen, Failure> {
    let server = start(brokers)?;
    let producer = Producer::new(settings(&server, slots))?;
    let over = AtomicBool::new(false);
    let (before, after) = thread::scope(|scope| {
        scope.spawn(|| feed(&producer, brokers, &over));
        thread::sleep(START);
        let before = server.accepted();
        thread::sleep(LENGTH);
        over.store(true, Ordering::Release);
        (before, server.accepted() - before)
    });
    let used = (0..brokers).filter(|partition| server.log_len(TOPIC, *partition) > 0).count();
    Ok(Seen { before, after, used })
}

fn read(brokers: u32, slots: usize) -> Result<Seen, Failure> {
    let server = start(brokers)?;
    // The feeder has enough connections, and connects before counting begins.
    let feeder = Producer::new(settings(&server, slots.max(64)))?;
    for partition in 0..brokers {
        feeder.send_to(TOPIC, partition, &Record::new(b"one"))?.wait()?;
    }
    let (begun, over) = (server.accepted(), AtomicBool::new(false));
    let consumer = Consumer::assign_all(settings(&server, slots), &[TOPIC])?;
    let mut used = BTreeSet::new();
    thread::scope(|scope| {
        scope.spawn(|| feed(&feeder, brokers, &over));
        let counted = take(&consumer, START, &mut used).map(|()| server.accepted());
        let taken = take(&consumer, LENGTH, &mut used);
        over.store(true, Ordering::Release);
        taken?;
        let counted = counted?;
        let (before, after) = (counted - begun, server.accepted() - counted);
        Ok(Seen { before, after, used: used.len() })
    })
}

fn take(consumer: &Consumer, time: Duration, used: &mut BTreeSet<u32>) -> Result<(), Failure> {
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        if let Some(chunk) = consumer.next_timeout(left)? {
            used.extend(chunk.batches().map(|batch| batch.partition()));
        }
    }
}
