//! Transactions of a producer with a transactional id (KIP-98, KIP-447, KIP-890).
//!
//! The coordinator of the id knows the producer id, its epoch and the state of the transaction. One
//! request to it is in flight at a time. The end of a transaction is requested when all of its
//! records are acknowledged or failed, so that no record is in flight across it; a transaction of
//! which a record failed is aborted, whatever was requested. By which protocol records become part
//! of it is decided when it begins, and again for the next one.

mod end;
mod identity;
mod news;
mod offsets;
mod owner;
mod partitions;

use crate::cluster::Cx;
use crate::connection::Role;
use crate::coordinator::{Coordinator, Key, LookUp};
use crate::error::{Error, Misuse, TransactionError};
use crate::memory::{Rng, backoff};
use crate::producer::{Producer, Protocol};
use crate::time::{Span, Tick};
use crate::wire::{ApiKey, ErrorCode, end_txn};

use crate::api::Kind;
use identity::Identity;
use news::News;
use offsets::Offsets;
pub(crate) use owner::Memo;

/// Pause after something did not fit, or waits for a connection.
const AGAIN: Span = Span::from_millis(20);
/// First pause after CONCURRENT_TRANSACTIONS: the last transaction ends within milliseconds.
const SOON: Span = Span::from_millis(20);
/// Time for the markers of a transaction that has ended. Who comes before them is held up for 20 ms
/// by the leader (`add.partitions.to.txn.retry.backoff.ms`), or by [`SOON`]. Measured with records
/// one by one: 0 ms 80 transactions a second, 1 ms 370, 2 ms 310.
const MARKING: Span = Span::from_millis(1);
/// What a coordinator may take beyond the time limit of a transaction.
const GRACE: Span = Span::from_secs(60);

/// What the application does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No transaction.
    None,
    Open,
    Committing,
    Aborting,
}

/// Whether the coordinator knows the transaction, where requests of their own say so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    No,
    /// The request had no response.
    Perhaps,
    Yes,
}

/// What is due at a coordinator.
enum Due {
    Nothing,
    Init,
    /// Decide on the protocol.
    Choose,
    Partitions,
    /// Add the group.
    Group,
    Offsets,
    End,
}

/// See the module.
pub(crate) struct Transaction {
    phase: Phase,
    identity: Identity,
    /// Producer id and epoch as the coordinator named them last; -1 before.
    ids: (i64, i16),
    /// The protocol that they were last used with.
    used: Option<Protocol>,
    /// That of the transaction.
    protocol: Option<Protocol>,
    coordinator: Coordinator,
    /// Changes with each request to the coordinator: a response to another one says nothing.
    serial: u32,
    in_flight: bool,
    retry_at: Tick,
    failures: u8,
    begun: Begun,
    /// Why the transaction can only be aborted.
    error: Option<TransactionError>,
    /// Why there will be no other one.
    fatal: Option<TransactionError>,
    /// The end has been due since then.
    end_since: Tick,
    /// An EndTxn may have been carried out although no response says so.
    uncertain: bool,
    /// A request may still come to a coordinator that takes it for one of the next transaction.
    stray: bool,
    offsets: Offsets,
    news: News,
    dirty: bool,
}

impl Transaction {
    pub(crate) const fn new() -> Self {
        Self {
            phase: Phase::None,
            identity: Identity::Wanted,
            ids: (-1, -1),
            used: None,
            protocol: None,
            coordinator: Coordinator::UNKNOWN,
            serial: 0,
            in_flight: false,
            retry_at: Tick::ZERO,
            failures: 0,
            begun: Begun::No,
            error: None,
            fatal: None,
            end_since: Tick::NEVER,
            uncertain: false,
            stray: false,
            offsets: Offsets::NONE,
            news: News::NONE,
            dirty: true,
        }
    }

    /// Begins a transaction.
    pub(crate) fn begin(
        &mut self,
        cx: &Cx<'_>,
        producer: &mut Producer<'_>,
    ) -> Result<(), TransactionError> {
        if !cx.settings.is_transactional() {
            return Err(TransactionError::Caller(Misuse::NoTransactionalId));
        }
        if let Some(fatal) = self.fatal {
            return Err(fatal);
        }
        // An end that was not polled yet would be taken for that of the next one.
        if self.phase != Phase::None || self.news.ended.is_some() {
            return Err(TransactionError::Caller(Misuse::InTransaction));
        }
        self.phase = Phase::Open;
        (self.error, self.protocol) = (None, None);
        (self.begun, self.uncertain, self.end_since) = (Begun::No, false, Tick::NEVER);
        if self.identity == Identity::Refused {
            self.identity = Identity::Wanted;
        }
        if guard!("a lost sequence raises the epoch", producer.wants_epoch()) {
            self.identity = Identity::Wanted;
        }
        producer.begin_transaction();
        self.dirty = true;
        Ok(())
    }

    /// Ends the open transaction.
    pub(crate) fn end(
        &mut self,
        producer: &mut Producer<'_>,
        commits: bool,
    ) -> Result<(), TransactionError> {
        if self.phase != Phase::Open {
            return Err(TransactionError::Caller(Misuse::NoTransaction));
        }
        self.phase = if commits { Phase::Committing } else { Phase::Aborting };
        self.news.failed = None;
        producer.close_transaction();
        self.dirty = true;
        Ok(())
    }

    /// Notes why the transaction can only be aborted.
    fn fail(&mut self, error: TransactionError) {
        if self.error.is_none() && self.phase != Phase::None {
            self.error = Some(error);
            if self.phase == Phase::Open {
                self.news.failed = Some(error);
            }
        }
        self.dirty = true;
    }

    /// Ends all transactions: the coordinator will not have this producer.
    fn die(&mut self, error: TransactionError) {
        self.fatal = self.fatal.or(Some(error));
        self.fail(error);
        // A failure was reported before, but it has become worse.
        if self.phase == Phase::Open {
            (self.error, self.news.failed) = (Some(error), Some(error));
        }
    }

    /// Whether nothing of the transaction will be committed.
    fn is_lost(&self) -> bool {
        self.error.is_some() || self.phase == Phase::Aborting
    }

    fn is_ending(&self) -> bool {
        matches!(self.phase, Phase::Committing | Phase::Aborting)
    }

    /// Sends what is due; returns the next deadline.
    #[inline(never)]
    pub(crate) fn drive<'d>(&mut self, cx: &mut Cx<'d>, producer: &mut Producer<'d>) -> Tick {
        self.dirty = false;
        if !cx.settings.is_transactional() {
            return Tick::NEVER;
        }
        self.judge_records(producer);
        if self.is_lost() {
            self.offsets.cancel(cx);
            if guard!("what is not sent of an aborted transaction fails", true) {
                producer.drop_unsent(cx);
            }
        }
        let over = self.keep_time(cx, producer);
        if self.is_ending() && self.ends_alone(producer) {
            self.finish(producer, None);
        }
        let due = self.due(producer);
        match due {
            Due::Nothing => return over,
            Due::Offsets => return over.min(self.send_offsets(cx)),
            _ => {}
        }
        if self.retry_at > cx.now {
            return over.min(self.retry_at);
        }
        let (key, kind, role) = (Key::Transaction, Kind::TxnCoordinator, Role::Coordinator);
        let look_up = LookUp { key, kind, tag: [0, 0], role };
        over.min(match self.coordinator.find(cx, &look_up) {
            Ok(conn) => self.send(cx, producer, conn, &due),
            Err(at) => at,
        })
    }

    fn send<'d>(
        &mut self,
        cx: &mut Cx<'d>,
        producer: &mut Producer<'d>,
        conn: usize,
        due: &Due,
    ) -> Tick {
        match due {
            Due::Nothing | Due::Offsets => Tick::NEVER,
            Due::Init => self.request_ids(cx, conn),
            Due::Choose => {
                self.choose(cx, producer, conn);
                Tick::NEVER
            }
            Due::Partitions => self.add_partitions(cx, producer, conn),
            Due::Group => self.add_group(cx, conn),
            Due::End => self.request_end(cx, conn),
        }
    }

    /// Returns what is due next at a coordinator.
    fn due(&self, producer: &Producer<'_>) -> Due {
        let busy = producer.unfinished() > 0;
        if self.in_flight || self.fatal.is_some() {
            return Due::Nothing;
        }
        match self.identity {
            Identity::Wanted | Identity::Stray => return Due::Init,
            Identity::Refused => return Due::Nothing,
            Identity::Known if self.phase == Phase::None => return Due::Nothing,
            Identity::Known => {}
        }
        if self.protocol.is_none() {
            return if self.is_lost() { Due::Nothing } else { Due::Choose };
        }
        if self.is_lost() {
            // What is on its way belongs to the transaction, and the next one begins after it.
            let waits = guard!("no record in flight across an end", busy || self.offsets.in_flight);
            return if waits || !self.is_ending() { Due::Nothing } else { Due::End };
        }
        let adds = self.protocol == Some(Protocol::Added);
        if adds && producer.wants_partitions() {
            return Due::Partitions;
        }
        if self.offsets.is_waiting() {
            let joins = guard!("a group is added first", adds && !self.offsets.added);
            return if joins { Due::Group } else { Due::Offsets };
        }
        let waits = guard!("a commit waits for its records", busy || self.offsets.is_pending());
        if self.phase == Phase::Committing && !waits { Due::End } else { Due::Nothing }
    }

    /// Whether a transaction ends without a request: the coordinator knows nothing of it, or it
    /// will not have this producer.
    fn ends_alone(&self, producer: &Producer<'_>) -> bool {
        let pending = producer.unfinished() > 0 || self.offsets.is_pending() || self.in_flight;
        !pending && (self.fatal.is_some() || !self.may_be_open(producer))
    }

    /// Whether the coordinator may know the transaction.
    fn may_be_open(&self, producer: &Producer<'_>) -> bool {
        match self.protocol {
            None => false,
            Some(Protocol::Added) => self.begun != Begun::No,
            Some(Protocol::Implicit) => producer.has_attempted() || self.offsets.attempted,
        }
    }

    /// Decides by which protocol records become part of the transaction.
    fn choose<'d>(&mut self, cx: &mut Cx<'d>, producer: &mut Producer<'d>, conn: usize) {
        let versions = &cx.net.conns[conn].versions;
        let able = versions.best(Kind::EndTxn, i16::MAX) >= Some(end_txn::BUMPS);
        let implicit = able && cx.cluster.features.adds_implicitly();
        if !implicit && let Some(fault) = versions.lacks(Kind::AddPartitions) {
            return self.die(TransactionError::Peer(fault));
        }
        let protocol = if implicit { Protocol::Implicit } else { Protocol::Added };
        let changed = self.used.replace(protocol).is_some_and(|used| used != protocol);
        if guard!("another protocol begins with another epoch", changed) {
            self.identity = Identity::Wanted;
        } else {
            self.protocol = Some(protocol);
            producer.let_go(protocol);
        }
        self.dirty = true;
    }

    /// Takes note of records that failed.
    fn judge_records(&mut self, producer: &mut Producer<'_>) {
        let Some(error) = producer.take_failure() else { return };
        match error {
            Error::Aborted => {}
            Error::Broker(
                code @ (ErrorCode::PRODUCER_FENCED
                | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
                | ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
                | ErrorCode::UNSUPPORTED_VERSION
                | ErrorCode::INVALID_PRODUCER_ID_MAPPING),
            ) => self.die(match code {
                ErrorCode::PRODUCER_FENCED => TransactionError::Fenced,
                code => TransactionError::Refused(code),
            }),
            Error::Broker(code @ ErrorCode::INVALID_PRODUCER_EPOCH) => {
                self.fail(TransactionError::Ended(code));
            }
            error => self.fail(TransactionError::Record(error)),
        }
    }

    /// Gives up what takes too long. Returns when that is.
    fn keep_time(&mut self, cx: &mut Cx<'_>, producer: &mut Producer<'_>) -> Tick {
        let limit = cx.settings.transaction_timeout + GRACE;
        if self.is_ending() && self.end_since == Tick::NEVER && producer.unfinished() == 0 {
            self.end_since = cx.now;
        }
        let offsets = self.offsets.since;
        if self.offsets.is_pending() && offsets + limit <= cx.now {
            self.fail(TransactionError::TimedOut);
        }
        let at = self.end_since + limit;
        if at <= cx.now && !self.in_flight && !self.offsets.in_flight {
            let asked = guard!("an end without an answer is not known", self.uncertain);
            self.identity = Identity::Wanted;
            // They belong to no other transaction.
            self.offsets.cancel(cx);
            self.finish(producer, Some((TransactionError::TimedOut, asked)));
            return Tick::NEVER;
        }
        let offsets = if self.offsets.is_pending() { offsets + limit } else { Tick::NEVER };
        at.min(offsets)
    }

    /// Repeats a request after a growing pause.
    fn later(&mut self, cx: &mut Cx<'_>, error: Error) {
        let soon = error == Error::Broker(ErrorCode::CONCURRENT_TRANSACTIONS);
        self.retry_at = pause(&mut cx.rng, cx.now, soon, &cx.settings, self.failures);
        self.failures = self.failures.saturating_add(1);
        self.news.note_trouble(cx.now, error);
        self.dirty = true;
    }

    /// Handles a code that every request to the coordinator may have. Returns whether the request
    /// is repeated.
    fn repeats(&mut self, cx: &mut Cx<'_>, code: ErrorCode) -> bool {
        match code {
            ErrorCode::COORDINATOR_NOT_AVAILABLE | ErrorCode::NOT_COORDINATOR => {
                self.coordinator.moved(cx);
            }
            code if code.is_retriable() => {}
            _ => return false,
        }
        self.later(cx, Error::Broker(code));
        true
    }

    /// Notes that a request to the coordinator has ended; whether it is the one that is awaited.
    fn answered(&mut self, serial: u32) -> bool {
        let ours = self.in_flight && serial == self.serial;
        if ours {
            self.in_flight = false;
            self.dirty = true;
        }
        ours
    }

    /// Notes that the coordinator is of use.
    fn recovered(&mut self) {
        (self.failures, self.retry_at) = (0, Tick::ZERO);
        self.coordinator.recovered();
        self.news.recovered();
    }

    /// Returns the tag of the next request.
    fn next_tag(&mut self) -> [u32; 2] {
        self.serial = self.serial.wrapping_add(1);
        self.in_flight = true;
        [self.serial, 0]
    }
}

/// Returns when a request is repeated.
fn pause(
    rng: &mut Rng,
    now: Tick,
    soon: bool,
    settings: &crate::config::Settings<'_>,
    failures: u8,
) -> Tick {
    let base = if soon { SOON } else { settings.retry_backoff };
    backoff(rng, now, base, settings.retry_backoff_max, failures)
}

/// Returns why a connection cannot be sent what raises the epoch of a producer.
fn lacks_epochs(versions: &crate::connection::Versions) -> Option<crate::error::PeerFault> {
    let best = versions.best(Kind::TxnInit, i16::MAX);
    (best < Some(3)).then_some(crate::error::PeerFault::NoCommonVersion {
        api: ApiKey::INIT_PRODUCER_ID,
        min: 0,
        max: best.unwrap_or(0),
    })
}
