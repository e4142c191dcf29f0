use kafka_protocol::messages::{
    ApiKey, FetchRequest, ListOffsetsRequest, MetadataRequest, ProduceRequest,
};
use kavka_core::{Duration, Event, Start};
use kavka_tests::script::steps::{events, metadata, reading, reading_with, ready};
use kavka_tests::script::{Requested, World, fetch};

/// Refusals in a row under one epoch, after which a connection may lead to another broker.
const DOUBT: u32 = 5;

#[test]
fn an_epoch_that_all_say_is_lower_is_taken_in_the_end() {
    // algorithms.md section 2, rule 4: an unclean election lost the higher epoch.
    let mut world = World::new(2).topic("t", 1);
    world.partition("t", 0).epoch = 100;
    let (mut s, t) = ready(world);
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    (s.world.partition("t", 0).epoch, s.world.partition("t", 0).leader) = (7, 2);
    s.refuse(&requested, 6);
    s.manual(ApiKey::Metadata);
    let (start, mut responses) = (s.now(), 0);
    loop {
        while let Some(requested) = s.take::<MetadataRequest>() {
            let body = s.world.metadata(&requested.body);
            s.respond(&requested, body);
            responses += 1;
        }
        if let Some(requested) = s.take::<ProduceRequest>() {
            if requested.node == 2 {
                break;
            }
            s.refuse(&requested, 6);
        }
        s.run(Duration::from_millis(1));
    }
    assert_eq!(responses, 5, "fewer may be of a stale broker");
    let took = start.until(s.now());
    let want = Duration::from_secs(1)..Duration::from_secs(15);
    assert!(want.contains(&took), "{took:?}");
}

/// A stale broker names an epoch and the leader a newer one: each is adopted in turn.
#[test]
fn a_lower_epoch_and_a_leader_that_knows_better_make_no_fast_loop() {
    let (mut s, _) = reading_with(World::new(1).topic("t", 1), |mut config| {
        config.retry_backoff = Duration::from_millis(10);
        config
    });
    let (behind, mut wants_requests) = (s.world.clone(), 0);
    for _ in 0..6000 {
        wants_requests += metadata(&mut s, Duration::from_millis(5), |_| behind.clone());
        if let Some(requested) = s.take::<FetchRequest>() {
            let epoch = requested.body.topics[0].partitions[0].current_leader_epoch;
            let fenced = (epoch == 0).then(|| fetch::led(0, 74, 1, 1));
            s.give(&requested, 0, fenced.into_iter().collect());
        }
    }
    assert!((10..60).contains(&wants_requests), "{wants_requests} Metadata requests in 30 s");
}

/// Before version 9 Metadata may name an epoch that the leader does not have: then fetches name
/// none, and no broker can refuse them for it.
#[test]
fn an_epoch_of_old_metadata_is_not_reported_to_leaders() {
    for (version, reported) in [(7, -1), (8, -1), (9, 5), (13, 5)] {
        let mut world = World::new(1).topic("t", 1);
        world.partition("t", 0).epoch = 5;
        world.at_most = vec![(ApiKey::Metadata, version)];
        let (mut s, parts) = reading_with(world, |config| config);
        let requested = s.expect::<FetchRequest>();
        let epoch = |requested: &Requested<FetchRequest>| {
            requested.body.topics[0].partitions[0].current_leader_epoch
        };
        assert_eq!(epoch(&requested), reported, "Metadata {version}");
        // Nor does a request for a start offset.
        s.manual(ApiKey::ListOffsets);
        let now = s.now();
        s.client.seek(now, parts[0], Start::Latest).expect("sought");
        let requested = s.expect::<ListOffsetsRequest>();
        let epoch = requested.body.topics[0].partitions[0].current_leader_epoch;
        assert_eq!(epoch, reported, "Metadata {version}");
    }
}

#[test]
fn a_move_is_reported_once() {
    let (mut s, t) = ready(World::new(2).topic("t", 1));
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    s.world.lead("t", 0, 2);
    s.refuse_with_leader(&requested, 6, (2, 1));
    let requested = s.expect::<ProduceRequest>();
    assert_eq!(requested.node, 2);
    s.acknowledge(&requested, 0);
    s.run(Duration::from_secs(3));
    let reported = events(&mut s);
    let moved = |e: &&Event<'_>| matches!(e, Event::LeaderMoved { partition: 0, epoch: 1, .. });
    assert_eq!(reported.iter().filter(moved).count(), 1, "{reported:?}");
}

/// Its address was another broker's for a while, and a connection from then leads there forever.
#[test]
fn a_leader_that_refuses_what_metadata_keeps_giving_it_is_reconnected() {
    let (mut s, t) = ready(World::new(1).topic("t", 1));
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    let first = requested.conn;
    s.refuse(&requested, 6);
    for refused in 1.. {
        let requested = s.expect::<ProduceRequest>();
        if requested.conn != first {
            assert_eq!(refused, DOUBT, "fewer may be of an election");
            return s.acknowledge(&requested, 0);
        }
        assert!(refused < DOUBT, "refused {refused} times on one connection");
        s.refuse(&requested, 6);
    }
}

/// The same for a fetch; 2.4 has another code for it (9).
#[test]
fn a_leader_that_keeps_refusing_fetches_is_reconnected() {
    for code in [6, 9] {
        let (mut s, _) = reading(1, 1);
        let mut requested = s.expect::<FetchRequest>();
        let (first, mut refused) = (requested.conn, 0);
        while requested.conn == first {
            s.give(&requested, 0, vec![fetch::refused(0, code)]);
            requested = s.expect::<FetchRequest>();
            refused += 1;
            assert!(refused <= DOUBT, "code {code}: {refused} times on one connection");
        }
        assert_eq!(refused, DOUBT, "code {code}: fewer may be of an election");
    }
}
