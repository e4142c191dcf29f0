//! SIGINT, SIGTERM, SIGPIPE.

use std::io::{BufRead, BufReader, Write as _};
use std::process::Stdio;
use std::time::Instant;

use rustix::process::Signal;

use crate::live::Live;
use crate::{LONG, at, fill, with_topic};

#[test]
fn consuming_ends_well_with_a_signal() {
    for signal in [Signal::INT, Signal::TERM] {
        let server = with_topic(1);
        fill(&server, 0, &["a", "b"]);
        let mut live = Live::start(at(&server, &["consume", "t"]));
        assert_eq!([live.line(), live.line()], ["a", "b"], "flushed although nothing follows");
        live.signal(signal);
        let ran = live.end().good();
        assert_eq!((ran.text().as_str(), ran.err.as_str()), ("", ""));
    }
}

#[test]
fn producing_delivers_what_was_read_when_a_signal_comes() {
    for signal in [Signal::INT, Signal::TERM] {
        let server = with_topic(1);
        // Batches linger on for a minute unless they are flushed.
        let args = ["produce", "t", "-v", "--linger", "60000", "--linger-when-idle"];
        let mut live = Live::start(at(&server, &args));
        let mut stdin = live.stdin.take().expect("piped");
        live.error("1 partitions");
        stdin.write_all(b"a\nb\n").expect("it reads");
        // Read by it, not only written by us: the pipe is empty again.
        let until = Instant::now() + LONG;
        while rustix::io::ioctl_fionread(&stdin).expect("a pipe") > 0 {
            assert!(Instant::now() < until, "it does not read");
            std::thread::yield_now();
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
        live.signal(signal);
        live.error("2 records delivered");
        let ran = live.end().good();
        drop(stdin);
        assert!(ran.took < LONG);
        assert_eq!(server.log_len("t", 0), 2);
    }
}

#[test]
fn producing_reports_what_was_lost_when_a_signal_comes() {
    let server = with_topic(1);
    let mut live = Live::start(at(&server, &["produce", "t", "-v"]));
    let mut stdin = live.stdin.take().expect("piped");
    live.error("1 partitions");
    server.pause(1);
    // More than there is room for: it waits for some.
    let piece = vec![b'x'; 1000];
    let mut line = piece.clone();
    line.push(b'\n');
    let feeding = std::thread::spawn(move || while stdin.write_all(&line).is_ok() {});
    let until = Instant::now() + LONG;
    while live.peak() < 40 << 20 {
        assert!(Instant::now() < until, "its queue does not fill");
        std::thread::yield_now();
    }
    live.signal(Signal::INT);
    live.end().bad(1, &["lost: ", "127.0.0.1"]);
    feeding.join().expect("the pipe is closed");
}

#[test]
fn a_reader_that_closes_the_pipe_ends_the_command() {
    let server = with_topic(1);
    fill(&server, 0, &["a", "b", "c"]);
    for args in [&["consume", "t"][..], &["consume", "t", "--json"], &["topics", "watch", "t"]] {
        let mut child = at(&server, args).spawn().expect("it starts");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        drop(out); // as `| head -1` does; nothing more is printed that could fail
        let output = child.wait_with_output().expect("its end");
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_pipe_that_closes_in_the_middle_is_no_failure() {
    let server = with_topic(1);
    let many: Vec<String> = (0..20_000).map(|n| format!("a line with number {n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    fill(&server, 0, &many);
    let mut child = at(&server, &["consume", "t", "-e"]).spawn().expect("it starts");
    let head = std::process::Command::new("head")
        .arg("-1")
        .stdin(Stdio::from(child.stdout.take().expect("piped")))
        .output()
        .expect("head");
    assert_eq!(head.stdout, b"a line with number 0\n");
    let output = child.wait_with_output().expect("its end");
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn a_second_signal_ends_it_without_waiting() {
    let server = with_topic(1);
    fill(&server, 0, &["0123456789"]);
    // Its stdout is full: it cannot look at the first.
    let mut command = at(&server, &["consume", "t", "-f", &"%s".repeat(40_000), "-c", "1"]);
    let mut child = command.spawn().expect("it starts");
    let pid = rustix::process::Pid::from_child(&child);
    let stdout = child.stdout.take().expect("piped");
    let until = Instant::now() + LONG;
    while rustix::io::ioctl_fionread(&stdout).expect("a pipe") < 60_000 {
        assert!(Instant::now() < until, "the pipe does not fill");
        std::thread::yield_now();
    }
    let ended = loop {
        rustix::process::kill_process(pid, Signal::INT).expect("it runs");
        std::thread::yield_now();
        if let Some(status) = child.try_wait().expect("its end") {
            break status;
        }
        assert!(Instant::now() < until, "it does not end");
    };
    assert_eq!(ended.code(), Some(130));
}
