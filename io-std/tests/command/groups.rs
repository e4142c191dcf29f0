//! `kavka groups`: against simulated brokers, which coordinate no groups, and one pass against real
//! ones. Skipped with one line where Java is missing; `KAVKA_REQUIRE_JAVA=1` makes that a failure.

use std::thread;
use std::time::{Duration, Instant};

use kavka_std::Consumer;
use kavka_tests::kafka::{Cluster, Spec, Version, start_or_skip};
use serde_json::Value;

use crate::{LONG, Ran, feed, kavka, run, server};

fn with(cluster: &Cluster, args: &[&str], input: &[u8]) -> Ran {
    let mut command = kavka(args);
    command.env("KAVKA_BOOTSTRAP", cluster.bootstrap());
    feed(command, input)
}

/// Runs it again until it succeeds and its output has this.
pub(crate) fn until(cluster: &Cluster, args: &[&str], wanted: &str) -> Ran {
    let end = Instant::now() + LONG;
    loop {
        let ran = with(cluster, args, b"");
        if ran.code == Some(0) && ran.text().contains(wanted) {
            return ran;
        }
        assert!(Instant::now() < end, "no {wanted:?} within {LONG:?}: {ran:?}");
        thread::sleep(Duration::from_millis(200));
    }
}

fn json(ran: &Ran) -> Vec<Value> {
    let value = |line: &str| serde_json::from_str(line).expect("a line is JSON");
    ran.text().lines().map(value).collect()
}

#[test]
fn wrong_usage_ends_with_2_and_says_what_is_wrong() {
    let cases: &[(&[&str], &str)] = &[
        (&["groups", "describe"], "GROUP"),
        (&["groups", "delete", ""], "the id of a group has 1 to 1,024 bytes"),
        (&["groups", "reset-offsets", "g", "--to-latest"], "--topic"),
        (&["groups", "reset-offsets", "g", "-t", "t"], "--to-earliest"),
        (&["groups", "reset-offsets", "g", "-t", "a b", "--to-latest"], "a topic name has"),
        (&["groups", "reset-offsets", "g", "-t", "t:x", "--to-latest"], "T:0,3"),
        (&["groups", "reset-offsets", "g", "-t", "t", "--to-offset", "-1"], "-1"),
        (
            &["groups", "reset-offsets", "g", "-t", "t", "--to-latest", "--to-earliest"],
            "cannot be used with",
        ),
        (
            &["groups", "reset-offsets", "g", "-t", "t", "--all-topics", "--to-latest"],
            "cannot be used with",
        ),
        (&["groups", "reset-offsets", "g", "-t", "t", "--to-datetime", "soon"], "a time is"),
        (&["groups", "reset-offsets", "g", "-t", "t", "--by-duration", "90"], "a duration is"),
    ];
    for (args, said) in cases {
        let ran = feed(kavka(args), b"");
        assert_eq!(ran.code, Some(2), "{args:?}: {ran:?}");
        assert!(ran.err.contains(said), "{said:?} is not said: {ran:?}");
    }
}

#[test]
fn brokers_that_coordinate_no_groups_are_named() {
    let server = server(1);
    for args in [&["groups", "list"][..], &["groups", "lag", "g"], &["groups", "delete", "g"]] {
        let ran = run(&server, args);
        assert_eq!(ran.code, Some(1), "{ran:?}");
        let api = if args[1] == "list" { "LIST_GROUPS" } else { "FIND_COORDINATOR" };
        assert!(ran.err.contains(api), "{api} is not named: {ran:?}");
        assert_eq!(ran.text(), "", "{ran:?}");
    }
}

#[test]
fn groups_are_operated_on_4_4() {
    let Some(cluster) = start_or_skip(Spec::new(Version::V4_4_0, 1)) else { return };
    fill(&cluster);
    under_kip_848(&cluster);
    classic(&cluster, "Classic");
    offsets_are_reset(&cluster);
    groups_are_deleted(&cluster);
}

/// Without states and types in lists, without KIP-848, with the oldest versions of some requests.
#[test]
fn groups_are_operated_on_2_8() {
    let Some(cluster) = start_or_skip(Spec::new(Version::V2_8_2, 1)) else { return };
    fill(&cluster);
    classic(&cluster, "-");
    offsets_are_reset(&cluster);
    groups_are_deleted(&cluster);
}

/// Two partitions with three records each.
fn fill(cluster: &Cluster) {
    with(cluster, &["topics", "create", "t", "-p", "2"], b"").good();
    for partition in ["0", "1"] {
        with(cluster, &["produce", "t", "-p", partition], b"a\nb\nc\n").good();
    }
}

fn under_kip_848(cluster: &Cluster) {
    let config = kavka_std::Config::new(cluster.bootstrap())
        .client_id("member")
        .group("new")
        .start(kavka_std::Start::Earliest);
    let consumer = Consumer::subscribe(config, &["t"]).expect("the member begins");
    let mut left = 6;
    let end = Instant::now() + LONG;
    while left > 0 {
        assert!(Instant::now() < end, "{left} records are missing");
        let chunk = consumer.next_timeout(Duration::from_millis(100)).expect("records");
        let Some(chunk) = chunk else { continue };
        left -= chunk.records().count();
        consumer.commit(&chunk).wait_timeout(LONG).expect("in time").expect("committed");
    }
    let listed = with(cluster, &["groups", "list"], b"").good();
    assert_eq!(listed.text(), "new\tStable\tConsumer\tconsumer\n");
    let described = until(cluster, &["groups", "describe", "new"], "t:0-1").text();
    assert!(described.starts_with("new\tStable\tConsumer\t1 member\tassignor uniform\tepoch "));
    assert!(described.contains("\tmember\t127.0.0.1\t-\t"), "{described}");
    let described = json(&with(cluster, &["groups", "describe", "new", "--json"], b"").good());
    assert_eq!(described[0]["members"][0]["assigned"][0]["partitions"], serde_json::json!([0, 1]));
    assert_eq!(described[0]["members"][0]["topics"], serde_json::json!(["t"]));
    assert_eq!(described[0]["members"][0]["type"], "Consumer");
    let lag = with(cluster, &["groups", "lag", "new"], b"").good().text();
    let wanted = "topic\tpartition\tcommitted\tstart\tend\tlag\tclient\thost\n\
                  t\t0\t3\t0\t3\t0\tmember\t127.0.0.1\n\
                  t\t1\t3\t0\t3\t0\tmember\t127.0.0.1\n\
                  total\t\t\t\t\t0\n";
    assert_eq!(lag, wanted);
    // A group with a member is left alone.
    let reset = ["groups", "reset-offsets", "new", "-t", "t", "--to-earliest"];
    let dry = with(cluster, &reset, b"").good();
    assert!(dry.err.contains("group new has 1 member: stop them first"), "{dry:?}");
    let execute = [&reset[..], &["--execute"]].concat();
    with(cluster, &execute, b"").bad(1, &["group new has 1 member", "nothing was changed"]);
    with(cluster, &["groups", "delete", "new"], b"")
        .bad(1, &["NON_EMPTY_GROUP", "stop them first"]);
    let before = committed_text(cluster);
    assert!(before.starts_with("kv1;"), "{before}");
    consumer.close(Duration::from_secs(5)).expect("the member leaves");
    until(cluster, &["groups", "list"], "new\tEmpty\tConsumer");
    // When the group saw the topic first is kept.
    with(cluster, &execute, b"").good();
    assert_eq!(committed_text(cluster), before);
    let lag = json(&with(cluster, &["groups", "lag", "new", "--json"], b"").good());
    assert_eq!((&lag[0]["lag"], &lag[1]["committed"]), (&Value::from(3), &Value::from(0)));
    with(cluster, &["groups", "delete", "new"], b"").good();
}

/// The text that group `new` committed with partition 0.
fn committed_text(cluster: &Cluster) -> String {
    let config = kavka_std::Config::new(cluster.bootstrap());
    let admin = kavka_std::Admin::new(config).expect("an admin");
    let offsets = admin.group_offsets("new").wait_timeout(LONG).expect("in time");
    offsets.expect("offsets").into_iter().next().expect("one").metadata
}

/// A group of Kafka's own consumer.
fn classic(cluster: &Cluster, kind: &str) {
    let bootstrap = cluster.bootstrap();
    let args = [
        "--bootstrap-server",
        &bootstrap,
        "--topic",
        "t",
        "--group",
        "old",
        "--from-beginning",
        "--consumer-property",
        "client.id=java",
        "--consumer-property",
        "auto.commit.interval.ms=100",
    ];
    let tool = cluster.tool(Version::V2_8_2, "kafka.tools.ConsoleConsumer", &args);
    let tool = tool.expect("Kafka's consumer starts");
    let described = until(cluster, &["groups", "describe", "old"], "t:0-1").text();
    assert!(
        described.starts_with("old\tStable\tClassic\t1 member\tassignor range\n"),
        "{described}"
    );
    assert!(described.contains("\tjava\t127.0.0.1\t-\t-\tt:0-1\n"), "{described}");
    let lag = until(cluster, &["groups", "lag", "old"], "t\t1\t3\t0\t3\t0\tjava\t127.0.0.1\n");
    assert!(lag.text().contains("t\t0\t3\t0\t3\t0\tjava"), "{lag:?}");
    let state = if kind == "-" { "-" } else { "Stable" };
    let line = format!("old\t{state}\t{kind}\tconsumer\n");
    let listed = with(cluster, &["groups", "list"], b"").good().text();
    // 2.8 lists states, and no types.
    assert!(listed == line || listed == line.replacen('-', "Stable", 1), "{listed}");
    let described = json(&with(cluster, &["groups", "describe", "old", "--json"], b"").good());
    assert_eq!(described[0]["members"][0]["topics"], serde_json::json!(["t"]));
    assert_eq!(described[0]["epoch"], Value::Null);
    let execute = ["groups", "reset-offsets", "old", "-t", "t", "--to-earliest", "--execute"];
    with(cluster, &execute, b"").bad(1, &["group old has 1 member: stop them first"]);
    drop(tool);
    // Until its session is over.
    until(cluster, &["groups", "describe", "old"], "old\tEmpty\tClassic\t0 members\n");
}

fn offsets_are_reset(cluster: &Cluster) {
    let reset = |more: &[&str]| {
        let args = [&["groups", "reset-offsets", "old"][..], more].concat();
        with(cluster, &args, b"")
    };
    let dry = reset(&["-t", "t", "--to-earliest"]).good();
    assert_eq!(dry.text(), "topic\tpartition\tbefore\tafter\nt\t0\t3\t0\nt\t1\t3\t0\n");
    assert!(dry.err.contains("nothing was changed; add --execute"), "{dry:?}");
    let at = |partition: usize| {
        json(&with(cluster, &["groups", "lag", "old", "--json"], b"").good())[partition]
            ["committed"]
            .clone()
    };
    assert_eq!((at(0), at(1)), (3.into(), 3.into()), "a dry run changes nothing");
    let done = reset(&["-t", "t:1", "--shift-by", "-2", "--execute"]).good();
    assert_eq!(done.text(), "topic\tpartition\tbefore\tafter\nt\t1\t3\t1\n");
    assert_eq!((at(0), at(1)), (3.into(), 1.into()));
    let done = reset(&["--all-topics", "--to-offset", "9", "--execute", "--json"]).good();
    let lines = json(&done);
    assert_eq!((&lines[0]["after"], &lines[0]["note"]), (&3.into(), &"moved to the end".into()));
    assert_eq!((&lines[1]["before"], &lines[1]["executed"]), (&1.into(), &true.into()));
    for (option, value, wanted) in [
        ("--to-datetime", "2020-01-01T00:00:00", 0),
        ("--to-datetime", "2100-01-01T00:00:00Z", 3),
        ("--by-duration", "P1D", 0),
        ("--by-duration", "PT0S", 3),
    ] {
        reset(&["-t", "t", option, value, "--execute"]).good();
        assert_eq!((at(0), at(1)), (wanted.into(), wanted.into()), "{option} {value}");
    }
    reset(&["-t", "t", "--to-latest", "--execute"]).good();
    let lag = with(cluster, &["groups", "lag", "old"], b"").good().text();
    assert!(lag.ends_with("total\t\t\t\t\t0\n"), "{lag}");
    // All or nothing.
    reset(&["-t", "t:0,7", "--to-earliest", "--execute"])
        .bad(1, &["t has no partition 7: it has 2, numbered from 0", "nothing was changed"]);
    assert_eq!(at(0), 3);
    reset(&["-t", "nowhere", "--to-earliest"]).bad(1, &["nowhere"]);
    // A group that does not exist begins there.
    let args = ["groups", "reset-offsets", "fresh", "-t", "t:0", "--to-offset", "2", "--execute"];
    assert_eq!(with(cluster, &args, b"").good().lines()[0], "t\t0\t-\t2");
    let lag = with(cluster, &["groups", "lag", "fresh"], b"").good().text();
    assert!(lag.contains("t\t0\t2\t0\t3\t1\t-\t-\n"), "{lag}");
}

fn groups_are_deleted(cluster: &Cluster) {
    for group in ["fresh", "old"] {
        let deleted = with(cluster, &["groups", "delete", group], b"").good();
        assert_eq!(deleted.text(), format!("deleted {group}\n"));
    }
    assert_eq!(with(cluster, &["groups", "list"], b"").good().text(), "");
    for command in ["delete", "describe", "lag"] {
        with(cluster, &["groups", command, "old"], b"").bad(1, &["GROUP_ID_NOT_FOUND", "old"]);
    }
}
