//! Readers, and responses to them.

use bytes::Bytes;
use kafka_protocol::messages::FetchRequest;
use kavka_core::{Config, Duration, Event, Limits, MoveReason, PartitionId, Start};

use crate::script::fetch::{Batch, records};
use crate::script::steps::events;
use crate::script::{Requested, Script, World};

/// Starts brokers with a topic `t`, and a client that reads its partitions from offset 0.
pub fn reading(brokers: i32, partitions: usize) -> (Script, Vec<PartitionId>) {
    reading_with(World::new(brokers).topic("t", partitions), |config| config)
}

/// [`reading`] with another world and configuration.
pub fn reading_with(
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

/// Takes the next Fetch request to a broker.
pub fn fetch_at(s: &mut Script, node: i32) -> Requested<FetchRequest> {
    for _ in 0..20 {
        let requested = s.expect::<FetchRequest>();
        if requested.node == node {
            return requested;
        }
    }
    s.fail(&format!("no fetch came to broker {node}"))
}

/// Takes the first Fetch request that satisfies a condition; those before it get an empty response.
pub fn fetch_with(
    s: &mut Script,
    holds: impl Fn(&Script, &Requested<FetchRequest>) -> bool,
) -> Requested<FetchRequest> {
    for _ in 0..100 {
        let requested = s.expect::<FetchRequest>();
        if holds(s, &requested) {
            return requested;
        }
        s.run(Duration::from_millis(20));
        let session = requested.body.session_id.max(1);
        s.give(&requested, session, vec![]);
    }
    s.fail("no such fetch came")
}

/// Returns the bytes of an ordinary batch.
pub fn batch(base: i64, values: &[&str]) -> Bytes {
    Batch::new(base, values).bytes()
}

/// A position that jumped: from, to, why.
pub type Move = (i64, i64, MoveReason);

/// Returns the reported jumps.
pub fn moves(reported: &[Event<'_>]) -> Vec<Move> {
    let moved = |event: &Event<'_>| match *event {
        Event::Moved { from, to, why, .. } => Some((from, to, why)),
        _ => None,
    };
    reported.iter().filter_map(moved).collect()
}

/// Takes the records read: offset, value as text.
pub fn values(s: &mut Script) -> Vec<(i64, String)> {
    s.records().into_iter().map(|(_, offset, value)| (offset, value)).collect()
}

/// Gives a reader of one partition these bytes; returns the next fetch, and what was reported.
pub fn after(bytes: &[Bytes]) -> (Option<i64>, Vec<(i64, String)>, Vec<Event<'static>>) {
    let (mut s, _) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 0, vec![records(0, bytes)]);
    let next = s.take::<FetchRequest>().map(|requested| s.wanted(&requested)[0].2);
    let got = values(&mut s);
    (next, got, events(&mut s))
}

/// Lets three seconds pass with empty fetches; returns the positions fetched, sorted.
pub fn wanted(s: &mut Script) -> Vec<(i32, i64)> {
    let mut all = Vec::new();
    for _ in 0..6 {
        s.run(Duration::from_millis(500));
        if let Some(requested) = s.take::<FetchRequest>() {
            all.extend(s.wanted(&requested).into_iter().map(|(_, p, offset)| (p, offset)));
            let session = requested.body.session_id.max(1);
            s.give(&requested, session, vec![]);
        }
    }
    all.sort_unstable();
    all.dedup();
    all
}
