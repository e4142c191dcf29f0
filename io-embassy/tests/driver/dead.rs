//! Unused addresses, before the good one or beside it.

use core::future::poll_fn;

use embassy_net::{ConfigV4, Ipv4Cidr, Stack, StaticConfigV4};
use embassy_time::{Duration, Instant, Timer};
use kavka_core::{Client, Config, Limits, Start, Storage};
use kavka_embassy::net::NetDriver;
use kavka_embassy::{Socket as _, SocketMem, now};
use kavka_tests::sim::journal::News;
use kavka_tests::sim::{Journal, Options};

use crate::brokers::{Brokers, Named, nobody, nobody_far, start};
use crate::cancel::serve;
use crate::executor::{Executor, Shared, shared};
use crate::wire::{BROKERS, BROKERS_V6, cable, ethernet, v4};

/// Longest time that a test waits for something.
const LIMIT: Duration = Duration::from_secs(60);

/// A link, and a cluster with topic `t` of as many partitions as brokers at its other end.
struct Scene {
    executor: Executor,
    device: Stack<'static>,
    far: Stack<'static>,
    brokers: Shared<Brokers>,
    journal: Shared<Journal>,
}

impl Scene {
    fn new(seed: u64, brokers: u32, ethernet_link: bool) -> Self {
        let mut executor = Executor::new();
        executor.step = Duration::from_millis(1);
        let lay = if ethernet_link { ethernet } else { cable };
        let (device, far) = lay(&mut executor);
        let options = Options { brokers, ..Options::default() };
        let (brokers, _) = start(&mut executor, far, seed, Named::ByAddress, options);
        let journal = shared(Journal::default());
        Self { executor, device, far, brokers, journal }
    }

    /// Starts a client that reads `t`.
    fn work<const CONNS: usize>(&mut self, bootstrap: &str, seed: u64) -> kavka_core::TopicId {
        let config = Config::new(bootstrap.to_owned().leak());
        let storage = Storage::heap(&Limits::small());
        let client = Client::new(config, storage, [seed as u8; 32]).expect("a client");
        let memory = Box::leak(Box::new(SocketMem::<CONNS, 1024, 1024>::new()));
        let (sockets, mut names) = memory.sockets_and_names(self.device);
        self.executor.spawn(async move { names.run().await });
        let mut driver = NetDriver::new(client, sockets);
        let topic = driver.topic("t").expect("a topic");
        driver.assign_all(now(), topic, Start::Earliest).expect("assigned");
        let journal = self.journal.clone();
        self.executor.spawn(async move {
            loop {
                serve(&mut driver, &mut journal.borrow_mut());
                driver.turn().await; // and nothing else wakes it
            }
        });
        topic
    }

    /// How long it takes until then.
    fn time_until(&mut self, done: impl Fn(&Journal) -> bool) -> Duration {
        let begun = Instant::now();
        let journal = &self.journal;
        self.executor.run_until(LIMIT, || done(&journal.borrow()));
        Instant::now() - begun
    }
}

/// How long it takes until a topic is known, and until what was sent to it was read.
fn time_until_ready<const CONNS: usize>(
    bootstrap: &str,
    ethernet: bool,
    seed: u64,
) -> [Duration; 2] {
    let mut scene = Scene::new(seed, 1, ethernet);
    scene.brokers.borrow_mut().cluster.create_topic("t", 2).expect("created");
    let topic = scene.work::<CONNS>(bootstrap, seed);
    scene.journal.borrow_mut().send(topic, "one");
    let ready = |journal: &Journal| journal.first(|n| matches!(n, News::Ready { .. })).is_some();
    let known = scene.time_until(ready);
    [known, known + scene.time_until(|journal| journal.count_read() == 1)]
}

/// The good address is reached within three seconds by one connection and by several, and the
/// first one that is tried may be any: at worst all `dead` ones are, for about a second each.
fn check(bootstrap: &str, ethernet: bool, dead: u64) {
    let mut longest = Duration::MIN;
    for seed in 1..=8 {
        for took in [
            time_until_ready::<1>(bootstrap, ethernet, seed),
            time_until_ready::<4>(bootstrap, ethernet, seed),
        ] {
            let known = took[0].as_millis();
            assert!(known <= 3000, "{bootstrap}, seed {seed}: known after {known} ms");
            let read = (took[1] - took[0]).as_millis();
            assert!(read <= 600, "{bootstrap}, seed {seed}: read {read} ms after it was known");
            longest = longest.max(took[0]);
        }
    }
    let longest = longest.as_millis();
    assert!(longest >= 900 * dead, "{bootstrap}: {longest} ms, nothing dead was tried");
}

#[test]
fn dead_bootstrap_addresses_on_the_link_cost_a_second_each() {
    check("10.0.0.1:9091", true, 0);
    check(&format!("{}:9091,10.0.0.1:9091", nobody(0)), true, 1);
    check(&format!("{}:9091,{}:9091,10.0.0.1:9091", nobody(0), nobody(1)), true, 2);
}

#[test]
fn dead_bootstrap_addresses_elsewhere_cost_a_second_each() {
    check(&format!("{}:9091,10.0.0.1:9091", nobody_far(0)), false, 1);
    check(&format!("{}:9091,{}:9091,10.0.0.1:9091", nobody_far(0), nobody_far(1)), false, 2);
}

#[test]
fn dead_addresses_of_a_name_on_the_link_cost_a_second_each() {
    check("good.example:9091", true, 0);
    check("dead-1.example:9091", true, 1);
    check("dead-2.example:9091", true, 2);
}

#[test]
fn dead_addresses_of_a_name_elsewhere_cost_a_second_each() {
    check("far-1.example:9091", false, 1);
    check("far-2.example:9091", false, 2);
}

#[test]
fn a_name_with_dead_addresses_does_not_keep_another_one_waiting() {
    check("dead-1.example:9091,dead-2.example:9091", true, 1);
    check("dead-3.example:9091,good.example:9091", true, 1);
}

#[test]
fn a_bootstrap_address_that_refuses_costs_nothing() {
    for seed in 1..=8 {
        let [known, _] = time_until_ready::<4>("10.0.0.1:9,10.0.0.1:9091", true, seed);
        assert!(known <= Duration::from_millis(10), "seed {seed}: {} ms", known.as_millis());
    }
}

/// The stack sends one request for a link address a second, whatever the address is (smoltcp's
/// neighbour cache has one limit for all). Three addresses each need that request, two of them in
/// vain, and the socket whose packet is due first when the second is over gets it. With seed 6
/// those of the dead brokers win three times, and the good one is requested after 4.1 s.
#[test]
fn a_dead_broker_does_not_keep_others_from_being_found() {
    for seed in 1..=8 {
        let mut scene = Scene::new(seed, 3, true);
        {
            let cluster = &mut scene.brokers.borrow_mut().cluster;
            cluster.create_topic("t", 3).expect("created");
            cluster.set_endpoint(1, &nobody(0).to_string(), 9091);
            cluster.set_endpoint(2, &nobody(1).to_string(), 9092);
            cluster.set_endpoint(3, &BROKERS_V6.to_string(), 9093);
        }
        let topic = scene.work::<4>("10.0.0.1:9091", seed);
        for partition in 0..3 {
            scene.journal.borrow_mut().send_to(topic, partition, "one");
        }
        let took = scene.time_until(|journal| journal.count_read() >= 1);
        assert!(took <= Duration::from_millis(4500), "seed {seed}: {} ms", took.as_millis());
    }
}

/// It cannot be notified of the end.
#[test]
fn a_socket_whose_peer_is_gone_can_be_used_again() {
    let mut scene = Scene::new(1, 1, true);
    let mut sockets = Box::leak(Box::new(SocketMem::<1, 512, 512>::new())).sockets(scene.device);
    let connected = shared(Vec::new());
    let times = connected.clone();
    scene.executor.spawn(async move {
        for host in [BROKERS.to_string(), BROKERS_V6.to_string()] {
            let socket = &mut sockets[0];
            let begun = Instant::now();
            poll_fn(|cx| socket.poll_connect(cx, &host, 9091)).await.expect("connected");
            times.borrow_mut().push(Instant::now() - begun);
            Timer::after_secs(120).await; // who the peer was is forgotten
            socket.close();
        }
    });
    scene.executor.run_for(Duration::from_secs(1));
    assert_eq!(connected.borrow().len(), 1);
    let address = Ipv4Cidr::new(v4(9), 24);
    let other = StaticConfigV4 { address, gateway: None, dns_servers: Default::default() };
    scene.far.set_config_v4(ConfigV4::Static(other));
    scene.executor.run_for(Duration::from_secs(130));
    let connected = connected.borrow();
    assert_eq!(connected.len(), 2, "the second one was not made");
    assert!(connected[1] <= Duration::from_secs(3), "{} ms", connected[1].as_millis());
}

/// DHCP gives the device another address: the response to a fetch that is in flight goes to the old
/// one, and nothing would be read before the request timeout of 30 s. The stack resets sockets
/// whose address is gone.
#[test]
fn connections_are_reopened_under_a_new_address() {
    for seed in 1..=4 {
        let mut scene = Scene::new(seed, 1, false);
        scene.brokers.borrow_mut().cluster.create_topic("t", 1).expect("created");
        let topic = scene.work::<2>("10.0.0.1:9091", seed);
        scene.journal.borrow_mut().send(topic, "before");
        scene.time_until(|journal| journal.count_read() == 1);
        scene.executor.run_for(Duration::from_secs(2));
        let address = Ipv4Cidr::new(v4(77), 24);
        let dns_servers = Default::default();
        let config = StaticConfigV4 { address, gateway: Some(BROKERS), dns_servers };
        scene.device.set_config_v4(ConfigV4::Static(config));
        // Another producer writes; the reader has nothing to send.
        let reader = core::mem::replace(&mut scene.journal, shared(Journal::default()));
        scene.work::<2>("10.0.0.1:9091", seed + 10);
        scene.journal.borrow_mut().send(topic, "after");
        scene.journal = reader;
        let took = scene.time_until(|journal| journal.count_read() == 2).as_millis();
        assert!(took <= 3000, "seed {seed}: {took} ms");
    }
}
