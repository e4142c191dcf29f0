use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::FetchRequest;
use kavka_core::codec::{Codec, Codecs, Compact, Fault, UnpackError};
use kavka_core::{
    Commands, Config, Duration, Event, MoveReason, PartitionId, Resources, Start, Unreadable,
};
use kavka_tests::packed;
use kavka_tests::script::fetch::{Batch, records, refused};
use kavka_tests::script::steps::{after, batch, reading, reading_with, values};
use kavka_tests::script::{Script, World};

#[test]
fn a_cut_last_batch_is_fetched_again() {
    let whole = batch(1, &["b"]);
    let (next, got, _) = after(&[batch(0, &["a"]), whole.slice(..whole.len() - 3)]);
    assert_eq!((next, got), (Some(1), vec![(0, "a".into())]));
}

/// The checksum is verified for every entry, and for every batch of it.
#[test]
fn the_first_batch_of_each_partition_is_checked() {
    let (mut s, parts) = reading(1, 3);
    let good = |base, value| batch(base, &[value]);
    let bad = |base, value| {
        let mut bytes = good(base, value).to_vec();
        *bytes.last_mut().unwrap() ^= 1;
        bytes.into()
    };
    let requested = s.expect::<FetchRequest>();
    let entries = vec![
        records(0, &[bad(0, "a"), good(1, "b")]),
        records(1, &[good(0, "c")]),
        records(2, &[bad(0, "d")]),
    ];
    s.give(&requested, 0, entries);
    assert_eq!(s.records(), [(1, 0, "c".into())]);
    assert_eq!(corrupt(&mut s), [(parts[0], 0, 1), (parts[2], 0, 1)]);
    // The next response begins with a bad batch, where the last ended with a good one.
    let requested = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&requested), [("t".into(), 1, 1)]);
    s.give(&requested, 0, vec![records(1, &[bad(1, "e"), good(2, "f")])]);
    assert_eq!(s.records(), []);
    assert_eq!(corrupt(&mut s), [(parts[1], 1, 2)]);
    s.none::<FetchRequest>("all three wait for a seek");
}

/// Takes the batches reported as unreadable: partition, offset, and where reading would continue.
fn corrupt(s: &mut Script) -> Vec<(PartitionId, i64, i64)> {
    s.take_reported(|reported| match reported.event()? {
        Event::Corrupt { at, offset, next_offset, why: Unreadable::Malformed(_) } => {
            Some((at, offset, next_offset))
        }
        _ => None,
    })
}

/// Three records with damage under a right checksum, and how many can be read before it. A record
/// takes 8 bytes.
fn damaged() -> Vec<(&'static str, Bytes, i64)> {
    let change = |at: usize, byte: u8| {
        let mut bytes = batch(0, &["a", "b", "c"]).to_vec();
        bytes[at] = byte;
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        Bytes::from(bytes)
    };
    vec![
        ("the length of the third", change(61 + 16, 0x7e), 2),
        ("its key's length", change(61 + 20, 0x7e), 2),
        ("its offset", change(61 + 19, 0x7e), 2),
        ("the length of the second", change(61 + 8, 0), 1),
        ("the length of the first", change(61, 0x7f), 0),
        ("more records than there are", change(60, 4), 3),
        ("fewer records than there are", change(60, 2), 2),
    ]
}

/// The checksum is right, and the records inside are not.
#[test]
fn damage_inside_a_batch_parks_its_partition_there() {
    for (what, bad, good) in damaged() {
        let (mut s, parts) = reading(1, 2);
        let requested = s.expect::<FetchRequest>();
        let after = batch(3, &["d"]);
        let entries =
            vec![records(0, &[bad.clone(), after.clone()]), records(1, &[batch(0, &["e"])])];
        s.give(&requested, 0, entries);
        let mut got = s.records();
        assert_eq!(got.pop(), Some((1, 0, "e".into())), "{what}: the other partition");
        let offsets: Vec<_> = got.iter().map(|(_, offset, _)| *offset).collect();
        assert_eq!(offsets, (0..good).collect::<Vec<_>>(), "{what}");
        assert_eq!(corrupt(&mut s), [(parts[0], good, 3)], "{what}");
        assert_eq!(s.client.position(parts[0]), Some(good), "{what}");
        let requested = s.expect::<FetchRequest>();
        assert_eq!(s.wanted(&requested), [("t".into(), 1, 1)], "{what}: the other one is read on");
        s.give(&requested, 0, vec![]);
        let now = s.now();
        s.client.seek(now, parts[0], Start::Offset(3)).unwrap();
        s.until("it is fetched", |s| {
            s.take::<FetchRequest>().is_some_and(|requested| {
                let wants = s.wanted(&requested).contains(&("t".into(), 0, 3));
                s.give(
                    &requested,
                    0,
                    if wants { vec![records(0, std::slice::from_ref(&after))] } else { vec![] },
                );
                wants
            })
        });
        assert_eq!(s.records(), [(0, 3, "d".into())], "{what}");
    }
}

/// A count of 0 is a batch without records, whatever bytes follow (Java's `DefaultRecordBatch`
/// returns an empty iterator): the position moves over it, nothing is parked, and what is skipped
/// is reported. A batch of a header alone, as compaction leaves it, is not.
#[test]
fn a_count_of_0_with_records_behind_it_is_an_empty_batch() {
    let hollow = |base| Batch { count: 0, ..Batch::new(base, &["x", "y"]) }.bytes();
    let empty = Batch { last_delta: 1, ..Batch::new(0, &[]) }.bytes();
    type Case<'a> = (&'a [Bytes], i64, &'a [i64], &'a [i64]);
    let cases: [Case<'_>; 4] = [
        (&[hollow(0)], 2, &[], &[0]),
        (&[hollow(0), batch(2, &["c"])], 3, &[2], &[0]),
        (&[batch(0, &["a"]), hollow(1), batch(3, &["d"]), hollow(4)], 6, &[0, 3], &[1, 4]),
        (&[empty, batch(2, &["c"])], 3, &[2], &[]),
    ];
    for (n, (bytes, want, offsets, skipped)) in cases.into_iter().enumerate() {
        let (next, got, reported) = after(bytes);
        let got: Vec<_> = got.into_iter().map(|(offset, _)| offset).collect();
        assert_eq!((next, got.as_slice()), (Some(want), offsets), "case {n}");
        let parked = |event: &Event<'_>| matches!(event, Event::Corrupt { .. });
        assert!(!reported.iter().any(parked), "case {n}: {reported:?}");
        assert_eq!(skips(&reported), skipped, "case {n}");
    }
}

/// From where on records were skipped.
fn skips(reported: &[Event<'_>]) -> Vec<i64> {
    let skip = |event: &Event<'_>| match event {
        Event::Moved { from, why: MoveReason::Skipped, .. } => Some(*from),
        _ => None,
    };
    reported.iter().filter_map(skip).collect()
}

/// Java's consumer continues where a batch claims to end, and so does this one: what the batch
/// hides is reported.
#[test]
fn records_that_a_batch_before_them_claims_are_reported() {
    let overstated = |last_delta| Batch { last_delta, ..Batch::new(0, &["a", "b"]) }.bytes();
    for (what, bytes, want, skipped) in [
        ("compacted", vec![overstated(3), batch(4, &["e"])], 5, vec![]),
        ("hides one", vec![overstated(3), batch(2, &["c", "d"]), batch(4, &["e"])], 5, vec![2]),
        ("hides the last", vec![overstated(3), batch(2, &["c", "d"])], 4, vec![2]),
    ] {
        let (next, _, reported) = after(&bytes);
        assert_eq!((next, skips(&reported)), (Some(want), skipped), "{what}: {reported:?}");
    }
    // Those before the position, as a broker returns them, are none.
    let (mut s, parts) = reading(1, 1);
    s.expect::<FetchRequest>();
    let now = s.now();
    s.client.seek(now, parts[0], Start::Offset(2)).unwrap();
    s.cut_all(1);
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 0, vec![records(0, &[batch(0, &["a", "b"]), batch(2, &["c"])])]);
    let moved = s.take_reported(|reported| match reported.event()? {
        Event::Moved { why: MoveReason::Skipped, from, .. } => Some(from),
        _ => None,
    });
    assert!(moved.is_empty(), "{moved:?}");
}

/// A position in the middle of a batch, behind or before the damage.
#[test]
fn damage_is_reported_at_the_first_record_that_was_not_read() {
    for (start, read, parked) in [(0, vec![0], 1), (1, vec![], 1), (2, vec![], 2)] {
        let (mut s, parts) = reading(1, 1);
        let (_, bad, _) = damaged().swap_remove(3);
        s.expect::<FetchRequest>();
        let now = s.now();
        s.client.seek(now, parts[0], Start::Offset(start)).unwrap();
        s.cut_all(1);
        let requested = s.expect::<FetchRequest>();
        s.give(&requested, 0, vec![records(0, &[bad])]);
        let got: Vec<_> = s.records().iter().map(|(_, offset, _)| *offset).collect();
        assert_eq!(got, read, "from {start}");
        assert_eq!(corrupt(&mut s), [(parts[0], parked, 3)], "from {start}");
    }
}

/// An application that holds a damaged batch gets it, and the report, again.
#[test]
fn a_damaged_batch_that_is_held_is_reported_when_it_is_read() {
    let (mut s, parts) = reading(1, 1);
    let (_, bad, _) = damaged().swap_remove(0);
    let requested = s.expect::<FetchRequest>();
    s.hook = Some(Box::new(|event, commands| {
        if let Event::Records(batch) = event {
            commands.hold(batch.partition(), batch.position());
        }
    }));
    s.give(&requested, 0, vec![records(0, std::slice::from_ref(&bad))]);
    s.records();
    assert_eq!(corrupt(&mut s), []);
    s.hook = None;
    let now = s.now();
    s.client.resume(now, parts[0]);
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 0, vec![records(0, &[bad])]);
    assert_eq!(s.records().len(), 2);
    assert_eq!(corrupt(&mut s), [(parts[0], 2, 3)]);
}

/// A batch that did not fit is read in larger buffers, from where the position is.
#[test]
fn a_batch_that_did_not_fit_is_read_after_the_buffers_grew() {
    let (mut s, parts) = reading(1, 2);
    let big = "x".repeat(100_000);
    let requested = s.expect::<FetchRequest>();
    let large = batch(1, &[&big]);
    s.give(&requested, 0, vec![records(0, &[batch(0, &["a"]), large.clone()])]);
    let too_large = |s: &mut Script| {
        s.take_reported(|reported| match reported.event()? {
            Event::TooLarge { at, offset, needed, .. } => Some((at, offset, needed)),
            _ => None,
        })
    };
    assert_eq!(s.records(), [(0, 0, "a".into())]);
    assert_eq!(too_large(&mut s), [(parts[0], 1, large.len())]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&requested), [("t".into(), 1, 0)], "the other one waits");
    s.give(&requested, 0, vec![records(1, &[batch(0, &["b"])])]);
    let now = s.now();
    s.client.grow_receive_buffers(large.len()).unwrap();
    s.client.retry(now, parts[0]);
    let requested = s.expect::<FetchRequest>();
    let requested = if s.wanted(&requested).iter().any(|(_, index, _)| *index == 0) {
        requested
    } else {
        s.give(&requested, 0, vec![]);
        s.expect::<FetchRequest>()
    };
    assert!(s.wanted(&requested).contains(&("t".into(), 0, 1)));
    let entries = requested.body.topics.iter().flat_map(|topic| &topic.partitions);
    let epochs = entries.filter(|entry| entry.partition == 0).map(|entry| entry.last_fetched_epoch);
    assert_eq!(epochs.collect::<Vec<_>>(), [0], "truncation is still noticed");
    s.give(&requested, 0, vec![records(0, &[large])]);
    let got: Vec<_> = values(&mut s).into_iter().map(|(at, value)| (at, value.len())).collect();
    assert_eq!(got, [(0, 1), (1, big.len())], "of both partitions");
    assert_eq!(s.client.position(parts[0]), Some(2));
    // A partition that waits for nothing is left alone, and buffers never shrink.
    s.client.retry(now, parts[1]);
    s.client.grow_receive_buffers(1).unwrap();
    assert_eq!(s.client.position(parts[1]), Some(1));
    assert!(s.client.grow_receive_buffers(usize::MAX).is_err());
}

/// What has arrived and was not read is still there.
#[test]
fn buffers_grow_in_the_middle_of_responses() {
    for piece in [1000, usize::MAX] {
        let (mut s, _) = reading(1, 2);
        let big = "x".repeat(100_000);
        let requested = s.expect::<FetchRequest>();
        (s.listening, s.piece) = (false, piece);
        let whole = vec![records(0, &[batch(0, &["a", "b"])]), records(1, &[batch(0, &[&big])])];
        s.give(&requested, 0, whole);
        for bytes in [70_000, 200_000] {
            s.client.grow_receive_buffers(bytes).unwrap();
            s.settle();
        }
        s.listening = true;
        s.settle();
        let got: Vec<_> = values(&mut s).into_iter().map(|(at, value)| (at, value.len())).collect();
        assert_eq!(got, [(0, 1), (1, 1), (0, big.len())], "in pieces of {piece}");
    }
}

/// `has_event` returns true for records that are there, and false where there are none.
#[test]
fn there_is_an_event_while_there_are_records_for_the_application() {
    let control = Batch { attributes: 0x20, ..Batch::new(0, &["commit"]) };
    for (behind, more) in [(batch(0, &["b"]), true), (control.bytes(), false)] {
        let (mut s, _) = reading(1, 2);
        let requested = s.expect::<FetchRequest>();
        (s.listening, s.watching) = (false, false);
        s.give(&requested, 0, vec![records(0, &[batch(0, &["a"])]), records(1, &[behind])]);
        let now = s.now();
        let of = |event: &Event<'_>| match event {
            Event::Records(batch) => Some(batch.topic_partition().partition),
            _ => None,
        };
        assert!(s.client.has_event(now), "more: {more}");
        while let Some((event, _)) = s.client.poll_event(now) {
            if of(&event) == Some(0) {
                break;
            }
        }
        assert_eq!(s.client.has_event(now), more);
        let next = s.client.poll_event(now).and_then(|(event, _)| of(&event));
        assert_eq!(next, more.then_some(1));
        assert!(!s.client.has_event(now), "more: {more}");
    }
}

#[test]
fn a_negative_count_of_records_is_corrupt() {
    let bad = Batch { count: -1, ..Batch::new(0, &["a"]) };
    let (next, got, reported) = after(&[bad.bytes()]);
    assert_eq!((next, got), (None, vec![]));
    let last = reported.last();
    assert!(matches!(last, Some(Event::Corrupt { offset: 0, next_offset: 1, .. })), "{reported:?}");
}

#[test]
fn a_compressed_batch_is_reported_and_the_position_kept() {
    for codec in 1..=4 {
        let without = |mut config: Config<'static>| {
            config.codecs = Codecs::NONE;
            config
        };
        let (mut s, _) = reading_with(World::new(1).topic("t", 1), without);
        let requested = s.expect::<FetchRequest>();
        let packed = Batch { attributes: codec, ..Batch::new(0, &["a"]) };
        s.give(&requested, 0, vec![records(0, &[packed.bytes()])]);
        let wanted = Unreadable::Compressed(codec as u8);
        let reported = s.take_reported(|reported| match reported.event()? {
            Event::Corrupt { offset, next_offset, why, .. } => Some((offset, next_offset, why)),
            _ => None,
        });
        assert_eq!(reported, [(0, 1, wanted)], "codec {codec}");
        s.none::<FetchRequest>("the partition waits for a seek");
    }
}

/// Reads the only partition from offset 0, whose log consists of these batches; decompresses each
/// to a scratch of `room` bytes.
fn unpacking(
    batches: &[Bytes],
    room: usize,
    mut each: impl FnMut(Result<Vec<(i64, Vec<u8>)>, UnpackError>, &mut Commands<'_>, PartitionId),
) -> Script {
    let (mut s, parts) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    (s.listening, s.watching) = (false, false);
    s.give(&requested, 0, vec![records(0, batches)]);
    let (mut decoders, mut scratch, now) = (Compact::new(), vec![0; room], s.now());
    while let Some((event, commands)) = s.client.poll_event(now) {
        if let Event::Records(batch) = event {
            let got = batch.unpack(&mut decoders, &mut scratch).map(|records| {
                let read = records.map(|record| record.expect("a record"));
                read.map(|record| (record.offset, record.value.unwrap().to_vec())).collect()
            });
            each(got, commands, parts[0]);
        }
    }
    (s.listening, s.watching) = (true, true);
    s
}

#[test]
fn a_batch_with_a_decoder_is_handed_out_and_unpacked() {
    for codec in [Codec::Lz4, Codec::Snappy, Codec::Gzip] {
        let packed = packed::batch(&batch(1, &["b", "c"]), codec);
        let mut got = Vec::new();
        let mut s = unpacking(&[batch(0, &["a"]), packed], 1 << 10, |read, _, _| {
            got.extend(read.expect("unpacked"));
        });
        assert_eq!(got, [(0, b"a".to_vec()), (1, b"b".to_vec()), (2, b"c".to_vec())], "{codec}");
        let requested = s.expect::<FetchRequest>();
        assert_eq!(s.wanted(&requested), [("t".into(), 0, 3)], "{codec}");
    }
}

#[test]
fn a_partition_that_was_parked_waits_at_its_position_for_a_seek() {
    let packed = packed::batch(&batch(1, &["b", "c"]), Codec::Lz4);
    let len = packed.len() - 61;
    let mut failed = Vec::new();
    let mut s = unpacking(
        &[batch(0, &["a"]), packed, batch(3, &["d"])],
        10,
        |read, commands, at| match read {
            Ok(read) => assert_eq!(read, [(0, b"a".to_vec())]),
            Err(error) => {
                commands.park(at, error.offset);
                assert_eq!(commands.position(at), Some(1));
                failed.push((at, error));
            }
        },
    );
    let [(at, error)] = failed[..] else { panic!("{failed:?}") };
    let UnpackError { partition, offset, next_offset, codec, packed, limit, why, .. } = error;
    assert_eq!((partition.partition, offset, next_offset, codec), (0, 1, 3, 3));
    assert_eq!((packed, limit), (len, 10));
    assert!(matches!(why, Fault::TooLarge { .. }), "{why:?}");
    s.none::<FetchRequest>("the partition waits for a seek");
    let now = s.now();
    s.client.resume(now, at);
    s.none::<FetchRequest>("a parked partition is not paused");
    s.client.seek(now, at, Start::Offset(next_offset)).unwrap();
    let requested = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&requested), [("t".into(), 0, 3)]);
}

/// As when the log was truncated or trimmed while the application decompressed a batch.
#[test]
fn a_partition_that_is_about_to_jump_is_parked_as_well() {
    let (mut s, parts) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    let now = s.now();
    s.client.seek(now, parts[0], Start::Earliest).unwrap();
    assert_eq!(s.client.position(parts[0]), None);
    s.client.park(parts[0], 5);
    assert_eq!(s.client.position(parts[0]), Some(5));
    s.give(&requested, 0, vec![records(0, &[batch(0, &["a"])])]);
    assert_eq!(s.records(), []);
    s.none::<FetchRequest>("the partition waits for a seek");
    let now = s.now();
    s.client.seek(now, parts[0], Start::Offset(6)).unwrap();
    let requested = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&requested), [("t".into(), 0, 6)]);
}

/// CORRUPT_MESSAGE: the broker cannot read its own log there.
#[test]
fn records_that_the_broker_calls_corrupt_are_reported() {
    let (mut s, _) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    s.give(&requested, 0, vec![refused(0, 2)]);
    let reported = s.take_reported(|reported| match reported.event()? {
        Event::Corrupt { offset, next_offset, why, .. } => Some((offset, next_offset, why)),
        _ => None,
    });
    assert_eq!(reported, [(0, 0, Unreadable::ByBroker)]);
    s.none::<FetchRequest>("the partition waits for a seek");
}

#[test]
fn an_old_batch_larger_than_the_buffer_is_skipped_to_what_follows() {
    let memory = Box::leak(Box::new(Resources::<2, 1, 2, 1024, 16>::new()));
    let world = World::new(1).topic("t", 1);
    let config = Config::new(world.bootstrap());
    let mut s = Script::over(world, config, memory.storage());
    let t = s.ready("t");
    let now = s.now();
    s.client.assign(now, t, 0, Start::Offset(5)).unwrap();
    let requested = s.expect::<FetchRequest>();
    let old = batch(3, &["x".repeat(5000).as_str()]);
    s.give(&requested, 0, vec![records(0, &[old, batch(5, &["new"])])]);
    assert_eq!(values(&mut s), [(5, "new".into())]);
}

#[test]
fn a_partition_twice_in_a_response_is_read_once() {
    let (mut s, _) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    let part = records(0, &[batch(0, &["a", "b"])]);
    s.give(&requested, 0, vec![part.clone(), part]);
    assert_eq!(values(&mut s), [(0, "a".into()), (1, "b".into())]);
    let requested = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&requested), [("t".into(), 0, 2)]);
}

#[test]
fn garbage_instead_of_records_never_moves_the_position_back() {
    let header = |length: i32| {
        let mut bytes = BytesMut::from(&batch(0, &["a", "b"])[..]);
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes.freeze()
    };
    let mut zeros = BytesMut::new();
    zeros.put_bytes(0, 200);
    let magic = {
        let mut bytes = BytesMut::from(&batch(0, &["a", "b"])[..]);
        bytes[16] = 1;
        bytes.freeze()
    };
    for bad in [header(-1), header(i32::MIN), header(0), header(48), zeros.freeze(), magic] {
        let (next, got, reported) = after(core::slice::from_ref(&bad));
        assert_eq!((next, got), (None, vec![]), "{bad:?}");
        let last = reported.last();
        assert!(matches!(last, Some(Event::Corrupt { offset: 0, .. })), "{bad:?}: {reported:?}");
    }
}

/// The rest of it may be shorter than a batch header, and is not to be taken for one.
#[test]
fn a_batch_before_the_position_may_come_in_any_pieces() {
    let old = batch(0, &["old"]);
    for piece in 1..=old.len() {
        let mut s = Script::new(World::new(1).topic("t", 1));
        let t = s.ready("t");
        let now = s.now();
        s.client.assign(now, t, 0, Start::Offset(3)).unwrap();
        let requested = s.expect::<FetchRequest>();
        s.piece = piece;
        s.give(&requested, 0, vec![records(0, &[old.clone(), batch(3, &["new"])])]);
        assert_eq!(values(&mut s), [(3, "new".into())], "in pieces of {piece}");
        s.piece = usize::MAX;
        let now = s.now();
        s.expect::<FetchRequest>();
        assert!(now.until(s.now()) < Duration::from_millis(20), "in pieces of {piece}");
    }
}

/// Kafka never writes them; if another program does, we must not fetch the same a thousand times.
#[test]
fn a_batch_that_leads_nowhere_is_parked() {
    for (name, bad) in [
        ("last offset delta -1", Batch { last_delta: -1, ..Batch::new(0, &["a"]) }),
        ("last offset delta -9", Batch { last_delta: -9, ..Batch::new(0, &["a"]) }),
        ("base offset -3", Batch { last_delta: 9, ..Batch::new(-3, &["a"]) }),
    ] {
        let (next, got, reported) = after(&[bad.bytes()]);
        assert_eq!((next, got), (None, vec![]), "{name}");
        let last = reported.last();
        assert!(matches!(last, Some(Event::Corrupt { offset: 0, .. })), "{name}: {reported:?}");
    }
}

#[test]
fn responses_that_move_nothing_are_not_fetched_in_a_fast_loop() {
    let mut s = Script::new(World::new(1).topic("t", 1));
    let t = s.ready("t");
    let now = s.now();
    s.client.assign(now, t, 0, Start::Offset(5)).unwrap();
    let (end, mut count) = (s.now() + Duration::from_secs(20), 0);
    while s.now() < end {
        match s.take::<FetchRequest>() {
            Some(requested) => {
                count += 1;
                s.give(&requested, 0, vec![records(0, &[batch(0, &["below"])])]);
            }
            None => s.run(Duration::from_millis(1)),
        }
    }
    assert!((10..=60).contains(&count), "{count} fetches in 20 s");
    let reported = s.take_reported(|reported| match reported.event()? {
        Event::PartitionFailed { error, .. } => Some(error),
        _ => None,
    });
    assert!(!reported.is_empty(), "nothing is reported");
}
