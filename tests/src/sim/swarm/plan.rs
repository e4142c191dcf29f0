//! Everything that a seed decides before a run.

use core::fmt;
use core::time::Duration;

use kavka_core::{Acks, Config, Limits, OutOfRange, Probing, Start};
use kavka_std::Compression;

use super::load::Loads;
use super::nemesis::Act;
use crate::sim::model::Options;
use crate::sim::profile::Profile;
use crate::sim::rng::Rng;
use crate::sim::world::{Net, Trouble};

/// Releases of the clusters: those that kavka supports.
const PROFILES: [Profile; 5] =
    [Profile::V2_4, Profile::V2_8, Profile::V3_2, Profile::V3_9, Profile::V4_4];

/// A whole run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The seed.
    pub seed: u64,
    /// The cluster.
    pub options: Options,
    /// Release of each broker.
    pub profiles: Vec<Profile>,
    /// Partitions of each topic at first.
    pub topics: Vec<u32>,
    /// Codecs that brokers store topics with, by topic, where that is not the producer's choice.
    pub codecs: Vec<(usize, i16)>,
    /// Topics whose logs begin with message sets: topic, magic, and the offset where batches begin.
    pub old: Vec<(usize, i8, i64)>,
    /// What all clients log in with, where the brokers want it.
    pub login: Option<Login>,
    /// The clients.
    pub clients: Vec<ClientPlan>,
    /// The network while anything may fail.
    pub net: Net,
    /// Acts that may occur, with weights.
    pub acts: Vec<(Act, u64)>,
    /// Longest pause between two acts.
    pub pause: Duration,
    /// How long anything may fail.
    pub trouble: Duration,
    /// Whether afterwards one broker that is not needed ends permanently.
    pub loses_one: bool,
    /// Whether bytes that are fetched and not taken are a finding.
    pub strict_fetch: bool,
}

/// A mechanism of SASL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Login {
    /// PLAIN.
    Plain,
    /// SCRAM-SHA-256.
    Scram256,
    /// SCRAM-SHA-512.
    Scram512,
    /// OAUTHBEARER.
    Bearer,
}

/// One client.
#[derive(Clone, Debug)]
pub struct ClientPlan {
    /// Its memory.
    pub limits: Limits,
    /// Its configuration; the brokers are not known yet.
    pub config: Config<'static>,
    /// What it writes.
    pub writes: Option<Writes>,
    /// What it reads: topic and how.
    pub reads: Vec<(usize, Reads)>,
    /// In 100 events, how many the application reacts to with a pause, a seek or a hold.
    pub whims: u64,
    /// Longest time that the application lets events wait.
    pub slow: Duration,
    /// Records a second that the application takes; `None`: all that arrive.
    pub rate: Option<u32>,
    /// When the application polls nothing for a long time, once.
    pub stall: Option<Duration>,
    /// In 100 records, how many are for a topic that does not exist.
    pub missing: u64,
    /// In 100 batches, how many are dropped and fetched again without a reason: no seed draws it,
    /// it shows that [`Plan::strict_fetch`] finds such clients.
    pub wastes: u64,
    /// Whether it compresses by the libraries for servers, not by the core.
    pub fast: bool,
    /// Topics that it compresses in a way of their own.
    pub own: Vec<(usize, Compression)>,
}

/// What a client writes.
#[derive(Clone, Copy, Debug)]
pub struct Writes {
    /// Pause between two bursts.
    pub gap: Duration,
    /// Most records of a burst.
    pub burst: u64,
    /// Largest value, in bytes.
    pub size: u64,
    /// Number of keys; 0: none.
    pub keys: u64,
    /// In 100 records, how many name their partition.
    pub chosen: u64,
    /// In 100 bursts, how many are flushed.
    pub flushes: u64,
    /// Whether half of its records do not shrink.
    pub noise: bool,
}

/// How a client reads a topic.
#[derive(Clone, Copy, Debug)]
pub enum Reads {
    /// All of it, following growth.
    All(Start),
    /// This many partitions, assigned singly; the last may not exist yet.
    ByHand(u32, Start),
}

impl ClientPlan {
    /// Returns whether it begins anywhere at a time, whose offset only the client knows.
    #[must_use]
    pub fn starts_by_time(&self) -> bool {
        let by_time = |reads: &Reads| {
            let (Reads::All(start) | Reads::ByHand(_, start)) = reads;
            matches!(start, Start::Timestamp(_))
        };
        self.reads.iter().any(|(_, reads)| by_time(reads))
    }
}

impl Plan {
    /// Draws a plan.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        Self::draw_with(seed, Loads::default())
    }

    /// Draws a plan with some of the loads.
    #[must_use]
    pub fn draw_with(seed: u64, loads: Loads) -> Self {
        let mut rng = Rng(seed ^ 0x6b61_766b_6173_696d);
        let (options, profiles) = draw_cluster(&mut rng);
        let topics: Vec<u32> =
            (0..rng.pick(&[1, 1, 2, 3])).map(|_| draw_partitions(&mut rng)).collect();
        let clients = (0..rng.range(2, 5)).map(|n| draw_client(&mut rng, n, topics.len()));
        let mut plan = Self {
            seed,
            profiles,
            clients: clients.collect(),
            net: draw_net(&mut rng),
            acts: draw_acts(&mut rng),
            pause: rng.millis(60, 4000),
            trouble: Duration::from_secs(rng.range(4, 20)),
            options,
            topics,
            codecs: Vec::new(),
            old: Vec::new(),
            login: None,
            loses_one: false,
            strict_fetch: false,
        };
        plan.draw_more(&mut rng);
        loads.draw(&mut plan);
        plan
    }

    /// Returns whether it has many of everything.
    #[must_use]
    pub fn is_wide(&self) -> bool {
        self.topics.len() > 3
    }

    /// Draws options that were added later, after the others, which stay as they were.
    fn draw_more(&mut self, rng: &mut Rng) {
        for act in Act::LATER {
            if rng.chance(20) {
                self.acts.push((act, rng.range(1, 8)));
            }
        }
        match rng.below(16) {
            0 => self.options.max_message_bytes = rng.pick(&[600, 5000]),
            1 => self.options.segment_bytes = rng.pick(&[600, 5000]),
            2 | 3 => self.options.max_request_bytes = rng.pick(&[20_000, 60_000]),
            _ => {}
        }
        self.loses_one = self.options.replication > 1 && rng.chance(30);
        if rng.chance(20) {
            self.acts.push((Act::Impostor, rng.range(1, 8)));
        }
    }

    /// Returns the name of a topic.
    #[must_use]
    pub fn topic(n: usize) -> String {
        format!("topic-{n}")
    }
}

fn draw_partitions(rng: &mut Rng) -> u32 {
    match rng.below(8) {
        0 => rng.range(10, 20) as u32,
        1 | 2 => 1,
        _ => rng.range(1, 8) as u32,
    }
}

fn draw_cluster(rng: &mut Rng) -> (Options, Vec<Profile>) {
    let brokers = rng.pick(&[1, 2, 3, 3, 3, 4, 5]);
    let oldest = rng.pick(&PROFILES);
    let newer: Vec<Profile> = PROFILES.into_iter().filter(|p| *p >= oldest).collect();
    let mixed = rng.chance(25);
    let profiles = (0..brokers).map(|_| if mixed { rng.pick(&newer) } else { oldest });
    let profiles = profiles.collect();
    let slow = |rng: &mut Rng, percent, most| {
        if rng.chance(percent) { rng.millis(1, most) } else { Duration::ZERO }
    };
    let options = Options {
        brokers,
        profile: oldest,
        replication: rng.range(1, u64::from(brokers.min(3))) as u32,
        session_timeout: rng.millis(200, 6000),
        metadata_lag: slow(rng, 30, 500),
        first_append_delay: slow(rng, 30, 1600),
        replication_delay: slow(rng, 60, 30),
        replica_lag_max: rng.millis(100, 4000),
        min_in_sync: rng.pick(&[1, 1, 2]),
        session_slots: rng.pick(&[1000, 1000, 1000, 2, 0]),
        ..Options::default()
    };
    (options, profiles)
}

fn draw_net(rng: &mut Rng) -> Net {
    let rate = |rng: &mut Rng, most| if rng.chance(35) { rng.range(1, most) as u16 } else { 0 };
    let fastest = rng.time(Duration::from_micros(20), Duration::from_millis(2));
    Net {
        fastest,
        slowest: fastest + rng.millis(2, 60),
        pieces: rng.chance(70),
        trouble: Trouble {
            reset: rate(rng, 150),
            lost_response: rate(rng, 200),
            stall: rate(rng, 200),
            stall_for: rng.millis(50, 8000),
            half_open: rate(rng, 40),
            trickle: rate(rng, 600),
            refused: rate(rng, 3000),
            slow_connect: rate(rng, 3000),
            no_connect: rate(rng, 1500),
        },
    }
}

fn draw_acts(rng: &mut Rng) -> Vec<(Act, u64)> {
    let mut acts = Vec::new();
    for act in Act::ALL {
        if rng.chance(40) {
            acts.push((act, rng.range(1, 8)));
        }
    }
    if acts.is_empty() {
        acts.push((Act::MoveLeader, 1));
    }
    acts
}

fn draw_client(rng: &mut Rng, n: u64, topics: usize) -> ClientPlan {
    let limits = draw_limits(rng, topics);
    let mut config = draw_config(rng);
    // The first one writes, the second one reads; the others do either.
    let writes = (n == 0 || (n > 1 && rng.chance(50))).then(|| draw_writes(rng));
    let mut reads = Vec::new();
    for topic in 0..topics {
        if n == 1 || (n > 1 && (writes.is_none() || rng.chance(40))) {
            reads.push((topic, draw_reads(rng, n == 1)));
        }
    }
    if !reads.is_empty() {
        config.probing = Probing::Always; // a client that only reads would never probe
    }
    if n == 1 {
        config.out_of_range = OutOfRange::Nearest;
    }
    ClientPlan {
        limits,
        config,
        writes,
        reads,
        whims: if rng.chance(30) { rng.range(1, 20) } else { 0 },
        slow: if rng.chance(20) { rng.millis(5, 2000) } else { Duration::ZERO },
        rate: None,
        stall: None,
        missing: 0,
        wastes: 0,
        fast: false,
        own: Vec::new(),
    }
}

fn draw_limits(rng: &mut Rng, topics: usize) -> Limits {
    let mut limits = Limits::small();
    limits.topics = topics;
    limits.partitions = 160;
    match rng.below(4) {
        0 => {
            limits.conns = rng.range(1, 3) as usize;
            limits.brokers = 8;
            limits.rx_bytes = rng.pick(&[512, 1024, 4096]);
            limits.tx_blocks = rng.range(8, 24) as usize;
            limits.block_bytes = rng.pick(&[128, 256, 512]);
        }
        1 => {
            limits.conns = rng.range(2, 6) as usize;
            limits.rx_bytes = rng.pick(&[2048, 4096, 16 * 1024]);
            limits.tx_blocks = rng.range(16, 64) as usize;
            limits.block_bytes = 512;
        }
        _ => limits.conns = rng.range(6, 16) as usize,
    }
    limits
}

fn draw_config(rng: &mut Rng) -> Config<'static> {
    let mut config = Config::new("unknown:1");
    match rng.below(10) {
        0 => config = config.acks(Acks::None),
        1 | 2 => config = config.acks(Acks::Leader),
        3 => config.idempotence = false,
        _ => {}
    }
    config.linger = if rng.chance(30) { Duration::ZERO } else { rng.millis(1, 200) };
    config.batch_bytes = rng.pick(&[200, 1000, 4096, 16 * 1024, 16 * 1024]);
    config.request_bytes = rng.pick(&[1000, 16 * 1024, 1024 * 1024]);
    config.request_timeout = rng.millis(1000, 30_000);
    config.delivery_timeout = rng.millis(2000, 120_000);
    config.connect_timeout = rng.millis(500, 10_000);
    config.retry_backoff = rng.millis(10, 200);
    config.reconnect_backoff = rng.millis(10, 100);
    config.probe_idle = rng.millis(300, 2000);
    config.fetch_max_wait = rng.millis(60, 1000);
    config.fetch_max_bytes = rng.pick(&[500, 10_000, 1024 * 1024]);
    config.partition_max_bytes = rng.pick(&[200, 4096, 1024 * 1024]);
    config.out_of_range = rng.pick(&[
        OutOfRange::Nearest,
        OutOfRange::Nearest,
        OutOfRange::Earliest,
        OutOfRange::Latest,
    ]);
    if rng.chance(10) {
        config.probing = Probing::WhenProducing;
    }
    if rng.chance(30) {
        config.metadata_max_age = rng.millis(2000, 60_000);
    }
    config
}

fn draw_writes(rng: &mut Rng) -> Writes {
    Writes {
        gap: rng.millis(30, 1500),
        burst: rng.pick(&[1, 3, 10]),
        size: rng.pick(&[20, 100, 100, 400, 3000]),
        keys: rng.pick(&[0, 1, 7, 100]),
        chosen: rng.pick(&[0, 0, 30, 100]),
        flushes: rng.pick(&[0, 0, 10]),
        noise: false,
    }
}

fn draw_reads(rng: &mut Rng, from_the_first: bool) -> Reads {
    if from_the_first {
        return Reads::All(Start::Earliest);
    }
    let start = match rng.below(5) {
        0 | 1 => Start::Latest,
        2 => Start::Offset(rng.below(40).cast_signed()),
        3 => Start::Timestamp(1_700_000_000_000 + rng.below(20_000).cast_signed()),
        _ => Start::Earliest,
    };
    if rng.chance(60) { Reads::All(start) } else { Reads::ByHand(rng.range(1, 6) as u32, start) }
}

/// Formats the plan as one line.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let releases: Vec<String> = self.profiles.iter().map(Profile::to_string).collect();
        let acts: Vec<String> = self.acts.iter().map(|(act, n)| format!("{act:?}:{n}")).collect();
        let load = |client: &ClientPlan| {
            let ClientPlan { rate, stall, missing, .. } = client;
            let rate = rate.map(|rate| format!("takes {rate}/s"));
            let stall = stall.map(|at| format!("stalls at {at:?}"));
            let missing = (*missing > 0).then(|| format!("{missing} % to a missing topic"));
            [rate, stall, missing].into_iter().flatten()
        };
        let mut loads: Vec<String> = self.clients.iter().flat_map(load).collect();
        for client in &self.clients {
            loads.extend(client.config.compression.map(|codec| codec.to_string()));
            loads.extend(client.own.iter().map(|(topic, own)| format!("{own} to {topic}")));
            let noise = client.writes.filter(|writes| writes.noise);
            loads.extend(noise.map(|_| "noise".to_owned()));
        }
        loads.extend(self.codecs.iter().map(|(topic, codec)| format!("topic {topic}: {codec}")));
        loads.extend(
            self.old
                .iter()
                .map(|(topic, magic, until)| format!("topic {topic}: magic {magic} below {until}")),
        );
        loads.extend(self.login.map(|login| {
            let lifetime = self.options.sasl.as_ref().and_then(|sasl| sasl.lifetime);
            format!("{login:?} for {lifetime:?}")
        }));
        if self.options.racks > 0 {
            loads.push(format!("{} racks", self.options.racks));
        }
        let wide = self.is_wide();
        let topics = match wide {
            true => format!("{} of {} in all", self.topics.len(), self.topics.iter().sum::<u32>()),
            false => format!("{:?}", self.topics),
        };
        let releases = match wide {
            true => format!("{} of {}", self.options.brokers, self.options.profile),
            false => releases.join("+"),
        };
        let writers = self.clients.iter().filter(|client| client.writes.is_some()).count();
        write!(
            f,
            "seed {}: brokers {releases}, replicas {}, topics {topics}, \
             clients {} ({writers} write{}), {:?} of {} every {:?}{}, net {:?}..{:?} {}",
            self.seed,
            self.options.replication,
            self.clients.len(),
            loads.iter().map(|load| format!(", {load}")).collect::<String>(),
            self.trouble,
            acts.join(" "),
            self.pause,
            if self.loses_one { ", then one less" } else { "" },
            self.net.fastest,
            self.net.slowest,
            self.net.trouble,
        )
    }
}
