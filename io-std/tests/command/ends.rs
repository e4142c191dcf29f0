//! Logs that hold no records at their end: reading up to there ends, at once.

use std::time::Duration;

use kavka_tests::script::fetch::Batch;
use kavka_tests::sim::Server;
use rustix::process::Signal;

use crate::live::Live;
use crate::{at, fill, run, with_topic};

/// Offsets from 2 on without a record, as different brokers leave them behind.
fn tails() -> [(&'static str, Vec<Batch>); 5] {
    let control = |base| Batch { attributes: 0x20, ..Batch::new(base, &["control"]) };
    let marker = |base| Batch { attributes: 0x30, ..Batch::new(base, &["commit"]) };
    let empty = Batch { last_delta: 1, ..Batch::new(2, &[]) };
    [
        ("control batches", vec![control(2), control(3)]),
        ("commit markers", vec![marker(2), marker(3)]),
        ("an empty batch", vec![empty.clone()]),
        ("an empty batch of a transaction", vec![Batch { attributes: 0x10, ..empty.clone() }]),
        ("a marker after an empty batch", vec![empty, marker(4)]),
    ]
}

fn append(server: &Server, batches: &[Batch]) {
    for batch in batches {
        server.with(|cluster| cluster.append_batch("t", 0, &batch.bytes())).expect("appended");
    }
}

#[test]
fn reading_to_the_end_ends_at_once_where_the_log_ends_without_records() {
    let plain = with_topic(1);
    fill(&plain, 0, &["a", "b"]);
    for (what, tail) in tails() {
        let server = with_topic(1);
        fill(&server, 0, &["a", "b"]);
        append(&server, &tail);
        let end = server.log_len("t", 0);
        for (offset, want) in [("beginning", "a\nb\n"), ("1", "b\n"), ("2", ""), ("-1", "")] {
            let args = ["consume", "t", "-e", "--timeout", "20", "-o", offset];
            let usual = run(&plain, &args).good().took;
            let ran = run(&server, &args).good();
            assert_eq!(ran.text(), want, "{what}, -o {offset}");
            let most = usual + Duration::from_secs(2);
            assert!(ran.took < most, "{what}, -o {offset}: {:?}, usually {usual:?}", ran.took);
        }
        let offsets = run(&server, &["topics", "offsets", "t"]).good().text();
        assert_eq!(offsets, format!("t\t0\t0\t{end}\n"), "{what}");
        // Without an end it waits behind the gap.
        let mut live = Live::start(at(&server, &["consume", "t", "-u"]));
        assert_eq!([live.line(), live.line()], ["a", "b"], "{what}");
        fill(&server, 0, &["later"]);
        assert_eq!(live.line(), "later", "{what}");
        live.signal(Signal::INT);
        live.end().good();
    }
}

/// Compaction removed the last records of a batch that keeps its place.
#[test]
fn reading_to_the_end_ends_at_once_behind_a_compacted_batch() {
    let server = with_topic(1);
    append(&server, &[Batch { last_delta: 5, ..Batch::new(0, &["a", "b"]) }]);
    assert_eq!(server.log_len("t", 0), 6);
    for (offset, want) in [("beginning", "a\nb\n"), ("1", "b\n"), ("4", ""), ("-1", "")] {
        let ran = run(&server, &["consume", "t", "-e", "--timeout", "20", "-o", offset]).good();
        assert_eq!(ran.text(), want, "-o {offset}");
        assert!(ran.took < Duration::from_secs(10), "-o {offset}: {:?}", ran.took);
    }
}
