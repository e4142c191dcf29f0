//! Requests about consumer groups. All but the list of a broker's groups are for the group's
//! coordinator, which each request looks up for itself; what it refuses because it is not the
//! coordinator (yet) is looked up and sent again until the request times out.

mod replies;
mod request;

pub(super) use replies::is_about_groups;

use super::texts::put;
use super::{AGAIN, Admin, RequestState, texts};
use crate::api::Kind;
use crate::cluster::{Cx, Wish};
use crate::connection::{Role, Tag};
use crate::error::{AdminError, Error, LimitKind, Misuse, Obstacle, PeerFault};
use crate::event::{Event, GroupAdmin};
use crate::id::RequestId;
use crate::memory::{Blocks, Chain, backoff};
use crate::time::{Span, Tick};
use crate::wire::{ErrorCode, Full};

/// Longest id of a group.
const GROUP: usize = 1024;
/// Bytes of a partition in a request besides its metadata.
const PARTITION: usize = 24;
/// After this time without a connection the coordinator is looked up again: it may have moved.
const RESEEK: Span = Span::from_millis(1000);
/// The last version of requests about offsets that names topics.
const BY_NAME: i16 = 9;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    List,
    Describe,
    Delete,
    Offsets,
    /// Commits offsets of this many partitions, which follow the topic in `texts`: index, offset,
    /// epoch, metadata.
    Set(u32),
    /// Forgets offsets of this many partitions, which follow the topic in `texts`.
    Forget(u32),
}

/// How far a request about a group is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Progress {
    /// The broker that the request is for, -1 while it is not known.
    node: i32,
    /// It was refused as one under KIP-848.
    classic: bool,
    /// When its coordinator was found.
    found_at: Tick,
    /// Why it is retried.
    refused: ErrorCode,
    /// Results of partitions so far.
    results: u32,
}

impl Progress {
    pub(super) const NONE: Self =
        Self { node: -1, classic: false, found_at: Tick::ZERO, refused: ErrorCode(0), results: 0 };

    pub(super) fn age(&mut self, by: Span) {
        self.found_at.age(by);
    }

    pub(super) const fn kind(&self, operation: Operation) -> Kind {
        match operation {
            Operation::List => Kind::ListGroups,
            _ if self.node < 0 => Kind::GroupCoordinator,
            Operation::Describe if self.classic => Kind::DescribeClassic,
            Operation::Describe => Kind::DescribeConsumer,
            Operation::Delete => Kind::DeleteGroup,
            Operation::Offsets => Kind::GroupOffsets,
            Operation::Set(_) => Kind::SetOffsets,
            Operation::Forget(_) => Kind::DeleteOffsets,
        }
    }
}

/// What a request keeps besides the group's id.
fn parts<'w>(wanted: &GroupAdmin<'w>) -> (Operation, &'w str, &'w str) {
    let count = |len| u32::try_from(len).unwrap_or(u32::MAX);
    match *wanted {
        GroupAdmin::List { .. } => (Operation::List, "", ""),
        GroupAdmin::Describe { group } => (Operation::Describe, group, ""),
        GroupAdmin::Delete { group } => (Operation::Delete, group, ""),
        GroupAdmin::Offsets { group } => (Operation::Offsets, group, ""),
        GroupAdmin::SetOffsets { group, topic, offsets } => {
            (Operation::Set(count(offsets.len())), group, topic)
        }
        GroupAdmin::DeleteOffsets { group, topic, partitions } => {
            (Operation::Forget(count(partitions.len())), group, topic)
        }
    }
}

/// Checks whether a request can be kept and written at all, and whether there is memory for that
/// now.
fn may_be_kept(
    blocks: &Blocks<'_>,
    client_id: usize,
    wanted: &GroupAdmin<'_>,
) -> Result<(), AdminError> {
    let (_, group, topic) = parts(wanted);
    if group.len() > GROUP {
        let (what, needed, max) = (LimitKind::Text, group.len(), GROUP);
        return Err(AdminError::TooLarge { what, needed, max });
    }
    if topic.len() > texts::NAME {
        return Err(AdminError::Caller(Misuse::TopicName));
    }
    let (mut partitions, mut metadata) = (0, 0_usize);
    match wanted {
        GroupAdmin::SetOffsets { offsets, .. } => {
            partitions = offsets.len();
            for offset in *offsets {
                let (needed, max) = (offset.metadata.len(), i16::MAX as usize);
                if needed > max {
                    return Err(AdminError::TooLarge { what: LimitKind::Text, needed, max });
                }
                metadata = metadata.saturating_add(needed);
            }
        }
        GroupAdmin::DeleteOffsets { partitions: list, .. } => partitions = list.len(),
        _ => {}
    }
    let each = partitions.saturating_mul(PARTITION).saturating_add(metadata);
    let kept = each.saturating_add(group.len() + topic.len() + 4);
    let written = kept.saturating_add(texts::AROUND + client_id);
    let too_many = kept > i32::MAX as usize;
    // Sums of blocks must not overflow either.
    let (kept, written) = if too_many { (0, 0) } else { (kept, written) };
    texts::there_is_room(blocks, kept, written, too_many)
}

fn keep(blocks: &mut Blocks<'_>, chain: &mut Chain, wanted: &GroupAdmin<'_>) -> Result<(), Full> {
    let (_, group, topic) = parts(wanted);
    put(blocks, chain, Some(group))?;
    put(blocks, chain, Some(topic))?;
    match wanted {
        GroupAdmin::SetOffsets { offsets, .. } => {
            for offset in *offsets {
                blocks.append(chain, &offset.partition.to_be_bytes())?;
                blocks.append(chain, &offset.offset.to_be_bytes())?;
                blocks.append(chain, &offset.leader_epoch.to_be_bytes())?;
                put(blocks, chain, Some(offset.metadata))?;
            }
        }
        GroupAdmin::DeleteOffsets { partitions, .. } => {
            for partition in *partitions {
                blocks.append(chain, &partition.to_be_bytes())?;
            }
        }
        _ => {}
    }
    Ok(())
}

impl<'d> Admin<'d> {
    pub(super) fn submit_group(
        &mut self,
        cx: &mut Cx<'d>,
        wanted: &GroupAdmin<'_>,
    ) -> Result<RequestId, AdminError> {
        may_be_kept(&cx.net.blocks, cx.settings.client_id.len(), wanted)?;
        let slot = self.free()?;
        let mut texts = Chain::EMPTY;
        if keep(&mut cx.net.blocks, &mut texts, wanted).is_err() {
            cx.net.blocks.release(&mut texts);
            return Err(AdminError::Full);
        }
        let (operation, ..) = parts(wanted);
        let id = self.queue(cx, slot, super::Operation::Group(operation), texts);
        if let GroupAdmin::List { broker } = wanted {
            self.requests[slot].progress.node = *broker;
        }
        Ok(id)
    }

    /// Returns what keeps a request from its response.
    pub(super) fn obstacle_of_group(&self, cx: &Cx<'d>, slot: usize) -> Option<Obstacle> {
        let request = &self.requests[slot];
        let (broker, api) = (request.by, Some(request.kind().api()));
        let node = request.progress.node;
        match request.state {
            RequestState::Queued | RequestState::Sent if request.refusals > 0 => {
                Some(Obstacle::Refused { broker, api, code: request.progress.refused })
            }
            RequestState::Queued => cx.cluster.broker(node)?.last.why_down(node),
            RequestState::Sent => Some(Obstacle::NoResponse { broker, api }),
            _ => None,
        }
    }

    pub(super) fn send_group(
        &mut self,
        cx: &mut Cx<'d>,
        slot: usize,
        operation: Operation,
    ) -> Tick {
        let kind = self.requests[slot].kind();
        let conn = match kind {
            Kind::GroupCoordinator => {
                cx.want_connection();
                cx.pick_main(None, kind)
            }
            _ => match self.connect(cx, slot, operation) {
                Ok(conn) => Some(conn),
                Err(at) => return at,
            },
        };
        let lacks = match conn {
            Some(conn) => cx.net.conns[conn].versions.lacks(kind),
            None => cx.net.lacking(cx.now, kind),
        };
        match lacks {
            Some(_) if kind == Kind::DescribeConsumer => {
                self.requests[slot].progress.classic = true;
                self.dirty = true;
                return cx.now + AGAIN;
            }
            Some(fault) => {
                self.fail(&mut cx.net.blocks, slot, Error::Peer(fault));
                return Tick::NEVER;
            }
            None => {}
        }
        let Some(conn) = conn else { return cx.now + AGAIN };
        let by_name = matches!(kind, Kind::GroupOffsets | Kind::SetOffsets);
        let cap = if by_name { BY_NAME } else { i16::MAX };
        let Some(mut draft) = cx.net.open(conn, cx.now, kind, cap) else { return cx.now + AGAIN };
        let request = &mut self.requests[slot];
        if let Err(Full) = request.write_group(&mut cx.net, &mut draft, kind) {
            cx.net.abandon(draft);
            return cx.now + AGAIN;
        }
        (request.state, request.by) = (RequestState::Sent, cx.net.conns[conn].peer.node());
        cx.net.send(cx.now, draft, [slot as u32, request.serial], cx.settings.request_timeout);
        Tick::NEVER
    }

    /// Returns a connection to the broker that a request is for, else when to try again.
    fn connect(
        &mut self,
        cx: &mut Cx<'d>,
        slot: usize,
        operation: Operation,
    ) -> Result<usize, Tick> {
        let progress = &mut self.requests[slot].progress;
        let at = match cx.cluster.broker(progress.node) {
            Some(_) => match cx.wish(progress.node, Role::Main) {
                Wish::Ready(conn) => return Ok(conn),
                Wish::Later(at) => at,
            },
            None => {
                // Metadata has its address.
                cx.cluster.brokers_wanted = true;
                Tick::NEVER
            }
        };
        let vain = operation != Operation::List && progress.found_at + RESEEK <= cx.now;
        if guard!("a coordinator that cannot be reached is looked up again", vain) {
            progress.node = -1;
            self.dirty = true;
        }
        Err(at.min(cx.now + AGAIN))
    }

    /// Handles the end of a response.
    pub(super) fn group_done(
        &mut self,
        cx: &mut Cx<'d>,
        slot: usize,
        operation: Operation,
        kind: Kind,
    ) -> Option<Event<'static>> {
        let request = &mut self.requests[slot];
        let (error, results) = (request.error, request.progress.results);
        let complete = match operation {
            _ if kind == Kind::GroupCoordinator => request.progress.node >= 0,
            Operation::Set(partitions) | Operation::Forget(partitions) => results == partitions,
            _ => request.named,
        };
        let other = kind == Kind::DescribeConsumer
            && matches!(error, ErrorCode::GROUP_ID_NOT_FOUND | ErrorCode::UNSUPPORTED_VERSION);
        if guard!("a group that is none under KIP-848 may be a classic one", other) {
            request.progress.classic = true;
            self.queue_again(slot);
            return None;
        }
        if error.passes_at_coordinators() && cx.now + AGAIN < request.deadline {
            let refusals = request.refusals;
            (request.refusals, request.progress.refused) = (refusals.saturating_add(1), error);
            if guard!("who keeps refusing gets requests ever more slowly", refusals > 0) {
                let (base, max) = (cx.settings.retry_backoff, cx.settings.retry_backoff_max);
                request.retry_at = backoff(&mut cx.rng, cx.now, base, max, refusals);
            }
            if operation != Operation::List {
                request.progress.node = -1;
            }
            self.queue_again(slot);
            return None;
        }
        let result = match error {
            ErrorCode(0) if guard!("what is left out is not done", !complete) => {
                Err(Error::Peer(PeerFault::LeftOut(kind.api())))
            }
            ErrorCode(0) if kind == Kind::GroupCoordinator => {
                request.progress.found_at = cx.now;
                self.queue_again(slot);
                return None;
            }
            ErrorCode(0) => Ok(()),
            error => Err(Error::Broker(error)),
        };
        Some(self.end(cx, slot, result))
    }

    /// Lets a request be sent again, or the next one of it.
    fn queue_again(&mut self, slot: usize) {
        let request = &mut self.requests[slot];
        (request.state, request.error, request.named) = (RequestState::Queued, ErrorCode(0), false);
        request.progress.results = 0;
        self.dirty = true;
    }

    /// Notes that a response is about what was requested.
    fn note_named(&mut self, tag: Tag) {
        if let Some(slot) = self.slot(tag) {
            self.requests[slot].named = true;
        }
    }
}
