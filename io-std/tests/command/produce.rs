//! `kavka produce`: every option.

use std::io::Write as _;
use std::process::Stdio;
use std::time::Duration;

use kavka_tests::sim::batch::Record;
use kavka_tests::sim::{ApiKey, Fault, Options, Server};

use crate::live::Live;
use crate::{at, binary, copied, feed, peak, run, with_topic};

fn all(server: &Server) -> Vec<Record> {
    let partitions = server.with(|cluster| cluster.partitions("t"));
    (0..partitions).flat_map(|partition| server.records("t", partition)).collect()
}

/// Keys and values, `-` for null.
fn shown(server: &Server) -> Vec<String> {
    let text = |bytes: Option<Vec<u8>>| match bytes {
        Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        None => "-".to_owned(),
    };
    let shown = |at: &Record| format!("{}:{}", text(copied(&at.key)), text(copied(&at.value)));
    all(server).iter().map(shown).collect()
}

#[test]
fn lines_become_records() {
    let cases: &[(&[&str], &str, &[&str])] = &[
        (&[], "a\r\n\nb", &["-:a\r", "-:", "-:b"]),
        (&["-D", r"\r\n"], "a\r\nb\n\r\n", &["-:a", "-:b\n"]),
        (&["-D", ";"], "a;b;", &["-:a", "-:b"]),
        (&["-K", ":"], "k:v\nn\n:w\n", &["k:v", "-:n", ":w"]),
        (&["-K", r"\t", "-Z"], "k\tv\nk\t\n", &["k:v", "k:-"]),
        (&["-k", "all"], "a\nb\n", &["all:a", "all:b"]),
        (&["-Z"], "\n", &["-:-"]),
        (&["--acks", "all"], "a\n", &["-:a"]),
        (&["--acks", "1", "--linger", "1"], "a\n", &["-:a"]),
        (&["--acks", "0", "--linger-when-idle"], "a\n", &["-:a"]),
        (&["--delivery-timeout", "50", "-v"], "a\n", &["-:a"]),
    ];
    for (options, input, want) in cases {
        let server = with_topic(1);
        let mut args = vec!["produce", "t"];
        args.extend(*options);
        feed(at(&server, &args), input.as_bytes()).good();
        // Without acknowledgements the command may end before the broker has read them.
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while shown(&server).len() < want.len() && std::time::Instant::now() < until {
            std::thread::yield_now();
        }
        assert_eq!(shown(&server), *want, "{options:?}");
    }
}

/// The address leads to another cluster while the command runs.
#[test]
fn another_cluster_at_the_address_is_named() {
    let server = with_topic(1);
    for (more, written) in [(vec![], false), (vec!["--any-cluster"], true)] {
        let mut args = vec!["produce", "t", "--delivery-timeout", "2"];
        args.extend(more);
        let mut live = Live::start(at(&server, &args));
        let before = server.log_len("t", 0);
        let stdin = live.stdin.as_mut().expect("piped");
        writeln!(stdin, "before").unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(60);
        while server.log_len("t", 0) == before {
            assert!(std::time::Instant::now() < until, "nothing is written");
            std::thread::yield_now();
        }
        server.with(|cluster| cluster.impersonate(1, true));
        server.disconnect(1);
        let trespasses = server.with(|cluster| cluster.trespasses());
        // Without the option it may have ended already.
        let after = writeln!(live.stdin.as_mut().expect("piped"), "after");
        assert!(after.is_ok() || !written, "{after:?}");
        drop(live.stdin.take());
        let said: &[&str] = match written {
            true => &["(it may have been written)"],
            false => &["another-cluster-00001", "simulated-cluster-0001", "--any-cluster"],
        };
        live.end().bad(1, said);
        let sent = server.with(|cluster| cluster.trespasses()) > trespasses;
        assert_eq!(sent, written);
        server.with(|cluster| cluster.impersonate(1, false));
    }
}

#[test]
fn a_broker_without_producer_ids_can_be_produced_to_as_the_advice_says() {
    let server = with_topic(1);
    server.with(|cluster| cluster.withhold(ApiKey::InitProducerId));
    let ran = feed(at(&server, &["produce", "t"]), b"a\n");
    assert!(ran.took < Duration::from_secs(30), "{ran:?}");
    let address = server.bootstrap();
    ran.bad(1, &["INIT_PRODUCER_ID", "-X enable.idempotence=false", &address]);
    let without = ["produce", "t", "-X", "enable.idempotence=false"];
    feed(at(&server, &without), b"a\n").good();
    assert_eq!(shown(&server), ["-:a"]);
}

/// A compacted topic: the record without a key is named with the broker's words, the others are
/// written.
#[test]
fn the_words_of_a_broker_that_refuses_a_record_are_printed() {
    let options = Options { brokers: 1, needs_keys: true, ..Options::default() };
    let server = Server::start(options).unwrap();
    server.create_topic("t", 1).unwrap();
    let args = ["produce", "t", "-K", ":", "--linger", "200", "--linger-when-idle"];
    let ran = feed(at(&server, &args), b"a:1\nb:2\nno key\nc:3\n");
    ran.bad(1, &["INVALID_RECORD", "Compacted topic cannot accept message without key"]);
    assert_eq!(shown(&server), ["a:1", "b:2", "c:3"]);
}

#[test]
fn a_partition_and_headers_can_be_chosen() {
    let server = with_topic(3);
    let args = ["produce", "t", "-p", "2", "-H", "h=1", "--header", "h=2=3", "-v"];
    let ran = feed(at(&server, &args), b"a\n").good();
    assert!(ran.err.contains("1 record delivered"), "{}", ran.err);
    let records = server.records("t", 2);
    let headers = records[0].headers.iter();
    let headers: Vec<_> = headers.map(|(name, value)| (name.to_vec(), copied(value))).collect();
    let want = |value: &str| (b"h".to_vec(), Some(value.as_bytes().to_vec()));
    assert_eq!(headers, [want("1"), want("2=3")]);
}

#[test]
fn batches_are_compressed_as_an_option_or_a_property_says() {
    let cases: &[(&[&str], i16)] = &[
        (&["-z", "lz4"], 3),
        (&["--compression", "zstd:1"], 4),
        (&["-X", "compression.type=gzip", "-X", "compression.gzip.level=1"], 1),
        (&["-X", "compression.type=gzip", "-z", "snappy"], 2),
        (&["-X", "compression.type=gzip", "-z", "none"], 0),
        (&[], 0),
    ];
    let line = "again ".repeat(100) + "\n";
    for (options, codec) in cases {
        let server = with_topic(1);
        let mut args = vec!["produce", "t"];
        args.extend(*options);
        feed(at(&server, &args), line.as_bytes()).good();
        let batches = server.with(|cluster| cluster.batches("t", 0));
        let stored = kavka_tests::sim::batch::Header::read(&batches[0]).map(|h| h.codec());
        assert_eq!(stored, Some(*codec), "{options:?}");
        assert_eq!(shown(&server), [format!("-:{}", line.trim_end_matches('\n'))]);
    }
    let server = with_topic(1);
    for bad in ["br", "lz4:3", "gzip:0"] {
        feed(at(&server, &["produce", "t", "-z", bad]), b"").bad(2, &["--compression"]);
    }
}

#[test]
fn a_closed_stdin_is_an_empty_one() {
    let server = with_topic(1);
    feed(at(&server, &["produce", "t"]), b"").good();
    // As the shell's `<&-` does.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" <&-"]).arg(binary()).args(["produce", "t"]);
    shell.env("KAVKA_BOOTSTRAP", server.bootstrap());
    shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    feed(shell, b"").good();
    assert_eq!(shown(&server), [""; 0]);
    // A directory cannot be read.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "exec \"$0\" \"$@\" </"]).arg(binary()).args(["produce", "t"]);
    shell.env("KAVKA_BOOTSTRAP", server.bootstrap());
    shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    feed(shell, b"").bad(1, &["directory"]);
}

#[test]
fn a_line_without_end_stops_at_the_record_limit_with_its_number() {
    const PIECE: usize = 1 << 20;
    for json in [false, true] {
        let server = with_topic(1);
        let mut args = vec!["produce", "t"];
        args.extend(json.then_some("--json"));
        let mut command = at(&server, &args);
        let mut child = command.stdin(Stdio::piped()).spawn().expect("it starts");
        let mut stdin = child.stdin.take().expect("piped");
        let first = if json { &b"{\"payload\":\"a\"}\n"[..] } else { b"a\n" };
        stdin.write_all(first).expect("it reads");
        let piece = vec![b'x'; PIECE];
        let mut most = 0;
        // It closes the pipe long before the 600th.
        let taken = (0..600).take_while(|_| {
            most = most.max(peak(child.id()));
            stdin.write_all(&piece).is_ok()
        });
        let taken = taken.count();
        drop(stdin);
        let output = child.wait_with_output().expect("its end");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains("line 2: larger than a record of "), "{said}");
        assert_eq!(output.status.code(), Some(1));
        assert!(taken < 50, "{taken} MiB were read");
        assert!(most < 150 << 20, "{most} bytes");
        assert_eq!(shown(&server), ["-:a"], "what came before is delivered");
    }
}

#[test]
fn a_record_that_is_too_large_is_named_by_its_line() {
    let server = with_topic(1);
    let line = "x".repeat((1 << 20) - 10);
    let input = format!("a\n{line}\n");
    feed(at(&server, &["produce", "t"]), input.as_bytes()).bad(1, &["line 2", "max.request.size"]);
    let larger = ["produce", "t", "-X", "max.request.size=3000000"];
    // The broker has a limit too.
    feed(at(&server, &larger), input.as_bytes()).bad(1, &["of 2 records: 1 record lost"]);
    assert_eq!(shown(&server), ["-:a", "-:a"]);
}

#[test]
fn what_is_no_json_stops_with_its_line_after_the_others_are_delivered() {
    let server = with_topic(2);
    let input = "{\"payload\":\"a\"}\n\n{\"key\":\"k\"}\n{\"payload\":\"b\"}\n";
    let ran = feed(at(&server, &["produce", "t", "--json"]), input.as_bytes());
    ran.bad(1, &["line 3: has no \"payload\""]);
    let ran = feed(at(&server, &["produce", "t", "--json"]), b"\n{\"payload\": yes}\n");
    ran.bad(1, &["line 2: column 13: expected value; it must be a JSON object, such as {"]);
    assert_eq!(shown(&server), ["-:a"]);
    let input = br#"{"payload":"b","partition":1,"headers":[["own","1"]]}"#;
    let args = ["produce", "t", "--json", "-p", "0", "-H", "every=2"];
    feed(at(&server, &args), input).good();
    let last = server.records("t", 0).pop().expect("a record");
    let names: Vec<_> = last.headers.iter().map(|(name, _)| name.to_vec()).collect();
    assert_eq!(names, [b"own".to_vec(), b"every".to_vec()], "-p goes before the object");
}

#[test]
fn a_failure_and_the_lost_records_are_both_reported() {
    let server = with_topic(1);
    server.fault(1, ApiKey::Produce, Fault::Error(29), 100);
    let input = b"{\"payload\":\"a\"}\nnothing\n";
    let ran = feed(at(&server, &["produce", "t", "--json"]), input);
    let ran = ran.bad(1, &["line 2: ", "of 1 record: 1 record lost", "TOPIC_AUTHORIZATION_FAILED"]);
    assert_eq!(ran.err.matches("TOPIC_AUTHORIZATION_FAILED").count(), 1, "{}", ran.err);
}

#[test]
fn a_partition_that_is_added_while_lines_are_read_can_be_named() {
    let server = with_topic(1);
    let mut live = Live::start(at(&server, &["produce", "t", "--json", "-v"]));
    live.error("t: 1 partition");
    server.grow("t", 2).expect("a larger topic");
    live.error("grown from 1 to 2");
    let stdin = live.stdin.as_mut().expect("piped");
    stdin.write_all(b"{\"payload\":\"a\",\"partition\":1}\n").expect("it reads");
    stdin.write_all(b"{\"payload\":\"b\",\"partition\":2}\n").expect("it reads");
    live.end().bad(1, &["line 2: t has no partition 2: it has 2"]);
    assert_eq!(server.log_len("t", 1), 1);
}

/// While stdin is still open, as behind `tail -f`.
#[test]
fn records_that_fail_are_reported_before_the_input_ends() {
    let server = with_topic(1);
    server.fault(1, ApiKey::Produce, Fault::Error(29), 100);
    let mut live = Live::start(at(&server, &["produce", "t"]));
    let stdin = live.stdin.as_mut().expect("piped");
    stdin.write_all(b"a\nb\n").expect("it reads");
    live.error("produce to t, partition 0: the broker responded with TOPIC_AUTHORIZATION_FAILED");
    server.with(|cluster| cluster.clear_faults());
    let stdin = live.stdin.as_mut().expect("it is still read");
    stdin.write_all(b"c\n").expect("it reads");
    // The reason was printed above.
    let said = ["of 3 records: 2 records lost", "2 failed (produce to t, partition 0: as above"];
    live.end().bad(1, &said);
    assert_eq!(shown(&server), ["-:c"]);
}

#[test]
fn a_broker_that_does_not_respond_is_not_waited_for_beyond_the_delivery_timeout() {
    let server = with_topic(1);
    let mut live = Live::start(at(&server, &["produce", "t", "--delivery-timeout", "1"]));
    let mut stdin = live.stdin.take().expect("piped");
    stdin.write_all(b"a\n").expect("it reads");
    while shown(&server).is_empty() {
        std::thread::yield_now();
    }
    server.pause(1);
    stdin.write_all(b"b\n").expect("it reads");
    drop(stdin);
    let ran = live.end().bad(1, &["of 2 records: 1 record lost"]);
    assert!(ran.took < Duration::from_secs(60), "{:?}", ran.took);
}

#[test]
fn a_topic_that_does_not_exist_is_named() {
    let server = with_topic(1);
    let args = ["produce", "none", "--timeout", "3"];
    feed(at(&server, &args), b"a\n").bad(1, &["none", "create the topic"]);
    run(&server, &["consume", "none", "-p", "0"]).bad(1, &["none"]);
}
