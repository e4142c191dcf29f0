//! The path of the sticky assignors for members that subscribe to different topics.

use super::Leader;
use crate::has;
use crate::memory::Link;

impl Leader<'_> {
    /// Keeps everything that is owned, gives the rest to who has least, then moves partitions for
    /// as long as that makes two members more equal.
    pub(super) fn general(&mut self) {
        let revokes = self.keep_all();
        let first = self.chain_topics();
        if has::RACKS && self.near {
            self.give_fresh(first, true);
        }
        self.give_fresh(first, false);
        // Where nothing has to be revoked anyway the new ones are tried alone first.
        if !revokes {
            self.even_out(first, true);
        }
        self.even_out(first, false);
    }

    /// Gives what nobody kept to who has least, or only to members that are near.
    fn give_fresh(&mut self, mut link: Link, near: bool) {
        while let Some(topic) = link.get() {
            link = self.memory.topics[topic].next;
            for seat in self.memory.topics[topic].first..self.memory.topics[topic].end() {
                if self.memory.seats[seat].owner.is_none()
                    && let Some(least) = self.least(topic, near.then_some(seat))
                {
                    self.give(seat, least);
                }
            }
        }
    }

    /// Lets everybody keep what is theirs and still subscribed. Returns whether something is not.
    fn keep_all(&mut self) -> bool {
        let mut revokes = false;
        for topic in 0..self.topics {
            for seat in self.memory.topics[topic].first..self.memory.topics[topic].end() {
                let kept = self.memory.seats[seat].kept();
                match kept.filter(|owner| self.wants(*owner, topic) && self.fits(*owner, seat)) {
                    Some(owner) => self.give(seat, owner),
                    None => {
                        self.memory.seats[seat].fresh = true;
                        revokes |= kept.is_some();
                    }
                }
            }
        }
        revokes
    }

    /// Chains all topics that have subscribers: those with the fewest first, then by name.
    fn chain_topics(&mut self) -> Link {
        // A chain for each number of subscribers, then one of them all.
        for topic in (0..self.topics).rev() {
            if let Some(at) = self.subscribers(topic).checked_sub(1) {
                let first = &mut self.memory.members[at].first;
                self.memory.topics[topic].next = core::mem::replace(first, Link::to(topic));
            }
        }
        let mut chain = Link::NONE;
        for at in (0..self.members).rev() {
            let first = core::mem::take(&mut self.memory.members[at].first);
            let mut last = first;
            while let Some(at) = last.get().filter(|at| !self.memory.topics[*at].next.is_none()) {
                last = self.memory.topics[at].next;
            }
            if let Some(last) = last.get() {
                self.memory.topics[last].next = chain;
                chain = first;
            }
        }
        chain
    }

    /// Returns the subscriber of a topic that has the fewest partitions, of those that are near to
    /// one of them.
    fn least(&self, topic: usize, near: Option<usize>) -> Option<usize> {
        let subscribers = (0..self.members).filter(|member| {
            self.wants(*member, topic) && near.is_none_or(|seat| self.fits(*member, seat))
        });
        subscribers.min_by_key(|member| self.memory.members[*member].seats)
    }

    /// Moves partitions, or only those that nobody kept, until no move would help. Each one makes
    /// two members more equal, so this ends.
    fn even_out(&mut self, first: Link, fresh: bool) {
        let mut moved = true;
        while core::mem::take(&mut moved) {
            let mut link = first;
            while let Some(topic) = link.get() {
                link = self.memory.topics[topic].next;
                moved |= self.even_out_topic(topic, fresh);
            }
        }
    }

    fn even_out_topic(&mut self, topic: usize, fresh: bool) -> bool {
        let (mut moved, mut least) = (false, self.least(topic, None));
        for seat in self.memory.topics[topic].first..self.memory.topics[topic].end() {
            let Some(owner) = self.memory.seats[seat].owner.get() else { continue };
            if fresh && !self.memory.seats[seat].fresh {
                continue;
            }
            // Rather to who had it in an earlier generation than to who has least.
            let before = self.memory.seats[seat].before.get();
            let before = before.filter(|before| self.wants(*before, topic));
            let helps = |to: &usize| {
                let members = &self.memory.members;
                members[owner].seats > members[*to].seats + 1
            };
            if let Some(to) = before.filter(helps).or(least.filter(helps)) {
                self.reassign(topic, seat, to);
                least = self.least(topic, None);
                moved = true;
            }
        }
        moved
    }

    /// Moves a partition, or another one of the topic in its place that so returns to where it came
    /// from: two members must not exchange partitions of a topic.
    fn reassign(&mut self, topic: usize, seat: usize, to: usize) {
        let Some(owner) = self.memory.seats[seat].owner.get() else { return };
        let home = self.memory.seats[seat].from.get().unwrap_or(owner);
        match self.find_move(topic, to, home) {
            Some(other) => {
                self.shift(topic, other, to);
                // It was moved before: both are back then.
                if home != owner {
                    self.shift(topic, seat, home);
                }
            }
            None => self.shift(topic, seat, to),
        }
    }

    /// Moves a partition, and keeps where it came from.
    fn shift(&mut self, topic: usize, seat: usize, to: usize) {
        let Some(owner) = self.memory.seats[seat].owner.get() else { return };
        let home = self.memory.seats[seat].from.get();
        if let Some(home) = home {
            self.forget_move(topic, seat, (home, owner));
        }
        self.memory.members[owner].seats -= 1;
        self.give(seat, to);
        let home = home.unwrap_or(owner);
        if home != to {
            self.note_move(topic, seat, (home, to));
        }
    }

    /// Returns the chain of moves of a topic from one member to another, and others with it.
    fn bucket(&self, topic: usize, (from, to): (usize, usize)) -> usize {
        let mixed = [topic, from, to]
            .iter()
            .fold(0_u32, |hash, n| (hash ^ *n as u32).wrapping_mul(0x9e37_79b1).rotate_left(15));
        mixed as usize % self.seats.max(1)
    }

    fn find_move(&self, topic: usize, from: usize, to: usize) -> Option<usize> {
        let range = self.memory.topics[topic].first..self.memory.topics[topic].end();
        let mut link = self.memory.seats[self.bucket(topic, (from, to))].moves;
        while let Some(at) = link.get() {
            let seat = &self.memory.seats[at];
            let fits = (seat.from, seat.owner) == (Link::to(from), Link::to(to));
            if fits && range.contains(&at) {
                return Some(at);
            }
            link = seat.next;
        }
        None
    }

    fn note_move(&mut self, topic: usize, seat: usize, pair: (usize, usize)) {
        let bucket = self.bucket(topic, pair);
        let next = core::mem::replace(&mut self.memory.seats[bucket].moves, Link::to(seat));
        if let Some(next) = next.get() {
            self.memory.seats[next].prev = Link::to(seat);
        }
        let seat = &mut self.memory.seats[seat];
        (seat.from, seat.next, seat.prev) = (Link::to(pair.0), next, Link::NONE);
    }

    fn forget_move(&mut self, topic: usize, seat: usize, pair: (usize, usize)) {
        let bucket = self.bucket(topic, pair);
        let (next, prev) = (self.memory.seats[seat].next, self.memory.seats[seat].prev);
        match prev.get() {
            Some(prev) => self.memory.seats[prev].next = next,
            None => self.memory.seats[bucket].moves = next,
        }
        if let Some(next) = next.get() {
            self.memory.seats[next].prev = prev;
        }
        self.memory.seats[seat].from = Link::NONE;
    }
}
