//! Logs that end, when they are read, before the end that was there at the start: an election lost
//! the rest.

use kavka_std::Start;

use super::{Failure, Reader};
use crate::places::Places;

impl Reader<'_> {
    /// Handles the end of a partition as a Fetch response has it. A new leader may not know yet how
    /// far its log is committed: a ListOffsets response waits for that (KIP-207).
    pub(super) fn ended(&mut self, topic: &str, at: u32, offset: i64) -> Result<(), Failure> {
        if self.plan.remaining().is_none() || offset >= self.plan.end(topic, at) {
            return Ok(());
        }
        let found = Places::new(self.settings)?.offsets(topic, &[at], Start::Latest)?;
        if let Some(Ok(end)) = found.first() {
            self.plan.truncate(topic, at, *end);
        }
        Ok(())
    }
}
