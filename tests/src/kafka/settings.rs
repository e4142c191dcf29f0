//! Property files of brokers, of ZooKeeper and of their loggers.

use core::fmt::Write as _;
use std::path::Path;

use super::Version;
use super::cluster::{Secure, Spec};
use crate::pki::STORE_PASSWORD;

/// Ports of one cluster, all on 127.0.0.1.
#[derive(Clone, Debug)]
pub(super) struct Ports {
    /// Client listener of node 1, 2, ...
    pub(super) clients: Vec<u16>,
    /// Listener of node 1, 2, ... for clients that know this machine by another name.
    pub(super) outside: Vec<u16>,
    /// Listener with SASL of node 1, 2, ...
    pub(super) sasl: Vec<u16>,
    /// Listener with SASL over TLS of node 1, 2, ...
    pub(super) tls: Vec<u16>,
    /// Listener with TLS that wants certificates of clients, and no SASL, of node 1, 2, ...
    pub(super) mutual: Vec<u16>,
    /// KRaft controller listener of node 1, 2, ...
    pub(super) controllers: Vec<u16>,
    /// ZooKeeper's port.
    pub(super) zookeeper: u16,
}

/// A fixed id: every cluster is alone on its ports.
pub(super) const CLUSTER_ID: &str = "MkU3OEVBNTcwNTJENDM2Qg";

/// A user of brokers that want logins.
pub const USER: &str = "alice";
/// The password of that user.
pub const PASSWORD: &str = "alice-secret";

pub(super) const LOG4J: &str = "log4j.rootLogger=WARN,out\n\
    log4j.appender.out=org.apache.log4j.ConsoleAppender\n\
    log4j.appender.out.layout=org.apache.log4j.PatternLayout\n\
    log4j.appender.out.layout.ConversionPattern=%d{HH:mm:ss.SSS} %p %c{1} %m%n\n";

pub(super) const LOG4J2: &str = "rootLogger.level=WARN\n\
    appender.out.type=Console\nappender.out.name=out\nappender.out.layout.type=PatternLayout\n\
    appender.out.layout.pattern=%d{HH:mm:ss.SSS} %p %c{1} %m%n\n\
    rootLogger.appenderRef.out.ref=out\n";

pub(super) fn zookeeper(folder: &Path, ports: &Ports) -> String {
    format!(
        "dataDir={}\nclientPort={}\nclientPortAddress=127.0.0.1\nmaxClientCnxns=0\n\
         tickTime=500\nadmin.enableServer=false\n",
        folder.join("zookeeper").display(),
        ports.zookeeper
    )
}

/// Returns the `server.properties` of `node` (from 1): few threads, small internal topics, a
/// liveness session of 3 s (KRaft) or 6 s (ZooKeeper), and durable writes on two of three nodes.
pub(super) fn broker(spec: &Spec, node: usize, folder: &Path, ports: &Ports) -> String {
    let nodes = spec.nodes;
    let (replicas, in_sync) = (nodes.min(3), nodes.min(2));
    let port = ports.clients[node - 1];
    let mut text = String::new();
    let mut set = |key: &str, value: &dyn core::fmt::Display| {
        let _ = writeln!(text, "{key}={value}");
    };
    let (mut bound, mut reported) = (format!("PLAINTEXT://127.0.0.1:{port}"), String::new());
    let mut protocols = "PLAINTEXT:PLAINTEXT".to_owned();
    if let Some(host) = &spec.advertise {
        let outside = ports.outside[node - 1];
        reported = format!(",OUTSIDE://{host}:{outside}");
        let _ = write!(bound, ",OUTSIDE://127.0.0.1:{outside}");
        protocols.push_str(",OUTSIDE:PLAINTEXT");
    }
    for (name, protocol, port) in secure_listeners(spec, node, ports) {
        let _ = write!(bound, ",{name}://127.0.0.1:{port}");
        let host = spec.advertise.as_deref().unwrap_or("localhost");
        let _ = write!(reported, ",{name}://{host}:{port}");
        let _ = write!(protocols, ",{name}:{protocol}");
    }
    set("advertised.listeners", &format_args!("PLAINTEXT://127.0.0.1:{port}{reported}"));
    set("inter.broker.listener.name", &"PLAINTEXT");
    set("log.dirs", &folder.join(format!("data{node}")).display());
    set("broker.rack", &format_args!("r{node}"));
    for (key, count) in counts(replicas, in_sync) {
        set(key, &count);
    }
    set("auto.create.topics.enable", &false);
    if nodes == 3 {
        let selector = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
        set("replica.selector.class", &selector);
    }
    if spec.version.has_share_groups() {
        set("share.coordinator.state.topic.num.partitions", &1);
        set("share.coordinator.state.topic.replication.factor", &replicas);
        set("share.coordinator.state.topic.min.isr", &in_sync);
    }
    if spec.version.is_kraft() {
        let voters: Vec<String> = (1..).zip(&ports.controllers).map(voter).collect();
        let controller = ports.controllers[node - 1];
        let _ = write!(bound, ",CONTROLLER://127.0.0.1:{controller}");
        protocols.push_str(",CONTROLLER:PLAINTEXT");
        set("process.roles", &"broker,controller");
        set("node.id", &node);
        set("controller.listener.names", &"CONTROLLER");
        set("controller.quorum.voters", &voters.join(","));
        set("broker.heartbeat.interval.ms", &200);
        set("broker.session.timeout.ms", &3000);
    } else {
        set("broker.id", &node);
        set("zookeeper.connect", &format_args!("127.0.0.1:{}", ports.zookeeper));
        set("zookeeper.session.timeout.ms", &6000);
        set("zookeeper.connection.timeout.ms", &30_000);
    }
    if let Some(secure) = &spec.secure {
        secure_settings(secure, spec.version, folder, &mut set);
    }
    set("listeners", &bound);
    set("listener.security.protocol.map", &protocols);
    spec.settings.iter().for_each(|(key, value)| set(key, value));
    text
}

/// Few threads, small internal topics.
fn counts(replicas: usize, in_sync: usize) -> [(&'static str, usize); 13] {
    [
        ("num.network.threads", 1),
        ("num.io.threads", 2),
        ("background.threads", 1),
        ("num.recovery.threads.per.data.dir", 1),
        ("log.cleaner.dedupe.buffer.size", 2 << 20),
        ("offsets.topic.num.partitions", 1),
        ("transaction.state.log.num.partitions", 1),
        ("group.initial.rebalance.delay.ms", 0),
        ("offsets.topic.replication.factor", replicas),
        ("transaction.state.log.replication.factor", replicas),
        ("default.replication.factor", replicas),
        ("transaction.state.log.min.isr", in_sync),
        ("min.insync.replicas", in_sync),
    ]
}

/// Returns name, security protocol and port of the listeners that want logins.
fn secure_listeners(
    spec: &Spec,
    node: usize,
    ports: &Ports,
) -> Vec<(&'static str, &'static str, u16)> {
    let Some(secure) = &spec.secure else { return Vec::new() };
    let mut listeners = vec![("SASL", "SASL_PLAINTEXT", ports.sasl[node - 1])];
    if secure.tls.is_some() {
        listeners.push(("SASLTLS", "SASL_SSL", ports.tls[node - 1]));
        listeners.push(("MUTUAL", "SSL", ports.mutual[node - 1]));
    }
    listeners
}

/// Kafka reads PEM files from 2.7 on (KIP-651), at first with encrypted keys only.
pub(super) fn reads_pem(version: Version) -> bool {
    version.is_kraft()
}

fn secure_settings(
    secure: &Secure,
    version: Version,
    folder: &Path,
    set: &mut impl FnMut(&str, &dyn core::fmt::Display),
) {
    let mechanisms = "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER";
    set("sasl.enabled.mechanisms", &mechanisms);
    logins(set);
    if secure.tls.is_none() {
        return;
    }
    for (listener, client_auth) in [("sasltls", "none"), ("mutual", "required")] {
        let key = |name: &str| format!("listener.name.{listener}.ssl.{name}");
        for (store, file) in [("keystore", "server"), ("truststore", "ca")] {
            let (kind, end) = if reads_pem(version) { ("PEM", "pem") } else { ("PKCS12", "p12") };
            let path = folder.join(format!("{file}.{end}"));
            set(&key(&format!("{store}.type")), &kind);
            set(&key(&format!("{store}.location")), &path.display());
            if !reads_pem(version) {
                set(&key(&format!("{store}.password")), &STORE_PASSWORD);
            }
        }
        if !reads_pem(version) {
            set(&key("key.password"), &STORE_PASSWORD);
        }
        set(&key("client.auth"), &client_auth);
    }
}

/// What brokers know users by: `alice` with `alice-secret`, and unsigned tokens.
fn logins(set: &mut impl FnMut(&str, &dyn core::fmt::Display)) {
    let module = "org.apache.kafka.common.security";
    for listener in ["sasl", "sasltls"] {
        let key =
            |mechanism: &str| format!("listener.name.{listener}.{mechanism}.sasl.jaas.config");
        let plain = format!("{module}.plain.PlainLoginModule required user_{USER}=\"{PASSWORD}\";");
        set(&key("plain"), &plain);
        for mechanism in ["scram-sha-256", "scram-sha-512"] {
            set(&key(mechanism), &format_args!("{module}.scram.ScramLoginModule required;"));
        }
        let bearer = format!(
            "{module}.oauthbearer.OAuthBearerLoginModule required \
             unsecuredLoginStringClaim_sub=\"broker\";"
        );
        set(&key("oauthbearer"), &bearer);
    }
}

fn voter((node, port): (usize, &u16)) -> String {
    format!("{node}@127.0.0.1:{port}")
}
