//! The brokers of a run: simulated, or real ones that it starts itself or was given.

use core::time::Duration;
use std::thread;

use kavka_tests::kafka::{Cluster, Spec};
use kavka_tests::sim::{self, Server};

use super::Failure;
use crate::options::Options;

/// See the module.
pub(crate) enum Brokers {
    Simulated(Server),
    Started(Box<Cluster>, String),
    Given(String),
}

impl Brokers {
    pub(crate) fn start(options: &Options) -> Result<Self, Failure> {
        if let Some(bootstrap) = &options.bootstrap {
            return Ok(Self::Given(bootstrap.clone()));
        }
        if let Some(version) = options.kafka {
            let cluster = Cluster::start(Spec::new(version, 3))?;
            let bootstrap = cluster.bootstrap();
            return Ok(Self::Started(Box::new(cluster), bootstrap));
        }
        Ok(Self::Simulated(Server::start(sim::Options {
            groups: options.group.map(|_| sim::Groups::default()),
            first_append_delay: Duration::from_millis(20),
            replication_delay: Duration::from_millis(1),
            ..sim::Options::default()
        })?))
    }

    pub(crate) fn bootstrap(&self) -> String {
        match self {
            Self::Simulated(server) => server.bootstrap(),
            Self::Started(_, bootstrap) | Self::Given(bootstrap) => bootstrap.clone(),
        }
    }

    pub(crate) fn text(&self) -> String {
        match self {
            Self::Simulated(_) => "3 simulated brokers on loopback TCP".to_owned(),
            Self::Started(cluster, _) => cluster.spec().to_string(),
            Self::Given(bootstrap) => format!("brokers at {bootstrap}"),
        }
    }

    /// Whether they note when records are appended.
    pub(crate) fn is_real(&self) -> bool {
        !matches!(self, Self::Simulated(_))
    }

    pub(crate) fn await_count(&self, topic: &str, count: u32) -> Result<(), Failure> {
        match self {
            Self::Started(cluster, _) => cluster.await_count(topic, count)?,
            _ => thread::sleep(Duration::from_millis(500)),
        }
        Ok(())
    }

    /// Kills a broker, where they are ours.
    pub(crate) fn kill(&self, broker: u32) -> Result<(), Failure> {
        match self {
            Self::Simulated(server) => server.kill(i32::try_from(broker)?)?,
            Self::Started(cluster, _) => cluster.kill(broker as usize)?,
            Self::Given(_) => {}
        }
        Ok(())
    }

    /// Starts it again, and waits until it has all records of a topic.
    pub(crate) fn restart(&self, broker: u32, topic: &str) -> Result<(), Failure> {
        match self {
            Self::Simulated(server) => server.restart(i32::try_from(broker)?)?,
            Self::Started(cluster, _) => {
                cluster.restart(broker as usize)?;
                cluster.await_in_sync(topic)?;
            }
            Self::Given(_) => {}
        }
        Ok(())
    }
}
