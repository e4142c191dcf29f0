//! A turn may be dropped wherever it waits: nothing is lost, repeated or reordered.

use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::Poll;
use std::collections::BTreeMap;

use embassy_futures::select::select;
use embassy_net::Stack;
use embassy_time::{Duration, Timer};
use kavka_core::{Client, Config, Error, Limits, Start, Storage};
use kavka_embassy::net::NetDriver;
use kavka_embassy::{Driver, Socket, SocketMem, now};
use kavka_tests::sim::journal::News;
use kavka_tests::sim::{ApiKey, Fault, Journal, Options};
use kavka_tests::sim::{App, Rng};

use crate::brokers::{Named, start};
use crate::executor::{Executor, Shared, shared};
use crate::wire::cable;

const CONNS: usize = 4;
type Sockets = SocketMem<CONNS, 1024, 1024>;

/// How the application treats a turn.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Habit {
    /// Awaits it, or the next check for something to send.
    Patient,
    /// Drops it after each poll, as soon as it waits.
    Hasty,
    /// Drops it after a random time, or a random number of polls.
    Random,
}

/// One turn, or a part of it.
async fn turn<S: Socket, const N: usize>(
    driver: &mut Driver<'static, S, N>,
    habit: Habit,
    rng: &mut Rng,
) {
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

/// Gives a journal's records to a driver, and what happens to the journal.
pub(crate) fn serve<S: Socket, const N: usize>(
    driver: &mut Driver<'static, S, N>,
    journal: &mut Journal,
) {
    while let Some((event, commands)) = driver.poll_event() {
        journal.on_event(now(), event, commands);
    }
    journal.on_idle(now(), driver);
}

async fn run<S: Socket, const N: usize>(
    mut driver: Driver<'static, S, N>,
    journal: Shared<Journal>,
    habit: Habit,
    mut rng: Rng,
) {
    loop {
        serve(&mut driver, &mut journal.borrow_mut());
        turn(&mut driver, habit, &mut rng).await;
    }
}

/// What a test varies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) seed: u64,
    pub(crate) habit: Habit,
    pub(crate) named: Named,
    pub(crate) brokers: u32,
}

/// A client for a cluster, with memory for more connections than most drivers have sockets.
fn client(bootstrap: String, seed: u64) -> Client<'static> {
    let config = Config::new(bootstrap.leak());
    Client::new(config, Storage::heap(&Limits::small()), [seed as u8; 32]).expect("a client")
}

/// Produces to a topic that grows and reads it, while brokers drop connections. `connect` makes
/// the driver.
pub(crate) fn check<S: Socket + 'static, const N: usize>(
    case: Case,
    connect: impl FnOnce(&mut Executor, Stack<'static>, Client<'static>) -> Driver<'static, S, N>,
) {
    let Case { seed, habit, named, .. } = case;
    let mut executor = Executor::new();
    let (device, far) = cable(&mut executor);
    let options = Options { brokers: case.brokers, ..Options::default() };
    let (brokers, bootstrap) = start(&mut executor, far, seed, named, options);
    brokers.borrow_mut().cluster.create_topic("t", 3).expect("created");
    let mut driver = connect(&mut executor, device, client(bootstrap, seed));
    let topic = driver.topic("t").expect("a topic");
    driver.assign_all(now(), topic, Start::Earliest).expect("assigned");
    let journal = shared(Journal::default());
    executor.spawn(run(driver, journal.clone(), habit, Rng(seed)));
    for round in 0..4 {
        for n in 0..60 {
            journal.borrow_mut().send(topic, format!("{:060}", round * 60 + n));
        }
        let broker = 1 + (seed + round) as i32 % case.brokers as i32;
        let fault = if round.is_multiple_of(2) { Fault::DropResponse } else { Fault::DropRequest };
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
    assert!(in_time, "{case:?}: {read} read, {} acknowledged", journal.acked.len());
    assert!(journal.lost.is_empty(), "{case:?}: {:?}", journal.lost);
    assert_eq!(read, count, "{case:?}: records read more than once");
    // The faults close connections; bytes that go missing would look like a fault of the broker.
    let garbled = |news: &News| {
        matches!(news, News::Disconnected { error: Error::Peer(_) | Error::TimedOut, .. })
    };
    assert_eq!(journal.first(garbled), None, "{case:?}");
    let mut stored = BTreeMap::new();
    for partition in 0..5 {
        let records = brokers.borrow().cluster.records("t", partition).into_iter();
        let log: Vec<(i64, Vec<u8>)> =
            records.map(|r| (r.offset, r.value.unwrap_or_default().to_vec())).collect();
        stored.extend(log.iter().map(|(_, value)| (value.clone(), partition)));
        let none = Vec::new();
        let read = journal.read.get(&(topic, partition)).unwrap_or(&none);
        assert_eq!(read, &log, "{case:?}: partition {partition}");
    }
    assert_eq!(stored.len(), count, "{case:?}: the logs hold each record once");
    if named.by_name() {
        assert!(!brokers.borrow().requested.is_empty(), "{case:?}: no name was requested");
    }
}

/// Over four sockets of embassy-net.
pub(crate) fn check_net(seed: u64, habit: Habit, named: Named) {
    check(Case { seed, habit, named, brokers: 3 }, |executor, stack, client| {
        let (sockets, mut names) = Box::leak(Box::new(Sockets::new())).sockets_and_names(stack);
        executor.spawn(async move { names.run().await });
        NetDriver::new(client, sockets)
    });
}

#[test]
fn a_turn_that_is_awaited_produces_and_consumes() {
    for seed in 1..=4 {
        check_net(seed, Habit::Patient, Named::ByAddress);
    }
}

#[test]
fn a_turn_that_is_dropped_wherever_it_waits_loses_nothing() {
    for seed in 1..=8 {
        check_net(seed, Habit::Hasty, Named::ByAddress);
        check_net(seed, Habit::Random, Named::ByAddress);
    }
}

#[test]
fn names_are_looked_up_although_turns_are_dropped() {
    for seed in 1..=4 {
        check_net(seed, Habit::Hasty, Named::ByName);
        check_net(seed, Habit::Random, Named::ByName);
    }
}
