//! `consume --group` against a real broker.

use std::time::Duration;

use kavka_std::{Config, Producer, Record};
use kavka_tests::kafka::{Cluster, Spec, Version, shared_or_skip};
use rustix::process::Signal;

use crate::groups::until;
use crate::live::Live;
use crate::{LONG, feed, kavka};

fn write(cluster: &Cluster, topic: &str, values: &[&str]) {
    let producer = Producer::new(Config::new(cluster.bootstrap())).expect("a producer");
    for value in values {
        drop(producer.send(topic, &Record::new(value.as_bytes())).expect("taken"));
    }
    assert!(producer.close(LONG).wait().expect("closed").is_empty());
}

#[test]
fn a_member_prints_commits_and_leaves_with_a_signal() {
    let Some(cluster) = shared_or_skip(impatient()) else { return };
    cluster.create("u", 2).expect("created");
    write(cluster, "u", &["a", "b", "c"]);
    let addresses = cluster.bootstrap();
    let args = ["-b", &addresses, "consume", "u", "-g", "board"];
    let mut live = Live::start(kavka(&args));
    let mut lines = [live.line(), live.line(), live.line()];
    lines.sort();
    assert_eq!(lines, ["a", "b", "c"]);
    live.signal(Signal::TERM);
    let ran = live.end().good();
    for said in ["assigned u 0, u 1", "reading 2 partitions", "group board: left"] {
        assert!(ran.err.contains(said), "{said:?} is not said: {}", ran.err);
    }
    // It continues where it was, after one record of two.
    write(cluster, "u", &["d", "e"]);
    let one = feed(kavka(&[&args[..], &["-c", "1"]].concat()), b"").good();
    let two = feed(kavka(&[&args[..], &["-c", "1"]].concat()), b"").good();
    let mut lines = [one.text(), two.text()].concat();
    lines.retain(|c| c != '\n');
    assert!(lines == "de" || lines == "ed", "{lines}");
}

/// Sessions of six seconds instead of 45. Tests share the broker, and have topics and groups of
/// their own.
pub(crate) fn impatient() -> Spec {
    impatient_of(Version::V4_4_0)
}

pub(crate) fn impatient_of(version: Version) -> Spec {
    Spec::new(version, 1).session(Duration::from_secs(6))
}

#[test]
fn a_member_that_is_killed_is_replaced_by_another() {
    let Some(cluster) = shared_or_skip(impatient()) else { return };
    cluster.create("t", 2).expect("created");
    let addresses = cluster.bootstrap();
    let args = ["-b", &addresses, "consume", "t", "-g", "dashboard"];
    write(cluster, "t", &["a"]);
    let mut first = Live::start(kavka(&args));
    assert_eq!(first.line(), "a");
    // What was printed is committed a moment later.
    until(cluster, &["groups", "lag", "dashboard"], "\t1\t0\t1\t0\t");
    first.signal(Signal::KILL);
    write(cluster, "t", &["b", "c"]);
    let mut second = Live::start(kavka(&args));
    let mut lines = [second.line(), second.line()];
    lines.sort();
    assert_eq!(lines, ["b", "c"], "and nothing that was committed before");
    second.signal(Signal::TERM);
    second.end().good();
}

#[test]
fn options_of_a_group_that_make_no_sense_are_refused() {
    let base = ["-b", "127.0.0.1:1", "consume", "t"];
    for (more, said) in [
        (&["-g", "g", "-p", "0"][..], "cannot be used with"),
        (&["-g", "g", "-e"], "cannot be used with"),
        (&["--instance", "one"], "--group"),
        (&["-g", "g", "-o", "17"], "begin"),
    ] {
        let ran = feed(kavka(&[&base[..], more].concat()), b"");
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.err.contains(said), "{said:?} is not said: {}", ran.err);
    }
}
