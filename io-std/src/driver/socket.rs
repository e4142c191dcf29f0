//! One connection: connecting to each address in turn, reading, writing.

#[cfg(feature = "tls")]
use std::cell::Cell;
use std::io::{self, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use kavka_core::{Client, CloseReason, ConnId, Instant};
use polling::Poller;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};

use super::register::{Mode, Registered};
#[cfg(feature = "tls")]
use super::secure::{Moved, Secure};

/// An address that does not respond for this long is given up for the next one, if there is one.
const NEXT_ADDRESS: Duration = Duration::from_secs(2);
/// One that takes the connection and returns nothing for this long, too, or nothing after its first
/// response: that one is to ApiVersions, and a proxy or a listener for others may have it.
const FIRST_BYTES: Duration = Duration::from_secs(3);
/// Bytes that one connection may move each way in one turn, so that the others get theirs.
const BUDGET: usize = 1 << 20;
/// Steps of TLS handshakes in one turn of all connections, each up to half a millisecond of
/// computing: a hundred at once do not hold up those that are established.
#[cfg(feature = "tls")]
pub(super) const HANDSHAKES: u32 = 8;
/// Slices of one `writev`.
const SLICES: usize = 256;

pub(super) struct Conn {
    pub(super) id: ConnId,
    /// `host:port`, for messages.
    pub(super) name: Arc<str>,
    stage: Stage,
    /// Addresses that were not tried yet; the next one is last.
    addresses: Vec<SocketAddr>,
    /// The one that is tried or in use, and whether there are others.
    address: Option<SocketAddr>,
    others: bool,
    /// Those that were tried since the driver last checked.
    pub(super) tried: Vec<SocketAddr>,
    proof: Proof,
    readable: bool,
    writable: bool,
    /// The budget of a turn ended before the bytes to send did.
    unsent: bool,
    /// The client knows that it is established.
    announced: bool,
    /// A TLS handshake is complete since the driver last checked; whether it resumed a session.
    #[cfg(feature = "tls")]
    pub(super) secured: Option<bool>,
    #[cfg(feature = "tls")]
    tls: Option<Secure>,
    /// Its handshake waits for another turn.
    #[cfg(feature = "tls")]
    deferred: bool,
}

/// What has come over a connection.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Proof {
    Nothing,
    /// The first response, to ApiVersions.
    Greeting,
    /// No more although something was sent after that.
    Requested,
    Responses,
}

impl Proof {
    /// After something was sent, if that has to lead to a response before long.
    fn sent(self) -> Option<Self> {
        (self == Self::Greeting).then_some(Self::Requested)
    }

    fn received(self) -> Self {
        match self {
            Self::Nothing | Self::Greeting => Self::Greeting,
            Self::Requested | Self::Responses => Self::Responses,
        }
    }
}

enum Stage {
    Resolving,
    Connecting {
        socket: Registered,
        until: Option<Instant>,
    },
    /// Until when the next byte has to come, if it has.
    Open(Registered, Option<Instant>),
}

/// Why a connection is over.
pub(super) struct Ended {
    pub(super) why: CloseReason,
    pub(super) error: io::Error,
}

impl Ended {
    fn new(error: io::Error) -> Self {
        use io::ErrorKind as Kind;
        // Those of the system have no text of their own.
        let of_tls = error.get_ref().is_some();
        let why = match error.kind() {
            Kind::PermissionDenied if of_tls => CloseReason::Certificate,
            Kind::InvalidData if of_tls => CloseReason::Tls,
            Kind::ConnectionRefused
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::TimedOut
            | Kind::AddrNotAvailable => CloseReason::Refused,
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => {
                CloseReason::Reset
            }
            Kind::UnexpectedEof => CloseReason::Ended,
            _ => CloseReason::Failed,
        };
        Self { why, error }
    }

    pub(super) fn unresolved(error: io::Error) -> Self {
        Self { why: CloseReason::Unresolved, error }
    }
}

/// What a connection needs of the driver.
pub(super) struct Context<'a> {
    pub(super) now: Instant,
    pub(super) poller: &'a Arc<Poller>,
    pub(super) mode: Mode,
    /// A peer that acknowledges nothing for this long is gone.
    pub(super) silence: Duration,
    #[cfg(feature = "tls")]
    pub(super) tls: Option<&'a crate::Tls>,
    /// How many of [`HANDSHAKES`] are left in this turn.
    #[cfg(feature = "tls")]
    pub(super) handshakes: &'a Cell<u32>,
}

#[cfg(feature = "tls")]
impl Context<'_> {
    /// Whether there is time for a step of a handshake in this turn.
    fn has_time(&self) -> bool {
        let left = self.handshakes.get();
        self.handshakes.set(left.saturating_sub(1));
        left > 0
    }
}

impl Conn {
    pub(super) fn new(id: ConnId, name: Arc<str>) -> Self {
        Self {
            id,
            name,
            stage: Stage::Resolving,
            addresses: Vec::new(),
            address: None,
            others: false,
            tried: Vec::new(),
            proof: Proof::Nothing,
            readable: false,
            writable: false,
            unsent: false,
            announced: false,
            #[cfg(feature = "tls")]
            secured: None,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            deferred: false,
        }
    }

    /// The poller saw something.
    pub(super) fn ready(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// Returns the address, if bytes have arrived from it.
    pub(super) fn responding(&self) -> Option<SocketAddr> {
        self.address.filter(|_| matches!(self.proof, Proof::Greeting | Proof::Responses))
    }

    /// Takes the addresses of the host and tries the first.
    pub(super) fn resolved(
        &mut self,
        cx: &Context<'_>,
        mut addresses: Vec<SocketAddr>,
    ) -> Result<(), Ended> {
        addresses.reverse();
        self.others = addresses.len() > 1;
        self.addresses = addresses;
        self.next_address(cx, io::ErrorKind::AddrNotAvailable.into())
    }

    fn next_address(&mut self, cx: &Context<'_>, mut error: io::Error) -> Result<(), Ended> {
        while let Some(address) = self.addresses.pop() {
            self.address = Some(address);
            self.tried.push(address);
            self.stage = Stage::Resolving; // closes the last socket before the next registers
            match open(address, cx.silence)
                .and_then(|s| Registered::new(cx.poller, s, self.id.slot(), cx.mode))
            {
                Ok(socket) => {
                    let more = !self.addresses.is_empty();
                    let until = more.then(|| cx.now + NEXT_ADDRESS);
                    self.stage = Stage::Connecting { socket, until };
                    (self.readable, self.writable) = (false, false);
                    return Ok(());
                }
                Err(failed) => error = failed,
            }
        }
        Err(Ended::new(error))
    }

    /// When a turn is due whatever the poller says. [`Instant::ZERO`]: at once.
    pub(super) fn deadline(&self, client: &mut Client<'_>) -> Option<Instant> {
        match &self.stage {
            Stage::Resolving => None,
            Stage::Connecting { until, .. } => *until,
            Stage::Open(_, next_byte) => {
                let unread = self.may_read() && !client.recv_buffer(self.id).is_empty();
                #[cfg(feature = "tls")]
                let unread = unread || self.deferred;
                let now = (unread || self.unsent).then_some(Instant::ZERO);
                now.or(next_byte.filter(|_| self.is_awaited()))
            }
        }
    }

    /// Moves the connection on as far as it goes without waiting.
    pub(super) fn service(
        &mut self,
        cx: &Context<'_>,
        client: &mut Client<'_>,
    ) -> Result<(), Ended> {
        let connecting = matches!(self.stage, Stage::Connecting { .. });
        if matches!(self.stage, Stage::Resolving) || (connecting && !self.connect(cx)?) {
            return Ok(());
        }
        if !self.announced {
            #[cfg(feature = "tls")]
            if !self.is_secure(cx, client).map_err(Ended::new)? {
                return self.await_it(cx.now);
            }
            self.announced = true;
            client.handle_connected(cx.now, self.id);
        }
        self.exchange(cx, client).map_err(Ended::new)?;
        self.await_it(cx.now)
    }

    /// Gives up a silent peer for another address of its host.
    fn await_it(&self, now: Instant) -> Result<(), Ended> {
        match self.stage {
            Stage::Open(_, Some(until)) if until <= now && self.is_awaited() => {
                Err(Ended { why: CloseReason::Silent, error: io::ErrorKind::TimedOut.into() })
            }
            _ => Ok(()),
        }
    }

    /// Whether the connection is established now.
    fn connect(&mut self, cx: &Context<'_>) -> Result<bool, Ended> {
        let Stage::Connecting { socket, until } = &self.stage else { return Ok(true) };
        let failed = if self.writable {
            match socket.socket().take_error() {
                Ok(None) => socket.socket().peer_addr().err(),
                Ok(Some(error)) | Err(error) => Some(error),
            }
        } else if until.is_some_and(|until| until <= cx.now) {
            Some(io::ErrorKind::TimedOut.into())
        } else {
            return Ok(false);
        };
        if let Some(error) = failed {
            self.next_address(cx, error)?;
            return Ok(false);
        }
        match core::mem::replace(&mut self.stage, Stage::Resolving) {
            Stage::Connecting { socket, .. } => {
                let next_byte = self.others.then(|| cx.now + FIRST_BYTES);
                self.stage = Stage::Open(socket, next_byte);
            }
            other => self.stage = other,
        }
        Ok(true)
    }

    fn exchange(&mut self, cx: &Context<'_>, client: &mut Client<'_>) -> io::Result<()> {
        self.transmit(cx.now, client)?;
        if self.may_read() {
            self.receive(cx, client)?;
            self.transmit(cx.now, client)?; // what the responses led to
        }
        let blocked = client.recv_buffer(self.id).is_empty();
        if let Stage::Open(socket, _) = &mut self.stage {
            match cx.mode {
                Mode::Level => socket.set_interest(!blocked, !self.writable)?,
                Mode::Edge => socket.set_interest(true, true)?,
            }
        }
        Ok(())
    }

    /// Whether there may be something to read.
    fn may_read(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.tls.as_ref().is_some_and(Secure::holds_bytes) {
            return true;
        }
        self.readable
    }

    /// Advances the TLS handshake, if there is to be one; returns whether it is complete.
    #[cfg(feature = "tls")]
    fn is_secure(&mut self, cx: &Context<'_>, client: &Client<'_>) -> io::Result<bool> {
        let Some(config) = cx.tls else { return Ok(true) };
        let Stage::Open(socket, next_byte) = &mut self.stage else { return Ok(false) };
        let begins = self.tls.is_none();
        self.deferred = begins && !cx.has_time();
        if self.deferred {
            return Ok(false);
        }
        let tls = match &mut self.tls {
            Some(tls) => tls,
            none => {
                let (host, _) = client.address(self.id).unwrap_or_default();
                none.insert(Secure::new(config.config(), host)?)
            }
        };
        loop {
            if tls.wants_write() && self.writable && tls.flush(socket.socket())? == Moved::Blocked {
                self.writable = false;
            }
            if !tls.is_handshaking() && !tls.wants_write() {
                self.secured = Some(tls.is_resumed());
                return Ok(true);
            }
            let readable = self.readable || tls.holds_encrypted();
            if !readable || !tls.is_handshaking() {
                break;
            }
            self.deferred = !cx.has_time();
            if self.deferred {
                return Ok(false);
            }
            match tls.fill(socket.socket())? {
                Moved::Blocked => self.readable = false,
                // Not Kafka's yet, but something responds.
                Moved::Bytes(_) => *next_byte = self.others.then(|| cx.now + FIRST_BYTES),
            }
        }
        match cx.mode {
            Mode::Level => socket.set_interest(true, tls.wants_write())?,
            Mode::Edge => socket.set_interest(true, true)?,
        }
        Ok(false)
    }

    /// The same as [`Conn::transmit`] over TLS.
    #[cfg(feature = "tls")]
    fn transmit_secure(&mut self, now: Instant, client: &mut Client<'_>) -> io::Result<()> {
        let (Stage::Open(socket, next_byte), Some(tls)) = (&mut self.stage, &mut self.tls) else {
            return Ok(());
        };
        let mut budget = BUDGET;
        self.unsent = false;
        while self.writable {
            match tls.flush(socket.socket())? {
                Moved::Blocked => self.writable = false,
                Moved::Bytes(moved) => budget = budget.saturating_sub(moved),
            }
            if !self.writable || budget == 0 {
                self.unsent = self.writable;
                break;
            }
            let Some(bytes) = client.poll_transmit(now, self.id) else { return Ok(()) };
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = slices.iter_mut().zip(bytes).map(|(s, b)| *s = IoSlice::new(b)).count();
            let taken = tls.write(&slices[..filled])?;
            if let Some(awaited) = self.proof.sent() {
                self.proof = awaited;
                *next_byte = self.others.then(|| now + FIRST_BYTES);
            }
            client.handle_transmitted(now, self.id, taken);
        }
        Ok(())
    }

    /// The same as [`Conn::receive`] over TLS. What is decrypted already comes first: no socket
    /// reports it.
    #[cfg(feature = "tls")]
    fn receive_secure(&mut self, cx: &Context<'_>, client: &mut Client<'_>) -> io::Result<()> {
        let (Stage::Open(socket, _), Some(tls)) = (&self.stage, &mut self.tls) else {
            return Ok(());
        };
        let mut budget = BUDGET;
        loop {
            let room = client.recv_buffer(self.id);
            if room.is_empty() {
                return Ok(());
            }
            match tls.read(room)? {
                Moved::Bytes(read) => {
                    self.proof = self.proof.received();
                    client.handle_received(cx.now, self.id, read);
                    budget = budget.saturating_sub(read);
                    continue;
                }
                Moved::Blocked if budget == 0 => return Ok(()),
                Moved::Blocked if !self.readable && !tls.holds_encrypted() => return Ok(()),
                Moved::Blocked => {}
            }
            if tls.fill(socket.socket())? == Moved::Blocked {
                self.readable = false;
            }
        }
    }

    /// Whether bytes have to come before long, where the host has other addresses.
    fn is_awaited(&self) -> bool {
        matches!(self.proof, Proof::Nothing | Proof::Requested)
    }

    fn transmit(&mut self, now: Instant, client: &mut Client<'_>) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return self.transmit_secure(now, client);
        }
        let others = self.others;
        let Stage::Open(socket, next_byte) = &mut self.stage else { return Ok(()) };
        let mut budget = BUDGET;
        self.unsent = false;
        while self.writable {
            if budget == 0 {
                self.unsent = true;
                break;
            }
            let Some(bytes) = client.poll_transmit(now, self.id) else { return Ok(()) };
            let mut slices = [IoSlice::new(&[]); SLICES];
            let filled = slices.iter_mut().zip(bytes).map(|(s, b)| *s = IoSlice::new(b)).count();
            match socket.socket().write_vectored(&slices[..filled]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    client.handle_transmitted(now, self.id, written);
                    if let Some(awaited) = self.proof.sent() {
                        self.proof = awaited;
                        *next_byte = others.then(|| now + FIRST_BYTES);
                    }
                    budget = budget.saturating_sub(written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn receive(&mut self, cx: &Context<'_>, client: &mut Client<'_>) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return self.receive_secure(cx, client);
        }
        let Stage::Open(socket, _) = &self.stage else { return Ok(()) };
        let mut budget = BUDGET;
        while self.readable && budget > 0 {
            let room = client.recv_buffer(self.id);
            if room.is_empty() {
                return Ok(()); // events come first; TCP holds the rest back
            }
            let offered = room.len();
            match socket.socket().read(room) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => {
                    self.proof = self.proof.received();
                    client.handle_received(cx.now, self.id, read);
                    budget = budget.saturating_sub(read);
                    // A short read emptied the socket; level-triggered polling reports more.
                    if read < offered && matches!(cx.mode, Mode::Level) {
                        self.readable = false;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Makes the system detect that the peer is gone without any notice, as when a device in the
/// middle forgot the connection.
fn watch_peer(socket: &Socket, silence: Duration) {
    // Whole seconds are what most systems know. A system without these options goes without: the
    // client's own time-outs remain.
    let alive = TcpKeepalive::new().with_time((silence / 2).max(Duration::from_secs(1)));
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple", windows))]
    let alive = alive.with_interval((silence / 6).max(Duration::from_secs(1)));
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    let alive = alive.with_retries(3);
    let _ = socket.set_tcp_keepalive(&alive);
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = socket.set_tcp_user_timeout(Some(silence));
}

/// A socket that is on its way to `address`.
fn open(address: SocketAddr, silence: Duration) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    watch_peer(&socket, silence);
    match socket.connect(&address.into()) {
        Err(error) if has_failed(error.kind()) => Err(error),
        // "In progress" has no stable `ErrorKind`. Whatever it is, it shows when the socket
        // becomes writable, at once if the connect failed.
        _ => Ok(socket.into()),
    }
}

/// Whether a connect with this error has ended: its reason cannot be had from the socket later.
fn has_failed(error: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error,
        Kind::ConnectionRefused
            | Kind::NetworkUnreachable
            | Kind::HostUnreachable
            | Kind::NetworkDown
            | Kind::AddrNotAvailable
            | Kind::AddrInUse
            | Kind::PermissionDenied
            | Kind::InvalidInput
            | Kind::ConnectionReset
            | Kind::TimedOut
    )
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::TcpListener;

    use socket2::SockRef;

    use super::*;

    #[test]
    fn a_connect_that_fails_at_once_keeps_its_reason() {
        // No route leads to a broadcast address, or it is forbidden; and a link-local address needs
        // the name of a link.
        for address in ["255.255.255.255:9092", "[fe80::1]:9092"] {
            let error = open(address.parse().unwrap(), Duration::from_secs(9)).unwrap_err();
            assert!(has_failed(error.kind()), "{address}: {error}");
        }
    }

    #[test]
    fn the_system_is_to_notice_a_peer_that_is_gone() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        for (silence, time, interval) in [(30, 15, 5), (9, 4, 1), (1, 1, 1)] {
            let silence = Duration::from_secs(silence);
            let stream = open(listener.local_addr().unwrap(), silence).unwrap();
            let socket = SockRef::from(&stream);
            assert_eq!(socket.tcp_user_timeout().unwrap(), Some(silence));
            assert!(socket.keepalive().unwrap(), "{silence:?}");
            let times = (socket.tcp_keepalive_time(), socket.tcp_keepalive_interval());
            let times = (times.0.unwrap().as_secs(), times.1.unwrap().as_secs());
            assert_eq!(times, (time, interval), "{silence:?}");
            assert_eq!(socket.tcp_keepalive_retries().unwrap(), 3);
            assert!(socket.tcp_nodelay().unwrap());
        }
    }
}
