//! Producers.

use kafka_protocol::messages::ApiKey;
use kavka_core::codec::Codec;
use kavka_core::{Acks, Duration, Limits};
use kavka_tests::sim::{Fault, Options};

use super::{MILLI, SECOND, join, play, send};

/// Start, growth, a leader that moves, a broker that dies and comes back, a flush.
#[test]
fn produce_through_growth_and_elections() {
    play("produce", Options::default(), |w| {
        w.cluster.create_topic("t", 3).expect("created");
        let (m, t) = join(w, &Limits::small(), |_| ());
        send(w, m, t, &[0, 1, 2, 0, 1], "start");
        w.run_for(300 * MILLI);
        for n in 0..6 {
            w.app_mut(m).send(t, format!("keyless {n}"));
            w.run_for(3 * MILLI);
        }
        w.cluster.grow("t", 5).expect("grown");
        w.run_for(900 * MILLI);
        for n in 0..3 {
            w.app_mut(m).send(t, format!("to the new ones {n}"));
        }
        w.run_for(100 * MILLI);
        w.cluster.hand_over(2);
        send(w, m, t, &[0, 1, 2, 3, 4], "moved");
        w.run_for(500 * MILLI);
        w.kill(1);
        send(w, m, t, &[0, 1, 2, 3, 4], "killed");
        w.run_for(2 * SECOND);
        w.cluster.restart(1);
        send(w, m, t, &[0, 1, 2], "restarted");
        w.command(m, |now, client, _| client.flush(now));
        w.run_for(2 * SECOND);
        assert!(w.app(m).sent_all());
    });
}

/// What brokers refuse: for now, for good, too large, out of sequence; throttling.
#[test]
fn produce_refused() {
    play("refused", Options { brokers: 1, ..Options::default() }, |w| {
        w.cluster.create_topic("t", 1).expect("created");
        let (m, t) = join(w, &Limits::small(), |c| c.delivery_timeout = 5 * SECOND);
        send(w, m, t, &[0], "first");
        w.run_for(200 * MILLI);
        for fault in [
            Fault::Error(19),
            Fault::Error(7),
            Fault::ErrorAfter(20),
            Fault::Error(10),
            Fault::Error(45),
            Fault::Error(2),
            Fault::Error(29),
            Fault::DropResponse,
            Fault::DropRequest,
            Fault::Throttle(300),
            Fault::Delay(Duration::from_millis(1500)),
        ] {
            w.cluster.inject(1, ApiKey::Produce, fault, 1);
            for value in ["a", "b", "c"] {
                send(w, m, t, &[0], value);
            }
            w.run_for(20 * MILLI);
            send(w, m, t, &[0], "behind");
            w.run_for(1200 * MILLI);
        }
        // Refused until the time is over.
        w.cluster.inject(1, ApiKey::Produce, Fault::Error(19), 1000);
        send(w, m, t, &[0], "late");
        w.run_for(6 * SECOND);
        w.cluster.clear_faults();
        send(w, m, t, &[0], "last");
        w.run_for(6 * SECOND);
        assert!(w.app(m).sent_all());
    });
}

/// Memory for little: Full and Room, batches that close when they are full, linger.
#[test]
fn produce_with_little_memory() {
    play("little_memory", Options { brokers: 2, ..Options::default() }, |w| {
        w.cluster.create_topic("t", 4).expect("created");
        let mut limits = Limits::small();
        (limits.tx_blocks, limits.conns, limits.partitions, limits.requests) = (12, 2, 4, 2);
        let (m, t) = join(w, &limits, |c| {
            (c.batch_bytes, c.linger) = (1200, 20 * MILLI);
        });
        for n in 0..24 {
            send(w, m, t, &[n % 4], &format!("{n}").repeat(150));
        }
        w.run_for(2 * SECOND);
        w.app_mut(m).send(t, "x".repeat(3000));
        w.run_for(SECOND);
        assert!(w.app(m).sent_all());
    });
}

/// Without idempotence, with and without acknowledgements.
#[test]
fn produce_without_idempotence() {
    for (name, acks) in [("acks_one", Acks::Leader), ("acks_none", Acks::None)] {
        play(name, Options { brokers: 2, ..Options::default() }, |w| {
            w.cluster.create_topic("t", 2).expect("created");
            let (m, t) = join(w, &Limits::small(), |c| {
                (c.idempotence, c.acks) = (false, acks);
                c.linger = 4 * MILLI;
            });
            for n in 0..5 {
                send(w, m, t, &[0, 1], &format!("{n}"));
                w.run_for(2 * MILLI);
            }
            w.run_for(200 * MILLI);
            w.kill(2);
            send(w, m, t, &[0, 1], "killed");
            w.run_for(1500 * MILLI);
            send(w, m, t, &[0, 1], "moved");
            w.run_for(SECOND);
        });
    }
}

/// A topic that does not exist, then does, is recreated, and is forgotten.
#[test]
fn produce_to_a_topic_that_comes_and_goes() {
    play("topic_comes_and_goes", Options { brokers: 2, ..Options::default() }, |w| {
        let (m, t) = join(w, &Limits::small(), |_| ());
        w.run_for(3 * SECOND);
        w.cluster.create_topic("t", 2).expect("created");
        w.run_for(4 * SECOND);
        send(w, m, t, &[0, 1], "first");
        w.run_for(SECOND);
        w.cluster.delete_topic("t").expect("deleted");
        w.cluster.create_topic("t", 1).expect("created");
        send(w, m, t, &[0], "second");
        w.run_for(4 * SECOND);
        w.cluster.delete_topic("t").expect("deleted");
        w.run_for(8 * SECOND);
        w.command(m, |_, client, _| client.unwatch(t));
        w.run_for(3 * SECOND);
    });
}

/// Packed batches: in pieces, too large for the broker and split, sent again, not worth packing.
#[test]
fn produce_packed() {
    for (name, codec) in [("lz4", Codec::Lz4), ("snappy", Codec::Snappy)] {
        play(name, Options { brokers: 2, max_message_bytes: 1500, ..Options::default() }, |w| {
            w.cluster.create_topic("t", 2).expect("created");
            let mut limits = Limits::small();
            limits.pack_bytes = 700;
            let (m, t) = join(w, &limits, |c| {
                (c.compression, c.linger, c.batch_bytes) = (Some(codec), 5 * MILLI, 6000);
            });
            for n in 0..60_u32 {
                let words: String = (0..n % 23).map(|i| format!("word {} ", i * n % 7)).collect();
                send(w, m, t, &[n % 2], &format!("{n}: {words}"));
            }
            w.run_for(300 * MILLI);
            // Random letters hardly shrink.
            let mut state = 1_u32;
            let mut letter = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                char::from(b' ' + (state >> 24) as u8 % 95)
            };
            let noise: Vec<String> = (0..9).map(|_| (0..300).map(|_| letter()).collect()).collect();
            noise.iter().for_each(|value| send(w, m, t, &[0], value));
            w.run_for(300 * MILLI);
            w.cluster.inject(1, ApiKey::Produce, Fault::DropResponse, 1);
            w.cluster.inject(2, ApiKey::Produce, Fault::Error(45), 1);
            send(w, m, t, &[0, 1, 0, 1], &"again ".repeat(40));
            w.run_for(SECOND);
            assert!(w.app(m).sent_all());
        });
    }
}
