//! Takes a sample every 10 ms and sends them in batches. While the broker does not take them, they
//! wait in the client's memory and then in a backlog that drops the oldest.
//!
//! Arguments: `bootstrap`, `samples` to take, `run` to mark them with, `linger` in milliseconds.
//! With feature `lz4` batches are compressed. With feature `tls` the client logs in, over TLS:
//! arguments of `secure`.

#![no_std]
#![no_main]

use embassy_executor::Spawner;
use embassy_futures::select::{Either, select};
use embassy_net::{Stack, StackResources};
use embassy_time::{Duration as Ticks, Ticker};
use kavka_device::backlog::Backlog;
use kavka_device::console::{self, Arguments, Line, need};
use kavka_device::in_flight::InFlight;
use kavka_device::{executor, lan9118, network, note, sample, stack, watchdog};
use kavka_embassy::core::{
    Client, Commands, Config, Duration, Event, ProduceError, Record, Resources, Storage, TopicId,
};
use kavka_embassy::{Driver, now};
use static_cell::{ConstStaticCell, StaticCell};

/// Length of a sample, in bytes.
const SAMPLE: usize = 48;
/// Records of a batch, in bytes: half of what the client has for what it sends.
const BATCH: usize = 4096;
/// Samples that wait beside those in the client's memory.
const BACKLOG: usize = 256;
/// Samples that are on their way at a time.
const IN_FLIGHT: usize = 256;

type Kafka = Driver<'static, link::Socket, 2>;

// Two broker connections, one topic, four partitions at a time, 4 KiB in, 16 blocks of 512 B out.
static MEMORY: ConstStaticCell<Resources<2, 1, 4, 4096, 16>> =
    ConstStaticCell::new(Resources::new());
static KAFKA: StaticCell<Kafka> = StaticCell::new();
// Beside those of the driver and of DNS: DHCP.
static RESOURCES: ConstStaticCell<StackResources<{ link::SOCKETS + 1 }>> =
    ConstStaticCell::new(StackResources::new());
static SAMPLES: ConstStaticCell<Samples> = ConstStaticCell::new(Samples::new());

#[cortex_m_rt::entry]
fn main() -> ! {
    executor::start(|spawner| {
        let arguments = Arguments::read();
        let stack = network::start(spawner, arguments, RESOURCES.take(), 2);
        executor::spawn(spawner, app(spawner, stack, arguments));
    })
}

#[embassy_executor::task]
async fn app(spawner: Spawner, stack: Stack<'static>, arguments: &'static Arguments) {
    executor::spawn(spawner, watchdog::watch(1));
    network::up(stack).await;
    let kafka = start(spawner, stack, arguments);
    let topic = need(kafka.topic("telemetry").ok(), "topic");
    let samples = SAMPLES.take();
    let (end, run) = (arguments.number("samples", 1000), arguments.number("run", 0));
    let mut ticker = Ticker::every(Ticks::from_millis(10));
    while samples.taken < end || !samples.settled() {
        if let Either::Second(()) = select(kafka.turn(), ticker.next()).await
            && samples.taken < end
        {
            samples.take();
        }
        samples.hand_over(kafka, topic, run);
        while let Some((event, _)) = kafka.poll_event() {
            note(&event);
            samples.heed(&event);
        }
        // A login computes for longer than a tick, and ticks that are late all come at once.
        #[cfg(feature = "tls")]
        embassy_futures::yield_now().await;
        watchdog::report(0);
    }
    samples.report();
    console::exit(true)
}

/// The client with its sockets, in their places.
#[inline(never)] // or its frame would be part of every poll of the task that starts it
fn start(
    spawner: Spawner,
    stack: Stack<'static>,
    arguments: &'static Arguments,
) -> &'static mut Kafka {
    let mut config = Config::new(need(arguments.get("bootstrap"), "bootstrap"))
        .client_id("telemetry")
        .linger(Duration::from_millis(arguments.number("linger", 200).into()))
        .linger_when_idle(true);
    config.batch_bytes = BATCH;
    let (config, storage) = compressed(config, MEMORY.take().storage());
    let storage = link::login(storage, arguments);
    let client = Client::new(config, storage, arguments.seed());
    let sockets = link::sockets(spawner, stack, arguments);
    KAFKA.init(Driver::new(need(client.ok(), "client"), sockets))
}

/// Batches are compressed where the image has feature `lz4`.
#[cfg(feature = "lz4")]
fn compressed(
    config: Config<'static>,
    storage: Storage<'static>,
) -> (Config<'static>, Storage<'static>) {
    use kavka_embassy::core::codec::{Codec, CompactPack, scratch_bytes};
    static ENCODERS: ConstStaticCell<CompactPack> = ConstStaticCell::new(CompactPack::new());
    static SCRATCH: ConstStaticCell<[u8; scratch_bytes(BATCH)]> =
        ConstStaticCell::new([0; scratch_bytes(BATCH)]);
    (config.compression(Some(Codec::Lz4)), storage.packing(ENCODERS.take(), SCRATCH.take()))
}

#[cfg(not(feature = "lz4"))]
fn compressed(
    config: Config<'static>,
    storage: Storage<'static>,
) -> (Config<'static>, Storage<'static>) {
    (config, storage)
}

/// What the client reaches brokers through.
#[cfg(feature = "tls")]
use kavka_device::secure as link;

#[cfg(not(feature = "tls"))]
mod link {
    use embassy_executor::Spawner;
    use embassy_net::Stack;
    use kavka_device::console::Arguments;
    use kavka_device::executor;
    use kavka_embassy::SocketMem;
    use kavka_embassy::core::Storage;
    use kavka_embassy::net::{Names, NetSocket};
    use static_cell::ConstStaticCell;

    pub(super) type Socket = NetSocket<'static>;
    type Sockets = SocketMem<2, 2048, 2048>;
    pub(super) const SOCKETS: usize = Sockets::stack_sockets(0);

    static MEMORY: ConstStaticCell<Sockets> = ConstStaticCell::new(Sockets::new());

    /// Finds the addresses of brokers that have names.
    #[embassy_executor::task]
    async fn look_up(mut names: Names<'static>) {
        names.run().await;
    }

    pub(super) fn sockets(spawner: Spawner, stack: Stack<'static>, _: &Arguments) -> [Socket; 2] {
        let (sockets, names) = MEMORY.take().sockets_and_names(stack);
        executor::spawn(spawner, look_up(names));
        sockets
    }

    pub(super) fn login(storage: Storage<'static>, _: &Arguments) -> Storage<'static> {
        storage
    }
}

/// All samples that are not settled, and the outcome of the others.
struct Samples {
    backlog: Backlog<u32, BACKLOG>,
    in_flight: InFlight<u32, IN_FLIGHT>,
    taken: u32,
    delivered: u32,
    batches: u32,
    /// Microseconds of work up to the first response.
    #[cfg(feature = "meter")]
    begun: u32,
}

impl Samples {
    const fn new() -> Self {
        Self {
            backlog: Backlog::new(),
            in_flight: InFlight::new(),
            taken: 0,
            delivered: 0,
            batches: 0,
            #[cfg(feature = "meter")]
            begun: 0,
        }
    }

    fn take(&mut self) {
        self.backlog.push(self.taken);
        self.taken += 1;
    }

    /// As many as the client has space for; after [`Event::Room`] it has some again.
    fn hand_over(&mut self, kafka: &mut Commands<'_>, topic: TopicId, run: u32) {
        while let Some(sample) = self.backlog.front().filter(|_| !self.in_flight.is_full()) {
            let value = self::sample::<SAMPLE>(run, 0, *sample);
            match kafka.produce(now(), topic, &Record::new(&value)) {
                Ok(id) => {
                    self.in_flight.note(id, *sample);
                    self.backlog.pop();
                }
                Err(ProduceError::Full | ProduceError::NotReady) => break,
                Err(_) => console::fail("a sample was refused"),
            }
        }
    }

    fn heed(&mut self, event: &Event<'_>) {
        match *event {
            Event::Delivered { batch, first, count, .. } => {
                self.in_flight.settle(batch, first, count, |sample| {
                    Line::new("delivered").number("sample", *sample).print();
                });
                #[cfg(feature = "meter")]
                if self.delivered == 0 {
                    self.begun = executor::busy().0;
                }
                self.delivered += count;
                self.batches += 1;
            }
            Event::Failed { .. } => console::fail("a batch failed"),
            _ => {}
        }
    }

    fn settled(&self) -> bool {
        self.backlog.front().is_none() && self.in_flight.is_empty()
    }

    fn report(&self) {
        #[cfg(feature = "meter")]
        Line::new("work")
            .number("begun", self.begun)
            .number("all", executor::busy().0)
            .number("longest", executor::busy().1)
            .print();
        Line::new("telemetry")
            .number("taken", self.taken)
            .number("delivered", self.delivered)
            .number("batches", self.batches)
            .number("dropped", self.backlog.dropped())
            .number("most", self.backlog.most())
            .number("bound", BACKLOG as u32)
            .number("stack", stack::used().0)
            .number("sent", lan9118::sent())
            .number("polls", executor::polls())
            .number("unfed", watchdog::longest_wait())
            .print();
    }
}
