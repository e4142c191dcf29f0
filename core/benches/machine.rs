//! The whole machine against a broker in memory: records per second on one core, from `produce` to
//! `Delivered` and from the receive buffer to the last record of a batch.
//!
//! `cargo bench -p kavka-core --bench machine --features std`
//!
//! `-- count produce 1000000` runs that many records once, without a clock: `instructions.sh` uses
//! it to count instructions.

mod fake;

use core::hint::black_box;

use criterion::{Criterion, Throughput};
use fake::{Fake, Machine, batch};
use kavka_core::{Config, Duration, Event, Limits, ProduceError, Record, Start, Storage};
use rustix::time::{ClockId, clock_gettime};

/// Records between two rounds of the event loop.
const CHUNK: u64 = 250;
/// Virtual time of one chunk, so that linger has an effect: 4 M records/s.
const CHUNK_MICROS: u64 = 62;
const VALUE: [u8; 100] = [b'v'; 100];
const KEYS: [&[u8; 16]; 8] = [
    b"pump-00000000001",
    b"pump-00000000002",
    b"pump-00000000003",
    b"pump-00000000004",
    b"pump-00000000005",
    b"pump-00000000006",
    b"pump-00000000007",
    b"pump-00000000008",
];

/// The memory of a server, in which nearly all is unused, with receive buffers of this size.
fn storage(rx_bytes: usize) -> Storage<'static> {
    let mut limits = Limits::server();
    (limits.conns, limits.rx_bytes) = (4, rx_bytes);
    Storage::heap(&limits)
}

fn producer(batch_bytes: usize) -> Machine<'static> {
    let mut config = Config::new("localhost:9092");
    config.batch_bytes = batch_bytes;
    // This broker responds in the same turn: nothing would be in flight to linger for.
    config.linger_when_idle = true;
    let mut machine = Machine::new(config, storage(64 << 10), Fake::new(6, &[], 0), 64 << 10);
    machine.until(|event| matches!(event, Event::TopicReady { .. }));
    // So that leaders and the producer id are known, and all memory was used once.
    produce(&mut machine, 200_000, false);
    machine
}

/// Produces `count` records and waits for their acknowledgements.
fn produce(machine: &mut Machine<'_>, count: u64, keyed: bool) {
    let (mut taken, mut delivered) = (0, 0);
    while delivered < count {
        let upto = count.min(taken + CHUNK);
        while taken < upto {
            let mut record = Record::new(black_box(&VALUE));
            if keyed {
                record = record.key(KEYS[(taken % 8) as usize]);
            }
            match machine.client.produce(machine.now, machine.topic, &record) {
                Ok(id) => drop(black_box(id)),
                Err(ProduceError::Full) => break,
                Err(error) => panic!("{error:?}"),
            }
            taken += 1;
        }
        machine.pass(CHUNK_MICROS);
        machine.turn(|event, _| match event {
            Event::Delivered { count, .. } => delivered += u64::from(count),
            Event::Room => {}
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(delivered, count, "more was acknowledged than produced");
}

/// Returns a client of a topic of this many partitions that has produced to all of them.
fn wide(partitions: u32) -> Machine<'static> {
    let (config, fake) = (Config::new("localhost:9092"), Fake::new(partitions, &[], 0));
    let mut machine = Machine::new(config, storage(64 << 10), fake, 64 << 10);
    machine.until(|event| matches!(event, Event::TopicReady { .. }));
    one_by_one(&mut machine, u64::from(partitions), partitions);
    machine
}

/// Produces `count` records, each when the one before is acknowledged.
fn one_by_one(machine: &mut Machine<'_>, count: u64, partitions: u32) {
    for n in 0..count {
        let to = (machine.topic, (n % u64::from(partitions)) as u32);
        let taken = machine.client.produce(machine.now, to, &Record::new(black_box(&VALUE)));
        let _ = black_box(taken.expect("room"));
        let mut delivered = false;
        while !delivered {
            machine.pass(CHUNK_MICROS);
            machine.turn(|event, _| delivered |= matches!(event, Event::Delivered { .. }));
        }
    }
}

fn consumer(batch_bytes: usize, piece: usize) -> Machine<'static> {
    let batch = batch(&VALUE, batch_bytes);
    // As much of each partition as brokers send by default, or three batches.
    let fake = Fake::new(6, &batch, (256 << 10) / batch.len() + 3);
    let rx = piece + batch_bytes.max(64 << 10);
    let mut machine = Machine::new(Config::new("localhost:9092"), storage(rx), fake, piece);
    let (now, topic) = (machine.now, machine.topic);
    machine.client.assign_all(now, topic, Start::Offset(0)).expect("a fresh topic");
    machine.until(|event| matches!(event, Event::Records(_)));
    machine
}

/// Reads at least `count` records; returns how many.
fn fetch(machine: &mut Machine<'_>, count: u64) -> u64 {
    let (mut read, mut bytes) = (0, 0);
    while read < count {
        machine.pass(20);
        machine.turn(|event, _| match event {
            Event::Records(batch) => {
                for record in batch.records() {
                    let record = record.expect("a good one");
                    bytes += black_box(record.value).map_or(0, <[u8]>::len);
                    read += 1;
                }
            }
            other => panic!("{other:?}"),
        });
    }
    assert_eq!(bytes as u64, read * 100, "values are whole");
    read
}

fn benches(c: &mut Criterion) {
    let mut group = c.benchmark_group("machine");
    let count = 100_000;
    group.throughput(Throughput::Elements(count));
    for (batch_bytes, size) in [(16 << 10, "16 KiB"), (256 << 10, "256 KiB")] {
        for (keyed, kind) in [(false, "values"), (true, "keys and values")] {
            let mut machine = producer(batch_bytes);
            group.bench_function(format!("produce {kind}, batches of {size}"), |b| {
                b.iter_custom(|iterations| {
                    let start = cpu_time();
                    produce(&mut machine, iterations * count, keyed);
                    cpu_time() - start
                });
            });
        }
    }
    for (piece, size) in [(64 << 10, "64 KiB"), (1 << 20, "1 MiB")] {
        let mut machine = consumer(16 << 10, piece);
        group.bench_function(format!("fetch, pieces of {size}"), |b| {
            b.iter_custom(|iterations| {
                let start = cpu_time();
                let wanted = iterations * count;
                let read = fetch(&mut machine, wanted);
                // It reads whole batches: a few records more than requested.
                (cpu_time() - start).mul_f64(wanted as f64 / read as f64)
            });
        });
    }
    group.finish();
}

/// Returns the CPU time of this thread: other programs do not count.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Runs this many records once, for a profiler.
fn count(what: &str, records: u64) {
    match what {
        "produce" => produce(&mut producer(16 << 10), records, false),
        "produce-keyed" => produce(&mut producer(16 << 10), records, true),
        "await-10" => one_by_one(&mut wide(10), records, 10),
        "await-10000" => one_by_one(&mut wide(10_000), records, 10),
        "fetch" => drop(fetch(&mut consumer(16 << 10, 64 << 10), records)),
        other => panic!("produce, produce-keyed, await-10, await-10000 or fetch, not {other}"),
    }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == "count") {
        let records = args.get(at + 2).and_then(|n| n.parse().ok()).expect("a number of records");
        return count(args.get(at + 1).map_or("", String::as_str), records);
    }
    let mut criterion = Criterion::default().configure_from_args();
    benches(&mut criterion);
    criterion.final_summary();
}
