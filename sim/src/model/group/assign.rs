//! The assignor `uniform`: what stays where it is as far as sizes differ by one at most.

use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::protocol::StrBytes;

use super::{Group, Place};

impl Group {
    /// Computes the target of all members. `counts`: topic id and partitions by name.
    pub(super) fn assign(&mut self) {
        let mut target: BTreeMap<StrBytes, BTreeSet<Place>> = BTreeMap::new();
        let mut open: Vec<(Place, StrBytes)> = Vec::new();
        for (name, (id, count)) in &self.counts {
            for index in 0..i32::try_from(*count).unwrap_or(i32::MAX) {
                open.push(((*id, index), name.clone()));
            }
        }
        let members = self.members.len().max(1);
        let (least, mut extra) = (open.len() / members, open.len() % members);
        // What each has stays, up to its share.
        for (id, member) in &self.members {
            let mine = target.entry(id.clone()).or_default();
            let before = self.target.get(id);
            open.retain(|(place, name)| {
                let known = before.is_some_and(|before| before.contains(place));
                let room = mine.len() < least || mine.len() == least && extra > 0;
                let stays = known && self.subscribes(member, name) && room;
                if stays {
                    extra -= usize::from(mine.len() == least);
                    mine.insert(*place);
                }
                !stays
            });
        }
        // The rest goes to whoever has least.
        for (place, name) in open {
            let takers = self.members.iter().filter(|(_, member)| self.subscribes(member, &name));
            let fewest = takers.min_by_key(|(id, _)| target.get(*id).map_or(0, BTreeSet::len));
            if let Some((id, _)) = fewest {
                target.entry(id.clone()).or_default().insert(place);
            }
        }
        self.target = target;
        self.target_epoch = self.epoch;
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::model::group::member::Member;

    fn group(members: &[&'static str], count: usize) -> Group {
        let topic = StrBytes::from_static_str("t");
        let mut group = Group::default();
        group.counts.insert(topic.clone(), (Uuid::from_u128(1), count));
        for id in members {
            let member = Member { names: [topic.clone()].into(), ..Member::default() };
            group.members.insert(StrBytes::from_static_str(id), member);
        }
        group.assign();
        group
    }

    #[test]
    fn sizes_differ_by_one_and_what_can_stays() {
        let mut group = group(&["a", "b"], 5);
        let sizes = |group: &Group| group.target.values().map(BTreeSet::len).collect::<Vec<_>>();
        let mut all = sizes(&group);
        all.sort_unstable();
        assert_eq!(all, [2, 3]);
        let before = group.target.clone();
        let names = group.members.values().next().expect("one").names.clone();
        let c = StrBytes::from_static_str("c");
        group.members.insert(c.clone(), Member { names, ..Member::default() });
        group.assign();
        assert_eq!(group.target.values().map(BTreeSet::len).sum::<usize>(), 5);
        assert!(sizes(&group).iter().all(|size| (1..=2).contains(size)), "{:?}", group.target);
        for (id, had) in &before {
            assert!(group.target[id].is_subset(had), "{id:?} gets nothing new");
        }
    }
}
