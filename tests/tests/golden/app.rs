//! The application of the scenarios.

use core::ops::{Deref, DerefMut};
use core::time::Duration;

use kavka_core::{Commands, Event, Instant};
use kavka_tests::sim::{App, Journal};

/// A [`Journal`] that is busy or full for a while, on demand.
#[derive(Default)]
pub(crate) struct Moody {
    journal: Journal,
    /// Until then it polls nothing.
    pub(crate) busy_until: Duration,
    /// Until then it takes no records.
    pub(crate) full_until: Duration,
    /// Whether it holds every batch instead of reading it.
    pub(crate) holds: bool,
    now: Instant,
}

impl Deref for Moody {
    type Target = Journal;

    fn deref(&self) -> &Journal {
        &self.journal
    }
}

impl DerefMut for Moody {
    fn deref_mut(&mut self) -> &mut Journal {
        &mut self.journal
    }
}

fn instant(at: Duration) -> Instant {
    Instant::ZERO + at
}

impl App for Moody {
    fn on_event(&mut self, now: Instant, event: Event<'_>, commands: &mut Commands<'static>) {
        match &event {
            Event::Records(batch) if self.holds => {
                commands.hold(batch.partition(), batch.position());
            }
            Event::Records(batch) if batch.header().codec() != 0 => {
                commands.park(batch.partition(), batch.position());
            }
            _ => self.journal.on_event(now, event, commands),
        }
    }

    fn on_idle(&mut self, now: Instant, commands: &mut Commands<'static>) {
        self.now = now;
        self.journal.on_idle(now, commands);
    }

    fn wake_at(&self) -> Option<Instant> {
        let next = [self.busy_until, self.full_until].map(instant).into_iter();
        next.filter(|at| *at > self.now).min()
    }

    fn is_busy(&self, now: Instant) -> bool {
        now < instant(self.busy_until)
    }

    fn is_full(&self, now: Instant) -> bool {
        now < instant(self.full_until)
    }
}
