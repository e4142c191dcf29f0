//! Any order of calls is legal: no panic, no spinning, whatever the broker sends.

use kavka_core::{
    Action, Admin, Client, CloseReason, Config, ConnId, Duration, Instant, Limits, PartitionId,
    Probing, Record, Start, Storage, TopicId,
};
use kavka_tests::script::{Script, World};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Call {
    Action,
    Connected(u8),
    Closed(u8),
    Receive(u8, Vec<u8>),
    Response(u8, Vec<u8>),
    Received(u8, usize),
    Transmit(u8, usize),
    Transmitted(u8, usize),
    Timeout,
    Event,
    Time(u32),
    Topic(u8),
    Produce(u8, Option<u8>, usize),
    Flush,
    Assign(u8, u8),
    AssignAll(u8),
    Unassign(u8),
}

fn call() -> impl Strategy<Value = Call> {
    let bytes = prop::collection::vec(prop_oneof![3 => 0u8..4, 1 => any::<u8>()], 0..80);
    prop_oneof![
        4 => Just(Call::Action),
        4 => (0..4u8).prop_map(Call::Connected),
        1 => (0..4u8).prop_map(Call::Closed),
        1 => (0..4u8, bytes.clone()).prop_map(|(c, b)| Call::Receive(c, b)),
        6 => (0..4u8, bytes).prop_map(|(c, b)| Call::Response(c, b)),
        1 => (0..4u8, 0..5000usize).prop_map(|(c, n)| Call::Received(c, n)),
        6 => (0..4u8, 0..400usize).prop_map(|(c, n)| Call::Transmit(c, n)),
        1 => (0..4u8, 0..400usize).prop_map(|(c, n)| Call::Transmitted(c, n)),
        2 => Just(Call::Timeout),
        3 => Just(Call::Event),
        3 => (0..2_000_000u32).prop_map(Call::Time),
        2 => (0..4u8).prop_map(Call::Topic),
        4 => (0..4u8, prop::option::of(0..9u8), 0..700usize)
            .prop_map(|(t, p, n)| Call::Produce(t, p, n)),
        1 => Just(Call::Flush),
        1 => (0..4u8, 0..9u8).prop_map(|(t, p)| Call::Assign(t, p)),
        1 => (0..4u8).prop_map(Call::AssignAll),
        1 => (0..9u8).prop_map(Call::Unassign),
    ]
}

/// The client, and what an application and an adapter know of it.
struct Rig {
    client: Client<'static>,
    now: Instant,
    conns: Vec<ConnId>,
    topics: Vec<TopicId>,
    partitions: Vec<PartitionId>,
    /// Last correlation id that was sent on each connection, taken from the bytes.
    requested: Vec<(ConnId, Vec<u8>)>,
}

impl Rig {
    fn new(conns: usize) -> Self {
        let mut limits = Limits::small();
        (limits.conns, limits.rx_bytes, limits.topics, limits.partitions) = (conns, 512, 3, 6);
        (limits.tx_blocks, limits.block_bytes) = (12, 256);
        let client = Client::new(Config::new("a:1,b:2"), Storage::heap(&limits), [3; 32]);
        Self {
            client: client.expect("a client"),
            now: Instant::from_millis(1),
            conns: Vec::new(),
            topics: Vec::new(),
            partitions: Vec::new(),
            requested: Vec::new(),
        }
    }

    fn conn(&self, n: u8) -> Option<ConnId> {
        self.conns.len().checked_sub(1 + usize::from(n)).map(|at| self.conns[at])
    }

    fn receive(&mut self, conn: ConnId, bytes: &[u8]) {
        let room = self.client.recv_buffer(conn);
        let n = room.len().min(bytes.len());
        room[..n].copy_from_slice(&bytes[..n]);
        self.client.handle_received(self.now, conn, n);
    }

    fn do_action(&mut self) {
        if let Some(Action::Connect { conn }) = self.client.poll_action(self.now) {
            assert!(self.client.address(conn).is_some());
            self.conns.push(conn);
        }
    }

    fn transmit(&mut self, conn: ConnId, most: usize) {
        let Some(slices) = self.client.poll_transmit(self.now, conn) else { return };
        let bytes: Vec<u8> = slices.flatten().copied().take(most).collect();
        self.client.handle_transmitted(self.now, conn, bytes.len());
        match self.requested.iter_mut().find(|(c, _)| *c == conn) {
            Some((_, all)) => all.extend(bytes),
            None => self.requested.push((conn, bytes)),
        }
    }

    /// Responds to the oldest sent request, with a valid or invalid body.
    fn respond(&mut self, conn: ConnId, body: &[u8]) {
        let Some((_, all)) = self.requested.iter_mut().find(|(c, _)| *c == conn) else { return };
        let Some(front) = all.first_chunk::<12>() else { return };
        let length = u32::from_be_bytes([front[0], front[1], front[2], front[3]]) as usize;
        let mut frame = (body.len() as u32 + 4).to_be_bytes().to_vec();
        frame.extend(&front[8..12]);
        if front[5] == 18 {
            // Versions that a real broker has, so that the connection gets past the handshake.
            let ranges = [(0, 3, 13), (1, 4, 18), (2, 1, 11), (3, 0, 13), (18, 0, 0), (22, 0, 5)];
            let mut versions = vec![0, 0, 0, 0, 0, 6];
            for (key, min, max) in ranges {
                versions.extend([0, key, 0, min, 0, max]);
            }
            versions[1] = if front[7] > 0 { 35 } else { 0 };
            frame.truncate(4);
            frame[3] = versions.len() as u8 + 4;
            frame.extend(&front[8..12]);
            frame.extend(versions);
        } else {
            frame.extend(body);
        }
        let rest = all.len().min(4 + length);
        all.drain(..rest);
        self.receive(conn, &frame);
    }

    fn run(&mut self, call: &Call) {
        let now = self.now;
        match call {
            Call::Action => self.do_action(),
            Call::Timeout => self.client.handle_timeout(now),
            Call::Flush => self.client.flush(now),
            Call::Time(micros) => self.now = now + Duration::from_micros(u64::from(*micros)),
            Call::Event => {
                let _ = self.client.has_event(now);
                let _ = self.client.poll_event(now);
            }
            Call::Topic(n) => {
                let name = ["t", "u", "v", "w"][usize::from(*n)];
                if let Ok(id) = self.client.topic(name) {
                    self.topics.push(id);
                }
            }
            Call::Produce(t, partition, len) => {
                let Some(topic) = self.topics.get(usize::from(*t)) else { return };
                let value = vec![7; *len];
                let record = Record::new(&value);
                let _ = match partition {
                    Some(p) => self.client.produce(now, (*topic, u32::from(*p)), &record),
                    None => self.client.produce(now, *topic, &record),
                };
            }
            Call::Assign(t, partition) => {
                let Some(topic) = self.topics.get(usize::from(*t)) else { return };
                let at = self.client.assign(now, *topic, u32::from(*partition), Start::Latest);
                self.partitions.extend(at);
            }
            Call::AssignAll(t) => {
                if let Some(topic) = self.topics.get(usize::from(*t)) {
                    let _ = self.client.assign_all(now, *topic, Start::Earliest);
                }
            }
            Call::Unassign(n) => {
                if let Some(at) = self.partitions.get(usize::from(*n)) {
                    self.client.unassign(now, *at);
                }
            }
            Call::Connected(c)
            | Call::Closed(c)
            | Call::Receive(c, _)
            | Call::Response(c, _)
            | Call::Received(c, _)
            | Call::Transmit(c, _)
            | Call::Transmitted(c, _) => {
                if let Some(conn) = self.conn(*c) {
                    self.run_on(conn, call);
                }
            }
        }
    }

    fn run_on(&mut self, conn: ConnId, call: &Call) {
        let now = self.now;
        match call {
            Call::Connected(_) => self.client.handle_connected(now, conn),
            Call::Closed(_) => self.client.handle_closed(now, conn, CloseReason::Reset),
            Call::Receive(_, bytes) => self.receive(conn, bytes),
            Call::Response(_, bytes) => self.respond(conn, bytes),
            Call::Received(_, n) => self.client.handle_received(now, conn, *n),
            Call::Transmit(_, n) => self.transmit(conn, *n),
            Call::Transmitted(_, n) => self.client.handle_transmitted(now, conn, *n),
            _ => {}
        }
    }

    /// Does all that the client requests; returns whether it comes to rest.
    fn settles(&mut self) -> bool {
        for _ in 0..2000 {
            self.client.handle_timeout(self.now);
            while let Some(action) = self.client.poll_action(self.now) {
                if let Action::Connect { conn } = action {
                    self.client.handle_closed(self.now, conn, CloseReason::Refused);
                }
            }
            for conn in self.conns.clone() {
                self.transmit(conn, usize::MAX);
            }
            while self.client.poll_event(self.now).is_some() {}
            if self.client.poll_timeout().is_none_or(|at| at > self.now) {
                return true;
            }
        }
        false
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        max_shrink_iters: 2000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_order_of_calls_is_legal(
        conns in 1..4usize,
        calls in prop::collection::vec(call(), 1..250),
    ) {
        let mut rig = Rig::new(conns);
        for call in &calls {
            rig.run(call);
        }
        prop_assert!(rig.settles(), "it spins after {calls:?}");
    }
}

/// A command is due at once, before anything is polled: an adapter that sleeps until `poll_timeout`
/// after a command would delay it.
#[test]
fn what_a_command_wants_is_due_before_anything_is_polled() {
    type Command = fn(&mut Script, TopicId, PartitionId, PartitionId);
    let commands: [(&str, Command); 9] = [
        ("nothing", |_, _, _, _| ()),
        ("first record", |s, t, _, _| {
            s.produce(t, 0, "a");
        }),
        ("full batch", |s, t, _, _| {
            s.produce(t, 0, &"x".repeat(900));
        }),
        ("flush", |s, _, _, _| {
            let now = s.now();
            s.client.flush(now);
        }),
        ("topic", |s, _, _, _| {
            s.client.topic("u").expect("watched");
        }),
        ("assign_all", |s, t, _, _| {
            let now = s.now();
            s.client.assign_all(now, t, Start::Earliest).expect("assigned");
        }),
        ("seek", |s, _, at, _| {
            let now = s.now();
            s.client.seek(now, at, Start::Offset(1)).expect("sought");
        }),
        ("resume", |s, _, _, paused| {
            let now = s.now();
            s.client.resume(now, paused);
        }),
        ("admin", |s, _, _, _| {
            let now = s.now();
            s.client.admin(now, &Admin::Describe { topic: None }).expect("taken");
        }),
    ];
    for (name, command) in commands {
        let world = World::new(1).topic("t", 3).topic("u", 1);
        let mut config = Config::new(world.bootstrap()).linger(Duration::from_secs(100));
        (config.batch_bytes, config.probing) = (900, Probing::Never);
        let mut s = Script::with(world, config, &Limits::small());
        let t = s.ready("t");
        let now = s.now();
        let at = s.client.assign(now, t, 1, Start::Offset(0)).expect("assigned");
        let paused = s.client.assign(now, t, 2, Start::Offset(0)).expect("assigned");
        s.client.pause(paused);
        if name != "first record" {
            // The producer id is known, and a record lingers.
            s.produce(t, 0, "first");
        }
        s.run(Duration::from_secs(3));
        let due = |s: &Script| s.client.poll_timeout().is_some_and(|at| at <= s.now());
        assert!(!due(&s), "before: {name}");
        command(&mut s, t, at, paused);
        assert_eq!(due(&s), name != "nothing", "{name}");
    }
}
