//! A run, from its plan to its verdict.

use core::time::Duration;
use std::collections::HashMap;
use std::io::Write;

use kavka_core::codec::CompactPack;
use kavka_core::login::{Mechanism, OauthBearer, Plain, Scram, Sha256, Sha512};
use kavka_core::{Config, Limits, NoEntropy, OutOfRange, PartitionId, Probing, Secret, Start};
use kavka_std::codec::{Encoders, READ};

use super::agent::Agent;
use super::nemesis::Nemesis;
use super::oracle::Oracle;
use super::plan::{ClientPlan, Login, Plan, Reads};
use crate::sim::rng::Rng;
use crate::sim::world::{self, Net, World};

/// The outcome of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The same number for the same run.
    pub hash: u64,
    /// Virtual time that passed for its clients.
    pub virtual_time: Duration,
    /// Number of its clients, with the fresh reader at the end.
    pub clients: usize,
    /// Records that were acknowledged or given up.
    pub written: usize,
    /// Records that were read, by all clients together.
    pub read: u64,
    /// The broker that ended permanently.
    pub gone: Option<i32>,
    /// What was wrong; empty when nothing was.
    pub findings: Vec<String>,
}

/// Longest time between two checks.
const SLICE: Duration = Duration::from_millis(500);
/// How long to search for a broker that is not needed, and how long writers continue without it.
const LOSS: Duration = Duration::from_secs(8);
/// How long idle clients are watched.
const IDLE: Duration = Duration::from_secs(5);
/// Longest time by which brokers lag.
const LATEST_NEWS: Duration = Duration::from_secs(10);
/// How long a broker holds a fetch that other requests may wait behind.
const SHORT_POLL: Duration = Duration::from_millis(100);
/// Shortest turn of a connection where there are fewer connections than brokers.
const TURN: Duration = Duration::from_millis(300);
/// Requests of a handshake with a login, at most.
const LOGIN: u64 = 6;
/// Pause between two such turns where there are many connections.
const ROTATION: Duration = Duration::from_millis(600);
/// Time that all clients get to complete, beyond their own time limits.
const GRACE: Duration = Duration::from_secs(40);

/// Runs a plan; with `print`, every step is printed.
///
/// # Panics
/// When the client or the simulation does.
#[must_use]
pub fn run(plan: &Plan, print: bool) -> Outcome {
    run_to(plan, print, None)
}

/// Runs a plan and writes its history in the checker's format (see [`history`](crate::history)).
///
/// # Panics
/// As [`run`].
#[must_use]
pub fn run_to(plan: &Plan, print: bool, history: Option<Box<dyn Write>>) -> Outcome {
    let mut run = Run::new(plan, print, history);
    let mut findings = run.trouble();
    if findings.is_empty() {
        findings = run.recovery();
    }
    Outcome {
        hash: run.world.trace.hash(),
        virtual_time: run.world.now(),
        clients: run.world.members(),
        written: run.oracle.responded(),
        read: run.oracle.read(),
        gone: run.gone,
        findings: findings.into_iter().map(|text| format!("{}: {text}", run.world.at())).collect(),
    }
}

struct Run<'p> {
    plan: &'p Plan,
    world: World<Agent>,
    nemesis: Nemesis,
    oracle: Oracle,
    /// The broker that ended permanently.
    gone: Option<i32>,
}

impl<'p> Run<'p> {
    fn new(plan: &'p Plan, print: bool, history: Option<Box<dyn Write>>) -> Self {
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
        for (topic, codec) in &plan.codecs {
            let _ = world.cluster.set_compression(&Plan::topic(*topic), Some(*codec));
        }
        for (topic, magic, until) in &plan.old {
            let _ = world.cluster.set_old_format(&Plan::topic(*topic), *magic, *until);
        }
        let nemesis = Nemesis::new(plan, rng.fork());
        let mut run = Self { plan, world, nemesis, oracle: Oracle::new(plan, history), gone: None };
        for (process, client) in plan.clients.iter().enumerate() {
            run.world.trace.say(Duration::ZERO, format_args!("client {process}: {client:?}"));
            run.join(process, client.clone(), rng.fork());
        }
        run
    }

    fn join(&mut self, process: usize, client: ClientPlan, rng: Rng) -> usize {
        let (limits, config) = (client.limits, client.config);
        let own = client.own.iter().map(|(topic, own)| (Plan::topic(*topic), *own));
        let own: HashMap<_, _> = own.collect();
        self.world.encoders = match client.fast {
            true => Box::new(move || Box::new(Encoders::default().with_topics(own.clone()))),
            false => Box::new(|| Box::new(CompactPack::new())),
        };
        self.world.login = self.plan.login.map(credentials);
        let agent = Agent::new(process, client, rng);
        let member = self.world.join(agent, &limits, |target| {
            let bootstrap = target.bootstrap;
            *target = config;
            target.bootstrap = bootstrap;
            target.codecs = READ;
        });
        let topics: Vec<String> = (0..self.plan.topics.len()).map(Plan::topic).collect();
        self.world.command(member, |now, commands, agent| agent.begin(now, commands, &topics));
        member
    }

    /// Runs the phase in which anything may fail, but nothing wrong may be seen.
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

    /// Runs the phase without faults, in which everything has to complete.
    fn recovery(&mut self) -> Vec<String> {
        self.world.trace.note(self.world.now(), "all is mended", &[]);
        self.nemesis.heal(&mut self.world);
        self.world.net = Net::default();
        if self.plan.loses_one {
            let findings = self.lose_one();
            if !findings.is_empty() {
                return findings;
            }
        }
        for member in 0..self.world.members() {
            self.world.command(member, |now, commands, agent| agent.calm_down(now, commands));
        }
        let limits = self.plan.clients.iter().map(|client| {
            let config = &client.config;
            config.delivery_timeout + 2 * config.request_timeout.max(config.connect_timeout)
        });
        let fresh = fresh_reader(self.plan);
        // A round may reveal something that needs another round.
        let rounds = self.plan.clients.iter().chain([&fresh]).map(|client| self.round(client));
        let turns = 2 * rounds.max().unwrap_or_default();
        let bound = self.world.now() + GRACE + limits.max().unwrap_or_default() + turns;
        let fresh = self.join(self.world.members(), fresh, Rng(1));
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
        let mut findings = self.oracle.judge_end(self.plan, &self.world.cluster, self.world.now());
        if self.plan.strict_fetch {
            findings.extend((0..=fresh).filter_map(|member| self.fetched_in_vain(member)));
        }
        if !findings.is_empty() || self.idle().is_empty() {
            return findings;
        }
        // Brokers may still lag behind the last changes.
        self.world.run_for(LATEST_NEWS);
        self.idle()
    }

    /// Returns how long it takes until each broker had its turn, where there are fewer connections.
    fn round(&self, client: &ClientPlan) -> Duration {
        let brokers = self.plan.profiles.len();
        if client.limits.conns < brokers { ROTATION * brokers as u32 } else { Duration::ZERO }
    }

    /// Checks that what was fetched has been taken, except for what had to be fetched again.
    fn fetched_in_vain(&self, member: usize) -> Option<String> {
        let (fetched, agent) = (self.world.fetched(member), self.world.app(member));
        let (taken, turns) = agent.taken();
        // A position that was changed loses what was in flight for the old one. All is read, so no
        // buffer holds anything.
        let again = fetched.with_ended + (1 + turns) * fetched.largest;
        let allowed = taken * 11 / 10 + again;
        (fetched.bytes > allowed).then(|| {
            format!(
                "client {member}: fetched {} bytes and took {taken}; {allowed} are allowed \
                 ({again} again, for {turns} changed positions and ended connections)",
                fetched.bytes
            )
        })
    }

    /// Checks that idle clients send only long polls and probes, and keep memory only for the
    /// requests in flight.
    fn idle(&mut self) -> Vec<String> {
        let brokers = self.plan.profiles.len() as u64;
        let topics = self.plan.topics.len() as u64;
        let login = self.plan.options.sasl.as_ref().map(|sasl| sasl.lifetime);
        let stats = |run: &Self, member| run.world.client(member).stats();
        let members = 0..self.world.members();
        let before: Vec<u64> = members.clone().map(|n| stats(self, n).requests).collect();
        let mut least = vec![usize::MAX; before.len()];
        let end = self.world.now() + IDLE;
        while self.world.now() < end {
            self.world.run_for(SLICE);
            for (member, least) in least.iter_mut().enumerate() {
                *least = stats(self, member).blocks_used.min(*least);
            }
        }
        let mut findings = Vec::new();
        for member in members {
            let client = self.world.app(member).plan();
            let requested = stats(self, member).requests - before[member];
            // Rare builds may pause for a millisecond only before they try again.
            if !cfg!(kavka_rare) && requested > most_when_idle(client, (brokers, topics), login) {
                findings
                    .push(format!("client {member}: idle, with {requested} requests in {IDLE:?}"));
            }
            let held = least[member];
            if held > client.limits.conns {
                findings.push(format!("client {member}: idle, with {held} blocks in use"));
            }
        }
        findings
    }

    /// Ends a broker permanently that is not needed, as soon as there is one, while writers
    /// continue for a while.
    fn lose_one(&mut self) -> Vec<String> {
        let mut end = self.world.now() + LOSS;
        while self.world.now() < end {
            if self.gone.is_none()
                && let Some(broker) = self.spare()
            {
                self.world.trace.note(self.world.now(), "a broker ends for good", &[]);
                self.world.kill(broker);
                self.gone = Some(broker);
                end = self.world.now() + LOSS;
            }
            self.world.run_for(SLICE);
            let findings = self.oracle.look(&mut self.world);
            if !findings.is_empty() {
                return findings;
            }
        }
        Vec::new()
    }

    /// Returns a broker without which every partition still has a replica in sync.
    fn spare(&self) -> Option<i32> {
        let cluster = &self.world.cluster;
        let mut brokers = cluster.brokers();
        let first = self.plan.seed % brokers.len().max(1) as u64;
        brokers.rotate_left(first as usize);
        let spared = |broker: i32, topic: &str, partition| {
            let (replicas, in_sync) = cluster.replicas(topic, partition);
            replicas[..in_sync].iter().any(|id| *id != broker)
        };
        let topics: Vec<String> = (0..self.plan.topics.len()).map(Plan::topic).collect();
        brokers.into_iter().find(|broker| {
            topics.iter().all(|t| (0..cluster.partitions(t)).all(|p| spared(*broker, t, p)))
        })
    }

    /// Returns what a client still has to do.
    fn unfinished(&self, member: usize) -> Vec<String> {
        let agent = self.world.app(member);
        let readers = agent.readers();
        let mut open = Vec::new();
        if !agent.all_responded() {
            open.push(format!("client {member}: records without a response"));
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
                open.extend((0..partitions).filter_map(|p| {
                    let at = readers.get(&(id, p)).copied();
                    self.unread(member, topic, p, at)
                }));
            }
        }
        open
    }

    fn unread(
        &self,
        member: usize,
        topic: usize,
        partition: u32,
        at: Option<PartitionId>,
    ) -> Option<String> {
        let name = Plan::topic(topic);
        // All of the log: what no follower has yet will become readable, too.
        let end = self.world.cluster.log_len(&name, partition);
        let Some(at) = at else {
            return Some(format!("client {member}: {name} {partition} is not read"));
        };
        let position = self.world.client(member).position(at);
        (position.is_none_or(|position| position < end)).then(|| {
            format!("client {member}: {name} {partition} is read up to {position:?} of {end}")
        })
    }
}

/// Returns what clients log in with: the right user and password, or tokens.
fn credentials(login: Login) -> world::Login {
    let secret = || Secret::owned(b"alice-secret".as_slice().into());
    // Any nonce does here.
    let source = || {
        let mut count = 0_u8;
        Box::new(move |out: &mut [u8]| -> Result<(), NoEntropy> {
            count = count.wrapping_add(1).max(1);
            out.fill(count);
            Ok(())
        })
    };
    Box::new(move || -> Box<dyn Mechanism + Send> {
        match login {
            Login::Plain => Box::new(Plain::owned("alice", secret()).expect("both")),
            Login::Scram256 => {
                Box::new(Scram::<Sha256>::owned("alice", secret(), source()).expect("both"))
            }
            Login::Scram512 => {
                Box::new(Scram::<Sha512>::owned("alice", secret(), source()).expect("both"))
            }
            Login::Bearer => Box::new(OauthBearer::owned(100, &[]).expect("no extensions")),
        }
    })
}

/// Returns the highest number of requests in [`IDLE`] of an idle client.
fn most_when_idle(
    client: &ClientPlan,
    (brokers, topics): (u64, u64),
    login: Option<Option<Duration>>,
) -> u64 {
    let times = |pause: Duration| (IDLE.as_millis() / pause.as_millis().max(1)) as u64 + 1;
    // Fetches that others wait behind are short; each topic that is read has its probes.
    let polls = match client.reads.len() {
        0 => 0,
        _ => brokers * times(client.config.fetch_max_wait.min(SHORT_POLL)),
    };
    let probes = topics * times(client.config.probe_idle) + polls / 20;
    // Fewer connections than brokers take turns, each with its handshake.
    let turns = if client.limits.conns as u64 >= 2 * brokers { 0 } else { times(TURN) };
    // A login takes three requests, and the others of a handshake where sessions are too short.
    let handshake = if login.is_some() { LOGIN } else { 1 };
    let sessions = login.flatten().map_or(0, |session| LOGIN * times(session / 2));
    // A few Metadata requests in addition.
    polls + probes + (turns * handshake + sessions) * client.limits.conns as u64 + 10
}

/// Returns a client that reads everything from the beginning.
fn fresh_reader(plan: &Plan) -> ClientPlan {
    let topics = plan.topics.len();
    let mut config = Config::new("unknown:1");
    config.out_of_range = OutOfRange::Nearest;
    let mut limits = Limits::small();
    limits.partitions = 256;
    if plan.is_wide() {
        (limits.conns, limits.brokers, limits.topics, limits.partitions) = (32, 128, topics, 4096);
        config.fetch_max_wait = Duration::from_secs(2);
    }
    let reads = (0..topics).map(|topic| (topic, Reads::All(Start::Earliest))).collect();
    ClientPlan {
        limits,
        config,
        writes: None,
        reads,
        whims: 0,
        slow: Duration::ZERO,
        rate: None,
        stall: None,
        missing: 0,
        wastes: 0,
        fast: false,
        own: Vec::new(),
    }
}
