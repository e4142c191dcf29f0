//! Record batches in a Fetch answer: found, checked and handed out one by one.

use super::{Consumer, FetchCx, State, Trouble};
#[cfg(feature = "codecs")]
use super::{Link, Spot, Start};
use crate::cluster::Cluster;
#[cfg(feature = "codecs")]
use crate::codec::Codec;
use crate::event::{Batch, Unreadable};
use crate::record::{self, BatchHeader, HEADER_LEN, Malformed, PEEK_LEN};

/// Where the magic is, in bytes from the beginning.
const MAGIC_AT: usize = 16;
/// The length of a message of magic 0 without key and value.
const OLD_MIN: i32 = 14;

/// What stands at the front of a partition's records.
pub(crate) enum Found<'a> {
    /// More bytes are needed before anything can be said.
    More,
    /// So many bytes are to be skipped; the partition's records go on after them.
    Skip(usize),
    /// The rest of the partition's records is of no use.
    Drop,
    Batch(Batch<'a>, Taken),
}

/// A batch that the application holds: done when it polls the next event.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taken {
    pub(crate) len: usize,
    part: usize,
    serial: u32,
    next_offset: i64,
    epoch: i32,
}

impl<'d> Consumer<'d> {
    /// Looks at the records of the partition whose entry is being read. `bytes` is what has
    /// arrived of them, `left` their announced length.
    pub(crate) fn look<'a>(
        &mut self,
        cluster: &Cluster<'d>,
        cx: &mut FetchCx,
        bytes: &'a [u8],
        left: usize,
    ) -> Found<'a> {
        let part = match cx.part.get() {
            Some(part) if !cx.discard && self.is_current(part, cx.serial) => part,
            _ => return Found::Drop,
        };
        let bytes = &bytes[..bytes.len().min(left)];
        if cx.skip > 0 {
            if bytes.is_empty() {
                return Found::More;
            }
            let len = cx.skip.min(bytes.len());
            cx.skip -= len;
            return Found::Skip(len);
        }
        let position = self.reads[part].position;
        // Nothing of this answer was of use so far.
        let first = self.reads[part].sent_position == position;
        // Brokers cut the last batch where the limit is: it comes again.
        if left < PEEK_LEN {
            cx.cut = first;
            return Found::Drop;
        }
        let Some(front) = bytes.first_chunk::<PEEK_LEN>() else { return Found::More };
        let total = match record::peek_len(front) {
            Ok(total) => total,
            Err(why) => return self.not_a_batch(part, front, bytes, left, why),
        };
        if total > left {
            cx.cut = first;
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
            cx.passed = true;
            cx.skip = total.saturating_sub(bytes.len());
            return Found::Skip(total.min(bytes.len()));
        }
        if guard!("a batch beyond the buffer is told", total > self.rx_bytes) {
            self.park(part, Trouble::TooLarge { needed: total, next_offset });
            return Found::Drop;
        }
        if bytes.len() < total {
            return Found::More;
        }
        if !cx.checked
            && let Err(why) = record::check_crc(&bytes[..total])
        {
            return self.corrupt(part, next_offset, why);
        }
        cx.checked = true;
        self.hand_out(cluster, cx, part, header, &bytes[..total])
    }

    /// A whole, sound batch: for the application, unless there is nothing for it in there.
    fn hand_out<'a>(
        &mut self,
        cluster: &Cluster<'d>,
        cx: &FetchCx,
        part: usize,
        header: BatchHeader,
        bytes: &'a [u8],
    ) -> Found<'a> {
        let (len, next_offset) = (bytes.len(), header.next_offset());
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
        if header.codec() != 0 && !Self::is_unpacked(cluster, header.codec()) {
            let why = Unreadable::Compressed(header.codec());
            self.park(part, Trouble::Corrupt { why, next_offset });
            return Found::Drop;
        }
        let epoch = header.partition_leader_epoch;
        let batch = Batch {
            at: Self::id(cluster, part),
            partition: Self::topic_partition(cluster, part),
            position,
            high_watermark: cx.high_watermark,
            header,
            bytes,
        };
        Found::Batch(batch, Taken { len, part, serial: cx.serial, next_offset, epoch })
    }

    /// Whether the application unpacks batches of this codec.
    #[cfg(feature = "codecs")]
    fn is_unpacked(cluster: &Cluster<'d>, codec: u8) -> bool {
        Codec::from_id(codec).is_some_and(|codec| cluster.config.codecs.has(codec))
    }

    #[cfg(not(feature = "codecs"))]
    fn is_unpacked(_: &Cluster<'d>, _: u8) -> bool {
        false
    }

    /// The application cannot use the records from `offset` on: the partition waits there for a
    /// seek.
    #[cfg(feature = "codecs")]
    pub(crate) fn park_at(&mut self, part: usize, offset: i64) {
        let read = &mut self.reads[part];
        if read.state == State::Resolve {
            // Wherever it was about to go, the application is not there yet.
            read.begin(Start::Offset(offset.max(0)));
        }
        if read.state == State::Fetch {
            (read.state, read.stale) = (State::Parked, true);
            read.position = offset.max(0);
            self.link(part, Spot::None, Link::NONE);
        }
    }

    /// What stands where a batch was due is too short, or too long, for one.
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

    fn corrupt<'a>(&mut self, part: usize, next_offset: i64, why: Malformed) -> Found<'a> {
        let why = Unreadable::Malformed(why);
        self.park(part, Trouble::Corrupt { why, next_offset });
        Found::Drop
    }

    /// The application is through with a batch: the position moves behind it, unless it was held,
    /// sought or paused meanwhile. Returns whether the rest of the partition's records is wanted.
    pub(crate) fn taken(&mut self, taken: &Taken) -> bool {
        let read = &mut self.reads[taken.part];
        if read.session != taken.serial || read.stale || read.state != State::Fetch {
            return false;
        }
        read.position = taken.next_offset;
        read.last_epoch = taken.epoch;
        let wanted = !read.paused;
        self.moved_on(taken.part);
        wanted
    }
}
