//! When a flush ends: when everything accepted before it has ended, and nothing else matters.

use kafka_protocol::messages::ProduceRequest;
use kavka_core::{Duration, TopicId};
use kavka_tests::script::steps::{configured, next, warm_up};
use kavka_tests::script::{Requested, Script, World};

const TOO_LARGE: i16 = 10;

/// Returns a topic of two partitions, whose leaders know the producer's sequences.
fn known() -> (Script, TopicId) {
    let world = World::new(2).topic("t", 2);
    let mut s = configured(world, |c| c.linger = Duration::from_millis(5));
    let t = s.ready("t");
    for partition in 0..2 {
        warm_up(&mut s, t, partition);
    }
    (s, t)
}

/// Produces these records, which are sent as one batch.
fn batch(s: &mut Script, t: TopicId, partition: u32, values: &[&str]) -> Requested<ProduceRequest> {
    for value in values {
        s.produce(t, partition, value);
    }
    let (requested, sent, _) = next(s);
    assert_eq!(sent, values.join(","));
    requested
}

fn flush(s: &mut Script) {
    let now = s.now();
    s.client.flush(now);
    s.settle();
}

#[test]
fn what_is_flushed_does_not_linger() {
    let mut s = configured(World::new(1).topic("t", 1), |c| {
        (c.linger, c.linger_when_idle) = (Duration::from_secs(10), true);
    });
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    s.produce(t, 0, "a");
    s.run(Duration::from_secs(9));
    s.none::<ProduceRequest>("it lingers");
    flush(&mut s);
    let requested = s.expect_within::<ProduceRequest>(Duration::ZERO);
    // Later records are not part of it.
    s.produce(t, 0, "b");
    s.acknowledge(&requested, 1);
    assert_eq!(s.flushed(), 1);
    s.run(Duration::from_secs(9));
    s.none::<ProduceRequest>("b lingers");
    let (_, value, _) = next(&mut s);
    assert_eq!(value, "b");
}

#[test]
fn a_flush_ends_when_both_halves_of_a_batch_that_was_split_have() {
    for first_one_first in [true, false] {
        let (mut s, t) = known();
        let large = batch(&mut s, t, 0, &["a", "b"]);
        flush(&mut s);
        s.refuse(&large, TOO_LARGE);
        let (a, value, _) = next(&mut s);
        assert_eq!(value, "a");
        let (b, value, _) = next(&mut s);
        assert_eq!(value, "b");
        if first_one_first {
            s.acknowledge(&a, 1);
            assert_eq!(s.flushed(), 0, "b is on its way");
            s.acknowledge(&b, 2);
        } else {
            s.refuse(&b, 87);
            s.run(Duration::from_secs(1));
            assert_eq!(s.flushed(), 0, "a is on its way");
            s.acknowledge(&a, 1);
        }
        assert_eq!(s.flushed(), 1);
        s.run(Duration::from_secs(1));
        assert_eq!(s.flushed(), 0, "once");
    }
}

#[test]
fn a_flush_ends_when_all_pieces_of_a_batch_that_was_split_again_have() {
    let (mut s, t) = known();
    let large = batch(&mut s, t, 0, &["a", "b", "c", "d"]);
    flush(&mut s);
    let mut pieces = vec![large];
    let mut flushed = 0;
    for piece in 0..4 {
        assert_eq!(flushed, 0, "after {piece} of four");
        while s.batches(&pieces[0])[0].values.len() > 1 {
            let large = pieces.remove(0);
            s.refuse(&large, TOO_LARGE);
            // What followed it is out of order now, and is sent again.
            for behind in pieces.drain(..) {
                s.refuse(&behind, 45);
            }
            s.settle();
            pieces.push(s.expect::<ProduceRequest>());
            s.run(Duration::from_millis(100));
            pieces.extend(std::iter::from_fn(|| s.take::<ProduceRequest>()));
        }
        let one = pieces.remove(0);
        s.acknowledge(&one, 1);
        flushed += s.flushed();
        if pieces.is_empty() && piece < 3 {
            pieces.push(s.expect::<ProduceRequest>());
        }
    }
    assert_eq!((flushed, s.flushed()), (1, 0));
}

/// Its second half is no more part of the flush than its first.
#[test]
fn a_flush_does_not_wait_for_a_batch_of_later_that_was_split() {
    let (mut s, t) = known();
    let flushed = batch(&mut s, t, 0, &["a"]);
    flush(&mut s);
    let later = batch(&mut s, t, 1, &["b", "c"]);
    s.refuse(&later, TOO_LARGE);
    let (b, value, _) = next(&mut s);
    assert_eq!(value, "b");
    assert_eq!(s.flushed(), 0);
    s.acknowledge(&flushed, 1);
    assert_eq!(s.flushed(), 1, "b and c came after it");
    // The next one waits for both.
    flush(&mut s);
    s.acknowledge(&b, 1);
    assert_eq!(s.flushed(), 0);
    let (c, ..) = next(&mut s);
    s.acknowledge(&c, 2);
    assert_eq!(s.flushed(), 1);
}
