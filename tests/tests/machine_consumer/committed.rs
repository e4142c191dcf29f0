//! Records of aborted transactions are left out, and the position moves over them.

use bytes::Bytes;
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::{ApiKey, FetchRequest, ListOffsetsRequest};
use kavka_core::codec::Codecs;
use kavka_core::{
    Config, Error, Event, Isolation, LimitKind, Limits, PartitionId, Start, Unreadable,
};
use kavka_tests::script::fetch::{Batch, aborted, records};
use kavka_tests::script::steps::{batch, events, reading_with, values};
use kavka_tests::script::{Script, World};
use kavka_tests::sim::batch as stored;

/// Records of a producer's transaction.
fn data(base: i64, producer: i64, values: &[&str]) -> Bytes {
    Batch { attributes: 0x10, producer: (producer, 0), ..Batch::new(base, values) }.bytes()
}

/// A marker; its epoch is one above that of the records, as KIP-890 has it.
fn marker(base: i64, producer: i64, commit: bool) -> Bytes {
    stored::stamp(&stored::marker((producer, 1), commit, 1_000), base, 0)
}

fn abort(base: i64, producer: i64) -> Bytes {
    marker(base, producer, false)
}

fn commit(base: i64, producer: i64) -> Bytes {
    marker(base, producer, true)
}

fn committed(config: Config<'static>) -> Config<'static> {
    config.isolation(Isolation::ReadCommitted)
}

fn reading() -> (Script, PartitionId) {
    let (s, parts) = reading_with(World::new(1).topic("t", 1), committed);
    (s, parts[0])
}

/// Gives a reader of one partition these batches. Returns the next fetch, and the offsets read.
fn read(s: &mut Script, part: PartitionData) -> (Option<i64>, Vec<i64>) {
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 0, vec![part]);
    let next = s.take::<FetchRequest>();
    let next = next.map(|requested| s.wanted(&requested)[0].2);
    (next, values(s).into_iter().map(|(offset, _)| offset).collect())
}

type Case<'a> = (&'a str, Vec<Bytes>, &'a [(i64, i64)], i64, &'a [i64]);

/// What is listed, and what is read of which batches.
fn cases() -> Vec<Case<'static>> {
    let two = || vec![data(0, 1, &["a", "b"]), data(2, 2, &["c"]), abort(3, 1), commit(4, 2)];
    let again = |end: Bytes| [two(), vec![data(5, 1, &["d"]), end]].concat();
    let empty = Batch { attributes: 0x30, producer: (1, 0), last_delta: 0, ..Batch::new(3, &[]) };
    let early = vec![data(0, 1, &["a"]), empty.bytes(), data(4, 1, &["b"]), abort(5, 1)];
    let mixed = vec![data(0, 1, &["a"]), batch(1, &["b"]), abort(2, 1), batch(3, &["c"])];
    let own = Batch { producer: (1, 0), ..Batch::new(0, &["a"]) }.bytes();
    let twice =
        vec![data(0, 1, &["a"]), abort(1, 1), abort(2, 1), data(3, 1, &["b"]), commit(4, 1)];
    let without = vec![abort(0, 1), data(1, 1, &["a"]), commit(2, 1), data(3, 2, &["b"])];
    let commits = vec![data(0, 1, &["a"]), commit(1, 1), data(2, 1, &["b"]), abort(3, 1)];
    let cut = vec![data(1, 1, &["b"]), abort(2, 1), data(3, 2, &["c"]), abort(4, 2)];
    vec![
        ("one of two", two(), &[(1, 0)], 5, &[2]),
        ("both, by their ends", two(), &[(2, 2), (1, 0)], 5, &[]),
        ("one that commits later", again(commit(6, 1)), &[(1, 0)], 7, &[2, 5]),
        ("two of a producer", again(abort(6, 1)), &[(1, 5), (1, 0)], 7, &[2]),
        ("entries that are repeated", again(commit(6, 1)), &[(1, 0), (1, 0)], 7, &[2, 5]),
        ("entries without data", two(), &[(9, 1), (1, 0), (8, 0), (7, 100)], 5, &[2]),
        ("an empty marker is no abort", early, &[(1, 0)], 6, &[]),
        ("records in no transaction", mixed, &[(1, 0)], 4, &[1, 3]),
        ("an idempotent producer's", vec![own], &[(1, 0)], 1, &[0]),
        ("a marker twice", twice, &[(1, 0)], 5, &[3]),
        ("a marker without data", without, &[], 4, &[1, 3]),
        ("a commit ends nothing that is aborted", commits, &[(1, 0)], 4, &[]),
        ("one that began before", cut, &[(2, 3), (1, 0)], 5, &[]),
        ("records that are committed", vec![data(0, 1, &["a"]), commit(1, 1)], &[], 2, &[0]),
    ]
}

/// Java: `testReadCommittedWithCommittedAndAbortedTransactions`, `testMultipleAbortMarkers`,
/// `testReadCommittedAbortMarkerWithNoData`; scenario X9.
#[test]
fn x9_aborted_records_are_not_given_and_the_position_moves_over_them() {
    for (what, batches, list, end, offsets) in cases() {
        for piece in [usize::MAX, 7] {
            let (mut s, at) = reading();
            s.piece = piece;
            let part = aborted(records(0, &batches), list);
            let got = read(&mut s, part);
            assert_eq!(got, (Some(end), offsets.to_vec()), "{what}, in pieces of {piece}");
            assert_eq!(s.client.position(at), Some(end), "{what}");
        }
    }
}

/// A list that is null is empty; without read_committed it means nothing, whoever sends one.
#[test]
fn who_reads_all_is_given_what_was_aborted() {
    let batches = [data(0, 1, &["a"]), abort(1, 1)];
    let (mut s, _) = reading();
    assert_eq!(read(&mut s, records(0, &batches)), (Some(2), vec![0]), "a null list");
    let (mut s, _) = reading_with(World::new(1).topic("t", 1), |config| config);
    let part = aborted(records(0, &batches), &[(1, 0)]);
    assert_eq!(read(&mut s, part), (Some(2), vec![0]));
}

#[test]
fn requests_name_the_isolation() {
    for isolation in [Isolation::ReadUncommitted, Isolation::ReadCommitted] {
        let (mut s, parts) = reading_with(World::new(1).topic("t", 1), |c| c.isolation(isolation));
        assert_eq!(s.expect::<FetchRequest>().body.isolation_level, isolation as i8);
        s.manual(ApiKey::ListOffsets);
        let now = s.now();
        s.client.seek(now, parts[0], Start::Latest).unwrap();
        s.cut_all(1);
        let requested = s.expect::<ListOffsetsRequest>();
        assert_eq!(requested.body.isolation_level, isolation as i8);
    }
}

/// Positions in events and the end of a partition are those below the last stable offset: a
/// transaction is open there.
#[test]
fn the_end_is_the_last_stable_offset() {
    let (mut s, parts) = reading_with(World::new(1).topic("t", 1), |config| {
        committed(config).report_positions(true)
    });
    let give = |s: &mut Script, (stable, high), batches: &[Bytes]| {
        let requested = s.expect::<FetchRequest>();
        let part = records(0, batches).with_high_watermark(high).with_last_stable_offset(stable);
        s.give(&requested, 0, vec![aborted(part, &[(1, 0)])]);
        s.take_reported(|reported| match reported.event()? {
            Event::EndOfPartition { offset, .. } => Some(offset),
            _ => None,
        })
    };
    let hidden = [data(0, 1, &["a"]), abort(1, 1)];
    assert_eq!(give(&mut s, (2, 9), &hidden), [2], "though nothing was given");
    assert_eq!(s.client.position(parts[0]), Some(2));
    assert_eq!(give(&mut s, (2, 9), &[]), [0_i64; 0], "nothing is missed");
    assert_eq!(give(&mut s, (4, 9), &[batch(2, &["b"])]), [0_i64; 0]);
    assert_eq!(give(&mut s, (4, 4), &[batch(3, &["c"])]), [4]);
    let failed = |event: &Event<'_>| matches!(event, Event::PartitionFailed { .. });
    assert!(!events(&mut s).iter().any(failed));
}

/// A session may return what was read already: the marker there counts, too.
#[test]
fn a_marker_before_the_position_ends_what_is_aborted() {
    for piece in [usize::MAX, 7] {
        let (mut s, at) = reading();
        s.piece = piece;
        s.expect::<FetchRequest>();
        let now = s.now();
        s.client.seek(now, at, Start::Offset(2)).unwrap();
        s.cut_all(1);
        let batches = [data(0, 1, &["a"]), abort(1, 1), data(2, 1, &["b"]), commit(3, 1)];
        let part = aborted(records(0, &batches), &[(1, 0)]);
        assert_eq!(read(&mut s, part), (Some(4), vec![2]), "in pieces of {piece}");
    }
}

/// Nothing of a hidden batch is read but its header and checksum.
#[test]
fn a_hidden_batch_needs_no_decoder() {
    let (mut s, _) = reading_with(World::new(1).topic("t", 1), |mut config| {
        config.codecs = Codecs::NONE;
        committed(config)
    });
    let packed = Batch { attributes: 0x14, producer: (1, 0), ..Batch::new(0, &["a"]) };
    let none = Batch { attributes: 0x10, producer: (1, 0), count: 0, ..Batch::new(1, &["b"]) };
    let batches = [packed.bytes(), none.bytes(), abort(2, 1), batch(3, &["c"])];
    let part = aborted(records(0, &batches), &[(1, 0)]);
    assert_eq!(read(&mut s, part), (Some(4), vec![3]));
    assert!(events(&mut s).iter().all(|event| !matches!(event, Event::Moved { .. })));
}

/// A marker that cannot be read might end what is aborted, or not.
#[test]
fn a_marker_that_makes_no_sense_is_reported() {
    let short = stored::write(0x30, (1, 0, -1), 0, &[(Some(&[0, 0]), None)]);
    let (mut s, at) = reading();
    let batches = [data(0, 1, &["a"]), stored::stamp(&short, 1, 0), batch(2, &["b"])];
    let part = aborted(records(0, &batches), &[(1, 0)]);
    assert_eq!(read(&mut s, part), (None, vec![]));
    let last = events(&mut s).pop();
    let why = Unreadable::Malformed(kavka_core::record::Malformed::ControlKey);
    let wanted = Event::Corrupt { at, offset: 1, next_offset: 2, why };
    assert_eq!(format!("{last:?}"), format!("{:?}", Some(wanted)));
    // One of another producer does not matter.
    let (mut s, _) = reading();
    let part = aborted(records(0, &batches), &[(2, 0)]);
    assert_eq!(read(&mut s, part), (Some(3), vec![0, 2]));
}

/// A reader with memory for so many aborted transactions.
fn reading_few(most: usize) -> (Script, PartitionId) {
    let world = World::new(1).topic("t", 1);
    let config = committed(Config::new(world.bootstrap()));
    let mut limits = Limits::small();
    limits.aborted = most;
    let mut s = Script::with(world, config, &limits);
    let t = s.ready("t");
    let now = s.now();
    let at = s.client.assign(now, t, 0, Start::Offset(0)).unwrap();
    (s, at)
}

/// A log of transactions, every third one committed: batches, and the aborted ones with first and
/// last offset. Of `wide` at a time each has its records before the first of them ends.
fn log(count: i64, wide: i64) -> (Vec<Bytes>, Vec<(i64, i64, i64)>) {
    let (mut batches, mut list, mut next) = (Vec::new(), Vec::new(), 0);
    for group in (0..count).step_by(wide as usize) {
        let producers = group..(group + wide).min(count);
        let first = next;
        for producer in producers.clone() {
            batches.push(data(next, producer, &["x"]));
            next += 1;
        }
        // The last one ends first.
        for producer in producers.rev() {
            batches.push(marker(next, producer, producer % 3 == 0));
            if producer % 3 != 0 {
                list.push((producer, first + producer - group, next));
            }
            next += 1;
        }
    }
    (batches, list)
}

/// Lets a broker respond from such a log until all is read; returns the offsets, and how often it
/// was asked.
fn read_log(s: &mut Script, batches: &[Bytes], list: &[(i64, i64, i64)]) -> (Vec<i64>, usize) {
    let (mut got, mut fetches) = (Vec::new(), 0);
    let mut next = Some(s.expect::<FetchRequest>());
    while let Some(requested) = next {
        let from = s.wanted(&requested)[0].2;
        let bytes = batches.iter().filter(|bytes| {
            let header = stored::Header::read(bytes).unwrap();
            header.base_offset + i64::from(header.last_offset_delta) >= from
        });
        let bytes: Vec<_> = bytes.cloned().collect();
        if bytes.is_empty() {
            break;
        }
        let around = list.iter().filter(|(_, _, last)| *last >= from);
        let around: Vec<_> = around.map(|(producer, first, _)| (*producer, *first)).collect();
        s.give(&requested, 0, vec![aborted(records(0, &bytes), &around)]);
        got.extend(values(s).into_iter().map(|(offset, _)| offset));
        fetches += 1;
        next = s.take::<FetchRequest>();
    }
    (got, fetches)
}

#[test]
fn what_exceeds_the_memory_for_aborted_transactions_is_read_in_parts() {
    let (batches, list) = log(60, 4);
    let wanted: Vec<i64> = {
        let (mut s, _) = reading_few(100);
        let (got, fetches) = read_log(&mut s, &batches, &list);
        assert_eq!(fetches, 1);
        got
    };
    assert_eq!(wanted.len(), 20);
    for most in [3, 4, 5, 7, 16, 39] {
        let (mut s, at) = reading_few(most);
        let (got, fetches) = read_log(&mut s, &batches, &list);
        assert_eq!(got, wanted, "with {most}");
        assert!(fetches > 1, "with {most}");
        assert_eq!(s.client.position(at), Some(120), "with {most}");
    }
}

/// More than there is memory for were aborted around one offset: that is an error of its own, and
/// others are read on.
#[test]
fn more_aborted_transactions_around_an_offset_than_there_is_memory_for_are_reported() {
    let (batches, list) = log(12, 12);
    let (mut s, at) = reading_few(4);
    let (got, fetches) = read_log(&mut s, &batches, &list);
    // 0 and 3 are committed; 1, 2, 4 and 5 are known to be aborted.
    assert_eq!((got, fetches), (vec![0, 3, 6], 2));
    assert_eq!(s.client.position(at), Some(7));
    let limits = s.take_reported(|reported| match reported.event()? {
        Event::PartitionFailed { at, error } => Some((at, error)),
        _ => None,
    });
    let error = Error::Limit { what: LimitKind::Aborted, needed: 8 };
    assert_eq!(limits, [(at, error)]);
    s.none::<FetchRequest>("the partition waits for a seek");
    let now = s.now();
    s.client.seek(now, at, Start::Offset(24)).unwrap();
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 0, vec![records(0, &[batch(24, &["z"])])]);
    assert_eq!(values(&mut s), [(24, "z".into())]);
}
