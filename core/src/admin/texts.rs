//! What requests keep in send blocks until they are sent: texts, each after its length.

use crate::connection::{Draft, Net};
use crate::error::{AdminError, LimitKind};
use crate::memory::{Blocks, Chain};
use crate::wire::Full;

/// Longest topic name.
pub(super) const NAME: usize = 249;
/// In place of a length: no text follows.
const NULL: u16 = u16::MAX;
/// Bytes of a request besides its texts and the client id, and of each config.
pub(super) const AROUND: usize = 64;
const AROUND_CONFIG: usize = 3;

/// Checks whether a request can be kept and written at all, and whether there is memory for that
/// now.
pub(super) fn may_be_kept(
    blocks: &Blocks<'_>,
    client_id: usize,
    name: &str,
    configs: &[(&str, Option<&str>)],
) -> Result<(), AdminError> {
    let mut kept = 2 + name.len();
    for (name, value) in configs {
        for text in [name, value.unwrap_or_default()] {
            let needed = text.len();
            let max = i16::MAX as usize;
            if guard!("a text fits into its field", needed > max) {
                return Err(AdminError::TooLarge { what: LimitKind::Text, needed, max });
            }
            kept += 2 + needed;
        }
    }
    let written = kept + configs.len() * AROUND_CONFIG + AROUND + client_id;
    there_is_room(blocks, kept, written, configs.len() > usize::from(u16::MAX))
}

/// Checks whether a request of so many bytes fits into the send memory, kept and written.
pub(super) fn there_is_room(
    blocks: &Blocks<'_>,
    kept: usize,
    written: usize,
    too_many: bool,
) -> Result<(), AdminError> {
    let needed = blocks.needed(&Chain::EMPTY, kept) + blocks.needed(&Chain::EMPTY, written);
    let max = blocks.total();
    if guard!("what never fits is refused for good", needed > max || too_many) {
        return Err(AdminError::TooLarge { what: LimitKind::SendBlocks, needed, max });
    }
    if needed > blocks.free() {
        return Err(AdminError::Full);
    }
    Ok(())
}

/// Appends a text after its length.
pub(super) fn put(
    blocks: &mut Blocks<'_>,
    chain: &mut Chain,
    text: Option<&str>,
) -> Result<(), Full> {
    let len = text.map_or(NULL, |text| text.len() as u16);
    blocks.append(chain, &len.to_be_bytes())?;
    blocks.append(chain, text.unwrap_or_default().as_bytes())
}

pub(super) fn keep(
    blocks: &mut Blocks<'_>,
    chain: &mut Chain,
    name: &str,
    configs: &[(&str, Option<&str>)],
) -> Result<(), Full> {
    put(blocks, chain, Some(name))?;
    for (name, value) in configs {
        put(blocks, chain, Some(name))?;
        put(blocks, chain, *value)?;
    }
    Ok(())
}

/// The first text that was kept.
pub(super) fn topic_name<'r>(
    blocks: &Blocks<'_>,
    texts: &Chain,
    room: &'r mut [u8; NAME],
) -> &'r str {
    text(blocks, texts, 0, room)
}

/// The text at `at`; empty if it does not fit.
pub(super) fn text<'r>(
    blocks: &Blocks<'_>,
    texts: &Chain,
    at: usize,
    room: &'r mut [u8],
) -> &'r str {
    let mut len = [0; 2];
    read(blocks, texts, at, &mut len);
    let text = room.get_mut(..usize::from(u16::from_be_bytes(len))).unwrap_or_default();
    read(blocks, texts, at + 2, text);
    core::str::from_utf8(text).unwrap_or_default()
}

/// Reads as many bytes of a chain as `out` holds.
pub(super) fn read(blocks: &Blocks<'_>, chain: &Chain, at: usize, mut out: &mut [u8]) {
    for slice in blocks.slices(chain, at, at + out.len()) {
        let (now, rest) = out.split_at_mut(slice.len().min(out.len()));
        now.copy_from_slice(slice.get(..now.len()).unwrap_or_default());
        out = rest;
    }
}

/// Copies the text at `at` to a request, piece by piece: both lie in blocks.
pub(super) fn copy_text(
    net: &mut Net<'_>,
    draft: &mut Draft,
    texts: &Chain,
    at: &mut usize,
    flexible: impl Fn(i16) -> bool + Copy,
) -> Result<(), Full> {
    let mut len = [0; 2];
    read(&net.blocks, texts, *at, &mut len);
    *at += len.len();
    let len = u16::from_be_bytes(len);
    let len = (len != NULL).then_some(len);
    net.write(draft, &mut |w, version| w.text_len(flexible(version), len))?;
    let end = *at + usize::from(len.unwrap_or(0));
    while *at < end {
        let mut piece = [0; 64];
        let n = piece.len().min(end - *at);
        let piece = piece.get_mut(..n).ok_or(Full)?;
        read(&net.blocks, texts, *at, piece);
        net.write(draft, &mut |w, _| w.raw(piece))?;
        *at += n;
    }
    Ok(())
}
