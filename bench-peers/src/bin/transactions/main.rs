//! Transactions of kavka beside those of librdkafka and of Java on one real broker: records per
//! second in transactions of two sizes, and how long one takes that has none or one. Each
//! measurement is a process of its own, the clients in turn.

mod kavka;
mod librdkafka;
mod report;

use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use kavka_tests::kafka::{Cluster, Spec, Version, jars};

use report::Report;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Partitions of each topic.
const PARTITIONS: u32 = 6;

/// Transactions of kavka beside those of librdkafka and of Java.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// Brokers; without it one is started (Java, and Maven the first time).
    #[arg(long)]
    bootstrap: Option<String>,
    /// The brokers that are started.
    #[arg(long, default_value = "4.4.0")]
    version: Version,
    /// Clients to measure.
    #[arg(long, value_delimiter = ',', default_values = ["kavka", "librdkafka", "java"])]
    clients: Vec<Client>,
    /// Records of each transaction.
    #[arg(long, value_delimiter = ',', default_values_t = [0, 1, 1000, 100_000])]
    sizes: Vec<u64>,
    /// Bytes of each record's value.
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// How often each client is measured at each point.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    #[arg(long, hide = true)]
    topic: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Client {
    Kavka,
    Librdkafka,
    Java,
}

/// What a child process has to do.
struct Task<'a> {
    bootstrap: &'a str,
    topic: &'a str,
    /// Records of each transaction.
    records: u64,
    /// Bytes of a record.
    size: usize,
    /// Transactions that are measured, after a fifth as many that are not.
    transactions: u64,
}

impl Task<'_> {
    /// How many transactions are enough, by their records.
    const fn transactions(records: u64) -> u64 {
        match records {
            0 | 1 => 1000,
            records => 3_000_000 / records,
        }
    }

    /// Runs transactions, and prints the seconds of each one that counts.
    fn measure(&self, mut transaction: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let value = vec![b'v'; self.size];
        let warm_up = self.transactions / 5;
        for number in 0..self.transactions + warm_up {
            let began = Instant::now();
            transaction(&value)?;
            if number >= warm_up {
                println!("{}", began.elapsed().as_secs_f64());
            }
        }
        Ok(())
    }
}

/// Measures one client at one point in this process.
fn measure(options: &Options, topic: &str) -> Result<()> {
    let ([client], [records]) = (&options.clients[..], &options.sizes[..]) else {
        return Err("one client and one size".into());
    };
    let task = Task {
        bootstrap: options.bootstrap.as_deref().ok_or("--bootstrap is missing")?,
        topic,
        records: *records,
        size: options.size,
        transactions: Task::transactions(*records),
    };
    match client {
        Client::Kavka => kavka::run(&task),
        Client::Librdkafka => librdkafka::run(&task),
        Client::Java => Err("a process of its own".into()),
    }
}

/// Measures in a process and on a topic of their own; returns the seconds of each transaction.
fn child(options: &Options, bootstrap: &str, client: Client, records: u64) -> Result<Vec<f64>> {
    let unique = std::time::UNIX_EPOCH.elapsed()?.as_micros();
    let topic = format!("transactions-{client:?}-{unique}");
    kavka::create(bootstrap, &topic, PARTITIONS)?;
    let mut command = match client {
        Client::Java => java(bootstrap, &topic, records, options.size)?,
        client => {
            let name = client.to_possible_value().ok_or("no name")?.get_name().to_owned();
            let mut command = Command::new(std::env::current_exe()?);
            command.args(["--bootstrap", bootstrap, "--topic", &topic, "--clients", &name]);
            command.args(["--sizes", &records.to_string(), "--size", &options.size.to_string()]);
            command
        }
    };
    let output = command.stderr(std::process::Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{client:?}, {records} records: {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let times: std::result::Result<Vec<f64>, _> = text.lines().map(str::parse).collect();
    Ok(times?)
}

fn java(bootstrap: &str, topic: &str, records: u64, size: usize) -> Result<Command> {
    let jars = jars::fetch(Version::V4_4_0)?;
    let mut command = Command::new("java");
    command.arg("-cp").arg(jars.join("*")).arg("-Xmx1g");
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/java/TransactionSpeed.java"));
    let transactions = Task::transactions(records);
    command.args([bootstrap, topic]);
    command.args([records.to_string(), size.to_string(), transactions.to_string()]);
    Ok(command)
}

fn compare(options: &Options, bootstrap: &str) -> Result<bool> {
    let Options { size, rounds, clients, sizes, .. } = options;
    println!(
        "records of {size} B, {PARTITIONS} partitions, acks=all, linger 5 ms, batches of 64 KiB, \
         {rounds} rounds"
    );
    // A broker that has just started compiles its code first.
    child(options, bootstrap, Client::Kavka, 1)?;
    child(options, bootstrap, Client::Kavka, 1000)?;
    let mut report = Report::default();
    for round in 0..*rounds as usize {
        for records in sizes {
            for turn in 0..clients.len() {
                let client = clients[(turn + round) % clients.len()];
                report.add(client, *records, child(options, bootstrap, client, *records)?);
            }
        }
    }
    Ok(report.close(clients, sizes))
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if let Some(topic) = &options.topic {
        measure(&options, topic)?;
        return Ok(ExitCode::SUCCESS);
    }
    let good = match &options.bootstrap {
        Some(bootstrap) => compare(&options, bootstrap)?,
        None => {
            let cluster =
                Cluster::start(Spec::new(options.version, 1)).map_err(|e| e.to_string())?;
            println!("started {}", cluster.spec());
            compare(&options, &cluster.bootstrap())?
        }
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Linger of every client.
const LINGER: Duration = Duration::from_millis(5);
/// Largest batch of every client, in bytes.
const BATCH: usize = 64 * 1024;
