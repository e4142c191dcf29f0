//! InitProducerId: the producer id that belongs to the transactional id, and its next epoch.

use super::{AGAIN, Transaction, lacks_epochs};
use crate::api::Kind;
use crate::cluster::Cx;
use crate::error::{Error, TransactionError};
use crate::producer::Producer;
use crate::time::Tick;
use crate::wire::table::Segment;
use crate::wire::{Encode, ErrorCode, init_producer_id};

/// The state of the producer id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// Not known yet, or to be raised.
    Wanted,
    /// To be raised where brokers have a request for it.
    Stray,
    /// The coordinator refuses; the next transaction asks again.
    Refused,
    Known,
}

impl Transaction {
    /// Requests producer id and epoch. With those that we have, so that nobody is fenced off who
    /// took over the id meanwhile.
    pub(super) fn request_ids(&mut self, cx: &mut Cx<'_>, conn: usize) -> Tick {
        let versions = &cx.net.conns[conn].versions;
        let raises = self.ids.0 >= 0;
        let fault = if raises { lacks_epochs(versions) } else { versions.lacks(Kind::TxnInit) };
        if fault.is_some() && self.identity == Identity::Stray {
            (self.identity, self.dirty) = (Identity::Known, true);
            return Tick::NEVER;
        }
        if let Some(fault) = fault {
            self.die(TransactionError::Peer(fault));
            return Tick::NEVER;
        }
        let millis = cx.settings.transaction_timeout.millis();
        let Cx { net, settings, now, .. } = cx;
        let request = init_producer_id::Request {
            transactional_id: Some(&settings.transactional_id),
            timeout_ms: millis,
            producer_id: self.ids.0,
            producer_epoch: self.ids.1,
        };
        let kind = Kind::TxnInit;
        let draft = net.draft(conn, *now, kind, &mut |w, version| request.encode(version, w));
        let Some(draft) = draft else { return *now + AGAIN };
        net.send(*now, draft, self.next_tag(), settings.request_timeout);
        Tick::NEVER
    }

    pub(super) fn on_ids(
        &mut self,
        cx: &mut Cx<'_>,
        producer: &mut Producer<'_>,
        got: Segment<'_, '_>,
    ) {
        let Some(init_producer_id::Item::Response { error, producer_id, producer_epoch, .. }) =
            init_producer_id::item(got)
        else {
            return;
        };
        if error.0 == 0 && producer_id >= 0 && producer_epoch >= 0 {
            self.recovered();
            self.news.ready |= self.ids.0 < 0;
            self.ids = (producer_id, producer_epoch);
            self.identity = Identity::Known;
            return producer.adopt(self.ids);
        }
        if error.0 <= 0 {
            // Nothing is wrong, or anything.
            return self.later(cx, Error::Broker(ErrorCode::UNKNOWN_SERVER_ERROR));
        }
        if self.repeats(cx, error) {
            return;
        }
        match error {
            // It may be another producer's: never requested again, or two would take it in turns.
            ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::PRODUCER_FENCED => {
                self.die(TransactionError::Fenced);
            }
            ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
            | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
            | ErrorCode::TRANSACTION_ABORTABLE => {
                self.identity = Identity::Refused;
                self.news.note_trouble(cx.now, Error::Broker(error));
                self.fail(TransactionError::Refused(error));
            }
            error => self.die(TransactionError::Refused(error)),
        }
    }
}
