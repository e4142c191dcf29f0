//! One record arrives: what the core does for it must not depend on how much it watches and reads.
//!
//! The core alone, in virtual time, beside the brokers' model without sockets. Only calls to the
//! client are timed, by the thread's own clock.

use core::time::Duration;
use std::collections::BTreeMap;

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

/// Records that are timed in each case.
const RECORDS: u32 = 200;
/// How many times the smallest case any other may take.
const BAR: f64 = 2.0;

struct Case {
    brokers: u32,
    /// Topics that are watched, and the first so many of them that are read.
    topics: usize,
    read: usize,
    partitions: u32,
}

const SMALLEST: Case = Case { brokers: 1, topics: 1, read: 1, partitions: 10 };
const OTHERS: [Case; 3] = [
    Case { brokers: 1, topics: 1, read: 1, partitions: 1000 },
    Case { brokers: 30, topics: 250, read: 250, partitions: 40 },
    Case { brokers: 1, topics: 4000, read: 1, partitions: 10 },
];

pub(crate) fn run() -> Outcome {
    let smallest = measure(&SMALLEST)?;
    let mut found = format!("1 topic x 10 partitions {smallest:.1?}");
    let mut kept = true;
    for case in OTHERS {
        let took = measure(&case)?;
        let times = took.as_secs_f64() / smallest.as_secs_f64();
        let Case { brokers, topics, read, partitions } = case;
        found += &format!(
            ", {topics} topics ({read} read) x {partitions} on {brokers} broker(s) {took:.1?} \
             ({times:.1} times)"
        );
        kept &= times <= BAR;
    }
    Ok(Figure { found, bar: format!("{BAR} times the first"), kept })
}

/// The median time for a record.
fn measure(case: &Case) -> Result<Duration, Failure> {
    let mut machine = Machine::new(case)?;
    machine.pass(Duration::from_secs(5));
    let mut spent = Vec::new();
    for n in 0..RECORDS {
        machine.pass(Duration::from_millis(1));
        let topic = (n as usize * 7) % case.read;
        machine.append(&name(topic), (n * 13) % case.partitions)?;
        spent.push(machine.take_record()?);
    }
    spent.sort_unstable();
    Ok(spent[spent.len() / 2])
}

fn name(n: usize) -> String {
    format!("topic-{n}")
}

/// A connection: bytes under way to the broker, and to the client.
struct Line {
    broker: i32,
    requests: BytesMut,
    answers: BytesMut,
}

struct Machine {
    cluster: Cluster,
    client: Client<'static>,
    lines: BTreeMap<ConnId, Line>,
    now: Duration,
    /// What calls to the client took, and how many spans that was.
    spent: Duration,
    spans: u32,
    /// Batches that came.
    batches: u32,
}

impl Machine {
    fn new(case: &Case) -> Result<Self, Failure> {
        let options = Options { brokers: case.brokers, replication: 1, ..Options::default() };
        let mut cluster = Cluster::new(options);
        let names: Vec<String> = (0..case.topics).map(name).collect();
        cluster.create_many(&names, case.partitions).map_err(|code| format!("{code}"))?;
        let mut limits = Limits::server();
        (limits.conns, limits.topics, limits.rx_bytes) = (64, case.topics, 256 << 10);
        let mut config = Config::new("broker-1:9092");
        config.probing = Probing::Never; // what a probe costs is another matter
        let mut client = Client::new(config, Storage::heap(&limits), [7; 32])?;
        for (n, name) in names.iter().enumerate() {
            let topic = client.topic(name)?;
            if n < case.read {
                client.assign_all(Instant::ZERO, topic, Start::Earliest)?;
            }
        }
        let (now, spent) = (Duration::ZERO, Duration::ZERO);
        let lines = BTreeMap::new();
        Ok(Self { cluster, client, lines, now, spent, spans: 0, batches: 0 })
    }

    /// Time passes; what is due happens.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            while self.turn() {}
            let client = self.client.poll_timeout().map(|at| Duration::from_micros(at.as_micros()));
            let next = [client, self.cluster.next_time()].into_iter().flatten().min();
            // Not the same instant again: clocks of the two differ by less than a microsecond.
            let next = next.map(|next| next.max(self.now + Duration::from_micros(1)));
            self.now = next.unwrap_or(end).min(end);
            if self.now == end {
                return;
            }
        }
    }

    /// The time of the client until a record that was written has been taken, and fetched after.
    fn take_record(&mut self) -> Result<Duration, Failure> {
        let before = self.batches;
        (self.spent, self.spans) = (Duration::ZERO, 0);
        while self.turn() {}
        if self.batches != before + 1 {
            return Err(format!("{} batches for one record", self.batches - before).into());
        }
        // Less what looking at the clock takes.
        let clock = thread_time();
        let clock = thread_time() - clock;
        Ok(self.spent.saturating_sub(clock * self.spans))
    }

    fn timed<R>(&mut self, act: impl FnOnce(&mut Client<'static>, Instant) -> R) -> R {
        let now = Instant::from_micros(self.now.as_micros() as u64);
        let since = thread_time();
        let result = act(&mut self.client, now);
        self.spent += thread_time() - since;
        self.spans += 1;
        result
    }

    /// One round of an event loop and of the brokers; whether anything moved.
    fn turn(&mut self) -> bool {
        let mut moved = self.actions();
        let now = Instant::from_micros(self.now.as_micros() as u64);
        let conns: Vec<ConnId> = self.lines.keys().copied().collect();
        for conn in conns {
            let busy = self.lines.get(&conn).is_some_and(|line| !line.answers.is_empty());
            if busy {
                moved |= self.receive(conn);
            }
            // Asking each connection for bytes is the loop's way, and not timed.
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
                    let (requests, answers) = (BytesMut::new(), BytesMut::new());
                    self.lines.insert(conn, Line { broker, requests, answers });
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
            let len = room.len().min(line.answers.len());
            room[..len].copy_from_slice(&line.answers[..len]);
            if len > 0 {
                client.handle_received(now, conn, len);
            }
            len
        });
        line.answers.advance(len);
        self.lines.insert(conn, line);
        len > 0
    }

    /// The brokers work on what has come.
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
        let ask = ProduceRequest::default().with_acks(1).with_topic_data(vec![data]);
        let body = RequestKind::Produce(ask.with_timeout_ms(1000));
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
        if let Reply::Now(answer) = reply
            && let Ok(bytes) = answer.encode()
        {
            self.answers.extend_from_slice(&bytes);
        }
    }
}

/// A connection's number at the brokers.
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

/// A batch of one record.
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
