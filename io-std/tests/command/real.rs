//! One pass against a real broker. Skipped with one line where Java is missing;
//! `KAVKA_REQUIRE_JAVA=1` makes that a failure.

use kavka_tests::kafka::{Spec, Version, start_or_skip};
use rustix::process::Signal;

use crate::live::Live;
use crate::{Ran, feed, kavka};

#[test]
fn a_real_broker_is_read_written_and_described() {
    let Some(cluster) = start_or_skip(Spec::new(Version::V4_4_0, 1)) else { return };
    let bootstrap = cluster.bootstrap();
    let with = |args: &[&str], input: &[u8]| -> Ran {
        let mut command = kavka(args);
        command.env("KAVKA_BOOTSTRAP", &bootstrap);
        feed(command, input)
    };
    with(&["topics", "create", "t", "-p", "2", "-c", "retention.ms=600000"], b"").good();
    with(&["topics", "create", "copy", "-p", "2"], b"").good();
    with(&["produce", "t", "-p", "0", "-H", "h=1", "-H", "h=2", "-k", "k"], b"a\r\n\n").good();
    with(&["produce", "t", "-p", "1", "-Z"], b"\xff\xfe\n\n").good();

    let json = with(&["consume", "t", "-e", "--json"], b"").good();
    assert_eq!(json.lines().len(), 4, "{json:?}");
    assert!(json.text().contains(r#"[["h","1"],["h","2"]],"key":"k","payload":"a\r""#), "{json:?}");
    assert!(json.text().contains(r#""tstype":"create""#) && json.text().contains(r#""broker":1"#));
    with(&["produce", "copy", "--json"], &json.out).good();
    let copy = with(&["consume", "copy", "-e", "--json"], b"").good();
    let copied: Vec<String> =
        copy.lines().iter().map(|line| line.replace("\"copy\"", "\"t\"")).collect();
    assert_eq!(copied, json.lines());

    assert_eq!(with(&["topics", "offsets", "t"], b"").good().text(), "t\t0\t0\t2\nt\t1\t0\t2\n");
    let time = with(&["topics", "offsets", "t", "--time", "0", "-p", "1"], b"").good();
    assert_eq!(time.text(), "t:1:0\n");
    let metadata = with(&["metadata", "t"], b"").good().text();
    assert!(metadata.contains("1 broker\t1 topic") && metadata.contains("controller"));
    assert_eq!(with(&["topics", "list"], b"").good().text(), "copy\t2\nt\t2\n");
    with(&["consume", "t", "-p", "9"], b"").bad(1, &["t has no partition 9"]);

    let mut command = kavka(&["consume", "t", "-o", "-1", "-u", "-v", "-f", "%p:%S%n"]);
    command.env("KAVKA_BOOTSTRAP", &bootstrap);
    let mut live = Live::start(command);
    let mut last = [live.line(), live.line()];
    last.sort();
    assert_eq!(last, ["0:0", "1:-1"]);
    with(&["topics", "grow", "t", "3"], b"").good();
    live.error("grown from 2 to 3");
    with(&["produce", "t", "-p", "2"], b"new\n").good();
    assert_eq!(live.line(), "2:3");
    live.signal(Signal::INT);
    live.end().good();
    with(&["topics", "delete", "t"], b"").good();
    compressed_lines_come_back(&with);
}

fn compressed_lines_come_back(with: &dyn Fn(&[&str], &[u8]) -> Ran) {
    let lines: String = (0..3000).map(|n| format!("{n} a line of the usual kind\n")).collect();
    for compression in ["gzip", "gzip:9", "snappy", "lz4", "zstd", "zstd:-1"] {
        let topic = compression.replace(':', ".");
        with(&["topics", "create", &topic], b"").good();
        with(&["produce", &topic, "-z", compression], lines.as_bytes()).good();
        let read = with(&["consume", &topic, "-e"], b"").good();
        assert!(read.text() == lines, "{compression}: {} lines", read.lines().len());
    }
}
