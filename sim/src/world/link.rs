//! One connection: two streams, and the order of requests at the broker.

use core::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::{FetchResponse, ResponseKind};
use kavka_core::{CloseReason, ConnId};

use super::net::{Dark, Trouble};
use super::trace::Brief;
use super::{App, Member, Pipe, World};
use crate::frame::Request;
use crate::model::{Output, Reply};

/// A connection that the broker knows, perhaps longer than the client does.
pub(super) struct Link {
    pub(super) member: usize,
    pub(super) conn: ConnId,
    pub(super) broker: i32,
    /// When the last piece in each direction arrives; later ones arrive after it.
    to_broker: Duration,
    to_client: Duration,
    /// Arrived at the broker, but not yet a whole frame, or waiting for its turn.
    at_broker: BytesMut,
    /// The broker handles a request; the next one waits.
    busy: bool,
    /// Arrived at the client, not yet read.
    at_client: Pipe,
    /// Directions in which nothing arrives any more.
    dark: Dark,
    /// Passes a few bytes at a time.
    trickles: bool,
    /// Bytes of batches in its last two Fetch responses.
    fetched: [u64; 2],
}

/// What is in flight.
pub(super) enum Happening {
    Connected {
        member: usize,
        conn: ConnId,
        broker: Option<i32>,
    },
    ToBroker {
        id: u64,
        bytes: Bytes,
    },
    ToClient {
        id: u64,
        bytes: Bytes,
    },
    /// The client closed; what it had sent before has arrived.
    EndOfRequests {
        id: u64,
    },
    /// The network reset it.
    Reset {
        id: u64,
    },
    /// The broker closed; the responses it had sent before have arrived.
    EndOfResponses {
        id: u64,
    },
}

impl<A: App> World<A> {
    pub(super) fn connect(&mut self, member: usize, conn: ConnId) {
        let address = self.members[member].client.address(conn);
        let broker = address.and_then(|(host, port)| {
            let here = |id: &i32| self.cluster.endpoint(*id) == Some((host.to_owned(), port));
            self.cluster.brokers().into_iter().find(here)
        });
        let trouble = self.net.trouble;
        if Trouble::strikes(&mut self.rng, trouble.no_connect) {
            return;
        }
        let reached = broker.filter(|_| !Trouble::strikes(&mut self.rng, trouble.refused));
        let slow = trouble.delay(&mut self.rng, trouble.slow_connect);
        let at = self.now + self.latency() + slow;
        self.schedule(at, Happening::Connected { member, conn, broker: reached });
    }

    /// Closes the client's end. What it sent still arrives and is applied; responses are lost.
    pub(super) fn hang_up(&mut self, member: usize, conn: ConnId) {
        let Some(id) = self.members[member].conns.remove(&conn) else { return };
        self.count_ended(id);
        if let Some(link) = self.links.get(&id) {
            let at = link.to_broker.max(self.now);
            self.schedule(at, Happening::EndOfRequests { id });
        }
    }

    pub(super) fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Connected { member, conn, broker } => self.connected(member, conn, broker),
            Happening::ToBroker { id, bytes } => {
                if let Some(link) = self.links.get_mut(&id) {
                    self.trace.bytes(self.now, "to broker", id, &bytes);
                    link.at_broker.extend_from_slice(&bytes);
                    self.take_turns(id);
                }
            }
            Happening::ToClient { id, bytes } => {
                if let Some(link) = self.links.get_mut(&id) {
                    self.trace.bytes(self.now, "to client", id, &bytes);
                    link.at_client.extend(&bytes);
                    self.members[link.member].stirred = true;
                }
            }
            Happening::Reset { id } => self.reset(id),
            Happening::EndOfRequests { id } => {
                if let Some(link) = self.links.remove(&id) {
                    self.cluster.handle_closed(link.broker, id);
                }
            }
            Happening::EndOfResponses { id } => {
                self.count_ended(id);
                if let Some(link) = self.links.remove(&id) {
                    self.lost(link.member, link.conn, CloseReason::Ended);
                }
            }
        }
        self.outputs();
    }

    /// Ends the stream for both sides; what is in flight on it is lost.
    pub(super) fn reset(&mut self, id: u64) {
        self.count_ended(id);
        if let Some(link) = self.links.remove(&id) {
            self.trace.note(self.now, "reset", &[id]);
            self.cluster.handle_closed(link.broker, id);
            self.lost(link.member, link.conn, CloseReason::Reset);
        }
    }

    /// Counts the last responses of a connection that ends, which may be lost.
    fn count_ended(&mut self, id: u64) {
        if let Some(link) = self.links.get_mut(&id) {
            let lost: u64 = core::mem::take(&mut link.fetched).iter().sum();
            self.members[link.member].fetched.with_ended += lost;
        }
    }

    fn connected(&mut self, member: usize, conn: ConnId, broker: Option<i32>) {
        let now = self.instant();
        if self.members[member].client.address(conn).is_none() {
            return; // given up meanwhile
        }
        self.members[member].stirred = true;
        let Some(broker) = broker.filter(|id| self.cluster.alive(*id)) else {
            self.trace.note(self.now, "refused", &[member as u64]);
            self.members[member].client.handle_closed(now, conn, CloseReason::Refused);
            return;
        };
        self.order += 1;
        let id = self.order;
        self.trace.note(self.now, "connected", &[id, member as u64, broker as u64]);
        let trickles = Trouble::strikes(&mut self.rng, self.net.trouble.trickle);
        self.links.insert(
            id,
            Link {
                member,
                conn,
                broker,
                to_broker: self.now,
                to_client: self.now,
                at_broker: BytesMut::new(),
                busy: false,
                at_client: Pipe::new(),
                dark: Dark::default(),
                trickles,
                fetched: [0; 2],
            },
        );
        let member = &mut self.members[member];
        member.conns.insert(conn, id);
        member.client.handle_connected(now, conn);
    }

    /// Takes what the client wants to send, in pieces.
    pub(super) fn transmit(&mut self, at: usize, conn: ConnId, id: u64) -> bool {
        let now = self.instant();
        let mut moved = false;
        while let Some(slices) = self.members[at].client.poll_transmit(now, conn) {
            let mut bytes = slices.fold(BytesMut::new(), |mut all, slice| {
                all.extend_from_slice(slice);
                all
            });
            if bytes.is_empty() {
                break;
            }
            bytes.truncate(self.piece(bytes.len()));
            self.members[at].client.handle_transmitted(now, conn, bytes.len());
            moved = true;
            self.carry(id, Way::ToBroker, bytes.freeze());
        }
        moved
    }

    /// Gives the client what has arrived, in pieces, as far as it takes it.
    pub(super) fn receive(&mut self, at: usize, conn: ConnId, id: u64) -> bool {
        let now = self.instant();
        let mut moved = false;
        while let Some(waiting) = self.links.get(&id).map(|link| link.at_client.len()) {
            let room = self.members[at].client.recv_buffer(conn).len();
            if waiting.min(room) == 0 {
                break;
            }
            let len = self.piece(waiting.min(room));
            let Some(link) = self.links.get_mut(&id) else { break };
            let client = &mut self.members[at].client;
            let mut pipe = link.at_client.drain(..len);
            client.recv_buffer(conn).iter_mut().zip(&mut pipe).for_each(|(to, from)| *to = from);
            drop(pipe);
            client.handle_received(now, conn, len);
            moved = true;
            if self.rng.below(3) == 0 {
                self.one_event(at);
            }
        }
        moved
    }

    /// Polls one event, which may happen at any time, also between two pieces of a response.
    pub(super) fn one_event(&mut self, at: usize) -> bool {
        let now = self.instant();
        let Member { app, client, .. } = &mut self.members[at];
        let polled = match app.is_busy(now) {
            true => None,
            false if app.is_full(now) => client.poll_news(now),
            false => client.poll_event(now),
        };
        let Some((event, commands)) = polled else { return false };
        self.trace.event(self.now, at, &event);
        app.on_event(now, event, commands);
        true
    }

    /// Lets the broker work on the requests of a connection, one after the other.
    fn take_turns(&mut self, id: u64) {
        while let Some(link) = self.links.get_mut(&id).filter(|link| !link.busy) {
            let Some(frame) = take_frame(&mut link.at_broker) else { return };
            let broker = link.broker;
            let Ok(request) = Request::decode(frame) else {
                self.reply(id, Reply::Close);
                return;
            };
            link.busy = true;
            self.trace.say(
                self.now,
                format_args!(
                    "client {} requests of {broker} on {id}: {:?} v{} {}",
                    link.member,
                    request.api,
                    request.version,
                    Brief(&request.body)
                ),
            );
            match self.cluster.handle(self.now, broker, id, request) {
                Reply::Later => {}
                reply => self.reply(id, reply),
            }
        }
    }

    /// Delivers replies to requests that waited.
    pub(super) fn outputs(&mut self) {
        while let Some(Output { conn, reply, .. }) = self.cluster.poll_output() {
            self.reply(conn, reply);
            self.take_turns(conn);
        }
    }

    fn reply(&mut self, id: u64, reply: Reply) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.busy = false;
        match reply {
            Reply::Now(response) => {
                let (member, broker) = (link.member, link.broker);
                let heard = self.members[member].conns.get(&link.conn) == Some(&id);
                self.trace.say(
                    self.now,
                    format_args!(
                        "broker {broker} responds to {member} on {id}: {}",
                        Brief(&response.body)
                    ),
                );
                // Responses to a client that has closed its end are lost.
                if let (ResponseKind::Fetch(body), true) = (&response.body, heard) {
                    let whole = whole_batches(body);
                    link.fetched = [link.fetched[1], whole];
                    let fetched = &mut self.members[member].fetched;
                    fetched.bytes += whole;
                    fetched.largest = fetched.largest.max(whole);
                }
                let mut bytes =
                    response.encode().unwrap_or_else(|text| panic!("{}: {text}", self.at()));
                self.cluster.counters().respond(response.api, bytes.len());
                let lost = Trouble::strikes(&mut self.rng, self.net.trouble.lost_response);
                if lost {
                    bytes.truncate(self.rng.below(bytes.len() as u64) as usize);
                }
                self.send_response(id, bytes);
                if lost {
                    self.end(id, |id| Happening::Reset { id });
                }
            }
            Reply::Silent | Reply::Later => {}
            Reply::Close => {
                link.busy = true; // nothing more is read from it
                let broker = link.broker;
                self.cluster.handle_closed(broker, id);
                self.end(id, |id| Happening::EndOfResponses { id });
            }
        }
    }

    /// Sends a response: in many pieces if the link trickles, otherwise in one.
    fn send_response(&mut self, id: u64, mut bytes: Bytes) {
        if self.links.get(&id).is_some_and(|link| link.trickles) {
            while bytes.len() > 100 {
                let piece = bytes.split_to(1 + self.rng.below(100) as usize);
                self.carry(id, Way::ToClient, piece);
            }
        }
        self.carry(id, Way::ToClient, bytes);
    }

    /// Schedules something on a stream after all that is in flight to the client.
    fn end(&mut self, id: u64, what: impl FnOnce(u64) -> Happening) {
        let arrives = self.now + self.latency();
        let Some(link) = self.links.get_mut(&id) else { return };
        link.to_client = link.to_client.max(arrives);
        let at = link.to_client;
        self.schedule(at, what(id));
    }

    /// Carries a piece to the other side, if nothing goes wrong.
    fn carry(&mut self, id: u64, way: Way, mut bytes: Bytes) {
        let trouble = self.net.trouble;
        let slow = trouble.delay(&mut self.rng, trouble.stall);
        let arrives = self.now + self.latency() + slow;
        let cut = Trouble::strikes(&mut self.rng, trouble.reset);
        let dark = trouble.darkness(&mut self.rng);
        let Some(link) = self.links.get_mut(&id) else { return };
        link.dark.to_broker |= dark.to_broker;
        link.dark.to_client |= dark.to_client;
        let (last, lost) = match way {
            Way::ToBroker => (&mut link.to_broker, link.dark.to_broker),
            Way::ToClient => (&mut link.to_client, link.dark.to_client),
        };
        if lost {
            self.trace.note(self.now, "lost in the dark", &[id, bytes.len() as u64]);
            return;
        }
        *last = arrives.max(*last);
        let arrives = *last;
        if cut {
            bytes.truncate(self.rng.below(bytes.len() as u64) as usize);
        }
        self.schedule(arrives, way.happening(id, bytes));
        if cut {
            self.schedule(arrives, Happening::Reset { id });
        }
    }
}

/// A direction of a stream.
#[derive(Clone, Copy)]
enum Way {
    ToBroker,
    ToClient,
}

impl Way {
    fn happening(self, id: u64, bytes: Bytes) -> Happening {
        match self {
            Self::ToBroker => Happening::ToBroker { id, bytes },
            Self::ToClient => Happening::ToClient { id, bytes },
        }
    }
}

/// Returns the bytes of all batches in a response, without those truncated at a partition's end.
fn whole_batches(body: &FetchResponse) -> u64 {
    let parts = body.responses.iter().flat_map(|topic| &topic.partitions);
    let whole = |records: &Bytes| {
        let mut at = 0;
        // The length is at the same place in all formats.
        while let Some(length) = records.get(at..).and_then(|rest| rest.get(8..12)) {
            let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
            let Some(end) = at.checked_add(12 + length).filter(|end| *end <= records.len()) else {
                break;
            };
            at = end;
        }
        at as u64
    };
    parts.filter_map(|part| part.records.as_ref()).map(whole).sum()
}

/// Takes the next whole frame, without its length prefix.
fn take_frame(bytes: &mut BytesMut) -> Option<Bytes> {
    let len = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    if bytes.len() < len.checked_add(4)? {
        return None;
    }
    bytes.advance(4);
    Some(bytes.split_to(len).freeze())
}
