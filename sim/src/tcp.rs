//! The model on loopback TCP, with the real clock and a thread per connection.

use std::collections::HashMap;
use std::io::{self, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;
use socket2::{Domain, Socket, Type};
use uuid::Uuid;

use super::batch::Record;
use super::counters::{Counters, Traffic};
use super::fault::Fault;
use super::frame::Request;
use super::model::{Cluster, Options, Reply};

/// `socket.request.max.bytes` of a broker.
const LARGEST_REQUEST: usize = 104_857_600;

/// A running cluster. Dropping it closes everything and ends its threads.
pub struct Server {
    shared: Arc<Shared>,
    clock: Option<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// Notifies the clock thread of an earlier due time, or of the end.
    clock: Condvar,
    start: Instant,
    counters: Arc<Counters>,
    stop: AtomicBool,
    #[cfg(feature = "tls")]
    tls: Option<Arc<rustls::ServerConfig>>,
}

struct State {
    cluster: Cluster,
    ports: HashMap<i32, Port>,
    conns: HashMap<(i32, u64), Conn>,
    made: u64,
    threads: Vec<JoinHandle<()>>,
    /// When the clock thread will wake by itself.
    alarm: Option<Duration>,
}

struct Conn {
    stream: TcpStream,
    replies: Sender<Reply>,
}

/// A broker's port, which stays bound while the broker is down, so that no other process gets it.
struct Port {
    address: SocketAddr,
    /// Bound, not listening: connections are refused.
    idle: Option<Socket>,
    accepting: Option<(Arc<AtomicBool>, JoinHandle<()>)>,
}

impl Server {
    /// Starts a cluster on ports that the system chooses.
    ///
    /// # Errors
    /// The system refuses sockets or threads.
    pub fn start(options: Options) -> io::Result<Self> {
        #[cfg(feature = "tls")]
        return Self::launch(options, None);
        #[cfg(not(feature = "tls"))]
        Self::launch(options)
    }

    /// The same with listeners that speak TLS and nothing else.
    ///
    /// # Errors
    /// The system refuses sockets or threads.
    #[cfg(feature = "tls")]
    pub fn start_secure(options: Options, tls: Arc<rustls::ServerConfig>) -> io::Result<Self> {
        Self::launch(options, Some(tls))
    }

    fn launch(
        options: Options,
        #[cfg(feature = "tls")] tls: Option<Arc<rustls::ServerConfig>>,
    ) -> io::Result<Self> {
        let mut cluster = Cluster::new(options);
        let mut ports = HashMap::new();
        for broker in cluster.brokers() {
            let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            let (socket, address) = bound(any)?;
            cluster.set_endpoint(broker, &address.ip().to_string(), address.port());
            ports.insert(broker, Port { address, idle: Some(socket), accepting: None });
        }
        let counters = cluster.counters();
        let brokers = cluster.brokers();
        let (conns, threads) = (HashMap::new(), Vec::new());
        let state = State { cluster, ports, conns, made: 0, threads, alarm: None };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            clock: Condvar::new(),
            start: Instant::now(),
            counters,
            stop: AtomicBool::new(false),
            #[cfg(feature = "tls")]
            tls,
        });
        let run = shared.clone();
        let clock = thread::Builder::new().name("sim-clock".into()).spawn(move || run.tick())?;
        let server = Self { shared, clock: Some(clock) };
        for broker in brokers {
            server.shared.listen(broker)?;
        }
        Ok(server)
    }

    /// Returns `host:port` of all brokers, joined by commas.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let state = self.shared.lock();
        let text = |id| state.ports.get(&id).map(|port| port.address.to_string());
        let all: Vec<_> = state.cluster.brokers().into_iter().filter_map(text).collect();
        all.join(",")
    }

    /// Returns the address of a broker; `None` for an unknown id.
    #[must_use]
    pub fn address(&self, broker: i32) -> Option<SocketAddr> {
        self.shared.lock().ports.get(&broker).map(|port| port.address)
    }

    /// Changes the model, or reads it; waiting requests react at once. Use [`Server::kill`] and
    /// [`Server::restart`] for those two, because of the sockets.
    pub fn with<R>(&self, act: impl FnOnce(&mut Cluster) -> R) -> R {
        self.shared.with(|state| act(&mut state.cluster))
    }

    /// [`Cluster::create_topic`].
    ///
    /// # Errors
    /// Kafka error code.
    pub fn create_topic(&self, name: &str, partitions: u32) -> Result<Uuid, i16> {
        self.with(|cluster| cluster.create_topic(name, partitions))
    }

    /// [`Cluster::grow`].
    ///
    /// # Errors
    /// Kafka error code.
    pub fn grow(&self, topic: &str, count: u32) -> Result<(), i16> {
        self.with(|cluster| cluster.grow(topic, count))
    }

    /// [`Cluster::delete_topic`].
    ///
    /// # Errors
    /// Kafka error code.
    pub fn delete(&self, topic: &str) -> Result<(), i16> {
        self.with(|cluster| cluster.delete_topic(topic))
    }

    /// [`Cluster::recreate_topic`].
    ///
    /// # Errors
    /// Kafka error code.
    pub fn recreate(&self, topic: &str, partitions: u32) -> Result<Uuid, i16> {
        self.with(|cluster| cluster.recreate_topic(topic, partitions))
    }

    /// [`Cluster::move_leader`].
    ///
    /// # Errors
    /// Kafka error code.
    pub fn move_leader(&self, topic: &str, partition: u32, broker: i32) -> Result<(), i16> {
        self.with(|cluster| cluster.move_leader(topic, partition, broker))
    }

    /// Kills a broker: its connections end, its port refuses new ones. See [`Cluster::kill`].
    ///
    /// # Errors
    /// The port could not be kept.
    pub fn kill(&self, broker: i32) -> io::Result<()> {
        self.shared.with(|state| state.cluster.kill(broker));
        self.shared.close(broker)?;
        self.shared.hang_up(|(of, _)| of == broker);
        Ok(())
    }

    /// Restarts a killed broker, on its port.
    ///
    /// # Errors
    /// The system refuses to listen on the port.
    pub fn restart(&self, broker: i32) -> io::Result<()> {
        self.shared.with(|state| state.cluster.restart(broker));
        self.shared.listen(broker)
    }

    /// [`Cluster::pause`].
    pub fn pause(&self, broker: i32) {
        self.with(|cluster| cluster.pause(broker));
    }

    /// [`Cluster::resume`].
    pub fn resume(&self, broker: i32) {
        self.with(|cluster| cluster.resume(broker));
    }

    /// Closes all connections of a broker, which keeps running and accepts new ones.
    pub fn disconnect(&self, broker: i32) {
        self.shared.hang_up(|(of, _)| of == broker);
    }

    /// Returns the number of open connections.
    #[must_use]
    pub fn connections(&self, broker: i32) -> usize {
        self.shared.lock().conns.keys().filter(|(of, _)| *of == broker).count()
    }

    /// Returns the number of connections ever accepted, by all brokers.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.shared.lock().made
    }

    /// Returns `code` for each partition of the next `times` requests of `api` at `broker`,
    /// unapplied.
    pub fn inject(&self, broker: i32, api: ApiKey, code: i16, times: usize) {
        self.fault(broker, api, Fault::Error(code), times);
    }

    /// Applies the next request of `api` at `broker`, then closes its connection without a
    /// response.
    pub fn drop_response(&self, broker: i32, api: ApiKey) {
        self.fault(broker, api, Fault::DropResponse, 1);
    }

    /// [`Cluster::inject`].
    pub fn fault(&self, broker: i32, api: ApiKey, fault: Fault, times: usize) {
        self.with(|cluster| cluster.inject(broker, api, fault, times));
    }

    /// [`Cluster::log_len`].
    #[must_use]
    pub fn log_len(&self, topic: &str, partition: u32) -> i64 {
        self.with(|cluster| cluster.log_len(topic, partition))
    }

    /// [`Cluster::records`].
    #[must_use]
    pub fn records(&self, topic: &str, partition: u32) -> Vec<Record> {
        let batches = self.with(|cluster| cluster.batches(topic, partition));
        batches.iter().filter_map(super::batch::records).flatten().collect()
    }

    /// [`Cluster::leader`].
    #[must_use]
    pub fn leader(&self, topic: &str, partition: u32) -> Option<(i32, i32)> {
        self.with(|cluster| cluster.leader(topic, partition))
    }

    /// Returns the requests and bytes of one API since the start, over all brokers.
    #[must_use]
    pub fn traffic(&self, api: ApiKey) -> Traffic {
        self.shared.counters.of(api)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.with(|_| ());
        self.shared.clock.notify_all();
        let brokers = self.shared.lock().cluster.brokers();
        for broker in brokers {
            let _ = self.shared.close(broker); // what is left of it ends with the process
        }
        self.shared.hang_up(|_| true);
        let threads = core::mem::take(&mut self.shared.lock().threads);
        for thread in threads.into_iter().chain(self.clock.take()) {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in one test thread must not hide the others' findings.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Acts on the state at the present time, and delivers replies that became ready.
    fn with<R>(&self, act: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        let now = self.now();
        state.cluster.advance(now);
        let result = act(&mut state);
        state.deliver();
        let earlier = match (state.cluster.next_time(), state.alarm) {
            (Some(next), Some(alarm)) => next < alarm,
            (next, None) => next.is_some(),
            (None, Some(_)) => false,
        };
        if earlier {
            self.clock.notify_all();
        }
        result
    }

    /// Runs the clock thread.
    fn tick(&self) {
        let mut state = self.lock();
        while !self.stop.load(Ordering::SeqCst) {
            let now = self.now();
            state.cluster.advance(now);
            state.deliver();
            state.alarm = state.cluster.next_time();
            let wait = state.alarm.map_or(Duration::from_secs(1), |at| at.saturating_sub(now));
            let woken = self.clock.wait_timeout(state, wait);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
            state.alarm = Some(Duration::ZERO); // awake
        }
    }

    fn listen(self: &Arc<Self>, broker: i32) -> io::Result<()> {
        let mut state = self.lock();
        let Some(port) = state.ports.get_mut(&broker) else { return Ok(()) };
        let Some(socket) = port.idle.take() else { return Ok(()) };
        socket.listen(128)?;
        let stop = Arc::new(AtomicBool::new(false));
        let (shared, stopped) = (self.clone(), stop.clone());
        let name = format!("sim-broker-{broker}");
        let accept = move || shared.accept(broker, &socket, &stopped);
        let thread = thread::Builder::new().name(name).spawn(accept)?;
        port.accepting = Some((stop, thread));
        Ok(())
    }

    /// Stops listening; the port stays bound.
    fn close(&self, broker: i32) -> io::Result<()> {
        let mut state = self.lock();
        let Some(port) = state.ports.get_mut(&broker) else { return Ok(()) };
        let (address, accepting) = (port.address, port.accepting.take());
        drop(state);
        let Some((stop, thread)) = accepting else { return Ok(()) };
        stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(address)); // wakes the accepting thread
        let _ = thread.join();
        let (socket, _) = bound(address)?;
        if let Some(port) = self.lock().ports.get_mut(&broker) {
            port.idle = Some(socket);
        }
        Ok(())
    }

    fn accept(self: &Arc<Self>, broker: i32, socket: &Socket, stop: &AtomicBool) {
        while !stop.load(Ordering::SeqCst) {
            let Ok((stream, _)) = socket.accept() else { continue };
            if stop.load(Ordering::SeqCst) {
                return;
            }
            // A connection that gets no thread or handle from the system is closed.
            let _ = self.connect(broker, stream.into());
        }
    }

    fn connect(self: &Arc<Self>, broker: i32, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (replies, inbox) = mpsc::channel();
        let conn = Conn { stream: stream.try_clone()?, replies };
        let mut state = self.lock();
        state.made += 1;
        let key = (broker, state.made);
        state.conns.insert(key, conn);
        let shared = self.clone();
        let name = format!("sim-conn-{}", key.1);
        let serve = move || {
            // How it ended is the client's concern.
            let _ = shared.serve(key, &stream, &inbox);
            let _ = stream.shutdown(Shutdown::Both);
            let mut state = shared.lock();
            state.conns.remove(&key);
            state.cluster.handle_closed(key.0, key.1);
        };
        let thread = thread::Builder::new().name(name).spawn(serve)?;
        state.threads.retain(|thread| !thread.is_finished());
        state.threads.push(thread);
        Ok(())
    }

    /// Serves one connection, over TLS if there is to be.
    fn serve(
        &self,
        key: (i32, u64),
        stream: &TcpStream,
        inbox: &Receiver<Reply>,
    ) -> io::Result<()> {
        #[cfg(feature = "tls")]
        if let Some(config) = &self.tls {
            let tls = rustls::ServerConnection::new(config.clone()).map_err(io::Error::other)?;
            return self.converse(key, rustls::StreamOwned::new(tls, stream), inbox);
        }
        self.converse(key, stream, inbox)
    }

    /// Serves one connection: a request, its response, the next request.
    fn converse<S: Read + Write>(
        &self,
        (broker, conn): (i32, u64),
        stream: S,
        inbox: &Receiver<Reply>,
    ) -> io::Result<()> {
        let mut input = BufReader::with_capacity(64 * 1024, stream);
        loop {
            let frame = read_frame(&mut input)?;
            let Ok(request) = Request::decode(frame) else { return Ok(()) };
            let api = request.api;
            let reply = self.with(|state| {
                let now = self.now();
                state.cluster.handle(now, broker, conn, request)
            });
            let reply = match reply {
                Reply::Later => inbox.recv().map_err(io::Error::other)?,
                reply => reply,
            };
            match reply {
                Reply::Now(response) => {
                    let bytes = response.encode().map_err(|text| {
                        eprintln!("simulated broker {broker}: {text}");
                        io::Error::other(text)
                    })?;
                    self.counters.respond(api, bytes.len());
                    input.get_mut().write_all(&bytes)?;
                    input.get_mut().flush()?;
                }
                Reply::Silent => {}
                Reply::Close | Reply::Later => return Ok(()),
            }
        }
    }

    /// Ends connections; their threads notice.
    fn hang_up(&self, which: impl Fn((i32, u64)) -> bool) {
        self.lock().conns.retain(|key, conn| {
            if which(*key) {
                let _ = conn.stream.shutdown(Shutdown::Both);
            }
            !which(*key)
        });
    }
}

impl State {
    fn deliver(&mut self) {
        while let Some(output) = self.cluster.poll_output() {
            if let Some(conn) = self.conns.get(&(output.broker, output.conn)) {
                let _ = conn.replies.send(output.reply); // the connection may just have ended
            }
        }
    }
}

fn bound(address: SocketAddr) -> io::Result<(Socket, SocketAddr)> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    let address = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
    Ok((socket, address))
}

fn read_frame(input: &mut impl Read) -> io::Result<Bytes> {
    let mut len = [0; 4];
    input.read_exact(&mut len)?;
    let len = usize::try_from(i32::from_be_bytes(len)).unwrap_or(usize::MAX);
    if len > LARGEST_REQUEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = vec![0; len];
    input.read_exact(&mut frame)?;
    Ok(Bytes::from(frame))
}
