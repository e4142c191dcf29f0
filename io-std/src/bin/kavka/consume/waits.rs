//! Records that do not come: logs that end earlier than at the start, since an election lost the
//! rest, and what keeps a partition from being read.

use kavka_std::Start;

use super::{Failure, Reader, TICK, failure};
use crate::places::Places;

impl Reader<'_> {
    /// Handles the end of a partition as a Fetch response has it. A new leader may not know yet how
    /// far its log is committed: a ListOffsets response waits for that (KIP-207).
    pub(super) fn ended(&mut self, topic: &str, at: u32, offset: i64) -> Result<(), Failure> {
        if self.plan.remaining().is_none() {
            return Ok(());
        }
        if offset >= self.plan.end(topic, at) {
            self.plan.passed(topic, at, offset);
            return Ok(());
        }
        let found = Places::new(self.settings)?.offsets(topic, &[at], &[Start::Latest])?;
        if let Some(end) = found.good.first().and_then(|(_, offsets)| offsets.first()) {
            self.plan.truncate(topic, at, *end);
        }
        Ok(())
    }

    /// What keeps the first partition that is left, or the first topic, from being read now.
    pub(super) fn obstacle(&self) -> Option<String> {
        let first = || Some((self.topics.first()?.clone(), 0));
        let (topic, partition) = self.plan.first_open().or_else(first)?;
        let found = self.consumer.obstacle(&topic, partition).wait_timeout(TICK).ok()?.ok()?;
        found.map(|error| failure::describe(&error))
    }
}
