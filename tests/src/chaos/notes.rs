//! One history, written by many threads.

use std::fs::File;
use std::io::{self, BufWriter};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::TOPIC;
use crate::history::{Header, Kind, Line, Op, Writer};

/// The history and its clock.
pub(super) struct Notes {
    begun: Instant,
    // The first error is kept: nothing is written after it.
    writer: Mutex<io::Result<Writer<BufWriter<File>>>>,
}

impl Notes {
    pub(super) fn create(path: &Path, header: &Header) -> io::Result<Self> {
        let writer = Writer::new(BufWriter::with_capacity(1 << 20, File::create(path)?), header)?;
        Ok(Self { begun: Instant::now(), writer: Mutex::new(Ok(writer)) })
    }

    /// Writes the line that `fill` makes of an empty one for the topic, with the current time.
    pub(super) fn note<'a>(
        &self,
        process: &'a str,
        op: Op,
        kind: Kind,
        fill: impl FnOnce(Line<'a>) -> Line<'a>,
    ) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        // Inside the lock, so that times only rise.
        let time = u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let line = fill(Line::new(time, process, op, kind).topic(TOPIC));
        if let Err(error) = writer.as_mut().map_or(Ok(()), |writer| writer.write(&line)) {
            *writer = Err(error);
        }
    }

    /// Records that the cluster confirmed `count` partitions of the topic.
    pub(super) fn topic_has(&self, count: u32) {
        self.note("operator", Op::Grow, Kind::Ok, |line| line.count(count));
    }

    /// Records a fault, as text.
    pub(super) fn fault(&self, text: &str) {
        self.note("operator", Op::Memo, Kind::Info, |line| line.text(text));
    }

    pub(super) fn finish(self) -> io::Result<()> {
        let writer = self.writer.into_inner().unwrap_or_else(PoisonError::into_inner);
        writer?.flush()
    }
}
