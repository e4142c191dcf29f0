//! What the member of a group needs of the consumer: partitions that are assigned aside, and read
//! only later.

use super::{Activity, Consumer};
use crate::api::Kind;
use crate::cluster::{Cluster, Cx};
use crate::config::Start;
use crate::connection::{Peer, Role};
use crate::error::Error;

impl<'d> Consumer<'d> {
    /// Assigns a partition in the table without reading it yet; its start is resolved. `epoch` is
    /// the leader epoch of the last record that was read, -1 for unknown.
    pub(crate) fn assign_aside(
        &mut self,
        cx: &mut Cx<'d>,
        part: usize,
        start: Start,
        epoch: i32,
    ) -> Result<(), Error> {
        let entry = cx.cluster.table[part];
        let topic = cx.cluster.topic_id(usize::from(entry.topic));
        self.assign(cx, topic, entry.index, start)?;
        let read = &mut self.reads[part];
        if start == Start::Offset(0) {
            read.begin_first();
        }
        if let Start::Offset(1..) = start {
            read.last_epoch = epoch;
            read.unchecked = Kind::EPOCHS.is_some() && epoch >= 0;
        }
        read.paused = true;
        self.aside = true;
        self.relink(&cx.cluster, part);
        Ok(())
    }

    /// Has a partition that was assigned aside read, and reports it.
    pub(crate) fn admit(&mut self, cluster: &Cluster<'d>, part: usize) {
        self.reads[part].assigned_news = true;
        self.resume(cluster, part);
        self.report(part);
    }

    /// Notes whether another assignment is expected soon: a Fetch must not hold it up then.
    pub(crate) const fn await_assignment(&mut self, soon: bool) {
        self.expects = soon;
    }

    /// Returns the connection for requests of offsets: those of a group's partitions do not wait
    /// behind a Fetch where there is another connection.
    pub(super) fn beside_fetches(&self, cx: &Cx<'d>, conn: usize, node: i32) -> usize {
        if !self.aside || !cx.net.conns[conn].awaits(|kind| kind == Kind::Fetch) {
            return conn;
        }
        let main = cx.net.find(Peer::Node(node), Role::Main);
        let main = main.filter(|main| {
            cx.net.takes_requests(*main, cx.now) && cx.net.conns[*main].versions.has(Kind::Offsets)
        });
        main.unwrap_or(conn)
    }

    pub(crate) fn is_assigned(&self, part: usize) -> bool {
        self.reads[part].state != Activity::Off
    }

    /// Returns the leader epoch of the last record that was read, -1 for unknown.
    pub(crate) fn last_epoch(&self, part: usize) -> i32 {
        self.reads[part].last_epoch
    }

    pub(crate) fn has_resolved(&self) -> bool {
        self.resolved
    }

    /// Whether the start of some partition was resolved since the last call.
    pub(crate) fn take_resolved(&mut self) -> bool {
        core::mem::take(&mut self.resolved)
    }
}
