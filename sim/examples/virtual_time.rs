//! An event loop without sockets and without a clock: bytes go from a client to a simulated broker
//! and back, and time passes in jumps. See docs/loop.md.
//!
//! `cargo run -p kavka-sim --example virtual_time` produces a record a minute for an hour and
//! prints how many were acknowledged.

use std::collections::HashMap;
use std::time::Duration;

use kavka_core::{Action, Client, CloseReason, Config, ConnId, Event, Instant, Limits, Record};
use kavka_sim::frame::Request;
use kavka_sim::{Cluster, Options, Reply};

/// A stream to a broker: what each side has not read yet.
struct Stream {
    broker: i32,
    number: u64,
    to_broker: Vec<u8>,
    to_client: Vec<u8>,
    /// Whether the broker works on a request; it handles one at a time.
    busy: bool,
    ended: bool,
}

struct Loop {
    client: Client<'static>,
    cluster: Cluster,
    streams: HashMap<ConnId, Stream>,
    opened: u64,
    now: Duration,
}

impl Loop {
    fn new(cluster: Cluster) -> Self {
        let addresses = cluster.brokers().into_iter().filter_map(|id| cluster.endpoint(id));
        let bootstrap: Vec<_> = addresses.map(|(host, port)| format!("{host}:{port}")).collect();
        let client = Client::owned(Config::new(&bootstrap.join(",")), &Limits::small(), [1; 32]);
        let client = client.expect("the configuration works");
        Self { client, cluster, streams: HashMap::new(), opened: 0, now: Duration::ZERO }
    }

    fn instant(&self) -> Instant {
        Instant::from_micros(self.now.as_micros() as u64)
    }

    /// Runs one turn; returns whether anything moved.
    fn turn(&mut self, on_event: &mut impl FnMut(&Event<'_>)) -> bool {
        let now = self.instant();
        let mut moved = false;
        self.client.handle_timeout(now);
        while let Some(action) = self.client.poll_action(now) {
            moved = true;
            match action {
                Action::Connect { conn } => self.connect(conn),
                Action::Close { conn } => self.close(conn),
                _ => {}
            }
        }
        for conn in self.streams.keys().copied().collect::<Vec<_>>() {
            moved |= self.send(conn) | self.serve(conn) | self.receive(conn);
        }
        while let Some((event, _commands)) = self.client.poll_event(now) {
            moved = true;
            on_event(&event);
        }
        moved
    }

    fn connect(&mut self, conn: ConnId) {
        let now = self.instant();
        let address = self.client.address(conn).map(|(host, port)| (host.to_owned(), port));
        let leads_to = |id: &i32| self.cluster.endpoint(*id) == address;
        let broker = self.cluster.brokers().into_iter().find(leads_to);
        let Some(broker) = broker.filter(|id| self.cluster.alive(*id)) else {
            return self.client.handle_closed(now, conn, CloseReason::Refused);
        };
        self.opened += 1;
        let stream = Stream {
            broker,
            number: self.opened,
            to_broker: Vec::new(),
            to_client: Vec::new(),
            busy: false,
            ended: false,
        };
        self.streams.insert(conn, stream);
        self.client.handle_connected(now, conn);
    }

    fn close(&mut self, conn: ConnId) {
        if let Some(stream) = self.streams.remove(&conn) {
            self.cluster.handle_closed(stream.broker, stream.number);
        }
    }

    fn send(&mut self, conn: ConnId) -> bool {
        let now = self.instant();
        let Some(stream) = self.streams.get_mut(&conn) else { return false };
        let Some(slices) = self.client.poll_transmit(now, conn) else { return false };
        let before = stream.to_broker.len();
        slices.for_each(|bytes| stream.to_broker.extend_from_slice(bytes));
        let sent = stream.to_broker.len() - before;
        // The simulated broker takes all bytes; a socket may take only some.
        self.client.handle_transmitted(now, conn, sent);
        true
    }

    /// Lets the broker read and handle whole requests.
    fn serve(&mut self, conn: ConnId) -> bool {
        let mut moved = false;
        while let Some(stream) = self.streams.get_mut(&conn).filter(|stream| !stream.busy) {
            let Some((length, rest)) = stream.to_broker.split_first_chunk::<4>() else { break };
            let length = u32::from_be_bytes(*length) as usize;
            let Some(frame) = rest.get(..length) else { break };
            let request = Request::decode(frame.to_vec().into()).expect("a request");
            stream.to_broker.drain(..4 + length);
            stream.busy = true;
            moved = true;
            let (broker, number) = (stream.broker, stream.number);
            match self.cluster.handle(self.now, broker, number, request) {
                Reply::Later => {}
                reply => self.reply(number, reply),
            }
        }
        moved
    }

    fn reply(&mut self, number: u64, reply: Reply) {
        let mut streams = self.streams.values_mut();
        let Some(stream) = streams.find(|stream| stream.number == number) else { return };
        stream.busy = false;
        match reply {
            Reply::Now(response) => stream.to_client.extend(response.encode().expect("a response")),
            Reply::Close => stream.ended = true,
            Reply::Later | Reply::Silent => {}
        }
    }

    fn receive(&mut self, conn: ConnId) -> bool {
        let now = self.instant();
        let Some(stream) = self.streams.get_mut(&conn) else { return false };
        if stream.to_client.is_empty() && stream.ended {
            self.close(conn);
            self.client.handle_closed(now, conn, CloseReason::Ended);
            return true;
        }
        let space = self.client.recv_buffer(conn);
        let len = space.len().min(stream.to_client.len());
        space[..len].copy_from_slice(&stream.to_client[..len]);
        stream.to_client.drain(..len);
        if len > 0 {
            self.client.handle_received(now, conn, len);
        }
        len > 0
    }

    /// Runs until `end`, jumping from one due time to the next.
    fn run_until(&mut self, end: Duration, mut on_event: impl FnMut(&Event<'_>)) {
        loop {
            while self.turn(&mut on_event) {}
            let client = self.client.poll_timeout().map(|at| Duration::from_micros(at.as_micros()));
            let next = [client, self.cluster.next_time()].into_iter().flatten().min();
            let Some(next) = next.filter(|at| *at < end) else { break };
            self.now = self.now.max(next);
            self.cluster.advance(self.now);
            while let Some(output) = self.cluster.poll_output() {
                self.reply(output.conn, output.reply);
            }
        }
        self.now = end;
    }
}

fn main() {
    let mut cluster = Cluster::new(Options::default());
    cluster.create_topic("readings", 6).expect("created");
    let mut kafka = Loop::new(cluster);
    let topic = kafka.client.topic("readings").expect("a legal name");
    let mut delivered = 0;
    for minute in 1..=60 {
        let now = kafka.instant();
        // In the first minute this is refused: the topic is not known yet.
        let _ = kafka.client.produce(now, topic, &Record::new(format!("{minute}").as_bytes()));
        kafka.run_until(Duration::from_secs(60 * minute), |event| {
            delivered += usize::from(matches!(event, Event::Delivered { .. }));
        });
    }
    let stats = kafka.client.stats();
    println!("{delivered} records acknowledged by {} requests in an hour", stats.requests);
    assert_eq!((delivered, stats.misuses), (59, 0));
}

#[test]
fn an_hour_in_virtual_time() {
    main();
}
