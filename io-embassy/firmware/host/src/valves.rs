//! `valves`: every command that the board reads gets one reply, whatever partition it came from.

use core::time::Duration;
use std::thread;
use std::time::Instant;

use clap::Args;
use kavka_std::{Config, Producer, Record};
use kavka_tests::kafka::ledger::{Entry, Ledger};
use kavka_tests::kafka::{Cluster, Spec, Version};

use crate::board::{Board, HOST, Setup};
use crate::{Failure, check, check_stack, logs, topic};

const COMMANDS: &str = "commands";
const RESPONSES: &str = "answers";
/// Numbers the commands of a run in the ledger.
const RUN: u32 = 2;
/// Partitions of the commands, at first and at last.
const PARTITIONS: (u32, u32) = (3, 6);
/// Between two commands.
const PACE: Duration = Duration::from_millis(10);
/// Bytes of a command that the board can read, and whose reply is above its largest request.
const LARGE: usize = 2500;
/// The last reply must arrive within this time.
const LIMIT: Duration = Duration::from_secs(60);

#[derive(Args)]
pub(crate) struct Options {
    /// Read all partitions and follow growth, instead of the first partition alone.
    #[arg(long)]
    all: bool,
    /// Commands, 100 a second.
    #[arg(long, default_value_t = 1000)]
    commands: u32,
    /// Read as the member of a consumer group.
    #[arg(long)]
    group: bool,
    /// Obey exactly once: replies and offsets of the group in transactions.
    #[arg(long)]
    transactions: bool,
    /// The image that logs by defmt, whose lines are checked, too.
    #[arg(long)]
    defmt: bool,
}

impl Options {
    fn reads_all(&self) -> bool {
        self.all || self.group || self.transactions
    }
}

pub(crate) fn run(version: Version, options: &Options) -> Result<(), Failure> {
    let spec = Spec { advertise: Some(HOST.to_owned()), ..Spec::new(version, 1) };
    let cluster = Cluster::start(spec)?;
    cluster.create(COMMANDS, PARTITIONS.0)?;
    cluster.create(RESPONSES, 1)?;
    let image = match (options.transactions, options.group) {
        (true, _) => "valves-transactions",
        (false, true) => "valves-group",
        (false, false) => "valves",
    };
    let setup = Setup::new(image)
        .argument("bootstrap", cluster.outside().unwrap_or_default())
        .argument("partitions", if options.all { "all" } else { "first" })
        .argument("seed", fastrand::u32(..))
        .logs(options.defmt);
    let board = Board::start(&setup)?;
    let mut ledger = Ledger::default();
    let expected = command(&cluster, options, &mut ledger)?;
    let deadline = Instant::now() + LIMIT;
    let done = loop {
        let line = board.wait("valves", LIMIT, |_| Ok(()))?;
        if line.number("delivered")? >= expected {
            break line;
        }
        check(Instant::now() < deadline, || format!("{expected} responses are due: {line:?}"))?;
    };
    println!(
        "{expected} commands answered; {} times without room; {} growths seen; {} transactions \
         committed; stack {} B",
        done.number("held")?,
        done.number("growths")?,
        done.number("ends")?,
        done.number("stack")?
    );
    check_stack(&done)?;
    if options.defmt {
        // Of the driver, and of the example, which logs every event.
        logs::check(&board, &["kavka: connected to", "{}"])?;
    }
    topic::read(&cluster, RESPONSES, &mut ledger)?;
    let report = ledger.report();
    println!("{report}");
    check(report.is_clean(), || "answers differ from commands".to_owned())?;
    check(report.read == u64::from(expected), || "answers to nobody".to_owned())?;
    check(done.number("growths")? == 1, || "the growth went unnoticed".to_owned())?;
    let passed = done.number("passed")?;
    check(passed == 1, || format!("{passed} commands were passed over, not the large one alone"))
}

/// Sends commands round all partitions there are, which become more half-way, and one that is too
/// large for its reply. Those that the board has to reply to go into the ledger; returns how many.
fn command(cluster: &Cluster, options: &Options, ledger: &mut Ledger) -> Result<u32, Failure> {
    let producer = Producer::new(Config::new(cluster.bootstrap()))?;
    let (mut count, mut expected) = (PARTITIONS.0, 0);
    for number in 0..options.commands {
        if number == options.commands / 2 {
            count = PARTITIONS.1;
            cluster.grow(COMMANDS, count)?;
            cluster.await_count(COMMANDS, count)?;
            // Others of its partition come after it.
            drop(producer.send_to(COMMANDS, 0, &Record::new(&[b'x'; LARGE]))?);
        }
        let entry = Entry { run: RUN, key: number % count, turn: number };
        let record = entry.value(48);
        drop(producer.send_to(COMMANDS, entry.key, &Record::new(&record))?);
        if options.reads_all() || entry.key == 0 {
            ledger.acknowledge(entry, None);
            expected += 1;
        }
        thread::sleep(PACE);
    }
    producer.flush().wait()?;
    Ok(expected)
}
