use kafka_protocol::messages::{ApiKey, FetchRequest, MetadataRequest, ProduceRequest};
use kavka_core::{Duration, MoveReason};
use kavka_tests::script::fetch::{Batch, diverging, led, records, refused};
use kavka_tests::script::steps::{batch, events, fetch_at, moves, next, reading, ready, warm_up};
use kavka_tests::script::{Script, World};

#[test]
fn e3_truncation_goes_back_to_where_the_logs_part_and_says_so() {
    // Told in Fetch answers (KIP-595), no request of its own.
    let (mut s, _) = reading(1, 1);
    let asked = s.expect::<FetchRequest>();
    let mut old = Batch::new(0, &["a"; 10]);
    old.epoch = 3;
    s.give(&asked, 0, vec![records(0, &[old.bytes()])]);
    let asked = s.expect::<FetchRequest>();
    assert_eq!(asked.body.topics[0].partitions[0].last_fetched_epoch, 3);
    s.give(&asked, 0, vec![diverging(0, 2, 7)]);
    let asked = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&asked), [("t".into(), 0, 7)]);
    assert_eq!(asked.body.topics[0].partitions[0].last_fetched_epoch, 2);
    assert_eq!(moves(&events(&mut s)), [(10, 7, MoveReason::Truncated)]);
}

#[test]
fn e4_an_undefined_divergence_is_out_of_range_and_no_loss() {
    let (mut s, _) = reading(1, 1);
    s.world.partition("t", 0).end = 10;
    let asked = s.expect::<FetchRequest>();
    s.give(&asked, 0, vec![records(0, &[batch(0, &["a"; 10])])]);
    let asked = s.expect::<FetchRequest>();
    s.give(&asked, 0, vec![diverging(0, 0, -1)]);
    let asked = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&asked), [("t".into(), 0, 10)]);
    assert_eq!(asked.body.topics[0].partitions[0].last_fetched_epoch, -1);
    assert_eq!(moves(&events(&mut s)), []);
}

#[test]
fn e10_a_cluster_without_leaders_for_long_keeps_the_last_epoch() {
    let mut world = World::new(2).topic("t", 1);
    world.partition("t", 0).epoch = 100;
    let (mut s, t) = ready(world);
    s.produce(t, 0, "a");
    let asked = s.expect::<ProduceRequest>();
    (s.world.partition("t", 0).epoch, s.world.partition("t", 0).leader) = (-1, -1);
    s.refuse(&asked, 6);
    s.run(Duration::from_secs(20));
    assert!(s.take::<ProduceRequest>().is_none());
    // An old epoch is an old epoch still.
    (s.world.partition("t", 0).epoch, s.world.partition("t", 0).leader) = (99, 2);
    s.run(Duration::from_millis(500));
    assert!(s.take::<ProduceRequest>().is_none(), "epoch 99 was taken after 100");
    (s.world.partition("t", 0).epoch, s.world.partition("t", 0).leader) = (101, 1);
    assert_eq!(s.expect::<ProduceRequest>().node, 1);
}

#[test]
fn e11_a_hint_with_a_newer_epoch_moves_the_batch_at_once() {
    let mut s = Script::new(World::new(2).topic("t", 1));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    s.produce(t, 0, "a");
    let (asked, ..) = next(&mut s);
    assert_eq!(asked.node, 1);
    s.manual(ApiKey::Metadata);
    let start = s.now();
    s.refuse_with_leader(&asked, 6, (2, 1));
    let (asked, value, place) = next(&mut s);
    assert_eq!((asked.node, value.as_str(), place), (2, "a", (0, 1, 1)));
    assert_eq!(s.now(), start, "without a pause and without metadata");
    s.acknowledge(&asked, 1);
    assert_eq!(s.delivered().len(), 1);
}

#[test]
fn e11_a_hint_with_an_old_epoch_is_ignored() {
    let mut s = Script::new(World::new(2).topic("t", 1));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    s.produce(t, 0, "a");
    let (asked, ..) = next(&mut s);
    s.refuse_with_leader(&asked, 6, (2, 0));
    let (asked, ..) = next(&mut s);
    assert_eq!(asked.node, 1);
}

#[test]
fn e11_a_leader_that_is_named_is_fetched_from_at_once() {
    let (mut s, _) = reading(2, 1);
    let asked = s.expect::<FetchRequest>();
    s.manual(ApiKey::Metadata);
    s.world.lead("t", 0, 2);
    s.give(&asked, 0, vec![led(0, 6, 2, 1)]);
    let before = s.now();
    let asked = s.expect::<FetchRequest>();
    assert_eq!((asked.node, s.now()), (2, before));
    // A lower epoch changes nothing.
    s.give(&asked, 0, vec![led(0, 6, 1, 0)]);
    let asked = s.expect::<FetchRequest>();
    assert_eq!(asked.node, 2);
}

#[test]
fn e12_without_a_hint_metadata_is_asked_and_the_new_leader_at_once() {
    let mut s = Script::new(World::new(2).topic("t", 1));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    // A partition that fails again and again has a long pause ahead ...
    s.produce(t, 0, "a");
    for _ in 0..6 {
        let (asked, ..) = next(&mut s);
        s.refuse(&asked, 6);
        s.none::<ProduceRequest>("there must be a pause");
    }
    // ... which does not count once the new leader is known.
    let (asked, ..) = next(&mut s);
    s.manual(ApiKey::Metadata);
    s.refuse(&asked, 6);
    s.world.lead("t", 0, 2);
    s.expect::<MetadataRequest>();
    let start = s.now();
    s.cut_all(1);
    s.automatic(ApiKey::Metadata);
    let (asked, ..) = next(&mut s);
    assert_eq!(asked.node, 2);
    let took = start.until(s.now());
    if took >= Duration::from_millis(150) {
        s.fail(&format!("it took {took:?}"));
    }
}

#[test]
fn e14_fenced_and_unknown_epochs_leave_the_position() {
    for (code, refreshes) in [(74, true), (75, false)] {
        let (mut s, parts) = reading(1, 1);
        let asked = s.expect::<FetchRequest>();
        s.run(Duration::from_secs(3));
        s.manual(ApiKey::Metadata);
        s.give(&asked, 0, vec![refused(0, code)]);
        s.run(Duration::from_millis(20));
        let asks = s.waiting::<MetadataRequest>() > 0;
        assert_eq!(asks, refreshes, "code {code}");
        assert_eq!(s.client.position(parts[0]), Some(0), "code {code}");
        let asked = fetch_at(&mut s, 1);
        assert_eq!(s.wanted(&asked), [("t".into(), 0, 0)], "code {code}");
    }
}
