//! The producer of a device.

use kavka_core::{Client, Header, ProduceError, Record, TopicId};

use crate::net::now;
use crate::{micros, signal};

/// Sends a reading, sometimes a whole batch of them at once.
pub fn send(client: &mut Client<'_>, telemetry: TopicId) {
    let reading = micros().to_be_bytes();
    let headers = [Header { name: "unit", value: Some(b"bar") }];
    let record = Record::new(&reading).key(b"pump-3").headers(&headers);
    // Without space the reading is dropped; a real device would keep it until Event::Room.
    match client.produce(now(), telemetry, &record) {
        Ok(id) => signal(id.partition),
        Err(ProduceError::Full | ProduceError::NotReady) => signal(1),
        Err(ProduceError::TooLarge { max }) => signal(max as u32),
        Err(_) => signal(3),
    }
    if reading[7] == 0 {
        client.flush(now());
        client.set_wall_clock(now(), i64::from(reading[6]));
    }
}
