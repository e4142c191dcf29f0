//! The order of keys at a reader while a topic grows (feature `ordered-growth`). Partitions that
//! were added are held until those that their keys come from have been read up to their end as of a
//! moment when all producers had noticed the growth: KIP-253's idea. Of a group's partitions that
//! other members read, what is committed decides.
//!
//! Where counts are multiples of each other, a key that moved to partition `p` was in partitions
//! below that have the same remainder by the count before. There may have been counts in between
//! that this client never saw, so all of them are waited for, and one may be held itself.

use super::offsets::OffsetsMemo;
use super::{Activity, Consumer};
use crate::api::Kind;
use crate::cluster::{Cluster, Cx, GROWTH, Wish};
use crate::connection::{Peer, Role};
use crate::event::Event;
#[cfg(feature = "group")]
use crate::memory::Link;
use crate::time::{Span, Tick};
use crate::wire::table::Segment;
use crate::wire::{ErrorCode, list_offsets};

/// Growths that are kept apart while their partitions are held; the oldest make way.
const STEPS: usize = 4;
/// Pause before ends are requested again.
const AGAIN: Span = Span::from_millis(50);
/// Commits of other members are looked at this often.
#[cfg(feature = "group")]
const LOOKS: Span = Span::from_millis(100);
/// Partitions in a request for commits.
#[cfg(feature = "group")]
const PAGE: u32 = 500;
/// Members of a group commit more often for this long after the moment when ends are requested.
#[cfg(feature = "group")]
const HURRY: Span = Span::from_secs(10);

/// What is kept of a partition in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bar {
    /// It is held until the partitions below it with the same remainder by this have been read; 0:
    /// it is not held.
    base: u32,
    /// The lowest of them that may not have been read.
    source: u32,
    /// It has been read up to its end itself.
    reached: bool,
    /// Correlation id of the request for its end; 0 for none.
    asked: i32,
    /// Its end plus 1; 0: unknown.
    end: i64,
}

impl Bar {
    pub(crate) const EMPTY: Self = Self { base: 0, source: 0, reached: false, asked: 0, end: 0 };

    /// Returns what stays when a wait is over.
    const fn anew(self) -> Self {
        Self { base: self.base, ..Self::EMPTY }
    }
}

/// What is kept of a topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Growth {
    /// Counts of partitions before the latest growths, ascending; 0 for none.
    steps: [u32; STEPS],
    /// The count that was seen last.
    count: u32,
    /// Partitions that are held.
    held: u32,
    /// The wait is for partitions that are held below this, the count when it began; 0: there is
    /// none.
    top: u32,
    /// What is kept of the partitions below this is that of this wait.
    covered: u32,
    /// A group shares them.
    shared: bool,
    /// When the last growth was seen, when the wait began, when the ends are requested, and when
    /// the wait ends in any case.
    seen: Tick,
    since: Tick,
    asks_at: Tick,
    until: Tick,
    /// Commits of other members: the next partition to look at, and when.
    #[cfg(feature = "group")]
    cursor: u32,
    #[cfg(feature = "group")]
    looks_at: Tick,
    news: News,
}

/// A wait that is over and was not reported yet.
#[derive(Clone, Copy, Debug)]
struct News {
    from: u32,
    /// 0: there is none.
    count: u32,
    waited: Span,
    late: bool,
}

impl News {
    const NONE: Self = Self { from: 0, count: 0, waited: Span::ZERO, late: false };
}

/// What is kept of all topics together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waits {
    /// Some partition may be held.
    pub(super) any: bool,
    /// Some wait that is over was not reported yet.
    pub(super) news: bool,
    /// Members of a group commit more often until then.
    #[cfg(feature = "group")]
    hurries_until: Tick,
}

impl Waits {
    pub(super) const NONE: Self = Self {
        any: false,
        news: false,
        #[cfg(feature = "group")]
        hurries_until: Tick::ZERO,
    };

    #[cfg(feature = "group")]
    pub(super) fn age(&mut self, by: Span) {
        self.hurries_until.age(by);
    }
}

impl Growth {
    pub(super) const NONE: Self = Self {
        steps: [0; STEPS],
        count: 0,
        held: 0,
        top: 0,
        covered: 0,
        shared: false,
        seen: Tick::ZERO,
        since: Tick::ZERO,
        asks_at: Tick::ZERO,
        until: Tick::ZERO,
        #[cfg(feature = "group")]
        cursor: 0,
        #[cfg(feature = "group")]
        looks_at: Tick::ZERO,
        news: News::NONE,
    };

    pub(super) fn age(&mut self, by: Span) {
        self.seen.age(by);
        self.since.age(by);
        self.asks_at.age(by);
        self.until.age(by);
        #[cfg(feature = "group")]
        self.looks_at.age(by);
    }

    /// Notes the count of a topic; returns whether it has grown.
    fn note(&mut self, now: Tick, count: u32) -> bool {
        let known = core::mem::replace(&mut self.count, count);
        if known == 0 || count <= known {
            return false;
        }
        self.steps.rotate_left(1);
        self.steps[STEPS - 1] = known;
        self.seen = now;
        true
    }

    /// Returns the count before the growth that a partition came by, of a topic that had `first`
    /// partitions at first, or an earlier one; 0: it was there from the beginning.
    fn base(&self, index: u32, first: u32) -> u32 {
        if index < first {
            return 0;
        }
        let steps = self.steps.iter().copied().filter(|step| *step > 0 && *step <= index);
        let base = steps.max().unwrap_or(first);
        if base == 0 {
            return 0;
        }
        // Else a key may come from anywhere.
        if self.count.is_multiple_of(base) { base } else { 1 }
    }

    /// Whether a wait is over, and not only some of what it is for is read.
    const fn has_news(&self) -> bool {
        self.top == 0 && self.news.count > 0
    }

    const fn waits(&self) -> bool {
        self.held > 0 || self.top > 0
    }
}

impl<'d> Consumer<'d> {
    /// Notes the count of a topic.
    pub(super) fn note_count(&mut self, cx: &Cx<'d>, slot: usize) {
        let topic = &cx.cluster.topics[slot];
        if !topic.ready || !cx.settings.orders_growth() {
            return;
        }
        let grown = self.follows[slot].growth.note(cx.now, topic.count);
        #[cfg(feature = "group")]
        if grown {
            self.waits.hurries_until = cx.now + cx.settings.growth.settle + HURRY;
        }
        #[cfg(not(feature = "group"))]
        let _ = grown;
    }

    /// Whether a partition is held.
    pub(super) fn is_behind_growth(&self, part: usize) -> bool {
        self.bars[part].base > 0
    }

    /// Holds a partition that was added and of which nothing was read yet. The topic had `first`
    /// partitions at first; `shared`: a group reads it.
    pub(crate) fn hold_added(&mut self, cx: &Cx<'d>, part: usize, first: u32, shared: bool) {
        let entry = &cx.cluster.table[part];
        let slot = usize::from(entry.topic);
        let growth = &self.follows[slot].growth;
        let base = growth.base(entry.index, first);
        let read = self.position(part).is_none_or(|position| position > 0);
        if !cx.settings.orders_growth() || base == 0 || read || self.bars[part].base > 0 {
            return;
        }
        if guard!("added partitions wait for those before", true) {
            let bar = &mut self.bars[part];
            (bar.base, bar.source) = (base, entry.index % base);
            let growth = &mut self.follows[slot].growth;
            growth.held += 1;
            growth.shared = shared;
            (self.waits.any, self.dirty) = (true, true);
            self.relink(&cx.cluster, part);
        }
    }

    /// Forgets that a partition was held: it is not assigned any more.
    pub(super) fn unhold(&mut self, cluster: &Cluster<'d>, part: usize) {
        let growth = &mut self.follows[usize::from(cluster.table[part].topic)].growth;
        growth.held -= u32::from(core::mem::take(&mut self.bars[part].base) > 0);
    }

    /// Forgets what was waited for: the topic is another one, or goes.
    pub(super) fn forget_growth(&mut self, cluster: &mut Cluster<'d>, slot: usize) {
        let growth = &mut self.follows[slot].growth;
        let waits = growth.waits();
        let count = growth.count;
        if waits {
            // Of growth during the wait, too.
            growth.top = u32::MAX;
            self.end_wait(cluster, slot, true);
        }
        self.follows[slot].growth = Growth { count, ..Growth::NONE };
    }

    /// Takes waits further; returns the time of the next step.
    pub(super) fn drive_growth(&mut self, cx: &mut Cx<'d>) -> Tick {
        let mut next = Tick::NEVER;
        if !self.waits.any {
            return next;
        }
        self.waits.any = false;
        for slot in 0..self.follows.len() {
            if self.follows[slot].growth.waits() {
                next = next.min(self.drive_wait(cx, slot));
                self.waits.any |= self.follows[slot].growth.waits();
            }
        }
        next
    }

    fn drive_wait(&mut self, cx: &mut Cx<'d>, slot: usize) -> Tick {
        if self.follows[slot].growth.top == 0 {
            self.begin_wait(cx, slot);
        }
        let Growth { asks_at, until, .. } = self.follows[slot].growth;
        let late = guard!("added partitions are held for a time at most", until <= cx.now);
        if late || !self.cover(cx, slot) {
            self.finish_wait(cx, slot, false);
            return cx.now;
        }
        if guard!("ends are requested when producers have noticed", asks_at > cx.now) {
            return asks_at.min(until);
        }
        let unknown = self.look_at_bars(&cx.cluster, slot);
        if !self.release_read(&cx.cluster, slot) {
            self.finish_wait(cx, slot, true);
            return cx.now;
        }
        let asks = if unknown { self.request_ends(cx, slot) } else { Tick::NEVER };
        asks.min(until)
    }

    /// Begins to wait for those that the held ones need.
    fn begin_wait(&mut self, cx: &Cx<'d>, slot: usize) {
        let growth = &mut self.follows[slot].growth;
        (growth.top, growth.covered, growth.since) = (growth.count, 0, cx.now);
        // What was not seen to grow may have grown just now.
        growth.seen = if growth.seen == Tick::ZERO { cx.now } else { growth.seen };
        growth.asks_at = (growth.seen + cx.settings.growth.settle).max(cx.now);
        growth.until = cx.now + cx.settings.growth.limit;
        #[cfg(feature = "group")]
        {
            (growth.cursor, growth.looks_at) = (0, Tick::ZERO);
        }
    }

    /// Makes sure that there are entries for all partitions that the held ones may need. False:
    /// there is no memory for those that others read.
    fn cover(&mut self, cx: &mut Cx<'d>, slot: usize) -> bool {
        let Growth { top, covered, shared, .. } = self.follows[slot].growth;
        let held = cx.cluster.table.of_topic(slot).filter(|part| self.bars[*part].base > 0);
        let needed = held.map(|part| cx.cluster.table[part].index).filter(|index| *index < top);
        let needed = needed.max().unwrap_or_default();
        for index in covered..needed {
            let known = cx.cluster.table.find(slot, index);
            if !shared && !known.is_some_and(|part| self.reads[part].state != Activity::Off) {
                continue;
            }
            if cx.cluster.table.take(slot, index, GROWTH).is_none() {
                return false;
            }
        }
        self.follows[slot].growth.covered = covered.max(needed);
        true
    }

    /// Notes which partitions are read up to their end. Returns whether some end is unknown and not
    /// requested.
    fn look_at_bars(&mut self, cluster: &Cluster<'d>, slot: usize) -> bool {
        let shared = self.follows[slot].growth.shared;
        let mut unknown = false;
        for part in cluster.table.of_topic(slot) {
            if !cluster.table[part].used_by(GROWTH) {
                continue;
            }
            let assigned = self.reads[part].state != Activity::Off;
            let position = self.position(part);
            let bar = &mut self.bars[part];
            bar.reached |= match bar.end {
                0 => !assigned && !shared,
                end => match assigned {
                    true => position.is_some_and(|position| {
                        guard!("a partition is read up to its end", position >= end - 1 => true)
                    }),
                    // No other member may have anything to commit.
                    false => !shared || end == 1,
                },
            };
            unknown |= !bar.reached && bar.end == 0 && bar.asked == 0;
        }
        unknown
    }

    /// Has those read whose sources have been. Returns whether others are held.
    fn release_read(&mut self, cluster: &Cluster<'d>, slot: usize) -> bool {
        let top = self.follows[slot].growth.top;
        let mut waits = false;
        for part in cluster.table.of_topic(slot) {
            let (index, base) = (cluster.table[part].index, self.bars[part].base);
            if base == 0 || index >= top {
                continue;
            }
            let mut source = self.bars[part].source;
            while source < index && self.is_read_up(cluster, slot, source) {
                source = source.saturating_add(base);
            }
            self.bars[part].source = source;
            if source < index {
                waits = true;
            } else {
                self.let_read(cluster, part);
            }
        }
        waits
    }

    fn is_read_up(&self, cluster: &Cluster<'d>, slot: usize, index: u32) -> bool {
        let part = cluster.table.find(slot, index);
        let part = part.filter(|part| cluster.table[*part].used_by(GROWTH));
        part.is_none_or(|part| self.bars[part].reached)
    }

    /// Holds a partition no longer.
    fn let_read(&mut self, cluster: &Cluster<'d>, part: usize) {
        let entry = &cluster.table[part];
        let growth = &mut self.follows[usize::from(entry.topic)].growth;
        growth.held -= 1;
        let news = &mut growth.news;
        news.from = if news.count == 0 { entry.index } else { news.from.min(entry.index) };
        news.count += 1;
        self.bars[part].base = 0;
        (self.waits.any, self.dirty) = (true, true);
        self.relink(cluster, part);
    }

    /// Requests ends that are unknown, from one broker after the other.
    fn request_ends(&mut self, cx: &mut Cx<'d>, slot: usize) -> Tick {
        let mut next = Tick::NEVER;
        let mut link = cx.cluster.table.first_of(slot);
        while let Some(part) = link.get() {
            link = cx.cluster.table.next_of(part);
            if !self.lacks_end(&cx.cluster, part) {
                continue;
            }
            let Some(broker) = cx.cluster.table[part].broker() else {
                cx.refresh(slot);
                next = next.min(cx.now + AGAIN);
                continue;
            };
            let node = cx.cluster.brokers[broker].id;
            // Not behind a Fetch, where there is another connection.
            let main = cx.net.find(Peer::Node(node), Role::Main);
            let main = main.filter(|main| cx.net.takes_requests(*main, cx.now));
            let conn = match main.map_or_else(|| cx.wish(node, Role::Fetch), Wish::Ready) {
                Wish::Ready(conn) if cx.net.conns[conn].versions.has(Kind::Ends) => conn,
                _ => {
                    next = next.min(cx.now + AGAIN);
                    continue;
                }
            };
            if !self.request_ends_of(cx, (slot, broker), conn) {
                return cx.now + AGAIN;
            }
        }
        next
    }

    fn lacks_end(&self, cluster: &Cluster<'d>, part: usize) -> bool {
        let (entry, bar) = (&cluster.table[part], &self.bars[part]);
        entry.used_by(GROWTH) && !bar.reached && bar.end == 0 && bar.asked == 0
    }

    /// Requests the ends of a topic's partitions at a broker, or of as many as fit. False: no
    /// space.
    fn request_ends_of(
        &mut self,
        cx: &mut Cx<'d>,
        (slot, broker): (usize, usize),
        conn: usize,
    ) -> bool {
        let timeout = cx.settings.request_timeout;
        let cluster = &cx.cluster;
        let due = |part: &usize| {
            cluster.table[*part].broker() == Some(broker) && self.lacks_end(cluster, *part)
        };
        let mut count = cluster.table.of_topic(slot).filter(due).count();
        let draft = loop {
            let draft = cx.net.draft(conn, cx.now, Kind::Ends, &mut |w, version| {
                // All records, also of transactions that are open.
                list_offsets::begin(w, version, 0, 1)?;
                list_offsets::topic(w, version, cluster.topics[slot].name.as_str(), count)?;
                for part in cluster.table.of_topic(slot).filter(due).take(count) {
                    let entry = &cluster.table[part];
                    let (index, epoch) = (entry.index as i32, entry.epoch);
                    list_offsets::partition(w, version, index, epoch, list_offsets::LATEST)?;
                }
                list_offsets::end_topic(w, version)?;
                list_offsets::end(w, version, timeout.millis())
            });
            match draft {
                Some(draft) => break draft,
                None if count > 1 => count /= 2,
                None => return false,
            }
        };
        let correlation = draft.correlation();
        let mut link = cluster.table.first_of(slot);
        while let Some(part) = link.get()
            && count > 0
        {
            link = cluster.table.next_of(part);
            if cluster.table[part].broker() == Some(broker) && self.lacks_end(cluster, part) {
                self.bars[part].asked = correlation;
                count -= 1;
            }
        }
        cx.net.send(cx.now, draft, [broker as u32, 0], timeout);
        true
    }

    /// Handles a piece of a response to a request for ends.
    pub(super) fn on_ends(
        &mut self,
        cx: &mut Cx<'d>,
        correlation: i32,
        memo: &mut OffsetsMemo,
        got: Segment<'_, '_>,
    ) {
        match list_offsets::item(got) {
            Some(list_offsets::Item::Topic { name }) => memo.names(&cx.cluster, name),
            Some(list_offsets::Item::Partition { index, error, offset, .. }) => {
                let Some(part) = memo.part(&cx.cluster, index) else { return };
                if self.bars[part].asked != correlation || !cx.cluster.table[part].used_by(GROWTH) {
                    return;
                }
                if error == ErrorCode::NONE && offset >= 0 {
                    (self.bars[part].asked, self.bars[part].end) = (0, offset.saturating_add(1));
                } else {
                    let topic = usize::from(cx.cluster.table[part].topic);
                    cx.refresh(topic);
                }
                (self.waits.any, self.dirty) = (true, true);
            }
            _ => {}
        }
    }

    /// Handles the end of such a response, or its loss: what it left out is requested again, in
    /// a moment.
    pub(super) fn ends_done(&mut self, cx: &Cx<'d>, correlation: i32) {
        for slot in 0..self.follows.len() {
            let Self { follows, bars, .. } = self;
            if follows[slot].growth.top == 0 {
                continue;
            }
            for part in cx.cluster.table.of_topic(slot) {
                if bars[part].asked == correlation {
                    bars[part].asked = 0;
                    follows[slot].growth.asks_at = cx.now + AGAIN;
                }
            }
        }
        (self.waits.any, self.dirty) = (true, true);
    }

    /// Ends a wait; `ordered`: all that was held for it is read in its order.
    fn finish_wait(&mut self, cx: &mut Cx<'d>, slot: usize, ordered: bool) {
        self.end_wait(&mut cx.cluster, slot, !ordered);
        let Growth { since, news, .. } = &mut self.follows[slot].growth;
        if news.count == 0 {
            return; // nobody was held up
        }
        news.waited = since.until(cx.now).max(news.waited);
        news.late |= !ordered;
        self.waits.news = true;
    }

    /// Ends all waits that others' partitions have entries for, since those are needed; returns
    /// whether there was one.
    #[cfg(feature = "group")]
    pub(crate) fn free_growth(&mut self, cx: &mut Cx<'d>) -> bool {
        let mut any = false;
        for slot in 0..self.follows.len() {
            let Growth { top, shared, .. } = self.follows[slot].growth;
            if guard!("an assignment comes before the order of keys", top > 0 && shared) {
                self.finish_wait(cx, slot, false);
                any = true;
            }
        }
        any && cx.cluster.table.room() > 0
    }

    /// Forgets what a wait was for; `reads`: what is still held is read.
    fn end_wait(&mut self, cluster: &mut Cluster<'d>, slot: usize, reads: bool) {
        let top = self.follows[slot].growth.top;
        let mut link = cluster.table.first_of(slot);
        while let Some(part) = link.get() {
            link = cluster.table.next_of(part);
            let index = cluster.table[part].index;
            if reads && self.bars[part].base > 0 && index < top {
                self.let_read(cluster, part);
            }
            let bar = &mut self.bars[part];
            *bar = bar.anew();
            bar.source = index.checked_rem(bar.base).unwrap_or_default();
            if cluster.table[part].used_by(GROWTH) {
                cluster.table.release(part, GROWTH);
            }
        }
        self.follows[slot].growth.top = 0;
        (self.waits.any, self.dirty) = (true, true);
    }

    /// Returns the event of a wait that is over.
    pub(crate) fn poll_growth(&mut self, cluster: &Cluster<'d>) -> Option<Event<'static>> {
        if !core::mem::take(&mut self.waits.news) {
            return None;
        }
        let slot = (0..self.follows.len()).find(|slot| self.follows[*slot].growth.has_news())?;
        self.waits.news = true;
        let news = core::mem::replace(&mut self.follows[slot].growth.news, News::NONE);
        let News { from, count, waited, late } = news;
        let (topic, waited, ordered) = (cluster.topic_id(slot), waited.duration(), !late);
        Some(Event::GrowthRead { topic, from, partitions: count, waited, ordered })
    }
}

#[cfg(feature = "group")]
impl<'d> Consumer<'d> {
    /// Whether members commit more often than else, so that others need not wait for long.
    pub(crate) fn hurries_commits(&self, now: Tick) -> bool {
        now < self.waits.hurries_until
    }

    /// Returns the topic and the partitions whose commits are to be looked at, if some are due, and
    /// when the next ones are.
    pub(crate) fn due_commits(
        &mut self,
        cx: &Cx<'d>,
    ) -> (Option<(usize, core::ops::Range<u32>)>, Tick) {
        let mut next = Tick::NEVER;
        for slot in 0..self.follows.len() {
            let Growth { top, covered, shared, asks_at, looks_at, cursor, .. } =
                self.follows[slot].growth;
            if top == 0 || !shared || asks_at > cx.now {
                continue;
            }
            let others = |part: &usize| {
                let bar = &self.bars[*part];
                let own = self.reads[*part].state != Activity::Off;
                cx.cluster.table[*part].used_by(GROWTH) && bar.end > 0 && !bar.reached && !own
            };
            let open = cx.cluster.table.of_topic(slot).filter(others);
            let open = open.map(|part| cx.cluster.table[part].index);
            let Some(first) = open.clone().filter(|index| *index >= cursor).min() else {
                let growth = &mut self.follows[slot].growth;
                if core::mem::take(&mut growth.cursor) > 0 {
                    growth.looks_at = cx.now + LOOKS; // all pages had their turn
                }
                if open.count() > 0 {
                    next = next.min(self.follows[slot].growth.looks_at.max(cx.now));
                }
                continue;
            };
            if looks_at <= cx.now {
                return (Some((slot, first..covered.min(first.saturating_add(PAGE)))), cx.now);
            }
            next = next.min(looks_at);
        }
        (None, next)
    }

    /// Notes that commits up to a partition were requested.
    pub(crate) fn commits_requested(&mut self, now: Tick, slot: usize, upto: u32) {
        let growth = &mut self.follows[slot].growth;
        growth.cursor = upto;
        if upto >= growth.covered {
            (growth.cursor, growth.looks_at) = (0, now + LOOKS);
        }
    }

    /// Notes what a group has committed of a partition.
    pub(crate) fn note_committed(
        &mut self,
        cluster: &Cluster<'d>,
        topic: Link,
        (index, offset): (i32, i64),
    ) {
        let Some(part) = cluster.part_of(topic, index) else { return };
        let bar = &mut self.bars[part];
        let read = guard!("a partition is committed up to its end", offset >= bar.end - 1 => true);
        if bar.end > 0 && cluster.table[part].used_by(GROWTH) && read {
            bar.reached = true;
            (self.waits.any, self.dirty) = (true, true);
        }
    }
}
