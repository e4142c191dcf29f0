//! The launcher of real clusters, tested with plain requests.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Instant;

use kavka_tests::kafka::raw::Raw;
use kavka_tests::kafka::{self, Spec, Version};

const METADATA: i16 = 3;
const DESCRIBE_TOPIC_PARTITIONS: i16 = 75;
const LAUNCHER: &str = env!("CARGO_BIN_EXE_kafka-cluster");

/// The newest and the oldest; the newest Metadata of each, and whether it has the paged kind. Other
/// tests run those between.
const ENDS: [(Version, i16, bool); 2] = [(Version::V4_4_0, 13, true), (Version::V2_4_1, 9, false)];

#[test]
fn brokers_serve_a_topic_that_grows_and_goes() {
    for (version, metadata, paged) in ENDS {
        let Some(cluster) = kafka::start_or_skip(Spec::new(version, 1)) else { return };
        let mut raw = cluster.raw(1).unwrap();
        let newest = raw.api_range(METADATA).unwrap().map(|range| range.1);
        let describe = raw.api_range(DESCRIBE_TOPIC_PARTITIONS).unwrap().is_some();
        assert_eq!((newest, describe), (Some(metadata), paged), "{version}");
        cluster.create("readings", 3).unwrap_or_else(|e| panic!("{version}: {e}"));
        cluster.grow("readings", 5).unwrap_or_else(|e| panic!("{version}: {e}"));
        cluster.await_count("readings", 5).unwrap_or_else(|e| panic!("{version}: {e}"));
        assert!(cluster.grow("readings", 5).is_err(), "{version}: growth to the same count");
        cluster.delete("readings").unwrap_or_else(|e| panic!("{version}: {e}"));
        cluster.create("readings", 2).unwrap_or_else(|e| panic!("{version}: {e}"));
    }
}

#[test]
fn nodes_are_killed_paused_and_started_again() {
    let Some(cluster) = kafka::start_or_skip(Spec::new(Version::V4_4_0, 3)) else { return };
    cluster.create("readings", 6).unwrap();
    cluster.await_in_sync("readings").unwrap();

    cluster.kill(2).unwrap();
    let refused = TcpStream::connect_timeout(&cluster.address(2), Duration::from_secs(1));
    assert!(refused.is_err(), "a killed broker accepts connections");
    assert!(cluster.kill(2).is_err(), "killed twice");
    cluster.raw(1).unwrap().metadata(None).expect("node 1 answers without node 2");
    cluster.restart(2).unwrap();
    cluster.await_in_sync("readings").unwrap();

    let mut open = Raw::connect(cluster.address(3), Duration::from_millis(500)).unwrap();
    open.metadata(None).expect("node 3 responds before the pause");
    cluster.pause(3).unwrap();
    let silent = open.metadata(None).expect_err("node 3 answers although it is paused");
    assert_eq!(silent.kind(), ErrorKind::TimedOut, "{silent}");
    cluster.resume(3).unwrap();
    cluster.raw(3).unwrap().metadata(None).expect("node 3 responds again");

    cluster.pause(1).unwrap();
    cluster.grow_at_last("readings", 9).expect("the other nodes see to it");
    cluster.resume(1).unwrap();
    cluster.await_count("readings", 9).unwrap();
    cluster.grow_at_last("readings", 9).expect("done already");
}

#[test]
fn brokers_end_with_a_launcher_that_is_killed() {
    if kafka::java_missing().is_some() {
        // Reports it, or fails where Java is required.
        assert!(kafka::start_or_skip(Spec::new(Version::V3_9_2, 1)).is_none());
        return;
    }
    let mut launcher = Command::new(LAUNCHER)
        .args(["up", "--version", "3.9.2"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(launcher.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address: SocketAddr = line.trim().parse().unwrap_or_else(|_| panic!("printed {line:?}"));
    Raw::connect(address, Duration::from_secs(5)).unwrap().metadata(None).unwrap();

    launcher.kill().unwrap();
    launcher.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok() {
        assert!(Instant::now() < deadline, "the broker at {address} outlived its launcher");
    }
}

#[test]
fn without_java_it_says_so() {
    let output = Command::new(LAUNCHER).arg("up").env("PATH", "").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("no Java"), "{text}");
}
