//! Offsets of a group that are committed with the transaction (KIP-447): AddOffsetsToTxn where the
//! coordinator of the group does not add them itself, and TxnOffsetCommit. They lie in send blocks
//! until they are part of the transaction.

use super::{AGAIN, Begun, Phase, Transaction, pause};
use crate::api::Kind;
use crate::cluster::Cx;
use crate::connection::{Draft, Origin, Role};
use crate::coordinator::{Coordinator, Key, LookUp};
use crate::error::{Error, LimitKind, Misuse, PeerFault, TransactionError};
use crate::event::{Consumed, Membership};
use crate::memory::{Blocks, Chain};
use crate::murmur2::murmur2;
use crate::producer::Protocol;
use crate::texts::{copy_text, put, read, text};
use crate::time::{Span, Tick};
use crate::wire::table::Segment;
use crate::wire::{
    ApiKey, Encode, ErrorCode, Full, add_offsets_to_txn, txn_offset_commit as commit,
};

/// Longest group id.
const GROUP: usize = 255;
/// Longest text of a message.
const TEXT: usize = i16::MAX as usize;
/// Bytes of a request beside its texts and offsets, and what an offset or topic takes at most.
const AROUND: usize = 128;
const EACH: usize = 32;

/// Offsets that are to become part of the transaction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offsets {
    /// Generation, group, member and instance, count of topics; of each topic its name and count of
    /// partitions; of each partition index, offset, leader epoch and text.
    kept: Chain,
    /// The group of `kept`, hashed.
    group: i32,
    fenced: bool,
    pub(super) coordinator: Coordinator,
    /// The group belongs to the transaction.
    pub(super) added: bool,
    pub(super) in_flight: bool,
    /// Something was sent.
    pub(super) attempted: bool,
    serial: u32,
    retry_at: Tick,
    failures: u8,
    /// When they came.
    pub(super) since: Tick,
}

/// A response as it streams in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OffsetsMemo {
    error: ErrorCode,
    results: u32,
}

impl Offsets {
    pub(super) const NONE: Self = Self {
        kept: Chain::EMPTY,
        group: 0,
        fenced: false,
        coordinator: Coordinator::UNKNOWN,
        added: false,
        in_flight: false,
        attempted: false,
        serial: 0,
        retry_at: Tick::ZERO,
        failures: 0,
        since: Tick::ZERO,
    };

    pub(super) fn age(&mut self, by: Span) {
        self.coordinator.age(by);
        self.retry_at.age(by);
        self.since.age(by);
    }

    /// Whether offsets are not part of the transaction yet.
    pub(super) const fn is_pending(&self) -> bool {
        self.kept.len() > 0 || self.in_flight
    }

    /// Whether they are to be sent.
    pub(super) const fn is_waiting(&self) -> bool {
        self.kept.len() > 0 && !self.in_flight
    }

    /// Drops what was not sent.
    pub(super) fn cancel(&mut self, cx: &mut Cx<'_>) {
        cx.net.blocks.release(&mut self.kept);
    }

    /// Forgets the transaction, which has ended.
    pub(super) const fn reset(&mut self) {
        (self.added, self.attempted) = (false, false);
        (self.retry_at, self.failures) = (Tick::ZERO, 0);
    }

    pub(super) fn on_item(&mut self, from: &Origin, memo: &mut OffsetsMemo, got: Segment<'_, '_>) {
        if from.requested.tag[0] != self.serial {
            return;
        }
        if let Some(commit::Item::Partition { error, .. }) = commit::item(got) {
            memo.results = memo.results.saturating_add(1);
            // One that is retried is no reason beside one that is not.
            if memo.error.0 == 0 || memo.error.is_retriable() && error.0 != 0 {
                memo.error = error;
            }
        }
    }
}

impl Transaction {
    /// Keeps offsets, to be committed with the transaction.
    pub(crate) fn take_offsets(
        &mut self,
        cx: &mut Cx<'_>,
        member: &Membership<'_>,
        offsets: &[Consumed<'_>],
    ) -> Result<(), TransactionError> {
        if self.phase != Phase::Open {
            return Err(TransactionError::Caller(Misuse::NoTransaction));
        }
        if let Some(error) = self.error {
            return Err(error);
        }
        let texts = offsets.iter().flat_map(|o| [o.topic, o.metadata]);
        let ids = [member.member, member.instance.unwrap_or_default()];
        if member.group.len() > GROUP || texts.chain(ids).any(|text| text.len() > TEXT) {
            return Err(TransactionError::Limit(LimitKind::Text));
        }
        if self.offsets.is_pending() {
            return Err(TransactionError::Full);
        }
        if offsets.is_empty() {
            self.news.offsets = true;
            return Ok(());
        }
        let bytes = offsets.iter().map(|o| o.topic.len() + o.metadata.len() + EACH).sum::<usize>();
        let bytes = bytes + AROUND + member.group.len() + ids[0].len() + ids[1].len();
        let blocks = &mut cx.net.blocks;
        // Once as they are kept, and once in the request.
        let needed = 2 * blocks.needed(&Chain::EMPTY, bytes);
        if needed > blocks.total() {
            return Err(TransactionError::Limit(LimitKind::SendBlocks));
        }
        let mut kept = Chain::EMPTY;
        if needed > blocks.free() || keep(blocks, &mut kept, member, offsets).is_err() {
            blocks.release(&mut kept);
            return Err(TransactionError::Full);
        }
        let group = murmur2(member.group.as_bytes());
        let o = &mut self.offsets;
        if o.group != group {
            (o.coordinator, o.added) = (Coordinator::UNKNOWN, false);
        }
        (o.kept, o.group, o.fenced) = (kept, group, !member.member.is_empty());
        (o.since, o.retry_at, o.failures) = (cx.now, Tick::ZERO, 0);
        self.dirty = true;
        Ok(())
    }

    /// Adds the group to the transaction.
    pub(super) fn add_group(&mut self, cx: &mut Cx<'_>, conn: usize) -> Tick {
        let mut room = [0; GROUP];
        let group = text(&cx.net.blocks, &self.offsets.kept, 4, &mut room);
        let Cx { net, settings, now, .. } = cx;
        let request = add_offsets_to_txn::Request {
            transactional_id: &settings.transactional_id,
            producer_id: self.ids.0,
            producer_epoch: self.ids.1,
            group,
        };
        let kind = Kind::AddOffsets;
        let draft = net.draft(conn, *now, kind, &mut |w, version| request.encode(version, w));
        let Some(draft) = draft else { return *now + AGAIN };
        net.send(*now, draft, self.next_tag(), settings.request_timeout);
        Tick::NEVER
    }

    pub(super) fn on_group(&mut self, cx: &mut Cx<'_>, got: Segment<'_, '_>) {
        let Some(add_offsets_to_txn::Item::Response { error, .. }) = add_offsets_to_txn::item(got)
        else {
            return;
        };
        if error.0 == 0 {
            self.recovered();
            self.begun = Begun::Yes;
            self.offsets.added = true;
            return;
        }
        if self.repeats(cx, error) {
            return;
        }
        match error {
            ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::PRODUCER_FENCED => {
                self.begun = Begun::Perhaps;
                self.fail(TransactionError::Ended(error));
            }
            ErrorCode::GROUP_AUTHORIZATION_FAILED
            | ErrorCode::TRANSACTION_ABORTABLE
            | ErrorCode::UNKNOWN_PRODUCER_ID => self.fail(TransactionError::Refused(error)),
            error => self.die(TransactionError::Refused(error)),
        }
    }

    /// Handles an AddOffsetsToTxn without a response.
    pub(super) fn group_lost(&mut self, cx: &mut Cx<'_>, error: Error) {
        if self.begun == Begun::No {
            self.begun = Begun::Perhaps;
        }
        self.later(cx, error);
    }

    /// Sends the offsets to the coordinator of their group.
    pub(super) fn send_offsets(&mut self, cx: &mut Cx<'_>) -> Tick {
        if self.offsets.retry_at > cx.now {
            return self.offsets.retry_at;
        }
        let mut room = [0; GROUP];
        let group = text(&cx.net.blocks, &self.offsets.kept, 4, &mut room);
        let (key, kind) = (Key::Group(group), Kind::TxnCoordinator);
        let look_up = LookUp { key, kind, tag: [0, 1], role: Role::Coordinator };
        let conn = match self.offsets.coordinator.find(cx, &look_up) {
            Ok(conn) => conn,
            Err(at) => return at,
        };
        let implicit = self.protocol == Some(Protocol::Implicit);
        let cap = if implicit { i16::MAX } else { commit::ADDS - 1 };
        let best = cx.net.conns[conn].versions.best(Kind::TxnOffsets, cap).unwrap_or(-1);
        let least = match () {
            () if implicit => commit::ADDS,
            // Others could commit for a member that is none any more.
            () if guard!("a member is fenced", self.offsets.fenced) => commit::FENCES,
            () => 0,
        };
        if best < least {
            let api = ApiKey::TXN_OFFSET_COMMIT;
            let fault = PeerFault::NoCommonVersion { api, min: 0, max: best };
            self.fail(TransactionError::Peer(fault));
            return Tick::NEVER;
        }
        let Some(mut draft) = cx.net.open(conn, cx.now, Kind::TxnOffsets, cap) else {
            return cx.now + AGAIN;
        };
        if self.write_offsets(cx, &mut draft).is_err() {
            cx.net.abandon(draft);
            return cx.now + AGAIN;
        }
        let o = &mut self.offsets;
        o.serial = o.serial.wrapping_add(1);
        (o.in_flight, o.attempted) = (true, true);
        cx.net.send(cx.now, draft, [o.serial, 0], cx.settings.request_timeout);
        Tick::NEVER
    }

    fn write_offsets(&self, cx: &mut Cx<'_>, draft: &mut Draft) -> Result<(), Full> {
        let kept = &self.offsets.kept;
        let (net, id) = (&mut cx.net, &cx.settings.transactional_id);
        net.write(draft, &mut |w, version| commit::begin(w, version, id))?;
        let mut at = 0;
        let generation = take(&net.blocks, kept, &mut at).map(i32::from_be_bytes)?;
        copy_text(net, draft, kept, &mut at, commit::flexible)?;
        net.write(draft, &mut |w, version| commit::producer(w, version, self.ids, generation))?;
        if draft.version >= commit::FENCES {
            copy_text(net, draft, kept, &mut at, commit::flexible)?;
            copy_text(net, draft, kept, &mut at, commit::flexible)?;
        } else {
            skip(&net.blocks, kept, &mut at)?;
            skip(&net.blocks, kept, &mut at)?;
        }
        let topics = take(&net.blocks, kept, &mut at).map(u32::from_be_bytes)?;
        let count = |net: &mut crate::connection::Net<'_>, draft: &mut Draft, count: u32| {
            net.write(draft, &mut |w, version| {
                w.count(commit::flexible(version), Some(count as usize))
            })
        };
        count(net, draft, topics)?;
        for _ in 0..topics {
            copy_text(net, draft, kept, &mut at, commit::flexible)?;
            let partitions = take(&net.blocks, kept, &mut at).map(u32::from_be_bytes)?;
            count(net, draft, partitions)?;
            for _ in 0..partitions {
                let index = take(&net.blocks, kept, &mut at).map(i32::from_be_bytes)?;
                let offset = take(&net.blocks, kept, &mut at).map(i64::from_be_bytes)?;
                let epoch = take(&net.blocks, kept, &mut at).map(i32::from_be_bytes)?;
                net.write(draft, &mut |w, version| {
                    commit::partition(w, version, index, offset, epoch)
                })?;
                copy_text(net, draft, kept, &mut at, commit::flexible)?;
                net.write(draft, &mut |w, version| commit::end(w, version))?;
            }
            net.write(draft, &mut |w, version| commit::end(w, version))?;
        }
        net.write(draft, &mut |w, version| commit::end(w, version))
    }

    pub(super) fn offsets_done(&mut self, cx: &mut Cx<'_>, serial: u32, memo: &OffsetsMemo) {
        if serial != self.offsets.serial || !self.offsets.in_flight {
            return;
        }
        self.offsets.in_flight = false;
        self.dirty = true;
        let code = memo.error;
        if code.0 == 0 && memo.results > 0 {
            self.offsets.coordinator.recovered();
            self.offsets.cancel(cx);
            self.offsets.failures = 0;
            self.news.offsets = !self.is_lost();
            self.news.recovered();
            return;
        }
        match code {
            ErrorCode::COORDINATOR_NOT_AVAILABLE | ErrorCode::NOT_COORDINATOR => {
                self.offsets.coordinator.moved(cx);
                self.offsets_later(cx, Error::Broker(code));
            }
            // All of them again: it is the same commit.
            code if code.0 == 0 || code.is_retriable() && !is_stale_member(code) => {
                self.offsets_later(cx, Error::Broker(code));
            }
            ErrorCode::INVALID_PRODUCER_EPOCH | ErrorCode::PRODUCER_FENCED => {
                self.fail(TransactionError::Ended(code));
            }
            ErrorCode::TRANSACTIONAL_ID_AUTHORIZATION_FAILED
            | ErrorCode::UNSUPPORTED_FOR_MESSAGE_FORMAT => {
                self.die(TransactionError::Refused(code));
            }
            code => self.fail(TransactionError::Offsets(code)),
        }
    }

    /// Handles a TxnOffsetCommit without a response.
    pub(super) fn offsets_lost(&mut self, cx: &mut Cx<'_>, serial: u32, error: Error) {
        if serial == self.offsets.serial {
            self.offsets.in_flight = false;
            self.offsets_later(cx, error);
        }
    }

    fn offsets_later(&mut self, cx: &mut Cx<'_>, error: Error) {
        let soon = error == Error::Broker(ErrorCode::CONCURRENT_TRANSACTIONS);
        let o = &mut self.offsets;
        o.retry_at = pause(&mut cx.rng, cx.now, soon, &cx.settings, o.failures);
        o.failures = o.failures.saturating_add(1);
        self.news.note_trouble(cx.now, error);
        self.dirty = true;
    }

    pub(super) fn on_group_coordinator(&mut self, cx: &mut Cx<'_>, got: Segment<'_, '_>) {
        match self.offsets.coordinator.on_item(cx, got) {
            None => {}
            Some(Ok(())) => self.dirty = true,
            Some(Err(
                code @ (ErrorCode::GROUP_AUTHORIZATION_FAILED | ErrorCode::INVALID_GROUP_ID),
            )) => self.fail(TransactionError::Offsets(code)),
            Some(Err(code)) => self.news.note_trouble(cx.now, Error::Broker(code)),
        }
    }
}

/// Whether a code says that the member is none any more.
const fn is_stale_member(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::STALE_MEMBER_EPOCH)
}

/// Keeps offsets in the order in which they are sent.
fn keep(
    blocks: &mut Blocks<'_>,
    chain: &mut Chain,
    member: &Membership<'_>,
    offsets: &[Consumed<'_>],
) -> Result<(), Full> {
    blocks.append(chain, &member.generation.to_be_bytes())?;
    put(blocks, chain, Some(member.group))?;
    put(blocks, chain, Some(member.member))?;
    put(blocks, chain, member.instance)?;
    let runs = || offsets.chunk_by(|a, b| a.topic == b.topic);
    blocks.append(chain, &(runs().count() as u32).to_be_bytes())?;
    for run in runs() {
        let Some(first) = run.first() else { continue };
        put(blocks, chain, Some(first.topic))?;
        blocks.append(chain, &(run.len() as u32).to_be_bytes())?;
        for offset in run {
            blocks.append(chain, &offset.partition.to_be_bytes())?;
            blocks.append(chain, &offset.offset.to_be_bytes())?;
            blocks.append(chain, &offset.leader_epoch.to_be_bytes())?;
            put(blocks, chain, Some(offset.metadata))?;
        }
    }
    Ok(())
}

/// Takes as many bytes as a number has.
fn take<const N: usize>(
    blocks: &Blocks<'_>,
    chain: &Chain,
    at: &mut usize,
) -> Result<[u8; N], Full> {
    let mut bytes = [0; N];
    read(blocks, chain, *at, &mut bytes);
    *at += N;
    if *at > chain.len() { Err(Full) } else { Ok(bytes) }
}

/// Passes a text.
fn skip(blocks: &Blocks<'_>, chain: &Chain, at: &mut usize) -> Result<(), Full> {
    let len = take(blocks, chain, at).map(u16::from_be_bytes)?;
    *at += if len == u16::MAX { 0 } else { usize::from(len) };
    Ok(())
}
