//! franz-go, by a program of `go/`.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::{Bytes, Content, Mock, RECORDS, Row, content, run, skipped};

/// Returns the program, built once; `None` where there is no Go.
fn program() -> Option<&'static Path> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        if Command::new("go").arg("version").output().is_err() {
            skipped("go", "franz-go");
            return None;
        }
        let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("franz");
        let mut go = Command::new("go");
        go.args(["build", "-o"]).arg(&program).arg(".");
        run(go.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/go")), "");
        Some(program)
    });
    built.as_deref()
}

pub(super) fn is_here() -> bool {
    program().is_some()
}

fn franz(mock: &Mock, what: &str, topic: &str) -> Command {
    let mut command = Command::new(program().expect("franz-go"));
    command.args([what, &mock.bootstrap_servers(), topic]);
    command
}

pub(super) fn write(
    mock: &Mock,
    topic: &str,
    (codec, level): (&str, &str),
    bytes: usize,
) -> Vec<Row> {
    // It refuses records that are larger than a batch, so batches are limited by flushes.
    let group = (bytes / 50).to_string();
    let mut lines = String::new();
    for content in (0..RECORDS).map(content) {
        let (key, value) = (text(&content.key), text(&content.value));
        let _ = write!(lines, "{}\t{key}\t{value}", content.timestamp);
        for (name, value) in content.headers {
            let _ = write!(lines, "\t{}\t{}", text(&Some(name.into_bytes())), text(&value));
        }
        lines.push('\n');
    }
    let places = run(franz(mock, "write", topic).args([codec, level, &group]), &lines);
    let places = String::from_utf8(places).expect("text");
    let row = |(n, line): (usize, &str)| {
        let (partition, offset) = line.split_once('\t').expect("a place");
        (partition.parse().unwrap(), offset.parse().unwrap(), content(n))
    };
    let rows: Vec<Row> = places.lines().enumerate().map(row).collect();
    assert_eq!(rows.len(), RECORDS, "{topic}: delivered");
    rows
}

/// Returns the records in order.
pub(super) fn read(mock: &Mock, topic: &str, count: usize) -> Vec<Row> {
    let lines = run(franz(mock, "read", topic).arg(count.to_string()), "");
    let lines = String::from_utf8(lines).expect("text");
    let mut rows: Vec<Row> = lines.lines().map(row).collect();
    rows.sort();
    rows
}

fn row(line: &str) -> Row {
    let mut fields = line.split('\t');
    let mut next = || fields.next().expect("a field");
    let (partition, offset, timestamp) = (next(), next(), next().parse().unwrap());
    let (key, value) = (bytes(next()), bytes(next()));
    let mut headers = Vec::new();
    while let Some(name) = fields.next() {
        let name = String::from_utf8(bytes(name).expect("a name")).unwrap();
        headers.push((name, bytes(fields.next().expect("a value"))));
    }
    let content = Content { timestamp, key, value, headers };
    (partition.parse().unwrap(), offset.parse().unwrap(), content)
}

fn text(bytes: &Bytes) -> String {
    let Some(bytes) = bytes else { return "-".into() };
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn bytes(text: &str) -> Bytes {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (text != "-").then(|| (0..text.len()).step_by(2).map(byte).collect())
}
