//! Logins at a real broker.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use kavka_std::{Config, Consumer, Producer, Record, Sasl, Start, Tls, Token};
use kavka_tests::kafka::{self, PASSWORD, Secure, Spec, USER, Version};

/// An unsigned token, which brokers of tests accept.
fn token(expired: bool) -> Token {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    let (from, to) = if expired { (now - 7200, now - 3600) } else { (now - 10, now + 3600) };
    let part = |json: String| base64url(json.as_bytes());
    let head = part(r#"{"alg":"none"}"#.to_owned());
    let body = part(format!(r#"{{"sub":"{USER}","iat":{from},"exp":{to}}}"#));
    Token::new(format!("{head}.{body}."), Some(Duration::from_secs(3600)))
}

fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        let bits = bits << (8 * (3 - chunk.len()));
        for n in 0..=chunk.len() {
            text.push(char::from(DIGITS[(bits >> (18 - 6 * n) & 63) as usize]));
        }
    }
    text
}

fn logins() -> [Sasl; 4] {
    [
        Sasl::plain(USER, PASSWORD),
        Sasl::scram_sha_256(USER, PASSWORD),
        Sasl::scram_sha_512(USER, PASSWORD),
        Sasl::oauth_bearer(|| Ok(token(false))),
    ]
}

fn send(config: Config) -> Result<(), String> {
    let producer = Producer::new(config).map_err(|error| error.to_string())?;
    let pending = producer.send("t", &Record::new(b"hello")).map_err(|error| error.to_string())?;
    pending.wait().map(drop).map_err(|error| error.to_string())
}

#[test]
fn every_mechanism_logs_in_at_a_real_broker_and_is_refused_by_it() {
    let spec = Spec::new(Version::V4_4_0, 1).secure(Secure::default());
    let Some(cluster) = kafka::start_or_skip(spec) else { return };
    cluster.create("t", 1).expect("a new topic");
    let at = |bootstrap: String, sasl: Sasl| {
        Config::new(bootstrap).sasl(sasl).topic_timeout(Duration::from_secs(5))
    };
    for sasl in logins() {
        let name = format!("{sasl:?}");
        send(at(cluster.sasl(), sasl)).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for (sasl, part) in [
        (Sasl::plain(USER, "wrong"), "Invalid username or password"),
        (Sasl::plain("nobody", PASSWORD), "Invalid username or password"),
        (Sasl::scram_sha_256(USER, "wrong"), "invalid credentials"),
        (Sasl::scram_sha_512("nobody", PASSWORD), "invalid credentials"),
        (Sasl::oauth_bearer(|| Ok(token(true))), "invalid_token"),
    ] {
        let name = format!("{sasl:?}");
        let error = send(at(cluster.sasl(), sasl)).expect_err(&name);
        assert!(error.contains("refused the credentials") && error.contains(part), "{error}");
    }
    let error = send(at(cluster.bootstrap(), Sasl::plain(USER, PASSWORD))).expect_err("no SASL");
    assert!(error.contains("the listener has no SASL"), "{error}");
    let open = Config::new(cluster.sasl()).topic_timeout(Duration::from_secs(5));
    let error = send(open).expect_err("a listener that wants SASL");
    assert!(error.contains("wants SASL"), "{error}");
}

/// Returns the PEM files of a broker (key and certificate) and of the authority that signed it.
fn certificates() -> (String, String) {
    let mut params = rcgen::CertificateParams::new([]).expect("no names");
    params.distinguished_name.push(rcgen::DnType::CommonName, "an authority");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("a certificate").pem();
    let issuer = rcgen::Issuer::new(params, key);
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let params = rcgen::CertificateParams::new(names).expect("names");
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate").pem();
    (format!("{}{certificate}", key.serialize_pem()), authority)
}

#[test]
fn every_mechanism_logs_in_at_a_real_broker_over_tls() {
    let (server, authority) = certificates();
    let secure = Secure { tls: Some((server, authority.clone())), client_auth: "none" };
    let spec = Spec::new(Version::V4_4_0, 1).secure(secure);
    let Some(cluster) = kafka::start_or_skip(spec) else { return };
    cluster.create("t", 1).expect("a new topic");
    let trusting = |pem: &str| {
        let tls = Tls::builder().ca(pem.as_bytes()).and_then(kavka_std::TlsBuilder::build);
        tls.expect("a configuration that works")
    };
    let at = |tls: Tls, sasl: Sasl| {
        let config = Config::new(cluster.sasl_over_tls()).tls(tls).sasl(sasl);
        config.topic_timeout(Duration::from_secs(5))
    };
    for sasl in logins() {
        let name = format!("{sasl:?}");
        let sent = send(at(trusting(&authority), sasl));
        sent.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let wrong = Sasl::plain(USER, "wrong");
    let error = send(at(trusting(&authority), wrong)).expect_err("a wrong password");
    assert!(error.contains("Invalid username or password"), "{error}");
    let (_, other) = certificates();
    let error = send(at(trusting(&other), Sasl::plain(USER, PASSWORD))).expect_err("another CA");
    assert!(error.contains("a certificate was not accepted"), "{error}");
}

#[test]
fn sessions_at_a_real_broker_are_renewed_under_load() {
    let spec = Spec::new(Version::V4_4_0, 1).secure(Secure::default());
    let spec = spec.set("connections.max.reauth.ms", 5000);
    let Some(cluster) = kafka::start_or_skip(spec) else { return };
    cluster.create("t", 3).expect("a new topic");
    let sasl = Sasl::scram_sha_256(USER, PASSWORD);
    let config = Config::new(cluster.sasl()).sasl(sasl).start(Start::Earliest);
    let producer = Producer::new(config.clone()).expect("a configuration that works");
    let consumer = Consumer::assign_all(config, &["t"]).expect("a consumer");
    let (mut values, begun) = (Vec::new(), Instant::now());
    let (mut sent, mut pending) = (0_u64, Vec::new());
    let read = |values: &mut Vec<u64>, wait| {
        while let Some(chunk) = consumer.next_timeout(wait).expect("records") {
            for record in chunk.records() {
                let value = record.expect("a record").value.expect("a value");
                values.push(u64::from_be_bytes(value.try_into().expect("8 bytes")));
            }
        }
    };
    while begun.elapsed() < Duration::from_secs(22) {
        for _ in 0..20 {
            let value = sent.to_be_bytes();
            pending.push(producer.send("t", &Record::new(&value)).expect("it is taken"));
            sent += 1;
        }
        read(&mut values, Duration::from_millis(5));
    }
    for result in pending {
        result.wait().expect("it is acknowledged");
    }
    let end = Instant::now() + Duration::from_secs(20);
    while (values.len() as u64) < sent && Instant::now() < end {
        read(&mut values, Duration::from_millis(100));
    }
    values.sort_unstable();
    assert!(values.iter().copied().eq(0..sent), "{} records of {sent}", values.len());
    let metrics = producer.metrics().wait().expect("metrics");
    assert_eq!(metrics.net.disconnects, 0, "no connection was ended");
}
