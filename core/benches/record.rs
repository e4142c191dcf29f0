//! Records of 100 bytes of value: written, sealed, checked, read.
//!
//! `cargo bench -p kavka-core --bench record --features std`

use core::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kavka_core::murmur2::murmur2;
use kavka_core::record::{
    BatchHeader, Crc32c, Header, Record, Records, Seal, check_crc, encoded_len, seal, write,
};
use kavka_core::wire::{Full, Sink};

const COUNT: u32 = 1000;

/// Memory that is allocated already, as in the client's send memory.
struct Room<'a> {
    bytes: &'a mut [u8],
    at: usize,
}

impl Sink for Room<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
        let room = self.bytes.get_mut(self.at..).and_then(|rest| rest.get_mut(..bytes.len()));
        room.ok_or(Full)?.copy_from_slice(bytes);
        self.at += bytes.len();
        Ok(())
    }
}

fn fill(record: &Record<'_>, memory: &mut [u8]) -> usize {
    let mut sink = Room { bytes: memory, at: 0 };
    for delta in 0..COUNT {
        let timestamp_delta = i64::from(delta / 10);
        assert!(encoded_len(record, delta, timestamp_delta) < 1000);
        write(&mut sink, record, delta, timestamp_delta).expect("there is room");
    }
    sink.at
}

fn batch(record: &Record<'_>) -> Vec<u8> {
    let mut memory = vec![0; 1 << 20];
    let len = fill(record, &mut memory);
    let header = seal(&one(), memory[..len].chunks(4096)).expect("can be sealed");
    [&header, &memory[..len]].concat()
}

const fn one() -> Seal {
    Seal {
        producer_id: 1,
        producer_epoch: 0,
        base_sequence: 0,
        count: COUNT,
        base_timestamp: 1_700_000_000_000,
        max_timestamp: 1_700_000_000_100,
        transactional: false,
        codec: 0,
    }
}

fn walk(batch: &[u8]) -> usize {
    let header = BatchHeader::parse(batch).expect("a good one");
    let mut bytes = 0;
    for record in Records::new(&header, batch) {
        let record = record.expect("a good one");
        bytes += record.value.map_or(0, <[u8]>::len) + usize::from(record.offset == 7);
    }
    bytes
}

fn records(c: &mut Criterion) {
    let value = [b'v'; 100];
    let headers = [Header { name: "trace", value: Some(b"0123456789abcdef") }];
    let plain = Record::new(&value);
    let kinds = [
        ("value", plain),
        ("key+value", plain.key(b"pump-0017")),
        ("key+value+header", plain.key(b"pump-0017").headers(&headers)),
    ];
    let mut memory = vec![0; 1 << 20];
    let mut group = c.benchmark_group("records");
    group.throughput(Throughput::Elements(u64::from(COUNT)));
    for (name, record) in kinds {
        group.bench_function(format!("write {name}"), |b| {
            b.iter(|| fill(black_box(&record), black_box(&mut memory)));
        });
        let bytes = batch(&record);
        group.bench_function(format!("read {name}"), |b| b.iter(|| walk(black_box(&bytes))));
        group.bench_function(format!("check and read {name}"), |b| {
            b.iter(|| (check_crc(black_box(&bytes)), walk(black_box(&bytes))));
        });
    }
    group.bench_function("seal value", |b| {
        let bytes = batch(&plain);
        b.iter(|| seal(&one(), black_box(&bytes[61..]).chunks(512)));
    });
    group.finish();
}

fn hashes(c: &mut Criterion) {
    let bytes = vec![0xa5; 1 << 16];
    let mut group = c.benchmark_group("hashes");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("crc32c", |b| b.iter(|| Crc32c::of(black_box(&bytes))));
    group.throughput(Throughput::Bytes(9));
    group.bench_function("murmur2 of 9 bytes", |b| b.iter(|| murmur2(black_box(b"pump-0017"))));
    group.finish();
}

criterion_group!(benches, records, hashes);
criterion_main!(benches);
