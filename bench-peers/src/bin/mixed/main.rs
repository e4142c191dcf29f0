//! Groups of kavka's members with those of other clients, on real brokers: who takes part, who
//! leads and who comes first are cells; in each the topic grows under traffic, and kavka is killed
//! and comes back. Prints a table: nothing may be lost, and every partition is some member's.

mod cell;
mod member;
mod peers;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use kavka_tests::kafka::{Cluster, Spec, StartError, Version};

use cell::{Cell, Row};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Groups of kavka and other clients.
#[derive(Clone, Debug, Parser)]
struct Options {
    /// Only these clients.
    #[arg(long, value_enum, value_delimiter = ',')]
    peers: Vec<Peer>,
    /// Only these protocols.
    #[arg(long, value_enum, value_delimiter = ',')]
    protocols: Vec<Protocol>,
    /// Only cells in which kavka is the first, or the last member.
    #[arg(long, value_enum)]
    order: Option<Order>,
    /// Release of the broker.
    #[arg(long, default_value = "4.4.0")]
    broker: String,
    /// How long growth may take, in seconds: leaders that look every five minutes need more.
    #[arg(long, default_value_t = 400)]
    patience: u64,
    /// How long a group has to be at rest, in seconds.
    #[arg(long, default_value_t = 10)]
    rest: u64,
    /// One growth, and nobody is killed.
    #[arg(long)]
    brief: bool,
    /// A cell each for these, as `PEER:PROTOCOL:ORDER`, in place of all that the filters allow.
    #[arg(long, value_delimiter = ',')]
    cells: Vec<String>,
    /// Runs one member: bootstrap, group, topic.
    #[arg(long, hide = true, num_args = 3)]
    member: Option<Vec<String>>,
}

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Peer {
    #[value(hide = true)]
    Kavka,
    Librdkafka,
    Franz,
    Sarama,
    Java,
}

/// How the members agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Protocol {
    /// The classic protocol, and the other client has `range` alone.
    Range,
    /// The other client has `cooperative-sticky` alone.
    Cooperative,
    /// KIP-848.
    Consumer,
    /// kavka's members by KIP-848, the others by `range`: the coordinator hosts these.
    Hosted,
}

/// Who is the first member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    First,
    Last,
}

fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

fn cells(options: &Options) -> Result<Vec<Cell>> {
    let part = |text: &str| -> Result<Cell> {
        let parts: Vec<&str> = text.split(':').collect();
        let [peer, protocol, order] = parts[..] else { return Err(format!("{text}?").into()) };
        Ok(Cell {
            peer: Peer::from_str(peer, true)?,
            protocol: Protocol::from_str(protocol, true)?,
            order: Order::from_str(order, true)?,
        })
    };
    if !options.cells.is_empty() {
        return options.cells.iter().map(|text| part(text)).collect();
    }
    let mut all = Vec::new();
    for peer in [Peer::Librdkafka, Peer::Sarama, Peer::Franz, Peer::Java] {
        for protocol in Protocol::value_variants() {
            for order in [Order::First, Order::Last] {
                all.push(Cell { peer, protocol: *protocol, order });
            }
        }
    }
    all.retain(|cell| {
        (options.peers.is_empty() || options.peers.contains(&cell.peer))
            && (options.protocols.is_empty() || options.protocols.contains(&cell.protocol))
            && options.order.is_none_or(|order| order == cell.order)
            && cell.peer.has(cell.protocol)
    });
    Ok(all)
}

fn run(options: &Options) -> Result<bool> {
    let version = Version::ALL.into_iter().find(|version| version.as_str() == options.broker);
    let version = version.ok_or("no such release")?;
    // As short as brokers allow: a member that was killed is missed for so long.
    let spec = Spec::new(version, 1)
        .set("group.consumer.min.session.timeout.ms", 6000)
        .set("group.consumer.session.timeout.ms", 6000)
        .set("group.consumer.min.heartbeat.interval.ms", 2000)
        .set("group.consumer.heartbeat.interval.ms", 2000);
    let cluster = match Cluster::start(spec) {
        Ok(cluster) => cluster,
        Err(StartError::Skipped(why)) => {
            println!("SKIPPED: {why}");
            return Ok(std::env::var_os("KAVKA_REQUIRE_JAVA").is_none_or(|value| value != "1"));
        }
        Err(error) => return Err(error.into()),
    };
    println!("{}", Row::HEAD);
    let mut sound = true;
    for (n, cell) in cells(options)?.into_iter().enumerate() {
        if !peers::is_here(cell.peer) {
            println!("SKIPPED: {}: its tools are missing", name(cell.peer));
            sound &= std::env::var_os("KAVKA_REQUIRE_PEERS").is_none_or(|value| value != "1");
            continue;
        }
        let row = cell.run(&cluster, options, n);
        println!("{row}");
        sound &= row.is_sound();
    }
    Ok(sound)
}

fn main() -> ExitCode {
    let options = Options::parse();
    let done = match (&options.member, &options.peers[..], &options.protocols[..]) {
        (Some(at), [peer], [protocol]) => {
            member::run(*peer, *protocol, [&at[0], &at[1], &at[2]]).map(|()| true)
        }
        _ => run(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn patience(&self) -> Duration {
        Duration::from_secs(self.patience)
    }
}
