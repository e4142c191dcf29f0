//! Many brokers: one connection each where there is capacity, otherwise slots that change hands
//! slowly.

use std::collections::BTreeSet;

use kafka_protocol::messages::FetchRequest;
use kavka_core::{Client, Config, ConfigError, Duration, LimitKind, Limits, Start, Storage};
use kavka_tests::script::{Script, World};

/// Runs brokers without records, which respond after 50 ms. Returns the brokers that got requests.
fn serve(s: &mut Script, time: Duration) -> BTreeSet<i32> {
    let (end, mut nodes) = (s.now() + time, BTreeSet::new());
    while s.now() < end {
        s.run(Duration::from_millis(50));
        // Requests sent in return wait for the next round.
        let requested: Vec<_> = core::iter::from_fn(|| s.take::<FetchRequest>()).collect();
        for requested in requested {
            nodes.insert(requested.node);
            s.give(&requested, 0, Vec::new());
        }
    }
    nodes
}

/// Creates a consumer of a partition on each broker.
fn reader(brokers: i32, conns: usize) -> Script {
    let mut limits = Limits::small();
    (limits.conns, limits.brokers, limits.partitions) = (conns, 256, 256);
    (limits.tx_blocks, limits.rx_bytes) = (1024, 16 * 1024);
    let count = usize::try_from(brokers).unwrap();
    let world = World::new(brokers).topic("t", count);
    let mut s = Script::with(world, Config::new("b1:9001"), &limits);
    let t = s.ready("t");
    let now = s.now();
    s.client.assign_all(now, t, Start::Earliest).expect("assigned");
    s
}

/// Returns such a consumer after its start, and the number of connects in ten seconds.
fn connects(brokers: i32, conns: usize) -> (Script, usize) {
    let mut s = reader(brokers, conns);
    serve(&mut s, Duration::from_secs(10));
    let before = s.connects.len();
    serve(&mut s, Duration::from_secs(10));
    let after = s.connects.len() - before;
    (s, after)
}

#[test]
fn few_slots_change_hands_slowly() {
    for brokers in [40, 100] {
        let (_, connects) = connects(brokers, 32);
        assert!((5..20).contains(&connects), "{brokers} brokers: {connects} connects in 10 s");
    }
}

/// Holds for any number of brokers and any order of requests.
#[test]
fn each_of_many_brokers_has_its_turn() {
    let mut s = reader(77, 26);
    // One connection is drained and closed every 600 ms, a few more at the start.
    let (start, round) = (Duration::from_secs(25), Duration::from_secs(50));
    assert_eq!(serve(&mut s, start).len(), 77, "read from, after {start:?}");
    for _ in 0..2 {
        let before = s.connects.len();
        assert_eq!(serve(&mut s, round).len(), 77, "read from in {round:?}");
        let connects = s.connects.len() - before;
        assert!((77..100).contains(&connects), "{connects} connects in {round:?}");
    }
}

#[test]
fn a_few_brokers_too_many_are_read_from_at_once() {
    let mut s = reader(40, 32);
    assert_eq!(serve(&mut s, Duration::from_secs(3)).len(), 40);
}

#[test]
fn where_there_is_room_everybody_has_a_connection_and_keeps_it() {
    for (brokers, conns) in [(40, 64), (40, 90)] {
        let (s, connects) = connects(brokers, conns);
        assert_eq!(connects, 0, "{brokers} brokers, {conns} connections");
        for node in 1..=brokers {
            let open = s.connections(node).len();
            assert!(open >= 1, "{brokers} brokers, {conns} connections: none to {node}");
        }
    }
}

#[test]
fn limits_that_cannot_work_are_named() {
    let made = |change: &dyn Fn(&mut Limits)| {
        let mut limits = Limits::small();
        change(&mut limits);
        Client::new(Config::new("a:1"), Storage::heap(&limits), [1; 32]).map(|_| ())
    };
    assert_eq!(made(&|l| l.conns = 200), Ok(()));
    assert_eq!(
        made(&|l| l.conns = 0),
        Err(ConfigError::TooLittle { what: LimitKind::Connections, least: 1 })
    );
    assert_eq!(
        made(&|l| l.rx_bytes = 511),
        Err(ConfigError::TooLittle { what: LimitKind::ReceiveBuffer, least: 512 })
    );
    let most = usize::from(u16::MAX);
    assert_eq!(
        made(&|l| (l.conns, l.rx_bytes) = (most + 1, 512)),
        Err(ConfigError::TooMuch { what: LimitKind::Connections, most })
    );
    assert_eq!(
        made(&|l| l.requests = most + 1),
        Err(ConfigError::TooMuch { what: LimitKind::Requests, most })
    );
}
