//! Brokers in memory to measure one step of the core in a large cluster: many topics and
//! partitions, each broker with connections of its own. Nothing happens by itself here: a Fetch
//! request is held until the bench responds to it.

extern crate alloc; // what is shared with the other broker in memory names it

#[path = "../fake/codec.rs"]
mod codec;

use kavka_core::ConnId;

use codec::{Cursor, Frame};

/// API keys with the versions that are offered.
const OFFERED: [(i16, i16, i16); 6] =
    [(0, 3, 12), (1, 4, 12), (2, 1, 7), (3, 1, 12), (18, 0, 5), (22, 0, 4)];
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
/// Port of the first broker; the others follow.
pub(crate) const PORT: u16 = 9092;

/// Name of a topic.
pub(crate) fn name(topic: usize) -> String {
    format!("readings-{topic:04}")
}

/// Its number.
fn number(name: &str) -> usize {
    name.rsplit('-').next().and_then(|digits| digits.parse().ok()).expect("a name of ours")
}

/// One connection.
pub(crate) struct Line {
    /// The client's name for it.
    pub(crate) id: ConnId,
    /// Responses that were not received yet.
    pub(crate) out: Vec<u8>,
    /// Correlation id of the Fetch request that waits.
    pub(crate) held: Option<i32>,
    /// Partitions that are new in its session: the next response names them.
    new: Vec<usize>,
}

/// See the module.
pub(crate) struct Cluster {
    pub(crate) partitions: usize,
    pub(crate) brokers: usize,
    /// Connections by their slot.
    pub(crate) lines: Vec<Option<Line>>,
    /// Of each partition: the slot whose fetch session has it.
    pub(crate) readers: Vec<Option<usize>>,
    /// Of each partition: the next offset.
    ends: Vec<i64>,
    /// Records of all Produce requests.
    pub(crate) produced: u64,
}

impl Cluster {
    pub(crate) fn new(topics: usize, partitions: usize, brokers: usize) -> Self {
        Self {
            partitions,
            brokers,
            lines: Vec::new(),
            readers: vec![None; topics * partitions],
            ends: vec![0; topics * partitions],
            produced: 0,
        }
    }

    fn leader(&self, topic: usize, partition: usize) -> usize {
        (topic * 7 + partition) % self.brokers
    }

    pub(crate) fn connect(&mut self, id: ConnId) {
        let slot = id.slot();
        if self.lines.len() <= slot {
            self.lines.resize_with(slot + 1, || None);
        }
        self.lines[slot] = Some(Line { id, out: Vec::new(), held: None, new: Vec::new() });
    }

    /// Closes a connection; its session ends with it.
    pub(crate) fn close(&mut self, id: ConnId) {
        self.lines[id.slot()] = None;
        for reader in self.readers.iter_mut().filter(|reader| **reader == Some(id.slot())) {
            *reader = None;
        }
    }

    fn line(&mut self, slot: usize) -> &mut Line {
        self.lines[slot].as_mut().expect("a connection that is there")
    }

    /// Reads requests, all of them whole.
    pub(crate) fn read(&mut self, slot: usize, bytes: &[u8]) {
        let mut from = Cursor::new(core::iter::once(bytes));
        while from.read < bytes.len() {
            let Some(length) = from.length() else { break };
            let end = from.read + length;
            let api = i16::from_be_bytes(from.take());
            let version = i16::from_be_bytes(from.take());
            let correlation = i32::from_be_bytes(from.take());
            let client_id = u16::from_be_bytes(from.take());
            from.skip(usize::from(client_id) + 1);
            self.respond(slot, api, version, correlation, &mut from);
            from.skip(end - from.read);
        }
    }

    fn respond<'a, I: Iterator<Item = &'a [u8]>>(
        &mut self,
        slot: usize,
        api: i16,
        version: i16,
        correlation: i32,
        from: &mut Cursor<'a, I>,
    ) {
        if api == 1 {
            self.line(slot).held = Some(correlation);
            if self.read_fetch(slot, from) {
                self.respond_to_fetch(slot, None);
            }
            return;
        }
        let mut out = core::mem::take(&mut self.line(slot).out);
        let mut to = Frame::begin(&mut out, correlation, api != 18);
        match api {
            0 => self.produce(from, &mut to),
            2 => self.list_offsets(from, &mut to),
            3 => self.metadata(from, &mut to),
            18 => api_versions(&mut to),
            22 => producer_id(&mut to),
            _ => panic!("API {api} version {version} was not offered"),
        }
        to.end();
        self.line(slot).out = out;
    }

    fn metadata<'a, I: Iterator<Item = &'a [u8]>>(
        &self,
        from: &mut Cursor<'a, I>,
        to: &mut Frame<'_>,
    ) {
        let topics = from.compact();
        to.i32(0);
        to.compact(self.brokers);
        for node in 0..self.brokers {
            to.i32(node as i32);
            to.text("localhost");
            to.i32(i32::from(PORT) + node as i32);
            to.null(); // Rack.
            to.no_tags();
        }
        to.null(); // Cluster id.
        to.i32(0);
        to.compact(topics);
        for _ in 0..topics {
            from.skip(16);
            let topic = number(&text(from));
            from.skip(1);
            to.i16(0);
            to.text(&name(topic));
            to.bytes(&(topic as u128 + 1).to_be_bytes());
            to.bytes(&[0]);
            to.compact(self.partitions);
            for index in 0..self.partitions {
                let leader = self.leader(topic, index) as i32;
                to.i16(0);
                to.i32(index as i32);
                to.i32(leader);
                to.i32(0);
                for _ in ["replicas", "in-sync replicas"] {
                    to.compact(1);
                    to.i32(leader);
                }
                to.compact(0); // Offline replicas.
                to.no_tags();
            }
            to.i32(i32::MIN);
            to.no_tags();
        }
        to.no_tags();
    }

    fn produce<'a, I: Iterator<Item = &'a [u8]>>(
        &mut self,
        from: &mut Cursor<'a, I>,
        to: &mut Frame<'_>,
    ) {
        from.skip(1 + 2 + 4);
        let topics = from.compact();
        to.compact(topics);
        for _ in 0..topics {
            let topic = number(&text(from));
            to.text(&name(topic));
            let partitions = from.compact();
            to.compact(partitions);
            for _ in 0..partitions {
                let index = from.i32();
                let len = from.compact();
                from.skip(57);
                let count = i64::from(from.i32());
                from.skip(len - 61 + 1);
                self.produced += count.unsigned_abs();
                // They are not fetched: producer and consumer have separate logs.
                to.i32(index);
                to.i16(0);
                to.i64(0);
                to.i64(-1);
                to.i64(0);
                to.compact(0);
                to.null();
                to.no_tags();
            }
            from.skip(1);
            to.no_tags();
        }
        to.i32(0);
        to.no_tags();
    }

    fn list_offsets<'a, I: Iterator<Item = &'a [u8]>>(
        &self,
        from: &mut Cursor<'a, I>,
        to: &mut Frame<'_>,
    ) {
        from.skip(4 + 1);
        let topics = from.compact();
        to.i32(0);
        to.compact(topics);
        for _ in 0..topics {
            to.text(&text(from));
            let partitions = from.compact();
            to.compact(partitions);
            for _ in 0..partitions {
                let index = from.i32();
                from.skip(4 + 8 + 1);
                let is_known = (index as usize) < self.partitions;
                to.i32(index);
                to.i16(if is_known { 0 } else { UNKNOWN_TOPIC_OR_PARTITION });
                to.i64(-1);
                to.i64(if is_known { 0 } else { -1 });
                to.i32(if is_known { 0 } else { -1 });
                to.no_tags();
            }
            from.skip(1);
            to.no_tags();
        }
        to.no_tags();
    }

    /// Returns whether the request begins a session, which gets a response at once.
    fn read_fetch<'a, I: Iterator<Item = &'a [u8]>>(
        &mut self,
        slot: usize,
        from: &mut Cursor<'a, I>,
    ) -> bool {
        from.skip(4 + 4 + 4 + 4 + 1 + 4);
        let epoch = from.i32();
        for _ in 0..from.compact() {
            let topic = number(&text(from));
            for _ in 0..from.compact() {
                let at = topic * self.partitions + from.i32() as usize;
                from.skip(4);
                let offset = i64::from_be_bytes(from.take());
                assert_eq!(offset, self.ends[at], "where the log ends");
                from.skip(4 + 8 + 4 + 1);
                if self.readers[at].replace(slot) != Some(slot) || epoch == 0 {
                    self.line(slot).new.push(at);
                }
            }
            from.skip(1);
        }
        epoch == 0
    }

    /// Responds to the held Fetch request, with one record of a partition or none.
    pub(crate) fn respond_to_fetch(&mut self, slot: usize, with: Option<(usize, &[u8])>) {
        let correlation = self.line(slot).held.take().expect("a request that waits");
        let mut out = core::mem::take(&mut self.line(slot).out);
        let mut to = Frame::begin(&mut out, correlation, true);
        to.i32(0);
        to.i16(0);
        to.i32(77 + slot as i32);
        let mut all: Vec<(usize, Option<&[u8]>)> =
            core::mem::take(&mut self.line(slot).new).into_iter().map(|at| (at, None)).collect();
        all.retain(|(at, _)| with.is_none_or(|(other, _)| *at != other));
        all.extend(with.map(|(at, batch)| (at, Some(batch))));
        all.sort_unstable_by_key(|(at, _)| *at);
        let topics = all.chunk_by(|a, b| a.0 / self.partitions == b.0 / self.partitions);
        to.compact(topics.clone().count());
        for topic in topics {
            to.text(&name(topic[0].0 / self.partitions));
            to.compact(topic.len());
            for (at, batch) in topic {
                let offset = self.ends[*at];
                self.ends[*at] += i64::from(batch.is_some());
                to.i32((at % self.partitions) as i32);
                to.i16(0);
                to.i64(self.ends[*at]);
                to.i64(self.ends[*at]);
                to.i64(0);
                to.null(); // Aborted transactions.
                to.i32(-1);
                match batch {
                    Some(batch) => {
                        to.compact(batch.len());
                        to.bytes(&offset.to_be_bytes());
                        to.bytes(&batch[8..]);
                    }
                    None => to.compact(0),
                }
                to.no_tags();
            }
            to.no_tags();
        }
        to.no_tags();
        to.end();
        self.line(slot).out = out;
    }
}

fn text<'a, I: Iterator<Item = &'a [u8]>>(from: &mut Cursor<'a, I>) -> String {
    let len = from.compact();
    (0..len).map(|_| char::from(from.take::<1>()[0])).collect()
}

fn api_versions(to: &mut Frame<'_>) {
    to.i16(0);
    to.compact(OFFERED.len());
    for (api, min, max) in OFFERED {
        to.i16(api);
        to.i16(min);
        to.i16(max);
        to.no_tags();
    }
    to.i32(0);
    to.no_tags();
}

fn producer_id(to: &mut Frame<'_>) {
    to.i32(0);
    to.i16(0);
    to.i64(7);
    to.i16(0);
    to.no_tags();
}
