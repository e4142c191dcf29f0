//! Which partition a key goes to while its topic grows: policies of `KeyOrder`.

use kafka_protocol::messages::{MetadataRequest, ProduceRequest};
use kavka_core::murmur2::{murmur2, positive};
use kavka_core::{Duration, Event, KeyOrder, ProduceError, Record, TopicId};
use kavka_tests::script::steps::{configured, events, with_id};
use kavka_tests::script::{Requested, Script, World};

fn place(key: &str, count: u32) -> u32 {
    positive(murmur2(key.as_bytes())) % count
}

/// Returns a key that goes to these partitions, by the counts of partitions.
fn key(places: &[(u32, u32)]) -> String {
    let fits = |key: &String| places.iter().all(|(count, at)| place(key, *count) == *at);
    (0..).map(|n: u32| n.to_string()).find(fits).expect("some key")
}

fn put(s: &mut Script, t: TopicId, key: &str) -> Result<u32, ProduceError> {
    let now = s.now();
    let record = Record::new(key.as_bytes()).key(key.as_bytes());
    s.client.produce(now, t, &record).map(|id| id.partition)
}

/// A topic with so many partitions, a policy, and a client that may wait so long for keys.
fn topic(count: usize, order: KeyOrder, most: Duration) -> (Script, TopicId) {
    let mut s = configured(World::new(1).topic("t", count), |config| config.drain_timeout = most);
    let t = s.ready("t");
    s.client.set_key_order(t, order).expect("watched");
    (s, t)
}

fn draining(count: usize) -> (Script, TopicId) {
    topic(count, KeyOrder::Drain, Duration::from_secs(60))
}

fn grow(s: &mut Script, t: TopicId, count: usize) {
    s.world.grow("t", count);
    s.until("it has grown", |s| {
        s.client.freshness(t).is_some_and(|known| known.partitions as usize == count)
    });
    // The leaders of new partitions are known, too.
    s.run(Duration::from_millis(200));
    let _ = s.take::<MetadataRequest>();
}

/// How drains ended: partitions, refusals, and whether all was settled.
fn drained(s: &mut Script) -> Vec<(u32, u32, bool)> {
    let ended = |event: &Event<'_>| match *event {
        Event::Drained { partitions, held, settled, .. } => Some((partitions, held, settled)),
        _ => None,
    };
    events(s).iter().filter_map(ended).collect()
}

fn request(s: &mut Script) -> Requested<ProduceRequest> {
    s.expect::<ProduceRequest>()
}

#[test]
fn keys_follow_growth_by_default() {
    let (mut s, t) = topic(2, KeyOrder::Follow, Duration::from_secs(60));
    let moves = key(&[(2, 1), (4, 3)]);
    assert_eq!(put(&mut s, t, &moves), Ok(1));
    let before = request(&mut s);
    grow(&mut s, t, 4);
    assert_eq!(put(&mut s, t, &moves), Ok(3), "although the first one is on its way");
    s.acknowledge(&before, 0);
    assert_eq!(drained(&mut s), []);
}

/// Only keys that move wait, and only for what their own old partition has of before.
#[test]
fn a_key_that_moves_waits_until_its_old_partition_is_settled() {
    let (mut s, t) = draining(2);
    let (moves, stays) = (key(&[(2, 1), (4, 3)]), key(&[(2, 1), (4, 1)]));
    let other = key(&[(2, 0), (4, 2)]);
    assert_eq!(put(&mut s, t, &moves), Ok(1));
    let before = request(&mut s);
    grow(&mut s, t, 4);
    assert_eq!(put(&mut s, t, &moves), Err(ProduceError::NotReady));
    assert!(s.client.drains(t));
    assert_eq!(put(&mut s, t, &stays), Ok(1), "in its partition it has its place");
    assert_eq!(put(&mut s, t, &other), Ok(2), "nothing of before is in its old partition");
    assert_eq!(put(&mut s, t, &moves), Err(ProduceError::NotReady));
    s.run(Duration::from_secs(1));
    assert_eq!(s.rooms(), 0, "another try would be refused");
    s.acknowledge(&before, 0);
    s.settle();
    assert_eq!(s.rooms(), 1);
    assert!(!s.client.drains(t));
    assert_eq!(put(&mut s, t, &moves), Ok(3));
    assert_eq!(drained(&mut s), [(4, 2, true)]);
}

/// What was produced after the growth is not waited for.
#[test]
fn a_busy_partition_is_drained_too() {
    let (mut s, t) = draining(2);
    let (moves, stays) = (key(&[(2, 1), (4, 3)]), key(&[(2, 1), (4, 1)]));
    assert_eq!(put(&mut s, t, &moves), Ok(1));
    let before = request(&mut s);
    grow(&mut s, t, 4);
    assert_eq!(put(&mut s, t, &moves), Err(ProduceError::NotReady));
    assert_eq!(put(&mut s, t, &stays), Ok(1));
    s.acknowledge(&before, 0);
    let later = request(&mut s);
    assert_eq!(put(&mut s, t, &moves), Ok(3), "the later one is not acknowledged");
    s.acknowledge(&later, 1);
}

/// A batch that is late is settled when it is reported: its request is over by then.
#[test]
fn a_late_batch_is_waited_for_until_its_request_is_over() {
    let mut s = configured(World::new(1).topic("t", 2), |config| {
        config.delivery_timeout = Duration::from_secs(3);
        config.request_timeout = Duration::from_secs(8);
    });
    let t = s.ready("t");
    s.client.set_key_order(t, KeyOrder::Drain).expect("watched");
    let moves = key(&[(2, 1), (4, 3)]);
    assert_eq!(put(&mut s, t, &moves), Ok(1));
    request(&mut s);
    grow(&mut s, t, 4);
    let mut held = 0;
    while s.failed().is_empty() {
        assert_eq!(put(&mut s, t, &moves), Err(ProduceError::NotReady));
        held += 1;
        s.run(Duration::from_millis(100));
    }
    assert_eq!(put(&mut s, t, &moves), Ok(3));
    assert_eq!(drained(&mut s), [(4, held, true)]);
}

#[test]
fn growth_while_draining_unites_what_is_waited_for() {
    let (mut s, t) = draining(2);
    let (first, second) = (key(&[(2, 1), (3, 0), (6, 3)]), key(&[(2, 0), (3, 0), (6, 0)]));
    assert_eq!(put(&mut s, t, &first), Ok(1));
    let before = request(&mut s);
    grow(&mut s, t, 3);
    assert_eq!(put(&mut s, t, &first), Err(ProduceError::NotReady));
    grow(&mut s, t, 6);
    // The old partition of the last count has nothing; that of the first one has.
    assert_eq!(put(&mut s, t, &first), Err(ProduceError::NotReady));
    assert_eq!(put(&mut s, t, &second), Err(ProduceError::NotReady), "all keys wait");
    s.acknowledge(&before, 0);
    s.settle();
    assert_eq!((put(&mut s, t, &first), put(&mut s, t, &second)), (Ok(3), Ok(0)));
    assert_eq!(drained(&mut s), [(6, 3, true)], "one drain");
}

#[test]
fn a_drain_that_takes_too_long_ends_and_is_reported() {
    let (mut s, t) = topic(2, KeyOrder::Drain, Duration::from_secs(5));
    let moves = key(&[(2, 1), (4, 3)]);
    assert_eq!(put(&mut s, t, &moves), Ok(1));
    let before = request(&mut s);
    grow(&mut s, t, 4);
    assert_eq!(put(&mut s, t, &moves), Err(ProduceError::NotReady));
    s.run(Duration::from_secs(4));
    assert_eq!(put(&mut s, t, &moves), Err(ProduceError::NotReady));
    s.run(Duration::from_secs(2));
    assert_eq!(s.rooms(), 1);
    assert_eq!(drained(&mut s), [(4, 2, false)]);
    assert_eq!(put(&mut s, t, &moves), Ok(3));
    s.acknowledge(&before, 0);
}

#[test]
fn a_recreated_topic_drains_nothing() {
    let (mut s, t) = draining(2);
    let moves = key(&[(2, 1), (4, 3)]);
    assert_eq!(put(&mut s, t, &moves), Ok(1));
    request(&mut s);
    grow(&mut s, t, 4);
    assert_eq!(put(&mut s, t, &moves), Err(ProduceError::NotReady));
    s.world = with_id(&s.world, 77, 4);
    s.until("it was recreated", |s| !s.client.drains(t));
    assert_eq!(drained(&mut s), [(4, 1, true)]);
    assert_eq!(put(&mut s, t, &moves), Ok(3));
}

#[test]
fn a_topic_that_grew_under_another_policy_is_drained() {
    let (mut s, t) = topic(2, KeyOrder::Follow, Duration::from_secs(60));
    let moves = key(&[(2, 1), (4, 3)]);
    assert_eq!(put(&mut s, t, &moves), Ok(1));
    let before = request(&mut s);
    grow(&mut s, t, 4);
    s.client.set_key_order(t, KeyOrder::Drain).expect("watched");
    assert_eq!(put(&mut s, t, &moves), Err(ProduceError::NotReady));
    s.acknowledge(&before, 0);
    s.settle();
    assert_eq!(put(&mut s, t, &moves), Ok(3));
    assert_eq!(drained(&mut s), [(4, 1, true)]);
}

#[test]
fn pinned_keys_stay_where_they_are() {
    for pin in [0, 2] {
        let (mut s, t) = topic(2, KeyOrder::Pin(pin), Duration::from_secs(60));
        let moves = key(&[(2, 1), (4, 3)]);
        assert_eq!(put(&mut s, t, &moves), Ok(1));
        grow(&mut s, t, 4);
        assert_eq!(put(&mut s, t, &moves), Ok(1), "pinned to {pin}");
        s.client.set_key_order(t, KeyOrder::Drain).expect("watched");
        assert_eq!(put(&mut s, t, &moves), Err(ProduceError::NotReady), "from then on it moves");
        s.client.set_key_order(t, KeyOrder::Follow).expect("watched");
        assert_eq!(put(&mut s, t, &moves), Ok(3));
        assert_eq!(drained(&mut s), [(4, 1, false)], "the policy changed");
    }
}

#[test]
fn pinned_keys_wait_for_their_partitions() {
    let (mut s, t) = topic(2, KeyOrder::Pin(4), Duration::from_secs(60));
    let moves = key(&[(2, 1), (4, 3)]);
    assert_eq!(put(&mut s, t, &moves), Err(ProduceError::NotReady));
    let now = s.now();
    assert!(s.client.produce(now, (t, 1), &Record::new(b"a")).is_ok(), "its own partition");
    s.rooms();
    grow(&mut s, t, 4);
    assert!(s.rooms() > 0);
    assert_eq!(put(&mut s, t, &moves), Ok(3));
}

/// A process that starts after the growth: what it knows of the one before is the count.
#[test]
fn keys_of_an_earlier_process_wait_for_the_time_that_is_given() {
    let (mut s, t) = draining(4);
    let (moves, stays) = (key(&[(2, 1), (4, 3)]), key(&[(2, 1), (4, 1)]));
    let now = s.now();
    s.client.set_key_count(now, t, 2, Duration::from_secs(3)).expect("watched");
    assert_eq!(put(&mut s, t, &stays), Ok(1));
    assert_eq!(put(&mut s, t, &moves), Err(ProduceError::NotReady));
    s.run(Duration::from_millis(2900));
    assert_eq!(put(&mut s, t, &moves), Err(ProduceError::NotReady));
    s.run(Duration::from_millis(200));
    s.settle();
    assert_eq!(s.rooms(), 1, "the caller is notified");
    assert_eq!(put(&mut s, t, &moves), Ok(3));
    assert_eq!(drained(&mut s), [(4, 2, true)]);
}

/// An earlier process that was flushed left nothing to wait for; the growth is reported all the
/// same.
#[test]
fn keys_of_an_earlier_process_that_was_flushed_wait_for_nothing() {
    let (mut s, t) = draining(4);
    let now = s.now();
    s.client.set_key_count(now, t, 2, Duration::ZERO).expect("watched");
    assert_eq!(put(&mut s, t, &key(&[(2, 1), (4, 3)])), Ok(3));
    s.settle();
    assert_eq!(drained(&mut s), [(4, 0, true)]);
    let now = s.now();
    s.client.set_key_count(now, t, 2, Duration::from_secs(9)).expect("watched");
    assert_eq!(put(&mut s, t, &key(&[(2, 0), (4, 2)])), Ok(2), "too late to say");
}

#[test]
fn a_pinned_count_is_that_of_the_earlier_process() {
    let (mut s, t) = topic(4, KeyOrder::Pin(0), Duration::from_secs(60));
    let now = s.now();
    s.client.set_key_count(now, t, 2, Duration::ZERO).expect("watched");
    assert_eq!(put(&mut s, t, &key(&[(2, 1), (4, 3)])), Ok(1));
}

/// The same from a snapshot: its form is another one then.
#[test]
fn a_snapshot_keeps_over_how_many_partitions_keys_are_spread() {
    let (mut s, t) = topic(2, KeyOrder::Pin(0), Duration::from_secs(60));
    let moves = key(&[(2, 1), (4, 3)]);
    assert_eq!(put(&mut s, t, &moves), Ok(1));
    grow(&mut s, t, 4);
    let mut bytes = vec![0; 512];
    let saved = s.client.save(&mut bytes).expect("room");
    assert!(bytes[3] > 4, "form {}", bytes[3]);
    for (order, partition, news) in
        [(KeyOrder::Pin(0), 1, vec![]), (KeyOrder::Drain, 3, vec![(4, 0, true)])]
    {
        let mut s = configured(World::new(1).topic("t", 4), |_| ());
        let t = s.topic("t");
        s.client.set_key_order(t, order).expect("watched");
        let now = s.now();
        s.client.restore(now, &bytes[..saved.bytes]).expect("a snapshot");
        s.run(Duration::from_secs(1));
        assert_eq!(put(&mut s, t, &moves), Ok(partition), "{order:?}");
        s.settle();
        assert_eq!(drained(&mut s), news, "{order:?}");
    }
}

/// What it waits for may be written after the next process has begun.
#[test]
fn a_snapshot_of_a_drain_keeps_the_count_of_before() {
    let (mut s, t) = draining(2);
    let moves = key(&[(2, 1), (4, 3)]);
    assert_eq!(put(&mut s, t, &moves), Ok(1));
    let _unanswered = request(&mut s);
    grow(&mut s, t, 4);
    assert_eq!(put(&mut s, t, &moves), Err(ProduceError::NotReady));
    let mut bytes = vec![0; 512];
    let saved = s.client.save(&mut bytes).expect("enough memory");
    assert_eq!(saved.unfinished, 1);
    let mut s = configured(World::new(1).topic("t", 4), |_| ());
    let t = s.topic("t");
    s.client.set_key_order(t, KeyOrder::Pin(0)).expect("watched");
    let now = s.now();
    s.client.restore(now, &bytes[..saved.bytes]).expect("a snapshot");
    s.run(Duration::from_secs(1));
    assert_eq!(put(&mut s, t, &moves), Ok(1), "as before the growth");
}
