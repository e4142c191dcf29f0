//! InitProducerId with a transactional id.

use core::time::Duration;

use kafka_protocol::messages::InitProducerIdRequest;
use kafka_protocol::protocol::StrBytes;

use super::{Cluster, Ctx, Txn, TxnState};
use crate::code;

impl Cluster {
    /// Returns the producer id of a transactional id, and its next epoch.
    pub(in crate::model) fn init_transactions(
        &mut self,
        ctx: &Ctx,
        id: &StrBytes,
        request: &InitProducerIdRequest,
    ) -> Result<(i64, i16), i16> {
        let Some(options) = self.options.transactions.clone() else {
            return Err(code::INVALID_REQUEST);
        };
        self.serves(ctx, id)?;
        let millis = u64::try_from(request.transaction_timeout_ms).unwrap_or(0);
        let timeout = Duration::from_millis(millis);
        if id.is_empty() {
            return Err(code::INVALID_REQUEST);
        }
        if timeout.is_zero() || timeout > options.longest {
            return Err(code::INVALID_TRANSACTION_TIMEOUT);
        }
        let given = (request.producer_id.0, request.producer_epoch);
        let fenced = if ctx.version >= 4 { code::PRODUCER_FENCED } else { 47 };
        self.next_producer_id += 1;
        let fresh = self.next_producer_id;
        let server = Some((ctx.broker, self.now));
        let txn = self.txns.entry(id.clone()).or_insert_with(|| Txn {
            producer_id: fresh,
            epoch: -1,
            server,
            ..Txn::default()
        });
        if txn.producer_id == 0 {
            (txn.producer_id, txn.epoch) = (fresh, -1);
        }
        txn.timeout = timeout;
        let current = (txn.producer_id, txn.epoch);
        let repeats = given.0 == current.0 && Some(given.1) == txn.last_epoch;
        if given.0 >= 0 && given != current && !repeats {
            return Err(fenced);
        }
        match txn.state {
            _ if txn.is_preparing() => Err(code::CONCURRENT_TRANSACTIONS),
            TxnState::Ongoing => {
                txn.epoch += 1;
                txn.last_epoch = None;
                self.prepare(id, false);
                Err(code::CONCURRENT_TRANSACTIONS)
            }
            _ if repeats => Ok(current),
            _ => {
                txn.last_epoch = (given.0 >= 0).then_some(txn.epoch);
                txn.epoch += 1;
                txn.state = TxnState::Empty;
                Ok((txn.producer_id, txn.epoch))
            }
        }
    }
}
