//! JoinGroup: the member's subscription, with what it has, and who leads the round.

use super::{ID, Lead, Round};
use crate::api::Kind;
use crate::cluster::Cx;
use crate::config::{Assignor, Settings, listed};
use crate::connection::{Draft, Origin};
use crate::error::{Error, GroupError, LimitKind};
use crate::group::{AGAIN, Group, HAD, Interest, Phase};
use crate::time::{Span, Tick};
use crate::wire::consumer_protocol::{Joining, UserData};
use crate::wire::table::Segment;
use crate::wire::{ErrorCode, Full, join_group};

/// The version of subscriptions: with what is owned, its generation, and the rack.
const SUBSCRIPTION: i16 = 3;
/// The coordinator may need so much longer than the rebalance timeout.
const MORE: Span = Span::from_secs(5);
/// What client ids of this client begin with, unless they are chosen.
const OURS: &str = "kavka";
/// Characters of a UUID.
const UUID: usize = 36;

/// A response as it streams in.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct JoinMemo {
    /// It is of this membership.
    valid: bool,
    /// The request had an id of the member; the response has one that is too long.
    named: bool,
    long: bool,
    error: ErrorCode,
    generation: i32,
    /// Place of the elected assignor in the list.
    elected: u8,
    lead: Lead,
    skips: bool,
    /// Something did not fit into the receive buffer.
    skipped: bool,
    /// The group is too large to be led.
    limit: Option<LimitKind>,
}

impl Interest {
    /// Whether the member had a partition by the last assignment.
    fn had(&self, _index: usize) -> bool {
        #[cfg(feature = "coverage")]
        if let Some(word) = self.had.get(_index / 32) {
            return word >> (_index % 32) & 1 == 1;
        }
        false
    }
}

impl<'d> Group<'d> {
    /// Keeps which partitions the assignment has.
    #[cfg(feature = "coverage")]
    pub(super) fn note_assigned(&mut self, cx: &mut Cx<'d>) {
        for interest in self.interests.iter_mut() {
            interest.had = [0; HAD / 32];
        }
        self.each(cx, &mut |group, cx, part| {
            let entry = &cx.cluster.table[part];
            let (slot, index) = (usize::from(entry.topic), entry.index);
            let word = group.interests[slot].had.get_mut((index / 32) as usize);
            if let Some(word) = word.filter(|_| group.shares[part].target) {
                *word |= 1 << (index % 32);
            }
        });
    }

    pub(super) fn send_join(&mut self, cx: &mut Cx<'d>, conn: usize) -> Tick {
        let Some(mut draft) = cx.net.open(conn, cx.now, Kind::Join, i16::MAX) else {
            return cx.now + AGAIN;
        };
        if let Err(Full) = self.write_join(cx, &mut draft) {
            cx.net.abandon(draft);
            return self.overflowed(cx);
        }
        self.classic.round = Round::Parked;
        self.classic.grew = self.growth.waits();
        let timeout = cx.settings.rebalance_timeout + MORE;
        let timeout = timeout.max(cx.settings.request_timeout);
        let named = u32::from(!self.classic.id().is_empty());
        cx.net.send(cx.now, draft, [self.serial, named], timeout);
        // What is subscribed from now on is for another round.
        self.classic.due = false;
        Tick::NEVER
    }

    fn write_join(&self, cx: &mut Cx<'d>, draft: &mut Draft) -> Result<(), Full> {
        let (net, cluster, settings) = (&mut cx.net, &cx.cluster, &cx.settings);
        let head = join_group::Head {
            group: &settings.group,
            session_timeout_ms: settings.classic.session_timeout.millis(),
            rebalance_timeout_ms: settings.rebalance_timeout.millis(),
            member: self.classic.id(),
            instance: settings.instance(),
        };
        let count = listed(&settings.classic.assignors).count();
        net.write(draft, &mut |w, version| join_group::begin(w, version, &head, count))?;
        let slots = 0..self.interests.len();
        let wanted = slots.clone().filter(|slot| self.interests[*slot].wanted);
        let owning = slots.filter(|slot| self.interests[*slot].active);
        let list = |had: bool| {
            owning.clone().map(move |slot| {
                let parts = cluster.table.of_topic(slot);
                let owned = parts.filter(move |part| !had && self.shares[*part].is_owned());
                let owned = owned.map(|part| cluster.table[part].index as i32);
                let before = (0..HAD).filter(move |at| had && self.interests[slot].had(*at));
                (&*cluster.topics[slot].name, owned.chain(before.map(|at| at as i32)))
            })
        };
        let generation = if self.classic.held > 0 { self.classic.held } else { -1 };
        for name in listed(&settings.classic.assignors) {
            let joining = Joining {
                topics: wanted.clone().map(|slot| &*cluster.topics[slot].name),
                user_data: match Assignor::from_name(name) {
                    Some(Assignor::CooperativeSticky) => UserData::Generation(generation),
                    // It has given everything up, and is to get the same again.
                    Some(Assignor::Sticky) if generation > 0 && cfg!(feature = "coverage") => {
                        UserData::Previous(list(true), generation)
                    }
                    _ => UserData::Null,
                },
                owned: list(false),
                generation,
                rack: Some(&*settings.rack).filter(|rack| !rack.is_empty()),
            };
            net.write(draft, &mut |w, version| {
                join_group::protocol(w, version, name, joining.len(SUBSCRIPTION))?;
                joining.write(SUBSCRIPTION, w)?;
                join_group::end_protocol(w, version)
            })?;
        }
        net.write(draft, &mut |w, version| join_group::end(w, version, None))
    }

    pub(in crate::group) fn on_join(
        &mut self,
        cx: &mut Cx<'d>,
        from: &Origin,
        memo: &mut JoinMemo,
        got: Segment<'_, '_>,
    ) {
        if from.requested.tag[0] != self.serial || self.classic.round != Round::Parked {
            return;
        }
        match join_group::item(got) {
            Some(join_group::Item::Head {
                error,
                generation,
                protocol,
                leader,
                skip_assignment,
                member,
                ..
            }) => {
                (memo.valid, memo.error, memo.generation) = (true, error, generation);
                memo.named = from.requested.tag[1] > 0;
                if error.0 == 0 || error == ErrorCode::MEMBER_ID_REQUIRED {
                    memo.long = member.len() > ID;
                    self.classic.take_id(member);
                }
                let named = |name: &str| Some(name) == protocol;
                let place = listed(&cx.settings.classic.assignors).position(named);
                memo.elected = place.unwrap_or_default() as u8;
                memo.lead = self.lead(&cx.settings, leader, member);
                memo.skips = skip_assignment;
                #[cfg(feature = "coverage")]
                self.classic.cover.note_leader(leader);
                if error.0 == 0 && memo.lead == Lead::Me {
                    self.classic.leader.begin();
                }
            }
            Some(join_group::Item::Member { id, instance, metadata })
                if memo.valid && memo.lead == Lead::Me && memo.limit.is_none() =>
            {
                match self.classic.leader.member(id, instance, metadata) {
                    Ok(()) => {}
                    Err(GroupError::Limit { what, .. }) => memo.limit = Some(what),
                    Err(_) => {}
                }
            }
            Some(join_group::Item::Skipped) => memo.skipped = true,
            _ => {}
        }
    }

    /// Returns who leads, by the ids of the leader and of this member.
    fn lead(&self, settings: &Settings<'_>, leader: &str, member: &str) -> Lead {
        let begins = |id: &str, with: &str| {
            id.strip_prefix(with).is_some_and(|rest| !with.is_empty() && rest.starts_with('-'))
        };
        let former = |id: &str| {
            let rest = id
                .strip_prefix(settings.instance().unwrap_or_default())
                .and_then(|id| id.strip_prefix('-'));
            // The id of another instance may begin as this one's does.
            settings.instance().is_some() && rest.is_some_and(is_uuid)
        };
        match leader {
            "" => Lead::Coordinator,
            id if id == member => Lead::Me,
            id if former(id) => Lead::Former,
            id if begins(id, &settings.client_id) || id.starts_with(OURS) => Lead::Kin,
            _ => Lead::Foreign,
        }
    }

    pub(in crate::group) fn join_done(&mut self, cx: &mut Cx<'d>, serial: u32, memo: &JoinMemo) {
        if serial != self.serial || self.classic.round != Round::Parked {
            return;
        }
        self.dirty = true;
        self.classic.round = Round::Idle;
        let leaves = self.phase == Phase::Leaving;
        if leaves && (!memo.valid || memo.error.0 != 0) {
            return;
        }
        if memo.long {
            let (what, needed) = (LimitKind::Text, 0);
            self.news.fatal = Some(GroupError::Limit { what, needed });
            return;
        }
        if memo.valid && memo.error == ErrorCode::MEMBER_ID_REQUIRED && !memo.named {
            // At once: the others wait for the id that was given.
            (self.classic.due, self.classic.retry_at) = (true, cx.now);
            return;
        }
        if memo.valid && memo.error.0 != 0 {
            if self.judge_round(cx, memo.error) {
                self.join_later(cx, Error::Broker(memo.error));
            }
            return;
        }
        let what = if memo.skipped { Some(LimitKind::ReceiveBuffer) } else { memo.limit };
        if let Some(what) = what.filter(|_| memo.lead == Lead::Me || !memo.valid) {
            self.news.fatal = Some(GroupError::Limit { what, needed: 0 });
            return;
        }
        self.begin_generation(cx, memo);
    }

    fn begin_generation(&mut self, cx: &mut Cx<'d>, memo: &JoinMemo) {
        self.news.recovered();
        self.coordinator.recovered();
        self.epoch = memo.generation;
        let classic = &mut self.classic;
        (classic.prepared, classic.syncs, classic.partial) = (false, false, 0);
        (classic.elected, classic.lead, classic.skips) = (memo.elected, memo.lead, memo.skips);
        let cooperative = classic.elected(&cx.settings).map(|(_, assignor)| assignor);
        classic.eager = cooperative != Some(Assignor::CooperativeSticky);
        classic.round = if memo.lead == Lead::Me { Round::Counting } else { Round::Syncing };
        (classic.ask_at, classic.retry_at) = (cx.now, cx.now);
        // Counts that were requested before are too old for this round.
        classic.asked = classic.asked.wrapping_add(1);
        self.beat_at = cx.now + cx.settings.classic.heartbeat_interval;
        // Another assignor than before: it may give away what this member has kept.
        let reads = self.phase == Phase::Member && self.owns_something(cx);
        let gives = self.classic.eager && reads;
        self.classic.surrenders =
            guard!("an eager assignor is given nothing that is still read", gives);
    }

    /// Handles a JoinGroup without a response: the coordinator may still hold it.
    pub(in crate::group) fn join_lost(&mut self, cx: &mut Cx<'d>, serial: u32, error: Error) {
        self.coordinator.forget(cx.now);
        self.dirty = true;
        if serial == self.serial && self.classic.round == Round::Parked {
            self.join_later(cx, error);
        }
    }
}

/// Whether a text has the form of what brokers put behind an instance id.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == UUID && text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit())
}
