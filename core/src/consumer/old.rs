//! Message sets of magic 0 and 1 in a Fetch response: where they end, and handed out as batches.

use super::records::{MAGIC_AT, OLD_MIN};
use super::{Consumer, FetchMemo, Found, Trouble};
use crate::cluster::Cx;
use crate::record::{self, Malformed, PEEK_LEN};

impl<'d> Consumer<'d> {
    /// Examines the message set at the front of a partition's records: `bytes` is what has arrived,
    /// and `left` is how many there are. `None` where something else begins, or less than 12 bytes.
    pub(super) fn look_at_old<'a>(
        &mut self,
        cx: &Cx<'d>,
        memo: &mut FetchMemo,
        part: usize,
        (bytes, left): (&'a [u8], usize),
    ) -> Option<Found<'a>> {
        let [offset @ .., a, b, c, d] = *bytes.first_chunk::<PEEK_LEN>()?;
        let length = i32::from_be_bytes([a, b, c, d]);
        if length < OLD_MIN {
            return None;
        }
        let position = self.reads[part].position;
        let first = self.reads[part].sent_position == position;
        let total = PEEK_LEN.saturating_add(usize::try_from(length).ok()?);
        let magic = match bytes.get(MAGIC_AT) {
            Some(2) => return None,
            Some(magic) => *magic,
            // What is cut before its magic may be any of the formats.
            None if guard!("a cut message is no damage", left <= MAGIC_AT) => {
                memo.note_cut(first, 0, left);
                return Some(Found::Drop);
            }
            None => return Some(Found::More),
        };
        if total > left {
            memo.note_cut(first, total, left);
            return Some(Found::Drop);
        }
        if magic > 1 {
            return Some(self.corrupt(part, position, Malformed::Magic(magic)));
        }
        let offset = i64::from_be_bytes(offset);
        let next_offset = offset.saturating_add(1);
        if guard!("an old message has an offset", offset < 0) {
            return Some(self.corrupt(part, position, Malformed::Offset));
        }
        if guard!("messages before the position are passed", next_offset <= position) {
            memo.passed = true;
            memo.skip = total.saturating_sub(bytes.len());
            return Some(Found::Skip(total.min(bytes.len())));
        }
        if guard!("a message beyond the buffer is reported", total > self.rx_bytes) {
            self.park(part, Trouble::TooLarge { needed: total, next_offset });
            return Some(Found::Drop);
        }
        if bytes.len() < total {
            return Some(Found::More);
        }
        // It is examined again when more of it has arrived: more messages may be complete then.
        Some(match record::parse_old(bytes) {
            Ok(header) => {
                let set = bytes.get(..header.total_len()).unwrap_or_default();
                self.hand_out(cx, memo, part, header, set)
            }
            Err(why) => self.corrupt(part, next_offset, why),
        })
    }
}
