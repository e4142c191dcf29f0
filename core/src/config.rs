//! What a user may choose. Defaults are Kafka's own where they make sense.

mod choice;
mod settings;

use crate::time::Duration;

#[cfg(feature = "classic")]
pub use choice::Assignor;
#[cfg(feature = "group")]
pub use choice::GroupProtocol;
#[cfg(feature = "read-committed")]
pub use choice::Isolation;
#[cfg(feature = "key-order")]
pub use choice::KeyOrder;
#[cfg(feature = "ordered-growth")]
pub use choice::OrderedGrowth;
pub use choice::{Acks, OutOfRange, Probing, Start};
#[cfg(feature = "classic")]
pub(crate) use settings::listed;
pub(crate) use settings::{Settings, Text};

/// Configuration of a [`Client`](crate::Client). Texts are borrowed for as long as the client
/// lives; `Client::owned` (feature `alloc`) copies them. Time spans are kept in eighths of a
/// millisecond, rounded up; those of more than 34 hours are unlimited.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Config<'d> {
    /// `host:port` of some brokers, separated by commas. All of them are tried.
    pub bootstrap: &'d str,
    /// Named in every request; at most 64 bytes.
    pub client_id: &'d str,
    /// The rack of this client, at most 64 bytes; empty for none. Where brokers have racks and
    /// choose replicas by them (`RackAwareReplicaSelector`), partitions are read from a replica in
    /// the same rack (KIP-392, Kafka 2.4). In a classic group the leader assigns partitions to
    /// members in the racks of their replicas (KIP-881).
    pub rack: &'d str,
    /// See [`Acks`].
    pub acks: Acks,
    /// Idempotent producer (KIP-98): no duplicates and no reordering by retries.
    pub idempotence: bool,
    /// How long a batch waits for more records, at most (`linger.ms`; 5 ms). It waits while a
    /// Produce request to its broker has no response, and after that as long as records keep
    /// coming: until none came for an eighth of this time. A record is sent when the adapter polls
    /// next, with all that were produced before that, if nothing is in flight to its broker. Zero:
    /// nothing waits.
    pub linger: Duration,
    /// Whether a batch waits for the whole linger although nothing is in flight to its broker, as
    /// Kafka's own clients do: fewer requests from a slow producer, later acknowledgements. Without
    /// responses ([`Acks::None`]) it always does.
    pub linger_when_idle: bool,
    /// Largest batch, header included, in bytes.
    pub batch_bytes: usize,
    /// Whether records that a broker refuses only because of others in their batch (KIP-467) are
    /// sent again: in batches of their own, in the same place, so that the order of the partition
    /// stays. `false`: they fail with [`Error::BatchRefused`](crate::Error::BatchRefused), as with
    /// other clients. Needs memory for copies of them; feature `resend-unblamed`.
    pub resend_unblamed: bool,
    /// Largest Produce request, in bytes (`max.request.size`).
    pub request_bytes: usize,
    /// A record is acknowledged or failed within this time of being taken.
    pub delivery_timeout: Duration,
    /// A request without response for this long ends its connection. While bytes of it, or of its
    /// response, move over a slow link the time restarts, at most 16 times.
    pub request_timeout: Duration,
    /// A connection over which a request waits and nothing has come back for this long ends when
    /// another connection got responses meanwhile, so that what waits is sent again over a new one:
    /// a device in the middle may have dropped it silently. Batches are sent again only by an
    /// idempotent producer, which cannot write them twice. Adapters pass it to their transport, too
    /// (`TCP_USER_TIMEOUT`, keep-alive). Not less than `request_timeout`: never.
    pub silence_timeout: Duration,
    /// A connection that is not established after this long is given up.
    pub connect_timeout: Duration,
    /// First pause before a request is retried (KIP-580).
    pub retry_backoff: Duration,
    /// Longest such pause.
    pub retry_backoff_max: Duration,
    /// First pause before reconnecting to a broker.
    pub reconnect_backoff: Duration,
    /// Longest such pause.
    pub reconnect_backoff_max: Duration,
    /// See [`Probing`].
    pub probing: Probing,
    /// Shortest time between two growth probes of a topic while the client is idle.
    pub probe_idle: Duration,
    /// The same while the client is busy.
    pub probe_busy: Duration,
    /// A busy client's probes stay below this share of its requests, in per cent.
    pub probe_share: u8,
    /// Bytes per second of whole Metadata responses that probing for growth may use, where a broker
    /// offers nothing better.
    pub metadata_budget: u32,
    /// Metadata is requested again after this long, whatever happens.
    pub metadata_max_age: Duration,
    /// Whether a partition that appears after the assignment is read from its first record
    /// whatever the start is (rule R12). `false`: by the start, as other clients do.
    pub read_added_from_first: bool,
    /// See [`OutOfRange`].
    pub out_of_range: OutOfRange,
    /// How long a broker may hold a Fetch request that has no records to return.
    pub fetch_max_wait: Duration,
    /// Fewest bytes that end the wait of a Fetch request.
    pub fetch_min_bytes: i32,
    /// Most bytes of a Fetch response (soft: one whole batch is always returned).
    pub fetch_max_bytes: i32,
    /// Most bytes of a partition in a Fetch response (soft, likewise).
    pub partition_max_bytes: i32,
    /// Whether [`Event::Positioned`](crate::Event::Positioned) and
    /// [`Event::EndOfPartition`](crate::Event::EndOfPartition) are emitted (as librdkafka's
    /// `enable.partition.eof`).
    pub report_positions: bool,
    /// Whether an address may lead to another cluster than before. `false`: the cluster id that the
    /// first Metadata response names is the client's for good, a connection to another one fails
    /// with [`PeerFault::OtherCluster`](crate::PeerFault::OtherCluster), and no record is sent
    /// there or read from there. Each connection after that costs a small Metadata request. Without
    /// the feature `one-cluster`, and for brokers before 0.10.1, which name none: as with `true`.
    pub accept_other_cluster: bool,
    /// Sends records in transactions (`transactional.id`): they are taken between
    /// [`Commands::begin`](crate::Commands::begin) and its end only. Whoever starts with the same
    /// id fences this client off. At most 255 bytes; empty for none.
    #[cfg(feature = "transactions")]
    pub transactional_id: &'d str,
    /// A transaction that is open for longer is aborted by its coordinator
    /// (`transaction.timeout.ms`; 60 s), and brokers have an upper limit (15 min). Should be above
    /// [`Config::delivery_timeout`].
    #[cfg(feature = "transactions")]
    pub transaction_timeout: Duration,
    /// Whether brokers may create a topic that is produced to.
    pub auto_create: bool,
    /// How long keys that change their partition wait under [`KeyOrder::Drain`], at most; then
    /// they no longer do, and [`Event::Drained`](crate::Event::Drained) says so. The delivery
    /// timeout ends most waits before (default: 180 s).
    #[cfg(feature = "key-order")]
    pub drain_timeout: Duration,
    /// See [`OrderedGrowth`]; `None`: partitions that are added are read at once.
    #[cfg(feature = "ordered-growth")]
    pub ordered_growth: Option<OrderedGrowth>,
    /// See [`Isolation`].
    #[cfg(feature = "read-committed")]
    pub isolation: Isolation,
    /// The consumer group (`group.id`); empty for none. See
    /// [`Commands::subscribe`](crate::Commands::subscribe).
    #[cfg(feature = "group")]
    pub group: &'d str,
    /// Makes the member a static one (`group.instance.id`, KIP-345): its partitions are kept for it
    /// for a session when it leaves. Empty for none.
    #[cfg(all(feature = "group", feature = "member-options"))]
    pub group_instance: &'d str,
    /// See [`GroupProtocol`].
    #[cfg(feature = "group")]
    pub group_protocol: GroupProtocol,
    /// The regular expression whose topics
    /// [`Commands::subscribe_pattern`](crate::Commands::subscribe_pattern) subscribes to, at most
    /// 1024 bytes. It has to match the whole name. Empty for none.
    #[cfg(feature = "pattern")]
    pub group_pattern: &'d str,
    /// The assignor of the coordinator (`group.remote.assignor`): `uniform` or `range`; empty for
    /// that of the broker's configuration.
    #[cfg(all(feature = "group", feature = "member-options"))]
    pub group_assignor: &'d str,
    /// The assignors that a member of a classic group supports, the preferred one first, separated
    /// by commas (`partition.assignment.strategy`): `range`, `roundrobin`, `sticky`,
    /// `cooperative-sticky`. Partitions stay with their members in rounds that elect the last one.
    #[cfg(feature = "classic")]
    pub group_assignors: &'d str,
    /// The coordinator removes a member of a classic group that is silent for this long
    /// (`session.timeout.ms`; 45 s).
    #[cfg(feature = "classic")]
    pub session_timeout: Duration,
    /// How often such a member is heard (`heartbeat.interval.ms`; 3 s).
    #[cfg(feature = "classic")]
    pub heartbeat_interval: Duration,
    /// How long the coordinator waits for partitions to be revoked (`max.poll.interval.ms`; 300 s).
    #[cfg(feature = "group")]
    pub rebalance_timeout: Duration,
    /// How often the group commits what was read (`auto.commit.interval.ms`), also when partitions
    /// are revoked and when the member leaves; `None`: the application commits.
    #[cfg(feature = "group")]
    pub auto_commit: Option<Duration>,
    /// Whether the application reports what it has read by
    /// [`Commands::mark_taken`](crate::Commands::mark_taken). `false`: the batches of events that
    /// were polled past are.
    #[cfg(all(feature = "group", feature = "given-offsets"))]
    pub marks_taken: bool,
    /// Whether a partition without a commit always begins at the start that was chosen, as with
    /// other clients: under `latest` what was written before somebody read it is then skipped.
    /// `false`: what was written since the group first read the topic is read. For that each commit
    /// has a marker in front of its text, `kv1;n=…;b=…;t=…;` (by pattern with `p=…;`), and
    /// starts are committed before records are given.
    #[cfg(all(feature = "group", feature = "member-options"))]
    pub group_skips: bool,
    /// What the application can unpack: batches of these codecs are handed out as they are (see
    /// [`Batch::unpack`](crate::Batch::unpack)), others park their partition.
    #[cfg(feature = "codecs")]
    pub codecs: crate::codec::Codecs,
    /// What batches are compressed with (`compression.type`); those that do not shrink by a
    /// sixteenth are sent as they are. Limits and timing of batches are those without it:
    /// [`Config::batch_bytes`] is before compression, [`Config::request_bytes`] after it. The
    /// encoder and its memory belong to the [`Storage`](crate::Storage). Zstd needs brokers of
    /// Kafka 2.1 or later.
    #[cfg(feature = "pack")]
    pub compression: Option<crate::codec::Codec>,
}

impl Config<'_> {
    const DEFAULTS: Config<'static> = Config {
        bootstrap: "",
        client_id: "kavka",
        rack: "",
        acks: Acks::All,
        idempotence: true,
        linger: Duration::from_millis(5),
        linger_when_idle: false,
        batch_bytes: 16 * 1024,
        resend_unblamed: true,
        request_bytes: 1024 * 1024,
        delivery_timeout: Duration::from_secs(120),
        request_timeout: Duration::from_secs(30),
        silence_timeout: Duration::from_secs(10),
        connect_timeout: Duration::from_secs(10),
        retry_backoff: Duration::from_millis(100),
        retry_backoff_max: Duration::from_secs(1),
        reconnect_backoff: Duration::from_millis(50),
        reconnect_backoff_max: Duration::from_secs(1),
        probing: Probing::Always,
        probe_idle: Duration::from_secs(1),
        probe_busy: Duration::from_millis(100),
        probe_share: 5,
        metadata_budget: 4096,
        metadata_max_age: Duration::from_secs(300),
        read_added_from_first: true,
        out_of_range: OutOfRange::Nearest,
        fetch_max_wait: Duration::from_millis(500),
        fetch_min_bytes: 1,
        fetch_max_bytes: 8 * 1024 * 1024,
        partition_max_bytes: 1024 * 1024,
        report_positions: false,
        accept_other_cluster: false,
        auto_create: false,
        #[cfg(feature = "key-order")]
        drain_timeout: Duration::from_secs(180),
        #[cfg(feature = "ordered-growth")]
        ordered_growth: None,
        #[cfg(feature = "read-committed")]
        isolation: Isolation::ReadUncommitted,
        #[cfg(feature = "transactions")]
        transactional_id: "",
        #[cfg(feature = "transactions")]
        transaction_timeout: Duration::from_secs(60),
        #[cfg(feature = "group")]
        group: "",
        #[cfg(all(feature = "group", feature = "member-options"))]
        group_instance: "",
        #[cfg(feature = "group")]
        group_protocol: GroupProtocol::Auto,
        #[cfg(feature = "pattern")]
        group_pattern: "",
        #[cfg(all(feature = "group", feature = "member-options"))]
        group_assignor: "",
        #[cfg(feature = "classic")]
        group_assignors: "cooperative-sticky,range",
        #[cfg(feature = "classic")]
        session_timeout: Duration::from_secs(45),
        #[cfg(feature = "classic")]
        heartbeat_interval: Duration::from_secs(3),
        #[cfg(feature = "group")]
        rebalance_timeout: Duration::from_secs(300),
        #[cfg(feature = "group")]
        auto_commit: None,
        #[cfg(all(feature = "group", feature = "given-offsets"))]
        marks_taken: false,
        #[cfg(all(feature = "group", feature = "member-options"))]
        group_skips: false,
        #[cfg(feature = "codecs")]
        codecs: crate::codec::Codecs::COMPACT,
        #[cfg(feature = "pack")]
        compression: None,
    };
}

impl<'d> Config<'d> {
    /// Returns the defaults with these bootstrap brokers: `"host:port,host:port"`.
    #[must_use]
    pub const fn new(bootstrap: &'d str) -> Self {
        Self { bootstrap, ..Config::DEFAULTS }
    }

    /// Sets the client id.
    #[must_use]
    pub const fn client_id(mut self, client_id: &'d str) -> Self {
        self.client_id = client_id;
        self
    }

    /// Sets the rack.
    #[must_use]
    pub const fn rack(mut self, rack: &'d str) -> Self {
        self.rack = rack;
        self
    }

    /// Sets the acknowledgements. Anything but [`Acks::All`] switches idempotence off.
    #[must_use]
    pub const fn acks(mut self, acks: Acks) -> Self {
        self.acks = acks;
        if !matches!(acks, Acks::All) {
            self.idempotence = false;
        }
        self
    }

    /// Sets the linger.
    #[must_use]
    pub const fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Sets whether batches linger although nothing is in flight to their broker; see
    /// [`Config::linger_when_idle`].
    #[must_use]
    pub const fn linger_when_idle(mut self, yes: bool) -> Self {
        self.linger_when_idle = yes;
        self
    }

    /// Sets how partitions that are added are read; see [`OrderedGrowth`].
    #[cfg(feature = "ordered-growth")]
    #[must_use]
    pub const fn ordered_growth(mut self, order: Option<OrderedGrowth>) -> Self {
        self.ordered_growth = order;
        self
    }

    /// Sets which records of transactions are read; see [`Isolation`].
    #[cfg(feature = "read-committed")]
    #[must_use]
    pub const fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// Sends records in transactions; see [`Config::transactional_id`].
    #[cfg(feature = "transactions")]
    #[must_use]
    pub const fn transactional_id(mut self, id: &'d str) -> Self {
        self.transactional_id = id;
        self
    }

    /// Sets the consumer group; see [`Config::group`].
    #[cfg(feature = "group")]
    #[must_use]
    pub const fn group(mut self, group: &'d str) -> Self {
        self.group = group;
        self
    }

    /// Sets how often the group commits by itself; see [`Config::auto_commit`].
    #[cfg(feature = "group")]
    #[must_use]
    pub const fn auto_commit(mut self, every: Option<Duration>) -> Self {
        self.auto_commit = every;
        self
    }

    /// Sets the compression; see [`Config::compression`].
    #[cfg(feature = "pack")]
    #[must_use]
    pub const fn compression(mut self, codec: Option<crate::codec::Codec>) -> Self {
        self.compression = codec;
        self
    }

    /// Sets whether events report the position of reading; see [`Config::report_positions`].
    #[must_use]
    pub const fn report_positions(mut self, yes: bool) -> Self {
        self.report_positions = yes;
        self
    }
}
