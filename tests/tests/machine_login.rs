//! Logging in (feature `sasl`): the place of a login in a connection's life, refusals, brokers that
//! lie, and sessions that end (KIP-368).

use std::time::Duration;

use kafka_protocol::messages::{
    ApiKey, MetadataRequest, ProduceRequest, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest,
};
use kavka_core::login::{Mechanism, OauthBearer, Plain, Scram, Sha256, Sha512};
use kavka_core::wire::ErrorCode;
use kavka_core::{
    Config, Error, Limits, LoginFault, NoEntropy, Obstacle, PeerFault, Secret, Storage,
};
use kavka_tests::script::steps::{disconnected, warm_up};
use kavka_tests::script::{Script, World};
use kavka_tests::sim::{Profile, Sasl, Tamper};

const SECS: fn(u64) -> Duration = Duration::from_secs;
const REFUSED: LoginFault = LoginFault::Refused(ErrorCode::SASL_AUTHENTICATION_FAILED);

fn secret(text: &str) -> Secret<'static> {
    Secret::owned(text.as_bytes().into())
}

/// A counter in place of a generator.
fn source() -> Box<dyn kavka_core::Entropy + Send> {
    let mut count = 0_u8;
    Box::new(move |out: &mut [u8]| -> Result<(), NoEntropy> {
        count += 1;
        out.fill(count);
        Ok(())
    })
}

fn plain(password: &str) -> Box<dyn Mechanism + Send> {
    Box::new(Plain::owned("alice", secret(password)).expect("both"))
}

fn scram(password: &str) -> Box<dyn Mechanism + Send> {
    Box::new(Scram::<Sha256>::owned("alice", secret(password), source()).expect("both"))
}

fn mechanisms() -> Vec<Box<dyn Mechanism + Send>> {
    let long = Scram::<Sha512>::owned("alice", secret("alice-secret"), source()).expect("both");
    let mut bearer = OauthBearer::owned(100, &[]).expect("no extensions");
    bearer.take_token(b"good.token").expect("a token");
    vec![plain("alice-secret"), scram("alice-secret"), Box::new(long), Box::new(bearer)]
}

fn world() -> World {
    World::new(1).topic("t", 1).sasl(Sasl::default()).cluster("here")
}

fn script(world: World, mechanism: Box<dyn Mechanism + Send>) -> Script {
    let config = Config::new(world.bootstrap()).linger(Duration::ZERO);
    let storage = Storage::heap(&Limits::small()).owned_login(mechanism);
    let mut s = Script::over(world, config, storage);
    // Keys are computed at one instant.
    s.patience = 300;
    s
}

/// Runs until the first connection has failed, and returns why.
fn first_fault(s: &mut Script) -> LoginFault {
    let mut found = None;
    s.topic("t");
    s.until("a failed connection", |s| {
        found = disconnected(s).into_iter().find_map(|(_, error)| match error {
            Error::Peer(PeerFault::Login(fault)) => Some(fault),
            _ => None,
        });
        found.is_some()
    });
    found.expect("a fault")
}

#[test]
fn every_mechanism_logs_in_whatever_the_release_and_the_pieces() {
    for profile in Profile::ALL {
        for piece in [usize::MAX, 1] {
            for mechanism in mechanisms() {
                let mut s = script(world().release(profile), mechanism);
                s.piece = piece;
                let t = s.ready("t");
                warm_up(&mut s, t, 0);
                assert_eq!(disconnected(&mut s), [], "{profile} {piece}");
            }
        }
    }
}

#[test]
fn a_login_comes_between_the_versions_and_everything_else() {
    let mut s = script(world(), scram("alice-secret"));
    for api in [ApiKey::SaslHandshake, ApiKey::SaslAuthenticate, ApiKey::Metadata] {
        s.manual(api);
    }
    s.topic("t");
    let named = s.expect::<SaslHandshakeRequest>();
    assert_eq!((named.version, named.body.mechanism.as_str()), (1, "SCRAM-SHA-256"));
    s.run(SECS(1));
    s.none::<SaslAuthenticateRequest>("the mechanism is not accepted yet");
    s.none::<MetadataRequest>("it has not logged in");
    let accepted = kafka_protocol::messages::SaslHandshakeResponse::default();
    s.respond(&named, accepted);
    let first = s.expect::<SaslAuthenticateRequest>();
    assert_eq!(first.version, 2);
    assert!(first.body.auth_bytes.starts_with(b"n,,n=alice,r="));
    s.run(SECS(1));
    s.none::<MetadataRequest>("it has not logged in");
}

#[test]
fn a_wrong_password_fails_what_waits_and_makes_no_fast_loop() {
    for login in [plain as fn(&str) -> _, scram] {
        let mut s = script(world(), login("alice-secret"));
        let t = s.ready("t");
        warm_up(&mut s, t, 0);
        s.world.sasl.as_mut().expect("SASL").users.insert("alice".into(), "other".into());
        s.cut_all(1);
        s.produce(t, 0, "a");
        s.run(SECS(1));
        let fault = PeerFault::Login(REFUSED);
        let refused = Error::Blocked(Obstacle::Peer { broker: 1, fault });
        assert_eq!(s.failed(), [(1, refused, false)]);
        assert!(s.client.is_hopeless());
        let before = s.connects.len();
        s.run(SECS(20));
        let tries = s.connects.len() - before;
        assert!((5..60).contains(&tries), "{tries} connections in 20 s");
        s.none::<ProduceRequest>("it has not logged in");
        let words = s.client.login_refusal().expect("the words of the broker").to_owned();
        assert!(words.starts_with("Authentication failed"), "{words}");
        // The password is the right one again.
        s.world.sasl.as_mut().expect("SASL").users.insert("alice".into(), "alice-secret".into());
        s.until("a connection", |s| !s.client.is_hopeless());
        s.produce(t, 0, "b");
        s.expect::<ProduceRequest>();
    }
}

#[test]
fn a_refused_login_is_not_repeated_within_the_first_half_second() {
    for login in [plain as fn(&str) -> _, scram] {
        let mut s = script(world(), login("wrong"));
        s.topic("t");
        s.run(Duration::from_millis(700));
        assert_eq!(s.connects.len(), 1);
        assert!(s.client.is_hopeless());
        s.run(Duration::from_millis(4300));
        assert!((3..=7).contains(&s.connects.len()), "{} in 5 s", s.connects.len());
        // A broker that is known.
        let mut s = script(world(), login("alice-secret"));
        let t = s.ready("t");
        warm_up(&mut s, t, 0);
        s.world.sasl.as_mut().expect("SASL").users.insert("alice".into(), "other".into());
        let before = s.connects.len();
        s.cut_all(1);
        s.run(SECS(5));
        // By its id, and by the address of the bootstrap list.
        let tries = s.connects.len() - before;
        assert!((4..=14).contains(&tries), "{tries} in 5 s");
    }
}

#[test]
fn the_reason_that_a_server_gives_inside_scram_is_kept() {
    let mut world = world();
    world.sasl.as_mut().expect("SASL").tamper = Tamper::Error;
    let mut s = script(world, scram("alice-secret"));
    assert_eq!(first_fault(&mut s), LoginFault::Server);
    assert_eq!(s.client.login_refusal(), Some("other-error"));
}

#[test]
fn a_refused_login_is_reported_with_the_words_of_the_broker() {
    let mut s = script(world(), plain("wrong"));
    assert_eq!(first_fault(&mut s), REFUSED);
    let words = s.client.login_refusal();
    assert_eq!(words, Some("Authentication failed: Invalid username or password"));
    let shown = Error::Peer(PeerFault::Login(REFUSED)).to_string();
    assert_eq!(shown, "the broker refused the credentials");
}

#[test]
fn a_mechanism_that_is_not_offered_is_reported_with_those_that_are() {
    let mut world = world();
    let sasl = world.sasl.as_mut().expect("SASL");
    sasl.mechanisms = vec!["SCRAM-SHA-512", "OAUTHBEARER"];
    let mut s = script(world, plain("alice-secret"));
    assert_eq!(first_fault(&mut s), LoginFault::Mechanism);
    assert_eq!(s.client.login_refusal(), Some("SCRAM-SHA-512, OAUTHBEARER"));
}

#[test]
fn a_listener_without_sasl_is_named() {
    let mut open = World::new(1).topic("t", 1);
    open.lists_logins = true;
    let mut s = script(open, plain("alice-secret"));
    assert_eq!(first_fault(&mut s), LoginFault::NoSasl);
    s.none::<SaslAuthenticateRequest>("the password must not go to such a listener");
    // One that is too old, or no broker of Kafka's.
    let mut s = script(World::new(1).topic("t", 1), plain("alice-secret"));
    s.topic("t");
    s.run(SECS(1));
    let fault = Error::Peer(PeerFault::NoApi(kavka_core::wire::ApiKey::SASL_HANDSHAKE));
    assert!(disconnected(&mut s).iter().any(|(_, error)| *error == fault));
}

#[test]
fn a_broker_that_lies_gets_no_proof_and_no_requests() {
    for (tamper, fault) in [
        (Tamper::Nonce, LoginFault::Nonce),
        (Tamper::NoNonce, LoginFault::Nonce),
        (Tamper::Signature, LoginFault::Signature),
        (Tamper::NoSignature, LoginFault::Message),
        (Tamper::Salt, LoginFault::Message),
        (Tamper::Extension, LoginFault::Message),
        (Tamper::Error, LoginFault::Server),
        (Tamper::Nothing, LoginFault::Message),
    ] {
        let mut world = world();
        world.sasl.as_mut().expect("SASL").tamper = tamper;
        let mut s = script(world, scram("alice-secret"));
        assert_eq!(first_fault(&mut s), fault, "{tamper:?}");
        s.run(SECS(3));
        let t = s.topic("t");
        assert!(s.client.freshness(t).is_none(), "{tamper:?}");
    }
    for iterations in [4095, (1 << 20) + 1] {
        let mut world = world();
        world.sasl.as_mut().expect("SASL").iterations = iterations;
        let mut s = script(world, scram("alice-secret"));
        assert_eq!(first_fault(&mut s), LoginFault::Iterations, "{iterations}");
    }
}

#[test]
fn a_login_that_is_cut_is_repeated_over_another_connection() {
    for at in 0..3 {
        let mut s = script(world(), scram("alice-secret"));
        s.topic("t");
        let conn = login_up_to(&mut s, at);
        s.cut(conn);
        for api in [ApiKey::SaslHandshake, ApiKey::SaslAuthenticate] {
            s.automatic(api);
        }
        let t = s.ready("t");
        warm_up(&mut s, t, 0);
        assert_eq!(s.connects.len(), 2);
    }
}

/// Runs until the n-th request of a login waits for its response.
fn login_up_to(s: &mut Script, at: usize) -> kavka_core::ConnId {
    s.manual(ApiKey::SaslHandshake);
    let named = s.expect::<SaslHandshakeRequest>();
    if at == 0 {
        return named.conn;
    }
    s.manual(ApiKey::SaslAuthenticate);
    s.serve(named);
    let first = s.expect::<SaslAuthenticateRequest>();
    if at > 1 {
        let conn = first.conn;
        s.serve(first);
        return s.expect::<SaslAuthenticateRequest>().conn.max(conn);
    }
    first.conn
}

#[test]
fn a_login_without_a_response_is_given_up() {
    for at in 0..3 {
        let mut s = script(world(), scram("alice-secret"));
        s.topic("t");
        login_up_to(&mut s, at);
        s.run(SECS(9));
        assert_eq!(s.connections(1).len(), 1, "the connect timeout is 10 s");
        s.run(SECS(2));
        for api in [ApiKey::SaslHandshake, ApiKey::SaslAuthenticate] {
            s.automatic(api);
        }
        let t = s.ready("t");
        warm_up(&mut s, t, 0);
    }
}

#[test]
fn a_late_response_is_still_good() {
    let mut s = script(world(), scram("alice-secret"));
    s.topic("t");
    s.manual(ApiKey::SaslAuthenticate);
    for _ in 0..2 {
        let message = s.expect::<SaslAuthenticateRequest>();
        s.run(Duration::from_millis(900));
        s.serve(message);
    }
    s.automatic(ApiKey::SaslAuthenticate);
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    assert_eq!(disconnected(&mut s), []);
}

/// Produces a record each 100 ms, which is acknowledged 10 ms later; returns how many.
fn produce_for(s: &mut Script, t: kavka_core::TopicId, time: Duration) -> usize {
    let (mut count, end) = (0, s.now() + time);
    while s.now() < end {
        s.produce(t, 0, "x");
        s.run(Duration::from_millis(10));
        while let Some(requested) = s.take::<ProduceRequest>() {
            s.acknowledge(&requested, count as i64);
            count += 1;
        }
        s.run(Duration::from_millis(90));
    }
    assert_eq!(s.delivered().len(), count);
    count
}

#[test]
fn a_session_is_renewed_before_it_ends() {
    for mechanism in mechanisms() {
        let mut world = world();
        world.sasl.as_mut().expect("SASL").lifetime = Some(SECS(5));
        let mut s = script(world, mechanism);
        let t = s.ready("t");
        assert!(produce_for(&mut s, t, SECS(60)) > 550);
        assert_eq!(disconnected(&mut s), []);
        let conns = s.connects.len();
        assert!(conns <= 2, "{conns} connections");
        let logins = s.logins(1);
        // 85 to 95 % of 5 s, less what a fetch may wait and a request may take.
        assert!(logins.iter().all(|count| (12..=16).contains(count)), "{logins:?}");
    }
}

#[test]
fn requests_wait_while_a_session_is_renewed_and_are_sent_after_it() {
    let mut world = world();
    world.sasl.as_mut().expect("SASL").lifetime = Some(SECS(3));
    let mut limits = Limits::small();
    limits.conns = 1;
    let config = Config::new(world.bootstrap()).linger(Duration::ZERO);
    let storage = Storage::heap(&limits).owned_login(plain("alice-secret"));
    let mut s = Script::over(world, config, storage);
    let t = s.ready("t");
    s.run(SECS(2));
    s.produce(t, 0, "a");
    let slow = s.expect::<ProduceRequest>();
    s.manual(ApiKey::SaslHandshake);
    // The response to what was sent before comes first.
    s.run(Duration::from_millis(500));
    s.none::<SaslHandshakeRequest>("a response is due");
    s.produce(t, 0, "b");
    s.run(Duration::from_millis(300));
    s.none::<ProduceRequest>("the session is over");
    s.acknowledge(&slow, 0);
    let again = s.expect::<SaslHandshakeRequest>();
    assert_eq!(again.conn, slow.conn);
    s.none::<ProduceRequest>("it logs in again");
    s.automatic(ApiKey::SaslHandshake);
    s.serve(again);
    let requested = s.expect_within::<ProduceRequest>(Duration::ZERO);
    assert_eq!(s.batches(&requested)[0].values, ["b"]);
    assert_eq!(s.connects.len(), 1);
}

#[test]
fn a_client_that_slept_past_its_session_logs_in_first() {
    let mut world = world();
    world.sasl.as_mut().expect("SASL").lifetime = Some(SECS(10));
    let mut s = script(world, plain("alice-secret"));
    let t = s.ready("t");
    s.run(SECS(1));
    s.sleep(SECS(60));
    s.produce(t, 0, "a");
    let requested = s.expect::<ProduceRequest>();
    assert_eq!(s.batches(&requested)[0].values, ["a"]);
    assert_eq!((disconnected(&mut s), s.connects.len()), (vec![], 1));
}

#[test]
fn a_session_without_an_end_is_not_renewed_and_a_short_one_is_reconnected() {
    let mut s = script(world(), plain("alice-secret"));
    let t = s.ready("t");
    produce_for(&mut s, t, SECS(60));
    assert_eq!(s.logins(1), [1]);
    s.world.sasl.as_mut().expect("SASL").lifetime = Some(Duration::from_millis(900));
    s.cut_all(1);
    s.until("a connection", |s| !s.connections(1).is_empty());
    disconnected(&mut s);
    let before = s.connects.len();
    produce_for(&mut s, t, SECS(10));
    assert_eq!(disconnected(&mut s), [], "no broker closed one");
    let more = s.connects.len() - before;
    assert!((9..=26).contains(&more), "{more} connections in 10 s");
    assert!(s.logins(1).iter().all(|count| *count == 1));
}

#[test]
fn a_session_that_gets_no_end_any_more_is_not_renewed_again() {
    let mut world = world();
    world.sasl.as_mut().expect("SASL").lifetime = Some(SECS(5));
    let mut s = script(world, plain("alice-secret"));
    let t = s.ready("t");
    s.world.sasl.as_mut().expect("SASL").lifetime = None;
    produce_for(&mut s, t, SECS(60));
    assert_eq!(s.logins(1), [2]);
}

#[test]
fn a_refused_renewal_ends_the_connection_and_its_batches_are_sent_again() {
    let mut world = world();
    world.sasl.as_mut().expect("SASL").lifetime = Some(SECS(10));
    let mut s = script(world, plain("alice-secret"));
    let t = s.ready("t");
    s.manual(ApiKey::SaslAuthenticate);
    let asked = s.expect::<SaslAuthenticateRequest>();
    s.produce(t, 0, "a");
    let body = SaslAuthenticateResponse::default().with_error_code(58);
    s.respond(&asked, body);
    s.automatic(ApiKey::SaslAuthenticate);
    let requested = s.expect::<ProduceRequest>();
    assert_ne!(requested.conn, asked.conn);
    s.acknowledge(&requested, 0);
    assert_eq!(s.delivered(), [(1, Some(0))]);
}

fn give(s: &mut Script, token: &[u8], lifetime: Option<Duration>) {
    let now = s.now();
    s.client.set_token(now, token, lifetime).expect("a token");
}

#[test]
fn a_token_is_requested_when_it_is_needed_and_ahead_of_its_end() {
    let bearer = || Box::new(OauthBearer::owned(100, &[]).expect("no extensions"));
    let mut s = script(world(), bearer());
    s.topic("t");
    s.run(SECS(1));
    assert_eq!(s.tokens, 1, "once");
    s.none::<SaslAuthenticateRequest>("there is no token");
    give(&mut s, b"good.token", Some(SECS(100)));
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    s.run(SECS(75));
    assert_eq!(s.tokens, 1);
    s.run(SECS(15));
    assert_eq!(s.tokens, 2, "at 80 %");
    // One that is not provided is missed at the connect timeout.
    let mut s = script(world(), bearer());
    assert_eq!(first_fault(&mut s), LoginFault::NoToken);
    s.run(SECS(5));
    give(&mut s, b"good.token", None);
    s.ready("t");
    // One that the broker does not know.
    let mut s = script(world(), bearer());
    give(&mut s, b"expired", None);
    assert_eq!(first_fault(&mut s), REFUSED);
    assert!(s.client.login_refusal().is_some_and(|words| words.contains("invalid_token")));
    give(&mut s, b"good.token", None);
    s.ready("t");
}

#[test]
fn no_randomness_is_no_login() {
    let none = |_: &mut [u8]| -> Result<(), NoEntropy> { Err(NoEntropy) };
    let login = Scram::<Sha256>::owned("alice", secret("alice-secret"), Box::new(none));
    let mut s = script(world(), Box::new(login.expect("both")));
    assert_eq!(first_fault(&mut s), LoginFault::Entropy);
    s.run(SECS(1));
    s.none::<SaslAuthenticateRequest>("there is no nonce");
}

#[test]
fn nothing_that_a_failing_login_shows_has_the_password() {
    const MARKER: &str = "MARKER-7d1f";
    for login in [plain as fn(&str) -> _, scram] {
        let mut s = script(world(), login(MARKER));
        assert_eq!(first_fault(&mut s), REFUSED);
        let mut shown = format!("{:?} {:?}", s.client.obstacle(), s.client.stats());
        shown.push_str(s.client.login_refusal().unwrap_or_default());
        for reported in s.reported() {
            shown.push_str(&format!("{reported:?}"));
        }
        assert!(!shown.contains("MARKER"), "{shown}");
    }
}
