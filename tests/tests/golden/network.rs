//! Connections that fail, brokers that hang, few slots for many brokers.

use kafka_protocol::messages::ApiKey;
use kavka_core::{Duration, Limits, Start};
use kavka_tests::sim::world::Trouble;
use kavka_tests::sim::{Fault, Options};

use super::{MILLI, SECOND, join, play, send};

/// Brokers that pause, do not respond for long, close connections, refuse them, and have moved.
#[test]
fn brokers_that_hang() {
    play("hang", Options::default(), |w| {
        w.cluster.create_topic("t", 3).expect("created");
        let (m, t) = join(w, &Limits::small(), |c| {
            (c.request_timeout, c.silence_timeout) = (6 * SECOND, 4 * SECOND);
            c.delivery_timeout = 20 * SECOND;
        });
        w.command(m, |now, c, _| c.assign_all(now, t, Start::Earliest)).expect("assigned");
        send(w, m, t, &[0, 1, 2], "start");
        w.run_for(SECOND);
        w.cluster.inject(2, ApiKey::Produce, Fault::Delay(Duration::from_secs(8)), 1);
        send(w, m, t, &[1], "delayed");
        w.run_for(10 * SECOND);
        w.cluster.pause(3);
        send(w, m, t, &[0, 1, 2], "paused");
        w.run_for(9 * SECOND);
        w.cluster.resume(3);
        w.run_for(3 * SECOND);
        w.disconnect(1);
        w.disconnect(2);
        w.run_for(SECOND);
        w.net.trouble = Trouble { refused: 10_000, ..Trouble::default() };
        w.disconnect(1);
        w.disconnect(2);
        w.disconnect(3);
        send(w, m, t, &[0, 1, 2], "nobody");
        w.run_for(6 * SECOND);
        w.net.trouble = Trouble { no_connect: 10_000, ..Trouble::default() };
        w.run_for(12 * SECOND);
        w.net.trouble = Trouble::default();
        w.run_for(12 * SECOND);
    });
}

/// More brokers than connections, all of them in use.
#[test]
fn few_slots() {
    play("few_slots", Options { brokers: 6, ..Options::default() }, |w| {
        w.cluster.create_topic("t", 6).expect("created");
        let mut limits = Limits::small();
        limits.conns = 3;
        let (m, t) = join(w, &limits, |_| ());
        w.command(m, |now, c, _| c.assign_all(now, t, Start::Earliest)).expect("assigned");
        for n in 0..3 {
            send(w, m, t, &[0, 1, 2, 3, 4, 5], &format!("{n}"));
            w.run_for(700 * MILLI);
        }
        w.cluster.grow("t", 7).expect("grown");
        w.run_for(2 * SECOND);
    });
}

/// A client with connections for all, and brokers whose metadata lags; several topics.
#[test]
fn many_connections_and_stale_brokers() {
    play("stale", Options { brokers: 4, ..Options::default() }, |w| {
        w.cluster.create_topic("t", 2).expect("created");
        w.cluster.create_topic("u", 2).expect("created");
        let mut limits = Limits::small();
        limits.conns = 16;
        let (m, t) = join(w, &limits, |_| ());
        let u = w.command(m, |_, c, _| c.topic("u")).expect("a topic");
        send(w, m, t, &[0, 1], "t");
        send(w, m, u, &[0, 1], "u");
        w.run_for(2 * SECOND);
        w.cluster.set_lag(3, 3 * SECOND);
        w.cluster.grow("t", 4).expect("grown");
        w.run_for(2 * SECOND);
        w.cluster.grow("u", 3).expect("grown");
        send(w, m, t, &[0, 1, 2, 3], "grown");
        w.run_for(3 * SECOND);
        w.cluster.set_endpoint(2, "elsewhere", 9999);
        w.disconnect(2);
        w.run_for(4 * SECOND);
    });
}
