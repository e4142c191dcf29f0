//! What is copied: numbered records with keys, headers and timestamps, some of them tombstones.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::thread;
use std::time::Instant;

use kavka_std::{Acks, Config, Header, Producer, Record};

use super::{FROM, Failure};

/// Distinct keys.
const KEYS: u64 = 500;
/// Time of the first record, in milliseconds since 1970; each one is a millisecond later.
const FIRST: i64 = 1_700_000_000_000;
/// Sends between two pauses.
const SLICE: Duration = Duration::from_millis(20);

/// Writes until `calm`; idempotent. What fails or is not known does not matter: what counts is
/// what is in the log.
pub(super) fn write(bootstrap: &str, rate: u32, calm: &AtomicBool) -> Result<(), Failure> {
    let config = Config::new(bootstrap).client_id("writer").acks(Acks::All).on_lost(|_| ());
    let producer = Producer::new(config)?;
    let (begun, mut n) = (Instant::now(), 0_u64);
    while !calm.load(Ordering::Acquire) {
        let due = begun.elapsed().as_secs_f64() * f64::from(rate);
        while (n as f64) < due {
            send(&producer, n)?;
            n += 1;
        }
        thread::sleep(SLICE);
    }
    let _ = producer.flush().wait();
    Ok(())
}

fn send(producer: &Producer, n: u64) -> Result<(), Failure> {
    let (key, value) =
        (format!("k{}", n % KEYS), format!("{n} {}", "v".repeat((n % 200) as usize)));
    let number = n.to_string();
    let all = [
        Header { name: "n", value: Some(number.as_bytes()) },
        Header { name: "empty", value: Some(b"") },
    ];
    let record = if n % 50 == 49 { Record::tombstone() } else { Record::new(value.as_bytes()) };
    let record = record.headers(&all[..(n % 3) as usize]).timestamp(FIRST + n as i64);
    let record = if n % 10 == 9 { record } else { record.key(key.as_bytes()) };
    // A record without key and value says nothing, but is one.
    drop(producer.send(FROM, &record)?);
    Ok(())
}
