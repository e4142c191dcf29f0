//! Simulated sensors: each sends its readings by UDP and repeats them until they are acknowledged.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::UdpSocket;
use std::time::Instant;

use kavka_tests::kafka::ledger::{Entry, Ledger};

use crate::Failure;

/// Sensors, as many as the gateway knows.
const SENSORS: u32 = 8;
/// Readings of a sensor that may wait for their acknowledgement.
const WINDOW: u32 = 8;
/// Without an acknowledgement for this long a reading is sent again.
const REPEAT: Duration = Duration::from_millis(300);
/// Length of a reading, in bytes.
const READING: usize = 64;

/// The result.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outcome {
    /// Readings made and acknowledged.
    pub(crate) acknowledged: u32,
    /// Datagrams sent again.
    pub(crate) repeated: u32,
    /// Longest time from a reading to its acknowledgement.
    pub(crate) slowest: Duration,
}

#[derive(Default)]
struct Sensor {
    /// All before it are acknowledged.
    base: u32,
    acknowledged: BTreeSet<u32>,
    /// When each reading of the window was first sent, and when last.
    sent: Vec<(Instant, Instant)>,
}

/// Makes `rate` readings a second in all until `over`, and continues until every one of them is
/// acknowledged, for at most `limit` longer.
pub(crate) fn run(
    port: u16,
    run: u32,
    rate: u32,
    over: &AtomicBool,
    limit: Duration,
) -> Result<(Ledger, Outcome), Failure> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    socket.connect(("127.0.0.1", port))?;
    socket.set_read_timeout(Some(Duration::from_millis(2)))?;
    let mut sensors: Vec<Sensor> = (0..SENSORS).map(|_| Sensor::default()).collect();
    let (mut ledger, mut outcome) = (Ledger::default(), Outcome::default());
    let begun = Instant::now();
    let mut ended: Option<(Instant, u32)> = None;
    loop {
        if ended.is_none() && over.load(Ordering::Acquire) {
            ended = Some((Instant::now(), made(begun.elapsed(), rate)));
        }
        let total = ended.map_or_else(|| made(begun.elapsed(), rate), |(_, total)| total);
        for (number, sensor) in (0..).zip(&mut sensors) {
            outcome.repeated += sensor.send(&socket, Entry { run, key: number, turn: total })?;
        }
        while let Some((number, turn)) = acknowledgement(&socket)? {
            let Some(sensor) = sensors.get_mut(number as usize) else { continue };
            if let Some(took) = sensor.take(turn) {
                ledger.acknowledge(Entry { run, key: number, turn }, None);
                outcome.acknowledged += 1;
                outcome.slowest = outcome.slowest.max(took);
            }
        }
        if let Some((at, total)) = ended {
            if sensors.iter().all(|sensor| sensor.base >= total) {
                return Ok((ledger, outcome));
            }
            if at.elapsed() > limit {
                let left: u32 = sensors.iter().map(|sensor| total - sensor.base).sum();
                return Err(format!("{left} readings not acknowledged within {limit:?}").into());
            }
        }
    }
}

/// Readings of each sensor after this time.
fn made(passed: Duration, rate: u32) -> u32 {
    (passed.as_secs_f64() * f64::from(rate) / f64::from(SENSORS)) as u32
}

impl Sensor {
    /// Sends what is due of the readings before `end.turn`; how many of them again.
    fn send(&mut self, socket: &UdpSocket, end: Entry) -> Result<u32, Failure> {
        let mut repeated = 0;
        for place in 0..WINDOW.min(end.turn.saturating_sub(self.base)) {
            let (turn, now) = (self.base + place, Instant::now());
            let due = match self.sent.get_mut(place as usize) {
                Some((_, last)) => {
                    let due = last.elapsed() > REPEAT && !self.acknowledged.contains(&turn);
                    if due {
                        *last = now;
                        repeated += 1;
                    }
                    due
                }
                None => {
                    self.sent.push((now, now));
                    true
                }
            };
            if due {
                match socket.send(&Entry { turn, ..end }.value(READING)) {
                    // The board is not there yet: the reading goes out again.
                    Err(error) if error.kind() != ErrorKind::ConnectionRefused => {
                        return Err(error.into());
                    }
                    _ => {}
                }
            }
        }
        Ok(repeated)
    }

    /// Reading `turn` is acknowledged; how long that took, the first time.
    fn take(&mut self, turn: u32) -> Option<Duration> {
        if turn < self.base || !self.acknowledged.insert(turn) {
            return None;
        }
        let took = self.sent.get((turn - self.base) as usize)?.0.elapsed();
        while self.acknowledged.remove(&self.base) {
            self.base += 1;
            self.sent.remove(0);
        }
        Some(took)
    }
}

/// The next one that came: sensor and turn.
fn acknowledgement(socket: &UdpSocket) -> Result<Option<(u32, u32)>, Failure> {
    let mut bytes = [0; 8];
    match socket.recv(&mut bytes) {
        Ok(8) => {
            let number = u64::from_be_bytes(bytes);
            Ok(Some(((number >> 32) as u32, number as u32)))
        }
        Ok(len) => Err(format!("an acknowledgement of {len} bytes").into()),
        Err(error) => match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused => Ok(None),
            _ => Err(error.into()),
        },
    }
}

/// Orders the gateway to end.
pub(crate) fn end(port: u16) -> Result<(), Failure> {
    let socket = UdpSocket::bind(("127.0.0.1", 0))?;
    socket.send_to(&[], ("127.0.0.1", port))?;
    Ok(())
}
