//! What a user may choose. Defaults are Kafka's own where they make sense.

use core::ops::Deref;

use crate::error::ConfigError;
use crate::time::{Duration, Span};

/// Acknowledgements that a produced batch waits for (`acks`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Acks {
    /// All in-sync replicas (-1). The only one with which an acknowledged record is safe.
    #[default]
    All,
    /// The leader alone (1).
    Leader,
    /// None (0): a batch counts as delivered when its bytes were handed to the transport.
    None,
}

impl Acks {
    pub(crate) const fn code(self) -> i16 {
        match self {
            Self::All => -1,
            Self::Leader => 1,
            Self::None => 0,
        }
    }
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Start {
    /// At the log start offset.
    Earliest,
    /// At the end, as of the moment when the leader handles the request. Partitions that are added
    /// later are still read from their first record.
    Latest,
    /// At this offset, from 0.
    Offset(i64),
    /// At the first record with at least this timestamp (ms since 1970); at the end if none.
    Timestamp(i64),
}

/// What to do when a position is outside the log. Every jump is reported by
/// [`Event::Moved`](crate::Event::Moved).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum OutOfRange {
    /// To the log start when the position is below it, to the end when it is above.
    #[default]
    Nearest,
    /// To the log start.
    Earliest,
    /// To the end.
    Latest,
    /// Nowhere: [`Event::PartitionFailed`](crate::Event::PartitionFailed), and the partition
    /// waits for a seek.
    Stop,
}

/// Which protocol the member of a group speaks.
#[cfg(feature = "group")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum GroupProtocol {
    /// That of KIP-848: the coordinator assigns (Kafka 4.0; 3.7 where it is switched on).
    #[default]
    Consumer,
}

/// When the client probes for growth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Probing {
    /// All the time, at the configured pace.
    #[default]
    Always,
    /// Only within two idle intervals after a record was produced: a sleeping device stays quiet.
    WhenProducing,
    /// Never; growth is found by the age of metadata and by errors.
    Never,
}

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
    /// the same rack (KIP-392, Kafka 2.4).
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
    /// The consumer group (`group.id`); empty for none. See
    /// [`Commands::subscribe`](crate::Commands::subscribe).
    #[cfg(feature = "group")]
    pub group: &'d str,
    /// Makes the member a static one (`group.instance.id`, KIP-345): its partitions are kept for it
    /// for a session when it leaves. Empty for none.
    #[cfg(feature = "group")]
    pub group_instance: &'d str,
    /// See [`GroupProtocol`].
    #[cfg(feature = "group")]
    pub group_protocol: GroupProtocol,
    /// The assignor of the coordinator (`group.remote.assignor`): `uniform` or `range`; empty for
    /// that of the broker's configuration.
    #[cfg(feature = "group")]
    pub group_assignor: &'d str,
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
    #[cfg(feature = "group")]
    pub marks_taken: bool,
    /// Whether a partition without a commit always begins at the start that was chosen, as with
    /// other clients: under `latest` what was written before somebody read it is then skipped.
    /// `false`: what was written since the group first read the topic is read. For that each commit
    /// has a marker in front of its text, `kv1;n=…;b=…;t=…;`, and starts are committed before
    /// records are given.
    #[cfg(feature = "group")]
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

/// A text of the configuration.
#[derive(Clone)]
pub(crate) enum Text<'d> {
    Lent(&'d str),
    #[cfg(feature = "alloc")]
    Owned(alloc::boxed::Box<str>),
}

impl Text<'_> {
    #[cfg(feature = "alloc")]
    fn into_owned<'a>(self) -> Text<'a> {
        Text::Owned((*self).into())
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Lent(text) => text,
            #[cfg(feature = "alloc")]
            Self::Owned(text) => text,
        }
    }
}

/// The same as the machine keeps it.
pub(crate) struct Settings<'d> {
    pub(crate) bootstrap: Text<'d>,
    pub(crate) client_id: Text<'d>,
    pub(crate) rack: Text<'d>,
    pub(crate) acks: Acks,
    pub(crate) idempotence: bool,
    pub(crate) linger: Span,
    pub(crate) linger_when_idle: bool,
    pub(crate) batch_bytes: usize,
    pub(crate) resend_unblamed: bool,
    pub(crate) request_bytes: usize,
    pub(crate) delivery_timeout: Span,
    pub(crate) request_timeout: Span,
    pub(crate) silence_timeout: Span,
    pub(crate) connect_timeout: Span,
    pub(crate) retry_backoff: Span,
    pub(crate) retry_backoff_max: Span,
    pub(crate) reconnect_backoff: Span,
    pub(crate) reconnect_backoff_max: Span,
    pub(crate) probing: Probing,
    pub(crate) probe_idle: Span,
    pub(crate) probe_busy: Span,
    pub(crate) probe_share: u8,
    pub(crate) metadata_budget: u32,
    pub(crate) metadata_max_age: Span,
    pub(crate) read_added_from_first: bool,
    pub(crate) out_of_range: OutOfRange,
    pub(crate) fetch_max_wait: Span,
    pub(crate) fetch_min_bytes: i32,
    pub(crate) fetch_max_bytes: i32,
    pub(crate) partition_max_bytes: i32,
    pub(crate) accept_other_cluster: bool,
    pub(crate) auto_create: bool,
    pub(crate) report_positions: bool,
    #[cfg(feature = "transactions")]
    pub(crate) transactional_id: Text<'d>,
    #[cfg(feature = "transactions")]
    pub(crate) transaction_timeout: Span,
    #[cfg(feature = "group")]
    pub(crate) group: Text<'d>,
    #[cfg(feature = "group")]
    pub(crate) instance: Text<'d>,
    #[cfg(feature = "group")]
    pub(crate) assignor: Text<'d>,
    #[cfg(feature = "group")]
    pub(crate) rebalance_timeout: Span,
    /// Zero for never.
    #[cfg(feature = "group")]
    pub(crate) auto_commit: Span,
    #[cfg(feature = "group")]
    pub(crate) marks_taken: bool,
    #[cfg(feature = "group")]
    pub(crate) exact_start: bool,
    #[cfg(feature = "codecs")]
    pub(crate) codecs: crate::codec::Codecs,
    #[cfg(feature = "pack")]
    pub(crate) compression: Option<crate::codec::Codec>,
}

impl<'d> Settings<'d> {
    pub(crate) fn new(config: &Config<'d>) -> Self {
        Self {
            bootstrap: Text::Lent(config.bootstrap),
            client_id: Text::Lent(config.client_id),
            rack: Text::Lent(config.rack),
            acks: config.acks,
            idempotence: config.idempotence,
            linger: Span::of(config.linger),
            linger_when_idle: config.linger_when_idle,
            batch_bytes: config.batch_bytes,
            resend_unblamed: config.resend_unblamed,
            request_bytes: config.request_bytes,
            delivery_timeout: Span::of(config.delivery_timeout),
            request_timeout: Span::of(config.request_timeout),
            silence_timeout: Span::of(config.silence_timeout),
            connect_timeout: Span::of(config.connect_timeout),
            retry_backoff: Span::of(config.retry_backoff),
            retry_backoff_max: Span::of(config.retry_backoff_max),
            reconnect_backoff: Span::of(config.reconnect_backoff),
            reconnect_backoff_max: Span::of(config.reconnect_backoff_max),
            probing: config.probing,
            probe_idle: Span::of(config.probe_idle),
            probe_busy: Span::of(config.probe_busy),
            probe_share: config.probe_share,
            metadata_budget: config.metadata_budget,
            metadata_max_age: Span::of(config.metadata_max_age),
            read_added_from_first: config.read_added_from_first,
            out_of_range: config.out_of_range,
            fetch_max_wait: Span::of(config.fetch_max_wait),
            fetch_min_bytes: config.fetch_min_bytes,
            fetch_max_bytes: config.fetch_max_bytes,
            partition_max_bytes: config.partition_max_bytes,
            accept_other_cluster: config.accept_other_cluster,
            auto_create: config.auto_create,
            report_positions: config.report_positions,
            #[cfg(feature = "transactions")]
            transactional_id: Text::Lent(config.transactional_id),
            #[cfg(feature = "transactions")]
            transaction_timeout: Span::of(config.transaction_timeout),
            #[cfg(feature = "group")]
            group: Text::Lent(config.group),
            #[cfg(feature = "group")]
            instance: Text::Lent(config.group_instance),
            #[cfg(feature = "group")]
            assignor: Text::Lent(config.group_assignor),
            #[cfg(feature = "group")]
            rebalance_timeout: Span::of(config.rebalance_timeout),
            #[cfg(feature = "group")]
            auto_commit: config.auto_commit.map_or(Span::ZERO, Span::of),
            #[cfg(feature = "group")]
            marks_taken: config.marks_taken,
            #[cfg(feature = "group")]
            exact_start: !config.group_skips,
            #[cfg(feature = "codecs")]
            codecs: config.codecs,
            #[cfg(feature = "pack")]
            compression: config.compression,
        }
    }

    /// The same with copies of the texts.
    #[cfg(feature = "alloc")]
    pub(crate) fn into_owned<'a>(self) -> Settings<'a> {
        let Self { bootstrap, client_id, rack, .. } = self;
        let (bootstrap, client_id) = (bootstrap.into_owned(), client_id.into_owned());
        #[cfg(feature = "group")]
        let (group, instance) = (self.group.into_owned(), self.instance.into_owned());
        Settings {
            bootstrap,
            client_id,
            rack: rack.into_owned(),
            #[cfg(feature = "transactions")]
            transactional_id: self.transactional_id.into_owned(),
            #[cfg(feature = "group")]
            group,
            #[cfg(feature = "group")]
            instance,
            #[cfg(feature = "group")]
            assignor: self.assignor.into_owned(),
            ..self
        }
    }

    /// Whether the configuration can work.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if self.idempotence && self.acks != Acks::All {
            return Err(ConfigError::IdempotenceNeedsAcksAll);
        }
        if self.client_id.len().max(self.rack.len()) > 64 {
            return Err(ConfigError::TooLong);
        }
        #[cfg(feature = "group")]
        self.check_group()?;
        #[cfg(feature = "transactions")]
        self.check_transactions()?;
        let positive = [
            self.delivery_timeout,
            self.request_timeout,
            self.silence_timeout,
            self.connect_timeout,
            self.retry_backoff,
            self.reconnect_backoff,
            self.probe_idle,
            self.probe_busy,
            self.metadata_max_age,
        ];
        let ordered = [
            (self.retry_backoff, self.retry_backoff_max),
            (self.reconnect_backoff, self.reconnect_backoff_max),
            (self.probe_busy, self.probe_idle),
        ];
        if positive.into_iter().any(|span| span == Span::ZERO)
            || ordered.into_iter().any(|(least, most)| least > most)
        {
            return Err(ConfigError::Duration);
        }
        for n in 0..self.seeds() {
            let (host, _) = self.seed(n).ok_or(ConfigError::Bootstrap)?;
            if host.len() > 255 {
                return Err(ConfigError::TooLong);
            }
        }
        Ok(())
    }

    #[cfg(feature = "group")]
    fn check_group(&self) -> Result<(), ConfigError> {
        if self.group.len().max(self.instance.len()).max(self.assignor.len()) > 255 {
            return Err(ConfigError::TooLong);
        }
        let none = self.rebalance_timeout == Span::ZERO;
        if none { Err(ConfigError::Duration) } else { Ok(()) }
    }

    #[cfg(feature = "transactions")]
    fn check_transactions(&self) -> Result<(), ConfigError> {
        if self.transactional_id.len() > 255 {
            return Err(ConfigError::TooLong);
        }
        if self.is_transactional() && !self.idempotence {
            return Err(ConfigError::TransactionsNeedIdempotence);
        }
        let none = self.transaction_timeout == Span::ZERO;
        if none { Err(ConfigError::Duration) } else { Ok(()) }
    }

    /// Whether records are sent in transactions.
    #[cfg(feature = "transactions")]
    pub(crate) fn is_transactional(&self) -> bool {
        !self.transactional_id.is_empty()
    }

    /// Whether the group commits by itself.
    #[cfg(feature = "group")]
    pub(crate) fn commits_by_itself(&self) -> bool {
        self.auto_commit != Span::ZERO
    }

    /// Returns the `n`-th bootstrap address, modulo their number.
    pub(crate) fn seed(&self, n: usize) -> Option<(&str, u16)> {
        seed(&self.bootstrap, n)
    }

    pub(crate) fn seeds(&self) -> usize {
        seeds(&self.bootstrap)
    }
}

impl<'d> Config<'d> {
    /// Returns the defaults with these bootstrap brokers: `"host:port,host:port"`.
    #[must_use]
    pub const fn new(bootstrap: &'d str) -> Self {
        Self {
            bootstrap,
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
            #[cfg(feature = "transactions")]
            transactional_id: "",
            #[cfg(feature = "transactions")]
            transaction_timeout: Duration::from_secs(60),
            #[cfg(feature = "group")]
            group: "",
            #[cfg(feature = "group")]
            group_instance: "",
            #[cfg(feature = "group")]
            group_protocol: GroupProtocol::Consumer,
            #[cfg(feature = "group")]
            group_assignor: "",
            #[cfg(feature = "group")]
            rebalance_timeout: Duration::from_secs(300),
            #[cfg(feature = "group")]
            auto_commit: None,
            #[cfg(feature = "group")]
            marks_taken: false,
            #[cfg(feature = "group")]
            group_skips: false,
            #[cfg(feature = "codecs")]
            codecs: crate::codec::Codecs::COMPACT,
            #[cfg(feature = "pack")]
            compression: None,
        }
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

/// Returns the `n`-th of some addresses, modulo their number.
#[inline(never)]
fn seed(mut text: &str, n: usize) -> Option<(&str, u16)> {
    for _ in 0..n % seeds(text) {
        text = cut(text, b',').1;
    }
    parse_address(cut(text, b',').0)
}

fn seeds(text: &str) -> usize {
    1 + text.bytes().filter(|byte| *byte == b',').count()
}

/// Returns what comes before the first `mark`, and what comes after it.
fn cut(text: &str, mark: u8) -> (&str, &str) {
    let at = text.bytes().position(|byte| byte == mark).unwrap_or(text.len());
    let (before, after) = (text.get(..at), text.get(at + 1..));
    (before.unwrap_or_default(), after.unwrap_or_default())
}

/// `host:port`, or `[v6]:port`; surrounding spaces are ignored. Works on bytes, since the library's
/// string functions take two kilobytes of flash.
fn parse_address(text: &str) -> Option<(&str, u16)> {
    let text = text.trim_ascii();
    let colon = text.bytes().rposition(|byte| byte == b':')?;
    let host = text.get(..colon)?;
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let mut port: u32 = 0;
    for digit in text.get(colon + 1..)?.bytes().map(|byte| byte.wrapping_sub(b'0')) {
        port = port * 10 + u32::from(digit);
        if digit > 9 || port > u32::from(u16::MAX) {
            return None;
        }
    }
    (!host.is_empty() && port > 0).then_some((host, port as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bootstrap_addresses_are_read_and_refused() {
        let config = Config::new("a:1, b.example:65535,[::1]:9092");
        assert_eq!(Settings::new(&config).check(), Ok(()));
        assert_eq!(seed(config.bootstrap, 1), Some(("b.example", 65535)));
        assert_eq!(seed(config.bootstrap, 2), Some(("::1", 9092)));
        assert_eq!(seed(config.bootstrap, 3), Some(("a", 1)), "counted around");
        for bad in ["", "a", "a:", ":1", "a:0", "a:65536", "a:1,", "a:x"] {
            assert_eq!(
                Settings::new(&Config::new(bad)).check(),
                Err(ConfigError::Bootstrap),
                "{bad:?}"
            );
        }
    }

    #[test]
    fn idempotence_needs_all_acks() {
        let mut config = Config::new("a:1").acks(Acks::Leader);
        assert_eq!(Settings::new(&config).check(), Ok(()), "acks() switches it off");
        config.idempotence = true;
        assert_eq!(Settings::new(&config).check(), Err(ConfigError::IdempotenceNeedsAcksAll));
    }
}
