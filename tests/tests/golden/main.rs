//! Whole scenarios in virtual time against their recorded traces: every request and response,
//! every event, and when the client wants to be called. What a trace shows was read by a person
//! when it was recorded; a change that alters it is seen as a difference of lines.
//!
//! `KAVKA_GOLDEN=write cargo test -p kavka-tests --test golden` records all of them again
//! (`tests/data/golden`); `git diff` then shows what has changed.
#![cfg(not(kavka_rare))]

mod admin;
mod app;
mod consumer;
mod moods;
mod network;
mod old;
mod producer;

use core::time::Duration;
use std::fs;
use std::path::Path;

use kavka_core::{Config, Limits, TopicId};
use kavka_tests::sim::{Options, World};

use app::Moody;

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

type Play = World<Moody>;

/// Lines on either side of the first difference.
const AROUND: usize = 4;

/// Plays a scenario and compares its trace with the recorded one.
#[track_caller]
fn play(name: &str, options: Options, act: impl FnOnce(&mut Play)) {
    let mut world = World::new(1, options);
    world.net.pieces = false;
    (world.net.fastest, world.net.slowest) = (MILLI, MILLI);
    world.trace.keep();
    act(&mut world);
    let text: String = world.trace.take_lines().iter().filter_map(|line| brief(line)).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("data/golden/{name}.txt"));
    if std::env::var_os("KAVKA_GOLDEN").is_some_and(|value| value == "write") {
        return fs::write(&path, text).expect("the trace is written");
    }
    let recorded = fs::read_to_string(&path).expect("a recorded trace");
    if let Some(difference) = difference(&recorded, &text) {
        panic!("{name}: the trace differs from {}: {difference}", path.display());
    }
}

/// Shortens a line, since what brokers respond is not what is tested. Requests are compared whole
/// nevertheless: the line before one has the checksum of its bytes.
fn brief(line: &str) -> Option<String> {
    if line.contains(" to client [") {
        return None; // a piece of the response above
    }
    let most = if line.contains(" responds to ") { 180 } else { 500 };
    let end = line.char_indices().nth(most).map_or(line.len(), |(at, _)| at);
    Some(format!("{}\n", line[..end].trim_end()))
}

/// Returns the first difference of two texts, with the lines around it.
fn difference(recorded: &str, now: &str) -> Option<String> {
    if recorded == now {
        return None;
    }
    let (old, new): (Vec<&str>, Vec<&str>) = (recorded.lines().collect(), now.lines().collect());
    let at = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let part = |of: &[&str], mark: &str| -> String {
        let end = of.len().min(at + AROUND);
        of[at.min(end)..end].iter().map(|line| format!("\n{mark} {line}")).collect()
    };
    let before: String =
        old[at.saturating_sub(AROUND)..at].iter().map(|line| format!("\n  {line}")).collect();
    Some(format!("line {}{before}{}{}", at + 1, part(&old, "-"), part(&new, "+")))
}

/// Adds a client that watches topic `t`.
fn join(w: &mut Play, limits: &Limits, set: impl FnOnce(&mut Config<'_>)) -> (usize, TopicId) {
    let member = w.join(Moody::default(), limits, set);
    let topic = w.command(member, |_, client, _| client.topic("t")).expect("a topic");
    (member, topic)
}

/// Sends a record to each of these partitions.
fn send(w: &mut Play, member: usize, topic: TopicId, partitions: &[u32], value: &str) {
    for partition in partitions {
        w.app_mut(member).send_to(topic, *partition, value);
    }
}

#[test]
fn a_difference_is_shown_with_the_lines_around_it() {
    assert_eq!(difference("a\nb\n", "a\nb\n"), None);
    assert_eq!(difference("a\nb\nc\n", "a\nx\nc\n").unwrap(), "line 2\n  a\n- b\n- c\n+ x\n+ c");
    assert_eq!(difference("a\n", "a\nb\n").unwrap(), "line 2\n  a\n+ b");
}
