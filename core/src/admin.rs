//! Admin requests: kept in send blocks until a suitable connection is ready, then sent once. Their
//! responses go to the application element by element.

#[cfg(feature = "group-admin")]
mod groups;
mod texts;
mod topics;

use crate::api::Kind;
use crate::cluster::{Cluster, Cx, Wish};
use crate::connection::{InFlight, Origin, Role, Tag};
use crate::error::{AdminError, Error, Misuse, Obstacle, PeerFault};
use crate::event::{self, Event, Reply};
use crate::has::REASONS;
use crate::id::RequestId;
use crate::memory::{Blocks, Chain, Mem, backoff};
use crate::setup::Setup;
use crate::time::{Span, Tick};
use crate::wire::table::Segment;
use crate::wire::{ErrorCode, Full};
use texts::{NAME, keep, may_be_kept, topic_name};

const AGAIN: Span = Span::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum RequestState {
    Free,
    Queued,
    Sent,
    /// Ended without a response.
    Failed(Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Create {
        partitions: i32,
        replication_factor: i16,
        configs: u16,
    },
    Grow {
        count: i32,
        validate_only: bool,
    },
    Delete,
    Describe,
    DescribeAll,
    #[cfg(feature = "group-admin")]
    Brokers,
    #[cfg(feature = "group-admin")]
    Group(groups::Operation),
}

/// An admin request.
pub(crate) struct Request {
    state: RequestState,
    serial: u32,
    operation: Operation,
    /// The topic's name, then names and values of configs in turn, each after its length.
    texts: Chain,
    deadline: Tick,
    /// The first error in the response.
    error: ErrorCode,
    /// The response lists brokers.
    brokers: bool,
    /// It names the topic.
    named: bool,
    /// Brokers that refused because they are not the controller, and when to try again.
    refusals: u8,
    retry_at: Tick,
    /// Node id of the broker that it was sent to, -1 for a bootstrap address.
    by: i32,
    #[cfg(feature = "group-admin")]
    progress: groups::Progress,
}

impl Request {
    pub(crate) const EMPTY: Self = Self {
        state: RequestState::Free,
        serial: 0,
        operation: Operation::Create { partitions: 0, replication_factor: 0, configs: 0 },
        texts: Chain::EMPTY,
        deadline: Tick::ZERO,
        error: ErrorCode(0),
        brokers: false,
        named: false,
        refusals: 0,
        retry_at: Tick::ZERO,
        by: 0,
        #[cfg(feature = "group-admin")]
        progress: groups::Progress::NONE,
    };

    /// The kind of request that is sent next, or was sent last.
    const fn kind(&self) -> Kind {
        match self.operation {
            Operation::Create { .. } => Kind::Create,
            Operation::Grow { .. } => Kind::Grow,
            Operation::Delete => Kind::Delete,
            Operation::Describe | Operation::DescribeAll => Kind::List,
            #[cfg(feature = "group-admin")]
            Operation::Brokers => Kind::List,
            #[cfg(feature = "group-admin")]
            Operation::Group(operation) => self.progress.kind(operation),
        }
    }
}

/// What is remembered while a response streams in: nothing, since it goes to the application.
pub(crate) struct Memo;

/// See the module.
pub(crate) struct Admin<'d> {
    requests: Mem<'d, Request>,
    serial: u32,
    /// Node id of the broker of the request that ended last.
    pub(crate) by: i32,
    pub(crate) news: bool,
    pub(crate) dirty: bool,
}

impl<'d> Admin<'d> {
    pub(crate) fn new(requests: Mem<'d, Request>, _: &Setup) -> Self {
        Self { requests, serial: 0, by: -1, news: false, dirty: false }
    }

    /// Shifts the scale of time.
    pub(crate) fn age(&mut self, by: Span) {
        for request in self.requests.iter_mut() {
            request.deadline.age(by);
            request.retry_at.age(by);
            #[cfg(feature = "group-admin")]
            request.progress.age(by);
        }
    }

    pub(crate) fn submit(
        &mut self,
        cx: &mut Cx<'d>,
        wanted: &event::Admin<'_>,
    ) -> Result<RequestId, AdminError> {
        let (operation, name, configs): (_, _, &[_]) = match *wanted {
            event::Admin::CreateTopic { name, partitions, replication_factor, configs } => {
                let count = u16::try_from(configs.len()).unwrap_or(u16::MAX);
                (
                    Operation::Create { partitions, replication_factor, configs: count },
                    name,
                    configs,
                )
            }
            event::Admin::CreatePartitions { name, count, validate_only } => {
                (Operation::Grow { count, validate_only }, name, &[])
            }
            event::Admin::DeleteTopic { name } => (Operation::Delete, name, &[]),
            event::Admin::Describe { topic: Some(name) } => (Operation::Describe, name, &[]),
            event::Admin::Describe { topic: None } => (Operation::DescribeAll, "", &[]),
            #[cfg(feature = "group-admin")]
            event::Admin::Brokers => (Operation::Brokers, "", &[]),
            #[cfg(feature = "group-admin")]
            event::Admin::Group(wanted) => return self.submit_group(cx, &wanted),
        };
        if name.len() > NAME {
            return Err(AdminError::Caller(Misuse::TopicName));
        }
        may_be_kept(&cx.net.blocks, cx.settings.client_id.len(), name, configs)?;
        let slot = self.free()?;
        let mut texts = Chain::EMPTY;
        if keep(&mut cx.net.blocks, &mut texts, name, configs).is_err() {
            cx.net.blocks.release(&mut texts);
            return Err(AdminError::Full);
        }
        cx.cluster.brokers_wanted |= cx.cluster.controller.is_none();
        Ok(self.queue(cx, slot, operation, texts))
    }

    fn free(&self) -> Result<usize, AdminError> {
        let slot = self.requests.iter().position(|r| r.state == RequestState::Free);
        slot.ok_or(AdminError::Full)
    }

    /// Takes a request into a free slot.
    fn queue(&mut self, cx: &Cx<'d>, slot: usize, operation: Operation, texts: Chain) -> RequestId {
        self.serial = self.serial.wrapping_add(1);
        self.requests[slot] = Request {
            state: RequestState::Queued,
            serial: self.serial,
            operation,
            texts,
            deadline: cx.now + cx.settings.request_timeout,
            error: ErrorCode(0),
            by: -1,
            ..Request::EMPTY
        };
        self.dirty = true;
        RequestId(self.serial)
    }

    /// Sends what waits; returns the next deadline.
    // Its frame ends before the next part's begins: a device has little stack.
    #[inline(never)]
    pub(crate) fn drive(&mut self, cx: &mut Cx<'d>) -> Tick {
        self.dirty = false;
        let mut next = Tick::NEVER;
        for slot in 0..self.requests.len() {
            let request = &self.requests[slot];
            if !matches!(request.state, RequestState::Queued) {
                continue;
            }
            if request.deadline <= cx.now {
                let why = self.obstacle(cx, slot).map_or(Error::TimedOut, Error::Blocked);
                self.fail(&mut cx.net.blocks, slot, why);
                continue;
            }
            next = next.min(request.deadline);
            next = next.min(match request.retry_at {
                at if at > cx.now => at,
                _ => self.send(cx, slot),
            });
        }
        next
    }

    /// Returns what keeps a request from its response, besides what concerns all requests.
    pub(crate) fn obstacle_of(&self, cx: &Cx<'d>, id: RequestId) -> Option<Obstacle> {
        let slot = self.requests.iter().position(|r| r.serial == id.0)?;
        self.obstacle(cx, slot)
    }

    fn obstacle(&self, cx: &Cx<'d>, slot: usize) -> Option<Obstacle> {
        if !REASONS {
            return None;
        }
        let request = &self.requests[slot];
        #[cfg(feature = "group-admin")]
        if let Operation::Group(_) = request.operation {
            return self.obstacle_of_group(cx, slot);
        }
        let kind = request.kind();
        let (broker, api) = (request.by, Some(kind.api()));
        match request.state {
            RequestState::Queued | RequestState::Sent if request.refusals > 0 => {
                Some(Obstacle::Refused { broker, api, code: ErrorCode::NOT_CONTROLLER })
            }
            RequestState::Queued if kind != Kind::List => cx.cluster.no_controller(),
            RequestState::Sent => Some(Obstacle::NoResponse { broker, api }),
            _ => None,
        }
    }

    fn send(&mut self, cx: &mut Cx<'d>, slot: usize) -> Tick {
        #[cfg(feature = "group-admin")]
        if let Operation::Group(operation) = self.requests[slot].operation {
            return self.send_group(cx, slot, operation);
        }
        let kind = self.requests[slot].kind();
        // Only the controller of a ZooKeeper cluster changes topics; elsewhere any broker does.
        let conn = match cx.cluster.controller {
            _ if kind == Kind::List => {
                cx.want_connection();
                cx.pick_main(None, kind)
            }
            Some(node) if cx.cluster.broker(node).is_some() => match cx.wish(node, Role::Main) {
                Wish::Ready(conn) => Some(conn),
                Wish::Later(at) => return at.min(cx.now + AGAIN),
            },
            Some(_) => cx.pick_main(None, kind),
            None => {
                // The last response may have named none.
                cx.cluster.brokers_wanted = guard!("a controller is searched for", true);
                None
            }
        };
        let lacks = match conn {
            Some(conn) => cx.net.conns[conn].versions.lacks(kind),
            None => cx.net.lacking(cx.now, kind),
        };
        if let Some(fault) = lacks {
            self.fail(&mut cx.net.blocks, slot, Error::Peer(fault));
            return Tick::NEVER;
        }
        let Some(conn) = conn else { return cx.now + AGAIN };
        // CreateTopics responses from version 5 on have every config of the topic: about a
        // kilobyte.
        let cap = if kind == Kind::Create { 4 } else { i16::MAX };
        let Some(mut draft) = cx.net.open(conn, cx.now, kind, cap).or_else(|| {
            (cap < i16::MAX).then(|| cx.net.open(conn, cx.now, kind, i16::MAX)).flatten()
        }) else {
            return cx.now + AGAIN;
        };
        let request = &mut self.requests[slot];
        let timeout = cx.settings.request_timeout;
        let timeout_ms = timeout.millis();
        if let Err(Full) = request.write(&mut cx.net, &mut draft, timeout_ms) {
            cx.net.abandon(draft);
            return cx.now + AGAIN;
        }
        (request.state, request.by) = (RequestState::Sent, cx.net.conns[conn].peer.node());
        cx.net.send(cx.now, draft, [slot as u32, request.serial], timeout);
        Tick::NEVER
    }

    fn slot(&self, [slot, serial]: Tag) -> Option<usize> {
        let request = self.requests.get(slot as usize)?;
        (request.serial == serial && request.state == RequestState::Sent).then_some(slot as usize)
    }

    fn id(&self, tag: Tag) -> Option<RequestId> {
        self.slot(tag).map(|slot| RequestId(self.requests[slot].serial))
    }

    /// Notes an error code in the response; the first one counts.
    fn note(&mut self, tag: Tag, error: ErrorCode) {
        if let Some(slot) = self.slot(tag)
            && self.requests[slot].error.0 == 0
        {
            self.requests[slot].error = error;
        }
    }

    /// Whether a topic's error is the request's error: not in a list of all topics.
    fn is_about_one(&self, tag: Tag) -> bool {
        self.slot(tag).is_some_and(|slot| self.requests[slot].operation != Operation::DescribeAll)
    }

    /// Handles the next element of a response.
    pub(crate) fn item<'a>(
        &mut self,
        cx: &mut Cx<'d>,
        from: &Origin,
        _: &mut Memo,
        got: Segment<'_, 'a>,
    ) -> Option<Event<'a>> {
        let tag = from.requested.tag;
        let reply = match from.requested.kind {
            #[cfg(feature = "group-admin")]
            kind if groups::is_about_groups(kind) => self.group_item(tag, kind, got)?,
            _ => self.topic_item(cx, from, got)?,
        };
        let id = self.id(tag)?;
        Some(Event::Reply { id, reply })
    }

    /// Handles the end of a response.
    pub(crate) fn done(
        &mut self,
        cx: &mut Cx<'d>,
        from: &Origin,
        _: &Memo,
    ) -> Option<Event<'static>> {
        let slot = self.slot(from.requested.tag)?;
        #[cfg(feature = "group-admin")]
        if let Operation::Group(operation) = self.requests[slot].operation {
            return self.group_done(cx, slot, operation, from.requested.kind);
        }
        let request = &mut self.requests[slot];
        if request.error == ErrorCode::NOT_CONTROLLER {
            cx.cluster.controller = None;
            cx.cluster.brokers_wanted = true;
            self.dirty = true;
            if cx.now + AGAIN < request.deadline {
                (request.state, request.error) = (RequestState::Queued, ErrorCode(0));
                request.named = false;
                // Whoever Metadata names then is tried at once.
                if guard!("who keeps refusing gets requests ever more slowly", request.refusals > 0)
                {
                    let (base, max) = (cx.settings.retry_backoff, cx.settings.retry_backoff_max);
                    let refusals = request.refusals;
                    request.retry_at = backoff(&mut cx.rng, cx.now, base, max, refusals);
                }
                request.refusals = request.refusals.saturating_add(1);
                return None;
            }
        }
        let result = match request.error {
            _ if from.requested.kind == Kind::List && !request.brokers => {
                Err(Error::Peer(PeerFault::NoBrokers))
            }
            ErrorCode(0) => {
                let kind = from.requested.kind;
                match guard!("what is left out is not done", kind != Kind::List && !request.named) {
                    true => Err(Error::Peer(PeerFault::LeftOut(kind.api()))),
                    false => Ok(()),
                }
            }
            error => Err(Error::Broker(error)),
        };
        if let (Operation::Grow { validate_only: false, .. }, Ok(())) = (request.operation, result)
        {
            cx.expect_growth(topic_name(&cx.net.blocks, &request.texts, &mut [0; NAME]));
        }
        Some(self.end(cx, slot, result))
    }

    /// The end of a request that had a response.
    fn end(&mut self, cx: &mut Cx<'d>, slot: usize, result: Result<(), Error>) -> Event<'static> {
        let request = &mut self.requests[slot];
        request.state = RequestState::Free;
        cx.net.blocks.release(&mut request.texts);
        self.by = request.by;
        Event::Reply { id: RequestId(request.serial), reply: Reply::Done(result) }
    }

    /// Handles a connection that ended before the response arrived; whether the request was carried
    /// out is unknown.
    pub(crate) fn lost(&mut self, cx: &mut Cx<'d>, request: &InFlight, error: Error) {
        if let Some(slot) = self.slot(request.requested.tag) {
            self.fail(&mut cx.net.blocks, slot, error);
        }
    }

    fn fail(&mut self, blocks: &mut Blocks<'d>, slot: usize, error: Error) {
        let request = &mut self.requests[slot];
        request.state = RequestState::Failed(error);
        blocks.release(&mut request.texts);
        self.news = true;
    }

    pub(crate) fn begin(&self, _: &Cx<'d>, _: &Origin) -> Memo {
        Memo
    }

    pub(crate) fn is_dirty(&self) -> bool {
        self.dirty
    }

    pub(crate) fn has_news(&self) -> bool {
        let ended = |request: &Request| matches!(request.state, RequestState::Failed(_));
        self.news && self.requests.iter().any(ended)
    }

    pub(crate) fn poll_event(&mut self, _: &Cluster<'d>) -> Option<Event<'static>> {
        if !self.news {
            return None;
        }
        for request in self.requests.iter_mut() {
            if let RequestState::Failed(error) = request.state {
                request.state = RequestState::Free;
                self.by = request.by;
                let id = RequestId(request.serial);
                return Some(Event::Reply { id, reply: Reply::Done(Err(error)) });
            }
        }
        self.news = false;
        None
    }
}
