//! One cluster: start, kill, pause, restart, and what its brokers report.

use core::fmt;
use core::net::{Ipv4Addr, SocketAddr};
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::fs;
use std::io;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use super::jars::{self, Version};
use super::process::Guarded;
use super::raw::{INVALID_PARTITIONS, Metadata, Raw};
use super::settings::{self, Ports};
use crate::pki::{Authority, Identity};

/// Time for a start; a broker on a busy machine may need most of it.
const START_LIMIT: Duration = Duration::from_secs(150);
/// Time for one response while a broker starts.
const PROBE_LIMIT: Duration = Duration::from_secs(2);
/// Time for one response while another broker can be tried instead.
const TRY_LIMIT: Duration = Duration::from_secs(5);
/// Time for a response of a running broker.
const RESPONSE_LIMIT: Duration = Duration::from_secs(40);
/// Pause between two checks of an awaited state.
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How often to try other ports when another process took one of ours.
const PORT_TRIES: u32 = 3;
/// A DeleteTopics of a ZooKeeper cluster is not complete when its response arrives.
const MARKED_FOR_DELETION: i16 = 36;

/// Listeners that want logins of the user [`USER`](super::USER).
#[derive(Clone, Debug, Default)]
pub struct Secure {
    /// For listeners with TLS: the broker's certificate, and the authority of its clients.
    pub tls: Option<(Identity, Arc<Authority>)>,
}

impl Secure {
    /// Returns listeners with and without TLS; all certificates are of this authority.
    #[must_use]
    pub fn over_tls(authority: Arc<Authority>) -> Self {
        Self { tls: Some((authority.server(), authority)) }
    }
}

/// The cluster to start.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Version of the brokers.
    pub version: Version,
    /// Brokers, 1 to 3; with three, topics have three replicas, of which two must be in sync.
    pub nodes: usize,
    /// Heap limit per broker in MiB; 512 carries 2,000 partitions.
    pub heap: u32,
    /// Host name or address of a second listener, for clients that know this machine by another
    /// name than 127.0.0.1, such as an emulated board: [`Cluster::outside`].
    pub advertise: Option<String>,
    /// Whether there are listeners that want logins, too.
    pub secure: Option<Secure>,
    /// Broker properties that override the launcher's own.
    pub settings: Vec<(String, String)>,
}

impl Spec {
    /// Returns `nodes` brokers with 512 MiB each.
    pub fn new(version: Version, nodes: usize) -> Self {
        Self { version, nodes, heap: 512, advertise: None, secure: None, settings: Vec::new() }
    }

    /// Adds a listener with SASL and, where there are certificates, one with SASL over TLS and one
    /// that wants certificates of its clients.
    #[must_use]
    pub fn secure(mut self, secure: Secure) -> Self {
        self.secure = Some(secure);
        self
    }

    /// Whether a test cannot tell the two apart; never with certificates.
    pub(super) fn equals(&self, other: &Self) -> bool {
        let of = |spec: &Self| (spec.version, spec.nodes, spec.heap, spec.settings.clone());
        let named = [self, other].iter().any(|spec| {
            let Self { advertise, secure, .. } = spec;
            advertise.is_some() || secure.is_some()
        });
        !named && of(self) == of(other)
    }

    /// Switches KIP-848 on, which 3.9 has off by default.
    #[must_use]
    pub fn kip_848(self) -> Self {
        match self.version {
            Version::V3_9_2 => {
                self.set("group.coordinator.rebalance.protocols", "classic,consumer")
            }
            _ => self,
        }
    }

    /// Has brokers remove members of KIP-848 that are silent for `session`, which is 45 s by
    /// default; at least 6 s. Heartbeats come each second.
    #[must_use]
    pub fn session(self, session: Duration) -> Self {
        self.set("group.consumer.min.session.timeout.ms", session.as_millis())
            .set("group.consumer.session.timeout.ms", session.as_millis())
            .set("group.consumer.min.heartbeat.interval.ms", 1000)
            .set("group.consumer.heartbeat.interval.ms", 1000)
    }

    /// Adds this broker property.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl fmt::Display) -> Self {
        self.settings.push((key.to_owned(), value.to_string()));
        self
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kafka {} x{}", self.version, self.nodes)
    }
}

/// Why there is no cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartError {
    /// Java or Maven is not installed.
    Skipped(String),
    /// It should have started; with the end of the log.
    Failed(String),
}

impl From<io::Error> for StartError {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Skipped(why) | Self::Failed(why) => f.write_str(why),
        }
    }
}

impl core::error::Error for StartError {}

/// A running cluster. Nodes count from 1, like their broker ids.
///
/// A process runs three brokers at a time: another start waits until there are few enough. Those of
/// [`shared_or_skip`](super::shared_or_skip) do not count.
#[derive(Debug)]
pub struct Cluster {
    spec: Spec,
    ports: Ports,
    // Before `folder`: brokers end before their files are removed.
    brokers: Vec<Mutex<Option<Guarded>>>,
    _zookeeper: Option<Guarded>,
    folder: Folder,
    _turn: Option<Turn>,
}

impl Cluster {
    /// Starts one and waits until each broker responds and knows all the others.
    ///
    /// # Errors
    /// [`StartError::Skipped`] without Java; [`StartError::Failed`] when it does not start.
    pub fn start(spec: Spec) -> Result<Self, StartError> {
        let turn = Turn::take(spec.nodes);
        let mut cluster = Self::start_beside(spec)?;
        cluster._turn = Some(turn);
        Ok(cluster)
    }

    /// Starts one beside others of this process.
    pub(super) fn start_beside(spec: Spec) -> Result<Self, StartError> {
        if let Some(why) = super::java_missing() {
            return Err(StartError::Skipped(why));
        }
        if !(1..=3).contains(&spec.nodes) {
            return Err(StartError::Failed(format!("1 to 3 nodes, not {}", spec.nodes)));
        }
        jars::fetch(spec.version)?;
        let mut tries = 1;
        loop {
            match Self::start_once(&spec) {
                Ok(cluster) => return Ok(cluster),
                Err(why) if tries < PORT_TRIES && why.contains("Address already in use") => {
                    tries += 1;
                }
                Err(why) => return Err(StartError::Failed(why)),
            }
        }
    }

    fn start_once(spec: &Spec) -> Result<Self, String> {
        let text = |error: io::Error| error.to_string();
        let folder = Folder::new().map_err(text)?;
        let ports = free_ports(spec.nodes).map_err(text)?;
        for (name, content) in [("log4j", settings::LOG4J), ("log4j2", settings::LOG4J2)] {
            fs::write(folder.0.join(format!("{name}.properties")), content).map_err(text)?;
        }
        write_certificates(spec, &folder.0).map_err(text)?;
        for node in 1..=spec.nodes {
            let content = settings::broker(spec, node, &folder.0, &ports);
            fs::write(folder.server(node), content).map_err(text)?;
        }
        let mut zookeeper = None;
        if spec.version.is_kraft() {
            format_storage(spec, &folder)?;
        } else {
            zookeeper = Some(start_zookeeper(&folder, &ports)?);
            if spec.secure.is_some() {
                add_users(spec, &folder, &ports)?;
            }
        }
        let brokers = (1..=spec.nodes).map(|_| Mutex::new(None)).collect();
        let spec = spec.clone();
        let cluster = Self { spec, ports, brokers, _zookeeper: zookeeper, folder, _turn: None };
        for node in 1..=cluster.spec.nodes {
            cluster.launch(node).map_err(text)?;
        }
        let deadline = Instant::now() + START_LIMIT;
        for node in 1..=cluster.spec.nodes {
            cluster.await_node(node, cluster.spec.nodes, deadline)?;
        }
        Ok(cluster)
    }

    /// Runs a class of Kafka's own tools, of any release, until the result is dropped. Jars have no
    /// tools from 4.0 on; those of 2.8.2 work with all brokers.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn tool(&self, version: Version, main: &str, args: &[&str]) -> io::Result<Guarded> {
        let args = java_args(&self.folder, version, 128, main, args)?;
        Guarded::start("java", &args, &self.folder.0.join("tool.log"))
    }

    /// Returns what it was started with.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Returns the number of brokers.
    pub fn nodes(&self) -> usize {
        self.spec.nodes
    }

    /// Returns `host:port` of each broker, separated by commas.
    pub fn bootstrap(&self) -> String {
        let hosts: Vec<String> =
            (1..=self.spec.nodes).map(|node| self.address(node).to_string()).collect();
        hosts.join(",")
    }

    /// Returns `host:port` of each broker under the name of [`Spec::advertise`], separated by
    /// commas.
    pub fn outside(&self) -> Option<String> {
        let host = self.spec.advertise.as_ref()?;
        let hosts: Vec<String> =
            self.ports.outside.iter().map(|port| format!("{host}:{port}")).collect();
        Some(hosts.join(","))
    }

    /// Returns `host:port` of each broker's listener with SASL, separated by commas.
    pub fn sasl(&self) -> String {
        let hosts = self.ports.sasl.iter().map(|port| format!("localhost:{port}"));
        hosts.collect::<Vec<_>>().join(",")
    }

    /// Returns `host:port` of each broker's listener with SASL over TLS, separated by commas: under
    /// the name of [`Spec::advertise`], where there is one.
    pub fn sasl_over_tls(&self) -> String {
        let host = self.spec.advertise.as_deref().unwrap_or("localhost");
        let hosts = self.ports.tls.iter().map(|port| format!("{host}:{port}"));
        hosts.collect::<Vec<_>>().join(",")
    }

    /// Returns `host:port` of each broker's listener that wants certificates of clients, separated
    /// by commas.
    pub fn mutual(&self) -> String {
        let hosts = self.ports.mutual.iter().map(|port| format!("localhost:{port}"));
        hosts.collect::<Vec<_>>().join(",")
    }

    /// Returns the address of `node`.
    ///
    /// # Panics
    /// When there is no such node.
    pub fn address(&self, node: usize) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.ports.clients[node - 1]))
    }

    /// Sends `SIGKILL`; the process is gone when this returns.
    ///
    /// # Errors
    /// When the node does not run.
    pub fn kill(&self, node: usize) -> io::Result<()> {
        self.broker(node).take().map(drop).ok_or_else(|| not_running(node))
    }

    /// Sends `SIGSTOP`: its connections stay open, no request gets a response.
    ///
    /// # Errors
    /// When the node does not run.
    pub fn pause(&self, node: usize) -> io::Result<()> {
        self.signal(node, "STOP")
    }

    /// Sends `SIGCONT`, after [`pause`](Self::pause).
    ///
    /// # Errors
    /// When the node does not run.
    pub fn resume(&self, node: usize) -> io::Result<()> {
        self.signal(node, "CONT")
    }

    /// Sends `SIGTERM`: the broker hands its leaderships over and takes seconds to end.
    ///
    /// # Errors
    /// When the node does not run.
    pub fn terminate(&self, node: usize) -> io::Result<()> {
        self.signal(node, "TERM")
    }

    /// Restarts `node` with its data, after killing it if it still runs, and waits until it
    /// responds and lists itself. With ZooKeeper this takes as long as the old session lives (6 s).
    ///
    /// # Errors
    /// When it does not start, with the end of its log.
    pub fn restart(&self, node: usize) -> io::Result<()> {
        drop(self.broker(node).take());
        let deadline = Instant::now() + START_LIMIT;
        loop {
            self.launch(node)?;
            match self.await_node(node, 1, deadline) {
                Ok(()) => return Ok(()),
                // The id stays in use until the session of the killed process expires.
                Err(why) if why.contains("already exists") && Instant::now() < deadline => {}
                Err(why) => return Err(io::Error::other(why)),
            }
        }
    }

    /// Opens a plain connection to `node`, for requests that should not use the library under test.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn raw(&self, node: usize) -> io::Result<Raw> {
        Raw::connect(self.address(node), RESPONSE_LIMIT)
    }

    /// Returns the first running node's metadata, of `topic` if one is named.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn metadata(&self, topic: Option<&str>) -> io::Result<Metadata> {
        let running = (1..=self.spec.nodes).find(|node| self.broker(*node).is_some());
        let node = running.ok_or_else(|| io::Error::other("no node runs"))?;
        self.raw(node)?.metadata(topic)
    }

    /// Creates `topic` with three replicas on three nodes, else one, and waits until every broker
    /// knows leaders for all its partitions.
    ///
    /// # Errors
    /// Those of the socket, a refusal, and no such state within half a minute.
    pub fn create(&self, topic: &str, partitions: u32) -> io::Result<()> {
        let replicas = if self.spec.nodes >= 3 { 3 } else { 1 };
        let count = i32::try_from(partitions).map_err(io::Error::other)?;
        await_until(RESPONSE_LIMIT, "CreateTopics", || {
            match self.controller()?.create_topic(topic, count, replicas)? {
                MARKED_FOR_DELETION => Ok(None),
                code => accepted(code, "CreateTopics").map(Some),
            }
        })?;
        self.await_count(topic, partitions)
    }

    /// Extends `topic` to `partitions` in all; confirmed, but not yet known to every broker.
    ///
    /// # Errors
    /// Those of the socket, and a refusal.
    pub fn grow(&self, topic: &str, partitions: u32) -> io::Result<()> {
        let count = i32::try_from(partitions).map_err(io::Error::other)?;
        let code = self.controller()?.create_partitions(topic, count)?;
        accepted(code, "CreatePartitions")
    }

    /// [`Cluster::grow`] while brokers are in trouble: they refuse or do not respond for as long as
    /// one is away or a controller is elected, so each is tried in turn. Succeeds also when `topic`
    /// has that many already, as a request without a response may have been applied.
    ///
    /// # Errors
    /// No such response within 150 s.
    pub fn grow_at_last(&self, topic: &str, partitions: u32) -> io::Result<()> {
        let count = i32::try_from(partitions).map_err(io::Error::other)?;
        let mut nodes = (1..=self.spec.nodes).cycle();
        await_until(START_LIMIT, "CreatePartitions", || {
            let address = self.address(nodes.next().unwrap_or(1));
            match Raw::connect(address, TRY_LIMIT)?.create_partitions(topic, count)? {
                INVALID_PARTITIONS => Ok(Some(())),
                code => accepted(code, "CreatePartitions").map(Some),
            }
        })
    }

    /// Deletes `topic`; confirmed, but not yet known to every broker.
    ///
    /// # Errors
    /// Those of the socket, and a refusal.
    pub fn delete(&self, topic: &str) -> io::Result<()> {
        accepted(self.controller()?.delete_topic(topic)?, "DeleteTopics")
    }

    /// Waits until every running broker lists `partitions` of `topic`, each with a leader.
    ///
    /// # Errors
    /// Those of the socket, and no such state within 40 s.
    pub fn await_count(&self, topic: &str, partitions: u32) -> io::Result<()> {
        let count = usize::try_from(partitions).map_err(io::Error::other)?;
        self.await_everywhere(topic, "all leaders", |seen| {
            seen.partitions.len() == count && seen.partitions.iter().all(|p| p.leader > 0)
        })
    }

    /// Waits until every running broker reports that all replicas of `topic` are in sync.
    ///
    /// # Errors
    /// Those of the socket, and no such state within 40 s.
    pub fn await_in_sync(&self, topic: &str) -> io::Result<()> {
        self.await_everywhere(topic, "all in sync", |seen| {
            seen.error == 0 && seen.partitions.iter().all(|p| p.in_sync.len() == p.replicas.len())
        })
    }

    /// Returns the node whose controller leads the KRaft quorum. While it is paused, nothing can be
    /// created.
    ///
    /// # Errors
    /// Those of the socket; always without KRaft.
    pub fn active_controller(&self) -> io::Result<usize> {
        let id = self.raw(1)?.active_controller()?;
        usize::try_from(id).map_err(io::Error::other)
    }

    /// Returns the end of the log of `node`.
    pub fn log_tail(&self, node: usize) -> String {
        tail(&self.folder.log(node))
    }

    fn await_everywhere(
        &self,
        topic: &str,
        what: &str,
        holds: impl Fn(&Metadata) -> bool,
    ) -> io::Result<()> {
        for node in 1..=self.spec.nodes {
            await_until(RESPONSE_LIMIT, &format!("{what} of {topic} at node {node}"), || {
                if self.broker(node).is_none() {
                    return Ok(Some(()));
                }
                let seen = self.raw(node)?.metadata(Some(topic))?;
                Ok(holds(&seen).then_some(()))
            })?;
        }
        Ok(())
    }

    /// Connects to the broker for admin requests: any with KRaft, the controller with ZooKeeper.
    fn controller(&self) -> io::Result<Raw> {
        let controller = self.metadata(None)?.controller;
        let node = usize::try_from(controller).ok().filter(|n| (1..=self.nodes()).contains(n));
        self.raw(node.ok_or_else(|| io::Error::other(format!("controller is {controller}")))?)
    }

    fn broker(&self, node: usize) -> MutexGuard<'_, Option<Guarded>> {
        assert!((1..=self.spec.nodes).contains(&node), "node {node} of {}", self.spec.nodes);
        self.brokers[node - 1].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, node: usize, name: &str) -> io::Result<()> {
        self.broker(node).as_mut().ok_or_else(|| not_running(node))?.signal(name)
    }

    fn launch(&self, node: usize) -> io::Result<()> {
        let server = self.folder.server(node).display().to_string();
        let args =
            java_args(&self.folder, self.spec.version, self.spec.heap, "kafka.Kafka", &[&server])?;
        let log = self.folder.log(node);
        fs::write(&log, "")?; // an earlier run's log is no reason for this one
        *self.broker(node) = Some(Guarded::start("java", &args, &log)?);
        Ok(())
    }

    /// Waits until `node` lists itself among at least `known` brokers.
    fn await_node(&self, node: usize, known: usize, deadline: Instant) -> Result<(), String> {
        let ready = || -> io::Result<bool> {
            let seen = Raw::connect(self.address(node), PROBE_LIMIT)?.metadata(None)?;
            let listed = seen.brokers.iter().any(|id| usize::try_from(*id) == Ok(node));
            Ok(listed && seen.brokers.len() >= known)
        };
        while !ready().unwrap_or(false) {
            let ended = self.broker(node).as_ref().is_none_or(Guarded::has_ended);
            if ended || Instant::now() > deadline {
                let how = if ended { "ended" } else { "does not respond" };
                return Err(format!("node {node} {how}:\n{}", self.log_tail(node)));
            }
            thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }
}

fn not_running(node: usize) -> io::Error {
    io::Error::other(format!("node {node} does not run"))
}

fn accepted(code: i16, what: &str) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::other(format!("{what}: error {code}"))) }
}

/// Polls until there is a result; an error counts as none yet, and is returned if time runs out.
fn await_until<T>(
    limit: Duration,
    what: &str,
    mut look: impl FnMut() -> io::Result<Option<T>>,
) -> io::Result<T> {
    let deadline = Instant::now() + limit;
    loop {
        let error = match look() {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        if Instant::now() > deadline {
            let text = format!("{what}: not within {limit:?} ({error:?})");
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        thread::sleep(LOOK_AGAIN);
    }
}

fn start_zookeeper(folder: &Folder, ports: &Ports) -> Result<Guarded, String> {
    let text = |error: io::Error| error.to_string();
    // One ZooKeeper serves brokers of all versions.
    let version = Version::V3_9_2;
    jars::fetch(version).map_err(text)?;
    let path = folder.0.join("zookeeper.properties");
    fs::write(&path, settings::zookeeper(&folder.0, ports)).map_err(text)?;
    let main = "org.apache.zookeeper.server.quorum.QuorumPeerMain";
    let args =
        java_args(folder, version, 128, main, &[&path.display().to_string()]).map_err(text)?;
    let log = folder.0.join("zookeeper.log");
    let guarded = Guarded::start("java", &args, &log).map_err(text)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, ports.zookeeper));
    let deadline = Instant::now() + START_LIMIT;
    while std::net::TcpStream::connect_timeout(&address, PROBE_LIMIT).is_err() {
        if guarded.has_ended() || Instant::now() > deadline {
            return Err(format!("ZooKeeper does not respond:\n{}", tail(&log)));
        }
        thread::sleep(LOOK_AGAIN);
    }
    Ok(guarded)
}

/// Writes the broker's certificate and its authority as files that its version reads.
fn write_certificates(spec: &Spec, folder: &Path) -> io::Result<()> {
    let Some(tls) = spec.secure.as_ref().and_then(|secure| secure.tls.as_ref()) else {
        return Ok(());
    };
    let (server, authority) = tls;
    if settings::reads_pem(spec.version) {
        fs::write(folder.join("server.pem"), server.pem())?;
        return fs::write(folder.join("ca.pem"), authority.pem());
    }
    fs::write(folder.join("server.p12"), server.store())?;
    fs::write(folder.join("ca.p12"), authority.store())
}

/// Adds the users of SCRAM where ZooKeeper keeps them.
fn add_users(spec: &Spec, folder: &Folder, ports: &Ports) -> Result<(), String> {
    let password = settings::PASSWORD;
    let keys = format!("SCRAM-SHA-256=[password={password}],SCRAM-SHA-512=[password={password}]");
    let zookeeper = format!("127.0.0.1:{}", ports.zookeeper);
    let args = ["--zookeeper", &zookeeper, "--alter", "--add-config", &keys, "--entity-type"];
    let args = [&args[..], &["users", "--entity-name", settings::USER]].concat();
    let main = "kafka.admin.ConfigCommand";
    let args = java_args(folder, spec.version, 128, main, &args).map_err(|e| e.to_string())?;
    let mut command = Command::new("java");
    let output = command.args(args).stdin(Stdio::null()).output().map_err(|e| e.to_string())?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    match output.status.success() && said.contains("Completed") {
        true => Ok(()),
        false => Err(format!("users of SCRAM: {said}")),
    }
}

/// Formats every KRaft node's log folder; all at once, as each takes a JVM.
fn format_storage(spec: &Spec, folder: &Folder) -> Result<(), String> {
    let mut running = Vec::new();
    for node in 1..=spec.nodes {
        let server = folder.server(node).display().to_string();
        let user = |hash: u32| {
            let (user, password) = (settings::USER, settings::PASSWORD);
            format!("SCRAM-SHA-{hash}=[name={user},password={password}]")
        };
        let (short, long) = (user(256), user(512));
        let mut args = vec!["format", "-t", settings::CLUSTER_ID, "-c", &server];
        if spec.secure.is_some() {
            args.extend(["--add-scram", &short, "--add-scram", &long]);
        }
        let args = java_args(folder, spec.version, 128, "kafka.tools.StorageTool", &args)
            .map_err(|error| error.to_string())?;
        let mut command = Command::new("java");
        command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        running.push(command.spawn().map_err(|error| error.to_string())?);
    }
    for child in running {
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        if !output.status.success() {
            let (out, err) = (&output.stdout, &output.stderr);
            let said = [String::from_utf8_lossy(out), String::from_utf8_lossy(err)].concat();
            return Err(format!("formatting failed: {said}"));
        }
    }
    Ok(())
}

/// Returns JVM options: a small heap and the quick compiler only, as clusters share two cores with
/// what they test.
fn java_args(
    folder: &Folder,
    version: Version,
    heap: u32,
    main: &str,
    args: &[&str],
) -> io::Result<Vec<String>> {
    let lib = jars::fetch(version)?;
    let dir = folder.0.display();
    let mut all = vec![
        "-Xms64m".to_owned(),
        format!("-Xmx{heap}m"),
        "-XX:TieredStopAtLevel=1".to_owned(),
        "-XX:+UseSerialGC".to_owned(),
        format!("-Dlog4j2.configurationFile={dir}/log4j2.properties"),
        format!("-Dlog4j.configuration=file:{dir}/log4j.properties"),
        "-Dorg.apache.kafka.automatic.config.providers=none".to_owned(),
        "-cp".to_owned(),
        format!("{}/*", lib.display()),
        main.to_owned(),
    ];
    all.extend(args.iter().map(ToString::to_string));
    Ok(all)
}

/// Finds unused ports below the range that the system uses for outgoing connections, so that a
/// restarted broker finds its port free.
fn free_ports(nodes: usize) -> io::Result<Ports> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    const FIRST: u32 = 15_000;
    const SPAN: u32 = 17_000;
    // Processes begin at different ports; each port is kept bound until all are found.
    let begin = std::process::id().wrapping_mul(97);
    let mut held = Vec::new();
    for _ in 0..SPAN {
        let port = FIRST + begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % SPAN;
        let port = u16::try_from(port).map_err(io::Error::other)?;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            held.push((port, listener));
        }
        if held.len() == 6 * nodes + 1 {
            let mut ports = held.iter().map(|(port, _)| *port);
            let clients = ports.by_ref().take(nodes).collect();
            let outside = ports.by_ref().take(nodes).collect();
            let sasl = ports.by_ref().take(nodes).collect();
            let tls = ports.by_ref().take(nodes).collect();
            let mutual = ports.by_ref().take(nodes).collect();
            let controllers = ports.by_ref().take(nodes).collect();
            let zookeeper = ports.next().unwrap_or_default();
            return Ok(Ports { clients, outside, sasl, tls, mutual, controllers, zookeeper });
        }
    }
    Err(io::Error::other("no free ports"))
}

fn tail(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    String::from_utf8_lossy(&text[text.len().saturating_sub(3000)..]).into_owned()
}

/// The right to run so many brokers.
#[derive(Debug)]
struct Turn(usize);

/// How many brokers run, and a change of that.
static RUNNING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

impl Turn {
    /// Brokers at a time: more than these are slow on two cores.
    const MOST: usize = 3;

    /// Waits for it.
    fn take(nodes: usize) -> Self {
        let (running, changed) = &RUNNING;
        let running = running.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |running: &mut usize| *running > 0 && *running + nodes > Self::MOST;
        let mut running = changed.wait_while(running, full).unwrap_or_else(PoisonError::into_inner);
        *running += nodes;
        Self(nodes)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let (running, changed) = &RUNNING;
        *running.lock().unwrap_or_else(PoisonError::into_inner) -= self.0;
        changed.notify_all();
    }
}

/// The files of one cluster, removed on drop.
#[derive(Debug)]
struct Folder(PathBuf);

impl Folder {
    fn new() -> io::Result<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let all = jars::home().join("run");
        sweep(&all);
        let (pid, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = all.join(format!("{pid}-{number}"));
        fs::create_dir_all(&path)?;
        Ok(Self(fs::canonicalize(path)?))
    }

    fn server(&self, node: usize) -> PathBuf {
        self.0.join(format!("server{node}.properties"))
    }

    fn log(&self, node: usize) -> PathBuf {
        self.0.join(format!("node{node}.log"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Removes folders of processes that ended without cleaning up.
fn sweep(all: &Path) {
    if !Path::new("/proc/self").exists() {
        return;
    }
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.split('-').next()).unwrap_or_default();
        if !Path::new("/proc").join(pid).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
