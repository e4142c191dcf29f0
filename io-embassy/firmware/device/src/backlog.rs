//! What waits for space in the client's memory. Full, it drops the oldest: of measurements the
//! latest are worth most. The number of dropped ones is kept.

use heapless::Deque;

/// A queue of at most `N`, all zero when empty but for its items.
pub struct Backlog<T, const N: usize> {
    items: Deque<T, N>,
    dropped: u32,
    most: u32,
}

impl<T, const N: usize> Backlog<T, N> {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { items: Deque::new(), dropped: 0, most: 0 }
    }

    /// Adds `item` after the others; drops the first of them when there is no space.
    pub fn push(&mut self, item: T) {
        if self.items.is_full() {
            self.items.pop_front();
            self.dropped += 1;
        }
        let _ = self.items.push_back(item);
        self.most = self.most.max(self.items.len() as u32);
    }

    /// The one that waits longest.
    #[must_use]
    pub fn front(&self) -> Option<&T> {
        self.items.front()
    }

    /// Takes it away.
    pub fn pop(&mut self) -> Option<T> {
        self.items.pop_front()
    }

    /// How many were dropped so far.
    #[must_use]
    pub const fn dropped(&self) -> u32 {
        self.dropped
    }

    /// How many waited at a time, at most.
    #[must_use]
    pub const fn most(&self) -> u32 {
        self.most
    }
}

impl<T, const N: usize> Default for Backlog<T, N> {
    fn default() -> Self {
        Self::new()
    }
}
