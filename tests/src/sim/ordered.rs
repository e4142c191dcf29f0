//! Simulated readers of keys while a topic grows by whole multiples and its producers drain: with
//! `ordered_growth` they see each key in order, alone or as members of a group that come and go;
//! brokers die and are late meanwhile.

use core::cell::RefCell;
use core::time::Duration;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use kavka_core::{
    Commands, Event, GroupProtocol, Instant, KeyOrder, Limits, OrderedGrowth, Start, TopicId,
};

use super::fault::Fault;
use super::journal::ToSend;
use super::rng::Rng;
use super::world::{App, World};
use super::{ApiKey, Groups, Journal, Options, Profile};

const TOPIC: &str = "t";
const GROUP: &str = "g";
const MOST_PARTITIONS: u32 = 24;
/// How long everything may take, once nothing fails any more.
const GRACE: Duration = Duration::from_secs(200);
/// Longer than producers can need to notice a growth and to drain: trouble ends before.
const SETTLE: Duration = Duration::from_secs(20);
const PRODUCERS: u64 = 3;

/// Who reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// One client, all partitions.
    One,
    /// Members of a group under KIP-848.
    Consumer,
    /// Members of a classic group.
    Classic,
}

/// What a run was about.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Records that were read, each counted once.
    pub read: usize,
    /// How often the topic has grown.
    pub growths: u32,
    /// How often held partitions were read, and how often too early.
    pub released: u32,
    /// See before.
    pub late: u32,
    /// Records that were read first after a later one of their producer and key.
    pub reordered: Vec<String>,
}

/// What all readers have read, in its order.
#[derive(Default)]
struct Log {
    seen: HashSet<(u32, i64)>,
    values: Vec<(String, u32, i64)>,
    released: u32,
    late: u32,
}

struct Reader {
    log: Rc<RefCell<Log>>,
    rng: Rng,
    slow: bool,
    full_until: Option<Instant>,
}

enum Role {
    Writer(Journal),
    Reader(Reader),
}

impl App for Role {
    fn on_event(&mut self, now: Instant, event: Event<'_>, commands: &mut Commands<'static>) {
        let reader = match self {
            Self::Writer(journal) => return journal.on_event(now, event, commands),
            Self::Reader(reader) => reader,
        };
        let mut log = reader.log.borrow_mut();
        match event {
            Event::Records(batch) => {
                let partition = batch.topic_partition().partition;
                for record in batch.records().flatten() {
                    if log.seen.insert((partition, record.offset)) {
                        let value = record.value.unwrap_or_default();
                        let value = String::from_utf8_lossy(value).into_owned();
                        log.values.push((value, partition, record.offset));
                    }
                }
                if reader.slow && reader.rng.chance(10) {
                    let pause = u64::try_from(reader.rng.millis(1, 2000).as_micros());
                    let until = now.as_micros() + pause.unwrap_or_default();
                    reader.full_until = Some(Instant::from_micros(until));
                }
            }
            Event::GrowthRead { ordered, .. } => {
                log.released += 1;
                log.late += u32::from(!ordered);
            }
            _ => {}
        }
    }

    fn on_idle(&mut self, now: Instant, commands: &mut Commands<'static>) {
        match self {
            Self::Writer(journal) => journal.on_idle(now, commands),
            Self::Reader(reader) => {
                reader.full_until = reader.full_until.filter(|until| *until > now);
            }
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        match self {
            Self::Writer(_) => None,
            Self::Reader(reader) => reader.full_until,
        }
    }

    fn is_full(&self, now: Instant) -> bool {
        matches!(self, Self::Reader(reader) if reader.full_until.is_some_and(|until| until > now))
    }
}

struct Run {
    rng: Rng,
    world: World<Role>,
    readers: Readers,
    ordered: bool,
    /// Clients, and what they know the topic as.
    producers: Vec<(usize, TopicId)>,
    members: Vec<usize>,
    log: Rc<RefCell<Log>>,
    next: u64,
    growths: u32,
}

/// Runs a seed.
///
/// # Panics
/// When records are not acknowledged, or not read, in the end.
#[must_use]
pub fn run(seed: u64, readers: Readers, ordered: bool) -> Outcome {
    let mut run = Run::new(seed, readers, ordered);
    let end = run.world.now() + run.rng.millis(3000, 10_000);
    while run.world.now() < end {
        let pause = run.rng.millis(1, 40);
        run.world.run_for(pause);
        run.write();
        if run.rng.chance(4) {
            run.disturb();
        }
        if readers != Readers::One && run.rng.chance(1) {
            run.change_members();
        }
    }
    run.settle();
    run.judge()
}

impl Run {
    fn new(seed: u64, readers: Readers, ordered: bool) -> Self {
        let mut rng = Rng(seed ^ 0x6f72_6465);
        let slow = if rng.chance(60) { rng.millis(1, 100) } else { Duration::ZERO };
        let options = Options {
            profile: rng.pick(&[Profile::V3_9, Profile::V4_4]),
            replication_delay: slow,
            first_append_delay: slow * 2,
            groups: (readers != Readers::One).then(|| Groups {
                session: Duration::from_secs(5),
                interval: Duration::from_millis(500),
                ..Groups::default()
            }),
            ..Options::default()
        };
        let options = match readers {
            Readers::Consumer => Options { profile: Profile::V4_4, ..options },
            _ => options,
        };
        let mut world = World::new(seed, options);
        world.cluster.create_topic(TOPIC, rng.range(1, 3) as u32).expect("created");
        let mut producers = Vec::new();
        for _ in 0..PRODUCERS {
            let linger = rng.millis(0, 50);
            let role = Role::Writer(Journal::default());
            let member = world.join(role, &Limits::small(), |config| config.linger = linger);
            let topic = world.command(member, |_, client, _| {
                let topic = client.topic(TOPIC).expect("a topic");
                client.set_key_order(topic, KeyOrder::Drain).expect("watched");
                topic
            });
            producers.push((member, topic));
        }
        let log = Rc::default();
        let members = Vec::new();
        let mut run =
            Self { rng, world, readers, ordered, producers, members, log, next: 0, growths: 0 };
        let count = if readers == Readers::One { 1 } else { run.rng.range(1, 3) };
        for _ in 0..count {
            run.join();
        }
        // A group's first contact comes before the first growth: it is what is new to it.
        run.world.run_for(Duration::from_secs(if readers == Readers::One { 1 } else { 6 }));
        run
    }

    fn join(&mut self) {
        let log = Rc::clone(&self.log);
        let (rng, slow) = (self.rng.fork(), self.rng.chance(50));
        let role = Role::Reader(Reader { log, rng, slow, full_until: None });
        let (readers, ordered) = (self.readers, self.ordered);
        let member = self.world.join(role, &Limits::small(), |config| {
            config.ordered_growth =
                ordered.then(|| OrderedGrowth::new(SETTLE, Duration::from_secs(300)));
            if readers != Readers::One {
                config.group = GROUP;
                config.auto_commit = Some(Duration::from_secs(2));
            }
            if readers == Readers::Classic {
                config.group_protocol = GroupProtocol::Classic;
                config.session_timeout = Duration::from_secs(5);
                config.heartbeat_interval = Duration::from_millis(500);
            }
        });
        self.world.command(member, |now, client, _| {
            let topic = client.topic(TOPIC).expect("a topic");
            match readers {
                Readers::One => client.assign_all(now, topic, Start::Earliest),
                _ => client.subscribe(now, &[topic], Start::Earliest),
            }
            .expect("begun");
        });
        self.members.push(member);
    }

    fn change_members(&mut self) {
        match self.rng.below(3) {
            0 if self.members.len() < 4 => self.join(),
            1 if self.members.len() > 1 => {
                let member = self.members.remove(0);
                let limit = Duration::from_secs(5);
                self.world.command(member, |now, client, _| client.unsubscribe(now, limit));
            }
            2 if self.members.len() > 1 => {
                let member = self.members.remove(0);
                self.world.stop(member);
            }
            _ => {}
        }
    }

    fn write(&mut self) {
        let producer = self.rng.below(PRODUCERS);
        let (member, topic) = self.producers[producer as usize];
        for _ in 0..self.rng.range(1, 12) {
            let key = self.rng.below(20).to_string();
            let value = format!("{producer}/{key}/{:08}", self.next).into_bytes();
            self.next += 1;
            let record = ToSend { topic, partition: None, key: Some(key.into_bytes()), value };
            if let Role::Writer(journal) = self.world.app_mut(member) {
                journal.to_send.push_back(record);
            }
        }
    }

    fn disturb(&mut self) {
        let broker = self.rng.range(1, 3) as i32;
        let cluster = &mut self.world.cluster;
        let count = cluster.partitions(TOPIC);
        match self.rng.below(8) {
            0 | 1 => {
                let to = count * self.rng.range(2, 3) as u32;
                if to <= MOST_PARTITIONS {
                    cluster.grow(TOPIC, to).expect("grown");
                    self.growths += 1;
                }
            }
            2 => {
                let _ = cluster.move_leader(TOPIC, self.rng.below(count.into()) as u32, broker);
            }
            3 if cluster.alive(broker) => self.world.kill(broker),
            3 | 4 => cluster.restart(broker),
            5 => self.world.disconnect(broker),
            _ => {
                let late = Fault::Delay(self.rng.millis(1, 1500));
                let api = self.rng.pick(&[ApiKey::Fetch, ApiKey::ListOffsets, ApiKey::OffsetFetch]);
                let fault = self.rng.pick(&[late, Fault::DropResponse]);
                cluster.inject(broker, api, fault, 1);
            }
        }
    }

    fn settle(&mut self) {
        self.world.cluster.heal();
        let producers = self.producers.clone();
        self.world.await_that("acknowledgements", GRACE, |world| {
            producers.iter().all(|(member, _)| match world.app(*member) {
                Role::Writer(journal) => journal.sent_all(),
                Role::Reader(_) => true,
            })
        });
        let (log, all) = (Rc::clone(&self.log), self.next as usize);
        self.world.await_that("reading to the end", GRACE, |_| log.borrow().values.len() >= all);
    }

    fn judge(self) -> Outcome {
        let at = self.world.at();
        let log = self.log.borrow();
        let mut outcome = Outcome { growths: self.growths, ..Outcome::default() };
        outcome.read = log.values.len();
        assert_eq!(outcome.read as u64, self.next, "{at}: each record once");
        (outcome.released, outcome.late) = (log.released, log.late);
        let mut last: HashMap<(&str, &str), (&str, u32)> = HashMap::new();
        for (value, partition, offset) in &log.values {
            let (of, number) = value.rsplit_once('/').expect("a value of ours");
            let (producer, key) = of.split_once('/').expect("a value of ours");
            let before = last.entry((producer, key)).or_insert(("", *partition));
            if number < before.0 {
                let (newer, other) = *before;
                outcome.reordered.push(format!(
                    "{at}: {value} of {partition}/{offset} after {newer} of {other}"
                ));
            } else {
                *before = (number, *partition);
            }
        }
        outcome
    }
}
