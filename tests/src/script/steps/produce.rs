//! Producers, and their requests.

use kafka_protocol::messages::ProduceRequest;
use kavka_core::{Config, Duration, Limits, TopicId};

use crate::script::{Requested, Script, World};

/// Creates a script with a configuration that the test changes; linger is zero.
pub fn configured(world: World, change: impl FnOnce(&mut Config<'static>)) -> Script {
    let mut config = Config::new(world.bootstrap()).linger(Duration::ZERO);
    change(&mut config);
    Script::with(world, config, &Limits::small())
}

/// Creates a script with little memory.
pub fn small(world: World, limits: impl FnOnce(&mut Limits)) -> Script {
    let config = Config::new(world.bootstrap()).linger(Duration::ZERO);
    let mut changed = Limits::small();
    limits(&mut changed);
    Script::with(world, config, &changed)
}

/// Creates one broker and a topic of one partition whose leader has acknowledged a record.
pub fn warm() -> (Script, TopicId) {
    let mut s = Script::new(World::new(1).topic("t", 1));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    (s, t)
}

/// Produces a record to the partition, which the leader acknowledges.
pub fn warm_up(s: &mut Script, t: TopicId, partition: u32) {
    s.produce(t, partition, "first");
    let requested = s.expect::<ProduceRequest>();
    s.acknowledge(&requested, 0);
    assert_eq!(s.delivered(), [(1, Some(0))]);
}

/// Produces records one by one, each of which is sent at once.
pub fn send(s: &mut Script, t: TopicId, values: &[&str]) -> Vec<Requested<ProduceRequest>> {
    let mut requested = Vec::new();
    for value in values {
        s.produce(t, 0, value);
        requested.push(s.expect_within::<ProduceRequest>(Duration::ZERO));
    }
    requested
}

/// Takes the next Produce request, which must carry one batch: value, and producer epoch, base
/// sequence, count.
pub fn next(s: &mut Script) -> (Requested<ProduceRequest>, String, (i16, i32, i32)) {
    let requested = s.expect::<ProduceRequest>();
    let batches = s.batches(&requested);
    if batches.len() != 1 {
        s.fail(&format!("one batch expected: {batches:?}"));
    }
    (requested, batches[0].values.join(","), batches[0].place())
}

/// Checks that the next Produce requests carry these, and acknowledges them.
pub fn take_all(s: &mut Script, wanted: &[(&str, (i16, i32, i32))]) {
    for (i, (value, place)) in wanted.iter().enumerate() {
        let (requested, values, at) = next(s);
        assert_eq!((values.as_str(), at), (*value, *place), "batch {i}");
        s.acknowledge(&requested, 100 + i as i64);
    }
}
