//! The checker reports each kind of finding in a history made for it, and nothing in good ones.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use kavka_tests::checker::{self, Checker, Report, What};
use kavka_tests::history::{Header, Kind, Line, Op};

/// Each file of `data/histories`, and the checker's findings in it.
const HISTORIES: &[(&str, &[&str])] = &[
    ("count_back", &["count went back: process c, topic t, lines 2 3: 1 partitions after 2"]),
    (
        "duplicated",
        &["duplicated: process p, topic t, partition 0, offset 1\
         , lines 5 6: also at partition 0 offset 0"],
    ),
    (
        "failed_read",
        &["failed, but read: process p, topic t, partition 0, offset 0\
         , lines 3 4 5: its producer said that it was not written"],
    ),
    ("good", &[]),
    ("good_growth", &[]),
    ("good_of_a_reader_alone", &[]),
    ("good_trimmed_at_the_start", &[]),
    ("good_with_jumps", &[]),
    ("good_with_lost_acks", &[]),
    ("good_without_promises", &[]),
    (
        "growth_late",
        &[
            "growth noticed late: process e, topic t, lines 5 4: 2 partitions, never",
            "growth noticed late: process d, topic t, lines 5 7: 2 partitions, 1100 us later",
        ],
    ),
    (
        "jumped",
        &["lost: process p, topic t, partition 0, offset 1\
         , lines 5 6: acknowledged, and read past by all"],
    ),
    (
        "key_reordered",
        &["key reordered: process p, topic t, partition 0, offset 0\
         , lines 5 6: key k: a later record was written to partition 1 before"],
    ),
    (
        "lost",
        &["lost: process p, topic t, partition 0, offset 1\
         , lines 5 6: acknowledged, and read past by all"],
    ),
    (
        "lost_with_unreported_offset",
        &["lost: process p, topic t, partition 0\
         , lines 5 6: acknowledged, and read past by all"],
    ),
    (
        "malformed_field",
        &["malformed history: process c, topic t, partition 0, offset 0\
         , lines 2: Poll Ok: a field is missing, or this op has no such type"],
    ),
    (
        "malformed_value",
        &["malformed history: process p, topic t\
         , lines 4: Send Invoke: this value was sent before"],
    ),
    ("memory_above", &["memory above its limit: process c, lines 2: 11 bytes, 10 are allowed"]),
    (
        "misplaced",
        &["misplaced: process p, topic t, partition 0, offset 0\
         , lines 3 4 5: acknowledged at partition 0 offset 1"],
    ),
    (
        "phantom",
        &["read, but never sent: process unknown, topic t, partition 0, offset 1\
         , lines 6: nobody sent this value"],
    ),
    (
        "reordered",
        &["reordered: process p, topic t, partition 0, offset 1\
         , lines 3 4 5 7: a later record of its producer lies before it"],
    ),
    (
        "repeated",
        &["repeated: process c, topic t, partition 0, offset 0\
         , lines 8 9: this offset, or one behind it, was read before"],
    ),
    (
        "skipped",
        &["skipped: process c, topic t, partition 0, offset 1\
         , lines 9 14: 1 records up to offset 2"],
    ),
    (
        "skipped_after_a_trim",
        &["skipped: process d, topic t, partition 0, offset 2\
         , lines 14 17: 1 records up to offset 3"],
    ),
    (
        "skipped_new_partition",
        &["skipped: process c, topic t, partition 1, offset 0\
         , lines 9 10: 1 records up to offset 1"],
    ),
    (
        "two_values",
        &["two values at one offset: process p, topic t, partition 0, offset 0\
         , lines 5 8 9: also a record of p"],
    ),
    (
        "two_values_acknowledged",
        &["two values at one offset: process p, topic t, partition 0, offset 0\
         , lines 3 5: also a record of p"],
    ),
    (
        "two_values_after_a_lost_ack",
        &["two values at one offset: process p, topic t, partition 0, offset 0\
         , lines 8 9 10: also a record of p"],
    ),
    (
        "unseen",
        &["unseen at the end: process c, topic t, partition 0, offset 1\
         , lines 6: 2 records from there on"],
    ),
    (
        "unseen_new_partition",
        &["unseen at the end: process c, topic t, partition 1, offset 0\
         , lines 6: 1 records from there on"],
    ),
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("data/histories")
}

fn check(name: &str) -> Report {
    let text = fs::read(folder().join(format!("{name}.jsonl"))).expect(name);
    let mut checker = Checker::default();
    checker::read(&mut checker, &text[..]).expect(name);
    checker.finish()
}

#[test]
fn each_bad_history_has_its_finding_and_the_good_ones_none() {
    for (name, expected) in HISTORIES {
        let found: Vec<String> = check(name).findings.iter().map(ToString::to_string).collect();
        assert_eq!(found, *expected, "{name}.jsonl");
    }
}

#[test]
fn every_file_is_in_the_list() {
    let mut files: Vec<String> = fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    files.sort();
    assert_eq!(files, HISTORIES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
}

#[test]
fn every_kind_has_a_history() {
    let found: Vec<What> = HISTORIES
        .iter()
        .flat_map(|(name, _)| check(name).findings)
        .map(|finding| finding.what)
        .collect();
    for what in What::ALL {
        assert!(found.contains(&what), "no history for: {what}");
    }
}

/// Each read and each acknowledgement of the good history counts: without it there is a finding.
#[test]
fn a_good_history_without_one_of_its_reads_is_bad() {
    let text = fs::read_to_string(folder().join("good.jsonl")).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let polls =
        (0..lines.len()).filter(|n| lines[*n].contains("\"process\":\"l\",\"op\":\"poll\""));
    // The first read of a process that began at the end shows where the end was.
    for left_out in polls.skip(1) {
        let kept: Vec<&str> =
            (0..lines.len()).filter(|n| *n != left_out).map(|n| lines[n]).collect();
        let mut checker = Checker::default();
        checker::read(&mut checker, kept.join("\n").as_bytes()).unwrap();
        assert!(!checker.finish().is_clean(), "without line {}", left_out + 1);
    }
}

#[test]
fn files_of_one_run_are_judged_together() {
    let (mut producer, mut consumer) = (Vec::new(), Vec::new());
    let text = fs::read_to_string(folder().join("lost.jsonl")).unwrap();
    for line in text.lines() {
        if !line.contains("\"process\":\"p\"") {
            consumer.extend_from_slice(line.as_bytes());
            consumer.push(b'\n');
        }
        if !line.contains("\"process\":\"c\"") {
            producer.extend_from_slice(line.as_bytes());
            producer.push(b'\n');
        }
    }
    for files in [[&consumer, &producer], [&producer, &consumer]] {
        let mut checker = Checker::default();
        files.into_iter().for_each(|file| checker::read(&mut checker, &file[..]).unwrap());
        let report = checker.finish();
        assert_eq!(report.findings.len(), 1, "{report}");
        assert_eq!(report.findings[0].what, What::Lost);
    }
}

#[test]
fn many_findings_of_a_kind_are_counted_and_some_are_reported() {
    let mut checker = Checker::default();
    checker.begin(&Header::new("test"));
    for n in 0..1000_u32 {
        let line = Line::new(u64::from(n), "c", Op::Count, Kind::Ok).topic("t");
        checker.line(&line.count(1000 - n));
    }
    let report = checker.finish();
    assert_eq!((report.total, report.findings.len()), (999, 100));
}

#[test]
fn the_program_reports_findings_by_its_exit_code() {
    let run = |path: PathBuf| {
        let output = Command::new(env!("CARGO_BIN_EXE_checker")).arg(path).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (code, said) = run(folder().join("good.jsonl"));
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = run(folder().join("lost.jsonl"));
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.starts_with("lost: process p, topic t, partition 0, offset 1, lines 5 6"),
        "{said}"
    );
    assert_eq!(run(folder().join("../records/recorded.jsonl")).0, Some(2));
}
