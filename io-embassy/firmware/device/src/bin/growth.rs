//! Watches a topic, producing to it or idle, and prints when it grows: how long after the host said
//! so (0: before). A datagram to port 7001 is the host's word.
//!
//! Arguments: `bootstrap`, `seed`, `topic`, `rate` of records a second (0: idle).

#![no_std]
#![no_main]

use embassy_executor::Spawner;
use embassy_futures::select::select3;
use embassy_net::udp::{PacketMetadata, UdpSocket};
use embassy_net::{Stack, StackResources};
use embassy_time::{Duration as Ticks, Ticker};
use kavka_device::console::{Arguments, Line, need};
use kavka_device::{clock, entry, executor, network, stack, watchdog};
use kavka_embassy::core::{Client, Config, Event, Record, Resources, Signal};
use kavka_embassy::net::NetDriver;
use kavka_embassy::{Driver, SocketMem, now};
use static_cell::{ConstStaticCell, StaticCell};

/// Where the host says that it has grown the topic.
const PORT: u16 = 7001;

type Kafka = NetDriver<'static, 2>;
type Sockets = SocketMem<2, 4096, 2048>;

// Two broker connections, one topic, four partitions at a time, 4 KiB in, 16 blocks of 512 B out.
static MEMORY: ConstStaticCell<Resources<2, 1, 4, 4096, 16>> =
    ConstStaticCell::new(Resources::new());
static SOCKETS: ConstStaticCell<Sockets> = ConstStaticCell::new(Sockets::new());
static KAFKA: StaticCell<Kafka> = StaticCell::new();
// Beside those of the driver and of DNS: DHCP and UDP.
static RESOURCES: ConstStaticCell<StackResources<{ Sockets::stack_sockets(2) }>> =
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
    let topic = need(arguments.get("topic").and_then(|name| kafka.topic(name).ok()), "topic");
    let (mut places, mut bytes) = ([[PacketMetadata::EMPTY; 2]; 2], [[0; 32]; 2]);
    let ([places_in, places_out], [bytes_in, bytes_out]) = (&mut places, &mut bytes);
    let mut socket = UdpSocket::new(stack, places_in, bytes_in, places_out, bytes_out);
    need(socket.bind(PORT).ok(), "port");
    let rate = arguments.number("rate", 0);
    let mut ticker = Ticker::every(Ticks::from_millis(u64::from(1000 / rate.clamp(2, 1000))));
    let mut watch = Watch { said: 0, delivered: 0 };
    let (mut word, mut turn) = ([0; 8], 0);
    loop {
        let heard = select3(socket.recv_from(&mut word), kafka.turn(), ticker.next()).await;
        if heard.is_first() {
            watch.said = clock::millis();
        }
        if heard.is_third() && rate > 0 {
            let value = entry::<100>(0, 0, turn);
            let record = Record::new(&value).key(&value[8..12]);
            turn += u32::from(kafka.produce(now(), topic, &record).is_ok());
        }
        while let Some((event, _)) = kafka.poll_event() {
            watch.heed(&event);
        }
        watchdog::report(0);
    }
}

/// The client with its sockets, in their places.
#[inline(never)] // or its frame would be part of every poll of the task that starts it
fn start(stack: Stack<'static>, arguments: &'static Arguments) -> &'static mut Kafka {
    let config = Config::new(need(arguments.get("bootstrap"), "bootstrap")).client_id("growth");
    let client = Client::new(config, MEMORY.take().storage(), arguments.seed());
    KAFKA.init(Driver::new(need(client.ok(), "client"), SOCKETS.take().sockets(stack)))
}

struct Watch {
    /// When the host last said that the topic has grown.
    said: u32,
    delivered: u32,
}

impl Watch {
    fn heed(&mut self, event: &Event<'_>) {
        match *event {
            Event::TopicReady { partitions, .. } => Line::new("ready")
                .number("partitions", partitions)
                .number("ms", clock::millis())
                .number("stack", stack::used().0)
                .print(),
            Event::PartitionsAdded { from, to, by, .. } => {
                let passed = if self.said == 0 { 0 } else { clock::millis() - self.said };
                self.said = 0;
                Line::new("grown")
                    .number("from", from)
                    .number("to", to)
                    .word("by", signal(by.signal))
                    .number("ms", passed)
                    .number("delivered", self.delivered)
                    .print();
            }
            Event::Delivered { count, .. } => self.delivered += count,
            _ => {}
        }
    }
}

const fn signal(signal: Signal) -> &'static str {
    match signal {
        Signal::Metadata => "Metadata",
        Signal::DescribeTopicPartitions => "DescribeTopicPartitions",
        Signal::ListOffsets => "ListOffsets",
        Signal::Snapshot => "Snapshot",
    }
}
