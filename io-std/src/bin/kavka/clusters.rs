//! Bootstrap addresses that lead to different clusters: a client uses that of the first that
//! responds, and may never connect to the others.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kavka_std::{Admin, Config, Event, Limits};

use super::common::Settings;
use super::{Failure, lines};

/// Addresses that are compared.
const MOST: usize = 16;
/// How long a command waits for addresses that have not responded.
const GRACE: Duration = Duration::from_millis(300);
const TICK: Duration = Duration::from_millis(10);

/// The comparison, on threads of its own.
pub(super) struct Comparison {
    threads: Vec<JoinHandle<()>>,
    known: Arc<Mutex<Known>>,
}

/// What the addresses lead to.
#[derive(Default)]
struct Known {
    /// Addresses with the id of their cluster.
    clusters: Vec<(String, String)>,
    /// Two differ, which was printed.
    differ: bool,
}

impl Comparison {
    /// Begins it; there is none where one address is named, or any cluster is accepted.
    pub(super) fn begin(settings: &Settings) -> Self {
        let bootstrap = settings.bootstrap();
        let list = bootstrap.split([',', ';', ' ', '\t']).filter(|address| !address.is_empty());
        let list: Vec<&str> = list.take(MOST).collect();
        let known = Arc::<Mutex<Known>>::default();
        let mut threads = Vec::new();
        if list.len() > 1 && !settings.accepts_any_cluster() {
            for address in list {
                let config = settings.config_at(address).limits(Limits::small());
                let (known, address) = (known.clone(), address.to_owned());
                let run = move || {
                    if let Some(id) = cluster_at(config) {
                        compare(&known, address, id);
                    }
                };
                // Without another thread an address is not compared.
                threads.extend(thread::Builder::new().name("kavka-compare".into()).spawn(run));
            }
        }
        Self { threads, known }
    }

    /// Waits a moment for addresses that are being compared. Fails where two lead to different
    /// clusters: nobody knows which of them was meant.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let until = Instant::now() + GRACE;
        while Instant::now() < until && self.threads.iter().any(|thread| !thread.is_finished()) {
            thread::sleep(TICK);
        }
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.differ { Err(Failure::Said) } else { Ok(()) }
    }
}

/// The id of the cluster at an address; `None` without one, or where a connection fails.
fn cluster_at(config: Config) -> Option<String> {
    let admin = Admin::new(config).ok()?;
    let events = admin.events();
    let mut pending = admin.cluster();
    loop {
        pending = match pending.wait_timeout(TICK) {
            Ok(cluster) => return cluster.ok()?.id,
            Err(again) => again,
        };
        let failed = |event: &Event| matches!(event, Event::Disconnected { .. });
        if core::iter::from_fn(|| events.try_next()).any(|event| failed(&event)) {
            return None;
        }
    }
}

/// Notes the cluster of an address. Prints which two differ, once.
fn compare(known: &Mutex<Known>, address: String, id: String) {
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    known.clusters.push((address, id));
    let Some((first, theirs)) = known.clusters.first() else { return };
    let Some((other, id)) = known.clusters.last() else { return };
    if known.differ || id == theirs {
        return;
    }
    let text = format!(
        "the bootstrap addresses lead to different clusters: {first} to {theirs}, {other} to {id}; \
         name addresses of one (-b), or use --any-cluster"
    );
    lines::other_cluster(&[first, other], &text);
    known.differ = true;
}
