//! TLS between the clients for servers and simulated brokers, over loopback.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use kavka_std::{Config, Consumer, Error, Mode, Producer, Record, Sasl, Start, Tls, TlsBuilder};
use kavka_tests::sim::{Options, Sasl as Listener, Server};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ProtocolVersion, RootCertStore, ServerConfig};

const PATIENCE: Duration = Duration::from_secs(20);

/// An authority.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        // Authorities of one name would be taken for each other.
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("authority {}", COUNT.fetch_add(1, Ordering::Relaxed));
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Returns certificate and key, as PEM.
    fn sign(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> (String, String) {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    }

    fn server(&self) -> (String, String) {
        self.sign(&["localhost", "127.0.0.1"], |_| {})
    }
}

fn listener(
    (certificate, key): &(String, String),
    clients: Option<&Authority>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_protocol_versions(versions).expect("versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            let pem = authority.pem.as_bytes();
            roots.add(CertificateDer::from_pem_slice(pem).expect("a certificate")).expect("a root");
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.expect("a verifier"))
        }
    };
    let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).expect("one")];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    Arc::new(builder.with_single_cert(chain, key).expect("certificate and key fit"))
}

const BOTH: [&rustls::SupportedProtocolVersion; 2] =
    [&rustls::version::TLS13, &rustls::version::TLS12];

fn server(tls: Arc<ServerConfig>, sasl: Option<Listener>) -> Server {
    let options = Options { brokers: 1, replication: 1, sasl, ..Options::default() };
    let server = Server::start_secure(options, tls).expect("loopback sockets");
    server.create_topic("t", 2).expect("a new topic");
    server
}

fn trusting(authority: &Authority) -> TlsBuilder {
    Tls::builder().ca(authority.pem.as_bytes()).expect("an authority")
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
    let error = send(config.topic_timeout(Duration::from_secs(6))).expect_err("it is refused");
    assert!(begun.elapsed() < Duration::from_secs(9), "{:?}: {error}", begun.elapsed());
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
fn a_client_certificate_is_shown_where_it_is_wanted() {
    let (ours, theirs) = (Authority::new(), Authority::new());
    for version in BOTH {
        let tls = listener(&ours.server(), Some(&ours), &[version]);
        let server = server(tls, None);
        let with = |(chain, key): (String, String)| {
            trusting(&ours).client(chain.as_bytes(), key.as_bytes()).expect("both")
        };
        send(config(&server, with(ours.sign(&["client"], |_| {})))).expect("it is acknowledged");
        for wrong in [trusting(&ours), with(theirs.sign(&["client"], |_| {}))] {
            let text = refusal(config(&server, wrong));
            assert!(text.contains("certificate"), "{version:?}: {text}");
        }
    }
}

#[test]
fn a_port_without_tls_is_named_and_gets_nothing_in_plain_text() {
    let options = Options { brokers: 1, replication: 1, ..Options::default() };
    let server = Server::start(options).expect("loopback sockets");
    let text = refusal(config(&server, trusting(&Authority::new())));
    assert!(text.contains("is it a port without TLS?"), "{text}");
    // And a client without TLS at a port that has it.
    let tls = self::server(listener(&Authority::new().server(), None, &BOTH), None);
    let text = refusal(Config::new(tls.bootstrap()));
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
    let (chain, _) = authority.server();
    let (_, key) = authority.server();
    let other = trusting(&authority).client(chain.as_bytes(), key.as_bytes()).expect("both");
    assert!(other.build().is_err(), "the key is of another certificate");
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let error = trusting(&authority).client(chain.as_bytes(), encrypted.as_bytes());
    assert!(error.expect_err("encrypted").to_string().contains("openssl pkcs8"));
}
