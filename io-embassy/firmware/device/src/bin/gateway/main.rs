//! Takes readings from sensors by UDP and forwards them to Kafka. A reading is acknowledged to its
//! sensor when Kafka has it, and not before; a sensor repeats what is not acknowledged. So nothing
//! needs to be stored here for longer than it is on its way.
//!
//! A reading is a datagram: `run`, `sensor` and `turn` (32 bits each, big-endian; turns count from
//! 0), and what was measured. The acknowledgement is `sensor` and `turn`. An empty datagram ends
//! the gateway.
//!
//! Arguments: `bootstrap`, `seed`.

#![no_std]
#![no_main]

mod sensors;

use embassy_executor::Spawner;
use embassy_futures::poll_once;
use embassy_futures::select::{Either3, select3};
use embassy_net::udp::{PacketMetadata, UdpSocket};
use embassy_net::{IpEndpoint, Stack, StackResources};
use embassy_time::Timer;
use kavka_device::console::{self, Arguments, Line, need};
use kavka_device::in_flight::InFlight;
use kavka_device::{clock, executor, network, note, stack, watchdog};
use kavka_embassy::core::{Client, Commands, Config, Duration, Event, Record, Resources, TopicId};
use kavka_embassy::net::NetDriver;
use kavka_embassy::{Driver, SocketMem, now};
use sensors::{Reading, SENSORS, Sensors, Verdict};
use static_cell::{ConstStaticCell, StaticCell};

/// Readings on their way at a time.
const IN_FLIGHT: usize = 128;
/// Where readings come in.
const PORT: u16 = 7000;
/// Longest reading, in bytes.
const READING: usize = 128;
/// Between two lines about the state, in milliseconds.
const STATUS: u32 = 5000;

type Kafka = NetDriver<'static, 3>;
type Sockets = SocketMem<3, 1536, 2048>;

// Three broker connections, one topic, 16 partitions at a time, 3 KiB in, 24 blocks of 512 B out.
static MEMORY: ConstStaticCell<Resources<3, 1, 16, 3072, 24>> =
    ConstStaticCell::new(Resources::new());
static SOCKETS: ConstStaticCell<Sockets> = ConstStaticCell::new(Sockets::new());
static KAFKA: StaticCell<Kafka> = StaticCell::new();
// Beside those of the driver and of DNS: DHCP and UDP.
static RESOURCES: ConstStaticCell<StackResources<{ Sockets::stack_sockets(2) }>> =
    ConstStaticCell::new(StackResources::new());
static GATEWAY: ConstStaticCell<Gateway> = ConstStaticCell::new(Gateway::new());
static PLACES: StaticCell<[[PacketMetadata; 16]; 2]> = StaticCell::new();
static RECEIVED: ConstStaticCell<[u8; 2048]> = ConstStaticCell::new([0; 2048]);
static TO_SEND: ConstStaticCell<[u8; 256]> = ConstStaticCell::new([0; 256]);

#[cortex_m_rt::entry]
fn main() -> ! {
    executor::start(|spawner| {
        let arguments = Arguments::read();
        let stack = network::start(spawner, arguments, RESOURCES.take(), 3);
        executor::spawn(spawner, app(spawner, stack, arguments));
    })
}

#[embassy_executor::task]
async fn app(spawner: Spawner, stack: Stack<'static>, arguments: &'static Arguments) {
    executor::spawn(spawner, watchdog::watch(1));
    network::up(stack).await;
    let kafka = start(stack, arguments);
    let topic = need(kafka.topic("readings").ok(), "topic");
    let socket = listen(stack);
    let gateway = GATEWAY.take();
    let mut datagram = [0; READING];
    let mut reported = clock::millis();
    loop {
        let tick = Timer::after_millis(200);
        match select3(kafka.turn(), socket.recv_from(&mut datagram), tick).await {
            Either3::Second(Ok((0, _))) => break,
            Either3::Second(Ok((len, from))) => {
                let reading = datagram.get(..len).unwrap_or_default();
                gateway.take(kafka, topic, reading, from.endpoint);
            }
            _ => {}
        }
        while let Some((event, _)) = kafka.poll_event() {
            note(&event);
            gateway.heed(&event);
        }
        gateway.acknowledge(&socket);
        watchdog::report(0);
        if clock::millis() - reported >= STATUS {
            reported = clock::millis();
            gateway.report("status");
        }
    }
    gateway.report("gateway");
    console::exit(true)
}

/// The client with its sockets, in their places.
#[inline(never)] // or its frame would be part of every poll of the task that starts it
fn start(stack: Stack<'static>, arguments: &'static Arguments) -> &'static mut Kafka {
    let mut config = Config::new(need(arguments.get("bootstrap"), "bootstrap"));
    config.client_id = "gateway";
    config.delivery_timeout = Duration::from_secs(600); // sensors wait longer than brokers are away
    let client = Client::new(config, MEMORY.take().storage(), arguments.seed());
    KAFKA.init(Driver::new(need(client.ok(), "client"), SOCKETS.take().sockets(stack)))
}

/// The socket for readings. Its memory is not all zero: made here, it costs no flash.
#[inline(never)] // or its frame would be part of every poll of the task that starts it
fn listen(stack: Stack<'static>) -> UdpSocket<'static> {
    let [places_in, places_out] = PLACES.init([[PacketMetadata::EMPTY; 16]; 2]);
    let mut socket = UdpSocket::new(stack, places_in, RECEIVED.take(), places_out, TO_SEND.take());
    need(socket.bind(PORT).ok(), "port");
    socket
}

/// What is in flight, and what was acknowledged to which sensor.
struct Gateway {
    sensors: Sensors,
    in_flight: InFlight<Reading, IN_FLIGHT>,
    most: u32,
    refused: u32,
    failed: u32,
    growths: u32,
    disconnects: u32,
}

impl Gateway {
    const fn new() -> Self {
        Self {
            sensors: Sensors::new(),
            in_flight: InFlight::new(),
            most: 0,
            refused: 0,
            failed: 0,
            growths: 0,
            disconnects: 0,
        }
    }

    /// Handles a datagram. Without space for it nothing is done: it comes again.
    fn take(&mut self, kafka: &mut Commands<'_>, topic: TopicId, bytes: &[u8], from: IpEndpoint) {
        let Some(reading) = Reading::of(bytes) else { return };
        if self.sensors.submit(reading, from) != Verdict::Wanted {
            return;
        }
        let key = reading.sensor.to_be_bytes();
        let taken = (!self.in_flight.is_full())
            .then(|| kafka.produce(now(), topic, &Record::new(bytes).key(&key)).ok());
        match taken.flatten() {
            Some(id) => {
                self.in_flight.note(id, reading);
                self.sensors.taken(reading);
                self.most = self.most.max(self.in_flight.len() as u32);
            }
            None => self.refused += 1,
        }
    }

    fn heed(&mut self, event: &Event<'_>) {
        let Self { in_flight, sensors, .. } = self;
        match *event {
            Event::Delivered { batch, first, count, .. } => {
                in_flight.settle(batch, first, count, |reading| sensors.delivered(*reading));
            }
            Event::Failed { batch, first, count, .. } => {
                in_flight.settle(batch, first, count, |reading| sensors.failed(*reading));
                self.failed += count;
            }
            Event::PartitionsAdded { from, to, .. } => {
                self.growths += 1;
                Line::new("grown").number("from", from).number("to", to).print();
            }
            Event::Disconnected { .. } => self.disconnects += 1,
            _ => {}
        }
    }

    /// Sends as many acknowledgements as go out at once. One that is lost is requested again.
    fn acknowledge(&mut self, socket: &UdpSocket<'_>) {
        while let Some((reading, to)) = self.sensors.next_acknowledgement() {
            let mut bytes = [0; 8];
            bytes[..4].copy_from_slice(&reading.sensor.to_be_bytes());
            bytes[4..].copy_from_slice(&reading.turn.to_be_bytes());
            if poll_once(socket.send_to(&bytes, to)).is_pending() {
                break;
            }
        }
    }

    fn report(&self, word: &str) {
        Line::new(word)
            .number("taken", self.sensors.count_taken())
            .number("on_way", self.in_flight.len() as u32)
            .number("most", self.most)
            .number("bound", IN_FLIGHT as u32)
            .number("refused", self.refused)
            .number("failed", self.failed)
            .number("growths", self.growths)
            .number("ended", self.disconnects)
            .print();
        Line::new("health")
            .number("stack", stack::used().0)
            .number("polls", executor::polls())
            .number("unfed", watchdog::longest_wait())
            .number("ms", clock::millis())
            .number("sensors", SENSORS as u32)
            .print();
    }
}
