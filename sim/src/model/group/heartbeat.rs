//! ConsumerGroupHeartbeat (`GroupMetadataManager.consumerGroupHeartbeat`).

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, ResponseKind,
};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::member::Member;
use super::{Group, Place, pattern};
use crate::code;
use crate::image::TopicRef;
use crate::model::{Cluster, Ctx, Event, Reply};

/// The epoch of a static member that will be back.
const LEAVE_FOR_NOW: i32 = -2;

impl Cluster {
    pub(in crate::model) fn group_heartbeat(
        &mut self,
        ctx: &Ctx,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Reply {
        let mut body =
            ConsumerGroupHeartbeatResponse::default().with_throttle_time_ms(ctx.throttle());
        let group = request.group_id.0.clone();
        let available = match self.behaviour().native {
            true => Ok(()),
            false => Err(code::UNSUPPORTED_VERSION),
        };
        let done = available.and_then(|()| self.coordinates(ctx, &group));
        let done = done.and_then(|()| self.beat(ctx, &group, request));
        match done {
            Ok((id, epoch, assignment)) => {
                (body.member_id, body.member_epoch) = (Some(id), epoch);
                let interval = self.behaviour().interval.as_millis();
                body.heartbeat_interval_ms = i32::try_from(interval).unwrap_or(i32::MAX);
                body.assignment = assignment;
            }
            Err(code) => body.error_code = code,
        }
        body.error_code = ctx.reported(body.error_code);
        Reply::Now(ctx.respond(ResponseKind::ConsumerGroupHeartbeat(body)))
    }

    /// Returns the member's id, its epoch, and its assignment where that is news.
    fn beat(
        &mut self,
        ctx: &Ctx,
        name: &StrBytes,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<(StrBytes, i32, Option<Assignment>), i16> {
        check(request)?;
        let (id, epoch) = (request.member_id.clone(), request.member_epoch);
        let now = self.now;
        if epoch < 0 {
            return self.depart(name, request).map(|()| (id, epoch, None));
        }
        let owned = request.topic_partitions.as_ref().map(|list| {
            let places = list.iter().flat_map(|topic| {
                topic.partitions.iter().map(move |index| (topic.topic_id, *index))
            });
            places.collect::<BTreeSet<Place>>()
        });
        self.reach(ctx, name, epoch == 0)?;
        let group = self.groups.entry(name.clone()).or_default();
        group.server = group.server.or(Some((ctx.broker, now)));
        group.admit(request, owned.as_ref())?;
        if let Some(member) = group.members.get_mut(&id) {
            if request.rebalance_timeout_ms >= 0 {
                let millis = request.rebalance_timeout_ms.unsigned_abs();
                member.rebalance_timeout = Duration::from_millis(millis.into());
            }
            if let Some(names) = &request.subscribed_topic_names {
                let names: BTreeSet<StrBytes> = names.iter().map(|name| name.0.clone()).collect();
                if member.names != names {
                    member.names = names;
                    group.epoch += 1;
                }
            }
            if let Some(expression) = &request.subscribed_topic_regex
                && member.expression != *expression
            {
                member.expression = expression.clone();
                group.epoch += 1;
            }
        }
        self.recount(ctx.broker, name);
        let session = self.behaviour().session;
        let Some(group) = self.groups.get_mut(name) else { return Err(code::UNKNOWN_SERVER_ERROR) };
        if group.target_epoch < group.epoch {
            group.assign();
        }
        let before = group.members.get(&id).map(|member| member.assigned.clone());
        group.reconcile(&id, owned.as_ref(), now);
        let Some(member) = group.members.get_mut(&id) else { return Err(code::UNKNOWN_MEMBER_ID) };
        member.session_until = now + session;
        let full = request.rebalance_timeout_ms >= 0
            && (request.subscribed_topic_names.is_some()
                || request.subscribed_topic_regex.is_some())
            && request.topic_partitions.is_some();
        let is_news = epoch == 0 || full || before.as_ref() != Some(&member.assigned);
        let assignment = is_news.then(|| assignment(&member.assigned));
        let (epoch, ends) = (member.epoch, member.ends());
        if member.watched <= now || ends < member.watched {
            member.watched = ends;
            self.schedule(ends, Event::Member { group: name.clone(), id: id.clone() });
        }
        Ok((id, epoch, assignment))
    }

    /// Whether there is a group of KIP-848; `joins`: a classic one is converted.
    fn reach(&mut self, ctx: &Ctx, name: &StrBytes, joins: bool) -> Result<(), i16> {
        let group = self.groups.get(name);
        let classic = group.is_some_and(|group| group.classic.is_used());
        if !joins && (group.is_none() || classic) {
            return Err(code::GROUP_ID_NOT_FOUND);
        }
        if classic { self.convert(ctx, name) } else { Ok(()) }
    }

    /// Raises a group's epoch where its topics are not as they were, as far as the coordinator
    /// knows.
    pub(super) fn recount(&mut self, broker: i32, name: &StrBytes) {
        let (view, now) = (self.view(broker).clone(), self.now);
        let pause = self.behaviour().find_pause;
        let Some(group) = self.groups.get_mut(name) else { return };
        group.find_topics(&view, now, pause);
        let names = group.members.values().flat_map(|member| group.names_of(member));
        let counts: BTreeMap<StrBytes, (Uuid, usize)> = names
            .filter_map(|name| {
                let topic = view.topic(&TopicRef::Name(name.clone()))?;
                Some((name, (topic.id, topic.partitions.len())))
            })
            .collect();
        if group.counts != counts {
            group.counts = counts;
            group.epoch += 1;
        }
    }

    fn depart(
        &mut self,
        name: &StrBytes,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<(), i16> {
        let id = &request.member_id;
        let group = self.groups.get_mut(name).ok_or(code::GROUP_ID_NOT_FOUND)?;
        let member = group.members.get_mut(id).ok_or(code::UNKNOWN_MEMBER_ID)?;
        if request.member_epoch == LEAVE_FOR_NOW && member.instance.is_some() {
            member.epoch = LEAVE_FOR_NOW;
            return Ok(());
        }
        self.remove_member(name, id);
        Ok(())
    }
}

fn check(request: &ConsumerGroupHeartbeatRequest) -> Result<(), i16> {
    let empty = |text: &Option<StrBytes>| text.as_ref().is_some_and(|text| text.is_empty());
    let joins = request.member_epoch == 0;
    let owns = request.topic_partitions.as_ref();
    let expression = request.subscribed_topic_regex.as_ref().filter(|text| !text.is_empty());
    let named = request.subscribed_topic_names.as_ref().is_some_and(|list| !list.is_empty());
    let subscribes = named || expression.is_some();
    let wrong = request.member_id.is_empty()
        || empty(&request.instance_id)
        || empty(&request.rack_id)
        || request.member_epoch < LEAVE_FOR_NOW
        || request.member_epoch == LEAVE_FOR_NOW && request.instance_id.is_none()
        || joins && request.rebalance_timeout_ms < 0
        || joins && !owns.is_some_and(Vec::is_empty)
        || joins && !subscribes;
    if wrong {
        return Err(code::INVALID_REQUEST);
    }
    if expression.is_some_and(|text| pattern::whole(text).is_none()) {
        return Err(code::INVALID_REGULAR_EXPRESSION);
    }
    match request.server_assignor.as_deref() {
        None | Some("uniform" | "range") => Ok(()),
        Some(_) => Err(code::UNSUPPORTED_ASSIGNOR),
    }
}

impl Group {
    /// Finds the member of a request, or takes it in.
    fn admit(
        &mut self,
        request: &ConsumerGroupHeartbeatRequest,
        owned: Option<&BTreeSet<Place>>,
    ) -> Result<(), i16> {
        let (id, epoch) = (&request.member_id, request.member_epoch);
        if let Some(member) = self.members.get(id) {
            if request.instance_id != member.instance {
                return Err(code::FENCED_INSTANCE_ID);
            }
            return match epoch == 0 || member.knows(epoch, owned) {
                true => Ok(()),
                false => Err(code::FENCED_MEMBER_EPOCH),
            };
        }
        let holder = self.members.iter().find(|(_, member)| {
            request.instance_id.is_some() && member.instance == request.instance_id
        });
        if epoch > 0 {
            return Err(match holder {
                Some(_) => code::FENCED_INSTANCE_ID,
                None => code::UNKNOWN_MEMBER_ID,
            });
        }
        let mut member = Member { instance: request.instance_id.clone(), ..Member::default() };
        match holder.map(|(id, holder)| (id.clone(), holder.clone())) {
            Some((_, holder)) if holder.epoch != LEAVE_FOR_NOW => {
                return Err(code::UNRELEASED_INSTANCE_ID);
            }
            // It inherits what the instance had.
            Some((old, holder)) => {
                self.rename(&old, id);
                member = Member { epoch: 0, previous: 0, watched: Duration::ZERO, ..holder };
            }
            None => self.epoch += 1,
        }
        self.members.insert(id.clone(), member);
        Ok(())
    }

    /// Removes a member, and leaves what it has to the one that takes its place.
    pub(super) fn rename(&mut self, old: &StrBytes, id: &StrBytes) {
        self.members.remove(old);
        for owner in self.owners.values_mut().filter(|owner| **owner == *old) {
            *owner = id.clone();
        }
        if let Some(target) = self.target.remove(old) {
            self.target.insert(id.clone(), target);
        }
    }
}

fn assignment(places: &BTreeSet<Place>) -> Assignment {
    let mut topics: BTreeMap<Uuid, Vec<i32>> = BTreeMap::new();
    for (id, index) in places {
        topics.entry(*id).or_default().push(*index);
    }
    let topics = topics.into_iter().map(|(id, partitions)| {
        TopicPartitions::default().with_topic_id(id).with_partitions(partitions)
    });
    Assignment::default().with_topic_partitions(topics.collect())
}
