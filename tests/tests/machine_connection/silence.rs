//! Connections without responses: reported after seconds, and given up while others get responses;
//! no batch is written twice because of that.

use kafka_protocol::messages::{ApiKey, MetadataRequest, ProduceRequest};
use kavka_core::{
    Acks, Action, Client, CloseReason, Config, Duration, Error, Event, Instant, Limits, Storage,
};
use kavka_tests::script::{Script, World};

const SECOND: Duration = Duration::from_secs(1);

fn unresponsive(s: &mut Script) -> Vec<(i32, Duration)> {
    s.take_reported(|reported| match reported.event()? {
        Event::Unresponsive { broker, silent } => Some((broker, silent)),
        _ => None,
    })
}

fn ended(s: &mut Script) -> Vec<(i32, Error)> {
    s.take_reported(|reported| match reported.event()? {
        Event::Disconnected { broker, error } => Some((broker, error)),
        _ => None,
    })
}

/// A broker that accepts and stays silent, and one that is a black hole.
#[test]
fn a_broker_that_does_not_respond_is_reported_after_seconds() {
    for hangs in [false, true] {
        let mut world = World::new(1).topic("t", 1);
        world.node(1).hangs = hangs;
        let mut s = Script::new(world);
        s.manual(ApiKey::ApiVersions);
        s.topic("t");
        s.run(SECOND * 2);
        assert_eq!(unresponsive(&mut s), []);
        s.run(SECOND * 2);
        let reported = unresponsive(&mut s);
        assert_eq!(reported.len(), 1, "{reported:?}");
        assert!((-1..=1).contains(&reported[0].0) && reported[0].1 >= SECOND * 3, "{reported:?}");
        s.run(SECOND * 5);
        assert_eq!(unresponsive(&mut s), [], "once for each silence");
    }
}

/// Not by the one that failed before.
#[test]
fn a_silent_bootstrap_broker_is_named_by_its_own_address() {
    let storage = Storage::heap(&Limits::small());
    let mut client = Client::new(Config::new("a:1,b:2"), storage, [0; 32]).unwrap();
    client.topic("t").unwrap();
    let (mut silent, mut named) = (None, None);
    for millis in (1..10_000).step_by(50) {
        let now = Instant::from_millis(millis);
        client.handle_timeout(now);
        while let Some(action) = client.poll_action(now) {
            let Action::Connect { conn } = action else { continue };
            let address = client.address(conn).map(|(host, _)| host.to_owned());
            if address.as_deref() == Some("a") {
                client.handle_closed(now, conn, CloseReason::Refused);
            } else {
                silent = address; // it is never connected
            }
        }
        while let Some((event, commands)) = client.poll_event(now) {
            if let Event::Unresponsive { broker, .. } = event {
                named = named.or(commands.broker_address(broker).map(|(host, _)| host.to_owned()));
            }
        }
    }
    assert_eq!((silent.as_deref(), named.as_deref()), (Some("b"), Some("b")));
}

/// An idle client and waiting fetches are not silence.
#[test]
fn waiting_for_records_is_no_silence() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    s.ready("t");
    s.run(SECOND * 60);
    assert_eq!(unresponsive(&mut s), []);
}

fn config(world: &World, idempotence: bool) -> Config<'static> {
    let mut config = Config::new(world.bootstrap()).linger(Duration::ZERO);
    config.idempotence = idempotence;
    if !idempotence {
        config.acks = Acks::Leader;
    }
    config
}

/// A middle box drops the connection: probes over another one get responses, the batch does not.
#[test]
fn a_dead_connection_is_given_up_while_others_get_responses() {
    for idempotence in [true, false] {
        let world = World::new(1).topic("t", 1);
        let config = config(&world, idempotence);
        let mut s = Script::with(world, config, &Limits::server());
        let t = s.ready("t");
        s.produce(t, 0, "a");
        let first = s.expect::<ProduceRequest>();
        s.acknowledge(&first, 0);
        s.produce(t, 0, "b");
        let lost = s.expect::<ProduceRequest>();
        let begun = s.now();
        s.run(SECOND * 9);
        s.none::<ProduceRequest>("it may still be answered");
        if idempotence {
            let again = s.expect::<ProduceRequest>();
            let after = begun.until(s.now());
            assert!(after < SECOND * 13, "sent again after {after:?}");
            let [lost, again] = [&lost, &again].map(|requested| s.batches(requested)[0].header);
            assert_eq!(
                (lost.producer_id, lost.producer_epoch, lost.base_sequence),
                (again.producer_id, again.producer_epoch, again.base_sequence),
                "the broker recognises it"
            );
            assert!(ended(&mut s).contains(&(1, Error::Closed(CloseReason::Silent))));
        } else {
            s.run(SECOND * 15);
            s.none::<ProduceRequest>("it might be written twice");
        }
    }
}

/// On a slow link a request takes long to leave, while other connections get responses.
#[test]
fn a_request_that_leaves_slowly_is_no_silence() {
    for timeout in [30, 60, 120] {
        for pause in [2, 6] {
            let world = World::new(1).topic("t", 1);
            let mut config = config(&world, true);
            config.request_timeout = SECOND * timeout;
            let mut s = Script::with(world, config, &Limits::server());
            let t = s.ready("t");
            s.produce(t, 0, "a");
            let first = s.expect::<ProduceRequest>();
            s.acknowledge(&first, 0);
            s.window(first.conn, Some(0));
            s.produce(t, 0, &"x".repeat(10_000));
            for _ in 0..9 {
                s.run(SECOND * pause);
                s.window(first.conn, Some(1100));
            }
            s.window(first.conn, None);
            let requested = s.expect_within::<ProduceRequest>(Duration::ZERO);
            let at = format!("timeout {timeout} s, a piece each {pause} s");
            assert_eq!(requested.conn, first.conn, "{at}: over the same connection");
            s.acknowledge(&requested, 1);
            assert_eq!(s.delivered().len(), 2, "{at}");
            assert_eq!(ended(&mut s), [], "{at}");
            let reported = unresponsive(&mut s).len();
            assert_eq!(reported > 0, pause > 3, "{at}: reported {reported} times");
        }
    }
}

/// Where no connection gets responses, it is the network or the cluster: none is worse than others.
#[test]
fn silence_everywhere_ends_nothing_before_the_request_timeout() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    s.ready("t");
    s.manual(ApiKey::Metadata);
    s.manual(ApiKey::DescribeTopicPartitions);
    s.topic("other");
    s.world.node(1).hangs = true;
    let _ = s.expect::<MetadataRequest>();
    s.run(SECOND * 25);
    let ended = ended(&mut s);
    let silent = (1, Error::Closed(CloseReason::Silent));
    assert!(!ended.contains(&silent), "{ended:?}");
}
