//! The table of topics: slots that are taken and freed, found by name and by Kafka's id, and listed
//! by what they wait for. Nothing here iterates over all of them.

use core::ops::{Deref, DerefMut, Index, IndexMut};

use super::topic::Topic;
use crate::memory::{self, Link, List, Mem, Nodes, Slots, hash_bytes};
use crate::time::Tick;
use crate::wire::Uuid;

/// What a slot waits for. Each slot is in one of these lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Plan {
    /// There is no topic.
    None,
    /// For its turn to be in a Metadata request.
    Wanted,
    /// For a Metadata response.
    Requested,
    /// For its next probe: in the order of the last one, so that only the first can be due.
    Rest,
    /// The same for a topic that the application has just grown.
    Eager,
}

const PLANS: usize = 5;

/// The memory of [`Topics`].
pub(crate) struct TopicsMem<'d> {
    pub(crate) entries: Mem<'d, Topic>,
    pub(crate) names: memory::Index<'d>,
    pub(crate) ids: memory::Index<'d>,
    pub(crate) by_plan: Nodes<'d>,
    pub(crate) by_age: Nodes<'d>,
    pub(crate) by_news: Nodes<'d>,
    pub(crate) by_change: Nodes<'d>,
}

/// See the module.
pub(crate) struct Topics<'d> {
    mem: TopicsMem<'d>,
    plans: [List; PLANS],
    /// Topics at rest, in the order of their last Metadata response.
    aged: List,
    /// Not watched any more, but still in use; in the nodes of `aged`.
    leaving: List,
    news: List,
    changed: List,
    /// The links of free ones are kept in the nodes by plan.
    slots: Slots,
    used: usize,
    ready: u32,
    /// No topic wants Metadata before this.
    pub(super) wanted_at: Tick,
}

impl<'d> Topics<'d> {
    pub(crate) fn new(mem: TopicsMem<'d>) -> Self {
        let slots = Slots::new(mem.entries.len());
        Self {
            mem,
            plans: [List::EMPTY; PLANS],
            aged: List::EMPTY,
            leaving: List::EMPTY,
            news: List::EMPTY,
            changed: List::EMPTY,
            slots,
            used: 0,
            ready: 0,
            wanted_at: Tick::NEVER,
        }
    }

    /// Returns the number of topics in use.
    pub(crate) const fn used(&self) -> usize {
        self.used
    }

    /// Returns the number of topics whose partitions are known.
    pub(crate) const fn ready(&self) -> u32 {
        self.ready
    }

    /// Takes a slot for a topic; `None` when all are in use.
    pub(crate) fn add(&mut self, name: &str) -> Option<usize> {
        let slot = self.mem.by_plan.take_free(&mut self.slots)?;
        self.used += 1;
        let generation = self.mem.entries[slot].generation.max(1);
        self.mem.entries[slot] = Topic::watched(name, generation);
        self.mem.names.insert(hash_bytes(name.as_bytes()), slot);
        Some(slot)
    }

    /// Frees a slot; ids of its topic are invalid from now on.
    pub(crate) fn remove(&mut self, slot: usize) {
        self.set_id(slot, Uuid::ZERO);
        let topic = &self.mem.entries[slot];
        let generation = topic.generation.wrapping_add(1);
        self.ready -= u32::from(topic.ready);
        self.mem.names.remove(hash_bytes(topic.name.as_bytes()), slot);
        let aged = if topic.watched { &mut self.aged } else { &mut self.leaving };
        self.mem.by_age.remove(aged, slot);
        self.mem.by_news.remove(&mut self.news, slot);
        self.mem.by_change.remove(&mut self.changed, slot);
        let plan = self.mem.entries[slot].plan;
        self.mem.by_plan.remove(&mut self.plans[plan as usize], slot);
        self.used -= 1;
        self.mem.by_plan.give_free(&mut self.slots, slot);
        self.mem.entries[slot] = Topic { generation, ..Topic::EMPTY };
    }

    /// Returns the topic of a name.
    pub(crate) fn named(&self, name: &str) -> Option<usize> {
        let mut link = self.mem.names.first(hash_bytes(name.as_bytes()));
        while let Some(slot) = link.get() {
            let entry = &self.mem.entries[slot];
            if entry.plan != Plan::None && entry.name.as_str() == name {
                return Some(slot);
            }
            link = self.mem.names.next(slot);
        }
        None
    }

    /// Returns the topic with an id of Kafka's; zero is no topic's id.
    pub(crate) fn with_id(&self, id: Uuid) -> Option<usize> {
        let mut link = self.mem.ids.first(hash_bytes(&id.0));
        while let Some(slot) = link.get() {
            if self.mem.entries[slot].id == id {
                return Some(slot);
            }
            link = self.mem.ids.next(slot);
        }
        None
    }

    /// Sets Kafka's id of a topic, which became known or changed.
    pub(super) fn set_id(&mut self, slot: usize, id: Uuid) {
        let old = core::mem::replace(&mut self.mem.entries[slot].id, id);
        if guard!("an old topic id leaves the index", !old.is_zero()) {
            self.mem.ids.remove(hash_bytes(&old.0), slot);
        }
        if !id.is_zero() {
            self.mem.ids.insert(hash_bytes(&id.0), slot);
        }
    }

    /// Notes that a topic's partitions are known.
    pub(super) fn set_ready(&mut self, slot: usize) {
        if !core::mem::replace(&mut self.mem.entries[slot].ready, true) {
            self.ready += 1;
        }
    }

    /// Returns the first topic that waits for something; `next` returns the others.
    pub(super) fn first(&self, plan: Plan) -> Link {
        self.plans[plan as usize].first()
    }

    pub(super) fn last(&self, plan: Plan) -> Link {
        self.plans[plan as usize].last()
    }

    pub(super) fn next(&self, slot: usize) -> Link {
        self.mem.by_plan.next(slot)
    }

    /// Puts a topic to the end of a list.
    pub(super) fn put(&mut self, slot: usize, plan: Plan) {
        let old = core::mem::replace(&mut self.mem.entries[slot].plan, plan);
        self.mem.by_plan.remove(&mut self.plans[old as usize], slot);
        self.mem.by_plan.push_back(&mut self.plans[plan as usize], slot);
    }

    /// Counts the age of what is known of a topic from now on.
    pub(super) fn renew(&mut self, slot: usize) {
        if self.mem.entries[slot].watched {
            self.mem.by_age.remove(&mut self.aged, slot);
            self.mem.by_age.push_back(&mut self.aged, slot);
        }
    }

    /// Stops counting the age: Metadata is requested anyway.
    pub(super) fn age_is_no_matter(&mut self, slot: usize) {
        if self.mem.entries[slot].watched {
            self.mem.by_age.remove(&mut self.aged, slot);
        }
    }

    /// Returns the topic whose last Metadata response is the oldest.
    pub(super) fn oldest(&self) -> Option<usize> {
        self.aged.first().get()
    }

    /// Notes whether the application uses a topic.
    pub(crate) fn watch(&mut self, slot: usize, watched: bool) {
        if self.mem.entries[slot].watched == watched {
            return;
        }
        let (from, to) = match watched {
            true => (&mut self.leaving, &mut self.aged),
            false => (&mut self.aged, &mut self.leaving),
        };
        self.mem.by_age.remove(from, slot);
        let topic = &mut self.mem.entries[slot];
        topic.watched = watched;
        // An old age would not be in order among the others: it restarts now.
        let rests = matches!(topic.plan, Plan::Rest | Plan::Eager);
        if !watched || guard!("a topic that is watched again ages", rests) {
            self.mem.by_age.push_back(to, slot);
        }
    }

    /// Returns a topic that is not watched any more; another one each time.
    pub(crate) fn next_leaving(&mut self) -> Option<usize> {
        let slot = self.mem.by_age.pop(&mut self.leaving)?;
        self.mem.by_age.push_back(&mut self.leaving, slot);
        Some(slot)
    }

    /// Notes that a topic has something to report to the application.
    pub(super) fn note_news(&mut self, slot: usize) {
        self.mem.by_news.push_back(&mut self.news, slot);
    }

    pub(crate) const fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// Returns a topic with news for the application; it stays until [`Topics::reported`].
    pub(crate) fn first_news(&self) -> Option<usize> {
        self.news.first().get()
    }

    pub(crate) fn reported(&mut self, slot: usize) {
        self.mem.by_news.remove(&mut self.news, slot);
    }

    /// Has producer and consumer check a topic.
    pub(crate) fn note_change(&mut self, slot: usize) {
        self.mem.by_change.push_back(&mut self.changed, slot);
    }

    pub(crate) const fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Returns the first topic that changed; `next_changed` and `take_changed` return the others.
    pub(crate) fn first_changed(&self) -> Link {
        self.changed.first()
    }

    pub(crate) fn next_changed(&self, slot: usize) -> Link {
        self.mem.by_change.next(slot)
    }

    pub(crate) fn take_changed(&mut self) -> Option<usize> {
        self.mem.by_change.pop(&mut self.changed)
    }
}

impl Deref for Topics<'_> {
    type Target = [Topic];

    #[inline]
    fn deref(&self) -> &[Topic] {
        self.mem.entries.get(..self.slots.untouched()).unwrap_or_default()
    }
}

impl Index<usize> for Topics<'_> {
    type Output = Topic;

    #[inline]
    fn index(&self, slot: usize) -> &Topic {
        &self.mem.entries[slot]
    }
}

impl IndexMut<usize> for Topics<'_> {
    #[inline]
    fn index_mut(&mut self, slot: usize) -> &mut Topic {
        &mut self.mem.entries[slot]
    }
}

impl DerefMut for Topics<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [Topic] {
        self.mem.entries.get_mut(..self.slots.untouched()).unwrap_or_default()
    }
}
