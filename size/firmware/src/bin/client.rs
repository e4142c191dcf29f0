//! A producer of readings, with feature `consumer` also a reader of orders: everything that an
//! application does with kavka, so that nothing is left out of the image.

#![no_std]
#![no_main]

use cortex_m_rt::entry;
use kavka_core::{Client, Config, Resources};
use kavka_size::events::show;
use kavka_size::net::{Memory, now, turn};
use kavka_size::signal;
use panic_halt as _;
use static_cell::ConstStaticCell;

static MEMORY: ConstStaticCell<Memory> = ConstStaticCell::new(Resources::new());

#[entry]
fn main() -> ! {
    let config = Config::new("10.0.2.2:9092").client_id("gateway-17");
    let storage = MEMORY.take().storage();
    #[cfg(feature = "pack")]
    let (config, storage) = packing::with(config, storage);
    if let Ok(mut client) = Client::new(config, storage, [7; 32]) {
        run(&mut client);
    }
    loop {
        signal(0);
    }
}

/// Batches are compressed, in pieces of 4 KiB.
#[cfg(feature = "pack")]
mod packing {
    use kavka_core::codec::{Codec, CompactPack, scratch_bytes};
    use kavka_core::{Config, Storage};
    use static_cell::ConstStaticCell;

    static ENCODERS: ConstStaticCell<CompactPack> = ConstStaticCell::new(CompactPack::new());
    static SCRATCH: ConstStaticCell<[u8; scratch_bytes(4096)]> =
        ConstStaticCell::new([0; scratch_bytes(4096)]);

    pub(super) fn with(
        config: Config<'static>,
        storage: Storage<'static>,
    ) -> (Config<'static>, Storage<'static>) {
        let storage = storage.packing(ENCODERS.take(), SCRATCH.take());
        (config.compression(Some(Codec::Lz4)), storage)
    }
}

fn run(client: &mut Client<'_>) -> Option<()> {
    let telemetry = client.topic("telemetry").ok()?;
    #[cfg(feature = "consumer")]
    kavka_size::orders::assign(client)?;
    let mut open = None;
    loop {
        turn(client, &mut open);
        #[cfg(feature = "producer")]
        kavka_size::readings::send(client, telemetry);
        if let Some(known) = client.freshness(telemetry) {
            signal(known.partitions);
        }
        while let Some((event, commands)) = client.poll_event(now()) {
            show(&event);
            #[cfg(feature = "consumer")]
            kavka_size::orders::take(&event, commands);
            #[cfg(not(feature = "consumer"))]
            let _ = commands;
        }
    }
}
