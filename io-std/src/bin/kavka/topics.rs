//! `kavka topics`.

mod offsets;
mod watch;

use core::str::FromStr;
use std::io::Write;

use clap::Subcommand;
use kavka_std::kavka_core::Error as Core;
use kavka_std::{Admin, ErrorKind, NewTopic, TopicDescription};
use serde_json::{Value, json};

use super::common::Settings;
use super::notices::Notices;
use super::streams::{Out, out};
use super::text::{counted, join, pair, topic_name};
use super::{Failure, failure, interrupt, notices, places};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Names of all topics, with their partitions
    List {
        /// One JSON object per line
        #[arg(long)]
        json: bool,
        /// Include Kafka's internal topics
        #[arg(long)]
        internal: bool,
    },
    /// Create a topic
    Create {
        /// Its name
        #[arg(value_parser = topic_name)]
        name: String,
        /// Partitions; -1 is the brokers' default
        #[arg(
            short, long, default_value_t = -1, allow_negative_numbers = true,
            value_parser = count::<i32>
        )]
        partitions: i32,
        /// Replicas of each; -1 is the brokers' default
        #[arg(
            short, long, default_value_t = -1, allow_negative_numbers = true,
            value_parser = count::<i16>
        )]
        replication_factor: i16,
        /// Topic config, such as retention.ms=60000; may be repeated
        #[arg(short = 'c', long, value_name = "NAME=VALUE")]
        topic_config: Vec<String>,
    },
    /// Leaders and replicas of a topic's partitions
    Describe {
        /// Its name
        #[arg(value_parser = topic_name)]
        name: String,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Offsets of each partition: `topic:partition:offset` with --time, else first and end
    Offsets(offsets::Options),
    /// Add partitions to a topic
    Grow {
        /// Its name
        #[arg(value_parser = topic_name)]
        name: String,
        /// New number of partitions
        #[arg(allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(1..))]
        partitions: i32,
    },
    /// Delete a topic and its records
    Delete {
        /// Its name
        #[arg(value_parser = topic_name)]
        name: String,
    },
    /// Print when topics gain partitions, until interrupted
    Watch {
        /// Names of the topics
        #[arg(required = true, value_parser = topic_name)]
        names: Vec<String>,
        /// One JSON object per line
        #[arg(long)]
        json: bool,
    },
}

impl Command {
    /// What a signal may leave undone.
    fn doing(&self) -> String {
        let changes =
            |what: &str, name: &str| format!("{what} {name} (it may happen all the same)");
        match self {
            Self::Create { name, .. } => changes("create topic", name),
            Self::Grow { name, .. } => changes("grow topic", name),
            Self::Delete { name } => changes("delete topic", name),
            Self::Describe { name, .. } => format!("describe topic {name}"),
            Self::List { .. } | Self::Offsets(_) | Self::Watch { .. } => "list topics".to_owned(),
        }
    }

    /// Whether it changes a cluster.
    pub(super) fn writes(&self) -> bool {
        matches!(self, Self::Create { .. } | Self::Grow { .. } | Self::Delete { .. })
    }
}

pub(super) fn run(settings: &Settings, command: Command) -> Result<(), Failure> {
    let out = out()?;
    match command {
        Command::Watch { names, json } => watch::run(settings, &names, json, out),
        Command::Offsets(options) => offsets::run(settings, &options, out)
            .map_err(|failure| failure.if_undone("topics offsets")),
        command => {
            let doing = command.doing();
            act(settings, command, out).map_err(|failure| failure.if_undone(&doing))
        }
    }
}

fn act(settings: &Settings, command: Command, mut out: Out) -> Result<(), Failure> {
    let admin = Admin::new(settings.config())?;
    let (events, notices) = (admin.events(), Notices::new(settings.verbose()));
    match command {
        Command::List { json, internal } => {
            let mut topics = notices.wait(admin.list_topics(), &events)?;
            topics.retain(|topic| internal || !topic.internal);
            list(&mut out, &topics, json)?;
            out.flush()?;
            return verdict(&topics);
        }
        Command::Create { name, partitions, replication_factor, topic_config } => {
            let mut topic = NewTopic::new(&name, partitions, replication_factor);
            for config in &topic_config {
                let (name, value) = pair("--topic-config", config)?;
                topic = topic.config(name, value);
            }
            notices.wait(admin.create_topic(topic), &events)?;
            writeln!(out, "created {name}")?;
        }
        Command::Describe { name, json } => {
            let topic = notices.wait_for_topic(|| admin.describe(&name), &events)??;
            if json {
                writeln!(out, "{}", as_json(&topic))?;
            } else {
                table(&mut out, &topic)?;
            }
        }
        Command::Grow { name, partitions } => {
            notices.wait(admin.create_partitions(&name, partitions), &events)?;
            let partitions = u64::try_from(partitions).unwrap_or(0);
            writeln!(out, "{name} has {}", counted(partitions, "partition"))?;
        }
        Command::Delete { name } => {
            notices.wait(admin.delete_topic(&name), &events)?;
            writeln!(out, "deleted {name}")?;
        }
        Command::Watch { .. } | Command::Offsets(_) => {} // above
    }
    Ok(out.flush()?)
}

/// Reads how many there are to be of something.
fn count<N: FromStr + PartialOrd + From<i8>>(text: &str) -> Result<N, String> {
    let number = text.parse().ok().filter(|n| *n >= N::from(1) || *n == N::from(-1));
    number.ok_or_else(|| "must be 1 or more, or -1 for the brokers' default".to_owned())
}

fn list(out: &mut Out, topics: &[TopicDescription], json: bool) -> Result<(), Failure> {
    for topic in topics {
        if json {
            writeln!(out, "{}", as_json(topic))?;
        } else {
            writeln!(out, "{}\t{}{}", topic.name, topic.partitions.len(), error(topic))?;
        }
    }
    Ok(())
}

/// Why nothing is known of a topic, as a column.
fn error(topic: &TopicDescription) -> String {
    if topic.error.0 == 0 { String::new() } else { format!("\t{}", topic.error.name()) }
}

/// Topics that a message names; the others are counted.
const NAMED: usize = 10;

/// A failure if nothing is known of some topics.
pub(super) fn verdict(topics: &[TopicDescription]) -> Result<(), Failure> {
    let failed = || topics.iter().filter(|topic| topic.error.0 != 0);
    let text = |topic: &TopicDescription| {
        let error = ErrorKind::Kafka(Core::Broker(topic.error)).into();
        format!("topic {}: {}", topic.name, failure::describe(&error))
    };
    let mut texts: Vec<String> = failed().take(NAMED).map(text).collect();
    match failed().count().saturating_sub(NAMED) {
        0 => {}
        more => texts.push(format!("and {} more", counted(more as u64, "topic"))),
    }
    if texts.is_empty() { Ok(()) } else { Err(Failure::Several(texts)) }
}

pub(super) fn table(out: &mut impl Write, topic: &TopicDescription) -> Result<(), Failure> {
    let partitions = counted(topic.partitions.len() as u64, "partition");
    writeln!(out, "{}\t{partitions}\tid {}{}", topic.name, id(topic), error(topic))?;
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

pub(super) fn as_json(topic: &TopicDescription) -> Value {
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
    let mut value = json!({
        "topic": topic.name, "id": id(topic), "internal": topic.internal,
        "error": topic.error.0, "partitions": partitions,
    });
    if topic.error.0 != 0 {
        value["error_name"] = json!(topic.error.name());
    }
    value
}
