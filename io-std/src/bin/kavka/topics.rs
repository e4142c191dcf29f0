//! `kavka topics`.

use std::io::Write;

use clap::Subcommand;
use kavka_std::{Admin, Event, NewTopic, Producer, TopicDescription};
use serde_json::{Value, json};

use super::text::{describe, join, out, time_of_day};
use super::{Common, Failure};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Names of all topics, with their partitions
    List {
        /// One JSON object per line
        #[arg(long)]
        json: bool,
        /// Also those that are internal to Kafka
        #[arg(long)]
        internal: bool,
    },
    /// Create a topic
    Create {
        /// Its name
        name: String,
        /// Partitions; the brokers' default if left out
        #[arg(short, long, default_value_t = -1, allow_negative_numbers = true)]
        partitions: i32,
        /// Replicas of each; the brokers' default if left out
        #[arg(short, long, default_value_t = -1, allow_negative_numbers = true)]
        replication_factor: i16,
        /// Topic config, such as retention.ms=60000; may be repeated
        #[arg(short, long, value_name = "NAME=VALUE")]
        config: Vec<String>,
    },
    /// Leaders and replicas of a topic's partitions
    Describe {
        /// Its name
        name: String,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Add partitions to a topic
    Grow {
        /// Its name
        name: String,
        /// Partitions afterwards
        #[arg(allow_negative_numbers = true)]
        partitions: i32,
    },
    /// Delete a topic and its records
    Delete {
        /// Its name
        name: String,
    },
    /// Tell when topics grow, until interrupted
    Watch {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        /// One JSON object per line
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(common: &Common, command: Command) -> Result<(), Failure> {
    if let Command::Watch { names, json } = command {
        return watch(common, &names, json);
    }
    let admin = Admin::new(common.config())?;
    let mut out = out();
    match command {
        Command::List { json, internal } => {
            for topic in admin.list_topics().wait()? {
                if topic.internal && !internal {
                    continue;
                }
                if json {
                    writeln!(out, "{}", as_json(&topic))?;
                } else {
                    writeln!(out, "{}\t{}", topic.name, topic.partitions.len())?;
                }
            }
        }
        Command::Create { name, partitions, replication_factor, config } => {
            let mut topic = NewTopic::new(&name, partitions, replication_factor);
            for config in config {
                let Some((name, value)) = config.split_once('=') else {
                    return Err(Failure::Usage(format!("--config {config}: must be NAME=VALUE")));
                };
                topic = topic.config(name, value);
            }
            admin.create_topic(topic).wait()?;
            writeln!(out, "created {name}")?;
        }
        Command::Describe { name, json } => {
            let topic = admin.describe(&name).wait()?;
            if json {
                writeln!(out, "{}", as_json(&topic))?;
            } else {
                table(&mut out, &topic)?;
            }
        }
        Command::Grow { name, partitions } => {
            admin.create_partitions(&name, partitions).wait()?;
            writeln!(out, "{name} has {partitions} partitions")?;
        }
        Command::Delete { name } => {
            admin.delete_topic(&name).wait()?;
            writeln!(out, "deleted {name}")?;
        }
        Command::Watch { .. } => {} // above
    }
    Ok(out.flush()?)
}

fn table(out: &mut impl Write, topic: &TopicDescription) -> Result<(), Failure> {
    writeln!(out, "{}\t{} partitions\tid {}", topic.name, topic.partitions.len(), id(topic))?;
    writeln!(out, "partition\tleader\tepoch\treplicas\tin sync")?;
    for at in &topic.partitions {
        let leader = at.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
        let (replicas, isr) = (join(&at.replicas), join(&at.isr));
        write!(out, "{}\t{leader}\t{}\t{replicas}\t{isr}", at.index, at.epoch)?;
        if at.error.0 != 0 {
            write!(out, "\t{}", at.error.name())?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn id(topic: &TopicDescription) -> String {
    topic.id.0.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn as_json(topic: &TopicDescription) -> Value {
    let partitions: Vec<_> = topic
        .partitions
        .iter()
        .map(|at| {
            json!({
                "partition": at.index, "leader": at.leader, "epoch": at.epoch,
                "replicas": at.replicas, "isr": at.isr, "error": at.error.0,
            })
        })
        .collect();
    json!({
        "topic": topic.name, "id": id(topic), "internal": topic.internal,
        "error": topic.error.0, "partitions": partitions,
    })
}

fn watch(common: &Common, names: &[String], as_json: bool) -> Result<(), Failure> {
    let producer = Producer::new(common.config())?;
    let events = producer.events();
    let mut out = out();
    for name in names {
        let known = producer.freshness(name).wait()?;
        if as_json {
            let line = json!({ "event": "ready", "topic": name, "partitions": known.partitions });
            writeln!(out, "{line}")?;
        } else {
            writeln!(out, "{} {name}: {} partitions", time_of_day(), known.partitions)?;
        }
        out.flush()?;
    }
    loop {
        let event = events.next().wait()?;
        match &event {
            Event::TopicReady { .. } => continue, // told above
            Event::Disconnected { .. } if !common.verbose => continue,
            _ => {}
        }
        if as_json {
            writeln!(out, "{}", event_json(&event))?;
        } else {
            writeln!(out, "{} {}", time_of_day(), describe(&event))?;
        }
        out.flush()?;
    }
}

fn event_json(event: &Event) -> Value {
    match event {
        Event::PartitionsAdded { topic, from, to, broker, signal } => json!({
            "event": "grown", "topic": &**topic, "from": from, "to": to, "broker": broker,
            "signal": format!("{signal:?}"),
        }),
        Event::LeaderMoved { topic, partition, epoch } => json!({
            "event": "leader", "topic": &**topic, "partition": partition, "epoch": epoch,
        }),
        Event::TopicRecreated { topic, partitions } => json!({
            "event": "recreated", "topic": &**topic, "partitions": partitions,
        }),
        other => json!({ "event": "notice", "text": describe(other) }),
    }
}
