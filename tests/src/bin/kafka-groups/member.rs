//! A member in a process of its own: prints where each record is and how late, then commits.

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::io::Write as _;
use std::sync::Arc;

use clap::Args;
use kavka_std::{Consumer, Start};

use crate::delays::{now, sent_at};
use crate::{Failure, Kind};

#[derive(Args)]
pub(crate) struct Options {
    #[arg(long)]
    bootstrap: String,
    #[arg(long)]
    topic: String,
    #[arg(long)]
    group: String,
    #[command(flatten)]
    kind: Kind,
}

/// Reads until SIGTERM, then leaves.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let over = Arc::new(AtomicBool::new(false));
    let signalled = over.clone();
    ctrlc::set_handler(move || signalled.store(true, Ordering::Release))?;
    let config = options.kind.config(&options.bootstrap, &options.group, Start::Latest);
    let consumer = Consumer::subscribe(config, &[&options.topic])?;
    let mut text = Vec::new();
    while !over.load(Ordering::Acquire) {
        let Some(chunk) = consumer.next_timeout(Duration::from_millis(50))? else { continue };
        let at = now();
        for record in chunk.records() {
            let record = record?;
            let late = at.saturating_sub(sent_at(record.value));
            writeln!(text, "{} {} {late}", record.partition, record.offset)?;
        }
        // One write for whole lines, before the commit: what is committed was printed.
        std::io::stdout().lock().write_all(&text)?;
        text.clear();
        drop(consumer.commit(&chunk));
    }
    Ok(consumer.close(Duration::from_secs(5))?)
}
