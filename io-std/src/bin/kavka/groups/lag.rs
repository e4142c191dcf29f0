//! `kavka groups lag`.

use core::fmt::Display;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::Write;

use kavka_std::kavka_core::Error as Core;
use kavka_std::{CommittedOffset, Error, ErrorKind, GroupDescription, Start};
use serde_json::json;

use super::places::{Found, Places, readable, say_all};
use super::{Failure, failure};
use crate::streams::Out;

/// The code of a group that does not exist.
const NOT_FOUND: i16 = 69;

/// Where a group is in a partition.
struct Row<'a> {
    topic: &'a str,
    partition: u32,
    committed: Option<i64>,
    /// Where the log begins and ends, if that is known.
    log: Option<(i64, i64)>,
    /// Client id and address of the member that has it.
    member: Option<(&'a str, &'a str)>,
}

impl Row<'_> {
    /// Offsets from what was committed to the end; `None` where either is not known.
    fn lag(&self) -> Option<i64> {
        let (committed, (_, end)) = (self.committed?, self.log?);
        Some(end.saturating_sub(committed).max(0))
    }

    /// What is wrong with what was committed.
    fn note(&self) -> Option<&'static str> {
        match (self.committed?, self.log?) {
            (at, (start, _)) if at < start => Some("before the log"),
            (at, (_, end)) if at > end => Some("behind the log"),
            _ => None,
        }
    }
}

pub(super) fn run(
    places: &Places,
    group: &str,
    as_json: bool,
    out: &mut Out,
) -> Result<(), Failure> {
    let committed = places.wait(places.admin().group_offsets(group))?;
    let described = match places.result(places.admin().describe_group(group))? {
        Ok(described) => described,
        // Groups of another type have offsets, too.
        Err(error) if is_missing(&error) && !committed.is_empty() => GroupDescription::default(),
        Err(error) => return Err(error.into()),
    };
    let mut wanted: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for at in &committed {
        wanted.entry(&at.topic).or_default().insert(at.partition);
    }
    let of_members = described.members.iter().flat_map(|member| &member.assigned);
    for (topic, partitions) in of_members {
        wanted.entry(topic).or_default().extend(partitions);
    }
    let holders = holders(&described);
    let mut bad = Vec::new();
    let mut total = 0_i64;
    if !as_json {
        writeln!(out, "topic\tpartition\tcommitted\tstart\tend\tlag\tclient\thost")?;
    }
    for (topic, partitions) in &wanted {
        let (logs, more) = ends(places, topic, partitions)?;
        say_all(&more);
        bad.extend(more);
        for &partition in partitions {
            let row = row(topic, partition, &committed, &holders, &logs);
            total = total.saturating_add(row.lag().unwrap_or(0));
            match as_json {
                true => print_json(out, &row)?,
                false => print(out, &row)?,
            }
        }
    }
    bad.extend(committed.iter().filter_map(unknown));
    if !as_json {
        writeln!(out, "total\t\t\t\t\t{total}")?;
    }
    out.flush()?;
    if bad.is_empty() { Ok(()) } else { Err(Failure::Several(bad)) }
}

fn is_missing(error: &Error) -> bool {
    error.code().is_some_and(|code| code.0 == NOT_FOUND)
}

type Logs = BTreeMap<u32, (i64, i64)>;

/// Where the logs of these partitions begin and end, and why that is not known of some.
fn ends(
    places: &Places,
    topic: &str,
    partitions: &BTreeSet<u32>,
) -> Result<(Logs, Vec<String>), Failure> {
    let described = match places.describe(topic)? {
        Ok(described) => described,
        Err(why) => return Ok((Logs::new(), vec![why])),
    };
    let (good, _) = readable(&described, None);
    let led = |partition: &u32| good.contains(partition);
    let (led, other): (Vec<u32>, Vec<u32>) = partitions.iter().partition(|at| led(at));
    let Found { good: rows, mut bad, .. } =
        places.offsets(topic, &led, &[Start::Earliest, Start::Latest])?;
    let missing = |partition: u32| format!("{topic}, partition {partition}: it has no leader");
    bad.extend(other.into_iter().map(missing));
    let ends = |(partition, offsets): (u32, Vec<i64>)| match offsets[..] {
        [start, end] => Some((partition, (start, end))),
        _ => None,
    };
    Ok((rows.into_iter().filter_map(ends).collect(), bad))
}

/// The members by the partitions that they have: client id and address.
type Holders<'a> = HashMap<(&'a str, u32), (&'a str, &'a str)>;

fn holders(group: &GroupDescription) -> Holders<'_> {
    let mut holders = Holders::new();
    for member in &group.members {
        for (topic, partitions) in &member.assigned {
            let holder = (member.client_id.as_str(), member.host.as_str());
            holders.extend(partitions.iter().map(|at| ((topic.as_str(), *at), holder)));
        }
    }
    holders
}

fn row<'a>(
    topic: &'a str,
    partition: u32,
    committed: &[CommittedOffset],
    holders: &Holders<'a>,
    logs: &Logs,
) -> Row<'a> {
    // They are sorted.
    let order = |at: &CommittedOffset| (&*at.topic, at.partition).cmp(&(topic, partition));
    let found = committed.binary_search_by(order).ok().and_then(|at| committed.get(at));
    let committed = found.filter(|at| at.error.0 == 0).map(|at| at.offset);
    let member = holders.get(&(topic, partition)).copied();
    Row { topic, partition, committed, log: logs.get(&partition).copied(), member }
}

fn known(number: Option<impl Display>) -> String {
    number.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

fn print(out: &mut Out, row: &Row<'_>) -> Result<(), Failure> {
    let (client, host) = row.member.unwrap_or(("-", "-"));
    let (start, end) = (known(row.log.map(|(start, _)| start)), known(row.log.map(|(_, end)| end)));
    let (committed, lag) = (known(row.committed), known(row.lag()));
    write!(out, "{}\t{}\t{committed}\t{start}\t{end}\t{lag}", row.topic, row.partition)?;
    write!(out, "\t{client}\t{host}")?;
    if let Some(note) = row.note() {
        write!(out, "\t{note}")?;
    }
    Ok(writeln!(out)?)
}

fn print_json(out: &mut Out, row: &Row<'_>) -> Result<(), Failure> {
    let line = json!({
        "topic": row.topic, "partition": row.partition, "committed": row.committed,
        "start": row.log.map(|(start, _)| start), "end": row.log.map(|(_, end)| end),
        "lag": row.lag(), "client_id": row.member.map(|(client, _)| client),
        "host": row.member.map(|(_, host)| host), "note": row.note(),
    });
    Ok(writeln!(out, "{line}")?)
}

/// Why a partition has no result, for a message.
fn unknown(at: &CommittedOffset) -> Option<String> {
    (at.error.0 != 0).then(|| {
        let why = failure::describe(&ErrorKind::Kafka(Core::Broker(at.error)).into());
        format!("{}, partition {}: {why}", at.topic, at.partition)
    })
}
