//! Applications and loops that are away for a while, and those that leave things where they are.

use kafka_protocol::messages::{ApiKey, FetchRequest, ListOffsetsRequest, ProduceRequest};
use kavka_core::{Acks, Config, Duration, Event, Limits, Start};
use kavka_tests::script::fetch::{Batch, records};
use kavka_tests::script::{Script, Told, World};

fn disconnected(s: &mut Script) -> usize {
    s.take_told(|told| matches!(told, Told::Event(Event::Disconnected { .. })).then_some(())).len()
}

/// A client that gives nothing up for being silent, for what is about its deadlines.
fn patient(world: World) -> Script {
    let mut config = Config::new(world.bootstrap()).linger(Duration::ZERO);
    config.silence_timeout = Duration::from_secs(600);
    Script::with(world, config, &Limits::small())
}

/// The whole answer lies in the receive buffer: what takes long is the application.
#[test]
fn an_application_that_polls_nothing_for_40_s_keeps_its_connection() {
    let mut s = patient(World::new(1).topic("t", 1));
    s.manual(ApiKey::Fetch);
    let t = s.ready("t");
    let now = s.now();
    s.client.assign(now, t, 0, Start::Offset(0)).expect("assigned");
    let asked = s.expect::<FetchRequest>();
    s.listening = false;
    let batches = [Batch::new(0, &["a"]).bytes(), Batch::new(1, &["b"]).bytes()];
    s.give(&asked, 1, vec![records(0, &batches)]);
    s.run(Duration::from_secs(40));
    s.listening = true;
    s.settle();
    assert_eq!(s.records(), [(0, 0, "a".to_owned()), (0, 1, "b".to_owned())]);
    assert_eq!(disconnected(&mut s), 0, "nobody is to blame");
    let next = s.expect::<FetchRequest>();
    assert_eq!(next.conn, asked.conn, "the same connection goes on");
    assert_eq!(s.wanted(&next), [("t".to_owned(), 0, 2)], "nothing is fetched twice");
    // From here on the broker is awaited again.
    s.manual(ApiKey::Fetch);
    s.run(Duration::from_secs(29));
    assert_eq!(disconnected(&mut s), 0, "its time begins when the application is there");
    s.run(Duration::from_secs(3));
    assert_eq!(disconnected(&mut s), 1, "who does not answer for 30 s is given up");
}

/// What was asked behind the answer that waits has as much time left as before.
#[test]
fn a_request_behind_an_answer_that_waits_is_given_its_time() {
    let mut s = patient(World::new(1).topic("t", 2));
    let t = s.ready("t");
    let now = s.now();
    let parts = [0, 1].map(|part| s.client.assign(now, t, part, Start::Offset(0)).unwrap());
    let fetch = s.expect::<FetchRequest>();
    s.manual(ApiKey::ListOffsets);
    let now = s.now();
    s.client.seek(now, parts[1], Start::Earliest).expect("sought");
    let asked = s.expect_within::<ListOffsetsRequest>(Duration::ZERO);
    assert_eq!(asked.conn, fetch.conn);
    s.listening = false;
    s.give(&fetch, 1, vec![records(0, &[Batch::new(0, &["a"]).bytes()])]);
    s.run(Duration::from_secs(40));
    s.listening = true;
    s.run(Duration::from_secs(29));
    assert_eq!(disconnected(&mut s), 0, "30 s in all, without those that the application took");
    s.run(Duration::from_secs(2));
    assert_eq!(disconnected(&mut s), 1);
}

/// What has arrived while nobody looked is read before a deadline counts, although the loop looks
/// at the time first.
fn answered_while_away(seconds: u64, acks: Acks) {
    let mut s = Script::with(
        World::new(1).topic("t", 1),
        Config::new("b1:9001").acks(acks).linger(Duration::ZERO),
        &Limits::small(),
    );
    s.manual(ApiKey::Produce);
    let t = s.ready("t");
    s.produce(t, 0, "x");
    let asked = s.expect::<ProduceRequest>();
    let answer = Script::produce_answer(&asked, 0, 7);
    s.sleep(Duration::from_secs(seconds));
    // It came long ago, and lies in the socket.
    s.answer(&asked, answer);
    s.run(Duration::from_secs(2));
    assert_eq!(s.delivered(), [(1, Some(7))], "away for {seconds} s");
    assert_eq!(s.failed(), [], "away for {seconds} s");
    assert_eq!(disconnected(&mut s), 0, "away for {seconds} s");
    s.none::<ProduceRequest>("it was written once");
}

#[test]
fn an_answer_that_came_while_nobody_looked_counts() {
    answered_while_away(40, Acks::All);
    answered_while_away(40, Acks::Leader);
    answered_while_away(130, Acks::All);
}

#[test]
fn a_broker_that_did_not_answer_while_nobody_looked_is_given_up_soon() {
    let config = Config::new("b1:9001").linger(Duration::ZERO);
    let mut s = Script::with(World::new(1).topic("t", 1), config, &Limits::small());
    s.manual(ApiKey::Produce);
    let t = s.ready("t");
    s.produce(t, 0, "x");
    let _ = s.expect::<ProduceRequest>();
    s.sleep(Duration::from_secs(40));
    s.run(Duration::from_millis(200));
    assert_eq!(disconnected(&mut s), 1);
}

/// The socket takes nothing, and the loop knows: it does not look for bytes before it does.
#[test]
fn a_loop_that_leaves_bytes_where_they_are_does_not_spin() {
    let config = Config::new("b1:9001").linger(Duration::ZERO);
    for never in [false, true] {
        let mut s = Script::with(World::new(1).topic("t", 1), config, &Limits::small());
        s.manual(ApiKey::Produce);
        let t = s.ready("t");
        let conn = s.connections(1)[0];
        s.produce(t, 0, "first");
        if !never {
            let first = s.expect::<ProduceRequest>();
            s.acknowledge(&first, 0);
            s.settle();
        }
        let (mut now, end) = (s.now(), s.now() + Duration::from_secs(15));
        let (mut turns, mut made) = (0, 0);
        while now < end && turns < 100_000 {
            s.client.handle_timeout(now);
            while s.client.poll_action(now).is_some() {}
            if !never && made == 0 {
                // Something of it is left: the socket is full.
                let _ = s.client.poll_transmit(now, conn);
                s.client.handle_transmitted(now, conn, 1);
            }
            while s.client.poll_event(now).is_some() {}
            if turns % 50 == 0 && made < 20 {
                let record = kavka_core::Record::new(b"more");
                made += usize::from(s.client.produce(now, (t, 0), &record).is_ok());
            }
            turns += 1;
            let next = s.client.poll_timeout().unwrap_or(end);
            now = now.max(next.min(now + Duration::from_millis(100)));
        }
        assert!((150..5000).contains(&turns), "never looked: {never}: {turns} turns in 15 s");
    }
}
