//! A subscription by regular expression: the coordinator finds the topics (KIP-848), and
//! assignments name them by ids, whose names Metadata has. Where it cannot, the application finds
//! them.

use super::assignment::Step;
use super::marker::Marker;
use super::{AGAIN, Group, Interest, Phase};
use crate::api::Kind;
use crate::cluster::Cx;
use crate::config::{Settings, Start};
use crate::connection::Origin;
use crate::error::{Error, GroupError, Misuse};
use crate::event::Event;
use crate::id::TopicId;
use crate::memory::Mem;
use crate::time::{Span, Tick};
use crate::wire::table::Segment;
use crate::wire::{ErrorCode, Full, Uuid, metadata};

/// The version of heartbeats that has regular expressions (Kafka 4.0).
const SINCE: i16 = 1;
/// From this version on Metadata is requested by id.
const BY_ID: i16 = 12;

/// Who finds the topics of the subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum By {
    /// They were named.
    Names,
    Coordinator,
    Application,
}

/// See the module.
pub(super) struct Pattern<'d> {
    by: By,
    /// The application is to find the topics, and does not know.
    open: bool,
    /// Topics have joined or left.
    news: bool,
    /// Ids of the last assignment whose names are not known.
    ids: Mem<'d, Uuid>,
    len: u16,
    /// Metadata of them is to be requested, or has no response.
    due: bool,
    in_flight: bool,
    look_at: Tick,
    failures: u8,
    /// Heartbeats are fast until the first topics are assigned.
    hurries: bool,
    /// When a member first subscribed by this expression as far as markers of commits say, in
    /// milliseconds since 1970; the latest time for never.
    met: i64,
}

impl<'d> Pattern<'d> {
    pub(super) const fn new(ids: Mem<'d, Uuid>) -> Self {
        Self {
            by: By::Names,
            open: false,
            news: false,
            ids,
            len: 0,
            due: false,
            in_flight: false,
            look_at: Tick::ZERO,
            failures: 0,
            hurries: false,
            met: i64::MAX,
        }
    }

    pub(super) fn age(&mut self, by: Span) {
        self.look_at.age(by);
    }

    /// Begins another membership.
    pub(super) const fn renew(&mut self) {
        (self.len, self.due, self.in_flight, self.failures) = (0, false, false, 0);
        self.hurries = false;
    }

    /// Topics are named in place of a pattern.
    pub(super) const fn end(&mut self) {
        (self.by, self.open) = (By::Names, false);
        self.renew();
    }

    pub(super) const fn has_news(&self) -> bool {
        self.open || self.news
    }

    /// A topic became known, which may have joined.
    pub(super) fn stir(&mut self) {
        self.news |= self.by != By::Names;
    }

    fn ids(&self) -> &[Uuid] {
        self.ids.get(..usize::from(self.len)).unwrap_or_default()
    }

    fn note(&mut self, id: Uuid) {
        if let Some(place) = self.ids.get_mut(usize::from(self.len)) {
            *place = id;
            self.len += 1;
        }
    }
}

impl<'d> Group<'d> {
    /// Subscribes to the topics of the configured expression.
    pub(crate) fn subscribe_pattern(
        &mut self,
        cx: &mut Cx<'d>,
        (start, begun): (Start, i64),
    ) -> Result<(), Error> {
        self.may_subscribe(cx, start)?;
        if cx.settings.pattern.is_empty() {
            return Err(Error::Caller(Misuse::NoPattern));
        }
        if self.pattern.by == By::Names {
            // Those of the subscription before.
            for slot in 0..self.interests.len() {
                self.subscribe_one(cx, slot, false);
            }
        }
        self.pattern.end();
        (self.pattern.by, self.pattern.met) = (By::Coordinator, i64::MAX);
        self.resubscribe(cx, start, begun);
        Ok(())
    }

    /// Takes the topics that the application has found.
    pub(crate) fn resolve_pattern(
        &mut self,
        cx: &mut Cx<'d>,
        topics: &[TopicId],
    ) -> Result<(), Error> {
        if topics.iter().any(|id| cx.cluster.topic_slot(*id).is_none()) {
            return Err(Error::Caller(Misuse::StaleId));
        }
        let subscribed = matches!(self.phase, Phase::Joining | Phase::Member);
        if !subscribed || self.pattern.by != By::Application {
            return Ok(());
        }
        let mut changed = false;
        for slot in 0..self.interests.len() {
            let wanted = topics.iter().any(|id| cx.cluster.topic_slot(*id) == Some(slot));
            changed |= wanted != self.interests[slot].wanted;
            match wanted {
                true => self.topic_joined(slot),
                false => self.subscribe_one(cx, slot, false),
            }
        }
        if changed {
            self.resubscribe(cx, self.start, self.begun);
        }
        Ok(())
    }

    /// The application knows a topic to be new.
    pub(crate) fn read_from_first(&mut self, slot: usize) {
        let begun = self.begun;
        let interest = &mut self.interests[slot];
        if !interest.active {
            return;
        }
        // Whatever markers have said meanwhile: no start was decided before.
        (interest.known, interest.scans, interest.count) = (true, false, 0);
        interest.fresh = false;
        if !interest.marked {
            (interest.marked, interest.begun) = (true, begun);
        }
        (self.work, self.dirty) = (true, true);
    }

    /// Whether markers of all topics are looked for where a topic has none.
    pub(super) fn scans_all(&self) -> bool {
        self.pattern.by != By::Names
    }

    /// Returns the expression, by its hash, and when the group first subscribed by it.
    pub(super) fn meeting(&self, settings: &Settings<'_>) -> (u32, i64) {
        match self.pattern.by {
            By::Names => (0, 0),
            _ => (hash(&settings.pattern), self.pattern.met.min(self.begun)),
        }
    }

    /// Takes what a marker says of the expression.
    pub(super) fn note_meeting(&mut self, cx: &Cx<'d>, marker: Option<&Marker>) {
        if let Some(Marker { met: (of, at), .. }) = marker
            && self.scans_all()
            && *of == hash(&cx.settings.pattern)
        {
            self.pattern.met = self.pattern.met.min(*at);
        }
    }

    /// Handles a topic without markers: if the group subscribed by the expression before this
    /// member did, the topic is newer than that, and what was written since then is to be read.
    pub(super) fn met_before(&mut self, slot: usize) {
        let (met, begun) = (self.pattern.met, self.begun);
        let interest = &mut self.interests[slot];
        let new = met < begun && (!interest.marked || interest.fresh);
        if guard!("a topic that came while the group was away is new to it", new) {
            (interest.marked, interest.fresh, interest.begun) = (true, false, met);
        }
    }

    /// Forgets a topic whose slot is freed.
    pub(crate) fn forget(&mut self, slot: usize) {
        self.interests[slot] = Interest::EMPTY;
    }

    /// Returns the expression for the coordinator; an empty one takes back what it may know.
    pub(super) fn expression<'s>(&self, settings: &'s Settings<'_>) -> Option<&'s str> {
        match self.pattern.by {
            By::Coordinator => Some(&*settings.pattern),
            _ => (self.epoch > 0 && !settings.pattern.is_empty()).then_some(""),
        }
    }

    /// Whether the application has to find topics before the member can join.
    pub(super) fn awaits_topics(&mut self, cx: &Cx<'d>, conn: usize) -> bool {
        if self.phase != Phase::Joining && self.phase != Phase::Member {
            return false;
        }
        let version = cx.net.conns[conn].versions.best(Kind::Heartbeat, i16::MAX);
        let old = version.is_some_and(|version| version < SINCE);
        #[cfg(feature = "classic")]
        let old = old || self.is_classic();
        if self.pattern.by == By::Coordinator && old {
            (self.pattern.by, self.pattern.open) = (By::Application, true);
        }
        let any = self.interests.iter().any(|interest| interest.wanted);
        self.pattern.by == By::Application && self.phase == Phase::Joining && !any
    }

    /// Handles the first epoch of a membership: the coordinator may look for the topics only now,
    /// which raises the epoch once more.
    pub(super) fn joined_by_pattern(&mut self, now: Tick) {
        if self.pattern.by == By::Coordinator {
            self.pattern.hurries = true;
            self.growth.hurry(now);
        }
    }

    /// Makes a topic part of the subscription.
    fn topic_joined(&mut self, slot: usize) {
        let interest = &mut self.interests[slot];
        if !interest.active {
            *interest = Interest { active: true, joins: true, ..Interest::EMPTY };
            self.pattern.news = true;
        }
        interest.wanted = true;
        (self.growth.stirred, self.dirty) = (true, true);
    }

    /// Handles a topic whose last partition is gone.
    pub(super) fn topic_left(&mut self, slot: usize) {
        if self.pattern.by != By::Names {
            self.interests[slot].leaves = true;
            self.pattern.news = true;
        }
    }

    /// Takes the id of a topic in an assignment, and where it is if it is known; `later`: it is not
    /// the first one that is not.
    pub(super) fn meet(&mut self, slot: Option<usize>, id: Uuid, later: bool) {
        if self.pattern.by != By::Coordinator {
            return;
        }
        match slot {
            Some(slot) => self.topic_joined(slot),
            None if id.is_zero() => {}
            None => {
                if !later {
                    self.pattern.len = 0;
                }
                self.pattern.note(id);
            }
        }
    }

    /// Has the names of the last assignment's topics requested. Returns whether the coordinator
    /// finds the topics.
    pub(super) fn search(&mut self, cx: &Cx<'d>) -> bool {
        if self.pattern.by != By::Coordinator {
            return false;
        }
        self.pattern.due = self.unresolved;
        self.pattern.look_at = cx.now;
        self.full |= self.unresolved;
        if !self.unresolved {
            self.pattern.failures = 0;
        }
        true
    }

    /// Requests the names of topics of the assignment; returns when to try again.
    pub(super) fn send_search(&mut self, cx: &mut Cx<'d>) -> Tick {
        let pattern = &self.pattern;
        if !pattern.due || pattern.in_flight || pattern.len == 0 {
            return Tick::NEVER;
        }
        if pattern.look_at > cx.now {
            return pattern.look_at;
        }
        let conn = cx.pick_main(None, Kind::Names).filter(|conn| {
            let version = cx.net.conns[*conn].versions.best(Kind::Names, i16::MAX);
            version.is_some_and(|version| version >= BY_ID)
        });
        let draft = conn.and_then(|conn| cx.net.open(conn, cx.now, Kind::Names, i16::MAX));
        let Some(mut draft) = draft else {
            cx.want_connection();
            return cx.now + AGAIN;
        };
        let ids = self.pattern.ids();
        let written = cx.net.write(&mut draft, &mut |w, version| {
            metadata::begin(w, version, Some(ids.len()))?;
            for id in ids {
                metadata::topic(w, version, *id, None)?;
            }
            metadata::end(w, version, false)
        });
        if let Err(Full) = written {
            cx.net.abandon(draft);
            // The next assignment has the others again.
            self.pattern.len = (self.pattern.len / 2).max(1);
            return cx.now + AGAIN;
        }
        (self.pattern.due, self.pattern.in_flight) = (false, true);
        cx.net.send(cx.now, draft, [self.serial, 0], cx.settings.request_timeout);
        Tick::NEVER
    }

    pub(super) fn on_names(&mut self, cx: &mut Cx<'d>, from: &Origin, got: Segment<'_, '_>) {
        let valid = from.requested.tag[0] == self.serial && self.pattern.by == By::Coordinator;
        let Some(metadata::Item::Topic { error: ErrorCode(0), name: Some(name), id, .. }) =
            metadata::item(got).filter(|_| valid)
        else {
            return;
        };
        if guard!(
            "a topic that no assignment has is not watched",
            !self.pattern.ids().contains(&id)
        ) {
            return;
        }
        match cx.cluster.watch(name) {
            Ok(topic) => {
                let slot = usize::from(topic.index);
                self.topic_joined(slot);
                cx.refresh(slot);
            }
            Err(Error::Limit { what, needed }) => {
                self.news.fatal = Some(GroupError::Limit { what, needed });
            }
            Err(_) => {}
        }
    }

    pub(super) fn names_done(&mut self, cx: &mut Cx<'d>, serial: u32) {
        if serial != self.serial {
            return;
        }
        // The assignment is taken when the topics are known; at the latest then.
        let at = cx.retry_at(&mut self.pattern.failures);
        (self.pattern.in_flight, self.pattern.len) = (false, 0);
        (self.full, self.dirty) = (true, true);
        self.beat_at = self.beat_at.min(at);
    }

    pub(super) fn names_lost(&mut self, cx: &Cx<'d>, serial: u32) {
        if serial == self.serial {
            (self.pattern.in_flight, self.pattern.due, self.dirty) = (false, true, true);
            self.pattern.look_at = cx.now + cx.settings.retry_backoff;
        }
    }

    /// A topic that the coordinator finds is part of the subscription while partitions of it are
    /// this member's, or may be: it is not known yet.
    pub(super) fn keep_assigned(&mut self, cx: &Cx<'d>) {
        if self.pattern.by != By::Coordinator {
            return;
        }
        for slot in 0..self.interests.len() {
            if self.interests[slot].active {
                let mine = self.count(cx, slot, &|share| share.target) > 0;
                if mine && core::mem::take(&mut self.pattern.hurries) {
                    self.growth.over();
                }
                // One that became known after the response had begun may be in the next one.
                let open = !cx.cluster.topics[slot].ready || self.unresolved;
                self.interests[slot].wanted &= mine || open;
            }
        }
    }

    /// Whether a commit is refused because its topic was deleted, as those of a pattern may be: it
    /// is not to hold up what else changes.
    pub(super) fn is_gone(&self, cx: &Cx<'d>, part: usize, code: ErrorCode) -> bool {
        let unknown =
            matches!(code, ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID);
        let topic = &cx.cluster.topics[usize::from(cx.cluster.table[part].topic)];
        let missing = Error::Broker(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION);
        let leaves = self.shares[part].step == Step::Release || topic.failure == Some(missing);
        self.pattern.by != By::Names && unknown && leaves
    }

    /// Returns the next event about the topics.
    pub(super) fn poll_topics(&mut self, cx: &Cx<'d>) -> Option<Event<'static>> {
        if core::mem::take(&mut self.pattern.open) {
            return Some(Event::FindTopics);
        }
        if !core::mem::take(&mut self.pattern.news) {
            return None;
        }
        for slot in 0..self.interests.len() {
            let interest = &mut self.interests[slot];
            let left = core::mem::take(&mut interest.leaves);
            // What its partitions are is known then, and its id.
            let ready = cx.cluster.topics.get(slot).is_some_and(|topic| topic.ready);
            let joined = ready && core::mem::take(&mut interest.joins);
            if left || joined {
                // There may be others.
                self.pattern.news = true;
                (self.work, self.dirty) = (true, true);
                let topic = cx.cluster.topic_id(slot);
                return Some(match joined {
                    true => Event::TopicJoined { topic },
                    false => Event::TopicLeft { topic },
                });
            }
        }
        None
    }
}

/// FNV-1a, which is part of commits: not to be changed. Never 0.
fn hash(text: &str) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    text.bytes().fold(0x811c_9dc5, step).max(1)
}
