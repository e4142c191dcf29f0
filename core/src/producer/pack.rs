//! Compression: a batch is packed when it is chosen for a request, before its length is written
//! there. That is apart from its sealing: a sequence that restarts rewrites the header only.
//!
//! A batch is packed piece by piece: gathered in the scratch, packed, its blocks released, the
//! output appended to a new chain. So its records are in memory twice for one piece only. A turn
//! packs no more than [`PACE`]; what is chosen waits until all of it is packed.

use super::{Batch, Place, Producer, Stage};
use crate::cluster::Cx;
use crate::codec::{Codec, Codecs, PIECE, Pack, Step, scratch_bytes};
use crate::config::Settings;
use crate::connection::Net;
use crate::error::{ConfigError, Error, Misuse, PeerFault};
use crate::event::Event;
use crate::has::{PIECES, SPLIT, ZSTD};
use crate::id::BatchId;
use crate::memory::{Blocks, Chain, Link, Mem};
use crate::record::HEADER_LEN;
use crate::setup::Setup;
use crate::time::{Span, Tick};
use crate::wire::Full;

/// Bytes of records that are packed at one point in time: responses must not wait for long.
const PACE: usize = 4 * PIECE;
/// A batch has to shrink by a sixteenth.
const WORTH: usize = 16;
/// Version of Produce that a broker knows zstd from (KIP-110).
const ZSTD_SINCE: i16 = 7;

/// Encoders that are lent or owned.
pub(crate) enum Engine<'d> {
    Lent(&'d mut (dyn Pack + Send + 'static)),
    #[cfg(feature = "alloc")]
    Owned(alloc::boxed::Box<dyn Pack + Send>),
}

impl Engine<'_> {
    fn get(&mut self) -> &mut dyn Pack {
        match self {
            Self::Lent(engine) => *engine,
            #[cfg(feature = "alloc")]
            Self::Owned(engine) => engine.as_mut(),
        }
    }
}

/// The memory of a [`Packer`].
pub(crate) struct PackMem<'d> {
    pub(crate) engine: Option<Engine<'d>>,
    /// A piece, and its output after it.
    pub(crate) scratch: Mem<'d, u8>,
}

impl PackMem<'_> {
    pub(crate) fn none() -> Self {
        Self { engine: None, scratch: Mem::Lent(&mut []) }
    }

    /// Checks whether there is an encoder for the codec of the configuration. Where each batch is
    /// packed whole, none is longer than the scratch.
    pub(crate) fn check(&mut self, config: &mut Settings<'_>) -> Result<(), ConfigError> {
        let Some(codec) = config.compression else { return Ok(()) };
        config.batch_bytes = config.batch_bytes.min(self.most());
        let there = self.codecs().has(codec) && (ZSTD || codec != Codec::Zstd);
        if there { Ok(()) } else { Err(ConfigError::NoEncoder(codec)) }
    }

    /// Returns the largest batch that is packed, in bytes.
    fn most(&self) -> usize {
        if PIECES { usize::MAX } else { HEADER_LEN + piece_of(self.scratch.len()) }
    }

    /// Returns the codecs that can be packed with it.
    pub(crate) fn codecs(&mut self) -> Codecs {
        match &mut self.engine {
            Some(engine) if piece_of(self.scratch.len()) > 0 => engine.get().codecs(),
            _ => Codecs::NONE,
        }
    }
}

/// Returns the largest piece that a scratch of `len` bytes is enough for.
fn piece_of(len: usize) -> usize {
    // By the definition of `packed_room`, but for rounding.
    let mut piece = len.saturating_sub(64) / 13 * 6;
    while PIECES && scratch_bytes(piece + 1) <= len && piece < PIECE {
        piece += 1;
    }
    piece.min(PIECE)
}

/// How fast a batch is packed.
#[derive(Clone, Copy)]
struct Pace {
    /// Bytes at one point in time.
    #[cfg(feature = "std")]
    bytes: usize,
}

#[cfg(feature = "std")]
impl Pace {
    const USUAL: Self = Self { bytes: PACE };

    fn of(engine: &dyn Pack) -> Self {
        Self { bytes: engine.pace().clamp(1, PACE) }
    }

    /// Returns the length of the next piece.
    fn piece(self, most: usize) -> usize {
        most.min(self.bytes)
    }

    /// Returns what a piece takes of [`PACE`].
    fn cost(self, len: usize) -> usize {
        guard!("slow packing has a slow pace", (len * PACE).div_ceil(self.bytes) => len)
    }
}

/// The encoders of a device have one.
#[cfg(not(feature = "std"))]
impl Pace {
    const USUAL: Self = Self {};

    const fn of(_: &dyn Pack) -> Self {
        Self::USUAL
    }

    const fn piece(self, most: usize) -> usize {
        most
    }

    const fn cost(self, len: usize) -> usize {
        len
    }
}

/// How a batch is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Form {
    /// Not decided.
    Raw = 0,
    /// As it is.
    Plain,
    Packed(Codec),
}

/// Returns how many blocks of all are kept free where batches are packed: enough to unpack and
/// split one, since others that are behind it cannot free theirs before.
pub(super) fn reserve(setup: &Setup) -> usize {
    if !SPLIT {
        return 0;
    }
    let split = setup.unpacked.saturating_mul(3) / 2;
    split.div_ceil(setup.block_bytes.max(1)).min(setup.blocks / 4)
}

/// What packs batches, and the batch that it is at.
pub(super) struct Packer<'d> {
    engine: Option<Engine<'d>>,
    scratch: Mem<'d, u8>,
    /// Bytes of a piece.
    piece: usize,
    batch: Link,
    codec: Codec,
    /// Where the next piece begins in what is left of the batch.
    at: usize,
    pace: Pace,
    /// Bytes of output in the scratch for which there was no memory.
    pending: usize,
    /// The encoder failed after the first piece.
    failed: bool,
    /// Header and packed records.
    chain: Chain,
    /// Something that is due has to wait for a moment.
    waits: bool,
    /// What is left of the pace, until this time.
    left: usize,
    until: Tick,
}

impl<'d> Packer<'d> {
    pub(super) fn new(memory: PackMem<'d>) -> Self {
        Self {
            engine: memory.engine,
            piece: piece_of(memory.scratch.len()),
            scratch: memory.scratch,
            batch: Link::NONE,
            codec: Codec::Lz4,
            at: 0,
            pace: Pace::USUAL,
            pending: 0,
            failed: false,
            chain: Chain::EMPTY,
            waits: false,
            left: 0,
            until: Tick::ZERO,
        }
    }

    pub(super) fn age(&mut self, by: Span) {
        self.until.age(by);
    }

    /// Returns what the batches of a partition are packed with.
    fn codec_for(&mut self, cx: &Cx<'d>, part: usize) -> Option<Codec> {
        let usual = cx.settings.compression;
        #[cfg(feature = "std")]
        if let Some(engine) = &mut self.engine {
            let slot = usize::from(cx.cluster.table[part].topic);
            return engine.get().choose(cx.cluster.topics[slot].name.as_str(), usual);
        }
        let _ = part;
        usual
    }

    /// Releases what there is of a batch that ended.
    pub(super) fn abandon(&mut self, blocks: &mut Blocks<'d>, batch: usize) {
        if self.batch == Link::to(batch) {
            blocks.release(&mut self.chain);
            self.batch = Link::NONE;
        }
    }

    /// Packs the next bytes of a chain into the second part of the scratch.
    fn pack(&mut self, blocks: &Blocks<'d>, from: &Chain, len: usize, last: bool) -> Option<usize> {
        let (input, output) = self.scratch.split_at_mut_checked(self.piece)?;
        let input = input.get_mut(..len)?;
        let mut at = 0;
        for slice in blocks.slices(from, self.at, self.at + len) {
            input.get_mut(at..at + slice.len())?.copy_from_slice(slice);
            at += slice.len();
        }
        let room = output.len();
        self.engine.as_mut()?.get().pack(input, last, output).filter(|len| *len <= room)
    }

    /// Appends what was packed, after a header where it is the first; all or nothing.
    fn append(&mut self, blocks: &mut Blocks<'d>) -> Result<(), Full> {
        let header = if self.chain.len() == 0 { HEADER_LEN } else { 0 };
        let len = core::mem::replace(&mut self.pending, 0);
        if blocks.needed(&self.chain, header + len) > blocks.free() {
            self.pending = len;
            return Err(Full);
        }
        blocks.append(&mut self.chain, [0; HEADER_LEN].get(..header).unwrap_or_default())?;
        let packed = self.scratch.get(self.piece..).and_then(|output| output.get(..len));
        blocks.append(&mut self.chain, packed.unwrap_or_default())
    }
}

impl<'d> Producer<'d> {
    /// Returns when what waits to be packed continues.
    pub(super) fn packs_at(&self) -> Tick {
        if PIECES && self.packer.waits { self.packer.until } else { Tick::NEVER }
    }

    /// Continues with the batch that is being packed, whether or not its turn has come: others wait
    /// for it.
    pub(super) fn pack_on(&mut self, cx: &mut Cx<'d>) {
        if !PIECES {
            return;
        }
        self.packer.waits = false;
        if self.packer.until <= cx.now {
            (self.packer.until, self.packer.left) = (cx.now + Span::LEAST, PACE);
        }
        while let Some(batch) = self.packer.batch.get() {
            if self.packer.failed {
                let (part, error) = (self.batches[batch].part as usize, Misuse::Encoder);
                let result = Err((Error::Caller(error), false));
                self.finish(&mut cx.net.blocks, part, batch, result);
            } else if !self.pack_piece(&mut cx.net, batch) {
                return;
            }
        }
    }

    /// Packs a batch of a lane that was chosen for a request, unless it was chosen before. Returns
    /// false when that has to wait.
    pub(super) fn prepare(&mut self, cx: &mut Cx<'d>, batch: usize) -> bool {
        if !PIECES {
            if let Some(codec) = self.packer.codec_for(cx, self.batches[batch].part as usize) {
                self.pack_whole(&mut cx.net.blocks, batch, codec);
            }
            return true;
        }
        loop {
            let b = &self.batches[batch];
            if b.form != Form::Raw {
                return true;
            }
            let Some(codec) = self.packer.codec_for(cx, b.part as usize) else { return true };
            match self.packer.batch.get() {
                Some(other) if !self.pack_piece(&mut cx.net, other) => return false,
                Some(_) => {}
                None => self.begin_packing(batch, codec),
            }
        }
    }

    /// Packs a batch that is no longer than a piece into the memory that it leaves, which is always
    /// enough.
    fn pack_whole(&mut self, blocks: &mut Blocks<'d>, batch: usize, codec: Codec) {
        let b = &mut self.batches[batch];
        if b.form != Form::Raw {
            return;
        }
        b.form = Form::Plain;
        let (part, len) = (b.part as usize, b.chain.len().saturating_sub(HEADER_LEN));
        self.close(part, batch);
        let Self { batches, packer, .. } = self;
        let b = &mut batches[batch];
        packer.at = HEADER_LEN;
        let begun = len <= packer.piece
            && packer.engine.as_mut().is_some_and(|engine| engine.get().begin(codec, len));
        if begun
            && let Some(packed) = packer.pack(blocks, &b.chain, len, true)
            && is_worth(len, packed)
        {
            b.unpacked.set(b.chain.len() as u32);
            blocks.release(&mut b.chain);
            let output = packer.scratch.get(packer.piece..).and_then(|output| output.get(..packed));
            let _ = blocks.append(&mut b.chain, &[0; HEADER_LEN]);
            let _ = blocks.append(&mut b.chain, output.unwrap_or_default());
            b.form = Form::Packed(codec);
        }
    }

    /// Begins to pack a batch, which takes no more records. Its codec was just chosen.
    fn begin_packing(&mut self, batch: usize, codec: Codec) {
        let b = &mut self.batches[batch];
        b.stage = Stage::Ready;
        let q = &self.queues[b.part as usize];
        if q.place == Place::Open {
            let (part, lane) = (b.part as usize, q.lane);
            self.put(part, Place::Ready, lane);
        }
        let (b, packer) = (&mut self.batches[batch], &mut self.packer);
        let len = b.chain.len().saturating_sub(HEADER_LEN);
        let engine = packer.engine.as_mut().filter(|_| packer.piece > 0);
        let Some(engine) = engine.map(Engine::get) else { return b.form = Form::Plain };
        if !engine.begin(codec, len) {
            return b.form = Form::Plain;
        }
        packer.pace = Pace::of(engine);
        (packer.batch, packer.codec) = (Link::to(batch), codec);
        (packer.at, packer.pending, packer.failed) = (HEADER_LEN, 0, false);
    }

    /// Packs the next piece of the batch that is being packed. Returns false when that has to wait.
    fn pack_piece(&mut self, net: &mut Net<'d>, batch: usize) -> bool {
        let Self { batches, packer, .. } = self;
        let b = &mut batches[batch];
        if packer.pending == 0 {
            let left = b.chain.len().saturating_sub(packer.at);
            let len = packer.pace.piece(packer.piece).min(left);
            let first = packer.chain.len() == 0;
            if packer.failed || guard!("packing has a pace", packer.left == 0) {
                packer.waits = !packer.failed;
                return false;
            }
            packer.left = packer.left.saturating_sub(packer.pace.cost(len));
            let last = packer.at + len == b.chain.len();
            let packed = packer.pack(&net.blocks, &b.chain, len, last);
            if first {
                b.unpacked.set(b.chain.len() as u32);
                if packed.is_none_or(|packed| !is_worth(len, packed)) {
                    packer.batch = Link::NONE;
                    b.form = Form::Plain;
                    return true;
                }
            }
            let Some(packed) = packed else {
                // Its beginning is gone.
                packer.failed = true;
                self.dirty = true;
                return false;
            };
            packer.pending = packed;
            packer.at += len;
            if last {
                net.blocks.release(&mut b.chain);
            } else {
                packer.at -= net.blocks.release_front(&mut b.chain, packer.at);
            }
        }
        if packer.append(&mut net.blocks).is_err() {
            // What was sent frees some.
            net.short = true;
            return false;
        }
        if b.chain.len() == 0 {
            b.chain = core::mem::replace(&mut packer.chain, Chain::EMPTY);
            (b.form, packer.batch) = (Form::Packed(packer.codec), Link::NONE);
            // There is memory again for a request, or for one that is to be split.
            self.dirty |= net.short || self.first_of(Place::Oversized).is_some();
        }
        true
    }

    /// Packs both halves of a batch that was packed before, at once where memory is short: they
    /// wait for the batches in front, and those may need it.
    pub(super) fn pack_again(&mut self, cx: &mut Cx<'d>, halves: [usize; 2]) {
        let free = cx.net.blocks.free() >= self.reserve;
        if guard!("halves are packed in their turn", free) {
            return;
        }
        for batch in halves {
            let part = self.batches[batch].part as usize;
            if self.packer.batch.is_none()
                && let Some(codec) = self.packer.codec_for(cx, part)
            {
                self.begin_packing(batch, codec);
            }
            while self.packer.batch == Link::to(batch) {
                self.packer.left = self.packer.left.max(1);
                if !self.pack_piece(&mut cx.net, batch) {
                    break;
                }
            }
        }
    }

    /// Unpacks a batch that is to be split, and returns whether it was packed; `None` when there is
    /// no memory for it now.
    pub(super) fn unpack(&mut self, net: &mut Net<'d>, batch: usize) -> Option<bool> {
        let b = &self.batches[batch];
        let Form::Packed(codec) = b.form else { return Some(false) };
        let len = b.unpacked.or(0) as usize;
        // It uses the scratch.
        if !self.packer.batch.is_none() {
            return None;
        }
        // The second half is copied then.
        let mut plain = Chain::EMPTY;
        let (all, half) = (net.blocks.needed(&plain, len), net.blocks.needed(&plain, len / 2));
        if all + half + 1 > net.blocks.free() {
            return None;
        }
        let done = self.packer.unpack(&mut net.blocks, (codec, len), &b.chain, &mut plain);
        if done.is_none() || plain.len() != len {
            net.blocks.release(&mut plain);
            return None;
        }
        let b = &mut self.batches[batch];
        net.blocks.release(&mut b.chain);
        (b.chain, b.form) = (plain, Form::Raw);
        Some(true)
    }

    /// Fails batches of zstd where the broker of a connection does not know it.
    pub(super) fn refuse_zstd(&mut self, cx: &mut Cx<'d>, (lane, conn): (usize, usize)) {
        let version = cx.net.conns[conn].versions.best(crate::api::Kind::Produce, i16::MAX);
        let old = version.is_some_and(|version| version < ZSTD_SINCE);
        if ZSTD && guard!("a broker that does not know zstd", old) {
            let error = Error::Peer(PeerFault::NoCodec(Codec::Zstd));
            self.refuse(cx, lane, error, |producer, cx, part| {
                producer.packer.codec_for(cx, part) == Some(Codec::Zstd)
            });
        }
    }
}

/// Returns whether a batch is sent packed, by its first piece.
fn is_worth(len: usize, packed: usize) -> bool {
    let saved = len.saturating_sub(packed);
    guard!("what does not shrink is sent plain", saved * WORTH >= len && saved > 0 => true)
}

impl<'d> Packer<'d> {
    /// Unpacks `packed` to `len` bytes, of which an empty header is the first part.
    fn unpack(
        &mut self,
        blocks: &mut Blocks<'d>,
        (codec, len): (Codec, usize),
        packed: &Chain,
        plain: &mut Chain,
    ) -> Option<()> {
        let engine = self.engine.as_mut()?.get();
        let (output, window) = self.scratch.split_at_mut_checked(self.piece)?;
        if !engine.begin_unpacking(codec) {
            return None;
        }
        blocks.append(plain, &[0; HEADER_LEN]).ok()?;
        let mut from = HEADER_LEN;
        while plain.len() < len {
            let mut there = 0;
            for slice in blocks.slices(packed, from, from + window.len()) {
                window.get_mut(there..there + slice.len())?.copy_from_slice(slice);
                there += slice.len();
            }
            let Step { read, written } = engine.unpack(window.get(..there)?, output)?;
            if read + written == 0 || read > there {
                return None;
            }
            from += read;
            blocks.append(plain, output.get(..written)?).ok()?;
        }
        Some(())
    }
}

/// Records that a broker names in a packed batch: their indices, as numbers of 32 bits, take its
/// place in memory. Where there is none left for them, all are to blame.
impl<'d> Producer<'d> {
    /// Notes a record.
    pub(super) fn list_culprit(blocks: &mut Blocks<'d>, b: &mut Batch, index: u32) {
        if !b.blamed.or(false) {
            blocks.release(&mut b.chain);
        }
        if (!b.blamed.or(false) || b.chain.len() > 0)
            && blocks.append(&mut b.chain, &index.to_be_bytes()).is_err()
        {
            blocks.release(&mut b.chain);
        }
        b.blamed.set(true);
    }

    /// Returns the next records of an ended batch that share an outcome, and whether they are the
    /// last.
    pub(super) fn next_listed(blocks: &mut Blocks<'d>, b: &mut Batch) -> (Event<'static>, bool) {
        // Where the last run ended: the fields have no other meaning any more.
        let (from, mut at) = (b.reported.or(0), b.max_timestamp as usize);
        let (mut next, mut bad) = (listed(blocks, &b.chain, at), b.chain.len() == 0);
        let mut end = next.unwrap_or(b.count);
        if next == Some(from) {
            bad = true;
            while next == Some(end) {
                (at, end) = (at + 4, end + 1);
                next = listed(blocks, &b.chain, at);
            }
        }
        b.reported.set(end);
        b.max_timestamp = at as i64;
        let error = match b.error {
            Some(Error::Broker(code)) if !bad => Error::BatchRefused(code),
            other => other.unwrap_or(Error::TimedOut),
        };
        let last = end >= b.count;
        if last {
            blocks.release(&mut b.chain);
        }
        let (batch, to, maybe_written) = (BatchId(b.id), b.to, b.maybe_written);
        let (first, count) = (b.first.or(0) + from, end - from);
        (Event::Failed { batch, to, first, count, error, maybe_written }, last)
    }
}

/// Returns the index of a record at a place of the list.
fn listed(blocks: &Blocks<'_>, chain: &Chain, at: usize) -> Option<u32> {
    let (mut bytes, mut len) = ([0; 4], 0);
    for slice in blocks.slices(chain, at, at + 4) {
        bytes.get_mut(len..len + slice.len())?.copy_from_slice(slice);
        len += slice.len();
    }
    (len == 4).then_some(u32::from_be_bytes(bytes))
}

/// Returns the number of a batch's codec, 0 for none.
pub(super) const fn codec_of(b: &Batch) -> u8 {
    match b.form {
        Form::Packed(codec) => codec.id(),
        Form::Raw | Form::Plain => 0,
    }
}
