//! Partitions that do not exist, have no leader, or cannot be reached.

use std::time::Duration;

use kavka_std::kavka_core::murmur2::{murmur2, positive};
use kavka_tests::sim::{ApiKey, Fault, Options, Server};

use crate::live::Live;
use crate::{LONG, at, feed, fill, run, with_topic};

/// Two brokers without replicas, of which the second is dead: partition 1 has no leader, 0 and 2
/// have two records each.
fn half_dead(session: Duration) -> Server {
    let options =
        Options { brokers: 2, replication: 1, session_timeout: session, ..Options::default() };
    let server = Server::start(options).expect("simulated brokers");
    server.create_topic("t", 3).expect("a topic");
    for partition in [0, 1, 2] {
        fill(&server, partition, &[&format!("{partition}a"), &format!("{partition}b")]);
    }
    server.kill(2).expect("its port is kept");
    server
}

/// Until the brokers agree that a partition has no leader.
fn await_leaderless(server: &Server) {
    let until = std::time::Instant::now() + LONG;
    loop {
        let text = run(server, &["topics", "describe", "t"]).good().text();
        if text.contains("1\tnone") {
            return;
        }
        assert!(std::time::Instant::now() < until, "it still has a leader: {text}");
    }
}

#[test]
fn a_partition_that_does_not_exist_is_named_at_once() {
    let server = with_topic(1);
    let said = ["t has no partition 99: it has 1"];
    for args in [
        &["consume", "t", "-p", "99", "-e"][..],
        &["consume", "t", "-p", "99"],
        &["consume", "t", "-p", "99", "-o", "-2"],
        &["topics", "offsets", "t", "-p", "99"],
        &["produce", "t", "-p", "99"],
    ] {
        let ran = feed(at(&server, args), b"a\n").bad(1, &said);
        assert!(ran.took < Duration::from_secs(5), "{args:?} took {:?}", ran.took);
    }
    let line = br#"{"payload":"a","partition":99}"#;
    let produce = ["produce", "t", "--json"];
    feed(at(&server, &produce), line).bad(1, &["line 1", said[0], "--repartition"]);
    let produce = ["produce", "t", "--json", "--repartition"];
    feed(at(&server, &produce), line).good();
    run(&server, &["consume", "none", "-e"]).bad(1, &["describe topic none"]);
    let missing = ["consume", "none", "--timeout", "3"];
    run(&server, &missing).bad(1, &["none", "create the topic"]);
}

#[test]
fn the_others_are_read_when_a_partition_has_no_leader() {
    let server = half_dead(Duration::from_millis(300));
    await_leaderless(&server);
    let said = ["t, partition 1: it has no leader", "Its replicas are on 2"];
    let ran = run(&server, &["consume", "t", "-e"]).bad(1, &said);
    assert_eq!(ran.lines(), ["0a", "0b", "2a", "2b"]);
    let ran = run(&server, &["consume", "t", "-e", "-o", "-1"]).bad(1, &said);
    assert_eq!(ran.lines(), ["0b", "2b"]);
    run(&server, &["consume", "t", "-e", "-p", "1"]).bad(1, &said);
    run(&server, &["consume", "t", "-e", "-p", "0"]).good();
    let ran = run(&server, &["topics", "offsets", "t"]).bad(1, &said);
    assert_eq!(ran.text(), "t\t0\t0\t2\nt\t2\t0\t2\n");

    // Without -e it is awaited.
    let mut live = Live::start(at(&server, &["consume", "t", "-o", "-1", "-f", "%s\\n", "-u"]));
    live.error("it will be read from its end");
    let mut read = [live.line(), live.line()];
    read.sort();
    assert_eq!(read, ["0b", "2b"]);
    live.signal(rustix::process::Signal::TERM);
    live.end().good();
}

#[test]
fn the_others_are_read_when_a_leader_cannot_be_reached() {
    // Nobody notices that it is dead.
    let server = half_dead(LONG * 10);
    let ran = run(&server, &["consume", "t", "-e", "--timeout", "2"]);
    let ran = ran.bad(1, &["t, partition 1: ", "refused"]);
    assert_eq!(ran.lines(), ["0a", "0b", "2a", "2b"]);
    let ran = run(&server, &["topics", "offsets", "t", "--timeout", "2", "--json"]);
    assert_eq!(ran.bad(1, &["t, partition 1: "]).lines().len(), 2);
}

/// Long before the time is over for the one that cannot.
#[test]
fn the_others_are_read_at_once() {
    let server = half_dead(LONG * 10);
    for args in [&["consume", "t", "-e"][..], &["consume", "t", "-o", "-2"]] {
        let mut command = at(&server, args);
        command.args(["-u", "--timeout", "300"]);
        let mut live = Live::start(command);
        let mut read: Vec<String> = (0..4).map(|_| live.line()).collect();
        read.sort();
        assert_eq!(read, ["0a", "0b", "2a", "2b"], "{args:?}");
        server.restart(2).expect("it listens");
        let mut read = [live.line(), live.line()];
        read.sort();
        assert_eq!(read, ["1a", "1b"], "{args:?}: read once it can be");
        if args.contains(&"-e") {
            live.end().good();
        } else {
            live.signal(rustix::process::Signal::INT);
            live.end().good();
        }
        server.kill(2).expect("its port is kept");
    }
}

/// As one topic of several without the right to read it.
#[test]
fn the_others_are_read_when_a_leader_refuses_for_good() {
    let options = Options { brokers: 2, replication: 1, ..Options::default() };
    let server = Server::start(options).expect("simulated brokers");
    server.create_topic("t", 2).expect("a topic");
    for partition in [0, 1] {
        fill(&server, partition, &["a", "b"]);
    }
    let refused = if server.leader("t", 0).expect("a leader").0 == 2 { 0 } else { 1 };
    server.fault(2, ApiKey::Fetch, Fault::Error(29), 10_000);
    let (named, time) = (format!("t, partition {refused}: "), Duration::from_secs(8));
    for args in [&["consume", "t", "-e"][..], &["consume", "t", "-o", "-1", "-c", "3", "-u"]] {
        let mut live = Live::start(at(&server, args));
        let line = live.error("TOPIC_AUTHORIZATION_FAILED");
        assert!(line.contains(&named), "{line}");
        if args.contains(&"-e") {
            let ran = live.end();
            assert!(ran.took < time, "{:?}", ran.took);
            assert_eq!(ran.bad(1, &[]).lines(), ["a", "b"]);
        } else {
            assert_eq!(live.line(), "b");
            live.signal(rustix::process::Signal::INT);
            assert_eq!(live.end().bad(1, &[]).text(), "");
        }
    }
}

#[test]
fn a_partition_that_stops_in_the_middle_is_named() {
    let server = half_dead(LONG * 10);
    server.restart(2).expect("it listens");
    // It says where the log ends, and then gives no records.
    server.fault(2, ApiKey::Fetch, Fault::DropRequest, 10_000);
    let ran = run(&server, &["consume", "t", "-e", "--timeout", "2"]);
    let said = ["t, partition 1: no records after 0 of 2", "read t, partition 1: as above, broker"];
    assert_eq!(ran.bad(1, &said).lines(), ["0a", "0b", "2a", "2b"]);
}

/// Twelve one-shot producers beside a dead broker, before and after the others have noticed: what
/// may go to any partition goes to those that can be written, what belongs to one says why not.
#[test]
fn records_without_key_are_written_where_there_is_a_leader() {
    for session in [LONG * 10, Duration::from_millis(300)] {
        let server = half_dead(session);
        let noticed = session < LONG;
        if noticed {
            await_leaderless(&server);
        }
        let written = || [0, 2].map(|index| server.log_len("t", index)).iter().sum::<i64>();
        let before = written();
        for n in 0..12 {
            let args = ["produce", "t", "--delivery-timeout", "60"];
            let ran = feed(at(&server, &args), format!("{n}\n").as_bytes());
            assert_eq!(ran.code, Some(0), "noticed: {noticed}, producer {n}: {ran:?}");
        }
        assert_eq!(written() - before, 12, "noticed: {noticed}");
        // murmur2 of a key chooses its partition.
        let of = |key: &String| positive(murmur2(key.as_bytes())) % 3;
        let key_of = |index| (0..).map(|n: u32| n.to_string()).find(|key| of(key) == index);
        let [good, dead] = [0, 1].map(|index| key_of(index).expect("a key"));
        feed(at(&server, &["produce", "t", "-k", &good]), b"a\n").good();
        assert_eq!(written() - before, 13, "noticed: {noticed}");
        let why = if noticed { "no leader" } else { "refused" };
        for to in [&["-k", &dead][..], &["-p", "1"]] {
            let args = [&["produce", "t", "--delivery-timeout", "2"], to].concat();
            let ran = feed(at(&server, &args), b"a\n");
            ran.bad(1, &["of 1 record: 1 record lost", "partition 1", why]);
        }
        assert_eq!(written() - before, 13, "noticed: {noticed}");
    }
}
