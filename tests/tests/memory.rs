//! All memory is allocated at the start: as much as `Limits::bytes` returns, and none later,
//! whatever the cluster looks like.

#[path = "../../core/benches/fake/mod.rs"]
mod fake;

use std::hint::black_box;

use allocation_counter::{AllocationInfo, measure};
use fake::{Fake, Machine};
use kavka_core::{
    Action, Client, Config, Event, Instant, Limits, ProduceError, Record, Start, Storage,
};

const RECORDS: u64 = 1_000_000;
const VALUE: [u8; 100] = [b'v'; 100];

fn config() -> Config<'static> {
    Config::new("localhost:9092")
}

/// The presets, and sizes that have no common factor.
fn several() -> [Limits; 4] {
    let mut odd = Limits::small();
    (odd.conns, odd.brokers, odd.topics, odd.partitions) = (3, 5, 7, 11);
    (odd.rx_bytes, odd.tx_blocks, odd.block_bytes, odd.requests) = (4093, 13, 331, 2);
    [Limits::small(), Limits::server(), device(), odd]
}

/// One connection of 4 KiB, 16 blocks of 512 bytes, 8 partitions in use.
fn device() -> Limits {
    let mut limits = Limits::small();
    (limits.conns, limits.brokers, limits.topics, limits.partitions) = (1, 4, 2, 8);
    (limits.rx_bytes, limits.tx_blocks, limits.block_bytes, limits.requests) = (4096, 16, 512, 1);
    limits
}

/// Fails if `info` shows any allocation.
fn none(what: &str, info: &AllocationInfo) {
    assert_eq!((info.count_total, info.bytes_current), (0, 0), "{what}: {info:?}");
}

#[test]
fn the_counter_counts() {
    let info = measure(|| drop(black_box(Box::new([1_u8; 64]))));
    assert_eq!((info.count_total, info.bytes_total, info.bytes_current), (1, 64, 0));
}

#[test]
fn heap_takes_exactly_the_bytes_of_its_limits() {
    for limits in several() {
        let mut storage = None;
        let info = measure(|| storage = Some(Storage::heap(&limits)));
        assert_eq!(info.bytes_current, limits.bytes() as i64, "kept for {limits:?}");
        assert_eq!(info.bytes_total, limits.bytes() as u64, "no detours for {limits:?}");
        let mut client = None;
        let info = measure(|| client = storage.take().map(|s| Client::new(config(), s, [1; 32])));
        none("Client::new", &info);
        assert!(client.is_some_and(|client| client.is_ok()), "{limits:?} is enough");
    }
}

/// The only memory that a client takes later, and only when its owner calls for it.
#[test]
fn larger_receive_buffers_take_what_their_limits_say() {
    let mut limits = device();
    let mut client = None;
    let before = measure(|| {
        let made = Client::new(config(), Storage::heap(&limits), [1; 32]);
        client = Some(made.expect("a client"));
    });
    let mut client = client.expect("a client");
    let grown = measure(|| client.grow_receive_buffers(70_001).expect("memory"));
    limits.rx_bytes = 70_001;
    assert_eq!(before.bytes_current + grown.bytes_current, limits.bytes() as i64);
    none("a smaller size", &measure(|| client.grow_receive_buffers(5).expect("nothing")));
}

/// A struct may own its client without leaking the configuration's text.
#[test]
fn a_client_that_owns_its_texts_outlives_their_source() {
    let limits = device();
    let mut client = None;
    let info = measure(|| {
        let (bootstrap, name) = ("localhost:9092".to_owned(), "gateway-17".to_owned());
        let mut config = Config::new(&bootstrap).client_id(&name).rack("r");
        config.group_assignors = "range";
        client = Some(Client::owned(config, &limits, [1; 32]).expect("a client"));
    });
    let mut client: Client<'static> = client.expect("a client");
    // The client id is used in two places.
    let texts = "localhost:9092".len() + 2 * "gateway-17".len() + "r".len() + "range".len();
    assert_eq!(info.bytes_current, (limits.bytes() + texts) as i64);
    client.topic("t").expect("watched");
    let now = Instant::from_millis(1);
    let Some(Action::Connect { conn }) = client.poll_action(now) else { panic!("no connect") };
    assert_eq!(client.address(conn), Some(("localhost", 9092)));
    none("a request", &measure(|| client.handle_connected(now, conn)));
    let sent: Vec<u8> =
        client.poll_transmit(now, conn).expect("bytes").flatten().copied().collect();
    assert!(sent.windows(10).any(|bytes| bytes == b"gateway-17"), "{sent:?}");
}

#[test]
fn a_million_records_are_produced_and_read_without_allocation() {
    let batch = fake::batch(&VALUE, 16 << 10);
    let fake = Fake::new(6, &batch, 4);
    let mut limits = Limits::small();
    limits.conns = 2;
    let mut machine = Machine::new(config(), Storage::heap(&limits), fake, 64 << 10);
    let (mut taken, mut delivered, mut read) = (0, 0, 0);
    let info = measure(|| {
        let (now, topic) = (machine.now, machine.topic);
        machine.client.assign_all(now, topic, Start::Offset(0)).expect("a fresh topic");
        machine.until(|event| matches!(event, Event::TopicReady { .. }));
        while delivered < RECORDS || read < RECORDS {
            for _ in 0..100.min(RECORDS - taken) {
                match machine.client.produce(machine.now, machine.topic, &Record::new(&VALUE)) {
                    Ok(_) => taken += 1,
                    Err(ProduceError::Full) => break,
                    Err(error) => panic!("{error:?}"),
                }
            }
            machine.pass(250);
            machine.turn(|event, _| match event {
                Event::Delivered { count, .. } => delivered += u64::from(count),
                Event::Records(batch) => read += batch.records().map(Result::unwrap).count() as u64,
                Event::Failed { error, .. } => panic!("{error:?}"),
                _ => {}
            });
        }
    });
    none("1 M records", &info);
    assert_eq!((taken, delivered, machine.fake.produced), (RECORDS, RECORDS, RECORDS));
}

/// Starts a device's client on a topic of `partitions` partitions, produces to the last one, and
/// returns the number of bytes that it received.
fn run_on(partitions: u32) -> u64 {
    let fake = Fake::new(partitions, &[], 0);
    let storage = Storage::heap(&device());
    let mut machine = Machine::new(config(), storage, fake, 4096);
    let mut ready = 0;
    let info = measure(|| {
        machine.until(|event| {
            if let Event::TopicReady { partitions, .. } = event {
                ready = *partitions;
            }
            ready > 0
        });
        let last = (machine.topic, partitions - 1);
        machine.client.produce(machine.now, last, &Record::new(&VALUE)).expect("there is room");
        machine.until(|event| match event {
            Event::Delivered { to, count: 1, .. } => to.partition == partitions - 1,
            other => panic!("{other:?}"),
        });
    });
    none("a topic", &info);
    assert_eq!(ready, partitions);
    assert_eq!(machine.fake.produced, 1);
    machine.fake.bytes_out
}

#[test]
fn ten_thousand_partitions_cost_the_memory_of_ten() {
    let few = run_on(10);
    let many = run_on(10_000);
    assert!(few < 4096, "{few} bytes of responses would fit into the receive buffer at once");
    assert!(many > 420_000, "{many} bytes of responses are no Metadata of 10,000 partitions");
}
