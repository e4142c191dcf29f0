//! Which broker coordinates the group, and the connection to it.

use super::{AGAIN, Group};
use crate::api::Kind;
use crate::cluster::{Cx, Wish};
#[cfg(not(feature = "classic"))]
use crate::connection::Role;
use crate::error::{Error, GroupError};
use crate::memory::backoff;
use crate::time::{Span, Tick};
use crate::wire::table::Segment;
use crate::wire::{Encode, ErrorCode, find_coordinator};

/// A coordinator that is down after this long, or whose address Metadata does not have, is looked
/// up again.
const KNOWN: Span = Span::from_secs(1);

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coordinator {
    node: Option<i32>,
    /// A request for it has no response yet.
    sought: bool,
    retry_at: Tick,
    failures: u8,
    /// An address of it that is not known is waited for until then.
    until: Tick,
}

impl Coordinator {
    pub(super) const UNKNOWN: Self =
        Self { node: None, sought: false, retry_at: Tick::ZERO, failures: 0, until: Tick::ZERO };

    /// Forgets it: the next request looks it up.
    pub(super) fn forget(&mut self, now: Tick) {
        if self.node.take().is_some() {
            self.retry_at = now;
        }
    }

    /// It responds.
    pub(super) const fn recovered(&mut self) {
        self.failures = 0;
    }

    pub(super) const fn node(&self) -> Option<i32> {
        self.node
    }

    pub(super) fn age(&mut self, by: Span) {
        self.retry_at.age(by);
        self.until.age(by);
    }
}

impl<'d> Group<'d> {
    /// Returns a connection to the coordinator, else when to try again.
    pub(super) fn find_coordinator(&mut self, cx: &mut Cx<'d>) -> Result<usize, Tick> {
        let Some(node) = self.coordinator.node else { return Err(self.seek_coordinator(cx)) };
        let broker = cx.cluster.broker(node);
        let down = broker.is_none_or(|broker| broker.last.is_down());
        if down && self.coordinator.until <= cx.now {
            // Others may know another one by now.
            return Err(self.seek_later(cx));
        }
        if broker.is_none() {
            // Metadata has its address, unless it is gone.
            cx.cluster.brokers_wanted = true;
            return Err((cx.now + AGAIN).min(self.coordinator.until));
        }
        let until = if down { self.coordinator.until } else { Tick::NEVER };
        #[cfg(feature = "classic")]
        let role = self.role();
        #[cfg(not(feature = "classic"))]
        let role = Role::Group;
        match cx.wish(node, role) {
            Wish::Ready(conn) => Ok(conn),
            Wish::Later(at) => Err(at.min(until)),
        }
    }

    fn seek_coordinator(&mut self, cx: &mut Cx<'d>) -> Tick {
        if self.coordinator.sought {
            return Tick::NEVER;
        }
        if self.coordinator.retry_at > cx.now {
            return self.coordinator.retry_at;
        }
        let Some(conn) = cx.pick_main(None, Kind::Coordinator) else { return cx.now + AGAIN };
        let group = &cx.settings.group;
        let request = find_coordinator::Request { key: group, key_type: 0 };
        let draft = cx
            .net
            .draft(conn, cx.now, Kind::Coordinator, &mut |w, version| request.encode(version, w));
        let Some(draft) = draft else { return cx.now + AGAIN };
        self.coordinator.sought = true;
        cx.net.send(cx.now, draft, [self.serial, 0], cx.settings.request_timeout);
        Tick::NEVER
    }

    pub(super) fn on_coordinator(&mut self, cx: &mut Cx<'d>, got: Segment<'_, '_>) {
        let Some(find_coordinator::Item::Coordinator { error, node, .. }) =
            find_coordinator::item(got)
        else {
            return;
        };
        match error {
            ErrorCode(0) if node >= 0 => {
                self.coordinator.node = Some(node);
                self.coordinator.until = cx.now + KNOWN;
                self.dirty = true;
            }
            ErrorCode::GROUP_AUTHORIZATION_FAILED | ErrorCode::INVALID_GROUP_ID => {
                self.news.fatal = Some(GroupError::Refused(error));
                self.dirty = true;
            }
            _ => {
                let code = if error.0 == 0 { ErrorCode::COORDINATOR_NOT_AVAILABLE } else { error };
                self.note_trouble(cx.now, Error::Broker(code));
            }
        }
    }

    /// Handles the end of a look-up, with or without a response.
    pub(super) fn coordinator_sought(&mut self, cx: &mut Cx<'d>) {
        self.coordinator.sought = false;
        if self.coordinator.node.is_none() {
            self.seek_later(cx);
        }
        self.dirty = true;
    }

    /// Handles a broker that says that it does not coordinate the group: another one does, which
    /// is looked up at once the first time.
    pub(super) fn move_coordinator(&mut self, cx: &mut Cx<'d>) {
        if self.coordinator.node.is_none() {
            return;
        }
        if guard!("brokers that disagree make no fast loop", self.coordinator.failures > 0) {
            self.seek_later(cx);
        } else {
            self.coordinator.forget(cx.now);
            self.coordinator.failures = 1;
        }
    }

    /// Has the coordinator looked up after a growing pause; returns when.
    fn seek_later(&mut self, cx: &mut Cx<'d>) -> Tick {
        let (base, max) = (cx.settings.retry_backoff, cx.settings.retry_backoff_max);
        let failures = self.coordinator.failures;
        self.coordinator.node = None;
        self.coordinator.retry_at = backoff(&mut cx.rng, cx.now, base, max, failures);
        self.coordinator.failures = failures.saturating_add(1);
        self.coordinator.retry_at
    }
}
