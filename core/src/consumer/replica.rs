//! Reading from a replica in the client's own rack (KIP-392). The leader names it, and decides
//! about any trouble there.

use super::work::Spot;
use super::{Consumer, FetchMemo};
use crate::cluster::{Cluster, Cx};
use crate::memory::Link;
use crate::time::{Span, Tick};

/// After a replica failed, requests to leaders name no rack for this long: they might name the same
/// replica again at once.
const PAUSE: Span = Span::from_secs(10);

/// Whether this build reads from replicas.
const REPLICAS: bool = cfg!(feature = "replicas");

/// Another replica that a partition is read from until a time, zero for the leader. Zero-sized in
/// builds that read from leaders only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lease {
    #[cfg(feature = "replicas")]
    node: i32,
    #[cfg(feature = "replicas")]
    until: Tick,
}

#[cfg(feature = "replicas")]
impl Lease {
    pub(super) const NONE: Self = Self::new(0, Tick::ZERO);

    const fn new(node: i32, until: Tick) -> Self {
        Self { node, until }
    }

    const fn node(self) -> i32 {
        self.node
    }

    pub(super) const fn until(self) -> Tick {
        self.until
    }

    /// Ages all times: the scale of time moves.
    pub(super) fn age(&mut self, by: Span) {
        self.until.age(by);
    }
}

#[cfg(not(feature = "replicas"))]
impl Lease {
    pub(super) const NONE: Self = Self {};

    const fn new(_: i32, _: Tick) -> Self {
        Self::NONE
    }

    const fn node(self) -> i32 {
        -1
    }

    pub(super) const fn until(self) -> Tick {
        Tick::ZERO
    }

    pub(super) fn age(self, _: Span) {}
}

impl<'d> Consumer<'d> {
    /// Returns the broker that a partition is read from.
    pub(super) fn source(&self, cluster: &Cluster<'d>, part: usize) -> Link {
        let read = &self.reads[part];
        let replica = match read.lease.until() {
            Tick::ZERO => None,
            _ => cluster.broker_slot(read.lease.node()),
        };
        replica.or(cluster.table[part].broker()).map_or(Link::NONE, Link::to)
    }

    /// Returns whether a Fetch request names no rack: other replicas are of no use for now.
    pub(super) fn leaders_alone(&self, now: Tick) -> bool {
        !REPLICAS || guard!("a replica in trouble is not named again", now < self.rack_from)
    }

    /// Handles a replica that a leader names to be read from.
    pub(super) fn prefer(&mut self, cx: &mut Cx<'d>, part: usize, memo: &FetchMemo) {
        let entry = &cx.cluster.table[part];
        let topic = usize::from(entry.topic);
        if !REPLICAS || memo.preferred < 0 {
            return;
        }
        // Only a leader names one: this broker is not the follower it was taken for, and returns no
        // records.
        if self.leave_replica(cx, part) {
            return cx.refresh(topic);
        }
        if memo.preferred == entry.leader() {
            return;
        }
        if guard!(
            "an unknown replica is not read from",
            cx.cluster.broker_slot(memo.preferred).is_none()
        ) {
            // The leader returns no records to clients that it sends elsewhere.
            self.rack_from = cx.now + PAUSE;
            cx.refresh(topic);
            return;
        }
        let until = cx.now + cx.settings.metadata_max_age;
        self.reads[part].lease = Lease::new(memo.preferred, until);
        self.lists.lease = self.lists.lease.min(until);
        self.relink(&cx.cluster, part);
    }

    /// Returns to the leader, which decides what is wrong. False: it was the leader already.
    pub(super) fn leave_replica(&mut self, cx: &Cx<'d>, part: usize) -> bool {
        let read = &mut self.reads[part];
        let left = read.lease.until() != Tick::ZERO;
        if guard!("trouble at a follower is decided at the leader", left) {
            read.lease = Lease::NONE;
            self.rack_from = cx.now + PAUSE;
            self.relink(&cx.cluster, part);
        }
        left
    }

    /// Moves the partitions of a broker's lists to their right places. Those for which `gone` is
    /// true are read from their leaders again.
    pub(super) fn review(&mut self, cx: &Cx<'d>, desk: usize, gone: impl Fn(Tick) -> bool) {
        if !REPLICAS {
            return;
        }
        for spot in [Spot::Sends, Spot::Quiet] {
            let at = &self.desks[desk];
            let list = if spot == Spot::Sends { at.sends } else { at.quiet };
            let mut link = list.first();
            while let Some(part) = link.get() {
                link = self.by_work.next(part);
                let read = &mut self.reads[part];
                let until = read.lease.until();
                if until != Tick::ZERO {
                    if !gone(until) {
                        self.relink(&cx.cluster, part);
                    } else if until <= cx.now {
                        read.lease = Lease::NONE;
                        self.relink(&cx.cluster, part);
                    } else {
                        self.leave_replica(cx, part);
                    }
                }
            }
        }
    }

    /// Ends leases that are over, so that leaders can name a closer replica again.
    pub(super) fn end_leases(&mut self, cx: &Cx<'d>) {
        self.lists.lease = Tick::NEVER;
        for desk in 0..self.desks.len() {
            self.review(cx, desk, |until| guard!("a lease ends", until <= cx.now));
            for list in [self.desks[desk].sends, self.desks[desk].quiet] {
                for part in self.by_work.iter(&list) {
                    let until = self.reads[part].lease.until();
                    if until != Tick::ZERO {
                        self.lists.lease = self.lists.lease.min(until);
                    }
                }
            }
        }
    }
}
