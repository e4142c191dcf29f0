//! What a client knows, as bytes that outlive it: a device saves them before it sleeps without
//! power and restores them when it wakes. Without them it would count the partitions again, and
//! read those that were added meanwhile from its configured start.
//!
//! Numbers are big-endian, as in Kafka's own messages:
//!
//! ```text
//! 3  "kvk"
//! 1  version: 1, or 2 where a topic has more than 65,535 positions; 3 and 4 are the same with the
//!    cluster id (feature `one-cluster`); 5 to 8 are those with partitions of keys, where some
//!    topic has a policy for them (feature `key-order`)
//! 4  length of everything, CRC included
//! in versions 3 and 4:
//!    1  length of the cluster id, at most 36, and the id, of a longer one its beginning
//!    4  CRC-32C of the whole id
//! 2  topics, and of each
//!    1  length of its name, and the name
//!    16 topic id, zero where brokers have none
//!    4  partitions
//!    4  how often it was recreated
//!    4  partitions when `assign_all` began, 2^32 - 1 where it is not used
//!    in versions 5 to 8:
//!       4  partitions that keys are spread over, 0 where that does not matter
//!    2  positions (where they are many: 4), and of each
//!       4  partition
//!       8  offset of the next record
//!       4  leader epoch of the last record that was read, -1 for none
//!       4  leader epoch of the partition, -1 for none
//! 4  CRC-32C of all before
//! ```
//!
//! The producer's id and sequences are not kept: what was sent is either acknowledged or not when a
//! client ends, and the next one gets a new id, which no broker has seen. So a device flushes
//! before it sleeps, and what it sends later cannot be taken for a duplicate.

use core::fmt;

use crate::cluster::{CONSUMER, Cluster, Cx};
use crate::consumer::{Bookmark, Consumer};
use crate::record::Crc32c;
use crate::wire::Uuid;

const MAGIC: [u8; 3] = *b"kvk";
const VERSION: u8 = 1;
/// Positions are counted with 32 bits.
const WIDE: u8 = 2;
/// So many can be counted with 16 bits.
const NARROW: usize = u16::MAX as usize;
/// Magic, version, length and the number of topics.
const FRONT: usize = 10;
const CRC: usize = 4;
/// A topic without its name and its positions.
const TOPIC: usize = 31;
const POSITION: usize = 20;
const NOT_FOLLOWED: u32 = u32::MAX;
/// What is added to the version where the cluster id is kept.
const NAMED: u8 = 2;
const NAMED_NARROW: u8 = VERSION + NAMED;
const NAMED_WIDE: u8 = WIDE + NAMED;
/// What is added to the version where partitions of keys are kept.
const KEYED: u8 = 4;
const KEYS: usize = if cfg!(feature = "key-order") { 4 } else { 0 };
/// The cluster id.
const CLUSTER: usize = if cfg!(feature = "one-cluster") { 41 } else { 0 };

/// Returns how many bytes [`Client::save`](crate::Client::save) needs at most, for this many topics
/// with names of `name_bytes` in all, and this many partitions that are read.
#[must_use]
pub const fn snapshot_bytes(topics: usize, name_bytes: usize, partitions: usize) -> usize {
    let wide = if partitions > NARROW { 2 } else { 0 };
    FRONT + CLUSTER + topics * (TOPIC + KEYS + wide) + name_bytes + partitions * POSITION + CRC
}

/// What [`Client::save`](crate::Client::save) kept, and what it could not keep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Saved {
    /// Length of the snapshot, in bytes.
    pub bytes: usize,
    /// Positions that are kept.
    pub positions: u32,
    /// Partitions that are assigned and whose position is not kept, because it is still being
    /// resolved or their topic is not known yet. After a restore they are read from their start:
    /// under [`Start::Latest`](crate::Start::Latest) what is written meanwhile is skipped.
    pub unresolved: u32,
    /// Topics of an `assign_all` whose partitions are not known yet. None of their positions is
    /// kept.
    pub unknown_topics: u32,
    /// Batches that are neither acknowledged nor failed. Their records are not kept.
    pub unfinished: u32,
}

impl Saved {
    /// Returns whether nothing is lost if the client ends now: otherwise run it for longer, and
    /// save again.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.unresolved == 0 && self.unknown_topics == 0 && self.unfinished == 0
    }
}

/// What [`Client::restore`](crate::Client::restore) restored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Topics that are watched and of which nothing was known yet.
    pub topics: u32,
    /// Positions of partitions of these that are assigned.
    pub positions: u32,
}

/// Why nothing was restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RestoreError {
    /// The bytes are no snapshot, are incomplete, or were changed.
    Corrupt,
    /// They were saved by a version of this library that writes another format.
    Version(u8),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Corrupt => f.write_str("this is no whole and unchanged snapshot"),
            Self::Version(version) => write!(f, "snapshot of form {version}, not {VERSION}"),
        }
    }
}

impl core::error::Error for RestoreError {}

/// A topic of a snapshot.
#[derive(Clone, Copy)]
struct TopicEntry<'a> {
    name: &'a str,
    id: Uuid,
    count: u32,
    recreated: u32,
    first: u32,
    keys: u32,
}

/// Output bytes; past the end they are only counted.
struct Out<'a> {
    bytes: &'a mut [u8],
    len: usize,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) {
        let end = self.len.saturating_add(bytes.len());
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            room.copy_from_slice(bytes);
        }
        self.len = end;
    }
}

/// Takes the first bytes of what is left.
fn take<'a>(input: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (bytes, rest) = input.split_at_checked(len)?;
    *input = rest;
    Some(bytes)
}

fn fixed<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, rest) = input.split_first_chunk()?;
    *input = rest;
    Some(*bytes)
}

/// Writes what is known. The returned length may exceed the space.
pub(crate) fn save(
    cluster: &Cluster<'_>,
    consumer: &Consumer<'_>,
    keys: &dyn Fn(usize) -> u32,
    out: &mut [u8],
) -> Saved {
    let mut saved = Saved::default();
    let kept = |slot: &usize| cluster.topics[*slot].ready;
    let topics = (0..cluster.topics.len()).filter(kept);
    let mut out = Out { bytes: out, len: 0 };
    out.put(&MAGIC);
    let bookmarks = |slot: usize| {
        let read = |part: &usize| cluster.table[*part].used_by(CONSUMER);
        let parts = cluster.table.of_topic(slot).filter(read);
        parts.filter_map(|part| consumer.bookmark(cluster, part))
    };
    let many = topics.clone().any(|slot| bookmarks(slot).count() > NARROW);
    let wide = guard!("many positions are counted", many);
    let (id, crc) = cluster.identity.saved();
    let named = if id.is_empty() { 0 } else { NAMED };
    let keyed = KEYS != 0 && topics.clone().any(|slot| keys(slot) > 0);
    let more = named + if keyed { KEYED } else { 0 };
    out.put(&[if wide { WIDE } else { VERSION } + more]);
    out.put(&[0; 4]);
    if named > 0 {
        out.put(&[id.len() as u8]);
        out.put(id.as_bytes());
        out.put(&crc.to_be_bytes());
    }
    out.put(&(topics.clone().count() as u16).to_be_bytes());
    for slot in topics {
        let topic = &cluster.topics[slot];
        out.put(&[topic.name.len() as u8]);
        out.put(topic.name.as_bytes());
        out.put(&topic.id.0);
        out.put(&topic.count.to_be_bytes());
        out.put(&topic.epoch.to_be_bytes());
        out.put(&consumer.first_of(slot).unwrap_or(NOT_FOLLOWED).to_be_bytes());
        if keyed {
            out.put(&keys(slot).to_be_bytes());
        }
        let count = bookmarks(slot).count() as u32;
        saved.positions += count;
        let count = count.to_be_bytes();
        out.put(count.get(if wide { 0 } else { 2 }..).unwrap_or_default());
        for bookmark in bookmarks(slot) {
            out.put(&bookmark.partition.to_be_bytes());
            out.put(&bookmark.offset.to_be_bytes());
            out.put(&bookmark.last_epoch.to_be_bytes());
            out.put(&bookmark.leader_epoch.to_be_bytes());
        }
    }
    let len = out.len + CRC;
    if let Some(place) = out.bytes.get_mut(4..8) {
        place.copy_from_slice(&(len as u32).to_be_bytes());
    }
    let crc = Crc32c::of(out.bytes.get(..out.len).unwrap_or_default());
    out.put(&crc.to_be_bytes());
    saved.bytes = len;
    let mut assigned = 0;
    for slot in 0..cluster.topics.len() {
        let read = |part: &usize| cluster.table[*part].used_by(CONSUMER);
        assigned += cluster.table.of_topic(slot).filter(read).count() as u32;
        let unknown = consumer.is_followed(slot) && !cluster.topics[slot].ready;
        saved.unknown_topics += u32::from(unknown);
    }
    saved.unresolved = assigned.saturating_sub(saved.positions);
    saved
}

/// What the version says of topics.
#[derive(Clone, Copy)]
struct Form {
    wide: bool,
    keyed: bool,
}

/// A snapshot that is whole.
struct Checked<'a> {
    form: Form,
    /// Cluster id and its checksum; empty where it was not known.
    cluster: (&'a str, u32),
    body: &'a [u8],
}

/// Checks the whole before any of it is used. Bytes after it are ignored: an erased page of flash
/// is longer than what was written to it.
fn checked(bytes: &[u8]) -> Result<Checked<'_>, RestoreError> {
    let mut input = bytes;
    let front = (fixed::<3>(&mut input), fixed::<1>(&mut input), fixed::<4>(&mut input));
    let (Some(MAGIC), Some([version]), Some(len)) = front else {
        return Err(RestoreError::Corrupt);
    };
    let keyed = KEYS != 0 && (VERSION + KEYED..=NAMED_WIDE + KEYED).contains(&version);
    let (wide, named) = match if keyed { version - KEYED } else { version } {
        plain @ (VERSION | WIDE) => (plain == WIDE, false),
        plain @ (NAMED_NARROW | NAMED_WIDE) if cfg!(feature = "one-cluster") => {
            (plain == NAMED_WIDE, true)
        }
        _ => return Err(RestoreError::Version(version)),
    };
    let form = Form { wide, keyed };
    let len = u32::from_be_bytes(len) as usize;
    let whole = bytes.get(..len).ok_or(RestoreError::Corrupt)?;
    let (front, crc) = whole.split_last_chunk::<CRC>().ok_or(RestoreError::Corrupt)?;
    if Crc32c::of(front) != u32::from_be_bytes(*crc) {
        return Err(RestoreError::Corrupt);
    }
    let mut body = front.get(8..).ok_or(RestoreError::Corrupt)?;
    let cluster = if named { cluster_id(&mut body).ok_or(RestoreError::Corrupt)? } else { ("", 0) };
    walk(form, body, &mut |_| ()).ok_or(RestoreError::Corrupt)?;
    Ok(Checked { form, cluster, body })
}

fn cluster_id<'a>(input: &mut &'a [u8]) -> Option<(&'a str, u32)> {
    let [len] = fixed(input)?;
    let id = core::str::from_utf8(take(input, usize::from(len))?).ok()?;
    Some((id, u32::from_be_bytes(fixed(input)?)))
}

/// An element of a snapshot.
enum Item<'a> {
    Topic(TopicEntry<'a>),
    /// A position in the preceding topic.
    Bookmark(Bookmark),
}

/// Passes each item to `each`. `None`: the bytes are invalid.
fn walk<'a>(form: Form, mut body: &'a [u8], each: &mut dyn FnMut(Item<'a>)) -> Option<()> {
    let input = &mut body;
    for _ in 0..u16::from_be_bytes(fixed(input)?) {
        let [len] = fixed(input)?;
        let topic = TopicEntry {
            name: core::str::from_utf8(take(input, usize::from(len))?).ok()?,
            id: Uuid(fixed(input)?),
            count: u32::from_be_bytes(fixed(input)?),
            recreated: u32::from_be_bytes(fixed(input)?),
            first: u32::from_be_bytes(fixed(input)?),
            keys: if form.keyed { u32::from_be_bytes(fixed(input)?) } else { 0 },
        };
        if topic.count == 0 || topic.count > i32::MAX as u32 {
            return None;
        }
        each(Item::Topic(topic));
        let count = match form.wide {
            true => u32::from_be_bytes(fixed(input)?),
            false => u16::from_be_bytes(fixed(input)?).into(),
        };
        for _ in 0..count {
            let bookmark = Bookmark {
                partition: u32::from_be_bytes(fixed(input)?),
                offset: i64::from_be_bytes(fixed(input)?),
                last_epoch: i32::from_be_bytes(fixed(input)?),
                leader_epoch: i32::from_be_bytes(fixed(input)?),
            };
            if bookmark.offset < 0 || bookmark.partition >= i32::MAX as u32 {
                return None;
            }
            each(Item::Bookmark(bookmark));
        }
    }
    input.is_empty().then_some(())
}

/// Restores topics that are watched and of which nothing is known yet.
pub(crate) fn restore<'d>(
    cx: &mut Cx<'d>,
    consumer: &mut Consumer<'d>,
    keys: &mut dyn FnMut(usize, u32),
    bytes: &[u8],
) -> Result<Restored, RestoreError> {
    let Checked { form, cluster: (id, crc), body } = checked(bytes)?;
    if !id.is_empty() && !cx.settings.accept_other_cluster {
        cx.cluster.identity.restore(id, crc);
    }
    let mut restored = Restored::default();
    let mut current = None;
    let mut each = |item: Item<'_>| match item {
        Item::Topic(topic) => {
            current = cx.cluster.named(topic.name).filter(|slot| !cx.cluster.topics[*slot].ready);
            let Some(slot) = current else { return };
            cx.cluster.recall(slot, topic.id, topic.count, topic.recreated);
            if topic.first != NOT_FOLLOWED {
                consumer.follow_from(slot, topic.first);
            }
            if topic.keys > 0 {
                keys(slot, topic.keys);
            }
            restored.topics += 1;
        }
        Item::Bookmark(bookmark) => {
            let put = current.is_some_and(|slot| consumer.put(cx, slot, &bookmark));
            restored.positions += u32::from(put);
        }
    };
    walk(form, body, &mut each).ok_or(RestoreError::Corrupt)?;
    Ok(restored)
}
