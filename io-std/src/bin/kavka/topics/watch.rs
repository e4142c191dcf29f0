//! `kavka topics watch`.

use core::time::Duration;
use std::io::{self, Write};

use kavka_std::{Event, Producer};
use serde_json::{Value, json};

use super::interrupt::{self, stdout_is_closed};
use super::notices::{Notices, describe, hopeless, leads_elsewhere, signal_name};
use super::{Failure, Settings};
use crate::streams::Out;
use crate::text::{counted, distinct, time_of_day};

/// How often an interrupt is looked for.
const TICK: Duration = Duration::from_millis(200);

pub(super) fn run(
    settings: &Settings,
    names: &[String],
    as_json: bool,
    mut out: Out,
) -> Result<(), Failure> {
    let producer = Producer::new(settings.config())?;
    let events = producer.events();
    let notices = Notices::new(false);
    let mut early = Vec::new();
    for name in distinct(names) {
        let known = notices
            .wait_known(&producer, name, &events)
            .map_err(|failure| failure.interrupted(&format!("{name} is not known")))?;
        // What happened to the topics before this one is printed in its place.
        early.extend(core::iter::from_fn(|| events.try_next()));
        if as_json {
            let line = json!({ "event": "ready", "topic": name, "partitions": known.partitions });
            writeln!(out, "{line}")?;
        } else {
            let partitions = counted(known.partitions.into(), "partition");
            writeln!(out, "{} {name}: {partitions}", time_of_day())?;
        }
        out.flush()?;
    }
    let mut early = early.into_iter();
    while !interrupt::came() {
        let Some(event) = early.next().or_else(|| events.next_timeout(TICK)) else {
            if stdout_is_closed() {
                return Err(io::Error::from(io::ErrorKind::BrokenPipe).into());
            }
            continue;
        };
        let net = || Some(producer.metrics().wait_timeout(TICK).ok()?.ok()?.net);
        match &event {
            Event::Disconnected { error, .. } if leads_elsewhere(error) => {
                if let Some(why) = hopeless(&event, net) {
                    return Err(Failure::Failed(why));
                }
            }
            Event::TopicReady { .. } => continue, // printed above
            Event::Disconnected { .. } if !settings.verbose() => continue,
            _ => {}
        }
        if as_json {
            writeln!(out, "{}", event_json(&event))?;
        } else {
            writeln!(out, "{} {}", time_of_day(), describe(&event))?;
        }
        out.flush()?;
    }
    Ok(())
}

fn event_json(event: &Event) -> Value {
    match event {
        Event::PartitionsAdded { topic, from, to, broker, signal } => json!({
            "event": "grown", "topic": &**topic, "from": from, "to": to, "broker": broker,
            "signal": signal_name(*signal),
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
