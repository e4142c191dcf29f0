use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{FetchRequest, ProduceRequest};
use kavka_core::{Config, Event, Limits, Resources, Start, Unreadable};
use kavka_tests::script::fetch::{Batch, records};
use kavka_tests::script::{Script, World};

use crate::support::{batch, events, fetch_with, reading};

fn values(s: &mut Script) -> Vec<(i64, String)> {
    s.records().into_iter().map(|(_, offset, value)| (offset, value)).collect()
}

/// Gives a reader of one partition these bytes; the next fetch, and what was told.
fn after(bytes: &[Bytes]) -> (Option<i64>, Vec<(i64, String)>, Vec<Event<'static>>) {
    let (mut s, _) = reading(1, 1);
    let asked = s.expect::<FetchRequest>();
    s.give(&asked, 0, vec![records(0, bytes)]);
    let next = s.take::<FetchRequest>().map(|asked| s.wanted(&asked)[0].2);
    let got = values(&mut s);
    (next, got, events(&mut s))
}

#[test]
fn a_compacted_tail_is_passed() {
    // [C1]
    let compacted = Batch { last_delta: 9, ..Batch::new(0, &["a"]) };
    let (next, got, _) = after(&[compacted.bytes()]);
    assert_eq!((next, got), (Some(10), vec![(0, "a".into())]));
}

#[test]
fn empty_and_control_batches_move_the_position_and_give_nothing() {
    // [C2]
    let empty = Batch { last_delta: 4, ..Batch::new(0, &[]) };
    let control = Batch { attributes: 0x30, ..Batch::new(5, &["commit"]) };
    let (next, got, told) = after(&[empty.bytes(), control.bytes()]);
    assert_eq!((next, got, told.len()), (Some(6), vec![], 1), "{told:?}");
}

#[test]
fn an_offset_in_mid_batch_hides_what_is_before() {
    // [C3]
    let (mut s, parts) = reading(1, 1);
    let now = s.now();
    s.client.seek(now, parts[0], Start::Offset(2)).unwrap();
    let asked = fetch_with(&mut s, |s, asked| s.wanted(asked) == [("t".into(), 0, 2)]);
    s.give(&asked, 0, vec![records(0, &[batch(0, &["a", "b", "c", "d"])])]);
    assert_eq!(values(&mut s), [(2, "c".into()), (3, "d".into())]);
}

#[test]
fn a_cut_last_batch_is_fetched_again() {
    let whole = batch(1, &["b"]);
    let (next, got, _) = after(&[batch(0, &["a"]), whole.slice(..whole.len() - 3)]);
    assert_eq!((next, got), (Some(1), vec![(0, "a".into())]));
}

#[test]
fn a_first_batch_that_is_always_cut_is_told_and_never_loops_fast() {
    // [C4]
    for keep in [5, 40, 70] {
        let (mut s, _) = reading(1, 1);
        let (start, mut fetches) = (s.now(), 0);
        while start.until(s.now()) < Duration::from_secs(20) {
            let asked = s.expect::<FetchRequest>();
            let cut = batch(0, &["a long value that is cut"]).slice(..keep);
            s.give(&asked, 0, vec![records(0, &[cut])]);
            fetches += 1;
        }
        assert!((15..60).contains(&fetches), "{keep} bytes: {fetches} fetches in 20 s");
        let told = format!("{:?}", events(&mut s));
        assert!(told.contains("CORRUPT_MESSAGE"), "{keep} bytes: {told}");
    }
}

#[test]
fn a_corrupt_batch_among_good_ones_is_named_and_can_be_passed() {
    // [C5]
    let (mut s, parts) = reading(1, 1);
    let asked = s.expect::<FetchRequest>();
    let mut bad = batch(1, &["b", "c"]).to_vec();
    *bad.last_mut().unwrap() ^= 1;
    let all = [batch(0, &["a"]), bad.into(), batch(3, &["d"])];
    s.give(&asked, 0, vec![records(0, &all)]);
    assert_eq!(values(&mut s), [(0, "a".into())]);
    let told = events(&mut s);
    let Some(Event::Corrupt { at, offset: 1, next_offset: 3, .. }) = told.last() else {
        panic!("{told:?}")
    };
    assert_eq!((*at, s.client.position(parts[0])), (parts[0], Some(1)));
    s.run(Duration::from_secs(5));
    assert!(s.take::<FetchRequest>().is_none(), "it waits for a seek");
    let now = s.now();
    s.client.seek(now, parts[0], Start::Offset(3)).unwrap();
    let asked = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&asked), [("t".into(), 0, 3)]);
}

#[test]
fn a_negative_count_of_records_is_corrupt() {
    let bad = Batch { count: -1, ..Batch::new(0, &["a"]) };
    let (next, got, told) = after(&[bad.bytes()]);
    assert_eq!((next, got), (None, vec![]));
    let last = told.last();
    assert!(matches!(last, Some(Event::Corrupt { offset: 0, next_offset: 1, .. })), "{told:?}");
}

#[test]
fn a_compressed_batch_is_told_and_the_position_kept() {
    for codec in 1..=4 {
        let packed = Batch { attributes: codec, ..Batch::new(0, &["a"]) };
        let (next, got, told) = after(&[packed.bytes()]);
        assert_eq!((next, got), (None, vec![]), "codec {codec}");
        let wanted = Unreadable::Compressed(codec as u8);
        let Some(Event::Corrupt { offset: 0, next_offset: 1, why, .. }) = told.last() else {
            panic!("codec {codec}: {told:?}")
        };
        assert_eq!(*why, wanted);
    }
}

#[test]
fn a_batch_beyond_the_receive_buffer_is_told_and_the_connection_lives_on() {
    // [C4]
    let memory = Box::leak(Box::new(Resources::<2, 1, 2, 1024, 16>::new()));
    let world = World::new(1).topic("t", 1);
    let config = Config::new(world.bootstrap());
    let mut s = Script::over(world, config, memory.storage());
    let t = s.ready("t");
    let now = s.now();
    let at = s.client.assign(now, t, 0, Start::Offset(0)).unwrap();
    let asked = s.expect::<FetchRequest>();
    let large = batch(1, &["x".repeat(5000).as_str()]);
    s.give(&asked, 0, vec![records(0, &[batch(0, &["a"]), large.clone(), batch(2, &["c"])])]);
    assert_eq!(values(&mut s), [(0, "a".into())]);
    let told = events(&mut s);
    let Some(Event::TooLarge { offset: 1, next_offset: 2, needed, .. }) = told.last() else {
        panic!("{told:?}")
    };
    assert_eq!(*needed, large.len());
    let conns = s.connections(1).len();
    let now = s.now();
    s.client.seek(now, at, Start::Offset(2)).unwrap();
    let asked = s.expect::<FetchRequest>();
    s.give(&asked, 0, vec![records(0, &[batch(2, &["c"])])]);
    assert_eq!(values(&mut s), [(2, "c".into())]);
    assert_eq!((s.connects.len(), s.connections(1).len()), (conns, conns));
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
    let asked = s.expect::<FetchRequest>();
    let old = batch(3, &["x".repeat(5000).as_str()]);
    s.give(&asked, 0, vec![records(0, &[old, batch(5, &["new"])])]);
    assert_eq!(values(&mut s), [(5, "new".into())]);
}

#[test]
fn a_partition_twice_in_an_answer_is_read_once() {
    let (mut s, _) = reading(1, 1);
    let asked = s.expect::<FetchRequest>();
    let part = records(0, &[batch(0, &["a", "b"])]);
    s.give(&asked, 0, vec![part.clone(), part]);
    assert_eq!(values(&mut s), [(0, "a".into()), (1, "b".into())]);
    let asked = s.expect::<FetchRequest>();
    assert_eq!(s.wanted(&asked), [("t".into(), 0, 2)]);
}

#[test]
fn answers_in_single_bytes_are_the_same() {
    // [N1]
    let (mut s, _) = reading(1, 2);
    s.piece = 1;
    let asked = s.expect::<FetchRequest>();
    let parts = vec![records(0, &[batch(0, &["a"])]), records(1, &[batch(0, &["b", "c"])])];
    s.give(&asked, 0, parts);
    let wanted = [(0, 0, "a"), (1, 0, "b"), (1, 1, "c")];
    assert_eq!(s.records(), wanted.map(|(p, o, v)| (p, o, v.to_owned())));
}

#[test]
fn an_application_that_takes_nothing_holds_the_broker_back_and_loses_nothing() {
    // [C12]
    let (mut s, _) = reading(1, 1);
    let asked = s.expect::<FetchRequest>();
    s.listening = false;
    let value = "x".repeat(3000);
    let batches: Vec<_> = (0..60).map(|n| batch(n, &[value.as_str()])).collect();
    s.give(&asked, 0, vec![records(0, &batches)]);
    s.run(Duration::from_secs(10));
    assert!(s.take::<FetchRequest>().is_none(), "fetched more than fits");
    s.listening = true;
    let offsets: Vec<_> = values(&mut s).into_iter().map(|(offset, _)| offset).collect();
    assert_eq!(offsets, (0..60).collect::<Vec<_>>());
}

#[test]
fn on_a_shared_connection_untaken_records_make_way_after_a_second_and_come_again() {
    // [C12]
    let mut limits = Limits::small();
    limits.conns = 1;
    let world = World::new(1).topic("t", 1);
    let config = Config::new(world.bootstrap()).linger(Duration::ZERO);
    let mut s = Script::with(world, config, &limits);
    let t = s.ready("t");
    s.produce(t, 0, "the producer id is known then");
    let produced = s.expect::<ProduceRequest>();
    s.acknowledge(&produced, 0);
    assert_eq!(s.delivered().len(), 1);
    let now = s.now();
    s.client.assign(now, t, 0, Start::Offset(0)).unwrap();
    let asked = s.expect::<FetchRequest>();
    s.listening = false;
    s.produce(t, 0, "hello");
    let produced = s.expect::<ProduceRequest>();
    s.give(&asked, 0, vec![records(0, &[batch(0, &["a"])])]);
    s.acknowledge(&produced, 1);
    s.run(Duration::from_millis(1500));
    let again = s.take::<FetchRequest>();
    let again = again.unwrap_or_else(|| s.fail("the acknowledgement waits behind records"));
    assert_eq!(s.wanted(&again), [("t".into(), 0, 0)]);
    s.listening = true;
    assert_eq!(s.delivered(), [(1, Some(1))]);
    s.give(&again, 0, vec![records(0, &[batch(0, &["a"])])]);
    assert_eq!(values(&mut s), [(0, "a".into())]);
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
        let (next, got, told) = after(core::slice::from_ref(&bad));
        assert_eq!((next, got), (None, vec![]), "{bad:?}");
        let last = told.last();
        assert!(matches!(last, Some(Event::Corrupt { offset: 0, .. })), "{bad:?}: {told:?}");
    }
}
