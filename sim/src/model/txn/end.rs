//! EndTxn, of both protocols.

use kafka_protocol::messages::{EndTxnRequest, EndTxnResponse, ProducerId, ResponseKind};

use super::{Cluster, Ctx, TxnState};
use crate::code;
use crate::model::Reply;

/// First version of transaction version 2.
const BUMPS: i16 = 5;

impl Cluster {
    pub(in crate::model) fn end_txn(&mut self, ctx: &Ctx, request: &EndTxnRequest) -> Reply {
        let ended = match ctx.version >= BUMPS {
            true => self.end_implicit(ctx, request),
            false => self.end_added(ctx, request).map(|()| (-1, -1)),
        };
        let code = ctx.reported(ended.err().unwrap_or(code::NONE));
        let (id, epoch) = ended.ok().filter(|_| code == code::NONE).unwrap_or((-1, -1));
        let mut body =
            EndTxnResponse::default().with_throttle_time_ms(ctx.throttle()).with_error_code(code);
        if ctx.version >= BUMPS {
            (body.producer_id, body.producer_epoch) = (ProducerId(id), epoch);
        }
        Reply::Now(ctx.respond(ResponseKind::EndTxn(body)))
    }

    /// Before KIP-890: the epoch stays.
    fn end_added(&mut self, ctx: &Ctx, request: &EndTxnRequest) -> Result<(), i16> {
        let id = request.transactional_id.0.clone();
        self.serves(ctx, &id)?;
        let txn = self.txns.get_mut(&id).filter(|txn| txn.producer_id == request.producer_id.0);
        let txn = txn.ok_or(code::INVALID_PRODUCER_ID_MAPPING)?;
        if txn.epoch != request.producer_epoch {
            return Err(if ctx.version >= 2 { code::PRODUCER_FENCED } else { 47 });
        }
        let same = match txn.state {
            TxnState::Ongoing => {
                self.prepare(&id, request.committed);
                return Ok(());
            }
            TxnState::Empty => false,
            TxnState::PrepareCommit | TxnState::CompleteCommit => request.committed,
            TxnState::PrepareAbort | TxnState::CompleteAbort => !request.committed,
        };
        match (same, txn.is_preparing()) {
            (false, _) => Err(code::INVALID_TXN_STATE),
            (true, true) => Err(code::CONCURRENT_TRANSACTIONS),
            (true, false) => Ok(()),
        }
    }

    /// Each end raises the epoch, and a retry under the one before is recognised.
    fn end_implicit(&mut self, ctx: &Ctx, request: &EndTxnRequest) -> Result<(i64, i16), i16> {
        let id = request.transactional_id.0.clone();
        self.serves(ctx, &id)?;
        let txn = self.txns.get_mut(&id).filter(|txn| txn.producer_id == request.producer_id.0);
        let txn = txn.ok_or(code::INVALID_PRODUCER_ID_MAPPING)?;
        let commits = request.committed;
        if txn.epoch == request.producer_epoch {
            match txn.state {
                TxnState::Ongoing => {
                    txn.last_epoch = Some(txn.epoch);
                    txn.epoch += 1;
                    let next = (txn.producer_id, txn.epoch);
                    self.prepare(&id, commits);
                    return Ok(next);
                }
                _ if txn.is_preparing() => return Err(code::PRODUCER_FENCED),
                _ if commits => return Err(code::INVALID_TXN_STATE),
                _ => {
                    txn.last_epoch = Some(txn.epoch);
                    txn.epoch += 1;
                    txn.state = TxnState::CompleteAbort;
                    return Ok((txn.producer_id, txn.epoch));
                }
            }
        }
        if txn.last_epoch != Some(request.producer_epoch) {
            return Err(code::PRODUCER_FENCED);
        }
        match txn.state {
            TxnState::CompleteCommit if commits => Ok((txn.producer_id, txn.epoch)),
            TxnState::CompleteAbort if !commits => Ok((txn.producer_id, txn.epoch)),
            TxnState::PrepareCommit if commits => Err(code::CONCURRENT_TRANSACTIONS),
            TxnState::PrepareAbort if !commits => Err(code::CONCURRENT_TRANSACTIONS),
            TxnState::Empty | TxnState::Ongoing => Err(code::PRODUCER_FENCED),
            _ => Err(code::INVALID_TXN_STATE),
        }
    }
}
