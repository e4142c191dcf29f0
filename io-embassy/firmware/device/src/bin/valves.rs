//! Obeys commands from one topic and replies to each on another, from inside the event: the command
//! is never copied, and when there is no space for its reply it simply comes again. A reply that
//! will never be taken (`TooLarge`) is counted and skipped, or its command would come again
//! without end.
//!
//! With `group` it reads as a member of a consumer group; with `transactions` each command is
//! obeyed exactly once: its reply and the group's offset are committed together.
//!
//! Arguments: `bootstrap`, `seed`, `partitions` (`all`, or the first alone; not of a member).

#![no_std]
#![no_main]

#[cfg(feature = "transactions")]
#[path = "valves/exactly.rs"]
mod exactly;

use embassy_executor::Spawner;
use embassy_futures::select::select;
use embassy_net::{Stack, StackResources};
use embassy_time::Timer;
use kavka_device::console::{Arguments, Line, need};
use kavka_device::{clock, executor, network, note, stack, watchdog};
use kavka_embassy::core::{
    Batch, Client, Commands, Config, Event, ProduceError, Resources, Start, TopicId,
};
use kavka_embassy::net::NetDriver;
use kavka_embassy::{Driver, SocketMem, now};
use static_cell::{ConstStaticCell, StaticCell};

/// Longest pause between two looks at the clock, in milliseconds.
const TICK: u64 = if cfg!(feature = "transactions") { 100 } else { 500 };
/// Between two lines about the state, in milliseconds.
const STATUS: u32 = 2000;

#[cfg(feature = "group")]
const GROUP: &str = "valves";

type Kafka = NetDriver<'static, 2>;
type Sockets = SocketMem<2, 2048, 2048>;

// Two broker connections, two topics, eight partitions at a time, 4 KiB in, 16 blocks of 512 B out.
static MEMORY: ConstStaticCell<Resources<2, 2, 8, 4096, 16>> =
    ConstStaticCell::new(Resources::new());
static SOCKETS: ConstStaticCell<Sockets> = ConstStaticCell::new(Sockets::new());
static KAFKA: StaticCell<Kafka> = StaticCell::new();
// Beside those of the driver and of DNS: DHCP.
static RESOURCES: ConstStaticCell<StackResources<{ Sockets::stack_sockets(1) }>> =
    ConstStaticCell::new(StackResources::new());

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
    let kafka = start(stack, arguments);
    let responses = need(kafka.topic("answers").ok(), "topic");
    let mut valves = Valves {
        responses,
        obeyed: 0,
        held: 0,
        passed: 0,
        delivered: 0,
        growths: 0,
        #[cfg(feature = "transactions")]
        exactly: exactly::Exactly::default(),
    };
    let mut reported = clock::millis();
    loop {
        select(kafka.turn(), Timer::after_millis(TICK)).await;
        while let Some((event, commands)) = kafka.poll_event() {
            note(&event);
            valves.heed(&event, commands);
        }
        #[cfg(feature = "transactions")]
        valves.exactly.end(kafka);
        watchdog::report(0);
        if clock::millis() - reported >= STATUS {
            reported = clock::millis();
            valves.report();
        }
    }
}

/// The client with its sockets, in their places; it reads from the first command on.
#[inline(never)] // or its frame would be part of every poll of the task that starts it
fn start(stack: Stack<'static>, arguments: &'static Arguments) -> &'static mut Kafka {
    let mut config = Config::new(need(arguments.get("bootstrap"), "bootstrap")).client_id("valves");
    // The reply to a larger command is refused for good.
    config.request_bytes = 2048;
    #[cfg(feature = "group")]
    {
        config.group = GROUP;
    }
    #[cfg(feature = "transactions")]
    {
        config.transactional_id = GROUP;
        config.isolation = kavka_embassy::core::Isolation::ReadCommitted;
        // The transactions commit.
        config.auto_commit = None;
    }
    let client = Client::new(config, MEMORY.take().storage(), arguments.seed());
    let kafka = KAFKA.init(Driver::new(need(client.ok(), "client"), SOCKETS.take().sockets(stack)));
    let commands = need(kafka.topic("commands").ok(), "topic");
    #[cfg(feature = "group")]
    let assigned = kafka.subscribe(now(), &[commands], Start::Earliest);
    #[cfg(not(feature = "group"))]
    let assigned = if arguments.get("partitions") == Some("all") {
        kafka.assign_all(now(), commands, Start::Earliest)
    } else {
        kafka.assign(now(), commands, 0, Start::Earliest).map(drop)
    };
    need(assigned.ok(), "assign");
    kafka
}

struct Valves {
    responses: TopicId,
    obeyed: u32,
    held: u32,
    passed: u32,
    delivered: u32,
    growths: u32,
    #[cfg(feature = "transactions")]
    exactly: exactly::Exactly,
}

impl Valves {
    fn heed(&mut self, event: &Event<'_>, kafka: &mut Commands<'_>) {
        #[cfg(feature = "transactions")]
        self.exactly.heed(event, kafka);
        match *event {
            Event::Records(batch) => self.obey(&batch, kafka),
            Event::Delivered { count, .. } => self.delivered += count,
            Event::PartitionsAdded { from, to, .. } => {
                self.growths += 1;
                Line::new("grown").number("from", from).number("to", to).print();
            }
            _ => {}
        }
    }

    /// Replies to every command of a batch, as far as there is space; the others come again.
    fn obey(&mut self, batch: &Batch<'_>, kafka: &mut Commands<'_>) {
        #[cfg(feature = "transactions")]
        if !self.exactly.begin(batch, kafka) {
            return;
        }
        for command in batch.records().flatten() {
            match kafka.produce(now(), self.responses, &command.to_record()) {
                Ok(_) => self.obeyed += 1,
                Err(ProduceError::Full | ProduceError::NotReady) => {
                    self.held += 1;
                    kafka.hold(batch.partition(), command.offset);
                    #[cfg(feature = "transactions")]
                    self.exactly.taken(batch, command.offset);
                    return;
                }
                Err(_) => self.passed += 1, // `TooLarge`, `Refused`: for good
            }
            #[cfg(feature = "transactions")]
            self.exactly.taken(batch, command.offset + 1);
        }
    }

    /// Transactions that were committed.
    const fn ends(&self) -> u32 {
        #[cfg(feature = "transactions")]
        return self.exactly.committed;
        #[cfg(not(feature = "transactions"))]
        0
    }

    fn report(&self) {
        Line::new("valves")
            .number("obeyed", self.obeyed)
            .number("held", self.held)
            .number("passed", self.passed)
            .number("delivered", self.delivered)
            .number("growths", self.growths)
            .number("ends", self.ends())
            .number("stack", stack::used().0)
            .number("polls", executor::polls())
            .number("unfed", watchdog::longest_wait())
            .print();
    }
}
