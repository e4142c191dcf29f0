//! Logins at real brokers: one cluster for each release, with listeners of every kind.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kavka_std::{Config, Consumer, Producer, Record, Sasl, Start, Tls, TlsBuilder, Token};
use kavka_tests::kafka::{self, Cluster, PASSWORD, Secure, Spec, USER, Version};
use kavka_tests::oidc::unsigned;
use kavka_tests::pki::{Authority, Identity};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};

/// How long refused clients are given to report it.
const SOON: Duration = Duration::from_secs(2);
/// How long records are sent and read while sessions last 5 s.
const LOAD: Duration = Duration::from_secs(13);

/// An unsigned token, which brokers of tests accept.
fn token(expired: bool) -> Token {
    let lasts = if expired { -3600 } else { 3600 };
    Token::new(unsigned(USER, lasts), Some(Duration::from_secs(3600)))
}

fn logins() -> [Sasl; 4] {
    [
        Sasl::plain(USER, PASSWORD),
        Sasl::scram_sha_256(USER, PASSWORD),
        Sasl::scram_sha_512(USER, PASSWORD),
        Sasl::oauth_bearer(|| Ok(token(false))),
    ]
}

/// Sends a record, and returns its failure and how long that took.
fn send(config: &Config) -> Result<(), (String, Duration)> {
    let begun = Instant::now();
    let failed = |error: kavka_std::Error| (error.to_string(), begun.elapsed());
    let producer = Producer::new(config.clone()).map_err(failed)?;
    let pending = producer.send("t", &Record::new(b"hello")).expect("it is taken");
    pending.wait().map(drop).map_err(failed)
}

/// Sends a record that fails soon, with an error that has these parts.
fn refused(what: &str, config: &Config, parts: &[&str]) {
    let (error, after) = send(config).expect_err(what);
    for part in parts {
        assert!(error.contains(part), "{what}: {part:?} is missing: {error}");
    }
    assert!(after < SOON, "{what}: after {after:?}: {error}");
}

fn trusting(authority: &Authority) -> TlsBuilder {
    Tls::builder().ca(authority.pem().as_bytes()).expect("an authority")
}

fn built(builder: TlsBuilder) -> Tls {
    builder.build().expect("a configuration that works")
}

/// TLS of one version, with a certificate or without.
fn of_version(
    authority: &Authority,
    version: &'static SupportedProtocolVersion,
    identity: Option<&Identity>,
) -> Tls {
    let certificate = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("one");
    let mut roots = RootCertStore::empty();
    roots.add(certificate(authority.pem())).expect("an authority");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[version])
        .expect("a version")
        .with_root_certificates(roots);
    let config = match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("a key");
            let chain = vec![certificate(&identity.certificate)];
            builder.with_client_auth_cert(chain, key).expect("both fit")
        }
    };
    Tls::with(Arc::new(config))
}

/// Every mechanism, with and without TLS, and what is refused there.
fn logs_in(cluster: &Cluster, tls: &Tls) {
    let open = |sasl: Sasl| Config::new(cluster.sasl()).sasl(sasl);
    let secure = |sasl: Sasl| Config::new(cluster.sasl_over_tls()).tls(tls.clone()).sasl(sasl);
    for (place, address, at) in [
        ("SASL_PLAINTEXT", cluster.sasl(), &open as &dyn Fn(Sasl) -> Config),
        ("SASL_SSL", cluster.sasl_over_tls(), &secure),
    ] {
        for sasl in logins() {
            let name = format!("{place} {sasl:?}");
            send(&at(sasl)).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        }
        for (sasl, reason) in [
            (Sasl::plain(USER, "wrong"), "Invalid username or password"),
            (Sasl::plain("nobody", PASSWORD), "Invalid username or password"),
            (Sasl::scram_sha_256(USER, "wrong"), "invalid credentials"),
            (Sasl::scram_sha_512("nobody", PASSWORD), "invalid credentials"),
            (Sasl::oauth_bearer(|| Ok(token(true))), "invalid_token"),
        ] {
            let name = format!("{place} {sasl:?}");
            refused(&name, &at(sasl), &["refused the credentials", reason, &address]);
        }
    }
    let config = Config::new(cluster.bootstrap()).sasl(Sasl::plain(USER, PASSWORD));
    refused("SASL at a listener without", &config, &["the listener has no SASL"]);
    let config = Config::new(cluster.sasl_over_tls()).sasl(Sasl::plain(USER, PASSWORD));
    refused("no TLS at a listener with", &config.topic_timeout(SOON / 2), &["TLS"]);
    let config = Config::new(cluster.sasl()).topic_timeout(SOON / 2);
    refused("no login at a listener that wants one", &config, &["wants SASL"]);
    let other = built(trusting(&Authority::new()));
    let config = Config::new(cluster.sasl_over_tls()).tls(other);
    let parts = ["a certificate was not accepted", "UnknownIssuer", &cluster.sasl_over_tls()];
    refused("another authority", &config.sasl(Sasl::plain(USER, PASSWORD)), &parts);
}

/// A listener that wants certificates of clients.
fn shows_a_certificate(cluster: &Cluster, authority: &Authority, has_tls13: bool) {
    let (ours, foreign) = (authority.client("ours"), Authority::new().client("foreign"));
    let versions = [&version::TLS12, &version::TLS13];
    for version in &versions[..1 + usize::from(has_tls13)] {
        let name = format!("{:?}", version.version);
        let at =
            |identity| Config::new(cluster.mutual()).tls(of_version(authority, version, identity));
        send(&at(Some(&ours))).unwrap_or_else(|error| panic!("{name}: {error:?}"));
        for (what, identity) in [("none", None), ("foreign", Some(&foreign))] {
            let (config, name) = (at(identity), format!("{name} {what}"));
            refused(&name, &config, &["certificate", "client", &cluster.mutual()]);
            let producer = Producer::new(config).expect("a configuration that works");
            let pending = producer.send("t", &Record::new(b"hello")).expect("it is taken");
            pending.wait().expect_err(&name);
            thread::sleep(SOON);
            let tries = producer.metrics().wait().expect("metrics").net.disconnects;
            assert!((1..=5).contains(&tries), "{name}: {tries} connections");
        }
    }
    if !has_tls13 {
        let config = of_version(authority, &version::TLS13, Some(&ours));
        let config = Config::new(cluster.mutual()).tls(config).topic_timeout(SOON / 2);
        refused("1.3 at a broker without", &config, &["TLS"]);
    }
}

/// Sends and reads records while the sessions of all connections are renewed: none is lost,
/// duplicated or reordered, and no connection ends.
fn renews(config: Config, topic: &str) {
    let config = config.start(Start::Earliest);
    let producer = Producer::new(config.clone()).expect("a configuration that works");
    let consumer = Consumer::assign_all(config, &[topic]).expect("a consumer");
    let (mut values, begun) = (BTreeMap::<u32, Vec<u64>>::new(), Instant::now());
    let (mut sent, mut read, mut pending) = (0_u64, 0, Vec::new());
    let mut poll = |wait| {
        let mut count = 0;
        while let Some(chunk) = consumer.next_timeout(wait).expect("records") {
            for record in chunk.records() {
                let record = record.expect("a record");
                let value = record.value.expect("a value");
                let all = values.entry(record.partition).or_default();
                all.push(u64::from_be_bytes(value.try_into().expect("8 bytes")));
                count += 1;
            }
        }
        count
    };
    while begun.elapsed() < LOAD {
        for _ in 0..10 {
            let (partition, value) = ((sent % 2) as u32, sent.to_be_bytes());
            let record = Record::new(&value);
            pending.push(producer.send_to(topic, partition, &record).expect("it is taken"));
            sent += 1;
        }
        read += poll(Duration::from_millis(10));
    }
    for result in pending {
        result.wait().expect("it is acknowledged");
    }
    let end = Instant::now() + Duration::from_secs(20);
    while read < sent && Instant::now() < end {
        read += poll(Duration::from_millis(100));
    }
    for partition in 0..2 {
        let all = values.get(&(partition as u32)).expect("records");
        let same = all.iter().copied().eq((partition..sent).step_by(2));
        assert!(same, "{topic}, partition {partition}: {} of {sent} records", all.len());
    }
    let disconnects = producer.metrics().wait().expect("metrics").net.disconnects;
    assert_eq!(disconnects, 0, "{topic}: no connection was ended");
}

/// Everything at one release.
fn check(version: Version) {
    let authority = Arc::new(Authority::new());
    let spec = Spec::new(version, 1).secure(Secure::over_tls(authority.clone()));
    let spec = spec.set("connections.max.reauth.ms", 5000);
    let Some(cluster) = kafka::start_or_skip(spec) else { return };
    cluster.create("t", 1).expect("a new topic");
    let tls = built(trusting(&authority));
    let loads = logins().into_iter().enumerate().map(|(n, sasl)| {
        let topic = format!("load-{n}");
        cluster.create(&topic, 2).expect("a new topic");
        let config = match n % 2 {
            0 => Config::new(cluster.sasl_over_tls()).tls(tls.clone()),
            _ => Config::new(cluster.sasl()),
        };
        thread::spawn(move || renews(config.sasl(sasl), &topic))
    });
    let loads: Vec<_> = loads.collect();
    logs_in(&cluster, &tls);
    shows_a_certificate(&cluster, &authority, version != Version::V2_4_1);
    for load in loads {
        if let Err(panic) = load.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

#[test]
fn kafka_2_4_1_logs_clients_in() {
    check(Version::V2_4_1);
}

#[test]
fn kafka_2_8_2_logs_clients_in() {
    check(Version::V2_8_2);
}

#[test]
fn kafka_3_9_2_logs_clients_in() {
    check(Version::V3_9_2);
}

#[test]
fn kafka_4_4_0_logs_clients_in() {
    check(Version::V4_4_0);
}
