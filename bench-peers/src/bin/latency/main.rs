//! Latency of kavka beside librdkafka on one real broker, in one run: records at a fixed rate, from
//! the moment each is due to its acknowledgement, and to the application that consumes it. Each
//! measurement is a process of its own, in turn A B B A, since the machine changes its mood.

mod kavka;
mod librdkafka;
mod report;
mod sample;

use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use kavka_tests::kafka::{Cluster, Spec, Version};

use report::Report;
use sample::Figures;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Partitions of each topic.
const PARTITIONS: u32 = 6;
/// Before anything is counted: leaders, producer id and session are known then.
const WARM_UP: Duration = Duration::from_secs(1);

/// Latency of kavka beside librdkafka.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// Brokers; without it one of Kafka 4.4.0 is started (Java, and Maven the first time).
    #[arg(long)]
    bootstrap: Option<String>,
    /// Records per second.
    #[arg(long, value_delimiter = ',', default_values_t = [1000, 20_000])]
    rates: Vec<u64>,
    /// How long batches wait for more: milliseconds, or `default` for each client's own.
    #[arg(long, value_delimiter = ',', default_values_t = Linger::all())]
    lingers: Vec<Linger>,
    /// Bytes of each record's value, at least 8.
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// Seconds of each measurement, after one that warms up.
    #[arg(long, default_value_t = 4)]
    seconds: u64,
    /// How often each client is measured at each point.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Sends that are awaited one by one, in each round.
    #[arg(long, default_value_t = 1000)]
    awaited: u64,
    #[arg(long, hide = true, requires = "topic")]
    client: Option<Client>,
    #[arg(long, hide = true)]
    topic: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Client {
    Kavka,
    Librdkafka,
}

/// `None`: the client's own default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Linger(Option<u64>);

impl Linger {
    fn all() -> [Self; 3] {
        [Self(Some(0)), Self(Some(5)), Self(None)]
    }
}

impl std::fmt::Display for Linger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(ms) => write!(f, "{ms}"),
            None => f.write_str("default"),
        }
    }
}

impl std::str::FromStr for Linger {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        if text == "default" { Ok(Self(None)) } else { text.parse().map(|ms| Self(Some(ms))) }
    }
}

/// What a child process measures. `rate` 0: each send is awaited before the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    rate: u64,
    linger: Linger,
}

impl Point {
    fn all(options: &Options) -> Vec<Self> {
        let rates = options.rates.iter();
        let paced = rates.flat_map(|rate| options.lingers.iter().map(move |l| (*rate, *l)));
        let awaited = (0, Linger(None));
        paced.chain([awaited]).map(|(rate, linger)| Self { rate, linger }).collect()
    }
}

/// What a child process has to do.
#[derive(Clone, Copy, Debug)]
struct Task<'a> {
    bootstrap: &'a str,
    topic: &'a str,
    size: usize,
    linger: Linger,
    rate: u64,
    records: u64,
    /// The first ones do not count.
    warm_up: u64,
}

/// Measures one client at one point in this process, and prints figures for the parent.
fn measure(options: &Options, client: Client) -> Result<()> {
    let (Some(rate), Some(linger)) = (options.rates.first(), options.lingers.first()) else {
        return Err("a rate and a linger".into());
    };
    let (warm_up, counted) = match *rate {
        0 => (options.awaited / 5, options.awaited),
        rate => (rate * WARM_UP.as_secs(), rate * options.seconds),
    };
    let task = Task {
        bootstrap: options.bootstrap.as_deref().ok_or("--bootstrap is missing")?,
        topic: options.topic.as_deref().ok_or("--topic is missing")?,
        size: options.size.max(8),
        linger: *linger,
        rate: *rate,
        records: warm_up + counted,
        warm_up,
    };
    let figures = match (client, rate) {
        (Client::Kavka, 0) => kavka::await_each(&task),
        (Client::Librdkafka, 0) => librdkafka::await_each(&task),
        (Client::Kavka, _) => kavka::pace(&task),
        (Client::Librdkafka, _) => librdkafka::pace(&task),
    }?;
    println!("{figures}");
    Ok(())
}

/// Measures in a process of its own, on a topic of its own.
fn child(options: &Options, bootstrap: &str, client: Client, point: Point) -> Result<Figures> {
    let topic = format!("latency-{}-{client:?}-{}", std::process::id(), sample::unique());
    kavka::create(bootstrap, &topic, PARTITIONS)?;
    let client = client.to_possible_value().ok_or("no name")?.get_name().to_owned();
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["--bootstrap", bootstrap, "--topic", &topic, "--client", &client]);
    for (option, value) in [
        ("--rates", point.rate.to_string()),
        ("--lingers", point.linger.to_string()),
        ("--size", options.size.to_string()),
        ("--seconds", options.seconds.to_string()),
        ("--awaited", options.awaited.to_string()),
    ] {
        command.args([option, &value]);
    }
    let output = command.stderr(std::process::Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{client} {point:?}: {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    text.parse().map_err(|why| format!("{client} {point:?} printed {text:?}: {why}").into())
}

fn compare(options: &Options, bootstrap: &str) -> Result<bool> {
    let Options { size, seconds, rounds, .. } = options;
    println!(
        "records of {size} B, {PARTITIONS} partitions, acks=all, idempotent, {seconds} s each, \
         {rounds} rounds"
    );
    let points = Point::all(options);
    // A broker that has just started compiles its code first.
    let last = *points.first().ok_or("no points")?;
    for client in [Client::Kavka, Client::Librdkafka] {
        child(options, bootstrap, client, Point { rate: 20_000, ..last })?;
    }
    let mut report = Report::new();
    for round in 1..=*rounds {
        for point in &points {
            let mut order = [Client::Kavka, Client::Librdkafka];
            if round % 2 == 0 {
                order.reverse();
            }
            for client in order {
                report.add(round, client, *point, child(options, bootstrap, client, *point)?);
            }
        }
    }
    Ok(report.close(&points))
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    if let Some(client) = options.client {
        measure(&options, client)?;
        return Ok(ExitCode::SUCCESS);
    }
    let good = if let Some(bootstrap) = &options.bootstrap {
        compare(&options, bootstrap)?
    } else {
        let cluster =
            Cluster::start(Spec::new(Version::V4_4_0, 1)).map_err(|e| format!("{e:?}"))?;
        println!("started {}", cluster.spec());
        compare(&options, &cluster.bootstrap())?
    };
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
