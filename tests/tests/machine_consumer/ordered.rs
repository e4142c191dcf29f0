//! Partitions that are added are held until those that their keys come from have been read:
//! `OrderedGrowth`.

use kafka_protocol::messages::{ApiKey, FetchRequest, ListOffsetsRequest};
use kavka_core::{Config, Duration, Event, Limits, OrderedGrowth, Start, TopicId};
use kavka_tests::script::fetch::records;
use kavka_tests::script::steps::{batch, changed, events, recreated, with_id};
use kavka_tests::script::{Script, World};

const NONE: [i32; 0] = [];
const SETTLE: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(20);

/// A client that reads all of a topic with two partitions, which grows to so many.
fn grown(to: usize) -> (Script, TopicId) {
    let world = World::new(1).topic("t", 2);
    let order = OrderedGrowth::new(SETTLE, LIMIT);
    let config = Config::new(world.bootstrap()).ordered_growth(Some(order));
    let mut s = Script::with(world, config, &Limits::small());
    let t = s.ready("t");
    let now = s.now();
    s.client.assign_all(now, t, Start::Earliest).expect("watched");
    assert_eq!(read(&mut s, 1000, &[]), NONE);
    s.world.grow("t", to);
    s.until("it has grown", |s| {
        s.client.freshness(t).is_some_and(|known| known.partitions as usize == to)
    });
    (s, t)
}

/// Lets time pass; of each partition in `has` this many records are given. Returns the partitions
/// that are fetched and were added.
fn read(s: &mut Script, millis: u64, has: &[(i32, i64)]) -> Vec<i32> {
    let mut all = Vec::new();
    for _ in 0..millis / 50 {
        s.run(Duration::from_millis(50));
        while let Some(requested) = s.take::<FetchRequest>() {
            let wanted = s.wanted(&requested);
            all.extend(wanted.iter().map(|(_, partition, _)| *partition).filter(|p| *p > 1));
            let give = wanted.iter().filter_map(|(_, partition, offset)| {
                let (_, end) = has.iter().find(|(p, end)| p == partition && end > offset)?;
                let values = vec!["v"; (end - offset) as usize];
                Some(records(*partition, &[batch(*offset, &values)]))
            });
            let give = give.collect();
            let session = requested.body.session_id.max(1);
            s.give(&requested, session, give);
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}

/// The first partition that was added, how many were held, for how many seconds, and whether in
/// order.
fn news(s: &mut Script) -> Vec<(u32, u32, u64, bool)> {
    let news = |event: &Event<'_>| match *event {
        Event::GrowthRead { from, partitions, waited, ordered, .. } => {
            Some((from, partitions, waited.as_secs(), ordered))
        }
        _ => None,
    };
    events(s).iter().filter_map(news).collect()
}

#[test]
fn what_was_added_waits_until_those_before_are_read_to_their_end() {
    let (mut s, _) = grown(4);
    for index in [0, 1] {
        s.world.partition("t", index).end = 2;
    }
    assert_eq!(read(&mut s, 4500, &[]), NONE);
    s.none::<ListOffsetsRequest>("producers may not have noticed");
    s.world.partition("t", 0).end = 3;
    s.manual(ApiKey::ListOffsets);
    s.run(Duration::from_millis(1000));
    let requested = s.expect_within::<ListOffsetsRequest>(Duration::ZERO);
    assert_eq!(requested.body.isolation_level, 0, "open transactions have records, too");
    s.serve(requested);
    s.automatic(ApiKey::ListOffsets);
    assert_eq!(read(&mut s, 1000, &[]), NONE, "nothing of before was read");
    assert_eq!(news(&mut s), []);
}

#[test]
fn each_waits_for_its_own_sources() {
    let (mut s, _) = grown(8);
    s.world.partition("t", 1).end = 2;
    // 0, 2, 4 and 6 have nothing of before, 1 has.
    assert_eq!(read(&mut s, 6000, &[]), [2, 4, 6]);
    assert_eq!(news(&mut s), [], "3, 5 and 7 are held");
    assert_eq!(read(&mut s, 16_000, &[]), [2, 3, 4, 5, 6, 7], "not for ever");
    assert_eq!(news(&mut s), [(2, 6, 20, false)]);
}

/// The end is that of a moment: what comes later is not waited for.
#[test]
fn what_was_added_is_read_when_those_before_are() {
    let (mut s, t) = grown(4);
    s.world.partition("t", 0).end = 2;
    assert_eq!(read(&mut s, 6000, &[]), [3], "nothing is in 1");
    let reported = events(&mut s);
    let first = reported.iter().find_map(|event| match *event {
        Event::Assigned { at, partition } if partition.partition == 0 => Some(at),
        _ => None,
    });
    assert_eq!(s.client.topic_partition(first.expect("assigned")).map(|of| of.topic), Some(t));
    let now = s.now();
    s.client.seek(now, first.expect("assigned"), Start::Offset(0)).expect("assigned");
    assert_eq!(read(&mut s, 1000, &[(0, 1)]), [3], "one of two");
    s.world.partition("t", 0).end = 9;
    assert_eq!(read(&mut s, 1000, &[(0, 2)]), [2, 3]);
    assert_eq!(news(&mut s), [(2, 2, 7, true)]);
}

/// A growth by no whole multiple: keys may come from anywhere.
#[test]
fn by_no_multiple_all_before_are_waited_for() {
    let (mut s, _) = grown(3);
    s.world.partition("t", 1).end = 2;
    assert_eq!(read(&mut s, 6000, &[]), NONE);
    let (mut s, _) = grown(4);
    s.world.partition("t", 1).end = 2;
    assert_eq!(read(&mut s, 6000, &[]), [2], "its keys come from 0");
}

#[test]
fn a_recreated_topic_holds_nothing() {
    let (mut s, _) = grown(4);
    s.world.partition("t", 0).end = 2;
    let world = changed(&s.world, |_| ());
    s.world = with_id(&world, 77, 4);
    let mut seen = Vec::new();
    let mut fetched = Vec::new();
    for _ in 0..30 {
        fetched.extend(read(&mut s, 500, &[]));
        seen.extend(recreated(&events(&mut s)));
    }
    assert_eq!(seen, [4]);
    assert!(fetched.contains(&2) && fetched.contains(&3), "{fetched:?}");
}

/// What comes during a wait is held for the next one, which there is not.
#[test]
fn a_recreated_topic_holds_nothing_of_a_second_growth() {
    let (mut s, t) = grown(4);
    s.world.partition("t", 0).end = 2;
    s.world.partition("t", 1).end = 2;
    assert_eq!(read(&mut s, 500, &[]), NONE);
    s.world.grow("t", 8);
    s.until("it has grown again", |s| {
        s.client.freshness(t).is_some_and(|known| known.partitions == 8)
    });
    assert_eq!(read(&mut s, 500, &[]), NONE);
    s.world = with_id(&s.world, 77, 8);
    let mut fetched = Vec::new();
    for _ in 0..30 {
        fetched.extend(read(&mut s, 500, &[]));
    }
    for index in 2..8 {
        assert!(fetched.contains(&index), "{index} of {fetched:?}");
    }
}

/// A wait for partitions that were given up is not part of what is reported of the next one.
#[test]
fn a_wait_that_held_nothing_back_is_not_reported() {
    let (mut s, _) = grown(4);
    s.world.partition("t", 0).end = 2;
    s.world.partition("t", 1).end = 2;
    assert_eq!(read(&mut s, 1000, &[]), NONE);
    let added = events(&mut s).into_iter().filter_map(|event| match event {
        Event::Assigned { at, partition } if partition.partition > 1 => Some(at),
        _ => None,
    });
    let added: Vec<_> = added.collect();
    assert_eq!(added.len(), 2);
    let now = s.now();
    added.iter().for_each(|at| s.client.unassign(now, *at));
    assert_eq!(read(&mut s, 22_000, &[]), NONE);
    assert_eq!(news(&mut s), []);
    for index in [0, 1] {
        s.world.partition("t", index).end = 0;
    }
    s.world.grow("t", 8);
    assert_eq!(read(&mut s, 8000, &[]), [4, 5, 6, 7]);
    let reported = news(&mut s);
    assert!(matches!(reported[..], [(4, 4, 5..8, true)]), "{reported:?}");
}
