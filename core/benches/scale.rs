//! What one step of the core costs in clusters of several sizes, in instructions: the same on a
//! busy machine as on an idle one. Only calls of [`Client`] are counted, by valgrind's callgrind.
//! Each figure has to stay within twice that of the smallest cluster; else the exit code is 1.
//!
//! `cargo bench -p kavka-core --bench scale --features std`, or with `-- 1000` (part of a
//! cluster's name) some of it.

mod cluster;

use core::hint::black_box;
use std::process::{Command, ExitCode};

use cluster::{Cluster, PORT, name};
use kavka_core::record::{HEADER_LEN, Record, Seal, encoded_len, seal, write};
use kavka_core::wire::SliceSink;
use kavka_core::{
    Action, Client, Config, ConnId, Duration, Event, Instant, Limits, Start, Storage, TopicId,
};

/// A step may cost this many times what it costs in the first of [`CASES`].
const BAR: f64 = 2.0;
/// Partitions that the steps involve, the same number in each cluster.
const PARTITIONS: usize = 10;
/// Steps that are counted, and as many before them that are not.
const STEPS: usize = 20;
/// Functions whose instructions count; see [`counted`].
const COUNTED: &str = "--toggle-collect=*scale::counted*";

/// A cluster, and how much of it is in use.
struct Case {
    name: &'static str,
    topics: usize,
    partitions: usize,
    brokers: usize,
    /// Topics that are read and written; the others are watched.
    used: usize,
}

const fn case(name: &'static str, topics: usize, partitions: usize, brokers: usize) -> Case {
    Case { name, topics, partitions, brokers, used: topics }
}

const CASES: [Case; 4] = [
    case("1 topic x 10", 1, 10, 1),
    case("1 topic x 1000", 1, 1000, 1),
    case("250 topics x 40, 30 brokers", 250, 40, 30),
    Case { used: 1, ..case("4000 topics watched", 4000, 10, 1) },
];

/// A step, and its name.
type Operation = (&'static str, fn(&mut Bench, usize));

const OPERATIONS: [Operation; 4] = [
    ("a record arrives", Bench::arrives),
    ("a record is produced and acknowledged", Bench::produced),
    ("a look, nothing to do", Bench::look),
    ("a topic is probed", Bench::probed),
];

/// Runs a step whose instructions are counted, including those of everything that it calls.
#[inline(never)]
fn counted(step: &mut dyn FnMut()) {
    step();
    black_box(());
}

/// A client with its brokers. The clock is virtual.
struct Bench {
    client: Client<'static>,
    cluster: Cluster,
    now: Instant,
    topics: Vec<TopicId>,
    /// Partitions in use.
    used: usize,
    /// A batch of one record.
    batch: Vec<u8>,
    sent: Vec<u8>,
    /// Whether steps are counted yet.
    counts: bool,
}

impl Bench {
    fn new(case: &Case, probes: bool) -> Self {
        let mut limits = Limits::server();
        limits.conns = 2 * case.brokers + 2;
        (limits.topics, limits.partitions) = (case.topics, case.used * case.partitions);
        limits.rx_bytes = 64 << 10;
        let mut config = Config::new("localhost:9092");
        config.linger = Duration::ZERO;
        if !probes {
            // No probe is due while instructions are counted.
            (config.probe_idle, config.probe_busy) =
                (Duration::from_secs(3600), Duration::from_secs(3600));
        }
        let mut client = Client::new(config, Storage::heap(&limits), [7; 32]).expect("it is good");
        let now = Instant::from_millis(1);
        client.set_wall_clock(now, 1_700_000_000_000);
        let watch = |topic| client.topic(&name(topic)).expect("there is room");
        let topics: Vec<TopicId> = (0..case.topics).map(watch).collect();
        let mut bench = Self {
            client,
            cluster: Cluster::new(case.topics, case.partitions, case.brokers),
            now,
            topics,
            used: case.used * case.partitions,
            batch: one_record(),
            sent: Vec::with_capacity(1 << 20),
            counts: false,
        };
        bench.start(case.used);
        bench
    }

    /// Runs turns until all topics are known and all that are in use are read.
    fn start(&mut self, used: usize) {
        for topic in 0..used {
            let topic = self.topics[topic];
            self.client.assign_all(self.now, topic, Start::Offset(0)).expect("a fresh topic");
        }
        for turn in 0..2000 {
            self.pass(Duration::from_millis(10));
            self.turn();
            let reads = self.cluster.readers[..self.used].iter().all(Option::is_some);
            let knows = self.topics.iter().all(|topic| self.client.freshness(*topic).is_some());
            // Who responds early and has nothing is sent the next Fetch after a pause.
            let waits = |slot: &usize| {
                self.cluster.lines[*slot].as_ref().is_some_and(|line| line.held.is_some())
            };
            let waits = self.cluster.readers[..self.used].iter().flatten().all(waits);
            if reads && knows && waits && turn > 20 {
                return;
            }
            // As if nothing had come for as long as the broker waits.
            for slot in 0..self.cluster.lines.len() {
                let held = self.cluster.lines[slot].as_ref().is_some_and(|l| l.held.is_some());
                if held && !reads {
                    self.cluster.respond_to_fetch(slot, None);
                }
            }
        }
        panic!("it does not start");
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    /// Runs one round of an event loop, over all connections.
    fn turn(&mut self) {
        self.client.handle_timeout(self.now);
        while let Some(action) = self.client.poll_action(self.now) {
            match action {
                Action::Connect { conn } => {
                    let (_, port) = self.client.address(conn).expect("it has one");
                    assert!(usize::from(port - PORT) < self.cluster.brokers);
                    self.cluster.connect(conn);
                    self.client.handle_connected(self.now, conn);
                }
                Action::Close { conn } => self.cluster.close(conn),
                _ => {}
            }
        }
        for slot in 0..self.cluster.lines.len() {
            let Some(line) = &self.cluster.lines[slot] else { continue };
            let id = line.id;
            self.send(id);
            while !self.cluster.lines[slot].as_ref().is_none_or(|line| line.out.is_empty()) {
                let line = self.cluster.lines[slot].as_mut().expect("it was there");
                receive(&mut self.client, self.now, id, &mut line.out);
                while self.client.poll_event(self.now).is_some() {}
            }
        }
        while self.client.poll_event(self.now).is_some() {}
    }

    /// Passes what a connection has to send to its broker.
    fn send(&mut self, conn: ConnId) {
        self.sent.clear();
        transmit(&mut self.client, self.now, conn, &mut self.sent);
        self.cluster.read(conn.slot(), &self.sent);
    }

    /// A step of the client alone.
    fn step(&mut self, mut step: impl FnMut(&mut Client<'static>, Instant, &mut Vec<u8>)) {
        let Self { client, now, sent, counts, .. } = self;
        sent.clear();
        let mut step = || step(client, *now, sent);
        if *counts { counted(&mut step) } else { step() }
    }

    /// The partition that a step concerns.
    fn partition(&self, n: usize) -> usize {
        n % PARTITIONS * (self.used / PARTITIONS)
    }

    /// Measures from the receive buffer to the event, and up to the next Fetch request.
    fn arrives(&mut self, n: usize) {
        self.pass(Duration::from_micros(100));
        let at = self.partition(n);
        let slot = self.cluster.readers[at].expect("it is read");
        self.cluster.respond_to_fetch(slot, Some((at, &self.batch)));
        let line = self.cluster.lines[slot].as_mut().expect("a session has a connection");
        let (id, mut out) = (line.id, core::mem::take(&mut line.out));
        let mut records = 0;
        self.step(|client, now, sent| {
            receive(client, now, id, &mut out);
            while let Some((event, _)) = client.poll_event(now) {
                if let Event::Records(batch) = event {
                    records += batch.records().filter(Result::is_ok).count();
                }
            }
            assert!(client.poll_action(now).is_none(), "connections stay");
            transmit(client, now, id, sent);
            black_box(client.poll_timeout());
        });
        assert_eq!(records, 1);
        self.cluster.read(slot, &self.sent);
        assert!(self.cluster.lines[slot].as_ref().is_some_and(|line| line.held.is_some()));
    }

    /// Measures, without linger, the call, the request, the response and the event.
    fn produced(&mut self, n: usize) {
        self.pass(Duration::from_micros(100));
        let at = self.partition(n);
        let (topic, partition) = (at / self.cluster.partitions, at % self.cluster.partitions);
        let to = (self.topics[topic], partition as u32);
        if !self.counts {
            // Producer id and connections exist afterwards.
            let record = Record::new(b"the first");
            self.client.produce(self.now, to, &record).expect("there is room");
            (0..10).for_each(|_| self.turn());
            assert_eq!(self.cluster.produced, n as u64 + 1, "it is acknowledged");
            return;
        }
        self.step(|client, now, _| {
            let id = client.produce(now, to, &Record::new(&[b'v'; 100]));
            black_box(id.expect("there is room"));
            assert!(client.poll_action(now).is_none(), "connections stay");
        });
        // All connections are polled, as an event loop would learn which one has bytes; not
        // counted.
        let before = self.cluster.produced;
        for slot in 0..self.cluster.lines.len() {
            let Some(line) = &self.cluster.lines[slot] else { continue };
            self.send(line.id);
            if self.cluster.produced == before {
                continue;
            }
            let line = self.cluster.lines[slot].as_mut().expect("it was there");
            let (id, mut out) = (line.id, core::mem::take(&mut line.out));
            let mut delivered = 0;
            self.step(|client, now, sent| {
                receive(client, now, id, &mut out);
                while let Some((event, _)) = client.poll_event(now) {
                    delivered += u32::from(matches!(event, Event::Delivered { count: 1, .. }));
                }
                transmit(client, now, id, sent);
                black_box(client.poll_timeout());
            });
            assert_eq!(delivered, 1);
            self.cluster.read(slot, &self.sent);
            return;
        }
        panic!("nothing was sent");
    }

    /// Measures what a loop does that was woken for something else.
    fn look(&mut self, _: usize) {
        self.pass(Duration::from_micros(100));
        self.step(|client, now, _| {
            black_box(client.poll_timeout());
            client.handle_timeout(now);
            assert!(client.poll_event(now).is_none(), "nothing to do");
        });
    }

    /// Measures idling until the next deadline, and what it triggers, until all topics were probed
    /// once.
    fn probed(&mut self, _: usize) {
        let until = self.now + Duration::from_secs(1);
        while self.now < until {
            let next = self.client.poll_timeout().expect("probes are due");
            self.now = self.now.max(next).min(until);
            self.step(|client, now, _| client.handle_timeout(now));
            for slot in 0..self.cluster.lines.len() {
                let Some(line) = &self.cluster.lines[slot] else { continue };
                let id = line.id;
                self.send(id);
                let line = self.cluster.lines[slot].as_mut().expect("it was there");
                let mut out = core::mem::take(&mut line.out);
                while !out.is_empty() {
                    self.step(|client, now, _| {
                        receive(client, now, id, &mut out);
                        while client.poll_event(now).is_some() {}
                    });
                }
            }
            self.turn();
            self.pass(Duration::from_micros(100));
        }
    }
}

/// Receives as much as fits.
fn receive(client: &mut Client<'_>, now: Instant, conn: ConnId, bytes: &mut Vec<u8>) {
    let room = client.recv_buffer(conn);
    let len = room.len().min(bytes.len());
    room[..len].copy_from_slice(&bytes[..len]);
    bytes.drain(..len);
    client.handle_received(now, conn, len);
}

fn transmit(client: &mut Client<'_>, now: Instant, conn: ConnId, sent: &mut Vec<u8>) {
    while let Some(slices) = client.poll_transmit(now, conn) {
        let before = sent.len();
        slices.for_each(|slice| sent.extend_from_slice(slice));
        let len = sent.len() - before;
        client.handle_transmitted(now, conn, len);
    }
}

fn one_record() -> Vec<u8> {
    let record = Record::new(&[b'v'; 100]);
    let mut body = vec![0; encoded_len(&record, 0, 0)];
    write(&mut SliceSink::new(&mut body), &record, 0, 0).expect("it fits");
    let about = Seal {
        producer_id: 7,
        producer_epoch: 0,
        base_sequence: 0,
        count: 1,
        base_timestamp: 1_700_000_000_000,
        max_timestamp: 1_700_000_000_000,
        transactional: false,
        codec: 0,
    };
    let header = seal(&about, core::iter::once(&body[..])).expect("it has a record");
    assert_eq!(header.len(), HEADER_LEN);
    [&header[..], &body].concat()
}

/// Runs steps of one operation, of which the later half is counted.
fn run(case: &Case, operation: usize) {
    let probes = OPERATIONS[operation].0.contains("probed");
    let mut bench = Bench::new(case, probes);
    for n in 0..2 * steps(operation) {
        bench.counts = n >= steps(operation);
        OPERATIONS[operation].1(&mut bench, n);
    }
}

fn steps(operation: usize) -> usize {
    if OPERATIONS[operation].0.contains("probed") { 1 } else { STEPS }
}

/// Returns the instructions of a step, from a run of this program under valgrind.
fn instructions(case: usize, operation: usize) -> f64 {
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null", COUNTED]);
    command.arg(std::env::current_exe().expect("it has a path"));
    command.args(["run", &case.to_string(), &operation.to_string()]);
    let output = command.output().expect("valgrind runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let collected = text.lines().find_map(|line| line.split_once("Collected : "));
    let total: f64 = collected.and_then(|(_, n)| n.trim().parse().ok()).expect("a number");
    assert!(total > 0.0, "nothing was counted");
    let per_topic = if steps(operation) == STEPS { 1 } else { CASES[case].topics };
    total / (steps(operation) * per_topic) as f64
}

fn compare(part: &str) -> ExitCode {
    let version = Command::new("valgrind").arg("--version").output();
    if !version.is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: valgrind is not installed, so no instructions were counted");
        return ExitCode::SUCCESS;
    }
    println!("instructions per step; bar: {BAR} times those of {}", CASES[0].name);
    println!("{:<40}{:<30}{:>14}{:>9}", "step", "cluster", "instructions", "ratio");
    let mut good = true;
    for (operation, (what, _)) in OPERATIONS.iter().enumerate() {
        let mut least = f64::NAN;
        for (n, case) in CASES.iter().enumerate() {
            if n > 0 && !case.name.contains(part) {
                continue;
            }
            let figure = instructions(n, operation);
            least = if n == 0 { figure } else { least };
            let ratio = figure / least;
            good &= ratio <= BAR;
            let verdict = if ratio <= BAR { "" } else { "  ABOVE THE BAR" };
            println!("{what:<40}{:<30}{figure:>14.0}{ratio:>9.2}{verdict}", case.name);
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    match args.next().as_deref() {
        Some("run") => {
            let mut number = || args.next().and_then(|n| n.parse().ok()).expect("a number");
            let (case, operation): (usize, usize) = (number(), number());
            run(&CASES[case], operation);
            ExitCode::SUCCESS
        }
        part => compare(part.unwrap_or_default()),
    }
}
