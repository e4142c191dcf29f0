//! Partitions that were added, in a group that orders keys: `OrderedGrowth`.

use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, OffsetCommitRequest, OffsetFetchRequest,
};
use kavka_core::{Duration, Event, Limits, OrderedGrowth, Start};
use kavka_tests::script::Script;

use crate::steps::{assigned, beat, commit_with, config, fetched, group_events, world};

const SETTLE: Duration = Duration::from_secs(5);
const LIMIT: Duration = Duration::from_secs(60);

/// Lets time pass: the coordinator assigns this, all before partition 2 was committed at 10, and
/// what comes after it at its start.
fn turn(s: &mut Script, (epoch, mine): (i32, &[i32]), millis: u64) {
    for _ in 0..millis / 5 {
        if let Some(due) = s.take::<ConsumerGroupHeartbeatRequest>() {
            beat(s, &due, epoch, Some(mine));
        }
        if let Some(due) = s.take::<OffsetFetchRequest>() {
            fetched(s, &due, |index| (if index < 2 { 10 } else { 0 }, "", 0));
        }
        if let Some(due) = s.take::<OffsetCommitRequest>() {
            commit_with(s, &due, |_| 0);
        }
        s.run(Duration::from_millis(5));
    }
}

/// The first partition that was added, how many were held, and whether they were read in order.
fn news(s: &mut Script) -> Vec<(u32, u32, bool)> {
    s.take_reported(|reported| match reported.event()? {
        Event::GrowthRead { from, partitions, ordered, .. } => Some((from, partitions, ordered)),
        _ => None,
    })
}

/// Memory for three partitions: one is held, and needs to know of another one that another member
/// reads. Then a third one is assigned.
#[test]
fn an_assignment_has_the_memory_of_what_is_waited_for() {
    let world = world(2);
    let order = OrderedGrowth::new(SETTLE, LIMIT);
    let config = config(&world).ordered_growth(Some(order));
    let mut limits = Limits::small();
    limits.partitions = 3;
    let mut s = Script::with(world, config, &limits);
    let (now, t) = (s.now(), s.topic("t"));
    s.client.subscribe(now, &[t], Start::Latest).expect("subscribed");
    turn(&mut s, (1, &[1]), 2000);
    assert_eq!(assigned(&mut s), [1]);
    s.world.grow("t", 4);
    turn(&mut s, (2, &[1, 2]), 10_000);
    assert_eq!(assigned(&mut s), [2]);
    assert_eq!(news(&mut s), [], "it waits for what another member reads");
    turn(&mut s, (3, &[1, 2, 3]), 3000);
    assert_eq!(assigned(&mut s), [3]);
    assert_eq!(news(&mut s), [(2, 1, false), (3, 1, false)]);
    let others = group_events(&mut s);
    assert!(others.is_empty(), "{others:?}");
}
