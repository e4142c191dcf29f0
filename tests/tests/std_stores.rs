//! PKCS#12 stores and encrypted keys, as OpenSSL and Java write them, and of this project's tests.

use std::path::{Path, PathBuf};

use kavka_std::{Config, Producer, Record, Tls, TlsBuilder};
use kavka_tests::pki::{Authority, STORE_PASSWORD, listener};
use kavka_tests::sim::{Options, Server};

fn file(name: &str) -> Vec<u8> {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/stores").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Whether it can be used: the key fits the certificate.
fn builds(builder: std::io::Result<TlsBuilder>) -> Result<(), String> {
    builder.and_then(TlsBuilder::build).map(drop).map_err(|error| error.to_string())
}

#[test]
fn stores_of_openssl_and_java_are_read() {
    for name in ["openssl.p12", "openssl-legacy.p12", "keytool.p12"] {
        let store = file(name);
        let built = builds(Tls::builder().client_store(&store, STORE_PASSWORD));
        assert_eq!(built, Ok(()), "{name}");
        let error = builds(Tls::builder().client_store(&store, "other")).expect_err(name);
        assert!(error.contains("password"), "{name}: {error}");
        let cut = builds(Tls::builder().client_store(&store[..store.len() / 2], STORE_PASSWORD));
        assert!(cut.is_err(), "{name}");
    }
    for name in ["openssl-ca.p12", "keytool-ca.p12", "keytool-legacy-ca.p12"] {
        let built = builds(Tls::builder().ca_store(&file(name), STORE_PASSWORD));
        assert_eq!(built, Ok(()), "{name}");
        let error = builds(Tls::builder().client_store(&file(name), STORE_PASSWORD));
        assert!(error.expect_err(name).contains("no key"), "{name}");
    }
}

#[test]
fn a_store_of_another_format_is_refused_with_the_command_that_converts_it() {
    let error = builds(Tls::builder().ca_store(&file("keytool-ca.jks"), STORE_PASSWORD));
    let error = error.expect_err("a store of type JKS");
    assert!(error.contains("keytool -importkeystore") && error.contains("PKCS12"), "{error}");
}

#[test]
fn encrypted_keys_are_read() {
    let chain = file("client.pem");
    for name in ["aes256.key", "des3-sha1.key"] {
        let key = file(name);
        let with = |password| builds(Tls::builder().client_encrypted(&chain, &key, password));
        assert_eq!(with(STORE_PASSWORD), Ok(()), "{name}");
        assert!(with("other").expect_err(name).contains("password"), "{name}");
        // Java has both in one file.
        let both = [&key[..], &chain].concat();
        let built = builds(Tls::builder().client_encrypted(&both, &both, STORE_PASSWORD));
        assert_eq!(built, Ok(()), "{name}");
        let error = builds(Tls::builder().client(&chain, &key)).expect_err(name);
        assert!(error.contains("--key-password-file"), "{error}");
    }
    // A password that is not needed.
    let identity = Authority::new().client("a");
    let (chain, key) = (identity.certificate.as_bytes(), identity.key.as_bytes());
    assert_eq!(builds(Tls::builder().client_encrypted(chain, key, "x")), Ok(()));
}

#[test]
fn connections_use_what_stores_have() {
    let authority = Authority::new();
    let (broker, client) = (authority.server(), authority.client("ours"));
    let tls = listener(&broker, Some(&authority), rustls::ALL_VERSIONS);
    let options = Options { brokers: 1, replication: 1, ..Options::default() };
    let server = Server::start_secure(options, tls).expect("loopback sockets");
    server.create_topic("t", 1).expect("a new topic");
    let tls = Tls::builder()
        .ca_store(&authority.store(), STORE_PASSWORD)
        .and_then(|tls| tls.client_store(&client.store(), STORE_PASSWORD))
        .and_then(TlsBuilder::build)
        .expect("stores that work");
    let producer = Producer::new(Config::new(server.bootstrap()).tls(tls)).expect("a producer");
    producer.send("t", &Record::new(b"x")).expect("taken").wait().expect("it is acknowledged");
}
