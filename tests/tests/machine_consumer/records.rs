use bytes::{BufMut, BytesMut};
use kafka_protocol::messages::FetchRequest;
use kavka_core::{Config, Event, Resources, Start, Unreadable};
use kavka_tests::script::fetch::{Batch, records, refused};
use kavka_tests::script::steps::{after, batch, reading, values};
use kavka_tests::script::{Script, World};

#[test]
fn a_cut_last_batch_is_fetched_again() {
    let whole = batch(1, &["b"]);
    let (next, got, _) = after(&[batch(0, &["a"]), whole.slice(..whole.len() - 3)]);
    assert_eq!((next, got), (Some(1), vec![(0, "a".into())]));
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

/// CORRUPT_MESSAGE: the broker cannot read its own log there.
#[test]
fn records_that_the_broker_calls_corrupt_are_told() {
    let (mut s, _) = reading(1, 1);
    let asked = s.expect::<FetchRequest>();
    s.give(&asked, 0, vec![refused(0, 2)]);
    let told = s.take_told(|told| match told.event()? {
        Event::Corrupt { offset, next_offset, why, .. } => Some((offset, next_offset, why)),
        _ => None,
    });
    assert_eq!(told, [(0, 0, Unreadable::ByBroker)]);
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
