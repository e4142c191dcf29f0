//! Logins of the command.

use std::time::{Duration, Instant};

use kavka_std::rustls;
use kavka_tests::pki::{Authority, listener};
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
    ran.bad(2, &["GSSAPI is not supported", "PLAIN, SCRAM-SHA-256, SCRAM-SHA-512"]);
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

#[test]
fn what_a_login_lacks_is_named() {
    let file = Scratch::new("sasl.jaas.config=MARKER\n");
    for (args, part) in [
        (&["--sasl", "PLAIN"][..], "needs --user and --password-file"),
        (&["-X", "security.protocol=SASL_SSL"], "needs a mechanism"),
        (&["-X", "security.protocol=SSL", "--ca", "/does/not/exist"], "/does/not/exist"),
        (&["--cert", "x.pem"], "--key"),
        (&["-X", "ssl.truststore.type=JKS"], "only PEM"),
        (&["-F", file.path()], "only PlainLoginModule"),
    ] {
        let args: Vec<&str> = ["topics", "list"].into_iter().chain(args.iter().copied()).collect();
        let ran = feed(kavka(&args), b"").bad(2, &[part]);
        assert!(!ran.err.contains("MARKER"), "{}", ran.err);
    }
}
