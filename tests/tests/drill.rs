//! The `drill` command as its users run it.

#![allow(clippy::std_instead_of_core, reason = "only ever runs where there is std")]

use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use kavka_tests::sim::{ApiKey, Options, Server};
use serde_json::Value;

/// KAFKA_STORAGE_ERROR, which is retried forever.
const STORAGE: i16 = 56;

fn drill(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_drill"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(arguments: &[&str]) -> Output {
    drill(arguments).output().expect("drill starts")
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// Checks exit code 0, and nothing lost, duplicated or out of order; all clients noticed `growths`.
fn assert_good(output: &Output, growths: u64) {
    let report = report(output);
    assert_eq!(output.status.code(), Some(0), "{report:#}");
    assert_eq!(report["ok"], true, "{report:#}");
    for who in ["producer", "consumer", "watcher"] {
        assert_eq!(report["noticed_ms"][who]["n"], growths, "{who}: {report:#}");
    }
    for what in ["first_acknowledged_ms", "first_delivered_ms"] {
        assert_eq!(report[what]["n"], report["partitions_added"], "{what}: {report:#}");
    }
    let records = &report["records"];
    assert!(records["sent"].as_u64() > Some(0), "{report:#}");
    assert_eq!(records["sent"], records["acknowledged"], "{report:#}");
    assert_eq!(records["sent"], records["delivered"], "{report:#}");
}

#[test]
fn a_short_run_under_load() {
    assert_good(&run(&["--quick", "--json", "-", "--seed", "3"]), 4);
}

#[test]
fn an_idle_run_from_the_first_record() {
    let flags = ["--idle", "--reset", "earliest", "--grow", "2", "--keys", "0", "--json", "-"];
    assert_good(&run(&flags), 2);
}

#[test]
fn members_of_a_group_read_everything_once_while_another_comes_and_goes() {
    let flags = ["--group", "consumer", "--members", "3", "--guest", "--seed", "5"];
    assert_good(&run(&[&["--quick", "--json", "-"][..], &flags].concat()), 4);
}

#[test]
fn lost_records_are_found() {
    let server = Server::start(Options::default()).expect("simulated brokers");
    let (bootstrap, topic) = (server.bootstrap(), "loses");
    let flags =
        ["--bootstrap", &bootstrap, "--topic", topic, "--quick", "--keys", "0", "--json", "-"];
    let child = drill(&flags).spawn().expect("drill starts");
    // While no fetch succeeds, records of partition 0 are acknowledged and then deleted.
    await_length(&server, topic, 20);
    let brokers = server.with(|cluster| cluster.brokers());
    brokers.iter().for_each(|broker| server.inject(*broker, ApiKey::Fetch, STORAGE, 10_000));
    await_length(&server, topic, server.log_len(topic, 0) + 100);
    server.with(|cluster| {
        cluster.trim(topic, 0, cluster.high_watermark(topic, 0)).expect("records to delete");
        cluster.clear_faults();
    });
    let output = child.wait_with_output().expect("drill ends");
    let report = report(&output);
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    assert_eq!(report["ok"], false, "{report:#}");
    assert!(report["records"]["lost"].as_u64() > Some(0), "{report:#}");
}

/// Waits until partition 0 has `length` records.
fn await_length(server: &Server, topic: &str, length: i64) {
    let begun = Instant::now();
    while server.log_len(topic, 0) < length {
        assert!(begun.elapsed() < Duration::from_secs(60), "no {length} records in {topic}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn no_cluster_is_exit_code_1_and_wrong_usage_2() {
    // A port without a listener: bound, and released.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address").to_string();
    drop(listener);
    let output = run(&["--bootstrap", &address]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(&address), "the broker is named: {text}");

    for wrong in [&["--rate", "0"][..], &["--frobnicate"], &["--quick", "--grow", "3"]] {
        assert_eq!(run(wrong).status.code(), Some(2), "{wrong:?}");
    }
}
