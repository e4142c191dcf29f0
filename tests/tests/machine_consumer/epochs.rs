//! Truncation at brokers whose Fetch does not report it (2.4 to 2.6): OffsetForLeaderEpoch.

use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{
    FetchRequest, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use kavka_core::{Duration, MoveReason, PartitionId, Start};
use kavka_tests::script::fetch::{Batch, records, refused};
use kavka_tests::script::steps::{events, fetch_with, moves, reading_with};
use kavka_tests::script::{Requested, Script, World};
use kavka_tests::sim::Profile;

/// Returns a reader that has read ten records of epoch 0, after which another broker leads.
fn moved(profile: Profile) -> (Script, PartitionId) {
    let world = World::new(2).release(profile).topic("t", 1);
    let (mut s, parts) = reading_with(world, |config| config);
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 7, vec![records(0, &[Batch::new(0, &["a"; 10]).bytes()])]);
    assert_eq!(s.records().len(), 10);
    let requested = s.expect::<FetchRequest>();
    s.world.lead("t", 0, 3 - requested.node);
    s.give(&requested, 7, vec![refused(0, 6)]);
    (s, parts[0])
}

fn ends(s: &mut Script, requested: &Requested<OffsetForLeaderEpochRequest>, end: (i16, i32, i64)) {
    let partition = EpochEndOffset::default()
        .with_partition(0)
        .with_error_code(end.0)
        .with_leader_epoch(end.1)
        .with_end_offset(end.2);
    let topic = OffsetForLeaderTopicResult::default()
        .with_topic(TopicName(StrBytes::from_static_str("t")))
        .with_partitions(vec![partition]);
    s.respond(requested, OffsetForLeaderEpochResponse::default().with_topics(vec![topic]));
}

/// Returns the offset that is fetched next.
fn next_offset(s: &mut Script) -> i64 {
    let requested = fetch_with(s, |s, requested| !s.wanted(requested).is_empty());
    s.wanted(&requested)[0].2
}

#[test]
fn a_truncated_position_moves_to_where_the_logs_part() {
    let (mut s, _) = moved(Profile::V2_4);
    let requested = s.expect::<OffsetForLeaderEpochRequest>();
    s.none::<FetchRequest>("the position was not checked");
    let partition = &requested.body.topics[0].partitions[0];
    assert_eq!(requested.body.replica_id.0, -1);
    assert_eq!((partition.leader_epoch, partition.current_leader_epoch), (0, 1));
    ends(&mut s, &requested, (0, 0, 6));
    assert_eq!(next_offset(&mut s), 6);
    assert_eq!(moves(&events(&mut s)), [(10, 6, MoveReason::Truncated)]);
}

#[test]
fn a_position_that_the_new_leader_has_stays() {
    let (mut s, _) = moved(Profile::V2_4);
    let requested = s.expect::<OffsetForLeaderEpochRequest>();
    ends(&mut s, &requested, (0, 0, 10));
    assert_eq!(next_offset(&mut s), 10);
    assert_eq!(moves(&events(&mut s)), []);
    s.run(Duration::from_secs(3));
    s.none::<OffsetForLeaderEpochRequest>("it was checked");
}

#[test]
fn a_refused_check_is_repeated_before_anything_is_fetched() {
    let (mut s, _) = moved(Profile::V2_4);
    for code in [75, 6, 3] {
        let requested = s.expect::<OffsetForLeaderEpochRequest>();
        ends(&mut s, &requested, (code, -1, -1));
        s.none::<FetchRequest>("the position was not checked");
    }
    let requested = s.expect::<OffsetForLeaderEpochRequest>();
    let conn = requested.conn;
    s.cut(conn);
    let requested = s.expect::<OffsetForLeaderEpochRequest>();
    ends(&mut s, &requested, (0, 0, 8));
    assert_eq!(next_offset(&mut s), 8);
}

#[test]
fn a_seek_while_a_position_is_checked_has_the_last_word() {
    let (mut s, part) = moved(Profile::V2_4);
    let requested = s.expect::<OffsetForLeaderEpochRequest>();
    let now = s.now();
    s.client.seek(now, part, Start::Offset(9)).unwrap();
    ends(&mut s, &requested, (0, 0, 2));
    assert_eq!(next_offset(&mut s), 9);
    assert_eq!(moves(&events(&mut s)), []);
}

#[test]
fn no_common_epoch_at_all_is_out_of_range() {
    let (mut s, _) = moved(Profile::V2_4);
    (s.world.partition("t", 0).start, s.world.partition("t", 0).end) = (20, 30);
    let requested = s.expect::<OffsetForLeaderEpochRequest>();
    ends(&mut s, &requested, (0, -1, -1));
    assert_eq!(next_offset(&mut s), 20);
    assert_eq!(moves(&events(&mut s)), [(10, 20, MoveReason::OutOfRange)]);
}

/// Newer brokers report it in Fetch; older ones refuse this request of consumers.
#[test]
fn other_brokers_get_no_requests() {
    for profile in [Profile::V1_1, Profile::V2_8, Profile::V4_4] {
        let (mut s, _) = moved(profile);
        assert_eq!(next_offset(&mut s), 10, "{profile:?}");
        s.none::<OffsetForLeaderEpochRequest>("Fetch does it, or nobody");
    }
}
