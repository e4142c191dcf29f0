//! Admin requests: kept in send blocks until a suitable connection is ready, then sent once. Their
//! responses go to the application element by element.

use crate::api::Kind;
use crate::cluster::{Cluster, Cx, Wish};
use crate::connection::{CLUSTER_ID_SINCE, Draft, InFlight, Net, Origin, Role, Tag};
use crate::error::{AdminError, Error, LimitKind, Misuse, Obstacle, PeerFault};
use crate::event::{self, Event, Reply};
use crate::has::REASONS;
use crate::id::RequestId;
use crate::memory::{Blocks, Chain, Mem, backoff};
use crate::setup::Setup;
use crate::time::{Span, Tick};
use crate::wire::table::Segment;
use crate::wire::{
    Encode, ErrorCode, Full, Uuid, create_partitions, create_topics, delete_topics, metadata,
};

/// Longest topic name.
const NAME: usize = 249;
/// In place of a length: no text follows.
const NULL: u16 = u16::MAX;
/// Bytes of a request besides its texts and the client id, and of each config.
const AROUND: usize = 64;
const AROUND_CONFIG: usize = 3;
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
    Create { partitions: i32, replication_factor: i16, configs: u16 },
    Grow { count: i32, validate_only: bool },
    Delete,
    Describe,
    DescribeAll,
}

impl Operation {
    const fn kind(self) -> Kind {
        match self {
            Self::Create { .. } => Kind::Create,
            Self::Grow { .. } => Kind::Grow,
            Self::Delete => Kind::Delete,
            Self::Describe | Self::DescribeAll => Kind::List,
        }
    }
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
    };
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
        };
        if name.len() > NAME {
            return Err(AdminError::Caller(Misuse::TopicName));
        }
        may_be_kept(&cx.net.blocks, cx.settings.client_id.len(), name, configs)?;
        let slot = self.requests.iter().position(|r| r.state == RequestState::Free);
        let slot = slot.ok_or(AdminError::Full)?;
        let mut texts = Chain::EMPTY;
        if keep(&mut cx.net.blocks, &mut texts, name, configs).is_err() {
            cx.net.blocks.release(&mut texts);
            return Err(AdminError::Full);
        }
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
        cx.cluster.brokers_wanted |= cx.cluster.controller.is_none();
        self.dirty = true;
        Ok(RequestId(self.serial))
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
        let kind = request.operation.kind();
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
        let kind = self.requests[slot].operation.kind();
        // Only the controller of a ZooKeeper cluster changes topics; elsewhere any broker does.
        let conn = match cx.cluster.controller {
            _ if kind == Kind::List => {
                cx.cluster.brokers_wanted |= cx.net.conns.iter().all(|c| !c.is_live());
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
            Kind::List => {
                let item = metadata::item(got)?;
                // It may be in the first response that names the cluster.
                if let metadata::Item::Cluster { id, .. } = item
                    && from.requested.version >= CLUSTER_ID_SINCE
                {
                    cx.admits(from.conn, id);
                }
                self.described(tag, item)?
            }
            Kind::Create => match create_topics::item(got)? {
                create_topics::Item::Topic { error, message, name, .. } => {
                    self.judged(cx, tag, (error, Some(name)), message)?
                }
                item => return self.passed(tag, matches!(item, create_topics::Item::Skipped)),
            },
            Kind::Grow => match create_partitions::item(got)? {
                create_partitions::Item::Topic { error, message, name, .. } => {
                    self.judged(cx, tag, (error, Some(name)), message)?
                }
                item => return self.passed(tag, matches!(item, create_partitions::Item::Skipped)),
            },
            _ => match delete_topics::item(got)? {
                delete_topics::Item::Topic { error, message, name, .. } => {
                    self.judged(cx, tag, (error, name), message)?
                }
                item => return self.passed(tag, matches!(item, delete_topics::Item::Skipped)),
            },
        };
        let id = self.id(tag)?;
        Some(Event::Reply { id, reply })
    }

    /// Passes an element that is no result; one that did not fit may have been the topic's.
    fn passed<'a>(&mut self, tag: Tag, skipped: bool) -> Option<Event<'a>> {
        if let (true, Some(slot)) = (skipped, self.slot(tag)) {
            self.requests[slot].named = true;
        }
        None
    }

    /// The result for a topic.
    fn judged<'a>(
        &mut self,
        cx: &Cx<'d>,
        tag: Tag,
        (error, name): (ErrorCode, Option<&str>),
        message: Option<&'a str>,
    ) -> Option<Reply<'a>> {
        if let Some(slot) = self.slot(tag) {
            let request = &mut self.requests[slot];
            let mut room = [0; NAME];
            let wanted = topic_name(&cx.net.blocks, &request.texts, &mut room);
            request.named |= name.is_none_or(|name| !REASONS || name == wanted);
        }
        self.note(tag, error);
        message.map(Reply::Message)
    }

    fn described<'a>(&mut self, tag: Tag, item: metadata::Item<'a>) -> Option<Reply<'a>> {
        Some(match item {
            metadata::Item::Broker { id, host, port, rack } => {
                if let Some(slot) = self.slot(tag) {
                    self.requests[slot].brokers = true;
                }
                Reply::Broker { id, host, port, rack }
            }
            metadata::Item::Cluster { id, controller } => Reply::Cluster { id, controller },
            metadata::Item::Topic { error, name, id, internal } => {
                if self.is_about_one(tag) {
                    self.note(tag, error);
                }
                Reply::Topic { name: name.unwrap_or_default(), id, internal, error }
            }
            metadata::Item::Partition { error, index, leader, epoch, replicas, isr, .. } => {
                Reply::Partition { index, leader, epoch, replicas, isr, error }
            }
            metadata::Item::End { error } => {
                self.note(tag, error);
                return None;
            }
            metadata::Item::Skipped => {
                // It may have been a broker.
                if let Some(slot) = self.slot(tag) {
                    self.requests[slot].brokers = true;
                }
                return None;
            }
            _ => return None,
        })
    }

    /// Handles the end of a response.
    pub(crate) fn done(
        &mut self,
        cx: &mut Cx<'d>,
        from: &Origin,
        _: &Memo,
    ) -> Option<Event<'static>> {
        let slot = self.slot(from.requested.tag)?;
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
        request.state = RequestState::Free;
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
        cx.net.blocks.release(&mut request.texts);
        self.by = request.by;
        Some(Event::Reply { id: RequestId(request.serial), reply: Reply::Done(result) })
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

impl Request {
    fn write(&self, net: &mut Net<'_>, draft: &mut Draft, timeout_ms: i32) -> Result<(), Full> {
        if let Operation::Create { partitions, replication_factor, configs } = self.operation {
            let configs = usize::from(configs);
            let mut at = 0;
            net.write(draft, &mut |w, version| create_topics::begin(w, version, 1))?;
            self.copy_text(net, draft, &mut at)?;
            net.write(draft, &mut |w, version| {
                create_topics::layout(w, version, partitions, replication_factor, configs)
            })?;
            for _ in 0..configs {
                self.copy_text(net, draft, &mut at)?;
                self.copy_text(net, draft, &mut at)?;
                net.write(draft, &mut |w, version| w.no_tags(create_topics::flexible(version)))?;
            }
            return net.write(draft, &mut |w, version| {
                w.no_tags(create_topics::flexible(version))?;
                create_topics::end(w, version, timeout_ms, false)
            });
        }
        let mut room = [0; NAME];
        let name = topic_name(&net.blocks, &self.texts, &mut room);
        net.write(draft, &mut |w, version| match self.operation {
            Operation::Grow { count, validate_only } => {
                let topic = create_partitions::NewPartitions { name, count };
                create_partitions::Request { topics: &[topic], timeout_ms, validate_only }
                    .encode(version, w)
            }
            Operation::Delete => {
                delete_topics::Request { names: &[name], timeout_ms }.encode(version, w)
            }
            Operation::Describe => {
                metadata::begin(w, version, Some(1))?;
                metadata::topic(w, version, Uuid::ZERO, Some(name))?;
                metadata::end(w, version, false)
            }
            Operation::DescribeAll | Operation::Create { .. } => {
                metadata::begin(w, version, None)?;
                metadata::end(w, version, false)
            }
        })
    }

    /// Copies the text at `at` to a CreateTopics request, piece by piece: both lie in blocks.
    fn copy_text(&self, net: &mut Net<'_>, draft: &mut Draft, at: &mut usize) -> Result<(), Full> {
        let mut len = [0; 2];
        read(&net.blocks, &self.texts, *at, &mut len);
        *at += len.len();
        let len = u16::from_be_bytes(len);
        let len = (len != NULL).then_some(len);
        net.write(draft, &mut |w, version| w.text_len(create_topics::flexible(version), len))?;
        let end = *at + usize::from(len.unwrap_or(0));
        while *at < end {
            let mut piece = [0; 64];
            let n = piece.len().min(end - *at);
            let piece = piece.get_mut(..n).ok_or(Full)?;
            read(&net.blocks, &self.texts, *at, piece);
            net.write(draft, &mut |w, _| w.raw(piece))?;
            *at += n;
        }
        Ok(())
    }
}

/// Checks whether a request can be kept and written at all, and whether there is memory for that
/// now.
fn may_be_kept(
    blocks: &Blocks<'_>,
    client_id: usize,
    name: &str,
    configs: &[(&str, Option<&str>)],
) -> Result<(), AdminError> {
    let mut kept = 2 + name.len();
    for (name, value) in configs {
        for text in [name, value.unwrap_or_default()] {
            let needed = text.len();
            let max = i16::MAX as usize;
            if guard!("a text fits into its field", needed > max) {
                return Err(AdminError::TooLarge { what: LimitKind::Text, needed, max });
            }
            kept += 2 + needed;
        }
    }
    let written = kept + configs.len() * AROUND_CONFIG + AROUND + client_id;
    let needed = blocks.needed(&Chain::EMPTY, kept) + blocks.needed(&Chain::EMPTY, written);
    let max = blocks.total();
    let never = needed > max || configs.len() > usize::from(u16::MAX);
    if guard!("what never fits is refused for good", never) {
        return Err(AdminError::TooLarge { what: LimitKind::SendBlocks, needed, max });
    }
    if needed > blocks.free() {
        return Err(AdminError::Full);
    }
    Ok(())
}

fn keep(
    blocks: &mut Blocks<'_>,
    chain: &mut Chain,
    name: &str,
    configs: &[(&str, Option<&str>)],
) -> Result<(), Full> {
    let mut put = |text: Option<&str>| {
        let len = text.map_or(NULL, |text| text.len() as u16);
        blocks.append(chain, &len.to_be_bytes())?;
        blocks.append(chain, text.unwrap_or_default().as_bytes())
    };
    put(Some(name))?;
    for (name, value) in configs {
        put(Some(name))?;
        put(*value)?;
    }
    Ok(())
}

/// The first text that was kept.
fn topic_name<'r>(blocks: &Blocks<'_>, texts: &Chain, room: &'r mut [u8; NAME]) -> &'r str {
    let mut len = [0; 2];
    read(blocks, texts, 0, &mut len);
    let name = room.get_mut(..usize::from(u16::from_be_bytes(len))).unwrap_or_default();
    read(blocks, texts, 2, name);
    core::str::from_utf8(name).unwrap_or_default()
}

/// Reads as many bytes of a chain as `out` holds.
fn read(blocks: &Blocks<'_>, chain: &Chain, at: usize, mut out: &mut [u8]) {
    for slice in blocks.slices(chain, at, at + out.len()) {
        let (now, rest) = out.split_at_mut(slice.len().min(out.len()));
        now.copy_from_slice(slice.get(..now.len()).unwrap_or_default());
        out = rest;
    }
}
