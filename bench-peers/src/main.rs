//! kavka beside librdkafka on one real broker, in one run: the same records to a topic of six
//! partitions with acks=all and idempotence, then all of them back. Each measurement is a process
//! of its own, in turn A B A B, so that its CPU time is that of one client alone.

mod kavka;
mod librdkafka;
mod report;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};
use kavka_tests::kafka::{Cluster, Spec, Version};
use rustix::time::{ClockId, clock_gettime};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Partitions of the topic.
const PARTITIONS: u32 = 6;

/// Throughput and client CPU of kavka beside librdkafka.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// Brokers; without it one of Kafka 4.4.0 is started (Java, and Maven the first time).
    #[arg(long)]
    bootstrap: Option<String>,
    /// Records of each measurement.
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// Bytes of each record's value.
    #[arg(long, default_value_t = 100)]
    size: usize,
    /// How often each client is measured.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// How long a batch of either client waits for more.
    #[arg(long, default_value_t = 5)]
    linger_ms: u64,
    /// Largest batch of either client.
    #[arg(long, default_value_t = 64 * 1024)]
    batch_bytes: usize,
    /// Over TLS, with a login (PLAIN).
    #[cfg(feature = "tls")]
    #[arg(long, conflicts_with = "bootstrap")]
    tls: bool,
    /// The authority that brokers of `bootstrap` are signed by.
    #[arg(long, hide = true)]
    ca: Option<PathBuf>,
    #[arg(long, hide = true, requires = "role")]
    client: Option<Client>,
    #[arg(long, hide = true, requires = "topic")]
    role: Option<Role>,
    #[arg(long, hide = true)]
    topic: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Client {
    Kavka,
    Librdkafka,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Role {
    Produce,
    Consume,
}

impl Client {
    const ALL: [Self; 2] = [Self::Kavka, Self::Librdkafka];
}

/// What a child process has to do.
struct Task<'a> {
    bootstrap: &'a str,
    topic: &'a str,
    records: u64,
    size: usize,
    linger: Duration,
    batch_bytes: usize,
    /// Over TLS, trusting this authority.
    ca: Option<&'a Path>,
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
struct Figures {
    seconds: f64,
    cpu_seconds: f64,
}

/// CPU time of this process, all threads, user and system.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

/// Runs one client in this process and prints its figures for the parent.
fn measure(options: &Options, client: Client, role: Role) -> Result<()> {
    let task = Task {
        bootstrap: options.bootstrap.as_deref().ok_or("--bootstrap is missing")?,
        topic: options.topic.as_deref().ok_or("--topic is missing")?,
        records: options.records,
        size: options.size,
        linger: Duration::from_millis(options.linger_ms),
        batch_bytes: options.batch_bytes,
        ca: options.ca.as_deref(),
    };
    let (began, cpu_before) = (Instant::now(), cpu_time());
    match (client, role) {
        (Client::Kavka, Role::Produce) => kavka::produce(&task),
        (Client::Kavka, Role::Consume) => kavka::consume(&task),
        (Client::Librdkafka, Role::Produce) => librdkafka::produce(&task),
        (Client::Librdkafka, Role::Consume) => librdkafka::consume(&task),
    }?;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_time().saturating_sub(cpu_before));
    println!("{seconds} {}", cpu.as_secs_f64());
    Ok(())
}

/// Runs one client in a process of its own.
fn child(
    options: &Options,
    (bootstrap, ca): (&str, Option<&Path>),
    topic: &str,
    client: Client,
    role: Role,
) -> Result<Figures> {
    let name = |value: clap::builder::PossibleValue| value.get_name().to_owned();
    let client = client.to_possible_value().map(name).ok_or("no name")?;
    let role = role.to_possible_value().map(name).ok_or("no name")?;
    let mut command = Command::new(std::env::current_exe()?);
    command.args([
        "--bootstrap",
        bootstrap,
        "--topic",
        topic,
        "--client",
        &client,
        "--role",
        &role,
    ]);
    for (option, value) in [
        ("--records", options.records),
        ("--size", options.size as u64),
        ("--linger-ms", options.linger_ms),
        ("--batch-bytes", options.batch_bytes as u64),
    ] {
        command.args([option, &value.to_string()]);
    }
    if let Some(ca) = ca {
        command.arg("--ca").arg(ca);
    }
    let output = command.stderr(std::process::Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(format!("{client} {role}: {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let mut words = text.split_whitespace().map(str::parse);
    let (Some(seconds), Some(cpu_seconds)) = (words.next(), words.next()) else {
        return Err(format!("{client} {role} printed {text:?}").into());
    };
    Ok(Figures { seconds: seconds?, cpu_seconds: cpu_seconds? })
}

fn compare(options: &Options, bootstrap: &str, ca: Option<&Path>) -> Result<()> {
    let Options { records, size, rounds, linger_ms, batch_bytes, .. } = options;
    println!(
        "{records} records of {size} B, {PARTITIONS} partitions, acks=all, idempotent, linger \
         {linger_ms} ms, batches of {batch_bytes} B, {rounds} rounds"
    );
    let mut report = report::Report::new(*records);
    for round in 1..=*rounds {
        for client in Client::ALL {
            let topic = format!("bench-{}-{round}-{client:?}", std::process::id());
            kavka::create((bootstrap, ca), &topic, PARTITIONS)?;
            for role in [Role::Produce, Role::Consume] {
                let figures = child(options, (bootstrap, ca), &topic, client, role)?;
                report.add(round, client, role, figures);
            }
        }
    }
    report.summary();
    Ok(())
}

fn main() -> Result<()> {
    let options = Options::parse();
    if let (Some(client), Some(role)) = (options.client, options.role) {
        return measure(&options, client, role);
    }
    if let Some(bootstrap) = &options.bootstrap {
        return compare(&options, bootstrap, options.ca.as_deref());
    }
    let spec = Spec::new(Version::V4_4_0, 1);
    #[cfg(feature = "tls")]
    if options.tls {
        return secure(&options, spec);
    }
    let cluster = Cluster::start(spec)?;
    println!("started {}", cluster.spec());
    compare(&options, &cluster.bootstrap(), None)
}

/// Compares over TLS.
#[cfg(feature = "tls")]
fn secure(options: &Options, spec: Spec) -> Result<()> {
    use kavka_tests::{kafka::Secure, pki::Authority};

    let authority = std::sync::Arc::new(Authority::new());
    let ca = std::env::temp_dir().join(format!("bench-{}.pem", std::process::id()));
    std::fs::write(&ca, authority.pem())?;
    let cluster = Cluster::start(spec.secure(Secure::over_tls(authority)))?;
    println!("started {}, over TLS", cluster.spec());
    let compared = compare(options, &cluster.sasl_over_tls(), Some(&ca));
    std::fs::remove_file(&ca)?;
    compared
}
