//! OffsetForLeaderEpoch: checks whether the log still has what was read, where Fetch does not
//! report that (brokers 2.4 to 2.6; KIP-320).

use super::{Activity, Consumer, OffsetsMemo};
use crate::api::Kind;
use crate::cluster::Cx;
use crate::wire::table::Segment;
use crate::wire::{ErrorCode, offset_for_leader_epoch};

/// From this version on Fetch detects truncation itself.
const FETCH_CHECKS: i16 = 12;
/// In older versions consumers have no permission.
const FOR_CONSUMERS: i16 = 3;

impl<'d> Consumer<'d> {
    /// Notes a leader epoch: if it is new, what was read before may no longer be in the log.
    pub(super) fn doubt(&mut self, part: usize, epoch: i32) {
        let read = &mut self.reads[part];
        let known = Kind::EPOCHS.is_some()
            && read.state == Activity::Fetch
            && read.last_epoch >= 0
            && epoch >= 0;
        let news = guard!("a new epoch is checked", read.sent_epoch != epoch);
        read.unchecked |= known && news;
    }

    /// Requests the end offsets of the epochs that were read last from the broker of a connection.
    /// False: no space.
    pub(super) fn send_checks(&mut self, cx: &mut Cx<'d>, (conn, desk): (usize, usize)) -> bool {
        let Some(wants_requests) = Kind::EPOCHS else { return true };
        if self.desks[desk].checks.is_empty() {
            return true;
        }
        let versions = &cx.net.conns[conn].versions;
        let fetch_does = guard!(
            "Fetch checks positions itself",
            versions.best(Kind::Fetch, i16::MAX) >= Some(FETCH_CHECKS)
        );
        let can = versions.best(wants_requests, i16::MAX) >= Some(FOR_CONSUMERS);
        if fetch_does || !guard!("a position is checked where Fetch does not", can) {
            while let Some(part) = self.desks[desk].checks.first().get() {
                self.reads[part].unchecked = false;
                self.relink(&cx.cluster, part);
            }
            return true;
        }
        if cx.net.conns[conn].awaits(|kind| kind == wants_requests) {
            return true;
        }
        self.request(cx, (conn, desk), wants_requests)
    }

    pub(super) fn on_epochs(
        &mut self,
        cx: &mut Cx<'d>,
        correlation: i32,
        memo: &mut OffsetsMemo,
        got: Segment<'_, '_>,
    ) {
        use offset_for_leader_epoch::Item;
        match offset_for_leader_epoch::item(got) {
            Some(Item::Topic { name }) => memo.names(&cx.cluster, name),
            Some(Item::Partition { error, index, leader_epoch, end_offset }) => {
                let Some(part) = memo.part(&cx.cluster, index) else { return };
                let read = &mut self.reads[part];
                // A seek in between takes precedence.
                let sought = guard!("a seek outlives a check", read.requested != correlation);
                if read.state != Activity::Fetch || sought {
                    return;
                }
                read.requested = 0;
                if error != ErrorCode(0) {
                    return self.refused(cx, part, error);
                }
                read.unchecked = false;
                read.recovered();
                if leader_epoch < 0 || end_offset < 0 {
                    self.diverged(cx, part, -1, -1);
                } else if guard!("a log that was cut is noticed", end_offset < read.position) {
                    self.diverged(cx, part, leader_epoch, end_offset);
                }
                self.relink(&cx.cluster, part);
            }
            _ => {}
        }
    }
}
