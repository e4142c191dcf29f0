//! What is read: from where, and with `--exit` up to where.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::{Duration, Instant};

use kavka_std::kavka_core::Unreadable;
use kavka_std::kavka_core::record::{BatchHeader, HEADER_LEN, check_records};
use kavka_std::{ChunkBatch, Consumer, ErrorKind, OutOfRange, Start};

use super::Options;
use super::offset::Offset;
use super::search::{Part, Search};
use crate::common::Settings;
use crate::notices::no_offset;
use crate::places::{Found, Places, readable, say_all};
use crate::{Failure, failure, lines};

/// Partitions that a message names; the others are counted.
const NAMED: usize = 5;

#[derive(Default)]
pub(super) struct Plan {
    /// Topic, partition and start of each; without, everything of all topics.
    pub(super) list: Option<Vec<(String, u32, Start)>>,
    /// With `--exit`: where each partition ends.
    ends: Option<HashMap<String, BTreeMap<u32, End>>>,
    /// Partitions that are not read to their end yet.
    left: usize,
    /// Why some partitions cannot be read.
    bad: Vec<String>,
    /// Partitions that are not read further.
    stopped: HashSet<(String, u32)>,
    /// Partitions that are known of each topic.
    known: HashMap<String, u32>,
    /// Ends and starts that are not known yet.
    search: Option<Search>,
    offset: Option<Offset>,
    /// What happens outside of the log.
    reset: Option<OutOfRange>,
    /// With `-o -N`: partitions known of each topic. Later ones are read from their first record.
    grown: HashMap<String, u32>,
}

/// Where reading begins that is to begin at an offset: as Java's consumer, by `auto.offset.reset`
/// outside of the log. `None`: nowhere.
fn within(offset: i64, (first, end): (i64, i64), reset: Option<OutOfRange>) -> Option<i64> {
    match reset {
        _ if (first..=end).contains(&offset) => Some(offset),
        Some(OutOfRange::Earliest) => Some(first),
        Some(OutOfRange::Latest) => Some(end),
        Some(OutOfRange::Stop) => None,
        _ => Some(offset.max(first).min(end)),
    }
}

#[derive(Clone, Copy)]
struct End {
    position: i64,
    end: i64,
    /// Something was read of it, so that the position is behind a batch.
    read: bool,
    /// The batch that reaches the end claims more offsets than it has records, since then: the end
    /// of the partition, as a response has it, shows what it hides.
    doubted: Option<Instant>,
}

/// How long that end is waited for.
const DOUBT: Duration = Duration::from_secs(1);

impl Plan {
    pub(super) fn find(
        settings: &Settings,
        options: &Options,
        offset: Offset,
    ) -> Result<Self, Failure> {
        let mut plan = Self::default();
        let from_end = matches!(offset, Offset::FromEnd(_));
        if !options.exit && !from_end && options.partition.is_none() {
            return Ok(plan);
        }
        if options.exit {
            plan.ends = Some(HashMap::new());
        }
        plan.offset = Some(offset);
        plan.reset = settings.properties.out_of_range;
        let mut search = Search::new(Places::new(settings)?);
        for name in &options.topics {
            match plan.add(&mut search, options, (name, offset)) {
                // Others would be waited for as long in vain.
                Err(Failure::Failed(why)) if options.exit => {
                    plan.bad.push(why);
                    break;
                }
                added => added?,
            }
        }
        while search.is_early(plan.list.is_some()) {
            for part in search.wait()? {
                plan.bound(&search.places, part);
            }
        }
        plan.search = (!search.is_over()).then_some(search);
        Ok(plan)
    }

    /// Adds the partitions of a topic.
    fn add(
        &mut self,
        search: &mut Search,
        options: &Options,
        (name, offset): (&str, Offset),
    ) -> Result<(), Failure> {
        let from_end = matches!(offset, Offset::FromEnd(_));
        let topic = match search.places.describe(name)? {
            Ok(topic) => topic,
            Err(why) if !options.exit => return Err(Failure::Failed(why)),
            Err(why) => {
                self.cannot(vec![why]);
                return Ok(());
            }
        };
        let (good, bad) = readable(&topic, options.partition);
        let missing = options.partition.filter(|only| topic.partitions.len() <= *only as usize);
        if missing.is_some() && !options.exit {
            return Err(Failure::Several(bad));
        }
        if options.exit || from_end {
            self.cannot(bad);
            let mut starts = vec![Start::Latest, Start::Earliest];
            if let Offset::At(start @ Start::Timestamp(_)) = offset {
                starts.push(start);
            }
            search.add(&topic, &good, &starts);
        }
        if from_end && options.partition.is_none() {
            let count = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
            self.grown.insert(name.to_owned(), count);
        }
        if !options.exit {
            let start = match offset {
                Offset::At(start) => start,
                Offset::FromEnd(_) => Start::Latest,
            };
            let wanted = |index: &u32| options.partition.is_none_or(|only| only == *index);
            let others = topic.partitions.iter().map(|at| at.index).filter(wanted);
            let others = others.filter(|index| !from_end || !good.contains(index));
            self.list_of(name, others, start);
        }
        Ok(())
    }

    /// Partitions that are read from where the client finds their start.
    fn list_of(&mut self, topic: &str, of: impl Iterator<Item = u32>, start: Start) {
        let list = self.list.get_or_insert_default();
        list.extend(of.map(|index| (topic.to_owned(), index, start)));
    }

    /// Notes what cannot be read, or not from where it was wanted. It is printed at once: the end
    /// may be far.
    fn cannot(&mut self, bad: Vec<String>) {
        if self.ends.is_some() {
            say_all(&bad);
            self.bad.extend(bad);
            return;
        }
        // They are read once they can be.
        for why in bad {
            lines::say(&format!("{why}; it will be read from its end"));
        }
    }

    /// What is to be read beside what was known before.
    pub(super) fn found(&mut self) -> Result<Vec<(String, u32, Start)>, Failure> {
        let Some(mut search) = self.search.take() else { return Ok(Vec::new()) };
        let before = self.list.as_ref().map_or(0, Vec::len);
        for part in search.poll(Duration::ZERO)? {
            self.bound(&search.places, part);
        }
        self.search = (!search.is_over()).then_some(search);
        Ok(self.list.iter().flatten().skip(before).cloned().collect())
    }

    /// Notes where some partitions begin and end.
    fn bound(&mut self, places: &Places, part: Part) {
        let (topic, Found { good, failed, bad }) = part;
        self.cannot(bad);
        if self.ends.is_none() {
            self.list_of(&topic.name, failed.into_iter(), Start::Latest);
        }
        let offset = self.offset.unwrap_or(Offset::At(Start::Earliest));
        for (partition, offsets) in good {
            let &[end, first, ref at @ ..] = offsets.as_slice() else { continue };
            let wanted = match offset {
                Offset::At(Start::Earliest) => first,
                Offset::At(Start::Latest) => end,
                Offset::At(Start::Offset(offset)) => offset,
                Offset::At(_) => at.first().copied().unwrap_or(end),
                Offset::FromEnd(n) => end.saturating_sub(n).max(first),
            };
            match within(wanted, (first, end), self.reset) {
                Some(start) => {
                    if start != wanted {
                        lines::notice(&format!(
                            "{}, partition {partition}: position {wanted} -> {start}: {}",
                            topic.name,
                            no_offset(wanted)
                        ));
                    }
                    self.begin(&topic.name, partition, (start, end));
                }
                None => self.cannot(vec![format!(
                    "read {}, partition {partition}: offset {wanted} is out of range: the log has \
                     {first} to {end}, broker {}; choose another (-o), or where to begin instead \
                     (-X auto.offset.reset)",
                    topic.name,
                    places.leader(&topic, partition)
                )]),
            }
        }
    }

    /// Notes where a partition is read from, and up to where.
    fn begin(&mut self, topic: &str, partition: u32, (start, end): (i64, i64)) {
        let bounds = self.ends.as_mut();
        let wanted = bounds.is_none() || start < end;
        if let Some(bounds) = bounds
            && wanted
        {
            let of = bounds.entry(topic.to_owned()).or_default();
            of.insert(partition, End { position: start, end, read: false, doubted: None });
            self.left += 1;
        }
        if wanted {
            let list = self.list.get_or_insert_default();
            list.push((topic.to_owned(), partition, Start::Offset(start)));
        }
    }

    /// Whether everything that there was, or can be, has been read.
    pub(super) fn is_done(&self) -> bool {
        if self.search.is_some() {
            return false;
        }
        let stopped = match (&self.ends, &self.list) {
            (Some(_), _) => return self.left == 0,
            (None, Some(list)) => self.stopped.len() >= list.len(),
            (None, None) => {
                let known = self.known.values().map(|count| *count as usize).sum();
                self.stopped.len() >= known
            }
        };
        stopped && !self.stopped.is_empty()
    }

    /// Notes that a partition is not read further: the others are.
    pub(super) fn stop(&mut self, topic: &str, partition: u32, why: String) {
        if !self.stopped.insert((topic.to_owned(), partition)) {
            return;
        }
        self.passed(topic, partition, i64::MAX);
        if !self.is_done() {
            lines::notice(&why); // the end may be far
        }
        self.bad.push(why);
    }

    /// Notes that records were skipped: the partition is read on.
    pub(super) fn skipped(&mut self, why: String) {
        self.bad.push(why);
    }

    /// Notes how many partitions a topic has.
    pub(super) fn count(&mut self, topic: &str, partitions: u32) {
        self.known.insert(topic.to_owned(), partitions);
    }

    /// Where reading of a partition ends.
    pub(super) fn end(&self, topic: &str, partition: u32) -> i64 {
        match &self.ends {
            None => i64::MAX,
            Some(ends) => {
                let end = ends.get(topic).and_then(|of| of.get(&partition));
                end.map_or(0, |end| end.end)
            }
        }
    }

    /// The partitions that are not read to their ends.
    fn open(&self) -> impl Iterator<Item = (&str, u32, &End)> {
        self.ends.iter().flatten().flat_map(|(topic, of)| {
            let open = of.iter().filter(|(_, at)| at.position < at.end);
            open.map(move |(partition, at)| (topic.as_str(), *partition, at))
        })
    }

    /// The first of them.
    pub(super) fn first_open(&self) -> Option<(String, u32)> {
        let first = self.open().map(|(topic, partition, _)| (topic, partition)).min();
        first.map(|(topic, partition)| (topic.to_owned(), partition))
    }

    /// Notes that the log of a partition ends here now.
    pub(super) fn truncate(&mut self, topic: &str, partition: u32, end: i64) {
        let ends = self.ends.as_mut().and_then(|ends| ends.get_mut(topic));
        let Some(at) = ends.and_then(|of| of.get_mut(&partition)) else { return };
        if end < at.end {
            let was_left = at.position < at.end;
            at.end = end.max(at.position);
            self.left -= usize::from(was_left && at.position >= at.end);
        }
    }

    pub(super) fn passed(&mut self, topic: &str, partition: u32, position: i64) {
        let Some(ends) = &mut self.ends else { return };
        let Some(end) = ends.get_mut(topic).and_then(|of| of.get_mut(&partition)) else { return };
        let was_left = end.position < end.end;
        end.position = end.position.max(position.min(end.end));
        if was_left && end.position >= end.end {
            self.left -= 1;
        }
    }

    /// Handles a batch whose records were read. A batch that claims more offsets than it has hides
    /// what follows, and nothing else may report what is wrong with the last one.
    /// `behind`: first offset behind its records.
    pub(super) fn read(&mut self, batch: &ChunkBatch<'_>, behind: i64) {
        let (topic, partition) = (batch.topic(), batch.partition());
        let fault = self.fault(batch);
        if let Some(at) =
            self.ends.as_mut().and_then(|ends| ends.get_mut(topic)?.get_mut(&partition))
        {
            at.read = true;
            if fault.is_none() && behind < at.end && batch.next_offset() >= at.end {
                at.doubted = Some(Instant::now());
                return;
            }
        }
        match fault {
            Some(why) => {
                self.stop(topic, partition, format!("read {topic}, partition {partition}: {why}"))
            }
            None => self.passed(topic, partition, batch.next_offset()),
        }
    }

    fn fault(&self, batch: &ChunkBatch<'_>) -> Option<String> {
        let at = self.ends.as_ref()?.get(batch.topic())?.get(&batch.partition())?;
        let header = BatchHeader::parse(batch.bytes()).ok()?;
        let (first, next) = (header.base_offset, header.next_offset());
        let End { position, end, read, .. } = *at;
        // Logs end, and batches begin, where another batch ends.
        if first < end && next > end {
            return Some(format!(
                "the batch at offset {first} claims all offsets below {next}, but the log ended at \
                 {end}: records that follow it may be missing"
            ));
        }
        if read && first < position {
            return Some(format!(
                "the batch before offset {position} claims offsets of the one that begins at \
                 {first}: records of that may be missing"
            ));
        }
        if next < end || header.codec() != 0 {
            return None; // a consumer that reads on reports it, and so does unpacking
        }
        let body = batch.bytes().get(HEADER_LEN..).unwrap_or_default();
        let why = check_records(&header, body).err()?.why;
        let why = Unreadable::Malformed(why);
        let kind = ErrorKind::Unreadable { offset: next, next_offset: next, why };
        (batch.next_offset() >= next).then(|| failure::describe(&kind.into()))
    }

    /// Positions also move over what has no records for us.
    pub(super) fn follow(&mut self, consumer: &Consumer) {
        let Some(ends) = &self.ends else { return };
        let certain = |end: &End| end.doubted.is_none_or(|since| since.elapsed() > DOUBT);
        let open = ends.iter().flat_map(|(topic, of)| {
            let open = of.iter().filter(|(_, end)| end.position < end.end && certain(end));
            open.map(|(partition, _)| (topic.clone(), *partition))
        });
        for (topic, partition) in open.collect::<Vec<_>>() {
            if let Some(position) = consumer.position(&topic, partition) {
                self.passed(&topic, partition, position);
            }
        }
    }

    /// Partitions that were added to a topic that is read from near its end.
    pub(super) fn added(&mut self, topic: &str, count: u32) -> core::ops::Range<u32> {
        match self.grown.get_mut(topic) {
            Some(known) if self.ends.is_none() => {
                let from = *known;
                *known = count.max(from);
                from..count
            }
            _ => 0..0,
        }
    }

    /// Of all partitions, how many records are left to read at most.
    pub(super) fn remaining(&self) -> Option<u64> {
        let ends = self.ends.as_ref()?.values().flat_map(|of| of.values());
        Some(ends.map(|at| u64::try_from(at.end - at.position).unwrap_or(0)).sum())
    }

    /// Returns the result at the end: a failure if partitions could not be read.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        if self.bad.is_empty() {
            return Ok(());
        }
        Err(Failure::Several(self.bad.clone()))
    }

    /// No records come although some are left.
    pub(super) fn stalled(&self, why: Option<&str>) -> Failure {
        let mut bad = self.bad.clone();
        let text = |(topic, partition, at): (&str, u32, &End)| {
            let End { position, end, .. } = at;
            format!("{topic}, partition {partition}: no records after {position} of {end}")
        };
        let mut open: Vec<String> = self.open().map(text).collect();
        open.sort();
        let more = open.len().saturating_sub(NAMED);
        open.truncate(NAMED);
        if more > 0 {
            open.push(format!("and {more} partitions more"));
        }
        bad.extend(open);
        if let Some(why) = why {
            bad.push(format!("the last trouble was: {why}"));
        }
        Failure::Several(bad)
    }
}
