//! `telemetry`: every acknowledged sample is in the topic once and in order, and the backlog
//! drops no more than it must.

use core::time::Duration;
use std::thread;

use clap::Args;
use kavka_tests::kafka::ledger::{Entry, Ledger};
use kavka_tests::kafka::{Cluster, Spec, Version};

use crate::board::{Board, HOST, Setup};
use crate::{Failure, check, check_stack, names, topic};

const TOPIC: &str = "telemetry";
/// Numbers the samples of a run in the ledger.
const RUN: u32 = 1;

#[derive(Args)]
pub(crate) struct Options {
    /// Samples to take, 100 a second.
    #[arg(long, default_value_t = 2000)]
    samples: u32,
    /// How long the broker is stopped in the middle, in milliseconds; 0 for not at all.
    #[arg(long, default_value_t = 8000)]
    pause: u64,
    /// The brokers have a name, which the board looks up at a name server of this run. That one
    /// needs port 53, so mostly the rights of root.
    #[arg(long)]
    names: bool,
}

pub(crate) fn run(version: Version, options: &Options) -> Result<(), Failure> {
    let host = if options.names { names::serve()? } else { HOST };
    let spec = Spec { advertise: Some(host.to_owned()), ..Spec::new(version, 1) };
    let cluster = Cluster::start(spec)?;
    cluster.create(TOPIC, 1)?;
    let setup = Setup::new("telemetry")
        .argument("bootstrap", cluster.outside().unwrap_or_default())
        // With a fixed address the host is the name server, too.
        .argument("address", if options.names { "fixed" } else { "dhcp" })
        .argument("samples", options.samples)
        .argument("run", RUN)
        .argument("seed", fastrand::u32(..));
    let board = Board::start(&setup)?;
    let mut ledger = Ledger::default();
    let done = thread::scope(|scope| {
        scope.spawn(|| stand_still(&cluster, options));
        let limit = Duration::from_secs(60 + u64::from(options.samples) / 100);
        board.wait("telemetry", limit, |line| {
            if line.word == "delivered" {
                let turn = line.number("sample")?;
                ledger.acknowledge(Entry { run: RUN, key: 0, turn }, None);
            }
            Ok(())
        })
    })?;
    let count = |name: &str| done.number(name);
    let (taken, delivered, dropped) = (count("taken")?, count("delivered")?, count("dropped")?);
    println!(
        "{taken} samples: {delivered} delivered in {} batches, {dropped} dropped (oldest first); \
         backlog at most {} of {}; stack {} B",
        count("batches")?,
        count("most")?,
        count("bound")?,
        count("stack")?
    );
    check_stack(&done)?;
    topic::read(&cluster, TOPIC, &mut ledger)?;
    let report = ledger.report();
    println!("{report}");
    check(report.is_clean(), || "the topic differs from what was acknowledged".to_owned())?;
    check(report.acknowledged == u64::from(delivered), || "acknowledgements are missing".into())?;
    check(taken == options.samples && delivered + dropped == taken, || "samples vanished".into())?;
    check(options.pause < 8000 || dropped > 0, || "the pause made nothing drop".to_owned())?;
    check(options.pause > 0 || dropped == 0, || "dropped without a reason".to_owned())
}

fn stand_still(cluster: &Cluster, options: &Options) {
    if options.pause > 0 {
        thread::sleep(Duration::from_secs(5)); // the board is in the middle of its work
        let paused = cluster.pause(1);
        thread::sleep(Duration::from_millis(options.pause));
        if let Err(error) = paused.and_then(|()| cluster.resume(1)) {
            println!("the broker cannot be paused: {error}");
        }
    }
}
