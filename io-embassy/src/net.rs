//! Sockets of embassy-net.

#[cfg(feature = "dns")]
mod names;

use core::fmt;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};

use embassy_net::tcp::{State, TcpSocket};
use embassy_net::{IpAddress, Stack, StackResources};
use embassy_time::{Duration, Instant, Timer};
use kavka_core::CloseReason;

#[cfg(feature = "dns")]
pub use names::Names;

use crate::Driver;
use crate::socket::Socket;

/// A peer on the same link that has not responded by then is down. Elsewhere a peer is waited for
/// no longer while its name has other addresses.
///
/// A bit less than the second after which the stack sends another request for a link address, and
/// for one address only: it would be the dead one.
const TURN: Duration = Duration::from_millis(900);
/// A packet that can be sent is sent within this.
const SOON: Duration = Duration::from_millis(100);

/// The socket of the stack's own resolver.
const DNS: usize = cfg!(feature = "dns") as usize;

/// A driver over embassy-net.
pub type NetDriver<'d, const CONNS: usize> = Driver<'d, NetSocket<'d>, CONNS>;

/// Memory of `CONNS` sockets, all zero when new: a `static` of it lies in `.bss`.
///
/// `RX` and `TX` are the windows of TCP, in bytes. What was received moves on to the client's own
/// buffer at once, so `RX` can be small: it is what comes in while the task sleeps. What waits in
/// `TX` is a copy that TCP needs for repeating it.
pub struct SocketMem<const CONNS: usize, const RX: usize, const TX: usize> {
    windows: [Window<RX, TX>; CONNS],
    #[cfg(feature = "dns")]
    desk: names::Desk,
}

struct Window<const RX: usize, const TX: usize> {
    rx: [u8; RX],
    tx: [u8; TX],
}

impl<const CONNS: usize, const RX: usize, const TX: usize> SocketMem<CONNS, RX, TX> {
    /// Empty memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            windows: [const { Window { rx: [0; RX], tx: [0; TX] } }; CONNS],
            #[cfg(feature = "dns")]
            desk: names::Desk::new(),
        }
    }

    /// Sockets that `StackResources` must have: those of this memory, one for DNS where this
    /// package has the feature `dns`, and `others`: one for DHCP, those of the application, and one
    /// for DNS where only the application's `embassy-net` has that feature.
    ///
    /// ```
    /// # use kavka_embassy::SocketMem;
    /// use embassy_net::StackResources;
    /// use static_cell::ConstStaticCell;
    /// type Sockets = SocketMem<2, 2048, 2048>;
    /// // One other socket: DHCP's.
    /// static RESOURCES: ConstStaticCell<StackResources<{ Sockets::stack_sockets(1) }>> =
    ///     ConstStaticCell::new(StackResources::new());
    /// ```
    #[must_use]
    pub const fn stack_sockets(others: usize) -> usize {
        CONNS + DNS + others
    }

    /// Sockets for brokers that are named by address, if the stack has places for them.
    ///
    /// # Errors
    /// When `places` are fewer than [`SocketMem::stack_sockets`]: [`SocketMem::sockets`] would
    /// panic.
    pub fn try_sockets<'d>(
        &'d mut self,
        stack: Stack<'d>,
        places: Places,
    ) -> Result<[NetSocket<'d>; CONNS], TooFewSockets> {
        places.check(Self::stack_sockets(places.others))?;
        Ok(self.sockets(stack))
    }

    /// [`SocketMem::sockets_and_names`], if the stack has places for the sockets.
    ///
    /// # Errors
    /// As [`SocketMem::try_sockets`].
    #[cfg(feature = "dns")]
    pub fn try_sockets_and_names<'d>(
        &'d mut self,
        stack: Stack<'d>,
        places: Places,
    ) -> Result<([NetSocket<'d>; CONNS], Names<'d>), TooFewSockets> {
        places.check(Self::stack_sockets(places.others))?;
        Ok(self.sockets_and_names(stack))
    }

    /// Sockets for brokers that are named by address. Those with a name are
    /// [`CloseReason::Unresolved`].
    ///
    /// # Panics
    /// Inside the stack, when its `StackResources` have fewer sockets than
    /// [`SocketMem::stack_sockets`]; [`SocketMem::try_sockets`] returns an error instead.
    #[must_use]
    pub fn sockets<'d>(&'d mut self, stack: Stack<'d>) -> [NetSocket<'d>; CONNS] {
        self.windows.each_mut().map(|window| NetSocket::new(stack, window))
    }

    /// Sockets for brokers that may have names, and what looks these names up: a task of yours has
    /// to run it.
    ///
    /// ```text
    /// let (sockets, names) = SOCKETS.take().sockets_and_names(stack);
    /// spawner.spawn(name_service(names).unwrap()); // async fn { names.run().await }
    /// ```
    #[cfg(feature = "dns")]
    #[must_use]
    pub fn sockets_and_names<'d>(
        &'d mut self,
        stack: Stack<'d>,
    ) -> ([NetSocket<'d>; CONNS], Names<'d>) {
        let desk = &self.desk;
        let mut number = 0;
        let sockets = self.windows.each_mut().map(|window| {
            number += 1;
            let mut socket = NetSocket::new(stack, window);
            socket.clerk = Some(names::Clerk::new(desk, number));
            socket
        });
        (sockets, Names::new(stack, desk))
    }
}

impl<const CONNS: usize, const RX: usize, const TX: usize> Default for SocketMem<CONNS, RX, TX> {
    fn default() -> Self {
        Self::new()
    }
}

/// How many sockets a stack has for a driver.
#[derive(Clone, Copy, Debug)]
pub struct Places {
    all: usize,
    others: usize,
}

impl Places {
    /// Of a stack's resources, before they are lent to the stack; `others` as for
    /// [`SocketMem::stack_sockets`].
    #[must_use]
    pub const fn of<const SOCK: usize>(_: &StackResources<SOCK>, others: usize) -> Self {
        Self { all: SOCK, others }
    }

    fn check(self, needed: usize) -> Result<(), TooFewSockets> {
        if self.all < needed { Err(TooFewSockets { needed, have: self.all }) } else { Ok(()) }
    }
}

/// `StackResources` have fewer sockets than the driver, DNS and the others take together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TooFewSockets {
    /// `StackResources<needed>` are enough.
    pub needed: usize,
    /// As many there are.
    pub have: usize,
}

impl fmt::Display for TooFewSockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, have } = self;
        write!(
            f,
            "StackResources<{have}> have too few sockets: StackResources<{needed}> are needed"
        )
    }
}

impl core::error::Error for TooFewSockets {}

/// A TCP socket of embassy-net.
pub struct NetSocket<'d> {
    socket: TcpSocket<'d>,
    stack: Stack<'d>,
    stage: Stage,
    /// When the stage is over, whatever happens.
    until: Option<Instant>,
    #[cfg(feature = "dns")]
    clerk: Option<names::Clerk<'d>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was begun, or it is over.
    Idle,
    /// The peer of the previous connection is being notified of its end.
    Aborting,
    /// The address is being looked up.
    Naming,
    /// The handshake of TCP is in flight, or done.
    Connecting,
}

impl<'d> NetSocket<'d> {
    fn new<const RX: usize, const TX: usize>(
        stack: Stack<'d>,
        window: &'d mut Window<RX, TX>,
    ) -> Self {
        let mut socket = TcpSocket::new(stack, &mut window.rx, &mut window.tx);
        // Requests are whole when they are written: none is worth a wait for more.
        socket.set_nagle_enabled(false);
        Self {
            socket,
            stack,
            stage: Stage::Idle,
            until: None,
            #[cfg(feature = "dns")]
            clerk: None,
        }
    }

    /// An address of `host`.
    fn resolve(
        &mut self,
        _cx: &mut Context<'_>,
        host: &str,
    ) -> Poll<Result<IpAddress, CloseReason>> {
        if let Ok(address) = host.parse() {
            return Poll::Ready(Ok(address));
        }
        #[cfg(feature = "dns")]
        if let Some(clerk) = &mut self.clerk {
            return clerk.poll(_cx, host);
        }
        Poll::Ready(Err(CloseReason::Unresolved))
    }

    /// Sends the first packet of TCP's handshake.
    fn start(
        &mut self,
        cx: &mut Context<'_>,
        address: IpAddress,
        port: u16,
    ) -> Result<(), CloseReason> {
        let turns = if self.is_on_link(address) { Some(1) } else { self.turns() };
        self.until = turns.map(|turns| Instant::now() + TURN * turns);
        // What is to be done happens in the first poll; the rest can be seen in the state.
        match pin!(self.socket.connect((address, port))).poll(cx) {
            Poll::Ready(Err(_)) => Err(CloseReason::Refused),
            _ => Ok(()),
        }
    }

    /// Whether nothing but the link is between us and the address.
    fn is_on_link(&self, address: IpAddress) -> bool {
        #[allow(unreachable_patterns)] // which there are depends on features
        match address {
            #[cfg(feature = "proto-ipv4")]
            IpAddress::Ipv4(address) => {
                self.stack.config_v4().is_some_and(|own| own.address.contains_addr(&address))
            }
            #[cfg(feature = "proto-ipv6")]
            IpAddress::Ipv6(address) => {
                self.stack.config_v6().is_some_and(|own| own.address.contains_addr(&address))
            }
            _ => false,
        }
    }

    /// How long an address is waited for; `None`: as long as the client waits.
    fn turns(&self) -> Option<u32> {
        #[cfg(feature = "dns")]
        return self.clerk.as_ref()?.turns();
        #[cfg(not(feature = "dns"))]
        None
    }

    /// No peer responds at the address. Continues with the next one if there is one.
    fn next_address(&mut self) -> Result<(), CloseReason> {
        self.forget_peer();
        #[cfg(feature = "dns")]
        if self.clerk.as_mut().is_some_and(names::Clerk::failed) {
            self.stage = Stage::Naming;
            return Ok(());
        }
        Err(CloseReason::Refused)
    }

    /// Resets a socket whose peer never responded. Otherwise the stack would send requests for the
    /// peer's link address forever, to report the end to it, and none for other addresses.
    fn forget_peer(&mut self) {
        self.socket.abort();
        let _ = pin!(self.socket.accept(1)).poll(&mut Context::from_waker(Waker::noop()));
        self.socket.abort();
    }

    /// Whether the time of the stage is over.
    fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.until {
            Some(until) if until <= Instant::now() => Poll::Ready(()),
            // A new timer never is ready, it wakes.
            Some(until) => pin!(Timer::at(until)).poll(cx),
            None => Poll::Pending,
        }
    }

    /// Whether the socket can be used for another connection; else the peer is notified that the
    /// one before is over.
    fn poll_free(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.stage {
            Stage::Idle if matches!(self.socket.state(), State::Closed | State::TimeWait) => {
                return Poll::Ready(());
            }
            Stage::Idle => {
                self.socket.abort();
                self.stage = Stage::Aborting;
                self.until = Some(Instant::now() + SOON);
            }
            _ => {}
        }
        if pin!(self.socket.flush()).poll(cx).is_ready() {
            return Poll::Ready(());
        }
        self.poll_over(cx) // it cannot be notified: it is gone
    }
}

impl Socket for NetSocket<'_> {
    fn poll_connect(
        &mut self,
        cx: &mut Context<'_>,
        host: &str,
        port: u16,
    ) -> Poll<Result<(), CloseReason>> {
        if matches!(self.stage, Stage::Idle | Stage::Aborting) {
            if self.poll_free(cx).is_pending() {
                return Poll::Pending;
            }
            self.stage = Stage::Naming;
        }
        loop {
            if self.stage == Stage::Naming {
                match self.resolve(cx, host) {
                    Poll::Ready(address) => self.start(cx, address?, port)?,
                    Poll::Pending => return Poll::Pending,
                }
                self.stage = Stage::Connecting;
            }
            match self.socket.state() {
                State::SynSent | State::SynReceived => {
                    // Every change of the state wakes a waiter for space to write.
                    let _ = pin!(self.socket.wait_write_ready()).poll(cx);
                    if self.poll_over(cx).is_pending() {
                        return Poll::Pending;
                    }
                }
                State::Closed | State::TimeWait => {}
                _ => {
                    #[cfg(feature = "dns")]
                    self.clerk.iter_mut().for_each(names::Clerk::reached);
                    return Poll::Ready(Ok(()));
                }
            }
            self.next_address()?;
        }
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<Result<usize, CloseReason>> {
        let read = pin!(self.socket.read(room)).poll(cx).map_err(|_| CloseReason::Reset);
        #[cfg(feature = "dns")]
        if matches!(read, Poll::Ready(Ok(1..))) {
            self.clerk.iter_mut().for_each(names::Clerk::heard);
        }
        read
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, CloseReason>> {
        pin!(self.socket.write(bytes)).poll(cx).map_err(|_| CloseReason::Reset)
    }

    fn close(&mut self) {
        if self.socket.state() == State::SynSent {
            self.forget_peer();
        }
        self.socket.close();
        self.stage = Stage::Idle;
        #[cfg(feature = "dns")]
        if let Some(clerk) = &mut self.clerk {
            clerk.give_up();
        }
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        pin!(self.socket.flush()).poll(cx).map(|_| ())
    }
}
