//! What is printed, and the verdict.

use crate::sample::{Figures, PERCENTILES};
use crate::{Client, Linger, Point};

/// The least that a p99 may be worse: what a clock and a scheduler are good for, in milliseconds.
const LEAST_TOLERANCE: f64 = 0.1;
/// The most, as a share of librdkafka's: on a machine noisier than that no verdict would mean much.
const MOST_TOLERANCE: f64 = 0.25;
/// Awaiting each send by default, median in milliseconds.
const AWAITED_BAR: f64 = 1.0;
const P99: usize = 1;

/// Figures of all rounds.
pub(crate) struct Report {
    rows: Vec<(Client, Point, Figures)>,
}

/// One kind of latency.
type Kind = (&'static str, fn(&Figures) -> [f64; 3]);
const KINDS: [Kind; 2] = [
    ("send to acknowledged", |figures| figures.acknowledged),
    ("produce to consume", |figures| figures.consumed),
];

impl Report {
    pub(crate) fn new() -> Self {
        println!("{:<7}{:<12}{:<26}milliseconds: p50 p99 p99.9", "round", "client", "point");
        Self { rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, round: u32, client: Client, point: Point, figures: Figures) {
        let (client_name, name) = (format!("{client:?}"), name(point));
        let (acknowledged, consumed) = (numbers(figures.acknowledged), numbers(figures.consumed));
        print!("{round:<7}{client_name:<12}{name:<26}acknowledged {acknowledged}");
        println!(
            "{}",
            if point.rate > 0 { format!("  consumed {consumed}") } else { String::new() }
        );
        self.rows.push((client, point, figures));
    }

    /// Sorted values of one client at one point.
    fn values(&self, client: Client, point: Point, of: impl Fn(&Figures) -> f64) -> Vec<f64> {
        let mine = self.rows.iter().filter(|(c, p, _)| (*c, *p) == (client, point));
        let mut values: Vec<f64> = mine.map(|(_, _, figures)| of(figures)).collect();
        values.sort_by(f64::total_cmp);
        values
    }

    /// The closing table: medians over all rounds. Returns whether all bars are met.
    pub(crate) fn close(&self, points: &[Point]) -> bool {
        println!("\nmedians of all rounds, milliseconds (kavka / librdkafka)");
        println!(
            "{:<22}{:<26}{:>17}{:>17}{:>17}{:>12}",
            "", "point", "p50", "p99", "p99.9", "tolerance"
        );
        let mut good = true;
        for (what, of) in KINDS {
            for point in points.iter().filter(|point| point.rate > 0) {
                good &= self.compare(what, *point, of);
            }
        }
        for point in points.iter().filter(|point| point.rate == 0) {
            let of = |client| median(&self.values(client, *point, |f| f.acknowledged[0]));
            let (ours, theirs) = (of(Client::Kavka), of(Client::Librdkafka));
            let verdict = if ours <= AWAITED_BAR { "" } else { "  ABOVE THE BAR" };
            good &= ours <= AWAITED_BAR;
            println!(
                "awaiting each send, default linger, median: kavka {ours:.2} ms (bar \
                 {AWAITED_BAR}), librdkafka {theirs:.2} ms{verdict}"
            );
        }
        println!(
            "tolerance: the larger of both clients' deviations (median) of p99 between rounds, at \
             least {LEAST_TOLERANCE} ms, at most {:.0} % of librdkafka's p99",
            MOST_TOLERANCE * 100.0
        );
        good
    }

    /// A row of the closing table; whether kavka's p99 is not worse.
    fn compare(&self, what: &str, point: Point, of: fn(&Figures) -> [f64; 3]) -> bool {
        print!("{what:<22}{:<26}", name(point));
        for percentile in 0..PERCENTILES.len() {
            let values = |client| self.values(client, point, |f| of(f)[percentile]);
            let pair = [Client::Kavka, Client::Librdkafka].map(|client| median(&values(client)));
            print!("{:>17}", format!("{:.2} / {:.2}", pair[0], pair[1]));
        }
        let values = |client| self.values(client, point, |f| of(f)[P99]);
        let (ours, theirs) = (values(Client::Kavka), values(Client::Librdkafka));
        let noise = deviation(&ours).max(deviation(&theirs));
        let most = (median(&theirs) * MOST_TOLERANCE).max(LEAST_TOLERANCE);
        let tolerance = noise.clamp(LEAST_TOLERANCE, most);
        // Not `>`: without figures there is no verdict.
        let good = median(&ours) <= median(&theirs) + tolerance;
        let noisy = if noise > most { " (noisy machine)" } else { "" };
        let verdict = if good { "" } else { "  WORSE" };
        println!("{tolerance:>12.2}{noisy}{verdict}");
        good
    }
}

fn name(point: Point) -> String {
    match point {
        Point { rate: 0, .. } => "each awaited".into(),
        Point { rate, linger: Linger(None) } => format!("{rate}/s, default"),
        Point { rate, linger } => format!("{rate}/s, linger {linger} ms"),
    }
}

fn numbers(ms: [f64; 3]) -> String {
    ms.map(|ms| format!("{ms:.2}")).join(" ")
}

/// Of sorted values.
fn median(values: &[f64]) -> f64 {
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The median of how far values lie from their median.
fn deviation(values: &[f64]) -> f64 {
    let middle = median(values);
    let mut far: Vec<f64> = values.iter().map(|value| (value - middle).abs()).collect();
    far.sort_by(f64::total_cmp);
    median(&far)
}
