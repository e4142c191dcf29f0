//! A run of the command that continues while the test does something.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};

use crate::{LONG, Ran, peak};

pub(crate) struct Live {
    child: Child,
    pub(crate) stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    errors: Receiver<String>,
    begun: Instant,
}

impl Live {
    pub(crate) fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
        let lines = lines_of(child.stdout.take());
        let errors = lines_of(child.stderr.take());
        let stdin = child.stdin.take();
        Self { child, stdin, lines, errors, begun: Instant::now() }
    }

    /// The next line of stdout.
    #[track_caller]
    pub(crate) fn line(&mut self) -> String {
        match self.lines.recv_timeout(LONG) {
            Ok(line) => line,
            Err(_) => {
                let _ = self.child.kill(); // the test fails in any case
                panic!("no line comes; stderr: {:?}", self.errors.iter().collect::<Vec<_>>())
            }
        }
    }

    /// The next line of stderr that has this text.
    #[track_caller]
    pub(crate) fn error(&mut self, text: &str) -> String {
        let until = Instant::now() + LONG;
        let mut seen = Vec::new();
        while let Ok(line) =
            self.errors.recv_timeout(until.saturating_duration_since(Instant::now()))
        {
            if line.contains(text) {
                return line;
            }
            seen.push(line);
        }
        let _ = self.child.kill(); // the test fails in any case
        panic!("{text:?} is not said, but {seen:?}");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("its end").is_some()
    }

    /// What it has in memory at most, in bytes.
    pub(crate) fn peak(&self) -> usize {
        peak(self.child.id())
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn end(mut self) -> Ran {
        drop(self.stdin.take());
        let collect = |lines: &Receiver<String>, child: &mut Child| {
            let mut all = String::new();
            let until = Instant::now() + LONG;
            loop {
                match lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
                    Ok(line) => all.extend([line.as_str(), "\n"]),
                    Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return all,
                    Err(_) => {
                        let _ = child.kill(); // the test fails in any case
                        panic!("it does not end; it said {all:?}")
                    }
                }
            }
        };
        let out = collect(&self.lines, &mut self.child).into_bytes();
        let err = collect(&self.errors, &mut self.child);
        let code = self.child.wait().expect("its end").code();
        Ran { code, out, err, took: self.begun.elapsed() }
    }
}

/// Lines as they come, until the other end closes.
fn lines_of(stream: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (report, reported) = channel();
    if let Some(stream) = stream {
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).into_owned();
                if report.send(line).is_err() {
                    return;
                }
            }
        });
    }
    reported
}
