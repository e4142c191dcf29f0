//! SIGINT and SIGTERM for commands that read or watch.

use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Failure;

/// Exit code of a process that a second SIGINT ends.
const KILLED: i32 = 130;

/// Whether the user wants the command to end. A second signal ends it without waiting.
pub(super) struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub(super) fn new() -> Result<Self, Failure> {
        let flag = Arc::new(AtomicBool::new(false));
        let set = flag.clone();
        let handler = move || {
            if set.swap(true, Ordering::AcqRel) {
                process::exit(KILLED);
            }
        };
        ctrlc::set_handler(handler).map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(Self(flag))
    }

    pub(super) fn came(&self) -> bool {
        self.0.load(Ordering::Acquire)
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
