//! Many topic names, one after another: names that are no longer used are evicted.

use core::time::Duration;
use std::collections::VecDeque;
use std::time::Instant;

use kavka_std::{Admin, Config, Pending, Producer, Record, Start};
use kavka_tests::sim::{Options, Server};

use crate::measure::{Figure, Outcome};

const NAMES: usize = 10_000;
/// Names in use at a time.
const WINDOW: usize = 8;
/// No more names are started after this time.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn run() -> Outcome {
    let server = Server::start(Options { brokers: 1, replication: 1, ..Options::default() })?;
    let names: Vec<String> = (0..NAMES).map(|n| format!("name-{n}")).collect();
    server.with(|cluster| cluster.create_many(&names, 1)).map_err(|code| format!("{code}"))?;
    let config = Config::new(server.bootstrap()).on_lost(|_| ());
    let producer = Producer::new(config.clone())?;
    let begun = Instant::now();
    let sent = go(&names, |name| producer.send(name, &Record::new(b"one")).ok());
    let sending = begun.elapsed();
    drop(producer);
    let admin = Admin::new(config)?;
    let begun = Instant::now();
    let requested = go(&names, |name| Some(admin.offsets(name, Start::Latest)));
    let requesting = begun.elapsed();
    let say = |(good, why): &(usize, String)| match why.as_str() {
        "" => format!("{good} names"),
        why => format!("refused after {good} names ({why})"),
    };
    Ok(Figure {
        found: format!(
            "one producer: {} in {sending:.1?}; one admin's offsets: {} in {requesting:.1?}",
            say(&sent),
            say(&requested)
        ),
        bar: format!("{NAMES} names each, within {LIMIT:?}"),
        kept: sent.0 == NAMES && requested.0 == NAMES,
    })
}

/// Returns how many names worked before the first that did not, and why that one did not.
fn go<T>(names: &[String], mut begin: impl FnMut(&str) -> Option<Pending<T>>) -> (usize, String) {
    let mut under_way = VecDeque::new();
    let mut good = 0;
    let (begun, mut names) = (Instant::now(), names.iter());
    loop {
        while under_way.len() < WINDOW
            && begun.elapsed() < LIMIT
            && let Some(name) = names.next()
        {
            let Some(pending) = begin(name) else { return (good, format!("{name} not taken")) };
            under_way.push_back(pending);
        }
        match under_way.pop_front().map(Pending::wait) {
            None => return (good, String::new()),
            Some(Ok(_)) => good += 1,
            Some(Err(error)) => return (good, error.to_string()),
        }
    }
}
