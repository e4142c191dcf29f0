//! `kavka groups reset-offsets`.

use std::collections::BTreeMap;
use std::io::Write;

use clap::Args;
use kavka_std::{CommittedOffset, NewOffset, Start};
use serde_json::json;

use super::places::{Found, Places, missing, readable};
use super::target::{Place, Rule, Target};
use super::text::counted;
use super::{Failure, group_id, lines};
use crate::streams::Out;

#[derive(Args)]
pub(crate) struct Options {
    /// Its id
    #[arg(value_parser = group_id)]
    group: String,
    /// A topic T, or partitions of it, such as T:0,3; may be repeated
    #[arg(
        short,
        long,
        value_name = "T[:P,P]",
        required_unless_present = "all_topics",
        conflicts_with = "all_topics"
    )]
    topic: Vec<Place>,
    /// All topics that the group has offsets of
    #[arg(long)]
    all_topics: bool,
    #[command(flatten)]
    target: Target,
    /// Change the offsets, in place of only printing them
    #[arg(long)]
    execute: bool,
    /// One JSON object per partition
    #[arg(long)]
    json: bool,
}

impl Options {
    /// What a signal may leave undone.
    pub(super) fn doing(&self) -> String {
        let may = if self.execute { " (it may happen all the same)" } else { "" };
        format!("reset offsets of group {}{may}", self.group)
    }
}

/// A partition, with the offset before and after.
struct Change {
    topic: String,
    partition: u32,
    before: Option<CommittedOffset>,
    after: i64,
    /// How the wish was moved into the log.
    note: Option<&'static str>,
}

pub(super) fn run(places: &Places, options: &Options, out: &mut Out) -> Result<(), Failure> {
    let group = &options.group;
    let committed = places.wait(places.admin().group_offsets(group))?;
    // A group that does not exist (yet) has no members.
    let described = places.result(places.admin().describe_group(group))?;
    let members = match described {
        Ok(described) => described.members.len(),
        Err(error) if error.code().is_some_and(|code| code.0 == NOT_FOUND) => 0,
        Err(error) => return Err(error.into()),
    };
    let mut known: BTreeMap<(String, u32), CommittedOffset> = BTreeMap::new();
    for at in committed {
        known.insert((at.topic.clone(), at.partition), at);
    }
    let mut changes = Vec::new();
    let mut bad = Vec::new();
    for place in wanted(options, &known) {
        plan(places, &place, options.target.rule(), &known, (&mut changes, &mut bad))?;
    }
    // All or nothing: half of a reset would have to be found out afterwards.
    if !bad.is_empty() {
        bad.push("nothing was changed".to_owned());
        return Err(Failure::Several(bad));
    }
    if members > 0 {
        let members = counted(members as u64, "member");
        let why = format!("group {group} has {members}: stop them first");
        if options.execute {
            return Err(Failure::Failed(format!("{why}; nothing was changed")));
        }
        lines::notice(&why);
    }
    if options.execute {
        execute(places, group, &changes)?;
    }
    print(out, options, &changes)?;
    if !options.execute {
        out.flush()?;
        lines::notice("nothing was changed; add --execute to change the offsets");
    }
    Ok(())
}

/// The code of a group that does not exist.
const NOT_FOUND: i16 = 69;

type Known = BTreeMap<(String, u32), CommittedOffset>;

/// The partitions that are to be changed, by topic.
fn wanted(options: &Options, known: &Known) -> Vec<Place> {
    if !options.all_topics {
        return options.topic.clone();
    }
    let mut places: Vec<Place> = Vec::new();
    for (topic, partition) in known.keys() {
        match places.last_mut() {
            Some(Place { topic: last, partitions: Some(list) }) if last == topic => {
                list.push(*partition);
            }
            _ => places.push(Place { topic: topic.clone(), partitions: Some(vec![*partition]) }),
        }
    }
    places
}

/// Finds the new offsets of a topic, or why some cannot be found.
fn plan(
    places: &Places,
    place: &Place,
    rule: Rule,
    known: &Known,
    (changes, bad): (&mut Vec<Change>, &mut Vec<String>),
) -> Result<(), Failure> {
    let described = match places.describe(&place.topic)? {
        Ok(described) => described,
        Err(why) => {
            bad.push(why);
            return Ok(());
        }
    };
    let (led, leaderless) = readable(&described, None);
    let list = match &place.partitions {
        None => {
            bad.extend(leaderless);
            led
        }
        Some(list) => {
            let count = described.partitions.len();
            for partition in list.iter().filter(|at| !led.contains(at)) {
                bad.push(match described.partitions.iter().any(|at| at.index == *partition) {
                    true => format!("{}, partition {partition}: it has no leader", place.topic),
                    false => missing(&place.topic, *partition, count),
                });
            }
            list.iter().copied().filter(|at| led.contains(at)).collect()
        }
    };
    let mut starts = vec![Start::Earliest, Start::Latest];
    if let Rule::At(start @ Start::Timestamp(_)) = rule {
        starts.push(start);
    }
    let Found { good: rows, bad: more, .. } = places.offsets(&place.topic, &list, &starts)?;
    bad.extend(more);
    for (partition, offsets) in rows {
        let before = known.get(&(place.topic.clone(), partition)).filter(|at| at.error.0 == 0);
        match after(rule, before, &offsets) {
            Ok((after, note)) => changes.push(Change {
                topic: place.topic.clone(),
                partition,
                before: before.cloned(),
                after,
                note,
            }),
            Err(why) => bad.push(format!("{}, partition {partition}: {why}", place.topic)),
        }
    }
    Ok(())
}

/// Returns the new offset within the log, and how the wish was moved into it.
fn after(
    rule: Rule,
    before: Option<&CommittedOffset>,
    offsets: &[i64],
) -> Result<(i64, Option<&'static str>), &'static str> {
    let (start, end, at) = match *offsets {
        [start, end] => (start, end, None),
        [start, end, at] => (start, end, Some(at)),
        _ => return Err("the ends of its log are not known"),
    };
    let wish = match rule {
        Rule::At(Start::Latest) => end,
        Rule::At(Start::Timestamp(_)) => at.unwrap_or(end),
        Rule::At(_) => start,
        Rule::Offset(offset) => offset,
        Rule::Shift(by) => match before {
            Some(before) => before.offset.saturating_add(by),
            None => return Err("nothing is committed there that could be shifted"),
        },
    };
    Ok(match wish {
        wish if wish < start => (start, Some("moved to the first record")),
        wish if wish > end => (end, Some("moved to the end")),
        wish => (wish, None),
    })
}

fn execute(places: &Places, group: &str, changes: &[Change]) -> Result<(), Failure> {
    let mut topics: BTreeMap<&str, Vec<NewOffset>> = BTreeMap::new();
    for change in changes {
        let mut new = NewOffset::new(change.partition, change.after);
        // A member of kavka keeps there when it saw the topic first.
        if let Some(before) = &change.before {
            new.metadata.clone_from(&before.metadata);
        }
        topics.entry(&change.topic).or_default().push(new);
    }
    for (topic, offsets) in topics {
        places.wait(places.admin().set_group_offsets(group, topic, &offsets))?;
    }
    Ok(())
}

fn print(out: &mut Out, options: &Options, changes: &[Change]) -> Result<(), Failure> {
    if !options.json {
        writeln!(out, "topic\tpartition\tbefore\tafter")?;
    }
    for change in changes {
        let Change { topic, partition, before, after, note } = change;
        let before = before.as_ref().map(|before| before.offset);
        if options.json {
            let line = json!({
                "group": options.group, "topic": topic, "partition": partition, "before": before,
                "after": after, "note": note, "executed": options.execute,
            });
            writeln!(out, "{line}")?;
            continue;
        }
        let before = before.map_or_else(|| "-".to_owned(), |before| before.to_string());
        write!(out, "{topic}\t{partition}\t{before}\t{after}")?;
        match note {
            Some(note) => writeln!(out, "\t{note}")?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kavka_std::kavka_core::wire::ErrorCode;

    use super::*;

    fn at(offset: i64) -> CommittedOffset {
        CommittedOffset {
            topic: "t".to_owned(),
            partition: 0,
            offset,
            leader_epoch: -1,
            metadata: String::new(),
            error: ErrorCode(0),
        }
    }

    #[test]
    fn new_offsets_lie_in_the_log() {
        let low = Some("moved to the first record");
        let high = Some("moved to the end");
        let (earliest, latest) = (Rule::At(Start::Earliest), Rule::At(Start::Latest));
        let time = Rule::At(Start::Timestamp(7));
        for (rule, before, offsets, wanted) in [
            (earliest, None, &[3, 9][..], (3, None)),
            (latest, None, &[3, 9], (9, None)),
            (time, None, &[3, 9, 5], (5, None)),
            (Rule::Offset(4), None, &[3, 9], (4, None)),
            (Rule::Offset(9), None, &[3, 9], (9, None)),
            (Rule::Offset(10), None, &[3, 9], (9, high)),
            (Rule::Offset(0), None, &[3, 9], (3, low)),
            (Rule::Shift(-2), Some(8), &[3, 9], (6, None)),
            (Rule::Shift(-6), Some(8), &[3, 9], (3, low)),
            (Rule::Shift(i64::MAX), Some(8), &[3, 9], (9, high)),
            (Rule::Shift(i64::MIN), Some(8), &[3, 9], (3, low)),
        ] {
            let before = before.map(at);
            assert_eq!(after(rule, before.as_ref(), offsets), Ok(wanted), "{rule:?}");
        }
        assert!(after(Rule::Shift(1), None, &[3, 9]).is_err());
        assert!(after(earliest, None, &[3]).is_err());
    }
}
