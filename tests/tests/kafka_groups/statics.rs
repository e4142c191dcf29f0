//! Static members (KIP-345): a restart within the session disturbs nobody.

use core::time::Duration;
use std::sync::Arc;
use std::thread;
use std::time::Instant;

use kavka_std::{Config, Event, Producer, Start};
use kavka_tests::kafka::Version;

use crate::member::{Kind, Member, Read, write};
use crate::{Site, broker};

/// Longer than the interval of heartbeats, by which others would hear of a round.
const BEATS: Duration = Duration::from_secs(6);

#[test]
fn a_static_member_restarts_without_a_round_by_the_classic_protocol_on_2_8() {
    let Some(cluster) = broker(Version::V2_8_2) else { return };
    restart(&cluster, Kind::Classic("range"));
}

#[test]
fn a_static_member_restarts_without_a_round_by_kip_848_on_4_4() {
    let Some(cluster) = broker(Version::V4_4_0) else { return };
    restart(&cluster, Kind::Auto);
}

fn restart(cluster: &Site, kind: Kind) {
    let topic = cluster.topic.as_str();
    cluster.create(topic, 4).expect("created");
    let producer = Producer::new(Config::new(cluster.bootstrap())).expect("a producer");
    let (read, theirs) = (Arc::new(Read::default()), Arc::new(Read::default()));
    // The first one leads a classic group, and stays.
    let stays = Member::join_as(cluster, (topic, Start::Latest), kind, &theirs);
    stays.stable(4);
    let begin = || {
        let config = kind.config(cluster, (topic, Start::Latest)).group_instance("one");
        Member::with(config, topic, &read)
    };
    let restarts = begin();
    restarts.stable(2);
    stays.stable(2);
    while stays.events.next_timeout(Duration::from_millis(20)).is_some() {}
    let before = write(&producer, topic, 0..4);
    let all = |places: &[(u32, i64)]| {
        let end = Instant::now() + crate::member::LIMIT;
        let is_read = |at| read.first(at).is_some() || theirs.first(at).is_some();
        while !places.iter().all(|at| is_read(*at)) {
            assert!(Instant::now() < end, "{kind:?}: not all are read: {places:?}");
            thread::sleep(Duration::from_millis(5));
        }
        let mine = places.iter().filter(|at| read.first(**at).is_some());
        mine.map(|(partition, _)| *partition).collect::<Vec<_>>()
    };
    let mine = all(&before);
    restarts.leave();
    let between = write(&producer, topic, 0..4);
    let restarts = begin();
    restarts.stable(2);
    assert_eq!(all(&between), mine, "{kind:?}: it has what it had");
    let end = Instant::now() + BEATS;
    while let Some(left) = end.checked_duration_since(Instant::now()) {
        let event = stays.events.next_timeout(left);
        let disturbed = matches!(
            event,
            Some(Event::Rebalanced { .. } | Event::Revoking { .. } | Event::Lost { .. })
        );
        assert!(!disturbed, "{kind:?}: the other member had {event:?}");
    }
    assert_eq!((read.duplicates(), theirs.duplicates()), (0, 0), "{kind:?}");
    restarts.leave();
    stays.leave();
}
