//! Scripted peers in virtual time: a test controls the client, the adapter, the clock and all
//! brokers, and specifies who sends what when.
//!
//! Requests are decoded and responses encoded by the `kafka-protocol` crate. What a broker returns
//! by itself (versions, metadata, producer ids, probes) comes from a small [`World`]; everything
//! else, and whatever a test made [`Script::manual`], waits for the test's response.
//!
//! While time passes the script checks `poll_timeout`: the client must not sleep past work that is
//! due, and a timeout in the past must have an effect.
//!
//! ```text
//! let mut s = Script::new(World::new(1).topic("t", 1));
//! let t = s.topic("t");
//! s.produce(t, 0, "hello");
//! let asked = s.expect::<ProduceRequest>();
//! s.acknowledge(&asked, 0);
//! assert_eq!(s.delivered(), [(1, Some(0))]);
//! ```

mod drive;
pub mod fetch;
mod produce;
mod reported;
pub mod steps;
mod world;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{
    AddOffsetsToTxnRequest, AddPartitionsToTxnRequest, ApiKey, ApiVersionsRequest,
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, CreatePartitionsRequest,
    CreateTopicsRequest, DeleteGroupsRequest, DeleteTopicsRequest, DescribeGroupsRequest,
    DescribeTopicPartitionsRequest, EndTxnRequest, FetchRequest, FindCoordinatorRequest,
    HeartbeatRequest, InitProducerIdRequest, JoinGroupRequest, LeaveGroupRequest,
    ListGroupsRequest, ListOffsetsRequest, MetadataRequest, OffsetCommitRequest,
    OffsetDeleteRequest, OffsetFetchRequest, OffsetForLeaderEpochRequest, ProduceRequest,
    RequestKind, ResponseKind, SaslAuthenticateRequest, SaslHandshakeRequest, SyncGroupRequest,
    TxnOffsetCommitRequest,
};
use kafka_protocol::protocol::Request;
use kavka_core::{
    Client, CloseReason, Commands, Config, ConnId, Event, Instant, Limits, Storage, TopicId,
};

use crate::sim::frame::Response;
use crate::sim::sasl::Login;
pub use produce::Sent;
pub use reported::Reported;
pub use world::{Node, Partition, Topic, World};

/// A request type that a script can expect.
pub trait Operation: Request + Sized {
    /// Returns the body, if it is of this type.
    fn of(kind: &RequestKind) -> Option<&Self>;
}

macro_rules! operation {
    ($($variant:ident $request:ident),* $(,)?) => {
        $(impl Operation for $request {
            fn of(kind: &RequestKind) -> Option<&Self> {
                match kind {
                    RequestKind::$variant(body) => Some(body),
                    _ => None,
                }
            }
        })*
    };
}

operation! {
    ApiVersions ApiVersionsRequest,
    Metadata MetadataRequest,
    Produce ProduceRequest,
    Fetch FetchRequest,
    ListOffsets ListOffsetsRequest,
    OffsetForLeaderEpoch OffsetForLeaderEpochRequest,
    DescribeTopicPartitions DescribeTopicPartitionsRequest,
    InitProducerId InitProducerIdRequest,
    CreateTopics CreateTopicsRequest,
    CreatePartitions CreatePartitionsRequest,
    DeleteTopics DeleteTopicsRequest,
    FindCoordinator FindCoordinatorRequest,
    ListGroups ListGroupsRequest,
    DescribeGroups DescribeGroupsRequest,
    ConsumerGroupDescribe ConsumerGroupDescribeRequest,
    DeleteGroups DeleteGroupsRequest,
    OffsetFetch OffsetFetchRequest,
    OffsetCommit OffsetCommitRequest,
    OffsetDelete OffsetDeleteRequest,
    ConsumerGroupHeartbeat ConsumerGroupHeartbeatRequest,
    AddPartitionsToTxn AddPartitionsToTxnRequest,
    AddOffsetsToTxn AddOffsetsToTxnRequest,
    TxnOffsetCommit TxnOffsetCommitRequest,
    EndTxn EndTxnRequest,
    JoinGroup JoinGroupRequest,
    SyncGroup SyncGroupRequest,
    Heartbeat HeartbeatRequest,
    LeaveGroup LeaveGroupRequest,
    SaslHandshake SaslHandshakeRequest,
    SaslAuthenticate SaslAuthenticateRequest,
}

/// A request of the client.
#[derive(Clone, Debug)]
pub struct Requested<R> {
    /// Connection that it arrived on.
    pub conn: ConnId,
    /// Node id of the broker that received it.
    pub node: i32,
    /// Which API.
    pub api: ApiKey,
    /// Version, as sent.
    pub version: i16,
    /// Correlation id.
    pub correlation: i32,
    /// When it arrived.
    pub at: Instant,
    /// The body.
    pub body: R,
}

/// One connection, as the adapter and the broker at the other end see it.
struct Line {
    conn: ConnId,
    node: i32,
    connected: bool,
    /// Requests in order, with their responses: one waits for those before it, as at any broker.
    responses: VecDeque<(i32, Option<Bytes>)>,
    /// Bytes from the client that are not a whole frame yet.
    from_client: BytesMut,
    /// Bytes that the client has not read yet.
    to_client: BytesMut,
    /// Number of bytes that can still be sent before the transport stalls.
    window: Option<usize>,
    /// Where it is in its login.
    login: Login,
}

/// Seed of the clients' random numbers. In builds with rare branches, numbers wrap soon.
const SEED: [u8; 32] = {
    let seed = [7; 32];
    #[cfg(kavka_rare)]
    let seed = {
        let mut seed = seed;
        seed[31] = kavka_core::rare::SEQUENCES | kavka_core::rare::CORRELATIONS;
        seed
    };
    seed
};

type Hook = Box<dyn FnMut(&Event<'_>, &mut Commands<'static>)>;

/// A client, its adapter and its brokers; see the module.
pub struct Script {
    /// The client under test.
    pub client: Client<'static>,
    /// What the brokers return by themselves.
    pub world: World,
    /// Largest piece in which bytes arrive and leave; `usize::MAX` for all at once.
    pub piece: usize,
    /// Whether events are polled. `false`: an application that is busy.
    pub listening: bool,
    /// Whether `poll_timeout` is checked for work that the client would sleep past.
    pub watching: bool,
    /// How many turns without any effect, with a timeout in the past, are not yet spinning: more
    /// than the default where a client computes.
    pub patience: usize,
    /// How often a token was requested.
    pub tokens: usize,
    /// Called with each event while it is held.
    pub hook: Option<Hook>,
    now: Instant,
    lines: Vec<Line>,
    requested: VecDeque<Requested<RequestKind>>,
    reported: Vec<Reported>,
    manual: Vec<ApiKey>,
    trace: Vec<String>,
    known: Option<String>,
    /// Whether `has_event` was compared with the last `poll_event`.
    looked: bool,
    /// How often `has_event` saw one that there was not: the rest of a response may have none.
    pub hollow: usize,
    /// Connections that were requested: when, and the node.
    pub connects: Vec<(Instant, i32)>,
}

impl Script {
    /// Creates a client with small limits and default configuration, except for linger, which is
    /// zero.
    #[must_use]
    pub fn new(world: World) -> Self {
        let config = Config::new(world.bootstrap()).linger(Duration::ZERO);
        Self::with(world, config, &Limits::small())
    }

    /// Creates a client with these limits. [`World::bootstrap`] returns the text for the
    /// configuration.
    ///
    /// # Panics
    /// When the client refuses configuration or limits.
    #[must_use]
    pub fn with(world: World, config: Config<'static>, limits: &Limits) -> Self {
        Self::over(world, config, Storage::heap(limits))
    }

    /// Creates a client in memory that the test allocated (`Resources`).
    ///
    /// # Panics
    /// When the client refuses configuration or memory.
    #[must_use]
    pub fn over(world: World, config: Config<'static>, storage: Storage<'static>) -> Self {
        let client = Client::new(config, storage, SEED).expect("configuration and memory work");
        Self {
            client,
            world,
            piece: usize::MAX,
            listening: true,
            watching: true,
            patience: 4,
            tokens: 0,
            hook: None,
            // Not zero: a default of zero must not be mistaken for "just now".
            now: Instant::from_millis(3_600_000),
            lines: Vec::new(),
            requested: VecDeque::new(),
            reported: Vec::new(),
            manual: Vec::new(),
            trace: Vec::new(),
            known: None,
            looked: false,
            hollow: 0,
            connects: Vec::new(),
        }
    }

    /// Lets requests of this kind wait for the test's response from now on.
    pub fn manual(&mut self, api: ApiKey) {
        self.manual.push(api);
    }

    /// Lets the brokers respond to such requests by themselves again, also to those that wait.
    pub fn automatic(&mut self, api: ApiKey) {
        self.manual.retain(|manual| *manual != api);
        let (now, waiting): (Vec<_>, Vec<_>) = core::mem::take(&mut self.requested)
            .into_iter()
            .partition(|requested| requested.api == api);
        self.requested = waiting.into();
        for requested in now {
            self.serve_one(requested);
        }
        self.settle();
    }

    /// Returns the virtual time.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Watches a topic.
    ///
    /// # Panics
    /// When the client refuses.
    pub fn topic(&mut self, name: &str) -> TopicId {
        self.known.get_or_insert_with(|| name.to_owned());
        self.client.topic(name).expect("the topic is taken")
    }

    /// Watches a topic and runs until it is ready.
    ///
    /// # Panics
    /// When it does not become ready within ten seconds.
    pub fn ready(&mut self, name: &str) -> TopicId {
        let id = self.topic(name);
        self.until("the topic is ready", |s| s.client.freshness(id).is_some());
        id
    }

    /// Waits for a request of this type, for up to a minute of virtual time, and takes it.
    ///
    /// # Panics
    /// When none arrives.
    pub fn expect<R: Operation + Clone>(&mut self) -> Requested<R> {
        self.expect_within(Duration::from_secs(60))
    }

    /// Waits for a request of this type for at most `patience`.
    ///
    /// # Panics
    /// When none arrives.
    pub fn expect_within<R: Operation + Clone>(&mut self, patience: Duration) -> Requested<R> {
        let end = self.now + patience;
        loop {
            self.settle();
            if let Some(requested) = self.take() {
                return requested;
            }
            if self.now >= end || !self.pass(end) {
                self.fail(&format!("no request with API key {} came", R::KEY));
            }
        }
    }

    /// Takes the oldest waiting request of this type, if there is one; no time passes.
    pub fn take<R: Operation + Clone>(&mut self) -> Option<Requested<R>> {
        let at = self.requested.iter().position(|requested| R::of(&requested.body).is_some())?;
        let requested = self.requested.remove(at)?;
        let body = R::of(&requested.body)?.clone();
        let Requested { conn, node, api, version, correlation, at, .. } = requested;
        Some(Requested { conn, node, api, version, correlation, at, body })
    }

    /// Returns the number of requests of this type that wait for a response.
    pub fn waiting<R: Operation>(&mut self) -> usize {
        self.settle();
        self.requested.iter().filter(|requested| R::of(&requested.body).is_some()).count()
    }

    /// Checks that no request of this type waits for a response.
    ///
    /// # Panics
    /// When one does.
    pub fn none<R: Operation>(&mut self, why: &str) {
        if self.waiting::<R>() > 0 {
            self.fail(&format!("a request with API key {}, but {why}", R::KEY));
        }
    }

    /// Lets the broker respond to a request as it does by itself.
    pub fn serve<R: Operation + Into<RequestKind>>(&mut self, requested: Requested<R>) {
        let Requested { conn, node, api, version, correlation, at, body } = requested;
        let body = body.into();
        self.serve_one(Requested { conn, node, api, version, correlation, at, body });
        self.settle();
    }

    /// Returns how often each connection to a broker has logged in.
    #[must_use]
    pub fn logins(&self, node: i32) -> Vec<u32> {
        self.lines.iter().filter(|line| line.node == node).map(|line| line.login.count).collect()
    }

    /// Responds to a request.
    pub fn respond<R>(&mut self, requested: &Requested<R>, body: R::Response)
    where
        R: Operation,
        R::Response: Into<ResponseKind>,
    {
        self.response_kind(requested, body.into());
        self.settle();
    }

    /// Returns the bytes of a response, to be changed and given to [`Script::feed`]. The request
    /// then counts as completed.
    ///
    /// # Panics
    /// When the codec refuses the body.
    pub fn encoded<R>(&mut self, requested: &Requested<R>, body: impl Into<ResponseKind>) -> Bytes {
        if let Some(line) = self.lines.iter_mut().find(|line| line.conn == requested.conn) {
            line.responses.retain(|(correlation, _)| *correlation != requested.correlation);
        }
        self.encode(requested, body)
    }

    fn encode<R>(&self, requested: &Requested<R>, body: impl Into<ResponseKind>) -> Bytes {
        let Requested { api, version, correlation, .. } = *requested;
        let body = body.into();
        let version = match &body {
            // "Unsupported version" is returned in version 0 (KIP-511).
            ResponseKind::ApiVersions(response) if response.error_code == 35 => 0,
            // The codec ends there; version 5 changed the request only.
            ResponseKind::ApiVersions(_) => version.min(4),
            _ => version,
        };
        let response = Response { api, version, correlation, body };
        response
            .encode()
            .unwrap_or_else(|e| self.fail(&format!("the response cannot be encoded: {e}")))
    }

    fn response_kind<R>(&mut self, requested: &Requested<R>, body: ResponseKind) {
        let bytes = self.encode(requested, body);
        let Some(line) = self.lines.iter_mut().find(|line| line.conn == requested.conn) else {
            return;
        };
        let mut waiting = line.responses.iter_mut();
        if let Some((_, response)) =
            waiting.find(|(correlation, _)| *correlation == requested.correlation)
        {
            *response = Some(bytes);
        }
        while let Some((_, Some(bytes))) = line.responses.front() {
            line.to_client.extend_from_slice(bytes);
            line.responses.pop_front();
        }
    }

    /// Sends any bytes from the broker on a connection.
    pub fn feed(&mut self, conn: ConnId, bytes: &[u8]) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.conn == conn) {
            line.to_client.extend_from_slice(bytes);
        }
        self.settle();
    }

    /// Returns the client's established connections to a broker.
    #[must_use]
    pub fn connections(&self, node: i32) -> Vec<ConnId> {
        let mine = |line: &&Line| line.node == node && line.connected;
        self.lines.iter().filter(mine).map(|line| line.conn).collect()
    }

    /// Breaks a connection; requests that the broker received on it are dropped.
    pub fn cut(&mut self, conn: ConnId) {
        self.drop_line(conn);
        self.client.handle_closed(self.now, conn, CloseReason::Reset);
        self.settle();
    }

    /// Breaks all connections to a broker, which no longer listens.
    pub fn kill(&mut self, node: i32) {
        self.world.node(node).up = false;
        self.cut_all(node);
    }

    /// Makes the client close all its connections.
    pub fn disconnect(&mut self) {
        let conns: Vec<_> = self.lines.iter().map(|line| line.conn).collect();
        conns.into_iter().for_each(|conn| self.drop_line(conn));
        self.client.disconnect(self.now);
    }

    /// Breaks all connections to a broker.
    pub fn cut_all(&mut self, node: i32) {
        let conns: Vec<_> =
            self.lines.iter().filter(|line| line.node == node).map(|line| line.conn).collect();
        for conn in conns {
            self.drop_line(conn);
            self.client.handle_closed(self.now, conn, CloseReason::Reset);
        }
        self.settle();
    }

    /// Lets the transport of a connection take `bytes` more and then stall; `None`: it takes all.
    pub fn window(&mut self, conn: ConnId, bytes: Option<usize>) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.conn == conn) {
            line.window = bytes;
        }
        self.settle();
    }

    /// Takes what was reported to the application since the last call.
    pub fn reported(&mut self) -> Vec<Reported> {
        self.settle();
        core::mem::take(&mut self.reported)
    }

    /// Ends the test with what happened last.
    ///
    /// # Panics
    /// Always.
    #[track_caller]
    pub fn fail(&self, why: &str) -> ! {
        let from = self.trace.len().saturating_sub(60);
        panic!("{why} (at {} us); before:\n{}", self.now.as_micros(), self.trace[from..].join("\n"))
    }
}
