//! Consumers.

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use kavka_core::{Limits, PartitionId, Start};
use kavka_tests::sim::journal::News;
use kavka_tests::sim::{Fault, Options};

use super::{MILLI, Play, SECOND, join, play, send};

/// Returns the assigned partition.
fn assigned(w: &Play, member: usize, partition: u32) -> PartitionId {
    let of = |news: &News| match news {
        News::Assigned { at, partition: p } if p.partition == partition => Some(*at),
        _ => None,
    };
    w.app(member).news.iter().find_map(|(_, news)| of(news)).expect("assigned")
}

/// All of a topic while it grows, with positions reported; pause, hold, seek and unassign.
#[test]
fn consume_through_growth() {
    play("consume", Options { brokers: 2, ..Options::default() }, |w| {
        w.cluster.create_topic("t", 2).expect("created");
        let (writer, to) = join(w, &Limits::small(), |_| ());
        send(w, writer, to, &[0, 1, 0], "before");
        w.run_for(500 * MILLI);
        let (m, t) = join(w, &Limits::small(), |c| c.report_positions = true);
        w.command(m, |now, c, _| c.assign_all(now, t, Start::Earliest)).expect("assigned");
        w.run_for(600 * MILLI);
        send(w, writer, to, &[0, 1], "live");
        w.run_for(200 * MILLI);
        w.cluster.grow("t", 3).expect("grown");
        send(w, writer, to, &[2], "new");
        w.run_for(1500 * MILLI);
        let (zero, one) = (assigned(w, m, 0), assigned(w, m, 1));
        w.command(m, |_, c, _| c.pause(zero));
        send(w, writer, to, &[0, 1], "paused");
        w.run_for(300 * MILLI);
        w.command(m, |now, c, _| c.resume(now, zero));
        w.run_for(300 * MILLI);
        w.command(m, |now, c, _| c.seek(now, zero, Start::Offset(1))).expect("sought");
        w.command(m, |now, c, _| c.seek(now, one, Start::Latest)).expect("sought");
        w.run_for(300 * MILLI);
        w.command(m, |now, c, _| c.unassign(now, zero));
        send(w, writer, to, &[0, 1, 2], "unassigned");
        w.run_for(700 * MILLI);
        w.command(m, |_, c, _| c.unwatch(t));
        w.run_for(700 * MILLI);
    });
}

/// Leaders that move and die, retention, an unclean election, evicted sessions, errors.
#[test]
fn consume_through_trouble() {
    play("trouble", Options { unclean: true, ..Options::default() }, |w| {
        w.cluster.create_topic("t", 3).expect("created");
        let (writer, to) = join(w, &Limits::small(), |_| ());
        for n in 0..4 {
            send(w, writer, to, &[0, 1, 2], &format!("{n}"));
            w.run_for(20 * MILLI);
        }
        w.run_for(500 * MILLI);
        let (m, t) = join(w, &Limits::small(), |_| ());
        for partition in 0..3 {
            let start = [Start::Earliest, Start::Offset(2), Start::Latest][partition as usize];
            w.command(m, |now, c, _| c.assign(now, t, partition, start)).expect("assigned");
        }
        w.run_for(700 * MILLI);
        w.cluster.hand_over(2);
        send(w, writer, to, &[0, 1, 2], "moved");
        w.run_for(800 * MILLI);
        w.kill(3);
        w.run_for(1500 * MILLI);
        send(w, writer, to, &[0, 1, 2], "dead");
        w.cluster.restart(3);
        w.run_for(SECOND);
        w.cluster.evict_sessions(1);
        w.run_for(SECOND);
        for code in [1, 3, 6, 9, 29, 56, 74, 75, 76, 78, 100, 103] {
            let leader = w.cluster.leader("t", 0).expect("a leader").0;
            w.cluster.inject(leader, ApiKey::Fetch, Fault::Error(code), 1);
            send(w, writer, to, &[0], &format!("after {code}"));
            w.run_for(700 * MILLI);
        }
        for fault in [Fault::TopError(71), Fault::TopError(70), Fault::DropResponse] {
            let leader = w.cluster.leader("t", 1).expect("a leader").0;
            w.cluster.inject(leader, ApiKey::Fetch, fault, 1);
            send(w, writer, to, &[1], "after the top");
            w.run_for(700 * MILLI);
        }
        w.cluster.truncate("t", 2, 3).expect("truncated");
        w.run_for(SECOND);
        let end = w.cluster.log_len("t", 1);
        send(w, writer, to, &[1, 2], "again");
        w.run_for(SECOND);
        w.cluster.trim("t", 1, end).expect("trimmed");
        w.run_for(SECOND);
    });
}

/// Followers in the reader's rack (KIP-392).
#[test]
fn consume_from_followers() {
    let options = Options { racks: 3, rack_aware: true, ..Options::default() };
    play("racks", options, |w| {
        w.cluster.create_topic("t", 3).expect("created");
        let (writer, to) = join(w, &Limits::small(), |_| ());
        send(w, writer, to, &[0, 1, 2], "before");
        w.run_for(500 * MILLI);
        let (m, t) = join(w, &Limits::small(), |c| {
            (c.rack, c.metadata_max_age) = ("rack-2", 5 * SECOND);
        });
        w.command(m, |now, c, _| c.assign_all(now, t, Start::Earliest)).expect("assigned");
        w.run_for(2 * SECOND);
        send(w, writer, to, &[0, 1, 2], "live");
        w.run_for(4500 * MILLI);
        w.kill(2);
        send(w, writer, to, &[0, 1, 2], "killed");
        w.run_for(2 * SECOND);
        w.cluster.restart(2);
        w.run_for(3 * SECOND);
    });
}

/// A batch that is damaged, one that is too large, and one connection for everything.
#[test]
fn consume_what_cannot_be_read() {
    play("unreadable", Options { brokers: 1, ..Options::default() }, |w| {
        w.cluster.create_topic("t", 3).expect("created");
        let (writer, to) = join(w, &Limits::small(), |_| ());
        w.app_mut(writer).send_to(to, 0, "x".repeat(5000));
        send(w, writer, to, &[0, 1, 1, 2], "small");
        w.run_for(500 * MILLI);
        let mut damaged = w.cluster.batches("t", 1)[0].to_vec();
        *damaged.last_mut().expect("bytes") ^= 1;
        w.cluster.append_batch("t", 1, &Bytes::from(damaged)).expect("appended");
        let mut limits = Limits::small();
        (limits.conns, limits.rx_bytes, limits.tx_blocks) = (1, 4096, 8);
        let (m, t) = join(w, &limits, |c| {
            (c.fetch_max_bytes, c.partition_max_bytes) = (4096, 2048);
        });
        w.command(m, |now, c, _| c.assign_all(now, t, Start::Earliest)).expect("assigned");
        w.run_for(2 * SECOND);
        let zero = assigned(w, m, 0);
        w.command(m, |now, c, _| c.seek(now, zero, Start::Offset(1))).expect("sought");
        send(w, writer, to, &[0, 1, 2], "more");
        w.run_for(2 * SECOND);
    });
}
