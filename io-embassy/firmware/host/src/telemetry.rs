//! `telemetry`: every acknowledged sample is in the topic once and in order, and the backlog
//! drops no more than it must. With `--lz4` the same again by an image that compresses, and what
//! that costs and saves. With `--tls` the same over TLS: `secured`.

use core::time::Duration;
use std::thread;

use clap::Args;
use kavka_tests::kafka::ledger::{Entry, Ledger};
use kavka_tests::kafka::{Cluster, Spec, Version};

use crate::board::{self, Board, HOST, Setup};
use crate::secured::{self, Sasl, Secured};
use crate::{
    Failure, STACK, TLS_STACK, check, check_stack_within, image, instructions, names, topic,
};

pub(crate) const TOPIC: &str = "telemetry";
/// Numbers the samples of a run in the ledger.
const RUN: u32 = 1;

#[derive(Clone, Copy, Args)]
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
    /// Compares two images, without and with LZ4: bytes on the wire, flash, RAM, instructions.
    /// Batches are as large as the board's memory allows.
    #[arg(long)]
    lz4: bool,
    /// Over TLS, beside plain: what it costs, and which certificates are refused.
    #[arg(long, requires = "sasl", conflicts_with = "lz4")]
    tls: bool,
    /// How the board logs in.
    #[arg(long, requires = "tls")]
    sasl: Option<Sasl>,
    /// How often; with new seeds each time.
    #[arg(long, default_value_t = 1)]
    pub(crate) runs: u32,
}

impl Options {
    /// The same without a fault.
    pub(crate) fn quiet(self, samples: u32) -> Self {
        Self { pause: 0, samples, ..self }
    }

    /// Milliseconds that samples wait for a batch to be full: with `--lz4` for 4 KiB of them.
    fn linger(&self) -> u32 {
        if self.lz4 { 1000 } else { 200 }
    }
}

/// What one run of an image cost.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cost {
    samples: u64,
    /// Bytes of Ethernet frames that the board sent.
    sent: u64,
    /// Bytes of stack that were used.
    pub(crate) stack: u32,
    /// Instructions up to the first response, of the longest poll, and all; where counted.
    pub(crate) begun: f64,
    pub(crate) longest: f64,
    all: f64,
}

impl Cost {
    /// Takes the line of a metered image: microseconds of 64 ns an instruction.
    fn note_work(&mut self, line: &board::Line) -> Result<(), Failure> {
        let instructions = |name: &str| line.number(name).map(|micros| f64::from(micros) / 0.064);
        (self.begun, self.all) = (instructions("begun")?, instructions("all")?);
        self.longest = instructions("longest")?;
        Ok(())
    }

    pub(crate) fn work_per_sample(self) -> f64 {
        (self.all - self.begun) / self.samples.max(1) as f64
    }

    pub(crate) fn per_sample(self) -> f64 {
        self.sent as f64 / self.samples.max(1) as f64
    }
}

pub(crate) fn run(version: Version, options: &Options) -> Result<(), Failure> {
    if let Some(sasl) = options.sasl {
        return secured::run(version, options, sasl);
    }
    let images: &[&str] =
        if options.lz4 { &["telemetry-plain", "telemetry-lz4"] } else { &["telemetry"] };
    let mut costs = [Cost::default(); 2];
    for run in 1..=options.runs {
        for (image, cost) in images.iter().zip(&mut costs) {
            if options.lz4 || options.runs > 1 {
                println!("{image}, run {run} of {}", options.runs);
            }
            let one = once(version, options, image, None, false)?;
            cost.samples += one.samples;
            cost.sent += one.sent;
        }
    }
    let [plain, packed] = costs;
    if !options.lz4 {
        return Ok(());
    }
    compare(images)?;
    let share = packed.per_sample() / plain.per_sample();
    println!(
        "bytes on the wire per sample: {:.1} plain, {:.1} with LZ4: {:.0} %",
        plain.per_sample(),
        packed.per_sample(),
        100.0 * share
    );
    check(share <= 0.5, || "LZ4 saves less than half of the bytes on the wire".to_owned())
}

/// Prints what the second of two images takes beyond the first.
fn compare(images: &[&str]) -> Result<(), Failure> {
    let sizes: Vec<(u64, u64)> =
        images.iter().map(|image| image::sizes(&board::image(image))).collect::<Result<_, _>>()?;
    if let [(flash, ram), (packing, with_scratch)] = sizes[..] {
        println!(
            "LZ4 takes {} bytes of flash and {} of RAM, the scratch memory included",
            packing.saturating_sub(flash),
            with_scratch.saturating_sub(ram)
        );
    }
    instructions::samples()
}

/// A broker with the topic.
fn start(
    version: Version,
    options: &Options,
    secured: Option<&Secured>,
) -> Result<Cluster, Failure> {
    let host = if options.names { names::serve()? } else { HOST };
    let spec = Spec { advertise: Some(host.to_owned()), ..Spec::new(version, 1) };
    let spec = match secured {
        Some(secured) => secured.spec(spec),
        None => spec,
    };
    let cluster = Cluster::start(spec)?;
    cluster.create(TOPIC, 1)?;
    Ok(cluster)
}

/// One run of an image. With `metered` the emulator counts instructions.
pub(crate) fn once(
    version: Version,
    options: &Options,
    image: &str,
    secured: Option<&Secured>,
    metered: bool,
) -> Result<Cost, Failure> {
    let cluster = start(version, options, secured)?;
    let setup = Setup::new(image)
        .metered(metered)
        // With a fixed address the host is the name server, too.
        .argument("address", if options.names { "fixed" } else { "dhcp" })
        .argument("samples", options.samples)
        .argument("run", RUN)
        .argument("linger", options.linger())
        .argument("seed", fastrand::u32(..));
    let setup = match secured {
        Some(secured) => secured.setup(setup, &cluster)?,
        None => setup.argument("bootstrap", cluster.outside().unwrap_or_default()),
    };
    let board = Board::start(&setup)?;
    let mut ledger = Ledger::default();
    let mut cost = Cost::default();
    let done = thread::scope(|scope| {
        scope.spawn(|| stand_still(&cluster, options));
        let limit = Duration::from_secs(60 + u64::from(options.samples) / 100);
        board.wait("telemetry", limit, |line| {
            if line.word == "delivered" {
                let turn = line.number("sample")?;
                ledger.acknowledge(Entry { run: RUN, key: 0, turn }, None);
            }
            if line.word == "work" {
                cost.note_work(line)?;
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
    check_stack_within(&done, if secured.is_some() { TLS_STACK } else { STACK })?;
    topic::read(&cluster, TOPIC, &mut ledger)?;
    let report = ledger.report();
    println!("{report}");
    check(report.is_clean(), || "the topic differs from what was acknowledged".to_owned())?;
    check(report.acknowledged == u64::from(delivered), || "acknowledgements are missing".into())?;
    check(taken == options.samples && delivered + dropped == taken, || "samples vanished".into())?;
    check(options.pause < 8000 || dropped > 0, || "the pause made nothing drop".to_owned())?;
    // A metered board is slow: samples that it takes during a handshake may be too many.
    let lossless = options.pause == 0 && !metered;
    check(!lossless || dropped == 0, || "dropped without a reason".to_owned())?;
    Ok(Cost {
        samples: delivered.into(),
        sent: count("sent")?.into(),
        stack: count("stack")?,
        ..cost
    })
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
