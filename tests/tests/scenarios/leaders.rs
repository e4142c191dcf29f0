//! Leader epochs, leaders that move, logs that are truncated.

use kafka_protocol::messages::{ApiKey, BrokerId, FetchRequest, MetadataRequest, ProduceRequest};
use kavka_core::{Duration, MoveReason, Start};
use kavka_tests::script::fetch::{Batch, diverging, led, records, refused};
use kavka_tests::script::steps::{
    batch, events, fetch_at, metadata, moves, next, poke, reading, reading_with, ready, values,
    warm_up,
};
use kavka_tests::script::{Script, World};
use kavka_tests::sim::Profile;

/// Fetch itself validates positions (KIP-595): no extra request, no extra round trip.
#[test]
fn e1_the_first_fetch_from_a_new_leader_reports_which_epoch_was_read() {
    let (mut s, _) = reading(2, 1);
    s.world.partition("t", 0).epoch = 3;
    let requested = s.expect::<FetchRequest>();
    let of_epoch_3 = Batch { epoch: 3, ..Batch::new(0, &["a"]) };
    s.give(&requested, 0, vec![records(0, &[of_epoch_3.bytes()])]);
    let requested = s.expect::<FetchRequest>();
    s.world.lead("t", 0, 2);
    s.give(&requested, 0, vec![led(0, 6, 2, 4)]);
    let requested = s.expect::<FetchRequest>();
    let reported = &requested.body.topics[0].partitions[0];
    let epochs = (reported.last_fetched_epoch, reported.current_leader_epoch);
    assert_eq!((requested.node, reported.fetch_offset, epochs), (2, 1, (3, 4)));
}

/// Fetch before version 12 (Kafka 2.7) has no field for it, and these refuse consumers.
#[test]
fn e2_brokers_that_cannot_validate_are_fetched_from_all_the_same() {
    let world = World::new(2).topic("t", 1).release(Profile::V2_4);
    let world = world.at_most(ApiKey::OffsetForLeaderEpoch, 2);
    let (mut s, _) = reading_with(world, |config| config);
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 0, vec![records(0, &[batch(0, &["a"])])]);
    let requested = s.expect::<FetchRequest>();
    s.world.lead("t", 0, 2);
    s.give(&requested, 0, vec![refused(0, 6)]);
    let requested = fetch_at(&mut s, 2);
    assert!(requested.version < 12, "version {}", requested.version);
    assert_eq!(s.wanted(&requested), [("t".into(), 0, 1)]);
}

#[test]
fn e3_truncation_goes_back_to_where_the_logs_part_and_says_so() {
    // Reported in Fetch responses (KIP-595), without an extra request.
    let (mut s, _) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    let mut old = Batch::new(0, &["a"; 10]);
    old.epoch = 3;
    s.give(&requested, 0, vec![records(0, &[old.bytes()])]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!(requested.body.topics[0].partitions[0].last_fetched_epoch, 3);
    s.give(&requested, 0, vec![diverging(0, 2, 7)]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&requested), [("t".into(), 0, 7)]);
    assert_eq!(requested.body.topics[0].partitions[0].last_fetched_epoch, 2);
    assert_eq!(moves(&events(&mut s)), [(10, 7, MoveReason::Truncated)]);
}

#[test]
fn e4_an_undefined_divergence_is_out_of_range_and_no_loss() {
    let (mut s, _) = reading(1, 1);
    s.world.partition("t", 0).end = 10;
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 0, vec![records(0, &[batch(0, &["a"; 10])])]);
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 0, vec![diverging(0, 0, -1)]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&requested), [("t".into(), 0, 10)]);
    assert_eq!(requested.body.topics[0].partitions[0].last_fetched_epoch, -1);
    assert_eq!(moves(&events(&mut s)), []);
}

#[test]
fn e5_a_seek_wins_over_a_truncation_that_is_reported_late() {
    let (mut s, parts) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 0, vec![records(0, &[batch(0, &["a"; 10])])]);
    let requested = s.expect::<FetchRequest>();
    let now = s.now();
    s.client.seek(now, parts[0], Start::Offset(3)).expect("sought");
    s.give(&requested, 0, vec![diverging(0, 0, 7)]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&requested), [("t".into(), 0, 3)]);
    assert_eq!(moves(&events(&mut s)), []);
}

#[test]
fn e6_a_leader_that_moves_again_while_it_lags_gets_requests_under_the_new_epoch() {
    let (mut s, _) = reading(2, 1);
    let (start, mut fetches) = (s.now(), 0);
    while start.until(s.now()) < Duration::from_secs(10) {
        let requested = s.expect::<FetchRequest>();
        assert_eq!(requested.node, 1);
        s.give(&requested, 0, vec![refused(0, 75)]);
        fetches += 1;
    }
    assert!((8..40).contains(&fetches), "{fetches} fetches in 10 s");
    s.world.lead("t", 0, 2);
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 0, vec![led(0, 74, 2, 1)]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!(
        (requested.node, requested.body.topics[0].partitions[0].current_leader_epoch),
        (2, 1)
    );
}

#[test]
fn e7_an_error_for_good_resets_no_position() {
    for code in [29, -1, 35, 42, 87, 999] {
        let (mut s, parts) = reading(1, 1);
        let requested = s.expect::<FetchRequest>();
        s.give(&requested, 0, vec![records(0, &[batch(0, &["a"; 10])])]);
        for _ in 0..5 {
            let requested = s.expect::<FetchRequest>();
            assert_eq!(s.wanted(&requested), [("t".into(), 0, 10)], "code {code}");
            s.give(&requested, 0, vec![refused(0, code)]);
        }
        assert_eq!(s.client.position(parts[0]), Some(10), "code {code}");
        assert_eq!(moves(&events(&mut s)), [], "code {code}");
    }
}

#[test]
fn e8_a_move_within_an_epoch_or_without_one_is_followed() {
    for epoch in [0, -1] {
        let (mut s, _) = reading(2, 1);
        let requested = s.expect::<FetchRequest>();
        (s.world.partition("t", 0).leader, s.world.partition("t", 0).epoch) = (2, epoch);
        s.give(&requested, 0, vec![refused(0, 6)]);
        let requested = fetch_at(&mut s, 2);
        assert_eq!(s.wanted(&requested), [("t".into(), 0, 0)], "epoch {epoch}");
    }
}

#[test]
fn e9_records_that_wait_while_the_leader_moves_are_given_once() {
    let (mut s, _) = reading(2, 1);
    let requested = s.expect::<FetchRequest>();
    s.listening = false;
    let both = [batch(0, &["a"]), batch(1, &["b"])];
    s.give(&requested, 0, vec![records(0, &both)]);
    s.world.lead("t", 0, 2);
    let t = s.topic("t");
    poke(&mut s, t);
    s.run(Duration::from_secs(2));
    if let Some(again) = s.take::<FetchRequest>() {
        s.give(&again, 0, vec![records(0, &both)]);
    }
    s.listening = true;
    assert_eq!(values(&mut s), [(0, "a".into()), (1, "b".into())]);
    let requested = fetch_at(&mut s, 2);
    assert_eq!(s.wanted(&requested), [("t".into(), 0, 2)]);
}

#[test]
fn e10_a_cluster_without_leaders_for_long_keeps_the_last_epoch() {
    let mut world = World::new(2).topic("t", 1);
    world.partition("t", 0).epoch = 100;
    let (mut s, t) = ready(world);
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    (s.world.partition("t", 0).epoch, s.world.partition("t", 0).leader) = (-1, -1);
    s.refuse(&requested, 6);
    s.run(Duration::from_secs(20));
    assert!(s.take::<ProduceRequest>().is_none());
    // An old epoch stays an old epoch.
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
    let (requested, ..) = next(&mut s);
    assert_eq!(requested.node, 1);
    s.manual(ApiKey::Metadata);
    let start = s.now();
    s.refuse_with_leader(&requested, 6, (2, 1));
    let (requested, value, place) = next(&mut s);
    assert_eq!((requested.node, value.as_str(), place), (2, "a", (0, 1, 1)));
    assert_eq!(s.now(), start, "without a pause and without metadata");
    s.acknowledge(&requested, 1);
    assert_eq!(s.delivered().len(), 1);
}

/// Its address is at the end of the response, after the partitions.
#[test]
fn e11_a_leader_that_was_not_known_before_is_reached_without_metadata() {
    let mut world = World::new(3).topic("t", 1);
    world.node(3).up = false;
    let mut s = Script::new(world);
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    s.produce(t, 0, "a");
    let (requested, ..) = next(&mut s);
    s.manual(ApiKey::Metadata);
    s.world.node(3).up = true;
    s.refuse_with_leader(&requested, 6, (3, 1));
    let (requested, value, _) = next(&mut s);
    assert_eq!((requested.node, value.as_str()), (3, "a"));
}

#[test]
fn e11_a_hint_with_an_old_epoch_is_ignored() {
    let mut s = Script::new(World::new(2).topic("t", 1));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    s.produce(t, 0, "a");
    let (requested, ..) = next(&mut s);
    s.refuse_with_leader(&requested, 6, (2, 0));
    let (requested, ..) = next(&mut s);
    assert_eq!(requested.node, 1);
}

#[test]
fn e11_a_leader_that_is_named_is_fetched_from_at_once() {
    let (mut s, _) = reading(2, 1);
    let requested = s.expect::<FetchRequest>();
    s.manual(ApiKey::Metadata);
    s.world.lead("t", 0, 2);
    s.give(&requested, 0, vec![led(0, 6, 2, 1)]);
    let before = s.now();
    let requested = s.expect::<FetchRequest>();
    assert_eq!((requested.node, s.now()), (2, before));
    // A lower epoch changes nothing.
    s.give(&requested, 0, vec![led(0, 6, 1, 0)]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!(requested.node, 2);
}

#[test]
fn e12_without_a_hint_metadata_is_requested_and_the_new_leader_at_once() {
    let mut s = Script::new(World::new(2).topic("t", 1));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    // A partition that fails repeatedly has a long pause ahead ...
    s.produce(t, 0, "a");
    for _ in 0..6 {
        let (requested, ..) = next(&mut s);
        s.refuse(&requested, 6);
        s.none::<ProduceRequest>("there must be a pause");
    }
    // ... which no longer counts once the new leader is known.
    s.manual(ApiKey::Metadata);
    while s.waiting::<MetadataRequest>() == 0 {
        let (requested, ..) = next(&mut s);
        s.refuse(&requested, 6);
    }
    s.world.lead("t", 0, 2);
    let start = s.now();
    s.automatic(ApiKey::Metadata);
    let (requested, ..) = next(&mut s);
    assert_eq!(requested.node, 2);
    let took = start.until(s.now());
    if took >= Duration::from_millis(150) {
        s.fail(&format!("it took {took:?}"));
    }
}

#[test]
fn e13_a_stale_leader_in_metadata_does_not_win_the_partition_back() {
    let (mut s, _) = reading(2, 1);
    let requested = s.expect::<FetchRequest>();
    let stale = s.world.clone();
    s.world.lead("t", 0, 2);
    let current = s.world.clone();
    s.manual(ApiKey::Metadata);
    s.give(&requested, 0, vec![led(0, 6, 2, 1)]);
    let mut responses = 0;
    metadata(&mut s, Duration::from_secs(2), |_| {
        responses += 1;
        if responses <= 3 { stale.clone() } else { current.clone() }
    });
    assert!(responses > 3, "{responses} responses: it asks again when somebody contradicts");
    for offset in 0..3 {
        let requested = s.expect::<FetchRequest>();
        assert_eq!((requested.node, s.wanted(&requested)[0].2), (2, offset));
        s.give(&requested, 0, vec![records(0, &[batch(offset, &["a"])])]);
    }
}

#[test]
fn e14_fenced_and_unknown_epochs_leave_the_position() {
    for (code, refreshes) in [(74, true), (75, false)] {
        let (mut s, parts) = reading(1, 1);
        let requested = s.expect::<FetchRequest>();
        s.run(Duration::from_secs(3));
        s.manual(ApiKey::Metadata);
        s.give(&requested, 0, vec![refused(0, code)]);
        s.run(Duration::from_millis(20));
        let wants_requests = s.waiting::<MetadataRequest>() > 0;
        assert_eq!(wants_requests, refreshes, "code {code}");
        assert_eq!(s.client.position(parts[0]), Some(0), "code {code}");
        let requested = fetch_at(&mut s, 1);
        assert_eq!(s.wanted(&requested), [("t".into(), 0, 0)], "code {code}");
    }
}

/// Where topics have no ids, only lower epochs show that one was recreated.
#[test]
fn an_epoch_that_stays_unknown_is_looked_up_and_given_up() {
    let mut world = World::new(1).release(Profile::V2_4).topic("t", 1);
    world.partition("t", 0).epoch = 3;
    let (mut s, _) = reading_with(world, |config| config);
    let start = s.now();
    let mut requested = s.expect::<FetchRequest>();
    s.world.partition("t", 0).epoch = 0;
    while requested.body.topics[0].partitions[0].current_leader_epoch != 0 {
        s.give(&requested, 0, vec![refused(0, 75)]);
        requested = s.expect::<FetchRequest>();
        assert!(start.until(s.now()) < Duration::from_secs(30), "epoch 3 is requested ever");
    }
    assert!(start.until(s.now()) > Duration::from_secs(1), "the broker may just lag");
}

/// kavka names no rack, so no broker should name a replica for it (KIP-392).
#[test]
fn e16_a_preferred_replica_that_is_not_known_strands_nothing() {
    let (mut s, _) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 7, vec![records(0, &[]).with_preferred_read_replica(BrokerId(99))]);
    let requested = fetch_at(&mut s, 1);
    s.give(&requested, 7, vec![records(0, &[batch(0, &["a"])])]);
    assert_eq!(values(&mut s), [(0, "a".into())]);
}
