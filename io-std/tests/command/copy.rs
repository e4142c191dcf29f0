//! `kavka copy`.

use std::time::{Duration, Instant};

use kavka_std::{Config, Producer, Record};
use kavka_tests::kafka::{Cluster, Version, shared_or_skip};
use kavka_tests::sim::{Groups, Options, Profile, Server, Transactions};
use rustix::process::{Pid, Signal, test_kill_process};

use crate::group::{impatient, impatient_of};
use crate::live::Live;
use crate::{LONG, at, feed, kavka, run};

fn server() -> Server {
    server_of(Profile::default())
}

/// Topics `a`, with six records in two partitions, and `b`.
fn server_of(profile: Profile) -> Server {
    let options = Options {
        profile,
        brokers: 1,
        replication: 1,
        groups: Some(Groups { interval: Duration::from_millis(100), ..Groups::default() }),
        transactions: Some(Transactions::default()),
        ..Options::default()
    };
    let server = Server::start(options).expect("simulated brokers");
    for topic in ["a", "b"] {
        server.create_topic(topic, 2).expect("a new topic");
    }
    let addresses = server.bootstrap();
    for partition in ["0", "1"] {
        let args = ["-b", &addresses, "produce", "a", "-p", partition, "-k", "key", "-H", "n=v"];
        let text = format!("one {partition}\ntwo {partition}\nthree {partition}\n");
        feed(kavka(&args), text.as_bytes()).good();
    }
    server
}

fn read(server: &Server, topic: &str) -> Vec<String> {
    let args = ["consume", topic, "-e", "--isolation", "read_committed", "-f", "%p %k %s %h\n"];
    run(server, &args).good().lines()
}

#[test]
fn records_are_copied_with_partition_key_and_headers() {
    for more in [&[][..], &["--exactly-once"]] {
        let server = server();
        let copy = [&["copy", "a", "b", "-n", "6"][..], more].concat();
        let ran = run(&server, &copy).good();
        assert!(ran.err.contains("6 records copied"), "{ran:?}");
        assert_eq!(read(&server, "b"), read(&server, "a"), "{more:?}");
        // Another run continues behind them.
        let addresses = server.bootstrap();
        let next = ["-b", &addresses, "produce", "a", "-p", "0", "-k", "key", "-H", "n=v"];
        feed(kavka(&next), b"four\n").good();
        let again = [&["copy", "a", "b", "-n", "1"][..], more].concat();
        run(&server, &again).good();
        assert_eq!(read(&server, "b"), read(&server, "a"), "{more:?}");
    }
}

/// Such brokers do not check whether a member commits offsets with a transaction.
#[test]
fn brokers_before_2_5_have_a_producer_for_each_partition() {
    let server = server_of(Profile::V2_4);
    let copy = ["copy", "a", "b", "-n", "6", "--exactly-once"];
    let ran = run(&server, &copy).good();
    assert!(ran.err.contains("6 records copied"), "{ran:?}");
    assert_eq!(ran.err.matches("each partition has a producer of its own").count(), 1, "{ran:?}");
    assert_eq!(read(&server, "b"), read(&server, "a"));
    // What is open of another process is aborted, and nothing of it is copied twice.
    let addresses = server.bootstrap();
    let ids: Vec<_> = [0, 1].map(|partition| format!("copy-a-b:a:{partition}")).into();
    let old = Config::new(&addresses).transactional_id(&ids[0]);
    let old = Producer::new(old).expect("a producer");
    let open = old.transaction().expect("none is open");
    let sent = open.send_to("b", 0, &Record::new(b"open")).expect("there is space");
    sent.wait().expect("written");
    for partition in ["0", "1"] {
        let next = ["-b", &addresses, "produce", "a", "-p", partition, "-k", "key", "-H", "n=v"];
        feed(kavka(&next), b"four\n").good();
    }
    let ran = run(&server, &["copy", "a", "b", "-n", "2", "--exactly-once"]).good();
    assert!(ran.err.contains("2 records copied"), "{ran:?}");
    assert_eq!(read(&server, "b"), read(&server, "a"));
    open.commit().wait().expect_err("it is fenced");
    assert_eq!(read(&server, "b"), read(&server, "a"));
}

#[test]
fn a_program_changes_values_line_by_line() {
    let server = server();
    let copy = ["copy", "a", "b", "-n", "6", "--exactly-once", "--transform", "sed -u s/o/0/"];
    run(&server, &copy).good();
    let changed = |line: String| line.replacen(" one", " 0ne", 1).replacen(" two", " tw0", 1);
    let mut wanted: Vec<_> = read(&server, "a").into_iter().map(changed).collect();
    wanted.sort();
    assert_eq!(read(&server, "b"), wanted);
}

#[test]
fn a_program_that_prints_two_lines_or_none_is_reported() {
    for (program, said) in [
        ("sed -u p", "more than a line"),
        ("true", "it has ended"),
        ("cat > /dev/null", "does it flush each line"),
    ] {
        let server = server();
        let copy = ["copy", "a", "b", "-n", "6", "--exactly-once", "--transform", program];
        run(&server, &copy).bad(1, &["--transform", program, said]);
        assert!(read(&server, "b").is_empty(), "{program}");
    }
}

/// It would be left behind, and what a pipe holds together, too.
#[test]
fn a_program_that_ignores_the_end_of_its_input_is_ended() {
    for ignores in ["", "trap '' TERM; "] {
        let server = server();
        let folder = tempfile("end");
        let program = format!(
            "{ignores}sh -c '{ignores}echo $$ > {folder}; sed -u s/o/0/; while :; do sleep 0.1; \
             done' | cat"
        );
        run(&server, &["copy", "a", "b", "-n", "6", "--transform", &program]).good();
        let pid = std::fs::read_to_string(&folder).expect("it has begun");
        std::fs::remove_file(&folder).expect("it is ours");
        let pid = Pid::from_raw(pid.trim().parse().expect("a process")).expect("not 0");
        let until = Instant::now() + LONG;
        while test_kill_process(pid).is_ok() {
            assert!(Instant::now() < until, "{program} is still running");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A name that no other test uses.
fn tempfile(test: &str) -> String {
    let name = format!("kavka-copy-{test}-{}", std::process::id());
    std::env::temp_dir().join(name).display().to_string()
}

/// It has a process group of its own, so that the terminal's signal does not reach it.
#[test]
fn a_second_signal_ends_the_program_too() {
    let server = server();
    let file = tempfile("second");
    // It keeps its output back, so that the first signal alone ends nothing.
    let program = format!("trap '' TERM; echo $$ > {file}; while :; do sleep 0.1; done");
    let mut live = Live::start(at(&server, &["copy", "a", "b", "--transform", &program]));
    let until = Instant::now() + LONG;
    let pid = loop {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if let Ok(pid) = text.trim().parse() {
            break Pid::from_raw(pid).expect("not 0");
        }
        assert!(Instant::now() < until, "the program does not begin");
        std::thread::yield_now();
    };
    while !live.has_ended() {
        live.signal(Signal::INT);
        assert!(Instant::now() < until, "it does not end");
        std::thread::sleep(Duration::from_millis(20)); // two at once may be one
    }
    assert_eq!(live.end().code, Some(130));
    std::fs::remove_file(&file).expect("it is ours");
    while test_kill_process(pid).is_ok() {
        assert!(Instant::now() < until, "the program is still running");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The values of a topic by partition, in order.
fn values(cluster: &Cluster, topic: &str, partition: &str) -> String {
    let addresses = cluster.bootstrap();
    let place = ["-b", &addresses, "consume", topic, "-p", partition, "-o", "beginning", "-e"];
    let args = [&place[..], &["--isolation", "read_committed"]].concat();
    feed(kavka(&args), b"").good().text()
}

#[test]
fn a_copy_that_is_killed_again_and_again_is_exact() {
    let Some(cluster) = shared_or_skip(impatient()) else { return };
    is_exact_under_kills(cluster);
}

/// Where each partition has a producer of its own.
#[test]
fn a_copy_before_2_5_that_is_killed_again_and_again_is_exact() {
    let Some(cluster) = shared_or_skip(impatient_of(Version::V2_4_1)) else { return };
    is_exact_under_kills(cluster);
}

/// Two processes, of which one is stopped until the other has all partitions, and continued.
#[test]
fn a_copy_before_2_5_that_is_stopped_past_its_session_is_exact() {
    let Some(cluster) = shared_or_skip(impatient_of(Version::V2_4_1)) else { return };
    for topic in ["c", "d"] {
        cluster.create(topic, 4).expect("created");
    }
    let addresses = cluster.bootstrap();
    let copy = ["-b", &addresses, "copy", "c", "d", "--exactly-once"];
    let session = ["-X", "session.timeout.ms=6000", "-X", "heartbeat.interval.ms=1000"];
    let copy = [&copy[..], &session].concat();
    let start = || Live::start(kavka(&copy));
    let mut written = 0;
    let mut write = || {
        let text: String = (written..written + 2000).map(|n| format!("{n}\n")).collect();
        feed(kavka(&["-b", &addresses, "produce", "c"]), text.as_bytes()).good();
        written += 2000;
        written
    };
    let all = ["0", "1", "2", "3"];
    let until_copied = |wanted: usize, what: &str| {
        let until = Instant::now() + LONG;
        let count = || all.map(|p| values(cluster, "d", p).lines().count()).iter().sum::<usize>();
        while count() < wanted {
            assert!(Instant::now() < until, "{what}: {} of {wanted} are copied", count());
        }
    };
    let (first, second) = (start(), start());
    until_copied(write(), "two processes");
    for stopped in [&first, &second] {
        // Something may be open at that moment.
        let more = write();
        stopped.signal(Signal::STOP);
        until_copied(more, "one is stopped");
        until_copied(write(), "the other one has all");
        stopped.signal(Signal::CONT);
        until_copied(write(), "it is continued");
    }
    for live in [first, second] {
        live.signal(Signal::TERM);
        live.end().good();
    }
    for partition in all {
        let (a, b) = (values(cluster, "c", partition), values(cluster, "d", partition));
        assert_eq!(a, b, "partition {partition}");
    }
}

fn is_exact_under_kills(cluster: &Cluster) {
    for topic in ["a", "b"] {
        cluster.create(topic, 2).expect("created");
    }
    let addresses = cluster.bootstrap();
    let copy = ["-b", &addresses, "copy", "a", "b", "--exactly-once"];
    let count =
        || ["0", "1"].map(|p| values(cluster, "b", p).lines().count()).iter().sum::<usize>();
    let mut written = 0;
    for round in 0..3 {
        let text: String = (0..3000).map(|n| format!("{round} {n}\n")).collect();
        feed(kavka(&["-b", &addresses, "produce", "a"]), text.as_bytes()).good();
        written += 3000;
        let live = Live::start(kavka(&copy));
        // In the middle of what it copies, as soon as something has arrived.
        let (before, until) = (count(), Instant::now() + LONG);
        while count() == before {
            assert!(Instant::now() < until, "round {round}: nothing is copied");
        }
        live.signal(Signal::KILL);
    }
    let last = Live::start(kavka(&copy));
    let until = Instant::now() + LONG;
    while count() < written {
        assert!(Instant::now() < until, "{} of {written} are copied", count());
    }
    last.signal(Signal::TERM);
    last.end().good();
    for partition in ["0", "1"] {
        let (a, b) = (values(cluster, "a", partition), values(cluster, "b", partition));
        assert_eq!(a, b, "partition {partition}");
    }
}
