//! Instructions of the core per record, counted by the board's counter while QEMU gives every
//! instruction 64 ns: no network, and the same broker in memory as in the core's own bench. What
//! this broker does counts along, as do the copies in and out that a network would make.
//!
//! With feature `lz4`: samples of telemetry, in batches as they are and compressed.

#![no_std]
#![no_main]

extern crate alloc;

#[path = "../../../../../core/benches/fake/mod.rs"]
#[cfg_attr(feature = "lz4", allow(dead_code, reason = "its batches are for consumers"))]
mod fake;

use core::hint::black_box;

use embedded_alloc::LlffHeap;
#[cfg(not(feature = "lz4"))]
use fake::batch;
use fake::{Fake, Machine};
#[cfg(not(feature = "lz4"))]
use kavka_core::Start;
use kavka_core::{Config, Event, ProduceError, Record, Resources, Storage};
use kavka_device::board;
use kavka_device::console::{self, Line};
use static_cell::ConstStaticCell;

#[cfg(not(feature = "lz4"))]
const VALUE: [u8; 100] = [b'v'; 100];
/// Bytes of a batch.
const BATCH: usize = if cfg!(feature = "lz4") { 4096 } else { 1024 };
/// Where the broker in memory is said to be.
const BROKER: &str = "localhost:9092";
/// Records of the shorter one of two runs, whose difference is printed.
const RECORDS: u32 = 1000;

/// Bytes that a connection receives into.
const RX: usize = 2048;

// As many connections as the broker in memory has lines, 16 blocks of 512 B out, eight partitions.
type Memory = Resources<4, 1, 8, RX, 16>;

static PRODUCER: ConstStaticCell<Memory> = ConstStaticCell::new(Resources::new());
#[cfg(not(feature = "lz4"))]
static CONSUMER: ConstStaticCell<Memory> = ConstStaticCell::new(Resources::new());

#[global_allocator]
static HEAP: LlffHeap = LlffHeap::empty();

#[cortex_m_rt::entry]
fn main() -> ! {
    // SAFETY: once, and before anything is allocated.
    unsafe {
        embedded_alloc::init!(HEAP, 56 * 1024);
    }
    board::start_counter(board::CORE_HZ);
    measure();
    console::exit(true)
}

#[cfg(feature = "lz4")]
fn measure() {
    use kavka_core::codec::{Codec, CompactPack, scratch_bytes};
    static ENCODERS: ConstStaticCell<CompactPack> = ConstStaticCell::new(CompactPack::new());
    static SCRATCH: ConstStaticCell<[u8; scratch_bytes(BATCH)]> =
        ConstStaticCell::new([0; scratch_bytes(BATCH)]);
    static PACKER: ConstStaticCell<Memory> = ConstStaticCell::new(Resources::new());
    producer("sampled", Config::new(BROKER), PRODUCER.take().storage());
    let config = Config::new(BROKER).compression(Some(Codec::Lz4));
    let storage = PACKER.take().storage();
    producer("packed", config, storage.packing(ENCODERS.take(), SCRATCH.take()));
}

#[cfg(not(feature = "lz4"))]
fn measure() {
    producer("produced", Config::new(BROKER), PRODUCER.take().storage());
    let fake = Fake::new(3, &batch(&VALUE, BATCH), 2);
    let storage = CONSUMER.take().storage();
    let mut consumer = Machine::new(Config::new(BROKER), storage, fake, RX);
    let (now, topic) = (consumer.now, consumer.topic);
    console::need(consumer.client.assign_all(now, topic, Start::Offset(0)).ok(), "assign");
    consumer.until(|event| matches!(event, Event::Records(_)));
    report("consumed", |records| consume(&mut consumer, records));
}

/// Measures a producer and reports it as `word`.
fn producer(word: &str, mut config: Config<'static>, storage: Storage<'static>) {
    config.batch_bytes = BATCH;
    let mut producer = Machine::new(config, storage, Fake::new(3, &[], 0), RX);
    producer.until(|event| matches!(event, Event::TopicReady { .. }));
    produce(&mut producer, RECORDS);
    report(word, |records| produce(&mut producer, records));
}

#[cfg(not(feature = "lz4"))]
fn value(_turn: u32) -> [u8; 100] {
    VALUE
}

#[cfg(feature = "lz4")]
fn value(turn: u32) -> [u8; 48] {
    kavka_device::sample(1, 0, turn)
}

/// Runs twice, the second time twice as far, so that what begins and ends a run cancels out.
fn report(word: &str, mut run: impl FnMut(u32) -> u32) {
    let mut counted = |records| {
        let begun = board::counter();
        let done = run(records);
        // A tick of 25 MHz is 40 ns, an instruction 64 ns.
        (done, board::counter().wrapping_sub(begun) / 8 * 5)
    };
    let ((few, short), (many, long)) = (counted(RECORDS), counted(2 * RECORDS));
    Line::new(word).number("instructions", (long - short) / (many - few)).print();
}

/// Produces `count` records, up to their acknowledgements.
fn produce(machine: &mut Machine<'_>, count: u32) -> u32 {
    let (mut taken, mut delivered) = (0, 0);
    while delivered < count {
        while taken < count {
            let value = value(taken);
            match machine.client.produce(machine.now, machine.topic, &Record::new(&value)) {
                Ok(id) => drop(black_box(id)),
                Err(ProduceError::Full) => break,
                Err(_) => console::fail("refused"),
            }
            taken += 1;
        }
        machine.pass(1000);
        machine.turn(|event, _| {
            if let Event::Delivered { count, .. } = event {
                delivered += count;
            }
        });
    }
    delivered
}

#[cfg(not(feature = "lz4"))]
/// Reads at least `count` records.
fn consume(machine: &mut Machine<'_>, count: u32) -> u32 {
    let (mut read, mut bytes) = (0, 0);
    while read < count {
        machine.pass(1000);
        machine.turn(|event, _| {
            if let Event::Records(batch) = event {
                for record in batch.records().flatten() {
                    bytes += black_box(record.value).map_or(0, <[u8]>::len);
                    read += 1;
                }
            }
        });
    }
    if bytes != read as usize * VALUE.len() {
        console::fail("values are not whole");
    }
    read
}
