//! A result that is still on its way.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::wakers::Ticket;

/// A result that is still on its way: a future for any runtime, or to be waited for with
/// [`Pending::wait`]. It is `Send`, and it is fused: once it has returned its result it stays
/// pending, and [`Pending::is_terminated`] says so.
///
/// # Cancel safety
/// Dropping it, also in the middle of a `select!`, cancels no work and loses no record: what was
/// sent stays sent, what was commanded is done, and what no caller took waits for the next one.
pub struct Pending<T> {
    /// `None` once the result was returned.
    from: Option<Arc<dyn Slots<T>>>,
    index: u32,
    /// Present while a waker of this one waits.
    ticket: Option<Ticket>,
}

/// Where results come from: a batch of them, one alone, or a queue.
pub(crate) trait Slots<T>: Send + Sync {
    /// Returns the result at `index`, or wakes `waker` when there is one. `ticket` is present from
    /// then until the result.
    fn poll(
        &self,
        index: u32,
        ticket: &mut Option<Ticket>,
        waker: &Waker,
    ) -> Poll<Result<T, Error>>;

    /// Ends a wait at `index`.
    fn leave(&self, index: u32, ticket: &mut Option<Ticket>);

    /// Nothing comes any more but the same error again and again.
    #[cfg(feature = "stream")]
    fn is_over(&self) -> bool {
        true
    }
}

impl<T> Pending<T> {
    pub(crate) fn new(from: Arc<dyn Slots<T>>, index: u32) -> Self {
        Self { from: Some(from), index, ticket: None }
    }

    /// Blocks this thread until there is a result.
    ///
    /// # Errors
    /// Those of the call that returned it.
    pub fn wait(mut self) -> Result<T, Error> {
        loop {
            if let Some(result) = self.wait_until(None) {
                return result; // always: there is no limit
            }
        }
    }

    /// As [`Pending::wait`], but returns the unfinished `Pending` after `timeout`.
    ///
    /// # Errors
    /// As [`Pending::wait`], inside; outside the unfinished `Pending`.
    pub fn wait_timeout(mut self, timeout: Duration) -> Result<Result<T, Error>, Self> {
        let until = Instant::now().checked_add(timeout);
        self.wait_until(until).ok_or(self)
    }

    /// Returns whether it has returned its result: it will never be ready again.
    #[must_use]
    pub const fn is_terminated(&self) -> bool {
        self.from.is_none()
    }

    fn poll_with(&mut self, waker: &Waker) -> Poll<Result<T, Error>> {
        let Some(from) = &self.from else { return Poll::Pending };
        let result = from.poll(self.index, &mut self.ticket, waker);
        if result.is_ready() {
            self.from = None;
        }
        result
    }

    fn wait_until(&mut self, until: Option<Instant>) -> Option<Result<T, Error>> {
        let parker = Parker::current();
        let waker = Waker::from(parker.clone());
        loop {
            if let Poll::Ready(result) = self.poll_with(&waker) {
                return Some(result);
            }
            while !parker.woken.swap(false, Ordering::Acquire) {
                match until.map(|until| until.saturating_duration_since(Instant::now())) {
                    Some(Duration::ZERO) => return None,
                    Some(left) => thread::park_timeout(left),
                    None => thread::park(),
                }
            }
        }
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.get_mut().poll_with(cx.waker())
    }
}

impl<T> Drop for Pending<T> {
    fn drop(&mut self) {
        // Most records are not waited for.
        if self.ticket.is_some()
            && let Some(from) = &self.from
        {
            from.leave(self.index, &mut self.ticket);
        }
    }
}

#[cfg(feature = "futures-core")]
impl<T> futures_core::FusedFuture for Pending<T> {
    fn is_terminated(&self) -> bool {
        self.from.is_none()
    }
}

impl<T> core::fmt::Debug for Pending<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Pending").field("index", &self.index).finish_non_exhaustive()
    }
}

/// Wakes a parked thread. One per thread, so that waiting allocates once.
struct Parker {
    thread: Thread,
    woken: AtomicBool,
}

impl Parker {
    fn current() -> Arc<Self> {
        thread_local! {
            static PARKER: RefCell<Option<Arc<Parker>>> = const { RefCell::new(None) };
        }
        PARKER.with_borrow_mut(|kept| {
            let make = || Arc::new(Self { thread: thread::current(), woken: false.into() });
            kept.get_or_insert_with(make).clone()
        })
    }
}

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// One result alone, set once by the background thread.
pub(crate) struct Cell<T> {
    state: Mutex<State<T>>,
}

struct State<T> {
    result: Option<Result<T, Error>>,
    waker: Option<Waker>,
}

impl<T: Send + 'static> Cell<T> {
    /// The two ends of a result.
    pub(crate) fn pair() -> (Setter<T>, Pending<T>) {
        let state = Mutex::new(State { result: None, waker: None });
        let cell = Arc::new(Self { state });
        (Setter(Some(cell.clone())), Pending::new(cell, 0))
    }

    fn set(&self, result: Result<T, Error>) {
        let mut state = lock(&self.state);
        state.result = Some(result);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T: Send> Slots<T> for Cell<T> {
    fn poll(&self, _: u32, ticket: &mut Option<Ticket>, waker: &Waker) -> Poll<Result<T, Error>> {
        let mut state = lock(&self.state);
        if let Some(result) = state.result.take() {
            *ticket = None;
            return Poll::Ready(result);
        }
        *ticket = Some(Ticket::ONLY);
        let old = state.waker.replace(waker.clone());
        drop(state);
        drop(old);
        Poll::Pending
    }

    fn leave(&self, _: u32, ticket: &mut Option<Ticket>) {
        *ticket = None;
        let old = lock(&self.state).waker.take();
        drop(old);
    }
}

/// The end of a [`Cell`] that sets the result; dropped without one it reports "closed".
pub(crate) struct Setter<T: Send + 'static>(Option<Arc<Cell<T>>>);

impl<T: Send + 'static> Setter<T> {
    /// Whether a caller still waits for the result.
    pub(crate) fn is_awaited(&self) -> bool {
        self.0.as_ref().is_some_and(|cell| Arc::strong_count(cell) > 1)
    }

    /// Returns the same check for later, when this end is elsewhere.
    pub(crate) fn watch(&self) -> impl Fn() -> bool + Send + use<T> {
        let cell = self.0.as_ref().map(Arc::downgrade);
        move || cell.as_ref().is_some_and(|cell| cell.strong_count() > 1)
    }

    pub(crate) fn set(mut self, result: Result<T, Error>) {
        if let Some(cell) = self.0.take() {
            cell.set(result);
        }
    }
}

impl<T: Send + 'static> Drop for Setter<T> {
    fn drop(&mut self) {
        if let Some(cell) = self.0.take() {
            cell.set(Err(ErrorKind::Closed.into()));
        }
    }
}

/// Locks although another thread may have panicked: what is inside is whole after every statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::queue::Queue;

    const LONG: Duration = Duration::from_secs(20);

    fn value<T>(result: Result<Result<T, Error>, Pending<T>>) -> Result<T, String> {
        result.map_err(|_| "no result in time".to_owned())?.map_err(|error| error.to_string())
    }

    #[test]
    fn a_result_is_there_before_or_after_a_caller_waits() {
        let (setter, pending) = Cell::pair();
        setter.set(Ok(1));
        assert_eq!(value(pending.wait_timeout(LONG)), Ok(1));
        let (setter, pending) = Cell::pair();
        let waiter = thread::spawn(move || value(pending.wait_timeout(LONG)));
        setter.set(Ok(2));
        assert_eq!(waiter.join().unwrap(), Ok(2));
    }

    #[test]
    fn a_timeout_gives_the_pending_result_back() {
        let (setter, pending) = Cell::pair();
        let pending = pending.wait_timeout(Duration::from_millis(1)).unwrap_err();
        setter.set(Ok("late"));
        assert_eq!(value(pending.wait_timeout(LONG)), Ok("late"));
    }

    #[test]
    fn a_setter_that_is_dropped_reports_closed() {
        let (setter, pending) = Cell::<()>::pair();
        drop(setter);
        assert_eq!(pending.wait().unwrap_err().kind(), ErrorKind::Closed);
    }

    /// The smallest executor there is.
    fn block_on<T>(future: impl Future<Output = T>) -> T {
        let parker = Parker::current();
        let waker = Waker::from(parker);
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(result) => return result,
                Poll::Pending => thread::park(),
            }
        }
    }

    #[test]
    fn it_is_a_future_for_any_executor() {
        let (setter, pending) = Cell::pair();
        let other = thread::spawn(move || setter.set(Ok(7)));
        let both = async move { pending.await.map(|n: i32| n + 1) };
        assert_eq!(block_on(both).ok(), Some(8));
        other.join().unwrap();
    }

    #[test]
    fn it_is_fused_and_takes_no_second_item() {
        let queue = Arc::new(Queue::new());
        queue.push_with(|items| items.extend([1, 2]));
        let mut pending = Pending::new(queue.clone(), 0);
        let mut poll = || Pin::new(&mut pending).poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(poll(), Poll::Ready(Ok(1))));
        assert!(poll().is_pending());
        assert!(pending.is_terminated());
        assert_eq!(queue.try_pop().map(Result::unwrap), Some(2), "it is still there");
    }

    #[test]
    fn it_can_be_sent_to_other_threads_whatever_it_gives() {
        fn assert_send<T: Send>() {}
        assert_send::<Pending<std::cell::Cell<u8>>>();
        assert_send::<Pending<*const u8>>();
    }

    #[test]
    fn each_item_of_a_queue_goes_to_one_waiter() {
        let queue = Arc::new(Queue::new());
        let takers: Vec<_> = (0..4)
            .map(|_| {
                let pending = Pending::new(queue.clone(), 0);
                thread::spawn(move || value(pending.wait_timeout(LONG)))
            })
            .collect();
        for n in 0..4 {
            queue.push_with(|items| items.push_back(n));
        }
        let mut got: Vec<_> =
            takers.into_iter().map(|taker| taker.join().unwrap().unwrap()).collect();
        got.sort_unstable();
        assert_eq!(got, [0, 1, 2, 3]);
        queue.close(ErrorKind::Closed.into());
        let after = Pending::new(queue, 0).wait().unwrap_err();
        assert_eq!(after.kind(), ErrorKind::Closed);
    }
}
