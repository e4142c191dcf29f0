//! What the background thread knows of transactions.

use kavka_core::{Error as Core, Misuse};

use super::super::inbox::Item;
use crate::error::{Error, ErrorKind};
use crate::pending::Setter;

/// The state of transactions.
#[derive(Default)]
pub(super) struct Turns {
    /// What has to wait, and all items after it.
    pub(super) held: Option<Item>,
    /// The coordinator has given the transactional id to this producer.
    pub(super) ready: bool,
    /// Waits for that in a transaction of its own, and all items with it.
    pub(super) initializing: Option<Setter<()>>,
    pub(super) open: bool,
    pub(super) ends: bool,
    pub(super) ending: Option<Setter<()>>,
    pub(super) offsets: Option<Setter<()>>,
    /// Why it cannot be committed, where the machine does not know it.
    pub(super) failure: Option<Error>,
}

impl Turns {
    pub(super) const fn holds(&self) -> bool {
        self.held.is_some() || self.initializing.is_some()
    }

    /// Ends with the thread: what is being committed may be.
    pub(super) fn close(&mut self, why: &Error) {
        if let Some(done) = self.ending.take() {
            done.set(Err(why.clone().with_maybe_written(true)));
        }
        for done in [self.offsets.take(), self.initializing.take()].into_iter().flatten() {
            done.set(Err(why.clone()));
        }
    }

    /// Notes a record that failed before the machine took it.
    pub(super) fn note(&mut self, error: &Error) {
        // The machine has a better reason.
        let known = matches!(
            error.kind(),
            ErrorKind::Kafka(Core::Aborted | Core::Caller(Misuse::NoTransaction))
        );
        if self.open && !known {
            self.failure.get_or_insert_with(|| error.clone());
        }
    }
}
