//! A driver wakes only when there is something to do, and comes back after a sleep.

use core::cell::Cell;
use core::pin::pin;
use std::rc::Rc;

use embassy_futures::select::{Either, select};
use embassy_net::Stack;
use embassy_time::{Duration, Timer, with_timeout};
use kavka_core::{
    Client, Config, Error, Event, Limits, Obstacle, Probing, Saved, Start, Storage, TopicId,
    snapshot_bytes,
};
use kavka_embassy::net::NetDriver;
use kavka_embassy::{SocketMem, now};
use kavka_tests::sim::journal::News;
use kavka_tests::sim::{App as _, Journal, Options};

use crate::brokers::{Brokers, Named, start};
use crate::cancel::serve;
use crate::executor::{Executor, Shared, shared};
use crate::wire::cable;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
type Sockets = SocketMem<2, 2048, 2048>;

/// A cluster with topic `t` of two partitions, and a stack for the device.
fn cluster(executor: &mut Executor) -> (Stack<'static>, Shared<Brokers>, String) {
    let (device, far) = cable(executor);
    let options = Options { brokers: 1, ..Options::default() };
    let (brokers, bootstrap) = start(executor, far, 1, Named::ByAddress, options);
    brokers.borrow_mut().cluster.create_topic("t", 2).expect("created");
    (device, brokers, bootstrap)
}

fn driver(stack: Stack<'static>, config: Config<'static>) -> NetDriver<'static, 2> {
    let storage = Storage::heap(&Limits::small());
    let client = Client::new(config, storage, [1; 32]).expect("a client");
    NetDriver::new(client, Box::leak(Box::new(Sockets::new())).sockets(stack))
}

/// Runs a driver forever; counts how often its task was woken.
fn run(
    executor: &mut Executor,
    mut driver: NetDriver<'static, 2>,
    journal: &Shared<Journal>,
) -> Rc<Cell<u64>> {
    let journal = journal.clone();
    executor.spawn(async move {
        loop {
            serve(&mut driver, &mut journal.borrow_mut());
            driver.turn().await;
        }
    })
}

/// How often a task is woken and how many requests it sends in a minute, once it has settled.
fn minute(
    probing: Probing,
    prepare: impl FnOnce(&mut NetDriver<'static, 2>, &mut Journal),
) -> (u64, u64) {
    let mut executor = Executor::new();
    executor.step = Duration::from_millis(1);
    let (stack, brokers, bootstrap) = cluster(&mut executor);
    let mut config = Config::new(bootstrap.leak());
    config.probing = probing;
    let (mut driver, journal) = (driver(stack, config), shared(Journal::default()));
    prepare(&mut driver, &mut journal.borrow_mut());
    let wakes = run(&mut executor, driver, &journal);
    let begun = || journal.borrow().first(|news| matches!(news, News::Ready { .. })).is_some();
    assert!(executor.run_until(Duration::from_secs(5), || begun() && journal.borrow().sent_all()));
    executor.run_for(Duration::from_secs(5));
    let (woken, requested) = (wakes.get(), brokers.borrow().requests);
    executor.run_for(Duration::from_secs(60));
    (wakes.get() - woken, brokers.borrow().requests - requested)
}

#[test]
fn a_producer_with_nothing_to_send_sleeps() {
    let (wakes, requests) = minute(Probing::WhenProducing, |driver, journal| {
        let topic = driver.topic("t").expect("a topic");
        journal.send(topic, "one");
    });
    assert_eq!((wakes, requests), (0, 0));
}

#[test]
fn a_probe_wakes_a_device_twice() {
    let (wakes, requests) = minute(Probing::Always, |driver, journal| {
        let topic = driver.topic("t").expect("a topic");
        journal.send(topic, "one");
    });
    assert!((50..=62).contains(&requests), "{requests} probes in a minute");
    assert!(wakes <= requests * 5 / 2, "{wakes} wake-ups for {requests} probes");
}

#[test]
fn a_consumer_with_nothing_to_read_wakes_for_its_fetches() {
    let (wakes, requests) = minute(Probing::WhenProducing, |driver, _| {
        let topic = driver.topic("t").expect("a topic");
        driver.assign_all(now(), topic, Start::Latest).expect("assigned");
    });
    assert!((110..=125).contains(&requests), "{requests} fetches in a minute");
    assert!(wakes <= requests * 5 / 2, "{wakes} wake-ups for {requests} fetches");
}

#[test]
fn a_device_that_probes_when_it_produces_notices_growth_with_its_next_record() {
    let mut device = Device::new();
    device.config.probing = Probing::WhenProducing;
    let mut driver = driver(device.stack, device.config);
    let topic = driver.topic("t").expect("a topic");
    let journal = device.journal.clone();
    let send = |value| journal.borrow_mut().send(topic, value);
    let added = || journal.borrow().first(|news| matches!(news, News::Added { .. })).is_some();
    send("one");
    device.work(driver);
    device.executor.run_for(5 * SECOND);
    assert!(journal.borrow().sent_all());
    device.brokers.borrow_mut().cluster.grow("t", 5).expect("grown");
    let requested = device.brokers.borrow().requests;
    device.executor.run_for(60 * SECOND);
    assert_eq!(
        device.brokers.borrow().requests,
        requested,
        "nothing was produced, nothing requested"
    );
    send("two");
    assert!(device.executor.run_until(SECOND, added), "growth was not noticed");
}

/// A device that works, sleeps and works again on command.
struct Device {
    executor: Executor,
    stack: Stack<'static>,
    brokers: Shared<Brokers>,
    config: Config<'static>,
    journal: Shared<Journal>,
    awake: Rc<Cell<bool>>,
}

impl Device {
    fn new() -> Self {
        let mut executor = Executor::new();
        executor.step = Duration::from_millis(1);
        let (stack, brokers, bootstrap) = cluster(&mut executor);
        Self {
            executor,
            stack,
            brokers,
            config: Config::new(bootstrap.leak()),
            journal: shared(Journal::default()),
            awake: Rc::new(Cell::new(true)),
        }
    }

    /// A driver that reads all of `t` from its end on.
    fn driver(&self) -> (NetDriver<'static, 2>, TopicId) {
        let mut driver = driver(self.stack, self.config);
        let topic = driver.topic("t").expect("a topic");
        driver.assign_all(now(), topic, Start::Latest).expect("assigned");
        (driver, topic)
    }

    /// Runs a driver until it may sleep; it is handed back with its connections closed.
    fn work(&mut self, mut driver: NetDriver<'static, 2>) -> Shared<Option<NetDriver<'static, 2>>> {
        let (journal, awake, back) = (self.journal.clone(), self.awake.clone(), shared(None));
        let asleep = back.clone();
        awake.set(true);
        self.executor.spawn(async move {
            while awake.get() {
                serve(&mut driver, &mut journal.borrow_mut());
                select(driver.turn(), Timer::after_millis(10)).await;
            }
            driver.disconnect().await;
            *asleep.borrow_mut() = Some(driver);
        });
        back
    }

    fn sleep(&mut self, driver: &Shared<Option<NetDriver<'static, 2>>>) -> NetDriver<'static, 2> {
        self.awake.set(false);
        assert!(self.executor.run_until(SECOND, || driver.borrow().is_some()), "no end of it");
        driver.take().expect("it is there")
    }

    /// Another producer writes to a partition.
    fn write(&mut self, partition: u32, count: u32) {
        let mut config = self.config;
        config.client_id = "somebody";
        let (mut other, journal) = (driver(self.stack, config), shared(Journal::default()));
        let topic = other.topic("t").expect("a topic");
        for n in 0..count {
            journal.borrow_mut().send_to(topic, partition, format!("{n}"));
        }
        run(&mut self.executor, other, &journal);
        let sent = || journal.borrow().sent_all();
        assert!(self.executor.run_until(5 * SECOND, sent), "somebody else cannot write");
    }

    /// Runs until so many records of a partition were read, and a while longer.
    fn await_read(&mut self, topic: TopicId, partition: u32, count: usize) {
        let read = |journal: &Journal| journal.read.get(&(topic, partition)).map_or(0, Vec::len);
        let done = || read(&self.journal.borrow()) >= count;
        assert!(self.executor.run_until(5 * SECOND, done), "{}", read(&self.journal.borrow()));
        self.executor.run_for(SECOND);
        assert_eq!(read(&self.journal.borrow()), count);
    }
}

#[test]
fn a_driver_that_slept_for_hours_reads_on_where_it_was() {
    let mut device = Device::new();
    let (driver, topic) = device.driver();
    let working = device.work(driver);
    device.executor.run_for(SECOND);
    device.write(0, 10);
    device.await_read(topic, 0, 10);
    let driver = device.sleep(&working);
    device.executor.run_for(SECOND);
    let somebody = 2;
    assert!(device.brokers.borrow().open() <= somebody, "its connections are closed");
    assert!(device.journal.borrow().first(disconnected).is_none(), "and that is no failure");
    device.write(0, 5);
    device.executor.skip(3 * HOUR);
    device.work(driver);
    device.await_read(topic, 0, 15);
}

#[test]
fn a_device_that_was_switched_off_reads_on_where_it_was_and_new_partitions_from_the_first_record() {
    let mut device = Device::new();
    let (driver, topic) = device.driver();
    let working = device.work(driver);
    device.executor.run_for(SECOND);
    device.write(1, 10);
    device.await_read(topic, 1, 10);
    let mut driver = device.sleep(&working);
    let mut saved = [0; snapshot_bytes(1, 1, 8)];
    let kept = driver.save(&mut saved).expect("room");
    assert!(kept.is_complete(), "{kept:?}");
    drop(driver);
    device.brokers.borrow_mut().cluster.grow("t", 3).expect("grown");
    device.write(1, 5);
    device.write(2, 7);
    device.executor.skip(3 * HOUR);
    let (mut driver, again) = device.driver();
    assert_eq!(again, topic, "ids are given in order");
    let restored = driver.restore(now(), &saved).expect("whole");
    assert_eq!((restored.topics, restored.positions), (1, 2));
    device.work(driver);
    device.await_read(topic, 1, 15);
    device.await_read(topic, 2, 7);
}

/// The recipe of README.md. Also: when the flush had ended, and what a snapshot held then.
async fn fall_asleep(
    kafka: &mut NetDriver<'static, 2>,
    journal: &Shared<Journal>,
    page: &mut [u8],
) -> (Option<Saved>, Saved) {
    kafka.flush(now());
    let mut at_flush = None;
    let awake = async {
        while !kafka.save(page).is_ok_and(|saved| saved.is_complete()) {
            select(kafka.turn(), Timer::after_millis(20)).await;
            while let Some((event, commands)) = kafka.poll_event() {
                let flushed = matches!(event, Event::Flushed);
                journal.borrow_mut().on_event(now(), event, commands);
                if flushed {
                    at_flush = kafka.save(page).ok();
                }
            }
        }
    };
    with_timeout(10 * SECOND, awake).await.expect("complete");
    with_timeout(SECOND, kafka.disconnect()).await.expect("a peer that is there");
    (at_flush, kafka.save(page).expect("space"))
}

/// Nothing is to be flushed: a device that sleeps when that is reported has no positions yet.
#[test]
fn a_device_that_sleeps_right_after_its_start_reads_what_is_written_meanwhile() {
    let mut device = Device::new();
    let (mut driver, topic) = device.driver();
    let (journal, asleep) = (device.journal.clone(), shared(None));
    let back = asleep.clone();
    device.executor.spawn(async move {
        let mut page = [0; snapshot_bytes(1, 1, 8)];
        let saved = fall_asleep(&mut driver, &journal, &mut page).await;
        *back.borrow_mut() = Some((page, saved));
    });
    assert!(device.executor.run_until(5 * SECOND, || asleep.borrow().is_some()), "never asleep");
    let (page, (at_flush, saved)) = asleep.take().expect("it sleeps");
    let at_flush = at_flush.expect("flushed");
    assert!(!at_flush.is_complete() && at_flush.positions == 0, "{at_flush:?}");
    assert!(saved.is_complete() && saved.positions == 2, "{saved:?}");
    device.write(0, 4);
    device.executor.skip(3 * HOUR);
    let (mut driver, _) = device.driver();
    driver.restore(now(), &page).expect("whole");
    device.work(driver);
    device.await_read(topic, 0, 4);
}

/// The form of README.md: a timer that is kept across turns is not held up by events.
#[test]
fn a_timer_beside_turns_is_not_starved_by_events() {
    let mut device = Device::new();
    let (mut driver, topic) = device.driver();
    let samples = Rc::new(Cell::new(0));
    let (taken, journal) = (samples.clone(), device.journal.clone());
    device.executor.spawn(async move {
        let mut sample = pin!(Timer::after_millis(50));
        loop {
            if let Either::Second(()) = select(driver.turn(), sample.as_mut()).await {
                sample.set(Timer::after_millis(50));
                taken.set(taken.get() + 1);
            }
            serve(&mut driver, &mut journal.borrow_mut());
            // Each event leads to the next one, more often than the timer ends.
            if journal.borrow().sent_all() {
                journal.borrow_mut().send(topic, "again");
                serve(&mut driver, &mut journal.borrow_mut());
            }
        }
    });
    device.executor.run_for(10 * SECOND);
    let events = device.journal.borrow().acked.len();
    assert!(events > 400, "{events} acknowledgements in 10 s: no hurry");
    assert!(samples.get() > 150, "{} samples in 10 s beside {events} events", samples.get());
}

#[test]
fn a_record_that_was_not_flushed_before_a_long_sleep_is_reported_as_failed() {
    let mut device = Device::new();
    device.config.linger = core::time::Duration::from_secs(60);
    device.config.linger_when_idle = true;
    let (driver, topic) = device.driver();
    let working = device.work(driver);
    device.executor.run_for(SECOND);
    device.journal.borrow_mut().send(topic, "late");
    device.executor.run_for(SECOND);
    let driver = device.sleep(&working);
    device.executor.skip(3 * HOUR);
    device.work(driver);
    device.executor.run_for(SECOND);
    let journal = device.journal.borrow();
    let lost: Vec<_> = journal.lost.iter().map(|l| (l.error, l.maybe_written)).collect();
    // The connection ended in its sleep, so no response could arrive.
    let unanswered = Error::Blocked(Obstacle::NoResponse { broker: 1, api: None });
    assert_eq!(lost, [(unanswered, false)]);
}

fn disconnected(news: &News) -> bool {
    matches!(news, News::Disconnected { .. })
}
