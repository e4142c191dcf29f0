//! Applications and loops that are away for a while, and those that leave bytes unread.

use kafka_protocol::messages::{ApiKey, FetchRequest, ListOffsetsRequest, ProduceRequest};
use kavka_core::{Acks, Config, ConnId, Duration, Event, Limits, Probing, Start};
use kavka_tests::script::fetch::{Batch, records};
use kavka_tests::script::{Reported, Script, World};

fn disconnected(s: &mut Script) -> usize {
    s.take_reported(|reported| {
        matches!(reported, Reported::Event(Event::Disconnected { .. })).then_some(())
    })
    .len()
}

/// Creates a client that gives up no connection for silence, for tests of its deadlines.
fn patient(world: World) -> Script {
    let mut config = Config::new(world.bootstrap()).linger(Duration::ZERO);
    config.silence_timeout = Duration::from_secs(600);
    Script::with(world, config, &Limits::small())
}

/// The whole response is in the receive buffer: only the application is slow.
#[test]
fn an_application_that_polls_nothing_for_40_s_keeps_its_connection() {
    let mut s = patient(World::new(1).topic("t", 1));
    s.manual(ApiKey::Fetch);
    let t = s.ready("t");
    let now = s.now();
    s.client.assign(now, t, 0, Start::Offset(0)).expect("assigned");
    let requested = s.expect::<FetchRequest>();
    s.listening = false;
    let batches = [Batch::new(0, &["a"]).bytes(), Batch::new(1, &["b"]).bytes()];
    s.give(&requested, 1, vec![records(0, &batches)]);
    s.run(Duration::from_secs(40));
    s.listening = true;
    s.settle();
    assert_eq!(s.records(), [(0, 0, "a".to_owned()), (0, 1, "b".to_owned())]);
    assert_eq!(disconnected(&mut s), 0, "nobody is to blame");
    let next = s.expect::<FetchRequest>();
    assert_eq!(next.conn, requested.conn, "the same connection continues");
    assert_eq!(s.wanted(&next), [("t".to_owned(), 0, 2)], "nothing is fetched twice");
    // From here on the client waits for the broker again.
    s.manual(ApiKey::Fetch);
    s.run(Duration::from_secs(29));
    assert_eq!(disconnected(&mut s), 0, "its time begins when the application is there");
    s.run(Duration::from_secs(3));
    assert_eq!(disconnected(&mut s), 1, "who does not respond for 30 s is given up");
}

/// A request that follows the waiting response has as much time left as before.
#[test]
fn a_request_after_a_response_that_waits_is_given_its_time() {
    let mut s = patient(World::new(1).topic("t", 2));
    let t = s.ready("t");
    let now = s.now();
    let parts = [0, 1].map(|part| s.client.assign(now, t, part, Start::Offset(0)).unwrap());
    let fetch = s.expect::<FetchRequest>();
    s.manual(ApiKey::ListOffsets);
    let now = s.now();
    s.client.seek(now, parts[1], Start::Earliest).expect("sought");
    let requested = s.expect_within::<ListOffsetsRequest>(Duration::ZERO);
    assert_eq!(requested.conn, fetch.conn);
    s.listening = false;
    s.give(&fetch, 1, vec![records(0, &[Batch::new(0, &["a"]).bytes()])]);
    s.run(Duration::from_secs(40));
    s.listening = true;
    s.run(Duration::from_secs(29));
    assert_eq!(disconnected(&mut s), 0, "30 s in all, without those that the application took");
    s.run(Duration::from_secs(2));
    assert_eq!(disconnected(&mut s), 1);
}

/// What has arrived while the loop was away is read before a deadline counts, although the loop
/// checks the time first.
fn responded_while_away(seconds: u64, acks: Acks) {
    let mut s = Script::with(
        World::new(1).topic("t", 1),
        Config::new("b1:9001").acks(acks).linger(Duration::ZERO),
        &Limits::small(),
    );
    s.manual(ApiKey::Produce);
    let t = s.ready("t");
    s.produce(t, 0, "x");
    let requested = s.expect::<ProduceRequest>();
    let response = Script::produce_response(&requested, 0, 7);
    s.sleep(Duration::from_secs(seconds));
    // It arrived long ago, and is in the socket.
    s.respond(&requested, response);
    s.run(Duration::from_secs(2));
    assert_eq!(s.delivered(), [(1, Some(7))], "away for {seconds} s");
    assert_eq!(s.failed(), [], "away for {seconds} s");
    assert_eq!(disconnected(&mut s), 0, "away for {seconds} s");
    s.none::<ProduceRequest>("it was written once");
}

#[test]
fn a_response_that_came_while_the_loop_was_away_counts() {
    responded_while_away(40, Acks::All);
    responded_while_away(40, Acks::Leader);
    responded_while_away(130, Acks::All);
}

#[test]
fn a_broker_that_did_not_respond_while_the_loop_was_away_is_given_up_soon() {
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

/// The socket takes nothing, and the loop knows: it does not poll for bytes before it does.
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
                // A part of it is left: the socket is full.
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

/// Returns a client whose requests time out after 4 s, and a connection with a batch of 10 KB to
/// send that takes nothing yet.
fn slow_link() -> (Script, ConnId) {
    let world = World::new(1).topic("t", 1);
    let mut config = Config::new(world.bootstrap()).linger(Duration::ZERO);
    (config.request_timeout, config.probing) = (Duration::from_secs(4), Probing::Never);
    let mut s = Script::with(world, config, &Limits::small());
    let t = s.ready("t");
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    s.acknowledge(&requested, 0);
    s.window(requested.conn, Some(0));
    s.produce(t, 0, &"x".repeat(10_000));
    (s, requested.conn)
}

/// A request timeout is for a peer that does not respond, not for a slow link.
#[test]
fn a_request_that_leaves_slowly_is_not_given_up_while_bytes_move() {
    let (mut s, conn) = slow_link();
    for _ in 0..9 {
        s.run(Duration::from_secs(2));
        s.window(conn, Some(1100));
    }
    s.run(Duration::from_secs(2));
    s.window(conn, None);
    let requested = s.expect_within::<ProduceRequest>(Duration::ZERO);
    assert_eq!(requested.conn, conn, "over the same connection, after 20 s");
    s.manual(ApiKey::Metadata);
    s.run(Duration::from_millis(3800));
    s.acknowledge(&requested, 1);
    assert_eq!((s.delivered().len(), disconnected(&mut s)), (2, 0));
}

/// The same for a response that arrives slowly.
#[test]
fn a_response_that_arrives_slowly_is_not_given_up_while_bytes_move() {
    let mut s = Script::with(
        World::new(1).topic("t", 1),
        {
            let mut config = Config::new("b1:9001");
            config.request_timeout = Duration::from_secs(4);
            config
        },
        &Limits::small(),
    );
    s.manual(ApiKey::Fetch);
    let t = s.ready("t");
    let now = s.now();
    s.client.assign(now, t, 0, Start::Offset(0)).expect("assigned");
    let requested = s.expect::<FetchRequest>();
    let whole = s.give_later(&requested, 1, vec![records(0, &[Batch::new(0, &["a"]).bytes()])]);
    for byte in whole.chunks(whole.len() / 8) {
        s.run(Duration::from_secs(2));
        s.feed(requested.conn, byte);
    }
    assert_eq!(s.records(), [(0, 0, "a".to_owned())]);
    assert_eq!(disconnected(&mut s), 0);
}

#[test]
fn a_peer_that_takes_a_byte_now_and_then_is_given_up_in_the_end() {
    let (mut s, conn) = slow_link();
    let begun = s.now();
    while disconnected(&mut s) == 0 {
        assert!(begun.until(s.now()) < Duration::from_secs(60), "never given up");
        s.run(Duration::from_millis(1500));
        s.window(conn, Some(1));
    }
    assert!(begun.until(s.now()) > Duration::from_secs(20), "{:?}", begun.until(s.now()));
}
