//! The simulated cluster behind real TCP sockets of the other stack, and a name server.

use core::future::poll_fn;
use core::task::{Poll, Waker};
use std::collections::HashMap;

use bytes::Bytes;
use embassy_net::Stack;
use embassy_net::tcp::TcpSocket;
use embassy_net::udp::{PacketMetadata, UdpSocket};
use embassy_time::{Duration, Instant, Timer, with_timeout};
use kavka_tests::sim::Rng;
use kavka_tests::sim::frame::Request;
use kavka_tests::sim::{Cluster, Options, Reply};

use crate::executor::{Executor, Shared, shared};
use crate::wire::BROKERS;

/// Connections that a broker takes at a time.
const BACKLOG: usize = 5;

/// A cluster and who waits for it.
pub(crate) struct Brokers {
    pub(crate) cluster: Cluster,
    /// Frames that came, connections that were accepted and that ended, names that were asked for.
    pub(crate) requests: u64,
    pub(crate) accepted: u64,
    pub(crate) ended: u64,
    pub(crate) asked: Vec<String>,
    late: HashMap<u64, Reply>,
    waiting: HashMap<u64, Waker>,
}

impl Brokers {
    /// Connections that are open.
    pub(crate) fn open(&self) -> u64 {
        self.accepted - self.ended
    }

    fn advance(&mut self, now: Instant) {
        self.cluster.advance(core::time::Duration::from_micros(now.as_micros()));
        while let Some(output) = self.cluster.poll_output() {
            self.late.insert(output.conn, output.reply);
            if let Some(waker) = self.waiting.remove(&output.conn) {
                waker.wake();
            }
        }
    }
}

/// How brokers are named in metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    ByAddress,
    ByName,
}

/// Starts a cluster on `stack`; its bootstrap text is returned with it.
pub(crate) fn start(
    executor: &mut Executor,
    stack: Stack<'static>,
    seed: u64,
    named: Named,
    options: Options,
) -> (Shared<Brokers>, String) {
    let mut cluster = Cluster::new(options);
    let ids = cluster.brokers();
    let mut bootstrap = Vec::new();
    for id in &ids {
        let host = match named {
            Named::ByAddress => BROKERS.to_string(),
            Named::ByName => format!("broker-{id}.example"),
        };
        cluster.set_endpoint(*id, &host, port(*id));
        bootstrap.push(format!("{host}:{}", port(*id)));
    }
    let brokers = shared(Brokers {
        cluster,
        requests: 0,
        accepted: 0,
        ended: 0,
        asked: Vec::new(),
        late: HashMap::new(),
        waiting: HashMap::new(),
    });
    for id in ids {
        for n in 0..BACKLOG {
            let rng = Rng(seed ^ (id as u64) << 8 ^ n as u64);
            executor.spawn(serve(brokers.clone(), stack, id, rng));
        }
    }
    executor.spawn(name_server(brokers.clone(), stack));
    let clock = brokers.clone();
    executor.on_tick(move |now| clock.borrow_mut().advance(now));
    (brokers, bootstrap.join(","))
}

fn port(broker: i32) -> u16 {
    9090 + broker as u16
}

/// Memory for as long as the test runs, and longer.
pub(crate) fn buffer(len: usize) -> &'static mut [u8] {
    vec![0; len].leak()
}

/// One place for a connection of a broker, again and again.
async fn serve(brokers: Shared<Brokers>, stack: Stack<'static>, broker: i32, mut rng: Rng) {
    let mut socket = TcpSocket::new(stack, buffer(4096), buffer(4096));
    socket.set_nagle_enabled(false);
    // A client that is gone without a word must not keep its place.
    socket.set_keep_alive(Some(Duration::from_secs(1)));
    socket.set_timeout(Some(Duration::from_secs(4)));
    loop {
        if socket.accept(port(broker)).await.is_ok() {
            let conn = {
                let mut brokers = brokers.borrow_mut();
                brokers.accepted += 1;
                brokers.accepted
            };
            while exchange(&brokers, &mut socket, broker, conn, &mut rng).await.is_some() {}
            let mut brokers = brokers.borrow_mut();
            brokers.ended += 1;
            brokers.cluster.handle_closed(broker, conn);
            brokers.late.remove(&conn);
        }
        socket.close();
        let _ = with_timeout(Duration::from_millis(100), socket.flush()).await;
        socket.abort();
        let _ = with_timeout(Duration::from_millis(100), socket.flush()).await;
    }
}

/// One request and its answer; `None` when the connection is over.
async fn exchange(
    brokers: &Shared<Brokers>,
    socket: &mut TcpSocket<'static>,
    broker: i32,
    conn: u64,
    rng: &mut Rng,
) -> Option<()> {
    let mut front = [0; 4];
    read_exact(socket, &mut front).await?;
    let mut frame = vec![0; u32::from_be_bytes(front) as usize];
    read_exact(socket, &mut frame).await?;
    let request = Request::decode(Bytes::from(frame)).ok()?;
    let now = core::time::Duration::from_micros(Instant::now().as_micros());
    let mut reply = {
        let mut brokers = brokers.borrow_mut();
        brokers.requests += 1;
        brokers.cluster.handle(now, broker, conn, request)
    };
    if matches!(reply, Reply::Later) {
        reply = poll_fn(|cx| {
            let mut brokers = brokers.borrow_mut();
            if let Some(reply) = brokers.late.remove(&conn) {
                return Poll::Ready(reply);
            }
            brokers.waiting.insert(conn, cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
    match reply {
        Reply::Now(answer) => {
            let bytes = answer.encode().expect("an answer that can be encoded");
            write_in_pieces(socket, &bytes, rng).await
        }
        Reply::Silent => Some(()),
        Reply::Later | Reply::Close => None,
    }
}

async fn read_exact(socket: &mut TcpSocket<'static>, mut room: &mut [u8]) -> Option<()> {
    while !room.is_empty() {
        match socket.read(room).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => room = &mut room[read..],
        }
    }
    Some(())
}

/// Often whole, often in small segments with a pause between them.
async fn write_in_pieces(
    socket: &mut TcpSocket<'static>,
    mut bytes: &[u8],
    rng: &mut Rng,
) -> Option<()> {
    while !bytes.is_empty() {
        let most = if rng.below(2) == 0 { bytes.len() } else { 1 + rng.below(40) as usize };
        let written = socket.write(&bytes[..most.min(bytes.len())]).await.ok()?;
        bytes = &bytes[written..];
        if rng.below(4) == 0 {
            Timer::after_micros(rng.below(1500)).await;
        }
    }
    Some(())
}

/// Knows every `*.example`, and nothing else (RFC 1035).
async fn name_server(brokers: Shared<Brokers>, stack: Stack<'static>) {
    let meta = || vec![PacketMetadata::EMPTY; 4].leak();
    let mut socket = UdpSocket::new(stack, meta(), buffer(1024), meta(), buffer(1024));
    socket.bind(53).expect("the port of DNS");
    let mut packet = [0; 512];
    loop {
        let Ok((len, from)) = socket.recv_from(&mut packet).await else { continue };
        let (mut labels, mut at) = (Vec::new(), 12);
        while packet[at] != 0 {
            let len = usize::from(packet[at]);
            labels.push(String::from_utf8_lossy(&packet[at + 1..at + 1 + len]).into_owned());
            at += 1 + len;
        }
        let name = labels.join(".");
        let known = name.ends_with(".example");
        brokers.borrow_mut().asked.push(name);
        // The query again as an answer, and for a known name one A record that points to it.
        let mut answer = packet[..len].to_vec();
        answer[2..4].copy_from_slice(if known { &[0x81, 0x80] } else { &[0x81, 0x83] });
        answer[7] = u8::from(known);
        if known {
            answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
            answer.extend(BROKERS.octets());
        }
        Timer::after_millis(30).await;
        let _ = socket.send_to(&answer, from).await;
    }
}
