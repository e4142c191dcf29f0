//! Delays from sending to reading: records carry the time when they were sent.

use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

/// Returns microseconds since 1970, by the clock that all processes of a machine share.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or_default()
}

/// Returns a record's value: the time now, padded.
pub(crate) fn stamped() -> [u8; 100] {
    let mut value = [b'.'; 100];
    value[..8].copy_from_slice(&now().to_be_bytes());
    value
}

/// Returns when a record was sent, in microseconds since 1970.
pub(crate) fn sent_at(value: Option<&[u8]>) -> u64 {
    let bytes = value.and_then(|value| value.first_chunk::<8>());
    bytes.copied().map_or(0, u64::from_be_bytes)
}

/// Delays in microseconds.
#[derive(Default)]
pub(crate) struct Delays(pub(crate) Vec<u64>);

impl Delays {
    /// Returns the delay which `parts` of a thousand do not exceed; zero without any.
    pub(crate) fn at(&mut self, parts: usize) -> Duration {
        self.0.sort_unstable();
        let last = self.0.len().saturating_sub(1);
        Duration::from_micros(self.0.get(last * parts / 1000).copied().unwrap_or_default())
    }

    /// Formats median, 99 % and worst, in milliseconds.
    pub(crate) fn columns(&mut self) -> String {
        let millis = |duration: Duration| duration.as_millis();
        let [median, most, worst] = [500, 990, 1000].map(|parts| millis(self.at(parts)));
        format!("{median} | {most} | {worst}")
    }
}
