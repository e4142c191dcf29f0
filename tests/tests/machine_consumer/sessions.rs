use kafka_protocol::messages::FetchRequest;
use kavka_tests::script::fetch::{led, records, refused};
use uuid::Uuid;

use crate::support::{batch, events, fetch_at, fetch_with, reading};

#[test]
fn an_incremental_fetch_names_only_what_changed_and_loses_nothing() {
    // [C9]
    let (mut s, _) = reading(1, 2);
    let asked = s.expect::<FetchRequest>();
    assert_eq!((asked.body.session_id, asked.body.session_epoch), (0, 0));
    s.give(&asked, 7, vec![records(0, &[batch(0, &["a"])])]);
    let asked = s.expect::<FetchRequest>();
    assert_eq!((asked.body.session_id, asked.body.session_epoch), (7, 1));
    assert_eq!(s.wanted(&asked), [("t".into(), 0, 1)]);
    s.give(&asked, 7, vec![records(1, &[batch(0, &["b"])])]);
    assert_eq!(s.records(), [(0, 0, "a".into()), (1, 0, "b".into())]);
    let asked = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&asked), [("t".into(), 1, 1)]);
}

#[test]
fn what_is_paused_leaves_the_session_and_comes_back() {
    // [C9]
    let (mut s, parts) = reading(1, 2);
    let asked = s.expect::<FetchRequest>();
    s.client.pause(parts[1]);
    s.give(&asked, 7, vec![]);
    let asked = s.expect::<FetchRequest>();
    assert_eq!((s.wanted(&asked), s.forgotten(&asked)), (vec![], vec![("t".into(), 1)]));
    let now = s.now();
    s.client.resume(now, parts[1]);
    s.give(&asked, 7, vec![]);
    let asked = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&asked), [("t".into(), 1, 0)]);
}

#[test]
fn a_lost_session_begins_anew_at_once() {
    // [C8]
    for code in [70, 71, 106] {
        let (mut s, _) = reading(1, 1);
        let asked = s.expect::<FetchRequest>();
        s.give(&asked, 7, vec![]);
        let asked = s.expect::<FetchRequest>();
        let before = s.now();
        s.refuse_fetch(&asked, code);
        let asked = s.expect::<FetchRequest>();
        assert_eq!((s.now(), asked.body.session_epoch), (before, 0), "code {code}");
        assert_eq!(asked.body.session_id, if code == 70 { 0 } else { 7 }, "code {code}");
        assert_eq!(s.wanted(&asked), [("t".into(), 0, 0)], "code {code}");
    }
}

#[test]
fn an_unknown_error_of_a_whole_fetch_is_told_and_never_loops_fast() {
    // [C8]
    for code in [70, -1, 35] {
        let (mut s, _) = reading(1, 1);
        let start = s.now();
        let mut fetches = 0;
        while start.until(s.now()).as_secs() < 20 {
            let asked = s.expect::<FetchRequest>();
            s.refuse_fetch(&asked, code);
            fetches += 1;
        }
        assert!((15..60).contains(&fetches), "code {code}: {fetches} fetches in 20 s");
        let told = format!("{:?}", events(&mut s));
        assert!(told.contains("PartitionFailed"), "code {code}: {told}");
    }
}

#[test]
fn without_sessions_every_fetch_is_whole_and_takes_turns() {
    let (mut s, _) = reading(1, 3);
    let mut firsts = Vec::new();
    for _ in 0..3 {
        let asked = s.expect::<FetchRequest>();
        assert_eq!(asked.body.session_epoch, 0);
        let wanted = s.wanted(&asked);
        assert_eq!(wanted.len(), 3);
        firsts.push(wanted[0].1);
        s.give(&asked, 0, vec![]);
    }
    firsts.sort_unstable();
    assert_eq!(firsts, [0, 1, 2], "who comes last may get nothing: others have to be first");
}

#[test]
fn unassigning_beside_a_fetch_in_flight_keeps_the_others_alive() {
    let (mut s, parts) = reading(1, 3);
    let asked = s.expect::<FetchRequest>();
    let now = s.now();
    s.client.unassign(now, parts[0]);
    s.give(&asked, 7, vec![records(1, &[batch(0, &["b"])])]);
    assert_eq!(s.records(), [(1, 0, "b".into())], "what came for the others is of use");
    let asked = s.expect::<FetchRequest>();
    assert_eq!(asked.body.session_epoch, 0, "the session still holds the partition");
    let mut wanted = s.wanted(&asked);
    wanted.sort();
    assert_eq!(wanted, [("t".into(), 1, 1), ("t".into(), 2, 0)]);
}

#[test]
fn the_session_of_an_old_leader_does_not_keep_the_partition() {
    // The old leader would answer for it at once, each time, and never hold a fetch again.
    let (mut s, _) = reading(2, 4);
    let (one, two) = (fetch_at(&mut s, 1), fetch_at(&mut s, 2));
    s.give(&one, 7, vec![]);
    s.give(&two, 8, vec![]);
    let (one, two) = (fetch_at(&mut s, 1), fetch_at(&mut s, 2));
    // Partition 0 moves from 1 to 2 while both fetches are held; 2 ends first.
    s.world.lead("t", 0, 2);
    s.give(&two, 8, vec![refused(3, 6)]);
    fetch_with(&mut s, |s, asked| s.wanted(asked).contains(&("t".into(), 0, 0)));
    s.give(&one, 7, vec![led(0, 6, 2, 1)]);
    let one = fetch_at(&mut s, 1);
    let out = s.forgotten(&one) == [("t".into(), 0)] || one.body.session_epoch == 0;
    assert!(out, "partition 0 stays in the session of broker 1");
    assert_eq!(s.records(), []);
}

#[test]
fn a_recreated_topic_leaves_the_session_under_its_old_id() {
    // [T3]
    let (mut s, _) = reading(1, 1);
    let asked = s.expect::<FetchRequest>();
    s.give(&asked, 7, vec![records(0, &[batch(0, &["a"])])]);
    let asked = s.expect::<FetchRequest>();
    let old = s.world.topics[0].id;
    s.give(&asked, 7, vec![]);
    let asked = s.expect::<FetchRequest>();
    s.give(&asked, 7, vec![refused(0, 100)]);
    s.world.topics[0].id = Uuid::from_u128(99);
    let again = loop {
        let asked = s.expect::<FetchRequest>();
        if asked.body.topics.iter().any(|t| t.topic_id == Uuid::from_u128(99)) {
            break asked;
        }
        s.world.topics[0].id = old;
        s.give(&asked, 7, vec![refused(0, 100)]);
        s.world.topics[0].id = Uuid::from_u128(99);
    };
    assert_eq!(s.wanted(&again), [("t".into(), 0, 0)]);
    let forgets = again.body.forgotten_topics_data.iter().any(|t| t.topic_id == old);
    assert!(forgets || again.body.session_epoch == 0, "the old id stays in the session");
}

#[test]
fn ids_that_go_make_fetches_name_the_topic_and_ids_that_come_use_them() {
    // [T2] [T3]
    let (mut s, _) = reading(1, 1);
    let asked = s.expect::<FetchRequest>();
    assert!(asked.version >= 13);
    let id = core::mem::replace(&mut s.world.topics[0].id, Uuid::nil());
    s.give(&asked, 7, vec![refused(0, 100)]);
    // The id of the refusal was nil: it concerns nobody. The next one names ours.
    let asked = s.expect::<FetchRequest>();
    s.world.topics[0].id = id;
    s.give(&asked, 7, vec![refused(0, 100)]);
    s.world.topics[0].id = Uuid::nil();
    let asked = loop {
        let asked = s.expect::<FetchRequest>();
        if asked.version <= 12 {
            break asked;
        }
        s.world.topics[0].id = id;
        s.give(&asked, 7, vec![refused(0, 100)]);
        s.world.topics[0].id = Uuid::nil();
    };
    assert_eq!((asked.body.session_epoch, s.wanted(&asked)), (0, vec![("t".into(), 0, 0)]));
    s.give(&asked, 8, vec![refused(0, 6)]);
    s.world.topics[0].id = id;
    let asked = fetch_with(&mut s, |_, asked| asked.version >= 13);
    assert_eq!(asked.body.session_epoch, 0);
    let told = format!("{:?}", events(&mut s));
    assert!(!told.contains("TopicRecreated"), "{told}");
}
