//! Peers that are no brokers, or none for this client: the reason, its address, and how soon.

use std::io::{Read, Write};
use std::net::{TcpListener, ToSocketAddrs};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use kavka_tests::sim::{ApiKey, Fault, Server};
use rustix::process::Signal;

use crate::live::Live;
use crate::{at, feed, kavka, with_topic};

/// Every command that waits for brokers.
const COMMANDS: [&[&str]; 7] = [
    &["topics", "list"],
    &["topics", "offsets", "t"],
    &["topics", "watch", "t"],
    &["metadata"],
    &["consume", "t"],
    &["consume", "t", "-e"],
    &["produce", "t"],
];

const TLS: &[u8] = &[0x15, 3, 3, 0, 2, 2, 0x46];
const HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\r\n";
const SSH: &[u8] = b"SSH-2.0-OpenSSH_9.6\r\n";

/// Starts a peer that responds to the first bytes with `greeting` and closes; it reports when.
fn peer(greeting: &'static [u8]) -> (String, Receiver<Instant>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (report, reported) = channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let _ = stream.read(&mut [0; 256]);
            let _ = report.send(Instant::now()); // not every test looks
            let _ = stream.write_all(greeting);
        }
    });
    (address, reported)
}

/// Runs every command against an address side by side: each names it, and says `text`.
#[track_caller]
fn all_name(what: &str, address: &str, text: &str) {
    let ran = thread::scope(|scope| {
        let run = |args: &&'static [&'static str]| {
            let all = [&["-b", address, "--timeout", "2"], *args].concat();
            scope.spawn(move || feed(kavka(&all), b"a\n"))
        };
        let running: Vec<_> = COMMANDS.iter().map(run).collect();
        running.into_iter().map(|it| it.join().expect("its end")).collect::<Vec<_>>()
    });
    for (args, ran) in COMMANDS.iter().zip(ran) {
        assert_eq!(ran.code, Some(1), "{what}, {args:?}: {ran:?}");
        let last = ran.err.lines().next_back().unwrap_or_default();
        // What was printed before is not repeated.
        for (said, whole) in [(address, last), (text, &*ran.err)] {
            assert!(whole.contains(said), "{what}, {args:?}: {said:?} is not in {whole:?}");
        }
        assert!(!last.contains("check that the brokers"), "{what}, {args:?}: {last}");
    }
}

#[test]
fn a_peer_that_is_no_broker_is_named_by_every_command() {
    let cases = [
        ("TLS", TLS, "seems to speak TLS"),
        ("HTTP", HTTP, "seems to speak HTTP"),
        ("SSH", SSH, "seems to speak SSH"),
    ];
    for (what, greeting, text) in cases {
        let (address, _reported) = peer(greeting);
        all_name(what, &address, text);
    }
}

/// A listener's name, what it does, and the advice.
type Case<'a> = (&'a str, &'a dyn Fn(&Server), &'a str);

/// A listener that wants SASL responds to ApiVersions and closes at the next request; a
/// controller has no Metadata.
#[test]
fn what_to_do_about_a_listener_for_others_is_said_by_every_command() {
    let sasl = |server: &Server| server.fault(1, ApiKey::Metadata, Fault::DropRequest, 10_000);
    let controller = |server: &Server| server.with(|cluster| cluster.withhold(ApiKey::Metadata));
    let cases: [Case<'_>; 2] = [
        ("SASL", &sasl, "a listener that wants SASL does so"),
        ("controller", &controller, "is this a controller's port?"),
    ];
    for (what, make, text) in cases {
        let server = with_topic(1);
        make(&server);
        all_name(what, &server.bootstrap(), text);
    }
}

/// Starts every command with a time-out that is far away: each prints a line with `text` soon
/// after `known` says that the reason can be known.
#[track_caller]
fn all_print_soon(what: &str, address: &str, text: &str, known: impl Fn() -> Instant) {
    for args in COMMANDS {
        let all = [&["-b", address, "--timeout", "100"], args].concat();
        let mut live = Live::start(kavka(&all));
        let known = known();
        let line = live.error(text);
        let took = known.elapsed();
        assert!(line.contains(address), "{what}, {args:?}: {line}");
        assert!(took < Duration::from_secs(3), "{what}, {args:?}: {took:?}");
        live.signal(Signal::KILL);
        live.end();
    }
}

#[test]
fn a_reason_is_printed_soon_after_it_can_be_known() {
    let (address, reported) = peer(TLS);
    all_print_soon("TLS", &address, "seems to speak TLS", || {
        let first = reported.recv().expect("a connection");
        while reported.try_recv().is_ok() {} // more may come from this command
        first
    });
    let address = "kafka.invalid:9092";
    all_print_soon("no such name", address, "name not resolved", || {
        let _ = address.to_socket_addrs(); // takes as long for the command
        Instant::now()
    });
}

#[test]
fn a_broker_without_producer_ids_ends_producing_at_once() {
    let server = with_topic(1);
    let usual = feed(at(&server, &["produce", "t"]), b"a\n").good().took;
    server.with(|cluster| cluster.withhold(ApiKey::InitProducerId));
    let address = server.bootstrap();
    let ran = feed(at(&server, &["produce", "t"]), b"a\n");
    let ran =
        ran.bad(1, &["does not have INIT_PRODUCER_ID", &address, "-X enable.idempotence=false"]);
    assert!(ran.took < usual + Duration::from_secs(3), "{:?}, usually {usual:?}", ran.took);
    feed(at(&server, &["produce", "t", "-X", "enable.idempotence=false"]), b"a\n").good();
}

/// One of two addresses accepts connections and is silent, at the other nothing listens.
#[test]
fn each_address_has_its_own_reason() {
    let (_listener, silent) = crate::signals::silent();
    let closed = {
        let taken = TcpListener::bind("127.0.0.1:0").expect("a port");
        taken.local_addr().expect("an address").to_string()
    };
    for list in [format!("{silent},{closed}"), format!("{closed},{silent}")] {
        for args in [&["topics", "list"][..], &["consume", "t"], &["produce", "t"]] {
            let ran = feed(kavka(&[&["-b", &list, "--timeout", "4"], args].concat()), b"a\n");
            let ran = ran.bad(1, &[&silent, &closed, "no response", "refused"]);
            let last = ran.err.lines().last().unwrap_or_default().to_owned();
            let (front, behind) = last.split_once(": also ").unwrap_or((&last, ""));
            for (part, what) in [(front, "the reason"), (behind, "the others")] {
                let wrong = part.contains(&silent) && part.contains("refused")
                    || part.contains(&closed) && part.contains("no response");
                assert!(!wrong, "{args:?}, {what}: {last}");
            }
        }
    }
}
