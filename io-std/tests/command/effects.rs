//! Options and properties that show at the broker, or in what is printed.

use std::io::Read as _;
use std::net::TcpListener;
use std::thread;
use std::time::Instant;

use kavka_tests::script::fetch::Batch;
use kavka_tests::sim::{Options, Server};
use rustix::process::Signal;

use crate::live::Live;
use crate::{LONG, at, feed, fill, kavka, run, with_topic};

#[track_caller]
fn until(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < end, "{what}");
        thread::yield_now();
    }
}

/// Runs the command against a listener that reads the client id of the first request alone.
fn id_of(args: &[&str]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let reading = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        // Length, API, version and correlation id come before it.
        let mut front = [0; 14];
        stream.read_exact(&mut front).expect("a request");
        let mut id = vec![0; usize::from(u16::from_be_bytes([front[12], front[13]]))];
        stream.read_exact(&mut id).expect("an id");
        String::from_utf8(id).expect("UTF-8")
    });
    let mut all = vec!["-b", &address, "--timeout", "1"];
    all.extend(args);
    feed(kavka(&all), b"a\n").bad(1, &[]);
    reading.join().expect("an id")
}

#[test]
fn brokers_are_sent_the_client_id_that_was_chosen() {
    let commands: [&[&str]; 4] =
        [&["topics", "list"], &["metadata"], &["consume", "t"], &["produce", "t"]];
    for command in commands {
        let with = |more: &[&str]| id_of(&[command, more].concat());
        assert_eq!(with(&[]), "kavka", "{command:?}");
        assert_eq!(with(&["--client-id", "mine"]), "mine", "{command:?}");
        assert_eq!(with(&["-X", "client.id=theirs"]), "theirs", "{command:?}");
        let both = with(&["-X", "client.id=theirs", "--client-id", "mine"]);
        assert_eq!(both, "mine", "{command:?}: the option goes before the property");
    }
}

#[test]
fn records_are_read_in_the_rack_that_was_chosen() {
    let racks =
        Options { brokers: 2, replication: 2, racks: 2, rack_aware: true, ..Options::default() };
    let server = Server::start(racks).expect("simulated brokers");
    server.create_topic("t", 1).expect("a topic");
    fill(&server, 0, &["a"]);
    let leader = server.leader("t", 0).expect("a leader").0;
    let follower = 3 - leader;
    let reads_from = |broker| server.with(|cluster| cluster.sessions(broker)) > 0;
    let (here, there) = (format!("rack-{leader}"), format!("rack-{follower}"));
    run(&server, &["consume", "t", "-e"]).good();
    run(&server, &["consume", "t", "-e", "--rack", &here]).good();
    assert!(!reads_from(follower), "nothing leads there");
    let property = format!("client.rack={there}");
    let both = format!("client.rack={here}");
    for more in [&["--rack", &there][..], &["-X", &property], &["-X", &both, "--rack", &there]] {
        let args = [&["consume", "t", "-u"], more].concat();
        let mut live = Live::start(at(&server, &args));
        assert_eq!(live.line(), "a");
        until(&format!("{more:?}: nothing is read from the follower"), || reads_from(follower));
        live.signal(Signal::INT);
        live.end().good();
        server.with(|cluster| cluster.evict_sessions(follower));
        assert!(!reads_from(follower));
    }
}

#[test]
fn consume_reports_what_happens_on_demand_alone() {
    let server = with_topic(1);
    fill(&server, 0, &["a"]);
    for args in [&["consume", "t", "-e"][..], &["consume", "t", "-c", "1"]] {
        let quiet = run(&server, args).good();
        assert_eq!((quiet.text().as_str(), quiet.err.as_str()), ("a\n", ""), "{args:?}");
        let loud = run(&server, &[args, &["-v"]].concat()).good();
        assert_eq!(loud.text(), "a\n", "{args:?}");
        assert!(loud.err.contains("t: 1 partition"), "{args:?}: {}", loud.err);
    }
}

/// Where the broker writes the time, that of the batch counts for all of its records.
#[test]
fn the_kind_of_time_is_named_by_json() {
    let server = with_topic(1);
    let kinds = [("create", 0), ("logappend", 8)];
    for (base, (_, attributes)) in (0..).zip(kinds) {
        let bytes = Batch { attributes, ..Batch::new(base, &["a"]) }.bytes();
        server.with(|cluster| cluster.append_batch("t", 0, &bytes)).expect("appended");
    }
    let text = run(&server, &["consume", "t", "-e", "--json"]).good().text();
    for ((kind, _), line) in kinds.iter().zip(text.lines()) {
        let want = format!("\"tstype\":\"{kind}\",\"ts\":1000,");
        assert!(line.contains(&want), "{want} is not in {line}");
    }
    assert_eq!(text.lines().count(), kinds.len());
}

/// The address leads to another cluster while the command runs.
#[test]
fn another_cluster_is_spoken_to_only_where_that_is_allowed() {
    let allowed: [(&[&str], bool); 4] = [
        (&[], false),
        (&["-X", "metadata.cluster.check.enable=true"], false),
        (&["--any-cluster"], true),
        (&["-X", "metadata.cluster.check.enable=false"], true),
    ];
    for args in [&["consume", "t", "-u"][..], &["topics", "watch", "t", "-v"]] {
        for (more, yes) in allowed {
            let server = with_topic(1);
            fill(&server, 0, &["a"]);
            let mut live = Live::start(at(&server, &[args, more].concat()));
            live.line();
            server.with(|cluster| cluster.impersonate(1, true));
            server.disconnect(1);
            // What was on its way over the old connections is not meant.
            let trespasses = || server.with(|cluster| cluster.trespasses());
            if !yes {
                let line = live.error("leads to another cluster");
                let before = trespasses();
                assert!(line.contains("--any-cluster"), "{args:?} {more:?}: {line}");
                assert_eq!(live.end().code, Some(1), "{more:?}");
                assert_eq!(trespasses(), before, "{args:?} {more:?}: something is sent there");
                continue;
            }
            let accepted = server.accepted();
            until(&format!("{args:?} {more:?}: no connection"), || server.accepted() > accepted);
            let before = trespasses();
            until(&format!("{args:?} {more:?}: nothing is sent there"), || trespasses() > before);
            live.signal(Signal::TERM);
            live.end();
        }
    }
}
