//! The sticky assignors: as even as can be, and as little as possible moves. This is the path for
//! members that all subscribe to the same topics.

use super::Leader;
use super::memory::Queue;
use crate::config::Assignor;
use crate::has;
use crate::memory::Link;

/// How many partitions members have in the end, where all subscribe to the same topics.
pub(super) struct Quota {
    /// All have this many, and some one more.
    pub(super) least: u32,
    /// How many have one more.
    pub(super) more: u32,
}

impl Leader<'_> {
    /// Keeps what members own as far as it is theirs, and gives away the rest.
    pub(super) fn sticky(&mut self, assignor: Assignor) {
        self.read_claims(assignor);
        self.consider_racks();
        if self.all_want_the_same() {
            self.same_topics();
        } else {
            self.general();
        }
    }

    fn all_want_the_same(&self) -> bool {
        let width = self.memory.width();
        let words = |at: usize| &self.memory.wants[at * width..(at + 1) * width];
        let mut planned = (0..self.members).filter(|at| self.memory.members[*at].is_planned());
        let first = planned.next().map_or(&[][..], words);
        planned.all(|at| words(at) == first)
    }

    fn same_topics(&mut self) {
        let planned = |at: &usize| self.memory.members[*at].is_planned();
        let members = (0..self.members).filter(planned).count();
        if members == 0 {
            return;
        }
        let quota =
            Quota { least: (self.seats / members) as u32, more: (self.seats % members) as u32 };
        let (mut under, mut even) = self.decide_keeps(&quota);
        self.keep_lowest();
        let free = self.chain_free();
        if has::RACKS && self.near {
            self.deal_by_rack(free, &quota, (&mut under, &mut even));
        }
        self.deal(free, &quota, under, even);
    }

    /// Returns how many members have more than all have.
    pub(super) fn above(&self, quota: &Quota) -> u32 {
        let members = &self.memory.members[..self.members];
        members.iter().map(|member| u32::from(member.seats > quota.least)).sum()
    }

    /// Returns who keeps a partition that it owns, as far as quotas allow.
    fn keeper(&self, seat: usize) -> Option<usize> {
        self.memory.seats[seat].kept().filter(|owner| self.fits(*owner, seat))
    }

    /// Decides how many of its partitions each member keeps. Returns who has too few yet, and who
    /// may get one more after that.
    fn decide_keeps(&mut self, quota: &Quota) -> (Queue, Queue) {
        self.memory.members[..self.members].iter_mut().for_each(|member| member.keeps = 0);
        for seat in 0..self.seats {
            if let Some(owner) = self.keeper(seat) {
                self.memory.members[owner].keeps += 1;
            }
        }
        let members = &mut self.memory.members[..self.members];
        let (mut under, mut even, mut more) = (Queue::default(), Queue::default(), 0);
        for at in 0..members.len() {
            let has = members[at].keeps;
            if !members[at].is_planned() {
                continue;
            }
            if has < quota.least {
                under.push(members, at);
            } else if has > quota.least && more < quota.more {
                more += 1;
                members[at].keeps = quota.least + 1;
            } else {
                members[at].keeps = quota.least;
                even.push(members, at);
            }
        }
        (under, if more < quota.more { even } else { Queue::default() })
    }

    /// Lets members keep the lowest of their partitions, whatever the topic, then by topic.
    fn keep_lowest(&mut self) {
        // Topics that have more partitions, chained.
        let mut first = Link::NONE;
        for at in (0..self.topics).rev() {
            self.memory.topics[at].next = core::mem::replace(&mut first, Link::to(at));
        }
        let mut partition = 0;
        while !first.is_none() {
            let (mut link, mut last) = (core::mem::take(&mut first), Link::NONE);
            while let Some(at) = link.get() {
                let topic = self.memory.topics[at];
                link = topic.next;
                if partition >= topic.count as usize {
                    continue;
                }
                match last.get() {
                    Some(last) => self.memory.topics[last].next = Link::to(at),
                    None => first = Link::to(at),
                }
                last = Link::to(at);
                let seat = topic.first + partition;
                if let Some(owner) = self.keeper(seat) {
                    let member = &self.memory.members[owner];
                    if member.seats < member.keeps {
                        self.give(seat, owner);
                    }
                }
            }
            if let Some(last) = last.get() {
                self.memory.topics[last].next = Link::NONE;
            }
            partition += 1;
        }
    }

    /// Deals the other partitions around: to those with too few first.
    fn deal(&mut self, mut free: Link, quota: &Quota, mut under: Queue, mut even: Queue) {
        while let Some(seat) = free.get() {
            free = self.memory.seats[seat].next;
            if !self.memory.seats[seat].owner.is_none() {
                continue;
            }
            let members = &self.memory.members[..self.members];
            let Some(member) = under.pop(members).or_else(|| even.pop(members)) else { return };
            self.give(seat, member);
            let members = &mut self.memory.members[..self.members];
            let has = members[member].seats;
            if has < quota.least {
                under.push(members, member);
            } else if has == quota.least {
                even.push(members, member);
            }
        }
    }
}
