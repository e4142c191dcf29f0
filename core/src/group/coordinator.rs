//! The group's coordinator.

use super::Group;
use crate::api::Kind;
use crate::cluster::Cx;
#[cfg(not(feature = "classic"))]
use crate::connection::Role;
use crate::coordinator::{Key, LookUp};
use crate::error::{Error, GroupError};
use crate::time::Tick;
use crate::wire::ErrorCode;
use crate::wire::table::Segment;

impl<'d> Group<'d> {
    /// Returns a connection to the coordinator, else when to try again.
    pub(super) fn find_coordinator(&mut self, cx: &mut Cx<'d>) -> Result<usize, Tick> {
        let (key, kind, tag) = (Key::Member, Kind::Coordinator, [self.serial, 0]);
        #[cfg(feature = "classic")]
        let role = self.role();
        #[cfg(not(feature = "classic"))]
        let role = Role::Coordinator;
        self.coordinator.find(cx, &LookUp { key, kind, tag, role })
    }

    pub(super) fn on_coordinator(&mut self, cx: &mut Cx<'d>, got: Segment<'_, '_>) {
        match self.coordinator.on_item(cx, got) {
            None => {}
            Some(Ok(())) => self.dirty = true,
            Some(Err(
                code @ (ErrorCode::GROUP_AUTHORIZATION_FAILED | ErrorCode::INVALID_GROUP_ID),
            )) => {
                self.news.fatal = Some(GroupError::Refused(code));
                self.dirty = true;
            }
            Some(Err(code)) => self.note_trouble(cx.now, Error::Broker(code)),
        }
    }

    /// Handles the end of a look-up, with or without a response.
    pub(super) fn coordinator_sought(&mut self, cx: &mut Cx<'d>) {
        self.coordinator.sought(cx);
        self.dirty = true;
    }

    /// Handles a broker that says that it does not coordinate the group.
    pub(super) fn move_coordinator(&mut self, cx: &mut Cx<'d>) {
        self.coordinator.moved(cx);
    }
}
