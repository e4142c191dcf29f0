//! The turns of transactions, between the records before and after them.

use kavka_core::{Event, Instant, Outcome, TransactionError};

use super::super::inbox::Item;
use super::super::turn::{Turn, failed};
use super::Run;
use crate::driver::Driver;
use crate::pending::{Cell, Setter};

/// What fails.
const INIT: &str = "initialize transactions";

impl Run<'_> {
    /// Whether an item has to wait; if not it is done.
    pub(super) fn is_held(&mut self, driver: &mut Driver<'_>, now: Instant) -> bool {
        if self.turns.initializing.is_none()
            && let Some(item) = self.turns.held.take()
        {
            self.take_turn(driver, now, item);
        }
        self.turns.holds()
    }

    /// Does what an item says, or holds it.
    pub(super) fn take_turn(&mut self, driver: &mut Driver<'_>, now: Instant, item: Item) {
        // Records of a topic that is not known yet belong to what is to end.
        let waits = self.turns.ends || !self.waiting.is_empty();
        match item {
            Item::Turn(Turn::Init { done }) if self.turns.ready => done.set(Ok(())),
            Item::Turn(Turn::Init { done }) if !waits => self.initialize(driver, now, done),
            Item::Turn(Turn::Begin) if !waits => {
                let begun = driver.begin(now);
                self.turns.open = true;
                self.turns.failure = begun.err().map(|error| failed(error, "begin a transaction"));
            }
            Item::Turn(Turn::Offsets { offsets, done }) => {
                let sent = offsets.with(|member, list| driver.send_offsets(now, member, list));
                match sent {
                    Err(TransactionError::Full) => {
                        self.turns.held = Some(Item::Turn(Turn::Offsets { offsets, done }));
                    }
                    Err(error) => {
                        let error = failed(error, "send offsets with a transaction");
                        self.turns.note(&error);
                        done.set(Err(error));
                    }
                    Ok(()) => self.turns.offsets = Some(done),
                }
            }
            Item::Turn(Turn::End { commits, done }) if !waits => {
                self.end_transaction(driver, now, commits, done);
            }
            Item::Close if self.turns.open && !self.turns.ends => {
                self.turns.ends = driver.abort_transaction(now).is_ok();
                self.turns.open = self.turns.ends;
                self.turns.held = Some(Item::Close);
            }
            Item::Close if !self.turns.ends => self.flush(None),
            item => self.turns.held = Some(item),
        }
    }

    /// Opens a transaction, since the machine reports only within one that a coordinator refuses.
    fn initialize(&mut self, driver: &mut Driver<'_>, now: Instant, done: Setter<()>) {
        match driver.begin(now) {
            Ok(()) => (self.turns.open, self.turns.initializing) = (true, Some(done)),
            Err(error) => done.set(Err(failed(error, INIT))),
        }
    }

    fn end_transaction(
        &mut self,
        driver: &mut Driver<'_>,
        now: Instant,
        commits: bool,
        done: Setter<()>,
    ) {
        let ended = match commits && self.turns.failure.is_none() {
            true => driver.commit_transaction(now),
            false => driver.abort_transaction(now),
        };
        let failure = self.turns.failure.take().filter(|_| commits);
        match ended {
            Ok(()) => {
                (self.turns.ends, self.turns.ending) = (true, Some(done));
                self.turns.failure = failure;
            }
            Err(error) => {
                self.turns.open = false;
                let error = failure.unwrap_or_else(|| failed(error, "end a transaction"));
                done.set(if commits { Err(error) } else { Ok(()) });
            }
        }
    }

    /// Takes an event of transactions.
    pub(super) fn transaction_event(&mut self, event: &Event<'_>) {
        let turns = &mut self.turns;
        turns.ready |= matches!(event, Event::TransactionsReady);
        let initialized = match *event {
            Event::TransactionsReady => Some(Ok(())),
            Event::TransactionFailed { error } => Some(Err(failed(error, INIT))),
            _ => None,
        };
        if let Some(result) = initialized
            && let Some(done) = turns.initializing.take()
        {
            // Nothing is in it, so it ends without a request.
            let (end, _) = Cell::pair();
            turns.held = Some(Item::Turn(Turn::End { commits: false, done: end }));
            return done.set(result);
        }
        match *event {
            Event::TransactionEnded { outcome } => {
                (turns.open, turns.ends) = (false, false);
                let why = "commit a transaction";
                let result = match (outcome, turns.failure.take()) {
                    (Outcome::Committed, _) | (Outcome::Aborted, None) => Ok(()),
                    (Outcome::Aborted, Some(failure)) => Err(failure),
                    (Outcome::NotCommitted(error), _) => Err(failed(error, why)),
                    (Outcome::Unknown(error), _) => {
                        Err(failed(error, why).with_maybe_written(true))
                    }
                };
                if let Some(done) = turns.offsets.take() {
                    done.set(result.clone());
                }
                if let Some(done) = turns.ending.take() {
                    done.set(result);
                }
            }
            Event::OffsetsSent => {
                if let Some(done) = turns.offsets.take() {
                    done.set(Ok(()));
                }
            }
            Event::TransactionFailed { error } => {
                if let Some(done) = turns.offsets.take() {
                    done.set(Err(failed(error, "send offsets with a transaction")));
                }
            }
            _ => {}
        }
    }
}
