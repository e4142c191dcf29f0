//! Pace, clock and histograms: the same for both clients.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use hdrhistogram::Histogram;

use crate::{Result, Task};

/// The longest latency that is distinguished; a longer one counts as this.
const LONGEST: Duration = Duration::from_secs(60);
/// Percentiles that are reported.
pub(crate) const PERCENTILES: [f64; 3] = [50.0, 99.0, 99.9];

/// A part of a topic's name.
pub(crate) fn unique() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos())
}

/// When records are due. A record that is sent late because the one before it took long counts
/// from when it was due, or slow sends would hide.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    begun: Instant,
    rate: u64,
}

impl Pace {
    pub(crate) fn new(rate: u64) -> Self {
        Self { begun: Instant::now(), rate }
    }

    fn due(&self, n: u64) -> Instant {
        self.begun + Duration::from_nanos(n * 1_000_000_000 / self.rate)
    }

    /// Waits until a record is due.
    pub(crate) fn wait(&self, n: u64) {
        let left = self.due(n).saturating_duration_since(Instant::now());
        if !left.is_zero() {
            thread::sleep(left);
        }
    }

    pub(crate) fn since(&self, n: u64, now: Instant) -> Duration {
        now.saturating_duration_since(self.due(n))
    }
}

/// Latencies of one kind. Records that warm up are counted, not timed.
pub(crate) struct Latencies {
    histogram: Histogram<u64>,
    warm_up: u64,
    records: u64,
}

impl Latencies {
    pub(crate) fn new(task: &Task<'_>) -> Result<Self> {
        let histogram = Histogram::new_with_bounds(1, LONGEST.as_micros() as u64, 3)?;
        Ok(Self { histogram, warm_up: task.warm_up, records: 0 })
    }

    pub(crate) fn add(&mut self, n: u64, latency: Duration) {
        self.records += 1;
        if n >= self.warm_up {
            self.histogram.saturating_record(latency.as_micros() as u64);
        }
    }

    /// Records, those that warm up included.
    pub(crate) fn records(&self) -> u64 {
        self.records
    }

    /// Milliseconds.
    fn percentiles(&self) -> [f64; 3] {
        PERCENTILES.map(|p| self.histogram.value_at_percentile(p) as f64 / 1000.0)
    }
}

/// What one process measured, in milliseconds by [`PERCENTILES`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) acknowledged: [f64; 3],
    pub(crate) consumed: [f64; 3],
}

impl Figures {
    pub(crate) fn new(acknowledged: &Latencies, consumed: Option<&Latencies>) -> Self {
        Self {
            acknowledged: acknowledged.percentiles(),
            consumed: consumed.map_or([0.0; 3], Latencies::percentiles),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.acknowledged.iter().chain(&self.consumed).try_for_each(|ms| write!(f, "{ms} "))
    }
}

impl std::str::FromStr for Figures {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let numbers: std::result::Result<Vec<f64>, _> =
            text.split_whitespace().map(str::parse).collect();
        let numbers = numbers.map_err(|why| why.to_string())?;
        let [a, b, c, d, e, f] = numbers[..] else { return Err("not six numbers".into()) };
        Ok(Self { acknowledged: [a, b, c], consumed: [d, e, f] })
    }
}

/// How many records the consumer has seen, for the sender to begin once it reads.
#[derive(Default)]
pub(crate) struct Seen(AtomicU64);

impl Seen {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Release);
    }

    /// Waits for a first record that was sent to each partition beforehand.
    pub(crate) fn wait(&self, count: u64) -> Result<()> {
        let until = Instant::now() + LONGEST;
        while self.0.load(Ordering::Acquire) < count {
            if Instant::now() > until {
                return Err("the consumer reads nothing".into());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

/// A value that carries its number.
pub(crate) fn number(value: &mut [u8], n: u64) {
    value[..8].copy_from_slice(&n.to_le_bytes());
}

/// The number in a value; `None` in those that were sent beforehand.
pub(crate) fn read_number(value: Option<&[u8]>) -> Result<Option<u64>> {
    let bytes = value.and_then(|value| value.first_chunk::<8>()).ok_or("a value of another")?;
    let n = u64::from_le_bytes(*bytes);
    Ok((n != u64::MAX).then_some(n))
}
