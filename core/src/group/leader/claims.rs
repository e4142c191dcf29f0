//! Who owns what already, as the members say.

use super::memory::{LeaderMem, Piece};
use super::{Leader, search};
use crate::config::Assignor;
use crate::memory::Link;
use crate::wire::consumer_protocol::{Subscription, Topics, previous};

impl Leader<'_> {
    /// Reads what all members claim. Where several claim a partition, that of the highest
    /// generation counts; no member's where two have the same.
    pub(super) fn read_claims(&mut self, assignor: Assignor) {
        let LeaderMem { members, topics, seats, bytes, .. } = &mut self.memory;
        let (members, topics) = (&mut members[..self.members], &topics[..self.topics]);
        let mut latest = -1;
        for member in members.iter_mut() {
            member.generation = claims(member.data, bytes, assignor).1;
            latest = latest.max(member.generation);
        }
        for at in 0..members.len() {
            let (owned, generation) = claims(members[at].data, bytes, assignor);
            for (name, partitions) in owned {
                let Ok(topic) = search(topics, bytes, name.as_bytes()) else { continue };
                let range = topics[topic].first..topics[topic].end();
                let within = partitions.filter_map(|partition| usize::try_from(partition).ok());
                // What the topic does not have is no member's.
                for seat in within.filter_map(|at| range.clone().nth(at)) {
                    let seat = &mut seats[seat];
                    let above = |link: Link| {
                        link.get().is_none_or(|other| generation > members[other].generation)
                    };
                    if generation < latest && above(seat.before) {
                        seat.before = Link::to(at);
                    }
                    let rival = seat.claim.get().filter(|rival| *rival != at);
                    let same = rival.is_some_and(|rival| members[rival].generation == generation);
                    if above(seat.claim) {
                        (seat.claim, seat.disputed) = (Link::to(at), false);
                    } else if guard!("what two claim by one generation is nobody's", same) {
                        seat.disputed = true;
                    }
                }
            }
        }
    }

    /// Takes out of the plan what its new owner has to wait for: somebody else claims it and has
    /// to revoke it first, and joins again at once when it has.
    pub(super) fn withhold(&mut self) {
        for seat in &mut self.memory.seats[..self.seats] {
            let rival = seat.disputed || !seat.claim.is_none() && seat.claim != seat.owner;
            if guard!("what another one has is withheld", rival) {
                seat.owner = Link::NONE;
            }
        }
    }
}

/// Returns what a member claims, and by which generation: -1 for none.
fn claims(data: Piece, bytes: &[u8], assignor: Assignor) -> (Topics<'_>, i32) {
    let Some(read) = data.subscription(bytes) else { return (Topics::default(), -1) };
    if assignor == Assignor::CooperativeSticky {
        return (read.owned, cooperative_generation(&read));
    }
    // Before it joins a member of `sticky` revokes everything.
    read.user_data.and_then(|data| previous(data).ok()).unwrap_or((Topics::default(), -1))
}

/// Returns the generation of what a member of `cooperative-sticky` owns. Before version 2 of the
/// subscription user data has it: Java's four bytes of it, others what `sticky` has.
fn cooperative_generation(read: &Subscription<'_>) -> i32 {
    if read.generation >= 0 {
        return read.generation;
    }
    let data = read.user_data.unwrap_or_default();
    match data.try_into() {
        Ok(generation) => i32::from_be_bytes(generation),
        Err(_) => previous(data).map_or(-1, |(_, generation)| generation),
    }
}
