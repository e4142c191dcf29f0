//! Partition counts: when topics grew, and when each process knew.

use std::collections::HashMap;

use super::finding::{At, Finding, Findings, What};
use super::names::Names;

#[derive(Debug)]
struct Grown {
    topic: u32,
    generation: u32,
    count: u32,
    time: u64,
    at: At,
}

/// What a process knows of a topic.
#[derive(Debug)]
struct Known {
    generation: u32,
    /// The first count that it knew, before any growth.
    first: u32,
    /// Counts that were higher than all before, and when, since the generation began.
    steps: Vec<(u64, u32)>,
    at: At,
}

/// All data about counts.
#[derive(Debug, Default)]
pub(super) struct Growth {
    grown: Vec<Grown>,
    known: HashMap<(u32, u32), Vec<Known>>,
    closed: HashMap<u32, u64>,
    /// Number of active faults of each process, and since when.
    open_faults: HashMap<u32, (u32, u64)>,
    faults: Vec<(u64, u64)>,
}

impl Growth {
    pub(super) fn grown(&mut self, topic: u32, generation: u32, count: u32, (time, at): (u64, At)) {
        self.grown.push(Grown { topic, generation, count, time, at });
    }

    /// Records a count that a process knows; returns the previous one if this is lower.
    pub(super) fn known(
        &mut self,
        (process, topic, generation): (u32, u32, u32),
        count: u32,
        (time, at): (u64, At),
    ) -> Option<(u32, At)> {
        let all = self.known.entry((process, topic)).or_default();
        if all.last().is_none_or(|last| last.generation != generation) {
            all.push(Known { generation, first: count, steps: Vec::new(), at });
        }
        let known = all.last_mut().expect("just pushed");
        let before = known.steps.last().map_or(0, |(_, count)| *count);
        if count < before {
            return Some((before, known.at));
        }
        known.at = at;
        if count > before {
            known.steps.push((time, count));
        }
        None
    }

    /// Returns the first count that `process` knew of this generation of the topic.
    pub(super) fn first(&self, process: u32, topic: u32, generation: u32) -> Option<u32> {
        let known = self.known.get(&(process, topic))?;
        Some(known.iter().find(|known| known.generation == generation)?.first)
    }

    pub(super) fn closed(&mut self, process: u32, time: u64) {
        self.closed.insert(process, time);
    }

    pub(super) fn fault(&mut self, process: u32, time: u64) {
        let (depth, since) = self.open_faults.entry(process).or_insert((0, time));
        if *depth == 0 {
            *since = time;
        }
        *depth += 1;
    }

    pub(super) fn calm(&mut self, process: u32, time: u64) {
        if let Some((depth, since)) = self.open_faults.get_mut(&process) {
            *depth = depth.saturating_sub(1);
            if *depth == 0 {
                self.faults.push((*since, time));
                self.open_faults.remove(&process);
            }
        }
    }

    /// Returns the time by which a growth at `time` has to be noticed: `bound` later, extended to
    /// `bound` after each fault in between.
    fn deadline(faults: &[(u64, u64)], time: u64, bound: u64) -> u64 {
        let mut deadline = time.saturating_add(bound);
        for (begin, end) in faults {
            if *begin < deadline && *end > time {
                deadline = deadline.max(end.saturating_add(bound));
            }
        }
        deadline
    }

    /// Finds growth that was noticed after its deadline; returns how long each process took to
    /// notice each growth, in microseconds.
    pub(super) fn judge(
        &self,
        bound: Option<u64>,
        end: u64,
        (processes, topics): (&Names, &Names),
        findings: &mut Findings,
    ) -> Vec<u64> {
        let mut faults = self.faults.clone();
        faults.extend(self.open_faults.values().map(|(_, since)| (*since, u64::MAX)));
        faults.sort_unstable();
        let mut took = Vec::new();
        for grown in &self.grown {
            for ((process, topic), all) in &self.known {
                let same = |known: &&Known| known.generation == grown.generation;
                let Some(known) = all.iter().find(same).filter(|_| *topic == grown.topic) else {
                    continue;
                };
                let enough = known.steps.iter().find(|(_, count)| *count >= grown.count);
                let begin = known.steps.first().map_or(0, |(time, _)| *time);
                let after = enough.map(|(time, _)| time.saturating_sub(grown.time));
                // A process that started later learnt of it with everything else.
                if begin > grown.time {
                    continue;
                }
                took.extend(after);
                let Some(bound) = bound else { continue };
                let deadline = Self::deadline(&faults, grown.time, bound);
                let over = self.closed.get(process).copied().unwrap_or(end).min(end);
                let late = match enough {
                    Some((time, _)) => *time > deadline,
                    None => over > deadline,
                };
                if late {
                    findings.add(What::GrowthLate, || Finding {
                        what: What::GrowthLate,
                        process: processes.name(*process),
                        topic: topics.name(*topic),
                        partition: None,
                        offset: None,
                        lines: vec![grown.at, known.at],
                        text: match after {
                            Some(after) => format!("{} partitions, {after} us later", grown.count),
                            None => format!("{} partitions, never", grown.count),
                        },
                    });
                }
            }
        }
        took.sort_unstable();
        took
    }
}
