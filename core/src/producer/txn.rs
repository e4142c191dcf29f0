//! What the producer knows of transactions (feature `transactions`): whether records are taken, and
//! which partitions belong to the one that is open. When it begins and ends is decided elsewhere.
//! Without the feature all of this has no size.

#[cfg(feature = "transactions")]
pub(crate) use on::*;

#[cfg(not(feature = "transactions"))]
pub(crate) use off::*;

#[cfg(feature = "transactions")]
mod on {
    use super::super::{Identity, Marks, Producer, Queue, Stage};
    use crate::cluster::Cx;
    use crate::config::Settings;
    use crate::connection::Net;
    use crate::error::{Error, Misuse, PeerFault, ProduceError};
    use crate::setup::Setup;
    use crate::time::Tick;
    use crate::wire::{ApiKey, ErrorCode, produce};

    /// How partitions become part of a transaction.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Protocol {
        /// By AddPartitionsToTxn (transaction versions 0 and 1).
        Added,
        /// By Produce itself; each end raises the epoch (KIP-890, transaction version 2).
        Implicit,
    }

    /// See the module.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Txn {
        /// There is a transactional id: no record is sent outside of a transaction.
        on: bool,
        /// Records are taken.
        open: bool,
        /// Records may leave.
        protocol: Option<Protocol>,
        /// Something was sent since the transaction began.
        attempted: bool,
        /// Partitions wait to be added.
        wanted: bool,
        /// A record failed: the transaction must not be committed.
        failure: Option<Error>,
        failed: bool,
        /// A sequence was lost: the epoch has to rise before the next transaction.
        bump: bool,
    }

    impl Txn {
        pub(in crate::producer) const fn new(setup: &Setup) -> Self {
            Self {
                on: setup.transactional,
                open: false,
                protocol: None,
                attempted: false,
                wanted: false,
                failure: None,
                failed: false,
                bump: false,
            }
        }

        pub(in crate::producer) const fn is_on(&self) -> bool {
            self.on
        }

        /// The state of the producer id before there is one: nobody but the transaction requests
        /// it.
        pub(in crate::producer) const fn identity(&self, other: Identity) -> Identity {
            if self.on { Identity::Requested(Tick::NEVER) } else { other }
        }

        /// Returns why no record is taken, if none is.
        pub(in crate::producer) fn refuses(&self) -> Option<ProduceError> {
            let closed = self.on && !self.open;
            if guard!("no record outside of a transaction", closed) {
                return Some(ProduceError::Refused(Error::Caller(Misuse::NoTransaction)));
            }
            self.failed.then_some(ProduceError::Refused(Error::Aborted))
        }

        /// Notes that records leave.
        pub(in crate::producer) const fn depart(&mut self) {
            self.attempted = true;
        }

        /// A sequence is lost.
        pub(in crate::producer) const fn want_epoch(&mut self) {
            self.bump = true;
        }

        /// Notes the end of a batch without success; whether it had a sequence.
        pub(in crate::producer) fn fail(&mut self, error: Error, sequenced: bool) {
            if self.on {
                self.bump |= sequenced;
                self.failed = self.open;
                self.failure = self.failure.or(Some(error));
            }
        }

        /// The id that requests name.
        pub(in crate::producer) fn id<'s>(&self, settings: &'s Settings<'_>) -> Option<&'s str> {
            self.on.then(|| &*settings.transactional_id)
        }

        /// The last version of Produce that may be used: a later one would add partitions by
        /// itself.
        pub(in crate::producer) fn cap(&self) -> i16 {
            let added = self.protocol == Some(Protocol::Added);
            if guard!("a version of its protocol", added) { produce::ADDS - 1 } else { i16::MAX }
        }
    }

    impl<'d> Producer<'d> {
        /// Returns whether a partition's next batch has to wait for the transaction.
        pub(in crate::producer) fn awaits_transaction(&mut self, part: usize) -> bool {
            if !self.txn.on {
                return false;
            }
            let added = match self.txn.protocol {
                None => return guard!("records wait for their transaction", true),
                Some(Protocol::Implicit) => true,
                Some(Protocol::Added) => self.queues[part].marks.has(Marks::ADDED),
            };
            if guard!("a partition is added first", !added) {
                let marks = &mut self.queues[part].marks;
                if !marks.has(Marks::ADDING) {
                    marks.add(Marks::WANTED, true);
                    self.txn.wanted = true;
                }
                return true;
            }
            false
        }

        /// Whether the sequence of a partition is one of an earlier epoch: it restarts.
        pub(in crate::producer) fn is_of_other_epoch(&self, q: &Queue) -> bool {
            self.txn.on && guard!("sequences restart with an epoch", q.epoch != self.epoch)
        }

        /// Whether a partition's entry is needed as long as the transaction is open: its sequence
        /// goes on.
        pub(in crate::producer) fn is_kept(&self, part: usize) -> bool {
            let q = &self.queues[part];
            let current = q.next_sequence > 0 && !self.is_of_other_epoch(q);
            let added = q.marks.has(Marks::ADDED) || q.marks.has(Marks::ADDING);
            self.txn.open && guard!("an open transaction keeps its partitions", current || added)
        }

        /// Returns why a connection cannot take records of the transaction, if that is so.
        pub(in crate::producer) fn lacks_protocol(
            &self,
            net: &Net<'d>,
            conn: usize,
        ) -> Option<PeerFault> {
            let best = net.conns[conn].versions.best(crate::api::Kind::Produce, self.txn.cap());
            let enough = match self.txn.protocol {
                Some(Protocol::Implicit) => best >= Some(produce::ADDS),
                Some(Protocol::Added) => best.is_some(),
                None => true,
            };
            (!enough).then_some(PeerFault::NoApi(ApiKey::PRODUCE))
        }

        /// Takes records from now on; they wait for [`Self::let_go`].
        pub(crate) fn begin_transaction(&mut self) {
            self.txn = Txn { open: true, failed: false, failure: None, ..self.txn };
        }

        /// Sends the records of the transaction by this protocol.
        pub(crate) fn let_go(&mut self, protocol: Protocol) {
            self.txn.protocol = Some(protocol);
            self.wake_all();
            self.dirty = true;
        }

        /// Takes no more records, and sends what it has.
        pub(crate) fn close_transaction(&mut self) {
            self.txn.open = false;
            self.close_all();
        }

        /// Forgets the transaction, which has ended.
        pub(crate) fn end_transaction(&mut self) {
            if self.txn.protocol == Some(Protocol::Added) {
                for queue in self.queues.iter_mut() {
                    queue.marks.keep(Marks::ADDED | Marks::ADDING | Marks::WANTED, false);
                }
            }
            let Txn { on, bump, .. } = self.txn;
            self.txn = Txn {
                on,
                bump,
                open: false,
                protocol: None,
                attempted: false,
                wanted: false,
                failure: None,
                failed: false,
            };
        }

        /// Whether something of the transaction was sent.
        pub(crate) const fn has_attempted(&self) -> bool {
            self.txn.attempted
        }

        /// Takes the reason why the transaction cannot be committed, if there is a new one.
        pub(crate) const fn take_failure(&mut self) -> Option<Error> {
            self.txn.failure.take()
        }

        /// Whether the epoch has to rise before more records are sent.
        pub(crate) const fn wants_epoch(&self) -> bool {
            self.txn.bump
        }

        /// Takes over a producer id and epoch: all sequences restart if they are others.
        pub(crate) fn adopt(&mut self, (id, epoch): (i64, i16)) {
            (self.producer_id, self.epoch) = (id, epoch);
            self.identity = Identity::Known;
            self.txn.bump = false;
            self.wake_all();
            self.dirty = true;
        }

        /// Fails what is not in a request: the transaction will be aborted. Returns whether a
        /// request is left.
        pub(crate) fn drop_unsent(&mut self, cx: &mut Cx<'d>) -> bool {
            self.txn.failed = true;
            let mut link = self.aging.first();
            while let Some(batch) = link.get() {
                link = self.ages.next(batch);
                self.drop_one(cx, batch);
            }
            let mut link = self.late.first();
            while let Some(batch) = link.get() {
                link = self.ages.next(batch);
                self.drop_one(cx, batch);
            }
            self.unfinished > 0
        }

        fn drop_one(&mut self, cx: &mut Cx<'d>, batch: usize) {
            let b = &self.batches[batch];
            if b.stage != Stage::Sent {
                let (part, maybe) = (b.part as usize, b.maybe_written);
                self.finish(&mut cx.net.blocks, part, batch, Err((Error::Aborted, maybe)));
            }
        }

        /// Whether partitions wait to be added.
        pub(crate) const fn wants_partitions(&self) -> bool {
            self.txn.wanted
        }

        /// Returns how many partitions of a topic are being added.
        pub(crate) fn adding(&self, cx: &Cx<'d>, slot: usize) -> usize {
            let is_new = |part: &usize| self.queues[*part].marks.has(Marks::ADDING);
            cx.cluster.table.of_topic(slot).filter(is_new).count()
        }

        pub(crate) fn is_adding(&self, part: usize) -> bool {
            self.queues[part].marks.has(Marks::ADDING)
        }

        /// Moves all partitions of a kind to the next step: those that wait are added, or those
        /// that were to be added wait again.
        pub(crate) fn step_partitions(&mut self, cx: &Cx<'d>, adds: bool) {
            let (from, to) =
                if adds { (Marks::WANTED, Marks::ADDING) } else { (Marks::ADDING, Marks::WANTED) };
            for slot in 0..cx.cluster.topics.len() {
                let mut link = cx.cluster.table.first_of(slot);
                while let Some(part) = link.get() {
                    link = cx.cluster.table.next_of(part);
                    let marks = &mut self.queues[part].marks;
                    if marks.has(from) {
                        marks.keep(from, false);
                        marks.add(to, true);
                        self.txn.wanted |= !adds;
                    }
                }
            }
            self.txn.wanted &= !adds;
        }

        /// Notes that a partition belongs to the transaction.
        pub(crate) fn added(&mut self, part: usize) {
            let marks = &mut self.queues[part].marks;
            marks.keep(Marks::ADDING, false);
            marks.add(Marks::ADDED, true);
            if let Some(lane) = self.queues[part].lane.get() {
                self.wake(lane);
            }
            self.dirty = true;
        }

        /// Handles a topic whose logs are new: what the transaction has written is gone.
        pub(in crate::producer) fn lose_log(&mut self, part: usize) {
            if self.is_kept(part) {
                self.txn.fail(Error::Broker(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION), true);
                self.dirty = true;
            }
            self.txn.bump |= self.queues[part].next_sequence > 0;
        }
    }
}

#[cfg(not(feature = "transactions"))]
mod off {
    use super::super::{Identity, Producer, Queue};
    use crate::config::Settings;
    use crate::connection::Net;
    use crate::error::{Error, PeerFault, ProduceError};
    use crate::setup::Setup;

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Txn;

    impl Txn {
        pub(in crate::producer) const fn new(_: &Setup) -> Self {
            Self
        }

        pub(in crate::producer) const fn is_on(self) -> bool {
            false
        }

        pub(in crate::producer) const fn identity(self, other: Identity) -> Identity {
            other
        }

        pub(in crate::producer) const fn refuses(self) -> Option<ProduceError> {
            None
        }

        pub(in crate::producer) const fn depart(self) {}

        pub(in crate::producer) const fn want_epoch(self) {}

        pub(in crate::producer) const fn fail(self, _: Error, _: bool) {}

        pub(in crate::producer) const fn id<'s>(self, _: &'s Settings<'_>) -> Option<&'s str> {
            None
        }

        pub(in crate::producer) const fn cap(self) -> i16 {
            i16::MAX
        }
    }

    impl<'d> Producer<'d> {
        pub(in crate::producer) const fn awaits_transaction(&self, _: usize) -> bool {
            false
        }

        pub(in crate::producer) const fn is_of_other_epoch(&self, _: &Queue) -> bool {
            false
        }

        pub(in crate::producer) const fn is_kept(&self, _: usize) -> bool {
            false
        }

        pub(in crate::producer) const fn lacks_protocol(
            &self,
            _: &Net<'d>,
            _: usize,
        ) -> Option<PeerFault> {
            None
        }

        pub(in crate::producer) const fn lose_log(&self, _: usize) {}
    }
}
