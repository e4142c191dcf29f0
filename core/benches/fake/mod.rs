//! A broker in memory, to measure the core alone: no sockets, no allocation after its creation, and
//! as little work as possible per response. One node leads every partition of one topic,
//! acknowledges all batches and has unlimited records. It trusts the client; brokers that check
//! requests are simulated elsewhere.

extern crate alloc; // a device includes this file, too

mod codec;
mod wire;

use self::alloc::vec;
use self::alloc::vec::Vec;

use kavka_core::record::{HEADER_LEN, Record, Seal, encoded_len, seal, write};
use kavka_core::wire::{Full, Sink};
use kavka_core::{Action, Client, Commands, Config, ConnId, Event, Instant, Storage, TopicId};

use codec::{Cursor, Frame};

/// The only topic.
pub(crate) const TOPIC: &str = "readings";
/// Connections that a client may have.
const CONNS: usize = 4;
const PRODUCER_ID: i64 = 7;
/// Space for the responses of one connection: on a host enough for all, so that nothing is
/// allocated during a measurement.
const LINE: usize = if cfg!(target_os = "none") { 2048 } else { 1 << 19 };

/// Responses of one connection that were not received yet.
#[derive(Default)]
struct Line {
    out: Vec<u8>,
    at: usize,
    /// The Fetch response follows this many bytes of `out`; how much of it was sent.
    fetch: Option<(usize, usize)>,
}

/// See the module.
pub(crate) struct Fake {
    partitions: u32,
    lines: [Line; CONNS],
    /// Next offset of produced records, and (`positions`) of fetches.
    ends: Vec<i64>,
    positions: Vec<i64>,
    /// The Fetch response, built once; correlation id and base offsets are filled in.
    fetch: Vec<u8>,
    /// Its batches: partition, where they begin, records.
    batches: Vec<(usize, usize, i64)>,
    /// Records of all Produce requests.
    pub(crate) produced: u64,
    /// Bytes of all responses that were received.
    pub(crate) bytes_out: u64,
}

impl Fake {
    /// Creates a topic of `partitions` partitions; Fetch responses hold `per_partition` times
    /// `batch` of each of the first six.
    pub(crate) fn new(partitions: u32, batch: &[u8], per_partition: usize) -> Self {
        let shown = partitions.min(6) as usize;
        let line = || Line { out: Vec::with_capacity(LINE), ..Line::default() };
        let (fetch, batches) = wire::fetch_response(shown, batch, per_partition);
        Self {
            partitions,
            lines: core::array::from_fn(|_| line()),
            ends: vec![0; partitions as usize],
            positions: vec![0; partitions as usize],
            fetch,
            batches,
            produced: 0,
            bytes_out: 0,
        }
    }

    /// Reads requests, all of them whole; returns their bytes.
    fn read<'a>(&mut self, conn: ConnId, slices: impl Iterator<Item = &'a [u8]>) -> usize {
        let mut from = Cursor::new(slices);
        while let Some(length) = from.length() {
            let end = from.read + length;
            let api = i16::from_be_bytes(from.take());
            let version = i16::from_be_bytes(from.take());
            let correlation = i32::from_be_bytes(from.take());
            let client_id = u16::from_be_bytes(from.take());
            from.skip(usize::from(client_id) + 1);
            self.respond(conn, api, version, correlation, &mut from);
            from.skip(end - from.read);
        }
        from.read
    }

    fn respond<'a, I: Iterator<Item = &'a [u8]>>(
        &mut self,
        conn: ConnId,
        api: i16,
        version: i16,
        correlation: i32,
        from: &mut Cursor<'a, I>,
    ) {
        let line = &mut self.lines[conn.slot()];
        if api == 1 {
            wire::fetch_request(from, |partition, offset| self.positions[partition] = offset);
            self.fetch[4..8].copy_from_slice(&correlation.to_be_bytes());
            for (partition, at, records) in &self.batches {
                let offset = &mut self.positions[*partition];
                self.fetch[*at..*at + 8].copy_from_slice(&offset.to_be_bytes());
                *offset += records;
            }
            line.fetch = Some((line.out.len(), 0));
            return;
        }
        let mut frame = Frame::begin(&mut line.out, correlation, api != 18);
        match api {
            0 => {
                let ends = &mut self.ends;
                self.produced += wire::produce(from, &mut frame, |partition, records| {
                    let base = ends[partition];
                    ends[partition] += records;
                    base
                });
            }
            2 => wire::list_offsets(from, &mut frame, self.partitions),
            3 => wire::metadata(from, &mut frame, self.partitions),
            18 => wire::api_versions(&mut frame),
            22 => wire::producer_id(&mut frame, PRODUCER_ID),
            _ => panic!("API {api} version {version} was not offered"),
        }
        frame.end();
    }

    /// Puts responses into `room`; returns how many bytes.
    fn write(&mut self, conn: ConnId, room: &mut [u8]) -> usize {
        let line = &mut self.lines[conn.slot()];
        let mut len = 0;
        while len < room.len() {
            let rest = match &line.fetch {
                Some((after, at)) if line.at == *after => &self.fetch[*at..],
                Some((after, _)) => &line.out[line.at..*after],
                None => &line.out[line.at..],
            };
            let n = rest.len().min(room.len() - len);
            room[len..len + n].copy_from_slice(&rest[..n]);
            len += n;
            match &mut line.fetch {
                Some((after, at)) if line.at == *after => {
                    *at += n;
                    if *at == self.fetch.len() {
                        line.fetch = None;
                    }
                }
                _ => line.at += n,
            }
            if line.fetch.is_none() && line.at == line.out.len() {
                line.out.clear();
                line.at = 0;
                break;
            }
        }
        self.bytes_out += len as u64;
        len
    }
}

/// A client, its broker, and the loop between them. The clock is virtual.
pub(crate) struct Machine<'d> {
    /// The client.
    pub(crate) client: Client<'d>,
    /// The broker.
    pub(crate) fake: Fake,
    /// The time.
    pub(crate) now: Instant,
    /// The topic.
    pub(crate) topic: TopicId,
    conns: [Option<ConnId>; CONNS],
    /// Most bytes that are received at a time.
    piece: usize,
}

impl<'d> Machine<'d> {
    /// Starts a client; the topic is not known yet.
    pub(crate) fn new(config: Config<'d>, storage: Storage<'d>, fake: Fake, piece: usize) -> Self {
        let mut client = Client::new(config, storage, [7; 32]).expect("a good configuration");
        let now = Instant::from_millis(1);
        client.set_wall_clock(now, 1_700_000_000_000);
        let topic = client.topic(TOPIC).expect("a good name");
        Self { client, fake, now, topic, conns: [None; CONNS], piece }
    }

    /// Runs turns until `done` returns true for an event.
    pub(crate) fn until(&mut self, mut done: impl FnMut(&Event<'_>) -> bool) {
        let mut over = false;
        for _ in 0..10_000 {
            self.pass(1000);
            self.turn(|event, _| over |= done(&event));
            if over {
                return;
            }
        }
        panic!("it does not come");
    }

    /// Lets time pass.
    pub(crate) fn pass(&mut self, micros: u64) {
        self.now = Instant::from_micros(self.now.as_micros() + micros);
    }

    /// Runs one round of an event loop: actions, bytes out, bytes in, events.
    pub(crate) fn turn(&mut self, mut on: impl FnMut(Event<'_>, &mut Commands<'d>)) {
        let Self { client, fake, now, conns, piece, .. } = self;
        client.handle_timeout(*now);
        while let Some(action) = client.poll_action(*now) {
            match action {
                Action::Connect { conn } => {
                    conns[conn.slot()] = Some(conn);
                    client.handle_connected(*now, conn);
                }
                Action::Close { conn } => panic!("the client closed {conn:?}"),
                _ => {}
            }
        }
        for conn in conns.iter().flatten() {
            if let Some(slices) = client.poll_transmit(*now, *conn) {
                let len = fake.read(*conn, slices);
                client.handle_transmitted(*now, *conn, len);
            }
            let room = client.recv_buffer(*conn);
            let most = room.len().min(*piece);
            let len = fake.write(*conn, &mut room[..most]);
            if len > 0 {
                client.handle_received(*now, *conn, len);
            }
        }
        while let Some((event, commands)) = client.poll_event(*now) {
            on(event, commands);
        }
    }
}

/// Returns a batch of records of `value` that is about `bytes` long.
pub(crate) fn batch(value: &[u8], bytes: usize) -> Vec<u8> {
    struct Grows(Vec<u8>);
    impl Sink for Grows {
        fn put(&mut self, bytes: &[u8]) -> Result<(), Full> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }
    let (mut body, mut count) = (Grows(Vec::new()), 0);
    let record = Record::new(value);
    while HEADER_LEN + body.0.len() + encoded_len(&record, count, 0) <= bytes {
        write(&mut body, &record, count, 0).expect("a vector grows");
        count += 1;
    }
    let about = Seal {
        producer_id: PRODUCER_ID,
        producer_epoch: 0,
        base_sequence: 0,
        count,
        base_timestamp: 1_700_000_000_000,
        max_timestamp: 1_700_000_000_000,
        transactional: false,
        codec: 0,
    };
    let header = seal(&about, core::iter::once(&body.0[..])).expect("it has records");
    [&header[..], &body.0].concat()
}
