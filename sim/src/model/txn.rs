//! Transaction coordinators (`TransactionCoordinator`, `TransactionMetadata`): both protocols, ends
//! that are marked in the logs later, time limits, fencing, loading.

mod end;
mod id;
mod offsets;
mod partitions;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::{Cluster, Ctx, Event, Node};
use crate::batch;
use crate::code;
use crate::image::TopicRef;
use crate::profile::Profile;
pub(super) use offsets::Pending;

/// Pause before markers for a partition without a leader are tried again.
const AGAIN: Duration = Duration::from_millis(50);

/// How transaction coordinators behave.
#[derive(Clone, Debug)]
pub struct Transactions {
    /// The finalized level of `transaction.version`; 2 from 4.0 on, where clusters are new.
    pub version: i16,
    /// Time from the end of a transaction to its markers in the logs.
    pub marking: Duration,
    /// How long a broker loads the transactional ids that it becomes the coordinator of.
    pub loading: Duration,
    /// Longest time limit (`transaction.max.timeout.ms`).
    pub longest: Duration,
}

impl Default for Transactions {
    fn default() -> Self {
        Self {
            version: 2,
            marking: Duration::ZERO,
            loading: Duration::from_millis(50),
            longest: Duration::from_secs(900),
        }
    }
}

/// The state of a transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TxnState {
    /// Nothing was ever added.
    #[default]
    Empty,
    /// Partitions were added.
    Ongoing,
    /// To be committed: markers are on their way.
    PrepareCommit,
    /// To be aborted: markers are on their way.
    PrepareAbort,
    /// Committed.
    CompleteCommit,
    /// Aborted.
    CompleteAbort,
}

/// A transactional id.
#[derive(Default)]
pub(super) struct Txn {
    producer_id: i64,
    epoch: i16,
    /// The epoch before, where a retry under it is recognised.
    last_epoch: Option<i16>,
    state: TxnState,
    timeout: Duration,
    /// When the first partition was added.
    since: Duration,
    partitions: BTreeSet<(Uuid, usize)>,
    pending: BTreeMap<StrBytes, Vec<Pending>>,
    /// The broker that serves it, and from when on.
    server: Option<(i32, Duration)>,
    /// How often it was moved on purpose.
    moved: u32,
}

impl Txn {
    fn is_preparing(&self) -> bool {
        matches!(self.state, TxnState::PrepareCommit | TxnState::PrepareAbort)
    }

    /// Opens the transaction, unless it is open.
    fn join(&mut self, now: Duration) -> bool {
        let begins = self.state != TxnState::Ongoing;
        if begins {
            (self.state, self.since) = (TxnState::Ongoing, now);
            self.last_epoch = None;
        }
        begins
    }
}

/// What a test sees of transactions, and does to them.
impl Cluster {
    /// Returns producer id, epoch and state of a transactional id.
    #[must_use]
    pub fn transaction(&self, id: &str) -> Option<(i64, i16, TxnState)> {
        let txn = self.txns.get(id.as_bytes())?;
        Some((txn.producer_id, txn.epoch, txn.state))
    }

    /// Has another broker coordinate a transactional id, if there is one.
    pub fn move_transactions(&mut self, id: &str) {
        let key = StrBytes::from_string(id.to_owned());
        self.txns.entry(key).or_default().moved += 1;
    }

    /// Finalizes another level of `transaction.version`; connections that are open do not learn it.
    pub fn set_transaction_version(&mut self, version: i16) {
        self.features_epoch += 1;
        if let Some(transactions) = &mut self.options.transactions {
            transactions.version = version;
        }
    }

    /// Returns the broker that coordinates a transactional id.
    #[must_use]
    pub fn transaction_coordinator(&self, id: &str) -> Option<i32> {
        let moved = self.txns.get(id.as_bytes()).map_or(0, |txn| txn.moved);
        let ids: Vec<i32> = self.nodes.keys().copied().collect();
        let hash = id.bytes().fold(moved, |sum, byte| sum.wrapping_add(byte.into()));
        let first = hash as usize % ids.len().max(1);
        let order = ids.iter().cycle().skip(first).take(ids.len());
        order.copied().find(|id| self.nodes.get(id).is_some_and(Node::in_cluster))
    }

    fn is_implicit(&self) -> bool {
        self.options.transactions.as_ref().is_some_and(|at| at.version >= 2)
    }

    /// Whether the broker serves the transactional id, or with which code it refuses.
    fn serves(&mut self, ctx: &Ctx, id: &StrBytes) -> Result<(), i16> {
        if let Some(code) = ctx.injected() {
            return Err(code);
        }
        if self.transaction_coordinator(id) != Some(ctx.broker) {
            return Err(code::NOT_COORDINATOR);
        }
        let loading = self.options.transactions.clone().unwrap_or_default().loading;
        let now = self.now;
        let Some(known) = self.txns.get_mut(id) else { return Ok(()) };
        match known.server {
            Some((broker, ready)) if broker == ctx.broker => match now < ready {
                true => Err(code::COORDINATOR_LOAD_IN_PROGRESS),
                false => Ok(()),
            },
            Some(_) => {
                known.server = Some((ctx.broker, now + loading));
                Err(code::COORDINATOR_LOAD_IN_PROGRESS)
            }
            None => {
                known.server = Some((ctx.broker, now));
                Ok(())
            }
        }
    }

    /// Finds a transactional id whose producer this is.
    fn known_txn(
        &mut self,
        ctx: &Ctx,
        id: &StrBytes,
        (producer_id, epoch): (i64, i16),
        fenced: i16,
    ) -> Result<&mut Txn, i16> {
        self.serves(ctx, id)?;
        let txn = self.txns.get_mut(id).filter(|txn| txn.producer_id == producer_id);
        let txn = txn.ok_or(code::INVALID_PRODUCER_ID_MAPPING)?;
        if txn.is_preparing() && txn.epoch == epoch {
            return Err(code::CONCURRENT_TRANSACTIONS);
        }
        if txn.epoch != epoch {
            return Err(fenced);
        }
        Ok(txn)
    }

    /// Watches the time limit of a transaction that has just begun.
    fn watch_transaction(&mut self, id: &StrBytes) {
        let Some(txn) = self.txns.get(id) else { return };
        let (at, since) = (txn.since + txn.timeout, txn.since);
        self.schedule(at, Event::Overdue { id: id.clone(), since });
    }

    /// Aborts a transaction whose time is over, and fences its producer off.
    pub(super) fn overdue(&mut self, id: &StrBytes, since: Duration) {
        let implicit = self.is_implicit();
        let Some(txn) = self.txns.get_mut(id) else { return };
        if txn.state == TxnState::Ongoing && txn.since == since {
            txn.last_epoch = implicit.then_some(txn.epoch);
            txn.epoch = txn.epoch.saturating_add(1);
            self.prepare(id, false);
        }
    }

    /// Has markers written, now or later.
    fn prepare(&mut self, id: &StrBytes, commits: bool) {
        let marking = self.options.transactions.clone().unwrap_or_default().marking;
        let Some(txn) = self.txns.get_mut(id) else { return };
        txn.state = if commits { TxnState::PrepareCommit } else { TxnState::PrepareAbort };
        if marking.is_zero() {
            self.mark(id);
        } else {
            self.schedule(self.now + marking, Event::Mark { id: id.clone() });
        }
    }

    /// Writes the markers of a transaction that ends.
    pub(super) fn mark(&mut self, id: &StrBytes) {
        let Some(txn) = self.txns.get(id).filter(|txn| txn.is_preparing()) else { return };
        let led = |(topic, partition): &(Uuid, usize)| {
            let state = self.topics.get(topic).and_then(|topic| topic.partitions.get(*partition));
            state.is_none_or(|state| self.nodes.get(&state.leader).is_some_and(Node::runs))
        };
        if !txn.partitions.iter().all(led) {
            // A coordinator waits for leaders.
            return self.schedule(self.now + AGAIN, Event::Mark { id: id.clone() });
        }
        let Some(txn) = self.txns.get_mut(id) else { return };
        let commits = txn.state == TxnState::PrepareCommit;
        txn.state = if commits { TxnState::CompleteCommit } else { TxnState::CompleteAbort };
        let producer = (txn.producer_id, txn.epoch);
        let partitions = core::mem::take(&mut txn.partitions);
        let pending = core::mem::take(&mut txn.pending);
        for (topic, partition) in partitions {
            let timestamp = i64::try_from(self.now.as_millis()).unwrap_or(i64::MAX);
            let Some(state) = self.at_mut(topic, partition) else { continue };
            let marker = batch::marker(producer, commits, timestamp);
            let epoch = state.epoch;
            state.log_mut().append_marker(&marker, epoch);
            self.replicate(topic, partition);
        }
        if commits {
            self.settle_offsets(pending);
        }
    }

    /// Whether a batch of a transaction may be written (KIP-890): its partition is added, or why it
    /// is refused.
    pub(super) fn admit(
        &mut self,
        ctx: &Ctx,
        id: Option<&StrBytes>,
        header: &batch::Header,
        place: (&TopicRef, i32),
    ) -> Result<(), batch::Refused> {
        let why = "not in the transaction";
        self.verify(ctx, id, header, place).map_err(|code| batch::Refused { code, why })
    }

    fn verify(
        &mut self,
        ctx: &Ctx,
        id: Option<&StrBytes>,
        header: &batch::Header,
        (topic, index): (&TopicRef, i32),
    ) -> Result<(), i16> {
        if header.attributes & 0x10 == 0 {
            return Ok(());
        }
        let led = self.locate(ctx.broker, topic, index, -1).is_ok();
        let seen = self.view(ctx.broker).topic(topic).filter(|_| led);
        let place = seen.map(|seen| (seen.id, usize::try_from(index).unwrap_or(usize::MAX)));
        let verifies = self.profile(ctx.broker) >= Profile::V3_9;
        let (Some(id), Some(place), true) = (id, place, verifies) else { return Ok(()) };
        let (now, implicit) = (self.now, ctx.version >= 12);
        let Some(txn) = self.txns.get_mut(id) else {
            return Err(code::INVALID_PRODUCER_ID_MAPPING);
        };
        if txn.producer_id != header.producer_id {
            return Err(code::INVALID_PRODUCER_ID_MAPPING);
        }
        if txn.epoch != header.producer_epoch {
            return Err(code::INVALID_PRODUCER_EPOCH);
        }
        if txn.is_preparing() {
            let waits = [code::NOT_ENOUGH_REPLICAS, code::CONCURRENT_TRANSACTIONS];
            return Err(waits[usize::from(implicit)]);
        }
        if implicit {
            let begins = txn.join(now);
            txn.partitions.insert(place);
            if begins {
                let id = id.clone();
                self.watch_transaction(&id);
            }
            return Ok(());
        }
        if txn.state == TxnState::Ongoing && txn.partitions.contains(&place) {
            return Ok(());
        }
        let refusal = [code::INVALID_TXN_STATE, code::TRANSACTION_ABORTABLE];
        Err(refusal[usize::from(ctx.version >= 11)])
    }
}
