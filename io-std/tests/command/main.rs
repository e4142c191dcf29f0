//! The `kavka` command as a user runs it: every option, exit code and signal, against simulated
//! brokers on loopback, and one pass against a real one.
#![cfg(unix)]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

mod apart;
mod causes;
mod consume;
mod copy;
mod damage;
mod effects;
mod ends;
mod gone;
mod group;
mod groups;
mod json;
mod live;
mod login;
mod partitions;
mod pattern;
mod produce;
mod real;
mod signals;
mod streams;
mod terminal;
mod topics;
mod transactions;
mod usage;

use std::ffi::OsString;
use std::io::Write;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use kavka_std::{Config, Limits, Producer, Record};
use kavka_tests::sim::{Options, Server};

/// Far longer than anything here takes, also on a machine that is busy with other things.
const LONG: Duration = Duration::from_secs(120);

/// How a run of the command ended.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: Vec<u8>,
    err: String,
    took: Duration,
}

impl Ran {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    /// Sorted, since partitions are read side by side.
    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.text().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// It worked.
    #[track_caller]
    fn good(self) -> Self {
        assert_eq!(self.code, Some(0), "{self:?}");
        self
    }

    /// It ended with this code, and said all of these on stderr, no line of it twice.
    #[track_caller]
    fn bad(self, code: i32, said: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.said_once();
        for text in said {
            assert!(self.err.contains(text), "{text:?} is not said: {self:?}");
        }
        self
    }
}

impl Ran {
    /// No line on stderr is there twice, and none is the debug form of something.
    #[track_caller]
    fn said_once(&self) {
        let mut lines: Vec<&str> =
            self.err.lines().filter(|line| line.starts_with("kavka: ")).collect();
        let all = lines.len();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), all, "a line is said twice: {}", self.err);
        let debug = |line: &&&str| line.contains(" { ") || line.contains("Some(");
        let form = lines.iter().find(debug);
        assert_eq!(form, None, "a debug form: {}", self.err);
    }
}

/// The program, or another build of it: `.ci/run coverage`.
fn binary() -> OsString {
    std::env::var_os("KAVKA_COMMAND").unwrap_or_else(|| env!("CARGO_BIN_EXE_kavka").into())
}

/// The command, with nothing of this process's environment that it reads.
fn kavka(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(args).env_remove("KAVKA_BOOTSTRAP").env_remove("KAVKA_PASSWORD");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The same for these brokers.
fn at(server: &Server, args: &[&str]) -> Command {
    let mut command = kavka(args);
    command.env("KAVKA_BOOTSTRAP", server.bootstrap());
    command
}

/// Runs it to its end with this on stdin.
#[track_caller]
fn feed(mut command: Command, input: &[u8]) -> Ran {
    let begun = Instant::now();
    let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
    let pid = rustix::process::Pid::from_child(&child);
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    // Who fails before the end of the input closes the pipe.
    thread::spawn(move || drop(stdin.write_all(&input)));
    let (done, ended) = channel();
    thread::spawn(move || drop(done.send(child.wait_with_output())));
    let Output { status, stdout, stderr } = match ended.recv_timeout(LONG) {
        Ok(output) => output.expect("its output"),
        Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            panic!("{command:?} does not end within {LONG:?}: {:?}", ended.recv_timeout(LONG));
        }
    };
    let err = String::from_utf8_lossy(&stderr).into_owned();
    Ran { code: status.code(), out: stdout, err, took: begun.elapsed() }
}

/// Runs it to its end.
#[track_caller]
fn run(server: &Server, args: &[&str]) -> Ran {
    feed(at(server, args), b"")
}

fn server(brokers: u32) -> Server {
    Server::start(Options { brokers, ..Options::default() }).expect("simulated brokers")
}

/// One broker with a topic `t` of so many partitions.
fn with_topic(partitions: u32) -> Server {
    let server = server(1);
    server.create_topic("t", partitions).expect("a topic");
    server
}

fn config(server: &Server) -> Config {
    Config::new(server.bootstrap()).limits(Limits::small())
}

/// Writes values to a partition of `t`.
fn fill(server: &Server, partition: u32, values: &[&str]) {
    let producer = Producer::new(config(server)).expect("a producer");
    for value in values {
        let record = Record::new(value.as_bytes());
        drop(producer.send_to("t", partition, &record).expect("taken"));
    }
    assert!(producer.close(LONG).wait().unwrap().is_empty());
}

/// What a process has in memory at most, in bytes.
fn peak(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0");
    let digits = line.trim().trim_end_matches(" kB");
    digits.parse::<usize>().map_or(0, |kibibytes| kibibytes << 10)
}

fn copied(bytes: &Option<impl AsRef<[u8]>>) -> Option<Vec<u8>> {
    bytes.as_ref().map(|bytes| bytes.as_ref().to_vec())
}
