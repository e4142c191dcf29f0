//! Runs clients of kavka against a simulated cluster that fails in every way a seed can choose.
//!
//! `cargo run --release --bin simulate -- --seeds 1..300`. `--help` lists the options.

mod options;
mod single;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use kavka_tests::sim::groups;
use kavka_tests::sim::swarm::{Outcome, Plan, run_to};

use options::{Kind, Options};

/// Sums of all runs.
#[derive(Default)]
struct Total {
    runs: u64,
    failed: Vec<u64>,
    client_seconds: f64,
    written: usize,
    read: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let mut history: Option<Box<dyn Write>> = match options.history.as_ref().map(File::create) {
        None => None,
        Some(Ok(file)) => Some(Box::new(BufWriter::new(file))),
        Some(Err(error)) => {
            eprintln!("{:?}: {error}", options.history.unwrap_or_default());
            return ExitCode::from(2);
        }
    };
    let started = Instant::now();
    let mut total = Total::default();
    for seed in options.seeds() {
        if options.seconds.is_some_and(|most| started.elapsed().as_secs() >= most) {
            break;
        }
        if let Some(kind) = options.kind() {
            total.other(kind, seed, &options);
            if total.failed.len() >= options.failures {
                break;
            }
            continue;
        }
        let mut plan = Plan::draw_with(seed, options.loads());
        plan.strict_fetch = options.strict_fetch;
        if !options.quiet {
            println!("{plan}");
        }
        total.runs += 1;
        match catch_unwind(AssertUnwindSafe(|| run_to(&plan, options.trace, history.take()))) {
            Ok(outcome) => total.take(&plan, &outcome, &options),
            Err(_) => total.fail(seed, &plan.to_string(), "", &["a panic, see above".to_owned()]),
        }
        if total.failed.len() >= options.failures {
            break;
        }
    }
    total.print(started.elapsed().as_secs_f64());
    if total.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

impl Total {
    fn take(&mut self, plan: &Plan, outcome: &Outcome, options: &Options) {
        self.client_seconds += outcome.virtual_time.as_secs_f64() * outcome.clients as f64;
        self.written += outcome.written;
        self.read += outcome.read;
        if !outcome.findings.is_empty() {
            self.fail(plan.seed, &plan.to_string(), "", &outcome.findings);
        } else if !options.quiet {
            let Outcome { hash, virtual_time, written, read, .. } = outcome;
            println!(
                "seed {}: good; {written} written, {read} read in {virtual_time:.1?}, \
                 trace {hash:016x}",
                plan.seed
            );
        }
    }

    /// Runs another simulator than the swarm.
    fn other(&mut self, kind: Kind, seed: u64, options: &Options) {
        match kind {
            Kind::Groups | Kind::Patterns => self.group(kind, seed, options),
            _ => self.check(kind, seed, options),
        }
    }

    /// Runs what panics when it finds something.
    fn check(&mut self, kind: Kind, seed: u64, options: &Options) {
        self.runs += 1;
        let option = format!("--kind {} ", kind.name());
        match catch_unwind(|| single::run(kind, seed)) {
            Err(_) => self.fail(seed, kind.name(), &option, &["a panic, see above".to_owned()]),
            Ok(outcome) if !outcome.findings.is_empty() => {
                self.fail(seed, kind.name(), &option, &outcome.findings);
            }
            Ok(outcome) => {
                self.written += outcome.written;
                self.read += outcome.written as u64;
                self.client_seconds += outcome.virtual_time.as_secs_f64();
                if !options.quiet {
                    println!("seed {seed}: good; {}", outcome.text);
                }
            }
        }
    }

    /// Runs a consumer group.
    fn group(&mut self, kind: Kind, seed: u64, options: &Options) {
        let (plan, option) = match kind {
            Kind::Patterns => (groups::Plan::draw_patterns(seed), "--kind patterns "),
            _ => (groups::Plan::draw(seed), "--kind groups "),
        };
        if !options.quiet {
            println!("{plan}");
        }
        self.runs += 1;
        let outcome = catch_unwind(AssertUnwindSafe(|| groups::run(&plan, options.trace)));
        let Ok(outcome) = outcome else {
            return self.fail(seed, &plan.to_string(), option, &["a panic".to_owned()]);
        };
        let groups::Outcome { findings, written, again, virtual_time, hash } = outcome;
        self.client_seconds += virtual_time.as_secs_f64();
        self.written += written;
        self.read += (written + again) as u64;
        if !findings.is_empty() {
            self.fail(seed, &plan.to_string(), option, &findings);
        } else if !options.quiet {
            println!(
                "seed {seed}: good; {written} read, {again} of them again, in {virtual_time:.1?}, \
                 trace {hash:016x}"
            );
        }
    }

    fn fail(&mut self, seed: u64, plan: &str, kind: &str, findings: &[String]) {
        self.failed.push(seed);
        println!("seed {seed}: FAILED");
        println!("  {plan}");
        for finding in findings.iter().take(10) {
            println!("  {finding}");
        }
        println!("  again: cargo run --release --bin simulate -- {kind}--seed {seed} --trace");
    }

    fn print(&self, seconds: f64) {
        println!(
            "{} runs, {} failed {:?}; {} records written, {} read; {:.0} virtual seconds of \
             clients in {seconds:.1} s: {:.0} runs and {:.0} such seconds a minute",
            self.runs,
            self.failed.len(),
            self.failed,
            self.written,
            self.read,
            self.client_seconds,
            self.runs as f64 / seconds * 60.0,
            self.client_seconds / seconds * 60.0,
        );
    }
}
