//! Which peer gets the next free connection where there are fewer of them than brokers in use: the
//! waiting one that had a connection longest ago. Otherwise those that always have work, or never
//! respond, would starve the others.

use super::{Peer, Role};
use crate::time::{Span, Tick};

/// A wish that is not repeated within this time has expired.
const STALE: Span = Span::from_secs(1);

/// A wish for a connection that could not be granted.
struct Wish {
    peer: Peer,
    role: Role,
    /// The turn in which the wish was last granted.
    last: u16,
    requested: Tick,
}

/// See the module.
pub(crate) struct Turns {
    /// The next one: of those that were granted equally long ago the earlier wish. Others repeat
    /// theirs with each pass, so they need no place here.
    next: Option<Wish>,
    /// Wishes that were granted, modulo 65,536.
    turn: u16,
}

impl Turns {
    pub(super) const fn new() -> Self {
        Self { next: None, turn: 0 }
    }

    /// Shifts the scale of time.
    pub(super) fn age(&mut self, by: Span) {
        if let Some(wish) = &mut self.next {
            wish.requested.age(by);
        }
    }

    /// Returns whether it is the turn of a peer whose last turn was `last`, 0 for none yet. If so
    /// it waits no longer.
    pub(super) fn admit(
        &mut self,
        now: Tick,
        (peer, role): (Peer, Role),
        last: &mut u16,
        free: bool,
    ) -> bool {
        let turn = self.turn;
        let age = |last: u16| turn.wrapping_sub(last);
        let mine = match &self.next {
            Some(wish) if wish.requested + STALE > now => {
                let mine = (wish.peer, wish.role) == (peer, role);
                mine || age(wish.last) < age(*last)
            }
            _ => true,
        };
        if mine {
            self.next = Some(Wish { peer, role, last: *last, requested: now });
        }
        if !free || !guard!("connections go in turn", mine => true) {
            return false;
        }
        self.next = None;
        self.turn = turn.wrapping_add(1);
        *last = self.turn;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: fn(u64) -> Tick = Tick::from_millis;

    #[test]
    fn the_peer_that_waits_longest_is_next_unless_it_stopped_requesting() {
        let mut turns = Turns::new();
        let mut last = [0; 4];
        let mut admit = |at, n: usize, free| {
            turns.admit(AT(at), (Peer::Node(n as i32), Role::Main), &mut last[n], free)
        };
        assert!(admit(0, 1, true), "nobody waits");
        assert!(!admit(1, 2, false));
        assert!(!admit(2, 3, false));
        assert!(!admit(3, 1, true), "2 and 3 come first");
        assert!(!admit(4, 3, true));
        assert!(admit(5, 2, true));
        assert!(!admit(6, 3, false));
        assert!(!admit(900, 1, true), "3 is next");
        assert!(admit(1006, 1, true), "3 made its wish a second ago");
    }

    /// With any number of peers, and in any order of wishes.
    #[test]
    fn all_have_their_turn_though_most_have_no_place() {
        let mut last = [0_u16; 40];
        let mut turns = Turns::new();
        let mut granted = [0; 40];
        for round in 0..400 {
            // One slot changes hands; later wishes come last.
            let mut free = true;
            for n in 0..40 {
                let peer = Peer::Node(n as i32);
                let mine = turns.admit(AT(round * 100), (peer, Role::Main), &mut last[n], free);
                granted[n] += usize::from(mine);
                free &= !mine;
            }
        }
        assert!(granted.iter().all(|times| (8..=11).contains(times)), "{granted:?}");
    }

    #[test]
    fn the_count_of_turns_wraps() {
        let mut last = [0_u16; 12];
        let mut turns = Turns::new();
        let mut longest = [0; 12];
        for round in 0..70_000_u64 {
            let mut free = true;
            for n in 0..12 {
                let peer = Peer::Node(n as i32);
                let mine = turns.admit(AT(round), (peer, Role::Main), &mut last[n], free);
                longest[n] = if mine { 0 } else { longest[n] + 1 };
                assert!(longest[n] < 40, "{n} in round {round}");
                free &= !mine;
            }
        }
    }
}
