//! Names to addresses, without blocking the loop.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use kavka_core::ConnId;
use polling::Poller;

/// The addresses of a connection's host, or why there are none.
pub(super) type Resolved = (ConnId, io::Result<Vec<SocketAddr>>);

/// Looks names up on short-lived threads: the system's resolver knows no other way. There are at
/// most as many as connections are being made.
pub(super) struct Resolver {
    poller: Arc<Poller>,
    report: Sender<Resolved>,
    reported: Receiver<Resolved>,
}

impl Resolver {
    pub(super) fn new(poller: &Arc<Poller>) -> Self {
        let (report, reported) = channel();
        Self { poller: poller.clone(), report, reported }
    }

    /// The address at once when `host` is one; otherwise `None`, and [`Resolver::poll`] has the
    /// answer later, after the poller was notified.
    pub(super) fn resolve(&self, conn: ConnId, host: &str, port: u16) -> Option<SocketAddr> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Some(SocketAddr::new(ip, port));
        }
        let (report, poller, name) = (self.report.clone(), self.poller.clone(), host.to_owned());
        let look_up = move || {
            let found = (name.as_str(), port).to_socket_addrs().map(Iterator::collect);
            // The driver may be gone by now; then nobody wants to know.
            let _ = report.send((conn, found));
            let _ = poller.notify();
        };
        if let Err(error) = thread::Builder::new().name("kavka-dns".into()).spawn(look_up) {
            let _ = self.report.send((conn, Err(error)));
            let _ = self.poller.notify();
        }
        None
    }

    pub(super) fn poll(&self) -> Option<Resolved> {
        self.reported.try_recv().ok()
    }
}
