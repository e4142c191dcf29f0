//! A client with nothing to do sleeps, and a record wakes it at once.
#![cfg(unix)]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kavka_std::{Config, Limits, Producer, Record};
use kavka_tests::sim::{Options, Server};
use rustix::time::{ClockId, clock_gettime};

/// Nothing here is due earlier, so that nothing else wakes the thread; then something is due, so
/// that a failing test ends.
const NEVER: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(60);

/// CPU time is that of all threads: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn server() -> Server {
    let options = Options { brokers: 1, ..Options::default() };
    let server = Server::start(options).expect("a simulated broker");
    server.create_topic("t", 1).unwrap();
    server
}

fn producer(server: &Server) -> Producer {
    let config = Config::new(server.bootstrap())
        .limits(Limits::small())
        .linger(Duration::ZERO)
        .probe_idle(NEVER)
        .probe_busy(NEVER)
        .tune(|core| core.metadata_max_age = NEVER);
    Producer::new(config).unwrap()
}

/// Returns how long it took until the record was acknowledged.
fn send(producer: &Producer) -> Duration {
    let sent = Instant::now();
    let pending = producer.send("t", &Record::new(b"v")).unwrap();
    match pending.wait_timeout(LONG) {
        Ok(result) => result.unwrap(),
        Err(_) => panic!("not acknowledged within {LONG:?}"),
    };
    sent.elapsed()
}

#[test]
fn a_record_wakes_an_idle_producer() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = server();
    let producer = producer(&server);
    assert!(send(&producer) < NEVER / 4, "the first record");
    // Sometimes the thread is still awake from the previous record, but not always.
    for n in 0..100 {
        let took = send(&producer);
        assert!(took < NEVER / 4, "record {n} was acknowledged after {took:?}");
    }
    assert_eq!(server.log_len("t", 0), 101);
}

fn spent(clock: ClockId) -> Duration {
    let at = clock_gettime(clock);
    Duration::new(at.tv_sec.try_into().unwrap(), at.tv_nsec.try_into().unwrap())
}

/// Measured beside a thread that only uses CPU time, so that the result is the same on a busy
/// machine: a thread that never sleeps gets about as much.
#[test]
fn an_idle_producer_takes_no_processor() {
    const BURNT: Duration = Duration::from_millis(400);
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let server = server();
    let producer = producer(&server);
    send(&producer);
    let (all, mine) = (spent(ClockId::ProcessCPUTime), spent(ClockId::ThreadCPUTime));
    let mut burnt = Duration::ZERO;
    while burnt < BURNT {
        burnt = spent(ClockId::ThreadCPUTime) - mine;
    }
    let others = (spent(ClockId::ProcessCPUTime) - all).saturating_sub(burnt);
    assert!(others < BURNT / 5, "it took {others:?} while this thread took {burnt:?}");
    send(&producer);
}
