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
    #[cfg(feature = "group")]
    let config = config.group("valves").auto_commit(Some(kavka_core::Duration::from_secs(5)));
    #[cfg(feature = "transactions")]
    let config = config.transactional_id("gateway-17");
    #[cfg(feature = "read-committed")]
    let config = config.isolation(kavka_core::Isolation::ReadCommitted);
    let storage = MEMORY.take().storage();
    #[cfg(feature = "pack")]
    let (config, storage) = packing::with(config, storage);
    #[cfg(feature = "sasl")]
    let Some(storage) = login::with(storage) else {
        loop {
            signal(0);
        }
    };
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

/// The client logs in.
#[cfg(feature = "sasl")]
mod login {
    use kavka_core::{Secret, Storage};
    use static_cell::{ConstStaticCell, StaticCell};

    static PASSWORD: ConstStaticCell<[u8; 8]> = ConstStaticCell::new([0; 8]);

    #[cfg(not(feature = "scram"))]
    pub(super) fn with(storage: Storage<'static>) -> Option<Storage<'static>> {
        use kavka_core::login::Plain;
        static LOGIN: StaticCell<Plain<'static>> = StaticCell::new();
        let login = Plain::new("gateway-17", Secret::lent(PASSWORD.take())).ok()?;
        Some(storage.login(LOGIN.init(login)))
    }

    #[cfg(feature = "scram")]
    pub(super) fn with(storage: Storage<'static>) -> Option<Storage<'static>> {
        use kavka_core::login::{Scram, Sha256};
        use kavka_core::{Entropy, NoEntropy};

        /// The generator of the board.
        struct Random;

        impl Entropy for Random {
            fn fill(&mut self, out: &mut [u8]) -> Result<(), NoEntropy> {
                for byte in out {
                    *byte = kavka_size::net::now().as_micros() as u8;
                }
                Ok(())
            }
        }

        static RANDOM: StaticCell<Random> = StaticCell::new();
        static LOGIN: StaticCell<Scram<'static, Sha256>> = StaticCell::new();
        let password = Secret::lent(PASSWORD.take());
        let login = Scram::<Sha256>::new("gateway-17", password, RANDOM.init(Random)).ok()?;
        Some(storage.login(LOGIN.init(login)))
    }
}

fn run(client: &mut Client<'_>) -> Option<()> {
    let telemetry = client.topic("telemetry").ok()?;
    #[cfg(feature = "key-order")]
    client.set_key_order(telemetry, kavka_core::KeyOrder::Drain).ok()?;
    #[cfg(feature = "consumer")]
    kavka_size::orders::assign(client)?;
    let mut open = None;
    loop {
        turn(client, &mut open);
        #[cfg(feature = "transactions")]
        client.begin(now()).ok()?;
        #[cfg(feature = "producer")]
        kavka_size::readings::send(client, telemetry);
        #[cfg(feature = "transactions")]
        client.commit_transaction(now()).ok()?;
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
