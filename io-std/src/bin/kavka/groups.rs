//! `kavka groups`.

mod describe;
mod lag;
mod reset;
mod target;

use std::io::Write;

use clap::Subcommand;
use kavka_std::{GroupListing, ListedGroup};
use serde_json::{Value, json};

use super::common::Settings;
use super::places::Places;
use super::streams::{Out, out};
use super::{Failure, failure, lines, places, text};

#[derive(Subcommand)]
pub(super) enum Command {
    /// Groups of all brokers: id, state, type, and what members use them for
    List {
        /// One JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Members of a group and their partitions
    Describe {
        /// Its id
        #[arg(value_parser = group_id)]
        group: String,
        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// How far a group is behind the ends of the logs, by partition
    Lag {
        /// Its id
        #[arg(value_parser = group_id)]
        group: String,
        /// One JSON object per partition
        #[arg(long)]
        json: bool,
    },
    /// Print where a group without members would continue, and with --execute let it do so
    ResetOffsets(reset::Options),
    /// Delete a group without members, and its offsets
    Delete {
        /// Its id
        #[arg(value_parser = group_id)]
        group: String,
    },
}

impl Command {
    /// Whether it changes a cluster.
    pub(super) fn writes(&self) -> bool {
        matches!(self, Self::ResetOffsets(_) | Self::Delete { .. })
    }

    /// What a signal may leave undone.
    fn doing(&self) -> String {
        match self {
            Self::List { .. } => "list groups".to_owned(),
            Self::Describe { group, .. } => format!("describe group {group}"),
            Self::Lag { group, .. } => format!("lag of group {group}"),
            Self::ResetOffsets(options) => options.doing(),
            Self::Delete { group } => format!("delete group {group} (it may happen all the same)"),
        }
    }
}

pub(super) fn run(settings: &Settings, command: Command) -> Result<(), Failure> {
    let out = out()?;
    let doing = command.doing();
    act(settings, command, out).map_err(|failure| failure.if_undone(&doing))
}

fn act(settings: &Settings, command: Command, mut out: Out) -> Result<(), Failure> {
    let places = Places::new(settings)?;
    match command {
        Command::List { json } => {
            let listing = places.wait(places.admin().groups())?;
            for group in &listing.groups {
                match json {
                    true => writeln!(out, "{}", as_json(group))?,
                    false => line(&mut out, group)?,
                }
            }
            out.flush()?;
            return verdict(&listing);
        }
        Command::Describe { group, json } => describe::run(&places, &group, json, &mut out)?,
        Command::Lag { group, json } => lag::run(&places, &group, json, &mut out)?,
        Command::ResetOffsets(options) => reset::run(&places, &options, &mut out)?,
        Command::Delete { group } => {
            places.wait(places.admin().delete_group(&group))?;
            writeln!(out, "deleted {group}")?;
        }
    }
    Ok(out.flush()?)
}

/// Reads the id of a group.
fn group_id(text: &str) -> Result<String, String> {
    match text.len() {
        1..=1024 => Ok(text.to_owned()),
        _ => Err("the id of a group has 1 to 1,024 bytes".to_owned()),
    }
}

fn line(out: &mut Out, group: &ListedGroup) -> Result<(), Failure> {
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let (state, kind) = (known(&group.state), known(&group.kind));
    let used = if group.protocol_type.is_empty() { "-" } else { &group.protocol_type };
    Ok(writeln!(out, "{}\t{state}\t{kind}\t{used}", group.id)?)
}

fn as_json(group: &ListedGroup) -> Value {
    json!({
        "group": group.id, "state": group.state, "type": group.kind,
        "protocol_type": group.protocol_type, "coordinator": group.coordinator,
    })
}

/// A failure if some brokers did not list their groups.
fn verdict(listing: &GroupListing) -> Result<(), Failure> {
    let text = |(broker, error): &(i32, kavka_std::Error)| {
        format!("groups of broker {broker}: {}", failure::describe(error))
    };
    match listing.failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::Several(listing.failed.iter().map(text).collect())),
    }
}

/// Partitions by topic, such as `a:0-2 b:1`.
fn assigned(list: &[(String, Vec<u32>)]) -> String {
    if list.is_empty() {
        return "-".to_owned();
    }
    let topic = |(topic, partitions): &(String, Vec<u32>)| {
        format!("{topic}:{}", text::ranges(partitions).replace(", ", ",").replace(" and ", ","))
    };
    list.iter().map(topic).collect::<Vec<_>>().join(" ")
}
