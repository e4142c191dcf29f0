//! Measures the speed of the simulated brokers, which must not limit a client's benchmark. `cargo
//! test --release -p kavka-tests --test sim_rate -- --ignored --nocapture`

#[path = "sim_broker/client.rs"]
#[expect(dead_code, reason = "shared with the other tests")]
mod client;

use std::thread;
use std::time::Instant;

use client::{Client, PLAIN, batch, fetch};
use kavka_tests::sim::{Options, Server};
use uuid::Uuid;

const BATCHES: i64 = 600;
const RECORDS: i64 = 1000;
const WANTED: f64 = 300_000.0;

#[test]
#[ignore = "a measurement, for release builds"]
fn produce_and_fetch_300_000_records_a_second() {
    let server = Server::start(Options::default()).expect("server");
    let id = server.create_topic("t", 3).expect("created");
    let value = "x".repeat(100);
    let values: Vec<&str> = (0..RECORDS).map(|_| value.as_str()).collect();
    let records = batch(&values, PLAIN);
    let total = (BATCHES * RECORDS * 3) as f64;

    let started = Instant::now();
    thread::scope(|scope| {
        for partition in 0..3 {
            let (server, records) = (&server, &records);
            scope.spawn(move || {
                let mut client = Client::connect(server, partition + 1);
                for _ in 0..BATCHES {
                    let reported = client.produce(9, ("t", id, partition), -1, records.clone());
                    assert_eq!(reported.error_code, 0);
                }
            });
        }
    });
    let produced = total / started.elapsed().as_secs_f64();

    let started = Instant::now();
    thread::scope(|scope| {
        for partition in 0..3 {
            let server = &server;
            scope.spawn(move || read(server, id, partition));
        }
    });
    let fetched = total / started.elapsed().as_secs_f64();
    println!("produce {produced:.0}, fetch {fetched:.0} records of 100 B a second");
    assert!(produced >= WANTED && fetched >= WANTED, "below {WANTED}");
}

/// Reads a partition to its end, one request at a time; batches have a fixed size here.
fn read(server: &Server, id: Uuid, partition: i32) {
    let mut client = Client::connect(server, partition + 1);
    let end = BATCHES * RECORDS;
    let size = server.with(|c| c.batches("t", 0).first().map_or(1, |batch| batch.len()));
    let mut at = 0;
    while at < end {
        let response = client.fetch(13, &fetch(13, ("t", id), &[(partition, at)]));
        let part = &response.responses[0].partitions[0];
        let records = part.records.as_ref().map_or(0, |records| records.len());
        assert!(part.error_code == 0 && records >= size, "{part:?}");
        at += (records / size) as i64 * RECORDS;
    }
}
