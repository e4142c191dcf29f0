//! kavka-std's example `peer`: its line protocol, and its histories as the checker reads them.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use kavka_tests::checker::{self, Checker};
use kavka_tests::sim::{Options, Server};
use serde_json::Value;

const TOPIC: &str = "bench";
const RECORDS: u64 = 300;

struct Peer(Child);

impl Peer {
    fn start(server: &Server, history: &Path, flags: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_peer"));
        command.args(["--bootstrap", &server.bootstrap(), "--topic", TOPIC]);
        command.arg("--history").arg(history).args(flags);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Self(command.spawn().expect("it starts"))
    }

    /// Returns what it prints until it ends, by the kind of event.
    fn events(mut self) -> Vec<(String, Value)> {
        let said = BufReader::new(self.0.stdout.take().expect("piped"));
        let parse = |line: String| -> Value { serde_json::from_str(&line).expect(&line) };
        let events = said.lines().map_while(Result::ok).map(parse);
        let events: Vec<_> =
            events.map(|event| (event["ev"].as_str().expect("ev").to_owned(), event)).collect();
        assert!(self.0.wait().expect("its end").success(), "{events:?}");
        events
    }
}

/// A file that no other run of this test uses.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_nanos();
        let name = format!("peer-{}-{since}-{name}.jsonl", std::process::id());
        Self(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0); // it is below `target`, and does no harm
    }
}

fn count(events: &[(String, Value)], kind: &str) -> u64 {
    events.iter().filter(|(ev, _)| ev == kind).count() as u64
}

#[test]
fn histories_of_two_peers_are_clean_and_each_loss_would_show() {
    let server = Server::start(Options::default()).expect("simulated brokers");
    server.create_topic(TOPIC, 3).expect("a topic");
    let (sent, read) = (Scratch::new("sent"), Scratch::new("read"));
    let (all, last) = ((RECORDS + 1).to_string(), RECORDS.to_string());
    let flags = ["--role", "consumer", "--reset", "earliest", "--count", &all];
    let consumer = Peer::start(&server, &read.0, &flags);
    let flags = ["--role", "producer", "--keys", "7", "--rate", "1000", "--count", &last];
    let producer = Peer::start(&server, &sent.0, &flags).events();
    let consumer = consumer.events();

    assert_eq!((count(&producer, "ready"), count(&producer, "ack")), (1, RECORDS + 1));
    assert_eq!(count(&consumer, "recv"), RECORDS + 1);
    let (_, done) = producer.last().expect("done");
    assert_eq!((&done["ev"], &done["records"]), (&"done".into(), &RECORDS.into()), "{done}");

    let check = |left_out: usize| {
        let mut checker = Checker::default();
        for Scratch(path) in [&sent, &read] {
            let text = std::fs::read_to_string(path).expect("a history");
            let mut polls = 0;
            let kept = text.lines().filter(|line| {
                polls += usize::from(line.contains("\"poll\""));
                !line.contains("\"poll\"") || polls != left_out
            });
            let kept = kept.collect::<Vec<_>>().join("\n");
            checker::read(&mut checker, kept.as_bytes()).expect("a history");
        }
        checker.finish()
    };
    let report = check(0);
    assert!(report.is_clean(), "{report}");
    assert_eq!((report.acked, report.reads), (RECORDS + 1, RECORDS + 1), "{report}");
    assert!(!check(2).is_clean(), "a read that is missing is not found");
}
