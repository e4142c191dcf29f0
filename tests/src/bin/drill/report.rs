//! The results, as a table and as JSON.

use core::time::Duration;
use std::time::Instant;

use comfy_table::{Cell, CellAlignment, Color, Table, presets};
use serde_json::{Value, json};

use crate::book::Counts;
use crate::options::Options;
use crate::run::Outcome;
use crate::state::{Shared, State, Who};

/// Upper bounds of the histogram's bars, in milliseconds.
const BARS: [f64; 11] =
    [2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, f64::INFINITY];

/// Characters of the longest bar.
const WIDTH: usize = 24;

/// Measured times in milliseconds, ascending, and how many are missing.
#[derive(Debug, Default)]
pub(crate) struct Times {
    sorted: Vec<f64>,
    missing: usize,
}

impl Times {
    fn of(times: impl Iterator<Item = Option<Duration>>) -> Self {
        let mut all = Self::default();
        for time in times {
            match time {
                Some(time) => all.sorted.push(time.as_secs_f64() * 1e3),
                None => all.missing += 1,
            }
        }
        all.sorted.sort_unstable_by(f64::total_cmp);
        all
    }

    /// Returns a quantile by nearest rank.
    fn quantile(&self, share: f64) -> Option<f64> {
        let rank = (share * self.sorted.len() as f64).ceil() as usize;
        self.sorted.get(rank.clamp(1, self.sorted.len().max(1)) - 1).copied()
    }

    fn json(&self) -> Value {
        let [min, median, p99, max] = self.figures();
        json!({
            "n": self.sorted.len(), "missing": self.missing,
            "min": min, "median": median, "p99": p99, "max": max,
        })
    }

    fn figures(&self) -> [Option<f64>; 4] {
        [0.0, 0.5, 0.99, 1.0].map(|share| self.quantile(share))
    }
}

/// Everything that is reported.
pub(crate) struct Report<'a> {
    options: &'a Options,
    outcome: &'a Outcome,
    /// In the order of [`Who::ALL`].
    noticed: [Times; 3],
    acknowledged: Times,
    delivered: Times,
    latency: Times,
    counts: Counts,
    lost: Vec<(u32, u64)>,
    signals: Vec<(String, u64)>,
    notes: Vec<(String, u64)>,
}

impl<'a> Report<'a> {
    /// Summarises a run.
    pub(crate) fn new(options: &'a Options, outcome: &'a Outcome, shared: &Shared) -> Self {
        let state: &State = &shared.lock();
        let growths = &outcome.growths;
        // Clients may know before the administrator has the response.
        let since = |at: Instant, from: Instant| at.saturating_duration_since(from);
        let noticed = Who::ALL.map(|who| {
            Times::of(growths.iter().map(|g| state.noticed(who, g.to).map(|at| since(at, g.at))))
        });
        let added = || growths.iter().flat_map(|g| (g.from..g.to).map(move |index| (index, g)));
        let first = |of: &std::collections::BTreeMap<u32, Instant>| {
            Times::of(added().map(|(index, g)| of.get(&index).map(|at| since(*at, g.flowing))))
        };
        let pairs = |of: &std::collections::BTreeMap<String, u64>| {
            of.iter().map(|(text, count)| (text.clone(), *count)).collect()
        };
        Self {
            options,
            outcome,
            noticed,
            acknowledged: first(&state.acknowledged),
            delivered: first(&state.delivered),
            latency: Times::of(
                state.latencies.iter().map(|micros| Some(Duration::from_micros(*micros))),
            ),
            counts: state.book.counts(),
            lost: state.book.lost(),
            signals: pairs(&state.signals),
            notes: pairs(&state.notes),
        }
    }

    /// Returns whether every record arrived once and in order, and every growth was noticed.
    pub(crate) fn is_good(&self) -> bool {
        let noticed = self.noticed.iter().all(|times| times.missing == 0);
        noticed && self.counts.is_clean() && self.counts.failed == 0 && self.counts.sent > 0
    }

    /// Returns bytes a second.
    fn probe_rate(&self, bytes: u64) -> f64 {
        bytes as f64 / self.outcome.watched.as_secs_f64()
    }

    /// Prints the report.
    pub(crate) fn print(&self) {
        println!("{}\n", self.times());
        println!("{}\n", self.records());
        println!("{}\n", self.histogram());
        self.print_notes();
    }

    fn times(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["milliseconds", "min", "median", "p99", "max", "n"]);
        let flow = if self.options.idle { "resumption" } else { "growth" };
        let [producer, consumer, watcher] = &self.noticed;
        let rows = [
            ("growth → noticed by the producer".into(), producer),
            ("growth → noticed by the consumer".into(), consumer),
            ("growth → noticed by an idle watcher".into(), watcher),
            (format!("{flow} → first record acknowledged"), &self.acknowledged),
            (format!("{flow} → first record delivered"), &self.delivered),
            ("any record: sent → delivered".into(), &self.latency),
        ];
        for (name, times) in rows {
            let mut cells = vec![Cell::new(name)];
            cells.extend(times.figures().map(|figure| right(text(figure))));
            let count = times.sorted.len();
            cells.push(match times.missing {
                0 => right(count.to_string()),
                missing => right(format!("{count} of {}", count + missing)).fg(Color::Red),
            });
            table.add_row(cells);
        }
        table
    }

    fn records(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        let Counts { sent, acknowledged, failed, delivered, lost, duplicated, reordered } =
            self.counts;
        table.set_header([
            "sent",
            "acknowledged",
            "failed",
            "delivered",
            "lost",
            "duplicated",
            "reordered",
        ]);
        let bad = |count: u64| {
            right(count.to_string()).fg(if count == 0 { Color::Green } else { Color::Red })
        };
        table.add_row([
            right(sent.to_string()),
            right(acknowledged.to_string()),
            bad(failed),
            right(delivered.to_string()),
            bad(lost),
            bad(duplicated),
            bad(reordered),
        ]);
        table
    }

    /// Counts notices by delay: of the clients with traffic, and of the one without.
    fn histogram(&self) -> Table {
        let [producer, consumer, watcher] = &self.noticed;
        let both = || producer.sorted.iter().chain(&consumer.sorted);
        let count = |times: &mut dyn Iterator<Item = &f64>, low: f64, high: f64| {
            times.filter(|time| **time > low && **time <= high).count()
        };
        let mut low = -1.0;
        let rows: Vec<(f64, usize, usize)> = BARS
            .iter()
            .map(|high| {
                let row = (
                    *high,
                    count(&mut both(), low, *high),
                    count(&mut watcher.sorted.iter(), low, *high),
                );
                low = *high;
                row
            })
            .collect();
        let most = rows.iter().map(|(_, a, b)| *a.max(b)).max().unwrap_or(1).max(1);
        let bar = |count: usize| match count {
            0 => String::new(),
            _ => format!("{} {count}", "█".repeat((count * WIDTH).div_ceil(most))),
        };
        let used = |row: &(f64, usize, usize)| row.1 + row.2 > 0;
        let first = rows.iter().position(used).unwrap_or(0);
        let last = rows.iter().rposition(used).unwrap_or(0);
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header(["noticed within", "producer and consumer", "idle watcher"]);
        for (high, busy, idle) in &rows[first..=last] {
            let name = if high.is_finite() { format!("{high} ms") } else { "longer".into() };
            table.add_row([right(name), Cell::new(bar(*busy)), Cell::new(bar(*idle))]);
        }
        table
    }

    fn print_notes(&self) {
        let probes = self.outcome.probes;
        print!(
            "Probes: {:.0} B/s by the idle watcher ({:.2} a second",
            self.probe_rate(probes.bytes),
            self.probe_rate(probes.requests),
        );
        if let Some(each) = probes.bytes.checked_div(probes.requests) {
            print!(", {each} B each with the response");
        }
        match self.outcome.all_probe_bytes {
            Some(all) => println!("), {:.0} B/s by all three clients.", self.probe_rate(all)),
            None => println!(")."),
        }
        let signals: Vec<String> =
            self.signals.iter().map(|(name, count)| format!("{name} ({count}×)")).collect();
        println!("Growth was learnt from {}.", signals.join(", "));
        for (text, count) in &self.notes {
            println!("Besides: {text} ({count}×).");
        }
        for (stream, turn) in self.lost.iter().take(5) {
            println!("Lost: record {turn} of stream {stream}.");
        }
        let (seed, growths) = (self.outcome.seed, self.outcome.growths.len());
        if self.is_good() {
            println!("\nOK: {growths} growths noticed; every acknowledged record once, in order.");
        } else {
            println!("\nFAILED (seed {seed}): see the figures in red.");
        }
    }

    /// Returns all figures; times in milliseconds.
    pub(crate) fn json(&self) -> Value {
        let (options, outcome, counts) = (self.options, self.outcome, self.counts);
        let [producer, consumer, watcher] = &self.noticed;
        let pairs = |of: &[(String, u64)]| -> Value {
            of.iter().map(|(text, count)| (text.clone(), Value::from(*count))).collect()
        };
        json!({
            "ok": self.is_good(), "seed": outcome.seed, "cluster": outcome.cluster,
            "topic": outcome.topic,
            "options": {
                "partitions": options.partitions, "growths": options.growths(),
                "rate": options.rate, "keys": options.keys, "size": options.size,
                "idle": options.idle, "reset": options.reset.name(),
            },
            "noticed_ms": {
                "producer": producer.json(), "consumer": consumer.json(),
                "watcher": watcher.json(),
            },
            "first_acknowledged_ms": self.acknowledged.json(),
            "first_delivered_ms": self.delivered.json(),
            "latency_ms": self.latency.json(),
            "partitions_added":
                outcome.growths.iter().map(|g| u64::from(g.to - g.from)).sum::<u64>(),
            "records": {
                "sent": counts.sent, "acknowledged": counts.acknowledged,
                "failed": counts.failed, "delivered": counts.delivered,
                "lost": counts.lost, "duplicated": counts.duplicated,
                "reordered": counts.reordered,
            },
            "probes": {
                "seconds": outcome.watched.as_secs_f64(),
                "watcher_requests": outcome.probes.requests,
                "watcher_bytes_per_second": self.probe_rate(outcome.probes.bytes),
                "all_bytes_per_second": outcome.all_probe_bytes.map(|all| self.probe_rate(all)),
            },
            "signals": pairs(&self.signals), "notes": pairs(&self.notes),
        })
    }
}

fn right(text: impl Into<String>) -> Cell {
    Cell::new(text.into()).set_alignment(CellAlignment::Right)
}

fn text(figure: Option<f64>) -> String {
    match figure {
        None => "–".into(),
        Some(ms) if ms < 10.0 => format!("{ms:.1}"),
        Some(ms) => format!("{ms:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_nearest_rank() {
        let times = |n: u64| Times::of((1..=n).map(|ms| Some(Duration::from_millis(ms))));
        assert_eq!(times(100).figures(), [1.0, 50.0, 99.0, 100.0].map(Some));
        assert_eq!(times(1).figures(), [Some(1.0); 4]);
        assert_eq!(times(0).figures(), [None; 4]);
        let some = Times::of([None, Some(Duration::from_millis(3))].into_iter());
        assert_eq!((some.missing, some.quantile(0.5)), (1, Some(3.0)));
    }
}
