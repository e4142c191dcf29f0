//! Responses with nothing of use: requested ever more slowly, and reported within a second.

use kafka_protocol::messages::fetch_response::FetchableTopicResponse;
use kafka_protocol::messages::list_offsets_response::ListOffsetsTopicResponse;
use kafka_protocol::messages::{
    ApiKey, FetchRequest, FetchResponse, ListOffsetsRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use kavka_core::wire::{ApiKey as Api, ErrorCode};
use kavka_core::{Duration, Error, Event, Obstacle, PeerFault, Start};
use kavka_tests::script::fetch::{records, refused};
use kavka_tests::script::steps::{batch, reading, reading_with, values};
use kavka_tests::script::{Requested, Script, World};

const SECOND: Duration = Duration::from_secs(1);
const NOT_HELD: Error = Error::Blocked(Obstacle::Peer { broker: 1, fault: PeerFault::NotHeld });

/// Takes the reported failures of partitions.
fn failed(s: &mut Script) -> Vec<Error> {
    s.take_reported(|reported| match reported.event()? {
        Event::PartitionFailed { error, .. } => Some(error),
        _ => None,
    })
}

/// Responds to each Fetch for `time`, `after` so long; returns how many there were, and what was
/// reported after how many milliseconds.
fn serve(
    s: &mut Script,
    time: Duration,
    after: Duration,
    respond: &dyn Fn(&mut Script, &Requested<FetchRequest>),
) -> (usize, Vec<(u128, Error)>) {
    let (start, mut count, mut reported) = (s.now(), 0, Vec::new());
    while start.until(s.now()) < time {
        match s.take::<FetchRequest>() {
            Some(requested) => {
                count += 1;
                s.run(after);
                respond(s, &requested);
            }
            None => s.run(Duration::from_millis(1)),
        }
        let millis = start.until(s.now()).as_millis();
        reported.extend(failed(s).into_iter().map(|error| (millis, error)));
    }
    (count, reported)
}

type Respond = fn(&mut Script, &Requested<FetchRequest>);

/// A response that is about another topic.
fn strange(s: &mut Script, requested: &Requested<FetchRequest>) {
    let topic = FetchableTopicResponse::default()
        .with_topic(TopicName(StrBytes::from_static_str("other")))
        .with_topic_id(uuid::Uuid::from_u128(77))
        .with_partitions(vec![records(0, &[batch(0, &["other"])])]);
    s.respond(requested, FetchResponse::default().with_session_id(7).with_responses(vec![topic]));
}

/// The ways to respond at once to a session that has nothing new.
const IDLE: [(&str, Respond); 5] = [
    ("no partitions", |s, requested| s.give(requested, 7, vec![])),
    ("no session", |s, requested| s.give(requested, 0, vec![])),
    ("empty records", |s, requested| s.give(requested, 7, vec![records(0, &[])])),
    ("null records", |s, requested| {
        s.give(requested, 7, vec![records(0, &[]).with_records(None)]);
    }),
    ("a session that is lost each time", |s, requested| match requested.body.session_epoch {
        0 => s.give(requested, 7, vec![]),
        _ => s.refuse_fetch(requested, 70),
    }),
];

#[test]
fn a_broker_that_responds_at_once_with_nothing_new_is_fetched_from_ever_more_slowly_and_named() {
    for (name, respond) in IDLE {
        let (mut s, _) = reading(1, 1);
        let (count, reported) = serve(&mut s, 10 * SECOND, Duration::ZERO, &respond);
        assert!((15..70).contains(&count), "{name}: {count} in 10 s");
        let [(millis, error)] = reported[..] else { panic!("{name}: {reported:?}") };
        assert_eq!(error, NOT_HELD, "{name}");
        assert!(millis < 1000, "{name}: after {millis} ms");
    }
}

#[test]
fn records_end_the_pause_between_fetches() {
    let (mut s, _) = reading(1, 1);
    serve(&mut s, 5 * SECOND, Duration::ZERO, &|s, requested| s.give(requested, 7, vec![]));
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 7, vec![records(0, &[batch(0, &["a"])])]);
    let now = s.now();
    let requested = s.expect::<FetchRequest>();
    assert_eq!((s.now(), s.wanted(&requested)), (now, vec![("t".into(), 0, 1)]));
}

#[test]
fn a_seek_does_not_wait_for_the_pause_between_fetches() {
    let (mut s, parts) = reading(1, 1);
    serve(&mut s, 5 * SECOND, Duration::ZERO, &|s, requested| s.give(requested, 7, vec![]));
    while s.take::<FetchRequest>().map(|requested| s.give(&requested, 7, vec![])).is_none() {
        s.run(Duration::from_millis(1));
    }
    let now = s.now();
    s.client.seek(now, parts[0], Start::Offset(5)).unwrap();
    let requested = s.expect::<FetchRequest>();
    assert_eq!((s.now(), s.wanted(&requested)), (now, vec![("t".into(), 0, 5)]));
}

/// As every Kafka broker does: after `fetch_max_wait`, or earlier with records.
#[test]
fn a_broker_that_waits_gets_the_next_fetch_at_once() {
    let (mut s, _) = reading(1, 1);
    let wait = Duration::from_millis(500);
    let (count, reported) =
        serve(&mut s, 10 * SECOND, wait, &|s, requested| s.give(requested, 7, vec![]));
    assert_eq!((count, reported), (20, vec![]));
}

#[test]
fn where_no_wait_is_configured_fetches_are_20_ms_apart() {
    let world = World::new(1).topic("t", 1);
    let (mut s, _) = reading_with(world, |mut config| {
        config.fetch_max_wait = Duration::ZERO;
        config
    });
    let (count, reported) =
        serve(&mut s, SECOND, Duration::ZERO, &|s, requested| s.give(requested, 7, vec![]));
    assert!((45..60).contains(&count), "{count} in a second");
    assert_eq!(reported, []);
}

/// KIP-219: a broker that throttles responds at once, with nothing.
#[test]
fn a_throttled_response_without_records_is_followed_by_the_pause_that_it_names() {
    let (mut s, _) = reading(1, 1);
    let (count, reported) = serve(&mut s, 21 * SECOND, Duration::ZERO, &|s, requested| {
        s.respond(requested, FetchResponse::default().with_throttle_time_ms(5_000));
    });
    assert_eq!((count, reported), (5, vec![]));
}

/// Responses to full requests without what they should have.
const LACKING: [(&str, Respond); 3] = [
    ("no partitions", |s, requested| s.give_only(requested, vec![])),
    ("another partition", |s, requested| s.give_only(requested, vec![refused(7, 3)])),
    ("another topic", strange),
];

#[test]
fn a_partition_that_fetch_responses_leave_out_is_reported_within_a_second() {
    for (name, respond) in LACKING {
        for after in [0, 1, 300] {
            let (mut s, parts) = reading(1, 1);
            let fault = PeerFault::LeftOut(Api::FETCH);
            let (count, reported) =
                serve(&mut s, 4 * SECOND, Duration::from_millis(after), &respond);
            assert!((5..20).contains(&count), "{name}, {after} ms: {count} fetches in 4 s");
            let (millis, error) = reported[0];
            assert_eq!(error, Error::Peer(fault), "{name}");
            assert!(millis < 1000, "{name}: after {millis} ms");
            let one = |(_, error): &(u128, Error)| *error == Error::Peer(fault);
            assert!(reported.iter().all(one), "{name}: the same in other words: {reported:?}");
            let obstacle = Some(Obstacle::Peer { broker: 1, fault });
            assert_eq!(s.client.obstacle_of(parts[0]), obstacle, "{name}");
            // It recovers.
            let requested = s.expect::<FetchRequest>();
            s.give(&requested, 0, vec![records(0, &[batch(0, &["a"])])]);
            assert_eq!(values(&mut s), [(0, "a".into())], "{name}");
            s.expect::<FetchRequest>();
            assert_eq!(s.client.obstacle_of(parts[0]), None, "{name}");
        }
    }
}

#[test]
fn a_partition_without_records_below_the_high_watermark_is_reported_within_a_second() {
    for after in [0, 1, 200] {
        let (mut s, parts) = reading(1, 2);
        let fault = PeerFault::NoRecords { left: 9 };
        let (count, reported) =
            serve(&mut s, 4 * SECOND, Duration::from_millis(after), &|s, requested| {
                let part = records(0, &[]).with_high_watermark(9);
                s.give(requested, 7, vec![part]);
            });
        assert!(count < 60, "{after} ms: {count} fetches in 4 s");
        let first = reported.iter().find(|(_, error)| *error == Error::Peer(fault));
        let millis = first.expect("it is reported").0;
        assert!(millis < 1000 + u128::from(after), "after {millis} ms");
        let one = |(_, error): &(u128, Error)| *error == Error::Peer(fault);
        assert!(reported.iter().all(one), "the same in other words: {reported:?}");
        let obstacle = Some(Obstacle::Peer { broker: 1, fault });
        assert_eq!(s.client.obstacle_of(parts[0]), obstacle);
        assert_eq!(s.client.obstacle_of(parts[1]), None);
    }
}

/// KIP-227: the broker repeats no high watermark in a session.
#[test]
fn a_high_watermark_that_a_session_named_once_is_not_forgotten() {
    let (mut s, parts) = reading(1, 1);
    let fault = PeerFault::NoRecords { left: 9 };
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 7, vec![records(0, &[]).with_high_watermark(9)]);
    let wait = Duration::from_millis(500);
    let (_, reported) = serve(&mut s, SECOND, wait, &|s, requested| s.give(requested, 7, vec![]));
    assert_eq!(reported.first().map(|(_, error)| *error), Some(Error::Peer(fault)));
    assert_eq!(s.client.obstacle_of(parts[0]), Some(Obstacle::Peer { broker: 1, fault }));
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 7, vec![records(0, &[batch(0, &["a"])])]);
    serve(&mut s, 5 * SECOND, wait, &|s, requested| s.give(requested, 7, vec![]));
    assert_eq!((failed(&mut s), s.client.obstacle_of(parts[0])), (vec![], None));
}

/// The limit on bytes of a whole response may leave nothing for the last partitions.
#[test]
fn a_partition_whose_records_had_no_room_beside_others_is_not_at_fault() {
    let (mut s, _) = reading(1, 2);
    for offset in 0..100 {
        let requested = s.expect::<FetchRequest>();
        let other = records(1, &[]).with_high_watermark(9);
        s.run(Duration::from_millis(20));
        s.give(&requested, 0, vec![records(0, &[batch(offset, &["a"])]), other]);
        assert_eq!(s.wanted(&requested).len(), 2, "it is fetched each time");
    }
    assert_eq!(failed(&mut s), []);
}

/// Responds to ListOffsets with what `change` makes of it.
fn offsets(change: impl Fn(&mut Vec<ListOffsetsTopicResponse>), fault: PeerFault) {
    let (mut s, parts) = reading(1, 1);
    s.manual(ApiKey::ListOffsets);
    let now = s.now();
    s.client.seek(now, parts[0], Start::Earliest).unwrap();
    let (mut count, mut first) = (0, None);
    while now.until(s.now()) < 10 * SECOND {
        match s.take::<ListOffsetsRequest>() {
            Some(requested) => {
                count += 1;
                let mut body = s.world.offsets(&requested.body);
                change(&mut body.topics);
                s.respond(&requested, body);
            }
            None => s.run(Duration::from_millis(1)),
        }
        if let [error, ..] = failed(&mut s)[..] {
            first.get_or_insert((now.until(s.now()).as_millis(), error));
        }
    }
    assert!((5..30).contains(&count), "{fault:?}: {count} requests in 10 s");
    let (millis, error) = first.expect("it is reported");
    assert_eq!(error, Error::Peer(fault));
    assert!(millis < 1000, "{fault:?}: after {millis} ms");
    let obstacle = Some(Obstacle::Peer { broker: 1, fault });
    assert_eq!(s.client.obstacle_of(parts[0]), obstacle);
}

#[test]
fn what_list_offsets_leaves_out_or_has_no_offset_for_is_reported_within_a_second() {
    let left_out = PeerFault::LeftOut(Api::LIST_OFFSETS);
    offsets(Vec::clear, left_out);
    offsets(|topics| topics[0].partitions.clear(), left_out);
    offsets(|topics| topics[0].partitions[0].partition_index = 3, left_out);
    let none = PeerFault::NoValue(Api::LIST_OFFSETS);
    offsets(|topics| topics[0].partitions[0].offset = -1, none);
}

#[test]
fn errors_that_change_are_obstacles_at_once_and_reported_within_a_second() {
    let (mut s, parts) = reading(1, 1);
    let now = s.now();
    let (mut codes, mut first, mut answered) = ([7, 13].into_iter().cycle(), None, false);
    while now.until(s.now()) < SECOND {
        match s.take::<FetchRequest>() {
            Some(requested) => s.give(&requested, 0, vec![refused(0, codes.next().unwrap())]),
            None => s.run(Duration::from_millis(1)),
        }
        let obstacle = s.client.obstacle_of(parts[0]);
        let known = matches!(obstacle, Some(Obstacle::Refused { code: ErrorCode(7 | 13), .. }));
        answered |= known;
        assert_eq!(known, answered, "{obstacle:?}");
        first = first.or(failed(&mut s).pop());
    }
    assert!(matches!(first, Some(Error::Broker(ErrorCode(7 | 13)))), "{first:?}");
}

/// Fetch from version 13 on names topics by id only.
#[test]
fn a_broker_that_fetches_by_id_only_and_names_no_ids_is_reported() {
    let mut world = World::new(1).topic("t", 1);
    world.topic_mut("t").id = uuid::Uuid::nil();
    world.offers.push((ApiKey::Fetch, 13, 18));
    let (mut s, parts) = reading_with(world, |config| config);
    s.run(10 * SECOND);
    s.none::<FetchRequest>("no version has names");
    let fault = PeerFault::NoTopicIds { api: Api::FETCH, min: 13 };
    assert_eq!(failed(&mut s), [Error::Peer(fault)]);
    assert_eq!(s.client.obstacle_of(parts[0]), Some(Obstacle::Peer { broker: 1, fault }));
}

#[test]
fn errors_of_list_offsets_that_change_are_obstacles_at_once() {
    let (mut s, parts) = reading(1, 1);
    s.manual(ApiKey::ListOffsets);
    let now = s.now();
    s.client.seek(now, parts[0], Start::Earliest).unwrap();
    let (mut codes, mut count, mut first) = ([78, 56, 5, 6].into_iter().cycle(), 0, None);
    while now.until(s.now()) < 5 * SECOND {
        if let Some(requested) = s.take::<ListOffsetsRequest>() {
            let mut body = s.world.offsets(&requested.body);
            let code = codes.next().unwrap();
            body.topics[0].partitions[0].error_code = code;
            s.respond(&requested, body);
            let (api, code) = (Some(Api::LIST_OFFSETS), ErrorCode(code));
            let obstacle = Obstacle::Refused { broker: 1, api, code };
            assert_eq!(s.client.obstacle_of(parts[0]), Some(obstacle));
            count += 1;
        }
        s.run(Duration::from_millis(1));
        if first.is_none() && !failed(&mut s).is_empty() {
            first = Some(now.until(s.now()));
        }
    }
    assert!(first.is_some_and(|time| time < SECOND), "reported after {first:?}");
    assert!((5..15).contains(&count), "{count} requests in 5 s");
}
