//! What the client knows of the cluster.

use kafka_protocol::messages::{ApiKey, MetadataRequest};
use kavka_core::{Client, Config, Duration, Error, Event, Limits, TopicId};
use uuid::Uuid;

use crate::script::{Reported, Requested, Script, World};

/// Starts brokers with a topic `t`, and a client for which it is ready.
pub fn ready(world: World) -> (Script, TopicId) {
    let config = Config::new(world.bootstrap()).linger(Duration::ZERO);
    let mut s = Script::with(world, config, &Limits::small());
    let t = s.ready("t");
    (s, t)
}

/// Takes the events, except for those about connections.
pub fn events(s: &mut Script) -> Vec<Event<'static>> {
    let reported = s.take_reported(Reported::event);
    let about = |event: &Event<'_>| {
        matches!(event, Event::Disconnected { .. } | Event::Unresponsive { .. })
    };
    reported.into_iter().filter(|event| !about(event)).collect()
}

/// Returns the partitions before and after each reported growth.
pub fn growths(reported: &[Event<'_>]) -> Vec<(u32, u32)> {
    let growth = |event: &Event<'_>| match *event {
        Event::PartitionsAdded { from, to, .. } => Some((from, to)),
        _ => None,
    };
    reported.iter().filter_map(growth).collect()
}

/// Returns the partition count that the client knows.
pub fn count(client: &Client<'_>, topic: TopicId) -> u32 {
    client.freshness(topic).map_or(0, |fresh| fresh.partitions)
}

/// Lets time pass while Metadata requests get responses from the world that `of` returns for each.
/// Returns how many arrived.
pub fn metadata(
    s: &mut Script,
    time: Duration,
    mut of: impl FnMut(&Requested<MetadataRequest>) -> World,
) -> usize {
    s.manual(ApiKey::Metadata);
    let (end, mut requested) = (s.now() + time, 0);
    while s.now() < end {
        while let Some(request) = s.take::<MetadataRequest>() {
            let response = of(&request).metadata(&request.body);
            s.respond(&request, response);
            requested += 1;
            assert!(requested < 5000, "an endless loop of Metadata requests");
        }
        s.run(Duration::from_millis(1));
    }
    requested
}

/// Returns a changed copy of a world.
pub fn changed(world: &World, change: impl FnOnce(&mut World)) -> World {
    let mut world = world.clone();
    change(&mut world);
    world
}

/// Returns the partitions of each reported recreation.
pub fn recreated(reported: &[Event<'_>]) -> Vec<u32> {
    let it = |event: &Event<'_>| match *event {
        Event::TopicRecreated { partitions, .. } => Some(partitions),
        _ => None,
    };
    reported.iter().filter_map(it).collect()
}

/// Returns a world whose topic `t` was recreated: another id, at most `partitions`, epoch 0.
pub fn with_id(world: &World, id: u128, partitions: usize) -> World {
    changed(world, |w| {
        w.topic_mut("t").id = Uuid::from_u128(id);
        w.topic_mut("t").partitions.truncate(partitions);
        for p in &mut w.topic_mut("t").partitions {
            p.epoch = 0;
        }
    })
}

/// Makes the client request metadata.
pub fn poke(s: &mut Script, topic: TopicId) {
    let _ = s.try_produce(topic, 1000, "x");
}

/// Takes the connections that were reported as ended.
pub fn disconnected(s: &mut Script) -> Vec<(i32, Error)> {
    s.take_reported(|reported| match reported.event()? {
        Event::Disconnected { broker, error } => Some((broker, error)),
        _ => None,
    })
}
