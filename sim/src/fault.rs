//! Scripted faults: what happens to the next requests of one API at one broker.

use core::time::Duration;
use std::collections::{HashMap, VecDeque};

use kafka_protocol::messages::ApiKey;

/// What happens to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not applied; every partition (or topic, or the response where there are none) gets this
    /// code.
    Error(i16),
    /// Applied; the response has this code nevertheless.
    ErrorAfter(i16),
    /// Fetch only: not applied; this code is at the top of the response.
    TopError(i16),
    /// Applied; the connection closes instead of a response.
    DropResponse,
    /// Not applied; the connection closes.
    DropRequest,
    /// Applied; the response (and what follows it on the connection) is delayed by this time.
    Delay(Duration),
    /// The connection closes; applied that much later, as if it had waited in the broker's queue.
    Late(Duration),
    /// Applied; the response throttles the client for this many milliseconds.
    Throttle(i32),
}

/// Faults in the order in which they will happen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults {
    queues: HashMap<(i32, ApiKey), VecDeque<Fault>>,
}

impl Faults {
    pub(crate) fn add(&mut self, broker: i32, api: ApiKey, fault: Fault, times: usize) {
        let queue = self.queues.entry((broker, api)).or_default();
        queue.extend(core::iter::repeat_n(fault, times));
    }

    pub(crate) fn take(&mut self, broker: i32, api: ApiKey) -> Option<Fault> {
        self.queues.get_mut(&(broker, api))?.pop_front()
    }

    pub(crate) fn left(&self) -> usize {
        self.queues.values().map(VecDeque::len).sum()
    }

    pub(crate) fn clear(&mut self) {
        self.queues.clear();
    }
}
