//! `kavka topics` and `kavka metadata`.

use std::time::Duration;

use kavka_tests::sim::{ApiKey, Fault, Options, Profile, Server};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::live::Live;
use crate::{at, fill, run, server, with_topic};

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).expect(text)
}

#[test]
fn topics_are_created_listed_described_grown_and_deleted() {
    let server = server(3);
    let create = ["topics", "create", "a", "-p", "2", "-r", "2", "-c", "retention.ms=60000"];
    assert_eq!(run(&server, &create).good().text(), "created a\n");
    run(&server, &["topics", "create", "b", "--partitions", "1"]).good();
    run(&server, &create).bad(1, &["create topic a", "TOPIC_ALREADY_EXISTS"]);
    assert_eq!(run(&server, &["topics", "list"]).good().text(), "a\t2\nb\t1\n");
    run(&server, &["topics", "list", "--internal"]).good();
    let list = run(&server, &["topics", "list", "--json"]).good().text();
    let names: Vec<Value> = list.lines().map(|line| parsed(line)["topic"].clone()).collect();
    assert_eq!(names, ["a", "b"]);

    let text = run(&server, &["topics", "describe", "a"]).good().text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("a\t2 partitions\tid "), "{text}");
    assert_eq!(lines[1], "partition\tleader\tepoch\treplicas\tin sync");
    assert_eq!(lines.len(), 4, "{text}");
    let one = parsed(&run(&server, &["topics", "describe", "a", "--json"]).good().text());
    assert_eq!(one["partitions"].as_array().map(Vec::len), Some(2), "{one}");
    assert_eq!(one["partitions"][0]["replicas"].as_array().map(Vec::len), Some(2), "{one}");

    let grown = run(&server, &["topics", "grow", "a", "5"]).good();
    assert_eq!(grown.text(), "a has 5 partitions\n");
    run(&server, &["topics", "grow", "a", "3"]).bad(1, &["grow topic a to 3 partitions"]);
    run(&server, &["topics", "grow", "a", "-1"]).bad(2, &["-1"]);
    assert_eq!(run(&server, &["topics", "delete", "a"]).good().text(), "deleted a\n");
    run(&server, &["topics", "delete", "a"]).bad(1, &["delete topic a", "UNKNOWN_TOPIC"]);
    run(&server, &["topics", "describe", "a"]).bad(1, &["describe topic a", "create the topic"]);
}

#[test]
fn offsets_are_those_of_a_time_or_both_ends() {
    let server = with_topic(2);
    fill(&server, 0, &["a", "b", "c"]);
    fill(&server, 1, &["d"]);
    let request = |more: &[&str]| {
        let mut args = vec!["topics", "offsets", "t"];
        args.extend(more);
        run(&server, &args).good().text()
    };
    assert_eq!(request(&["--time", "0"]), "t:0:0\nt:1:0\n");
    server.with(|cluster| cluster.trim("t", 0, 1)).expect("a shorter log");
    assert_eq!(request(&[]), "t\t0\t1\t3\nt\t1\t0\t1\n");
    assert_eq!(request(&["-p", "0"]), "t\t0\t1\t3\n");
    assert_eq!(request(&["--time", "latest"]), "t:0:3\nt:1:1\n");
    assert_eq!(request(&["--time", "-1"]), "t:0:3\nt:1:1\n");
    assert_eq!(request(&["--time", "earliest"]), "t:0:1\nt:1:0\n");
    assert_eq!(request(&["--time", "-2", "-p", "1"]), "t:1:0\n");
    assert_eq!(request(&["--time", "99999999999999"]), "t:0:3\nt:1:1\n", "none: the end");
    let line = parsed(&request(&["-p", "0", "--json"]));
    assert_eq!(line, json!({ "topic": "t", "partition": 0, "first": 1, "end": 3 }));
    let line = parsed(&request(&["-p", "0", "--json", "--time", "latest"]));
    assert_eq!(line, json!({ "topic": "t", "partition": 0, "offset": 3 }));
    run(&server, &["topics", "offsets", "t", "-p", "2"]).bad(1, &["t has no partition 2"]);
    run(&server, &["topics", "offsets", "none"]).bad(1, &["describe topic none"]);
}

#[test]
fn metadata_names_brokers_controller_topics_and_its_age() {
    let options = Options { brokers: 3, racks: 3, ..Options::default() };
    let server = Server::start(options).expect("simulated brokers");
    server.create_topic("a", 2).expect("a topic");
    server.create_topic("b", 1).expect("a topic");
    let text = run(&server, &["metadata"]).good().text();
    assert!(text.contains("3 brokers\t2 topics\tat most "), "{text}");
    assert!(text.contains("\track rack-1") && text.contains("\tcontroller\n"), "{text}");
    assert!(text.contains("a\t2 partitions") && text.contains("b\t1 partition\t"), "{text}");
    let all = parsed(&run(&server, &["metadata", "--json", "--internal"]).good().text());
    assert_eq!(all["brokers"].as_array().map(Vec::len), Some(3), "{all}");
    assert!(all["controllerid"].is_i64() && all["age_ms"].is_u64(), "{all}");
    assert_eq!(all["topics"][0]["topic"], "a");
    assert_eq!(all["brokers"][0]["name"], server.address(1).expect("a broker").to_string());

    let text = run(&server, &["metadata", "b"]).good().text();
    assert!(text.contains("1 topic") && text.contains("confirmed ") && !text.contains("a\t2"));
    let one = parsed(&run(&server, &["metadata", "b", "--json", "-v"]).good().text());
    assert!(one["topics"][0]["age_ms"].is_u64(), "{one}");
    assert!(one["topics"][0]["confirmed_by"].is_i64(), "{one}");
    run(&server, &["metadata", "none"]).bad(1, &["describe topic none"]);
}

#[test]
fn growth_and_other_news_are_printed_until_a_signal_comes() {
    for (signal, json) in [(Signal::INT, false), (Signal::TERM, true)] {
        let server = server(2);
        server.create_topic("a", 3).expect("a topic");
        let mut args = vec!["topics", "watch", "a", "-v"];
        args.extend(json.then_some("--json"));
        let mut live = Live::start(at(&server, &args));
        let ready = live.line();
        if json {
            let want = json!({ "event": "ready", "topic": "a", "partitions": 3 });
            assert_eq!(parsed(&ready), want);
        } else {
            assert!(ready.ends_with(" a: 3 partitions"), "{ready}");
        }
        server.grow("a", 5).expect("a larger topic");
        let grown = live.line();
        if json {
            let grown = parsed(&grown);
            assert_eq!((&grown["event"], &grown["to"]), (&json!("grown"), &json!(5)), "{grown}");
        } else {
            assert!(grown.contains(" a: grown from 3 to 5 partitions (broker "), "{grown}");
        }
        server.recreate("a", 1).expect("another topic");
        loop {
            let line = live.line();
            if line.contains("recreated") {
                break;
            }
        }
        server.disconnect(1);
        server.disconnect(2);
        assert!(live.line().contains("connection"), "with -v connections are news too");
        live.signal(signal);
        live.end().good();
    }
}

#[test]
fn old_brokers_have_no_ids_and_no_epochs() {
    let options = Options { brokers: 1, profile: Profile::V1_1, ..Options::default() };
    let server = Server::start(options).expect("simulated brokers");
    server.create_topic("t", 1).expect("a topic");
    fill(&server, 0, &["a"]);
    assert!(run(&server, &["topics", "describe", "t"]).good().text().contains("\t-1\t"));
    assert_eq!(run(&server, &["topics", "offsets", "t"]).good().text(), "t\t0\t0\t1\n");
    assert_eq!(run(&server, &["consume", "t", "-e"]).good().text(), "a\n");
}

/// Columns and JSON have the error of each topic, and stderr the reasons.
#[test]
fn topics_that_a_broker_says_nothing_of_are_shown_with_their_error() {
    let server = with_topic(1);
    let said = ["none", "UNKNOWN_TOPIC_OR_PARTITION"];
    let ran = run(&server, &["metadata", "none", "t"]).bad(1, &said);
    let text = ran.text();
    assert!(text.contains("none\t0 partitions\tid 0"), "{text}");
    assert!(text.contains("\tUNKNOWN_TOPIC_OR_PARTITION\n"), "{text}");
    assert!(text.contains("t\t1 partition\tid ") && text.contains("1 broker\t2 topics"), "{text}");
    let ran = run(&server, &["metadata", "none", "t", "--json"]).bad(1, &said);
    let topics = parsed(&ran.text())["topics"].clone();
    assert_eq!(topics[0]["error"], json!(3), "{topics}");
    assert_eq!(topics[0]["error_name"], json!("UNKNOWN_TOPIC_OR_PARTITION"), "{topics}");
    assert_eq!((&topics[1]["error"], &topics[1]["error_name"]), (&json!(0), &Value::Null));

    server.fault(1, ApiKey::Metadata, Fault::Error(29), 10_000);
    let said = ["topic t: the broker responded with TOPIC_AUTHORIZATION_FAILED (29)", "ACLs"];
    let ran = run(&server, &["topics", "list"]).bad(1, &said);
    assert!(ran.text().ends_with("\tTOPIC_AUTHORIZATION_FAILED\n"), "{ran:?}");
    let ran = run(&server, &["topics", "list", "--json"]).bad(1, &said);
    assert_eq!(parsed(&ran.text())["error_name"], json!("TOPIC_AUTHORIZATION_FAILED"));
    let ran = run(&server, &["metadata"]).bad(1, &said);
    assert!(ran.text().contains("\tTOPIC_AUTHORIZATION_FAILED\n"), "{ran:?}");
}

#[test]
fn what_a_broker_leaves_empty_is_shown_as_that() {
    let server = with_topic(1);
    server.with(|cluster| cluster.set_endpoint(1, "", 9092));
    let text = run(&server, &["metadata"]).good().text();
    assert!(text.contains("broker 1\t(empty host):9092"), "{text}");
}

/// Each response takes half a second, and there are many.
#[test]
fn offsets_of_many_partitions_take_no_longer_than_the_time_out() {
    let server = with_topic(3000);
    server.fault(1, ApiKey::ListOffsets, Fault::Delay(Duration::from_millis(500)), 10_000);
    let usual = run(&server, &["topics", "describe", "t"]).good().took;
    for args in [&["topics", "offsets", "t"][..], &["topics", "offsets", "t", "--time", "latest"]] {
        let ran = run(&server, &[args, &["--timeout", "2"]].concat());
        assert!(ran.took < usual + Duration::from_secs(4), "{args:?}: {:?}", ran.took);
        let ran = ran.bad(1, &["t, partitions ", "no response in time"]);
        assert!((1..3000).contains(&ran.lines().len()), "{args:?}: {} lines", ran.lines().len());
        assert!(ran.err.lines().count() < 10, "{args:?}: {}", ran.err);
    }
}
