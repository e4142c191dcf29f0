//! What a seed draws.

use core::fmt;
use core::time::Duration;

use kavka_core::Start;

use crate::sim::rng::Rng;
use crate::sim::world::Net;
use crate::sim::{Looks, Profile};

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A topic gains partitions.
    Grow,
    /// Another member comes.
    Join,
    /// A member leaves.
    Leave,
    /// A member is gone without a word.
    Die,
    /// A member is gone, and another one comes at once: of a static one with its instance id.
    Restart,
    /// Another process comes with the instance id of a static member that still runs.
    Replace,
    /// KIP-848 becomes available.
    Enable,
    /// A broker is upgraded to the newest release.
    Upgrade,
    /// Another broker coordinates the group.
    MoveCoordinator,
    /// The coordinator removes a member, as after its session.
    Expel,
    /// All connections of a broker end.
    Disconnect,
    /// A broker dies, or the one that did is back.
    Kill,
    /// Requests or responses are lost, refused or late.
    Fault,
    /// A topic is created that matches.
    Create,
    /// One of those is deleted.
    Delete,
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Decides everything.
    pub seed: u64,
    pub(super) brokers: u32,
    pub(super) profile: Profile,
    pub(super) lag: Duration,
    /// Partitions of each topic at first.
    pub(super) topics: Vec<u32>,
    pub(super) members: usize,
    pub(super) session: Duration,
    pub(super) interval: Duration,
    pub(super) rebalance: Duration,
    pub(super) start: Start,
    /// Members subscribe by regular expressions.
    pub(super) by_pattern: bool,
    /// Lists of assignors, one of which each member has; none of them: KIP-848.
    pub(super) classic: Vec<&'static str>,
    /// Members of both protocols meet, and the group is converted.
    pub(super) mixed: Option<Mixed>,
    /// Members subscribe to different topics; the first one, which leads, to one of them.
    pub(super) apart: bool,
    /// Another client is a member from the beginning, and looks for growth like this.
    pub(super) foreign: Option<Looks>,
    /// Racks that brokers and members are in; 0: none.
    pub(super) racks: u32,
    /// Members are static: they have instance ids.
    pub(super) statics: bool,
    /// `None`: the application commits each record that it has read.
    pub(super) auto_commit: Option<Duration>,
    /// How long a member keeps partitions that are revoked, at most.
    pub(super) keeps: Duration,
    pub(super) acts: Vec<Act>,
    pub(super) pause: Duration,
    pub(super) trouble: Duration,
    pub(super) net: Net,
}

/// Groups some of whose members choose the protocol, and the others follow the classic one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mixed {
    /// KIP-848 is not available at first.
    pub(super) later: bool,
    /// Brokers are of 3.9 at first, which do not convert groups.
    pub(super) upgrades: bool,
}

/// Draws whether members of both protocols meet.
fn draw_mixed(seed: u64, classic: &[&str], foreign: Option<Looks>) -> Option<Mixed> {
    let mut rng = Rng(seed ^ 0x6d69_7865_6400_0000);
    let drawn = !classic.is_empty() && foreign.is_none() && rng.chance(40);
    drawn.then(|| Mixed { later: rng.chance(50), upgrades: rng.chance(30) })
}

/// Draws which assignors members list; half of the groups are of KIP-848.
fn draw_classic(rng: &mut Rng) -> Vec<&'static str> {
    let lists = ["cooperative-sticky", "range", "cooperative-sticky,range", "roundrobin,range"];
    match rng.below(8) {
        0..4 => Vec::new(),
        4..7 => vec![rng.pick(&lists)],
        _ => vec!["cooperative-sticky,range", rng.pick(&["range", "range,cooperative-sticky"])],
    }
}

/// Draws another client beside members that can follow it: one as Java's or franz-go, or one as
/// librdkafka or Sarama.
fn draw_foreign(seed: u64, classic: &[&str]) -> Option<Looks> {
    let mut rng = Rng(seed ^ 0x666f_7265_6967_6e00);
    let follows = |list: &&str| list.split(',').any(|name| name == "range");
    let drawn = !classic.is_empty() && classic.iter().all(follows) && rng.chance(60);
    let every = Duration::from_secs(5 * 60);
    drawn.then(|| Looks { every, in_rounds: rng.chance(50) })
}

/// Draws racks, where a leader has some choice: there are more of them than replicas.
fn draw_racks(seed: u64, brokers: u32, classic: &[&str]) -> u32 {
    let drawn = Rng(seed ^ 0x7261_636b_7300_0000).chance(60);
    if drawn && brokers > 2 && !classic.is_empty() { 3 } else { 0 }
}

/// Draws whether members have instance ids: brokers know them from 2.4 on.
fn draw_statics(seed: u64, profile: Profile) -> bool {
    Rng(seed ^ 0x7374_6174_6963_0000).chance(25) && profile != Profile::V1_1
}

/// The name of a topic.
pub(super) fn topic(index: usize) -> String {
    format!("topic-{index}")
}

/// The number of a topic.
pub(super) fn number(name: &str) -> Option<usize> {
    name.strip_prefix("topic-")?.parse().ok()
}

impl Plan {
    /// Draws a plan.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng(seed ^ 0x6b61_766b_6100_0000);
        let gentle = [Act::Grow, Act::Join, Act::Leave];
        let rough =
            [Act::Die, Act::MoveCoordinator, Act::Expel, Act::Disconnect, Act::Kill, Act::Fault];
        let mut acts = gentle.to_vec();
        if rng.chance(75) {
            acts.extend(rough.into_iter().filter(|_| rng.chance(50)));
        }
        let classic = draw_classic(&mut rng);
        let foreign = draw_foreign(seed, &classic);
        let session = rng.millis(6000, 15_000);
        let interval = rng.millis(200, 3000);
        let mut rebalance = rng.millis(2000, 20_000);
        if !classic.is_empty() {
            // Members hear of a round by their heartbeats.
            rebalance += 2 * interval;
        }
        let start = if rng.chance(75) { Start::Latest } else { Start::Earliest };
        let (fastest, slowest) = (rng.millis(1, 5), rng.millis(5, 30));
        let mut plan = Self {
            seed,
            brokers: 1 + rng.below(4) as u32,
            profile: match classic[..] {
                [] => rng.pick(&[Profile::V4_4, Profile::V3_9]),
                _ => rng.pick(&Profile::ALL),
            },
            lag: if rng.chance(30) { rng.millis(1, 500) } else { Duration::ZERO },
            topics: (0..=rng.below(2)).map(|_| 1 + rng.below(6) as u32).collect(),
            members: 1 + rng.below(3) as usize,
            session,
            interval,
            rebalance,
            start,
            by_pattern: false,
            classic,
            mixed: None,
            apart: false,
            foreign,
            racks: 0,
            statics: false,
            auto_commit: rng.chance(60).then(|| rng.millis(100, 3000)),
            keeps: if rng.chance(50) { rng.millis(1, 1500) } else { Duration::ZERO },
            acts,
            pause: rng.millis(100, 4000),
            trouble: Duration::from_secs(5 + rng.below(25)),
            net: Net { fastest, slowest, ..Net::default() },
        };
        plan.mix();
        plan.racks = draw_racks(seed, plan.brokers, &plan.classic);
        if draw_statics(seed, plan.profile) {
            plan.statics = true;
            plan.acts.extend([Act::Restart, Act::Replace]);
        }
        plan.part();
        plan
    }

    /// Lets members of both protocols meet, in some of the classic groups.
    fn mix(&mut self) {
        self.mixed = draw_mixed(self.seed, &self.classic, self.foreign);
        let Some(mixed) = self.mixed else { return };
        self.profile = if mixed.upgrades { Profile::V3_9 } else { Profile::V4_4 };
        self.acts.push(Act::Restart);
        if mixed.later {
            self.acts.push(Act::Enable);
        }
        if mixed.upgrades {
            self.acts.extend([Act::Upgrade, Act::Upgrade]);
        }
    }

    /// Lets members subscribe to different topics, in some groups.
    fn part(&mut self) {
        let mut rng = Rng(self.seed ^ 0x6170_6172_7400_0000);
        self.apart = self.foreign.is_none() && rng.chance(20);
        if self.apart {
            self.members = self.members.max(2);
            if self.topics.len() < 2 {
                self.topics.push(1 + rng.below(6) as u32);
            }
        }
    }

    /// Draws one whose members subscribe by regular expressions, and whose topics come and go.
    #[must_use]
    pub fn draw_patterns(seed: u64) -> Self {
        let mut plan = Self::draw(seed);
        // Another client does not look for topics.
        (plan.by_pattern, plan.foreign, plan.apart) = (true, None, false);
        plan.acts.retain(|act| *act != Act::Replace);
        plan.acts.extend([Act::Create, Act::Create, Act::Delete]);
        plan
    }

    /// Returns whether members of both protocols meet.
    #[must_use]
    pub fn is_mixed(&self) -> bool {
        self.mixed.is_some()
    }

    /// Returns whether members subscribe to different topics.
    #[must_use]
    pub fn is_apart(&self) -> bool {
        self.apart
    }

    /// Returns whether something of this kind may happen.
    #[must_use]
    pub fn has(&self, act: Act) -> bool {
        self.acts.contains(&act)
    }

    /// Whether nobody dies and nothing is lost: then nothing is read twice.
    pub(super) fn is_gentle(&self) -> bool {
        self.acts.len() == 3 && !self.mixes()
    }

    /// Whether rounds may elect other assignors than before: then what is kept may have to be given
    /// up before it is committed.
    pub(super) fn mixes(&self) -> bool {
        self.classic.len() > 1 || self.foreign.is_some() || self.mixed.is_some()
    }

    /// How long two processes with one instance id, or members of both protocols, may not know of
    /// each other.
    pub(super) fn grace(&self) -> Duration {
        let gentle = [Act::Grow, Act::Join, Act::Leave, Act::Restart, Act::Replace, Act::Enable];
        let brief = 2 * self.interval + self.keeps + Duration::from_secs(2);
        match self.acts.iter().all(|act| gentle.contains(act)) {
            true => brief,
            false => brief + self.session + self.rebalance + Duration::from_secs(10),
        }
    }

    pub(super) fn draw_act(&self, rng: &mut Rng) -> Act {
        rng.pick(&self.acts)
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, brokers, profile, topics, members, .. } = self;
        write!(
            f,
            "seed {seed}: {brokers} brokers of {profile}, topics {topics:?}, {members} members"
        )?;
        let Self { session, interval, rebalance, start, auto_commit, keeps, .. } = self;
        write!(f, ", session {session:?}, heartbeats {interval:?}, rebalance {rebalance:?}")?;
        if self.by_pattern {
            f.write_str(", by patterns")?;
        }
        if !self.classic.is_empty() {
            write!(f, ", classic {:?}", self.classic)?;
        }
        if let Some(mixed) = self.mixed {
            write!(f, ", {mixed:?}")?;
        }
        if self.apart {
            f.write_str(", of different topics")?;
        }
        if self.statics {
            write!(f, ", static")?;
        }
        if self.racks > 0 {
            write!(f, ", {} racks", self.racks)?;
        }
        if let Some(looks) = self.foreign {
            write!(f, ", another client: {looks:?}")?;
        }
        write!(f, ", {start:?}, commits {auto_commit:?}, keeps {keeps:?}")?;
        write!(f, ", {:?} every {:?} for {:?}", self.acts, self.pause, self.trouble)
    }
}
