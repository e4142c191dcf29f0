//! The simulated cluster behind real TCP sockets of the other stack, and a name server.

use core::future::poll_fn;
use core::task::{Poll, Waker};
use std::collections::HashMap;

use bytes::Bytes;
use embassy_net::udp::{PacketMetadata, UdpSocket};
use embassy_net::{Ipv4Address, Stack};
use embassy_time::{Instant, Timer};
use kavka_tests::sim::Rng;
use kavka_tests::sim::frame::Request;
use kavka_tests::sim::{Cluster, Options, Reply};

use crate::executor::{Executor, Shared, shared};
use crate::line::Line;
use crate::tls;
use crate::wire::{BROKERS, BROKERS_V6, v4};

/// Types of DNS records.
const A: u8 = 1;
const AAAA: u8 = 28;
/// Connections that a broker takes at a time.
const BACKLOG: usize = 8;

/// A cluster and the tasks that wait for it.
pub(crate) struct Brokers {
    pub(crate) cluster: Cluster,
    /// Frames that came, connections that were accepted and that ended, names that were looked up.
    pub(crate) requests: u64,
    pub(crate) accepted: u64,
    pub(crate) ended: u64,
    pub(crate) requested: Vec<String>,
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

/// How brokers are named in metadata, and reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    ByAddress,
    ByAddressV6,
    ByName,
    /// Which has an IPv6 address alone.
    #[cfg(feature = "proto-ipv6")]
    ByNameV6,
    ByNameOverTls,
}

impl Named {
    fn host(self, id: i32) -> String {
        match self {
            Self::ByAddress => BROKERS.to_string(),
            Self::ByAddressV6 => BROKERS_V6.to_string(),
            Self::ByName | Self::ByNameOverTls => format!("broker-{id}.example"),
            #[cfg(feature = "proto-ipv6")]
            Self::ByNameV6 => format!("broker-{id}.v6.example"),
        }
    }

    /// A name server is needed.
    pub(crate) fn by_name(self) -> bool {
        !matches!(self, Self::ByAddress | Self::ByAddressV6)
    }
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
        let host = named.host(*id);
        cluster.set_endpoint(*id, &host, port(*id));
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        bootstrap.push(format!("{host}:{}", port(*id)));
    }
    let brokers = shared(Brokers {
        cluster,
        requests: 0,
        accepted: 0,
        ended: 0,
        requested: Vec::new(),
        late: HashMap::new(),
        waiting: HashMap::new(),
    });
    let tls = (named == Named::ByNameOverTls).then(tls::server);
    for id in ids {
        for n in 0..BACKLOG {
            let rng = Rng(seed ^ (id as u64) << 8 ^ n as u64);
            let line = Line::new(stack, tls.clone(), rng);
            executor.spawn(serve(brokers.clone(), line, id));
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
async fn serve(brokers: Shared<Brokers>, mut line: Line, broker: i32) {
    loop {
        if line.accept(port(broker)).await {
            let conn = {
                let mut brokers = brokers.borrow_mut();
                brokers.accepted += 1;
                brokers.accepted
            };
            while exchange(&brokers, &mut line, broker, conn).await.is_some() {}
            let mut brokers = brokers.borrow_mut();
            brokers.ended += 1;
            brokers.cluster.handle_closed(broker, conn);
            brokers.late.remove(&conn);
        }
        line.close().await;
    }
}

/// One request and its response; `None` when the connection is over.
async fn exchange(
    brokers: &Shared<Brokers>,
    line: &mut Line,
    broker: i32,
    conn: u64,
) -> Option<()> {
    let mut front = [0; 4];
    line.read_exact(&mut front).await?;
    let mut frame = vec![0; u32::from_be_bytes(front) as usize];
    line.read_exact(&mut frame).await?;
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
        Reply::Now(response) => {
            let bytes = response.encode().expect("a response that can be encoded");
            line.write(&bytes).await
        }
        Reply::Silent => Some(()),
        Reply::Later | Reply::Close => None,
    }
}

/// Knows every `*.example`, and nothing else (RFC 1035). `*.v6.example` has an IPv6 address alone,
/// the others have none (RFC 3596). `dead-2.example` has two unused ones before the good one,
/// `far-2.example` the same behind routers.
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
        let addresses: Vec<Vec<u8>> = match (packet[at + 2], name.ends_with(".v6.example")) {
            (AAAA, true) => vec![BROKERS_V6.octets().to_vec()],
            (A, false) if name.ends_with(".example") => dead_addresses(&name)
                .into_iter()
                .chain([BROKERS])
                .map(|a| a.octets().to_vec())
                .collect(),
            _ => Vec::new(),
        };
        brokers.borrow_mut().requested.push(name);
        // The query as a response, and records that point to its name.
        let mut response = packet[..len].to_vec();
        response[2] = 0x81;
        response[3] = if addresses.is_empty() { 0x83 } else { 0x80 }; // NXDOMAIN, or no error
        response[7] = addresses.len() as u8;
        for address in addresses {
            response.extend([
                0xc0,
                12,
                0,
                packet[at + 2],
                0,
                1,
                0,
                0,
                0,
                60,
                0,
                address.len() as u8,
            ]);
            response.extend(address);
        }
        Timer::after_millis(30).await;
        let _ = socket.send_to(&response, from).await;
    }
}

fn dead_addresses(name: &str) -> Vec<Ipv4Address> {
    let count = |rest: &str| rest.split('.').next().and_then(|n| n.parse().ok()).unwrap_or(0);
    match (name.strip_prefix("dead-"), name.strip_prefix("far-")) {
        (Some(rest), _) => (0..count(rest)).map(nobody).collect(),
        (_, Some(rest)) => (0..count(rest)).map(nobody_far).collect(),
        _ => Vec::new(),
    }
}

/// Unused addresses on the link.
pub(crate) fn nobody(number: u8) -> Ipv4Address {
    v4(100 + number)
}

/// The same elsewhere.
pub(crate) fn nobody_far(number: u8) -> Ipv4Address {
    Ipv4Address::new(192, 0, 2, number)
}
