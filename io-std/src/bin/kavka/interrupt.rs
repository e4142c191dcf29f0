//! SIGINT, SIGTERM and SIGHUP, for all commands and from their start.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::{Failure, lines, streams};

/// A write to stdout that takes longer does not end by itself.
const BLOCKED: Duration = Duration::from_secs(1);
/// Exit code of a process that a second signal ends.
const KILLED: i32 = 130;

static CAME: AtomicBool = AtomicBool::new(false);
static ENDING: Mutex<Option<Ending>> = Mutex::new(None);

/// What ends a command that cannot look whether a signal came, since it waits for its input.
type Ending = Box<dyn FnOnce() + Send>;

/// What ends programs that this one has started and that get no signal of the terminal.
static PROGRAM: Mutex<Option<Ending>> = Mutex::new(None);

/// Notes signals from now on. A second one ends the process without waiting.
pub(super) fn note() -> Result<(), Failure> {
    keep_ignored();
    let handler = || {
        if CAME.swap(true, Ordering::AcqRel) {
            exit(KILLED);
        }
        // Without another thread a second signal still ends the process.
        let _ = thread::Builder::new().name("kavka-stdout".into()).spawn(end_if_blocked);
        end();
    };
    ctrlc::set_handler(handler).map_err(|error| Failure::Failed(error.to_string()))
}

/// Ends the process once nothing takes what it prints: the command could not notice the signal.
fn end_if_blocked() {
    let mut before = None;
    loop {
        let now = streams::writing();
        if now.is_some() && now == before {
            lines::say("interrupted: stdout is full and nothing reads it; the output is cut off");
            exit(1);
        }
        before = now;
        thread::sleep(BLOCKED);
    }
}

/// Ends the process without waiting for anything, and what it has started.
fn exit(code: i32) -> ! {
    let ending = PROGRAM.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(ending) = ending {
        ending();
    }
    process::exit(code);
}

/// Sets what ends a program that this one has started, where the process ends at once: nothing is
/// dropped then.
pub(super) fn ends_with_us(ending: impl FnOnce() + Send + 'static) {
    *PROGRAM.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(ending));
}

/// Blocks the signals that are ignored, as `nohup` and shells arrange for background jobs: the
/// handler would end that. Threads that begin later inherit it.
#[cfg(target_os = "linux")]
fn keep_ignored() {
    use nix::sys::signal::{SigSet, Signal};
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default();
    let ignored = u64::from_str_radix(line.trim(), 16).unwrap_or(0);
    let mut set = SigSet::empty();
    for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
        if ignored >> (signal as i32 - 1) & 1 == 1 {
            set.add(signal);
        }
    }
    let _ = set.thread_block(); // then they end it, as they would without this
}

#[cfg(not(target_os = "linux"))]
fn keep_ignored() {}

/// Whether the user wants the command to end.
pub(super) fn came() -> bool {
    CAME.load(Ordering::Acquire)
}

/// Sets what ends the command; it runs once, on a thread of its own, and ends the process.
pub(super) fn ends_by(ending: impl FnOnce() + Send + 'static) {
    *lock() = Some(Box::new(ending));
    if came() {
        end(); // the signal found none
    }
}

fn lock() -> std::sync::MutexGuard<'static, Option<Ending>> {
    ENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn end() {
    let ending = lock().take();
    if let Some(ending) = ending {
        // Not here: a second signal is to be noticed meanwhile.
        thread::spawn(ending);
    }
}

/// Whether stdout is a pipe without a reader, so that waiting for more records is in
/// vain: `kavka consume t | head -1` on a quiet topic.
#[cfg(unix)]
pub(super) fn stdout_is_closed() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let stdout = std::io::stdout();
    let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
        && fds.iter().any(|fd| fd.revents().contains(PollFlags::ERR))
}

#[cfg(not(unix))]
pub(super) fn stdout_is_closed() -> bool {
    false
}
