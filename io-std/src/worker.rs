//! Starting the background thread of a `Producer`, `Consumer` or `Admin`.

use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use kavka_core::codec::PIECE;
use kavka_core::{Client, ConfigError, Limits, Storage};

use crate::bootstrap;
use crate::codec::{Encoders, WRITTEN};
use crate::config::Config;
use crate::driver::{Driver, Waker};
use crate::error::{Error, ErrorKind};
use crate::security::Sasl;

/// A running background thread, and what wakes it.
pub(crate) struct Worker {
    pub(crate) waker: Waker,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Runs `run` on a new thread with a driver of its own, which borrows from `config` there.
    pub(crate) fn start<F>(mut config: Config, name: &str, run: F) -> Result<Self, Error>
    where
        F: for<'d> FnOnce(&'d Config, Driver<'d>, Waker) + Send + 'static,
    {
        config.bootstrap = bootstrap::normalize(&config.bootstrap, config.protocol())
            .map_err(|why| Error::from(ConfigError::Bootstrap).with_message(why))?;
        let (report, reported) = sync_channel(1);
        let body = move || match open(&config) {
            Err(error) => drop(report.send(Err(error))),
            Ok(driver) => {
                let waker = driver.waker();
                if report.send(Ok(waker.clone())).is_ok() {
                    run(&config, driver, waker);
                }
            }
        };
        let thread = thread::Builder::new().name(name.into()).spawn(body)?;
        let waker = reported.recv().map_err(|_| Error::from(ErrorKind::Panicked))??;
        Ok(Self { waker, thread: Some(thread) })
    }

    /// Waits for the thread's end, which the caller has requested.
    pub(crate) fn join(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A panic there was printed, and reported to all waiters, when it happened.
            let _ = thread.join();
        }
    }
}

fn open(config: &Config) -> Result<Driver<'_>, Error> {
    let mut seed = [0; 32];
    if let Err(error) = getrandom::fill(&mut seed) {
        return Err(Error::from(std::io::Error::other(error)).doing("random seed"));
    }
    let mut limits = config.limits.unwrap_or_else(Limits::server);
    let core = config.core();
    let topics = config.topic_compression.clone();
    let mut codecs = topics.values().filter_map(|compression| compression.codec());
    if let Some(codec) = codecs.find(|codec| !WRITTEN.has(*codec)) {
        return Err(ConfigError::NoEncoder(codec).into());
    }
    let storage = if core.compression.is_some() || !topics.is_empty() {
        limits.pack_bytes = PIECE;
        let encoders = Encoders::new(config.compression).with_topics(topics);
        Storage::heap(&limits).encoders(Box::new(encoders))
    } else {
        Storage::heap(&limits)
    };
    let storage = match &config.sasl {
        Some(sasl) => storage.owned_login(sasl.mechanism()?),
        None => storage,
    };
    let mut driver = Driver::with_mode(Client::new(core, storage, seed)?, config.mode)?;
    if let Some(fetch) = config.sasl.as_ref().and_then(Sasl::fetch) {
        driver.fetch_tokens(fetch);
    }
    #[cfg(feature = "tls")]
    if let Some(tls) = &config.tls {
        driver.secure(tls);
    }
    Ok(driver)
}

/// Milliseconds since 1970.
pub(crate) fn wall_clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
