//! A queue from the background thread to the application, with results as [`Pending`].

use std::collections::VecDeque;
use std::sync::Mutex;
use std::task::{Poll, Waker};

use crate::error::Error;
use crate::pending::{Slots, lock};

/// Many items, in order; each goes to one taker.
pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
}

pub(crate) struct State<T> {
    pub(crate) items: VecDeque<T>,
    wakers: Vec<Waker>,
    closed: Option<Error>,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        let state = State { items: VecDeque::new(), wakers: Vec::new(), closed: None };
        Self { state: Mutex::new(state) }
    }

    /// Puts items in by `fill`, and wakes whoever waits.
    pub(crate) fn push_with(&self, fill: impl FnOnce(&mut VecDeque<T>)) {
        let mut state = lock(&self.state);
        fill(&mut state.items);
        let wakers = core::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Nothing comes any more: what is there can still be taken, then `error`.
    pub(crate) fn close(&self, error: Error) {
        let mut state = lock(&self.state);
        state.closed.get_or_insert(error);
        let wakers = core::mem::take(&mut state.wakers);
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The next item; `None` when there is none now.
    pub(crate) fn try_pop(&self) -> Option<Result<T, Error>> {
        let mut state = lock(&self.state);
        match state.items.pop_front() {
            Some(item) => Some(Ok(item)),
            None => state.closed.clone().map(Err),
        }
    }

    /// The next item, or `waker` is woken when there may be one.
    pub(crate) fn poll_pop(&self, waker: &Waker) -> Poll<Result<T, Error>> {
        let mut state = lock(&self.state);
        if let Some(item) = state.items.pop_front() {
            return Poll::Ready(Ok(item));
        }
        if let Some(error) = &state.closed {
            return Poll::Ready(Err(error.clone()));
        }
        if !state.wakers.iter().any(|kept| kept.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        Poll::Pending
    }
}

impl<T: Send> Slots<T> for Queue<T> {
    fn poll(&self, _: u32, waker: &Waker) -> Poll<Result<T, Error>> {
        self.poll_pop(waker)
    }
}
