//! What every command takes, and the client's configuration from it.

use core::time::Duration;

use clap::Args;
use kavka_std::Config;

use super::properties::Properties;
use super::security::SecurityArgs;
use super::{Failure, failure};

/// The bootstrap address if none is named.
const BOOTSTRAP: &str = "localhost:9092";

#[derive(Args)]
pub(super) struct Common {
    /// Brokers to connect to first: `host:port,host:port` [default: localhost:9092]
    #[arg(short, long, global = true, env = "KAVKA_BOOTSTRAP", value_name = "BROKERS")]
    bootstrap: Option<String>,
    /// Name of this client, for the brokers' logs and quotas [default: kavka]
    #[arg(long, global = true, value_name = "NAME")]
    client_id: Option<String>,
    /// Seconds to wait for a cluster, a topic or a partition that does not respond
    #[arg(
        long, global = true, default_value_t = 10, value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..)
    )]
    timeout: u64,
    /// File of client properties, such as bootstrap.servers=h:9092; options override it
    #[arg(short = 'F', long, global = true, value_name = "FILE")]
    config: Option<String>,
    /// A client property, such as request.timeout.ms=5000; may be repeated, overrides the file
    #[arg(short = 'X', long, global = true, value_name = "KEY=VALUE")]
    property: Vec<String>,
    #[command(flatten)]
    security: SecurityArgs,
    /// Accept another cluster at the addresses than at first
    #[arg(long, global = true)]
    any_cluster: bool,
    /// Print events of topics and connections on stderr
    #[arg(short, long, global = true)]
    verbose: bool,
}

/// Options and properties together.
pub(super) struct Settings {
    common: Common,
    pub(super) properties: Properties,
}

impl Settings {
    pub(super) fn new(common: Common) -> Result<Self, Failure> {
        let mut properties = Properties::default();
        if let Some(file) = &common.config {
            properties.read_file(file)?;
        }
        for entry in &common.property {
            properties.read_option(entry)?;
        }
        properties.security.take_options(&common.security)?;
        let settings = Self { common, properties };
        let _ = failure::BOOTSTRAP.set(settings.bootstrap().to_owned()); // there is one of these
        Ok(settings)
    }

    pub(super) fn bootstrap(&self) -> &str {
        let option = self.common.bootstrap.as_deref();
        option.or(self.properties.bootstrap.as_deref()).unwrap_or(BOOTSTRAP)
    }

    pub(super) fn verbose(&self) -> bool {
        self.common.verbose
    }

    pub(super) fn timeout(&self) -> Duration {
        Duration::from_secs(self.common.timeout.min(1 << 32))
    }

    pub(super) fn accepts_any_cluster(&self) -> bool {
        self.common.any_cluster || self.properties.check_cluster == Some(false)
    }

    pub(super) fn config(&self) -> Config {
        self.config_at(self.bootstrap())
    }

    /// The configuration with another list of addresses.
    pub(super) fn config_at(&self, bootstrap: &str) -> Config {
        let properties = &self.properties;
        let client_id = self.common.client_id.as_deref().or(properties.client_id.as_deref());
        let config = Config::new(bootstrap)
            .client_id(client_id.unwrap_or("kavka"))
            .topic_timeout(self.timeout())
            .admin_timeout(self.timeout());
        let config = properties.security.apply(properties.apply(config));
        if self.common.any_cluster { config.accept_other_cluster(true) } else { config }
    }
}
