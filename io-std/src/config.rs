//! The configuration of a `Producer`, `Consumer` or `Admin`.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use kavka_core::{
    Acks, GroupProtocol, Isolation, KeyOrder, Limits, OrderedGrowth, OutOfRange, Probing, Start,
};

use crate::compression::Compression;
use crate::driver::Mode;
use crate::lost::Lost;
use crate::security::Sasl;

type OnLost = Arc<dyn Fn(&Lost) + Send + Sync>;
type Tune = Arc<dyn Fn(&mut kavka_core::Config<'_>) + Send + Sync>;

/// Configuration of a [`Producer`](crate::Producer), [`Consumer`](crate::Consumer) or
/// [`Admin`](crate::Admin). Defaults are Kafka's own where they make sense.
#[derive(Clone)]
pub struct Config {
    pub(crate) bootstrap: String,
    pub(crate) client_id: String,
    pub(crate) rack: String,
    pub(crate) acks: Acks,
    pub(crate) idempotent: Option<bool>,
    pub(crate) linger: Duration,
    pub(crate) linger_when_idle: bool,
    pub(crate) batch_bytes: Option<usize>,
    pub(crate) compression: Compression,
    pub(crate) topic_compression: HashMap<String, Compression>,
    pub(crate) key_order: KeyOrder,
    pub(crate) topic_key_order: HashMap<String, KeyOrder>,
    pub(crate) topic_key_count: HashMap<String, (u32, Duration)>,
    pub(crate) ordered_growth: Option<OrderedGrowth>,
    pub(crate) delivery_timeout: Duration,
    pub(crate) silence_timeout: Option<Duration>,
    pub(crate) topic_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) admin_timeout: Duration,
    pub(crate) limits: Option<Limits>,
    pub(crate) start: Start,
    pub(crate) out_of_range: OutOfRange,
    pub(crate) isolation: Isolation,
    pub(crate) probing: Probing,
    pub(crate) probe_idle: Option<Duration>,
    pub(crate) probe_busy: Option<Duration>,
    pub(crate) read_added_from_first: bool,
    pub(crate) resend_unblamed: bool,
    pub(crate) accept_other_cluster: bool,
    pub(crate) auto_create: bool,
    pub(crate) queue_bytes: usize,
    pub(crate) chunk_bytes: usize,
    pub(crate) unpacked_bytes: usize,
    pub(crate) max_batch_bytes: usize,
    pub(crate) mode: Mode,
    pub(crate) transactional_id: String,
    pub(crate) transaction_timeout: Duration,
    pub(crate) group: String,
    pub(crate) group_instance: String,
    #[cfg(feature = "pattern")]
    pub(crate) group_pattern: String,
    pub(crate) group_protocol: GroupProtocol,
    pub(crate) group_assignors: Option<String>,
    pub(crate) session_timeout: Duration,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) auto_commit: Option<Duration>,
    pub(crate) group_skips: bool,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) revocation_wait: Duration,
    pub(crate) max_poll_interval: Duration,
    pub(crate) sasl: Option<Sasl>,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::Tls>,
    pub(crate) on_lost: Option<OnLost>,
    pub(crate) tune: Option<Tune>,
}

impl Config {
    /// Defaults, and the brokers to begin with: `"host:port,host:port"`. Addresses may also be
    /// separated by semicolons or white space, begin with `PLAINTEXT://` (or `SASL_SSL://` and the
    /// like, where that is set), and leave out the port 9092. Anything else is refused when a
    /// client is created.
    #[must_use]
    pub fn new(bootstrap: impl Into<String>) -> Self {
        Self {
            bootstrap: bootstrap.into(),
            client_id: "kavka".into(),
            rack: String::new(),
            acks: Acks::All,
            idempotent: None,
            linger: Duration::from_millis(5),
            linger_when_idle: false,
            batch_bytes: None,
            compression: Compression::NONE,
            topic_compression: HashMap::new(),
            key_order: KeyOrder::Follow,
            topic_key_order: HashMap::new(),
            topic_key_count: HashMap::new(),
            ordered_growth: None,
            delivery_timeout: Duration::from_secs(120),
            silence_timeout: None,
            topic_timeout: Duration::from_secs(15),
            close_timeout: Duration::from_secs(5),
            admin_timeout: Duration::from_secs(30),
            limits: None,
            start: Start::Latest,
            out_of_range: OutOfRange::Nearest,
            isolation: Isolation::ReadUncommitted,
            probing: Probing::Always,
            probe_idle: None,
            probe_busy: None,
            read_added_from_first: true,
            resend_unblamed: true,
            accept_other_cluster: false,
            auto_create: false,
            queue_bytes: 8 << 20,
            chunk_bytes: 64 << 10,
            unpacked_bytes: 64 << 20,
            max_batch_bytes: 64 << 20,
            mode: Mode::Level,
            transactional_id: String::new(),
            transaction_timeout: Duration::from_secs(60),
            group: String::new(),
            group_instance: String::new(),
            #[cfg(feature = "pattern")]
            group_pattern: String::new(),
            group_protocol: GroupProtocol::Auto,
            group_assignors: None,
            session_timeout: Duration::from_secs(45),
            heartbeat_interval: Duration::from_secs(3),
            auto_commit: None,
            group_skips: false,
            rebalance_timeout: Duration::from_secs(300),
            revocation_wait: Duration::from_secs(3),
            max_poll_interval: Duration::from_secs(300),
            sasl: None,
            #[cfg(feature = "tls")]
            tls: None,
            on_lost: None,
            tune: None,
        }
    }

    /// Named in every request; at most 64 bytes. Default: `kavka`.
    #[must_use]
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_id = client_id.into();
        self
    }

    /// The rack of this client, at most 64 bytes: partitions are read from a replica in the same
    /// rack where brokers choose replicas by racks (KIP-392). Default: none.
    #[must_use]
    pub fn rack(mut self, rack: impl Into<String>) -> Self {
        self.rack = rack.into();
        self
    }

    /// Sends records in transactions (`transactional.id`, [`Producer::transaction`]). An older
    /// producer with the same id is fenced off when this one starts, and what it left open is
    /// aborted: each process needs an id of its own, the same after each start. At most 255 bytes.
    /// Default: none.
    ///
    /// [`Producer::transaction`]: crate::Producer::transaction
    #[must_use]
    pub fn transactional_id(mut self, id: impl Into<String>) -> Self {
        self.transactional_id = id.into();
        self
    }

    /// A transaction that is open for longer is aborted by its coordinator
    /// (`transaction.timeout.ms`); readers wait for it that long if this process dies. Records of a
    /// transaction have no longer than that, either. Brokers allow up to 15 minutes. Default: 60 s.
    #[must_use]
    pub fn transaction_timeout(mut self, timeout: Duration) -> Self {
        self.transaction_timeout = timeout;
        self
    }

    /// The consumer group of [`Consumer::subscribe`](crate::Consumer::subscribe) (`group.id`).
    #[must_use]
    pub fn group(mut self, group: impl Into<String>) -> Self {
        self.group = group.into();
        self
    }

    /// Makes the member of the group a static one (`group.instance.id`, KIP-345): its partitions
    /// are kept for a session when it leaves. Each process needs an id of its own. Default: none.
    #[must_use]
    pub fn group_instance(mut self, id: impl Into<String>) -> Self {
        self.group_instance = id.into();
        self
    }

    /// Which protocol the member speaks (`group.protocol`). Default: [`GroupProtocol::Auto`], that
    /// of KIP-848 where the coordinator offers it, else the classic one.
    #[must_use]
    pub fn group_protocol(mut self, protocol: GroupProtocol) -> Self {
        self.group_protocol = protocol;
        self
    }

    /// The assignors that the member of a classic group supports, the preferred one first,
    /// separated by commas (`partition.assignment.strategy`): `range`, `roundrobin`, `sticky`,
    /// `cooperative-sticky`. All members of a group need one in common. Default:
    /// `cooperative-sticky,range`.
    #[must_use]
    pub fn group_assignors(mut self, names: impl Into<String>) -> Self {
        self.group_assignors = Some(names.into());
        self
    }

    /// The coordinator removes a member of a classic group that is silent for this long
    /// (`session.timeout.ms`). Default: 45 s.
    #[must_use]
    pub fn session_timeout(mut self, timeout: Duration) -> Self {
        self.session_timeout = timeout;
        self
    }

    /// How often a member of a classic group is heard (`heartbeat.interval.ms`), below
    /// [`Config::session_timeout`]. Default: 3 s.
    #[must_use]
    pub fn heartbeat_interval(mut self, interval: Duration) -> Self {
        self.heartbeat_interval = interval;
        self
    }

    /// How often the group commits by itself (`auto.commit.interval.ms`), and before a partition is
    /// given up. Committed is what was taken before the call that takes the next records: those of
    /// a chunk count as processed when the application comes back, so that one thread has to take
    /// all. `None`: only [`Consumer::commit`](crate::Consumer::commit). Default: `None`.
    #[must_use]
    pub fn auto_commit(mut self, every: Option<Duration>) -> Self {
        self.auto_commit = every;
        self
    }

    /// Whether partitions without a commit always begin at [`Config::start`], as with other
    /// clients: from [`Start::Latest`] records are skipped that were written before the partition
    /// was read. `false`: what was written since the group first read the topic is read; a marker
    /// in the metadata of commits is for that. Default: `false`.
    #[must_use]
    pub fn group_skips(mut self, yes: bool) -> Self {
        self.group_skips = yes;
        self
    }

    /// A member of a group whose application has not come for records for this long leaves the
    /// group, so that others get its partitions (`max.poll.interval.ms`). It joins again when the
    /// application is back, after an [`ErrorKind::PollTimeout`](crate::ErrorKind::PollTimeout) in
    /// place of records. Default: 300 s.
    #[must_use]
    pub fn max_poll_interval(mut self, interval: Duration) -> Self {
        self.max_poll_interval = interval;
        self
    }

    /// How long the group waits for this member to give a partition up (`rebalance.timeout.ms`).
    /// Default: 300 s.
    #[must_use]
    pub fn rebalance_timeout(mut self, timeout: Duration) -> Self {
        self.rebalance_timeout = timeout;
        self
    }

    /// How long an application that commits itself has to commit what it took of a partition that
    /// the group takes away; it ends early when all is committed, or by
    /// [`Consumer::release`](crate::Consumer::release). Where the group commits by itself it is
    /// [`Config::rebalance_timeout`], until the application comes back for records. Default: 3 s.
    #[must_use]
    pub fn revocation_wait(mut self, wait: Duration) -> Self {
        self.revocation_wait = wait;
        self
    }

    /// Acknowledgements that a record waits for. Anything but [`Acks::All`] switches idempotence
    /// off, unless [`Config::idempotent`] requests it. Default: all.
    #[must_use]
    pub fn acks(mut self, acks: Acks) -> Self {
        self.acks = acks;
        self
    }

    /// Idempotent producer (KIP-98). Default: yes with acks=all.
    #[must_use]
    pub fn idempotent(mut self, idempotent: bool) -> Self {
        self.idempotent = Some(idempotent);
        self
    }

    /// How long a batch waits for more records, at most (`linger.ms`). It waits while a request to
    /// its broker has no response, and after that as long as records keep coming; a record that
    /// finds nothing in flight to its broker leaves at once. Default: 5 ms.
    #[must_use]
    pub fn linger(mut self, linger: Duration) -> Self {
        self.linger = linger;
        self
    }

    /// Whether a batch waits for the whole linger although nothing is in flight to its broker, as
    /// Kafka's own clients do: fewer requests from a slow producer, later acknowledgements.
    /// Default: no.
    #[must_use]
    pub fn linger_when_idle(mut self, yes: bool) -> Self {
        self.linger_when_idle = yes;
        self
    }

    /// Size at which a batch leaves without lingering on, in bytes (`batch.size`); a larger record
    /// has a batch of its own. Default: 256 KiB, or a sixteenth of the send memory
    /// (`Limits::tx_blocks` times `Limits::block_bytes`) where that is less, but at least 16 KiB.
    #[must_use]
    pub fn batch_bytes(mut self, bytes: usize) -> Self {
        self.batch_bytes = Some(bytes);
        self
    }

    /// What batches are compressed with (`compression.type`); those that do not shrink by a
    /// sixteenth are sent as they are. Features of this crate decide which codecs there are
    /// ([`codec::WRITTEN`](crate::codec::WRITTEN)); zstd needs brokers of Kafka 2.1 or later.
    /// Default: none.
    #[must_use]
    pub fn compression(mut self, compression: impl Into<Compression>) -> Self {
        self.compression = compression.into();
        self
    }

    /// The same for one topic, where it is to be another than for the rest.
    #[must_use]
    pub fn topic_compression(
        mut self,
        topic: impl Into<String>,
        compression: impl Into<Compression>,
    ) -> Self {
        self.topic_compression.insert(topic.into(), compression.into());
        self
    }

    /// Which partitions the keys of a topic go to while it grows. With [`KeyOrder::Drain`] records
    /// of the topic wait, in their order, while the first of them has a key whose old partition
    /// has something from before the growth; [`Event::Drained`](crate::Event::Drained) reports the
    /// end. Default: [`KeyOrder::Follow`].
    #[must_use]
    pub fn key_order(mut self, order: KeyOrder) -> Self {
        self.key_order = order;
        self
    }

    /// The same for one topic, where it is to be another than for the rest.
    #[must_use]
    pub fn topic_key_order(mut self, topic: impl Into<String>, order: KeyOrder) -> Self {
        self.topic_key_order.insert(topic.into(), order);
        self
    }

    /// Over how many partitions an earlier process spread the keys of a topic: with
    /// [`KeyOrder::Drain`] a growth that came in between counts, and keys that move wait for `wait`
    /// from when the topic is first used, for what that process sent and is still on its way (zero
    /// if it was flushed); `Pin(0)` pins this number.
    /// [`Event::Drained`](crate::Event::Drained) reports the end.
    #[must_use]
    pub fn topic_key_count(
        mut self,
        topic: impl Into<String>,
        partitions: u32,
        wait: Duration,
    ) -> Self {
        self.topic_key_count.insert(topic.into(), (partitions, wait));
        self
    }

    /// Holds partitions that are added until those that their keys come from have been read, so
    /// that consumers, members of groups too, see each key of producers with [`KeyOrder::Drain`] in
    /// order; see [`OrderedGrowth`]. [`Event::GrowthRead`](crate::Event::GrowthRead) reports the
    /// end. In a group all members need it. Default: `None`, they are read at once.
    #[must_use]
    pub fn ordered_growth(mut self, order: impl Into<Option<OrderedGrowth>>) -> Self {
        self.ordered_growth = order.into();
        self
    }

    /// A record is acknowledged or failed within this time of its being batched. Default: 120 s.
    #[must_use]
    pub fn delivery_timeout(mut self, timeout: Duration) -> Self {
        self.delivery_timeout = timeout;
        self
    }

    /// A connection over which something is awaited and nothing arrives for this long is given up
    /// while others get responses, and as soon as the system finds that the peer acknowledges
    /// nothing (`TCP_USER_TIMEOUT`, keep-alive). Default: 10 s.
    #[must_use]
    pub fn silence_timeout(mut self, timeout: Duration) -> Self {
        self.silence_timeout = Some(timeout);
        self
    }

    /// How long records wait for a topic or a partition that the brokers do not know (yet).
    /// Default: 15 s. Within the first 2 s a missing topic cannot be distinguished from a new one.
    /// A record for a partition that its topic does not have fails earlier: when a broker confirms
    /// the count of partitions a second or more after the record came.
    #[must_use]
    pub fn topic_timeout(mut self, timeout: Duration) -> Self {
        self.topic_timeout = timeout;
        self
    }

    /// How long dropping a producer waits for acknowledgements. Default: 5 s.
    #[must_use]
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.close_timeout = timeout;
        self
    }

    /// How long an [`Admin`](crate::Admin) request is tried. Default: 30 s.
    #[must_use]
    pub fn admin_timeout(mut self, timeout: Duration) -> Self {
        self.admin_timeout = timeout;
        self
    }

    /// The memory of the machine, allocated at start. More is taken only for receive buffers of a
    /// consumer, see [`Config::max_batch_bytes`]. Default: [`Limits::server`].
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Where [`Consumer::assign_all`](crate::Consumer::assign_all) begins (`auto.offset.reset`
    /// of other clients). Default: latest.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// What happens when a position is outside the log. Default: on from its nearest end.
    #[must_use]
    pub fn out_of_range(mut self, what: OutOfRange) -> Self {
        self.out_of_range = what;
        self
    }

    /// Which records of transactions are read (`isolation.level`); of an
    /// [`Admin`](crate::Admin), where partitions end. With [`Isolation::ReadCommitted`] the lag
    /// counts up to the last stable offset. Default: [`Isolation::ReadUncommitted`], as of Java's
    /// consumer; librdkafka's is the other one.
    #[must_use]
    pub fn isolation(mut self, isolation: Isolation) -> Self {
        self.isolation = isolation;
        self
    }

    /// When the client probes for growth. Default: always.
    #[must_use]
    pub fn probing(mut self, probing: Probing) -> Self {
        self.probing = probing;
        self
    }

    /// Shortest time between two growth probes of a topic while the client is idle. Default: 1 s.
    #[must_use]
    pub fn probe_idle(mut self, pace: Duration) -> Self {
        self.probe_idle = Some(pace);
        self
    }

    /// The same while the client is busy. Default: 100 ms.
    #[must_use]
    pub fn probe_busy(mut self, pace: Duration) -> Self {
        self.probe_busy = Some(pace);
        self
    }

    /// Whether a partition that appears after the assignment is read from its first record
    /// whatever [`Config::start`] is. Default: yes.
    #[must_use]
    pub fn read_added_from_first(mut self, yes: bool) -> Self {
        self.read_added_from_first = yes;
        self
    }

    /// Whether records that a broker refuses only because of others in their batch are sent again
    /// by themselves, in their place in the order of the partition. Default: yes; which records
    /// share a batch is chance. Otherwise they fail with
    /// [`BatchRefused`](kavka_core::Error::BatchRefused).
    #[must_use]
    pub fn resend_unblamed(mut self, yes: bool) -> Self {
        self.resend_unblamed = yes;
        self
    }

    /// Whether an address may lead to another cluster than at first. Default: no. A connection to
    /// another cluster is then refused, with both cluster ids in its error, and records are neither
    /// sent there nor read from there.
    #[must_use]
    pub fn accept_other_cluster(mut self, yes: bool) -> Self {
        self.accept_other_cluster = yes;
        self
    }

    /// Whether brokers may create a topic that is produced to. Default: no.
    #[must_use]
    pub fn auto_create(mut self, yes: bool) -> Self {
        self.auto_create = yes;
        self
    }

    /// Bytes that may wait between the application's threads and the background thread.
    /// Default: 8 MiB.
    #[must_use]
    pub fn queue_bytes(mut self, bytes: usize) -> Self {
        self.queue_bytes = bytes.max(1);
        self
    }

    /// Bytes of a chunk, the unit in which threads hand over. Default: 64 KiB.
    #[must_use]
    pub fn chunk_bytes(mut self, bytes: usize) -> Self {
        self.chunk_bytes = bytes.clamp(1, 1 << 30);
        self
    }

    /// Bytes of the largest record batch that can be read: receive buffers, which have
    /// [`Limits::rx_bytes`] each at first, grow to the next power of two when a batch is larger,
    /// up to this. As many as there are connections grow, and take real memory where something is
    /// received. A batch beyond parks its partition
    /// ([`ErrorKind::BatchTooLarge`](crate::ErrorKind::BatchTooLarge)). Default: 64 MiB.
    #[must_use]
    pub fn max_batch_bytes(mut self, bytes: usize) -> Self {
        self.max_batch_bytes = bytes;
        self
    }

    /// Bytes that the records of a compressed batch may unpack to: a batch beyond parks its
    /// partition. Default: 64 MiB.
    #[must_use]
    pub fn unpacked_bytes(mut self, bytes: usize) -> Self {
        self.unpacked_bytes = bytes.max(1);
        self
    }

    /// How the background thread waits for its sockets. Default: level-triggered.
    #[must_use]
    pub fn mode(mut self, mode: Mode) -> Self {
        self.mode = mode;
        self
    }

    /// What every connection logs in with. Default: nothing.
    #[must_use]
    pub fn sasl(mut self, sasl: Sasl) -> Self {
        self.sasl = Some(sasl);
        self
    }

    /// How connections are encrypted. Default: not at all.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: crate::Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Called when a producer is dropped with records that were not acknowledged. Default: one
    /// line on stderr.
    #[must_use]
    pub fn on_lost(mut self, report: impl Fn(&Lost) + Send + Sync + 'static) -> Self {
        self.on_lost = Some(Arc::new(report));
        self
    }

    /// Everything else that the core lets choose; applied last.
    #[must_use]
    pub fn tune(
        mut self,
        tune: impl Fn(&mut kavka_core::Config<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.tune = Some(Arc::new(tune));
        self
    }

    /// Reports what a producer lost where no caller took the [`Lost`].
    pub(crate) fn report_lost(&self, lost: &Lost) {
        if lost.is_empty() {
            return;
        }
        match &self.on_lost {
            Some(report) => report(lost),
            None => eprintln!("kavka: producer dropped with {lost}"),
        }
    }

    /// Batches of a server are larger than those of a device, as far as many of them fit in.
    fn default_batch(&self) -> usize {
        let limits = self.limits.unwrap_or_else(Limits::server);
        let memory = limits.tx_blocks.saturating_mul(limits.block_bytes);
        (memory / 16).clamp(16 << 10, 256 << 10)
    }

    /// The name of what brokers call their listener's security protocol.
    pub(crate) fn protocol(&self) -> &'static str {
        #[cfg(feature = "tls")]
        let tls = self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        let tls = false;
        match (self.sasl.is_some(), tls) {
            (false, false) => "PLAINTEXT",
            (true, false) => "SASL_PLAINTEXT",
            (false, true) => "SSL",
            (true, true) => "SASL_SSL",
        }
    }

    /// The core's configuration, which borrows the texts.
    pub(crate) fn core(&self) -> kavka_core::Config<'_> {
        let mut core = kavka_core::Config::new(&self.bootstrap).acks(self.acks);
        core.client_id = &self.client_id;
        core.rack = &self.rack;
        core.idempotence = self.idempotent.unwrap_or(core.idempotence);
        core.linger = self.linger;
        core.linger_when_idle = self.linger_when_idle;
        core.batch_bytes = self.batch_bytes.unwrap_or_else(|| self.default_batch());
        core.delivery_timeout = self.delivery_timeout;
        core.silence_timeout = self.silence_timeout.unwrap_or(core.silence_timeout);
        core.out_of_range = self.out_of_range;
        core.isolation = self.isolation;
        core.ordered_growth = self.ordered_growth;
        core.probing = self.probing;
        core.probe_idle = self.probe_idle.unwrap_or(core.probe_idle);
        core.probe_busy = self.probe_busy.unwrap_or(core.probe_busy.min(core.probe_idle));
        core.report_positions = true;
        core.read_added_from_first = self.read_added_from_first;
        // More than there is space for would be fetched again.
        let most = i32::try_from(self.queue_bytes).unwrap_or(i32::MAX);
        core.fetch_max_bytes = core.fetch_max_bytes.min(most);
        core.resend_unblamed = self.resend_unblamed;
        core.accept_other_cluster = self.accept_other_cluster;
        core.auto_create = self.auto_create;
        core.transactional_id = &self.transactional_id;
        core.transaction_timeout = self.transaction_timeout;
        if !self.transactional_id.is_empty() {
            core.delivery_timeout = core.delivery_timeout.min(self.transaction_timeout);
        }
        core.group = &self.group;
        core.group_instance = &self.group_instance;
        #[cfg(feature = "pattern")]
        {
            core.group_pattern = &self.group_pattern;
        }
        core.group_protocol = self.group_protocol;
        if let Some(names) = &self.group_assignors {
            core.group_assignors = names;
        }
        core.session_timeout = self.session_timeout;
        core.heartbeat_interval = self.heartbeat_interval;
        core.auto_commit = self.auto_commit;
        core.group_skips = self.group_skips;
        core.rebalance_timeout = self.rebalance_timeout;
        core.marks_taken = true;
        core.codecs = crate::codec::READ;
        core.compression = self.compression.codec();
        if let Some(tune) = &self.tune {
            tune(&mut core);
        }
        core
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("core", &self.core())
            .field("sasl", &self.sasl)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use kavka_core::codec::Codec;

    use super::*;

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    /// Every option that the core has, each with a value that is not its default.
    #[test]
    fn options_reach_the_core() {
        let config = Config::new("b:1")
            .client_id("me")
            .rack("r")
            .acks(Acks::Leader)
            .linger(secs(1))
            .linger_when_idle(true)
            .batch_bytes(4321)
            .compression(Codec::Lz4)
            .delivery_timeout(secs(2))
            .silence_timeout(secs(3))
            .out_of_range(OutOfRange::Stop)
            .isolation(Isolation::ReadCommitted)
            .probing(Probing::Never)
            .probe_idle(secs(5))
            .probe_busy(secs(4))
            .read_added_from_first(false)
            .resend_unblamed(false)
            .accept_other_cluster(true)
            .auto_create(true)
            .queue_bytes(1000)
            .tune(|core| core.fetch_min_bytes = 77);
        let core = config.core();
        assert_eq!((core.bootstrap, core.client_id, core.rack), ("b:1", "me", "r"));
        assert_eq!((core.acks, core.idempotence), (Acks::Leader, false));
        assert_eq!((core.linger, core.linger_when_idle), (secs(1), true));
        assert_eq!((core.batch_bytes, core.compression), (4321, Some(Codec::Lz4)));
        assert_eq!((core.delivery_timeout, core.silence_timeout), (secs(2), secs(3)));
        assert_eq!((core.out_of_range, core.probing), (OutOfRange::Stop, Probing::Never));
        assert_eq!(core.isolation, Isolation::ReadCommitted);
        assert_eq!((core.probe_idle, core.probe_busy), (secs(5), secs(4)));
        assert_eq!((core.read_added_from_first, core.resend_unblamed), (false, false));
        assert_eq!((core.accept_other_cluster, core.auto_create), (true, true));
        assert_eq!((core.fetch_max_bytes, core.fetch_min_bytes), (1000, 77));
        assert!(core.report_positions);
        assert_eq!(core.codecs, crate::codec::READ);
    }

    #[test]
    fn options_that_are_not_set_have_the_defaults_of_the_core() {
        let (config, core) = (Config::new("b:1"), kavka_core::Config::new("b:1"));
        let ours = config.core();
        assert_eq!((ours.acks, ours.idempotence), (Acks::All, true));
        assert!(Config::new("b:1").acks(Acks::None).idempotent(true).core().idempotence);
        assert!(!Config::new("b:1").idempotent(false).core().idempotence);
        assert_eq!(ours.silence_timeout, core.silence_timeout);
        assert_eq!((ours.probe_idle, ours.probe_busy), (core.probe_idle, core.probe_busy));
        assert_eq!(ours.fetch_max_bytes, core.fetch_max_bytes.min(8 << 20));
        assert!(ours.read_added_from_first && ours.resend_unblamed);
        assert!(!(ours.accept_other_cluster || ours.auto_create || ours.linger_when_idle));
        // Probes are not rarer while something is produced than otherwise.
        let often = Config::new("b:1").probe_idle(Duration::from_millis(50));
        assert_eq!(often.core().probe_busy, Duration::from_millis(50));
    }

    #[test]
    fn options_of_this_crate_are_kept_within_their_bounds() {
        let config = Config::new("b:1")
            .topic_timeout(secs(1))
            .close_timeout(secs(2))
            .admin_timeout(secs(3))
            .start(Start::Offset(4))
            .mode(Mode::Edge)
            .max_batch_bytes(5)
            .queue_bytes(0)
            .chunk_bytes(0)
            .unpacked_bytes(0);
        assert_eq!((config.topic_timeout, config.close_timeout), (secs(1), secs(2)));
        assert_eq!((config.admin_timeout, config.start), (secs(3), Start::Offset(4)));
        assert_eq!((config.mode, config.max_batch_bytes), (Mode::Edge, 5));
        assert_eq!((config.queue_bytes, config.chunk_bytes, config.unpacked_bytes), (1, 1, 1));
        let config = config.queue_bytes(9).chunk_bytes(8).unpacked_bytes(7);
        assert_eq!((config.queue_bytes, config.chunk_bytes, config.unpacked_bytes), (9, 8, 7));
        assert_eq!(config.chunk_bytes(usize::MAX).chunk_bytes, 1 << 30);
    }

    #[test]
    fn batches_are_a_sixteenth_of_the_send_memory_within_bounds() {
        let of = |tx_blocks| {
            let mut limits = Limits::server();
            (limits.tx_blocks, limits.block_bytes) = (tx_blocks, 4096);
            Config::new("b:1").limits(limits).core().batch_bytes
        };
        let kib = |n: usize| n << 10;
        assert_eq!([of(4), of(128), of(1 << 20)], [kib(16), kib(32), kib(256)]);
        assert_eq!(Config::new("b:1").core().batch_bytes, kib(256));
    }
}
