//! All the memory of a client, summed in one place. Lent by [`Resources`] or, with `alloc`, owned
//! by [`Storage::heap`]; the machine does not distinguish them, and returns `Full` in both cases.

use core::mem::size_of;

use crate::admin::Request;
use crate::cluster::{Broker, Partition, TableMem, Topic, TopicsMem};
use crate::connection::{Conn, Login, Outgoing};
#[cfg(feature = "ordered-growth")]
use crate::consumer::Bar;
#[cfg(feature = "read-committed")]
use crate::consumer::{Aborted, AbortedMem};
use crate::consumer::{Assignment, ConsumerMem, Desk, Follow, Knot, Knots};
use crate::error::{ConfigError, LimitKind};
#[cfg(feature = "group")]
use crate::group::{GroupMem, Interest, Share};
#[cfg(feature = "classic")]
use crate::group::{LeaderMem, LeaderMemory};
#[cfg(feature = "sasl")]
use crate::login::{Handle, Mechanism};
use crate::memory::{Index, Link, List, Mem, Node, Nodes, Place};
use crate::producer::{Batch, Lane, Notch, ProducerMem, Queue, Spread};
#[cfg(feature = "pack")]
use crate::producer::{Engine, PackMem};
use crate::response::ResponseSlot;
#[cfg(feature = "pattern")]
use crate::wire::Uuid;

/// Size of a send block in [`Resources`], in bytes.
pub const BLOCK_BYTES: usize = 512;
/// Brokers remembered per connection in [`Resources`].
const BROKERS_PER_CONN: usize = 4;
/// Bytes for the host names of brokers, per broker in [`Resources`]: some may be longer, as long as
/// others are shorter.
const HOST_BYTES: usize = 64;
/// The same in [`Storage::heap`]: enough for any names.
const LONGEST_HOST: usize = 255;
/// Aborted transactions in [`Resources`], of each connection.
#[cfg(feature = "read-committed")]
const ABORTED: usize = 32;
/// Admin requests in flight in [`Resources`].
const REQUESTS: usize = 1;

/// How large a client is. None of these sizes grows with the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at a time, 1 to 65,535. With one, fetches and everything else share it; else a
    /// broker that is read from and written to takes two.
    pub conns: usize,
    /// Brokers whose addresses are remembered.
    pub brokers: usize,
    /// Topics in use.
    pub topics: usize,
    /// Partitions in use: assigned, or with something to send. Not the size of a topic.
    pub partitions: usize,
    /// Receive buffer of each connection, in bytes: the largest record batch that can be read.
    pub rx_bytes: usize,
    /// Send blocks, shared by all requests and batches.
    pub tx_blocks: usize,
    /// Size of a send block, in bytes.
    pub block_bytes: usize,
    /// Admin requests in flight.
    pub requests: usize,
    /// Members of a classic group that this client may lead; 0 for one that never leads. A client
    /// that finds itself the leader of a larger one leaves it.
    #[cfg(feature = "classic")]
    pub group_members: usize,
    /// Partitions of all topics of such a group.
    #[cfg(feature = "classic")]
    pub group_partitions: usize,
    /// Bytes of all member ids and subscriptions of such a group: about 90 for each member that
    /// subscribes to one topic, 4 more for each partition that it reads.
    #[cfg(feature = "classic")]
    pub group_bytes: usize,
    /// Aborted transactions that a connection remembers while it receives records, under
    /// [`Isolation::ReadCommitted`](crate::Isolation::ReadCommitted): more than are ever aborted
    /// around one offset. Where a response has more, its rest is fetched again. 32 in
    /// [`Resources`].
    #[cfg(feature = "read-committed")]
    pub aborted: usize,
    /// Bytes that are compressed in one piece, at most [`PIECE`](crate::codec::PIECE); 0 for a
    /// client that compresses nothing. The memory of the encoder itself is not counted here.
    #[cfg(feature = "pack")]
    pub pack_bytes: usize,
}

impl Limits {
    /// For a server: 32 connections of 1.1 MiB, 32 MiB to send, 256 topics, 16,384 partitions in
    /// use. The memory is reserved, not touched before it is used.
    #[must_use]
    pub const fn server() -> Self {
        Self {
            conns: 32,
            brokers: 256,
            topics: 256,
            partitions: 16 * 1024,
            rx_bytes: 1088 * 1024,
            tx_blocks: 8 * 1024,
            block_bytes: 4096,
            requests: 8,
            #[cfg(feature = "classic")]
            group_members: 1024,
            #[cfg(feature = "classic")]
            group_partitions: 32 * 1024,
            #[cfg(feature = "classic")]
            group_bytes: 512 * 1024,
            #[cfg(feature = "read-committed")]
            aborted: 512,
            #[cfg(feature = "pack")]
            pack_bytes: 0,
        }
    }

    /// For a small program or a test: 8 connections of 64 KiB, 256 KiB to send, 8 topics, 256
    /// partitions in use.
    #[must_use]
    pub const fn small() -> Self {
        Self {
            conns: 8,
            brokers: 16,
            topics: 8,
            partitions: 256,
            rx_bytes: 64 * 1024,
            tx_blocks: 256,
            block_bytes: 1024,
            requests: 4,
            #[cfg(feature = "classic")]
            group_members: 32,
            #[cfg(feature = "classic")]
            group_partitions: 512,
            #[cfg(feature = "classic")]
            group_bytes: 8 * 1024,
            #[cfg(feature = "read-committed")]
            aborted: 64,
            #[cfg(feature = "pack")]
            pack_bytes: 0,
        }
    }

    /// Returns the exact number of bytes that [`Storage::heap`] allocates.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        // Connections: state and requests in flight, the response being read, place in the index by
        // peer, and what was received.
        self.conns
            * (size_of::<Conn>()
                + size_of::<ResponseSlot>()
                + 2 * size_of::<Place>()
                + self.rx_bytes)
            // Brokers: what is known of them, place in the index by id, the partitions that they
            // lead, those with something to send, what the consumer has to request from them, and
            // their host names.
            + self.brokers
                * (size_of::<Broker>()
                    + 2 * size_of::<Place>()
                    + size_of::<List>()
                    + size_of::<Lane>()
                    + size_of::<Notch>()
                    + size_of::<Desk>()
                    + size_of::<Knot>()
                    + LONGEST_HOST)
            // Topics: name and freshness, place in the indices by name and by id and in the lists
            // by what they wait for, by age, of news and of changes, the partitions in use, what
            // the producer and what the consumer keep of each.
            + self.topics
                * (size_of::<Topic>()
                    + 4 * size_of::<Place>()
                    + 4 * size_of::<Node>()
                    + size_of::<List>()
                    + size_of::<Spread>()
                    + size_of::<Follow>())
            // Partitions in use: leader, place in the hash index and in the lists by topic, by
            // leader and of news, queue and sequence with the place by what it waits for, position
            // and place in the consumer's lists.
            + self.partitions
                * (size_of::<Partition>()
                    + 2 * size_of::<Place>()
                    + 3 * size_of::<Node>()
                    + size_of::<Queue>()
                    + size_of::<Notch>()
                    + size_of::<Assignment>()
                    + 3 * size_of::<Knot>())
            // Send blocks, their chaining, and one batch with its place by age and in a request
            // for each.
            + self.tx_blocks
                * (self.block_bytes
                    + size_of::<Link>()
                    + size_of::<Batch>()
                    + size_of::<Notch>()
                    + size_of::<Outgoing>())
            // Admin requests.
            + self.requests * size_of::<Request>()
            // Aborted transactions around what each connection receives.
            + self.aborted_bytes()
            // What partitions that were added wait for.
            + self.bar_bytes()
            // What the member of a group keeps of topics and partitions, and as a leader of the
            // members.
            + self.member_bytes()
            // What is compressed, and the output.
            + self.scratch_bytes()
    }

    #[cfg(feature = "ordered-growth")]
    const fn bar_bytes(&self) -> usize {
        self.partitions * size_of::<Bar>()
    }

    #[cfg(not(feature = "ordered-growth"))]
    #[expect(clippy::unused_self, reason = "as of builds that order growth")]
    const fn bar_bytes(&self) -> usize {
        0
    }

    #[cfg(feature = "read-committed")]
    const fn aborted_bytes(&self) -> usize {
        self.conns * self.aborted * size_of::<Aborted>()
    }

    #[cfg(not(feature = "read-committed"))]
    const fn aborted_bytes(&self) -> usize {
        0
    }

    #[cfg(feature = "group")]
    const fn member_bytes(&self) -> usize {
        self.topics * size_of::<Interest>()
            + self.partitions * size_of::<Share>()
            + self.pattern_bytes()
            + self.leader_bytes()
    }

    /// Ids of topics of a subscription by pattern.
    #[cfg(feature = "pattern")]
    const fn pattern_bytes(&self) -> usize {
        self.topics * size_of::<Uuid>()
    }

    #[cfg(all(feature = "group", not(feature = "pattern")))]
    const fn pattern_bytes(&self) -> usize {
        0
    }

    #[cfg(feature = "classic")]
    const fn leader_bytes(&self) -> usize {
        let topics = if self.group_members == 0 { 0 } else { self.topics };
        let (members, partitions) = (self.group_members, self.group_partitions);
        LeaderMem::bytes(members, topics, partitions, self.brokers, self.group_bytes)
    }

    #[cfg(all(feature = "group", not(feature = "classic")))]
    const fn leader_bytes(&self) -> usize {
        0
    }

    #[cfg(not(feature = "group"))]
    const fn member_bytes(&self) -> usize {
        0
    }

    #[cfg(feature = "pack")]
    const fn scratch_bytes(&self) -> usize {
        crate::codec::scratch_bytes(self.pack_bytes)
    }

    #[cfg(not(feature = "pack"))]
    const fn scratch_bytes(&self) -> usize {
        0
    }
}

/// Everything in [`Resources`] but the receive and send buffers.
struct Tables<const CONNS: usize, const TOPICS: usize, const PARTITIONS: usize> {
    conns: [Conn; CONNS],
    responses: [ResponseSlot; CONNS],
    peers: [[Place; CONNS]; 2],
    brokers: [[Broker; BROKERS_PER_CONN]; CONNS],
    nodes: [[[Place; BROKERS_PER_CONN]; CONNS]; 2],
    led: [[List; BROKERS_PER_CONN]; CONNS],
    lanes: [[Lane; BROKERS_PER_CONN]; CONNS],
    lane_places: [[Notch; BROKERS_PER_CONN]; CONNS],
    desks: [[Desk; BROKERS_PER_CONN]; CONNS],
    due: [[Knot; BROKERS_PER_CONN]; CONNS],
    topics: [Topic; TOPICS],
    spreads: [Spread; TOPICS],
    topic_index: [[Place; TOPICS]; 4],
    topic_lists: [[Node; TOPICS]; 4],
    follows: [Follow; TOPICS],
    partitions: [Partition; PARTITIONS],
    heads: [[Place; PARTITIONS]; 2],
    lists: [[Node; PARTITIONS]; 3],
    of_topics: [List; TOPICS],
    queues: [Queue; PARTITIONS],
    places: [Notch; PARTITIONS],
    reads: [Assignment; PARTITIONS],
    knots: [[Knot; PARTITIONS]; 3],
    requests: [Request; REQUESTS],
    #[cfg(feature = "ordered-growth")]
    bars: [Bar; PARTITIONS],
    #[cfg(feature = "read-committed")]
    aborted: [[Aborted; ABORTED]; CONNS],
    #[cfg(feature = "group")]
    group: GroupTables<TOPICS, PARTITIONS>,
}

/// What a member of a group keeps of topics and partitions.
#[cfg(feature = "group")]
struct GroupTables<const TOPICS: usize, const PARTITIONS: usize> {
    interests: [Interest; TOPICS],
    shares: [Share; PARTITIONS],
    #[cfg(feature = "pattern")]
    ids: [Uuid; TOPICS],
}

#[cfg(feature = "group")]
impl<const TOPICS: usize, const PARTITIONS: usize> GroupTables<TOPICS, PARTITIONS> {
    const EMPTY: Self = Self {
        interests: [Interest::EMPTY; TOPICS],
        shares: [Share::EMPTY; PARTITIONS],
        #[cfg(feature = "pattern")]
        ids: [Uuid::ZERO; TOPICS],
    };

    fn lend(&mut self) -> GroupMem<'_> {
        GroupMem {
            shares: Mem::Lent(&mut self.shares),
            interests: Mem::Lent(&mut self.interests),
            #[cfg(feature = "pattern")]
            ids: Mem::Lent(&mut self.ids),
            #[cfg(feature = "classic")]
            leader: LeaderMem::none(),
        }
    }
}

impl<const CONNS: usize, const TOPICS: usize, const PARTITIONS: usize>
    Tables<CONNS, TOPICS, PARTITIONS>
{
    const EMPTY: Self = Self {
        conns: [const { Conn::EMPTY }; CONNS],
        responses: [const { ResponseSlot::EMPTY }; CONNS],
        peers: [[Place::NONE; CONNS]; 2],
        brokers: [const { [const { Broker::EMPTY }; BROKERS_PER_CONN] }; CONNS],
        nodes: [[[Place::NONE; BROKERS_PER_CONN]; CONNS]; 2],
        led: [[List::EMPTY; BROKERS_PER_CONN]; CONNS],
        lanes: [[Lane::EMPTY; BROKERS_PER_CONN]; CONNS],
        lane_places: [[Notch::EMPTY; BROKERS_PER_CONN]; CONNS],
        desks: [[Desk::EMPTY; BROKERS_PER_CONN]; CONNS],
        due: [[Knot::EMPTY; BROKERS_PER_CONN]; CONNS],
        topics: [const { Topic::EMPTY }; TOPICS],
        spreads: [Spread::EMPTY; TOPICS],
        topic_index: [[Place::NONE; TOPICS]; 4],
        topic_lists: [[Node::EMPTY; TOPICS]; 4],
        follows: [Follow::EMPTY; TOPICS],
        partitions: [Partition::EMPTY; PARTITIONS],
        heads: [[Place::NONE; PARTITIONS]; 2],
        lists: [[Node::EMPTY; PARTITIONS]; 3],
        of_topics: [List::EMPTY; TOPICS],
        queues: [Queue::EMPTY; PARTITIONS],
        places: [Notch::EMPTY; PARTITIONS],
        reads: [Assignment::EMPTY; PARTITIONS],
        knots: [[Knot::EMPTY; PARTITIONS]; 3],
        requests: [const { Request::EMPTY }; REQUESTS],
        #[cfg(feature = "ordered-growth")]
        bars: [Bar::EMPTY; PARTITIONS],
        #[cfg(feature = "read-committed")]
        aborted: [[Aborted::EMPTY; ABORTED]; CONNS],
        #[cfg(feature = "group")]
        group: GroupTables::EMPTY,
    };
}

/// The memory of a client as one value, all zero when new: a `static` of it lies in `.bss`.
///
/// `CONNS` connections, `TOPICS` topics, `PARTITIONS` partitions in use, `RX` bytes to receive per
/// connection, `TX` send blocks of [`BLOCK_BYTES`].
pub struct Resources<
    const CONNS: usize,
    const TOPICS: usize,
    const PARTITIONS: usize,
    const RX: usize,
    const TX: usize,
> {
    tables: Tables<CONNS, TOPICS, PARTITIONS>,
    rx: [[u8; RX]; CONNS],
    hosts: [[u8; BROKERS_PER_CONN * HOST_BYTES]; CONNS],
    blocks: [[u8; BLOCK_BYTES]; TX],
    links: [Link; TX],
    batches: [Batch; TX],
    ages: [Notch; TX],
    outgoing: [Outgoing; TX],
}

impl<
    const CONNS: usize,
    const TOPICS: usize,
    const PARTITIONS: usize,
    const RX: usize,
    const TX: usize,
> Resources<CONNS, TOPICS, PARTITIONS, RX, TX>
{
    /// Creates empty memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            tables: Tables::EMPTY,
            rx: [[0; RX]; CONNS],
            hosts: [[0; BROKERS_PER_CONN * HOST_BYTES]; CONNS],
            blocks: [[0; BLOCK_BYTES]; TX],
            links: [Link::NONE; TX],
            batches: [Batch::EMPTY; TX],
            ages: [Notch::EMPTY; TX],
            outgoing: [Outgoing::EMPTY; TX],
        }
    }

    /// Lends the memory to a client. Data of an earlier client in it is cleared.
    pub fn storage(&mut self) -> Storage<'_> {
        self.tables = const { Tables::EMPTY }; // one value, so that it is one loop over its bytes
        let tables = &mut self.tables;
        let ([by_topic, by_leader, by_news], [by_work, by_forget, by_reported]) =
            (&mut tables.lists, &mut tables.knots);
        let [heads, chain] = &mut tables.heads;
        let table = TableMem {
            entries: Mem::Lent(&mut tables.partitions),
            heads: Mem::Lent(heads),
            chain: Mem::Lent(chain),
            by_topic: Nodes::new(Mem::Lent(by_topic)),
            by_leader: Nodes::new(Mem::Lent(by_leader)),
            by_news: Nodes::new(Mem::Lent(by_news)),
            topics: Mem::Lent(&mut tables.of_topics),
            led: Mem::Lent(tables.led.as_flattened_mut()),
        };
        let producer = ProducerMem {
            queues: Mem::Lent(&mut tables.queues),
            places: Mem::Lent(&mut tables.places),
            spreads: Mem::Lent(&mut tables.spreads),
            batches: Mem::Lent(&mut self.batches),
            ages: Mem::Lent(&mut self.ages),
            lanes: Mem::Lent(tables.lanes.as_flattened_mut()),
            lane_places: Mem::Lent(tables.lane_places.as_flattened_mut()),
            #[cfg(feature = "pack")]
            pack: PackMem::none(),
        };
        let consumer = ConsumerMem {
            reads: Mem::Lent(&mut tables.reads),
            follows: Mem::Lent(&mut tables.follows),
            desks: Mem::Lent(tables.desks.as_flattened_mut()),
            by_work: Knots::new(Mem::Lent(by_work)),
            by_forget: Knots::new(Mem::Lent(by_forget)),
            by_news: Knots::new(Mem::Lent(by_reported)),
            by_due: Knots::new(Mem::Lent(tables.due.as_flattened_mut())),
            #[cfg(feature = "ordered-growth")]
            bars: Mem::Lent(&mut tables.bars),
            #[cfg(feature = "read-committed")]
            aborted: AbortedMem::new(Mem::Lent(tables.aborted.as_flattened_mut()), ABORTED),
        };
        let (entries, index) = (&mut tables.topics, &mut tables.topic_index);
        let topics = lent_topics(entries, index, &mut tables.topic_lists);
        let ([peer_heads, peer_chain], [node_heads, node_chain]) =
            (&mut tables.peers, &mut tables.nodes);
        Storage {
            conns: Mem::Lent(&mut tables.conns),
            responses: Mem::Lent(&mut tables.responses),
            peers: lent(peer_heads, peer_chain),
            rx: Mem::Lent(self.rx.as_flattened_mut()),
            rx_bytes: RX,
            brokers: Mem::Lent(tables.brokers.as_flattened_mut()),
            broker_index: lent(node_heads.as_flattened_mut(), node_chain.as_flattened_mut()),
            hosts: Mem::Lent(self.hosts.as_flattened_mut()),
            topics,
            table,
            producer,
            consumer,
            blocks: Mem::Lent(self.blocks.as_flattened_mut()),
            block_bytes: BLOCK_BYTES,
            links: Mem::Lent(&mut self.links),
            outgoing: Mem::Lent(&mut self.outgoing),
            requests: Mem::Lent(&mut tables.requests),
            #[cfg(feature = "group")]
            group: tables.group.lend(),
            login: Login::NONE,
        }
    }
}

impl<
    const CONNS: usize,
    const TOPICS: usize,
    const PARTITIONS: usize,
    const RX: usize,
    const TX: usize,
> Default for Resources<CONNS, TOPICS, PARTITIONS, RX, TX>
{
    fn default() -> Self {
        Self::new()
    }
}

/// The memory of a client, lent or owned.
pub struct Storage<'d> {
    pub(crate) conns: Mem<'d, Conn>,
    pub(crate) responses: Mem<'d, ResponseSlot>,
    pub(crate) peers: Index<'d>,
    pub(crate) rx: Mem<'d, u8>,
    pub(crate) rx_bytes: usize,
    pub(crate) brokers: Mem<'d, Broker>,
    pub(crate) broker_index: Index<'d>,
    pub(crate) hosts: Mem<'d, u8>,
    pub(crate) topics: TopicsMem<'d>,
    pub(crate) table: TableMem<'d>,
    pub(crate) producer: ProducerMem<'d>,
    pub(crate) consumer: ConsumerMem<'d>,
    pub(crate) blocks: Mem<'d, u8>,
    pub(crate) block_bytes: usize,
    pub(crate) links: Mem<'d, Link>,
    pub(crate) outgoing: Mem<'d, Outgoing>,
    pub(crate) requests: Mem<'d, Request>,
    #[cfg(feature = "group")]
    pub(crate) group: GroupMem<'d>,
    pub(crate) login: Login<'d>,
}

fn lent_topics<'a, const TOPICS: usize>(
    entries: &'a mut [Topic; TOPICS],
    index: &'a mut [[Place; TOPICS]; 4],
    lists: &'a mut [[Node; TOPICS]; 4],
) -> TopicsMem<'a> {
    let [names, name_chain, ids, id_chain] = index;
    let [by_plan, by_age, by_topic_news, by_change] = lists;
    TopicsMem {
        entries: Mem::Lent(entries),
        names: lent(names, name_chain),
        ids: lent(ids, id_chain),
        by_plan: Nodes::new(Mem::Lent(by_plan)),
        by_age: Nodes::new(Mem::Lent(by_age)),
        by_news: Nodes::new(Mem::Lent(by_topic_news)),
        by_change: Nodes::new(Mem::Lent(by_change)),
    }
}

fn lent<'a>(heads: &'a mut [Place], chain: &'a mut [Place]) -> Index<'a> {
    Index::new(Mem::Lent(heads), Mem::Lent(chain))
}

#[cfg(feature = "pack")]
impl<'d> Storage<'d> {
    /// Lends the encoders for [`Config::compression`](crate::Config::compression), and scratch
    /// memory: [`scratch_bytes`](crate::codec::scratch_bytes) of the bytes that are compressed in
    /// one piece. With pieces as long as a batch it compresses best.
    #[must_use]
    pub fn packing(
        mut self,
        encoders: &'d mut (dyn crate::codec::Pack + Send + 'static),
        scratch: &'d mut [u8],
    ) -> Self {
        self.producer.pack =
            PackMem { engine: Some(Engine::Lent(encoders)), scratch: Mem::Lent(scratch) };
        self
    }

    /// Sets the encoders for [`Config::compression`](crate::Config::compression), which use the
    /// memory of [`Limits::pack_bytes`].
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn encoders(mut self, encoders: alloc::boxed::Box<dyn crate::codec::Pack + Send>) -> Self {
        self.producer.pack.engine = Some(Engine::Owned(encoders));
        self
    }
}

#[cfg(feature = "classic")]
impl<'d> Storage<'d> {
    /// Lends the memory that the client leads classic groups with. Without it a client with lent
    /// memory leaves the group when it is to lead it.
    #[must_use]
    pub fn leading<
        const MEMBERS: usize,
        const TOPICS: usize,
        const PARTS: usize,
        const BYTES: usize,
    >(
        mut self,
        memory: &'d mut LeaderMemory<MEMBERS, TOPICS, PARTS, BYTES>,
    ) -> Self {
        self.group.leader = memory.lend();
        self
    }
}

#[cfg(feature = "sasl")]
impl<'d> Storage<'d> {
    /// Lends the mechanism that every connection logs in with.
    #[must_use]
    pub fn login(mut self, mechanism: &'d mut (dyn Mechanism + Send + 'd)) -> Self {
        self.login = Login::new(Handle::Lent(mechanism));
        self
    }

    /// Sets the mechanism that every connection logs in with.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn owned_login(mut self, mechanism: alloc::boxed::Box<dyn Mechanism + Send>) -> Self {
        self.login = Login::new(Handle::Owned(mechanism));
        self
    }
}

impl Storage<'_> {
    /// Checks whether a client can work with it.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        // Slots of connections and topics are numbers of 16 bits in ids.
        let (slots, links) = (usize::from(u16::MAX), Link::MOST);
        let limits = [
            (LimitKind::Connections, self.conns.len(), 1, slots),
            (LimitKind::Brokers, self.brokers.len(), 1, links),
            (LimitKind::Topics, self.topics.entries.len(), 1, slots),
            (LimitKind::Partitions, self.table.entries.len(), 1, links),
            (LimitKind::ReceiveBuffer, self.rx_bytes, 512, usize::MAX),
            (LimitKind::SendBlocks, self.links.len().max(self.producer.batches.len()), 4, links),
            (LimitKind::BlockBytes, self.block_bytes, 128, usize::MAX),
            (LimitKind::Requests, self.requests.len(), 0, slots),
            #[cfg(feature = "read-committed")]
            (LimitKind::Aborted, self.consumer.aborted.each(), 1, slots),
        ];
        for (what, size, least, most) in limits {
            if size < least {
                return Err(ConfigError::TooLittle { what, least });
            }
            if guard!("limits are counted in links", size > most) {
                return Err(ConfigError::TooMuch { what, most });
            }
        }
        Ok(())
    }
}

#[cfg(all(feature = "alloc", feature = "read-committed"))]
impl Limits {
    /// Allocates the memory of aborted transactions.
    fn aborted_mem(&self) -> AbortedMem<'static> {
        let all = owned(self.conns * self.aborted, || Aborted::EMPTY);
        AbortedMem::new(all, self.aborted)
    }
}

#[cfg(all(feature = "alloc", feature = "group"))]
impl Limits {
    /// Allocates the memory of a member.
    fn group(&self) -> GroupMem<'static> {
        GroupMem {
            shares: owned(self.partitions, || Share::EMPTY),
            interests: owned(self.topics, || Interest::EMPTY),
            #[cfg(feature = "pattern")]
            ids: owned(self.topics, || Uuid::ZERO),
            #[cfg(feature = "classic")]
            leader: self.leader(),
        }
    }

    /// Allocates the memory of a leader.
    #[cfg(feature = "classic")]
    fn leader(&self) -> LeaderMem<'static> {
        let topics = if self.group_members == 0 { 0 } else { self.topics };
        let (members, partitions) = (self.group_members, self.group_partitions);
        LeaderMem::heap(members, topics, partitions, self.brokers, self.group_bytes)
    }
}

#[cfg(feature = "alloc")]
impl<'d> Storage<'d> {
    /// Allocates [`Limits::bytes`] once; a client allocates nothing later.
    #[must_use]
    pub fn heap(limits: &Limits) -> Self {
        Self {
            conns: owned(limits.conns, || Conn::EMPTY),
            responses: owned(limits.conns, || ResponseSlot::EMPTY),
            peers: index(limits.conns),
            rx: zeroed(limits.conns * limits.rx_bytes),
            rx_bytes: limits.rx_bytes,
            brokers: owned(limits.brokers, || Broker::EMPTY),
            broker_index: index(limits.brokers),
            hosts: zeroed(limits.brokers * LONGEST_HOST),
            topics: TopicsMem {
                entries: owned(limits.topics, || Topic::EMPTY),
                names: index(limits.topics),
                ids: index(limits.topics),
                by_plan: nodes(limits.topics),
                by_age: nodes(limits.topics),
                by_news: nodes(limits.topics),
                by_change: nodes(limits.topics),
            },
            consumer: ConsumerMem {
                reads: owned(limits.partitions, || Assignment::EMPTY),
                follows: owned(limits.topics, || Follow::EMPTY),
                desks: owned(limits.brokers, || Desk::EMPTY),
                by_work: knots(limits.partitions),
                by_forget: knots(limits.partitions),
                by_news: knots(limits.partitions),
                by_due: knots(limits.brokers),
                #[cfg(feature = "ordered-growth")]
                bars: owned(limits.partitions, || Bar::EMPTY),
                #[cfg(feature = "read-committed")]
                aborted: limits.aborted_mem(),
            },
            table: TableMem {
                entries: owned(limits.partitions, || Partition::EMPTY),
                heads: owned(limits.partitions, || Place::NONE),
                chain: owned(limits.partitions, || Place::NONE),
                by_topic: nodes(limits.partitions),
                by_leader: nodes(limits.partitions),
                by_news: nodes(limits.partitions),
                topics: owned(limits.topics, || List::EMPTY),
                led: owned(limits.brokers, || List::EMPTY),
            },
            producer: ProducerMem {
                queues: owned(limits.partitions, || Queue::EMPTY),
                places: owned(limits.partitions, || Notch::EMPTY),
                spreads: owned(limits.topics, || Spread::EMPTY),
                batches: owned(limits.tx_blocks, || Batch::EMPTY),
                ages: owned(limits.tx_blocks, || Notch::EMPTY),
                lanes: owned(limits.brokers, || Lane::EMPTY),
                lane_places: owned(limits.brokers, || Notch::EMPTY),
                #[cfg(feature = "pack")]
                pack: PackMem { engine: None, scratch: zeroed(limits.scratch_bytes()) },
            },
            blocks: zeroed(limits.tx_blocks * limits.block_bytes),
            block_bytes: limits.block_bytes,
            links: owned(limits.tx_blocks, || Link::NONE),
            outgoing: owned(limits.tx_blocks, || Outgoing::EMPTY),
            requests: owned(limits.requests, || Request::EMPTY),
            #[cfg(feature = "group")]
            group: limits.group(),
            login: Login::NONE,
        }
    }
}

#[cfg(feature = "alloc")]
fn owned<T>(count: usize, empty: impl Fn() -> T) -> Mem<'static, T> {
    Mem::Owned((0..count).map(|_| empty()).collect())
}

#[cfg(feature = "alloc")]
fn nodes(count: usize) -> Nodes<'static> {
    Nodes::new(owned(count, || Node::EMPTY))
}

#[cfg(feature = "alloc")]
fn knots(count: usize) -> Knots<'static> {
    Knots::new(owned(count, || Knot::EMPTY))
}

#[cfg(feature = "alloc")]
fn index(count: usize) -> Index<'static> {
    Index::new(owned(count, || Place::NONE), owned(count, || Place::NONE))
}

/// The same, unless there is too little memory for it.
#[cfg(all(feature = "alloc", feature = "consumer"))]
pub(crate) fn try_zeroed(count: usize) -> Option<Mem<'static, u8>> {
    // Memory that is zero without being written is only had where a failure aborts, so it is
    // tried before.
    alloc::vec::Vec::<u8>::new().try_reserve_exact(count).ok()?;
    Some(zeroed(count))
}

#[cfg(feature = "alloc")]
fn zeroed(count: usize) -> Mem<'static, u8> {
    Mem::Owned(alloc::vec![0; count].into_boxed_slice())
}
