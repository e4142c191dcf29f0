//! A member as a process of its own: prints partition and offset of each record, and what else
//! happens behind a `#`. It leaves when its stdin ends.

use std::io::{Read as _, Write as _, stdin, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use kavka_std::{Config, Event, GroupProtocol, Start};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::message::Message as _;

use crate::{Peer, Protocol, Result};

const LOOK: Duration = Duration::from_millis(50);
/// Shorter than the default: one of these members is killed.
const SESSION: Duration = Duration::from_secs(6);

pub(crate) fn run(peer: Peer, protocol: Protocol, at: [&str; 3]) -> Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    let told = stop.clone();
    thread::spawn(move || {
        let _ = stdin().read(&mut [0]);
        told.store(true, Ordering::Release);
    });
    let runs = || !stop.load(Ordering::Acquire);
    match peer {
        Peer::Kavka => kavka(protocol, at, &runs),
        Peer::Librdkafka => librdkafka(protocol, at, &runs),
        _ => Err("that one is another program".into()),
    }
}

fn kavka(
    protocol: Protocol,
    [bootstrap, group, topic]: [&str; 3],
    runs: &dyn Fn() -> bool,
) -> Result<()> {
    let config = Config::new(bootstrap).group(group).start(Start::Latest).client_id("kavka");
    let config = match protocol {
        Protocol::Consumer | Protocol::Hosted => config,
        _ => config.group_protocol(GroupProtocol::Classic).session_timeout(SESSION),
    };
    let consumer = kavka_std::Consumer::subscribe(config, &[topic])?;
    let events = consumer.events();
    while runs() {
        while let Some(event) = events.try_next() {
            let shown = matches!(
                event,
                Event::Unassigned { .. }
                    | Event::Rebalanced { .. }
                    | Event::Lost { .. }
                    | Event::Moved { .. }
                    | Event::GroupTrouble { .. }
                    | Event::CommitFailed { .. }
            );
            if shown {
                println!("# {event:?}");
            }
        }
        let Some(chunk) = consumer.next_timeout(LOOK)? else { continue };
        for record in chunk.records() {
            let record = record?;
            println!("{}\t{}", record.partition, record.offset);
        }
        stdout().flush()?;
        drop(consumer.commit(&chunk));
    }
    consumer.close(Duration::from_secs(5))?;
    Ok(())
}

fn librdkafka(
    protocol: Protocol,
    [bootstrap, group, topic]: [&str; 3],
    runs: &dyn Fn() -> bool,
) -> Result<()> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", group);
    config.set("auto.offset.reset", "latest").set("client.id", "theirs");
    match protocol {
        Protocol::Range | Protocol::Hosted => config.set("partition.assignment.strategy", "range"),
        Protocol::Cooperative => config.set("partition.assignment.strategy", "cooperative-sticky"),
        Protocol::Consumer => config.set("group.protocol", "consumer"),
    };
    let consumer: BaseConsumer = config.create()?;
    consumer.subscribe(&[topic])?;
    while runs() {
        match consumer.poll(LOOK) {
            Some(Ok(record)) => println!("{}\t{}", record.partition(), record.offset()),
            Some(Err(error)) => println!("# {error}"),
            None => {}
        }
        stdout().flush()?;
    }
    Ok(())
}
