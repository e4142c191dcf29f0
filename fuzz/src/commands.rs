//! Any order of commands by applications, over simulated brokers that behave well, with leaders
//! that move, brokers that die and come back, and topics that grow and are recreated.

use core::time::Duration;

use kavka_core::codec::{Codec, CompactPack, Pack};
use kavka_core::{Admin, Commands, Event, Instant, Limits, PartitionId, Record, Start, TopicId};
use kavka_std::codec::{Encoders, READ};
use kavka_tests::sim::world::App;
use kavka_tests::sim::{Options, Profile, World};

use crate::hostile::config;
use crate::input::Input;
use crate::memory::still;
use crate::watch::Watch;

/// Most commands in one run.
const STEPS: usize = 80;
/// Longer than the delivery timeout: after this nothing may be in flight any more.
const PATIENCE: Duration = Duration::from_secs(30);
const TOPICS: [&str; 3] = ["a", "b", "c"];

/// Reads seed, release, limits, configuration, then commands.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let seed = u64::from(input.byte());
    let options = Options { brokers: 2, profile: input.pick(&Profile::ALL), ..Options::default() };
    let mut world = World::new(seed, options);
    let _ = world.cluster.create_topic("a", 2);
    let _ = world.cluster.create_topic("b", 1);
    let (limits, codec) = limits(&mut input);
    if codec.is_some_and(|codec| !CompactPack::new().codecs().has(codec)) {
        world.encoders = Box::new(|| Box::new(Encoders::default()));
    }
    let wanted = config(&mut input).compression(codec);
    let member = world.join(Player::default(), &limits, |config| {
        let bootstrap = config.bootstrap;
        *config = wanted;
        config.bootstrap = bootstrap;
        config.codecs = READ;
        config.delivery_timeout = Duration::from_secs(10);
        config.request_timeout = Duration::from_secs(4);
    });
    for _ in 0..STEPS {
        if input.is_empty() {
            break;
        }
        match input.below(16) {
            0..=2 => world.run_for(Duration::from_micros(
                input.pick(&[100, 1000, 10_000, 100_000, 500_000, 2_000_000]),
            )),
            3 | 4 => change(&mut world, &mut input),
            _ => {
                world.command(member, |now, commands, app| app.command(now, commands, &mut input));
            }
        }
    }
    heal(&mut world);
    world.command(member, |now, commands, app| app.end(now, commands));
    world.await_that("end of what was asked", PATIENCE, |world| {
        world.app(member).watch.is_through()
    });
}

/// Reads limits, and what batches are compressed with.
fn limits(input: &mut Input<'_>) -> (Limits, Option<Codec>) {
    let mut limits = Limits::small();
    let tight = input.byte();
    if tight & 1 != 0 {
        limits.conns = 1;
    }
    if tight & 2 != 0 {
        limits.partitions = 2;
    }
    if tight & 4 != 0 {
        (limits.tx_blocks, limits.block_bytes) = (8, 256);
    }
    if tight & 8 != 0 {
        limits.rx_bytes = 1024;
    }
    if tight & 16 != 0 {
        (limits.topics, limits.requests) = (2, 1);
    }
    let codec = usize::from(tight >> 5).checked_sub(1).map(|place| Codec::ALL[place % 4]);
    if codec.is_some() {
        // Batches of several pieces, or of one.
        limits.pack_bytes = if tight & 1 != 0 { 150 } else { 4096 };
    }
    (limits, codec)
}

/// Applies one change to the cluster.
fn change(world: &mut World<Player>, input: &mut Input<'_>) {
    let topic = input.pick(&TOPICS);
    let partition = input.below(3) as u32;
    let broker = input.pick(&[1, 2]);
    let cluster = &mut world.cluster;
    match input.below(9) {
        0 => drop(cluster.grow(topic, cluster.partitions(topic) + 1)),
        1 => drop(cluster.move_leader(topic, partition, broker)),
        2 => world.kill(broker),
        3 => cluster.restart(broker),
        4 => world.disconnect(broker),
        5 => drop(cluster.recreate_topic(topic, partition + 1)),
        6 => cluster.evict_sessions(broker),
        7 => {
            let end = cluster.high_watermark(topic, partition);
            let _ = cluster.trim(topic, partition, end);
        }
        _ => cluster.set_lag(broker, Duration::from_millis(10 * input.byte() as u64)),
    }
}

fn heal(world: &mut World<Player>) {
    for broker in [1, 2] {
        world.cluster.restart(broker);
        world.cluster.set_lag(broker, Duration::ZERO);
    }
}

/// An application that follows the input.
#[derive(Default)]
struct Player {
    watch: Watch,
    topics: Vec<TopicId>,
    parts: Vec<PartitionId>,
}

impl App for Player {
    fn on_event(&mut self, _: Instant, event: Event<'_>, commands: &mut Commands<'static>) {
        self.watch.reported(&event, commands);
        if let Event::Assigned { at, .. } = event {
            self.parts.push(at);
        }
    }

    fn on_idle(&mut self, _: Instant, _: &mut Commands<'static>) {}
}

impl Player {
    fn command(&mut self, now: Instant, commands: &mut Commands<'static>, input: &mut Input<'_>) {
        let topic = self.topics.get(input.below(self.topics.len().max(1))).copied();
        let part = self.parts.get(input.below(self.parts.len().max(1))).copied();
        match (input.below(16), topic, part) {
            (0, ..) | (_, None, _) => {
                let name = input.pick(&TOPICS);
                if let Ok(topic) = still(|| commands.topic(name)) {
                    self.topics.push(topic);
                }
            }
            (1..=4, Some(topic), _) => self.produce(now, commands, topic, input),
            (5, ..) => {
                still(|| commands.flush(now));
                self.watch.flush();
            }
            (6 | 7, Some(topic), _) => {
                let (partition, start) = (input.below(4) as u32, start(input));
                if let Ok(part) = still(|| commands.assign(now, topic, partition, start)) {
                    self.parts.push(part);
                }
            }
            (8, Some(topic), _) => {
                let start = start(input);
                let _ = still(|| commands.assign_all(now, topic, start));
            }
            (9, _, Some(part)) => {
                still(|| commands.unassign(now, part));
                self.watch.forget(part);
            }
            (10, _, Some(part)) => {
                let start = start(input);
                if still(|| commands.seek(now, part, start)).is_ok() {
                    self.watch.forget(part);
                }
            }
            (11, _, Some(part)) => still(|| commands.pause(part)),
            (12, _, Some(part)) => {
                let offset = i64::from(input.byte());
                still(|| commands.hold(part, offset));
                self.watch.held(part, offset);
            }
            (13 | 14, _, Some(part)) => still(|| commands.resume(now, part)),
            _ => self.admin(now, commands, input),
        }
    }

    fn produce(
        &mut self,
        now: Instant,
        commands: &mut Commands<'static>,
        topic: TopicId,
        input: &mut Input<'_>,
    ) {
        let value = vec![b'v'; input.below(256) * (1 + input.below(4))];
        let key = [input.byte()];
        let record = Record::new(&value).key(&key);
        let partition = input.below(4) as u32;
        for _ in 0..=input.below(8) {
            self.watch.produced(still(|| match partition {
                3 => commands.produce(now, topic, &record),
                _ => commands.produce(now, (topic, partition), &record),
            }));
        }
    }

    fn admin(&mut self, now: Instant, commands: &mut Commands<'static>, input: &mut Input<'_>) {
        let name = input.pick(&TOPICS);
        let count = i32::from(input.byte() % 8);
        let request = match input.below(5) {
            0 => {
                Admin::CreateTopic { name, partitions: count, replication_factor: 1, configs: &[] }
            }
            1 => Admin::CreatePartitions { name, count, validate_only: input.one_in(2) },
            2 => Admin::DeleteTopic { name },
            3 => Admin::Describe { topic: Some(name) },
            _ => Admin::Describe { topic: None },
        };
        if let Ok(id) = still(|| commands.admin(now, &request)) {
            self.watch.requested(id);
        }
    }

    /// Resumes what is held, so that everything completes.
    fn end(&mut self, now: Instant, commands: &mut Commands<'static>) {
        for part in &self.parts {
            still(|| commands.resume(now, *part));
        }
        still(|| commands.flush(now));
        self.watch.flush();
    }
}

fn start(input: &mut Input<'_>) -> Start {
    match input.below(5) {
        0 | 1 => Start::Earliest,
        2 => Start::Latest,
        3 => Start::Offset(i64::from(input.byte())),
        _ => Start::Timestamp(1_700_000_000_000 + i64::from(input.byte())),
    }
}
