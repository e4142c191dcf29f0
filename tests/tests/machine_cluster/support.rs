use std::time::Duration;

use kafka_protocol::messages::{ApiKey, MetadataRequest};
use kavka_core::{Client, Config, Event, Limits, TopicId};
use kavka_tests::script::{Asked, Script, Told, World};

/// Brokers with a topic `t`, and a client that is ready with it.
pub(crate) fn ready(world: World) -> (Script, TopicId) {
    let config = Config::new(world.bootstrap()).linger(Duration::ZERO);
    let mut s = Script::with(world, config, &Limits::small());
    let t = s.ready("t");
    (s, t)
}

/// Events, but for those about connections.
pub(crate) fn events(s: &mut Script) -> Vec<Event<'static>> {
    let told = s.take_told(Told::event);
    told.into_iter().filter(|event| !matches!(event, Event::Disconnected { .. })).collect()
}

/// Partitions before and after each growth that was told.
pub(crate) fn growths(told: &[Event<'_>]) -> Vec<(u32, u32)> {
    let growth = |event: &Event<'_>| match *event {
        Event::PartitionsAdded { from, to, .. } => Some((from, to)),
        _ => None,
    };
    told.iter().filter_map(growth).collect()
}

/// Partitions, as the client knows.
pub(crate) fn count(client: &Client<'_>, topic: TopicId) -> u32 {
    client.freshness(topic).map_or(0, |fresh| fresh.partitions)
}

/// Lets time pass while Metadata requests are answered out of the world that `of` gives for each.
/// Returns how many came.
pub(crate) fn metadata(
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
pub(crate) fn changed(world: &World, change: impl FnOnce(&mut World)) -> World {
    let mut world = world.clone();
    change(&mut world);
    world
}
