//! The partitions that a request names, topic by topic, as Kafka's requests want them.

use super::{Assignment, Consumer};
use crate::api::Kind;
use crate::cluster::Cluster;
use crate::memory::{Link, List, Nodes};
use crate::wire::{Full, Writer, fetch, list_offsets, offset_for_leader_epoch as epochs};

/// What a request says of the partitions in one of its parts.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    /// Fetch: those that are new to the session or whose position changed.
    Sends,
    /// Fetch: those that the session has to forget.
    Forgets,
    /// ListOffsets: those whose start is not an offset.
    Offsets,
    /// OffsetForLeaderEpoch: those that may be truncated.
    Checks,
}

/// The first `count` entries of a list in which those of a topic are adjacent.
pub(super) struct Named<'p, 'd> {
    pub(super) nodes: &'p Nodes<'d>,
    pub(super) first: Link,
    pub(super) count: usize,
}

/// See the module.
pub(super) struct Plan<'p, 'd> {
    pub(super) reads: &'p [Assignment],
    pub(super) cluster: &'p Cluster<'d>,
    pub(super) version: i16,
    /// Of ListOffsets.
    #[cfg(feature = "read-committed")]
    pub(super) isolation: i8,
}

impl<'d> Named<'_, 'd> {
    /// Returns how many entries from one on are of its topic, and the entry after them.
    fn run(&self, cluster: &Cluster<'d>, from: Link, left: usize) -> (usize, Link) {
        let topic = |at: usize| cluster.table[at].topic;
        let (mut link, mut count) = (from, 0);
        let of = from.get().map(topic);
        while let Some(at) = link.get()
            && count < left
            && Some(topic(at)) == of
        {
            count += 1;
            link = self.nodes.next(at);
        }
        (count, link)
    }

    fn topics(&self, cluster: &Cluster<'d>) -> usize {
        let (mut link, mut left, mut count) = (self.first, self.count, 0);
        while left > 0 && !link.is_none() {
            let (run, next) = self.run(cluster, link, left);
            (link, left, count) = (next, left - run, count + 1);
        }
        count
    }
}

impl<'d> Plan<'_, 'd> {
    /// Writes the body of a Fetch request. `max` is the most bytes of a partition.
    pub(super) fn write_fetch(
        &self,
        w: &mut Writer<'_>,
        (head, rack): (&fetch::Head, &str),
        (sends, forgets): (&Named<'_, 'd>, &Named<'_, 'd>),
        max: i32,
    ) -> Result<(), Full> {
        fetch::begin(w, self.version, head, sends.topics(self.cluster))?;
        self.write_topics(w, Section::Sends, sends, max)?;
        fetch::forgotten_begin(w, self.version, forgets.topics(self.cluster))?;
        self.write_topics(w, Section::Forgets, forgets, max)?;
        fetch::end(w, self.version, rack)
    }

    /// Writes the body of a request of this kind, other than Fetch.
    pub(super) fn write(
        &self,
        w: &mut Writer<'_>,
        kind: Kind,
        named: &Named<'_, 'd>,
        timeout_ms: i32,
    ) -> Result<(), Full> {
        match Some(kind) == Kind::EPOCHS {
            true => self.write_checks(w, named),
            false => self.write_offsets(w, named, timeout_ms),
        }
    }

    #[cfg(feature = "read-committed")]
    const fn isolation(&self) -> i8 {
        self.isolation
    }

    #[cfg(not(feature = "read-committed"))]
    #[expect(clippy::unused_self, reason = "as of builds that read what is committed")]
    const fn isolation(&self) -> i8 {
        0
    }

    /// Writes the body of a ListOffsets request.
    fn write_offsets(
        &self,
        w: &mut Writer<'_>,
        named: &Named<'_, 'd>,
        timeout_ms: i32,
    ) -> Result<(), Full> {
        list_offsets::begin(w, self.version, self.isolation(), named.topics(self.cluster))?;
        self.write_topics(w, Section::Offsets, named, 0)?;
        list_offsets::end(w, self.version, timeout_ms)
    }

    /// Writes the body of an OffsetForLeaderEpoch request.
    fn write_checks(&self, w: &mut Writer<'_>, named: &Named<'_, 'd>) -> Result<(), Full> {
        epochs::begin(w, self.version, named.topics(self.cluster))?;
        self.write_topics(w, Section::Checks, named, 0)?;
        epochs::end(w, self.version)
    }

    /// Writes all topics of a part.
    fn write_topics(
        &self,
        w: &mut Writer<'_>,
        section: Section,
        named: &Named<'_, 'd>,
        max: i32,
    ) -> Result<(), Full> {
        let (mut link, mut left, version) = (named.first, named.count, self.version);
        while left > 0
            && let Some(first) = link.get()
        {
            let (count, next) = named.run(self.cluster, link, left);
            let topic = &self.cluster.topics[usize::from(self.cluster.table[first].topic)];
            let name = topic.name.as_str();
            match section {
                Section::Offsets => list_offsets::topic(w, version, name, count)?,
                Section::Checks => epochs::topic(w, version, name, count)?,
                _ => fetch::topic(w, version, name, topic.id, count)?,
            }
            while link != next
                && let Some(at) = link.get()
            {
                self.write_partition(w, section, at, max)?;
                link = named.nodes.next(at);
            }
            left -= count;
            match section {
                Section::Offsets => list_offsets::end_topic(w, version)?,
                Section::Checks => epochs::end(w, version)?,
                _ => fetch::end_topic(w, version)?,
            }
        }
        Ok(())
    }

    #[inline(never)]
    fn write_partition(
        &self,
        w: &mut Writer<'_>,
        section: Section,
        at: usize,
        max_bytes: i32,
    ) -> Result<(), Full> {
        let (entry, read, version) = (&self.cluster.table[at], &self.reads[at], self.version);
        let index = entry.index as i32;
        match section {
            Section::Offsets => {
                list_offsets::partition(w, version, index, entry.epoch, read.timestamp())
            }
            Section::Forgets => w.i32(index),
            Section::Checks => epochs::partition(w, version, index, entry.epoch, read.last_epoch),
            Section::Sends => {
                let partition = fetch::Partition {
                    index,
                    current_leader_epoch: entry.epoch,
                    fetch_offset: read.position,
                    last_fetched_epoch: read.last_epoch,
                    log_start_offset: -1,
                    max_bytes,
                };
                fetch::partition(w, version, &partition)
            }
        }
    }
}

impl<'d> Consumer<'d> {
    /// Returns the first `count` entries of a list that is linked by `by_work`.
    pub(super) fn named(&self, list: &List, count: usize) -> Named<'_, 'd> {
        Named { nodes: &self.by_work, first: list.first(), count }
    }

    pub(super) fn plan<'p>(&'p self, cluster: &'p Cluster<'d>, version: i16) -> Plan<'p, 'd> {
        Plan {
            reads: &self.reads,
            cluster,
            version,
            #[cfg(feature = "read-committed")]
            isolation: 0,
        }
    }
}
