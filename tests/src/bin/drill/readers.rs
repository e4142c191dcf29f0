//! Who reads: one consumer, or the members of a group.

use core::time::Duration;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::Scope;
use std::time::Instant;

use kavka_std::{Config, Consumer, Error};

use crate::options::{Group, Options};
use crate::state::{Shared, Who};
use crate::watch;

/// How often members commit.
const COMMITS: Duration = Duration::from_secs(1);
/// A member leaves the group within this time.
const LEAVE: Duration = Duration::from_secs(10);
/// How long a guest stays, and then stays away, at most.
const VISIT: Duration = Duration::from_secs(4);

/// What the threads of all readers need.
#[derive(Clone, Copy)]
pub(crate) struct Readers<'a> {
    pub(crate) options: &'a Options,
    pub(crate) topic: &'a str,
    /// The name of the group, if there is one.
    pub(crate) group: &'a str,
    pub(crate) seed: u64,
    pub(crate) shared: &'a Shared,
    pub(crate) stop: &'a AtomicBool,
}

impl<'a> Readers<'a> {
    /// Starts them, with configurations of this function, by the name of the client.
    ///
    /// # Errors
    /// As [`Consumer::subscribe`].
    pub(crate) fn start<'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        config: &'a (dyn Fn(&str) -> Config + Sync),
    ) -> Result<(), Error>
    where
        'a: 'scope,
    {
        for member in 1..=self.options.members {
            let consumer = match self.options.group {
                None => Consumer::assign_all(config("drill-consumer"), &[self.topic])?,
                Some(group) => self.join(config(&format!("drill-member-{member}")), group)?,
            };
            let events = consumer.events();
            scope.spawn(move || self.read(consumer, || false));
            scope.spawn(move || {
                watch::listen(&events, Who::Consumer, self.shared, self.stop, |_| {});
            });
        }
        if let (Some(group), true) = (self.options.group, self.options.guest) {
            scope.spawn(move || self.visit(config, group));
        }
        Ok(())
    }

    fn join(self, config: Config, group: Group) -> Result<Consumer, Error> {
        let mut config = group.apply(config.group(self.group)).auto_commit(Some(COMMITS));
        if let Some(names) = &self.options.assignors {
            config = config.group_assignors(names);
        }
        Consumer::subscribe(config, &[self.topic])
    }

    /// Reads until the end of the run, or until `over`.
    fn read(self, consumer: Consumer, over: impl Fn() -> bool) {
        let over = || over() || self.stop.load(Ordering::Acquire);
        watch::read(&consumer, self.shared, &over);
        if let Err(error) = consumer.close(LEAVE) {
            self.shared.change(|state| state.note(format!("leaving: {error}")));
        }
    }

    /// Joins and leaves, again and again.
    fn visit(self, config: &(dyn Fn(&str) -> Config + Sync), group: Group) {
        let mut rng = fastrand::Rng::with_seed(self.seed);
        let mut pause = move || VISIT.mul_f64(rng.f64());
        let over = || self.stop.load(Ordering::Acquire);
        while !over() {
            match self.join(config("drill-guest"), group) {
                Ok(consumer) => {
                    let until = Instant::now() + pause();
                    self.read(consumer, || Instant::now() >= until);
                    self.shared.change(|state| state.note("a guest came and left"));
                }
                Err(error) => self.shared.change(|state| state.note(format!("guest: {error}"))),
            }
            let until = Instant::now() + pause();
            while !over() && Instant::now() < until {
                std::thread::sleep(watch::TICK);
            }
        }
    }
}
