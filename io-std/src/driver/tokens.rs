//! Fetches tokens on a thread of its own, since that may take long.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use kavka_core::Instant;
use polling::Poller;

use crate::security::{Fetch, Token};

/// Pause after a failure (KIP-255 refreshes as often).
const AGAIN: Duration = Duration::from_secs(10);

pub(super) struct Tokens {
    fetch: Fetch,
    poller: Arc<Poller>,
    sender: Sender<io::Result<Token>>,
    fetched: Receiver<io::Result<Token>>,
    /// A fetch is under way.
    busy: bool,
    again: Option<Instant>,
}

impl Tokens {
    pub(super) fn new(fetch: Fetch, poller: &Arc<Poller>) -> Self {
        let (sender, fetched) = channel();
        Self { fetch, poller: poller.clone(), sender, fetched, busy: false, again: None }
    }

    /// Begins to fetch one.
    pub(super) fn request(&mut self, now: Instant) {
        // A server that fails is not sent requests at the pace of connects.
        if self.busy || self.again.is_some_and(|at| at > now) {
            return;
        }
        let (fetch, sender, poller) =
            (self.fetch.clone(), self.sender.clone(), self.poller.clone());
        let run = move || {
            let _ = sender.send(fetch()); // the client may have ended
            let _ = poller.notify();
        };
        self.busy = thread::Builder::new().name("kavka-token".into()).spawn(run).is_ok();
        self.again = (!self.busy).then(|| now + AGAIN);
    }

    /// Returns a token that was fetched, or why there is none. After a failure another attempt
    /// follows.
    pub(super) fn poll(&mut self, now: Instant) -> Option<io::Result<Token>> {
        if self.again.is_some_and(|at| at <= now) {
            self.again = None;
            self.request(now);
        }
        let result = self.fetched.try_recv().ok()?;
        self.busy = false;
        if result.is_err() {
            self.again = Some(now + AGAIN);
        }
        Some(result)
    }

    /// When to poll again at the latest.
    pub(super) fn due(&self) -> Option<Instant> {
        self.again
    }
}
