//! Real Apache Kafka clusters on loopback, for tests and measurements.
//!
//! [`Cluster::start`] runs the broker jars of Maven Central (fetched once, see [`jars`]) with small
//! heaps and short session times, waits until every broker responds, and can kill, pause and
//! restart single nodes. Dropping the cluster kills exactly the processes that it started and
//! removes its folder; if the test process dies first, each broker's [watchdog](process) kills its
//! broker.
//!
//! Needs `java` (17 or later) and, for the first fetch, `mvn`. Without them tests skip with one
//! line on stderr; with `KAVKA_REQUIRE_JAVA=1` they fail instead: see [`start_or_skip`].

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Mutex, Once, PoisonError};

mod campaign;
pub mod cluster;
pub mod jars;
pub mod ledger;
pub mod process;
pub mod raw;
mod settings;
mod site;

pub use campaign::Campaign;
pub use cluster::{Cluster, Secure, Spec, StartError};
pub use jars::Version;
pub use settings::{PASSWORD, USER};
pub use site::Site;

/// Returns why no real broker can run here; `None` when everything needed is installed.
pub fn java_missing() -> Option<String> {
    if !runs("java", "-version") {
        return Some("no Java".into());
    }
    let absent = Version::ALL.iter().any(|version| !jars::is_fetched(*version));
    (absent && !runs("mvn", "-version")).then(|| "no Maven".into())
}

fn runs(program: &str, flag: &str) -> bool {
    let mut command = Command::new(program);
    command.arg(flag).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Starts a cluster; `None` where Java is missing, reported once per process on stderr.
///
/// # Panics
/// When the cluster does not start, and for missing Java if `KAVKA_REQUIRE_JAVA` is `1`.
pub fn start_or_skip(spec: Spec) -> Option<Cluster> {
    let name = spec.to_string();
    started(&name, Cluster::start(spec))
}

/// Returns the cluster of this process with just this spec, and starts it where there is none yet;
/// `None` as for [`start_or_skip`]. For tests that leave its brokers alone, and that take names of
/// topics and groups which no other test takes. Its brokers end with the process.
///
/// # Panics
/// As [`start_or_skip`].
pub fn shared_or_skip(spec: Spec) -> Option<&'static Cluster> {
    static ALL: Mutex<Vec<&Cluster>> = Mutex::new(Vec::new());
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(cluster) = all.iter().find(|cluster| cluster.spec().equals(&spec)) {
        return Some(cluster);
    }
    let name = spec.to_string();
    let cluster = Box::leak(Box::new(started(&name, Cluster::start_beside(spec))?));
    all.push(cluster);
    Some(cluster)
}

fn started(name: &str, result: Result<Cluster, StartError>) -> Option<Cluster> {
    static SAID: Once = Once::new();
    match result {
        Ok(cluster) => Some(cluster),
        Err(StartError::Skipped(why)) => {
            let required = std::env::var_os("KAVKA_REQUIRE_JAVA").is_some_and(|value| value == "1");
            assert!(!required, "KAVKA_REQUIRE_JAVA=1, but {why}: no real broker can run");
            // Not eprintln!: the test runner would swallow it for a test that passes.
            SAID.call_once(|| {
                let line = format!("SKIPPED: {why}: real-broker tests did not run\n");
                let _ = std::io::stderr().write_all(line.as_bytes());
            });
            None
        }
        Err(StartError::Failed(why)) => panic!("{name} did not start: {why}"),
    }
}
