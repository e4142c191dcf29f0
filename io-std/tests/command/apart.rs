//! One of several topics or partitions cannot be read: the others are, and it is named with the
//! reason, soon and once.

use std::time::{Duration, Instant};

use kavka_tests::sim::{ApiKey, Fault, Options, Server};
use rustix::process::Signal;

use crate::live::Live;
use crate::{LONG, Ran, feed, fill, kavka, run, with_topic};

/// Two brokers that lead a partition of `t` each; which one the second leads.
fn two() -> (Server, u32) {
    let options =
        Options { brokers: 2, replication: 1, session_timeout: LONG * 10, ..Options::default() };
    let server = Server::start(options).expect("simulated brokers");
    server.create_topic("t", 2).expect("a topic");
    let lost = if server.leader("t", 0).expect("a leader").0 == 2 { 0 } else { 1 };
    fill(&server, 0, &["p0"]);
    fill(&server, 1, &["p1"]);
    (server, lost)
}

/// What is wrong with the second broker, and what is said of it.
const WRONG: [(&str, &str); 7] = [
    ("another cluster", "leads to another cluster"),
    ("dead", "refused"),
    ("silent", "no response"),
    ("refuses for now", "LEADER_NOT_AVAILABLE"),
    ("refuses", "TOPIC_AUTHORIZATION_FAILED"),
    ("closes", "ended by the peer"),
    ("has no host", "advertised"),
];

/// Kills the second broker. Its port is kept, unless a connection of another test just took it.
fn kill(server: &Server) {
    let until = Instant::now() + LONG;
    while let Err(error) = server.kill(2) {
        assert!(Instant::now() < until, "{error}");
        std::thread::yield_now();
    }
}

fn harm(server: &Server, what: &str) {
    match what {
        "another cluster" => {
            server.with(|cluster| cluster.impersonate(2, true));
            server.disconnect(2);
        }
        "dead" => kill(server),
        "silent" => server.pause(2),
        "refuses for now" => server.fault(2, ApiKey::ListOffsets, Fault::Error(5), 10_000),
        "refuses" => server.fault(2, ApiKey::ListOffsets, Fault::Error(29), 10_000),
        "closes" => server.fault(2, ApiKey::ListOffsets, Fault::DropRequest, 10_000),
        "has no host" => server.with(|cluster| cluster.set_endpoint(2, "", 9092)),
        other => panic!("{other}"),
    }
}

/// No line says of the same broker what another one says.
#[track_caller]
fn once(ran: &Ran, text: &str) {
    let said = ran.err.lines().filter(|line| line.contains(text)).count();
    assert_eq!(said, 1, "{text}: {}", ran.err);
}

#[test]
fn the_others_are_read_whatever_is_wrong_with_the_leader_of_one() {
    std::thread::scope(|scope| {
        for (what, text) in WRONG {
            scope.spawn(move || {
                let (server, lost) = two();
                harm(&server, what);
                let one = server.address(1).expect("a broker").to_string();
                let two = server.address(2).expect("a broker").to_string();
                for args in [&["topics", "offsets", "t"][..], &["consume", "t", "-e"]] {
                    let all = [&["-b", &one, "--timeout", "4"], args].concat();
                    let ran = feed(kavka(&all), b"");
                    let kept = 1 - lost;
                    let want = match args.contains(&"-e") {
                        true => format!("p{kept}\n"),
                        false => format!("t\t{kept}\t0\t1\n"),
                    };
                    assert_eq!(ran.text(), want, "{what}, {args:?}: {ran:?}");
                    let address = if what == "has no host" { "2" } else { &*two };
                    let named = format!("t, partition {lost}: ");
                    let ran = ran.bad(1, &[&named, text, address]);
                    once(&ran, text);
                }
            });
        }
    });
}

/// The bootstrap broker does not.
#[test]
fn a_second_broker_that_wants_sasl_has_advice() {
    let (server, lost) = two();
    for api in [ApiKey::Metadata, ApiKey::ListOffsets, ApiKey::Fetch, ApiKey::Produce] {
        server.fault(2, api, Fault::DropRequest, 10_000);
    }
    let one = server.address(1).expect("a broker").to_string();
    let (two, lost) = (server.address(2).expect("a broker").to_string(), lost.to_string());
    for args in [
        &["topics", "offsets", "t"][..],
        &["consume", "t", "-e"],
        &["produce", "t", "-p", &lost, "--delivery-timeout", "3"],
    ] {
        let all = [&["-b", &one, "--timeout", "3"], args].concat();
        let ran = feed(kavka(&all), b"a\n").bad(1, &["may want SASL", &two]);
        once(&ran, "may want SASL");
    }
}

/// More than are searched for at a time.
#[test]
fn many_partitions_of_a_dead_leader_keep_no_other_from_being_found() {
    const ALL: u32 = 1200;
    let options =
        Options { brokers: 2, replication: 1, session_timeout: LONG * 10, ..Options::default() };
    let server = Server::start(options).expect("simulated brokers");
    server.create_topic("t", ALL).expect("a topic");
    let led = |partition: &u32| server.leader("t", *partition).expect("a leader").0 == 1;
    let good = (0..ALL).filter(led).count();
    kill(&server);
    let one = server.address(1).expect("a broker").to_string();
    let args = ["-b", &one, "topics", "offsets", "t", "--timeout", "6"];
    let ran = feed(kavka(&args), b"").bad(1, &["t, partitions ", "refused"]);
    assert_eq!(ran.lines().len(), good, "{}", ran.err);
}

/// With a time-out that is far away.
#[test]
fn a_partition_that_cannot_be_read_is_named_soon() {
    std::thread::scope(|scope| {
        for (what, text) in WRONG {
            scope.spawn(move || {
                let (server, _) = two();
                harm(&server, what);
                let one = server.address(1).expect("a broker").to_string();
                for args in [&["topics", "offsets", "t"][..], &["consume", "t", "-e"]] {
                    let all = [&["-b", &one, "--timeout", "100"], args].concat();
                    let begun = Instant::now();
                    let mut live = Live::start(kavka(&all));
                    live.error(text);
                    let limit = if what == "silent" { 5 } else { 3 };
                    let took = begun.elapsed();
                    assert!(took < Duration::from_secs(limit), "{what}, {args:?}: {took:?}");
                    if !live.has_ended() {
                        live.signal(Signal::KILL);
                    }
                    live.end();
                }
            });
        }
    });
}

#[test]
fn a_topic_that_does_not_exist_keeps_no_other_from_being_read() {
    let server = with_topic(1);
    server.create_topic("u", 2).expect("a topic");
    fill(&server, 0, &["a"]);
    let said = ["none", "UNKNOWN_TOPIC_OR_PARTITION", "create the topic"];
    for topics in [["none", "t"], ["t", "none"]] {
        let ran = run(&server, &[&["consume", "-e"], &topics[..]].concat()).bad(1, &said);
        assert_eq!(ran.text(), "a\n");
        let ran = run(&server, &[&["topics", "offsets"], &topics[..]].concat()).bad(1, &said);
        assert_eq!(ran.text(), "t\t0\t0\t1\n");
    }
    // Nor does one that lacks the partition.
    let said = ["t has no partition 1: it has 1"];
    let ran = run(&server, &["topics", "offsets", "t", "u", "-p", "1"]).bad(1, &said);
    assert_eq!(ran.text(), "u\t1\t0\t0\n");
    run(&server, &["consume", "-e", "t", "u", "-p", "1"]).bad(1, &said);
}

/// A log that begins at 2 and ends at 5, read from an offset that it does not have.
#[test]
fn reading_to_the_end_begins_where_auto_offset_reset_says() {
    let server = with_topic(1);
    fill(&server, 0, &["a", "b", "c", "d", "e"]);
    server.with(|cluster| cluster.trim("t", 0, 2)).expect("a shorter log");
    let address = server.bootstrap();
    let all = "c\nd\ne\n";
    for (reset, offset, want) in [
        ("earliest", "0", all),
        ("earliest", "9", all),
        ("latest", "0", ""),
        ("latest", "9", ""),
        ("latest", "3", "d\ne\n"),
        ("none", "2", all),
        ("none", "5", ""),
    ] {
        let property = format!("auto.offset.reset={reset}");
        let ran = run(&server, &["consume", "t", "-e", "-o", offset, "-X", &property]).good();
        assert_eq!(ran.text(), want, "{reset}, -o {offset}: {ran:?}");
    }
    for offset in ["0", "9"] {
        let plain = ["consume", "t", "-o", offset, "-X", "auto.offset.reset=none"];
        for more in [&["-e"][..], &["-p", "0"]] {
            let said = ["read t, partition 0: ", &address, "-o"];
            let ran = run(&server, &[&plain, more].concat()).bad(1, &said);
            assert_eq!(ran.text(), "", "{more:?}");
        }
    }
    // Without the property from the nearest end, which is said.
    let ran = run(&server, &["consume", "t", "-e", "-o", "0"]).good();
    assert_eq!(ran.text(), all);
    assert!(ran.err.contains("t, partition 0: position 0 -> 2"), "{ran:?}");
}

#[test]
fn a_topic_without_partitions_is_named() {
    let server = with_topic(1);
    server.with(|cluster| cluster.hide(1, "t", 0..1)).expect("nothing is listed");
    let said = ["t: the brokers list no partitions of it"];
    for args in [&["consume", "t", "-e"][..], &["topics", "offsets", "t"]] {
        run(&server, args).bad(1, &said);
    }
}
