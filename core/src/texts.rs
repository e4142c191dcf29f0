//! What requests keep in send blocks until they are sent: texts, each after its length.

use crate::connection::{Draft, Net};
use crate::memory::{Blocks, Chain};
use crate::wire::Full;

/// In place of a length: no text follows.
const NULL: u16 = u16::MAX;

/// Appends a text after its length.
pub(crate) fn put(
    blocks: &mut Blocks<'_>,
    chain: &mut Chain,
    text: Option<&str>,
) -> Result<(), Full> {
    let len = text.map_or(NULL, |text| text.len() as u16);
    blocks.append(chain, &len.to_be_bytes())?;
    blocks.append(chain, text.unwrap_or_default().as_bytes())
}

/// The text at `at`; empty if it does not fit.
pub(crate) fn text<'r>(
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
pub(crate) fn read(blocks: &Blocks<'_>, chain: &Chain, at: usize, mut out: &mut [u8]) {
    for slice in blocks.slices(chain, at, at + out.len()) {
        let (now, rest) = out.split_at_mut(slice.len().min(out.len()));
        now.copy_from_slice(slice.get(..now.len()).unwrap_or_default());
        out = rest;
    }
}

/// Copies the text at `at` to a request, piece by piece: both lie in blocks.
pub(crate) fn copy_text(
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
