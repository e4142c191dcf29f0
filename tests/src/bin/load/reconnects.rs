//! A hundred connections over TLS end at once: while they are established again, records of another
//! broker arrive as before.

use core::time::Duration;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use kavka_core::Limits;
use kavka_std::{Config, Consumer, Producer, Record, Start, Tls};
use kavka_tests::pki::{Authority, listener};
use kavka_tests::sim::{Options, Server};

use crate::measure::{Failure, Figure, Outcome, until};

const TOPIC: &str = "wide";
/// Connections that end; one more stays.
const OTHERS: u32 = 100;
/// The broker whose connection stays.
const LIVE: i32 = 1;
/// Time during which gaps between records are measured, before and after.
const LENGTH: Duration = Duration::from_secs(3);
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest gap between two records of the live connection.
const BAR: Duration = Duration::from_millis(50);
/// Pause between two records.
const PAUSE: Duration = Duration::from_millis(1);

pub(crate) fn run() -> Outcome {
    let authority = Authority::new();
    let tls = listener(&authority.server(), None, rustls::ALL_VERSIONS);
    let options = Options { brokers: OTHERS + 1, replication: 1, ..Options::default() };
    let server = Server::start_secure(options, tls)?;
    server.create_topic(TOPIC, OTHERS + 1).map_err(|code| format!("no topic: {code}"))?;
    for partition in 0..=OTHERS {
        let broker = LIVE + i32::try_from(partition)?;
        server.move_leader(TOPIC, partition, broker).map_err(|code| format!("leader: {code}"))?;
    }
    let settings = || -> Result<Config, Failure> {
        let tls = Tls::builder().ca(authority.pem().as_bytes())?.build()?;
        let mut limits = Limits::server();
        (limits.conns, limits.rx_bytes) = (128, 64 << 10);
        let config = Config::new(server.bootstrap()).start(Start::Latest).limits(limits);
        Ok(config.tls(tls).close_timeout(Duration::ZERO).on_lost(|_| ()))
    };
    let (feeder, over) = (Producer::new(settings()?)?, AtomicBool::new(false));
    let consumer = Consumer::assign_all(settings()?, &[TOPIC])?;
    let every = || (LIVE..=LIVE + OTHERS as i32).all(|broker| server.connections(broker) > 0);
    if !until(PATIENCE, every) {
        return Err("not every broker is connected".into());
    }
    let (before, after, again) = thread::scope(|scope| -> Result<_, Failure> {
        scope.spawn(|| feed(&feeder, &over));
        let measured = || -> Result<_, Failure> {
            longest_gap(&consumer)?; // connections of the feeder, first records
            let before = longest_gap(&consumer)?;
            let accepted = server.accepted();
            for broker in LIVE + 1..=LIVE + OTHERS as i32 {
                server.disconnect(broker);
            }
            let after = longest_gap(&consumer)?;
            Ok((before, after, server.accepted() - accepted))
        };
        let result = measured();
        over.store(true, Ordering::Release);
        result
    })?;
    if again < u64::from(OTHERS) {
        return Err(format!("{again} connections of {OTHERS} were established again").into());
    }
    Ok(Figure {
        found: format!(
            "{again} TLS connections again, longest gap between records of another broker \
             {after:.1?} (before {before:.1?})"
        ),
        bar: format!("{BAR:?}"),
        kept: after <= BAR,
    })
}

/// Sends records to the live broker until `over`.
fn feed(producer: &Producer, over: &AtomicBool) {
    while !over.load(Ordering::Acquire) {
        drop(producer.try_send_to(TOPIC, 0, &Record::new(&[b'v'; 100])));
        thread::sleep(PAUSE);
    }
}

/// Reads for a while; returns the longest time without a record.
fn longest_gap(consumer: &Consumer) -> Result<Duration, Failure> {
    let (begun, mut last, mut longest) = (Instant::now(), Instant::now(), Duration::ZERO);
    while begun.elapsed() < LENGTH {
        let chunk = consumer.next_timeout(LENGTH)?;
        longest = longest.max(last.elapsed());
        if chunk.is_some() {
            last = Instant::now();
        }
    }
    Ok(longest)
}
