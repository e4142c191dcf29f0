//! Names of brokers, by embassy-net's resolver.
//!
//! embassy-net ends a query when its future is dropped. A turn may be dropped at any time, so the
//! queries have a task of their own, and a turn only looks whether there is an answer.

use core::cell::RefCell;
use core::future::poll_fn;
use core::task::{Context, Poll};

use embassy_net::dns::DnsQueryType;
use embassy_net::{IpAddress, Stack};
use embassy_sync::waitqueue::WakerRegistration;
use heapless::String;
use kavka_core::CloseReason;

/// Longest name that DNS allows, in bytes (RFC 1035, 2.3.4).
type Host = String<253, u8>;

/// The one question that is being asked at a time.
pub(super) struct Desk(RefCell<Question>);

struct Question {
    stage: Stage,
    host: Host,
    /// The socket that asks.
    asker: usize,
    /// Counts questions: a late answer to one that was given up belongs to nobody.
    serial: u32,
    driver: WakerRegistration,
    service: WakerRegistration,
}

/// A tag of its own, so that the free desk is all zero.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Stage {
    Free,
    Asked,
    Answered(Option<IpAddress>),
}

impl Desk {
    pub(super) const fn new() -> Self {
        Self(RefCell::new(Question {
            stage: Stage::Free,
            host: String::new(),
            asker: 0,
            serial: 0,
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
}

impl<'d> Clerk<'d> {
    pub(super) const fn new(desk: &'d Desk, number: usize) -> Self {
        Self { desk, number }
    }

    /// The address of `host`, once it was looked up.
    pub(super) fn poll(
        &self,
        cx: &mut Context<'_>,
        host: &str,
    ) -> Poll<Result<IpAddress, CloseReason>> {
        let mut question = self.desk.0.borrow_mut();
        match question.stage {
            Stage::Free => {
                let Ok(host) = Host::try_from(host) else {
                    return Poll::Ready(Err(CloseReason::Unresolved));
                };
                (question.host, question.asker) = (host, self.number);
                question.stage = Stage::Asked;
                question.serial = question.serial.wrapping_add(1);
                question.service.wake();
            }
            Stage::Answered(found) if question.asker == self.number => {
                question.stage = Stage::Free;
                question.driver.wake(); // other sockets may have questions
                return Poll::Ready(found.ok_or(CloseReason::Unresolved));
            }
            _ => {}
        }
        question.driver.register(cx.waker());
        Poll::Pending
    }

    /// Whatever this socket asked, it does not want to know any more.
    pub(super) fn give_up(&self) {
        let mut question = self.desk.0.borrow_mut();
        if question.asker == self.number && !matches!(question.stage, Stage::Free) {
            question.stage = Stage::Free;
            question.driver.wake();
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

    /// Answers questions, for ever; on the same executor as the driver. While it does not run,
    /// connections to named brokers end at the connect timeout.
    pub async fn run(&mut self) -> ! {
        loop {
            let (serial, host) = poll_fn(|cx| self.poll_question(cx)).await;
            let found = self.look_up(&host).await;
            self.answer(serial, found);
        }
    }

    fn poll_question(&self, cx: &mut Context<'_>) -> Poll<(u32, Host)> {
        let mut question = self.desk.0.borrow_mut();
        if matches!(question.stage, Stage::Asked) {
            return Poll::Ready((question.serial, question.host.clone()));
        }
        question.service.register(cx.waker());
        Poll::Pending
    }

    async fn look_up(&self, host: &str) -> Option<IpAddress> {
        #[cfg(feature = "proto-ipv4")]
        if let Some(found) = self.query(host, DnsQueryType::A).await {
            return Some(found);
        }
        #[cfg(feature = "proto-ipv6")]
        if let Some(found) = self.query(host, DnsQueryType::Aaaa).await {
            return Some(found);
        }
        note!(warn, "kavka: no address for {}", host);
        None
    }

    async fn query(&self, host: &str, kind: DnsQueryType) -> Option<IpAddress> {
        self.stack.dns_query(host, kind).await.ok()?.first().copied()
    }

    fn answer(&self, serial: u32, found: Option<IpAddress>) {
        let mut question = self.desk.0.borrow_mut();
        if question.serial == serial && matches!(question.stage, Stage::Asked) {
            question.stage = Stage::Answered(found);
            question.driver.wake();
        }
    }
}
