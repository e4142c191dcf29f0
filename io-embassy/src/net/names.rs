//! Names of brokers, by embassy-net's resolver.
//!
//! embassy-net ends a query when its future is dropped. A turn may be dropped at any time, so the
//! queries have a task of their own, and a turn only checks whether there is a response.

use core::cell::RefCell;
use core::future::poll_fn;
use core::task::{Context, Poll};

use embassy_net::dns::DnsQueryType;
use embassy_net::{IpAddress, Stack};
use embassy_sync::waitqueue::WakerRegistration;
use heapless::{String, Vec};
use kavka_core::CloseReason;

/// Longest name that DNS allows, in bytes (RFC 1035, 2.3.4).
type Host = String<253, u8>;
/// Addresses of a name that are tried, and that are remembered as dead. How many of them the stack
/// tells is smoltcp's `DNS_MAX_RESULT_COUNT`.
const ADDRESSES: usize = 4;
type Addresses = Vec<IpAddress, ADDRESSES, u8>;

/// The one query that is in progress.
pub(super) struct Desk(RefCell<Expected>);

struct Expected {
    stage: Stage,
    host: Host,
    /// The socket that requested it.
    requester: usize,
    /// Counts queries: a late response to one that was given up is dropped.
    serial: u32,
    /// The response; none: there is no such name.
    found: Addresses,
    /// Addresses that did not respond, the last one at the end.
    failed: Addresses,
    driver: WakerRegistration,
    service: WakerRegistration,
}

impl Expected {
    /// The first address that never failed, or else the one that failed longest ago.
    fn choice(&self) -> Option<IpAddress> {
        let failed = |a: &&IpAddress| self.failed.iter().position(|f| f == *a).map_or(0, |n| n + 1);
        self.found.iter().min_by_key(failed).copied()
    }

    fn note_failed(&mut self, address: IpAddress) {
        self.failed.retain(|other| *other != address);
        if self.failed.is_full() {
            self.failed.remove(0);
        }
        let _ = self.failed.push(address);
    }
}

/// A tag of its own, so that the free desk is all zero.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Stage {
    Free,
    Requested,
    Responded,
}

impl Desk {
    pub(super) const fn new() -> Self {
        Self(RefCell::new(Expected {
            stage: Stage::Free,
            host: String::new(),
            requester: 0,
            serial: 0,
            found: Vec::new(),
            failed: Vec::new(),
            driver: WakerRegistration::new(),
            service: WakerRegistration::new(),
        }))
    }
}

/// One socket's way to the desk.
pub(super) struct Clerk<'d> {
    desk: &'d Desk,
    /// From 1.
    number: usize,
    /// The address that is being connected.
    tried: Option<IpAddress>,
    /// Addresses that this connection may still try.
    left: u8,
    /// Addresses that failed since one did not.
    failures: u8,
}

impl<'d> Clerk<'d> {
    pub(super) const fn new(desk: &'d Desk, number: usize) -> Self {
        Self { desk, number, tried: None, left: 0, failures: 0 }
    }

    /// Returns an address of `host`, once it was looked up.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        host: &str,
    ) -> Poll<Result<IpAddress, CloseReason>> {
        let mut expected = self.desk.0.borrow_mut();
        match expected.stage {
            Stage::Free => {
                let Ok(host) = Host::try_from(host) else {
                    return Poll::Ready(Err(CloseReason::Unresolved));
                };
                (expected.host, expected.requester) = (host, self.number);
                expected.stage = Stage::Requested;
                expected.serial = expected.serial.wrapping_add(1);
                expected.service.wake();
            }
            Stage::Responded if expected.requester == self.number => {
                expected.stage = Stage::Free;
                expected.driver.wake(); // other sockets may have questions
                if self.left == 0 {
                    self.left = expected.found.len() as u8;
                }
                self.tried = expected.choice();
                return Poll::Ready(self.tried.ok_or(CloseReason::Unresolved));
            }
            _ => {}
        }
        expected.driver.register(cx.waker());
        Poll::Pending
    }

    /// For how many turns an address is waited for, where there are others. Each may be good and
    /// far away: the time grows with every round.
    pub(super) fn turns(&self) -> Option<u32> {
        (self.left > 1).then(|| 1 + u32::from(self.failures) / ADDRESSES as u32)
    }

    /// Notes that the address that was tried is dead. Returns whether there is another one.
    pub(super) fn failed(&mut self) -> bool {
        if let Some(address) = self.tried.take() {
            self.desk.0.borrow_mut().note_failed(address);
            self.failures = self.failures.saturating_add(1);
            self.left = self.left.saturating_sub(1);
            return self.left > 0;
        }
        false
    }

    /// The address that was tried takes connections; whether it is good shows when bytes come.
    pub(super) fn reached(&mut self) {
        (self.left, self.failures) = (0, 0);
    }

    /// Notes that bytes arrived: the address that was tried is good.
    pub(super) fn heard(&mut self) {
        self.tried = None;
    }

    /// Drops what this socket requested. An address that it tried until now did not respond.
    pub(super) fn give_up(&mut self) {
        self.failed();
        self.left = 0;
        let mut expected = self.desk.0.borrow_mut();
        if expected.requester == self.number && !matches!(expected.stage, Stage::Free) {
            expected.stage = Stage::Free;
            expected.driver.wake();
        }
    }
}

/// Looks names up for the sockets of one [`SocketMem`](super::SocketMem).
pub struct Names<'d> {
    stack: Stack<'d>,
    desk: &'d Desk,
}

impl<'d> Names<'d> {
    pub(super) const fn new(stack: Stack<'d>, desk: &'d Desk) -> Self {
        Self { stack, desk }
    }

    /// Serves look-ups, forever; on the same executor as the driver. While it does not run,
    /// connections to named brokers end at the connect timeout.
    pub async fn run(&mut self) -> ! {
        loop {
            let (serial, host) = poll_fn(|cx| self.poll_question(cx)).await;
            let found = self.look_up(&host).await;
            self.respond(serial, found);
        }
    }

    fn poll_question(&self, cx: &mut Context<'_>) -> Poll<(u32, Host)> {
        let mut expected = self.desk.0.borrow_mut();
        if matches!(expected.stage, Stage::Requested) {
            return Poll::Ready((expected.serial, expected.host.clone()));
        }
        expected.service.register(cx.waker());
        Poll::Pending
    }

    async fn look_up(&self, host: &str) -> Addresses {
        let mut found = Addresses::new();
        #[cfg(feature = "proto-ipv4")]
        self.query(host, DnsQueryType::A, &mut found).await;
        #[cfg(feature = "proto-ipv6")]
        if self.all_failed(&found) {
            self.query(host, DnsQueryType::Aaaa, &mut found).await;
        }
        if found.is_empty() {
            note!(warn, "kavka: no address for {}", host);
        }
        found
    }

    #[cfg(feature = "proto-ipv6")]
    fn all_failed(&self, found: &Addresses) -> bool {
        let expected = self.desk.0.borrow();
        found.iter().all(|address| expected.failed.contains(address))
    }

    async fn query(&self, host: &str, kind: DnsQueryType, found: &mut Addresses) {
        if let Ok(addresses) = self.stack.dns_query(host, kind).await {
            let room = found.capacity() - found.len();
            found.extend(addresses.into_iter().take(room));
        }
    }

    fn respond(&self, serial: u32, found: Addresses) {
        let mut expected = self.desk.0.borrow_mut();
        if expected.serial == serial && matches!(expected.stage, Stage::Requested) {
            (expected.stage, expected.found) = (Stage::Responded, found);
            expected.driver.wake();
        }
    }
}
