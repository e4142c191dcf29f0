//! Tokens from a server over HTTPS (KIP-768).

use std::time::{Duration, Instant};

use kavka_std::{Config, Oidc, Producer, Record, Sasl};
use kavka_tests::kafka::{self, Secure, Spec, USER, Version};
use kavka_tests::oidc::{TokenServer, unsigned};
use kavka_tests::pki::{Authority, listener};
use kavka_tests::sim::{Options, Sasl as Listener, Server};

const ID: &str = "a client";
const SECRET: &str = "MARKER secret/+=&";

fn start(
    authority: &Authority,
    respond: impl Fn(usize) -> (u16, String) + Send + 'static,
) -> TokenServer {
    let tls = listener(&authority.server(), None, rustls::ALL_VERSIONS);
    TokenServer::start(tls, respond)
}

fn login(server: &TokenServer, authority: &Authority) -> Sasl {
    let oidc = Oidc::new(&server.url(), ID, SECRET).and_then(|o| o.ca(authority.pem().as_bytes()));
    oidc.and_then(|oidc| oidc.scope("kafka all").sasl()).expect("a login")
}

fn broker(listener: Listener) -> Server {
    let options =
        Options { brokers: 1, replication: 1, sasl: Some(listener), ..Options::default() };
    let server = Server::start(options).expect("loopback sockets");
    server.create_topic("t", 1).expect("a new topic");
    server
}

/// Sends a record, and returns why it failed and after how long.
fn send(server: &Server, sasl: Sasl) -> Result<(), (String, Duration)> {
    let begun = Instant::now();
    let config = Config::new(server.bootstrap()).sasl(sasl).topic_timeout(Duration::from_secs(6));
    let producer = Producer::new(config).expect("a configuration that works");
    let result = producer.send("t", &Record::new(b"x")).expect("it is taken").wait();
    result.map(drop).map_err(|error| (format!("{error} {error:?}"), begun.elapsed()))
}

fn good(lasts: u64) -> (u16, String) {
    (200, format!(r#"{{"access_token":"good.token","token_type":"bearer","expires_in":{lasts}}}"#))
}

#[test]
fn a_token_is_fetched_and_the_next_one_ahead_of_its_end() {
    let (authority, broker) = (Authority::new(), broker(Listener::default()));
    let server = start(&authority, |_| good(2));
    let config = Config::new(broker.bootstrap()).sasl(login(&server, &authority));
    let producer = Producer::new(config).expect("a configuration that works");
    let end = Instant::now() + Duration::from_secs(20);
    while server.requested().len() < 3 {
        assert!(Instant::now() < end, "{} tokens", server.requested().len());
        producer.send("t", &Record::new(b"x")).expect("taken").wait().expect("acknowledged");
    }
    assert!(Instant::now() > end - Duration::from_secs(18), "renewed before 80 % of 2 s");
    let first = &server.requested()[0];
    assert_eq!(first.body, "grant_type=client_credentials&scope=kafka+all");
    // `a client:MARKER secret/+=&`, in standard base64 (KAFKA-14496).
    assert_eq!(first.authorization, "Basic YSBjbGllbnQ6TUFSS0VSIHNlY3JldC8rPSY=");
}

#[test]
fn a_refusal_of_the_server_fails_what_waits_with_its_words() {
    let (authority, broker) = (Authority::new(), broker(Listener::default()));
    let server = start(&authority, |_| {
        (401, r#"{"error":"invalid_client","error_description":"unknown client"}"#.into())
    });
    let (text, after) = send(&broker, login(&server, &authority)).expect_err("no token");
    for part in ["no token is issued", "401 invalid_client: unknown client", "check the client id"]
    {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
    assert!(!text.contains("MARKER"), "{text}");
    assert!(after < Duration::from_secs(2), "{after:?}");
    assert_eq!(server.requested().len(), 1, "a refusal is not repeated at once");
}

#[test]
fn a_server_that_fails_for_a_moment_is_tried_again() {
    let (authority, broker) = (Authority::new(), broker(Listener::default()));
    let server = start(&authority, |count| match count {
        0 => (503, "busy".into()),
        1 => (200, "no JSON".into()),
        _ => good(3600),
    });
    send(&broker, login(&server, &authority)).expect("the third response has a token");
    assert_eq!(server.requested().len(), 3);
}

#[test]
fn servers_that_cannot_be_used_are_named() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    let broker = broker(Listener::default());
    let server = start(&theirs, |_| good(3600));
    let (text, _) = send(&broker, login(&server, &ours)).expect_err("another authority");
    for part in ["no token", "UnknownIssuer"] {
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
    assert!(server.requested().is_empty(), "the secret went to another server");
    // One whose response has no token, or one that no broker may be sent.
    for (body, part) in
        [("{}", "no access_token"), (r#"{"access_token":"a\u0001b"}"#, "not a bearer token")]
    {
        let server = start(&ours, move |_| (200, body.into()));
        let (text, _) = send(&broker, login(&server, &ours)).expect_err(part);
        assert!(text.contains(part), "{part:?} is missing: {text}");
    }
}

#[test]
fn extensions_are_sent_with_the_token() {
    let sasl = Sasl::oauth_bearer(|| Ok(kavka_std::Token::new("good.token", None)));
    let broker = broker(Listener::default());
    send(&broker, sasl.clone().extensions(&[("logicalCluster", "lkc-1")])).expect("acknowledged");
    let begun = Instant::now();
    let config = Config::new(broker.bootstrap()).sasl(sasl.extensions(&[("auth", "x")]));
    assert!(Producer::new(config).is_err(), "a name that is not allowed");
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[test]
fn sessions_at_a_real_broker_are_renewed_with_tokens_of_a_server() {
    let spec = Spec::new(Version::V4_4_0, 1).secure(Secure::default());
    let Some(cluster) = kafka::start_or_skip(spec) else { return };
    cluster.create("t", 1).expect("a new topic");
    let authority = Authority::new();
    // The session of a connection ends with its token.
    let server = start(&authority, |_| {
        (200, format!(r#"{{"access_token":"{}","expires_in":5}}"#, unsigned(USER, 5)))
    });
    let config = Config::new(cluster.sasl()).sasl(login(&server, &authority));
    let producer = Producer::new(config).expect("a configuration that works");
    let (mut sent, end) = (0, Instant::now() + Duration::from_secs(12));
    while Instant::now() < end {
        let record = Record::new(b"x");
        producer.send("t", &record).expect("taken").wait().expect("it is acknowledged");
        sent += 1;
    }
    let disconnects = producer.metrics().wait().expect("metrics").net.disconnects;
    // One renewal may be late on a machine that does other things, too.
    assert!(disconnects <= 1, "{disconnects} disconnects, {sent} records");
    let fetched = server.requested().len();
    assert!((3..=5).contains(&fetched), "{fetched} tokens in 12 s");
}
