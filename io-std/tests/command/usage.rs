//! Help, wrong usage, where brokers are found, properties, completions.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::live::Live;
use crate::{at, feed, kavka, run, with_topic};

/// A file that no other run of these tests uses.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(text: &str) -> Self {
        Self::of(text.as_bytes())
    }

    pub(crate) fn of(bytes: &[u8]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("command-{}-{number}.properties", std::process::id());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&path, bytes).expect("a file");
        Self(path)
    }

    pub(crate) fn path(&self) -> &str {
        self.0.to_str().expect("UTF-8")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0); // it lies below `target`, and does no harm
    }
}

#[test]
fn every_command_has_help_and_the_command_a_version() {
    let help = feed(kavka(&["--help"]), b"").good().text();
    for word in ["topics", "produce", "consume", "metadata", "completions", "Exit codes: 0 done"] {
        assert!(help.contains(word), "{word}: {help}");
    }
    let version = feed(kavka(&["--version"]), b"").good().text();
    assert_eq!(version.trim(), format!("kavka {}", env!("CARGO_PKG_VERSION")));
    for command in ["topics", "produce", "consume", "groups", "metadata", "completions"] {
        feed(kavka(&[command, "--help"]), b"").good();
    }
    for command in ["list", "create", "describe", "offsets", "grow", "delete", "watch"] {
        feed(kavka(&["topics", command, "--help"]), b"").good();
    }
    for command in ["list", "describe", "lag", "reset-offsets", "delete"] {
        feed(kavka(&["groups", command, "--help"]), b"").good();
    }
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_wrong() {
    let cases: &[(&[&str], &str)] = &[
        (&[], "Usage"),
        (&["nothing"], "nothing"),
        (&["consume"], "TOPICS"),
        (&["consume", "t", "--nothing"], "--nothing"),
        (&["consume", "t", "-p", "-1"], "-1"),
        (&["consume", "t", "-o", "middle"], "middle: beginning, end, an offset, -N or @MS"),
        (&["consume", "t", "--json", "-K", ":"], "cannot be used with"),
        (&["consume", "t", "-f", "%s", "-D", ":"], "cannot be used with"),
        (&["consume", "t", "-f", "%q"], "--format %q: %q means nothing"),
        (&["consume", "t", "-f", "%"], "write %% for a percent sign"),
        (&["consume", "t", "-f", r"%s\x"], r"\x needs two hexadecimal digits"),
        (&["consume", "t", "-f", r"\q%s"], r"--format \q%s: \q means nothing"),
        (&["consume", "t", "-f", r"%s\"], r"write \\ for a backslash"),
        (&["consume", "t", "-K", ""], "--key-separator must not be empty"),
        (&["consume", "t", "-K", r"\q"], r"--key-separator \q: \q means nothing"),
        (&["consume", "t", "-D", r"\xf"], r"--delimiter \xf: \x needs two"),
        (&["produce", "t", "-K", ""], "--key-separator must not be empty"),
        (&["produce", "t", "-K", r"\8"], r"--key-separator \8: \8 means nothing"),
        (&["produce", "t", "-D", r"\"], r"--delimiter \: \ stands at the end"),
        (&["consume", "t", "--fetch-bytes", "7"], "7"),
        (&["produce", "t", "-H", "novalue"], "--header novalue: must be NAME=VALUE"),
        (&["produce", "t", "-D", ""], "--delimiter must not be empty"),
        (&["produce", "t", "--json", "-k", "x"], "cannot be used with"),
        (&["produce", "t", "--repartition"], "--json"),
        (&["produce", "t", "--acks", "2"], "2"),
        (&["produce", "t", "--delivery-timeout", "0"], "0 is not in 1.."),
        (&["topics", "list", "--timeout", "0"], "0 is not in 1.."),
        (&["topics", "create", "t", "-c", "novalue"], "--topic-config novalue: must be NAME=VALUE"),
        (&["topics", "offsets", "t", "--time", "-3"], "-3: earliest, latest"),
        (&["completions", "no-shell"], "no-shell"),
        (&["topics", "list", "-X", "novalue"], "-X novalue: must be KEY=VALUE"),
        (&["topics", "list", "-X", "=x"], "-X =x: must be KEY=VALUE"),
        (&["topics", "list", "-X", "compression.gzip.level=10"], "levels of gzip are 1 to 9"),
        (&["topics", "list", "-X", "acks=7"], "-X: acks=7: must be all, 1 or 0"),
        (&["topics", "list", "-F", "no/such/file"], "--config no/such/file"),
        (&["topics", "create", "t", "--config", "a.b=1"], "a topic config is -c NAME=VALUE"),
        (&["topics", "create", "t", "-p", "0"], "must be 1 or more, or -1 for the brokers'"),
        (&["topics", "create", "t", "-r", "0"], "must be 1 or more, or -1 for the brokers'"),
        (
            &["topics", "list", "-X", "linger.ms=-1"],
            "-X: linger.ms=-1: must be milliseconds from 0",
        ),
        (&["topics", "list", "-X", "batch.size=2147483648"], "whole number from 0 to 2147483647"),
        (&["topics", "list", "-X", "fetch.min.bytes=-1"], "fetch.min.bytes=-1: must be a whole"),
        (&["topics", "list", "-X", "max.request.size=0"], "whole number from 1 to 2147483647"),
        (&["topics", "list", "-X", "receive.message.max.bytes=9"], "from 1000 to 2147483647"),
        (&["topics", "list", "-X", "buffer.memory=0"], "from 1 to 9223372036854775807"),
        (&["topics", "list", "-X", "delivery.timeout.ms=0"], "milliseconds from 1 to 2147483647"),
    ];
    for (args, said) in cases {
        let ran = feed(kavka(args), b"");
        assert!(ran.took < Duration::from_secs(30), "{args:?}: {ran:?}");
        ran.bad(2, &[said]);
    }
}

/// With the line of the file, which may begin as some editors write it.
#[test]
fn a_value_that_is_out_of_range_is_named_with_its_place_and_the_range() {
    let text = "\u{feff}client.id=me\n\nrequest.timeout.ms=0\n";
    let file = Scratch::new(text);
    let line = format!("{}, line 3: request.timeout.ms=0: must be milliseconds", file.path());
    let ran = feed(kavka(&["-F", file.path(), "topics", "list"]), b"");
    let ran = ran.bad(2, &[&line, "from 1 to 2147483647"]);
    assert!(!ran.err.contains("client.id"), "the first line is a property: {ran:?}");
    let long = format!("client.id={}\n", "x".repeat(65));
    let file = Scratch::new(&long);
    let said = [", line 1: client.id=", "has 65 bytes; at most 64"];
    feed(kavka(&["-F", file.path(), "topics", "list"]), b"").bad(2, &said);
}

/// No value that begins with a dash was meant.
#[test]
fn an_option_that_does_not_exist_has_no_misleading_tip() {
    let ran = feed(kavka(&["consume", "t", "--nothing"]), b"").bad(2, &["--nothing"]);
    assert!(!ran.err.contains("as a value"), "{}", ran.err);
    feed(kavka(&["consume", "t", "--ofset", "1"]), b"").bad(2, &["'--offset'"]);
}

/// Wherever they are found, and before a broker is connected to: there is none.
#[test]
fn what_the_configuration_refuses_is_wrong_usage() {
    let long = "x".repeat(65);
    let cases: &[(&[&str], &str)] = &[
        (&["-X", "acks=1", "-X", "enable.idempotence=true", "produce", "t"], "acks=all"),
        (&["-X", "request.timeout.ms=0", "topics", "list"], "from 1 to 2147483647"),
        (&["--client-id", &long, "metadata"], "the client id is too long"),
        (&["consume", "not a name"], "topic name"),
        (&["consume", "not a name", "-e"], "topic name"),
        (&["topics", "offsets", "not a name"], "topic name"),
        (&["topics", "describe", "a b"], "topic name"),
        (&["topics", "create", ""], "topic name"),
        (&["topics", "watch", ".."], "topic name"),
        (&["metadata", "a/b"], "topic name"),
        (&["produce", "not a name"], "topic name"),
        (&["produce", "t", "-p", "4294967295"], "partition"),
        (&["consume", "t", "-p", "4294967295"], "partition"),
        (&["topics", "grow", "t", "-1"], "-1"),
        (&["topics", "create", "t", "-p", "-5"], "-5"),
    ];
    for (args, said) in cases {
        let mut all = vec!["-b", "127.0.0.1:1"];
        all.extend(*args);
        let ran = feed(kavka(&all), b"a\n").bad(2, &[said]);
        assert!(ran.took < Duration::from_secs(5), "{args:?}: {ran:?}");
    }
}

#[test]
fn addresses_are_understood_as_people_write_them_or_refused_at_once() {
    let server = with_topic(2);
    let address = server.bootstrap();
    let port = address.rsplit(':').next().expect("a port");
    for list in [
        format!("PLAINTEXT://{address}"),
        format!("plaintext://LOCALHOST:{port}"),
        format!("{address};{address}"),
        format!("  {address} ,\t{address},"),
    ] {
        let ran = feed(kavka(&["-b", &list, "topics", "list"]), b"").good();
        assert_eq!(ran.text(), "t\t2\n", "{list}");
    }
    let cases = [
        ("SSL://127.0.0.1:1", "SSL is not PLAINTEXT"),
        ("http://127.0.0.1:1", "http:// is not understood"),
        ("::1:9092", "write an IPv6 address in brackets"),
        ("127.0.0.1:99999", "the port \"99999\" is not a number from 1 to 65535"),
        (",", "the list of bootstrap addresses is empty"),
    ];
    for (list, why) in cases {
        for args in [&["-b", list, "topics", "list"][..], &["-b", list, "consume", "t", "-e"]] {
            let ran = feed(kavka(args), b"").bad(2, &[why]);
            assert!(ran.took < Duration::from_secs(5), "at once, not in {:?}", ran.took);
        }
    }
}

#[test]
fn options_go_before_the_environment_and_that_before_the_file() {
    let server = with_topic(3);
    let good = Scratch::new(&format!(
        "# brokers\nbootstrap.servers = PLAINTEXT://{}\nclient.id=file\nfetch.mini.bytes=1\n",
        server.bootstrap()
    ));
    let ran = feed(kavka(&["topics", "list", "--config", good.path()]), b"").good();
    assert_eq!(ran.text(), "t\t3\n");
    let warning = format!("{}, line 4: fetch.mini.bytes is no property that kavka", good.path());
    assert!(ran.err.contains(&warning), "{}", ran.err);
    let bad = Scratch::new("bootstrap.servers=:\n");
    run(&server, &["-F", bad.path(), "topics", "list"]).good();
    feed(kavka(&["-F", bad.path(), "topics", "list"]), b"").bad(2, &["the host is missing"]);
    let mut command = kavka(&["-F", bad.path(), "-b", &server.bootstrap(), "topics", "list"]);
    command.env("KAVKA_BOOTSTRAP", ":");
    feed(command, b"").good();
    let servers = format!("bootstrap.servers={}", server.bootstrap());
    feed(kavka(&["-F", bad.path(), "-X", &servers, "topics", "list"]), b"").good();
    let wrong = Scratch::new("\nacks=many\n");
    let place = format!("{}, line 2: acks=many: must be", wrong.path());
    feed(kavka(&["-F", wrong.path(), "topics", "list"]), b"").bad(2, &[&place]);
}

#[test]
fn properties_take_effect() {
    let server = with_topic(1);
    let file = Scratch::new(
        "acks=1\nenable.idempotence=false\nlinger.ms=1\nbatch.size=1000\nbuffer.memory=100000\n\
         delivery.timeout.ms=20000\nmax.request.size=200\nclient.rack=r\ngroup.id=g\n\
         compression.type=lz4\nsasl.mechanism=PLAIN\n",
    );
    let produce = ["produce", "t", "-F", file.path()];
    let ran = feed(at(&server, &produce), b"small\n").good();
    for word in ["group.id has no effect", "no login: neither --sasl nor"] {
        assert!(ran.err.contains(word), "{word}: {}", ran.err);
    }
    let large = format!("small\n{}\n", "x".repeat(201));
    feed(at(&server, &produce), large.as_bytes()).bad(1, &["line 2", "200 bytes"]);
    // The option goes before the property.
    let ends = |reset: &str| {
        let reset = format!("auto.offset.reset={reset}");
        run(&server, &["consume", "t", "-e", "-X", &reset]).good().text()
    };
    assert_eq!((ends("earliest").as_str(), ends("latest").as_str()), ("small\nsmall\n", ""));
    let both = ["consume", "t", "-e", "-X", "auto.offset.reset=latest", "-o", "1"];
    assert_eq!(run(&server, &both).good().text(), "small\n");
    let wait = ["consume", "t", "-e", "-X", "fetch.max.wait.ms=10", "-X", "fetch.min.bytes=1"];
    run(&server, &wait).good();
}

/// With Java's escapes and continued lines; all of them at once still read and write.
#[test]
fn every_property_of_a_file_is_understood() {
    let server = with_topic(1);
    let times = [
        "request.timeout.ms",
        "socket.connection.setup.timeout.ms",
        "retry.backoff.ms",
        "retry.backoff.max.ms",
        "reconnect.backoff.ms",
        "reconnect.backoff.max.ms",
        "metadata.max.age.ms",
        "fetch.max.wait.ms",
    ];
    let times: String = times.iter().map(|name| format!("{name} = 500\n")).collect();
    let file = Scratch::new(&format!(
        "! a comment\n{times}fetch.max.bytes:1000000\nmax.partition.fetch.bytes 100000\n\
         fetch.min.bytes=1\nallow.auto.create.topics=false\nclient.\\\n   id=a\\tb\\u0041\\q\n\
         auto.offset.reset=none\nbootstrap\\.servers={}\nisolation.level=read_committed\n\
         security.protocol=PLAINTEXT\nclient.rack=\\r\\n\\f\\\\\n",
        server.bootstrap().replace(':', "\\:"),
    ));
    feed(kavka(&["produce", "t", "-F", file.path()]), b"a\n").good();
    let ran = feed(kavka(&["consume", "t", "-e", "-o", "0", "-F", file.path()]), b"").good();
    assert_eq!((ran.text().as_str(), ran.err.as_str()), ("a\n", ""));
    for (property, why) in [
        ("auto.offset.reset=middle", "must be earliest, latest or none"),
        ("security.protocol=SECURE", "must be PLAINTEXT"),
        ("isolation.level=committed", "must be read_committed or read_uncommitted"),
        ("enable.idempotence=maybe", "must be true or false"),
        ("linger.ms=soon", "linger.ms=soon"),
        ("fetch.max.bytes=-1", "fetch.max.bytes=-1: must be a whole number from 0"),
    ] {
        feed(kavka(&["topics", "list", "-X", property]), b"").bad(2, &[why]);
    }
}

#[test]
fn an_address_without_a_listener_is_named() {
    let server = with_topic(1);
    let address = server.bootstrap();
    server.kill(1).expect("its port is kept");
    for args in [
        &["topics", "list"][..],
        &["metadata"],
        &["topics", "offsets", "t"],
        &["topics", "watch", "t"],
        &["consume", "t", "-e"],
        &["consume", "t"],
        &["produce", "t"],
    ] {
        let mut all = args.to_vec();
        all.extend(["--timeout", "2"]);
        let ran = run(&server, &all).bad(1, &["refused", &address]);
        assert!(ran.took < Duration::from_secs(20), "{args:?}: {ran:?}");
    }
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = feed(kavka(&["completions", shell]), b"").good().text();
        assert!(script.contains("consume") && script.contains("metadata"), "{shell}");
    }
}

#[test]
fn a_full_disk_is_a_failure() {
    let server = with_topic(1);
    crate::fill(&server, 0, &["a", "b"]);
    for args in [
        &["topics", "list"][..],
        &["topics", "describe", "t"],
        &["topics", "offsets", "t"],
        &["topics", "watch", "t"],
        &["metadata", "--json"],
        &["metadata"],
        &["consume", "t", "-e"],
        &["consume", "t", "--json"],
        &["consume", "t", "-u"],
        &["completions", "bash"],
        &["--help"],
        &["consume", "--help"],
        &["--version"],
    ] {
        let full = OpenOptions::new().write(true).open("/dev/full").expect("Linux");
        let mut command = at(&server, args);
        command.stdout(Stdio::from(full));
        feed(command, b"").bad(1, &["kavka: stdout: No space left on device"]);
    }
}

#[test]
fn the_library_alone_does_not_pull_what_the_command_needs() {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let manifest = std::fs::read_to_string(manifest).expect("a manifest");
    let (normal, _) = manifest.split_once("[dev-dependencies]").expect("dependencies for tests");
    for name in ["clap", "clap_complete", "serde_json", "ctrlc", "nix", "rustix"] {
        let line = normal.lines().find(|line| line.starts_with(&format!("{name} =")));
        assert!(line.is_some_and(|line| line.contains("optional = true")), "{name}: {line:?}");
    }
    let default = normal.lines().find(|line| line.starts_with("default ="));
    assert!(default.is_some_and(|line| !line.contains("cli")), "the command is no default feature");
}

/// Within about a second of being known, however long the command would wait.
#[test]
fn a_reason_that_is_known_is_printed_long_before_the_time_out() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    for args in [
        &["topics", "list"][..],
        &["topics", "watch", "t"],
        &["topics", "offsets", "t"],
        &["metadata"],
        &["consume", "t"],
        &["consume", "t", "-e"],
        &["produce", "t"],
    ] {
        let mut all = vec!["-b", &address, "--timeout", "100"];
        all.extend(args);
        let start = feed(kavka(&["--version"]), b"").good().took;
        let begun = Instant::now();
        let mut live = Live::start(kavka(&all));
        let line = live.error("Connection refused");
        assert!(line.contains(&address), "{args:?}: {line}");
        assert!(
            begun.elapsed() < start + Duration::from_secs(3),
            "{args:?}: {:?}",
            begun.elapsed()
        );
        live.signal(Signal::KILL);
        live.end();
    }
}

/// With the reason at each address, once the time is over.
#[test]
fn the_time_out_names_every_bootstrap_address_with_its_reason() {
    let addresses = [(); 2].map(|()| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").to_string()
    });
    let list = addresses.join(",");
    for args in [&["topics", "list"][..], &["consume", "t"], &["consume", "t", "-e"]] {
        let mut all = vec!["-b", &list, "--timeout", "2"];
        all.extend(args);
        let ran = feed(kavka(&all), b"");
        let last = ran.err.lines().next_back().unwrap_or_default().to_owned();
        assert!(addresses.iter().all(|address| last.contains(address)), "{args:?}: {last}");
        ran.bad(1, &["Connection refused"]);
    }
}

/// Each line once, however often two dead brokers take turns; all of them with -v, in plain words.
#[test]
fn brokers_that_fail_in_turn_are_each_named_once() {
    let addresses = [(); 2].map(|()| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address").to_string()
    });
    let list = addresses.join(",");
    for args in [
        &["topics", "list"][..],
        &["topics", "watch", "t"],
        &["consume", "t"],
        &["consume", "t", "-e", "-v"],
        &["produce", "t", "-v"],
    ] {
        let mut all = vec!["-b", &list, "--timeout", "5"];
        all.extend(args);
        let ran = feed(kavka(&all), b"a\n").bad(1, &["refused"]);
        for address in &addresses {
            let lines =
                ran.err.lines().filter(|line| line.contains(&format!(", broker {address}")));
            assert!((1..=2).contains(&lines.count()), "{args:?}, {address}: {}", ran.err);
        }
    }
}

/// What -v prints is for people, too.
#[test]
fn news_are_sentences() {
    let server = with_topic(1);
    crate::fill(&server, 0, &["a", "b"]);
    let ran = run(&server, &["consume", "t", "-e", "-v", "-X", "auto.offset.reset=earliest"]);
    ran.bad(0, &["t: 1 partition\n"]);
    let mut live = Live::start(at(&server, &["consume", "t", "-v", "-u"]));
    live.line();
    live.line();
    for said in
        ["partition 0: reading begins at offset 0", "partition 0: read to its end, offset 2"]
    {
        live.error(said);
    }
    server.grow("t", 2).expect("a larger topic");
    let grown = live.error("t: grown from 1 to 2 partitions (");
    assert!(grown.contains("broker 1, by ") && grown.ends_with(')'), "{grown}");
    server.recreate("t", 1).expect("another topic");
    live.error("t: recreated with 1 partition");
    live.signal(Signal::INT);
    live.end().bad(0, &[]);
}
