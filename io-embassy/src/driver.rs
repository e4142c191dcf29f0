//! A client with its sockets, and the future that moves bytes between them.

use core::future::{Future, poll_fn};
use core::ops::{Deref, DerefMut};
use core::pin::pin;
use core::task::{Context, Poll};

use embassy_time::{Instant as Ticks, Timer};
use kavka_core::{Action, Client, CloseReason, Commands, ConnId, Duration, Event, Instant};

use crate::socket::Socket;

/// Rounds of one poll, after which other tasks get their turn.
const ROUNDS: usize = 4;
/// Reads of a connection in one round.
const READS: usize = 8;
/// A timer is set at most this far ahead.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The clock of every [`Driver`]: embassy-time's, whose driver is the firmware's.
#[must_use]
pub fn now() -> Instant {
    Instant::from_micros(Ticks::now().as_micros())
}

/// A [`Client`] with its sockets. Derefs to the client, for its commands.
///
/// ```text
/// loop {
///     driver.turn().await;                                  // moves bytes until there is an event
///     while let Some((event, commands)) = driver.poll_event() { .. }
/// }
/// ```
pub struct Driver<'d, S, const CONNS: usize> {
    client: Client<'d>,
    links: [Link<S>; CONNS],
}

impl<'d, S: Socket, const CONNS: usize> Driver<'d, S, CONNS> {
    /// With one socket for each connection of the client's memory (`CONNS` of its `Resources`).
    /// With fewer sockets the client uses fewer connections.
    #[must_use]
    pub fn new(mut client: Client<'d>, sockets: [S; CONNS]) -> Self {
        client.limit_connections(CONNS);
        Self { client, links: sockets.map(|socket| Link { socket, conn: None, open: false }) }
    }

    /// Connects, sends, receives and keeps time, until there is an event to be taken by
    /// [`Driver::poll_event`].
    ///
    /// Cancel-safe: nothing is kept in the future but the place where it waits, so a `select`
    /// may drop it at any time. It does nothing on its own; a driver whose turn is not awaited
    /// sends nothing and notices nothing.
    pub fn turn(&mut self) -> impl Future<Output = ()> + '_ {
        poll_fn(|cx| self.poll_turn(cx))
    }

    /// [`Driver::turn`] for futures that are written by hand.
    pub fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS {
            let now = now();
            let moving = self.service(cx, now);
            if self.client.has_event(now) {
                return Poll::Ready(());
            }
            match self.client.poll_timeout() {
                _ if moving => {}
                None => return Poll::Pending,
                Some(due) if due > now => {
                    if wake_at(cx, due.min(now + LONGEST)).is_pending() {
                        return Poll::Pending;
                    }
                }
                // A login computes: other tasks have their turn between two slices.
                Some(_) if cfg!(feature = "sasl") => break,
                Some(_) => {}
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// The next event, and the commands, which work beside it.
    pub fn poll_event(&mut self) -> Option<(Event<'_>, &mut Commands<'d>)> {
        self.client.poll_event(now())
    }

    /// Ends all connections in order and waits until the peers know, so that the link, or the
    /// whole device, can be switched off. The next [`Driver::turn`] connects again, and does again
    /// what was in flight.
    ///
    /// A peer that is gone never acknowledges: give it a time limit (`with_timeout`). Cancel-safe.
    pub async fn disconnect(&mut self) {
        self.client.disconnect(now());
        self.links.iter_mut().for_each(Link::close);
        poll_fn(|cx| {
            let mut closed = Poll::Ready(());
            for link in &mut self.links {
                if link.socket.poll_closed(cx).is_pending() {
                    closed = Poll::Pending;
                }
            }
            closed
        })
        .await;
    }

    /// Everything that can be done now, once around; whether there is more to do at once.
    fn service(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        // What has arrived counts before what is too late: the task may have been away for a while.
        let moving = self.serve(cx, now, Link::receive);
        self.client.handle_timeout(now);
        // Whatever is begun here is polled below; else nothing would wake us for it.
        self.actions(now);
        moving | self.serve(cx, now, Link::send)
    }

    fn serve(&mut self, cx: &mut Context<'_>, now: Instant, work: Work<'d, S>) -> bool {
        let mut moving = false;
        for link in &mut self.links {
            let Some(id) = link.conn else { continue };
            match work(link, cx, now, id, &mut self.client) {
                Ok(more) => moving |= more,
                Err(why) => {
                    let host = self.client.address(id).map_or("", |(host, _)| host);
                    note!(warn, "kavka: connection to {} closed: {}", host, reason(why));
                    link.close();
                    self.client.handle_closed(now, id, why);
                }
            }
        }
        moving
    }

    fn actions(&mut self, now: Instant) {
        while let Some(action) = self.client.poll_action(now) {
            match action {
                Action::Connect { conn } => match self.links.get_mut(conn.slot()) {
                    Some(link) => (link.conn, link.open) = (Some(conn), false),
                    None => self.client.handle_closed(now, conn, CloseReason::Failed),
                },
                Action::Close { conn } => {
                    let link = self.links.get_mut(conn.slot());
                    if let Some(link) = link.filter(|link| link.conn == Some(conn)) {
                        note!(debug, "kavka: connection {} ended by us", conn.slot());
                        link.close();
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'d, S, const CONNS: usize> Deref for Driver<'d, S, CONNS> {
    type Target = Client<'d>;

    fn deref(&self) -> &Client<'d> {
        &self.client
    }
}

impl<S, const CONNS: usize> DerefMut for Driver<'_, S, CONNS> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.client
    }
}

/// A socket, and the connection that it is used for.
struct Link<S> {
    socket: S,
    conn: Option<ConnId>,
    /// Established.
    open: bool,
}

/// What a link does: whether there may be more of that at once.
type Work<'d, S> = fn(
    &mut Link<S>,
    &mut Context<'_>,
    Instant,
    ConnId,
    &mut Client<'d>,
) -> Result<bool, CloseReason>;

impl<S: Socket> Link<S> {
    /// Connects, and sends as far as the socket takes it.
    fn send(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        id: ConnId,
        client: &mut Client<'_>,
    ) -> Result<bool, CloseReason> {
        let connects = !self.open;
        if connects {
            let Some((host, port)) = client.address(id) else {
                return Err(CloseReason::Unresolved);
            };
            match self.socket.poll_connect(cx, host, port) {
                Poll::Ready(connected) => connected?,
                Poll::Pending => return Ok(false),
            }
            note!(info, "kavka: connected to {}:{}", host, port);
            self.open = true;
            client.handle_connected(now, id);
        }
        self.transmit(cx, now, id, client)?;
        Ok(connects) // nobody waits for what comes yet
    }

    fn transmit(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        id: ConnId,
        client: &mut Client<'_>,
    ) -> Result<(), CloseReason> {
        let mut full = false;
        while !full {
            let Some(slices) = client.poll_transmit(now, id) else { break };
            let mut sent = 0;
            for slice in slices {
                let taken = write(&mut self.socket, cx, slice)?;
                sent += taken;
                full = taken < slice.len();
                if full {
                    break;
                }
            }
            client.handle_transmitted(now, id, sent);
        }
        Ok(())
    }

    /// Receives as much as the socket has and the client takes.
    fn receive(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        id: ConnId,
        client: &mut Client<'_>,
    ) -> Result<bool, CloseReason> {
        if !self.open {
            return Ok(false);
        }
        for _ in 0..READS {
            let room = client.recv_buffer(id);
            if room.is_empty() {
                return Ok(false); // events come first; the peer holds the rest back
            }
            match self.socket.poll_read(cx, room) {
                Poll::Ready(Ok(0)) => return Err(CloseReason::Ended),
                Poll::Ready(read) => client.handle_received(now, id, read?),
                Poll::Pending => return Ok(false),
            }
        }
        Ok(true)
    }

    fn close(&mut self) {
        self.socket.close();
        (self.conn, self.open) = (None, false);
    }
}

/// Writes until all of `bytes` is taken or the socket is full, and then wakes us again.
fn write(
    socket: &mut impl Socket,
    cx: &mut Context<'_>,
    bytes: &[u8],
) -> Result<usize, CloseReason> {
    let mut taken = 0;
    while let Some(rest) = bytes.get(taken..).filter(|rest| !rest.is_empty()) {
        match socket.poll_write(cx, rest) {
            Poll::Ready(Ok(0)) => return Err(CloseReason::Failed),
            Poll::Ready(written) => taken += written?,
            Poll::Pending => break,
        }
    }
    Ok(taken)
}

/// Sees to it that the task is woken then. `Ready`: that is now.
fn wake_at(cx: &mut Context<'_>, at: Instant) -> Poll<()> {
    // Rounded up to a tick: woken before the time is due, there would be nothing to do.
    let at = Ticks::MIN + embassy_time::Duration::from_micros(at.as_micros());
    pin!(Timer::at(at)).poll(cx)
}

/// For people.
fn reason(why: CloseReason) -> &'static str {
    match why {
        CloseReason::Refused => "refused or unreachable",
        CloseReason::Unresolved => "its name has no address",
        CloseReason::Reset => "reset",
        CloseReason::Ended => "ended by the peer",
        _ => "failed",
    }
}
