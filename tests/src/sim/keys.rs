//! Simulated runs in which a topic grows while several producers write records with keys: under
//! `drain` the records of a key of one producer are appended in their order, whatever partition
//! they go to, and under `pin` a key stays in its partition; leaders move and die meanwhile.

use core::time::Duration;
use std::collections::HashMap;

use kavka_core::murmur2::{murmur2, positive};
use kavka_core::{KeyOrder, Limits, TopicId};

use super::deed::What;
use super::fault::Fault;
use super::journal::ToSend;
use super::rng::Rng;
use super::world::World;
use super::{ApiKey, Journal, Options, Profile, batch};

const TOPIC: &str = "t";
const MOST_PARTITIONS: u32 = 24;
/// How long producers get to complete, once nothing fails any more.
const GRACE: Duration = Duration::from_secs(150);

/// What a run was about.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Records that were written.
    pub written: usize,
    /// How often the topic has grown.
    pub growths: u32,
    /// Records that were appended before an earlier one of their producer and key, which was
    /// acknowledged.
    pub reordered: Vec<String>,
}

struct Run {
    rng: Rng,
    world: World<Journal>,
    order: KeyOrder,
    /// Clients, and what they know the topic as.
    producers: Vec<(usize, TopicId)>,
    keys: u64,
    next: u64,
    growths: u32,
    /// When the batch of a record was last appended there: partition, offset and value.
    appended: HashMap<(u32, i64, Vec<u8>), u64>,
    appends: u64,
}

/// Runs a seed under a policy.
///
/// # Panics
/// When a record is not acknowledged in the end, or a pinned key is anywhere else.
#[must_use]
pub fn run(seed: u64, order: KeyOrder) -> Outcome {
    let mut run = Run::new(seed, order);
    let end = run.rng.millis(3000, 10_000);
    while run.world.now() < end {
        let pause = run.rng.millis(1, 40);
        run.world.run_for(pause);
        run.write();
        if run.rng.chance(5) {
            run.disturb();
        }
        run.look();
    }
    run.settle();
    run.judge()
}

impl Run {
    fn new(seed: u64, order: KeyOrder) -> Self {
        let mut rng = Rng(seed ^ 0x6b65_7973);
        let slow = if rng.chance(60) { rng.millis(1, 300) } else { Duration::ZERO };
        let options = Options {
            profile: rng.pick(&[Profile::V2_4, Profile::V3_9, Profile::V4_4]),
            replication_delay: slow,
            first_append_delay: slow * 2,
            ..Options::default()
        };
        let mut world = World::new(seed, options);
        world.cluster.watch_deeds();
        world.cluster.create_topic(TOPIC, rng.range(2, 5) as u32).expect("created");
        let mut producers = Vec::new();
        for _ in 0..3 {
            let mut limits = Limits::small();
            limits.tx_blocks = rng.pick(&[32, 256]);
            let linger = rng.millis(0, 50);
            let member = world.join(Journal::default(), &limits, |config| config.linger = linger);
            let topic = world.command(member, |_, client, _| {
                let topic = client.topic(TOPIC).expect("a topic");
                client.set_key_order(topic, order).expect("watched");
                topic
            });
            producers.push((member, topic));
        }
        let keys = rng.pick(&[3, 20, 100]);
        let (next, growths, appended, appends) = (0, 0, HashMap::new(), 0);
        Self { rng, world, order, producers, keys, next, growths, appended, appends }
    }

    /// Queues some records: a producer's own number is in each, so that order can be told.
    fn write(&mut self) {
        let producer = self.rng.below(3) as usize;
        let (member, topic) = self.producers[producer];
        for _ in 0..self.rng.range(1, 12) {
            let key = self.rng.below(self.keys).to_string();
            let value = format!("{producer}/{key}/{:08}", self.next).into_bytes();
            self.next += 1;
            let key = Some(key.into_bytes());
            let record = ToSend { topic, partition: None, key, value };
            self.world.app_mut(member).to_send.push_back(record);
        }
    }

    fn disturb(&mut self) {
        let broker = self.rng.range(1, 3) as i32;
        let count = self.world.cluster.partitions(TOPIC);
        let partition = self.rng.below(count.into()) as u32;
        let cluster = &mut self.world.cluster;
        match self.rng.below(8) {
            0..3 => {
                let to = count + self.rng.range(1, 4) as u32;
                if to <= MOST_PARTITIONS {
                    cluster.grow(TOPIC, to).expect("grown");
                    self.growths += 1;
                }
            }
            3 => {
                let _ = cluster.move_leader(TOPIC, partition, broker);
            }
            4 if cluster.alive(broker) => self.world.kill(broker),
            4 | 5 => cluster.restart(broker),
            6 => self.world.disconnect(broker),
            _ => {
                let fault = match self.rng.below(3) {
                    0 => Fault::DropResponse,
                    1 => Fault::DropRequest,
                    _ => Fault::Delay(self.rng.millis(1, 2000)),
                };
                cluster.inject(broker, ApiKey::Produce, fault, 1);
            }
        }
    }

    /// Notes what was appended since the last call, in its order.
    fn look(&mut self) {
        for deed in self.world.cluster.take_deeds() {
            let What::Appended { partition, batch, .. } = deed.what else { continue };
            for record in batch::records(&batch).unwrap_or_default() {
                self.appends += 1;
                let value = record.value.unwrap_or_default().to_vec();
                self.appended.insert((partition, record.offset, value), self.appends);
            }
        }
    }

    fn settle(&mut self) {
        self.world.cluster.heal();
        let producers = self.producers.clone();
        self.world.await_that("acknowledgements", GRACE, |world| {
            producers.iter().all(|(member, _)| world.app(*member).sent_all())
        });
        self.look();
    }

    fn judge(self) -> Outcome {
        let at = self.world.at();
        for (member, _) in &self.producers {
            let lost = &self.world.app(*member).lost;
            assert!(lost.is_empty(), "{at}: {lost:?}");
        }
        let mut records = Vec::new();
        for partition in 0..self.world.cluster.partitions(TOPIC) {
            for record in self.world.cluster.records(TOPIC, partition) {
                let value = record.value.unwrap_or_default().to_vec();
                if let KeyOrder::Pin(n) = self.order {
                    let key = record.key.unwrap_or_default();
                    assert_eq!(partition, positive(murmur2(&key)) % n, "{at}: {key:?} is pinned");
                }
                let place = (partition, record.offset, value);
                let when = *self.appended.get(&place).expect("it was appended");
                records.push((when, place));
            }
        }
        records.sort_unstable();
        let mut outcome = Outcome { growths: self.growths, ..Outcome::default() };
        outcome.written = records.len();
        let mut last: HashMap<(String, String), (String, u32)> = HashMap::new();
        for (_, (partition, offset, value)) in records {
            let text = String::from_utf8_lossy(&value).into_owned();
            let mut parts = text.split('/').map(str::to_owned);
            let of = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let number = parts.next().unwrap_or_default();
            let before = last.entry(of).or_insert_with(|| (String::new(), partition));
            if number < before.0 {
                let (newer, other) = &*before;
                outcome
                    .reordered
                    .push(format!("{at}: {text} at {partition}/{offset} after {newer} in {other}"));
            } else {
                *before = (number, partition);
            }
        }
        assert_eq!(outcome.written as u64, self.next, "{at}: each record once");
        outcome
    }
}
