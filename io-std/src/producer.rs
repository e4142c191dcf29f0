//! Sending records from any thread.

mod batches;
mod chunk;
mod counts;
mod inbox;
mod parked;
mod refusals;
mod run;
mod transaction;
mod turn;
mod within;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use kavka_core::record::Record;
use kavka_core::{Misuse, TransactionError};

use crate::config::Config;
use crate::error::{Error, ProduceError};
use crate::event::{Events, Freshness};
use crate::lost::Lost;
use crate::metrics::ProducerMetrics;
use crate::pending::{Cell, Pending, lock};
use crate::worker::Worker;
pub use chunk::Delivered;
use inbox::{Inbox, Item, To};
pub use transaction::Transaction;
use turn::Turn;
pub use within::Within;

/// Sends records, from any thread, through one background thread with its own connections.
///
/// Dropping it blocks the thread until everything is acknowledged or failed, at most for
/// [`Config::close_timeout`], and reports what was lost. In an async program await
/// [`Producer::close`] first: dropping a producer that was closed blocks nothing.
pub struct Producer {
    inbox: Arc<Inbox>,
    lost: Arc<Mutex<Lost>>,
    worker: Worker,
    config: Config,
}

impl Producer {
    /// Starts the background thread. Brokers are connected when they are needed: a wrong address
    /// shows in [`Producer::events`] and when records time out.
    ///
    /// # Errors
    /// When the configuration cannot work, or the system has no thread or poller.
    pub fn new(config: Config) -> Result<Self, Error> {
        let inbox = Arc::new(Inbox::new(config.queue_bytes, config.chunk_bytes));
        let lost = Arc::new(Mutex::new(Lost::default()));
        let (theirs, losses) = (inbox.clone(), lost.clone());
        let worker =
            Worker::start(config.clone(), "kavka-producer", move |config, driver, waker| {
                run::run(config, driver, waker, &theirs, &losses);
            })?;
        inbox.set_waker(worker.waker.clone());
        Ok(Self { inbox, lost, worker, config })
    }

    /// Sends a record to a topic; blocks the thread while there is no space (async:
    /// [`Producer::send_async`]). Its key decides on the partition.
    ///
    /// Records for a topic that brokers do not know (yet) wait apart, up to a quarter of
    /// [`Config::queue_bytes`] per topic: then only senders to this topic wait.
    ///
    /// # Errors
    /// [`ProduceError::Refused`] when the producer is closed or its thread has ended. Later
    /// failures are reported by the [`Pending`], and by [`Producer::flush`].
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`] leaves the record to be sent; a failure is then reported by
    /// [`Producer::flush`].
    pub fn send(
        &self,
        topic: &str,
        record: &Record<'_>,
    ) -> Result<Pending<Delivered>, ProduceError> {
        self.inbox.push_waiting(&To { topic, partition: None, within: None }, record)
    }

    /// [`Producer::send`] to a partition of choice.
    ///
    /// # Errors
    /// As [`Producer::send`].
    ///
    /// # Cancel safety
    /// As [`Producer::send`].
    pub fn send_to(
        &self,
        topic: &str,
        partition: u32,
        record: &Record<'_>,
    ) -> Result<Pending<Delivered>, ProduceError> {
        self.inbox.push_waiting(&To { topic, partition: Some(partition), within: None }, record)
    }

    /// [`Producer::send`] that waits for space without blocking the thread. Where there is space
    /// it is ready at once and costs what [`Producer::try_send`] does.
    ///
    /// ```no_run
    /// # use std::error::Error;
    /// # async fn example(producer: &kavka_std::Producer) -> Result<(), Box<dyn Error>> {
    /// let record = kavka_std::Record::new(b"21.5");
    /// let pending = producer.send_async("readings", &record).await?; // it is in the queue
    /// let delivered = pending.await?; // it is acknowledged
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Producer::send`].
    ///
    /// # Cancel safety
    /// When it is dropped before it is ready, the record was not taken and is not sent. Records
    /// of tasks that wait at the same time are taken in no particular order.
    pub async fn send_async(
        &self,
        topic: &str,
        record: &Record<'_>,
    ) -> Result<Pending<Delivered>, ProduceError> {
        self.inbox.push_awaiting(&To { topic, partition: None, within: None }, record).await
    }

    /// [`Producer::send_async`] to a partition of choice.
    ///
    /// # Errors
    /// As [`Producer::send`].
    ///
    /// # Cancel safety
    /// As [`Producer::send_async`].
    pub async fn send_to_async(
        &self,
        topic: &str,
        partition: u32,
        record: &Record<'_>,
    ) -> Result<Pending<Delivered>, ProduceError> {
        let partition = Some(partition);
        self.inbox.push_awaiting(&To { topic, partition, within: None }, record).await
    }

    /// [`Producer::send`] that never waits.
    ///
    /// # Errors
    /// [`ProduceError::Full`] when there is no space; [`Producer::room`] resolves when there is.
    /// [`ProduceError::TopicFull`] when there is none for this topic, which is not known (yet);
    /// [`Producer::room_for`] resolves when there is. Otherwise as [`Producer::send`].
    ///
    /// # Cancel safety
    /// As [`Producer::send`].
    pub fn try_send(
        &self,
        topic: &str,
        record: &Record<'_>,
    ) -> Result<Pending<Delivered>, ProduceError> {
        self.inbox.push(&To { topic, partition: None, within: None }, record)
    }

    /// [`Producer::send_to`] that never waits.
    ///
    /// # Errors
    /// As [`Producer::try_send`].
    ///
    /// # Cancel safety
    /// As [`Producer::send`].
    pub fn try_send_to(
        &self,
        topic: &str,
        partition: u32,
        record: &Record<'_>,
    ) -> Result<Pending<Delivered>, ProduceError> {
        self.inbox.push(&To { topic, partition: Some(partition), within: None }, record)
    }

    /// Resolves when the coordinator has given the transactional id to this producer: whichever
    /// producer had it before is fenced, and its transaction is aborted or, if its commit had
    /// begun, committed. The producer requests that by itself when it starts; waiting for it is of
    /// use before reading what the former producer may have committed, such as offsets. Repeated
    /// without limit while no coordinator responds.
    ///
    /// # Errors
    /// Of the [`Pending`]: when the coordinator refuses, without a transactional id, within an open
    /// transaction, and when the producer is closed.
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`] changes nothing.
    #[must_use = "nothing else reports the result"]
    pub fn init_transactions(&self) -> Pending<()> {
        let (done, pending) = Cell::pair();
        self.inbox.submit(|_| Item::Turn(Turn::Init { done }));
        pending
    }

    /// Begins a transaction ([`Config::transactional_id`]): the records that are sent until its end
    /// count together or not at all, also those of [`Producer::send`]. Returns at once; the
    /// transaction before may still be ending, and what is wrong shows when this one is committed.
    ///
    /// # Errors
    /// When one is open.
    pub fn transaction(&self) -> Result<Transaction<'_>, Error> {
        match self.inbox.begin_transaction() {
            true => Ok(Transaction::new(&self.inbox)),
            false => {
                let open = TransactionError::Caller(Misuse::InTransaction);
                Err(turn::failed(open, "begin a transaction"))
            }
        }
    }

    /// Sends records that have less time than [`Config::delivery_timeout`].
    ///
    /// ```no_run
    /// # use std::time::Duration;
    /// # fn example(producer: &kavka_std::Producer) -> Result<(), Box<dyn std::error::Error>> {
    /// let command = kavka_std::Record::new(b"open");
    /// let soon = producer.within(Duration::from_secs(2));
    /// soon.send("valves", &command)?.wait()?; // fails after two seconds, and is not sent later
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn within(&self, timeout: Duration) -> Within<'_> {
        Within::new(&self.inbox, timeout)
    }

    /// Resolves when [`Producer::try_send`] would take a record for a topic that is known. Others
    /// may take the space first.
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`] changes nothing.
    #[must_use = "nothing else reports the result"]
    pub fn room(&self) -> Pending<()> {
        Pending::new(self.inbox.clone(), inbox::ANY_TOPIC)
    }

    /// Resolves when [`Producer::try_send`] would take a record for this topic. Others may take
    /// the space first.
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`] changes nothing.
    #[must_use = "nothing else reports the result"]
    pub fn room_for(&self, topic: &str) -> Pending<()> {
        self.inbox.room_for(topic)
    }

    /// Resolves when everything sent before is acknowledged or failed; batches do not linger.
    ///
    /// # Errors
    /// Of the [`Pending`]: the first failure, since the flush before, that no other [`Pending`]
    /// has reported.
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`] does not stop the flush; failures that it would have reported are
    /// forgotten once it ends, unless it has not begun, when a later flush reports them.
    #[must_use = "nothing else reports the result"]
    pub fn flush(&self) -> Pending<()> {
        let (done, pending) = Cell::pair();
        self.inbox.submit(|_| Item::Flush { done });
        pending
    }

    /// Returns what is known of a topic; waits until something is, at most for
    /// [`Config::topic_timeout`]. The producer watches the topic from then on.
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`] cancels the request.
    #[must_use = "nothing else reports the result"]
    pub fn freshness(&self, topic: &str) -> Pending<Freshness> {
        let (report, pending) = Cell::pair();
        self.inbox.submit(|name| Item::Know { topic: name(topic), report });
        pending
    }

    /// Returns counters since the start and what waits now. The result arrives within a turn of the
    /// background thread, also when the queue is full.
    ///
    /// # Errors
    /// Of the [`Pending`]: when the producer was closed.
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`] changes nothing.
    #[must_use = "nothing else reports it"]
    pub fn metrics(&self) -> Pending<ProducerMetrics> {
        let (done, pending) = Cell::pair();
        self.inbox.request_metrics(done);
        pending
    }

    /// Returns the events of topics and connections from now on, to the first caller those since
    /// the start.
    #[must_use]
    pub fn events(&self) -> Events {
        self.inbox.hub.subscribe()
    }

    /// Refuses records from now on, gives those sent before at most `bound` to be acknowledged or
    /// failed, ends the background thread, and returns what was lost. It begins with the call, not
    /// with the first poll; blocking: `.close(bound).wait()`. A later call may shorten the time: of
    /// several bounds that which ends first holds.
    ///
    /// # Errors
    /// Of the [`Pending`]: `Closed` when it was called before.
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`], and the producer, does not stop it; what was lost goes to
    /// [`Config::on_lost`] then.
    #[must_use = "it says which records were lost"]
    pub fn close(&self, bound: Duration) -> Pending<Lost> {
        let (done, pending) = Cell::pair();
        if let Err(done) = self.inbox.begin_close(bound, done) {
            // The thread has ended on its own.
            done.set(Ok(core::mem::take(&mut lock(&self.lost))));
        }
        pending
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        if self.inbox.is_closing() {
            return; // the thread ends and reports by itself
        }
        let lost = self.close(self.config.close_timeout).wait().unwrap_or_default();
        self.worker.join();
        self.config.report_lost(&lost);
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer").field("config", &self.config).finish_non_exhaustive()
    }
}
