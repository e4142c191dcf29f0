//! Mistakes of the loop around a client are named and counted, and not blamed on a broker.

use kafka_protocol::messages::{ApiKey, ProduceRequest};
use kavka_core::{
    Action, Client, CloseReason, Config, ConnId, Duration, Error, Event, Instant, Limits, Misuse,
    Storage,
};
use kavka_tests::script::{Reported, Script, World};

fn disconnected(s: &mut Script) -> Vec<Error> {
    s.take_reported(|reported| match reported {
        Reported::Event(Event::Disconnected { error, .. }) => Some(*error),
        _ => None,
    })
}

/// Returns a client with a record in flight to broker 1, and the connection that carries it.
fn under_way() -> (Script, ConnId) {
    let mut s = Script::new(World::new(1).topic("t", 1));
    s.manual(ApiKey::Produce);
    let t = s.ready("t");
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    assert_eq!(count(&s), (0, None), "the script's loop makes no mistake");
    (s, requested.conn)
}

fn count(s: &Script) -> (u32, Option<Misuse>) {
    let stats = s.client.stats();
    (stats.misuses, stats.last_misuse)
}

/// Checks that the event names the mistake, it is counted once, and the record is sent again.
fn ends_by(s: &mut Script, misuse: Misuse) {
    assert_eq!(disconnected(s), [Error::Caller(misuse)]);
    assert_eq!(count(s), (1, Some(misuse)));
    let requested = s.expect::<ProduceRequest>();
    s.acknowledge(&requested, 0);
    assert_eq!(s.delivered().len(), 1);
    assert_eq!(count(s).0, 1, "and no second time");
}

#[test]
fn more_received_than_the_buffer_has_is_the_loops_mistake() {
    let (mut s, conn) = under_way();
    let space = s.client.recv_buffer(conn).len();
    s.client.handle_received(s.now(), conn, space + 1);
    ends_by(&mut s, Misuse::Received);
}

/// If reported twice, bytes would be read that never arrived.
#[test]
fn received_without_a_buffer_is_the_loops_mistake() {
    let (mut s, conn) = under_way();
    let buffer = s.client.recv_buffer(conn);
    buffer[..2].copy_from_slice(&[0, 0]);
    s.client.handle_received(s.now(), conn, 2);
    assert_eq!(count(&s).0, 0);
    s.client.handle_received(s.now(), conn, 2);
    ends_by(&mut s, Misuse::Received);
}

#[test]
fn more_transmitted_than_was_offered_is_the_loops_mistake() {
    let (mut s, conn) = under_way();
    s.client.handle_transmitted(s.now(), conn, 1);
    ends_by(&mut s, Misuse::Transmitted);
}

/// Sent but not reported, a request would be sent again, and get two responses.
#[test]
fn a_response_to_what_was_not_reported_as_transmitted_is_the_loops_mistake() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    let t = s.ready("t");
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    s.acknowledge(&requested, 0);
    let conn = requested.conn;
    s.window(conn, Some(0));
    s.produce(t, 0, "b");
    s.settle();
    let bytes: Vec<u8> =
        s.client.poll_transmit(s.now(), conn).unwrap().flatten().copied().collect();
    let mut response = vec![0, 0, 0, 20];
    response.extend(&bytes[8..12]);
    s.feed(conn, &response);
    assert_eq!(disconnected(&mut s), [Error::Caller(Misuse::Unreported)]);
    assert_eq!(count(&s), (1, Some(Misuse::Unreported)));
}

#[test]
fn a_response_of_another_connection_is_the_loops_mistake() {
    let mut s = Script::new(World::new(2).topic("t", 2));
    s.manual(ApiKey::Produce);
    let t = s.ready("t");
    s.produce(t, 0, "a");
    s.produce(t, 1, "b");
    let requested = [s.expect::<ProduceRequest>(), s.expect::<ProduceRequest>()];
    assert_ne!(requested[0].conn, requested[1].conn);
    let mut response = vec![0, 0, 0, 20];
    response.extend(requested[0].correlation.to_be_bytes());
    s.feed(requested[1].conn, &response);
    assert_eq!(disconnected(&mut s), [Error::Caller(Misuse::OtherConnection)]);
    assert_eq!(count(&s), (1, Some(Misuse::OtherConnection)));
}

/// A loop that ignores `Action::Close` keeps reading from a socket without a connection.
#[test]
fn bytes_of_a_connection_that_was_closed_are_counted() {
    let (mut s, conn) = under_way();
    s.feed(conn, &[0xff; 8]);
    assert!(s.connections(1).iter().all(|open| *open != conn), "Action::Close was polled");
    assert_eq!(count(&s).0, 0, "that was the broker");
    assert!(s.client.recv_buffer(conn).is_empty());
    s.client.handle_received(s.now(), conn, 0);
    assert_eq!(count(&s).0, 0, "nothing was received");
    s.client.handle_received(s.now(), conn, 8);
    assert_eq!(count(&s), (1, Some(Misuse::Ended)));
    let requested = s.expect::<ProduceRequest>();
    s.client.handle_closed(s.now(), requested.conn, CloseReason::Reset);
    s.client.handle_received(s.now(), requested.conn, 8);
    assert_eq!(count(&s), (2, Some(Misuse::Ended)), "and after handle_closed");
}

#[test]
fn a_loop_that_never_polls_for_bytes_is_not_a_broker_that_does_not_respond() {
    let storage = Storage::heap(&Limits::small());
    let mut client = Client::new(Config::new("a:1"), storage, [1; 32]).expect("a client");
    client.topic("t").expect("watched");
    let (mut now, mut reasons) = (Instant::from_millis(1), Vec::new());
    for _ in 0..400 {
        client.handle_timeout(now);
        while let Some(action) = client.poll_action(now) {
            if let Action::Connect { conn } = action {
                client.handle_connected(now, conn);
            }
        }
        while let Some((event, _)) = client.poll_event(now) {
            if let Event::Disconnected { error, .. } = event {
                reasons.push(error);
            }
        }
        now = now + Duration::from_millis(100);
    }
    assert!(!reasons.is_empty());
    assert!(reasons.iter().all(|r| *r == Error::Caller(Misuse::Unpolled)), "{reasons:?}");
    assert_eq!(client.stats().last_misuse, Some(Misuse::Unpolled));
}

#[test]
fn a_clock_that_goes_back_is_counted_once_for_each_step() {
    let (mut s, _) = under_way();
    let now = s.now();
    s.client.handle_timeout(now - Duration::from_millis(900));
    assert_eq!(count(&s).0, 0, "an instant that was read before the turn");
    s.client.handle_timeout(now - Duration::from_secs(5));
    s.client.handle_timeout(now - Duration::from_secs(5));
    assert_eq!(count(&s), (1, Some(Misuse::ClockBack)));
    s.client.handle_timeout(now);
    s.client.handle_timeout(now - Duration::from_secs(3));
    assert_eq!(count(&s).0, 2);
}

#[test]
fn a_clock_that_stands_is_noticed_by_the_responses_that_arrive_meanwhile() {
    for stands in [true, false] {
        let mut s = Script::new(World::new(1).topic("t", 1));
        let t = s.ready("t");
        for n in 0..300 {
            if !stands {
                s.sleep(Duration::from_millis(1));
            }
            s.produce(t, 0, "a");
            // The first needs a producer id.
            let patience = Duration::from_millis(if n == 0 { 1000 } else { 0 });
            let requested = s.expect_within::<ProduceRequest>(patience);
            s.acknowledge(&requested, n);
        }
        let expected = if stands { (1, Some(Misuse::ClockStopped)) } else { (0, None) };
        assert_eq!(count(&s), expected);
    }
}
