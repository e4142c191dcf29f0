//! What the client knows of the cluster.

use kafka_protocol::messages::{ApiKey, MetadataRequest};
use kavka_core::{Client, Config, Duration, Error, Event, Limits, TopicId};
use uuid::Uuid;

use crate::script::{Asked, Script, Told, World};

/// Brokers with a topic `t`, and a client that is ready with it.
pub fn ready(world: World) -> (Script, TopicId) {
    let config = Config::new(world.bootstrap()).linger(Duration::ZERO);
    let mut s = Script::with(world, config, &Limits::small());
    let t = s.ready("t");
    (s, t)
}

/// Events, but for those about connections.
pub fn events(s: &mut Script) -> Vec<Event<'static>> {
    let told = s.take_told(Told::event);
    let about = |event: &Event<'_>| {
        matches!(event, Event::Disconnected { .. } | Event::Unresponsive { .. })
    };
    told.into_iter().filter(|event| !about(event)).collect()
}

/// Partitions before and after each growth that was told.
pub fn growths(told: &[Event<'_>]) -> Vec<(u32, u32)> {
    let growth = |event: &Event<'_>| match *event {
        Event::PartitionsAdded { from, to, .. } => Some((from, to)),
        _ => None,
    };
    told.iter().filter_map(growth).collect()
}

/// Partitions, as the client knows.
pub fn count(client: &Client<'_>, topic: TopicId) -> u32 {
    client.freshness(topic).map_or(0, |fresh| fresh.partitions)
}

/// Lets time pass while Metadata requests are answered out of the world that `of` gives for each.
/// Returns how many came.
pub fn metadata(
    s: &mut Script,
    time: Duration,
    mut of: impl FnMut(&Asked<MetadataRequest>) -> World,
) -> usize {
    s.manual(ApiKey::Metadata);
    let (end, mut asked) = (s.now() + time, 0);
    while s.now() < end {
        while let Some(request) = s.take::<MetadataRequest>() {
            let answer = of(&request).metadata(&request.body);
            s.answer(&request, answer);
            asked += 1;
            assert!(asked < 5000, "an endless loop of Metadata requests");
        }
        s.run(Duration::from_millis(1));
    }
    asked
}

/// A world that differs.
pub fn changed(world: &World, change: impl FnOnce(&mut World)) -> World {
    let mut world = world.clone();
    change(&mut world);
    world
}

/// Partitions of each recreation that was told.
pub fn recreated(told: &[Event<'_>]) -> Vec<u32> {
    let it = |event: &Event<'_>| match *event {
        Event::TopicRecreated { partitions, .. } => Some(partitions),
        _ => None,
    };
    told.iter().filter_map(it).collect()
}

/// A world whose topic `t` was made again: another id, so many partitions at most, epoch 0.
pub fn with_id(world: &World, id: u128, partitions: usize) -> World {
    changed(world, |w| {
        w.topic_mut("t").id = Uuid::from_u128(id);
        w.topic_mut("t").partitions.truncate(partitions);
        for p in &mut w.topic_mut("t").partitions {
            p.epoch = 0;
        }
    })
}

/// Makes the client ask for metadata.
pub fn poke(s: &mut Script, topic: TopicId) {
    let _ = s.try_produce(topic, 1000, "x");
}

/// Connections that the application was told to have ended.
pub fn disconnected(s: &mut Script) -> Vec<(i32, Error)> {
    s.take_told(|told| match told.event()? {
        Event::Disconnected { broker, error } => Some((broker, error)),
        _ => None,
    })
}
