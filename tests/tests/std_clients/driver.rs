//! The driver in an application's own loop.

use std::time::{Duration, Instant};

use kavka_core::{Client, Config, Event, Limits, Record, Start, Storage};
use kavka_std::{Driver, Mode};

use super::{LONG, server};

/// Produces and reads back in one loop. The host is a name with two addresses, of which only one
/// accepts connections.
fn round_trip(mode: Mode) {
    let server = server(1);
    server.create_topic("t", 2).unwrap();
    let port = server.address(1).unwrap().port();
    let bootstrap = format!("localhost:{port}");
    let mut limits = Limits::small();
    limits.rx_bytes = 4096; // many reads for a response
    let mut config = Config::new(&bootstrap).client_id("loop");
    config.batch_bytes = 2000;
    let client = Client::new(config, Storage::heap(&limits), [7; 32]).unwrap();
    let mut driver = Driver::with_mode(client, mode).unwrap();
    let topic = driver.topic("t").unwrap();
    let now = driver.now();
    driver.assign_all(now, topic, Start::Earliest).unwrap();
    let (mut sent, mut acked, mut read) = (0, 0, 0);
    let until = Instant::now() + LONG;
    while acked < 300 || read < 300 {
        assert!(Instant::now() < until, "{sent} sent, {acked} acknowledged, {read} read");
        driver.turn(Some(Duration::from_secs(1))).unwrap();
        while let Some((event, _)) = driver.poll_event() {
            match event {
                Event::Delivered { count, .. } => acked += count,
                Event::Failed { error, .. } => panic!("{error}"),
                Event::Records(batch) => read += batch.records().count(),
                _ => {}
            }
        }
        let now = driver.now();
        while sent < 300 && driver.produce(now, topic, &Record::new(&[sent as u8; 200])).is_ok() {
            sent += 1;
        }
    }
    assert_eq!((sent, acked, read), (300, 300, 300));
}

#[test]
fn level_triggered() {
    round_trip(Mode::Level);
}

#[test]
#[cfg(any(target_os = "linux", target_os = "android"))]
fn edge_triggered() {
    round_trip(Mode::Edge);
}

#[test]
fn a_waker_ends_the_wait_from_another_thread() {
    let client = Client::new(Config::new("127.0.0.1:1"), Storage::heap(&Limits::small()), [1; 32]);
    let mut driver = Driver::new(client.unwrap()).unwrap();
    while driver.poll_timeout().is_some_and(|due| due < Duration::from_secs(30)) {
        driver.turn_now().unwrap();
        while driver.poll_event().is_some() {}
    }
    let waker = driver.waker();
    let started = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| waker.wake());
        driver.turn(Some(LONG)).unwrap();
    });
    assert!(started.elapsed() < LONG, "the wait continued");
}
