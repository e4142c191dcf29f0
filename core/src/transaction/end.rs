//! EndTxn, and what its answer says about the transaction. A commit whose answer was lost is
//! repeated until one has the end; one that has it no more is reported as unknown.

use super::{AGAIN, Begun, Identity, MARKING, Phase, Transaction};
use crate::api::Kind;
use crate::cluster::Cx;
use crate::error::{Error, TransactionError};
use crate::event::Outcome;
use crate::producer::{Producer, Protocol};
use crate::time::Tick;
use crate::wire::table::Segment;
use crate::wire::{Encode, ErrorCode, end_txn};

impl Transaction {
    pub(super) fn request_end(&mut self, cx: &mut Cx<'_>, conn: usize) -> Tick {
        let implicit = self.protocol == Some(Protocol::Implicit);
        let cap = if implicit { i16::MAX } else { end_txn::BUMPS - 1 };
        let versions = &cx.net.conns[conn].versions;
        let best = versions.best(Kind::EndTxn, cap);
        if best.is_none() || implicit && best < Some(end_txn::BUMPS) {
            // Another coordinator, which is older: not for long.
            self.later(cx, Error::Broker(ErrorCode::UNSUPPORTED_VERSION));
            return self.retry_at;
        }
        let (net, settings) = (&mut cx.net, &cx.settings);
        let Some(mut draft) = net.open(conn, cx.now, Kind::EndTxn, cap) else {
            return cx.now + AGAIN;
        };
        let request = end_txn::Request {
            transactional_id: &settings.transactional_id,
            producer_id: self.ids.0,
            producer_epoch: self.ids.1,
            committed: guard!("what failed is not committed", !self.is_lost() => true),
        };
        if net.write(&mut draft, &mut |w, version| request.encode(version, w)).is_err() {
            net.abandon(draft);
            return cx.now + AGAIN;
        }
        net.send(cx.now, draft, self.next_tag(), settings.request_timeout);
        Tick::NEVER
    }

    pub(super) fn on_end(
        &mut self,
        cx: &mut Cx<'_>,
        producer: &mut Producer<'_>,
        got: Segment<'_, '_>,
    ) {
        let Some(end_txn::Item::Response { error, producer_id, producer_epoch, .. }) =
            end_txn::item(got)
        else {
            return;
        };
        if error.0 == 0 {
            self.recovered();
            if producer_id >= 0 && producer_epoch >= 0 {
                self.ids = (producer_id, producer_epoch);
                producer.adopt(self.ids);
            } else if self.protocol == Some(Protocol::Implicit) {
                // It does not say with which epoch to go on.
                self.identity = Identity::Wanted;
            }
            if guard!("markers are given their time", true) {
                self.retry_at = cx.now + MARKING;
            }
            return self.finish(producer, None);
        }
        // The end may be in the coordinator's log nevertheless, or in that of the next one.
        self.uncertain |= !self.is_lost()
            && matches!(
                error,
                ErrorCode::UNKNOWN_SERVER_ERROR
                    | ErrorCode::REQUEST_TIMED_OUT
                    | ErrorCode::COORDINATOR_NOT_AVAILABLE
                    | ErrorCode::NOT_COORDINATOR
            );
        if error == ErrorCode::UNKNOWN_SERVER_ERROR {
            return self.later(cx, Error::Broker(error));
        }
        if self.repeats(cx, error) {
            return;
        }
        let uncertain = guard!("a lost answer may have been a success", self.uncertain);
        match error {
            ErrorCode::INVALID_PRODUCER_EPOCH
            | ErrorCode::PRODUCER_FENCED
            | ErrorCode::INVALID_TXN_STATE => {
                // Whether the id is still ours is requested once.
                self.identity = Identity::Wanted;
                self.finish(producer, Some((TransactionError::Ended(error), uncertain)));
            }
            ErrorCode::TRANSACTION_ABORTABLE | ErrorCode::UNKNOWN_PRODUCER_ID
                if !self.is_lost() =>
            {
                self.uncertain = false;
                self.fail(TransactionError::Refused(error));
            }
            ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
            | ErrorCode::INVALID_PRODUCER_ID_MAPPING
            | ErrorCode::TRANSACTION_ABORTABLE => {
                self.fatal = Some(TransactionError::Refused(error));
                self.finish(producer, Some((TransactionError::Refused(error), uncertain)));
            }
            error => {
                self.fatal = Some(TransactionError::Refused(error));
                self.finish(producer, Some((TransactionError::Refused(error), true)));
            }
        }
    }

    /// Handles an EndTxn without a response.
    pub(super) fn end_lost(&mut self, cx: &mut Cx<'_>, left: bool, error: Error) {
        self.uncertain |= left && !self.is_lost();
        self.later(cx, error);
    }

    /// Ends the transaction: with success, or with an error and whether it may have been committed
    /// nevertheless.
    pub(super) fn finish(
        &mut self,
        producer: &mut Producer<'_>,
        trouble: Option<(TransactionError, bool)>,
    ) {
        let commits = self.phase == Phase::Committing;
        let outcome = match (self.error, trouble) {
            (Some(error), _) if commits && self.uncertain => Outcome::Unknown(error),
            (Some(error), _) if commits => Outcome::NotCommitted(error),
            (None, Some((error, true))) if commits => Outcome::Unknown(error),
            (None, Some((error, false))) if commits => Outcome::NotCommitted(error),
            (None, None) if commits => Outcome::Committed,
            _ => Outcome::Aborted,
        };
        self.news.ended = Some(outcome);
        (self.phase, self.protocol, self.error) = (Phase::None, None, None);
        (self.begun, self.end_since) = (Begun::No, Tick::NEVER);
        self.uncertain = false;
        self.offsets.reset();
        producer.end_transaction();
        // Before anything else happens under the old one.
        if producer.wants_epoch() {
            self.identity = Identity::Wanted;
        }
        // It may have waited in the broker's queue (KIP-890).
        let stray = core::mem::take(&mut self.stray);
        if guard!("what comes late meets another epoch", stray) && self.identity == Identity::Known
        {
            self.identity = Identity::Stray;
        }
        self.dirty = true;
    }
}
