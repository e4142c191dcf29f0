//! Responses to requests of transactions.

use super::Transaction;
use super::offsets::OffsetsMemo;
use super::partitions::PartitionsMemo;
use crate::api::Kind;
use crate::cluster::Cx;
use crate::connection::{InFlight, Origin};
use crate::error::{Error, TransactionError};
use crate::producer::{Producer, Protocol};
use crate::time::Span;
use crate::wire::ErrorCode;
use crate::wire::table::Segment;

/// State that is kept while a response streams in.
pub(crate) enum Memo {
    /// A response of one element.
    Short,
    Partitions(PartitionsMemo),
    Offsets(OffsetsMemo),
}

impl Transaction {
    /// Ages all times: the scale of time moves.
    pub(crate) fn age(&mut self, by: Span) {
        self.coordinator.age(by);
        self.retry_at.age(by);
        self.end_since.age(by);
        self.offsets.age(by);
        self.news.age(by);
    }

    pub(crate) const fn is_dirty(&self) -> bool {
        self.dirty
    }

    pub(crate) fn begin_response(&self, from: &Origin) -> Memo {
        match from.requested.kind {
            Kind::AddPartitions => Memo::Partitions(PartitionsMemo::default()),
            Kind::TxnOffsets => Memo::Offsets(OffsetsMemo::default()),
            _ => Memo::Short,
        }
    }

    pub(crate) fn item<'d>(
        &mut self,
        cx: &mut Cx<'d>,
        producer: &mut Producer<'d>,
        (from, memo): (&Origin, &mut Memo),
        got: Segment<'_, '_>,
    ) {
        let tag = from.requested.tag;
        match memo {
            Memo::Partitions(memo) => self.on_partitions(cx, producer, (from, memo), got),
            Memo::Offsets(memo) => self.offsets.on_item(from, memo, got),
            Memo::Short => match from.requested.kind {
                Kind::TxnCoordinator if tag[1] == 0 => self.on_coordinator(cx, got),
                Kind::TxnCoordinator => self.on_group_coordinator(cx, got),
                // The response may belong to a request that was given up.
                _ if !self.answered(tag[0]) => {}
                Kind::TxnInit => self.on_ids(cx, producer, got),
                Kind::AddOffsets => self.on_group(cx, got),
                _ => self.on_end(cx, producer, got),
            },
        }
    }

    pub(crate) fn done<'d>(
        &mut self,
        cx: &mut Cx<'d>,
        producer: &mut Producer<'d>,
        from: &Origin,
        memo: &Memo,
    ) {
        let tag = from.requested.tag;
        match memo {
            Memo::Partitions(memo) => {
                if self.answered(tag[0]) {
                    self.partitions_done(cx, producer, memo);
                }
            }
            Memo::Offsets(memo) => self.offsets_done(cx, tag[0], memo),
            Memo::Short if from.requested.kind == Kind::TxnCoordinator => self.sought(cx, tag[1]),
            // A response without its only element.
            Memo::Short if self.answered(tag[0]) => {
                let code = ErrorCode::UNKNOWN_SERVER_ERROR;
                self.uncertain |= from.requested.kind == Kind::EndTxn;
                self.later(cx, Error::Broker(code));
            }
            Memo::Short => {}
        }
    }

    pub(crate) fn lost<'d>(
        &mut self,
        cx: &mut Cx<'d>,
        producer: &mut Producer<'d>,
        lost: &InFlight,
        error: Error,
    ) {
        let tag = lost.requested.tag;
        // Each end raises the epoch where Produce adds partitions.
        let stays = self.protocol == Some(Protocol::Added);
        self.stray |= stays && lost.left_whole() && lost.requested.kind != Kind::TxnCoordinator;
        match lost.requested.kind {
            Kind::TxnCoordinator => self.sought(cx, tag[1]),
            Kind::TxnOffsets => self.offsets_lost(cx, tag[0], error),
            _ if !self.answered(tag[0]) => {}
            Kind::AddPartitions => self.partitions_lost(cx, producer, error),
            Kind::AddOffsets => self.group_lost(cx, error),
            Kind::EndTxn => self.end_lost(cx, lost.left_whole(), error),
            _ => self.later(cx, error),
        }
    }

    fn on_coordinator(&mut self, cx: &mut Cx<'_>, got: Segment<'_, '_>) {
        match self.coordinator.on_item(cx, got) {
            None => {}
            Some(Ok(())) => self.dirty = true,
            Some(Err(code @ ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED)) => {
                self.die(TransactionError::Refused(code));
            }
            Some(Err(code)) => self.news.note_trouble(cx.now, Error::Broker(code)),
        }
    }

    /// Handles the end of a look-up, with or without a response.
    fn sought(&mut self, cx: &mut Cx<'_>, which: u32) {
        match which {
            0 => self.coordinator.sought(cx),
            _ => self.offsets.coordinator.sought(cx),
        }
        self.dirty = true;
    }
}
