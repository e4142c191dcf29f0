//! `telemetry --tls`: the same over TLS with a login, to real brokers, beside plain; and
//! certificates that must not be trusted.

use core::time::Duration;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::ValueEnum;
use kavka_tests::kafka::{Cluster, PASSWORD, Secure, Spec, USER, Version};
use kavka_tests::pki;

use crate::board::{self, Board, HOST, Setup};
use crate::telemetry::{self, Options};
use crate::{Failure, check, image};

/// How the board logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sasl {
    /// PLAIN.
    Plain,
    /// SCRAM-SHA-256.
    Scram,
}

/// Seconds for which certificates are valid: a day, around now.
const DAY: u64 = 24 * 3600;

/// A CA with a file for the board.
struct Authority {
    pki: Arc<pki::Authority>,
    file: PathBuf,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Result<Self, Failure> {
        let pki = Arc::new(pki::Authority::new()); // ECDSA over P-256
        let file = folder.join(format!("{name}.der"));
        fs::write(&file, pki.der())?;
        Ok(Self { pki, file })
    }

    /// A listener with a certificate for `host`, which is valid for a day.
    fn listener(&self, host: &str) -> Secure {
        let now = SystemTime::now();
        let (from, to) = (now - Duration::from_secs(DAY / 2), now + Duration::from_secs(DAY / 2));
        let server = self.pki.sign(&[host], |params| {
            (params.not_before, params.not_after) = (from.into(), to.into());
        });
        Secure { tls: Some((server, self.pki.clone())) }
    }
}

/// A folder that goes when this does.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a board needs for TLS and a login.
pub(crate) struct Secured {
    listener: Secure,
    authority: PathBuf,
}

impl Secured {
    /// Adds the listener.
    pub(crate) fn spec(&self, spec: Spec) -> Spec {
        spec.secure(self.listener.clone())
    }

    /// The arguments for a board that goes there.
    pub(crate) fn setup(&self, setup: Setup, cluster: &Cluster) -> Result<Setup, Failure> {
        arguments(setup, cluster, &self.authority, seconds()?)
    }
}

fn seconds() -> Result<u64, Failure> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())
}

fn arguments(setup: Setup, cluster: &Cluster, ca: &Path, now: u64) -> Result<Setup, Failure> {
    let entropy: String = (0..8).map(|_| format!("{:08x}", fastrand::u32(..))).collect();
    Ok(setup
        .argument("bootstrap", cluster.sasl_over_tls())
        .argument("ca", ca.display())
        .argument("now", now)
        .argument("entropy", entropy)
        .argument("user", USER)
        .argument("password", PASSWORD))
}

pub(crate) fn run(version: Version, options: &Options, sasl: Sasl) -> Result<(), Failure> {
    let folder = Folder(std::env::temp_dir().join(format!("kavka-tls-{}", std::process::id())));
    fs::create_dir_all(&folder.0)?;
    let authority = Authority::new(&folder.0, "authority")?;
    let secured = Secured { listener: authority.listener(HOST), authority: authority.file.clone() };
    cost(version, options, &secured)?;
    for run in 1..=options.runs {
        println!("TLS and {sasl:?}, run {run} of {}", options.runs);
        telemetry::once(version, options, "telemetry-tls", Some(&secured), false)?;
    }
    refusals(version, &folder.0, &authority)
}

/// What TLS and the login cost, beside plain.
fn cost(version: Version, options: &Options, secured: &Secured) -> Result<(), Failure> {
    let quiet = options.quiet(1000);
    println!("1000 samples: plain; over TLS; both again with instructions counted");
    let wire = telemetry::once(version, &quiet, "telemetry-plain", None, false)?;
    let secured_wire = telemetry::once(version, &quiet, "telemetry-tls", Some(secured), false)?;
    let plain = telemetry::once(version, &quiet, "telemetry-plain-metered", None, true)?;
    let tls = telemetry::once(version, &quiet, "telemetry-tls-metered", Some(secured), true)?;
    let sizes = |name: &str| image::sizes(&board::image(name));
    let (bare, whole) = (sizes("telemetry-plain")?, sizes("telemetry-tls")?);
    println!("{:<44}{:>12}{:>12}", "", "plain", "TLS + SASL");
    let row = |what: &str, plain: f64, tls: f64| println!("{what:<44}{plain:>12.1}{tls:>12.1}");
    row("bytes sent per sample of 48 bytes", wire.per_sample(), secured_wire.per_sample());
    row("instructions per sample", plain.work_per_sample(), tls.work_per_sample());
    row("million instructions up to the first response", plain.begun / 1e6, tls.begun / 1e6);
    row("million instructions of the longest poll", plain.longest / 1e6, tls.longest / 1e6);
    row("bytes of flash", bare.0 as f64, whole.0 as f64);
    row("bytes of RAM beside the stack", bare.1 as f64, whole.1 as f64);
    row("bytes of stack", plain.stack.into(), tls.stack.into());
    Ok(())
}

/// A board that must not trust a broker says why, and delivers nothing.
fn refusals(version: Version, folder: &Path, authority: &Authority) -> Result<(), Failure> {
    let stranger = Authority::new(folder, "stranger")?;
    let now = seconds()?;
    {
        let cluster = start(version, authority.listener(HOST), &[])?;
        refused(&cluster, "a certificate of another CA", &stranger.file, now, "issuer")?;
        refused(&cluster, "an expired certificate", &authority.file, now + 2 * DAY, "expired")?;
        refused(
            &cluster,
            "a certificate that is not yet valid",
            &authority.file,
            now - 2 * DAY,
            "not-yet-valid",
        )?;
    }
    {
        let cluster = start(version, authority.listener("elsewhere.example"), &[])?;
        refused(&cluster, "a certificate for another host", &authority.file, now, "name")?;
    }
    let older = [("listener.name.sasltls.ssl.enabled.protocols", "TLSv1.2")];
    let cluster = start(version, authority.listener(HOST), &older)?;
    refused(&cluster, "a broker with TLS 1.2 alone", &authority.file, now, "no-tls-1.3")
}

fn start(
    version: Version,
    listener: Secure,
    settings: &[(&str, &str)],
) -> Result<Cluster, Failure> {
    let spec = Spec { advertise: Some(HOST.to_owned()), ..Spec::new(version, 1) };
    let spec = settings.iter().fold(spec, |spec, (key, value)| spec.set(key, value));
    let cluster = Cluster::start(spec.secure(listener))?;
    cluster.create(telemetry::TOPIC, 1)?;
    Ok(cluster)
}

fn refused(cluster: &Cluster, what: &str, ca: &Path, now: u64, word: &str) -> Result<(), Failure> {
    let setup = Setup::new("telemetry-tls").argument("address", "dhcp").argument("samples", 100);
    let setup = arguments(setup, cluster, ca, now)?.argument("seed", fastrand::u32(..));
    let board = Board::start(&setup)?;
    let mut delivered = false;
    let line = board.wait("refused", Duration::from_secs(30), |line| {
        delivered |= line.word == "delivered";
        Ok(())
    })?;
    let why = line.word_of("why")?;
    println!("{what}: refused as {why}");
    check(why == word, || format!("refused as {why} in place of {word}"))?;
    // Nothing is delivered later, either.
    let end = std::time::Instant::now() + Duration::from_secs(3);
    while let Some(line) = board.next(end)? {
        delivered |= line.word == "delivered";
    }
    check(!delivered, || "samples were delivered".to_owned())
}
