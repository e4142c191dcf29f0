//! Reading records on any thread.

mod chunk;
mod group;
mod idle;
mod member;
mod membership;
mod run;
mod shared;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use kavka_core::Start;

pub use chunk::{Chunk, ChunkBatch, Received};
pub use membership::MemberId;
use run::Wanted;
use shared::{Requested, Shared, What};

use crate::config::Config;
use crate::error::Error;
use crate::event::Events;
use crate::metrics::ConsumerMetrics;
use crate::pending::{Cell, Pending};
use crate::worker::Worker;

/// Reads topics or partitions, or those that a group assigns, through one background thread with
/// its own connections.
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
    /// system has no thread or poller. A topic that does not exist shows in the results
    /// of [`Consumer::next`] after [`Config::topic_timeout`].
    pub fn assign_all(config: Config, topics: &[&str]) -> Result<Self, Error> {
        Self::start(config, Wanted::Topics(topics.iter().map(|&name| name.into()).collect()))
    }

    /// [`Consumer::assign_all`] of an application that keeps positions of its own. Each partition,
    /// also one that is added later, starts where `start_of(topic, partition)` says, and nothing
    /// of it is read before; `None`: where [`Consumer::assign_all`] would start. It is called once
    /// for each partition, on the background thread, which must not be blocked.
    ///
    /// ```no_run
    /// # use std::collections::HashMap;
    /// # use kavka_std::{Config, Consumer, Start};
    /// # fn main() -> Result<(), kavka_std::Error> {
    /// let kept: HashMap<u32, i64> = HashMap::from([(0, 1234), (1, 99)]); // next offsets
    /// let start_of = move |_: &str, partition| kept.get(&partition).copied().map(Start::Offset);
    /// let config = Config::new("localhost:9092").start(Start::Earliest);
    /// let consumer = Consumer::assign_all_from(config, &["readings"], start_of)?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Consumer::assign_all`]. A negative start is reported by [`Consumer::next`], and the
    /// partition then waits for a [`Consumer::seek`].
    pub fn assign_all_from(
        config: Config,
        topics: &[&str],
        start_of: impl FnMut(&str, u32) -> Option<Start> + Send + 'static,
    ) -> Result<Self, Error> {
        let topics = topics.iter().map(|&name| name.into()).collect();
        Self::start(config, Wanted::From(topics, Box::new(start_of)))
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
    /// Of the [`Pending`]: what the application has to handle, such as a batch that
    /// cannot be read, or an offset that is not there under
    /// [`OutOfRange::Stop`](crate::OutOfRange::Stop). That partition then waits for a
    /// [`Consumer::seek`]; the others continue. Also after each [`Config::topic_timeout`] in which
    /// no broker has responded since the start; it names each address and why it cannot be used,
    /// and the consumer continues to try them. And once when every address has led to another
    /// cluster for half a second.
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`] loses no records: they wait for the next call.
    #[must_use = "nothing else reports the result"]
    pub fn next(&self) -> Pending<Chunk> {
        Pending::new(self.shared.clone(), 0)
    }

    /// The records as a stream of chunks; errors are items as those of [`Consumer::next`] are.
    #[cfg(feature = "stream")]
    pub fn stream(&self) -> crate::stream::Items<Chunk> {
        crate::stream::Items::new(self.shared.clone())
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
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`] does not take the command back; that holds for all commands.
    pub fn add(&self, topic: &str, partition: u32, start: Start) -> Pending<()> {
        self.shared.command(topic, partition, What::Assign(start))
    }

    /// Reads this partition no longer.
    ///
    /// # Errors
    /// Of the [`Pending`], as of all commands that name a partition: when it is not being read.
    ///
    /// # Cancel safety
    /// As [`Consumer::add`].
    pub fn remove(&self, topic: &str, partition: u32) -> Pending<()> {
        self.shared.command(topic, partition, What::Unassign)
    }

    /// Continues elsewhere in a partition; what was fetched of it and not taken is dropped.
    ///
    /// # Errors
    /// As [`Consumer::remove`].
    ///
    /// # Cancel safety
    /// As [`Consumer::add`].
    pub fn seek(&self, topic: &str, partition: u32, to: Start) -> Pending<()> {
        self.shared.command(topic, partition, What::Seek(to))
    }

    /// No records of this partition until [`Consumer::resume`].
    ///
    /// # Errors
    /// As [`Consumer::remove`].
    ///
    /// # Cancel safety
    /// As [`Consumer::add`].
    pub fn pause(&self, topic: &str, partition: u32) -> Pending<()> {
        self.shared.command(topic, partition, What::Pause)
    }

    /// Continues where the application was in this partition.
    ///
    /// # Errors
    /// As [`Consumer::remove`].
    ///
    /// # Cancel safety
    /// As [`Consumer::add`].
    pub fn resume(&self, topic: &str, partition: u32) -> Pending<()> {
        self.shared.command(topic, partition, What::Resume(None))
    }

    /// The offset after the last record of this partition that the application has taken; `None`
    /// before the first.
    #[must_use]
    pub fn position(&self, topic: &str, partition: u32) -> Option<i64> {
        self.shared.position(topic, partition)
    }

    /// Returns counters since the start and what waits now. The result arrives within a turn of the
    /// background thread, also while records wait for the application.
    ///
    /// # Errors
    /// Of the [`Pending`]: when the background thread has ended.
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`] changes nothing.
    #[must_use = "nothing else reports it"]
    pub fn metrics(&self) -> Pending<ConsumerMetrics> {
        let (done, pending) = Cell::pair();
        self.shared.submit(Requested::Metrics(done));
        pending
    }

    /// Returns what keeps a partition from being read now, with the address of the broker, the
    /// request and its error code where that is known; `None`: nothing is known to. For a program
    /// that waits for records no longer, and says why there were none. Persistent obstacles are
    /// also reported as [`Event::PartitionFailed`](crate::Event::PartitionFailed).
    ///
    /// # Errors
    /// Of the [`Pending`]: when the background thread has ended.
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`] changes nothing.
    #[must_use = "nothing else reports it"]
    pub fn obstacle(&self, topic: &str, partition: u32) -> Pending<Option<Error>> {
        let (done, pending) = Cell::pair();
        self.shared.submit(Requested::Obstacle(topic.into(), partition, done));
        pending
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
