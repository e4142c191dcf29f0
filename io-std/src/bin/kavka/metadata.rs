//! `kavka metadata`.

use std::io::Write;
use std::time::{Duration, Instant};

use clap::Args;
use kavka_std::kavka_core::wire::{ErrorCode, Uuid};
use kavka_std::{Admin, ClusterDescription, Freshness, Producer, TopicDescription};
use serde_json::{Value, json};

use super::common::Settings;
use super::notices::{Notices, node, signal_name};
use super::streams::out;
use super::text::{address, counted, distinct, topic_name};
use super::topics::{as_json, table, verdict};
use super::{Failure, failure};

#[derive(Args)]
pub(super) struct Options {
    /// Only these topics; all if left out
    #[arg(value_parser = topic_name)]
    topics: Vec<String>,
    /// One JSON object
    #[arg(long)]
    json: bool,
    /// Also topics that are internal to Kafka
    #[arg(long)]
    internal: bool,
}

/// What is known, and since when.
struct Known {
    cluster: ClusterDescription,
    topics: Vec<TopicDescription>,
    /// Which broker confirmed each topic, and how: of topics that were named.
    fresh: Vec<Option<Freshness>>,
    /// Why nothing is known of some of those.
    bad: Vec<String>,
    since: Instant,
}

pub(super) fn run(settings: &Settings, options: &Options) -> Result<(), Failure> {
    let mut out = out()?;
    let known = find(settings, options).map_err(|failure| failure.if_undone("metadata"))?;
    let age = known.since.elapsed();
    if options.json {
        writeln!(out, "{}", whole(&known, age))?;
    } else {
        print(&mut out, &known, age)?;
    }
    out.flush()?;
    match known.bad.is_empty() {
        true => verdict(&known.topics),
        false => Err(Failure::Several(known.bad)),
    }
}

fn find(settings: &Settings, options: &Options) -> Result<Known, Failure> {
    let admin = Admin::new(settings.config())?;
    let (events, notices) = (admin.events(), Notices::new(settings.verbose()));
    let since = Instant::now();
    if options.topics.is_empty() {
        let (cluster, mut topics) = notices.wait(admin.metadata(None), &events)?;
        topics.retain(|topic| options.internal || !topic.internal);
        return Ok(Known { cluster, topics, fresh: Vec::new(), bad: Vec::new(), since });
    }
    let cluster = ClusterDescription::default();
    let mut known = Known { cluster, topics: vec![], fresh: vec![], bad: vec![], since };
    for name in distinct(&options.topics) {
        match notices.wait_for_topic(|| admin.metadata(Some(name)), &events)? {
            Ok((cluster, topics)) => {
                known.cluster = cluster;
                known.topics.extend(topics);
            }
            Err(error) => match error.code() {
                // The others may be known all the same.
                Some(code) => {
                    known.bad.push(failure::describe(&error));
                    known.topics.push(unknown(name, code));
                }
                None => return Err(error.into()),
            },
        }
    }
    if known.topics.iter().all(|topic| topic.error.0 != 0) {
        known.cluster = notices.wait(admin.cluster(), &events)?;
    }
    let producer = Producer::new(settings.config())?;
    let events = producer.events();
    for topic in &known.topics {
        known.fresh.push(match topic.error.0 {
            0 => Some(notices.wait_known(&producer, &topic.name, &events)?),
            _ => None,
        });
    }
    Ok(known)
}

/// A topic of which a broker only says why it says nothing.
fn unknown(name: &str, error: ErrorCode) -> TopicDescription {
    let (name, partitions) = (name.to_owned(), Vec::new());
    TopicDescription { name, id: Uuid::ZERO, internal: false, error, partitions }
}

fn print(out: &mut impl Write, known: &Known, age: Duration) -> Result<(), Failure> {
    let cluster = &known.cluster;
    let id = match cluster.id.as_deref() {
        None => "-",
        Some("") => "(empty id)",
        Some(id) => id,
    };
    let brokers = counted(cluster.brokers.len() as u64, "broker");
    let topics = counted(known.topics.len() as u64, "topic");
    let age = age.as_millis();
    writeln!(out, "cluster {id}\t{brokers}\t{topics}\tat most {age} ms old")?;
    for broker in &cluster.brokers {
        write!(out, "broker {}\t{}", broker.id, address(&broker.host, broker.port))?;
        if let Some(rack) = &broker.rack {
            write!(out, "\track {}", if rack.is_empty() { "(empty)" } else { rack })?;
        }
        if broker.id == cluster.controller {
            write!(out, "\tcontroller")?;
        }
        writeln!(out)?;
    }
    for (n, topic) in known.topics.iter().enumerate() {
        writeln!(out)?;
        table(out, topic)?;
        if let Some(Some(fresh)) = known.fresh.get(n) {
            let (signal, age) = (signal_name(fresh.signal), fresh.age.as_millis());
            writeln!(out, "confirmed {age} ms ago by {} ({signal})", node(fresh.broker))?;
        }
    }
    Ok(())
}

fn whole(known: &Known, age: Duration) -> Value {
    let broker = |broker: &kavka_std::BrokerDescription| {
        let name = format!("{}:{}", broker.host, broker.port);
        json!({ "id": broker.id, "name": name, "rack": broker.rack })
    };
    let topic = |(n, topic): (usize, &TopicDescription)| {
        let mut value = as_json(topic);
        if let Some(Some(fresh)) = known.fresh.get(n) {
            value["age_ms"] = millis(fresh.age);
            value["confirmed_by"] = json!(fresh.broker);
            value["signal"] = json!(signal_name(fresh.signal));
        }
        value
    };
    let cluster = &known.cluster;
    json!({
        "cluster": cluster.id, "controllerid": cluster.controller, "age_ms": millis(age),
        "brokers": cluster.brokers.iter().map(broker).collect::<Vec<_>>(),
        "topics": known.topics.iter().enumerate().map(topic).collect::<Vec<_>>(),
    })
}

fn millis(time: Duration) -> Value {
    json!(u64::try_from(time.as_millis()).unwrap_or(u64::MAX))
}
