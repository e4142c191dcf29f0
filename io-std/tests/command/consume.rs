//! `kavka consume`: every option.

use std::time::{Duration, Instant};

use kavka_std::kavka_core::codec::Codec;
use kavka_std::kavka_core::record::Crc32c;
use kavka_std::{Config, Limits, Producer, Record};
use kavka_tests::packed;
use kavka_tests::script::fetch::Batch;
use kavka_tests::sim::{ApiKey, Fault, Options, Server};
use rustix::process::Signal;

use crate::live::Live;
use crate::{LONG, at, config, feed, fill, kavka, run, with_topic};

/// Two partitions: a, b, c and d, e.
fn filled() -> Server {
    let server = with_topic(2);
    fill(&server, 0, &["a", "b", "c"]);
    fill(&server, 1, &["d", "e"]);
    server
}

/// The command has all codecs; those that a build leaves out are named.
#[test]
fn compressed_records_of_all_codecs_are_printed() {
    let server = with_topic(1);
    let mut wanted = Vec::new();
    for (n, codec) in Codec::ALL.into_iter().enumerate() {
        let values = [format!("{codec} one"), format!("{codec} two")];
        let batch = Batch::new(2 * n as i64, &[&values[0], &values[1]]).bytes();
        let packed = packed::batch(&batch, codec);
        server.with(|cluster| cluster.append_batch("t", 0, &packed)).unwrap();
        wanted.extend(values);
    }
    let ran = run(&server, &["consume", "t", "-e"]).good();
    assert_eq!(ran.text().lines().collect::<Vec<_>>(), wanted);
}

/// Fetch fails, or has no response, until the time is over: the reason has the request, the code
/// and the address.
#[test]
fn records_that_do_not_come_have_a_reason_with_request_code_and_address() {
    let cases = [
        (Fault::Error(6), "NOT_LEADER_OR_FOLLOWER (6) to FETCH"),
        (Fault::Error(29), "TOPIC_AUTHORIZATION_FAILED (29) to FETCH"),
        (Fault::Delay(LONG), "no response from the broker to FETCH"),
    ];
    for (fault, words) in cases {
        let server = with_topic(1);
        fill(&server, 0, &["a", "b"]);
        server.fault(1, ApiKey::Fetch, fault, 10_000);
        let ran = run(&server, &["--timeout", "2", "consume", "t", "-e"]);
        ran.bad(1, &[words, &server.bootstrap()]);
    }
    let server = with_topic(1);
    fill(&server, 0, &["a", "b"]);
    server.inject(1, ApiKey::ListOffsets, 6, 10_000);
    let ran = run(&server, &["--timeout", "2", "consume", "t", "-e"]);
    ran.bad(1, &["NOT_LEADER_OR_FOLLOWER (6) to LIST_OFFSETS", &server.bootstrap()]);
}

/// An election loses records after their end was looked up: what is left is read, and no time-out
/// waited for.
#[test]
fn a_log_that_is_truncated_below_its_end_is_read_to_its_new_end() {
    let server = with_topic(1);
    fill(&server, 0, &["a", "b", "c"]);
    fill(&server, 0, &["d", "e"]);
    server.inject(1, ApiKey::Fetch, 6, 10_000);
    let args = ["--timeout", "30", "consume", "t", "-e"];
    let live = Live::start(at(&server, &args));
    let begun = Instant::now();
    while server.traffic(ApiKey::Fetch).requests == 0 {
        assert!(begun.elapsed() < LONG, "it reads");
        std::thread::yield_now();
    }
    server.with(|cluster| cluster.truncate("t", 0, 3)).unwrap();
    server.with(|cluster| cluster.clear_faults());
    let ran = live.end();
    assert_eq!((ran.text().as_str(), ran.code), ("a\nb\nc\n", Some(0)), "{ran:?}");
    assert!(ran.took < Duration::from_secs(15), "{ran:?}");
}

#[test]
fn reading_begins_where_it_is_reported_to() {
    let server = filled();
    let read = |more: &[&str]| {
        let mut args = vec!["consume", "t", "-e"];
        args.extend(more);
        run(&server, &args).good().lines().concat()
    };
    assert_eq!(read(&[]), "abcde");
    for (offset, all) in [
        ("beginning", "abcde"),
        ("earliest", "abcde"),
        ("end", ""),
        ("latest", ""),
        ("1", "bce"),
        ("2", "c"),
        ("9", ""),
        ("-1", "ce"),
        ("-9", "abcde"),
        ("@0", "abcde"),
        ("s@0", "abcde"),
        ("@99999999999999", ""),
    ] {
        assert_eq!(read(&["-o", offset]), all, "-o {offset}");
    }
    assert_eq!(read(&["-p", "1"]), "de");
    assert_eq!(read(&["-p", "1", "-o", "-1"]), "e");
    assert_eq!(read(&["--partition", "0", "--offset=1"]), "bc");
    assert_eq!(read(&["-c", "0"]), "");
    let few = run(&server, &["consume", "t", "-c", "4"]).good();
    assert_eq!(few.lines().len(), 4);
    let one = run(&server, &["consume", "t", "-p", "0", "-o", "2", "--count", "1"]).good();
    assert_eq!(one.text(), "c\n");
}

#[test]
fn several_topics_are_read_at_once() {
    let server = filled();
    server.create_topic("u", 1).expect("a topic");
    feed(at(&server, &["produce", "u"]), b"f\n").good();
    assert_eq!(run(&server, &["consume", "u", "t", "u", "-e"]).good().lines().concat(), "abcdef");
    let end = run(&server, &["consume", "t", "u", "-e", "-o", "-1", "-f", "%t%s%n"]).good();
    assert_eq!(end.lines(), ["tc", "te", "uf"]);
}

#[test]
fn records_are_printed_in_the_requested_form() {
    let server = with_topic(1);
    let producer = Producer::new(config(&server)).expect("a producer");
    let send = |record: &Record<'_>| drop(producer.send("t", record).expect("taken"));
    send(&Record::new(b"v").key(b"k").timestamp(7));
    send(&Record::tombstone().key(b"gone").timestamp(8));
    send(&Record::new(b"").timestamp(9));
    assert!(producer.close(LONG).wait().unwrap().is_empty());
    let print = |more: &[&str]| {
        let mut args = vec!["consume", "t", "-e"];
        args.extend(more);
        run(&server, &args).good().text()
    };
    assert_eq!(print(&[]), "v\n\n\n");
    assert_eq!(print(&["-K", "="]), "k=v\ngone=\n=\n");
    assert_eq!(print(&["-K", r"\t", "-D", r"\x00"]), "k\tv\0gone\t\0\t\0");
    assert_eq!(print(&["-K", "=", "-Z"]), "k=v\ngone=NULL\nNULL=\n");
    assert_eq!(
        print(&["-f", r"%t/%p/%o/%T/%k/%K/%s/%S;"]),
        "t/0/0/7/k/1/v/1;t/0/1/8/gone/4//-1;\
        t/0/2/9//-1//0;"
    );
    assert_eq!(print(&["-f", "%k:%s ", "--null"]), "k:v gone:NULL NULL: ");
    let raw = run(&server, &["consume", "t", "-e", "-f", r"%%%R\\\0;"]).good();
    assert_eq!(raw.out, b"%\0\0\0\x01\\\0;%\xff\xff\xff\xff\\\0;%\0\0\0\0\\\0;");
    assert_eq!(print(&["-u", "--rack", "r", "--client-id", "x", "-v"]), "v\n\n\n");
}

#[test]
fn added_partitions_are_read_from_their_first_record_wherever_reading_began() {
    for offset in ["beginning", "end", "-1", "1", "@99999999999999"] {
        let server = with_topic(1);
        fill(&server, 0, &["a", "b"]);
        let args = ["consume", "t", "-o", offset, "-u", "-v", "-f", "%p%s%n"];
        let mut live = Live::start(at(&server, &args));
        let before = match offset {
            "beginning" => vec!["0a", "0b"],
            "-1" | "1" => vec!["0b"],
            _ => vec![],
        };
        if before.is_empty() {
            live.error("partition 0: reading");
        }
        for want in before {
            assert_eq!(live.line(), want, "-o {offset}");
        }
        server.grow("t", 3).expect("a larger topic");
        fill(&server, 1, &["c", "d"]);
        fill(&server, 2, &["e"]);
        let mut lines = [live.line(), live.line(), live.line()];
        lines.sort();
        assert_eq!(lines, ["1c", "1d", "2e"], "-o {offset}");
        live.signal(Signal::INT);
        live.end().good();
    }
}

#[test]
fn one_partition_stays_one_when_the_topic_grows() {
    let server = with_topic(1);
    fill(&server, 0, &["a"]);
    let args = ["consume", "t", "-p", "0", "-o", "-5", "-u", "-v"];
    let mut live = Live::start(at(&server, &args));
    assert_eq!(live.line(), "a");
    server.grow("t", 2).expect("a larger topic");
    fill(&server, 1, &["other"]);
    live.error("grown from 1 to 2");
    fill(&server, 0, &["b"]);
    assert_eq!(live.line(), "b");
    live.signal(Signal::INT);
    live.end().good();
}

#[test]
fn a_batch_that_is_larger_than_the_buffer_names_the_size_it_needs() {
    const SIZE: usize = 3 << 20;
    let options = Options { brokers: 1, max_message_bytes: 8 << 20, ..Options::default() };
    let server = Server::start(options).expect("simulated brokers");
    server.create_topic("t", 1).expect("a topic");
    let large = vec![b'x'; SIZE];
    let config = Config::new(server.bootstrap()).limits(Limits::server());
    let producer = Producer::new(config.tune(|core| core.request_bytes = 8 << 20));
    let producer = producer.expect("a producer");
    producer.send("t", &Record::new(b"before")).expect("taken").wait().expect("written");
    drop(producer.send("t", &Record::new(&large)).expect("taken"));
    assert!(producer.close(LONG).wait().unwrap().is_empty());

    // By default the buffer grows.
    let read = run(&server, &["consume", "t", "-e"]).good();
    assert_eq!(read.out.len(), SIZE + "before\n\n".len());
    let small = ["consume", "t", "-e", "-X", "receive.message.max.bytes=2097152"];
    let said = "raise receive.message.max.bytes to ";
    let failed = run(&server, &small).bad(1, &[said]);
    let needed = failed.err.rsplit(said).next().expect("a number").trim();
    let raised = format!("receive.message.max.bytes={needed}");
    run(&server, &["consume", "t", "-e", "-X", &raised]).good();
    let failed = run(&server, &["consume", "t", "-e", "--fetch-bytes", "1000000"]);
    assert_eq!(failed.text(), "before\n", "what came before it is printed");
    let failed = failed.bad(1, &["read t, partition 0", "use --fetch-bytes "]);
    let needed = failed.err.rsplit("--fetch-bytes ").next().expect("a number").trim().to_owned();
    assert!(needed.parse::<usize>().is_ok_and(|n| n > SIZE && n < SIZE + 1000), "{needed}");
    let read = run(&server, &["consume", "t", "-e", "--fetch-bytes", &needed]).good();
    assert_eq!(read.out.len(), SIZE + "before\n\n".len());
    let read = run(&server, &["consume", "t", "-e", "--fetch-bytes", "100000000"]).good();
    assert_eq!(read.out.len(), SIZE + "before\n\n".len());
}

/// The checksum is right, and one of the records inside is not: what is before it is printed, and
/// the other partition to its end.
#[test]
fn a_record_that_cannot_be_read_ends_its_partition_alone() {
    let server = with_topic(2);
    let mut bytes = Batch::new(0, &["a", "b", "c"]).bytes().to_vec();
    bytes[61 + 16] = 0x7e; // a record takes 8 bytes
    let crc = Crc32c::of(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    server.with(|cluster| cluster.append_batch("t", 0, &bytes)).unwrap();
    fill(&server, 0, &["d"]);
    let many: Vec<String> = (0..500).map(|n| format!("{n:03}")).collect();
    fill(&server, 1, &many.iter().map(String::as_str).collect::<Vec<_>>());
    let said = ["read t, partition 0", "the record at offset 2 cannot be read", "begin at 3 (-o)"];
    let ran = run(&server, &["consume", "t", "-e"]).bad(1, &said);
    let mut lines = ran.lines();
    assert_eq!(lines.split_off(500), ["a", "b"]);
    assert_eq!(lines, many);
    let only = run(&server, &["consume", "t", "-p", "0"]).bad(1, &said);
    assert_eq!(only.lines(), ["a", "b"], "nothing is left to be read");
    assert_eq!(only.err.matches("cannot be read").count(), 1, "{}", only.err);
    let rest = run(&server, &["consume", "t", "-e", "-p", "0", "-o", "3"]).good();
    assert_eq!(rest.lines(), ["d"]);
    // Without an end it is reported at once, and the command continues.
    let mut live = Live::start(at(&server, &["consume", "t", "-u"]));
    let line = live.error("the record at offset 2 cannot be read");
    assert!(said.iter().all(|text| line.contains(text)), "{line}");
    fill(&server, 1, &["later"]);
    while live.line() != "later" {}
    live.signal(Signal::INT);
    assert_eq!(live.end().bad(1, &[]).err, "", "it is not said twice");
}

#[test]
fn json_names_the_broker_that_leads_and_the_kind_of_time() {
    let server = filled();
    let text = run(&server, &["consume", "t", "-e", "-J", "-p", "0", "-c", "1"]).good().text();
    assert!(
        text.starts_with("{\"topic\":\"t\",\"partition\":0,\"offset\":0,\"tstype\":\"create\",")
    );
    let end = ",\"broker\":1,\"headers\":[],\"key\":null,\"payload\":\"a\"}\n";
    assert!(text.ends_with(end), "{text}");
}

/// Messages of magic 0 have no time; those of magic 1, compressed or not, are as others.
#[test]
fn records_of_old_formats_are_printed_as_others() {
    for (magic, kind) in [(0, "unknown"), (1, "create")] {
        for codec in ["none", "gzip", "snappy", "lz4"] {
            let server = with_topic(1);
            server.with(|cluster| cluster.set_old_format("t", magic, 3)).expect("set");
            feed(at(&server, &["produce", "t", "-z", codec, "-K", "="]), b"k=a\nk=b\nk=c\n").good();
            feed(at(&server, &["produce", "t", "-z", codec, "-K", "="]), b"k=d\n").good();
            let text = run(&server, &["consume", "t", "-e"]).good().text();
            assert_eq!(text, "a\nb\nc\nd\n", "magic {magic}, {codec}");
            let text = run(&server, &["consume", "t", "-e", "--json"]).good().text();
            let lines: Vec<&str> = text.lines().collect();
            assert_eq!(lines.len(), 4, "magic {magic}, {codec}: {text}");
            for (n, line) in lines.iter().enumerate() {
                let kind = if n < 3 { kind } else { "create" };
                let kind = format!("\"offset\":{n},\"tstype\":\"{kind}\",\"ts\":");
                assert!(line.contains(&kind), "magic {magic}, {codec}: {line}");
                let value = ["a", "b", "c", "d"][n];
                let rest = format!("\"headers\":[],\"key\":\"k\",\"payload\":\"{value}\"}}");
                assert!(line.ends_with(&rest), "magic {magic}, {codec}: {line}");
            }
            let none = text.contains("\"ts\":-1,");
            assert_eq!(none, magic == 0, "magic {magic}, {codec}: {text}");
        }
    }
}

#[test]
fn a_leader_that_moves_is_named_by_json() {
    let server = crate::server(2);
    server.create_topic("t", 1).expect("a topic");
    fill(&server, 0, &["a"]);
    let first = server.leader("t", 0).expect("a leader").0;
    let mut live = Live::start(at(&server, &["consume", "t", "--json", "-u", "-v"]));
    assert!(live.line().contains(&format!("\"broker\":{first},")));
    server.move_leader("t", 0, 3 - first).expect("another leader");
    live.error("new leader");
    fill(&server, 0, &["b"]);
    let line = live.line();
    assert!(line.contains(&format!("\"broker\":{},", 3 - first)), "{line}");
    live.signal(Signal::INT);
    live.end().good();
}

#[test]
fn the_environment_names_the_brokers() {
    let server = filled();
    let mut command = kavka(&["consume", "t", "-e"]);
    command.env("KAVKA_BOOTSTRAP", server.bootstrap());
    assert_eq!(feed(command, b"").good().lines().len(), 5);
}
