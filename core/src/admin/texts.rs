//! What requests keep in send blocks until they are sent: texts, each after its length.

use crate::error::{AdminError, LimitKind};
use crate::memory::{Blocks, Chain};
#[cfg(feature = "group-admin")]
pub(super) use crate::texts::read;
pub(super) use crate::texts::{copy_text, put, text};
use crate::wire::Full;

/// Longest topic name.
pub(super) const NAME: usize = 249;
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
