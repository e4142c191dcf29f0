//! Which broker coordinates a group or a transactional id, and the connection to it.

use crate::api::Kind;
use crate::cluster::{Cx, Wish};
use crate::connection::{Role, Tag};
use crate::time::{Span, Tick};
use crate::wire::table::Segment;
use crate::wire::{Encode, ErrorCode, find_coordinator};

/// Pause after something did not fit, or waits for a connection.
const AGAIN: Span = Span::from_millis(20);
/// A coordinator that is down after this long, or whose address Metadata does not have, is looked
/// up again.
const KNOWN: Span = Span::from_secs(1);

/// What is coordinated.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Key<'k> {
    /// The group of the configuration.
    #[cfg(feature = "group")]
    Member,
    /// Its transactional id.
    #[cfg(feature = "transactions")]
    Transaction,
    /// Some group.
    #[cfg_attr(not(feature = "transactions"), allow(dead_code, reason = "a member has one"))]
    Group(&'k str),
}

/// The request that looks a coordinator up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LookUp<'k> {
    pub(crate) key: Key<'k>,
    pub(crate) kind: Kind,
    pub(crate) tag: Tag,
    /// Which connection requests to it use.
    pub(crate) role: Role,
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coordinator {
    node: Option<i32>,
    /// A request for it has no response yet.
    sought: bool,
    retry_at: Tick,
    failures: u8,
    /// An address of it that is not known is waited for until then.
    until: Tick,
}

impl Coordinator {
    pub(crate) const UNKNOWN: Self =
        Self { node: None, sought: false, retry_at: Tick::ZERO, failures: 0, until: Tick::ZERO };

    /// Forgets it: the next request looks it up.
    pub(crate) fn forget(&mut self, now: Tick) {
        if self.node.take().is_some() {
            self.retry_at = now;
        }
    }

    /// It responds.
    pub(crate) const fn recovered(&mut self) {
        self.failures = 0;
    }

    #[cfg(feature = "group")]
    pub(crate) const fn node(&self) -> Option<i32> {
        self.node
    }

    pub(crate) fn age(&mut self, by: Span) {
        self.retry_at.age(by);
        self.until.age(by);
    }

    /// Returns a connection to it, else when to try again.
    pub(crate) fn find(&mut self, cx: &mut Cx<'_>, look_up: &LookUp<'_>) -> Result<usize, Tick> {
        let Some(node) = self.node else { return Err(self.seek(cx, look_up)) };
        let broker = cx.cluster.broker(node);
        let down = broker.is_none_or(|broker| broker.last.is_down());
        if down && self.until <= cx.now {
            // Others may know another one by now.
            return Err(self.seek_later(cx));
        }
        if broker.is_none() {
            // Metadata has its address, unless it is gone.
            cx.cluster.brokers_wanted = true;
            return Err((cx.now + AGAIN).min(self.until));
        }
        let until = if down { self.until } else { Tick::NEVER };
        match cx.wish(node, look_up.role) {
            Wish::Ready(conn) => Ok(conn),
            Wish::Later(at) => Err(at.min(until)),
        }
    }

    fn seek(&mut self, cx: &mut Cx<'_>, look_up: &LookUp<'_>) -> Tick {
        if self.sought {
            return Tick::NEVER;
        }
        if self.retry_at > cx.now {
            return self.retry_at;
        }
        let LookUp { key, kind, tag, .. } = *look_up;
        let Some(conn) = cx.pick_main(None, kind) else {
            // Nothing else may need one, where no topic is known or a transaction has no records.
            if guard!("a look-up has a connection made", true) {
                cx.want_connection();
            }
            return cx.now + AGAIN;
        };
        let Cx { net, settings, now, .. } = cx;
        let (key, key_type) = match key {
            #[cfg(feature = "group")]
            Key::Member => (&*settings.group, 0),
            #[cfg(feature = "transactions")]
            Key::Transaction => (&*settings.transactional_id, 1),
            Key::Group(group) => (group, 0),
        };
        let request = find_coordinator::Request { key, key_type };
        let draft = net.draft(conn, *now, kind, &mut |w, version| request.encode(version, w));
        let Some(draft) = draft else { return *now + AGAIN };
        self.sought = true;
        net.send(*now, draft, tag, settings.request_timeout);
        Tick::NEVER
    }

    /// Handles an item of the response: whether it names the coordinator, if it says anything.
    pub(crate) fn on_item(
        &mut self,
        cx: &Cx<'_>,
        got: Segment<'_, '_>,
    ) -> Option<Result<(), ErrorCode>> {
        let Some(find_coordinator::Item::Coordinator { error, node, .. }) =
            find_coordinator::item(got)
        else {
            return None;
        };
        Some(match error {
            ErrorCode(0) if node >= 0 => {
                self.node = Some(node);
                self.until = cx.now + KNOWN;
                Ok(())
            }
            ErrorCode(0) => Err(ErrorCode::COORDINATOR_NOT_AVAILABLE),
            error => Err(error),
        })
    }

    /// Handles the end of a look-up, with or without a response.
    pub(crate) fn sought(&mut self, cx: &mut Cx<'_>) {
        self.sought = false;
        if self.node.is_none() {
            self.seek_later(cx);
        }
    }

    /// Handles a broker that says that it does not coordinate this: another one does, which is
    /// looked up at once the first time.
    pub(crate) fn moved(&mut self, cx: &mut Cx<'_>) {
        if self.node.is_none() {
            return;
        }
        if guard!("brokers that disagree make no fast loop", self.failures > 0) {
            self.seek_later(cx);
        } else {
            self.forget(cx.now);
            self.failures = 1;
        }
    }

    /// Has the coordinator looked up after a growing pause; returns when.
    fn seek_later(&mut self, cx: &mut Cx<'_>) -> Tick {
        self.node = None;
        self.retry_at = cx.retry_at(&mut self.failures);
        self.retry_at
    }
}
