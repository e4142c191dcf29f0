//! What a topic holds in the end.

use core::time::Duration;
use std::time::Instant;

use kavka_std::{Admin, Config, Consumer, Start};
use kavka_tests::kafka::Cluster;
use kavka_tests::kafka::ledger::{Entry, Ledger, Place};

use crate::Failure;

/// How long reading a whole topic may take.
const LIMIT: Duration = Duration::from_secs(90);

/// Reads all of `topic` into `ledger`, up to the ends that it has now.
pub(crate) fn read(cluster: &Cluster, topic: &str, ledger: &mut Ledger) -> Result<(), Failure> {
    each(cluster, topic, |place, value| {
        let entry = Entry::read(value).ok_or_else(|| format!("foreign record at {place:?}"))?;
        ledger.read(entry, place);
        Ok(())
    })
}

/// Every record of `topic` with its place, up to the ends that it has now.
pub(crate) fn each(
    cluster: &Cluster,
    topic: &str,
    mut take: impl FnMut(Place, &[u8]) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let config = || Config::new(cluster.bootstrap()).start(Start::Earliest);
    let ends = Admin::new(config())?.offsets(topic, Start::Latest).wait()?;
    let consumer = Consumer::assign_all(config(), &[topic])?;
    let deadline = Instant::now() + LIMIT;
    let mut left: i64 = ends.iter().sum();
    while left > 0 {
        let chunk = consumer.next_timeout(deadline.saturating_duration_since(Instant::now()))?;
        let chunk = chunk.ok_or_else(|| format!("{left} records of {topic} not read in time"))?;
        for record in chunk.records() {
            let record = record?;
            let place = Place { partition: record.partition, offset: record.offset };
            take(place, record.value.unwrap_or_default())?;
            left -= 1;
        }
    }
    Ok(())
}
