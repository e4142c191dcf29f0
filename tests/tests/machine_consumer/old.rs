//! Message sets of magic 0 and 1, as brokers hand them out that store them.

use bytes::Bytes;
use kafka_protocol::messages::FetchRequest;
use kavka_core::codec::{Codec, Codecs, Compact, Fault};
use kavka_core::record::{Magic, Malformed};
use kavka_core::{Config, Event, PartitionId, Resources, Start, Unreadable};
use kavka_tests::script::fetch::{Batch, records};
use kavka_tests::script::steps::{after, batch, events, reading, reading_with, values};
use kavka_tests::script::{Script, World};
use kavka_tests::sim::old::{Message, set, wrapped};

fn message(magic: i8, offset: i64) -> Message {
    let value = Some(Bytes::from(format!("value {offset}")));
    Message { offset, magic, attributes: 0, timestamp: offset.wrapping_add(1000), key: None, value }
}

fn messages(magic: i8, offsets: core::ops::Range<i64>) -> Vec<Message> {
    offsets.map(|offset| message(magic, offset)).collect()
}

fn plain(magic: i8, offsets: core::ops::Range<i64>) -> Bytes {
    set(&messages(magic, offsets))
}

fn packed(magic: i8, offsets: core::ops::Range<i64>, codec: Codec) -> Bytes {
    wrapped(&messages(magic, offsets), i16::from(codec.id())).expect("packed").bytes()
}

/// A log that was upgraded twice: 0 to 3 of magic 0, 3 to 6 of magic 1, then batches.
fn upgraded() -> [Bytes; 4] {
    [plain(0, 0..3), plain(1, 3..6), batch(6, &["value 6", "value 7"]), batch(8, &["value 8"])]
}

fn wanted(offsets: core::ops::Range<i64>) -> Vec<(i64, String)> {
    offsets.map(|offset| (offset, format!("value {offset}"))).collect()
}

#[test]
fn messages_are_records_in_any_pieces() {
    for piece in [1, 7, 30, 100, usize::MAX] {
        let (mut s, parts) = reading(1, 1);
        let requested = s.expect::<FetchRequest>();
        s.piece = piece;
        s.give(&requested, 0, vec![records(0, &upgraded())]);
        s.run(kavka_core::Duration::from_millis(20));
        assert_eq!(values(&mut s), wanted(0..9), "in pieces of {piece}");
        assert_eq!(s.client.position(parts[0]), Some(9), "in pieces of {piece}");
        s.piece = usize::MAX;
        let requested = s.expect::<FetchRequest>();
        assert_eq!(s.wanted(&requested), [("t".into(), 0, 9)], "in pieces of {piece}");
    }
}

#[test]
fn messages_that_came_together_are_one_batch() {
    let (mut s, _) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    (s.listening, s.watching) = (false, false);
    s.give(&requested, 0, vec![records(0, &upgraded())]);
    let (now, mut got) = (s.now(), Vec::new());
    while let Some((event, _)) = s.client.poll_event(now) {
        let Event::Records(batch) = event else { continue };
        let header = batch.header();
        let times: Vec<i64> = batch.records().map(|record| record.unwrap().timestamp).collect();
        got.push((header.magic, header.count, header.max_timestamp, times));
    }
    let wanted = [
        (Magic::V0, 3, -1, vec![-1, -1, -1]),
        (Magic::V1, 3, 1005, vec![1003, 1004, 1005]),
        (Magic::V2, 2, 1000, vec![1000, 1000]),
        (Magic::V2, 1, 1000, vec![1000]),
    ];
    assert_eq!(got, wanted);
}

/// Brokers truncate a response at its limit, wherever that is.
#[test]
fn a_cut_message_is_fetched_again() {
    for magic in [0, 1] {
        let (whole, next) = (plain(magic, 0..2), message(magic, 2).bytes());
        for cut in 1..next.len() {
            let (requested, got, reported) = after(&[whole.clone(), next.slice(..cut)]);
            assert_eq!((requested, got), (Some(2), wanted(0..2)), "magic {magic}, cut at {cut}");
            let troubled = reported.iter().any(|event| {
                matches!(event, Event::Corrupt { .. } | Event::PartitionFailed { .. })
            });
            assert!(!troubled, "magic {magic}, cut at {cut}: {reported:?}");
        }
    }
}

/// An index leads to what holds the position, or to something before it.
#[test]
fn what_is_before_the_position_is_dropped() {
    for magic in [0, 1] {
        let start = 4;
        for log in [vec![plain(magic, 0..9)], vec![packed(magic, 2..9, Codec::Lz4)]] {
            let (mut s, parts) = reading(1, 1);
            s.expect::<FetchRequest>();
            let now = s.now();
            s.client.seek(now, parts[0], Start::Offset(start)).unwrap();
            s.cut_all(1);
            let requested = s.expect::<FetchRequest>();
            (s.listening, s.watching) = (false, false);
            s.give(&requested, 0, vec![records(0, &log)]);
            assert_eq!(unpack_all(&mut s, 1 << 12).0, wanted(start..9), "magic {magic}");
            assert_eq!(s.client.position(parts[0]), Some(9), "magic {magic}");
        }
    }
}

/// Polls all records, unpacks what is compressed, and parks where that fails. Returns the records,
/// and why a partition was parked.
fn unpack_all(s: &mut Script, room: usize) -> (Vec<(i64, String)>, Vec<String>) {
    let (mut decoders, mut scratch, now) = (Compact::new(), vec![0; room], s.now());
    let (mut got, mut failed) = (Vec::new(), Vec::new());
    while let Some((event, commands)) = s.client.poll_event(now) {
        let Event::Records(batch) = event else { continue };
        let at = batch.partition();
        let read = match batch.unpack(&mut decoders, &mut scratch) {
            Ok(read) => read,
            Err(error) => {
                commands.park(at, error.offset);
                failed.push(format!("{:?}", error.why));
                continue;
            }
        };
        let mut next = batch.position();
        for record in read {
            match record {
                Ok(record) => {
                    let value = String::from_utf8_lossy(record.value.unwrap_or_default());
                    next = record.offset + 1;
                    got.push((record.offset, value.into_owned()));
                }
                Err(why) => {
                    commands.park(at, next);
                    failed.push(format!("{why:?}"));
                }
            }
        }
    }
    (s.listening, s.watching) = (true, true);
    (got, failed)
}

fn unpacking(log: &[Bytes], room: usize) -> (Script, PartitionId, Vec<(i64, String)>, Vec<String>) {
    let (mut s, parts) = reading(1, 1);
    let requested = s.expect::<FetchRequest>();
    (s.listening, s.watching) = (false, false);
    s.give(&requested, 0, vec![records(0, log)]);
    let (got, failed) = unpack_all(&mut s, room);
    (s, parts[0], got, failed)
}

#[test]
fn compressed_messages_are_unpacked() {
    for magic in [0, 1] {
        for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4] {
            let log = [
                plain(magic, 0..2),
                packed(magic, 2..5, codec),
                packed(magic, 5..6, codec),
                packed(1, 6..9, codec),
                batch(9, &["value 9"]),
            ];
            let (mut s, at, got, failed) = unpacking(&log, 1 << 12);
            assert_eq!((got, failed), (wanted(0..10), vec![]), "magic {magic}, {codec}");
            assert_eq!(s.client.position(at), Some(10), "magic {magic}, {codec}");
            let requested = s.expect::<FetchRequest>();
            assert_eq!(s.wanted(&requested), [("t".into(), 0, 10)], "magic {magic}, {codec}");
        }
    }
}

#[test]
fn without_a_decoder_the_codec_is_named() {
    let without = |mut config: Config<'static>| {
        config.codecs = Codecs::NONE;
        config
    };
    for magic in [0, 1] {
        let (mut s, _) = reading_with(World::new(1).topic("t", 1), without);
        let requested = s.expect::<FetchRequest>();
        let log = [plain(magic, 0..2), packed(magic, 2..5, Codec::Snappy)];
        s.give(&requested, 0, vec![records(0, &log)]);
        assert_eq!(values(&mut s), wanted(0..2), "magic {magic}");
        assert_eq!(corrupt(&events(&mut s)), [(2, 5, Unreadable::Compressed(2))], "magic {magic}");
        s.none::<FetchRequest>("the partition waits for a seek");
    }
}

/// Returns what was reported as unreadable: offset, where reading would continue, and why.
fn corrupt(reported: &[Event<'_>]) -> Vec<(i64, i64, Unreadable)> {
    let why = |event: &Event<'_>| match *event {
        Event::Corrupt { offset, next_offset, why, .. } => Some((offset, next_offset, why)),
        _ => None,
    };
    reported.iter().filter_map(why).collect()
}

/// Sets a field of a message, and corrects its checksum.
fn changed(message: &Message, at: usize, with: &[u8]) -> Bytes {
    let mut bytes = message.bytes().to_vec();
    bytes[at..at + with.len()].copy_from_slice(with);
    let crc = zlib_rs::crc32::crc32(0, &bytes[16..]);
    bytes[12..16].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

/// What follows two good messages, why it cannot be read, and where reading would continue.
#[test]
fn a_bad_message_parks_its_partition_there() {
    for magic in [0_i8, 1] {
        let next = message(magic, 2);
        let key = 18 + 8 * magic as usize;
        let mut wrong_crc = next.bytes().to_vec();
        wrong_crc[13] ^= 1;
        let many = [255; 4];
        let cases = [
            ("crc", wrong_crc.into(), Malformed::Crc, 3),
            ("magic-3", changed(&next, 16, &[3]), Malformed::Magic(3), 2),
            ("size-negative", changed(&next, 8, &many), Malformed::BatchLength, 2),
            ("size-13", changed(&next, 8, &[0, 0, 0, 13]), Malformed::BatchLength, 2),
            ("key-overrun", changed(&next, key, &[0, 0, 1, 0]), Malformed::FieldLength, 3),
            ("key-negative", changed(&next, key, &[128, 0, 0, 0]), Malformed::FieldLength, 3),
            ("value-overrun", changed(&next, key + 4, &[0, 0, 1, 0]), Malformed::FieldLength, 3),
            ("value-short", changed(&next, key + 4, &[0, 0, 0, 1]), Malformed::RecordLength, 3),
            ("offset-negative", changed(&next, 0, &[255; 8]), Malformed::Offset, 2),
        ];
        for (name, bad, why, continues) in cases {
            // What follows is long enough for any format.
            let log = [plain(magic, 0..2), bad, plain(magic, 3..9), batch(9, &["value 9"])];
            let (requested, got, reported) = after(&log);
            assert_eq!((requested, got), (None, wanted(0..2)), "{name}, magic {magic}");
            let found = corrupt(&reported);
            assert_eq!(found, [(2, continues, Unreadable::Malformed(why))], "{name}, {magic}");
        }
    }
}

/// The other partitions of the response are read on, and a seek skips the damage.
#[test]
fn damage_in_one_partition_is_its_own_trouble() {
    let (mut s, parts) = reading(1, 2);
    let requested = s.expect::<FetchRequest>();
    let mut bad = message(1, 0).bytes().to_vec();
    *bad.last_mut().unwrap() ^= 1;
    let parts_given = vec![records(0, &[bad.into()]), records(1, &[plain(0, 0..2)])];
    s.give(&requested, 0, parts_given);
    assert_eq!(s.records(), [(1, 0, "value 0".into()), (1, 1, "value 1".into())]);
    assert_eq!(s.client.position(parts[0]), Some(0));
    let requested = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&requested), [("t".into(), 1, 2)]);
    s.give(&requested, 0, vec![]);
    let now = s.now();
    s.client.seek(now, parts[0], Start::Offset(1)).unwrap();
    s.until("it is fetched", |s| {
        s.take::<FetchRequest>().is_some_and(|requested| {
            let wants = s.wanted(&requested).contains(&("t".into(), 0, 1));
            let given = if wants { vec![records(0, &[plain(1, 1..2)])] } else { vec![] };
            s.give(&requested, 0, given);
            wants
        })
    });
    assert_eq!(values(&mut s), wanted(1..2));
}

#[test]
fn a_message_larger_than_the_buffer_is_reported() {
    for magic in [0, 1] {
        let memory = Box::leak(Box::new(Resources::<2, 1, 2, 1024, 16>::new()));
        let world = World::new(1).topic("t", 1);
        let config = Config::new(world.bootstrap());
        let mut s = Script::over(world, config, memory.storage());
        let t = s.ready("t");
        let now = s.now();
        s.client.assign(now, t, 0, Start::Offset(0)).unwrap();
        let requested = s.expect::<FetchRequest>();
        let large = Message { value: Some(vec![b'x'; 5000].into()), ..message(magic, 2) };
        let needed = large.bytes().len();
        s.give(&requested, 0, vec![records(0, &[plain(magic, 0..2), large.bytes()])]);
        assert_eq!(values(&mut s), wanted(0..2), "magic {magic}");
        let reported = events(&mut s);
        let found = reported.iter().find_map(|event| match *event {
            Event::TooLarge { offset, next_offset, needed, .. } => {
                Some((offset, next_offset, needed))
            }
            _ => None,
        });
        assert_eq!(found, Some((2, 3, needed)), "magic {magic}: {reported:?}");
    }
}

/// Name, message, records that can be read of it, and why no more.
type Case = (&'static str, Message, Vec<(i64, String)>, String);

/// What is inside of a compressed message only the application sees.
#[test]
fn a_compressed_message_that_cannot_be_read_is_parked() {
    let good = wrapped(&messages(1, 2..5), 1).unwrap();
    let with = |value: Option<Vec<u8>>| Message { value: value.map(Bytes::from), ..good.clone() };
    let value = good.value.clone().unwrap();
    let nested = wrapped(&[message(1, 0), wrapped(&messages(1, 1..3), 1).unwrap()], 1).unwrap();
    let nested = Message { offset: 4, ..nested };
    let backward = [message(0, 3), message(0, 2), message(0, 4)];
    let bomb = Message { value: Some(vec![0; 1 << 20].into()), ..message(0, 4) };
    let none = |fault: Fault| format!("{fault:?}");
    let too_large = none(Fault::TooLarge { needed: 0 });
    let cases: [Case; 9] = [
        ("null", with(None), vec![], none(Fault::Truncated)),
        ("empty", with(Some(vec![])), vec![], none(Fault::Truncated)),
        ("garbage", with(Some(vec![0xa5; 40])), vec![], none(Fault::Damaged)),
        ("cut", with(Some(value[..value.len() / 2].to_vec())), vec![], none(Fault::Truncated)),
        ("no message", with(Some(packed_nothing())), vec![], "RecordCount".into()),
        ("compressed twice", nested, wanted_nested(), "Compressed(1)".into()),
        ("backward", wrapped(&backward, 1).unwrap(), wanted(3..4), "Offset".into()),
        ("bomb", wrapped(core::slice::from_ref(&bomb), 1).unwrap(), vec![], too_large.clone()),
        ("bomb of lz4", wrapped(&[bomb], 3).unwrap(), vec![], too_large),
    ];
    for (name, bad, read, why) in cases {
        let log = [plain(1, 0..2), bad.bytes(), plain(1, 5..7)];
        let (mut s, at, got, failed) = unpacking(&log, 1 << 12);
        assert_eq!(got, [wanted(0..2), read.clone()].concat(), "{name}");
        assert_eq!(failed, [why], "{name}");
        let position = read.last().map_or(2, |(offset, _)| offset + 1);
        assert_eq!(s.client.position(at), Some(position), "{name}");
        s.none::<FetchRequest>("the partition waits for a seek");
        let now = s.now();
        s.client.seek(now, at, Start::Offset(5)).unwrap();
        let requested = s.expect::<FetchRequest>();
        assert_eq!(s.wanted(&requested), [("t".into(), 0, 5)], "{name}");
    }
}

/// A gzip member of no bytes.
fn packed_nothing() -> Vec<u8> {
    kavka_tests::packed::body(&[], Codec::Gzip)
}

/// The message before the one that is compressed twice. Its relative offset is 0 and that of the
/// other one 2, which the message outside has as 4.
fn wanted_nested() -> Vec<(i64, String)> {
    vec![(2, "value 0".into())]
}

/// Offset 2^63 - 1 and more: the position never moves back.
#[test]
fn the_last_offset_of_all_is_none() {
    let last = message(1, i64::MAX);
    let (_, _, reported) = after(&[last.bytes()]);
    for event in reported {
        assert!(!matches!(event, Event::Moved { .. }), "{event:?}");
    }
    // The header of a batch can say so as well.
    let as_batch = Batch { base: i64::MAX, ..Batch::new(0, &["a"]) };
    after(&[as_batch.bytes()]);
}
