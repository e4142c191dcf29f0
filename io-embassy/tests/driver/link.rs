//! A link that loses packets, and one that is cut for a while.

use core::cell::Cell;
use std::rc::Rc;

use embassy_futures::select::select;
use embassy_net::StackResources;
use embassy_time::{Duration, Instant, Timer};
use kavka_core::{Client, Config, Limits, Start, Storage};
use kavka_embassy::net::{NetDriver, Places, TooFewSockets};
use kavka_embassy::{SocketMem, now};
use kavka_tests::sim::{Journal, Options};

use crate::brokers::{Named, start};
use crate::cancel::serve;
use crate::executor::{Executor, Shared, shared};
use crate::wire::bad_cable;

/// A client that sends to a topic and reads it, over a cable of three brokers.
struct Scene {
    executor: Executor,
    loss: Rc<Cell<u64>>,
    journal: Shared<Journal>,
    topic: kavka_core::TopicId,
    sent: usize,
}

impl Scene {
    fn new(seed: u64) -> Self {
        let mut executor = Executor::new();
        executor.step = Duration::from_millis(1);
        let loss = Rc::new(Cell::new(0));
        let (device, far) = bad_cable(&mut executor, &loss);
        let options = Options::default();
        let (brokers, bootstrap) = start(&mut executor, far, seed, Named::ByAddress, options);
        brokers.borrow_mut().cluster.create_topic("t", 3).expect("created");
        let mut config = Config::new(bootstrap.leak());
        config.request_timeout = core::time::Duration::from_secs(3);
        config.connect_timeout = core::time::Duration::from_secs(2);
        let storage = Storage::heap(&Limits::small());
        let client = Client::new(config, storage, [seed as u8; 32]).expect("a client");
        let memory = Box::leak(Box::new(SocketMem::<4, 1024, 1024>::new()));
        let mut driver = NetDriver::new(client, memory.sockets(device));
        let topic = driver.topic("t").expect("a topic");
        driver.assign_all(now(), topic, Start::Earliest).expect("assigned");
        let journal = shared(Journal::default());
        let task = journal.clone();
        executor.spawn(async move {
            loop {
                serve(&mut driver, &mut task.borrow_mut());
                select(driver.turn(), Timer::after_millis(5)).await;
            }
        });
        Self { executor, loss, journal, topic, sent: 0 }
    }

    fn send(&mut self, count: usize) {
        for _ in 0..count {
            self.journal.borrow_mut().send(self.topic, format!("{:040}", self.sent));
            self.sent += 1;
        }
    }

    /// Runs until all is sent and read; how long that took.
    fn finish(&mut self, at: &str, limit: Duration) -> Duration {
        let (begun, sent) = (Instant::now(), self.sent);
        let journal = &self.journal;
        let done = || journal.borrow().sent_all() && journal.borrow().count_read() >= sent;
        let in_time = self.executor.run_until(limit, done);
        let journal = journal.borrow();
        let read = journal.count_read();
        assert!(in_time, "{at}: {} acknowledged, {read} read of {sent}", journal.acked.len());
        assert!(journal.lost.is_empty(), "{at}: {:?}", journal.lost);
        assert_eq!(read, sent, "{at}: records read more than once");
        assert_eq!(journal.out_of_order(), None, "{at}");
        Instant::now() - begun
    }
}

#[test]
fn a_link_that_loses_packets_loses_no_records() {
    // The later ones took more than a minute when a request timeout was blind to bytes that move.
    for seed in [1, 2, 3, 4, 26, 37, 89, 96, 101, 107, 138] {
        for percent in [2, 15] {
            let mut scene = Scene::new(seed);
            scene.loss.set(percent);
            for _ in 0..10 {
                scene.send(20);
                scene.executor.run_for(Duration::from_millis(100));
            }
            scene.finish(&format!("seed {seed}, {percent} %"), Duration::from_secs(60));
        }
    }
}

#[test]
fn a_link_that_was_cut_is_used_again_soon() {
    for seed in 1..=4 {
        for (cut, soon) in [(1, 3), (20, 4)] {
            let at = format!("seed {seed}, cut for {cut} s");
            let mut scene = Scene::new(seed);
            scene.send(20);
            scene.finish(&at, Duration::from_secs(10));
            scene.loss.set(100);
            scene.send(20);
            scene.executor.run_for(Duration::from_secs(cut));
            scene.loss.set(0);
            let took = scene.finish(&at, Duration::from_secs(30));
            assert!(took <= Duration::from_secs(soon), "{at}: {took} until all was through");
        }
    }
}

/// The stack itself would panic.
#[test]
fn too_few_sockets_of_the_stack_are_an_error() {
    type Sockets = SocketMem<4, 512, 512>;
    let mut executor = Executor::new();
    let (device, _) = bad_cable(&mut executor, &Rc::new(Cell::new(0)));
    let memory = Box::leak(Box::new(Sockets::new()));
    // Four, one for DNS and one for DHCP.
    let places = Places::of(&StackResources::<5>::new(), 1);
    let refused = memory.try_sockets(device, places).err();
    assert_eq!(refused, Some(TooFewSockets { needed: 6, have: 5 }));
    assert!(refused.is_some_and(|refused| refused.to_string().contains("StackResources<6>")));
    let enough = StackResources::<{ Sockets::stack_sockets(1) }>::new();
    assert!(memory.try_sockets_and_names(device, Places::of(&enough, 1)).is_ok());
}
