//! A consumer that takes records more slowly than they could arrive: nothing is fetched twice.

use core::time::Duration;
use std::thread;
use std::time::Instant;

use kavka_core::Limits;
use kavka_std::{Config, Consumer, Producer, Record, Start};
use kavka_tests::sim::{ApiKey, Options, Server};

use crate::measure::{Failure, Figure, Outcome, mib, stored, until};

const TOPIC: &str = "log";
/// How long the consumer reads.
const LENGTH: Duration = Duration::from_secs(15);
const VALUE: usize = 1000;

struct Case {
    brokers: u32,
    /// Bytes a second that the application takes.
    rate: u64,
    queue: usize,
}

/// Bytes.
struct Sum {
    taken: u64,
    fetched: u64,
    allowed: u64,
}

pub(crate) fn run() -> Outcome {
    let cases = [
        Case { brokers: 1, rate: 500_000, queue: 2 << 20 },
        Case { brokers: 6, rate: 1_000_000, queue: 8 << 20 },
    ];
    let sums = thread::scope(|scope| {
        let runs: Vec<_> = cases.iter().map(|case| scope.spawn(|| read(case))).collect();
        let ended = runs.into_iter().map(|run| run.join().map_err(|_| "a panic")?);
        ended.collect::<Result<Vec<Sum>, Failure>>()
    })?;
    let found = cases.iter().zip(&sums).map(|(case, sum)| {
        let Sum { taken, fetched, allowed } = *sum;
        let times = fetched as f64 / taken as f64;
        let (taken, fetched, allowed) = (mib(taken), mib(fetched), mib(allowed));
        let Case { brokers, queue, .. } = *case;
        let queue = queue >> 20;
        format!(
            "{brokers} broker(s), queue of {queue} MiB: taken {taken:.1} MiB, fetched \
             {fetched:.1} ({times:.1} times; allowed {allowed:.1})"
        )
    });
    Ok(Figure {
        found: found.collect::<Vec<_>>().join(", "),
        bar: "1.1 x taken + queue + receive buffers".into(),
        kept: sums.iter().all(|sum| sum.fetched <= sum.allowed),
    })
}

fn read(case: &Case) -> Result<Sum, Failure> {
    let Case { brokers, rate, queue } = *case;
    let server = Server::start(Options { brokers, replication: 1, ..Options::default() })?;
    server.create_topic(TOPIC, brokers).map_err(|code| format!("no topic: {code}"))?;
    // More than a consumer that holds all it may can read.
    fill(&server, rate * LENGTH.as_secs() + 2 * queue as u64 + u64::from(brokers) * (2 << 20))?;
    let limits = Limits::server();
    let config = Config::new(server.bootstrap()).start(Start::Earliest).queue_bytes(queue);
    let consumer = Consumer::assign_all(config.limits(limits), &[TOPIC])?;
    let (begun, mut taken) = (Instant::now(), 0);
    while begun.elapsed() < LENGTH {
        if taken as f64 > begun.elapsed().as_secs_f64() * rate as f64 {
            thread::sleep(Duration::from_millis(10)); // the application is busy with records
            continue;
        }
        if let Some(chunk) = consumer.next_timeout(Duration::from_secs(5))? {
            taken += chunk.size() as u64;
        }
    }
    // A broker's fetches use one connection.
    let buffers = u64::from(brokers) * limits.rx_bytes as u64;
    let fetched = server.traffic(ApiKey::Fetch).bytes_out;
    Ok(Sum { taken, fetched, allowed: taken * 11 / 10 + queue as u64 + buffers })
}

fn fill(server: &Server, bytes: u64) -> Result<(), Failure> {
    let producer = Producer::new(Config::new(server.bootstrap()))?;
    let count = bytes / VALUE as u64;
    for _ in 0..count {
        drop(producer.send(TOPIC, &Record::new(&[b'v'; VALUE]))?);
    }
    producer.flush().wait()?;
    let all = until(Duration::from_secs(30), || stored(server, TOPIC) as u64 == count);
    if all { Ok(()) } else { Err("the log was not written".into()) }
}
