//! Reading as a member of a consumer group.

use std::sync::Arc;
use std::time::Duration;

use super::chunk::Commit;
use super::membership::MemberId;
use super::run::Wanted;
use super::shared::Requested;
use super::{Chunk, Consumer};
use crate::config::Config;
use crate::error::Error;
use crate::pending::{Cell, Pending};

impl Consumer {
    /// Reads some topics as a member of the group of [`Config::group`], by the protocol of
    /// [`Config::group_protocol`]: the coordinator or another member decides which partitions. Each
    /// begins where the group has committed; one without a commit at [`Config::start`] when the
    /// group first reads the topic, and later where nothing is skipped, unless
    /// [`Config::group_skips`].
    ///
    /// Positions are committed by [`Consumer::commit`], or by [`Config::auto_commit`]. What happens
    /// to the assignment shows in [`Consumer::events`]: `Assigned`, `Revoking`, `Lost`,
    /// `Rebalanced`. Before a partition is given up the application has time to commit, see
    /// [`Config::revocation_wait`]. Dropping the consumer leaves the group, and commits what was
    /// taken before the last chunk if it commits by itself; [`Consumer::close`] commits that too.
    ///
    /// # Errors
    /// As [`Consumer::assign_all`]; also without a group. An error that ends the membership is a
    /// result of [`Consumer::next`].
    pub fn subscribe(config: Config, topics: &[&str]) -> Result<Self, Error> {
        let topics = topics.iter().map(|&name| name.into()).collect();
        Self::start(config, Wanted::Group(topics))
    }

    /// [`Consumer::subscribe`] to all topics whose whole name matches a regular expression, now or
    /// later, except Kafka's own (`__consumer_offsets`). Topics that are created later are read
    /// from their first record, whatever [`Config::start`] is, and deleted ones go: events
    /// `TopicJoined` and `TopicLeft`.
    ///
    /// Brokers of Kafka 4.0 and later find the topics of a member under KIP-848, new ones within
    /// 10 s or so; else this client does, by a list of all topics every 5 s
    /// ([`PatternTopics`](crate::PatternTopics)). An expression may use what Rust's `regex` and
    /// RE2J have both. [`Limits::topics`](crate::Limits) has to be enough for all topics that
    /// match or, where brokers find them, for those that this member gets partitions of.
    ///
    /// ```no_run
    /// # use kavka_std::{Config, Consumer};
    /// # fn main() -> Result<(), kavka_std::Error> {
    /// let config = Config::new("localhost:9092").group("billing");
    /// let consumer = Consumer::subscribe_pattern(config, "orders-.*")?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// As [`Consumer::subscribe`], and for an expression that is none
    /// ([`ErrorKind::Pattern`](crate::ErrorKind::Pattern)).
    #[cfg(feature = "pattern")]
    pub fn subscribe_pattern(mut config: Config, expression: &str) -> Result<Self, Error> {
        let topics = crate::PatternTopics::new(expression, config.start)?;
        expression.clone_into(&mut config.group_pattern);
        Self::start(config, Wanted::Pattern(Box::new(topics)))
    }

    /// Commits that the group continues after the records of this chunk. The chunk's partitions
    /// that are another member's meanwhile are left out.
    ///
    /// Commits do not overtake each other: one that is called while another is under way is merged
    /// into the next request.
    ///
    /// # Errors
    /// Of the [`Pending`]: when the coordinator refuses, when no partition is this member's any
    /// more, and outside of a group.
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`] does not take the commit back: to commit without waiting, drop it.
    pub fn commit(&self, chunk: &Chunk) -> Pending<()> {
        self.submit_commit(chunk.ends())
    }

    /// Commits an offset of a partition, that of the next record to be read, with a text of at most
    /// 1024 bytes.
    ///
    /// # Errors
    /// As [`Consumer::commit`].
    ///
    /// # Cancel safety
    /// As [`Consumer::commit`].
    pub fn commit_offset(
        &self,
        topic: &str,
        partition: u32,
        offset: i64,
        text: &str,
    ) -> Pending<()> {
        let (topic, text) = (topic.into(), text.into());
        self.submit_commit(vec![Commit { topic, partition, offset, epoch: -1, text }])
    }

    fn submit_commit(&self, list: Vec<Commit>) -> Pending<()> {
        let (done, pending) = Cell::pair();
        self.shared.submit(Requested::Commit(list, done));
        pending
    }

    /// Gives a partition up whose revocation was reported, before [`Config::revocation_wait`] is
    /// over: the application is done with it.
    ///
    /// # Errors
    /// Of the [`Pending`]: when it is not being revoked.
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`] does not take the command back.
    pub fn release(&self, topic: &str, partition: u32) -> Pending<()> {
        let (done, pending) = Cell::pair();
        self.shared.submit(Requested::Release(topic.into(), partition, done));
        pending
    }

    /// Returns the offset of a partition that the group has committed last, as far as this member
    /// knows; `None` when it does not, and for a partition that is not this member's.
    ///
    /// # Errors
    /// Of the [`Pending`]: when the background thread has ended.
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`] changes nothing.
    #[must_use = "nothing else reports it"]
    pub fn committed(&self, topic: &str, partition: u32) -> Pending<Option<i64>> {
        let (done, pending) = Cell::pair();
        self.shared.submit(Requested::Committed(Arc::from(topic), partition, done));
        pending
    }

    /// Returns what the group knows this member by, for the offsets of a transaction
    /// ([`Transaction::send_offsets`](crate::Transaction::send_offsets)); `None` while it is no
    /// member. Events of partitions that were taken away before this are there when it returns.
    ///
    /// # Errors
    /// Of the [`Pending`]: when the background thread has ended.
    ///
    /// # Cancel safety
    /// Dropping the [`Pending`] changes nothing.
    #[must_use = "nothing else reports it"]
    pub fn membership(&self) -> Pending<Option<MemberId>> {
        let (done, pending) = Cell::pair();
        self.shared.submit(Requested::Membership(done));
        pending
    }

    /// Leaves the group within `limit`, after what was taken is committed if the group commits by
    /// itself: all of it counts as processed. Without a group it only ends the consumer.
    ///
    /// # Errors
    /// When the last commit failed, or nothing came of it within `limit`.
    pub fn close(self, limit: Duration) -> Result<(), Error> {
        let (done, pending) = Cell::pair();
        self.shared.submit(Requested::Leave(limit, done));
        pending.wait()
    }
}
