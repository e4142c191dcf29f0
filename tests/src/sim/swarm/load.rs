//! Loads that a seed adds to some runs: wide clusters, slow and stalled applications, topics that
//! do not exist, racks. Each has its own random numbers, so that a seed means the same whichever of
//! them are on.

use core::time::Duration;

use kavka_core::codec::{Codec, PIECE};
use kavka_core::{Limits, Start};

use super::nemesis::Act;
use super::plan::{Login, Plan, Reads};
use crate::sim::rng::Rng;
use crate::sim::sasl::Sasl;

/// How long a stalled application polls nothing: longer than any request may take by default.
pub(super) const STALL: Duration = Duration::from_secs(40);
/// Time left in a run when the application resumes.
const AFTER: Duration = Duration::from_secs(5);

/// Which loads are drawn at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loads {
    /// Up to 100 brokers, 64 topics and 2,000 partitions, and fewer connections than brokers.
    pub wide: bool,
    /// An application that takes a limited number of records a second.
    pub slow: bool,
    /// An application that polls nothing for 40 s once.
    pub stalled: bool,
    /// Records for a topic that does not exist, among others.
    pub missing: bool,
    /// Brokers and clients in racks, and leaders that name replicas to read from (KIP-392).
    pub racks: bool,
    /// Clients that compress, and topics that brokers compress otherwise.
    pub codecs: bool,
    /// Logs that begin with message sets of magic 0 or 1.
    pub old: bool,
    /// Brokers that want logins, and sessions that end.
    pub logins: bool,
}

impl Default for Loads {
    /// Returns the loads that the client withstands.
    fn default() -> Self {
        Self {
            wide: true,
            slow: true,
            stalled: true,
            missing: true,
            racks: true,
            codecs: true,
            old: true,
            logins: true,
        }
    }
}

impl Loads {
    /// Changes a plan that is otherwise complete.
    pub(super) fn draw(self, plan: &mut Plan) {
        let rng = |salt: u64| Rng(plan.seed.wrapping_mul(0x9e37_79b9) ^ salt);
        let mut login = rng(10);
        let [mut wide, mut slow, mut stalled, mut missing] = [1, 2, 3, 4].map(rng);
        let [mut racks, mut linger, mut codecs, mut old, mut more] = [5, 6, 7, 8, 9].map(rng);
        for client in &mut plan.clients {
            client.config.linger_when_idle = linger.chance(33);
        }
        if wide.below(64) == 0 && self.wide {
            widen(plan, &mut wide);
        }
        if slow.chance(6) && self.slow {
            let rate = 2 << slow.below(10); // up to 1,024
            if let Some(client) = reader(plan, &mut slow) {
                plan.clients[client].rate = Some(rate);
            }
        }
        if stalled.chance(3) && self.stalled {
            let at = stalled.millis(500, 10_000);
            if let Some(client) = reader(plan, &mut stalled) {
                plan.clients[client].stall = Some(at);
                plan.trouble = plan.trouble.max(at + STALL + AFTER);
            }
        }
        if missing.chance(8) && self.missing {
            let writers = plan.clients.iter_mut().filter(|client| client.writes.is_some());
            for client in writers {
                client.missing = missing.range(1, 30);
                client.limits.topics += 1;
            }
        }
        if racks.chance(15) && self.racks {
            spread(plan, &mut racks);
        }
        if self.codecs {
            compress(plan, &mut codecs);
            compress_otherwise(plan, &mut more);
        }
        if login.chance(12) && self.logins {
            want_login(plan, &mut login);
        }
        if self.old {
            for topic in 0..plan.topics.len() {
                if old.chance(15) {
                    let until = old.pick(&[5, 30, 200, i64::MAX]);
                    plan.old.push((topic, old.pick(&[0, 1]), until));
                }
            }
        }
    }
}

/// Lets brokers want logins: of any mechanism, with sessions that end and are renewed, and with a
/// password that is wrong for a while.
fn want_login(plan: &mut Plan, rng: &mut Rng) {
    let all = [Login::Plain, Login::Scram256, Login::Scram512, Login::Bearer];
    // Keys of SCRAM take thousands of hashes for each connection.
    let login = if plan.is_wide() { Login::Plain } else { rng.pick(&all) };
    let lifetime = match rng.below(6) {
        0 => Some(rng.millis(500, 1300)),
        1..4 => Some(rng.millis(1500, 10_000)),
        _ => None,
    };
    plan.login = Some(login);
    plan.options.sasl = Some(Sasl { lifetime, ..Sasl::default() });
    plan.acts.push((Act::Login, rng.range(1, 8)));
}

/// Lets half of the writers compress, by the encoders of the core or by those for servers, and
/// brokers store some topics in a codec of their own.
fn compress(plan: &mut Plan, rng: &mut Rng) {
    for client in &mut plan.clients {
        if client.writes.is_none() || rng.chance(50) {
            continue;
        }
        let codec = rng.pick(&Codec::ALL);
        client.fast = !matches!(codec, Codec::Lz4 | Codec::Snappy) || rng.chance(50);
        client.config.compression = Some(codec);
        client.limits.pack_bytes = rng.pick(&[200, 1000, 4096, PIECE]);
    }
    for topic in 0..plan.topics.len() {
        if rng.chance(20) {
            plan.codecs.push((topic, rng.range(0, 4) as i16));
        }
    }
}

/// Adds to what [`compress`] drew: topics that a client compresses in a way of their own, records
/// that do not shrink, and brokers that refuse batches which were small before they were stored in
/// another codec.
fn compress_otherwise(plan: &mut Plan, rng: &mut Rng) {
    let mut packed = !plan.codecs.is_empty();
    for client in &mut plan.clients {
        if client.config.compression.is_none() {
            continue;
        }
        packed = true;
        let noise = rng.chance(30);
        client.writes.iter_mut().for_each(|writes| writes.noise = noise);
        if !client.fast || !rng.chance(30) {
            continue;
        }
        for topic in 0..plan.topics.len() {
            let text =
                rng.pick(&["none", "gzip:1", "gzip:9", "snappy", "lz4", "zstd:-5", "zstd:7"]);
            if let Some(own) = text.parse().ok().filter(|_| rng.chance(60)) {
                client.own.push((topic, own));
            }
        }
    }
    if packed && rng.chance(12) {
        let most = plan.options.max_message_bytes;
        plan.options.max_message_bytes = most.min(rng.pick(&[600, 1500, 5000]));
    }
}

/// Returns one of the clients that read.
fn reader(plan: &Plan, rng: &mut Rng) -> Option<usize> {
    let reads = |n: &usize| !plan.clients[*n].reads.is_empty();
    let readers: Vec<usize> = (0..plan.clients.len()).filter(reads).collect();
    (!readers.is_empty()).then(|| rng.pick(&readers))
}

/// Puts brokers into two or three racks, and readers into one of them, into none or another one.
fn spread(plan: &mut Plan, rng: &mut Rng) {
    plan.options.racks = rng.pick(&[2, 3]);
    plan.options.rack_aware = true;
    for client in &mut plan.clients {
        client.config.rack = rng.pick(&["rack-1", "rack-2", "rack-3", "rack-4", ""]);
    }
}

/// Makes a plan with many of everything, and few events, so that it stays fast.
fn widen(plan: &mut Plan, rng: &mut Rng) {
    let brokers = rng.range(6, 100);
    let topics = rng.range(4, 64);
    let most = 2000 >> rng.below(4);
    plan.options.brokers = brokers as u32;
    plan.options.replication = plan.options.replication.min(2);
    plan.profiles = vec![plan.options.profile; brokers as usize];
    plan.topics = (0..topics).map(|_| rng.range(1, most / topics * 2 - 1) as u32).collect();
    plan.trouble = plan.trouble.min(Duration::from_secs(6));
    plan.pause = plan.pause.max(Duration::from_millis(500));
    plan.clients.truncate(3);
    for (n, client) in plan.clients.iter_mut().enumerate() {
        let mut limits = Limits::small();
        limits.conns = rng.range(brokers / 4, brokers).clamp(2, 64) as usize;
        (limits.brokers, limits.topics, limits.partitions) = (128, topics as usize, 4096);
        client.limits = limits;
        client.config.fetch_max_wait = rng.time(SLOW_POLL, 3 * SLOW_POLL);
        client.config.probe_idle = client.config.probe_idle.max(Duration::from_secs(1));
        if let Some(writes) = &mut client.writes {
            writes.gap = writes.gap.max(Duration::from_millis(300));
            writes.size = writes.size.min(400);
        }
        if n == 1 {
            let all = |topic| (topic, Reads::All(Start::Earliest));
            client.reads = (0..topics as usize).map(all).collect();
        }
    }
}

/// Shortest wait of a fetch in a wide cluster.
const SLOW_POLL: Duration = Duration::from_secs(1);
