//! Events reach the facades `log` and `tracing` under the same names. This is a separate binary:
//! both have one receiver per process.
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "an ordinary program for hosts"
)]

use std::fmt::Debug;
use std::sync::Mutex;
use std::time::Duration;

use kavka_std::{Config, Limits, Producer, Record};
use kavka_tests::sim::{Options, Server};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as Values};

/// Levels and names.
static LOGGED: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());
static TRACED: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());

struct Logger;

impl log::Log for Logger {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if record.target() == "kavka" {
            let text = record.args().to_string();
            let name = text.split(": ").next().unwrap_or_default().to_owned();
            LOGGED.lock().unwrap().push((record.level().to_string(), name));
        }
    }

    fn flush(&self) {}
}

struct Tracer;

struct Name(String);

impl Visit for Name {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "event" {
            value.clone_into(&mut self.0);
        }
    }

    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}
}

impl tracing::Subscriber for Tracer {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == "kavka"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Values<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut name = Name(String::new());
        event.record(&mut name);
        TRACED.lock().unwrap().push((event.metadata().level().to_string(), name.0));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn events_are_logged_and_traced_under_the_same_names() {
    log::set_logger(&Logger).unwrap();
    log::set_max_level(log::LevelFilter::Debug);
    tracing::subscriber::set_global_default(Tracer).unwrap();
    let server = Server::start(Options { brokers: 1, ..Options::default() }).unwrap();
    server.create_topic("t", 1).unwrap();
    let producer = Producer::new(Config::new(server.bootstrap()).limits(Limits::small())).unwrap();
    let send = || producer.send("t", &Record::new(b"v")).unwrap().wait().unwrap();
    send();
    server.disconnect(1);
    send();
    assert!(producer.close(Duration::from_secs(60)).wait().unwrap().is_empty());
    let (logged, traced) = (LOGGED.lock().unwrap().clone(), TRACED.lock().unwrap().clone());
    assert_eq!(logged, traced);
    for (level, name) in [("DEBUG", "topic_ready"), ("WARN", "disconnected")] {
        let want = (level.to_owned(), name.to_owned());
        assert!(logged.contains(&want), "{want:?} is not in {logged:?}");
    }
}
