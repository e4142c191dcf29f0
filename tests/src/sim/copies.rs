//! Exactly-once copies in virtual time: members of a group that read what is committed and write it
//! in transactions to the same partition of another topic, with the offsets of the group. They die,
//! are fenced off by those that come after them and lose partitions; both topics grow; coordinators
//! and leaders move. In the end each partition of the copy equals that of the original.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use kavka_core::{
    Commands, Consumed, Event, GroupProtocol, Instant, Isolation, Limits, Membership, Outcome,
    PartitionId, ProduceError, Record, Start, TopicId,
};

use super::fault::Fault;
use super::rng::Rng;
use super::world::{App, World};
use super::{ApiKey, Groups, Options, Profile, Transactions, batch};

const FROM: &str = "a";
const TO: &str = "b";
const GROUP: &str = "copy";
const MOST_PARTITIONS: u32 = 8;
/// Transactions of a producer that the cluster does not know: foreign ones.
const FOREIGN: i64 = 1 << 40;
/// Time for the copy to be complete once nothing fails any more.
const PATIENCE: Duration = Duration::from_secs(300);
const SLICE: Duration = Duration::from_millis(50);
/// Copiers at a time; each has its own transactional id.
const IDS: [&str; 3] = ["copy-0", "copy-1", "copy-2"];

/// What a run was about.
#[derive(Clone, Copy, Debug, Default)]
pub struct Summary {
    /// Records that were copied.
    pub copied: usize,
    /// Transactions of copiers that were committed, as far as they learned.
    pub committed: u32,
    /// Copiers that ended: killed, fenced off or because of a partition that was lost.
    pub ended: u32,
    /// Time of the run.
    pub virtual_time: Duration,
}

/// A record that was read and is not committed yet.
struct Taken {
    at: PartitionId,
    partition: u32,
    next: i64,
    value: Vec<u8>,
}

/// A partition that is held.
struct Held {
    partition: u32,
    revoking: bool,
}

/// A process that copies.
struct Copier {
    topics: Option<(TopicId, TopicId)>,
    held: BTreeMap<PartitionId, Held>,
    queue: VecDeque<Taken>,
    /// Where the group continues after the open transaction.
    offsets: BTreeMap<u32, i64>,
    open: bool,
    ending: bool,
    committed: u32,
    /// It has to end, and another has to begin from what is committed.
    over: bool,
    batch: u64,
    rng: Rng,
}

impl Copier {
    fn new(rng: Rng) -> Self {
        Self {
            topics: None,
            held: BTreeMap::new(),
            queue: VecDeque::new(),
            offsets: BTreeMap::new(),
            open: false,
            ending: false,
            committed: 0,
            over: false,
            batch: 0,
            rng,
        }
    }

    fn subscribe(&mut self, now: Instant, commands: &mut Commands<'static>) {
        let from = commands.topic(FROM).expect("a topic");
        let to = commands.topic(TO).expect("a topic");
        self.topics = Some((from, to));
        commands.subscribe(now, &[from], Start::Earliest).expect("subscribed");
    }

    /// Writes what was read, as far as there is memory, and ends the transaction when it is large.
    fn proceed(&mut self, now: Instant, commands: &mut Commands<'static>) {
        let Some((_, to)) = self.topics.filter(|_| !self.over && !self.ending) else { return };
        if !self.open {
            if self.queue.is_empty() {
                return;
            }
            if commands.begin(now).is_err() {
                self.over = true;
                return;
            }
            (self.open, self.batch) = (true, 1 + self.rng.below(30));
        }
        while self.batch > 0 {
            let Some(taken) = self.queue.front() else { break };
            match commands.produce(now, (to, taken.partition), &Record::new(&taken.value)) {
                Ok(_) => {}
                Err(ProduceError::Full | ProduceError::NotReady) => break,
                Err(_) => return self.over = true,
            }
            self.offsets.insert(taken.partition, taken.next);
            self.queue.pop_front();
            self.batch -= 1;
        }
        let revoked = self.held.values().any(|held| held.revoking);
        if self.offsets.is_empty() || self.batch > 0 && !self.queue.is_empty() && !revoked {
            return;
        }
        self.end(now, commands);
    }

    fn end(&mut self, now: Instant, commands: &mut Commands<'static>) {
        let Some((member, generation)) =
            commands.membership().map(|(member, generation)| (member.to_owned(), generation))
        else {
            return self.over = true;
        };
        let member = Membership { group: GROUP, member: &member, generation, instance: None };
        let consumed = |(partition, offset): (&u32, &i64)| Consumed {
            topic: FROM,
            partition: partition.cast_signed(),
            offset: *offset,
            leader_epoch: -1,
            metadata: "",
        };
        let list: Vec<_> = self.offsets.iter().map(consumed).collect();
        if commands.send_offsets(now, &member, &list).is_err()
            || commands.commit_transaction(now).is_err()
        {
            self.over = true;
        }
        self.ending = true;
    }

    /// Gives up what is revoked, once nothing of it is open.
    fn release(&mut self, now: Instant, commands: &mut Commands<'static>) {
        if self.open {
            return;
        }
        let revoked: Vec<_> =
            self.held.iter().filter(|(_, held)| held.revoking).map(|(at, _)| *at).collect();
        for at in revoked {
            self.held.remove(&at);
            self.queue.retain(|taken| taken.at != at);
            commands.release(now, at);
        }
    }
}

impl App for Copier {
    fn on_event(&mut self, _now: Instant, event: Event<'_>, commands: &mut Commands<'static>) {
        match event {
            Event::Records(batch) => {
                let at = batch.partition();
                let Some(held) = self.held.get(&at).filter(|held| !held.revoking) else { return };
                let partition = held.partition;
                let taken = batch.records().flatten().map(|record| Taken {
                    at,
                    partition,
                    next: record.offset + 1,
                    value: record.value.unwrap_or_default().to_vec(),
                });
                self.queue.extend(taken);
            }
            Event::Assigned { at, partition } => {
                let held = Held { partition: partition.partition, revoking: false };
                self.held.insert(at, held);
            }
            Event::Revoking { at, .. } => {
                if let Some(held) = self.held.get_mut(&at) {
                    held.revoking = true;
                    commands.keep(at);
                }
            }
            // What was taken of it may be in the open transaction.
            Event::Lost { .. } | Event::GroupFailed { .. } | Event::TransactionFailed { .. } => {
                self.over = true;
            }
            Event::TransactionEnded { outcome } => {
                (self.open, self.ending) = (false, false);
                self.offsets.clear();
                match outcome {
                    Outcome::Committed => self.committed += 1,
                    _ => self.over = true,
                }
            }
            _ => {}
        }
    }

    fn on_idle(&mut self, now: Instant, commands: &mut Commands<'static>) {
        self.proceed(now, commands);
        self.release(now, commands);
    }
}

struct Run {
    rng: Rng,
    world: World<Copier>,
    /// The copier of each id that runs.
    copiers: BTreeMap<usize, usize>,
    protocol: GroupProtocol,
    assignors: &'static str,
    written: u64,
    open: BTreeSet<u32>,
    down: Vec<i32>,
    summary: Summary,
}

/// Runs a seed.
///
/// # Panics
/// When a partition of the copy is not what is committed in the original, each record once and in
/// order.
#[must_use]
pub fn run(seed: u64) -> Summary {
    let mut run = Run::new(seed);
    let end = run.rng.millis(5000, 30_000);
    while run.world.now() < end {
        run.world.run_for(run.rng.time(Duration::from_millis(1), SLICE));
        run.write();
        run.tend();
        if run.rng.chance(8) {
            run.disturb();
        }
    }
    run.judge()
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed ^ 0x636f_7079_0000_0000);
        let profile = rng.pick(&[Profile::V2_8, Profile::V3_9, Profile::V4_4, Profile::V4_4]);
        let modern = profile == Profile::V4_4;
        let classic = !modern || rng.chance(30);
        let transactions = Transactions {
            version: if modern { 2 } else { 0 },
            marking: if rng.chance(40) { rng.millis(1, 800) } else { Duration::ZERO },
            ..Transactions::default()
        };
        let groups = Groups {
            session: rng.millis(6000, 12_000),
            interval: rng.millis(300, 2000),
            join_delay: rng.millis(0, 500),
            ..Groups::default()
        };
        let options = Options {
            profile,
            transactions: Some(transactions),
            groups: Some(groups),
            ..Options::default()
        };
        let mut world = World::new(seed, options);
        let partitions = rng.range(1, 4) as u32;
        for topic in [FROM, TO] {
            world.cluster.create_topic(topic, partitions).expect("created");
        }
        let lists = ["cooperative-sticky", "range", "cooperative-sticky,range"];
        let mut run = Self {
            protocol: if classic { GroupProtocol::Classic } else { GroupProtocol::Auto },
            assignors: rng.pick(&lists),
            rng,
            world,
            copiers: BTreeMap::new(),
            written: 0,
            open: BTreeSet::new(),
            down: Vec::new(),
            summary: Summary::default(),
        };
        for id in 0..=run.rng.below(IDS.len() as u64) as usize {
            run.join(id);
        }
        run
    }

    fn join(&mut self, id: usize) {
        let mut limits = Limits::small();
        limits.partitions = 64;
        let (protocol, assignors) = (self.protocol, self.assignors);
        let timeout = self.rng.millis(2000, 10_000);
        let copier = Copier::new(self.rng.fork());
        let member = self.world.join(copier, &limits, |config| {
            config.group = GROUP;
            config.group_protocol = protocol;
            config.group_assignors = assignors;
            config.session_timeout = Duration::from_secs(6);
            config.heartbeat_interval = Duration::from_secs(1);
            config.rebalance_timeout = Duration::from_secs(10);
            config.isolation = Isolation::ReadCommitted;
            config.transactional_id = IDS[id];
            config.transaction_timeout = timeout;
            config.delivery_timeout = timeout / 2;
        });
        self.world.command(member, |now, commands, app| app.subscribe(now, commands));
        self.copiers.insert(id, member);
    }

    /// Writes to the original: plain records, and foreign transactions.
    fn write(&mut self) {
        let partition = self.rng.below(self.world.cluster.partitions(FROM).into()) as u32;
        let leader = self.world.cluster.leader(FROM, partition);
        if !leader.is_some_and(|(leader, _)| self.world.cluster.alive(leader)) {
            return;
        }
        let foreign = (FOREIGN + i64::from(partition), 0);
        if self.open.contains(&partition) && self.rng.chance(30) {
            self.open.remove(&partition);
            let commit = self.rng.chance(60);
            let done = self.world.cluster.append_marker(FROM, partition, foreign, commit);
            return done.expect("appended");
        }
        let transactional = self.rng.chance(20);
        let values: Vec<String> =
            (0..self.rng.range(1, 4)).map(|n| format!("{}", self.written + n)).collect();
        self.written += values.len() as u64;
        let records: Vec<_> = values.iter().map(|value| (None, Some(value.as_bytes()))).collect();
        let time = 1_700_000_000_000 + self.world.now().as_millis() as i64;
        let bytes = match transactional {
            true => {
                self.open.insert(partition);
                batch::write(batch::TRANSACTIONAL, (foreign.0, foreign.1, -1), time, &records)
            }
            false => batch::write(0, (-1, -1, -1), time, &records),
        };
        self.world.cluster.append_batch(FROM, partition, &bytes).expect("appended");
    }

    /// Replaces copiers that have to begin again.
    fn tend(&mut self) {
        let over: Vec<usize> = self
            .copiers
            .iter()
            .filter(|(_, member)| self.world.app(**member).over)
            .map(|(id, _)| *id)
            .collect();
        for id in over {
            self.stop(id);
            self.join(id);
        }
    }

    fn stop(&mut self, id: usize) {
        if let Some(member) = self.copiers.remove(&id) {
            self.summary.committed += self.world.app(member).committed;
            self.summary.ended += 1;
            self.world.stop(member);
        }
    }

    fn disturb(&mut self) {
        let id = self.rng.below(IDS.len() as u64) as usize;
        match self.rng.below(10) {
            0 => {
                let count = self.world.cluster.partitions(FROM) + 1;
                if count <= MOST_PARTITIONS {
                    // The copy has as many first.
                    self.world.cluster.grow(TO, count).expect("grown");
                    self.world.cluster.grow(FROM, count).expect("grown");
                }
            }
            1 => {
                self.stop(id);
                self.join(id);
            }
            // Two with one id: the older is fenced off.
            2 if self.copiers.contains_key(&id) => self.join_beside(id),
            3 => self.world.cluster.move_coordinator(GROUP),
            4 => self.world.cluster.move_transactions(IDS[id]),
            5 => self.kill(),
            6 => {
                let broker = self.rng.pick(&self.world.cluster.brokers());
                self.world.disconnect(broker);
            }
            7 => {
                let known = self.world.cluster.group_members(GROUP);
                if let Some((id, _)) = known.first() {
                    self.world.cluster.expel(GROUP, id);
                }
            }
            _ => self.fault(),
        }
    }

    /// Begins another with the same id; the first goes on until it learns, and is ended then.
    fn join_beside(&mut self, id: usize) {
        let older = self.copiers.remove(&id);
        self.join(id);
        self.world.run_for(self.rng.millis(10, 2000));
        if let Some(older) = older {
            self.summary.committed += self.world.app(older).committed;
            self.summary.ended += 1;
            self.world.stop(older);
        }
    }

    /// At most one broker is down at a time.
    fn kill(&mut self) {
        match self.down.pop() {
            Some(broker) => self.world.cluster.restart(broker),
            None => {
                let broker = self.rng.pick(&self.world.cluster.brokers());
                self.world.kill(broker);
                self.down.push(broker);
            }
        }
    }

    fn fault(&mut self) {
        let apis = [
            ApiKey::EndTxn,
            ApiKey::AddPartitionsToTxn,
            ApiKey::AddOffsetsToTxn,
            ApiKey::TxnOffsetCommit,
            ApiKey::InitProducerId,
            ApiKey::Produce,
            ApiKey::Fetch,
            ApiKey::OffsetFetch,
            ApiKey::FindCoordinator,
            ApiKey::ConsumerGroupHeartbeat,
            ApiKey::JoinGroup,
            ApiKey::SyncGroup,
        ];
        let api = self.rng.pick(&apis);
        let refusals: &[i16] = match api {
            ApiKey::Produce => &[19, 7, 6],
            ApiKey::EndTxn | ApiKey::AddPartitionsToTxn | ApiKey::InitProducerId => &[14, 16, 51],
            ApiKey::AddOffsetsToTxn | ApiKey::TxnOffsetCommit => &[14, 16],
            _ => &[],
        };
        let fault = match self.rng.below(5) {
            0 => Fault::DropRequest,
            1 => Fault::DropResponse,
            // After what the producer has sent on another connection since.
            4 if matches!(api, ApiKey::Produce) || api_of_transactions(api) => {
                Fault::Late(self.rng.millis(1, 3000))
            }
            2 if !refusals.is_empty() => Fault::Error(self.rng.pick(refusals)),
            _ => Fault::Delay(self.rng.millis(1, 2000)),
        };
        let broker = self.rng.pick(&self.world.cluster.brokers());
        self.world.cluster.inject(broker, api, fault, 1 + self.rng.below(2) as usize);
    }

    fn values(&self, topic: &str, partition: u32) -> Vec<Vec<u8>> {
        let records = self.world.cluster.committed_records(topic, partition).into_iter();
        records.map(|record| record.value.unwrap_or_default().to_vec()).collect()
    }

    /// Ends all trouble, and waits until all is copied.
    fn judge(mut self) -> Summary {
        self.world.cluster.heal();
        self.world.run_for(Duration::from_secs(1));
        for partition in core::mem::take(&mut self.open) {
            let foreign = (FOREIGN + i64::from(partition), 0);
            let done = self.world.cluster.append_marker(FROM, partition, foreign, true);
            done.expect("appended");
        }
        if self.copiers.is_empty() {
            self.join(0);
        }
        let until = self.world.now() + PATIENCE;
        let at = loop {
            self.world.run_for(SLICE);
            self.tend();
            let at = self.world.at();
            let count = self.world.cluster.partitions(FROM);
            let differs = (0..count).find(|partition| {
                self.values(FROM, *partition).len() != self.values(TO, *partition).len()
            });
            let Some(partition) = differs else { break at };
            if self.world.now() > until {
                let (from, to) = (self.values(FROM, partition), self.values(TO, partition));
                panic!(
                    "{at}: partition {partition}: {} committed, {} copied within {PATIENCE:?}",
                    from.len(),
                    to.len()
                );
            }
        };
        // Nothing comes after that.
        self.world.run_for(Duration::from_secs(30));
        for partition in 0..self.world.cluster.partitions(FROM) {
            let (from, to) = (self.values(FROM, partition), self.values(TO, partition));
            let differ = from.iter().zip(&to).position(|(from, to)| from != to);
            let lens = (from.len(), to.len());
            assert!(from == to, "{at}: partition {partition}: {lens:?}, differ at {differ:?}");
            self.summary.copied += to.len();
        }
        for id in 0..IDS.len() {
            self.stop(id);
        }
        self.summary.virtual_time = self.world.now();
        self.summary
    }
}

fn api_of_transactions(api: ApiKey) -> bool {
    matches!(
        api,
        ApiKey::EndTxn
            | ApiKey::AddPartitionsToTxn
            | ApiKey::AddOffsetsToTxn
            | ApiKey::TxnOffsetCommit
            | ApiKey::InitProducerId
    )
}
