//! `freshness` and `large`: how soon a board notices that its topic has grown, and that it can
//! take a topic whose Metadata response is a hundred times its memory.

use core::time::Duration;
use std::net::UdpSocket;
use std::thread;
use std::time::Instant;

use clap::Args;
use kavka_tests::kafka::{Cluster, Spec, Version};
use kavka_tests::sim::{self, Server};

use crate::board::{Board, HOST, Setup};
use crate::{Failure, check};

/// Where the board listens for the word that its topic has grown.
const PORT: u16 = 7001;
/// The bars, in milliseconds: idle, and producing.
const LATEST: (u128, u128) = (1200, 300);
const TOPIC: &str = "grows";

#[derive(Args)]
pub(crate) struct Options {
    /// Growths, by one partition each.
    #[arg(long, default_value_t = 10)]
    growths: u32,
    /// Records a second that the board produces; 0 is idle.
    #[arg(long, value_delimiter = ',', default_value = "0,100")]
    rates: Vec<u32>,
    /// Brokers.
    #[arg(long, default_value_t = 1)]
    nodes: usize,
}

#[derive(Args)]
pub(crate) struct LargeOptions {
    /// Partitions of the topic.
    #[arg(long, default_value_t = 10_000)]
    partitions: u32,
    /// Of a real Kafka with one broker, not of three simulated ones. Takes minutes to create.
    #[arg(long)]
    real: bool,
}

/// Milliseconds from the response to CreatePartitions to the board's line.
pub(crate) fn freshness(version: Version, options: &Options) -> Result<(), Failure> {
    let spec = Spec { advertise: Some(HOST.to_owned()), ..Spec::new(version, options.nodes) };
    let cluster = Cluster::start(spec)?;
    let mut late = Vec::new();
    for rate in &options.rates {
        let topic = format!("{TOPIC}-{rate}");
        cluster.create(&topic, 3)?;
        let bar = if *rate > 0 { LATEST.1 } else { LATEST.0 };
        let mut delays = measure(&cluster, &topic, *rate, options.growths)?;
        delays.sort_unstable();
        let worst = delays.last().copied().unwrap_or_default();
        println!(
            "Kafka {version} x{}, {rate} records/s: median {} ms, worst {worst} ms (bar {bar} ms)",
            options.nodes,
            delays[delays.len() / 2]
        );
        if worst >= bar {
            late.push(format!("{worst} ms at {rate} records/s"));
        }
    }
    check(late.is_empty(), || late.join(", "))
}

fn measure(cluster: &Cluster, topic: &str, rate: u32, growths: u32) -> Result<Vec<u128>, Failure> {
    let setup = Setup::new("growth")
        .argument("bootstrap", cluster.outside().unwrap_or_default())
        .argument("topic", topic)
        .argument("rate", rate)
        .argument("seed", fastrand::u32(..))
        .udp(PORT);
    let board = Board::start(&setup)?;
    let host = UdpSocket::bind(("127.0.0.1", 0))?;
    board.wait("ready", Duration::from_secs(60), |_| Ok(()))?;
    let mut delays = Vec::new();
    for turn in 1..=growths {
        // Growths must not keep step with probes: between 0.5 and 1.7 s from one to the next.
        thread::sleep(Duration::from_millis(500 + u64::from(turn * 761 % 1200)));
        cluster.grow(topic, 3 + turn)?;
        let responded = Instant::now();
        host.send_to(b"grown", ("127.0.0.1", board.udp()))?;
        let line = board.wait("grown", Duration::from_secs(60), |_| Ok(()))?;
        let late = line.at.saturating_duration_since(responded).as_millis();
        println!("  {late} ms; by the board's clock {} ms: {line:?}", line.number("ms")?);
        delays.push(late);
    }
    Ok(delays)
}

/// A topic with many partitions becomes ready, and its growth is noticed.
pub(crate) fn large(version: Version, options: &LargeOptions) -> Result<(), Failure> {
    if options.real {
        let heap = 2048;
        let spec = Spec { heap, advertise: Some(HOST.to_owned()), ..Spec::new(version, 1) };
        let cluster = Cluster::start(spec)?;
        create_large(&cluster, options.partitions)?;
        let bootstrap = cluster.outside().unwrap_or_default();
        return take_large(&bootstrap, options.partitions, |count| grow_large(&cluster, count));
    }
    let server = Server::start(sim::Options::default())?;
    server.create_topic(TOPIC, options.partitions).map_err(|code| format!("error {code}"))?;
    let mut bootstrap = Vec::new();
    for broker in 1..=3 {
        let address = server.address(broker).ok_or("no such broker")?;
        server.with(|cluster| cluster.set_endpoint(broker, HOST, address.port()));
        bootstrap.push(format!("{HOST}:{}", address.port()));
    }
    take_large(&bootstrap.join(","), options.partitions, |count| {
        server.grow(TOPIC, count).map_err(|code| format!("error {code}").into())
    })
}

/// Step by step: the response to CreateTopics arrives long before all partitions are there.
fn create_large(cluster: &Cluster, partitions: u32) -> Result<(), Failure> {
    let begun = Instant::now();
    cluster.create(TOPIC, 1000.min(partitions))?;
    grow_large(cluster, partitions)?;
    println!("{partitions} partitions created in {:.0} s", begun.elapsed().as_secs_f32());
    Ok(())
}

/// Grows the topic, and waits until its broker shows that: among thousands of partitions that can
/// take it long.
fn grow_large(cluster: &Cluster, partitions: u32) -> Result<(), Failure> {
    cluster.grow_at_last(TOPIC, partitions)?;
    let responded = Instant::now();
    loop {
        match cluster.await_count(TOPIC, partitions) {
            Ok(()) => break,
            Err(_) if responded.elapsed() < Duration::from_secs(600) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let seconds = responded.elapsed().as_secs_f32();
    println!("the broker shows {partitions} partitions {seconds:.1} s after its response");
    Ok(())
}

fn take_large(
    bootstrap: &str,
    partitions: u32,
    grow: impl Fn(u32) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let setup = Setup::new("growth")
        .argument("bootstrap", bootstrap)
        .argument("topic", TOPIC)
        .argument("rate", 20)
        .argument("seed", fastrand::u32(..))
        .udp(PORT);
    let board = Board::start(&setup)?;
    let ready = board.wait("ready", Duration::from_secs(60), |_| Ok(()))?;
    let known = ready.number("partitions")?;
    check(known == partitions, || format!("{known} partitions known, not {partitions}"))?;
    println!("{known} partitions known {} ms after the start", ready.number("ms")?);
    grow(partitions + 1)?;
    let shown = Instant::now();
    let line = board.wait("grown", Duration::from_secs(60), |_| Ok(()))?;
    let late = line.at.saturating_duration_since(shown).as_millis();
    println!("one more noticed after {late} ms, {} records delivered", line.number("delivered")?);
    check(line.number("to")? == partitions + 1, || format!("{line:?}"))
}
