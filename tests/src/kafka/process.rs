//! A child process that cannot outlive the process that started it.
//!
//! A shell between the two waits on a pipe from this process. It forwards signals that it gets by
//! name, and kills the child when the pipe closes, which the kernel does for a dead process too. As
//! only that shell reaps the child, a signal can never hit another process with the same id.

use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

const WATCHDOG: &str = r#"
trap : INT TERM HUP
log=$1; shift
"$@" </dev/null >>"$log" 2>&1 &
pid=$!
echo "$pid"
while read -r signal; do
    kill -s "$signal" "$pid" 2>/dev/null
    echo "$signal"
done
kill -s KILL "$pid" 2>/dev/null
wait "$pid"
"#;

/// A running child, killed on drop.
#[derive(Debug)]
pub struct Guarded {
    watchdog: Child,
    orders: Option<ChildStdin>,
    responses: BufReader<ChildStdout>,
    pid: u32,
}

impl Guarded {
    /// Runs `program` with `args`, its output appended to `log`.
    ///
    /// # Errors
    /// When no shell can be started.
    pub fn start(program: &str, args: &[String], log: &Path) -> io::Result<Self> {
        let mut command = Command::new("sh");
        command.args(["-c", WATCHDOG, "watchdog"]).arg(log).arg(program).args(args);
        // Its own process group: Ctrl-C in a terminal ends us, and the closing pipe ends the child.
        command.process_group(0);
        // Its only output would be that the child was killed.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut watchdog = command.spawn()?;
        let orders = watchdog.stdin.take();
        let stdout = watchdog.stdout.take().ok_or_else(|| io::Error::other("no stdout"))?;
        let mut guarded = Self { watchdog, orders, responses: BufReader::new(stdout), pid: 0 };
        let line = guarded.respond()?;
        guarded.pid = line.parse().map_err(|_| io::Error::other(format!("not a pid: {line}")))?;
        Ok(guarded)
    }

    /// Returns the child's process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Sends the signal of this name (`KILL`, `STOP`, `CONT`, `TERM`); it was sent on return.
    ///
    /// # Errors
    /// When the watchdog is gone. A child that has ended already is no error.
    pub fn signal(&mut self, name: &str) -> io::Result<()> {
        let orders = self.orders.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        orders.write_all(format!("{name}\n").as_bytes())?;
        self.respond().map(drop)
    }

    /// Returns whether the child has ended; without `/proc` always false.
    pub fn has_ended(&self) -> bool {
        if !Path::new("/proc/self/stat").exists() {
            return false;
        }
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // "pid (name) state ..."; the shell does not reap before it ends, so a Z stays.
        !stat
            .rsplit(')')
            .next()
            .is_some_and(|rest| rest.starts_with(' ') && !rest.starts_with(" Z"))
    }

    fn respond(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.responses.read_line(&mut line)? {
            0 => Err(io::ErrorKind::BrokenPipe.into()),
            _ => Ok(line.trim().to_owned()),
        }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        drop(self.orders.take());
        let _ = self.watchdog.wait();
    }
}
