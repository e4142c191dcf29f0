//! The background thread's part in a group: commits, revocations, the end.

use std::collections::BTreeMap;
use std::sync::Arc;

use kavka_core::{
    Commands, CommitId, Duration, Event as CoreEvent, GroupError, Instant, PartitionId,
};

use super::chunk::Commit;
use super::membership::{MemberId, Revoking};
use super::run::Run;
use crate::driver::{Driver, Failure};
use crate::error::{Error, ErrorKind};
use crate::event::{Event, located};
use crate::pending::Setter;

impl Run<'_> {
    /// Joins the group.
    pub(super) fn join(
        &mut self,
        driver: &mut Driver<'_>,
        now: Instant,
        topics: Vec<Arc<str>>,
    ) -> Result<(), Error> {
        let mut ids = Vec::with_capacity(topics.len());
        driver.set_wall_clock(now, crate::worker::wall_clock());
        for name in &topics {
            let id = driver.topic(name);
            ids.push(id.map_err(|error| Error::from(error).doing(format!("read {name}")))?);
        }
        let start = self.config.start;
        let joined = driver.subscribe(now, &ids, start);
        joined.map_err(|error| Error::from(error).doing("join the group"))?;
        self.member.group = Some(self.config.group.as_str().into());
        self.shared.group(self.config.auto_commit.is_some());
        Ok(())
    }

    /// Joins the group once the first list of topics is there.
    #[cfg(feature = "pattern")]
    pub(super) fn join_by_pattern(
        &mut self,
        driver: &mut Driver<'_>,
        now: Instant,
        topics: Box<crate::PatternTopics>,
    ) -> Result<(), Error> {
        driver.set_wall_clock(now, crate::worker::wall_clock());
        if self.config.group.is_empty() {
            let error = Error::from(kavka_core::Error::Caller(kavka_core::Misuse::NoGroup));
            return Err(error.doing("join the group"));
        }
        self.member.pattern = Some(topics);
        self.member.group = Some(self.config.group.as_str().into());
        self.shared.group(self.config.auto_commit.is_some());
        Ok(())
    }

    /// Looks for topics of a subscription by pattern when that is due.
    #[cfg(feature = "pattern")]
    pub(super) fn find_topics(&mut self, driver: &mut Driver<'_>) {
        let now = driver.now();
        let Some(topics) = self.member.pattern.as_mut().filter(|_| !self.member.left) else {
            return;
        };
        if let Err(error) = topics.drive(now, driver) {
            self.shared.push(Err(self.reading(error.into())));
        }
    }

    /// Takes an event about topics of a subscription by pattern; `true`: it is no other's.
    #[cfg(feature = "pattern")]
    pub(super) fn topics_event(
        &mut self,
        now: Instant,
        event: &CoreEvent<'_>,
        commands: &mut Commands<'_>,
    ) -> bool {
        let Some(topics) = &mut self.member.pattern else { return false };
        let name = |topic, commands: &Commands<'_>| commands.topic_name(topic).map(Arc::from);
        let report = match *event {
            CoreEvent::TopicJoined { topic } => {
                name(topic, commands).map(|topic| Event::TopicJoined { topic })
            }
            CoreEvent::TopicLeft { topic } => {
                name(topic, commands).map(|topic| Event::TopicLeft { topic })
            }
            _ => None,
        };
        let of_list = topics.handle_event(now, event, commands);
        let reported = report.is_some();
        self.shared.hub.report(|| report);
        if of_list
            && !matches!(event, CoreEvent::Reply { reply: kavka_core::Reply::Done(Err(_)), .. })
        {
            self.heard();
        }
        of_list || reported || matches!(event, CoreEvent::FindTopics)
    }

    fn group_error(&self, error: GroupError) -> Error {
        let group = self.member.group.as_deref().unwrap_or_default();
        #[cfg(feature = "pattern")]
        if error == GroupError::Refused(kavka_core::wire::ErrorCode::INVALID_REGULAR_EXPRESSION) {
            let pattern = &self.config.group_pattern;
            let doing = format!("group {group}, topics that match {pattern}");
            return Error::from(ErrorKind::Group(error)).doing(doing);
        }
        Error::from(ErrorKind::Group(error)).doing(format!("group {group}"))
    }

    /// Reports to the machine what the application has processed.
    pub(super) fn mark(&mut self, driver: &mut Driver<'_>) {
        if self.member.group.is_none() {
            return;
        }
        for (topic, index, offset, epoch) in self.shared.take_marks() {
            if let Some(id) = self.ids.get(&(topic, index)) {
                driver.mark_taken(*id, offset, epoch);
            }
        }
        self.give_up(driver);
    }

    /// Commits offsets of the application.
    pub(super) fn commit(&mut self, driver: &mut Driver<'_>, list: Vec<Commit>, done: Setter<()>) {
        let now = driver.now();
        if self.member.group.is_none() {
            return done.set(Err(self.group_error(GroupError::NoMember)));
        }
        let (mut result, empty) = (Err(GroupError::NoMember), list.is_empty());
        for Commit { topic, partition, offset, epoch, text } in list {
            let Some(id) = self.ids.get(&(topic, partition)) else { continue };
            match driver.commit_offset(now, *id, (offset, epoch), &text) {
                Ok(id) => result = Ok(id),
                // Others of the chunk may be ours still.
                Err(GroupError::NoMember | GroupError::Caller(_)) => {}
                Err(error) => return done.set(Err(self.group_error(error))),
            }
        }
        match result {
            Ok(id) => self.member.commits.entry(id).or_default().push(done),
            Err(_) if empty => done.set(Ok(())),
            Err(error) => done.set(Err(self.group_error(error))),
        }
    }

    /// Gives a partition up that is being revoked.
    pub(super) fn release(&mut self, topic: &str, index: u32, done: Setter<()>) {
        let mut revoking = self.member.revoking.iter_mut();
        let found = revoking.find(|one| &*one.topic == topic && one.index == index);
        done.set(match found {
            Some(one) => {
                one.until = Instant::ZERO;
                Ok(())
            }
            None => Err(self.group_error(GroupError::NoMember)),
        });
    }

    pub(super) fn committed(
        &self,
        driver: &Driver<'_>,
        topic: Arc<str>,
        index: u32,
    ) -> Option<i64> {
        driver.committed(*self.ids.get(&(topic, index))?)
    }

    pub(super) fn membership(&self, driver: &Driver<'_>) -> Option<MemberId> {
        let (member, generation) = driver.membership()?;
        let instance = &self.config.group_instance;
        Some(MemberId {
            group: self.config.group.clone(),
            member: member.to_owned(),
            generation,
            instance: Some(instance.clone()).filter(|id| !id.is_empty()),
            losses: self.member.losses,
            marks: self.marks(driver),
        })
    }

    /// Returns what commits begin with, by topic.
    fn marks(&self, driver: &Driver<'_>) -> Vec<(String, String)> {
        let mut marks = BTreeMap::new();
        for ((topic, _), at) in &self.ids {
            if !marks.contains_key(topic)
                && let Some(mark) = driver.commit_mark(*at)
            {
                marks.insert(topic, mark.as_str().to_owned());
            }
        }
        marks.into_iter().map(|(topic, mark)| (topic.to_string(), mark)).collect()
    }

    /// Leaves the group; the caller waits for that.
    pub(super) fn leave(&mut self, driver: &mut Driver<'_>, limit: Duration, done: Setter<()>) {
        if self.member.group.is_none() || self.member.left {
            return done.set(Ok(()));
        }
        if !self.has_subscribed() {
            self.member.left = true;
            return done.set(Ok(()));
        }
        self.shared.confirm();
        self.mark(driver);
        let now = driver.now();
        driver.unsubscribe(now, limit);
        self.member.leaving = Some(done);
    }

    /// Whether the machine knows of the group: by pattern only after the first list of topics.
    fn has_subscribed(&self) -> bool {
        #[cfg(feature = "pattern")]
        if let Some(topics) = &self.member.pattern {
            return topics.is_subscribed();
        }
        true
    }

    /// Leaves the group before the thread ends.
    pub(super) fn leave_at_last(&mut self, driver: &mut Driver<'_>) {
        if self.member.group.is_none() || self.member.left || !self.has_subscribed() {
            return;
        }
        self.mark(driver);
        let limit = self.config.close_timeout;
        let until = driver.now() + limit;
        let now = driver.now();
        driver.unsubscribe(now, limit);
        while !self.member.left && driver.now() < until {
            if driver.turn(Some(driver.now().until(until))).is_err() {
                return;
            }
            while let Some((event, _)) = driver.poll_news() {
                self.member.left |= matches!(event, CoreEvent::GroupLeft);
            }
        }
    }

    /// Gives up what the application is done with, or took too long for.
    fn give_up(&mut self, driver: &mut Driver<'_>) {
        let now = driver.now();
        for one in core::mem::take(&mut self.member.revoking) {
            let committed = driver.committed(one.at);
            let done = self.shared.is_done(&one.topic, one.index, committed);
            if !done && one.until > now {
                self.member.revoking.push(one);
                continue;
            }
            driver.release(now, one.at);
            match done || one.until == Instant::ZERO {
                true => self.forget(one.at, &one.topic, one.index),
                false => self.lose(one.at, &one.topic, one.index),
            }
        }
        self.shared.set_revoking(!self.member.revoking.is_empty());
    }

    /// Others may read a partition that the application has not given up.
    pub(super) fn lose(&mut self, at: PartitionId, topic: &Arc<str>, index: u32) {
        self.member.losses += 1;
        self.forget(at, topic, index);
        self.shared.hub.report(|| Some(Event::Lost { topic: topic.clone(), partition: index }));
    }

    pub(super) fn forget(&mut self, at: PartitionId, topic: &Arc<str>, index: u32) {
        self.partitions.remove(&at);
        self.ids.remove(&(topic.clone(), index));
        self.shared.forget(topic, index);
    }

    /// Returns when something of the group is due besides what the machine knows.
    pub(super) fn group_due(&self) -> Option<Instant> {
        let revoked = self.member.revoking.iter().map(|one| one.until).min();
        #[cfg(feature = "pattern")]
        let revoked = {
            let listed = self.member.pattern.as_ref().and_then(|topics| topics.due());
            Instant::earliest(revoked, listed.filter(|_| !self.member.left))
        };
        Instant::earliest(revoked, self.away_at())
    }

    /// Handles an event of the group; false: it is none.
    pub(super) fn group_event(
        &mut self,
        now: Instant,
        event: &CoreEvent<'_>,
        commands: &mut Commands<'_>,
        failure: Option<&Failure>,
    ) -> bool {
        match *event {
            CoreEvent::Revoking { at, .. } => {
                let Some(known) = self.partitions.get(&at) else { return true };
                let (topic, index) = (known.topic.clone(), known.index);
                commands.keep(at);
                self.give();
                self.shared.revoke(&topic, index);
                let wait = match self.config.auto_commit {
                    Some(_) => self.config.rebalance_timeout,
                    None => self.config.revocation_wait,
                };
                let until = now + wait;
                self.shared.hub.report(|| {
                    let topic = topic.clone();
                    Some(Event::Revoking { topic, partition: index })
                });
                self.member.revoking.push(Revoking { at, topic, index, until });
                self.shared.set_revoking(true);
            }
            CoreEvent::Lost { at, .. } => {
                let Some(known) = self.partitions.get(&at) else { return true };
                let (topic, index) = (known.topic.clone(), known.index);
                self.member.revoking.retain(|one| one.at != at);
                self.lose(at, &topic, index);
            }
            CoreEvent::Committed { id, result } => self.on_committed(id, result, commands),
            CoreEvent::GroupStable { partitions, .. } => {
                self.shared.hub.report(|| Some(Event::Rebalanced { partitions }));
            }
            CoreEvent::Unassigned { .. } => self.report_unassigned(event, commands),
            CoreEvent::GroupTrouble { error } => {
                let group = self.member.group.clone().unwrap_or_default();
                self.shared.hub.report(|| {
                    let error = located(error, commands, failure);
                    let error = error.doing(format!("coordinator of group {group}"));
                    Some(Event::GroupTrouble { error })
                });
            }
            CoreEvent::GroupFailed { error } => {
                self.give();
                let error = self.group_error(error);
                if let Some(done) = self.member.leaving.take() {
                    done.set(Err(error.clone()));
                }
                self.member.left = true;
                self.shared.push(Err(error));
            }
            CoreEvent::GroupLeft => {
                self.member.left = true;
                if self.member.polls.left {
                    self.lose_all();
                }
                if let Some(done) = self.member.leaving.take() {
                    done.set(self.member.failed.take().map_or(Ok(()), Err));
                }
            }
            _ => return false,
        }
        true
    }

    /// Reports partitions that are no member's.
    fn report_unassigned(&self, event: &CoreEvent<'_>, commands: &Commands<'_>) {
        let CoreEvent::Unassigned { topic, first, last, partitions } = *event else { return };
        let leader: Arc<str> = commands.group_leader().unwrap_or_default().into();
        self.shared.hub.report(|| {
            let topic = commands.topic_name(topic)?.into();
            Some(Event::Unassigned { topic, first, last, partitions, leader })
        });
    }

    fn on_committed(
        &mut self,
        id: CommitId,
        result: Result<(), GroupError>,
        commands: &Commands<'_>,
    ) {
        let result = result.map_err(|why| {
            let error = self.group_error(why);
            match why {
                GroupError::Commit { partition, .. } => {
                    let topic = commands.topic_name(partition.topic).unwrap_or_default();
                    error.reading(&topic.into(), partition.partition)
                }
                _ => error,
            }
        });
        self.member.failed = result.clone().err();
        let waiters = self.member.commits.remove(&id).unwrap_or_default();
        if let (Err(error), true) = (&result, waiters.is_empty()) {
            self.shared.hub.report(|| Some(Event::CommitFailed { error: error.clone() }));
        }
        for done in waiters {
            done.set(result.clone());
        }
    }
}
