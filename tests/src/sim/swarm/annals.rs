//! Records a run as a history, and lets the checker judge it, which knows nothing of the
//! simulation.

use core::time::Duration;
use std::io::Write;

use kavka_core::{Acks, OutOfRange, Start};

use super::nemesis::Act;
use super::plan::{ClientPlan, Plan};
use super::step::{Done, Id, Step};
use crate::checker::Checker;
use crate::history::{self, Header, Kind, Line, Op, Promise};
use crate::sim::deed::{Deed, What};

/// The readers of a run's history.
struct Readers {
    /// `None` for runs that the format cannot express.
    checker: Option<Checker>,
    file: Option<history::Writer<Box<dyn Write>>>,
    failed: Option<String>,
}

impl Readers {
    fn line(&mut self, line: &Line<'_>) {
        if let Some(checker) = &mut self.checker {
            checker.line(line);
        }
        if let Some(Err(error)) = self.file.as_mut().map(|file| file.write(line)) {
            self.failed = Some(format!("the history cannot be written: {error}"));
        }
    }
}

/// A history that is being written.
pub(super) struct Annals {
    readers: Readers,
    names: Vec<String>,
    /// Clients that continue at the end when their position is out of range.
    to_the_end: Vec<bool>,
    topics: Vec<String>,
}

impl Annals {
    /// Begins the history of a run, for the checker and for a file. `None`: neither reads it.
    pub(super) fn of(plan: &Plan, file: Option<Box<dyn Write>>) -> Option<Self> {
        let header = Header { seed: Some(plan.seed), ..Header::new("simulate") };
        let checker = is_judged(plan).then(|| {
            let mut checker = Checker::default();
            checker.begin(&header);
            checker
        });
        if checker.is_none() && file.is_none() {
            return None;
        }
        let mut readers = Readers { checker, file: None, failed: None };
        match file.map(|file| history::Writer::new(file, &header)).transpose() {
            Ok(file) => readers.file = file,
            Err(error) => readers.failed = Some(format!("the history cannot be written: {error}")),
        }
        let names: Vec<String> = (0..=plan.clients.len()).map(|n| format!("client {n}")).collect();
        for (name, client) in names.iter().zip(&plan.clients) {
            let open = Line::new(0, name, Op::Open, Kind::Ok).promise(promise(plan, client));
            readers.line(&open);
        }
        if readers.checker.is_none() {
            let text = "not to be judged: topics recreated, or positions that only a client knows";
            readers.line(&Line::new(0, "cluster", Op::Memo, Kind::Info).text(text));
        }
        let topics = (0..plan.topics.len()).map(Plan::topic).collect();
        let latest = |client: &ClientPlan| client.config.out_of_range == OutOfRange::Latest;
        let to_the_end = plan.clients.iter().map(latest).collect();
        Some(Self { readers, names, to_the_end, topics })
    }

    /// Records a step of a client.
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
            Done::Read(None, ..) => return, // the oracle judges it at once
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
            // It passes what the application chose to pass: for the checker, a seek.
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
        self.readers.line(&line);
    }

    /// Records something that the cluster did.
    pub(super) fn deed(&mut self, topic: usize, deed: &Deed) {
        let Some(name) = self.topics.get(topic) else { return };
        let line = |op| Line::new(micros(deed.at), "cluster", op, Kind::Ok).topic(name.as_str());
        let line = match &deed.what {
            What::Grown { count } => line(Op::Grow).count(*count),
            What::Trimmed { partition, to } => line(Op::Trim).partition(*partition).offset(*to),
            What::Cut { partition, to } => line(Op::Truncate).partition(*partition).offset(*to),
            What::Deleted
            | What::Appended { .. }
            | What::Forgotten { .. }
            | What::Committed { .. } => return,
        };
        self.readers.line(&line);
    }

    /// Ends the history when all is quiet and every client has read everything.
    pub(super) fn end(mut self, at: Duration, readers: &[usize]) -> Vec<String> {
        for reader in readers {
            if let Some(name) = self.names.get(*reader) {
                self.readers.line(&Line::new(micros(at), name, Op::Drained, Kind::Ok));
            }
        }
        let Readers { checker, mut file, failed } = self.readers;
        let flushed = file.as_mut().map_or(Ok(()), history::Writer::flush);
        let failed = failed.or(flushed.err().map(|error| error.to_string()));
        let report = checker.map(Checker::finish);
        let found = report.iter().flat_map(|report| &report.findings);
        found.map(|finding| format!("checker: {finding}")).chain(failed).collect()
    }
}

/// Returns whether the format can express the run: not with positions that only the client knows (a
/// start by time, a seek to an end), recreated topics, where clients need not have seen each
/// generation, and offsets that have other records after an unclean election.
fn is_judged(plan: &Plan) -> bool {
    let again = [Act::Recreate, Act::Truncate, Act::Unclean];
    let again = plan.acts.iter().any(|(act, _)| again.contains(act));
    let vague = plan.clients.iter().any(|client| client.whims > 0 || client.starts_by_time());
    !again && !vague
}

fn promise(plan: &Plan, client: &ClientPlan) -> Promise {
    // Brokers that forget sequences accept them again.
    let forgets = plan.acts.iter().any(|(act, _)| *act == Act::Forget);
    Promise {
        durable: client.config.acks == Acks::All,
        once: client.config.idempotence && !forgets,
        ordered: client.config.idempotence && !forgets,
        key_ordered: false,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}
