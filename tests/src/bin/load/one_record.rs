//! One record arrives: the core's work for it must not depend on how much it watches and reads.
//!
//! The core alone, in virtual time, with the brokers' model without sockets. Only calls to the
//! client count: their instructions, measured by valgrind's callgrind, which are the same on any
//! machine. Without valgrind, the time that they took by the thread's own clock.

use core::fmt;
use core::hint::black_box;
use core::time::Duration;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::process::Command;

use bytes::{Buf, BytesMut};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, RequestKind, TopicName};
use kafka_protocol::protocol::StrBytes;
use kavka_core::record::{Record, Seal, seal, write};
use kavka_core::wire::{Full, Sink};
use kavka_core::{Action, Client, Config, ConnId, Event, Instant, Limits, Probing, Start, Storage};
use kavka_tests::sim::frame::Request;
use kavka_tests::sim::{ApiKey, Cluster, Options, Output, Reply};

use crate::measure::{Failure, Figure, Outcome, thread_time};

/// Records that count in each case.
const RECORDS: u32 = 100;
/// Function whose instructions are counted; see [`counted`].
const COUNTED: &str = "--toggle-collect=*one_record::counted*";
/// Highest cost of any case as a multiple of the smallest case.
const BAR: f64 = 2.0;

struct Case {
    brokers: u32,
    /// Topics that are watched, and how many of them are read.
    topics: usize,
    read: usize,
    partitions: u32,
}

/// Environment variable that names the case of a run under valgrind.
const CASE: &str = "KAVKA_LOAD_CASE";

const CASES: [Case; 4] = [
    Case { brokers: 1, topics: 1, read: 1, partitions: 10 },
    Case { brokers: 1, topics: 1, read: 1, partitions: 1000 },
    Case { brokers: 30, topics: 250, read: 250, partitions: 40 },
    Case { brokers: 1, topics: 4000, read: 1, partitions: 10 },
];

/// What a case took.
enum Cost {
    Instructions(f64),
    Time(Duration),
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instructions(n) => write!(f, "{n:.0} instructions"),
            Self::Time(time) => write!(f, "{time:.1?} (valgrind is not installed)"),
        }
    }
}

pub(crate) fn run() -> Outcome {
    if let Some(case) = std::env::var_os(CASE) {
        let case: usize = case.into_string().map_err(|_| CASE)?.parse()?;
        measure(CASES.get(case).ok_or(CASE)?, || Duration::ZERO)?;
        return Ok(Figure { found: String::new(), bar: String::new(), kept: true });
    }
    let smallest = cost(0)?;
    let mut found = format!("1 topic x 10 partitions {smallest}");
    let mut kept = true;
    for (n, case) in CASES.iter().enumerate().skip(1) {
        let times = match (cost(n)?, &smallest) {
            (Cost::Instructions(n), Cost::Instructions(least)) => n / least,
            (Cost::Time(time), Cost::Time(least)) => time.as_secs_f64() / least.as_secs_f64(),
            _ => return Err("one case without valgrind".into()),
        };
        let Case { brokers, topics, read, partitions } = case;
        found += &format!(
            ", {topics} topics ({read} read) x {partitions} on {brokers} broker(s) {times:.1} times"
        );
        kept &= times <= BAR;
    }
    Ok(Figure { found, bar: format!("{BAR} times the first"), kept })
}

fn cost(case: usize) -> Result<Cost, Failure> {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", COUNTED]);
    command.arg(std::env::current_exe()?).arg("one-record").env(CASE, case.to_string());
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return measure(&CASES[case], thread_time).map(Cost::Time);
        }
        Err(error) => return Err(error.into()),
    };
    let text = String::from_utf8_lossy(&output.stderr);
    let collected = text.lines().find_map(|line| line.split_once("Collected : "));
    let total: f64 = match collected {
        Some((_, n)) if output.status.success() => n.trim().parse()?,
        _ => return Err(text.into_owned().into()),
    };
    if total <= 0.0 {
        return Err("valgrind counted nothing".into());
    }
    Ok(Cost::Instructions(total / f64::from(RECORDS)))
}

/// Returns the median time for a record by `clock`, which valgrind cannot run.
fn measure(case: &Case, clock: fn() -> Duration) -> Result<Duration, Failure> {
    let mut machine = Machine::new(case, clock)?;
    machine.pass(Duration::from_secs(5));
    let mut spent = Vec::new();
    for n in 0..RECORDS {
        machine.pass(Duration::from_millis(1));
        let topic = (n as usize * 7) % case.read;
        machine.append(&name(topic), (n * 13) % case.partitions)?;
        machine.counts = true;
        spent.push(machine.take_record()?);
        machine.counts = false;
    }
    spent.sort_unstable();
    Ok(spent[spent.len() / 2])
}

/// Runs `act`; its instructions are counted, including those of everything that it calls.
#[inline(never)]
fn counted(act: &mut dyn FnMut()) {
    act();
    black_box(());
}

fn name(n: usize) -> String {
    format!("topic-{n}")
}

/// A connection: bytes in flight to the broker, and to the client.
struct Line {
    broker: i32,
    requests: BytesMut,
    responses: BytesMut,
}

struct Machine {
    cluster: Cluster,
    client: Client<'static>,
    lines: BTreeMap<ConnId, Line>,
    now: Duration,
    clock: fn() -> Duration,
    /// Time spent in calls to the client, and number of measured spans.
    spent: Duration,
    spans: u32,
    /// Whether calls are counted.
    counts: bool,
    /// Batches that arrived.
    batches: u32,
}

impl Machine {
    fn new(case: &Case, clock: fn() -> Duration) -> Result<Self, Failure> {
        let options = Options { brokers: case.brokers, replication: 1, ..Options::default() };
        let mut cluster = Cluster::new(options);
        let names: Vec<String> = (0..case.topics).map(name).collect();
        cluster.create_many(&names, case.partitions).map_err(|code| format!("{code}"))?;
        let mut limits = Limits::server();
        (limits.conns, limits.topics, limits.rx_bytes) = (64, case.topics, 256 << 10);
        let mut config = Config::new("broker-1:9092");
        config.probing = Probing::Never; // the cost of a probe is measured elsewhere
        let mut client = Client::new(config, Storage::heap(&limits), [7; 32])?;
        for (n, name) in names.iter().enumerate() {
            let topic = client.topic(name)?;
            if n < case.read {
                client.assign_all(Instant::ZERO, topic, Start::Earliest)?;
            }
        }
        let (now, spent) = (Duration::ZERO, Duration::ZERO);
        let lines = BTreeMap::new();
        Ok(Self { cluster, client, lines, now, clock, spent, spans: 0, counts: false, batches: 0 })
    }

    /// Lets time pass and runs what is due.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            while self.turn() {}
            let client = self.client.poll_timeout().map(|at| Duration::from_micros(at.as_micros()));
            let next = [client, self.cluster.next_time()].into_iter().flatten().min();
            // Never the same instant twice: the two clocks differ by less than a microsecond.
            let next = next.map(|next| next.max(self.now + Duration::from_micros(1)));
            self.now = next.unwrap_or(end).min(end);
            if self.now == end {
                return;
            }
        }
    }

    /// Returns the client's time until a written record has been delivered, and the fetch after it.
    fn take_record(&mut self) -> Result<Duration, Failure> {
        let before = self.batches;
        (self.spent, self.spans) = (Duration::ZERO, 0);
        while self.turn() {}
        if self.batches != before + 1 {
            return Err(format!("{} batches for one record", self.batches - before).into());
        }
        // Minus the time for reading the clock.
        let clock = (self.clock)();
        let clock = (self.clock)() - clock;
        Ok(self.spent.saturating_sub(clock * self.spans))
    }

    fn timed<R>(&mut self, act: impl FnOnce(&mut Client<'static>, Instant) -> R) -> R {
        let now = Instant::from_micros(self.now.as_micros() as u64);
        let Self { client, counts, .. } = self;
        let (mut act, mut result) = (Some(act), None);
        let mut once = || result = act.take().map(|act| act(client, now));
        let since = (self.clock)();
        if *counts {
            counted(&mut once)
        } else {
            once()
        }
        self.spent += (self.clock)() - since;
        self.spans += 1;
        result.expect("it was called")
    }

    /// Runs one round of an event loop and of the brokers; returns whether anything moved.
    fn turn(&mut self) -> bool {
        let mut moved = self.actions();
        let now = Instant::from_micros(self.now.as_micros() as u64);
        let conns: Vec<ConnId> = self.lines.keys().copied().collect();
        for conn in conns {
            let busy = self.lines.get(&conn).is_some_and(|line| !line.responses.is_empty());
            if busy {
                moved |= self.receive(conn);
            }
            // Polling each connection for bytes is what the loop does, and not timed.
            while let Some(slices) = self.client.poll_transmit(now, conn) {
                let bytes = slices.fold(BytesMut::new(), |mut all, slice| {
                    all.extend_from_slice(slice);
                    all
                });
                self.timed(|client, now| client.handle_transmitted(now, conn, bytes.len()));
                if let Some(line) = self.lines.get_mut(&conn) {
                    line.requests.extend_from_slice(&bytes);
                }
                moved = true;
            }
        }
        let batches = self.timed(|client, now| {
            let mut batches = 0;
            while let Some((event, _)) = client.poll_event(now) {
                batches += u32::from(matches!(event, Event::Records(_)));
            }
            batches
        });
        self.batches += batches;
        self.serve() | moved
    }

    fn actions(&mut self) -> bool {
        let actions = self.timed(|client, now| {
            client.handle_timeout(now);
            core::iter::from_fn(|| client.poll_action(now)).collect::<Vec<_>>()
        });
        for action in &actions {
            match *action {
                Action::Connect { conn } => {
                    let to = self.client.address(conn).map(|(host, port)| (host.to_owned(), port));
                    let at = |id: &i32| self.cluster.endpoint(*id) == to;
                    let broker = self.cluster.brokers().into_iter().find(at).unwrap_or(1);
                    let (requests, responses) = (BytesMut::new(), BytesMut::new());
                    self.lines.insert(conn, Line { broker, requests, responses });
                    self.timed(|client, now| client.handle_connected(now, conn));
                }
                Action::Close { conn } => drop(self.lines.remove(&conn)),
                _ => {}
            }
        }
        !actions.is_empty()
    }

    fn receive(&mut self, conn: ConnId) -> bool {
        let Some(mut line) = self.lines.remove(&conn) else { return false };
        let len = self.timed(|client, now| {
            let room = client.recv_buffer(conn);
            let len = room.len().min(line.responses.len());
            room[..len].copy_from_slice(&line.responses[..len]);
            if len > 0 {
                client.handle_received(now, conn, len);
            }
            len
        });
        line.responses.advance(len);
        self.lines.insert(conn, line);
        len > 0
    }

    /// Lets the brokers handle what has arrived.
    fn serve(&mut self) -> bool {
        self.cluster.advance(self.now);
        let mut moved = false;
        for (conn, line) in &mut self.lines {
            while let Some(frame) = take_frame(&mut line.requests) {
                moved = true;
                let Ok(request) = Request::decode(frame.freeze()) else { continue };
                let id = number(*conn);
                let reply = self.cluster.handle(self.now, line.broker, id, request);
                line.take(reply);
            }
        }
        while let Some(Output { conn, reply, .. }) = self.cluster.poll_output() {
            let line = self.lines.iter_mut().find(|(id, _)| number(**id) == conn);
            if let Some((_, line)) = line {
                line.take(reply);
                moved = true;
            }
        }
        moved
    }

    /// Writes a record as another client would.
    fn append(&mut self, topic: &str, partition: u32) -> Result<(), Failure> {
        let leader = self.cluster.leader(topic, partition).map_or(1, |(leader, _)| leader);
        let data = PartitionProduceData::default()
            .with_index(i32::try_from(partition)?)
            .with_records(Some(batch()?.into()));
        let name = TopicName(StrBytes::from_string(topic.to_owned()));
        let data = TopicProduceData::default().with_name(name).with_partition_data(vec![data]);
        let operation = ProduceRequest::default().with_acks(1).with_topic_data(vec![data]);
        let body = RequestKind::Produce(operation.with_timeout_ms(1000));
        let (api, size) = (ApiKey::Produce, 200);
        let request = Request { api, version: 9, correlation: 0, size, body };
        match self.cluster.handle(self.now, leader, u64::MAX, request) {
            Reply::Now(_) => Ok(()),
            other => Err(format!("{other:?}").into()),
        }
    }
}

impl Line {
    fn take(&mut self, reply: Reply) {
        if let Reply::Now(response) = reply
            && let Ok(bytes) = response.encode()
        {
            self.responses.extend_from_slice(&bytes);
        }
    }
}

/// Returns a connection's number at the brokers.
fn number(conn: ConnId) -> u64 {
    conn.slot() as u64
}

fn take_frame(bytes: &mut BytesMut) -> Option<BytesMut> {
    let len = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    if bytes.len() < len.checked_add(4)? {
        return None;
    }
    bytes.advance(4);
    Some(bytes.split_to(len))
}

/// Encodes a batch of one record.
fn batch() -> Result<Vec<u8>, Failure> {
    struct Grows(Vec<u8>);
    impl Sink for Grows {
        fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }
    let mut body = Grows(Vec::new());
    write(&mut body, &Record::new(&[b'v'; 100]), 0, 0).map_err(|_| "no room")?;
    let about = Seal {
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
        count: 1,
        base_timestamp: 1_700_000_000_000,
        max_timestamp: 1_700_000_000_000,
        transactional: false,
        codec: 0,
    };
    let header = seal(&about, core::iter::once(&body.0[..])).ok_or("no records")?;
    Ok([&header[..], &body.0].concat())
}
