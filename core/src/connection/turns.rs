//! Who gets the next free connection where there are fewer of them than brokers in use: each in
//! turn, or those that always have work, or never answer, would starve the others.

use heapless::Deque;

use super::{Peer, Role};
use crate::time::{Duration, Instant};

/// More wait without a place; they get one when others had their turn.
const PLACES: usize = 8;
/// Who does not ask again within this time does not want a connection any more.
const STALE: Duration = Duration::from_secs(1);

/// Wishes for a connection that could not be granted, oldest first.
pub(crate) struct Turns {
    waiting: Deque<(Peer, Role, Instant), PLACES>,
}

impl Turns {
    pub(super) const fn new() -> Self {
        Self { waiting: Deque::new() }
    }

    /// Whether it is the turn of this one. It leaves the queue then; else it is in it.
    pub(super) fn admit(&mut self, now: Instant, peer: Peer, role: Role, free: bool) -> bool {
        while self.waiting.front().is_some_and(|(.., asked)| *asked + STALE <= now) {
            self.waiting.pop_front();
        }
        let mine = |w: &(Peer, Role, Instant)| w.0 == peer && w.1 == role;
        let first = guard!("connections go in turn", self.waiting.front().is_none_or(mine) => true);
        if free && first {
            self.waiting.pop_front();
            return true;
        }
        match self.waiting.iter_mut().find(|w| mine(w)) {
            Some((.., asked)) => *asked = now,
            None => {
                let _ = self.waiting.push_back((peer, role, now));
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_longest_is_next_unless_it_stopped_asking() {
        let mut turns = Turns::new();
        let at = Instant::from_millis;
        let [a, b, c] = [1, 2, 3].map(Peer::Node);
        assert!(turns.admit(at(0), a, Role::Main, true), "nobody waits");
        assert!(!turns.admit(at(1), b, Role::Main, false));
        assert!(!turns.admit(at(2), c, Role::Main, false));
        assert!(!turns.admit(at(3), a, Role::Main, true), "b and c come first");
        assert!(!turns.admit(at(4), c, Role::Main, true));
        assert!(turns.admit(at(5), b, Role::Main, true));
        assert!(!turns.admit(at(900), a, Role::Main, true), "c is next");
        assert!(turns.admit(at(1004), a, Role::Main, true), "c asked last a second ago");
    }
}
