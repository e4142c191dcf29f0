//! One connection over a stream of `embedded-io-async`: TLS, a modem, a serial line.
//!
//! Such a stream may lose bytes when a read is dropped half-way, and a turn may be dropped at any
//! time. So the stream is read and written by a [`Pump`], which is a task of its own and drops
//! nothing while the connection lasts; the driver's [`StreamSocket`] sees two pipes between them.
//!
//! ```no_run
//! # use core::{convert::Infallible, future::pending};
//! # use embassy_futures::select::{Either, select};
//! # use embassy_net::tcp::TcpSocket;
//! # use embassy_time::{Duration, with_timeout};
//! # use kavka_embassy::core::{Client, CloseReason};
//! # use kavka_embassy::stream::{Pump, StreamDriver, StreamMem};
//! # use static_cell::ConstStaticCell;
//! # type Memory = StreamMem<1024, 1024>;
//! # static STREAM: ConstStaticCell<Memory> = ConstStaticCell::new(Memory::new());
//! # type Stream = TcpSocket<'static>;
//! # async fn connect(_: &str, _: u16) -> Result<Stream, Infallible> { pending().await }
//! # fn start(client: Client<'static>) {
//! let (socket, mut pump) = STREAM.take().split();
//! let driver = StreamDriver::new(client, [socket]);
//! # }
//! # async fn task(mut pump: Pump<'static, 1024, 1024>) {
//!
//! // In another task of the same executor:
//! loop {
//!     let wanted = pump.wanted().await;
//!     let connect = connect(&wanted.host, wanted.port); // yours: TCP, then TLS
//!     let limited = with_timeout(Duration::from_secs(10), connect); // it may hang
//!     match select(limited, pump.given_up()).await {
//!         Either::First(Ok(Ok(mut stream))) => {
//!             let (reader, writer) = stream.split();
//!             pump.run(reader, writer).await;
//!         }
//!         Either::First(_) => pump.refuse(CloseReason::Refused),
//!         Either::Second(()) => {} // the client no longer waits for it
//!     }
//! }
//! # }
//! ```

mod halves;

use core::cell::RefCell;
use core::future::{Future, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll};

use embassy_futures::select::{Either3, select3};
use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::pipe::{Pipe, Reader, Writer};
use embassy_sync::waitqueue::WakerRegistration;
use embedded_io_async::{Error as _, ErrorKind, Read, Write};
use heapless::String;
use kavka_core::CloseReason;

pub use halves::{Half, Halves};

use crate::Driver;
use crate::socket::Socket;

/// A driver over one stream.
pub type StreamDriver<'d, const RX: usize, const TX: usize> =
    Driver<'d, StreamSocket<'d, RX, TX>, 1>;

/// Bytes that are read from the stream at a time; they lie in the pump's task.
const PIECE: usize = 512;

/// Memory between a [`StreamSocket`] and its [`Pump`], all zero when new: `RX` bytes that were
/// received and `TX` bytes to be sent.
pub struct StreamMem<const RX: usize, const TX: usize> {
    rx: Pipe<NoopRawMutex, RX>,
    tx: Pipe<NoopRawMutex, TX>,
    call: Call,
}

impl<const RX: usize, const TX: usize> StreamMem<RX, TX> {
    /// Empty memory.
    #[must_use]
    pub const fn new() -> Self {
        Self { rx: Pipe::new(), tx: Pipe::new(), call: Call::new() }
    }

    /// The driver's end and the stream's end, both for the same executor.
    #[must_use]
    pub fn split(&mut self) -> (StreamSocket<'_, RX, TX>, Pump<'_, RX, TX>) {
        let (rx_out, rx_in) = self.rx.split();
        let (tx_out, tx_in) = self.tx.split();
        let call = &self.call;
        (StreamSocket { rx: rx_out, tx: tx_in, call }, Pump { rx: rx_in, tx: tx_out, call })
    }
}

impl<const RX: usize, const TX: usize> Default for StreamMem<RX, TX> {
    fn default() -> Self {
        Self::new()
    }
}

/// Whether there is a connection, as both ends see it.
struct Call(RefCell<CallState>);

struct CallState {
    stage: Stage,
    host: String<255, u8>,
    port: u16,
    driver: WakerRegistration,
    pump: WakerRegistration,
}

/// With a tag of its own, or the reason of `Over` would be it, and `Idle` not zero.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Stage {
    Idle,
    /// The driver waits for a connection that the pump does not know of yet.
    Wanted,
    /// It is being established.
    Connecting,
    Open,
    /// The stream ended; the driver does not know yet.
    Over(CloseReason),
    /// The driver has dropped it; the pump does not know yet.
    Leaving,
}

impl Call {
    const fn new() -> Self {
        Self(RefCell::new(CallState {
            stage: Stage::Idle,
            host: String::new(),
            port: 0,
            driver: WakerRegistration::new(),
            pump: WakerRegistration::new(),
        }))
    }

    /// Returns the stage; the driver's task is woken when the pump changes it.
    fn watch(&self, cx: &mut Context<'_>) -> Stage {
        let mut call = self.0.borrow_mut();
        call.driver.register(cx.waker());
        call.stage
    }

    /// Sets the stage of the pump, or, if the driver left meanwhile, makes it idle. Returns whether
    /// the driver still waits.
    fn advance(&self, stage: Stage) -> bool {
        let mut call = self.0.borrow_mut();
        let left = call.stage == Stage::Leaving;
        call.stage = if left { Stage::Idle } else { stage };
        call.driver.wake();
        !left
    }

    fn poll_left(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut call = self.0.borrow_mut();
        if call.stage == Stage::Leaving {
            return Poll::Ready(());
        }
        call.pump.register(cx.waker());
        Poll::Pending
    }
}

/// The driver's end of a stream.
pub struct StreamSocket<'d, const RX: usize, const TX: usize> {
    rx: Reader<'d, NoopRawMutex, RX>,
    tx: Writer<'d, NoopRawMutex, TX>,
    call: &'d Call,
}

impl<const RX: usize, const TX: usize> Socket for StreamSocket<'_, RX, TX> {
    fn poll_connect(
        &mut self,
        cx: &mut Context<'_>,
        host: &str,
        port: u16,
    ) -> Poll<Result<(), CloseReason>> {
        match self.call.watch(cx) {
            Stage::Idle => {
                // What is left of the connection before.
                while self.rx.try_read(&mut [0; 16]).is_ok() {}
                let mut call = self.call.0.borrow_mut();
                let Ok(host) = String::try_from(host) else {
                    return Poll::Ready(Err(CloseReason::Unresolved));
                };
                (call.host, call.port, call.stage) = (host, port, Stage::Wanted);
                call.pump.wake();
                Poll::Pending
            }
            Stage::Open => Poll::Ready(Ok(())),
            Stage::Over(why) => Poll::Ready(Err(why)),
            Stage::Wanted | Stage::Connecting | Stage::Leaving => Poll::Pending,
        }
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        room: &mut [u8],
    ) -> Poll<Result<usize, CloseReason>> {
        if let Poll::Ready(read) = pin!(self.rx.read(room)).poll(cx) {
            return Poll::Ready(Ok(read));
        }
        match self.call.watch(cx) {
            Stage::Over(CloseReason::Ended) => Poll::Ready(Ok(0)),
            Stage::Over(why) => Poll::Ready(Err(why)),
            _ => Poll::Pending,
        }
    }

    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<Result<usize, CloseReason>> {
        match self.call.watch(cx) {
            Stage::Over(why) => Poll::Ready(Err(why)),
            _ => pin!(self.tx.write(bytes)).poll(cx).map(Ok),
        }
    }

    fn close(&mut self) {
        let mut call = self.call.0.borrow_mut();
        call.stage = match call.stage {
            Stage::Connecting | Stage::Open | Stage::Leaving => Stage::Leaving,
            Stage::Idle | Stage::Wanted | Stage::Over(_) => Stage::Idle,
        };
        call.pump.wake();
    }

    /// Ready when the pump let go of the stream, whose closing is the caller's.
    fn poll_closed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self.call.watch(cx) {
            Stage::Leaving => Poll::Pending,
            _ => Poll::Ready(()),
        }
    }
}

/// Where a connection is wanted to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Wanted {
    /// Name or address of the host, at most 255 bytes.
    pub host: String<255, u8>,
    /// Port, 1 to 65535.
    pub port: u16,
}

/// The stream's end: moves bytes between a stream and the driver's [`StreamSocket`].
pub struct Pump<'d, const RX: usize, const TX: usize> {
    rx: Writer<'d, NoopRawMutex, RX>,
    tx: Reader<'d, NoopRawMutex, TX>,
    call: &'d Call,
}

impl<const RX: usize, const TX: usize> Pump<'_, RX, TX> {
    /// Waits until the client requests a connection. [`Pump::run`] or [`Pump::refuse`] follows;
    /// another call without either is a refusal.
    pub async fn wanted(&mut self) -> Wanted {
        let stage = self.call.0.borrow().stage;
        if !matches!(stage, Stage::Idle | Stage::Wanted | Stage::Over(_)) {
            self.call.advance(Stage::Over(CloseReason::Failed));
        }
        let wanted = poll_fn(|cx| {
            let mut call = self.call.0.borrow_mut();
            if call.stage != Stage::Wanted {
                call.pump.register(cx.waker());
                return Poll::Pending;
            }
            call.stage = Stage::Connecting;
            Poll::Ready(Wanted { host: call.host.clone(), port: call.port })
        })
        .await;
        // What is left of the connection before.
        while let Ok(bytes) = self.tx.try_fill_buf() {
            let len = bytes.len();
            self.tx.consume(len);
        }
        wanted
    }

    /// Resolves when the client no longer waits for the connection of [`Pump::wanted`]: its own
    /// `connect_timeout` has passed, or it was disconnected. Until then the client
    /// cannot request another connection, so a connect is awaited together with this (`select`).
    /// The next [`Pump::wanted`] then returns the next request. Cancel-safe; never resolves without
    /// a request.
    pub async fn given_up(&self) {
        poll_fn(|cx| self.call.poll_left(cx)).await;
    }

    /// Reports that there is no connection.
    pub fn refuse(&mut self, why: CloseReason) {
        self.call.advance(Stage::Over(why));
    }

    /// Moves bytes until the stream ends or the client drops it. The halves are dropped
    /// then, with whatever they were about to read or write; before, no read and no write is.
    ///
    /// To be awaited to its end: dropping it drops the connection.
    pub async fn run(&mut self, reader: impl Read, writer: impl Write) {
        self.run_as(reader, writer, &|why| why).await;
    }

    /// The same for a stream that knows more about its end: `reason` returns what the client takes
    /// it for.
    pub(crate) async fn run_as(
        &mut self,
        reader: impl Read,
        writer: impl Write,
        reason: &dyn Fn(CloseReason) -> CloseReason,
    ) {
        if !self.call.advance(Stage::Open) {
            return; // given up meanwhile
        }
        let left = poll_fn(|cx| self.call.poll_left(cx));
        let moved = select3(receive(reader, &self.rx), send(&mut self.tx, writer), left).await;
        let why = match moved {
            Either3::First(why) | Either3::Second(why) => reason(why),
            Either3::Third(()) => CloseReason::Ended,
        };
        self.call.advance(Stage::Over(why));
    }
}

async fn receive<const RX: usize>(
    mut reader: impl Read,
    rx: &Writer<'_, NoopRawMutex, RX>,
) -> CloseReason {
    let mut piece = [0; PIECE];
    loop {
        let mut rest = match reader.read(&mut piece).await {
            Ok(0) => return CloseReason::Ended,
            Ok(read) => piece.get(..read).unwrap_or_default(),
            Err(error) => return reason(error.kind()),
        };
        while !rest.is_empty() {
            let written = rx.write(rest).await;
            rest = rest.get(written..).unwrap_or_default();
        }
    }
}

async fn send<const TX: usize>(
    tx: &mut Reader<'_, NoopRawMutex, TX>,
    mut writer: impl Write,
) -> CloseReason {
    loop {
        let written = match writer.write(tx.fill_buf().await).await {
            Ok(0) => return CloseReason::Failed,
            Ok(written) => written,
            Err(error) => return reason(error.kind()),
        };
        tx.consume(written);
        if tx.try_fill_buf().is_err()
            && let Err(error) = writer.flush().await
        {
            return reason(error.kind());
        }
    }
}

fn reason(kind: ErrorKind) -> CloseReason {
    match kind {
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe => {
            CloseReason::Reset
        }
        _ => CloseReason::Failed,
    }
}
