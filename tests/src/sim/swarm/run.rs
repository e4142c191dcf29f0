//! A run from its plan to its verdict.

use core::time::Duration;

use kavka_core::{Config, Limits, OutOfRange, Probing, Start};

use super::agent::Agent;
use super::nemesis::Nemesis;
use super::oracle::Oracle;
use super::plan::{ClientPlan, Plan, Reads};
use crate::sim::rng::Rng;
use crate::sim::world::{Net, World};

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The same number for the same run.
    pub hash: u64,
    /// How long it was for its clients.
    pub virtual_time: Duration,
    /// Its clients, with the fresh reader at the end.
    pub clients: usize,
    /// Records that were acknowledged or given up.
    pub written: usize,
    /// Records that were read, by all clients together.
    pub read: u64,
    /// What was wrong; empty when nothing was.
    pub findings: Vec<String>,
}

/// Longest time between two looks.
const SLICE: Duration = Duration::from_millis(500);
/// Time that everybody gets beyond their own time limits to come to an end.
const GRACE: Duration = Duration::from_secs(40);

/// Runs a plan; `print`: every step of it, too.
///
/// # Panics
/// When the client or the simulation does.
#[must_use]
pub fn run(plan: &Plan, print: bool) -> Outcome {
    let mut run = Run::new(plan, print);
    let mut findings = run.trouble();
    if findings.is_empty() {
        findings = run.recovery();
    }
    Outcome {
        hash: run.world.trace.hash(),
        virtual_time: run.world.now(),
        clients: run.world.members(),
        written: run.oracle.answered(),
        read: run.oracle.read(),
        findings: findings.into_iter().map(|text| format!("{}: {text}", run.world.at())).collect(),
    }
}

struct Run<'p> {
    plan: &'p Plan,
    world: World<Agent>,
    nemesis: Nemesis,
    oracle: Oracle,
}

impl<'p> Run<'p> {
    fn new(plan: &'p Plan, print: bool) -> Self {
        let mut rng = Rng(plan.seed);
        let mut world = World::new(plan.seed, plan.options.clone());
        world.trace.print = print;
        world.cluster.watch_deeds();
        world.net = plan.net;
        for (broker, profile) in world.cluster.brokers().into_iter().zip(&plan.profiles) {
            world.cluster.set_profile(broker, *profile);
        }
        for (topic, partitions) in plan.topics.iter().enumerate() {
            let _ = world.cluster.create_topic(&Plan::topic(topic), *partitions);
        }
        let nemesis = Nemesis::new(plan, rng.fork());
        let mut run = Self { plan, world, nemesis, oracle: Oracle::new(plan) };
        for (process, client) in plan.clients.iter().enumerate() {
            run.world.trace.say(Duration::ZERO, format_args!("client {process}: {client:?}"));
            run.join(process, client.clone(), rng.fork());
        }
        run
    }

    fn join(&mut self, process: usize, client: ClientPlan, rng: Rng) -> usize {
        let (limits, config) = (client.limits, client.config);
        let agent = Agent::new(process, client, rng);
        let member = self.world.join(agent, &limits, |target| {
            let bootstrap = target.bootstrap;
            *target = config;
            target.bootstrap = bootstrap;
        });
        let topics: Vec<String> = (0..self.plan.topics.len()).map(Plan::topic).collect();
        self.world.command(member, |now, commands, agent| agent.begin(now, commands, &topics));
        member
    }

    /// Anything may fail; nothing wrong may be seen.
    fn trouble(&mut self) -> Vec<String> {
        let mut next_act = self.nemesis.pause(self.plan.pause);
        while self.world.now() < self.plan.trouble {
            if next_act <= self.world.now() {
                self.nemesis.act(&mut self.world, self.plan.topics.len());
                next_act = self.world.now() + self.nemesis.pause(self.plan.pause);
            }
            let until = (self.world.now() + SLICE).min(next_act).min(self.plan.trouble);
            self.world.run_for(until - self.world.now());
            let findings = self.oracle.look(&mut self.world);
            if !findings.is_empty() {
                return findings;
            }
        }
        Vec::new()
    }

    /// Nothing fails any more; everything has to come to its end.
    fn recovery(&mut self) -> Vec<String> {
        self.world.trace.note(self.world.now(), "all is mended", &[]);
        self.nemesis.heal(&mut self.world);
        self.world.net = Net::default();
        for member in 0..self.world.members() {
            self.world.command(member, |now, commands, agent| agent.calm_down(now, commands));
        }
        let limits = self.plan.clients.iter().map(|client| {
            let config = &client.config;
            config.delivery_timeout + 2 * config.request_timeout.max(config.connect_timeout)
        });
        let bound = self.world.now() + GRACE + limits.max().unwrap_or_default();
        let fresh = self.join(self.world.members(), fresh_reader(self.plan.topics.len()), Rng(1));
        loop {
            self.world.run_for(SLICE);
            let findings = self.oracle.look(&mut self.world);
            if !findings.is_empty() {
                return findings;
            }
            let open: Vec<String> =
                (0..=fresh).flat_map(|member| self.unfinished(member)).collect();
            if open.is_empty() {
                break;
            }
            if self.world.now() >= bound {
                return open;
            }
        }
        self.oracle.judge_end(self.plan, &self.world.cluster, self.world.now())
    }

    /// What a client still has to do.
    fn unfinished(&self, member: usize) -> Vec<String> {
        let agent = self.world.app(member);
        let mut open = Vec::new();
        if !agent.all_answered() {
            open.push(format!("client {member}: records without an answer"));
        }
        for topic in 0..self.plan.topics.len() {
            let name = Plan::topic(topic);
            let count = self.world.cluster.partitions(&name);
            let Some(id) = agent.topic_id(topic) else { continue };
            let known = self.world.client(member).freshness(id).map(|known| known.partitions);
            let looks = agent.plan().config.probing == Probing::Always;
            if known != Some(count) && looks {
                open.push(format!("client {member}: {known:?} of {count} partitions of {name}"));
            }
            for (_, reads) in agent.plan().reads.iter().filter(|(read, _)| *read == topic) {
                let partitions = match reads {
                    Reads::All(_) => count,
                    Reads::ByHand(partitions, _) => count.min(*partitions),
                };
                open.extend((0..partitions).filter_map(|p| self.unread(member, topic, p)));
            }
        }
        open
    }

    fn unread(&self, member: usize, topic: usize, partition: u32) -> Option<String> {
        let agent = self.world.app(member);
        let name = Plan::topic(topic);
        let end = self.world.cluster.high_watermark(&name, partition);
        let at = agent.reader(topic, partition);
        let Some(at) = at else {
            return Some(format!("client {member}: {name} {partition} is not read"));
        };
        let position = self.world.client(member).position(at);
        (position.is_none_or(|position| position < end)).then(|| {
            format!("client {member}: {name} {partition} is read up to {position:?} of {end}")
        })
    }
}

/// Reads everything from the beginning.
fn fresh_reader(topics: usize) -> ClientPlan {
    let mut config = Config::new("unknown:1");
    config.out_of_range = OutOfRange::Nearest;
    let mut limits = Limits::small();
    limits.partitions = 256;
    let reads = (0..topics).map(|topic| (topic, Reads::All(Start::Earliest))).collect();
    ClientPlan { limits, config, writes: None, reads, whims: 0, slow: Duration::ZERO }
}
