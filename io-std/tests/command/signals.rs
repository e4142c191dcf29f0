//! SIGINT, SIGTERM, SIGPIPE.

use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use kavka_tests::sim::{ApiKey, Fault, Options, Server};
use rustix::process::Signal;

use crate::live::Live;
use crate::{LONG, at, binary, fill, kavka, with_topic};

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

/// A listener that accepts connections and never responds.
pub(crate) fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    (listener, address)
}

/// Its handlers are there before it connects.
#[test]
fn a_signal_before_the_first_response_ends_every_command_as_later() {
    let cases: &[(&[&str], i32, &[&str])] = &[
        (&["produce", "t"], 0, &["interrupted", "nothing was read and nothing sent"]),
        (&["produce", "t", "--json", "-p", "0"], 0, &["interrupted", "nothing sent"]),
        (&["consume", "t"], 0, &["interrupted", "nothing was read"]),
        (&["consume", "t", "-e"], 0, &["interrupted", "nothing was read"]),
        (&["consume", "t", "-o", "-1", "--json"], 0, &["interrupted", "nothing was read"]),
        (&["topics", "watch", "t"], 0, &["interrupted", "t is not known"]),
        (&["topics", "list"], 1, &["list topics: interrupted"]),
        (&["topics", "describe", "t"], 1, &["describe topic t: interrupted"]),
        (&["topics", "offsets", "t"], 1, &["topics offsets: interrupted"]),
        (&["topics", "create", "t"], 1, &["create topic t (it may happen all the same)"]),
        (&["topics", "grow", "t", "2"], 1, &["grow topic t (it may happen all the same)"]),
        (&["topics", "delete", "t"], 1, &["delete topic t (it may happen all the same)"]),
        (&["metadata"], 1, &["metadata: interrupted"]),
        (&["metadata", "t"], 1, &["metadata: interrupted"]),
    ];
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        for (args, code, said) in cases {
            let (listener, address) = silent();
            let mut all = vec!["-b", &address, "--timeout", "100"];
            all.extend(*args);
            let mut live = Live::start(kavka(&all));
            let stdin = live.stdin.as_mut().expect("piped");
            stdin.write_all(b"a\nb\n").expect("the pipe has space");
            let _connection = listener.accept().expect("it connects");
            live.signal(signal);
            let ran = live.end().bad(*code, said);
            assert_eq!(ran.text(), "", "{args:?}");
            assert!(ran.took < Duration::from_secs(30), "{args:?}: {:?}", ran.took);
        }
    }
}

/// As after `nohup`, and of background jobs of scripts.
#[test]
fn signals_that_are_ignored_at_the_start_stay_ignored() {
    let server = with_topic(1);
    fill(&server, 0, &["a"]);
    for (name, signal) in [("HUP", Signal::HUP), ("INT", Signal::INT)] {
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", &format!("trap '' {name}; exec \"$0\" consume t -u")]).arg(binary());
        shell.env("KAVKA_BOOTSTRAP", server.bootstrap());
        shell.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut live = Live::start(shell);
        let before = server.log_len("t", 0);
        for _ in 0..before {
            live.line();
        }
        live.signal(signal);
        live.signal(signal);
        fill(&server, 0, &["more"]);
        assert_eq!(live.line(), "more", "{name}");
        live.signal(Signal::TERM);
        live.end().good();
    }
}

#[test]
fn reading_that_a_signal_ends_reports_what_is_left() {
    let server = with_topic(1);
    fill(&server, 0, &["a", "b", "c"]);
    let cases: &[(&[&str], &str)] = &[
        (&["consume", "t", "-c", "5", "-u"], "interrupted: 2 records left to read"),
        (&["consume", "t", "-c", "4", "-u"], "interrupted: 1 record left to read"),
    ];
    for (args, said) in cases {
        let mut live = Live::start(at(&server, args));
        assert_eq!([live.line(), live.line(), live.line()], ["a", "b", "c"]);
        live.signal(Signal::INT);
        live.end().bad(0, &[said]);
    }
    // The broker says where the log ends, and then nothing.
    server.fault(1, ApiKey::Fetch, Fault::DropRequest, 10_000);
    let mut live = Live::start(at(&server, &["consume", "t", "-e", "--timeout", "100"]));
    live.error("connection");
    live.signal(Signal::INT);
    live.end().bad(0, &["interrupted: at most 3 records left to read"]);
}

/// Also while it waits for acknowledgements that do not come.
#[test]
fn a_second_signal_ends_producing_without_waiting() {
    let server = with_topic(1);
    let mut live = Live::start(at(&server, &["produce", "t", "-v"]));
    let mut stdin = live.stdin.take().expect("piped");
    live.error("1 partition");
    server.pause(1);
    stdin.write_all(b"a\n").expect("it reads");
    await_read(&stdin);
    let begun = Instant::now();
    let mut signals = 0;
    while !live.has_ended() {
        live.signal(Signal::INT);
        signals += 1;
        std::thread::sleep(Duration::from_millis(20)); // two at once may be one
    }
    assert!(signals >= 2 && begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(live.end().code, Some(130));
}

/// Read by it, not only written by us: the pipe is empty again.
fn await_read(stdin: &ChildStdin) {
    let until = Instant::now() + LONG;
    while rustix::io::ioctl_fionread(stdin).expect("a pipe") > 0 {
        assert!(Instant::now() < until, "it does not read");
        std::thread::yield_now();
    }
    std::thread::sleep(Duration::from_millis(200));
}

#[test]
fn producing_delivers_what_was_read_when_a_signal_comes() {
    for signal in [Signal::INT, Signal::TERM] {
        let server = with_topic(1);
        // Batches linger on for a minute unless they are flushed.
        let args = ["produce", "t", "-v", "--linger", "60000", "--linger-when-idle"];
        let mut live = Live::start(at(&server, &args));
        let mut stdin = live.stdin.take().expect("piped");
        live.error("1 partition");
        stdin.write_all(b"a\nb\n").expect("it reads");
        await_read(&stdin);
        live.signal(signal);
        live.error("interrupted: 2 records delivered; the input was not read to its end");
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
    live.error("1 partition");
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
    live.end().bad(1, &["lost: ", "not acknowledged (t, partition 0: ", "127.0.0.1"]);
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

/// A run whose stdout is full: it cannot notice a signal.
fn blocked(server: &Server) -> (Child, ChildStdout) {
    fill(server, 0, &["0123456789"]);
    let mut command = at(server, &["consume", "t", "-f", &"%s".repeat(40_000), "-c", "1"]);
    let mut child = command.spawn().expect("it starts");
    let stdout = child.stdout.take().expect("piped");
    let until = Instant::now() + LONG;
    while rustix::io::ioctl_fionread(&stdout).expect("a pipe") < 60_000 {
        assert!(Instant::now() < until, "the pipe does not fill");
        std::thread::yield_now();
    }
    (child, stdout)
}

#[test]
fn a_signal_ends_it_although_nothing_takes_what_it_prints() {
    let server = with_topic(1);
    let (child, stdout) = blocked(&server);
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, Signal::INT).expect("it runs");
    let begun = Instant::now();
    let ended = child.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("stdout is full and nothing reads it"), "{said}");
    assert!(begun.elapsed() < LONG / 2, "{:?}", begun.elapsed());
    drop(stdout);
}

#[test]
fn a_second_signal_ends_it_without_waiting() {
    let server = with_topic(1);
    let (mut child, _stdout) = blocked(&server);
    let pid = rustix::process::Pid::from_child(&child);
    let until = Instant::now() + LONG;
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

/// What it could not deliver, and why.
#[test]
fn an_interrupted_producer_says_why_records_are_lost() {
    let options =
        Options { brokers: 2, replication: 1, session_timeout: LONG * 10, ..Options::default() };
    let server = Server::start(options).expect("simulated brokers");
    server.create_topic("t", 2).expect("a topic");
    let dead = u32::from(server.leader("t", 0).expect("a leader").0 != 2);
    server.kill(2).expect("its port is kept");
    let address = server.address(2).expect("a broker").to_string();
    let partition = dead.to_string();
    for input_ends in [false, true] {
        let mut live = Live::start(at(&server, &["produce", "t", "-p", &partition]));
        writeln!(live.stdin.as_mut().expect("piped"), "a").expect("it reads");
        let stdin = live.stdin.take().filter(|_| !input_ends);
        live.error("refused");
        live.signal(Signal::INT);
        let ran = live.end().bad(1, &["interrupted", "of 1 record", &address]);
        assert!(ran.took < Duration::from_secs(60), "the input ends: {input_ends}: {:?}", ran.took);
        drop(stdin);
    }
}
