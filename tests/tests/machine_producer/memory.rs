//! Who owns send memory, and what happens when there is little of it.

use kafka_protocol::messages::ProduceRequest;
use kavka_core::{Duration, ProduceError};
use kavka_tests::script::steps::{configured, next, small, warm_up};
use kavka_tests::script::{Script, World};

/// A batch slot that ended is reused while the response that ended it is still being read; the
/// batches in the rest of the response must not be lost.
#[test]
fn batches_behind_a_slot_that_is_used_again_are_not_lost() {
    for cut in [true, false] {
        let mut s =
            configured(World::new(1).topic("t", 3), |c| c.linger = Duration::from_millis(5));
        let t = s.ready("t");
        for partition in 0..3 {
            warm_up(&mut s, t, partition);
        }
        for partition in 0..3 {
            s.produce(t, partition, "a");
        }
        let requested = s.expect::<ProduceRequest>();
        assert_eq!(s.batches(&requested).len(), 3);
        // The first partition's entry, then nothing for a while.
        let mut body = Script::produce_response(&requested, 0, 1);
        if !cut {
            body.responses[0].partition_responses.truncate(1);
        }
        let bytes = s.encoded(&requested, body);
        let whole_first = bytes.len() - if cut { 60 } else { 3 };
        s.feed(requested.conn, &bytes[..whole_first]);
        assert_eq!(s.delivered().len(), 1, "cut: {cut}");
        s.produce(t, 0, "b");
        s.produce(t, 1, "c");
        s.produce(t, 2, "d");
        let second = s.expect::<ProduceRequest>();
        if cut {
            s.cut(requested.conn);
        } else {
            s.feed(requested.conn, &bytes[whole_first..]);
            s.acknowledge(&second, 2);
        }
        let mut delivered = s.delivered().len();
        s.until("everything is delivered", |s| {
            while let Some(requested) = s.take::<ProduceRequest>() {
                s.acknowledge(&requested, 3);
            }
            delivered += s.delivered().len();
            delivered == 5
        });
    }
}

#[test]
fn a_batch_that_is_too_large_is_split_when_there_is_memory_for_it() {
    let mut s = small(World::new(1).topic("t", 2), |l| (l.tx_blocks, l.block_bytes) = (32, 512));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    warm_up(&mut s, t, 1);
    // The batch, and others that use up the rest.
    s.kill(1);
    for _ in 0..14 {
        s.produce(t, 0, &"x".repeat(500));
    }
    while s.try_produce(t, 1, &"y".repeat(450)) != Err(ProduceError::Full) {}
    s.world.node(1).up = true;
    let mut large = 0;
    let mut delivered = 0;
    s.until("all is delivered", |s| {
        while let Some(requested) = s.take::<ProduceRequest>() {
            let mut body = Script::produce_response(&requested, 0, 1);
            for batch in s.batches(&requested) {
                if batch.header.size > 2000 {
                    large += 1;
                    for entry in &mut body.responses[0].partition_responses {
                        if entry.index == batch.partition {
                            (entry.error_code, entry.base_offset) = (10, -1);
                        }
                    }
                }
            }
            s.respond(&requested, body);
        }
        let failed = s.failed();
        assert!(failed.is_empty(), "{failed:?}");
        delivered += s.delivered().iter().map(|(count, _)| count).sum::<u32>();
        let now = s.now();
        s.client.flush(now);
        s.settle();
        s.flushed() > 0
    });
    assert!(large > 1 && delivered >= 14, "{large} refused, {delivered} delivered");
}

#[test]
fn the_smallest_memory_works() {
    let mut s = small(World::new(1).topic("t", 1), |l| {
        (l.conns, l.brokers, l.topics, l.partitions) = (1, 1, 1, 1);
        (l.rx_bytes, l.tx_blocks, l.block_bytes, l.requests) = (512, 4, 128, 0);
    });
    s.piece = 7;
    let t = s.ready("t");
    for i in 0..50 {
        s.produce(t, 0, "some value");
        let (requested, ..) = next(&mut s);
        s.acknowledge(&requested, i);
        assert_eq!(s.delivered(), [(1, Some(i))]);
    }
}
