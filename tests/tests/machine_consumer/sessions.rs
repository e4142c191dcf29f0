use kafka_protocol::messages::FetchRequest;
use kavka_tests::script::fetch::{led, records, refused};
use kavka_tests::script::steps::{batch, fetch_at, fetch_with, reading};

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
