//! Reading records on any thread.

mod chunk;
mod run;
mod shared;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use kavka_core::Start;

pub use chunk::{Chunk, ChunkBatch, Received};
use run::Wanted;
use shared::{Shared, What};

use crate::config::Config;
use crate::error::Error;
use crate::event::Events;
use crate::pending::{Cell, Pending};
use crate::worker::Worker;

/// Reads topics or partitions through one background thread with its own connections.
///
/// Compressed batches are unpacked by the thread that takes them, one thread at a time; features
/// of this crate decide which codecs are read ([`codec::READ`](crate::codec::READ)).
///
/// Records come in [`Chunk`]s. The thread fetches ahead up to [`Config::queue_bytes`]; beyond,
/// the brokers wait until the application takes some.
pub struct Consumer {
    shared: Arc<Shared>,
    worker: Worker,
}

impl Consumer {
    /// Reads all partitions of some topics, also those that are added later, from
    /// [`Config::start`] on.
    ///
    /// # Errors
    /// When the configuration cannot work, a name is no topic name, a limit is too small, or the
    /// system has no thread or poller to give. A topic that does not exist shows in the results
    /// of [`Consumer::next`] after [`Config::topic_timeout`].
    pub fn assign_all(config: Config, topics: &[&str]) -> Result<Self, Error> {
        Self::start(config, Wanted::Topics(topics.iter().map(|&name| name.into()).collect()))
    }

    /// Reads these partitions, each from its own start.
    ///
    /// # Errors
    /// As [`Consumer::assign_all`].
    pub fn assign(config: Config, partitions: &[(&str, u32, Start)]) -> Result<Self, Error> {
        let list = partitions.iter().map(|&(topic, index, start)| (topic.into(), index, start));
        Self::start(config, Wanted::Partitions(list.collect()))
    }

    fn start(config: Config, wanted: Wanted) -> Result<Self, Error> {
        let shared =
            Arc::new(Shared::new(config.queue_bytes, config.chunk_bytes, config.unpacked_bytes));
        let theirs = shared.clone();
        let (ready, pending) = Cell::pair();
        let worker = Worker::start(config, "kavka-consumer", move |config, driver, waker| {
            theirs.set_waker(waker);
            run::run(config, driver, &theirs, wanted, ready);
        })?;
        shared.set_waker(worker.waker.clone());
        let consumer = Self { shared, worker };
        pending.wait()?;
        Ok(consumer)
    }

    /// The next records.
    ///
    /// # Errors
    /// Of the [`Pending`]: what the application has to do something about, such as a batch that
    /// cannot be read, or an offset that is not there under
    /// [`OutOfRange::Stop`](crate::OutOfRange::Stop). That partition then waits for a
    /// [`Consumer::seek`]; the others go on.
    #[must_use = "nothing else tells how it ended"]
    pub fn next(&self) -> Pending<Chunk> {
        Pending::new(self.shared.clone(), 0)
    }

    /// The next records if there are any now.
    ///
    /// # Errors
    /// As [`Consumer::next`].
    pub fn try_next(&self) -> Result<Option<Chunk>, Error> {
        self.shared.try_pop().transpose()
    }

    /// The next records if there are any within `timeout`.
    ///
    /// # Errors
    /// As [`Consumer::next`].
    pub fn next_timeout(&self, timeout: Duration) -> Result<Option<Chunk>, Error> {
        self.next().wait_timeout(timeout).map_or(Ok(None), |chunk| chunk.map(Some))
    }

    /// Reads one more partition.
    ///
    /// # Errors
    /// Of the [`Pending`]: when it is being read already, or a limit is too small.
    pub fn add(&self, topic: &str, partition: u32, start: Start) -> Pending<()> {
        self.shared.command(topic, partition, What::Assign(start))
    }

    /// Reads this partition no longer.
    ///
    /// # Errors
    /// Of the [`Pending`], as of all commands that name a partition: when it is not being read.
    pub fn remove(&self, topic: &str, partition: u32) -> Pending<()> {
        self.shared.command(topic, partition, What::Unassign)
    }

    /// Goes on elsewhere in a partition; what was fetched of it and not taken is dropped.
    ///
    /// # Errors
    /// As [`Consumer::remove`].
    pub fn seek(&self, topic: &str, partition: u32, to: Start) -> Pending<()> {
        self.shared.command(topic, partition, What::Seek(to))
    }

    /// No records of this partition until [`Consumer::resume`].
    ///
    /// # Errors
    /// As [`Consumer::remove`].
    pub fn pause(&self, topic: &str, partition: u32) -> Pending<()> {
        self.shared.command(topic, partition, What::Pause)
    }

    /// Goes on where the application was in this partition.
    ///
    /// # Errors
    /// As [`Consumer::remove`].
    pub fn resume(&self, topic: &str, partition: u32) -> Pending<()> {
        self.shared.command(topic, partition, What::Resume(None))
    }

    /// The offset after the last record of this partition that the application has taken; `None`
    /// before the first.
    #[must_use]
    pub fn position(&self, topic: &str, partition: u32) -> Option<i64> {
        self.shared.position(topic, partition)
    }

    /// What happens to topics, partitions and connections: from now on, for the first caller from
    /// the start.
    #[must_use]
    pub fn events(&self) -> Events {
        self.shared.hub.subscribe()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.shared.close();
        self.worker.join();
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer").finish_non_exhaustive()
    }
}
