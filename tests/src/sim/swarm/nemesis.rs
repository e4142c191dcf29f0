//! Faults of the cluster and changes to it (Jepsen calls their cause a nemesis).

use core::time::Duration;

use kafka_protocol::messages::ApiKey;

use super::agent::Agent;
use super::plan::Plan;
use crate::sim::code;
use crate::sim::fault::Fault;
use crate::sim::model::Cluster;
use crate::sim::profile::Profile;
use crate::sim::rng::Rng;
use crate::sim::sasl::Sasl;
use crate::sim::world::World;

/// Kinds of act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A topic gains partitions.
    Grow,
    /// A partition gets another leader.
    MoveLeader,
    /// A broker is killed, or a killed one restarts.
    Kill,
    /// A broker is paused (SIGSTOP), or a paused one resumes.
    Pause,
    /// All connections of a broker end.
    Disconnect,
    /// Requests are given faults.
    Inject,
    /// A broker forgets its fetch sessions.
    Evict,
    /// A broker's metadata lags more, or less.
    Lag,
    /// Retention.
    Trim,
    /// Unclean election: the end of a log is lost.
    Truncate,
    /// A topic is deleted and recreated.
    Recreate,
    /// Two brokers swap their addresses.
    Swap,
    /// A broker is upgraded.
    Upgrade,
    /// A broker is terminated (SIGTERM), and hands its partitions over before it ends.
    Shutdown,
    /// A broker's followers fetch late, or on time again.
    Drag,
    /// Any replica may lead, or only those in sync again.
    Unclean,
    /// A broker's metadata leaves partitions out, or is complete again.
    Hide,
    /// Brokers forget a partition's producers.
    Forget,
    /// The address of a broker leads to another cluster, or back.
    Impostor,
    /// Logins are cut, delayed or refused, or the password is right again.
    Login,
}

impl Act {
    pub(super) const ALL: [Self; 16] = [
        Self::Grow,
        Self::MoveLeader,
        Self::Kill,
        Self::Pause,
        Self::Disconnect,
        Self::Inject,
        Self::Evict,
        Self::Lag,
        Self::Trim,
        Self::Truncate,
        Self::Recreate,
        Self::Swap,
        Self::Upgrade,
        Self::Shutdown,
        Self::Drag,
        Self::Unclean,
    ];
    /// Acts drawn after everything else, so that earlier seeds keep their meaning.
    pub(super) const LATER: [Self; 2] = [Self::Hide, Self::Forget];
}

/// Highest number of partitions of a topic.
const MOST_PARTITIONS: u32 = 24;

pub(super) struct Nemesis {
    rng: Rng,
    acts: Vec<(Act, u64)>,
    paused: Vec<i32>,
    /// Whether topics have ids.
    ids: bool,
}

impl Nemesis {
    pub(super) fn new(plan: &Plan, rng: Rng) -> Self {
        let ids = plan.options.profile.topic_ids();
        Self { rng, acts: plan.acts.clone(), paused: Vec::new(), ids }
    }

    /// Returns the pause before the next act.
    pub(super) fn pause(&mut self, most: Duration) -> Duration {
        self.rng.time(Duration::from_millis(1), most)
    }

    /// Performs one act.
    pub(super) fn act(&mut self, world: &mut World<Agent>, topics: usize) {
        let mut draw = self.rng.below(self.acts.iter().map(|(_, weight)| weight).sum());
        let drawn = self.acts.iter().find(|(_, weight)| {
            let hit = draw < *weight;
            draw = draw.saturating_sub(*weight);
            hit
        });
        let Some((act, _)) = drawn.copied() else { return };
        let broker = self.rng.pick(&world.cluster.brokers());
        let topic = Plan::topic(self.rng.below(topics as u64) as usize);
        let count = world.cluster.partitions(&topic);
        let partition = self.rng.below(u64::from(count)) as u32;
        let text = format!("{act:?} broker {broker}, {topic} {partition}/{count}");
        world.trace.note(world.now(), &text, &[]);
        self.do_to(world, act, broker, (&topic, partition, count));
    }

    fn do_to(
        &mut self,
        world: &mut World<Agent>,
        act: Act,
        broker: i32,
        (topic, partition, count): (&str, u32, u32),
    ) {
        let cluster = &mut world.cluster;
        // What is not possible now is left out: a leader that is down, a topic at its maximum.
        let _ = match act {
            Act::Grow if count < MOST_PARTITIONS => {
                cluster.grow(topic, count + self.rng.range(1, 4) as u32)
            }
            Act::MoveLeader => cluster.move_leader(topic, partition, broker),
            Act::Trim => {
                let end = cluster.high_watermark(topic, partition).max(1).unsigned_abs();
                cluster.trim(topic, partition, self.rng.below(end).cast_signed())
            }
            Act::Truncate => {
                let end = cluster.log_len(topic, partition);
                let lost = self.rng.below(10).cast_signed();
                cluster.truncate(topic, partition, (end - lost).max(0))
            }
            Act::Recreate => {
                let count = self.rng.range(1, u64::from(count) + 2) as u32;
                cluster.recreate_topic(topic, count).map(drop)
            }
            Act::Hide => self.hide(cluster, broker, (topic, partition, count)),
            Act::Forget => cluster.forget_producers(topic, partition),
            _ => {
                self.do_to_broker(world, act, broker);
                Ok(())
            }
        };
    }

    fn hide(
        &mut self,
        cluster: &mut Cluster,
        broker: i32,
        (topic, partition, count): (&str, u32, u32),
    ) -> Result<(), i16> {
        if self.rng.chance(40) {
            cluster.show(broker);
            return Ok(());
        }
        let end = if self.rng.chance(50) { count } else { partition + 1 };
        // Without ids, a topic with fewer partitions for long is taken for a recreated one.
        if end == count && !self.ids {
            return Ok(());
        }
        cluster.hide(broker, topic, partition..end)
    }

    fn do_to_broker(&mut self, world: &mut World<Agent>, act: Act, broker: i32) {
        match act {
            Act::Kill if world.cluster.alive(broker) => {
                self.paused.retain(|id| *id != broker);
                world.kill(broker);
            }
            Act::Kill => world.cluster.restart(broker),
            Act::Pause if self.paused.contains(&broker) => {
                self.paused.retain(|id| *id != broker);
                world.cluster.resume(broker);
            }
            Act::Pause if world.cluster.alive(broker) => {
                self.paused.push(broker);
                world.cluster.pause(broker);
            }
            Act::Shutdown if world.cluster.alive(broker) => {
                self.paused.retain(|id| *id != broker);
                world.cluster.hand_over(broker);
                world.kill(broker);
            }
            Act::Shutdown => world.cluster.restart(broker),
            Act::Drag => {
                let most = if self.rng.chance(50) { 0 } else { 5000 };
                let lag = self.rng.time(Duration::ZERO, Duration::from_millis(most));
                world.cluster.set_replica_lag(broker, lag);
            }
            Act::Unclean => world.cluster.set_unclean(self.rng.chance(50)),
            Act::Disconnect => world.disconnect(broker),
            Act::Inject => self.inject(world, broker),
            Act::Evict => world.cluster.evict_sessions(broker),
            Act::Lag => {
                let short = self.rng.chance(50);
                let most = Duration::from_millis(if short { 50 } else { 10_000 });
                world.cluster.set_lag(broker, self.rng.time(Duration::ZERO, most));
            }
            Act::Swap => {
                let other = self.rng.pick(&world.cluster.brokers());
                let places = (world.cluster.endpoint(broker), world.cluster.endpoint(other));
                if let (Some(here), Some(there)) = places {
                    world.cluster.set_endpoint(broker, &there.0, there.1);
                    world.cluster.set_endpoint(other, &here.0, here.1);
                }
            }
            Act::Impostor => {
                // A client that knows no cluster yet would take this one for its own.
                let known = |member| world.client(member).cluster_id().is_some();
                let yes = !world.cluster.is_impersonated(broker);
                if !yes || (0..world.members()).all(known) {
                    world.cluster.impersonate(broker, yes);
                    world.disconnect(broker);
                }
            }
            Act::Login => self.log_in(world, broker),
            Act::Upgrade => {
                world.cluster.set_profile(broker, Profile::V4_4);
                world.disconnect(broker);
            }
            _ => {}
        }
    }

    fn log_in(&mut self, world: &mut World<Agent>, broker: i32) {
        match self.rng.below(4) {
            0 => know_password(world, false),
            1 => know_password(world, true),
            _ => {
                let api = self.rng.pick(&[ApiKey::SaslHandshake, ApiKey::SaslAuthenticate]);
                let fault = match self.rng.below(3) {
                    0 => Fault::DropResponse,
                    1 => Fault::DropRequest,
                    _ => Fault::Delay(self.rng.millis(1, 4000)),
                };
                let times = self.rng.pick(&[1, 1, 2, 5]);
                world.trace.note(world.now(), &format!("{api:?} {fault:?} x {times}"), &[]);
                world.cluster.inject(broker, api, fault, times);
            }
        }
        world.disconnect(broker);
    }

    fn inject(&mut self, world: &mut World<Agent>, broker: i32) {
        let (api, errors): (ApiKey, &[i16]) = self.rng.pick(&[
            (ApiKey::Produce, &PRODUCE),
            (ApiKey::Produce, &PRODUCE),
            (ApiKey::Fetch, &FETCH),
            (ApiKey::Fetch, &FETCH),
            (ApiKey::Metadata, &METADATA),
            (ApiKey::ListOffsets, &LIST_OFFSETS),
            (ApiKey::InitProducerId, &INIT_PRODUCER_ID),
            (ApiKey::DescribeTopicPartitions, &METADATA),
            (ApiKey::ApiVersions, &[]),
        ]);
        let fault = match self.rng.below(8) {
            0..3 if !errors.is_empty() => Fault::Error(self.rng.pick(errors)),
            3 if api == ApiKey::Produce => Fault::ErrorAfter(self.rng.pick(&PRODUCE_AFTER)),
            3 if api == ApiKey::Fetch => Fault::TopError(self.rng.pick(&FETCH_TOP)),
            4 => Fault::DropResponse,
            5 => Fault::DropRequest,
            6 => Fault::Throttle(self.rng.range(1, 500) as i32),
            _ => Fault::Delay(self.rng.millis(1, 4000)),
        };
        let times = self.rng.pick(&[1, 1, 2, 5]);
        world.trace.note(world.now(), &format!("{api:?} {fault:?} x {times}"), &[]);
        world.cluster.inject(broker, api, fault, times);
    }

    /// Ends all faults.
    pub(super) fn heal(&mut self, world: &mut World<Agent>) {
        world.cluster.clear_faults();
        know_password(world, true);
        for broker in world.cluster.brokers() {
            world.cluster.set_lag(broker, Duration::ZERO);
            world.cluster.show(broker);
            if world.cluster.is_impersonated(broker) {
                world.cluster.impersonate(broker, false);
                world.disconnect(broker);
            }
            world.cluster.set_replica_lag(broker, Duration::ZERO);
            if !world.cluster.alive(broker) {
                world.cluster.restart(broker);
            }
        }
        for broker in core::mem::take(&mut self.paused) {
            world.cluster.resume(broker);
        }
    }
}

/// Lets the brokers know the password and the token of the clients, or others.
fn know_password(world: &mut World<Agent>, yes: bool) {
    let Some(sasl) = world.cluster.sasl() else { return };
    let right = Sasl::default();
    match yes {
        true => (sasl.users, sasl.tokens) = (right.users, right.tokens),
        false => {
            sasl.users.values_mut().for_each(|password| "another".clone_into(password));
            sasl.tokens.clear();
        }
    }
}

/// Error codes that brokers return instead of applying a request.
const PRODUCE: [i16; 8] = [
    code::UNKNOWN_TOPIC_OR_PARTITION,
    code::NOT_LEADER_OR_FOLLOWER,
    code::REQUEST_TIMED_OUT,
    code::NOT_ENOUGH_REPLICAS,
    code::LEADER_NOT_AVAILABLE,
    code::CORRUPT_MESSAGE,
    code::MESSAGE_TOO_LARGE,
    code::UNKNOWN_SERVER_ERROR,
];
/// Error codes that brokers return after applying a request.
const PRODUCE_AFTER: [i16; 4] = [
    code::NOT_LEADER_OR_FOLLOWER,
    code::REQUEST_TIMED_OUT,
    code::NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    code::UNKNOWN_SERVER_ERROR,
];
const FETCH: [i16; 7] = [
    code::UNKNOWN_TOPIC_OR_PARTITION,
    code::NOT_LEADER_OR_FOLLOWER,
    code::REPLICA_NOT_AVAILABLE,
    code::FENCED_LEADER_EPOCH,
    code::UNKNOWN_LEADER_EPOCH,
    code::CORRUPT_MESSAGE,
    code::UNKNOWN_SERVER_ERROR,
];
const FETCH_TOP: [i16; 3] = [
    code::FETCH_SESSION_ID_NOT_FOUND,
    code::INVALID_FETCH_SESSION_EPOCH,
    code::UNKNOWN_SERVER_ERROR,
];
const METADATA: [i16; 2] = [code::UNKNOWN_TOPIC_OR_PARTITION, code::LEADER_NOT_AVAILABLE];
const LIST_OFFSETS: [i16; 4] = [
    code::UNKNOWN_TOPIC_OR_PARTITION,
    code::NOT_LEADER_OR_FOLLOWER,
    code::UNKNOWN_LEADER_EPOCH,
    code::UNKNOWN_SERVER_ERROR,
];
const INIT_PRODUCER_ID: [i16; 4] = [
    code::COORDINATOR_LOAD_IN_PROGRESS,
    code::COORDINATOR_NOT_AVAILABLE,
    code::REQUEST_TIMED_OUT,
    code::UNKNOWN_SERVER_ERROR,
];
