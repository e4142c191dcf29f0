//! Runs the firmware examples in QEMU against real brokers, and checks the results.

mod board;
mod faults;
mod gateway;
mod growth;
mod image;
mod instructions;
mod logs;
mod names;
mod network;
mod secured;
mod sensors;
mod telemetry;
mod topic;
mod valves;
mod vectors;

use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use clap::{Parser, Subcommand};
use kavka_tests::kafka::{self, Version};

/// What went wrong, in words.
type Failure = Box<dyn core::error::Error + Send + Sync>;

/// Runs a firmware example in QEMU against real brokers.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    example: Example,
    /// Of the brokers.
    #[arg(long, global = true, default_value = "4.4.0")]
    kafka: Version,
}

#[derive(Subcommand)]
enum Example {
    /// The network stack alone, with DHCP, and the watchdog: no Kafka.
    Network,
    /// Samples in, batches out; a broker that is stopped makes the backlog drop its oldest.
    Telemetry(telemetry::Options),
    /// Commands in, replies out, from inside the event.
    Valves(valves::Options),
    /// Readings of sensors by way of the board to three brokers, under faults.
    Gateway(gateway::Options),
    /// The gateway under random faults for long.
    Soak(gateway::SoakOptions),
    /// How soon growth is noticed.
    Freshness(growth::Options),
    /// A topic of 10,000 partitions into a buffer of 4 KiB.
    Large(growth::LargeOptions),
    /// What a record costs the emulated core.
    Instructions,
    /// Golden bytes through the codec on the board and here.
    Vectors,
}

fn main() -> ExitCode {
    let Options { example, kafka } = Options::parse();
    if let Some(why) =
        missing(!matches!(example, Example::Network | Example::Vectors | Example::Instructions))
    {
        println!("SKIPPED: {why}: the firmware example did not run");
        let required = std::env::var_os("KAVKA_REQUIRE_JAVA").is_some_and(|value| value == "1");
        return if required { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let begun = Instant::now();
    let done = match example {
        Example::Network => network::run(),
        Example::Telemetry(options) => telemetry::run(kafka, &options),
        Example::Gateway(options) => gateway::run(kafka, &options),
        Example::Valves(options) => valves::run(kafka, &options),
        Example::Soak(options) => gateway::soak(kafka, &options),
        Example::Freshness(options) => growth::freshness(kafka, &options),
        Example::Large(options) => growth::large(kafka, &options),
        Example::Instructions => instructions::run(),
        Example::Vectors => vectors::run(),
    };
    let seconds = begun.elapsed().as_secs();
    match done {
        Ok(()) => println!("PASSED after {seconds} s"),
        Err(why) => {
            println!("FAILED after {seconds} s: {why}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// What this machine lacks for a run.
fn missing(brokers: bool) -> Option<String> {
    let mut qemu = Command::new("qemu-system-arm");
    qemu.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    if !qemu.status().is_ok_and(|status| status.success()) {
        return Some("no qemu-system-arm".to_owned());
    }
    if brokers { kafka::java_missing() } else { None }
}

/// The same with TLS: signatures are checked there.
const TLS_STACK: u32 = 16 * 1024;
/// Most stack that an image may ever use, in bytes; the network stack alone uses 3.8 KiB.
const STACK: u32 = 6 * 1024;

/// Fails when the board's line says that it used more than [`STACK`].
fn check_stack(line: &board::Line) -> Result<(), Failure> {
    check_stack_within(line, STACK)
}

fn check_stack_within(line: &board::Line, most: u32) -> Result<(), Failure> {
    let used = line.number("stack")?;
    check(used <= most, || format!("{used} bytes of stack, {most} are allowed"))
}

/// Fails with `what` unless `holds`.
fn check(holds: bool, what: impl FnOnce() -> String) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(what().into()) }
}
