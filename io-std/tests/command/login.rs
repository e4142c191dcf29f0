//! Logins of the command.

use std::time::{Duration, Instant};

use kavka_std::rustls;
use kavka_tests::oidc::TokenServer;
use kavka_tests::pki::{Authority, STORE_PASSWORD, listener};
use kavka_tests::sim::{Options, Sasl, Server};

use super::usage::Scratch;
use super::{at, feed, kavka};

/// A word that nothing may show.
const MARKER: &str = "MARKER-open-sesame";

fn secure() -> Server {
    let users = [("alice".to_owned(), MARKER.to_owned())].into();
    let sasl = Sasl { users, ..Sasl::default() };
    let options = Options { brokers: 1, replication: 1, sasl: Some(sasl), ..Options::default() };
    let server = Server::start(options).expect("loopback sockets");
    server.create_topic("t", 1).expect("a topic");
    server
}

#[test]
fn options_the_environment_and_properties_log_in() {
    let server = secure();
    let password = Scratch::new(&format!("{MARKER}\n"));
    let file = ["--password-file", password.path()];
    for mechanism in ["PLAIN", "scram-sha-256", "SCRAM-SHA-512"] {
        let args = ["topics", "list", "--sasl", mechanism, "--user", "alice", file[0], file[1]];
        let ran = feed(at(&server, &args), b"").good();
        assert!(ran.out.contains(&b't') && !ran.err.contains("MARKER"), "{}", ran.err);
        assert_eq!(ran.err.contains("readable"), mechanism == "PLAIN", "{}", ran.err);
    }
    let mut command = at(&server, &["topics", "list"]);
    command.env("KAVKA_SASL", "SCRAM-SHA-256").env("KAVKA_USER", "alice");
    feed(
        {
            command.env("KAVKA_PASSWORD", MARKER);
            command
        },
        b"",
    )
    .good();
    let module = "org.apache.kafka.common.security.scram.ScramLoginModule required";
    for properties in [
        format!("sasl.jaas.config={module} username=\"alice\" password=\"{MARKER}\";"),
        format!("sasl.username=alice\nsasl.password={MARKER}"),
    ] {
        let common = "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=SCRAM-SHA-512\n";
        let file = Scratch::new(&format!("{common}{properties}\n"));
        feed(at(&server, &["topics", "list", "-F", file.path()]), b"").good();
    }
}

#[test]
fn a_refused_login_ends_the_command_soon_and_shows_no_password() {
    let server = secure();
    let (wrong, right) = (Scratch::new("MARKER-wrong"), Scratch::new(MARKER));
    for (mechanism, password, parts) in [
        ("PLAIN", &wrong, ["refused the credentials", "Invalid username or password"]),
        ("SCRAM-SHA-256", &wrong, ["refused the credentials", "check user and password"]),
        ("GSSAPI", &right, ["GSSAPI is not supported", "choose one of PLAIN"]),
    ] {
        for what in [&["topics", "list", "-v"][..], &["produce", "t"], &["consume", "t", "-e"]] {
            let login = ["--sasl", mechanism, "--user", "alice", "--password-file"];
            let args: Vec<&str> =
                what.iter().copied().chain(login).chain([password.path()]).collect();
            let code = if mechanism == "GSSAPI" { 2 } else { 1 };
            let ran = feed(at(&server, &args), b"hello\n").bad(code, &parts);
            let shown = format!("{}{}", String::from_utf8_lossy(&ran.out), ran.err);
            assert!(!shown.contains("MARKER"), "{args:?}: {shown}");
        }
    }
}

#[test]
fn gssapi_is_refused_with_what_there_is_whatever_else_is_missing() {
    let ran = feed(kavka(&["topics", "list", "--sasl", "GSSAPI"]), b"");
    ran.bad(2, &["GSSAPI is not supported", "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER"]);
}

#[test]
fn a_refused_certificate_ends_the_command_soon() {
    let tls = listener(&Authority::new().server(), None, rustls::ALL_VERSIONS);
    let options = Options { brokers: 1, replication: 1, ..Options::default() };
    let server = Server::start_secure(options, tls).expect("loopback sockets");
    server.create_topic("t", 1).expect("a topic");
    let other = Scratch::new(Authority::new().pem());
    for what in [&["topics", "list"][..], &["produce", "t"], &["consume", "t", "-e"]] {
        let args: Vec<&str> = what.iter().copied().chain(["--ca", other.path()]).collect();
        let begun = Instant::now();
        let parts = ["a certificate was not accepted", "UnknownIssuer", "check the authorities"];
        feed(at(&server, &args), b"hello\n").bad(1, &parts);
        assert!(begun.elapsed() < Duration::from_secs(4), "{args:?}: {:?}", begun.elapsed());
    }
}

/// A listener that wants certificates of clients.
fn mutual(authority: &Authority) -> Server {
    let tls = listener(&authority.server(), Some(authority), rustls::ALL_VERSIONS);
    let options = Options { brokers: 1, replication: 1, ..Options::default() };
    let server = Server::start_secure(options, tls).expect("loopback sockets");
    server.create_topic("t", 1).expect("a topic");
    server
}

#[test]
fn stores_and_encrypted_keys_are_read_from_options_and_properties() {
    let authority = Authority::new();
    let (server, client) = (mutual(&authority), authority.client("ours"));
    let (trust, keys) = (Scratch::of(&authority.store()), Scratch::of(&client.store()));
    let (trust, keys) = (trust.path(), keys.path());
    let (ca, chain) = (Scratch::new(authority.pem()), Scratch::new(&client.certificate));
    let key = Scratch::new(&client.key);
    let password = Scratch::new(&format!("{STORE_PASSWORD}\n"));
    let (stores, word) = ([trust, keys], password.path());
    let options = ["--ca", stores[0], "--ca-password-file", word, "--cert", stores[1]];
    let options = [&options[..], &["--key-password-file", word]].concat();
    let pem = ["--ca", ca.path(), "--cert", chain.path(), "--key", key.path()];
    let properties = [
        format!(
            "ssl.truststore.type=PKCS12\nssl.truststore.location={trust}\n\
             ssl.truststore.password={STORE_PASSWORD}\nssl.keystore.type=PKCS12\n\
             ssl.keystore.location={keys}\nssl.keystore.password={STORE_PASSWORD}\n"
        ),
        format!(
            "ssl.ca.location={}\nssl.certificate.location={}\nssl.key.location={}\n",
            ca.path(),
            chain.path(),
            key.path()
        ),
        format!(
            "ssl.truststore.certificates={}\nssl.keystore.certificate.chain={}\n\
             ssl.keystore.key={}\n",
            authority.pem().replace('\n', "\\n"),
            client.certificate.replace('\n', "\\n"),
            client.key.replace('\n', "\\n")
        ),
    ];
    let files = properties.map(|text| Scratch::new(&format!("security.protocol=SSL\n{text}")));
    let files = files.each_ref().map(|file| ["-F", file.path()]);
    let all = [&options[..], &pem].into_iter().chain(files.iter().map(|file| &file[..]));
    for args in all {
        let args: Vec<&str> = ["topics", "list"].into_iter().chain(args.iter().copied()).collect();
        let ran = feed(at(&server, &args), b"").good();
        assert!(!ran.err.contains(STORE_PASSWORD), "{}", ran.err);
    }
    let wrong = ["topics", "list", "--ca", trust, "--ca-password-file", key.path()];
    feed(at(&server, &wrong), b"").bad(2, &["is the password right?"]);
}

#[test]
fn tokens_come_from_a_file_or_from_a_server() {
    let sasl = Sasl::default();
    let options = Options { brokers: 1, replication: 1, sasl: Some(sasl), ..Options::default() };
    let server = Server::start(options).expect("loopback sockets");
    server.create_topic("t", 1).expect("a topic");
    let (good, bad) = (Scratch::new("good.token\n"), Scratch::new("MARKER.token"));
    let login = ["topics", "list", "--sasl", "OAUTHBEARER", "--token-file"];
    feed(at(&server, &[&login[..], &[good.path()]].concat()), b"").good();
    let ran = feed(at(&server, &[&login[..], &[bad.path()]].concat()), b"");
    let ran = ran.bad(1, &["refused the credentials", "invalid_token"]);
    assert!(!ran.err.contains("MARKER"), "{}", ran.err);
    let missing = [&login[..], &["/does/not/exist", "--timeout", "2"]].concat();
    feed(at(&server, &missing), b"").bad(1, &["/does/not/exist"]);
    let authority = Authority::new();
    let tls = listener(&authority.server(), None, rustls::ALL_VERSIONS);
    let issuer = TokenServer::start(tls, |count| match count {
        2 => (403, r#"{"error":"unauthorized_client"}"#.into()),
        _ => (200, r#"{"access_token":"good.token","expires_in":3600}"#.into()),
    });
    let (ca, secret) = (Scratch::new(authority.pem()), Scratch::new(MARKER));
    let url = issuer.url();
    let options = ["topics", "list", "--sasl", "OAUTHBEARER", "--oidc-url", &url, "--oidc-ca"];
    let options = [&options[..], &[ca.path(), "--user", "me", "--password-file", secret.path()]];
    let options = options.concat();
    feed(at(&server, &options), b"").good();
    let module = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required";
    let file = Scratch::new(&format!(
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=OAUTHBEARER\n\
         sasl.oauthbearer.token.endpoint.url={url}\nhttps.ca.location={}\n\
         sasl.jaas.config={module} clientId=\"me\" clientSecret=\"{MARKER}\" scope=\"all\";\n",
        ca.path()
    ));
    feed(at(&server, &["topics", "list", "-F", file.path()]), b"").good();
    assert!(issuer.requested()[1].body.ends_with("&scope=all"), "{:?}", issuer.requested());
    let ran = feed(at(&server, &options), b"").bad(1, &["403 unauthorized_client"]);
    assert!(!ran.err.contains("MARKER"), "{}", ran.err);
}

#[test]
fn what_a_login_lacks_is_named() {
    let file = Scratch::new("sasl.jaas.config=MARKER\n");
    for (args, part) in [
        (&["--sasl", "PLAIN"][..], "needs --user and --password-file"),
        (&["-X", "security.protocol=SASL_SSL"], "needs a mechanism"),
        (&["-X", "security.protocol=SSL", "--ca", "/does/not/exist"], "/does/not/exist"),
        (&["--cert", "/does/not/exist"], "/does/not/exist"),
        (&["--key", "x.pem"], "--cert"),
        (&["-X", "ssl.truststore.type=JKS"], "keytool -importkeystore"),
        (&["-F", file.path()], "only PlainLoginModule"),
        (&["--sasl", "OAUTHBEARER"], "--token-file, or --oidc-url"),
        (&["--sasl", "OAUTHBEARER", "--oidc-url", "https://h/t"], "id and secret"),
        (&["--sasl", "OAUTHBEARER", "--oidc-url", "http://h/t", "--user", "a"], "id and secret"),
    ] {
        let args: Vec<&str> = ["topics", "list"].into_iter().chain(args.iter().copied()).collect();
        let ran = feed(kavka(&args), b"").bad(2, &[part]);
        assert!(!ran.err.contains("MARKER"), "{}", ran.err);
    }
}
