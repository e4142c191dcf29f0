//! `--history FILE`: what happened, in the lines that kavka's checker reads (`tests/src/history.rs`
//! explains them).

use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Mutex;

use serde_json::{Value, json};

use super::{Failure, Options, lock, micros};

/// The file, if one was requested.
pub(super) struct History {
    out: Option<Mutex<BufWriter<File>>>,
    process: String,
    topic: String,
}

impl History {
    pub(super) fn create(options: &Options) -> Result<Self, Failure> {
        let process = format!("{}-{}", options.text("client-id", "kavka"), std::process::id());
        let topic = options.text("topic", "bench");
        let Some(path) = options.0.get("history") else {
            return Ok(Self { out: None, process, topic });
        };
        let mut out = BufWriter::new(File::create(path)?);
        writeln!(out, "{}", json!({ "history": 1, "source": "peer of kavka-std" }))?;
        Ok(Self { out: Some(Mutex::new(out)), process, topic })
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.out.is_some()
    }

    /// A line with the fields of `rest`, those that are null left out. Without a file nothing is
    /// made: it would be most of what a benchmark measures.
    pub(super) fn note(&self, op: &str, kind: &str, rest: impl FnOnce() -> Value) {
        let Some(out) = &self.out else { return };
        let rest = rest();
        let mut line = json!({
            "time": micros(), "process": self.process, "op": op, "type": kind, "topic": self.topic,
        });
        for (name, value) in rest.as_object().into_iter().flatten() {
            if !value.is_null() {
                line[name] = value.clone();
            }
        }
        if let Err(error) = writeln!(lock(out), "{line}") {
            eprintln!("history: {error}");
        }
    }

    pub(super) fn close(&self) -> Result<(), Failure> {
        self.note("close", "ok", || Value::Null);
        self.out.as_ref().map_or(Ok(()), |out| lock(out).flush())?;
        Ok(())
    }
}
