//! What was acknowledged to each sensor, so that a repeated reading is neither forwarded twice nor
//! lost.

use embassy_net::IpEndpoint;
use heapless::Deque;

/// Sensors that are distinguished; readings of others are ignored.
pub(crate) const SENSORS: usize = 8;
/// Turns of a sensor that may be in flight beside the oldest one.
const WINDOW: u32 = 32;
/// Acknowledgements that wait to be sent; beyond that they are made on request.
const WAITING: usize = 64;

/// One reading's name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) sensor: u32,
    pub(crate) turn: u32,
}

impl Reading {
    /// Of a datagram; `None` for one that is too short or from an unknown sensor.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        let number = |at: usize| {
            bytes.get(at..at + 4)?.try_into().ok().map(|four: [u8; 4]| u32::from_be_bytes(four))
        };
        let reading = Self { sensor: number(4)?, turn: number(8)? };
        ((reading.sensor as usize) < SENSORS).then_some(reading)
    }
}

/// What to do with a reading.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the next of its sensor.
    Wanted,
    /// It is in flight or acknowledged, or readings before it are missing.
    NotNow,
}

/// Turns of one sensor. Bit `n` of the sets is turn `base + n`.
#[derive(Clone, Copy)]
struct Sensor {
    /// All turns before it are delivered.
    base: u32,
    /// Under way or delivered.
    taken: u32,
    delivered: u32,
}

/// All sensors.
pub(crate) struct Sensors {
    sensors: [Sensor; SENSORS],
    addresses: [Option<IpEndpoint>; SENSORS],
    acknowledgements: Deque<Reading, WAITING>,
    taken: u32,
}

impl Sensors {
    pub(crate) const fn new() -> Self {
        Self {
            sensors: [Sensor { base: 0, taken: 0, delivered: 0 }; SENSORS],
            addresses: [None; SENSORS],
            acknowledgements: Deque::new(),
            taken: 0,
        }
    }

    /// What to do with a reading that came from this address. One that is delivered already is
    /// acknowledged again.
    pub(crate) fn submit(&mut self, reading: Reading, from: IpEndpoint) -> Verdict {
        let index = reading.sensor as usize;
        self.addresses[index] = Some(from);
        let sensor = self.sensors[index];
        let Some(place) = reading.turn.checked_sub(sensor.base) else {
            let _ = self.acknowledgements.push_back(reading);
            return Verdict::NotNow;
        };
        // In order, or a later reading could come before it in the log.
        if place < WINDOW && place == sensor.taken.trailing_ones() {
            return Verdict::Wanted;
        }
        if place < WINDOW && sensor.delivered & 1 << place != 0 {
            let _ = self.acknowledgements.push_back(reading);
        }
        Verdict::NotNow
    }

    /// It is in flight.
    pub(crate) fn taken(&mut self, reading: Reading) {
        let (sensor, bit) = self.place(reading);
        sensor.taken |= bit;
        self.taken += 1;
    }

    /// Kafka has it.
    pub(crate) fn delivered(&mut self, reading: Reading) {
        let (sensor, bit) = self.place(reading);
        sensor.delivered |= bit;
        let through = sensor.delivered.trailing_ones();
        sensor.base += through;
        sensor.taken = sensor.taken.checked_shr(through).unwrap_or(0);
        sensor.delivered = sensor.delivered.checked_shr(through).unwrap_or(0);
        let _ = self.acknowledgements.push_back(reading);
    }

    /// Kafka does not have it, as far as is known: the sensor's next try is welcome.
    pub(crate) fn failed(&mut self, reading: Reading) {
        let (sensor, bit) = self.place(reading);
        sensor.taken &= !bit;
    }

    /// Returns the next acknowledgement and its sensor.
    pub(crate) fn next_acknowledgement(&mut self) -> Option<(Reading, IpEndpoint)> {
        let reading = self.acknowledgements.pop_front()?;
        Some((reading, self.addresses[reading.sensor as usize]?))
    }

    /// Readings taken so far.
    pub(crate) fn count_taken(&self) -> u32 {
        self.taken
    }

    fn place(&mut self, reading: Reading) -> (&mut Sensor, u32) {
        let sensor = &mut self.sensors[reading.sensor as usize];
        let place = reading.turn.wrapping_sub(sensor.base);
        (sensor, if place < WINDOW { 1 << place } else { 0 })
    }
}
