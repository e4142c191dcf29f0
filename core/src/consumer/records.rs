//! Record batches in a Fetch response: found, checked and handed out one by one.

use super::{Activity, Consumer, FetchMemo, Trouble};
use super::{Link, Spot, Start};
use crate::cluster::Cx;
#[cfg(feature = "codecs")]
use crate::codec::Codec;
#[cfg(feature = "record-check")]
use crate::event::MoveReason;
use crate::event::{Batch, Unreadable};
#[cfg(feature = "record-check")]
use crate::record::Damage;
use crate::record::{self, BatchHeader, HEADER_LEN, Malformed, PEEK_LEN};

/// Position of the magic, in bytes from the beginning.
pub(super) const MAGIC_AT: usize = 16;
/// The length of a message of magic 0 without key and value.
pub(super) const OLD_MIN: i32 = 14;

/// What was found at the front of a partition's records.
pub(crate) enum Found<'a> {
    /// More bytes are needed before the front can be judged.
    More,
    /// So many bytes are to be skipped; the partition's records continue after them.
    Skip(usize),
    /// The rest of the partition's records is of no use.
    Drop,
    Batch(Batch<'a>, Taken),
}

/// A batch that the application holds until it polls the next event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) len: usize,
    part: usize,
    serial: u32,
    next_offset: i64,
    epoch: i32,
    /// Why the rest of the batch cannot be read, and the offset after it.
    #[cfg(feature = "record-check")]
    damage: Option<(Malformed, i64)>,
}

impl<'d> Consumer<'d> {
    /// Examines the records of the partition whose entry is being read. `bytes` is what has arrived
    /// of them, `left` their announced length.
    pub(crate) fn look<'a>(
        &mut self,
        cx: &Cx<'d>,
        memo: &mut FetchMemo,
        bytes: &'a [u8],
        left: usize,
    ) -> Found<'a> {
        let part = match memo.part.get() {
            Some(part) if !memo.discard && self.is_current(part, memo.serial) => part,
            _ => return Found::Drop,
        };
        let bytes = &bytes[..bytes.len().min(left)];
        if memo.skip > 0 {
            if bytes.is_empty() {
                return Found::More;
            }
            let len = memo.skip.min(bytes.len());
            memo.skip -= len;
            return Found::Skip(len);
        }
        #[cfg(feature = "old-records")]
        if let Some(found) = self.look_at_old(cx, memo, part, (bytes, left)) {
            return found;
        }
        self.look_at_batch(cx, memo, part, (bytes, left))
    }

    /// Examines the batch at the front of a partition's records.
    #[inline(always)]
    fn look_at_batch<'a>(
        &mut self,
        cx: &Cx<'d>,
        memo: &mut FetchMemo,
        part: usize,
        (bytes, left): (&'a [u8], usize),
    ) -> Found<'a> {
        let position = self.reads[part].position;
        // Nothing of this response was of use so far.
        let first = self.reads[part].sent_position == position;
        // Brokers truncate the last batch at the limit: it is fetched again.
        if left < PEEK_LEN {
            memo.note_cut(first, 0, left);
            return Found::Drop;
        }
        let Some(front) = bytes.first_chunk::<PEEK_LEN>() else { return Found::More };
        let total = match record::peek_len(front) {
            Ok(total) => total,
            Err(why) => return self.not_a_batch(part, front, bytes, left, why),
        };
        if total > left {
            memo.note_cut(first, total, left);
            return Found::Drop;
        }
        if bytes.len() < HEADER_LEN.min(total) {
            return Found::More;
        }
        let header = match BatchHeader::parse(bytes) {
            Ok(header) => header,
            Err(why) => return self.corrupt(part, position, why),
        };
        let next_offset = header.next_offset();
        let impossible = header.base_offset < 0 || header.last_offset_delta < 0;
        if guard!("a batch that leads nowhere is no batch", impossible) {
            return self.corrupt(part, position, Malformed::Offset);
        }
        if guard!("batches before the position are passed", next_offset <= position) {
            #[cfg(feature = "read-committed")]
            if let Some(found) = self.pass_marker(memo, part, &header, (bytes, total)) {
                return found;
            }
            #[cfg(feature = "record-check")]
            self.hidden(memo, part, &header);
            memo.passed = true;
            memo.skip = total.saturating_sub(bytes.len());
            return Found::Skip(total.min(bytes.len()));
        }
        if guard!("a batch beyond the buffer is reported", total > self.rx_bytes) {
            self.park(part, Trouble::TooLarge { needed: total, next_offset });
            return Found::Drop;
        }
        if bytes.len() < total {
            return Found::More;
        }
        if !memo.checked
            && let Err(why) = record::check_crc(&bytes[..total])
        {
            return self.corrupt(part, next_offset, why);
        }
        memo.checked = true;
        self.hand_out(cx, memo, part, header, &bytes[..total])
    }

    /// Hands a complete, sound batch to the application, unless it has no records for it.
    pub(super) fn hand_out<'a>(
        &mut self,
        cx: &Cx<'d>,
        memo: &mut FetchMemo,
        part: usize,
        header: BatchHeader,
        bytes: &'a [u8],
    ) -> Found<'a> {
        let (len, next_offset) = (bytes.len(), header.next_offset());
        #[cfg(feature = "read-committed")]
        if let Some(found) = self.withheld(memo, part, &header, bytes) {
            return found;
        }
        #[cfg(feature = "record-check")]
        self.uncounted(part, &header, len);
        let read = &mut self.reads[part];
        let position = read.position;
        if guard!("control batches are not given", header.is_control()) || header.count == 0 {
            (read.position, read.last_epoch) = (next_offset, header.partition_leader_epoch);
            self.moved_on(part);
            return Found::Skip(len);
        }
        if header.count < 0 {
            return self.corrupt(part, next_offset, Malformed::RecordCount);
        }
        if header.codec() != 0 && !Self::is_unpacked(cx, header.codec()) {
            let why = Unreadable::Compressed(header.codec());
            self.park(part, Trouble::Corrupt { why, next_offset });
            return Found::Drop;
        }
        #[cfg(feature = "record-check")]
        let (header, damage) = match Self::damage_in(memo, &header, bytes) {
            None => (header, None),
            Some(damage) if damage.sound.next_offset() <= position => {
                return self.corrupt(part, next_offset, damage.why);
            }
            Some(damage) => (damage.sound, Some((damage.why, next_offset))),
        };
        let (epoch, next_offset) = (header.partition_leader_epoch, header.next_offset());
        let batch = Batch {
            at: Self::id(&cx.cluster, part),
            partition: Self::topic_partition(&cx.cluster, part),
            position,
            high_watermark: memo.high_watermark,
            header,
            bytes,
        };
        let taken = Taken {
            len,
            part,
            serial: memo.serial,
            next_offset,
            epoch,
            #[cfg(feature = "record-check")]
            damage,
        };
        Found::Batch(batch, taken)
    }

    /// Reports a batch that claims to have no records although it has some: they are skipped.
    #[cfg(feature = "record-check")]
    fn uncounted(&mut self, part: usize, header: &BatchHeader, len: usize) {
        let records = len > HEADER_LEN && !header.is_control() && !header.is_old();
        if guard!("records that are not counted are reported", header.count == 0 && records) {
            self.reads[part].note_move(header.next_offset(), MoveReason::Skipped);
            self.report(part);
        }
    }

    /// Reports a batch that is passed if one before it in the same response claims its offsets: the
    /// first batches may only be older than the position. The session may not know that yet, where
    /// the last requests had no space for it.
    #[cfg(feature = "record-check")]
    fn hidden(&mut self, memo: &FetchMemo, part: usize, header: &BatchHeader) {
        let read = &mut self.reads[part];
        let used = memo.began < read.position;
        if guard!("records that another batch hides are reported", used && header.count > 0) {
            if read.moved.is_none() {
                read.moved_from = header.base_offset;
            }
            read.moved = Some(MoveReason::Skipped);
            self.report(part);
        }
    }

    /// Returns what is wrong inside a batch whose checksum is right, if something is. Of compressed
    /// ones only the application can know.
    #[cfg(feature = "record-check")]
    fn damage_in(memo: &mut FetchMemo, header: &BatchHeader, bytes: &[u8]) -> Option<Damage> {
        // Those of a message set were checked when it was examined.
        if memo.sound || header.codec() != 0 || header.is_old() {
            return None;
        }
        let body = bytes.get(HEADER_LEN..).unwrap_or_default();
        let damage = record::check_records(header, body).err();
        memo.sound = damage.is_none();
        guard!("damage inside a batch is noticed", damage => None)
    }

    /// Returns whether the application unpacks batches of this codec.
    #[cfg(feature = "codecs")]
    fn is_unpacked(cx: &Cx<'d>, codec: u8) -> bool {
        Codec::from_id(codec).is_some_and(|codec| cx.settings.codecs.has(codec))
    }

    #[cfg(not(feature = "codecs"))]
    fn is_unpacked(_: &Cx<'d>, _: u8) -> bool {
        false
    }

    /// Parks a partition until a seek: the application cannot use the records from `offset` on.
    pub(crate) fn park_at(&mut self, part: usize, offset: i64) {
        let read = &mut self.reads[part];
        if read.state == Activity::Resolve {
            // The start being resolved does not matter: the application is not there yet.
            read.begin(Start::Offset(offset.max(0)));
        }
        if read.state == Activity::Fetch {
            (read.state, read.stale) = (Activity::Parked, true);
            read.position = offset.max(0);
            self.link(part, Spot::None, Link::NONE);
        }
    }

    /// Reports bytes where a batch was due that are too few, or too many, for one.
    fn not_a_batch<'a>(
        &mut self,
        part: usize,
        front: &[u8; PEEK_LEN],
        bytes: &[u8],
        left: usize,
        why: Malformed,
    ) -> Found<'a> {
        let position = self.reads[part].position;
        let [.., a, b, c, d] = *front;
        // The magic is at the same place in all formats, and old messages may be shorter.
        let magic = match bytes.get(MAGIC_AT) {
            _ if i32::from_be_bytes([a, b, c, d]) < OLD_MIN => None,
            None if left > MAGIC_AT => return Found::More,
            magic => magic,
        };
        match magic {
            Some(old @ (0 | 1)) => self.corrupt(part, position, Malformed::Magic(*old)),
            _ => self.corrupt(part, position, why),
        }
    }

    pub(super) fn corrupt<'a>(
        &mut self,
        part: usize,
        next_offset: i64,
        why: Malformed,
    ) -> Found<'a> {
        let why = Unreadable::Malformed(why);
        self.park(part, Trouble::Corrupt { why, next_offset });
        Found::Drop
    }

    /// Moves the position past a batch that the application has consumed, unless the partition was
    /// held, sought or paused meanwhile. Returns whether the rest of the partition's records is
    /// wanted.
    pub(crate) fn taken(&mut self, taken: &Taken) -> bool {
        let read = &mut self.reads[taken.part];
        if read.session != taken.serial || read.stale || read.state != Activity::Fetch {
            return false;
        }
        read.position = taken.next_offset;
        read.last_epoch = taken.epoch;
        #[cfg(feature = "record-check")]
        if let Some((why, next_offset)) = taken.damage {
            self.corrupt(taken.part, next_offset, why);
            return false;
        }
        let wanted = !read.paused;
        self.moved_on(taken.part);
        wanted
    }
}
