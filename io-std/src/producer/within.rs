//! Sending records that have a delivery timeout of their own.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kavka_core::record::Record;

use super::chunk::Delivered;
use super::inbox::{Inbox, To};
use crate::error::ProduceError;
use crate::pending::Pending;

/// Sends records with a delivery timeout of their own, from
/// [`Producer::within`](crate::Producer::within).
///
/// The time of a record begins when it is taken into the queue. If it has not left for a broker
/// when its time is over, it fails with the reason, is certainly not written, and no other record
/// fails with it. If it is in a request by then, the result of the request decides, at most
/// the request timeout later, since only that shows whether it was written
/// ([`Error::maybe_written`](crate::Error::maybe_written)). The limit is
/// [`Config::delivery_timeout`](crate::Config::delivery_timeout), if that is shorter.
///
/// Records share a batch only with those whose time ends within the same 10 ms; a program that
/// alternates between timeouts sends many small batches.
#[derive(Clone, Copy)]
pub struct Within<'a> {
    inbox: &'a Arc<Inbox>,
    timeout: Duration,
}

impl<'a> Within<'a> {
    pub(super) const fn new(inbox: &'a Arc<Inbox>, timeout: Duration) -> Self {
        Self { inbox, timeout }
    }

    fn to<'t>(&self, topic: &'t str, partition: Option<u32>) -> To<'t> {
        To { topic, partition, within: Some(self.timeout) }
    }

    /// As [`Producer::send`](crate::Producer::send). While there is no space it blocks, and the
    /// time has not begun.
    ///
    /// # Errors
    /// As [`Producer::send`](crate::Producer::send).
    ///
    /// # Cancel safety
    /// As [`Producer::send`](crate::Producer::send).
    pub fn send(
        &self,
        topic: &str,
        record: &Record<'_>,
    ) -> Result<Pending<Delivered>, ProduceError> {
        self.inbox.push_waiting(&self.to(topic, None), record)
    }

    /// As [`Producer::send_to`](crate::Producer::send_to). While there is no space it blocks, and
    /// the time has not begun.
    ///
    /// # Errors
    /// As [`Producer::send`](crate::Producer::send).
    ///
    /// # Cancel safety
    /// As [`Producer::send`](crate::Producer::send).
    pub fn send_to(
        &self,
        topic: &str,
        partition: u32,
        record: &Record<'_>,
    ) -> Result<Pending<Delivered>, ProduceError> {
        self.inbox.push_waiting(&self.to(topic, Some(partition)), record)
    }

    /// As [`Producer::send_async`](crate::Producer::send_async).
    ///
    /// # Errors
    /// As [`Producer::send`](crate::Producer::send).
    ///
    /// # Cancel safety
    /// As [`Producer::send_async`](crate::Producer::send_async).
    pub async fn send_async(
        &self,
        topic: &str,
        record: &Record<'_>,
    ) -> Result<Pending<Delivered>, ProduceError> {
        self.inbox.push_awaiting(&self.to(topic, None), record).await
    }

    /// As [`Producer::send_to_async`](crate::Producer::send_to_async).
    ///
    /// # Errors
    /// As [`Producer::send`](crate::Producer::send).
    ///
    /// # Cancel safety
    /// As [`Producer::send_async`](crate::Producer::send_async).
    pub async fn send_to_async(
        &self,
        topic: &str,
        partition: u32,
        record: &Record<'_>,
    ) -> Result<Pending<Delivered>, ProduceError> {
        self.inbox.push_awaiting(&self.to(topic, Some(partition)), record).await
    }

    /// As [`Producer::try_send`](crate::Producer::try_send).
    ///
    /// # Errors
    /// As [`Producer::try_send`](crate::Producer::try_send).
    ///
    /// # Cancel safety
    /// As [`Producer::send`](crate::Producer::send).
    pub fn try_send(
        &self,
        topic: &str,
        record: &Record<'_>,
    ) -> Result<Pending<Delivered>, ProduceError> {
        self.inbox.push(&self.to(topic, None), record)
    }

    /// As [`Producer::try_send_to`](crate::Producer::try_send_to).
    ///
    /// # Errors
    /// As [`Producer::try_send`](crate::Producer::try_send).
    ///
    /// # Cancel safety
    /// As [`Producer::send`](crate::Producer::send).
    pub fn try_send_to(
        &self,
        topic: &str,
        partition: u32,
        record: &Record<'_>,
    ) -> Result<Pending<Delivered>, ProduceError> {
        self.inbox.push(&self.to(topic, Some(partition)), record)
    }
}

impl fmt::Debug for Within<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Within").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
