//! TLS between the clients for servers and simulated brokers, over loopback.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kavka_std::{
    Admin, Config, Consumer, Error, Mode, Producer, Record, Sasl, Start, Tls, TlsBuilder,
};
use kavka_tests::pki::{Authority, CertificateParams, Identity, date_time_ymd, listener};
use kavka_tests::sim::{Options, Sasl as Listener, Server};
use rcgen::{BasicConstraints, IsCa};
use rustls::{ProtocolVersion, ServerConfig, SupportedProtocolVersion};

const PATIENCE: Duration = Duration::from_secs(20);

const BOTH: [&SupportedProtocolVersion; 2] = [&rustls::version::TLS13, &rustls::version::TLS12];

fn server(tls: Arc<ServerConfig>, sasl: Option<Listener>) -> Server {
    let options = Options { brokers: 1, replication: 1, sasl, ..Options::default() };
    let server = Server::start_secure(options, tls).expect("loopback sockets");
    server.create_topic("t", 2).expect("a new topic");
    server
}

fn trusting(authority: &Authority) -> TlsBuilder {
    Tls::builder().ca(authority.pem().as_bytes()).expect("an authority")
}

fn config(server: &Server, tls: TlsBuilder) -> Config {
    let tls = tls.build().expect("a configuration that works");
    Config::new(server.bootstrap()).tls(tls).start(Start::Earliest)
}

fn send(config: Config) -> Result<(), Error> {
    let producer = Producer::new(config)?;
    let pending = producer.send("t", &Record::new(b"hello")).expect("it is taken");
    pending.wait().map(drop)
}

/// The text of a refusal, which comes soon.
fn refusal(config: Config) -> String {
    let begun = Instant::now();
    let error = send(config).expect_err("it is refused");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}: {error}", begun.elapsed());
    error.to_string()
}

#[test]
fn records_are_sent_and_read_over_both_versions_of_tls() {
    let authority = Authority::new();
    for (version, protocol) in [
        (&rustls::version::TLS12, ProtocolVersion::TLSv1_2),
        (&rustls::version::TLS13, ProtocolVersion::TLSv1_3),
    ] {
        assert_eq!(version.version, protocol);
        let server = server(listener(&authority.server(), None, &[version]), None);
        for mode in [Mode::Level, Mode::Edge] {
            let config = config(&server, trusting(&authority)).mode(mode);
            let producer = Producer::new(config.clone()).expect("a producer");
            let value = vec![7; 50_000];
            let mut pending = Vec::new();
            for n in 0..200_u32 {
                let value = if n % 10 == 0 { &value[..] } else { &value[..100] };
                let record = Record::new(value);
                pending.push(producer.send_to("t", n % 2, &record).expect("it is taken"));
            }
            for result in pending {
                result.wait().expect("it is acknowledged");
            }
            let consumer = Consumer::assign_all(config, &["t"]).expect("a consumer");
            let (mut read, end) = (0, Instant::now() + PATIENCE);
            while read < 200 {
                assert!(Instant::now() < end, "{protocol:?} {mode:?}: {read} records");
                if let Some(chunk) = consumer.next_timeout(PATIENCE).expect("records") {
                    read += chunk.records().filter(|record| record.is_ok()).count();
                }
            }
        }
    }
}

#[test]
fn logins_work_over_tls() {
    let authority = Authority::new();
    let tls = listener(&authority.server(), None, &BOTH);
    let server = server(tls, Some(Listener::default()));
    for sasl in [Sasl::plain("alice", "alice-secret"), Sasl::scram_sha_512("alice", "alice-secret")]
    {
        send(config(&server, trusting(&authority)).sasl(sasl)).expect("it is acknowledged");
    }
}

#[test]
fn a_certificate_that_is_not_trusted_is_refused_with_its_reason() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let expired = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    };
    let early = |params: &mut CertificateParams| params.not_before = date_time_ymd(2090, 1, 1);
    let names = ["localhost", "127.0.0.1"];
    for (what, certificate, part) in [
        ("another authority", theirs.server(), "UnknownIssuer"),
        ("expired", ours.sign(&names, expired), "expired"),
        ("not valid yet", ours.sign(&names, early), "not valid yet"),
        ("signed by itself", Identity::self_signed(|_| {}), "UnknownIssuer"),
        ("another name", ours.sign(&["other.example"], |_| {}), "not valid for name"),
    ] {
        let server = server(listener(&certificate, None, &BOTH), None);
        let text = refusal(config(&server, trusting(&ours)));
        let address = server.address(1).expect("a broker").to_string();
        for part in [part, "check the authorities", &address] {
            assert!(text.contains(part), "{what}: {part:?} is missing: {text}");
        }
        let anyone = Tls::builder().danger_accept_any_certificate();
        send(config(&server, anyone)).unwrap_or_else(|error| panic!("{what}: {error}"));
    }
}

#[test]
fn a_certificate_that_signed_itself_is_refused_with_what_to_do() {
    let authority_too = Identity::self_signed(|params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let server = server(listener(&authority_too, None, &BOTH), None);
    let tls = Tls::builder().ca(authority_too.certificate.as_bytes()).expect("an authority");
    let text = refusal(config(&server, tls));
    for part in ["CaUsedAsEndEntity", "signed itself", "that the authority signed"] {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
}

#[test]
fn a_refused_certificate_fails_whatever_waits() {
    let server = server(listener(&Authority::new().server(), None, &BOTH), None);
    let config = config(&server, trusting(&Authority::new()));
    let begun = Instant::now();
    let producer = Producer::new(config.clone()).expect("a producer");
    let known = producer.freshness("t").wait().expect_err("nothing is known").to_string();
    let sent = producer.send("t", &Record::new(b"hello")).expect("it is taken");
    let sent = sent.wait().expect_err("it is refused").to_string();
    let admin = Admin::new(config.clone()).expect("an admin");
    let listed = admin.list_topics().wait().expect_err("it is refused").to_string();
    let consumer = Consumer::assign_all(config, &["t"]).expect("a consumer");
    let read = loop {
        match consumer.next_timeout(PATIENCE) {
            Err(error) => break error.to_string(),
            Ok(chunk) => assert!(chunk.is_some() || begun.elapsed() < PATIENCE, "no error"),
        }
    };
    for text in [known, sent, listed, read] {
        assert!(text.contains("UnknownIssuer"), "{text}");
    }
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn sessions_are_resumed_when_clients_reconnect() {
    for version in BOTH {
        let authority = Authority::new();
        let server = server(listener(&authority.server(), None, &[version]), None);
        let producer = Producer::new(config(&server, trusting(&authority))).expect("a producer");
        let send = || producer.send("t", &Record::new(b"x")).expect("it is taken").wait();
        let handshakes = || {
            let net = producer.metrics().wait().expect("metrics").net;
            (net.handshakes, net.resumed)
        };
        send().expect("it is acknowledged");
        let (before, _) = handshakes();
        for _ in 0..3 {
            server.disconnect(1);
            send().expect("it is acknowledged");
        }
        let (all, resumed) = handshakes();
        assert!(all >= before + 3, "{all} handshakes after {before}");
        assert!(resumed >= 3 && resumed < all, "{version:?}: {resumed} of {all} resumed");
    }
}

/// Passes bytes on between clients and a broker, one at a time. Returns its address.
fn drop_by_drop(to: SocketAddr) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    thread::spawn(move || {
        for client in socket.incoming().map_while(Result::ok) {
            let Ok(broker) = TcpStream::connect(to) else { return };
            let pair = (client.try_clone().expect("a clone"), broker.try_clone().expect("a clone"));
            for (mut from, mut to) in [(client, broker), (pair.1, pair.0)] {
                to.set_nodelay(true).expect("an option");
                thread::spawn(move || {
                    let mut byte = [0];
                    while from.read_exact(&mut byte).and_then(|()| to.write_all(&byte)).is_ok() {}
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
        }
    });
    address
}

#[test]
fn records_pass_byte_by_byte() {
    for version in BOTH {
        let authority = Authority::new();
        let server = server(listener(&authority.server(), None, &[version]), None);
        let broker = server.address(1).expect("a broker");
        let address = drop_by_drop(broker.to_string().parse().expect("an address"));
        server.with(|cluster| cluster.set_endpoint(1, "127.0.0.1", address.port()));
        let tls = trusting(&authority).build().expect("a configuration that works");
        for mode in [Mode::Level, Mode::Edge] {
            let config = Config::new(address.to_string()).tls(tls.clone()).mode(mode);
            let producer = Producer::new(config.clone()).expect("a producer");
            let value = vec![7; 20_000];
            producer.send("t", &Record::new(&value)).expect("taken").wait().expect("it is written");
        }
    }
}

#[test]
fn one_broker_with_a_wrong_certificate_does_not_keep_records_from_others() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let options = Options { brokers: 2, replication: 1, ..Options::default() };
    let good = listener(&ours.server(), None, &BOTH);
    let server = Server::start_secure(options, good).expect("loopback sockets");
    server.create_topic("t", 2).expect("a new topic");
    // Metadata moves broker 2 to an address whose certificate is another authority's.
    let other = self::server(listener(&theirs.server(), None, &BOTH), None);
    let wrong = other.address(1).expect("a broker");
    server.with(|cluster| cluster.set_endpoint(2, "127.0.0.1", wrong.port()));
    let tls = trusting(&ours).build().expect("a configuration that works");
    let address = server.address(1).expect("a broker").to_string();
    let patience = Duration::from_secs(3);
    let config = Config::new(&*address).tls(tls).delivery_timeout(patience);
    let producer = Producer::new(config).expect("a producer");
    let leaders = [0, 1].map(|partition| server.leader("t", partition).map(|(leader, _)| leader));
    for (partition, leader) in (0..).zip(leaders) {
        let sent = producer.send_to("t", partition, &Record::new(b"x")).expect("it is taken");
        match (leader, sent.wait()) {
            (Some(1), result) => drop(result.expect("it is acknowledged")),
            (_, result) => {
                let text = result.expect_err("it is refused").to_string();
                let named = text.contains("UnknownIssuer") && text.contains(&wrong.to_string());
                assert!(named, "{text}");
            }
        }
    }
}

#[test]
fn a_client_certificate_is_shown_where_it_is_wanted() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    for version in BOTH {
        let tls = listener(&ours.server(), Some(&ours), &[version]);
        let server = server(tls, None);
        let with = |Identity { certificate, key, .. }: Identity| {
            trusting(&ours).client(certificate.as_bytes(), key.as_bytes()).expect("both")
        };
        send(config(&server, with(ours.client("ours")))).expect("it is acknowledged");
        for wrong in [trusting(&ours), with(theirs.client("foreign"))] {
            let text = refusal(config(&server, wrong));
            let part = "the broker does not accept the certificate of this client, or wants one";
            assert!(text.contains(part), "{version:?}: {text}");
        }
    }
}

#[test]
fn a_port_without_tls_is_named_and_gets_nothing_in_plain_text() {
    let options = Options { brokers: 1, replication: 1, ..Options::default() };
    let server = Server::start(options).expect("loopback sockets");
    let short = |config: Config| config.topic_timeout(Duration::from_secs(1));
    let text = refusal(short(config(&server, trusting(&Authority::new()))));
    assert!(text.contains("is it a port without TLS?"), "{text}");
    // And a client without TLS at a port that has it.
    let tls = self::server(listener(&Authority::new().server(), None, &BOTH), None);
    let text = refusal(short(Config::new(tls.bootstrap())));
    assert!(text.contains("TLS"), "{text}");
}

#[test]
fn a_peer_that_closes_or_stalls_in_the_handshake_is_tried_again() {
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = socket.local_addr().expect("an address");
    thread::spawn(move || {
        let mut held = Vec::new();
        for (n, stream) in socket.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            match n % 3 {
                0 => {}
                // The front of a record.
                1 => drop(stream.write_all(&[0x16, 3, 3, 0, 80, 2])),
                _ => held.push(stream),
            }
        }
    });
    let authority = Authority::new();
    let server = server(listener(&authority.server(), None, &BOTH), None);
    let tls = trusting(&authority).build().expect("a configuration that works");
    let brokers = format!("{address},{}", server.bootstrap());
    for _ in 0..4 {
        send(Config::new(&*brokers).tls(tls.clone())).expect("the other address works");
    }
}

#[test]
fn files_that_are_wrong_are_named() {
    assert!(Tls::builder().ca(b"no PEM").is_err());
    let missing = Tls::builder().ca_file("/does/not/exist.pem").expect_err("no file");
    assert!(missing.to_string().contains("exist.pem"), "{missing}");
    let authority = Authority::new();
    let (chain, key) = (authority.server().certificate, authority.server().key);
    let other = trusting(&authority).client(chain.as_bytes(), key.as_bytes()).expect("both");
    assert!(other.build().is_err(), "the key is of another certificate");
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let error = trusting(&authority).client(chain.as_bytes(), encrypted.as_bytes());
    assert!(error.expect_err("encrypted").to_string().contains("openssl pkcs8"));
}
