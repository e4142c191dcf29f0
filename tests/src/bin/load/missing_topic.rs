//! Records for a topic that does not exist, among many for one that does: the others continue.

use core::time::Duration;
use std::time::Instant;

use kavka_std::{Config, Producer, Record};
use kavka_tests::sim::{Options, Server};

use crate::measure::{Failure, Figure, Outcome, stored, until};

const RECORDS: i64 = 200_000;
/// One record in this many is for the missing topic.
const EVERY: i64 = 500;
const TOPIC: &str = "there";
/// What the system may take from a thread for a moment.
const PAUSE: Duration = Duration::from_millis(200);

/// How long it took, and the longest `send` of all.
struct Took {
    all: Duration,
    longest: Duration,
}

pub(crate) fn run() -> Outcome {
    let server = Server::start(Options { replication: 1, ..Options::default() })?;
    server.create_topic(TOPIC, 6).map_err(|code| format!("no topic: {code}"))?;
    send(&server, false)?; // touches all memory once
    let plain = send(&server, false)?;
    let mixed = send(&server, true)?;
    let allowed = plain.all * 2 + Duration::from_millis(100);
    let each = plain.longest * 2 + PAUSE;
    Ok(Figure {
        found: format!(
            "{RECORDS} records, every {EVERY}th for a missing topic: {:.2?} until the others are \
             written, longest send {:.2?} (without the missing topic {:.2?}, {:.2?})",
            mixed.all, mixed.longest, plain.all, plain.longest
        ),
        bar: format!("{allowed:.2?}, twice the time without; {each:.2?} for a send"),
        kept: mixed.all <= allowed && mixed.longest <= each,
    })
}

fn send(server: &Server, mixed: bool) -> Result<Took, Failure> {
    let producer = Producer::new(Config::new(server.bootstrap()).on_lost(|_| ()))?;
    producer.send(TOPIC, &Record::new(b"first"))?.wait()?;
    let before = stored(server, TOPIC);
    let (begun, mut longest, mut others) = (Instant::now(), Duration::ZERO, 0);
    for n in 0..RECORDS {
        let missing = mixed && n % EVERY == 0;
        let topic = if missing { "missing" } else { TOPIC };
        let at = Instant::now();
        drop(producer.send(topic, &Record::new(&[b'v'; 100]))?);
        longest = longest.max(at.elapsed());
        others += i64::from(!missing);
    }
    let written = until(Duration::from_secs(60), || stored(server, TOPIC) - before == others);
    let all = begun.elapsed();
    drop(producer.close(Duration::ZERO).wait());
    if !written {
        let have = stored(server, TOPIC) - before;
        return Err(format!("{have} of {others} records written after {all:.0?}").into());
    }
    Ok(Took { all, longest })
}
