//! A producer of readings that takes orders from a second topic.

#![no_std]
#![no_main]

use cortex_m_rt::entry;
use kavka_core::{Client, Config, Event, Record, Resources, Start};
use kavka_size::net::{Memory, now, turn};
use kavka_size::{micros, signal};
use panic_halt as _;
use static_cell::ConstStaticCell;

static MEMORY: ConstStaticCell<Memory> = ConstStaticCell::new(Resources::new());

#[entry]
fn main() -> ! {
    let config = Config::new("10.0.2.2:9092").client_id("gateway-17");
    if let Ok(mut client) = Client::new(config, MEMORY.take().storage(), [7; 32]) {
        run(&mut client);
    }
    loop {
        signal(0);
    }
}

fn run(client: &mut Client<'_>) {
    let Ok(telemetry) = client.topic("telemetry") else { return };
    let Ok(valves) = client.topic("valves") else { return };
    if client.assign(now(), valves, 0, Start::Latest).is_err() {
        return;
    }
    let mut open = None;
    loop {
        turn(client, &mut open);
        let reading = micros().to_be_bytes();
        let record = Record::new(&reading).key(b"pump-3");
        let _ = client.produce(now(), telemetry, &record);
        while let Some((event, _)) = client.poll_event(now()) {
            match event {
                Event::Delivered { count, .. } => signal(count),
                Event::Failed { maybe_written, .. } => signal(u32::from(maybe_written)),
                Event::Records(batch) => {
                    for record in batch.records().flatten() {
                        let value = record.value.unwrap_or_default();
                        signal(value.first().copied().map_or(0, u32::from));
                    }
                }
                _ => {}
            }
        }
    }
}
