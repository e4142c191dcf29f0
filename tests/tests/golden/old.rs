//! Older brokers.

use kavka_core::{Limits, Start};
use kavka_tests::sim::{Options, Profile};

use super::{MILLI, SECOND, join, play, send};

/// The same on each release: start, growth, a leader that moves, a truncation.
#[test]
fn releases() {
    for (name, profile) in [
        ("kafka_1_1", Profile::V1_1),
        ("kafka_2_4", Profile::V2_4),
        ("kafka_2_8", Profile::V2_8),
        ("kafka_3_9", Profile::V3_9),
    ] {
        play(name, Options { brokers: 2, profile, ..Options::default() }, |w| {
            w.cluster.create_topic("t", 2).expect("created");
            let (m, t) = join(w, &Limits::small(), |_| ());
            w.command(m, |now, c, _| c.assign_all(now, t, Start::Earliest)).expect("assigned");
            send(w, m, t, &[0, 1], "start");
            w.run_for(SECOND);
            w.cluster.grow("t", 3).expect("grown");
            w.run_for(1500 * MILLI);
            send(w, m, t, &[0, 1, 2], "grown");
            w.run_for(300 * MILLI);
            w.cluster.hand_over(2);
            send(w, m, t, &[0, 1, 2], "moved");
            w.run_for(SECOND);
            w.cluster.truncate("t", 0, 1).expect("truncated");
            w.run_for(SECOND);
        });
    }
}
