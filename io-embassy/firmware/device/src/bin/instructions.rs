//! Instructions of the core per record, counted by the board's counter while QEMU gives every
//! instruction 64 ns: no network, and the same broker in memory as in the core's own bench. What
//! this broker does counts along, as do the copies in and out that a network would make.

#![no_std]
#![no_main]

extern crate alloc;

#[path = "../../../../../core/benches/fake/mod.rs"]
mod fake;

use core::hint::black_box;

use embedded_alloc::LlffHeap;
use fake::{Fake, Machine, batch};
use kavka_core::{Config, Event, ProduceError, Record, Resources, Start};
use kavka_device::board;
use kavka_device::console::{self, Line};
use static_cell::ConstStaticCell;

const VALUE: [u8; 100] = [b'v'; 100];
/// Bytes of a batch.
const BATCH: usize = 1024;
/// Records of the shorter one of two runs, whose difference is printed.
const RECORDS: u32 = 1000;

/// Bytes that a connection receives into.
const RX: usize = 2048;

// As many connections as the broker in memory has lines, 16 blocks of 512 B out, eight partitions.
type Memory = Resources<4, 1, 8, RX, 16>;

static PRODUCER: ConstStaticCell<Memory> = ConstStaticCell::new(Resources::new());
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
    let mut config = Config::new("localhost:9092");
    config.batch_bytes = BATCH;
    let storage = PRODUCER.take().storage();
    let mut producer = Machine::new(config, storage, Fake::new(3, &[], 0), RX);
    producer.until(|event| matches!(event, Event::TopicReady { .. }));
    produce(&mut producer, RECORDS);
    report("produced", |records| produce(&mut producer, records));

    let fake = Fake::new(3, &batch(&VALUE, BATCH), 2);
    let storage = CONSUMER.take().storage();
    let mut consumer = Machine::new(Config::new("localhost:9092"), storage, fake, RX);
    let (now, topic) = (consumer.now, consumer.topic);
    console::need(consumer.client.assign_all(now, topic, Start::Offset(0)).ok(), "assign");
    consumer.until(|event| matches!(event, Event::Records(_)));
    report("consumed", |records| consume(&mut consumer, records));
    console::exit(true)
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
            match machine.client.produce(machine.now, machine.topic, &Record::new(&VALUE)) {
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
