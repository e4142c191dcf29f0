//! `kavka-std` against simulated brokers on loopback TCP.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

mod admin;
mod asynchronous;
mod causes;
mod compressed;
mod consumer;
mod deadlines;
mod driver;
mod group;
mod metrics;
mod old;
mod pattern;
mod peers;
mod producer;
mod reasons;
mod waiting;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use kavka_std::{Config, Consumer, Error, Limits, Pending};
use kavka_tests::sim::{Options, Server};

/// Time after which a topic that was never seen counts as missing, and not as new.
const MISSING: Duration = Duration::from_secs(3);
/// Far longer than anything here takes, also on a busy machine.
const LONG: Duration = Duration::from_secs(60);

fn server(brokers: u32) -> Server {
    let options = Options { brokers, ..Options::default() };
    Server::start(options).expect("simulated brokers")
}

/// Returns a configuration with short times: these clients are alone with their brokers.
fn config(server: &Server) -> Config {
    Config::new(server.bootstrap())
        .limits(Limits::small())
        .linger(Duration::from_millis(1))
        .probe_idle(Duration::from_millis(100))
        .probe_busy(Duration::from_millis(20))
}

/// Returns the result, which must arrive in time.
#[track_caller]
fn reported<T>(pending: Pending<T>) -> Result<T, Error> {
    match pending.wait_timeout(LONG) {
        Ok(result) => result,
        Err(_) => panic!("no result within {LONG:?}"),
    }
}

/// Records as (offset, value), per partition.
type Read = BTreeMap<u32, Vec<(i64, String)>>;

/// Reads until there are `count` records.
#[track_caller]
fn read(consumer: &Consumer, into: &mut Read, count: usize) {
    let until = Instant::now() + LONG;
    while into.values().map(Vec::len).sum::<usize>() < count {
        let left = until.saturating_duration_since(Instant::now());
        assert!(!left.is_zero(), "{count} records do not come; there are {into:?}");
        let Some(chunk) = consumer.next_timeout(left).expect("records") else { continue };
        for record in chunk.records() {
            let record = record.expect("a record");
            let value = String::from_utf8_lossy(record.value.unwrap_or_default()).into_owned();
            into.entry(record.partition).or_default().push((record.offset, value));
        }
    }
}

/// Checks that offsets of each partition are 0, 1, 2, …: nothing lost, twice or out of order.
#[track_caller]
fn assert_gapless(read: &Read) {
    for (partition, records) in read {
        for (want, (offset, value)) in (0..).zip(records) {
            assert_eq!(*offset, want, "partition {partition}, at {value:?}");
        }
    }
}
