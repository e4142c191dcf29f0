//! Starts a real Kafka cluster from the command line: `kafka-cluster up --version 4.4.0 --nodes 3`.

use std::fs;
use std::io::{self, BufRead as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::{Parser, Subcommand};
use kavka_tests::kafka::{Cluster, Secure, Spec, Version, jars};
use kavka_tests::pki::Authority;

/// Real Apache Kafka clusters on loopback.
#[derive(Parser)]
struct Options {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Fetches the jars of all versions, or of one.
    Fetch {
        /// Such as 4.4.0.
        version: Option<Version>,
    },
    /// Starts a cluster, prints its bootstrap addresses, and stops it when standard input ends.
    Up {
        /// 4.4.0, 3.9.2, 3.2.3, 2.8.2 or 2.4.1.
        #[arg(long, default_value = "4.4.0")]
        version: Version,
        /// Brokers, 1 to 3.
        #[arg(long, default_value_t = 1)]
        nodes: usize,
        /// Heap limit per broker in MiB.
        #[arg(long, default_value_t = 512)]
        heap: u32,
        /// A second listener with this name, for clients that do not know this machine as
        /// 127.0.0.1: 10.0.2.2 for a board that QEMU emulates.
        #[arg(long)]
        advertise: Option<String>,
        /// Listeners that want logins, too; certificates for clients go to this folder: ca.pem,
        /// client.pem and client.key.
        #[arg(long, value_name = "DIR")]
        secure: Option<PathBuf>,
        /// Broker properties, each as key=value.
        #[arg(long)]
        set: Vec<String>,
    },
}

const HELP: &str = "Orders, one a line: kill N, pause N, resume N, terminate N, restart N, \
                    create TOPIC PARTITIONS, grow TOPIC PARTITIONS, delete TOPIC";

fn main() -> Result<(), Box<dyn core::error::Error>> {
    match Options::parse().command {
        Task::Fetch { version } => {
            for version in version.map_or(Version::ALL.to_vec(), |one| vec![one]) {
                println!("{}", jars::fetch(version)?.display());
            }
        }
        Task::Up { version, nodes, heap, advertise, secure, set } => {
            let mut spec = Spec { heap, advertise, ..Spec::new(version, nodes) };
            for pair in set {
                let (key, value) = pair.split_once('=').ok_or("--set takes key=value")?;
                spec = spec.set(key, value);
            }
            if let Some(folder) = &secure {
                spec = spec.secure(certify(folder)?);
            }
            let begun = Instant::now();
            let cluster = Cluster::start(spec)?;
            eprintln!("{} after {:.1?}. {HELP}", cluster.spec(), begun.elapsed());
            println!("{}", cluster.bootstrap());
            if let Some(outside) = cluster.outside() {
                println!("{outside}");
            }
            if secure.is_some() {
                println!("SASL_PLAINTEXT {}", cluster.sasl());
                println!("SASL_SSL {}", cluster.sasl_over_tls());
                println!("SSL {}", cluster.mutual());
            }
            io::stdout().flush()?;
            for line in io::stdin().lock().lines() {
                match obey(&cluster, &line?) {
                    Ok(()) => eprintln!("done"),
                    Err(error) => eprintln!("{error}"),
                }
            }
        }
    }
    Ok(())
}

/// Creates an authority, and writes what clients need.
fn certify(folder: &Path) -> io::Result<Secure> {
    let authority = Arc::new(Authority::new());
    let client = authority.client("client");
    fs::create_dir_all(folder)?;
    fs::write(folder.join("ca.pem"), authority.pem())?;
    fs::write(folder.join("client.pem"), &client.certificate)?;
    fs::write(folder.join("client.key"), &client.key)?;
    Ok(Secure::over_tls(authority))
}

fn obey(cluster: &Cluster, line: &str) -> Result<(), Box<dyn core::error::Error>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let node = |text: &str| -> Result<usize, Box<dyn core::error::Error>> {
        let node = text.parse()?;
        if (1..=cluster.nodes()).contains(&node) { Ok(node) } else { Err("no such node".into()) }
    };
    match words[..] {
        ["kill", n] => cluster.kill(node(n)?)?,
        ["pause", n] => cluster.pause(node(n)?)?,
        ["resume", n] => cluster.resume(node(n)?)?,
        ["terminate", n] => cluster.terminate(node(n)?)?,
        ["restart", n] => cluster.restart(node(n)?)?,
        ["create", topic, count] => cluster.create(topic, count.parse()?)?,
        ["grow", topic, count] => cluster.grow(topic, count.parse()?)?,
        ["delete", topic] => cluster.delete(topic)?,
        [] => {}
        _ => return Err(HELP.into()),
    }
    Ok(())
}
