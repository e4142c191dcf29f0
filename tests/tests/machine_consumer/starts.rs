use kafka_protocol::messages::{ApiKey, FetchRequest, ListOffsetsRequest};
use kavka_core::{
    Config, Duration, Error, Event, LimitKind, Limits, Misuse, MoveReason, OutOfRange, Probing,
    Start, TopicId,
};
use kavka_tests::script::fetch::refused;
use kavka_tests::script::steps::{events, fetch_with, moves, poke, reading, wanted};
use kavka_tests::script::{Script, World};
use uuid::Uuid;

/// Returns a client that follows topic `t`, whose partitions end at 40 at the start.
fn following(partitions: usize, start: Start, limit: usize) -> (Script, TopicId) {
    let mut world = World::new(1).topic("t", partitions);
    for index in 0..partitions {
        world.partition("t", index).end = 40;
    }
    let mut config = Config::new(world.bootstrap());
    config.out_of_range = OutOfRange::Latest;
    let mut limits = Limits::small();
    limits.partitions = limit;
    let mut s = Script::with(world, config, &limits);
    let t = s.topic("t");
    let now = s.now();
    s.client.assign_all(now, t, start).unwrap();
    (s, t)
}

#[test]
fn partitions_that_are_added_are_read_from_their_first_record() {
    // R12
    let (mut s, _) = following(2, Start::Latest, 64);
    assert_eq!(wanted(&mut s), [(0, 40), (1, 40)]);
    s.world.grow("t", 3);
    s.world.partition("t", 2).end = 9;
    assert!(wanted(&mut s).contains(&(2, 0)));
}

#[test]
fn an_added_partition_whose_first_records_are_gone_begins_at_what_is_left() {
    // R12, and the reset policy says "latest".
    let (mut s, _) = following(1, Start::Latest, 64);
    wanted(&mut s);
    s.world.grow("t", 2);
    (s.world.partition("t", 1).start, s.world.partition("t", 1).end) = (5, 9);
    let requested = loop {
        let requested = s.expect::<FetchRequest>();
        if s.wanted(&requested).contains(&("t".into(), 1, 0)) {
            break requested;
        }
        s.run(Duration::from_millis(50));
        s.give(&requested, 1, vec![]);
    };
    s.give(&requested, 1, vec![refused(1, 1)]);
    assert!(wanted(&mut s).contains(&(1, 5)));
    let reported = events(&mut s);
    let moved = |e: &Event<'_>| {
        matches!(e, Event::Moved { from: 0, to: 5, why: MoveReason::OutOfRange, .. })
    };
    assert!(reported.iter().any(moved), "{reported:?}");
}

#[test]
fn a_full_table_is_reported_once_and_filled_up_later_by_the_same_start() {
    let (mut s, t) = following(3, Start::Latest, 2);
    assert_eq!(wanted(&mut s), [(0, 40), (1, 40)]);
    let reported = events(&mut s);
    let limits = |reported: &[Event<'_>]| {
        let full = |e: &&Event<'_>| {
            let full = Error::Limit { what: LimitKind::Partitions, needed: 3 };
            matches!(e, Event::TopicFailed { error, .. } if *error == full)
        };
        reported.iter().filter(full).count()
    };
    assert_eq!(limits(&reported), 1, "{reported:?}");
    let first = reported.iter().find_map(|e| match e {
        Event::Assigned { at, .. } => Some(*at),
        _ => None,
    });
    let now = s.now();
    s.client.unassign(now, first.expect("one was assigned"));
    // It existed at the time of the assignment: not read from the first record.
    assert!(wanted(&mut s).contains(&(2, 40)));
    assert_eq!(limits(&events(&mut s)), 0);
    assert_eq!(s.client.freshness(t).unwrap().partitions, 3);
}

#[test]
fn all_of_a_recreated_topic_is_read_from_the_first_record() {
    // R5, algorithms.md section 3
    let (mut s, _) = following(3, Start::Latest, 64);
    assert_eq!(wanted(&mut s), [(0, 40), (1, 40), (2, 40)]);
    let _ = events(&mut s);
    s.world.topic_mut("t").id = Uuid::from_u128(77);
    s.world.topic_mut("t").partitions.truncate(2);
    for index in 0..2 {
        s.world.partition("t", index).end = 8;
    }
    s.run(Duration::from_secs(6));
    assert!(wanted(&mut s).ends_with(&[(0, 0), (1, 0)]));
    s.world.grow("t", 4);
    let now = wanted(&mut s);
    assert!(now.contains(&(2, 0)) && now.contains(&(3, 0)), "{now:?}");
    let reported = events(&mut s);
    let recreated = |e: &&Event<'_>| matches!(e, Event::TopicRecreated { partitions: 2, .. });
    assert_eq!(reported.iter().filter(recreated).count(), 1, "{reported:?}");
    let why = |e: &&Event<'_>| {
        matches!(e, Event::Moved { from: 40, to: 0, why: MoveReason::Recreated, .. })
    };
    assert_eq!(reported.iter().filter(why).count(), 2, "{reported:?}");
}

/// The response comes in pieces, from another broker than the first one, where nothing else is
/// read.
#[test]
fn a_start_after_the_last_record_is_requested_again_from_any_broker() {
    let mut world = World::new(2).topic("t", 2);
    world.partition("t", 1).end = 40;
    let mut s = Script::new(world);
    let t = s.ready("t");
    s.piece = 1;
    s.manual(ApiKey::ListOffsets);
    let now = s.now();
    s.client.assign(now, t, 1, Start::Timestamp(1_700_000_000_000)).expect("assigned");
    for (timestamp, offset) in [(1_700_000_000_000, -1), (-1, 40)] {
        let requested = s.expect_within::<ListOffsetsRequest>(Duration::from_millis(50));
        assert_eq!(
            (requested.node, requested.body.topics[0].partitions[0].timestamp),
            (2, timestamp)
        );
        let mut response = s.world.offsets(&requested.body);
        response.topics[0].partitions[0].offset = offset;
        s.respond(&requested, response);
    }
    let requested = s.expect_within::<FetchRequest>(Duration::from_millis(50));
    assert_eq!(s.wanted(&requested), [("t".into(), 1, 40)]);
}

/// Takes the partitions reported as assigned.
fn assigned(s: &mut Script) -> Vec<u32> {
    s.take_reported(|reported| match reported.event()? {
        Event::Assigned { partition, .. } => Some(partition.partition),
        _ => None,
    })
}

/// No response is in flight that would cause it.
#[test]
fn all_of_a_topic_that_is_known_is_read_at_once() {
    let world = World::new(1).topic("t", 3);
    let mut config = Config::new(world.bootstrap());
    config.probing = Probing::Never;
    let mut s = Script::with(world, config, &Limits::small());
    let t = s.ready("t");
    s.run(Duration::from_secs(20));
    let now = s.now();
    s.client.assign_all(now, t, Start::Offset(5)).expect("assigned");
    let requested = s.expect_within::<FetchRequest>(Duration::from_millis(10));
    assert_eq!(s.wanted(&requested), [0, 1, 2].map(|p| ("t".into(), p, 5)));
    assert_eq!(assigned(&mut s), [0, 1, 2]);
}

#[test]
fn all_of_a_topic_is_assigned_once() {
    let again = Err(Error::Caller(Misuse::AlreadyAssigned));
    let (mut s, t) = following(2, Start::Offset(5), 64);
    let now = s.now();
    assert_eq!(s.client.assign_all(now, t, Start::Latest), again, "not ready yet");
    assert_eq!(wanted(&mut s), [(0, 5), (1, 5)]);
    assert_eq!(assigned(&mut s), [0, 1]);
    let now = s.now();
    assert_eq!(s.client.assign_all(now, t, Start::Latest), again, "and ready");
    // It continues as it began: existing partitions are not assigned again, new ones are.
    s.world.grow("t", 3);
    assert!(wanted(&mut s).ends_with(&[(2, 0)]));
    assert_eq!(assigned(&mut s), [2]);
}

/// Positions at the beginning of the old topic, or unknown ones, do not move to the new one.
#[test]
fn a_recreated_topic_moves_no_partition_that_left_no_place() {
    for (start, there) in
        [(Start::Offset(0), true), (Start::Earliest, true), (Start::Latest, false)]
    {
        let (mut s, t) = following(2, start, 64);
        if there {
            wanted(&mut s);
        } else {
            // The end stays unknown.
            s.manual(ApiKey::ListOffsets);
            s.until("it is ready", |s| s.client.freshness(t).is_some());
        }
        let reported = assigned(&mut s);
        assert_eq!(reported, [0, 1], "{start:?}");
        s.world.topic_mut("t").id = Uuid::from_u128(77);
        poke(&mut s, t);
        s.run(Duration::from_secs(6));
        let reported = events(&mut s);
        let recreated = |e: &&Event<'_>| matches!(e, Event::TopicRecreated { partitions: 2, .. });
        assert_eq!(reported.iter().filter(recreated).count(), 1, "{reported:?}");
        assert_eq!(moves(&reported), [], "{start:?}");
    }
}

/// Growth before the first poll is still growth: added partitions are read from another position
/// than existing ones.
#[test]
fn a_topic_is_reported_as_it_was_found_and_its_growth_by_itself() {
    let (mut s, t) = following(2, Start::Latest, 64);
    s.listening = false;
    s.until("it is ready", |s| s.client.freshness(t).is_some());
    wanted(&mut s);
    s.world.grow("t", 5);
    assert!(wanted(&mut s).contains(&(4, 0)));
    s.listening = true;
    let reported = events(&mut s);
    let counts: Vec<_> = reported
        .iter()
        .filter_map(|e| match e {
            Event::TopicReady { partitions, .. } => Some((0, *partitions)),
            Event::PartitionsAdded { from, to, .. } => Some((*from, *to)),
            _ => None,
        })
        .collect();
    assert_eq!(counts, [(0, 2), (2, 5)], "{reported:?}");
}

/// A position of 40 that was never reported does not move.
#[test]
fn a_recreated_topic_moves_no_partition_that_was_not_reported() {
    for reported_before in [true, false] {
        let (mut s, t) = following(1, Start::Offset(40), 64);
        s.listening = reported_before;
        s.until("it is ready", |s| s.client.freshness(t).is_some());
        s.run(Duration::from_secs(1));
        s.listening = false;
        s.world.topic_mut("t").id = Uuid::from_u128(77);
        poke(&mut s, t);
        s.run(Duration::from_secs(6));
        s.listening = true;
        assert_eq!(assigned(&mut s), [0]);
        let moved: &[_] = &[(40, 0, MoveReason::Recreated)];
        let wanted = if reported_before { moved } else { &[] };
        assert_eq!(moves(&events(&mut s)), wanted, "told before: {reported_before}");
    }
}

#[test]
fn the_id_of_an_assignment_that_ended_means_nothing() {
    let (mut s, parts) = reading(1, 2);
    let topic = s.topic("t");
    let now = s.now();
    s.client.unassign(now, parts[0]);
    s.client.unassign(now, parts[1]);
    let new = s.client.assign(now, topic, 1, Start::Offset(7)).expect("assigned");
    for old in parts {
        assert_eq!(s.client.position(old), None);
        assert!(s.client.seek(now, old, Start::Offset(3)).is_err());
        s.client.pause(old);
        s.client.unassign(now, old);
    }
    assert_eq!(s.client.position(new), Some(7));
    let requested = fetch_with(&mut s, |s, requested| !s.wanted(requested).is_empty());
    assert_eq!(s.wanted(&requested), [("t".into(), 1, 7)]);
}
