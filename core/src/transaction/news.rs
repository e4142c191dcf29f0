//! What is reported to the application.

use super::Transaction;
use crate::error::{Error, TransactionError};
use crate::event::{Event, Outcome};
use crate::has;
use crate::time::{Span, Tick};

/// Trouble that passes is reported once it has lasted this long.
const PASSING: Span = Span::from_millis(500);

/// News that were not reported yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct News {
    pub(super) ready: bool,
    pub(super) failed: Option<TransactionError>,
    pub(super) ended: Option<Outcome>,
    pub(super) offsets: bool,
    trouble: Option<Error>,
    troubled_since: Tick,
    reported: bool,
}

impl News {
    pub(super) const NONE: Self = Self {
        ready: false,
        failed: None,
        ended: None,
        offsets: false,
        trouble: None,
        troubled_since: Tick::ZERO,
        reported: false,
    };

    pub(super) fn age(&mut self, by: Span) {
        self.troubled_since.age(by);
    }

    /// Notes what keeps a coordinator from being of use.
    pub(super) fn note_trouble(&mut self, now: Tick, error: Error) {
        if !has::REASONS {
            return;
        }
        if self.troubled_since == Tick::ZERO {
            self.troubled_since = now;
        }
        if !self.reported && self.troubled_since + PASSING <= now {
            (self.trouble, self.reported) = (Some(error), true);
        }
    }

    /// A coordinator has responded without an error.
    pub(super) const fn recovered(&mut self) {
        (self.trouble, self.troubled_since, self.reported) = (None, Tick::ZERO, false);
    }
}

impl Transaction {
    pub(crate) const fn has_news(&self) -> bool {
        let news = &self.news;
        news.ready
            || news.offsets
            || news.failed.is_some()
            || news.ended.is_some()
            || (has::REASONS && news.trouble.is_some())
    }

    /// Returns the next event.
    pub(crate) fn poll_event(&mut self) -> Option<Event<'static>> {
        let news = &mut self.news;
        if core::mem::take(&mut news.ready) {
            return Some(Event::TransactionsReady);
        }
        if has::REASONS
            && let Some(error) = news.trouble.take()
        {
            return Some(Event::TransactionTrouble { error });
        }
        if core::mem::take(&mut news.offsets) {
            return Some(Event::OffsetsSent);
        }
        // The next one begins when this was reported.
        if let Some(outcome) = news.ended.take() {
            return Some(Event::TransactionEnded { outcome });
        }
        news.failed.take().map(|error| Event::TransactionFailed { error })
    }
}
