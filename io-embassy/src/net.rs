//! Sockets of embassy-net.

#[cfg(feature = "dns")]
mod names;

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll};

use embassy_net::tcp::{State, TcpSocket};
use embassy_net::{IpAddress, Stack};
use kavka_core::CloseReason;

#[cfg(feature = "dns")]
pub use names::Names;

use crate::Driver;
use crate::socket::Socket;

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

    /// Sockets for brokers that are named by address. Those with a name are
    /// [`CloseReason::Unresolved`].
    ///
    /// Each one takes a place of the stack's `StackResources`, where its DNS and DHCP need places,
    /// too.
    #[must_use]
    pub fn sockets<'d>(&'d mut self, stack: Stack<'d>) -> [NetSocket<'d>; CONNS] {
        self.windows.each_mut().map(|window| NetSocket::new(stack, window))
    }

    /// Sockets for brokers that may have names, and who looks these names up: a task of yours has
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

/// A TCP socket of embassy-net.
pub struct NetSocket<'d> {
    socket: TcpSocket<'d>,
    stage: Stage,
    #[cfg(feature = "dns")]
    clerk: Option<names::Clerk<'d>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Nothing was begun, or it is over.
    Idle,
    /// The peer of the connection before is being told that it is over.
    Aborting,
    /// The address is being looked up.
    Naming,
    /// The handshake of TCP is under way, or done.
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
            stage: Stage::Idle,
            #[cfg(feature = "dns")]
            clerk: None,
        }
    }

    /// The address of `host`.
    fn resolve(
        &mut self,
        _cx: &mut Context<'_>,
        host: &str,
    ) -> Poll<Result<IpAddress, CloseReason>> {
        if let Ok(address) = host.parse() {
            return Poll::Ready(Ok(address));
        }
        #[cfg(feature = "dns")]
        if let Some(clerk) = &self.clerk {
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
        // What is to be done happens in the first poll; the rest can be seen in the state.
        match pin!(self.socket.connect((address, port))).poll(cx) {
            Poll::Ready(Err(_)) => Err(CloseReason::Refused),
            _ => Ok(()),
        }
    }

    /// Whether the socket can be used for another connection; else the peer is told that the one
    /// before is over.
    fn poll_free(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.stage {
            Stage::Idle if matches!(self.socket.state(), State::Closed | State::TimeWait) => {
                Poll::Ready(())
            }
            Stage::Idle => {
                self.socket.abort();
                self.stage = Stage::Aborting;
                self.poll_free(cx)
            }
            _ => pin!(self.socket.flush()).poll(cx).map(|_| ()),
        }
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
        if self.stage == Stage::Naming {
            match self.resolve(cx, host) {
                Poll::Ready(address) => self.start(cx, address?, port)?,
                Poll::Pending => return Poll::Pending,
            }
            self.stage = Stage::Connecting;
        }
        match self.socket.state() {
            State::SynSent | State::SynReceived => {
                // Every change of the state wakes who waits for being able to write.
                let _ = pin!(self.socket.wait_write_ready()).poll(cx);
                Poll::Pending
            }
            State::Closed | State::TimeWait => Poll::Ready(Err(CloseReason::Refused)),
            _ => Poll::Ready(Ok(())),
        }
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<Result<usize, CloseReason>> {
        pin!(self.socket.read(room)).poll(cx).map_err(|_| CloseReason::Reset)
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, CloseReason>> {
        pin!(self.socket.write(bytes)).poll(cx).map_err(|_| CloseReason::Reset)
    }

    fn close(&mut self) {
        self.socket.close();
        self.stage = Stage::Idle;
        #[cfg(feature = "dns")]
        if let Some(clerk) = &self.clerk {
            clerk.give_up();
        }
    }

    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        pin!(self.socket.flush()).poll(cx).map(|_| ())
    }
}
