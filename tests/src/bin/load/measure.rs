//! Measurements, and how they are reported.

use core::fmt;
use core::time::Duration;
use std::fs;
use std::thread;
use std::time::Instant;

use kavka_tests::sim::Server;

pub(crate) type Failure = Box<dyn core::error::Error + Send + Sync>;
pub(crate) type Outcome = Result<Figure, Failure>;

/// The result of a load.
pub(crate) struct Figure {
    /// The measured values.
    pub(crate) found: String,
    /// The limits.
    pub(crate) bar: String,
    /// Whether the values are within the limits.
    pub(crate) kept: bool,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; bar: {}", self.found, self.bar)
    }
}

/// Returns the CPU time that this thread used: other programs do not count.
pub(crate) fn thread_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// Returns the CPU time that the threads whose names begin with `prefix` used so far.
pub(crate) fn time_of(prefix: &str) -> Result<Duration, Failure> {
    let mut sum = Duration::ZERO;
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        let (name, used) = (path.join("comm"), path.join("schedstat"));
        // A thread may end between the two.
        let (Ok(name), Ok(used)) = (fs::read_to_string(name), fs::read_to_string(used)) else {
            continue;
        };
        if name.starts_with(prefix) {
            let nanos = used.split_whitespace().next().ok_or("schedstat")?.parse()?;
            sum += Duration::from_nanos(nanos);
        }
    }
    Ok(sum)
}

/// Returns the resident memory of this process in bytes.
pub(crate) fn resident() -> Result<u64, Failure> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    let kib: u64 = line.split_whitespace().next().ok_or("VmRSS")?.parse()?;
    Ok(kib * 1024)
}

/// Returns the number of records in all partitions of a topic.
pub(crate) fn stored(server: &Server, topic: &str) -> i64 {
    server.with(|cluster| {
        let partitions = 0..cluster.partitions(topic);
        partitions.map(|partition| cluster.log_len(topic, partition)).sum()
    })
}

/// Polls `done` for at most `limit`; returns whether it was true.
pub(crate) fn until(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + limit;
    while !done() {
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Returns bytes in MiB, for display.
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
