//! What a topic holds in the end.

use core::time::Duration;
use std::time::Instant;

use kavka_std::{Admin, Config, Consumer, Isolation, Start};
use kavka_tests::kafka::Cluster;
use kavka_tests::kafka::ledger::{Entry, Ledger, Place};

use crate::Failure;

/// How long reading a whole topic may take.
const LIMIT: Duration = Duration::from_secs(90);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

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
    // Of transactions that were aborted nothing counts; markers have offsets, too.
    let consumer = Consumer::assign_all(config().isolation(Isolation::ReadCommitted), &[topic])?;
    let deadline = Instant::now() + LIMIT;
    let behind =
        || (0..).zip(&ends).filter(|(at, end)| consumer.position(topic, *at) < Some(**end)).count();
    while behind() > 0 {
        if Instant::now() > deadline {
            return Err(format!("{} partitions of {topic} not read in time", behind()).into());
        }
        let Some(chunk) = consumer.next_timeout(LOOK_AGAIN)? else { continue };
        for record in chunk.records() {
            let record = record?;
            let place = Place { partition: record.partition, offset: record.offset };
            take(place, record.value.unwrap_or_default())?;
        }
    }
    Ok(())
}
