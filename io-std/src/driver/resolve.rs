//! Names to addresses, without blocking the loop.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use kavka_core::ConnId;
use polling::Poller;

/// What no connection waited for any more is used by the next one for this long.
const FRESH: Duration = Duration::from_secs(60);
/// Names that are remembered; bootstrap hosts and brokers, as a rule.
const NAMES: usize = 1024;

type Response = io::Result<Vec<SocketAddr>>;
/// A name, and what its look-up found.
type Found = (Arc<str>, Response);

/// The addresses of a host, or why there are none, and the connections that wait for them.
pub(super) struct Resolved {
    pub(super) name: Arc<str>,
    pub(super) conns: Vec<ConnId>,
    pub(super) found: Response,
}

/// What is known of one `host:port`.
#[derive(Default)]
struct Name {
    /// A look-up runs, for these.
    looking: bool,
    waiting: Vec<ConnId>,
    /// A result that came too late for its connection.
    late: Option<(Instant, Vec<SocketAddr>)>,
    /// Addresses that were tried, the last one last.
    tried: Vec<SocketAddr>,
}

/// Looks names up on short-lived threads: the system's resolver blocks. One look-up
/// per name runs at a time.
pub(super) struct Resolver {
    poller: Arc<Poller>,
    results: (Sender<Found>, Receiver<Found>),
    names: HashMap<Arc<str>, Name>,
}

impl Resolver {
    pub(super) fn new(poller: &Arc<Poller>) -> Self {
        Self { poller: poller.clone(), results: channel(), names: HashMap::new() }
    }

    /// The addresses at once when `host` is one, or when a look-up ended too late for an earlier
    /// connection; otherwise `None`, and [`Resolver::poll`] has the result later, after the poller
    /// was notified. `name` is `host:port`.
    pub(super) fn resolve(
        &mut self,
        conn: ConnId,
        name: &Arc<str>,
        host: &str,
        port: u16,
    ) -> Option<Vec<SocketAddr>> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Some(vec![SocketAddr::new(ip, port)]);
        }
        if self.names.len() >= NAMES {
            self.names.retain(|_, known| known.looking);
        }
        let known = self.names.entry(name.clone()).or_default();
        if let Some((at, found)) = known.late.take()
            && at.elapsed() < FRESH
        {
            return Some(found);
        }
        known.waiting.push(conn);
        if core::mem::replace(&mut known.looking, true) {
            return None;
        }
        let (results, poller) = (self.results.0.clone(), self.poller.clone());
        let (name, host) = (name.clone(), host.to_owned());
        let failed = name.clone();
        let look_up = move || {
            let found = (host.as_str(), port).to_socket_addrs().map(Iterator::collect);
            // The driver may be gone by now; then the result is of no use.
            let _ = results.send((name, found));
            let _ = poller.notify();
        };
        if let Err(error) = thread::Builder::new().name("kavka-dns".into()).spawn(look_up) {
            let _ = self.results.0.send((failed, Err(error)));
            let _ = self.poller.notify();
        }
        None
    }

    /// The next look-up that ended.
    pub(super) fn poll(&mut self) -> Option<Resolved> {
        let (name, found) = self.results.1.try_recv().ok()?;
        let known = self.names.entry(name.clone()).or_default();
        known.looking = false;
        Some(Resolved { name, conns: core::mem::take(&mut known.waiting), found })
    }

    /// All connections that waited for these were given up meanwhile.
    pub(super) fn keep(&mut self, name: &str, found: Vec<SocketAddr>) {
        if let Some(known) = self.names.get_mut(name) {
            known.late = Some((Instant::now(), found));
        }
    }

    /// Sorts addresses: those that were not tried come first, then those whose last try is longest
    /// ago, so that every connect begins behind the address that was tried last.
    pub(super) fn arrange(&self, name: &str, addresses: &mut [SocketAddr]) {
        if let Some(known) = self.names.get(name) {
            let last = |address: &SocketAddr| known.tried.iter().position(|it| it == address);
            addresses.sort_by_key(|address| last(address).map_or(0, |at| at + 1));
        }
    }

    /// An address of a name is being tried.
    pub(super) fn tried(&mut self, name: &str, address: SocketAddr) {
        if let Some(known) = self.names.get_mut(name) {
            known.tried.retain(|other| *other != address);
            if known.tried.len() >= NAMES {
                known.tried.remove(0);
            }
            known.tried.push(address);
        }
    }
}

#[cfg(test)]
mod tests {
    use kavka_core::{Action, Client, Config, Instant as Time, Limits, Storage};

    use super::*;

    fn conn() -> ConnId {
        let storage = Storage::heap(&Limits::small());
        let mut client = Client::new(Config::new("b1:1"), storage, [0; 32]).expect("a client");
        client.topic("t").expect("a topic");
        let action = client.poll_action(Time::from_millis(1));
        let Some(Action::Connect { conn }) = action else { panic!("{action:?}") };
        conn
    }

    /// Without a network: the names are addresses that are not legal.
    #[test]
    fn names_that_no_caller_waits_for_are_forgotten() {
        let poller = Arc::new(Poller::new().expect("a poller"));
        let mut resolver = Resolver::new(&poller);
        let (conn, most) = (conn(), 2 * NAMES);
        for n in 0..most {
            let name: Arc<str> = format!("no name {n}:1").into();
            assert_eq!(resolver.resolve(conn, &name, "no name", 1), None);
            let found = resolver.results.1.recv().expect("a result");
            resolver.results.0.send(found).expect("put back");
            let resolved = resolver.poll().expect("it has ended");
            assert_eq!((&resolved.name, resolved.conns.len()), (&name, 1));
            assert!(resolved.found.is_err(), "{:?}", resolved.found);
        }
        assert!(resolver.names.len() <= NAMES, "{} names", resolver.names.len());
    }
}
