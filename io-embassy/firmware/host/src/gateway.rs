//! `gateway` and `soak`: nothing that was acknowledged to a sensor is lost, doubled or out of
//! order, whatever happens to brokers, link and topic.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::thread;
use std::time::Instant;

use clap::Args;
use fastrand::Rng;
use kavka_tests::kafka::{Cluster, Spec, Version};

use crate::board::{Board, HOST, Line, Setup};
use crate::faults::{self, Fault};
use crate::{Failure, check, check_stack, image, sensors, topic};

const TOPIC: &str = "readings";
/// The gateway's port.
const PORT: u16 = 7000;
/// Numbers the readings of a run in the ledger.
const RUN: u32 = 3;
/// Partitions at the start.
const PARTITIONS: u32 = 3;
/// Between two faults.
const CALM: Duration = Duration::from_secs(2);
/// After the last fault, everything has to be acknowledged within this time.
const SETTLED: Duration = Duration::from_secs(60);
/// As many partitions as a soak grows the topic to.
const MOST_PARTITIONS: u32 = 60;
/// What the watchdog allows, in milliseconds.
const PATIENCE: u32 = 4000;

#[derive(Args)]
pub(crate) struct Options {
    /// Runs, each with a new cluster and a new board.
    #[arg(long, default_value_t = 1)]
    runs: u32,
    /// Decides the order of the faults and whom they hit; by default another one each time.
    #[arg(long)]
    seed: Option<u64>,
    /// Readings a second, of all sensors.
    #[arg(long, default_value_t = 80)]
    rate: u32,
}

#[derive(Args)]
pub(crate) struct SoakOptions {
    /// How long.
    #[arg(long, default_value_t = 30)]
    minutes: u64,
    /// As for `gateway`.
    #[arg(long)]
    seed: Option<u64>,
    /// Readings a second, of all sensors.
    #[arg(long, default_value_t = 80)]
    rate: u32,
}

/// Every fault once, the growth twice.
pub(crate) fn run(version: Version, options: &Options) -> Result<(), Failure> {
    let mut failed = 0;
    for number in 1..=options.runs {
        let seed =
            options.seed.unwrap_or_else(|| fastrand::u64(..1_000_000)) + u64::from(number - 1);
        println!("run {number} of {}, --seed {seed}", options.runs);
        let mut random = Rng::with_seed(seed);
        let mut list = faults::each_once(&mut random).into_iter();
        if let Err(why) = one(version, options.rate, random, |_, _| list.next()) {
            println!("  run {number} FAILED: {why}");
            failed += 1;
        }
    }
    println!("{} of {} runs clean", options.runs - failed, options.runs);
    check(failed == 0, || format!("{failed} of {} runs failed", options.runs))
}

/// Faults as they come, for a given time.
pub(crate) fn soak(version: Version, options: &SoakOptions) -> Result<(), Failure> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    println!("{} minutes, --seed {seed}", options.minutes);
    let end = Instant::now() + Duration::from_secs(60 * options.minutes);
    one(version, options.rate, Rng::with_seed(seed), |random, partitions| {
        (Instant::now() < end).then(|| faults::any(random, partitions, MOST_PARTITIONS))
    })
}

/// A run with the faults that `next` gives; its argument is the number of partitions.
fn one(
    version: Version,
    rate: u32,
    mut random: Rng,
    mut next: impl FnMut(&mut Rng, u32) -> Option<Fault>,
) -> Result<(), Failure> {
    let spec = Spec { advertise: Some(HOST.to_owned()), ..Spec::new(version, 3) };
    let cluster = Cluster::start(spec)?;
    cluster.create(TOPIC, PARTITIONS)?;
    let setup = Setup::new("gateway")
        .argument("bootstrap", cluster.outside().unwrap_or_default())
        .argument("seed", random.u32(..))
        .udp(PORT);
    let mut board = Board::start(&setup)?;
    let port = board.udp();
    let over = AtomicBool::new(false);
    let (begun, mut partitions) = (Instant::now(), PARTITIONS);
    let (mut ledger, outcome) = thread::scope(|scope| {
        let sensors = scope.spawn(|| sensors::run(port, RUN, rate, &over, SETTLED));
        let faults = (|| {
            thread::sleep(CALM);
            while let Some(fault) = next(&mut random, partitions) {
                faults::happen(fault, &cluster, &mut board, (TOPIC, &mut partitions), &mut random)?;
                board.still_runs()?;
                thread::sleep(CALM);
            }
            Ok::<(), Failure>(())
        })();
        over.store(true, Ordering::Release);
        let sensed = sensors.join().map_err(|_| "the sensors panicked")?;
        faults.and_then(|()| board.still_runs())?;
        sensed
    })?;
    println!("  {outcome:?} in {:.0} s", begun.elapsed().as_secs_f32());
    sensors::end(port)?;
    let done = board.wait("gateway", Duration::from_secs(20), |_| Ok(()))?;
    let health = board.wait("health", Duration::from_secs(5), |_| Ok(()))?;
    report(&done, &health, image::static_ram(board.image())?)?;
    check_stack(&health)?;
    topic::read(&cluster, TOPIC, &mut ledger)?;
    let report = ledger.report();
    println!("  {report}");
    check(report.is_clean(), || "the topic differs from what was acknowledged".to_owned())?;
    check(report.read == report.acknowledged, || "records of nobody".to_owned())?;
    check(done.number("most")? <= done.number("bound")?, || "the backlog grew".to_owned())?;
    check(health.number("unfed")? < PATIENCE, || "the watchdog was hungry".to_owned())?;
    let growths = (partitions - PARTITIONS) / 3;
    check(done.number("growths")? == growths, || format!("{growths} growths, not all noticed"))
}

fn report(done: &Line, health: &Line, ram: u64) -> Result<(), Failure> {
    println!(
        "  backlog at most {} of {}, {} refused, {} failed, {} growths noticed, {} disconnects",
        done.number("most")?,
        done.number("bound")?,
        done.number("refused")?,
        done.number("failed")?,
        done.number("growths")?,
        done.number("ended")?
    );
    let (polls, ms) = (health.number("polls")?, health.number("ms")?);
    println!(
        "  RAM {ram} B, stack {} B, {polls} wake-ups in {ms} ms, watchdog fed every {} ms at worst",
        health.number("stack")?,
        health.number("unfed")?
    );
    Ok(())
}
