//! Coordinators that respond with anything, and applications that do anything: nothing panics,
//! spins or stays behind. The script itself fails a client that spins or sleeps too long.

use fastrand::Rng;
use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{
    ApiKey, ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, FetchRequest,
    OffsetCommitRequest, OffsetFetchRequest,
};
use kavka_core::{Commands, Duration, Event, Limits, PartitionId, Start, TopicId};
use kavka_tests::script::{Requested, Script};
use uuid::Uuid;

use crate::steps::{OTHER, commit_with, config, fetched, world};

const SEEDS: u64 = 400;
const STEPS: usize = 120;

/// An error code: usually none, or one that groups have.
fn code(rng: &mut Rng) -> i16 {
    const GROUPS: [i16; 18] =
        [3, 7, 12, 14, 15, 16, 22, 25, 27, 29, 35, 69, 88, 100, 110, 111, 113, 999];
    match rng.u8(0..10) {
        0..7 => 0,
        7..9 => GROUPS[rng.usize(0..GROUPS.len())],
        _ => rng.i16(-2..140),
    }
}

fn respond(s: &mut Script, requested: &Requested<ConsumerGroupHeartbeatRequest>, rng: &mut Rng) {
    let topics = (0..rng.usize(0..3)).map(|_| {
        let id = match rng.u8(0..8) {
            0 => OTHER,
            1 => Uuid::nil(),
            _ => s.world.topic_mut("t").id,
        };
        let one = |rng: &mut Rng| match rng.u8(0..30) {
            0 => rng.i32(..),
            _ => rng.i32(0..8),
        };
        let partitions = (0..rng.usize(0..6)).map(|_| one(rng)).collect();
        TopicPartitions::default().with_topic_id(id).with_partitions(partitions)
    });
    let topics: Vec<_> = topics.collect();
    let assignment = rng.bool().then(|| Assignment::default().with_topic_partitions(topics));
    let epoch = match rng.u8(0..8) {
        0 => rng.i32(..),
        _ => requested.body.member_epoch.max(0) + rng.i32(0..2) + 1,
    };
    let interval = if rng.u8(0..5) == 0 { rng.i32(-5..200) } else { 5000 };
    let body = ConsumerGroupHeartbeatResponse::default()
        .with_error_code(code(rng))
        .with_member_epoch(epoch)
        .with_heartbeat_interval_ms(interval)
        .with_assignment(assignment);
    s.respond(requested, body);
}

/// Lets a broker respond to one request of the group, if there is one.
fn serve(s: &mut Script, rng: &mut Rng) {
    if let Some(requested) = s.take::<ConsumerGroupHeartbeatRequest>() {
        return match rng.u8(0..12) {
            0 => s.cut(requested.conn),
            _ => respond(s, &requested, rng),
        };
    }
    if let Some(requested) = s.take::<OffsetFetchRequest>() {
        const TEXTS: [&str; 4] = [
            "",
            "mine",
            "kv1;n=1;b=1600000000000;t=AAAAAAAAAAAAAAAAAAAQAA;",
            "kv1;n=99;b=0;t=AAAAAAAAAAAAAAAAAAAAAA;x",
        ];
        let seed = rng.u64(..);
        return fetched(s, &requested, |index| {
            let mut rng = Rng::with_seed(seed ^ index as u64);
            (rng.i64(-2..50), TEXTS[rng.usize(0..4)], code(&mut rng))
        });
    }
    if let Some(requested) = s.take::<OffsetCommitRequest>() {
        let seed = rng.u64(..);
        return match rng.u8(0..12) {
            0 => s.cut(requested.conn),
            _ => commit_with(s, &requested, |index| code(&mut Rng::with_seed(seed ^ index as u64))),
        };
    }
    if let Some(fetch) = s.take::<FetchRequest>() {
        s.give(&fetch, 1, vec![]);
    }
}

/// What an application does about a subscription by pattern.
fn resolve(s: &mut Script, rng: &mut Rng) {
    let now = s.now();
    match rng.u8(0..8) {
        0 => {
            let _ = s.client.subscribe_pattern(now, Start::Latest);
        }
        1 => {
            let t = s.topic("t");
            let _ = s.client.resolve_pattern(now, &[t]);
        }
        2 => {
            let _ = s.client.resolve_pattern(now, &[]);
        }
        3 => {
            let t = s.topic("t");
            s.client.read_from_first(t);
        }
        4 => {
            let t = s.topic("t");
            s.client.unwatch(t);
        }
        _ => {}
    }
}

fn command(s: &mut Script, t: TopicId, at: &[PartitionId], rng: &mut Rng) {
    let now = s.now();
    let one = (!at.is_empty()).then(|| at[rng.usize(0..at.len())]);
    match (rng.u8(0..14), one) {
        (0, _) => {
            let _ = s.client.commit(now);
        }
        (1 | 2, Some(at)) => {
            let offset = rng.i64(-1..60);
            let _ = s.client.commit_offset(now, at, (offset, rng.i32(-1..3)), "text");
        }
        (3 | 4, Some(at)) => s.client.release(now, at),
        (5, Some(at)) => {
            let _ = s.client.seek(now, at, Start::Offset(rng.i64(0..50)));
        }
        (6, Some(at)) => s.client.unassign(now, at),
        (7, _) => s.client.unsubscribe(now, Duration::from_millis(rng.u64(0..3000))),
        (8 | 9, _) => {
            let starts = [Start::Earliest, Start::Latest, Start::Timestamp(5), Start::Offset(1)];
            let _ = s.client.subscribe(now, &[t], starts[rng.usize(0..4)]);
        }
        (10, _) => {
            let count = s.world.topic_mut("t").partitions.len();
            s.world.grow("t", (count + 1).min(12));
        }
        (11, _) => {
            let topic = s.world.topic_mut("t");
            topic.id = Uuid::from_u128(topic.id.as_u128() + u128::from(rng.u8(0..2)));
        }
        (12, _) => s.world.coordinator = Some(rng.i32(1..4)),
        _ => {}
    }
}

#[test]
fn nothing_that_a_coordinator_says_or_an_application_does_breaks_a_member() {
    run(false);
}

#[test]
fn nothing_breaks_a_member_that_subscribes_by_pattern() {
    run(true);
}

fn run(by_pattern: bool) {
    let (mut joined, mut assigned) = (0, 0);
    for seed in 1..=SEEDS {
        let mut rng = Rng::with_seed(seed);
        let mut world = world(4);
        if by_pattern && rng.u8(0..3) == 0 {
            world = world.at_most(ApiKey::ConsumerGroupHeartbeat, 0);
        }
        let mut config = config(&world);
        config.group_pattern = if by_pattern { "t" } else { "" };
        config.auto_commit = rng.bool().then(|| Duration::from_millis(500));
        config.group_skips = rng.u8(0..4) == 0;
        let mut limits = Limits::small();
        limits.partitions = rng.usize(1..12);
        limits.conns = [1, 2, 4, 8][rng.usize(0..4)];
        let mut s = Script::with(world, config, &limits);
        // Its brokers come and go, and with them what is due.
        s.watching = false;
        s.patience = 16;
        let mut keeps = rng.fork();
        s.hook = Some(Box::new(move |event: &Event<'_>, commands: &mut Commands<'static>| {
            if let Event::Revoking { at, .. } = event
                && keeps.bool()
            {
                commands.keep(*at);
            }
        }));
        let now = s.now();
        if by_pattern {
            s.client.subscribe_pattern(now, Start::Latest).expect("subscribed");
        } else {
            let t = s.topic("t");
            s.client.subscribe(now, &[t], Start::Latest).expect("subscribed");
        }
        let mut at = Vec::new();
        for _ in 0..STEPS {
            serve(&mut s, &mut rng);
            let commands = rng.u8(0..3) == 0;
            if by_pattern && commands {
                resolve(&mut s, &mut rng);
            } else if commands {
                let t = s.topic("t");
                command(&mut s, t, &at, &mut rng);
            }
            s.run(Duration::from_millis(rng.u64(1..400)));
            for reported in s.reported() {
                if let Some(Event::Assigned { at: id, .. }) = reported.event() {
                    at.push(id);
                    assigned += 1;
                }
            }
        }
        joined += usize::from(s.client.membership().is_some());
        let now = s.now();
        s.client.unsubscribe(now, Duration::from_secs(1));
        s.run(Duration::from_secs(3));
        assert_eq!(s.client.membership(), None, "seed {seed}");
        for id in at {
            assert_eq!(s.client.committed(id), None, "seed {seed}: it has left");
        }
    }
    println!("{joined} members and {assigned} assigned partitions in {SEEDS} seeds");
    assert!(assigned > 200 && joined > 20, "{assigned} partitions, {joined} members");
}
