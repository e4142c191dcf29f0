//! Compressed batches between kavka, librdkafka, franz-go and kcat over librdkafka's mock cluster,
//! which stores them as they come: what any of them writes, with each codec and level, all read, to
//! the last byte. Where Go or kcat is missing the others do; `KAVKA_REQUIRE_PEERS=1` makes that a
//! failure.

mod franz;
mod kavka;
mod kcat;
mod librdkafka;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use kavka_std::Compression;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;

const PARTITIONS: u32 = 4;
const BROKERS: i32 = 3;
/// Records of each codec and batch size.
const RECORDS: usize = 2000;
/// Batches of a few records, of one block of LZ4 or less, and of many.
const BATCHES: [usize; 3] = [1 << 10, 16 << 10, 512 << 10];
/// Milliseconds since 1970.
const BEGUN: i64 = 1_790_000_000_000;
/// For everything to be acknowledged, or the next record to be read.
const LIMIT: Duration = Duration::from_secs(40);

type Mock = MockCluster<'static, DefaultProducerContext>;
type Bytes = Option<Vec<u8>>;

/// A record, without its place in a partition.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Content {
    timestamp: i64,
    key: Bytes,
    value: Bytes,
    headers: Vec<(String, Bytes)>,
}

/// Partition, offset, content.
type Row = (u32, i64, Content);

/// The n-th record: nulls, empty ones, repeating text, what no codec can shrink, and now and then
/// one that takes several blocks.
fn content(n: usize) -> Content {
    let key = match n % 7 {
        0 => None,
        1 => Some(Vec::new()),
        of => Some(format!("sensor-{of}").into_bytes()),
    };
    let value = match n % 100 {
        0 => None,
        1 => Some(Vec::new()),
        2 => Some(noise(n, 3000)),
        3 if n % 1000 == 3 => Some(format!("{n} is a long one; ").repeat(8000).into_bytes()),
        _ => Some(format!("{n}: the temperature is 21.5 C; ").repeat(1 + n % 9).into_bytes()),
    };
    let all = [
        ("trace", Some(n.to_be_bytes().to_vec())),
        ("nothing", None),
        ("trace", Some(Vec::new())),
        ("größe", Some(noise(n, 10))),
    ];
    let headers = all.into_iter().take(n % 5).map(|(name, value)| (name.to_owned(), value));
    Content { timestamp: BEGUN + n as i64, key, value, headers: headers.collect() }
}

/// Bytes without any pattern (xorshift64).
fn noise(seed: usize, len: usize) -> Vec<u8> {
    let mut state = seed as u64 | 1 << 40;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Writes [`RECORDS`] to the topic in batches of this many bytes.
type Write<'a> = &'a dyn Fn(&str, usize) -> Vec<Row>;

/// Every reader gets the records that were written, and the batches are compressed.
fn exchange(mock: &Mock, who: &str, compression: &str, write: Write<'_>) {
    let name = format!("{who}-{}", compression.replace(':', "."));
    mock.create_topic(&name, PARTITIONS as i32, BROKERS).unwrap();
    let mut wanted: Vec<Row> = BATCHES.iter().flat_map(|bytes| write(&name, *bytes)).collect();
    wanted.sort();
    let compare = |reader: &str, rows: &[Row], wanted: &[Row]| {
        assert_eq!(rows.len(), wanted.len(), "{name} read by {reader}");
        for (row, wanted) in rows.iter().zip(wanted) {
            assert!(row == wanted, "{name} read by {reader}: {row:?}, written {wanted:?}");
        }
    };
    let (rows, codecs, bytes) = kavka::read(mock, &name, wanted.len());
    compare("kavka", &rows, &wanted);
    compare("librdkafka", &librdkafka::read(mock, &name, wanted.len()), &wanted);
    if franz::is_here() {
        compare("franz-go", &franz::read(mock, &name, wanted.len()), &wanted);
    }

    let codec = compression.parse::<Compression>().unwrap().codec();
    let id = codec.map_or(0, |codec| codec as u8);
    // Those that do not shrink go out plain.
    assert!(codecs.contains(&id) && codecs.is_subset(&[0, id].into()), "{name}: {codecs:?}");
    let len = |bytes: &Bytes| bytes.as_ref().map_or(0, Vec::len);
    let plain: usize = wanted.iter().map(|(.., content)| len(&content.value)).sum();
    assert!(id == 0 || bytes < plain / 2, "{name}: {bytes} bytes of batches, values {plain}");
    if kcat::is_here() {
        wanted.iter_mut().for_each(|(.., content)| content.headers.clear());
        compare("kcat", &kcat::read(mock, &name), &wanted);
    }
    println!("{name}: {} records, values of {plain} bytes in {bytes}", wanted.len());
}

#[test]
fn what_kavka_writes() {
    let mock = MockCluster::new(BROKERS).unwrap();
    let levels = [
        "none", "gzip:1", "gzip", "gzip:9", "snappy", "lz4", "zstd:-5", "zstd:1", "zstd", "zstd:19",
    ];
    for compression in levels {
        exchange(&mock, "kavka", compression, &|topic, bytes| {
            kavka::write(&mock, topic, compression.parse().unwrap(), bytes)
        });
    }
}

/// Codec and level of a peer, -1: what it chooses itself.
type Level = (&'static str, &'static str);

/// Writes the records of a peer to a topic in batches of this many bytes.
type PeerWrite = fn(&Mock, &str, Level, usize) -> Vec<Row>;

/// What a peer writes at each of these levels is read by all.
fn levels(peer: &str, levels: &[Level], write: PeerWrite) {
    let mock = MockCluster::new(BROKERS).unwrap();
    for (compression, level) in levels {
        exchange(&mock, &format!("{peer}{level}"), compression, &|topic, bytes| {
            write(&mock, topic, (compression, level), bytes)
        });
    }
}

#[test]
fn what_librdkafka_writes() {
    // Not zstd 12: it clears tens of MB for each batch, however small.
    let all = [
        ("none", "-1"),
        ("gzip", "1"),
        ("gzip", "-1"),
        ("gzip", "9"),
        ("snappy", "-1"),
        ("lz4", "-1"),
        ("lz4", "12"),
        ("zstd", "1"),
        ("zstd", "-1"),
        ("zstd", "6"),
    ];
    levels("librdkafka", &all, librdkafka::write);
}

#[test]
fn what_franz_go_writes() {
    let all = [
        ("none", "-1"),
        ("gzip", "1"),
        ("gzip", "-1"),
        ("gzip", "9"),
        ("snappy", "-1"),
        ("lz4", "-1"),
        ("lz4", "512"),
        ("zstd", "1"),
        ("zstd", "-1"),
        ("zstd", "4"),
    ];
    if franz::is_here() {
        levels("franz", &all, franz::write);
    }
}

#[test]
fn what_kcat_writes() {
    let all = [
        ("none", "-1"),
        ("gzip", "-1"),
        ("gzip", "9"),
        ("snappy", "-1"),
        ("lz4", "-1"),
        ("zstd", "-1"),
        ("zstd", "6"),
    ];
    if kcat::is_here() {
        levels("kcat", &all, kcat::write);
    }
}

/// Reports a peer that cannot take part.
fn skipped(program: &str, peer: &str) {
    let required = std::env::var_os("KAVKA_REQUIRE_PEERS").is_some_and(|value| value == "1");
    assert!(!required, "KAVKA_REQUIRE_PEERS=1, but there is no {program}");
    // Not eprintln!: the test runner would swallow it for a test that passes.
    let line = format!("SKIPPED: no {program}: {peer} did not take part\n");
    let _ = std::io::stderr().write_all(line.as_bytes());
}

/// Runs a program with this input, and returns what it prints.
fn run(command: &mut Command, input: &str) -> Vec<u8> {
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("a program");
    let mut stdin = child.stdin.take().expect("a pipe");
    let output = std::thread::scope(|scope| {
        // One that fails reads no further.
        scope.spawn(move || drop(stdin.write_all(input.as_bytes())));
        child.wait_with_output().expect("an output")
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output.stdout
}
