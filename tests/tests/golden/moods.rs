//! Applications that are away, full, or hold what they get; compressed records; deadlines of
//! records; records that brokers blame.

use kavka_core::codec::{Codec, Codecs};
use kavka_core::record::{Packed, pack, packed_len};
use kavka_core::wire::SliceSink;
use kavka_core::{Duration, Limits, Record, Start, TopicId};
use kavka_tests::sim::Options;
use kavka_tests::sim::journal::{News, ToSend};

use super::{MILLI, Play, SECOND, join, play, send};

/// Five brokers and eight connections, so one to each for everything.
#[test]
fn an_application_that_is_full_and_one_that_is_away() {
    play("full_and_away", Options { brokers: 5, replication: 1, ..Options::default() }, |w| {
        w.cluster.create_topic("t", 5).expect("created");
        let (m, t) = join(w, &Limits::small(), |_| ());
        w.command(m, |now, c, _| c.assign_all(now, t, Start::Earliest)).expect("assigned");
        send(w, m, t, &[0, 1, 2, 3, 4], "start");
        w.run_for(500 * MILLI);
        w.app_mut(m).full_until = w.now() + 3 * SECOND;
        send(w, m, t, &[0, 1], "full");
        w.run_for(300 * MILLI);
        send(w, m, t, &[1, 2], "full, later");
        w.cluster.grow("t", 6).expect("grown");
        w.run_for(4 * SECOND);
        w.app_mut(m).busy_until = w.now() + 15 * SECOND;
        send(w, m, t, &[0, 1, 2, 3, 4], "away");
        w.run_for(17 * SECOND);
    });
}

/// Partitions that are held, one by one and all of them.
#[test]
fn an_application_that_holds() {
    play("holds", Options { brokers: 2, ..Options::default() }, |w| {
        w.cluster.create_topic("t", 3).expect("created");
        let (writer, to) = join(w, &Limits::small(), |_| ());
        let (m, t) = join(w, &Limits::small(), |_| ());
        w.command(m, |now, c, _| c.assign_all(now, t, Start::Earliest)).expect("assigned");
        send(w, writer, to, &[0, 1, 2], "start");
        w.run_for(500 * MILLI);
        for n in 0..3 {
            w.app_mut(m).holds = true;
            send(w, writer, to, &[n, (n + 1) % 3], "held");
            w.run_for(300 * MILLI);
            w.app_mut(m).holds = false;
            send(w, writer, to, &[2], "others");
            w.run_for(40 * MILLI);
            let of = |news: &News| match news {
                News::Assigned { at, .. } => Some(*at),
                _ => None,
            };
            let all: Vec<_> = w.app(m).news.iter().filter_map(|(_, news)| of(news)).collect();
            all.into_iter().for_each(|at| w.command(m, |now, c, _| c.resume(now, at)));
            w.run_for(300 * MILLI);
        }
    });
}

/// Compressed records, for a reader that cannot unpack them and for one that says it can.
#[test]
fn compressed_records() {
    for (name, codecs) in [("packed_unread", Codecs::NONE), ("packed_read", Codecs::COMPACT)] {
        play(name, Options { brokers: 1, ..Options::default() }, |w| {
            w.cluster.create_topic("t", 2).expect("created");
            w.cluster.set_compression("t", Some(3)).expect("set");
            let (writer, to) = join(w, &Limits::small(), |_| ());
            send(w, writer, to, &[0, 0, 1], &"packed ".repeat(30));
            w.run_for(300 * MILLI);
            let (m, t) = join(w, &Limits::small(), |c| c.codecs = codecs);
            w.command(m, |now, c, _| c.assign_all(now, t, Start::Earliest)).expect("assigned");
            w.run_for(700 * MILLI);
            w.cluster.set_compression("t", None).expect("set");
            send(w, writer, to, &[0, 1], "plain");
            w.run_for(700 * MILLI);
        });
    }
}

fn send_within(w: &mut Play, m: usize, t: TopicId, value: &str, time: Duration) {
    let record = Record::new(value.as_bytes());
    let mut bytes = vec![0; packed_len(&record)];
    pack(&mut SliceSink::new(&mut bytes), &record).expect("it fits");
    let taken = w.command(m, |now, c, journal| {
        let taken = c.produce_packed_until(now, (t, 0), &Packed::new(&bytes, None), now + time);
        if let Ok(id) = taken {
            journal.under_way.insert(id, value.into());
        }
        taken
    });
    w.trace.say(w.now(), format_args!("{value}: {taken:?}"));
}

/// Records with deadlines of their own, while their broker is there and while it is gone.
#[test]
fn deadlines_of_records() {
    play("deadlines", Options { brokers: 1, ..Options::default() }, |w| {
        w.cluster.create_topic("t", 1).expect("created");
        let (m, t) = join(w, &Limits::small(), |c| c.linger = 30 * MILLI);
        send(w, m, t, &[0], "first");
        w.run_for(500 * MILLI);
        for _ in 0..2 {
            for millis in [0, 1, 5, 500, 505, 520, 3000] {
                send_within(w, m, t, &format!("{millis} ms"), Duration::from_millis(millis));
            }
            send(w, m, t, &[0], "none of its own");
            w.run_for(4 * SECOND);
            w.kill(1);
        }
        w.cluster.restart(1);
        w.run_for(3 * SECOND);
    });
}

/// A compacted topic: records without a key are named, the others sent again (KIP-467).
#[test]
fn records_that_are_to_blame() {
    for (name, codec) in [("blamed", None), ("blamed_packed", Some(Codec::Lz4))] {
        let options = Options { brokers: 1, needs_keys: true, ..Options::default() };
        play(name, options, |w| {
            w.cluster.create_topic("t", 1).expect("created");
            let mut limits = Limits::small();
            limits.pack_bytes = 1000;
            let (m, t) = join(w, &limits, |c| {
                (c.linger, c.compression) = (20 * MILLI, codec);
            });
            for n in 0..24_u8 {
                let key = (n % 7 != 3 && n != 12).then(|| vec![b'k', n]);
                let value = format!("{n} ").repeat(20).into_bytes();
                let partition = Some(0);
                w.app_mut(m).to_send.push_back(ToSend { topic: t, partition, key, value });
                if n % 8 == 7 {
                    w.run_for(200 * MILLI);
                }
            }
            w.run_for(2 * SECOND);
            assert!(w.app(m).sent_all());
        });
    }
}
