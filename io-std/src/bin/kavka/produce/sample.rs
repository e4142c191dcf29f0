//! Whether records fail while more are read: of those on their way, one at a time is watched.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kavka_std::{Delivered, Error, Lost, Pending};

use crate::{failure, lines};

/// How often the end of the watch is looked for.
const TICK: Duration = Duration::from_millis(20);

/// Failures at the end of the input are reported there.
const PATIENCE: Duration = Duration::from_millis(500);

/// The thread that waits for the outcome of a record, and prints why it failed.
pub(super) struct Sample {
    next: SyncSender<Pending<Delivered>>,
    busy: Arc<AtomicBool>,
    over: Arc<AtomicBool>,
    thread: JoinHandle<Failed>,
}

/// Failures that were noticed here. The producer does not report them again.
#[derive(Default)]
pub(super) struct Failed {
    records: u64,
    first: Option<Error>,
}

impl Sample {
    /// `None` without another thread: then failures are only reported at the end.
    pub(super) fn new() -> Option<Self> {
        let (next, records) = sync_channel::<Pending<Delivered>>(1);
        let busy = Arc::new(AtomicBool::new(false));
        let over = Arc::new(AtomicBool::new(false));
        let (free, stop) = (busy.clone(), over.clone());
        let run = move || {
            let mut failed = Failed::default();
            while let Ok(record) = records.recv() {
                let over = || stop.load(Ordering::Acquire);
                if let Some(Err(error)) = outcome(record, over) {
                    if !ends_within(PATIENCE, over) {
                        lines::notice(&failure::describe(&error));
                    }
                    failed.records += 1;
                    failed.first.get_or_insert(error);
                }
                free.store(false, Ordering::Release);
            }
            failed
        };
        let thread = thread::Builder::new().name("kavka-sample".into()).spawn(run).ok()?;
        Some(Self { next, busy, over, thread })
    }

    /// Watches a record unless another is watched.
    pub(super) fn watch(&self, record: Pending<Delivered>) {
        if !self.busy.load(Ordering::Acquire) {
            self.busy.store(true, Ordering::Release);
            drop(self.next.try_send(record)); // there is space: nothing else is on its way
        }
    }

    /// Ends the watch, before the producer ends: that counts what is not watched.
    pub(super) fn end(self) -> Failed {
        self.over.store(true, Ordering::Release);
        drop(self.next);
        self.thread.join().unwrap_or_default()
    }
}

impl Failed {
    pub(super) fn add_to(self, lost: &mut Lost) {
        lost.failed += self.records;
        lost.first = self.first.or(lost.first.take());
    }
}

/// Whether the watch ends soon: then the end of the command says the same.
fn ends_within(time: Duration, over: impl Fn() -> bool) -> bool {
    let until = Instant::now() + time;
    while !over() && Instant::now() < until {
        thread::sleep(TICK);
    }
    over()
}

/// Waits for the outcome of a record; `None` when the watch is over before.
fn outcome(
    mut record: Pending<Delivered>,
    over: impl Fn() -> bool,
) -> Option<Result<Delivered, Error>> {
    loop {
        match record.wait_timeout(TICK) {
            Ok(outcome) => return Some(outcome),
            Err(_) if over() => return None,
            Err(waiting) => record = waiting,
        }
    }
}
