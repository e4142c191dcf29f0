//! Bootstrap addresses that lead to different clusters: a client uses that of the first that
//! responds, and may never connect to the others.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kavka_std::{Admin, Limits};

use super::common::Settings;
use super::lines;

/// Addresses that are compared.
const MOST: usize = 16;
/// How long the end of the command waits for those that have not responded.
const GRACE: Duration = Duration::from_millis(300);
const TICK: Duration = Duration::from_millis(10);

/// The comparison, on threads of its own.
pub(super) struct Comparison {
    threads: Vec<JoinHandle<()>>,
}

impl Comparison {
    /// Begins it; there is none where one address is named, or any cluster is accepted.
    pub(super) fn begin(settings: &Settings) -> Self {
        let bootstrap = settings.bootstrap();
        let list = bootstrap.split([',', ';', ' ', '\t']).filter(|address| !address.is_empty());
        let list: Vec<&str> = list.take(MOST).collect();
        let mut threads = Vec::new();
        if list.len() > 1 && !settings.accepts_any_cluster() {
            let known = Arc::new(Mutex::new(Vec::new()));
            for address in list {
                let config = settings.config_at(address).limits(Limits::small());
                let (known, address) = (known.clone(), address.to_owned());
                let run = move || {
                    let Ok(admin) = Admin::new(config) else { return };
                    let Ok(cluster) = admin.cluster().wait() else { return };
                    compare(&known, address, cluster.id);
                };
                // Without another thread an address is not compared.
                threads.extend(thread::Builder::new().name("kavka-compare".into()).spawn(run));
            }
        }
        Self { threads }
    }

    /// Waits a moment for addresses that are being compared.
    pub(super) fn end(self) {
        let until = Instant::now() + GRACE;
        while Instant::now() < until && self.threads.iter().any(|thread| !thread.is_finished()) {
            thread::sleep(TICK);
        }
    }
}

/// Notes the cluster of an address. Prints which two differ, once.
fn compare(known: &Mutex<Vec<(String, String)>>, address: String, id: Option<String>) {
    let Some(id) = id else { return }; // without one there is nothing to compare
    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
    let differ = |known: &[(String, String)]| known.windows(2).any(|two| two[0].1 != two[1].1);
    let before = differ(&known);
    known.push((address, id));
    if before || !differ(&known) {
        return;
    }
    if let [(first, theirs), .., (other, id)] = known.as_slice() {
        let text = format!(
            "the bootstrap addresses lead to different clusters: {first} to {theirs}, {other} \
             to {id}; name addresses of one (-b), or use --any-cluster"
        );
        lines::other_cluster(&[first, other], &text);
    }
}
