//! A queue from the background thread to the application, with results as [`Pending`].

use std::collections::VecDeque;
use std::sync::Mutex;
use std::task::{Poll, Waker};

use crate::error::Error;
use crate::pending::{Slots, lock};
use crate::wakers::{Ticket, Wakers};

/// Many items, in order; each goes to one taker.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
}

pub(crate) struct State<T> {
    pub(crate) items: VecDeque<T>,
    wakers: Wakers,
    closed: Option<Error>,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        let state = State { items: VecDeque::new(), wakers: Wakers::default(), closed: None };
        Self { state: Mutex::new(state) }
    }

    /// Adds items by `fill`, and wakes the waiters.
    pub(crate) fn push_with(&self, fill: impl FnOnce(&mut VecDeque<T>)) {
        let mut state = lock(&self.state);
        fill(&mut state.items);
        let woken = state.wakers.take();
        drop(state);
        woken.wake();
    }

    /// Closes the queue: its items can still be taken, then `error`.
    pub(crate) fn close(&self, error: Error) {
        let mut state = lock(&self.state);
        state.closed.get_or_insert(error);
        let woken = state.wakers.take();
        drop(state);
        woken.wake();
    }

    /// The next item; `None` when there is none now.
    pub(crate) fn try_pop(&self) -> Option<Result<T, Error>> {
        let mut state = lock(&self.state);
        match state.items.pop_front() {
            Some(item) => Some(Ok(item)),
            None => state.closed.clone().map(Err),
        }
    }
}

impl<T: Send> Slots<T> for Queue<T> {
    fn poll(&self, _: u32, ticket: &mut Option<Ticket>, waker: &Waker) -> Poll<Result<T, Error>> {
        let mut state = lock(&self.state);
        let got = match state.items.pop_front() {
            Some(item) => Some(Ok(item)),
            None => state.closed.clone().map(Err),
        };
        let old = match &got {
            Some(_) => state.wakers.leave(ticket),
            None => state.wakers.wait(ticket, waker),
        };
        drop(state);
        drop(old);
        got.map_or(Poll::Pending, Poll::Ready)
    }

    fn leave(&self, _: u32, ticket: &mut Option<Ticket>) {
        let old = lock(&self.state).wakers.leave(ticket);
        drop(old);
    }

    #[cfg(feature = "stream")]
    fn is_over(&self) -> bool {
        let state = lock(&self.state);
        state.closed.is_some() && state.items.is_empty()
    }
}
