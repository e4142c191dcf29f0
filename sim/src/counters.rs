//! Requests and bytes per API, to measure what a probe costs.

use core::sync::atomic::{AtomicU64, Ordering};

use kafka_protocol::messages::ApiKey;

/// API keys below this are counted.
const KEYS: usize = 96;

/// Traffic of one API since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Requests received.
    pub requests: u64,
    /// Their bytes, length prefixes included.
    pub bytes_in: u64,
    /// Bytes of the responses, length prefixes included.
    pub bytes_out: u64,
}

/// Counters of a whole cluster.
#[derive(Debug)]
pub struct Counters {
    apis: Vec<[AtomicU64; 3]>,
}

impl Default for Counters {
    fn default() -> Self {
        Self { apis: (0..KEYS).map(|_| Default::default()).collect() }
    }
}

impl Counters {
    pub(crate) fn request(&self, api: ApiKey, size: usize) {
        if let Some([requests, bytes_in, _]) = self.apis.get(api as usize) {
            requests.fetch_add(1, Ordering::Relaxed);
            bytes_in.fetch_add(size as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn respond(&self, api: ApiKey, size: usize) {
        if let Some([_, _, bytes_out]) = self.apis.get(api as usize) {
            bytes_out.fetch_add(size as u64, Ordering::Relaxed);
        }
    }

    /// Returns the traffic of one API so far.
    #[must_use]
    pub fn of(&self, api: ApiKey) -> Traffic {
        let read =
            |i: usize| self.apis.get(api as usize).map_or(0, |c| c[i].load(Ordering::Relaxed));
        Traffic { requests: read(0), bytes_in: read(1), bytes_out: read(2) }
    }
}
