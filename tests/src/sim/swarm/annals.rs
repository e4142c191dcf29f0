//! Writes a run down as a history, and lets the checker judge it, which knows nothing of the
//! simulation.

use core::time::Duration;

use kavka_core::{Acks, OutOfRange, Start};

use super::nemesis::Act;
use super::plan::{ClientPlan, Plan};
use super::step::{Done, Id, Step};
use crate::checker::Checker;
use crate::history::{Header, Kind, Line, Op, Promise};
use crate::sim::deed::{Deed, What};

/// The checker at work.
pub(super) struct Annals {
    checker: Checker,
    names: Vec<String>,
    /// Clients that want to go on at the end where their position is out of range.
    to_the_end: Vec<bool>,
    topics: Vec<String>,
}

impl Annals {
    /// `None` for runs that the format has no words for: positions that only the client knows
    /// (a start by time, a seek to an end), topics that are made again, where clients need not
    /// have seen each generation, and offsets that have other records after an unclean election.
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        let again = [Act::Recreate, Act::Truncate, Act::Unclean];
        let again = plan.acts.iter().any(|(act, _)| again.contains(act));
        let vague = plan.clients.iter().any(|client| client.whims > 0 || client.starts_by_time());
        if again || vague {
            return None;
        }
        let mut checker = Checker::default();
        checker.begin(&Header { seed: Some(plan.seed), ..Header::new("simulate") });
        let names: Vec<String> = (0..=plan.clients.len()).map(|n| format!("client {n}")).collect();
        for (name, client) in names.iter().zip(&plan.clients) {
            let open = Line::new(0, name, Op::Open, Kind::Ok).promise(promise(client));
            checker.line(&open);
        }
        let topics = (0..plan.topics.len()).map(Plan::topic).collect();
        let latest = |client: &ClientPlan| client.config.out_of_range == OutOfRange::Latest;
        let to_the_end = plan.clients.iter().map(latest).collect();
        Some(Self { checker, names, to_the_end, topics })
    }

    /// A step of a client.
    pub(super) fn step(&mut self, process: usize, step: &Step) {
        let (Some(name), Some(topic)) = (self.names.get(process), self.topics.get(step.topic))
        else {
            return;
        };
        let topic = topic.as_str();
        let line = |op, kind| Line::new(step.at.as_micros(), name, op, kind).topic(topic);
        let number = |id: Id| (id.process as u64) << 40 | id.number;
        let line = match step.what {
            Done::Sent(id) => line(Op::Send, Kind::Invoke).value(number(id)),
            Done::Delivered(id, partition, offset) => {
                let mut line = line(Op::Send, Kind::Ok).value(number(id)).partition(partition);
                line.offset = offset;
                line
            }
            Done::Failed(id, _, maybe) => {
                line(Op::Send, if maybe { Kind::Info } else { Kind::Fail }).value(number(id))
            }
            Done::Read(None, ..) => return, // judged at once
            Done::Read(Some(id), partition, offset) => {
                line(Op::Poll, Kind::Ok).value(number(id)).partition(partition).offset(offset)
            }
            Done::Assigned(partition, start) => {
                let mut line = line(Op::Assign, Kind::Ok);
                line.partition = partition;
                match start {
                    Start::Offset(offset) => line.offset(offset),
                    Start::Latest => line.latest(),
                    _ => line,
                }
            }
            Done::Sought(partition, Start::Offset(to)) => {
                line(Op::Seek, Kind::Ok).partition(partition).to(to)
            }
            Done::Sought(..) => return, // only whims do that
            // It passes what the application chose to pass: for the checker, a seek of its own.
            Done::Moved(partition, from, to)
                if from < to && self.to_the_end.get(process) == Some(&true) =>
            {
                line(Op::Seek, Kind::Ok).partition(partition).to(to)
            }
            Done::Moved(partition, from, to) => {
                line(Op::Moved, Kind::Ok).partition(partition).offset(from).to(to)
            }
            Done::Counted(count) => line(Op::Count, Kind::Ok).count(count),
        };
        self.checker.line(&line);
    }

    /// Something that the cluster did.
    pub(super) fn deed(&mut self, topic: usize, deed: &Deed) {
        let Some(name) = self.topics.get(topic) else { return };
        let line = |op| Line::new(micros(deed.at), "cluster", op, Kind::Ok).topic(name.as_str());
        let line = match &deed.what {
            What::Grown { count } => line(Op::Grow).count(*count),
            What::Trimmed { partition, to } => line(Op::Trim).partition(*partition).offset(*to),
            What::Cut { partition, to } => line(Op::Truncate).partition(*partition).offset(*to),
            What::Deleted | What::Appended { .. } => return,
        };
        self.checker.line(&line);
    }

    /// All is quiet, and every client has read what there is.
    pub(super) fn end(mut self, at: Duration, readers: &[usize]) -> Vec<String> {
        for reader in readers {
            if let Some(name) = self.names.get(*reader) {
                self.checker.line(&Line::new(micros(at), name, Op::Drained, Kind::Ok));
            }
        }
        let report = self.checker.finish();
        report.findings.iter().map(|finding| format!("checker: {finding}")).collect()
    }
}

fn promise(client: &ClientPlan) -> Promise {
    Promise {
        durable: client.config.acks == Acks::All,
        once: client.config.idempotence,
        ordered: client.config.idempotence,
        key_ordered: false,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
