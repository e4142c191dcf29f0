//! How often batches of a topic are sent again, for the metrics of servers (feature `std`).

/// Counts for a topic; of no size without the feature.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retries(#[cfg(feature = "std")] u64);

impl Retries {
    pub(crate) const NONE: Self = Self(
        #[cfg(feature = "std")]
        0,
    );

    /// Counts a batch that returned to its queue.
    pub(super) const fn count(&mut self) {
        #[cfg(feature = "std")]
        {
            self.0 += 1;
        }
    }
}

#[cfg(feature = "std")]
impl super::Producer<'_> {
    /// Returns how often batches of the topic in a slot returned to their queues.
    pub(crate) fn retries(&self, slot: usize) -> u64 {
        self.spreads[slot].retries.0
    }
}
