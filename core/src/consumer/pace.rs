//! How soon a Fetch follows the last one: brokers are allowed to wait for records, and those that
//! respond at once with nothing new must not be sent one request after the other.

#[cfg(not(feature = "pace"))]
pub(crate) use off::Pace;
#[cfg(feature = "pace")]
pub(crate) use on::Pace;

#[cfg(feature = "pace")]
mod on {
    use super::super::{Answered, Consumer, FetchMemo, Trouble};
    use crate::cluster::Cx;
    use crate::error::{Error, Obstacle, PeerFault};
    use crate::has::PACE;
    use crate::memory::{Rng, backoff};
    use crate::time::{Span, Tick};
    use crate::wire::ApiKey;

    /// What counts as the wait where the configuration allows none.
    const NO_WAIT: Span = Span::from_millis(20);
    /// The first pause, which doubles up to the wait that was allowed, or to the longest.
    const FIRST: Span = Span::from_millis(5);
    const LONGEST: Span = Span::from_millis(500);
    /// After so many responses in a row, a third of a second, the broker is at fault.
    const MANY: u8 = 8;
    /// If it was allowed to wait for this long.
    const PATIENT: Span = Span::from_millis(100);

    /// When the next Fetch to a broker may follow.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Pace {
        /// When the last one was sent, and how long the broker was allowed to wait.
        sent: Tick,
        wait: Span,
        /// No Fetch before this, unless it says something new.
        until: Tick,
        /// Responses in a row that came at once and changed nothing.
        vain: u8,
        /// This was reported, and the broker has not waited since.
        reported: bool,
        /// The next response has to name partitions that are new in its session.
        owes: bool,
        /// Of some partition it has no records, though there are some below its high watermark.
        starves: bool,
    }

    impl Pace {
        pub(in crate::consumer) const NONE: Self = Self {
            sent: Tick::ZERO,
            wait: Span::ZERO,
            until: Tick::ZERO,
            vain: 0,
            reported: false,
            owes: false,
            starves: false,
        };

        pub(in crate::consumer) fn age(&mut self, by: Span) {
            self.sent.age(by);
            self.until.age(by);
        }

        pub(in crate::consumer) const fn sent(&mut self, now: Tick, wait: Span) {
            (self.sent, self.wait) = (now, wait);
        }

        /// Notes a request that names partitions which are new in its session.
        pub(in crate::consumer) const fn owe(&mut self) {
            self.owes = true;
        }

        /// Notes a partition without records, though there are some.
        pub(in crate::consumer) const fn starve(&mut self) {
            self.starves = true;
        }

        /// Notes a response that changed nothing. Returns whether the broker is to be reported.
        fn note_vain(&mut self, rng: &mut Rng, now: Tick) -> bool {
            let wait = if self.wait == Span::ZERO { NO_WAIT } else { self.wait };
            if self.sent.until(now).times(4) >= wait {
                self.reported = false;
                self.note_useful();
                return false;
            }
            self.vain = self.vain.saturating_add(1);
            // One such response may have its reason, as a session that the broker gave up.
            if let Some(more) = self.vain.checked_sub(2) {
                self.until = backoff(rng, self.sent, FIRST, wait.min(LONGEST), more);
            }
            let news = self.vain >= MANY && self.wait >= PATIENT && !self.reported;
            self.reported |= news;
            news
        }

        const fn note_useful(&mut self) {
            (self.vain, self.until) = (0, Tick::ZERO);
        }
    }

    impl<'d> Consumer<'d> {
        /// Returns when a broker may be sent the next Fetch.
        pub(in crate::consumer) fn next_fetch(&self, desk: usize) -> Tick {
            if !PACE {
                return Tick::ZERO;
            }
            let at = &self.desks[desk];
            let waits = guard!("what moves nothing is not repeated at once", at.sends.is_empty());
            if waits { at.pace.until } else { Tick::ZERO }
        }

        /// Handles the end of a Fetch response.
        #[inline(never)]
        pub(in crate::consumer) fn on_fetched(
            &mut self,
            cx: &mut Cx<'d>,
            (conn, desk): (usize, usize),
            memo: &FetchMemo,
        ) {
            if !PACE {
                return;
            }
            let at = &mut self.desks[desk];
            if at.serial != memo.serial {
                return;
            }
            if memo.refused {
                // A session that the broker gave up begins again at once, others back off.
                at.pace.until = Tick::ZERO;
                return;
            }
            let other = !at.sends.is_empty() || !at.forgets.is_empty() || at.quiet.is_empty();
            let throttled = cx.net.conns[conn].throttled_until > cx.now;
            let owes = !memo.void && !memo.skipped && core::mem::take(&mut at.pace.owes);
            let mut news = false;
            if memo.useful || other || throttled {
                at.pace.note_useful();
            } else {
                news = at.pace.note_vain(&mut cx.rng, cx.now);
            }
            let starved = at.pace.starves;
            let missed = (owes || starved) && self.miss(cx, desk, (owes, memo));
            // What it lacks says more.
            if news
                && !missed
                && !starved
                && let Some(part) = self.desks[desk].quiet.first().get()
            {
                let broker = cx.net.conns[conn].peer.node();
                let fault = PeerFault::NotHeld;
                let error = Error::Blocked(Obstacle::Peer { broker, fault });
                self.reads[part].trouble = Some(Trouble::Failed(error));
                self.report(part);
            }
        }

        /// Backs off from partitions that a response should have had more of. Returns whether there
        /// are any.
        fn miss(&mut self, cx: &mut Cx<'d>, desk: usize, (owes, memo): (bool, &FetchMemo)) -> bool {
            let mut missed = false;
            self.desks[desk].pace.starves = false;
            let mut link = self.desks[desk].quiet.first();
            while let Some(part) = link.get() {
                link = self.by_work.next(part);
                let read = &self.reads[part];
                let fault = match read.answered.or(Answered::Fully) {
                    Answered::Nothing if owes => {
                        // The session may lack it.
                        self.desks[desk].restarts =
                            guard!("a session that lacks something ends", true);
                        PeerFault::LeftOut(ApiKey::FETCH)
                    }
                    Answered::Less(left) => {
                        self.desks[desk].pace.starves = true;
                        // Those of other partitions may have used up the limit.
                        if memo.brought {
                            continue;
                        }
                        PeerFault::NoRecords { left }
                    }
                    _ => continue,
                };
                if guard!("what a response lacks is missed", self.is_current(part, memo.serial)) {
                    self.at_fault(cx, part, fault);
                    missed = true;
                }
            }
            missed
        }
    }
}

#[cfg(not(feature = "pace"))]
mod off {
    use super::super::{Consumer, FetchMemo};
    use crate::cluster::Cx;
    use crate::time::{Span, Tick};

    /// Stands for the pace in builds where brokers decide it.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Pace;

    #[expect(clippy::unused_self, reason = "as with the feature")]
    impl Pace {
        pub(in crate::consumer) const NONE: Self = Self;

        pub(in crate::consumer) const fn age(&mut self, _: Span) {}
        pub(in crate::consumer) const fn sent(&mut self, _: Tick, _: Span) {}
        pub(in crate::consumer) const fn owe(&mut self) {}
        pub(in crate::consumer) const fn starve(&mut self) {}
    }

    #[expect(clippy::unused_self, reason = "as with the feature")]
    impl<'d> Consumer<'d> {
        pub(in crate::consumer) const fn next_fetch(&self, _: usize) -> Tick {
            Tick::ZERO
        }

        pub(in crate::consumer) const fn on_fetched(
            &mut self,
            _: &mut Cx<'d>,
            _: (usize, usize),
            _: &FetchMemo,
        ) {
        }
    }
}
