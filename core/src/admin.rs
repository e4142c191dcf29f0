//! Admin requests: kept until a fitting connection is there, then sent once. Their answers go to
//! the application element by element.

use heapless::{String, Vec};

use crate::cluster::{Cluster, Wish};
use crate::connection::{Draft, Net, Question, Role, Ticket};
use crate::error::{AdminError, Error, LimitKind, Misuse};
use crate::event::{Admin as Ask, Event, Reply};
use crate::id::RequestId;
use crate::memory::Mem;
use crate::time::{Duration, Instant, millis};
use crate::wire::table::Segment;
use crate::wire::{
    ApiKey, Encode, ErrorCode, Full, Uuid, create_partitions, create_topics, delete_topics,
    metadata,
};

/// Topic configs of one CreateTopics request, all names and values together, two bytes for each.
const CONFIG_BYTES: usize = if cfg!(feature = "std") { 8192 } else { 256 };
const CONFIGS: usize = if cfg!(feature = "std") { 128 } else { 12 };
/// Stands for null.
const NULL: u16 = u16::MAX;
const AGAIN: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum State {
    Free,
    Queued,
    Sent,
    /// Ended without an answer.
    Failed(Error),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Create { partitions: i32, replication_factor: i16 },
    Grow { count: i32, validate_only: bool },
    Delete,
    Describe,
    DescribeAll,
}

/// An admin request.
pub(crate) struct Request {
    state: State,
    serial: u32,
    kind: Kind,
    name: String<249, u8>,
    /// Names and values in turn, each behind its length.
    configs: Vec<u8, CONFIG_BYTES, u16>,
    deadline: Instant,
    /// The first error in the answer.
    error: ErrorCode,
}

impl Request {
    pub(crate) const EMPTY: Self = Self {
        state: State::Free,
        serial: 0,
        kind: Kind::Create { partitions: 0, replication_factor: 0 },
        name: String::new(),
        configs: Vec::new(),
        deadline: Instant::ZERO,
        error: ErrorCode(0),
    };
}

/// See the module.
pub(crate) struct Admin<'d> {
    requests: Mem<'d, Request>,
    serial: u32,
    pub(crate) news: bool,
    pub(crate) dirty: bool,
}

impl<'d> Admin<'d> {
    pub(crate) fn new(requests: Mem<'d, Request>) -> Self {
        Self { requests, serial: 0, news: false, dirty: false }
    }

    pub(crate) fn ask(
        &mut self,
        cluster: &mut Cluster<'d>,
        now: Instant,
        ask: &Ask<'_>,
        memory: usize,
    ) -> Result<RequestId, AdminError> {
        let (kind, name, configs): (_, _, &[_]) = match *ask {
            Ask::CreateTopic { name, partitions, replication_factor, configs } => {
                (Kind::Create { partitions, replication_factor }, name, configs)
            }
            Ask::CreatePartitions { name, count, validate_only } => {
                (Kind::Grow { count, validate_only }, name, &[])
            }
            Ask::DeleteTopic { name } => (Kind::Delete, name, &[]),
            Ask::Describe { topic: Some(name) } => (Kind::Describe, name, &[]),
            Ask::Describe { topic: None } => (Kind::DescribeAll, "", &[]),
        };
        let name = String::try_from(name).map_err(|_| AdminError::Caller(Misuse::TopicName))?;
        // What will never be taken is told before what passes.
        let configs = packed(configs, memory / 2)?;
        let free = self.requests.iter().position(|r| r.state == State::Free);
        let slot = free.ok_or(AdminError::Full)?;
        self.serial = self.serial.wrapping_add(1);
        let deadline = now + cluster.config.request_timeout;
        self.requests[slot] = Request {
            state: State::Queued,
            serial: self.serial,
            kind,
            name,
            configs,
            deadline,
            error: ErrorCode(0),
        };
        cluster.brokers_wanted |= cluster.controller.is_none();
        self.dirty = true;
        Ok(RequestId(self.serial))
    }

    /// Sends what waits; returns when to look again.
    // Its frame ends before the next part's begins: a device has little stack.
    #[inline(never)]
    pub(crate) fn drive(
        &mut self,
        cluster: &mut Cluster<'d>,
        net: &mut Net<'d>,
        now: Instant,
    ) -> Instant {
        self.dirty = false;
        let mut next = Instant::NEVER;
        for slot in 0..self.requests.len() {
            let request = &self.requests[slot];
            if !matches!(request.state, State::Queued) {
                continue;
            }
            if request.deadline <= now {
                self.requests[slot].state = State::Failed(Error::TimedOut);
                self.news = true;
                continue;
            }
            next = next.min(request.deadline);
            next = next.min(self.send(cluster, net, now, slot));
        }
        next
    }

    fn send(
        &mut self,
        cluster: &mut Cluster<'d>,
        net: &mut Net<'d>,
        now: Instant,
        slot: usize,
    ) -> Instant {
        let api = match self.requests[slot].kind {
            Kind::Create { .. } => ApiKey::CREATE_TOPICS,
            Kind::Grow { .. } => ApiKey::CREATE_PARTITIONS,
            Kind::Delete => ApiKey::DELETE_TOPICS,
            Kind::Describe | Kind::DescribeAll => ApiKey::METADATA,
        };
        // Only the controller of a ZooKeeper cluster changes topics; elsewhere any broker does.
        let conn = match cluster.controller {
            _ if api == ApiKey::METADATA => {
                cluster.brokers_wanted |= net.conns.iter().all(|c| !c.is_live());
                cluster.pick_main(net, now, None, api)
            }
            Some(node) if cluster.broker(node).is_some() => {
                match cluster.wish(net, now, node, Role::Main) {
                    Wish::Ready(conn) => Some(conn),
                    Wish::Later(at) => return at.min(now + AGAIN),
                }
            }
            Some(_) => cluster.pick_main(net, now, None, api),
            None => None,
        };
        let Some(conn) = conn else { return now + AGAIN };
        // CreateTopics from version 5 on answers every config of the topic: about a kilobyte.
        let cap = if api == ApiKey::CREATE_TOPICS { 4 } else { i16::MAX };
        let Some(mut draft) = net
            .open(conn, now, api, cap)
            .or_else(|| (cap < i16::MAX).then(|| net.open(conn, now, api, i16::MAX)).flatten())
        else {
            return now + AGAIN;
        };
        let request = &mut self.requests[slot];
        let timeout = cluster.config.request_timeout;
        let timeout_ms = millis(timeout);
        if let Err(Full) = request.write(net, &mut draft, timeout_ms) {
            net.abandon(draft);
            return now + AGAIN;
        }
        request.state = State::Sent;
        let ticket = Ticket::Admin { slot: slot as u8, serial: request.serial };
        net.send(now, draft, ticket, &timeout);
        Instant::NEVER
    }

    fn slot(&self, ticket: Ticket) -> Option<usize> {
        let Ticket::Admin { slot, serial } = ticket else { return None };
        let request = self.requests.get(usize::from(slot))?;
        (request.serial == serial && request.state == State::Sent).then_some(usize::from(slot))
    }

    fn id(&self, ticket: Ticket) -> Option<RequestId> {
        self.slot(ticket).map(|slot| RequestId(self.requests[slot].serial))
    }

    /// An error code in the answer; the first one counts.
    fn note(&mut self, ticket: Ticket, error: ErrorCode) {
        if let Some(slot) = self.slot(ticket)
            && self.requests[slot].error.0 == 0
        {
            self.requests[slot].error = error;
        }
    }

    /// Whether a topic's error is the request's error: not in a list of all topics.
    fn is_about_one(&self, ticket: Ticket) -> bool {
        self.slot(ticket).is_some_and(|slot| self.requests[slot].kind != Kind::DescribeAll)
    }

    /// The next element of an answer.
    pub(crate) fn on_answer<'a>(
        &mut self,
        question: &Question,
        got: Segment<'_, 'a>,
    ) -> Option<Event<'a>> {
        let ticket = question.ticket;
        let reply = match question.api {
            ApiKey::METADATA => self.described(ticket, metadata::item(got)?)?,
            ApiKey::CREATE_TOPICS => match create_topics::item(got)? {
                create_topics::Item::Topic { error, message, .. } => {
                    self.judged(ticket, error, message)?
                }
                _ => return None,
            },
            ApiKey::CREATE_PARTITIONS => match create_partitions::item(got)? {
                create_partitions::Item::Topic { error, message, .. } => {
                    self.judged(ticket, error, message)?
                }
                _ => return None,
            },
            _ => match delete_topics::item(got)? {
                delete_topics::Item::Topic { error, message, .. } => {
                    self.judged(ticket, error, message)?
                }
                _ => return None,
            },
        };
        let id = self.id(ticket)?;
        Some(Event::Reply { id, reply })
    }

    /// What became of a topic.
    fn judged<'a>(
        &mut self,
        ticket: Ticket,
        error: ErrorCode,
        message: Option<&'a str>,
    ) -> Option<Reply<'a>> {
        self.note(ticket, error);
        message.map(Reply::Message)
    }

    fn described<'a>(&mut self, ticket: Ticket, item: metadata::Item<'a>) -> Option<Reply<'a>> {
        Some(match item {
            metadata::Item::Broker { id, host, port, rack } => {
                Reply::Broker { id, host, port, rack }
            }
            metadata::Item::Cluster { id, controller } => Reply::Cluster { id, controller },
            metadata::Item::Topic { error, name, id, internal } => {
                if self.is_about_one(ticket) {
                    self.note(ticket, error);
                }
                Reply::Topic { name: name.unwrap_or_default(), id, internal, error }
            }
            metadata::Item::Partition { error, index, leader, epoch, replicas, isr, .. } => {
                Reply::Partition { index, leader, epoch, replicas, isr, error }
            }
            metadata::Item::End { error } => {
                self.note(ticket, error);
                return None;
            }
            _ => return None,
        })
    }

    /// The answer is complete.
    pub(crate) fn answered(
        &mut self,
        cluster: &mut Cluster<'d>,
        now: Instant,
        ticket: Ticket,
    ) -> Option<Event<'static>> {
        let slot = self.slot(ticket)?;
        let request = &mut self.requests[slot];
        if request.error == ErrorCode::NOT_CONTROLLER {
            cluster.controller = None;
            cluster.brokers_wanted = true;
            self.dirty = true;
            if now + AGAIN < request.deadline {
                (request.state, request.error) = (State::Queued, ErrorCode(0));
                return None;
            }
        }
        request.state = State::Free;
        let result = match request.error {
            ErrorCode(0) => Ok(()),
            error => Err(Error::Broker(error)),
        };
        if let (Kind::Grow { validate_only: false, .. }, Ok(())) = (request.kind, result) {
            cluster.expect_growth(request.name.as_str(), now);
        }
        Some(Event::Reply { id: RequestId(request.serial), reply: Reply::Done(result) })
    }

    /// The connection ended before the answer came; whether the request was carried out is not
    /// known.
    pub(crate) fn on_lost(&mut self, ticket: Ticket, error: Error) {
        if let Some(slot) = self.slot(ticket) {
            self.requests[slot].state = State::Failed(error);
            self.news = true;
        }
    }

    pub(crate) fn poll_event(&mut self) -> Option<Event<'static>> {
        if !self.news {
            return None;
        }
        for request in self.requests.iter_mut() {
            if let State::Failed(error) = request.state {
                request.state = State::Free;
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
        let name = self.name.as_str();
        net.write(draft, &mut |w, version| match self.kind {
            Kind::Create { partitions, replication_factor } => {
                let configs: Vec<_, CONFIGS> = unpacked(&self.configs);
                let topic = create_topics::NewTopic {
                    name,
                    partitions,
                    replication_factor,
                    configs: &configs,
                };
                create_topics::Request { topics: &[topic], timeout_ms, validate_only: false }
                    .encode(version, w)
            }
            Kind::Grow { count, validate_only } => {
                let topic = create_partitions::NewPartitions { name, count };
                create_partitions::Request { topics: &[topic], timeout_ms, validate_only }
                    .encode(version, w)
            }
            Kind::Delete => {
                delete_topics::Request { names: &[name], timeout_ms }.encode(version, w)
            }
            Kind::Describe => {
                metadata::begin(w, version, Some(1))?;
                metadata::topic(w, version, Uuid::ZERO, Some(name))?;
                metadata::end(w, version, false)
            }
            Kind::DescribeAll => {
                metadata::begin(w, version, None)?;
                metadata::end(w, version, false)
            }
        })
    }
}

/// Names and values one after the other, at most `memory` bytes: a request has to hold them too.
fn packed(
    configs: &[(&str, Option<&str>)],
    memory: usize,
) -> Result<Vec<u8, CONFIG_BYTES, u16>, AdminError> {
    let too_large = |what, needed, max| AdminError::TooLarge { what, needed, max };
    if configs.len() > CONFIGS {
        return Err(too_large(LimitKind::Configs, configs.len(), CONFIGS));
    }
    let len = |text: Option<&str>| 2 + text.map_or(0, str::len);
    let all = configs.iter().map(|(name, value)| len(Some(name)).saturating_add(len(*value)));
    let needed = all.fold(0, usize::saturating_add);
    let max = CONFIG_BYTES.min(memory);
    let full = too_large(LimitKind::ConfigBytes, needed, max);
    if needed > max {
        return Err(full);
    }
    let mut out = Vec::new();
    for text in configs.iter().flat_map(|(name, value)| [Some(*name), *value]) {
        let prefix = text.map_or(Ok(NULL), |text| u16::try_from(text.len())).map_err(|_| full)?;
        out.extend_from_slice(&prefix.to_be_bytes()).map_err(|_| full)?;
        out.extend_from_slice(text.unwrap_or_default().as_bytes()).map_err(|_| full)?;
    }
    Ok(out)
}

fn unpacked(mut bytes: &[u8]) -> Vec<(&str, Option<&str>), CONFIGS> {
    fn text<'b>(bytes: &mut &'b [u8]) -> Option<Option<&'b str>> {
        let (len, rest) = bytes.split_first_chunk::<2>()?;
        let len = u16::from_be_bytes(*len);
        if len == NULL {
            *bytes = rest;
            return Some(None);
        }
        let (text, rest) = rest.split_at_checked(usize::from(len))?;
        *bytes = rest;
        Some(core::str::from_utf8(text).ok())
    }
    let mut out = Vec::new();
    while let Some(Some(name)) = text(&mut bytes) {
        let Some(value) = text(&mut bytes) else { break };
        if out.push((name, value)).is_err() {
            break;
        }
    }
    out
}
