//! A whole client against a hostile peer: what the peer sends, and the order of all calls, come
//! from the input.

use kavka_core::codec::{Codec, CompactPack, scratch_bytes};
use kavka_core::time::Duration;
use kavka_core::{
    Acks, Action, Admin, Client, CloseReason, Commands, Config, ConnId, Event, Instant, Isolation,
    OutOfRange, PartitionId, Probing, Record, Resources, Start, TopicId,
};

use crate::input::Input;
use crate::memory::still;
use crate::peer::{Line, Peer};
use crate::watch::Watch;

/// Most calls in one run: inputs should be short.
const CALLS: usize = 600;
/// Rounds after which a client must be at rest while nothing happens.
const REST: usize = 200;

/// Reads memory, compression, configuration, release, then calls.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let first = input.byte();
    // With pieces of so many bytes.
    let packing = match first >> 2 & 3 {
        1 => Some((Codec::Lz4, 150)),
        2 => Some((Codec::Lz4, 4096)),
        3 => Some((Codec::Snappy, 400)),
        _ => None,
    };
    match first & 3 {
        0 => over(Resources::<1, 1, 1, 512, 4>::new(), packing, input),
        1 => over(Resources::<1, 2, 4, 512, 8>::new(), packing, input),
        2 => over(Resources::<2, 2, 4, 1024, 12>::new(), packing, input),
        _ => over(Resources::<4, 2, 3, 4096, 40>::new(), packing, input),
    }
}

fn over<const C: usize, const T: usize, const P: usize, const R: usize, const X: usize>(
    memory: Resources<C, T, P, R, X>,
    packing: Option<(Codec, usize)>,
    mut input: Input<'_>,
) {
    let mut memory = Box::new(memory);
    let mut config = config(&mut input);
    let seed = [input.byte(); 32];
    let mut encoders = CompactPack::new();
    let mut scratch = Vec::new();
    let mut storage = memory.storage();
    if let Some((codec, piece)) = packing {
        config.compression = Some(codec);
        scratch.resize(scratch_bytes(piece), 0);
        storage = storage.packing(&mut encoders, &mut scratch);
    }
    let Ok(client) = Client::new(config, storage, seed) else { return };
    let mut play = Play::new(client, Peer::new(&mut input));
    let mut calls = 0;
    while !input.is_empty() && calls < CALLS {
        play.call(&mut input);
        calls += 1;
    }
    play.comes_to_rest();
}

pub(crate) fn config(input: &mut Input<'_>) -> Config<'static> {
    let mut config = Config::new("b1:9001,b2:9002");
    let flags = input.byte();
    config = config.acks([Acks::All, Acks::All, Acks::Leader, Acks::None][usize::from(flags & 3)]);
    config.idempotence &= flags & 4 == 0;
    config.linger = Duration::from_millis(if flags & 8 == 0 { 0 } else { 5 });
    config.batch_bytes = if flags & 16 == 0 { 16 * 1024 } else { 200 };
    config.read_added_from_first = flags & 32 == 0;
    config.auto_create = flags & 64 != 0;
    if flags & 128 != 0 {
        config.isolation = Isolation::ReadCommitted;
    }
    config.out_of_range = input.pick(&[
        OutOfRange::Nearest,
        OutOfRange::Earliest,
        OutOfRange::Latest,
        OutOfRange::Stop,
    ]);
    config.probing = input.pick(&[Probing::Always, Probing::WhenProducing, Probing::Never]);
    config
}

/// The client, its peer, and what the harness knows of both.
struct Play<'d> {
    client: Client<'d>,
    peer: Peer,
    watch: Watch,
    now: Instant,
    lines: Vec<Line>,
    /// Every connection that ever existed.
    conns: Vec<ConnId>,
    app: App,
}

/// What the application holds. Old ids stay: using them is legal.
#[derive(Default)]
struct App {
    topics: Vec<TopicId>,
    parts: Vec<PartitionId>,
}

impl<'d> Play<'d> {
    fn new(client: Client<'d>, peer: Peer) -> Self {
        let (watch, lines, conns, app) = Default::default();
        let now = Instant::from_millis(3_600_000);
        Self { client, peer, watch, now, lines, conns, app }
    }

    fn call(&mut self, input: &mut Input<'_>) {
        match input.below(16) {
            0 => self.pass(input),
            1 => drop(self.act()),
            2 => {
                if let Some(conn) = self.conn(input) {
                    still(|| self.client.handle_connected(self.now, conn));
                }
            }
            3 => {
                if let Some(conn) = self.conn(input) {
                    let why = input.pick(&[
                        CloseReason::Refused,
                        CloseReason::Unresolved,
                        CloseReason::Reset,
                        CloseReason::Ended,
                        CloseReason::Failed,
                    ]);
                    self.lines.retain(|line| line.conn != conn);
                    still(|| self.client.handle_closed(self.now, conn, why));
                }
            }
            4 => {
                let most = input.below(256);
                if let Some(conn) = self.conn(input) {
                    self.transmit(conn, most);
                }
            }
            5 | 6 => self.respond(input),
            7 => {
                let most = 1 + input.below(256);
                if let Some(conn) = self.conn(input) {
                    self.receive(conn, most);
                }
            }
            8 => {
                let len = input.below(64);
                let bytes = input.take(len);
                let at = input.below(self.lines.len().max(1));
                if let Some(line) = self.lines.get_mut(at) {
                    line.to_client.extend_from_slice(bytes);
                }
            }
            9 => {
                for _ in 0..=input.below(4) {
                    self.event(Some(input));
                }
            }
            10 | 11 => {
                let now = self.now;
                self.app.command(now, &mut self.client, &mut self.watch, input);
            }
            12 => self.peer.change(input),
            13 => self.odd(input),
            _ => self.flow(input),
        }
    }

    /// Makes calls that no adapter should make.
    fn odd(&mut self, input: &mut Input<'_>) {
        let Some(conn) = self.conn(input) else { return };
        let len = input.number() as usize;
        let now = self.now;
        match input.below(5) {
            0 => still(|| self.client.handle_received(now, conn, len)),
            1 => {
                still(|| self.client.handle_transmitted(now, conn, len));
                if let Some(line) = self.lines.iter_mut().find(|line| line.conn == conn) {
                    line.torn = true;
                }
            }
            2 => drop(still(|| self.client.has_event(now))),
            3 => drop(still(|| self.client.address(conn).map(|(host, _)| host.len()))),
            _ => drop(still(|| self.client.poll_timeout())),
        }
    }

    fn conn(&self, input: &mut Input<'_>) -> Option<ConnId> {
        let at = input.below(self.conns.len().max(1));
        // The last ones first: zeros name the newest.
        self.conns.iter().rev().nth(at).copied()
    }

    fn pass(&mut self, input: &mut Input<'_>) {
        let micros = input.pick(&[
            0,
            1,
            999,
            1000,
            5000,
            50_000,
            100_000,
            300_000,
            1_000_000,
            5_000_000,
            31_000_000,
            121_000_000,
            301_000_000,
            300_000_000_000_000,
        ]);
        self.now = self.now + Duration::from_micros(micros);
        still(|| self.client.handle_timeout(self.now));
    }

    fn act(&mut self) -> bool {
        let Some(action) = still(|| self.client.poll_action(self.now)) else { return false };
        match action {
            Action::Connect { conn } => {
                let node = self.peer.node(self.client.address(conn));
                self.conns.push(conn);
                self.lines.push(Line::new(conn, node));
            }
            Action::Close { conn } => self.lines.retain(|line| line.conn != conn),
            other => panic!("an action that is new: {other:?}"),
        }
        true
    }

    /// Lets the transport take at most this many bytes.
    fn transmit(&mut self, conn: ConnId, most: usize) -> bool {
        let Some(slices) = still(|| self.client.poll_transmit(self.now, conn)) else {
            return false;
        };
        let mut bytes = slices.fold(Vec::new(), |mut all, slice| {
            assert!(!slice.is_empty(), "an empty slice to send");
            all.extend_from_slice(slice);
            all
        });
        assert!(!bytes.is_empty(), "nothing to send");
        bytes.truncate(most);
        still(|| self.client.handle_transmitted(self.now, conn, bytes.len()));
        if let Some(line) = self.lines.iter_mut().find(|line| line.conn == conn) {
            line.sent(self.now, &bytes);
        }
        true
    }

    /// Gives the client at most this many of the bytes that wait for it.
    fn receive(&mut self, conn: ConnId, most: usize) -> bool {
        let Some(line) = self.lines.iter_mut().find(|line| line.conn == conn) else { return false };
        let room = still(|| self.client.recv_buffer(conn));
        let len = room.len().min(line.to_client.len()).min(most);
        if len == 0 {
            return false;
        }
        room[..len].copy_from_slice(&line.to_client.split_to(len));
        still(|| self.client.handle_received(self.now, conn, len));
        true
    }

    fn respond(&mut self, input: &mut Input<'_>) {
        let at = input.below(self.lines.len().max(1));
        let Some(line) = self.lines.iter_mut().filter(|line| !line.requested.is_empty()).nth(at)
        else {
            return;
        };
        // Mostly in order, as a broker does.
        let which = if input.one_in(16) { line.requested.len() - 1 } else { 0 };
        let requested = line.requested.remove(which);
        line.to_client.extend_from_slice(&self.peer.respond(&requested, input));
    }

    fn event(&mut self, input: Option<&mut Input<'_>>) -> bool {
        let now = self.now;
        let Some((event, commands)) = still(|| self.client.poll_event(now)) else { return false };
        self.watch.reported(&event, commands);
        if let Event::Assigned { at, .. } = event {
            self.app.parts.push(at);
        }
        if let Some(input) = input {
            match event {
                Event::Records(batch) if input.one_in(4) => {
                    let offset = batch.position().saturating_add(input.number());
                    still(|| commands.hold(batch.partition(), offset));
                    self.watch.held(batch.partition(), offset);
                }
                _ if input.one_in(4) => {
                    self.app.command(now, commands, &mut self.watch, input);
                }
                _ => {}
            }
        }
        true
    }

    /// Runs an adapter's loop, over brokers that behave well except for what the input does to
    /// responses.
    fn flow(&mut self, input: &mut Input<'_>) {
        for _ in 0..=input.below(4) {
            self.act();
            let conns: Vec<_> = self.lines.iter().map(|line| line.conn).collect();
            for conn in conns {
                still(|| self.client.handle_connected(self.now, conn));
                while self.transmit(conn, usize::MAX) {}
                if let Some(line) = self.lines.iter_mut().find(|line| line.conn == conn) {
                    for requested in core::mem::take(&mut line.requested) {
                        let frame = self.peer.right_response(&requested);
                        line.to_client.extend_from_slice(&frame);
                    }
                }
                while self.receive(conn, usize::MAX) {}
            }
            let mut events = 0;
            while self.event(None) {
                events += 1;
                assert!(events < 1000, "no end of events");
            }
        }
    }

    /// Checks that a client has nothing to do while nothing happens: it waits for a future time.
    fn comes_to_rest(&mut self) {
        for _ in 0..REST {
            still(|| self.client.handle_timeout(self.now));
            let mut moved = self.act();
            let conns: Vec<_> = self.lines.iter().map(|line| line.conn).collect();
            for conn in conns {
                moved |= self.transmit(conn, usize::MAX);
                moved |= self.receive(conn, usize::MAX);
            }
            moved |= self.event(None);
            let due = self.client.poll_timeout().is_some_and(|at| at <= self.now);
            if !moved && !due {
                return;
            }
        }
        panic!("the client does not come to rest");
    }
}

impl App {
    /// Runs one command, with any arguments.
    fn command(
        &mut self,
        now: Instant,
        commands: &mut Commands<'_>,
        watch: &mut Watch,
        input: &mut Input<'_>,
    ) {
        let topic = self.topics.get(input.below(self.topics.len().max(1))).copied();
        let part = self.parts.get(input.below(self.parts.len().max(1))).copied();
        let place = i64::from(input.byte());
        match (input.below(14), topic, part) {
            (0, ..) | (_, None, _) => {
                let name = match input.below(4) {
                    0 => "t".to_owned(),
                    1 => "u".to_owned(),
                    2 => "x".to_owned(),
                    _ => input.name(),
                };
                if let Ok(topic) = still(|| commands.topic(&name)) {
                    self.topics.push(topic);
                }
            }
            (1..=3, Some(topic), _) => {
                let len = input.below(256) * (1 + input.below(4));
                let value = vec![b'v'; len];
                let key = input.below(8);
                let mut record = Record::new(&value);
                if key > 0 {
                    record = record.key(&b"keykeyk"[..key.min(7)]).timestamp(input.number());
                }
                let partition = input.below(4) as u32;
                watch.produced(still(|| match partition {
                    3 => commands.produce(now, topic, &record),
                    _ => commands.produce(now, (topic, partition), &record),
                }));
            }
            (4, ..) => {
                still(|| commands.flush(now));
                watch.flush();
            }
            (5 | 6, Some(topic), _) => {
                let (partition, start) = (input.below(4) as u32, start(input));
                if let Ok(part) = still(|| commands.assign(now, topic, partition, start)) {
                    self.parts.push(part);
                }
            }
            (7, Some(topic), _) => {
                let start = start(input);
                let _ = still(|| commands.assign_all(now, topic, start));
            }
            (8, _, Some(part)) => {
                still(|| commands.unassign(now, part));
                watch.forget(part);
            }
            (9, _, Some(part)) => {
                let start = start(input);
                if still(|| commands.seek(now, part, start)).is_ok() {
                    watch.forget(part);
                }
            }
            (10, _, Some(part)) => still(|| commands.pause(part)),
            (11, _, Some(part)) => {
                still(|| commands.hold(part, place));
                watch.held(part, place);
            }
            (12, _, Some(part)) => still(|| commands.resume(now, part)),
            _ => self.admin(now, commands, watch, input),
        }
    }

    fn admin(
        &mut self,
        now: Instant,
        commands: &mut Commands<'_>,
        watch: &mut Watch,
        input: &mut Input<'_>,
    ) {
        let name = input.pick(&["t", "u", "fresh", "not/legal", ""]);
        let request = match input.below(5) {
            0 => Admin::CreateTopic {
                name,
                partitions: input.number() as i32,
                replication_factor: input.number() as i16,
                configs: &[("retention.ms", Some("1000")), ("cleanup.policy", None)],
            },
            1 => Admin::CreatePartitions {
                name,
                count: input.number() as i32,
                validate_only: input.one_in(2),
            },
            2 => Admin::DeleteTopic { name },
            3 => Admin::Describe { topic: Some(name) },
            _ => Admin::Describe { topic: None },
        };
        if let Ok(id) = still(|| commands.admin(now, &request)) {
            watch.requested(id);
        }
        if input.one_in(8) {
            commands.set_wall_clock(now, input.number());
        }
    }
}

fn start(input: &mut Input<'_>) -> Start {
    match input.below(5) {
        0 | 1 => Start::Earliest,
        2 => Start::Latest,
        3 => Start::Offset(input.number()),
        _ => Start::Timestamp(input.number()),
    }
}
