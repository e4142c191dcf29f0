use std::time::Duration;

use kafka_protocol::messages::FetchRequest;
use kavka_core::{Config, Event, Limits, PartitionId, Start};
use kavka_tests::script::fetch::Batch;
use kavka_tests::script::{Asked, Script, World};

/// Brokers with a topic `t`, and a client that reads its partitions from offset 0.
pub(crate) fn reading(brokers: i32, partitions: usize) -> (Script, Vec<PartitionId>) {
    reading_with(World::new(brokers).topic("t", partitions), |config| config)
}

/// The same with another world and configuration.
pub(crate) fn reading_with(
    world: World,
    change: impl FnOnce(Config<'static>) -> Config<'static>,
) -> (Script, Vec<PartitionId>) {
    let count = world.topics[0].partitions.len() as u32;
    let config = change(Config::new(world.bootstrap()));
    let mut s = Script::with(world, config, &Limits::small());
    let t = s.ready("t");
    let now = s.now();
    let mut parts = Vec::new();
    for partition in 0..count {
        parts.push(s.client.assign(now, t, partition, Start::Offset(0)).expect("assigned"));
    }
    (s, parts)
}

/// The next Fetch request to a broker.
pub(crate) fn fetch_at(s: &mut Script, node: i32) -> Asked<FetchRequest> {
    for _ in 0..20 {
        let asked = s.expect::<FetchRequest>();
        if asked.node == node {
            return asked;
        }
    }
    s.fail(&format!("no fetch came to broker {node}"))
}

/// A Fetch request of which something holds; those before it are answered with nothing.
pub(crate) fn fetch_with(
    s: &mut Script,
    holds: impl Fn(&Script, &Asked<FetchRequest>) -> bool,
) -> Asked<FetchRequest> {
    for _ in 0..100 {
        let asked = s.expect::<FetchRequest>();
        if holds(s, &asked) {
            return asked;
        }
        s.run(Duration::from_millis(20));
        let session = asked.body.session_id.max(1);
        s.give(&asked, session, vec![]);
    }
    s.fail("no such fetch came")
}

/// Events, but for those about connections.
pub(crate) fn events(s: &mut Script) -> Vec<Event<'static>> {
    let told = s.take_told(kavka_tests::script::Told::event);
    told.into_iter().filter(|event| !matches!(event, Event::Disconnected { .. })).collect()
}

/// Bytes of an ordinary batch.
pub(crate) fn batch(base: i64, values: &[&str]) -> bytes::Bytes {
    Batch::new(base, values).bytes()
}
