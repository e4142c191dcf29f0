//! A member whose application takes nothing for too long makes room for others: it leaves the
//! group, and joins again when the application comes back.

use std::time::Duration;

use kavka_core::Instant;

use super::run::Run;
use crate::driver::Driver;
use crate::error::{Error, ErrorKind};

/// The coordinator has this long to let the member go.
const LEAVE: Duration = Duration::from_secs(10);

impl Run<'_> {
    /// Leaves the group if the application was away for too long, and joins it again when it is
    /// back.
    pub(super) fn check_polls(&mut self, driver: &mut Driver<'_>) -> Result<(), Error> {
        if self.member.group.is_none() || self.member.leaving.is_some() {
            return Ok(());
        }
        let (now, count) = (driver.now(), self.shared.polls());
        let polls = &mut self.member.polls;
        if count.is_none() || count != polls.count || polls.since.is_none() {
            (polls.count, polls.since) = (count, Some(now));
            if polls.left && self.member.left {
                (polls.left, self.member.left) = (false, false);
                #[cfg(feature = "pattern")]
                if let Some(topics) = &mut self.member.pattern {
                    return Ok(topics.rejoin(now, driver)?);
                }
                return self.join(driver, now, self.wanted.clone());
            }
        }
        // Who has not joined yet holds nothing.
        #[cfg(feature = "pattern")]
        if self.member.pattern.as_ref().is_some_and(|topics| !topics.is_subscribed()) {
            return Ok(());
        }
        let away = polls.since.is_some_and(|since| since + self.config.max_poll_interval <= now);
        if away && !polls.left && !self.member.left {
            polls.left = true;
            self.give();
            let gone: Vec<_> =
                self.partitions.values().map(|p| (p.topic.clone(), p.index)).collect();
            for (topic, index) in &gone {
                self.shared.revoke(topic, *index);
            }
            driver.unsubscribe(now, LEAVE);
            let limit = self.config.max_poll_interval;
            let group = self.member.group.as_deref().unwrap_or_default();
            let error =
                Error::from(ErrorKind::PollTimeout { limit }).doing(format!("group {group}"));
            self.shared.push(Err(error));
            self.shared.await_poll();
        }
        Ok(())
    }

    /// The member has left: what it had is another's.
    pub(super) fn lose_all(&mut self) {
        self.member.revoking.clear();
        self.shared.set_revoking(false);
        for (at, topic, index) in self
            .partitions
            .iter()
            .map(|(at, partition)| (*at, partition.topic.clone(), partition.index))
            .collect::<Vec<_>>()
        {
            self.lose(at, &topic, index);
        }
    }

    /// Returns when the application will have been away for too long.
    pub(super) fn away_at(&self) -> Option<Instant> {
        let polls = &self.member.polls;
        let member = &self.member;
        let joined = member.group.is_some() && member.leaving.is_none() && !member.left;
        let since = polls.since.filter(|_| joined && !polls.left)?;
        Some(since + self.config.max_poll_interval)
    }
}
