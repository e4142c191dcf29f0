//! A turn may be dropped wherever it waits: nothing is lost, repeated or reordered.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use std::collections::BTreeMap;

use embassy_futures::select::select;
use embassy_time::{Duration, Timer};
use kavka_core::{Client, Config, Limits, Start, Storage, TopicId};
use kavka_embassy::net::NetDriver;
use kavka_embassy::{SocketMem, now};
use kavka_tests::sim::world::{App, Rng};
use kavka_tests::sim::{ApiKey, Fault, Journal, Options};

use crate::brokers::{Named, start};
use crate::executor::{Executor, Shared, shared};
use crate::wire::cable;

const CONNS: usize = 4;
type Sockets = SocketMem<CONNS, 1024, 1024>;

/// How the application treats a turn.
#[derive(Clone, Copy, Debug)]
enum Habit {
    /// Awaits it, or the next time to look whether there is something to send.
    Patient,
    /// Drops it after each poll, as soon as it waits.
    Hasty,
    /// Drops it after a random time, or a random number of polls.
    Random,
}

/// One turn, or a part of it.
async fn turn(driver: &mut NetDriver<'static, CONNS>, habit: Habit, rng: &mut Rng) {
    match (habit, rng.below(3)) {
        (Habit::Patient, _) => {
            select(driver.turn(), Timer::after_millis(20)).await;
        }
        (Habit::Random, 0) => {
            select(driver.turn(), Timer::after_micros(rng.below(3000))).await;
        }
        (Habit::Random, 1) => {
            let mut polls = rng.below(4);
            let mut turn = pin!(driver.turn());
            poll_fn(|cx| {
                polls = polls.saturating_sub(1);
                let over = turn.as_mut().poll(cx).is_ready();
                if over || polls == 0 { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            Timer::after_micros(rng.below(500)).await; // meanwhile nobody looks
        }
        _ => {
            poll_fn(|cx| {
                let turn = pin!(driver.turn());
                turn.poll(cx) // and drops it
            })
            .await;
        }
    }
}

fn serve(driver: &mut NetDriver<'static, CONNS>, journal: &mut Journal) {
    while let Some((event, commands)) = driver.poll_event() {
        journal.on_event(now(), event, commands);
    }
    journal.on_idle(now(), driver);
}

async fn run(
    mut driver: NetDriver<'static, CONNS>,
    journal: Shared<Journal>,
    habit: Habit,
    mut rng: Rng,
) {
    loop {
        serve(&mut driver, &mut journal.borrow_mut());
        turn(&mut driver, habit, &mut rng).await;
    }
}

fn check(seed: u64, habit: Habit, named: Named) {
    let at = format!("seed {seed}, {habit:?}, {named:?}");
    let mut executor = Executor::new();
    let (device, far) = cable(&mut executor);
    let (brokers, bootstrap) = start(&mut executor, far, seed, named, Options::default());
    brokers.borrow_mut().cluster.create_topic("t", 3).expect("created");
    let sockets = Box::leak(Box::new(Sockets::new()));
    let config = Config::new(bootstrap.leak());
    let limits = Limits::small();
    let client = Client::new(config, Storage::heap(&limits), [seed as u8; 32]).expect("a client");
    let (sockets, mut names) = sockets.sockets_and_names(device);
    executor.spawn(async move { names.run().await });
    let mut driver = NetDriver::new(client, sockets);
    let topic = driver.topic("t").expect("a topic");
    driver.assign_all(now(), topic, Start::Earliest).expect("assigned");
    let journal = shared(Journal::default());
    executor.spawn(run(driver, journal.clone(), habit, Rng(seed)));
    for round in 0..4 {
        for n in 0..60 {
            journal.borrow_mut().send(topic, format!("{:060}", round * 60 + n));
        }
        let broker = 1 + (seed + round) as i32 % 3;
        let fault = if round.is_multiple_of(2) { Fault::DropAnswer } else { Fault::DropRequest };
        let api = if seed.is_multiple_of(2) { ApiKey::Produce } else { ApiKey::Fetch };
        brokers.borrow_mut().cluster.inject(broker, api, fault, 1);
        executor.run_for(Duration::from_millis(100));
        if round == 1 {
            brokers.borrow_mut().cluster.grow("t", 5).expect("grown");
        }
    }
    let count = 240;
    let done = || journal.borrow().sent_all() && journal.borrow().count_read() >= count;
    let in_time = executor.run_until(Duration::from_secs(30), done);
    let journal = journal.borrow();
    let read = journal.count_read();
    assert!(in_time, "{at}: {read} read, {} acknowledged", journal.acked.len());
    assert!(journal.lost.is_empty(), "{at}: {:?}", journal.lost);
    assert_eq!(read, count, "{at}: records read more than once");
    let mut stored = BTreeMap::new();
    for partition in 0..5 {
        let records = brokers.borrow().cluster.records("t", partition).into_iter();
        let log: Vec<(i64, Vec<u8>)> =
            records.map(|r| (r.offset, r.value.unwrap_or_default().to_vec())).collect();
        stored.extend(log.iter().map(|(_, value)| (value.clone(), partition)));
        assert_read(&journal, topic, partition, &log, &at);
    }
    assert_eq!(stored.len(), count, "{at}: the logs hold each record once");
    if named == Named::ByName {
        assert!(!brokers.borrow().asked.is_empty(), "{at}: no name was asked for");
    }
}

fn assert_read(
    journal: &Journal,
    topic: TopicId,
    partition: u32,
    log: &[(i64, Vec<u8>)],
    at: &str,
) {
    let none = Vec::new();
    let read = journal.read.get(&(topic, partition)).unwrap_or(&none);
    assert_eq!(read, log, "{at}: partition {partition}");
}

#[test]
fn a_turn_that_is_awaited_produces_and_consumes() {
    for seed in 1..=4 {
        check(seed, Habit::Patient, Named::ByAddress);
    }
}

#[test]
fn a_turn_that_is_dropped_wherever_it_waits_loses_nothing() {
    for seed in 1..=8 {
        check(seed, Habit::Hasty, Named::ByAddress);
        check(seed, Habit::Random, Named::ByAddress);
    }
}

#[test]
fn names_are_looked_up_although_turns_are_dropped() {
    for seed in 1..=4 {
        check(seed, Habit::Hasty, Named::ByName);
        check(seed, Habit::Random, Named::ByName);
    }
}
