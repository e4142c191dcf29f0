//! Fewer connections than brokers: each gets its turn.

use kafka_protocol::messages::{FetchRequest, ProduceRequest};
use kavka_core::{Config, Duration, Limits, Start};
use kavka_tests::script::{Script, World};

/// Keeps a client with few connections busy with all partitions of three brokers for a while;
/// returns how many batches each broker got.
fn turns(conns: usize, hanging: Option<i32>) -> [u32; 3] {
    let mut limits = Limits::small();
    limits.conns = conns;
    let mut config = Config::new("b1:9001").linger(Duration::ZERO);
    // One batch per record: queues never run empty.
    config.batch_bytes = 70;
    let mut s = Script::with(World::new(3).topic("t", 3), config, &limits);
    let t = s.ready("t");
    if let Some(node) = hanging {
        s.world.node(node).hangs = true;
    }
    let (mut sent, mut waiting) = ([0; 3], [0; 3]);
    let end = s.now() + Duration::from_secs(6);
    while s.now() < end {
        for (partition, waiting) in (0..).zip(&mut waiting) {
            // There is always something to send to every broker.
            while *waiting < 40 {
                s.produce(t, partition, "x");
                *waiting += 1;
            }
        }
        while let Some(requested) = s.take::<ProduceRequest>() {
            for batch in s.batches(&requested) {
                sent[batch.partition as usize] += 1;
                waiting[batch.partition as usize] -= batch.header.count;
            }
            s.acknowledge(&requested, 0);
        }
        s.run(Duration::from_millis(10));
    }
    sent
}

#[test]
fn one_connection_serves_three_brokers_in_turn() {
    let sent = turns(1, None);
    let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
    assert!(*least > 100 && most / least < 3, "{sent:?}");
}

#[test]
fn two_connections_serve_three_brokers_in_turn() {
    let sent = turns(2, None);
    let (least, most) = (sent.iter().min().unwrap(), sent.iter().max().unwrap());
    assert!(*least > 100 && most / least < 4, "{sent:?}");
}

#[test]
fn a_broker_that_never_accepts_does_not_keep_the_only_connection() {
    let sent = turns(1, Some(2));
    assert!(sent[0] > 500 && sent[2] > 500, "{sent:?}");
}

/// Acknowledgements, probes and admin responses wait behind a Fetch on the same connection.
#[test]
fn over_one_connection_a_fetch_waits_100_ms_at_most() {
    for (conns, wait) in [(1, 100), (2, 500)] {
        let config = Config::new("b1:9001");
        let mut s = Script::with(World::new(1).topic("t", 1), config, &Limits::small());
        s.client.limit_connections(conns);
        let t = s.ready("t");
        let now = s.now();
        s.client.assign(now, t, 0, Start::Earliest).unwrap();
        let requested = s.expect::<FetchRequest>();
        assert_eq!(requested.body.max_wait_ms, wait, "{conns} connections");
    }
}
