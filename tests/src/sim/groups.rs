//! Consumer groups in virtual time: a seed draws a cluster, members that come, go and die,
//! coordinators that move, and growth at any moment. What has to hold is in `oracle`.

mod app;
mod oracle;
mod plan;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use kavka_core::{GroupProtocol, Limits, Start};

use super::fault::Fault;
use super::rng::Rng;
use super::world::World;
use super::{ApiKey, Groups, Options, Profile};
use app::Role;
use oracle::Oracle;
pub use plan::{Act, Plan};

/// The group of all members.
const GROUP: &str = "g";
/// What members subscribe by who do so by pattern: the first one reads everything.
const EXPRESSIONS: [&str; 3] = ["topic-.*", "topic-.*", "topic-[02468]+"];
/// Of brokers and members, where there are any.
const RACKS: [&str; 3] = ["rack-1", "rack-2", "rack-3"];
/// Topics at a time, at most.
const TOPICS: usize = 6;
/// Of static members: as many as there may be.
const INSTANCES: [&str; 6] = ["one", "two", "three", "four", "five", "six"];
/// Between two looks at what the members hold.
const SLICE: Duration = Duration::from_millis(20);
/// Everything is read, and every partition is some member's, this long after the last trouble.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a run showed.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What was wrong.
    pub findings: Vec<String>,
    /// Records in the logs that had to be read.
    pub written: usize,
    /// Records that were read once more.
    pub again: usize,
    /// Time of the run.
    pub virtual_time: Duration,
    /// A hash of everything that happened.
    pub hash: u64,
}

/// Runs a plan.
#[must_use]
pub fn run(plan: &Plan, trace: bool) -> Outcome {
    let mut run = Run::new(plan, trace);
    run.begin();
    if run.oracle.findings.is_empty() {
        run.trouble();
        run.end();
    }
    let Run { oracle, world, .. } = run;
    Outcome {
        written: oracle.due(&world),
        again: oracle.again(&world),
        findings: oracle.findings,
        virtual_time: world.now(),
        hash: world.trace.hash(),
    }
}

/// A process that runs beside another one with its instance id.
struct Older {
    member: usize,
    newer: usize,
    /// It is stopped then; `ends`: one of the two has ended by itself.
    until: Duration,
    ends: bool,
}

struct Run<'a> {
    plan: &'a Plan,
    world: World<Role>,
    oracle: Oracle,
    rng: Rng,
    writer: usize,
    /// Members that run, and the instance of each, if they are static.
    members: Vec<usize>,
    instances: BTreeMap<usize, &'static str>,
    /// The topics that each member subscribes to by name.
    topics: BTreeMap<usize, Vec<usize>>,
    /// Processes whose instance another one has.
    older: Vec<Older>,
    stopped: Vec<i32>,
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, trace: bool) -> Self {
        let groups = Groups {
            session: plan.session,
            interval: plan.interval,
            native: !plan.mixed.is_some_and(|mixed| mixed.later),
            ..Groups::default()
        };
        let options = Options {
            brokers: plan.brokers,
            profile: plan.profile,
            replication: if plan.racks > 0 { 2 } else { plan.brokers.min(3) },
            racks: plan.racks,
            metadata_lag: plan.lag,
            groups: Some(groups),
            ..Options::default()
        };
        let mut world = World::new(plan.seed, options);
        world.net = plan.net;
        if trace {
            world.trace.keep();
        }
        world.cluster.watch_deeds();
        for (topic, partitions) in plan.topics.iter().enumerate() {
            // The names are new: that cannot fail.
            let _ = world.cluster.create_topic(&plan::topic(topic), *partitions);
        }
        let mut limits = Limits::small();
        if plan.by_pattern {
            limits.topics = 64;
        }
        let role = Role::writer(plan.topics.len(), Rng(plan.seed ^ 1));
        let writer = world.join(role, &limits, |_| ());
        let rng = Rng(plan.seed ^ 2);
        let oracle = Oracle::new(plan);
        Self {
            plan,
            world,
            oracle,
            rng,
            writer,
            members: Vec::new(),
            instances: BTreeMap::new(),
            topics: BTreeMap::new(),
            older: Vec::new(),
            stopped: Vec::new(),
        }
    }

    /// The first members join; under `latest` the promise begins with their first commit.
    fn begin(&mut self) {
        if let Some(looks) = self.plan.foreign {
            let names: Vec<String> = (0..self.plan.topics.len()).map(plan::topic).collect();
            let names: Vec<&str> = names.iter().map(|name| &**name).collect();
            self.world.cluster.join_foreign(GROUP, &names, looks);
        }
        for _ in 0..self.plan.members {
            self.join();
        }
        let until = self.world.now() + PATIENCE;
        while !self.oracle.is_contacted() {
            self.slice();
            if self.world.now() > until {
                return self.oracle.finds(&self.world, "no member joins".to_owned());
            }
        }
        self.oracle.start(&self.world);
        let writer = self.writer;
        self.world.command(writer, |now, commands, role| role.write(now, commands));
    }

    /// Another member joins: a static one as the first instance that does not run.
    fn join(&mut self) {
        let used = |name: &&str| {
            self.members.iter().any(|member| self.instances.get(member) == Some(name))
        };
        let free = INSTANCES.into_iter().find(|name| !used(name));
        let instance = free.filter(|_| self.plan.statics);
        let all = (0..self.plan.topics.len()).collect::<Vec<_>>();
        let topics = match self.topics.len() {
            _ if !self.plan.apart => all,
            0 => vec![0],
            1 => all[1..].to_vec(),
            _ => {
                let (from, to) = self.rng.pick(&[(0, 1), (1, all.len()), (0, all.len())]);
                all[from..to].to_vec()
            }
        };
        self.join_as(instance, topics);
    }

    fn join_as(&mut self, instance: Option<&'static str>, topics: Vec<usize>) {
        let plan = self.plan;
        let role = Role::member(plan, self.rng.fork());
        let mut limits = Limits::small();
        limits.partitions = 64;
        let expression = match (plan.by_pattern, self.members.is_empty()) {
            (false, _) => "",
            (true, true) => EXPRESSIONS[0],
            // What one expression was promised binds no member that has another.
            (true, false) if plan.start == Start::Latest => EXPRESSIONS[0],
            (true, false) => self.rng.pick(&EXPRESSIONS),
        };
        if plan.by_pattern {
            (limits.topics, limits.partitions) = (64, 320);
        }
        let assignors = match plan.classic[..] {
            [] => None,
            _ => Some(self.rng.pick(&plan.classic)),
        };
        let chooses = plan.mixed.is_some() && self.rng.chance(50);
        let rack = match plan.racks {
            0 => "",
            racks => RACKS[self.members.len() % racks as usize],
        };
        let config = |config: &mut kavka_core::Config<'_>| {
            config.group = GROUP;
            config.rack = rack;
            config.group_pattern = expression;
            if let Some(assignors) = assignors {
                config.group_protocol = match chooses {
                    true => GroupProtocol::Auto,
                    false => GroupProtocol::Classic,
                };
                config.group_assignors = assignors;
                config.session_timeout = plan.session;
                config.heartbeat_interval = plan.interval;
            }
            config.auto_commit = plan.auto_commit;
            config.rebalance_timeout = plan.rebalance;
            config.group_instance = instance.unwrap_or_default();
        };
        let member = self.world.join(role, &limits, config);
        self.world.command(member, |now, commands, role| {
            role.subscribe(now, commands, (plan, expression), &topics);
        });
        self.topics.insert(member, topics);
        self.members.push(member);
        self.instances.extend(instance.map(|instance| (member, instance)));
    }

    fn slice(&mut self) {
        self.world.run_for(SLICE);
        for line in self.world.trace.take_lines() {
            println!("{line}");
        }
        self.oracle.look(&mut self.world, &self.members);
        self.end_replaced();
    }

    /// Of two processes with one instance id one ends and reports it, in the time that it takes to
    /// learn of the other.
    fn end_replaced(&mut self) {
        let fenced = |world: &World<Role>, member: usize| {
            world.app(member).as_member().is_some_and(|member| member.fenced)
        };
        let now = self.world.now();
        for older in core::mem::take(&mut self.older) {
            let gone = fenced(&self.world, older.member);
            if !gone && older.until > now {
                self.older.push(older);
                continue;
            }
            let Older { member, newer, .. } = older;
            let both = !gone && !fenced(&self.world, newer) && self.members.contains(&newer);
            if both && older.ends {
                let text = format!("clients {member} and {newer} both have one instance id");
                self.oracle.finds(&self.world, text);
            }
            self.world.stop(member);
        }
        let ended: Vec<usize> =
            self.members.iter().copied().filter(|member| fenced(&self.world, *member)).collect();
        for member in ended {
            self.members.retain(|other| *other != member);
            self.world.stop(member);
            let topics = self.topics.get(&member).cloned().unwrap_or_default();
            self.join_as(self.instances.get(&member).copied(), topics);
        }
    }

    /// Begins another process with the instance id of a static member, which runs on.
    fn replace(&mut self) {
        let member = self.rng.pick(&self.members);
        let Some(instance) = self.instances.get(&member).copied() else { return };
        if self.older.iter().any(|older| older.newer == member) {
            return;
        }
        self.members.retain(|other| *other != member);
        self.join_as(Some(instance), self.topics.get(&member).cloned().unwrap_or_default());
        let newer = self.members.last().copied().unwrap_or_default();
        // By KIP-848 an instance is the older one's while that runs.
        let ends = !self.plan.classic.is_empty() && self.plan.mixed.is_none();
        let pause = match ends {
            true => self.plan.grace(),
            false => self.rng.time(SLICE, self.plan.session),
        };
        self.older.push(Older { member, newer, until: self.world.now() + pause, ends });
    }

    fn trouble(&mut self) {
        let end = self.world.now() + self.plan.trouble;
        let mut next = self.world.now();
        while self.world.now() < end {
            if next <= self.world.now() {
                let act = self.plan.draw_act(&mut self.rng);
                self.act(act);
                next = self.world.now() + self.rng.time(SLICE, self.plan.pause);
            }
            self.slice();
        }
    }

    fn act(&mut self, act: Act) {
        self.oracle.acts += 1;
        match act {
            Act::Grow => self.grow(),
            Act::Join => {
                if self.members.len() < 6 {
                    self.join();
                }
            }
            Act::Leave => {
                if let Some(member) = self.draw_member() {
                    self.members.retain(|other| *other != member);
                    self.world.command(member, |now, commands, role| role.leave(now, commands));
                }
            }
            Act::Die => {
                if let Some(member) = self.draw_member() {
                    self.members.retain(|other| *other != member);
                    self.world.stop(member);
                }
            }
            Act::Restart => {
                let member = self.rng.pick(&self.members);
                self.members.retain(|other| *other != member);
                self.world.stop(member);
                let topics = self.topics.get(&member).cloned().unwrap_or_default();
                self.join_as(self.instances.get(&member).copied(), topics);
            }
            Act::Replace => self.replace(),
            Act::Enable => self.world.cluster.enable_native(),
            Act::Upgrade => {
                let broker = self.rng.pick(&self.world.cluster.brokers());
                self.world.cluster.set_profile(broker, Profile::V4_4);
            }
            Act::MoveCoordinator => self.world.cluster.move_coordinator(GROUP),
            Act::Expel => {
                if let Some((id, _)) = self.rng_pick_known() {
                    self.world.cluster.expel(GROUP, &id);
                }
            }
            Act::Disconnect => {
                let broker = self.rng.pick(&self.world.cluster.brokers());
                self.world.disconnect(broker);
            }
            Act::Kill => self.kill(),
            Act::Fault => self.fault(),
            Act::Create => self.create(),
            Act::Delete => self.delete(),
        }
    }

    fn create(&mut self) {
        if self.oracle.topics.len() >= TOPICS {
            return;
        }
        let topic = self.oracle.add_topic();
        let count = 1 + self.rng.below(4) as u32;
        // The name is new: that cannot fail.
        let _ = self.world.cluster.create_topic(&plan::topic(topic), count);
        self.world.command(self.writer, |_, commands, role| role.begin_topic(topic, commands));
    }

    fn delete(&mut self) {
        // With the last commits all that members know of the group would be gone.
        let topics: Vec<_> =
            self.oracle.topics.iter().copied().filter(|topic| *topic > 0).collect();
        if topics.is_empty() {
            return;
        }
        let topic = self.rng.pick(&topics);
        self.oracle.topics.remove(&topic);
        let _ = self.world.cluster.delete_topic(&plan::topic(topic)); // it is there
        self.world.command(self.writer, |_, commands, role| role.end_topic(topic, commands));
    }

    fn rng_pick_known(&mut self) -> Option<(String, i32)> {
        let known = self.world.cluster.group_members(GROUP);
        let at = self.rng.below(known.len() as u64) as usize;
        known.into_iter().nth(at)
    }

    /// A member that may end: never the last one.
    fn draw_member(&mut self) -> Option<usize> {
        // Under patterns the first one is the only one that is sure to read everything.
        let first = usize::from(self.plan.by_pattern);
        let others = self.members.get(first..).unwrap_or_default().to_vec();
        let drawn = (self.members.len() > 1).then(|| self.rng.pick(&others));
        drawn.filter(|member| self.can_end(*member))
    }

    /// Whether the others subscribe to all topics, too.
    fn can_end(&self, member: usize) -> bool {
        let others = self.members.iter().filter(|other| **other != member);
        let read: BTreeSet<usize> =
            others.filter_map(|other| self.topics.get(other)).flatten().copied().collect();
        self.plan.by_pattern || read.len() == self.plan.topics.len()
    }

    fn grow(&mut self) {
        let topics: Vec<_> = self.oracle.topics.iter().copied().collect();
        let topic = plan::topic(topics[self.rng.below(topics.len() as u64) as usize]);
        let count = self.world.cluster.partitions(&topic) + 1 + self.rng.below(3) as u32;
        if count <= 16 {
            self.oracle.grows(&self.world, &topic, &self.members);
            let _ = self.world.cluster.grow(&topic, count); // it is more than before
        }
    }

    /// At most one broker is down at a time.
    fn kill(&mut self) {
        match self.stopped.pop() {
            Some(broker) => self.world.cluster.restart(broker),
            None if self.plan.brokers > 1 => {
                let broker = self.rng.pick(&self.world.cluster.brokers());
                self.world.kill(broker);
                self.stopped.push(broker);
            }
            None => {}
        }
    }

    fn fault(&mut self) {
        let rounds = [ApiKey::JoinGroup, ApiKey::SyncGroup, ApiKey::Heartbeat];
        let protocol = match self.plan.classic[..] {
            [] => ApiKey::ConsumerGroupHeartbeat,
            _ if self.plan.mixed.is_some() && self.rng.chance(40) => ApiKey::ConsumerGroupHeartbeat,
            _ => self.rng.pick(&rounds),
        };
        let apis = [
            protocol,
            ApiKey::OffsetCommit,
            ApiKey::OffsetFetch,
            ApiKey::FindCoordinator,
            ApiKey::ListOffsets,
            ApiKey::Fetch,
        ];
        let api = self.rng.pick(&apis);
        let of_groups = !matches!(api, ApiKey::ListOffsets | ApiKey::Fetch);
        let fault = match self.rng.below(4) {
            0 => Fault::DropRequest,
            1 => Fault::DropResponse,
            2 if of_groups => Fault::Error(self.rng.pick(&[14, 15, 16])),
            _ => Fault::Delay(self.rng.millis(1, 3000)),
        };
        let broker = self.rng.pick(&self.world.cluster.brokers());
        self.world.cluster.inject(broker, api, fault, 1 + self.rng.below(3) as usize);
    }

    /// All that was written gets read, every partition is a member's, and nothing goes on for ever.
    fn end(&mut self) {
        for broker in core::mem::take(&mut self.stopped) {
            self.world.cluster.restart(broker);
        }
        self.world.cluster.clear_faults();
        self.world.cluster.enable_native();
        let writer = self.writer;
        self.world.command(writer, |now, commands, role| role.calm(now, commands));
        let looks = self.plan.foreign.map_or(Duration::ZERO, |looks| looks.every);
        let until = self.world.now() + PATIENCE + self.plan.session + self.plan.rebalance + looks;
        loop {
            self.slice();
            let open = self.oracle.open(&self.world, &self.members);
            if open.is_empty() || !self.oracle.findings.is_empty() {
                break;
            }
            if self.world.now() > until {
                return open.into_iter().for_each(|text| self.oracle.finds(&self.world, text));
            }
        }
        self.oracle.judge(&self.world, self.plan);
    }
}
