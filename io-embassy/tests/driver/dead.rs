//! Addresses that nobody has, before the good one.

use embassy_time::{Duration, Instant};
use kavka_core::{Client, Config, Limits, Start, Storage};
use kavka_embassy::net::NetDriver;
use kavka_embassy::{SocketMem, now};
use kavka_tests::sim::journal::News;
use kavka_tests::sim::{Journal, Options};

use crate::brokers::{Named, nobody, start};
use crate::cancel::serve;
use crate::executor::{Executor, shared};
use crate::wire::ethernet;

/// How long it takes until a topic is known, and until what was sent to it was read.
fn time_until_ready<const CONNS: usize>(bootstrap: &str, seed: u64) -> [Duration; 2] {
    let mut executor = Executor::new();
    executor.step = Duration::from_millis(1);
    let (device, far) = ethernet(&mut executor);
    let options = Options { brokers: 1, ..Options::default() };
    let (brokers, _) = start(&mut executor, far, seed, Named::ByAddress, options);
    brokers.borrow_mut().cluster.create_topic("t", 2).expect("created");
    let config = Config::new(bootstrap.to_owned().leak());
    let storage = Storage::heap(&Limits::small());
    let client = Client::new(config, storage, [seed as u8; 32]).expect("a client");
    let memory = Box::leak(Box::new(SocketMem::<CONNS, 1024, 1024>::new()));
    let (sockets, mut names) = memory.sockets_and_names(device);
    executor.spawn(async move { names.run().await });
    let mut driver = NetDriver::new(client, sockets);
    let topic = driver.topic("t").expect("a topic");
    driver.assign_all(now(), topic, Start::Earliest).expect("assigned");
    let journal = shared(Journal::default());
    journal.borrow_mut().send(topic, "one");
    let task = journal.clone();
    executor.spawn(async move {
        loop {
            serve(&mut driver, &mut task.borrow_mut());
            driver.turn().await;
        }
    });
    let limit = Duration::from_secs(20);
    let begun = Instant::now();
    let ready = || journal.borrow().first(|news| matches!(news, News::Ready { .. })).is_some();
    executor.run_until(limit, ready);
    let known = Instant::now() - begun;
    executor.run_until(limit, || journal.borrow().count_read() == 1);
    [known, Instant::now() - begun]
}

/// With one connection and with several; the shortest and the longest time.
fn check(bootstrap: &str) -> [Duration; 2] {
    let mut took = Vec::new();
    for seed in 1..=4 {
        took.push(time_until_ready::<1>(bootstrap, seed));
        took.push(time_until_ready::<4>(bootstrap, seed));
    }
    eprintln!("{bootstrap}: {took:?}");
    let [first, last] = [took.iter().min(), took.iter().max()].map(|t| t.expect("some")[1]);
    [first, last]
}

#[test]
fn a_dead_bootstrap_address_costs_a_second() {
    check(&format!("{}:9091,10.0.0.1:9091", nobody(0)));
}

#[test]
fn two_dead_bootstrap_addresses_cost_two_seconds() {
    check(&format!("{}:9091,{}:9091,10.0.0.1:9091", nobody(0), nobody(1)));
}

#[test]
fn a_dead_address_of_a_name_costs_a_second() {
    check("dead-1.example:9091");
}

#[test]
fn two_dead_addresses_of_a_name_cost_two_seconds() {
    check("dead-2.example:9091");
}
#[test]
fn dead_probe_good() {
    check("good.example:9091");
}
