//! Peers that are no brokers, or none for this client, as every call that waits names them.

use std::thread;
use std::time::Duration;

use kavka_std::{Admin, Config, Consumer, Producer, Record, Start};
use kavka_tests::sim::{ApiKey, Fault, Server};

use super::reasons::peer;
use super::{reported, server};

const SOON: Duration = Duration::from_secs(1);

/// Every call that waits for the address fails with this text and names the address.
#[track_caller]
fn all_name(what: &str, address: &str, text: &str) {
    let config = Config::new(address).topic_timeout(SOON).admin_timeout(SOON);
    let consumer = Consumer::assign_all(config.clone(), &["t"]).unwrap();
    let assigned = Consumer::assign(config.clone(), &[("t", 0, Start::Earliest)]).unwrap();
    let admin = Admin::new(config.clone()).unwrap();
    let producer = Producer::new(config).unwrap();
    let sent = producer.send("t", &Record::new(b"v")).unwrap();
    let keyed = producer.send_to("t", 0, &Record::new(b"v")).unwrap();
    let all = [
        ("next", reported(consumer.next()).map(drop)),
        ("next of a partition", reported(assigned.next()).map(drop)),
        ("send", reported(sent).map(drop)),
        ("send_to", reported(keyed).map(drop)),
        ("freshness", reported(producer.freshness("t")).map(drop)),
        ("cluster", reported(admin.cluster()).map(drop)),
        ("offsets", reported(admin.offsets("t", Start::Latest)).map(drop)),
    ];
    for (call, result) in all {
        let said = result.expect_err(call).to_string();
        let both = said.contains(text) && said.contains(address);
        assert!(both, "{what}, {call}: {text:?} and {address} are not in {said:?}");
        assert!(!said.contains("check that the brokers"), "{what}, {call}: {said}");
    }
}

#[test]
fn consumers_and_offsets_name_a_peer_that_is_no_broker_too() {
    let cases: [(&str, &[u8], bool, &str); 4] = [
        ("TLS", &[0x15, 3, 3, 0, 2, 2, 0x46], true, "seems to speak TLS"),
        ("HTTP", b"HTTP/1.1 400 Bad Request\r\n\r\n", false, "seems to speak HTTP"),
        ("SSH", b"SSH-2.0-OpenSSH_9.6\r\n", true, "seems to speak SSH"),
        ("closes", b"", false, "ended by the peer"),
    ];
    thread::scope(|scope| {
        for (what, greeting, stays, text) in cases {
            scope.spawn(move || all_name(what, &peer(greeting, stays).to_string(), text));
        }
    });
}

/// A listener's name, what it does, and the advice.
type Case<'a> = (&'a str, &'a (dyn Fn(&Server) + Sync), &'a str);

/// A listener that wants SASL responds to ApiVersions and closes at the next request; a
/// controller has no Metadata.
#[test]
fn a_listener_for_others_is_named_with_what_to_do() {
    let sasl = |server: &Server| server.fault(1, ApiKey::Metadata, Fault::DropRequest, 10_000);
    let controller = |server: &Server| server.with(|cluster| cluster.withhold(ApiKey::Metadata));
    let cases: [Case<'_>; 2] = [
        ("SASL", &sasl, "set Config::sasl (--sasl), or use another port"),
        ("controller", &controller, "is this a controller's port? use a broker's"),
    ];
    thread::scope(|scope| {
        for (what, make, text) in cases {
            scope.spawn(move || {
                let server = server(1);
                server.create_topic("t", 1).unwrap();
                make(&server);
                all_name(what, &server.bootstrap(), text);
            });
        }
    });
}
