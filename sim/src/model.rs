//! The cluster model. Time is a [`Duration`] since the cluster's start, given with each call.
//!
//! Each replica of a partition has its own log. The *true* state decides who leads; what a broker
//! reports in metadata comes from its own image, which may lag (`set_lag`, `pause`).

mod admin;
mod control;
mod election;
mod fetch;
mod group;
mod hide;
mod metadata;
mod offsets;
mod produce;
mod replica;
mod session;
mod txn;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use kafka_protocol::messages::{ApiKey, RequestKind, ResponseKind};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::code;
use super::counters::Counters;
use super::deed::{Deed, What};
use super::fault::{Fault, Faults};
use super::frame::{Request, Response};
use super::image::{Endpoint, Image, PartitionImage, TopicImage, TopicRef};
use super::profile::Profile;
use super::sasl::{Login, Sasl, Verdict};
use fetch::Parked;
pub use group::{Groups, Looks, Stretch};
use hide::Hidden;
use produce::Unacked;
use replica::Partition;
use session::Sessions;
pub use txn::{Transactions, TxnState};

/// How a cluster behaves. Brokers have ids 1, 2, ..; at first partition `p` is led by the broker
/// whose id is `p % brokers + 1`.
#[derive(Clone, Debug)]
pub struct Options {
    /// Brokers, 1 or more.
    pub brokers: u32,
    /// Release that all of them run at first.
    pub profile: Profile,
    /// Replicas of new partitions, at most the number of brokers.
    pub replication: u32,
    /// Time from a broker's death or pause to the election of new leaders.
    pub session_timeout: Duration,
    /// Time by which each broker's metadata lags behind the true state.
    pub metadata_lag: Duration,
    /// Time after a partition's creation during which its followers do not replicate, so that
    /// acks=all waits (0.2 to 1.6 s in reality). Unused with one replica.
    pub first_append_delay: Duration,
    /// Time that replication of every batch takes. Unused with one replica.
    pub replication_delay: Duration,
    /// A follower that lags longer than this leaves the ISR (`replica.lag.time.max.ms`).
    pub replica_lag_max: Duration,
    /// In-sync replicas without which acks=all is refused (`min.insync.replicas`).
    pub min_in_sync: u32,
    /// Whether any running replica may lead when none in sync runs
    /// (`unclean.leader.election.enable`).
    pub unclean: bool,
    /// Largest batch accepted, in bytes.
    pub max_message_bytes: usize,
    /// Largest batch that a log segment holds, in bytes (`segment.bytes`).
    pub segment_bytes: usize,
    /// Largest request, in bytes; a larger one closes its connection (`socket.request.max.bytes`).
    pub max_request_bytes: usize,
    /// Fetch sessions that a broker keeps.
    pub session_slots: usize,
    /// Whether all topics are compacted: records without a key are refused, and named (KIP-467).
    pub needs_keys: bool,
    /// Whether Metadata requests that allow it create topics, with one partition.
    pub auto_create: bool,
    /// Number of racks, `rack-1` and so on, that brokers are assigned to in turn (`broker.rack`);
    /// 0: none. Followers serve consumers only where there are racks; real ones always do.
    pub racks: u32,
    /// Whether leaders name a replica in the reader's rack (`RackAwareReplicaSelector`, KIP-392).
    pub rack_aware: bool,
    /// What the listeners want of a login; `None`: they are open to everyone.
    pub sasl: Option<Sasl>,
    /// Consumer groups of KIP-848, from 3.9 on; `None`: no broker offers what they need.
    pub groups: Option<Groups>,
    /// Transactions; `None`: no broker offers what they need.
    pub transactions: Option<Transactions>,
}

/// Leader and leader epoch, if a broker knows another leader.
type Hint = Option<(i32, i32)>;

impl Default for Options {
    fn default() -> Self {
        Self {
            brokers: 3,
            profile: Profile::V4_4,
            replication: 3,
            session_timeout: Duration::from_millis(300),
            metadata_lag: Duration::ZERO,
            first_append_delay: Duration::ZERO,
            replication_delay: Duration::ZERO,
            replica_lag_max: Duration::from_secs(2),
            min_in_sync: 1,
            unclean: false,
            max_message_bytes: 1_048_588,
            needs_keys: false,
            segment_bytes: 1 << 30,
            max_request_bytes: 100 << 20,
            session_slots: 1000,
            auto_create: false,
            racks: 0,
            rack_aware: false,
            sasl: None,
            groups: None,
            transactions: None,
        }
    }
}

/// The immediate outcome of a request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// This response.
    Now(Box<Response>),
    /// An [`Output`] will follow. Handle no other request of that connection until then.
    Later,
    /// No response at all (Produce with acks=0).
    Silent,
    /// The broker closes the connection.
    Close,
}

/// A reply that became ready later. Never [`Reply::Later`].
#[derive(Clone, Debug)]
pub struct Output {
    /// Broker of the connection.
    pub broker: i32,
    /// The connection, as numbered by the caller.
    pub conn: u64,
    /// The reply.
    pub reply: Reply,
}

struct Topic {
    name: StrBytes,
    id: Uuid,
    partitions: Vec<Partition>,
    /// `compression.type`; `None` for that of the producer.
    compression: Option<i16>,
    /// The older format (its magic) of what is below an offset of each partition.
    old: Option<(i8, i64)>,
}

struct Node {
    endpoint: Endpoint,
    profile: Profile,
    alive: bool,
    paused: bool,
    /// Removed from the cluster after the session timeout.
    fenced: bool,
    /// Counts deaths, pauses and returns, so that an old session timeout is recognised.
    incarnation: u64,
    lag: Duration,
    replica_lag: Duration,
    image: Arc<Image>,
    pending: VecDeque<(Duration, Arc<Image>)>,
    sessions: Sessions,
    /// Left out of its metadata.
    hidden: Vec<Hidden>,
    /// Requests that arrived while paused.
    stalled: VecDeque<(u64, Request)>,
}

impl Node {
    fn in_cluster(&self) -> bool {
        self.alive && !self.fenced
    }

    fn runs(&self) -> bool {
        self.alive && !self.paused
    }

    fn learn(&mut self, now: Duration, image: &Arc<Image>) {
        if self.lag.is_zero() && self.pending.is_empty() && !self.paused {
            self.image = image.clone();
        } else {
            self.pending.push_back((now + self.lag, image.clone()));
        }
    }

    fn apply(&mut self, now: Duration) {
        while self.pending.front().is_some_and(|(at, _)| *at <= now) {
            if let Some((_, image)) = self.pending.pop_front() {
                self.image = image;
            }
        }
    }
}

enum Event {
    Replicate { topic: Uuid, partition: usize, broker: i32 },
    Watch { topic: Uuid, partition: usize },
    Unacked(u64),
    Output(Output),
    Fence { broker: i32, incarnation: u64 },
    Expire(u64),
    Member { group: StrBytes, id: StrBytes },
    Overdue { id: StrBytes, since: Duration },
    Mark { id: StrBytes },
    Round { group: StrBytes },
    Late { broker: i32, incarnation: u64, request: Box<Request> },
}

/// A partition whose log or leader changed; fetches that wait for it are checked again.
struct Touched {
    id: Uuid,
    name: StrBytes,
    partition: i32,
}

/// The sender and form of a request.
#[derive(Clone)]
struct Ctx {
    broker: i32,
    conn: u64,
    api: ApiKey,
    version: i16,
    correlation: i32,
    fault: Option<Fault>,
}

impl Ctx {
    fn respond(&self, body: ResponseKind) -> Box<Response> {
        let Self { api, version, correlation, .. } = *self;
        Box::new(Response { api, version, correlation, body })
    }

    /// Returns the code that a fault puts in place of the request's effect.
    fn injected(&self) -> Option<i16> {
        match self.fault {
            Some(Fault::Error(code)) => Some(code),
            _ => None,
        }
    }

    /// Returns `code`, or the one that a fault reports after the effect.
    fn reported(&self, code: i16) -> i16 {
        match self.fault {
            Some(Fault::ErrorAfter(instead)) => instead,
            _ => code,
        }
    }

    fn throttle(&self) -> i32 {
        match self.fault {
            Some(Fault::Throttle(ms)) => ms,
            _ => 0,
        }
    }
}

/// Why a partition is not served by this broker.
struct Denied {
    code: i16,
    /// (leader, epoch) as this broker knows it (KIP-951); never itself.
    hint: Option<(i32, i32)>,
}

impl Denied {
    fn plain(code: i16) -> Self {
        Self { code, hint: None }
    }
}

/// The cluster.
pub struct Cluster {
    options: Options,
    now: Duration,
    nodes: BTreeMap<i32, Node>,
    topics: HashMap<Uuid, Topic>,
    names: BTreeMap<StrBytes, Uuid>,
    image: Arc<Image>,
    agenda: BTreeMap<(Duration, u64), Event>,
    order: u64,
    parked: Vec<Parked>,
    unacked: Vec<Unacked>,
    touched: Vec<Touched>,
    ready: VecDeque<Output>,
    faults: Faults,
    counters: Arc<Counters>,
    topics_made: u64,
    next_producer_id: i64,
    /// Names that ZooKeeper mode still deletes, and until when.
    deleting: BTreeMap<StrBytes, Duration>,
    cluster_id: StrBytes,
    /// APIs that no broker offers.
    withheld: Vec<ApiKey>,
    /// Brokers whose addresses lead to another cluster, and what was sent there.
    impostors: BTreeSet<i32>,
    /// Where each connection is in its login, by broker and connection.
    logins: HashMap<(i32, u64), Login>,
    trespasses: u64,
    groups: BTreeMap<StrBytes, group::Group>,
    txns: BTreeMap<StrBytes, txn::Txn>,
    features_epoch: i64,
    /// What was done since the last [`Cluster::take_deeds`]; `None` while not watched.
    deeds: Option<Vec<Deed>>,
}

impl Cluster {
    /// Creates a cluster without topics. Brokers are `broker-1:9092`, .. until an endpoint is set.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let ids = 1..=i32::try_from(options.brokers.max(1)).unwrap_or(i32::MAX);
        let racks = i32::try_from(options.racks).unwrap_or(i32::MAX);
        let rack = |id: i32| (id - 1).checked_rem(racks).map(|rack| format!("rack-{}", rack + 1));
        let endpoint = |id| Endpoint {
            id,
            host: StrBytes::from_string(format!("broker-{id}")),
            port: 9092,
            rack: rack(id).map(StrBytes::from_string),
        };
        let image =
            Arc::new(Image { brokers: ids.clone().map(endpoint).collect(), ..Image::default() });
        let node = |id| Node {
            endpoint: endpoint(id),
            profile: options.profile,
            alive: true,
            paused: false,
            fenced: false,
            incarnation: 0,
            lag: options.metadata_lag,
            replica_lag: Duration::ZERO,
            image: image.clone(),
            pending: VecDeque::new(),
            sessions: Sessions::default(),
            hidden: Vec::new(),
            stalled: VecDeque::new(),
        };
        Self {
            nodes: ids.map(|id| (id, node(id))).collect(),
            options,
            now: Duration::ZERO,
            topics: HashMap::new(),
            names: BTreeMap::new(),
            image,
            agenda: BTreeMap::new(),
            order: 0,
            parked: Vec::new(),
            unacked: Vec::new(),
            touched: Vec::new(),
            ready: VecDeque::new(),
            faults: Faults::default(),
            counters: Arc::new(Counters::default()),
            topics_made: 0,
            next_producer_id: 1000,
            deleting: BTreeMap::new(),
            cluster_id: StrBytes::from_static_str("simulated-cluster-0001"),
            withheld: Vec::new(),
            impostors: BTreeSet::new(),
            logins: HashMap::new(),
            trespasses: 0,
            groups: BTreeMap::new(),
            txns: BTreeMap::new(),
            features_epoch: 42,
            deeds: None,
        }
    }

    /// What the listeners want of a login, from now on.
    pub fn sasl(&mut self) -> Option<&mut Sasl> {
        self.options.sasl.as_mut()
    }

    /// Returns how often the connections that are open have logged in, each.
    #[must_use]
    pub fn logins(&self) -> Vec<u32> {
        self.logins.values().map(|login| login.count).collect()
    }

    /// Returns requests and bytes so far. Bytes out count when the encoder of the responses adds
    /// them.
    #[must_use]
    pub fn counters(&self) -> Arc<Counters> {
        self.counters.clone()
    }

    /// Handles a request that `broker` reads from `conn` (any number that is unique per broker).
    pub fn handle(&mut self, now: Duration, broker: i32, conn: u64, request: Request) -> Reply {
        self.advance(now);
        self.counters.request(request.api, request.size);
        let Some(node) = self.nodes.get_mut(&broker).filter(|node| node.alive) else {
            return Reply::Close;
        };
        if request.size > self.options.max_request_bytes.saturating_add(4) {
            return Reply::Close;
        }
        if node.paused {
            node.stalled.push_back((conn, request));
            return Reply::Later;
        }
        let reply = self.serve(broker, conn, request);
        self.wake();
        reply
    }

    /// Drops everything that waits for the connection, which is closed.
    pub fn handle_closed(&mut self, broker: i32, conn: u64) {
        let gone = |ctx: &Ctx| (ctx.broker, ctx.conn) == (broker, conn);
        self.parked.retain(|parked| !gone(&parked.ctx));
        self.unacked.retain(|unacked| !gone(&unacked.ctx));
        self.logins.remove(&(broker, conn));
        if let Some(node) = self.nodes.get_mut(&broker) {
            node.stalled.retain(|(from, _)| *from != conn);
        }
        self.ready.retain(|output| (output.broker, output.conn) != (broker, conn));
    }

    /// Advances the time and runs what is due.
    pub fn advance(&mut self, now: Duration) {
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > now {
                break;
            }
            self.now = self.now.max(entry.key().0);
            let event = entry.remove();
            self.happen(event);
            self.wake();
        }
        self.now = self.now.max(now);
        for node in self.nodes.values_mut().filter(|node| !node.paused) {
            node.apply(self.now);
        }
    }

    /// Returns when [`Cluster::advance`] has something to do; `None`: not before the next request.
    #[must_use]
    pub fn next_time(&self) -> Option<Duration> {
        self.agenda.keys().next().map(|(at, _)| *at)
    }

    /// Returns the next reply that became ready.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.ready.pop_front()
    }

    fn schedule(&mut self, at: Duration, event: Event) {
        self.order += 1;
        self.agenda.insert((at, self.order), event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Replicate { topic, partition, broker } => {
                self.replicated(topic, partition, broker);
            }
            Event::Watch { topic, partition } => self.watch_followers(topic, partition),
            Event::Unacked(id) => self.give_up_waiting(id),
            Event::Output(output) => self.ready.push_back(output),
            Event::Fence { broker, incarnation } => {
                let same = |node: &Node| node.incarnation == incarnation;
                if self.nodes.get(&broker).is_some_and(same) {
                    self.fence(broker);
                }
            }
            Event::Expire(id) => self.expire(id),
            Event::Member { group, id } => self.check_member(&group, &id),
            Event::Overdue { id, since } => self.overdue(&id, since),
            Event::Mark { id } => self.mark(&id),
            Event::Round { group } => self.check_round(&group),
            Event::Late { broker, incarnation, request } => {
                let same = |node: &Node| node.incarnation == incarnation;
                if self.nodes.get(&broker).is_some_and(same) {
                    // Nobody is there to read the response.
                    self.serve(broker, u64::MAX, *request);
                }
            }
        }
    }

    /// Serves one request at a live, running broker.
    fn serve(&mut self, broker: i32, conn: u64, request: Request) -> Reply {
        let fault = self.faults.take(broker, request.api);
        if let (Some(Fault::Late(by)), Some(node)) = (fault, self.nodes.get(&broker)) {
            let (incarnation, request) = (node.incarnation, Box::new(request));
            self.schedule(self.now + by, Event::Late { broker, incarnation, request });
            return Reply::Close;
        }
        let Request { api, version, correlation, body, .. } = request;
        if fault == Some(Fault::DropRequest) {
            return Reply::Close;
        }
        let ctx = Ctx { broker, conn, api, version, correlation, fault };
        if !self.offers(&ctx) {
            if api == ApiKey::ApiVersions {
                return Reply::Now(self.unsupported_version(&ctx));
            }
            return Reply::Close;
        }
        if let Some(sasl) = &self.options.sasl {
            let login = self.logins.entry((broker, conn)).or_default();
            match login.handle(sasl, self.now, &body, version) {
                Verdict::Respond(body) => {
                    let reply = Reply::Now(ctx.respond(*body));
                    return self.afterwards(&ctx, reply);
                }
                Verdict::Close => return Reply::Close,
                Verdict::Serve => {}
            }
        }
        let greets = matches!(api, ApiKey::ApiVersions | ApiKey::Metadata);
        if self.impostors.contains(&broker) && !greets {
            self.trespasses += 1;
            return Reply::Close;
        }
        let reply = match body {
            RequestKind::ApiVersions(_) => self.api_versions(&ctx),
            RequestKind::Metadata(request) => self.metadata(&ctx, request),
            RequestKind::DescribeTopicPartitions(request) => self.describe(&ctx, &request),
            RequestKind::ListOffsets(request) => self.list_offsets(&ctx, &request),
            RequestKind::OffsetForLeaderEpoch(request) => self.epoch_ends(&ctx, &request),
            RequestKind::InitProducerId(request) => self.init_producer_id(&ctx, &request),
            RequestKind::Produce(request) => self.produce(&ctx, request),
            RequestKind::Fetch(request) => self.fetch(&ctx, &request),
            RequestKind::CreateTopics(request) => self.create_topics(&ctx, &request),
            RequestKind::CreatePartitions(request) => self.create_partitions(&ctx, &request),
            RequestKind::DeleteTopics(request) => self.delete_topics(&ctx, &request),
            RequestKind::FindCoordinator(request) => self.find_coordinator(&ctx, &request),
            RequestKind::ConsumerGroupHeartbeat(request) => self.group_heartbeat(&ctx, &request),
            RequestKind::JoinGroup(request) => self.join_group(&ctx, &request),
            RequestKind::SyncGroup(request) => self.sync_group(&ctx, &request),
            RequestKind::Heartbeat(request) => self.heartbeat(&ctx, &request),
            RequestKind::LeaveGroup(request) => self.leave_group(&ctx, &request),
            RequestKind::DescribeGroups(request) => self.describe_groups(&ctx, &request),
            RequestKind::OffsetCommit(request) => self.offset_commit(&ctx, &request),
            RequestKind::AddPartitionsToTxn(request) => self.add_partitions(&ctx, &request),
            RequestKind::AddOffsetsToTxn(request) => self.add_offsets(&ctx, &request),
            RequestKind::TxnOffsetCommit(request) => self.txn_offset_commit(&ctx, &request),
            RequestKind::EndTxn(request) => self.end_txn(&ctx, &request),
            RequestKind::OffsetFetch(request) => self.offset_fetch(&ctx, &request),
            _ => Reply::Close,
        };
        self.afterwards(&ctx, reply)
    }

    /// Applies faults that act on a ready reply.
    fn afterwards(&mut self, ctx: &Ctx, reply: Reply) -> Reply {
        match (ctx.fault, reply) {
            (_, Reply::Later) => Reply::Later, // a parked fetch passes here again
            (Some(Fault::DropResponse), _) => Reply::Close,
            (Some(Fault::Delay(by)), reply) => {
                let output = Output { broker: ctx.broker, conn: ctx.conn, reply };
                self.schedule(self.now + by, Event::Output(output));
                Reply::Later
            }
            (_, reply) => reply,
        }
    }

    fn offers(&self, ctx: &Ctx) -> bool {
        let node = self.nodes.get(&ctx.broker);
        let more = |node: &Node| {
            let found =
                self.more_ranges(node.profile).into_iter().find(|(api, ..)| *api == ctx.api);
            found.map(|(_, min, max)| (min, max))
        };
        let range = node.and_then(|node| node.profile.range(ctx.api).or_else(|| more(node)));
        let range = range.filter(|_| !self.withheld.contains(&ctx.api));
        range.is_some_and(|(min, max)| (min..=max).contains(&ctx.version))
    }

    /// APIs that a broker offers because of the options.
    fn more_ranges(&self, profile: Profile) -> Vec<(ApiKey, i16, i16)> {
        let logins = self.options.sasl.is_some().then(|| profile.login_ranges());
        let groups = self.options.groups.is_some().then(|| profile.group_ranges());
        let transactions = self.options.transactions.is_some();
        let transactions = transactions.then(|| profile.transaction_ranges());
        let of_groups: Vec<_> = groups.into_iter().flatten().copied().collect();
        let has = |api: ApiKey| of_groups.iter().any(|(other, ..)| *other == api);
        let transactions = transactions.into_iter().flatten().filter(|(api, ..)| !has(*api));
        let more = transactions.copied().collect::<Vec<_>>();
        logins.into_iter().flatten().chain(of_groups).chain(more).collect()
    }

    /// Returns a broker's image; the newest one for an unknown broker.
    fn view(&self, broker: i32) -> &Arc<Image> {
        self.nodes.get(&broker).map_or(&self.image, |node| &node.image)
    }

    fn profile(&self, broker: i32) -> Profile {
        self.nodes.get(&broker).map_or(self.options.profile, |node| node.profile)
    }

    /// Finds a partition that `broker` leads (`ReplicaManager.getPartitionOrError`,
    /// `Partition.localLogWithEpochOrThrow`). `epoch`: the client's leader epoch, or -1.
    fn locate(
        &self,
        broker: i32,
        topic: &TopicRef,
        partition: i32,
        epoch: i32,
    ) -> Result<&Partition, Denied> {
        let (truth, hint) = self.locate_replica(broker, topic, partition, epoch)?;
        if truth.leader != broker {
            return Err(Denied { code: code::NOT_LEADER_OR_FOLLOWER, hint });
        }
        Ok(truth)
    }

    /// Finds a partition that `broker` leads or follows, and the leader as it knows it.
    fn locate_replica(
        &self,
        broker: i32,
        topic: &TopicRef,
        partition: i32,
        epoch: i32,
    ) -> Result<(&Partition, Hint), Denied> {
        let missing = Denied::plain(match topic {
            TopicRef::Name(_) => code::UNKNOWN_TOPIC_OR_PARTITION,
            TopicRef::Id(_) => code::UNKNOWN_TOPIC_ID,
        });
        let Some(seen) = self.view(broker).topic(topic) else { return Err(missing) };
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        let Some(image) = seen.partitions.get(index) else {
            return Err(Denied::plain(code::UNKNOWN_TOPIC_OR_PARTITION));
        };
        let truth = self.topics.get(&seen.id).and_then(|topic| topic.partitions.get(index));
        let Some(truth) = truth else { return Err(missing) };
        if truth.leader != broker && self.hides(broker, seen, index) {
            return Err(Denied::plain(code::UNKNOWN_TOPIC_OR_PARTITION));
        }
        let known = image.leader != broker && image.leader >= 0;
        let hint = known.then_some((image.leader, image.epoch));
        if !truth.has(broker) {
            let code = match self.profile(broker) {
                Profile::V1_1 => code::UNKNOWN_TOPIC_OR_PARTITION,
                _ => code::NOT_LEADER_OR_FOLLOWER,
            };
            return Err(Denied { code, hint });
        }
        if epoch >= 0 && epoch < truth.epoch {
            return Err(Denied { code: code::FENCED_LEADER_EPOCH, hint });
        }
        if epoch > truth.epoch {
            return Err(Denied::plain(code::UNKNOWN_LEADER_EPOCH));
        }
        Ok((truth, hint))
    }

    /// [`Cluster::locate`] with mutable access.
    fn locate_mut(
        &mut self,
        broker: i32,
        topic: &TopicRef,
        partition: i32,
    ) -> Result<(Uuid, &mut Partition), Denied> {
        self.locate(broker, topic, partition, -1)?;
        let id = self.view(broker).topic(topic).map(|seen| seen.id).unwrap_or_default();
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        let found = self.topics.get_mut(&id).and_then(|t| t.partitions.get_mut(index));
        found.map(|p| (id, p)).ok_or(Denied::plain(code::UNKNOWN_TOPIC_OR_PARTITION))
    }

    /// Publishes to all brokers that topics changed (or were deleted) or brokers joined or left.
    fn publish(&mut self, changed: &[StrBytes]) {
        let mut image = Image::clone(&self.image);
        for name in changed {
            let topic = self.names.get(name).and_then(|id| self.topics.get(id));
            image.put(name, topic.map(Topic::image));
        }
        let live = self.nodes.values().filter(|node| node.in_cluster());
        image.brokers = live.map(|node| node.endpoint.clone()).collect();
        self.image = Arc::new(image);
        for node in self.nodes.values_mut() {
            node.learn(self.now, &self.image);
        }
    }

    fn note(&mut self, topic: &StrBytes, what: What) {
        if let Some(deeds) = &mut self.deeds {
            deeds.push(Deed { at: self.now, topic: topic.clone(), what });
        }
    }

    /// Marks all partitions of these topics as touched: waiting fetches are checked again.
    fn touch_all(&mut self, names: &[StrBytes]) {
        for name in names {
            let Some(topic) = self.names.get(name).and_then(|id| self.topics.get(id)) else {
                continue;
            };
            for partition in 0..topic.partitions.len() {
                let partition = i32::try_from(partition).unwrap_or(i32::MAX);
                self.touched.push(Touched { id: topic.id, name: name.clone(), partition });
            }
        }
    }
}

impl Topic {
    fn image(&self) -> TopicImage {
        let partitions = self.partitions.iter().map(|p| PartitionImage {
            leader: p.leader,
            epoch: p.epoch,
            replicas: p.brokers(),
            isr: p.isr.clone(),
            hidden: false,
        });
        TopicImage { name: self.name.clone(), id: self.id, partitions: partitions.collect() }
    }
}
