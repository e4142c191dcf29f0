//! Simulated runs with transactions: several producers write theirs straight into the logs, so that
//! they interleave, their markers come late, or twice, or without records. Readers of what is
//! committed get exactly that, with little memory, while leaders move and connections break.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use kavka_core::{Isolation, Limits, PartitionId, Start, TopicId};

use super::batch;
use super::fault::Fault;
use super::journal::News;
use super::rng::Rng;
use super::world::World;
use super::{ApiKey, Journal, Options, Profile};

const TOPIC: &str = "t";
const MOST_PARTITIONS: u32 = 6;
/// How long readers get to read all, once nothing fails any more.
const GRACE: Duration = Duration::from_secs(60);

/// A producer of transactions.
struct Producer {
    id: i64,
    epoch: i16,
    /// Partitions of the transaction that is open.
    open: BTreeSet<u32>,
    /// Markers that are not written yet: it begins no other transaction before.
    due: Vec<(Duration, u32)>,
    commits: bool,
    /// Whether each end raises the epoch, that of the marker included (KIP-890).
    bumps: bool,
}

struct Member {
    member: usize,
    topic: TopicId,
    committed: bool,
}

struct Run {
    rng: Rng,
    world: World<Journal>,
    producers: Vec<Producer>,
    readers: Vec<Member>,
    written: u64,
    aborted: u64,
}

/// What a run was about.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Records that were written.
    pub written: u64,
    /// Transactions that were aborted.
    pub aborted: u64,
    /// Records that were read.
    pub read: usize,
}

/// Runs a seed.
///
/// # Panics
/// When a reader gets anything but what was committed, all of it, once and in order.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    let mut run = Run::new(seed);
    let end = run.rng.millis(2000, 10_000);
    while run.world.now() < end {
        let pause = run.rng.millis(1, 60);
        run.world.run_for(pause);
        run.write();
        run.write_markers(run.world.now());
        if run.rng.chance(6) {
            run.disturb();
        }
    }
    run.settle();
    run.judge()
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed ^ 0x7472_616e_7361_6374);
        let profile = rng.pick(&[Profile::V2_4, Profile::V2_8, Profile::V3_9, Profile::V4_4]);
        let slow = if rng.chance(50) { rng.millis(1, 200) } else { Duration::ZERO };
        let options = Options {
            profile,
            replication_delay: slow,
            session_slots: rng.pick(&[1000, 1000, 2, 0]),
            racks: rng.pick(&[0, 0, 3]),
            rack_aware: rng.chance(50),
            ..Options::default()
        };
        let mut world = World::new(seed, options);
        world.cluster.create_topic(TOPIC, rng.range(1, 4) as u32).expect("created");
        let count = rng.range(1, 6).cast_signed();
        let producer = |id| Producer {
            id,
            epoch: 0,
            open: BTreeSet::new(),
            due: Vec::new(),
            commits: false,
            bumps: rng.chance(50),
        };
        let producers: Vec<Producer> = (0..count).map(producer).collect();
        let mut run = Self { rng, world, producers, readers: Vec::new(), written: 0, aborted: 0 };
        for n in 0..3 {
            run.join(n > 0);
        }
        run
    }

    fn join(&mut self, committed: bool) {
        let mut limits = Limits::small();
        limits.conns = self.rng.range(1, 8) as usize;
        limits.rx_bytes = self.rng.pick(&[1024, 4096, 64 << 10]);
        // As many as there may be around one offset.
        limits.aborted = self.producers.len() + self.rng.pick(&[0, 1, 60]);
        let (racks, most) = (self.rng.chance(30), self.rng.pick(&[1024, 64 << 10]));
        let member = self.world.join(Journal::default(), &limits, |config| {
            if committed {
                config.isolation = Isolation::ReadCommitted;
            }
            config.rack = if racks { "rack-2" } else { "" };
            config.partition_max_bytes = most;
        });
        let topic = self.world.command(member, |now, client, _| {
            let topic = client.topic(TOPIC).expect("a topic");
            client.assign_all(now, topic, Start::Earliest).expect("assigned");
            topic
        });
        self.readers.push(Member { member, topic, committed });
    }

    /// Returns a partition whose leader runs.
    fn partition(&mut self) -> Option<u32> {
        let partition = self.rng.below(self.world.cluster.partitions(TOPIC).into()) as u32;
        self.led(partition).then_some(partition)
    }

    fn led(&self, partition: u32) -> bool {
        let leader = self.world.cluster.leader(TOPIC, partition);
        leader.is_some_and(|(leader, _)| self.world.cluster.alive(leader))
    }

    /// Writes a batch, inside a transaction or not, or ends a transaction.
    fn write(&mut self) {
        let Some(partition) = self.partition() else { return };
        let place = self.rng.below(self.producers.len() as u64) as usize;
        let ready = self.producers[place].due.is_empty();
        match self.rng.below(10) {
            0 => self.append(partition, 0, (-1, -1)),
            1 => self.append(partition, 0, (self.producers[place].id, 0)),
            2 | 3 if ready => self.end(place),
            4 if ready && self.rng.chance(10) => {
                // The coordinator repeats a marker, or ends what has no records here.
                let Producer { id, epoch, ref open, .. } = self.producers[place];
                if open.is_empty() {
                    let commit = self.rng.chance(50);
                    let result =
                        self.world.cluster.append_marker(TOPIC, partition, (id, epoch), commit);
                    result.expect("appended");
                }
            }
            _ if ready => {
                let Producer { id, epoch, .. } = self.producers[place];
                self.producers[place].open.insert(partition);
                self.append(partition, batch::TRANSACTIONAL, (id, epoch));
            }
            _ => {}
        }
    }

    fn append(&mut self, partition: u32, attributes: i16, (id, epoch): (i64, i16)) {
        let count = self.rng.range(1, 4);
        let values: Vec<String> =
            (0..count).map(|n| format!("{id}-{}", self.written + n)).collect();
        self.written += count;
        let records: Vec<_> = values.iter().map(|value| (None, Some(value.as_bytes()))).collect();
        let time = 1_700_000_000_000 + self.world.now().as_millis() as i64;
        let bytes = batch::write(attributes, (id, epoch, -1), time, &records);
        self.world.cluster.append_batch(TOPIC, partition, &bytes).expect("appended");
    }

    /// Commits or aborts; the markers come at once or later.
    fn end(&mut self, place: usize) {
        let now = self.world.now();
        let producer = &mut self.producers[place];
        producer.commits = self.rng.chance(50);
        for partition in core::mem::take(&mut producer.open) {
            let late = if self.rng.chance(30) { self.rng.millis(1, 1500) } else { Duration::ZERO };
            producer.due.push((now + late, partition));
            self.aborted += u64::from(!producer.commits);
        }
        if producer.bumps {
            producer.epoch += 1;
        }
    }

    fn write_markers(&mut self, until: Duration) {
        for place in 0..self.producers.len() {
            let due = core::mem::take(&mut self.producers[place].due);
            for (at, partition) in due {
                let Producer { id, epoch, commits, .. } = self.producers[place];
                if at > until || !self.led(partition) {
                    self.producers[place].due.push((at, partition));
                    continue;
                }
                let result =
                    self.world.cluster.append_marker(TOPIC, partition, (id, epoch), commits);
                result.expect("appended");
            }
        }
    }

    fn disturb(&mut self) {
        let broker = self.rng.range(1, 3) as i32;
        let partition = self.rng.below(self.world.cluster.partitions(TOPIC).into()) as u32;
        let cluster = &mut self.world.cluster;
        match self.rng.below(8) {
            0 => {
                let count = cluster.partitions(TOPIC) + 1;
                if count <= MOST_PARTITIONS {
                    cluster.grow(TOPIC, count).expect("grown");
                }
            }
            1 => {
                // To a replica that has all: what a transaction wrote is not lost.
                let _ = cluster.move_leader(TOPIC, partition, broker);
            }
            2 if cluster.alive(broker) => self.world.kill(broker),
            2 | 3 => cluster.restart(broker),
            4 => self.world.disconnect(broker),
            5 => cluster.evict_sessions(broker),
            _ => {
                let fault = match self.rng.below(4) {
                    0 => Fault::DropResponse,
                    1 => Fault::DropRequest,
                    2 => Fault::Throttle(self.rng.range(1, 300) as i32),
                    _ => Fault::Delay(self.rng.millis(1, 1000)),
                };
                let api = self.rng.pick(&[ApiKey::Fetch, ApiKey::Fetch, ApiKey::ListOffsets]);
                cluster.inject(broker, api, fault, 1);
            }
        }
    }

    /// Ends all faults and all transactions.
    fn settle(&mut self) {
        self.world.cluster.heal();
        self.world.run_for(Duration::from_secs(2));
        self.write_markers(Duration::MAX);
        // Of records whose leader was lost there may be an open transaction left.
        for place in 0..self.producers.len() {
            let Producer { id, epoch, .. } = self.producers[place];
            for partition in 0..self.world.cluster.partitions(TOPIC) {
                let commit = self.rng.chance(50);
                let result =
                    self.world.cluster.append_marker(TOPIC, partition, (id, epoch), commit);
                result.expect("appended");
            }
        }
    }

    /// Returns the positions of a reader by partition.
    fn positions(world: &World<Journal>, of: &Member) -> BTreeMap<u32, i64> {
        let assigned = world.app(of.member).news.iter().filter_map(|(_, news)| match *news {
            News::Assigned { at, partition } => Some((at, partition.partition)),
            _ => None,
        });
        let position = |(at, partition): (PartitionId, u32)| {
            Some((partition, world.client(of.member).position(at)?))
        };
        assigned.filter_map(position).collect()
    }

    fn judge(mut self) -> Outcome {
        let count = self.world.cluster.partitions(TOPIC);
        for reader in &self.readers {
            self.world.await_that("end of all partitions", GRACE, |world| {
                let positions = Self::positions(world, reader);
                (0..count).all(|at| {
                    let end = world.cluster.last_stable_offset(TOPIC, at);
                    // All is decided, and replicated.
                    end == world.cluster.log_len(TOPIC, at) && positions.get(&at) == Some(&end)
                })
            });
        }
        let mut read = 0;
        for Member { member, topic, committed } in &self.readers {
            for partition in 0..count {
                let stored = match committed {
                    true => self.world.cluster.committed_records(TOPIC, partition),
                    false => self.world.cluster.records(TOPIC, partition),
                };
                let stored = stored.into_iter();
                let wanted: Vec<_> = stored
                    .map(|record| (record.offset, record.value.unwrap_or_default().to_vec()))
                    .collect();
                let got = self.world.app(*member).read.get(&(*topic, partition));
                let got = got.map_or(&[][..], Vec::as_slice);
                let at = self.world.at();
                assert_eq!(got, wanted, "{at}: reader {member}, partition {partition}");
                read += got.len();
            }
            let failed = |news: &News| matches!(news, News::PartitionFailed { .. });
            let limits = self.world.app(*member).news.iter().filter(|(_, news)| failed(news));
            for (_, news) in limits {
                let text = format!("{news:?}");
                assert!(!text.contains("Aborted"), "{}: {text}", self.world.at());
            }
        }
        Outcome { written: self.written, aborted: self.aborted, read }
    }
}
