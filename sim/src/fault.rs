//! Scripted faults: what happens to the next requests of one API at one broker.

use core::time::Duration;
use std::collections::{HashMap, VecDeque};

use kafka_protocol::messages::ApiKey;

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not applied; every partition (topic, or the answer where there are none) gets this code.
    Error(i16),
    /// Applied; the answer says this code all the same.
    ErrorAfter(i16),
    /// Fetch only: not applied, this code at the top of the answer.
    TopError(i16),
    /// Applied; the connection closes instead of an answer.
    DropAnswer,
    /// Not applied; the connection closes.
    DropRequest,
    /// Applied; the answer (and what is behind it on the connection) comes that much later.
    Delay(Duration),
    /// Applied; the answer asks the client to be silent for this many milliseconds.
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
