//! Bad values from the application: seed and time of day.

use embassy_futures::select::select;
use embassy_time::{Duration, Timer};
use kavka_core::{Client, Config, Limits, Record, Storage};
use kavka_embassy::net::NetDriver;
use kavka_embassy::{SocketMem, now};
use kavka_tests::sim::Options;

use crate::brokers::{Named, start};
use crate::cancel::{Habit, check_net};
use crate::executor::{Executor, shared};
use crate::wire::cable;

#[test]
fn a_seed_of_zeros_works_like_any_other() {
    check_net(0, Habit::Patient, Named::ByAddress);
}

/// Timestamps of three records, with this time of day set before the first and before the third.
fn timestamps(reported: [Option<i64>; 2]) -> Vec<i64> {
    let mut executor = Executor::new();
    let (device, far) = cable(&mut executor);
    let options = Options { brokers: 1, ..Options::default() };
    let (brokers, bootstrap) = start(&mut executor, far, 1, Named::ByAddress, options);
    brokers.borrow_mut().cluster.create_topic("t", 1).expect("created");
    let config = Config::new(bootstrap.leak());
    let client = Client::new(config, Storage::heap(&Limits::small()), [0; 32]).expect("a client");
    let sockets = Box::leak(Box::new(SocketMem::<2, 1024, 1024>::new())).sockets(device);
    let mut driver = NetDriver::new(client, sockets);
    let topic = driver.topic("t").expect("a topic");
    let sent = shared(0);
    let count = sent.clone();
    executor.spawn(async move {
        for reported in [reported[0], None, reported[1]] {
            if let Some(unix_ms) = reported {
                driver.set_wall_clock(now(), unix_ms);
            }
            while driver.produce(now(), topic, &Record::new(b"r")).is_err() {
                driver.turn().await;
                while driver.poll_event().is_some() {}
            }
            *count.borrow_mut() += 1;
            let second = Timer::after_secs(1);
            select(second, async {
                loop {
                    driver.turn().await;
                    while driver.poll_event().is_some() {}
                }
            })
            .await;
        }
    });
    executor.run_for(Duration::from_secs(4));
    assert_eq!(*sent.borrow(), 3);
    let records = brokers.borrow().cluster.records("t", 0);
    records.iter().map(|record| record.timestamp).collect()
}

#[test]
fn without_a_time_of_day_records_have_no_timestamp() {
    assert_eq!(timestamps([None, None]), [-1, -1, -1]);
}

#[test]
fn a_time_of_day_that_starts_at_1970_is_taken_at_its_word_until_it_is_reported_again() {
    let found = timestamps([Some(0), Some(1_700_000_000_000)]);
    assert!((0..100).contains(&found[0]), "{found:?}");
    assert!((1000..1100).contains(&found[1]), "{found:?}");
    assert!((1_700_000_000_000..1_700_000_000_100).contains(&found[2]), "{found:?}");
}

#[test]
fn a_time_of_day_that_goes_back_makes_earlier_records_and_no_harm() {
    let found = timestamps([Some(1_700_000_000_000), Some(5)]);
    assert!(found[1] > 1_700_000_000_000 && (5..100).contains(&found[2]), "{found:?}");
}
