//! Tasks in virtual time: a future is polled only when it was woken, and the clock moves only when
//! no future is.

use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Waker};
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use embassy_time::{Duration, Instant, MockDriver};

/// The clock is one for the process: tests take turns.
static TURN: Mutex<()> = Mutex::new(());
/// A step of the clock, unless a test has no need of so small ones.
const STEP: Duration = Duration::from_micros(250);

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Task {
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
    woken: Arc<Flag>,
    waker: Waker,
    polls: Rc<Cell<u64>>,
}

/// See the module.
pub(crate) struct Executor {
    tasks: Vec<Task>,
    ticks: Vec<Box<dyn FnMut(Instant)>>,
    pub(crate) step: Duration,
    _turn: MutexGuard<'static, ()>,
}

impl Executor {
    /// At time zero.
    pub(crate) fn new() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        MockDriver::get().reset();
        Self { tasks: Vec::new(), ticks: Vec::new(), step: STEP, _turn: turn }
    }

    /// Starts a task; how often it was polled can be read any time.
    pub(crate) fn spawn(&mut self, future: impl Future<Output = ()> + 'static) -> Rc<Cell<u64>> {
        let woken = Arc::new(Flag(AtomicBool::new(true)));
        let waker = Waker::from(woken.clone());
        let polls = Rc::new(Cell::new(0));
        self.tasks.push(Task {
            future: Some(Box::pin(future)),
            woken,
            waker,
            polls: polls.clone(),
        });
        polls
    }

    /// Calls `tick` after every step of the clock.
    pub(crate) fn on_tick(&mut self, tick: impl FnMut(Instant) + 'static) {
        self.ticks.push(Box::new(tick));
    }

    /// Runs until `done`, at most for `limit`; whether it was done.
    pub(crate) fn run_until(&mut self, limit: Duration, done: impl Fn() -> bool) -> bool {
        let end = Instant::now() + limit;
        loop {
            self.settle();
            if done() {
                return true;
            }
            if Instant::now() >= end {
                return false;
            }
            self.skip(self.step);
        }
    }

    /// Lets time pass in one go, as for a device that is switched off.
    pub(crate) fn skip(&mut self, time: Duration) {
        MockDriver::get().advance(time);
        let now = Instant::now();
        self.ticks.iter_mut().for_each(|tick| tick(now));
    }

    /// Runs for this time.
    pub(crate) fn run_for(&mut self, time: Duration) {
        self.run_until(time, || false);
    }

    /// Polls the tasks that were woken, until none is.
    fn settle(&mut self) {
        for round in 0.. {
            let mut idle = true;
            for task in &mut self.tasks {
                if !task.woken.0.swap(false, Ordering::Relaxed) {
                    continue;
                }
                let Some(future) = &mut task.future else { continue };
                idle = false;
                task.polls.set(task.polls.get() + 1);
                if future.as_mut().poll(&mut Context::from_waker(&task.waker)).is_ready() {
                    task.future = None;
                }
            }
            if idle {
                return;
            }
            assert!(round < 100_000, "tasks wake each other forever at {}", Instant::now());
        }
    }
}

/// A value that tasks and the test share.
pub(crate) type Shared<T> = Rc<RefCell<T>>;

/// Makes one.
pub(crate) fn shared<T>(value: T) -> Shared<T> {
    Rc::new(RefCell::new(value))
}
