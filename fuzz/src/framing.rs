//! Framing: bytes of a peer that arrive in pieces have the same effect as those that arrive at
//! once.
//!
//! Two clients go through the same conversation, one fed at once, one in pieces of all sizes. After
//! each frame both must have reported the same and want to send the same.

use kavka_core::time::Duration;
use kavka_core::{
    Action, Admin, Client, Config, ConnId, Event, Instant, Limits, Record, Start, Storage,
};

use crate::input::Input;
use crate::memory::still;
use crate::peer::{Line, Peer};

/// Most frames in one run.
const FRAMES: usize = 30;

/// Reads size of the buffer, release, eight sizes of pieces, then what the peer sends.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let mut limits = Limits::small();
    (limits.conns, limits.brokers, limits.topics, limits.partitions) = (1, 2, 2, 4);
    (limits.tx_blocks, limits.block_bytes) = (12, 512);
    limits.rx_bytes = input.pick(&[512, 1024, 4096, 513]);
    let peer = Peer::new(&mut input);
    let pieces = input.take(8);
    let mut whole = End::new(&limits, &[]);
    let mut parts = End::new(&limits, pieces);
    for _ in 0..FRAMES {
        let sent = whole.sends();
        assert_eq!(sent, parts.sends(), "what is sent");
        let Some(line) = &mut whole.line else { break };
        line.sent(whole.now, &sent);
        let frame = match line.requested.is_empty() {
            // Something else than a response, or time passes.
            true if input.is_empty() => break,
            true => {
                let len = input.below(256);
                input.take(len).to_vec()
            }
            false => peer.respond(&line.requested.remove(0), &mut input),
        };
        let early = whole.takes(&frame) | parts.takes(&frame);
        let (reported, same) = (whole.reports(), parts.reports());
        if early {
            // The buffer was full somewhere, and events had to be polled there.
            break;
        }
        assert_eq!(reported, same, "what is told");
        let by = Duration::from_millis(input.below(256) as u64 * 4);
        whole.passes(by);
        parts.passes(by);
        assert_eq!(whole.reports(), parts.reports(), "what is told as time passes");
    }
}

/// A client with its one connection.
struct End<'a> {
    client: Client<'static>,
    conn: Option<ConnId>,
    /// The peer's end; of the first client only.
    line: Option<Line>,
    now: Instant,
    pieces: core::iter::Cycle<core::slice::Iter<'a, u8>>,
}

impl<'a> End<'a> {
    fn new(limits: &Limits, pieces: &'a [u8]) -> Self {
        let config = Config::new("b1:9001");
        let client = Client::new(config, Storage::heap(limits), [7; 32]);
        let mut client = client.expect("configuration and memory work");
        let now = Instant::from_millis(3_600_000);
        let topic = client.topic("t").expect("there is room");
        client.assign_all(now, topic, Start::Earliest).expect("the first time");
        let _ = client.produce(now, topic, &Record::new(b"first"));
        let _ = client.admin(now, &Admin::Describe { topic: None });
        Self { client, conn: None, line: None, now, pieces: pieces.iter().cycle() }
    }

    /// Returns what it wants to send now; it connects when it has to.
    fn sends(&mut self) -> Vec<u8> {
        while let Some(action) = still(|| self.client.poll_action(self.now)) {
            match action {
                Action::Connect { conn } => {
                    (self.conn, self.line) = (Some(conn), Some(Line::new(conn, 1)));
                    still(|| self.client.handle_connected(self.now, conn));
                }
                Action::Close { conn } if self.conn == Some(conn) => self.conn = None,
                _ => {}
            }
        }
        let mut all = Vec::new();
        let Some(conn) = self.conn else { return all };
        while let Some(slices) = still(|| self.client.poll_transmit(self.now, conn)) {
            let before = all.len();
            slices.for_each(|slice| all.extend_from_slice(slice));
            let len = all.len() - before;
            still(|| self.client.handle_transmitted(self.now, conn, len));
        }
        all
    }

    /// Receives a frame; returns whether events had to be polled in its middle.
    fn takes(&mut self, mut bytes: &[u8]) -> bool {
        let mut early = false;
        let Some(conn) = self.conn else { return early };
        while !bytes.is_empty() {
            let piece = self.pieces.next().map_or(usize::MAX, |size| usize::from(*size) + 1);
            let room = still(|| self.client.recv_buffer(conn));
            let len = room.len().min(piece).min(bytes.len());
            if len == 0 {
                early = true;
                let reported = self.reports();
                if reported.is_empty() && still(|| self.client.recv_buffer(conn)).is_empty() {
                    // It ended the connection.
                    return early;
                }
                continue;
            }
            room[..len].copy_from_slice(&bytes[..len]);
            bytes = &bytes[len..];
            still(|| self.client.handle_received(self.now, conn, len));
        }
        early
    }

    fn reports(&mut self) -> Vec<String> {
        let mut reported = Vec::new();
        while let Some((event, _)) = still(|| self.client.poll_event(self.now)) {
            assert!(reported.len() < 10_000, "no end of events");
            reported.push(match event {
                Event::Records(batch) => {
                    let (at, from, head) =
                        (batch.topic_partition(), batch.position(), batch.header());
                    let read = batch.records().map_while(Result::ok).count();
                    format!("{at:?} {from} {head:?}, {read} records")
                }
                event => format!("{event:?}"),
            });
        }
        reported
    }

    fn passes(&mut self, by: Duration) {
        self.now = self.now + by;
        still(|| self.client.handle_timeout(self.now));
    }
}
