//! An external program that changes values, a line each.

use core::time::Duration;
use std::io::{BufRead, BufReader, Read as _, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::super::interrupt;
use super::Failure;

/// A program that prints nothing for this long keeps its output back, or hangs. A transaction lasts
/// longer.
const PATIENCE: Duration = Duration::from_secs(8);
/// Time to end after the end of its input, and again after SIGTERM.
const GRACE: Duration = Duration::from_secs(1);
/// A line that is longer ends the copy: no broker takes such a value.
const LONGEST: u64 = 64 << 20;
/// How often its end is looked for.
const TICK: Duration = Duration::from_millis(5);

pub(super) struct Transform {
    command: String,
    /// Shared with what ends it where this process ends at once.
    child: Arc<Mutex<Child>>,
    /// To the threads that write and read, so that neither side waits for the other's pipe.
    values: Option<Sender<Vec<u8>>>,
    lines: Receiver<Vec<u8>>,
    line: Vec<u8>,
}

impl Transform {
    pub(super) fn start(command: &str) -> Result<Self, Failure> {
        let failed = |why: &dyn core::fmt::Display| Failure::Failed(format!("{command}: {why}"));
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).stdin(Stdio::piped()).stdout(Stdio::piped());
        // A group of its own: Ctrl-C is for us, who end it when all is committed.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut shell, 0);
        let mut child = shell.spawn().map_err(|error| failed(&error))?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(&"no pipe"));
        };
        let (values, to_write) = channel::<Vec<u8>>();
        // One line is due at a time; one more is one too many.
        let (read, lines) = sync_channel(2);
        thread::spawn(move || {
            // It ends with the program, or with us.
            for value in to_write {
                if input.write_all(&value).and_then(|()| input.flush()).is_err() {
                    return;
                }
            }
        });
        thread::spawn(move || {
            let mut output = BufReader::new(output);
            loop {
                let mut line = Vec::new();
                match output.by_ref().take(LONGEST).read_until(b'\n', &mut line) {
                    Ok(_) if line.pop() == Some(b'\n') && read.send(line).is_ok() => {}
                    _ => return,
                }
            }
        });
        let values = Some(values);
        let child = Arc::new(Mutex::new(child));
        let shared = Arc::clone(&child);
        interrupt::ends_with_us(move || {
            let mut child = lock(&shared);
            // Its id may be another's once it was waited for.
            if matches!(child.try_wait(), Ok(None)) {
                signal(&mut child, true);
            }
        });
        Ok(Self { command: command.to_owned(), child, values, lines, line: Vec::new() })
    }

    /// Returns the new value, without the end of its line.
    pub(super) fn apply(&mut self, value: &[u8]) -> Result<&[u8], Failure> {
        if value.contains(&b'\n') {
            return Err(self.failed("a value has several lines; it cannot be given as one"));
        }
        self.expect_none()?;
        let line = [value, b"\n"].concat();
        let sent = self.values.as_ref().is_some_and(|values| values.send(line).is_ok());
        self.line = match (sent, self.lines.recv_timeout(PATIENCE)) {
            (true, Ok(line)) => line,
            (true, Err(RecvTimeoutError::Timeout)) => {
                return Err(
                    self.failed("prints nothing; does it flush each line (sed -u, stdbuf -oL)?")
                );
            }
            _ => return Err(self.failed("it has ended")),
        };
        self.expect_none()?;
        Ok(&self.line)
    }

    /// A line too many would be taken for that of another value.
    fn expect_none(&self) -> Result<(), Failure> {
        match self.lines.try_recv() {
            Ok(_) => Err(self.failed("it prints more than a line for a value")),
            Err(_) => Ok(()),
        }
    }

    fn failed(&self, why: &str) -> Failure {
        Failure::Failed(format!("--transform {}: {why}", self.command))
    }
}

impl Drop for Transform {
    fn drop(&mut self) {
        // The end of its input.
        self.values = None;
        for terminates in [false, true] {
            if terminates {
                signal(&mut lock(&self.child), false);
            }
            let until = Instant::now() + GRACE;
            while Instant::now() < until {
                if !matches!(lock(&self.child).try_wait(), Ok(None)) {
                    return;
                }
                thread::sleep(TICK);
            }
        }
        let mut child = lock(&self.child);
        signal(&mut child, true);
        let _ = child.wait();
    }
}

fn lock(child: &Mutex<Child>) -> MutexGuard<'_, Child> {
    child.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends a program and what it has started, at once or as it likes.
#[cfg(unix)]
fn signal(child: &mut Child, at_once: bool) {
    use rustix::process::{Pid, Signal, kill_process_group};

    let how = if at_once { Signal::KILL } else { Signal::TERM };
    let _ = kill_process_group(Pid::from_child(child), how); // it may have ended
}

/// There is but one way.
#[cfg(not(unix))]
fn signal(child: &mut Child, _at_once: bool) {
    let _ = child.kill();
}
