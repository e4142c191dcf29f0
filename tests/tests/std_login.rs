//! Logins of the clients for servers, over loopback.

use std::io;
use std::time::{Duration, Instant};

use kavka_std::{Admin, Config, Consumer, Error, Producer, Record, Sasl, Start, Token};
use kavka_tests::sim::{ApiKey, Fault, Options, Sasl as Listener, Server, Tamper};

const PATIENCE: Duration = Duration::from_secs(20);

fn server(listener: Listener) -> Server {
    let options =
        Options { brokers: 1, replication: 1, sasl: Some(listener), ..Options::default() };
    let server = Server::start(options).expect("loopback sockets");
    server.create_topic("t", 2).expect("a new topic");
    server
}

fn logins() -> Vec<Sasl> {
    let fetch = || Ok(Token::new("good.token", Some(Duration::from_secs(100))));
    vec![
        Sasl::plain("alice", "alice-secret"),
        Sasl::scram_sha_256("alice", "alice-secret"),
        Sasl::scram_sha_512("alice", "alice-secret"),
        Sasl::oauth_bearer(fetch),
    ]
}

fn config(server: &Server, sasl: Sasl) -> Config {
    Config::new(server.bootstrap()).sasl(sasl).start(Start::Earliest)
}

/// Sends a record, and returns how that ended.
fn send(config: Config) -> Result<(), Error> {
    let producer = Producer::new(config).expect("a configuration that works");
    let pending = producer.send("t", &Record::new(b"hello")).expect("it is taken");
    pending.wait().map(drop)
}

#[test]
fn producers_consumers_and_admins_log_in() {
    let server = server(Listener::default());
    for (n, sasl) in logins().into_iter().enumerate() {
        let config = config(&server, sasl);
        send(config.clone()).expect("it is acknowledged");
        let consumer = Consumer::assign_all(config.clone(), &["t"]).expect("a consumer");
        let (mut read, end) = (0, Instant::now() + PATIENCE);
        while read <= n {
            assert!(Instant::now() < end, "{read} of {} records", n + 1);
            if let Ok(Some(chunk)) = consumer.next_timeout(Duration::from_millis(100)) {
                read += chunk.records().count();
            }
        }
        let admin = Admin::new(config).expect("a configuration that works");
        admin.list_topics().wait().expect("the topics");
    }
}

/// The text of a refusal, which comes soon.
fn refusal(server: &Server, sasl: Sasl) -> String {
    let begun = Instant::now();
    let error = send(config(server, sasl)).expect_err("it is refused");
    assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
    let text = format!("{error} {error:?}");
    assert!(!text.contains("MARKER"), "{text}");
    error.to_string()
}

#[test]
fn a_refused_login_says_why_and_what_to_do() {
    let listener = Listener { mechanisms: vec!["PLAIN", "SCRAM-SHA-512"], ..Listener::default() };
    let server = server(listener);
    for (sasl, parts) in [
        (
            Sasl::plain("alice", "MARKER"),
            ["the broker refused the credentials", "Invalid username or password", "check user"],
        ),
        (
            Sasl::scram_sha_512("alice", "MARKER"),
            ["the broker refused the credentials", "invalid credentials", "check user"],
        ),
        (
            Sasl::scram_sha_256("alice", "MARKER"),
            ["does not have this SASL mechanism", "PLAIN, SCRAM-SHA-512", "choose one"],
        ),
    ] {
        let text = refusal(&server, sasl);
        let address = server.address(1).expect("a broker").to_string();
        for part in parts.into_iter().chain([&*address]) {
            assert!(text.contains(part), "{part:?} is missing: {text}");
        }
    }
}

#[test]
fn a_peer_that_does_not_know_the_password_is_no_broker() {
    let server = server(Listener { tamper: Tamper::Signature, ..Listener::default() });
    let text = refusal(&server, Sasl::scram_sha_256("alice", "alice-secret"));
    assert!(text.contains("does not know the password"), "{text}");
}

#[test]
fn a_listener_that_wants_a_login_is_named_to_a_client_without() {
    let server = server(Listener::default());
    let config = Config::new(server.bootstrap()).topic_timeout(Duration::from_secs(2));
    let text = send(config).expect_err("it is refused").to_string();
    assert!(text.contains("wants SASL"), "{text}");
}

#[test]
fn credentials_that_cannot_be_sent_are_refused_at_once() {
    for sasl in [Sasl::plain("", "x"), Sasl::scram_sha_256("x", "")] {
        let error = Producer::new(Config::new("localhost:1").sasl(sasl)).expect_err("refused");
        assert!(error.to_string().contains("user and password"), "{error}");
    }
}

#[test]
fn nothing_shows_the_password() {
    let sasl = Sasl::plain("alice", "MARKER");
    let token = Token::new("MARKER", None);
    let config = Config::new("localhost:1").sasl(sasl.clone());
    let text = format!("{sasl:?} {token:?} {config:?}");
    assert!(!text.contains("MARKER") && text.contains("alice"), "{text}");
}

#[test]
fn a_token_that_cannot_be_fetched_at_first_is_fetched_later() {
    let server = server(Listener::default());
    let count = std::sync::atomic::AtomicUsize::new(0);
    let fetch = move || match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => Err(io::Error::other("the server for tokens is down")),
        _ => Ok(Token::new("good.token", None)),
    };
    send(config(&server, Sasl::oauth_bearer(fetch))).expect("it is acknowledged");
}

#[test]
fn sessions_are_renewed_while_records_are_sent_and_read() {
    let listener = Listener { lifetime: Some(Duration::from_secs(2)), ..Listener::default() };
    let server = server(listener);
    let config = config(&server, Sasl::scram_sha_256("alice", "alice-secret"));
    let producer = Producer::new(config.clone()).expect("a configuration that works");
    let consumer = Consumer::assign_all(config, &["t"]).expect("a consumer");
    let (mut sent, mut read, end) = (0, 0, Instant::now() + Duration::from_secs(7));
    while Instant::now() < end {
        producer.send("t", &Record::new(b"x")).expect("taken").wait().expect("acknowledged");
        sent += 1;
        while let Ok(Some(chunk)) = consumer.next_timeout(Duration::from_millis(1)) {
            read += chunk.records().count();
        }
    }
    let end = Instant::now() + PATIENCE;
    while read < sent && Instant::now() < end {
        if let Ok(Some(chunk)) = consumer.next_timeout(Duration::from_millis(100)) {
            read += chunk.records().count();
        }
    }
    assert_eq!(read, sent);
    let renewed = server.with(|cluster| cluster.logins());
    assert!(renewed.iter().any(|count| *count >= 3), "{renewed:?}");
    assert!(server.accepted() <= 12, "{} connections", server.accepted());
    server.fault(1, ApiKey::SaslHandshake, Fault::DropRequest, 2);
    producer.send("t", &Record::new(b"x")).expect("taken").wait().expect("acknowledged");
}
