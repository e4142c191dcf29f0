//! What comes one after the other, as a [`Stream`](futures_core::Stream).

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;
use futures_core::stream::FusedStream;

use crate::error::{Error, ErrorKind};
use crate::pending::Slots;
use crate::wakers::Ticket;

/// Chunks of a [`Consumer`](crate::Consumer), or events of a client: a stream, returned by
/// [`Consumer::stream`](crate::Consumer::stream) or [`Events::stream`](crate::Events::stream).
/// It belongs to no thread and borrows nothing.
///
/// Errors are items, and more items follow; the stream ends when the client is closed, or behind
/// the error that ended it. It is fused.
///
/// # Cancel safety
/// Dropping it loses nothing: what it has not returned waits for the next taker.
#[must_use = "streams do nothing unless polled"]
pub struct Items<T> {
    /// `None` at the end.
    from: Option<Arc<dyn Slots<T>>>,
    ticket: Option<Ticket>,
}

impl<T> Items<T> {
    pub(crate) fn new(from: Arc<dyn Slots<T>>) -> Self {
        Self { from: Some(from), ticket: None }
    }
}

impl<T> Stream for Items<T> {
    type Item = Result<T, Error>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        let Some(from) = &this.from else { return Poll::Ready(None) };
        let Poll::Ready(item) = from.poll(0, &mut this.ticket, cx.waker()) else {
            return Poll::Pending;
        };
        let Err(error) = item else { return Poll::Ready(Some(item)) };
        if from.is_over() {
            this.from = None;
            if error.kind() == ErrorKind::Closed {
                return Poll::Ready(None);
            }
        }
        Poll::Ready(Some(Err(error)))
    }
}

impl<T> FusedStream for Items<T> {
    fn is_terminated(&self) -> bool {
        self.from.is_none()
    }
}

impl<T> Drop for Items<T> {
    fn drop(&mut self) {
        if self.ticket.is_some()
            && let Some(from) = &self.from
        {
            from.leave(0, &mut self.ticket);
        }
    }
}

impl<T> fmt::Debug for Items<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").finish_non_exhaustive()
    }
}
