//! Topics that do not exist, and addresses that lead to another cluster.

use std::io::Write as _;
use std::time::{Duration, Instant};

use kavka_tests::sim::{Options, Server};

use crate::live::Live;
use crate::{LONG, at, feed, fill, kavka, with_topic};

/// Far below the time-out of 10 s, and above the 2 s for which a new topic may be unknown.
const SOON: Duration = Duration::from_secs(6);

#[test]
fn a_missing_topic_ends_every_command_when_brokers_agree_that_there_is_none() {
    let server = with_topic(1);
    for args in [
        &["produce", "none"][..],
        &["produce", "none", "-p", "0"],
        &["consume", "none"],
        &["consume", "none", "-e"],
        &["consume", "none", "-p", "0"],
        &["consume", "none", "-o", "-3"],
        &["consume", "t", "none", "--json"],
        &["topics", "describe", "none"],
        &["topics", "offsets", "none"],
        &["topics", "watch", "none"],
        &["metadata", "none"],
    ] {
        let ran = feed(at(&server, args), b"a\n");
        let address = server.bootstrap();
        let said = ["none", "UNKNOWN_TOPIC_OR_PARTITION", "create the topic", &address];
        let ran = ran.bad(1, &said);
        assert!(ran.took < SOON, "{args:?}: {:?}", ran.took);
    }
}

/// Within the two seconds for which it may be unknown to some brokers.
#[test]
fn a_topic_that_is_created_a_moment_later_is_used() {
    let server = with_topic(1);
    let mut command = at(&server, &["produce", "later", "-v"]);
    command.arg("--timeout").arg("20");
    let mut live = Live::start(command);
    live.stdin.as_mut().expect("piped").write_all(b"a\n").expect("it reads");
    while server.accepted() == 0 {
        std::thread::yield_now();
    }
    server.create_topic("later", 1).expect("a topic");
    live.error("later: 1 partition");
    live.end().good();
    assert_eq!(server.log_len("later", 0), 1);
}

/// A line that `produce` delivered.
fn deliver(live: &mut Live, server: &Server) {
    let before = server.log_len("t", 0);
    writeln!(live.stdin.as_mut().expect("piped"), "before").expect("it reads");
    let until = Instant::now() + LONG;
    while server.log_len("t", 0) == before {
        assert!(Instant::now() < until, "nothing is written");
        std::thread::yield_now();
    }
}

#[test]
fn another_cluster_at_the_address_ends_what_continues() {
    let server = with_topic(1);
    for args in [
        &["produce", "t"][..],
        &["consume", "t", "-u"],
        &["consume", "t", "-u", "-p", "0"],
        &["topics", "watch", "t"],
    ] {
        let mut live = Live::start(at(&server, args));
        if args[0] == "produce" {
            deliver(&mut live, &server);
        } else {
            live.line();
        }
        server.with(|cluster| cluster.impersonate(1, true));
        server.disconnect(1);
        let begun = Instant::now();
        let stdin = live.stdin.take(); // still open: not its end ends the command
        let address = server.bootstrap();
        let said = [
            "leads to another cluster",
            "another-cluster-00001",
            "simulated-cluster-0001",
            "use --any-cluster",
            &address,
        ];
        live.end().bad(1, &said);
        drop(stdin);
        assert!(begun.elapsed() < SOON, "{args:?}: {:?}", begun.elapsed());
        server.with(|cluster| cluster.impersonate(1, false));
    }
}

/// Its partitions are named, and the others are read on.
#[test]
fn one_of_two_brokers_in_another_cluster_does_not_end_the_rest() {
    let options = Options { brokers: 2, replication: 1, ..Options::default() };
    let server = Server::start(options).expect("simulated brokers");
    server.create_topic("t", 2).expect("a topic");
    let led = |partition| server.leader("t", partition).expect("a leader").0;
    assert_ne!(led(0), led(1));
    let (lost, kept) = if led(0) == 2 { (0, 1) } else { (1, 0) };
    fill(&server, 0, &["a"]);
    fill(&server, 1, &["b"]);
    let mut live = Live::start(at(&server, &["consume", "t", "-u", "--timeout", "2"]));
    live.line();
    live.line();
    server.with(|cluster| cluster.impersonate(2, true));
    server.disconnect(2);
    let (named, said) = (format!("t, partition {lost}"), live.error("leads to another cluster"));
    if !said.contains(&named) {
        live.error(&named); // a connection said why
    }
    // The address that is right leads to the other one, too.
    let (right, kept) = (server.address(1).expect("a broker").to_string(), kept.to_string());
    feed(kavka(&["-b", &right, "produce", "t", "-p", &kept]), b"more\n").good();
    assert_eq!(live.line(), "more");
    live.signal(rustix::process::Signal::INT);
    live.end().bad(1, &[]);
    let ran = feed(kavka(&["-b", &right, "topics", "list"]), b"").good();
    assert_eq!(ran.text(), "t\t2\n");
}

/// Whichever of them the client uses: it may never connect to the other one.
#[test]
fn addresses_of_two_clusters_are_named_by_every_command() {
    let (one, other) = (with_topic(1), with_topic(1));
    other.with(|cluster| cluster.impersonate(1, true));
    let list = [one.bootstrap(), other.bootstrap()].join(",");
    let clusters = |ran: &crate::Ran| {
        let lines = ran.err.lines().filter(|line| line.contains("cluster")).count();
        let both = ["another-cluster-00001", "simulated-cluster-0001"];
        let both = both.iter().all(|id| ran.err.contains(id));
        let addresses = list.split(',').all(|address| ran.err.contains(address));
        assert!(lines == 1 && both && addresses, "{ran:?}");
    };
    for args in [
        &["consume", "t", "-e"][..],
        &["topics", "list"],
        &["topics", "offsets", "t"],
        &["topics", "describe", "t"],
        &["metadata"],
        &["metadata", "t"],
        &["produce", "t"],
        &["topics", "create", "new"],
        &["topics", "grow", "t", "5"],
        &["topics", "delete", "t"],
    ] {
        let ran = feed(kavka(&[&["-b", &list, "--timeout", "3"], args].concat()), b"a\n");
        assert_eq!(ran.code, Some(1), "{args:?}: {ran:?}");
        clusters(&ran);
    }
    for server in [&one, &other] {
        assert_eq!(server.log_len("t", 0), 0, "nothing is sent");
        let counts = server.with(|cluster| (cluster.partitions("t"), cluster.partitions("new")));
        assert_eq!(counts, (1, 0), "and nothing changed");
    }
    let ran = feed(kavka(&["-b", &list, "--any-cluster", "topics", "list"]), b"").good();
    assert_eq!(ran.err, "", "any will do");
    for args in [&["topics", "watch", "t"][..], &["consume", "t"]] {
        let mut live = Live::start(kavka(&[&["-b", &list], args].concat()));
        let line = live.error("cluster");
        assert!(line.contains("another-cluster-00001"), "{args:?}: {line}");
        live.signal(rustix::process::Signal::INT);
        live.end();
    }
}
