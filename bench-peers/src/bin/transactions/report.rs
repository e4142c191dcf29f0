//! What is printed.

use std::collections::BTreeMap;

use crate::Client;

/// kavka has to have so many times the rate of the faster peer.
const BAR: f64 = 1.2;

/// Of one round.
#[derive(Clone, Copy, Debug)]
struct Figures {
    /// Records per second, or transactions where they have none.
    rate: f64,
    /// Of a transaction, in milliseconds.
    p50: f64,
    p99: f64,
}

/// Figures of all rounds, by client and records of a transaction.
#[derive(Default)]
pub(crate) struct Report(BTreeMap<(u8, u64), Vec<Figures>>);

impl Report {
    pub(crate) fn add(&mut self, client: Client, records: u64, mut times: Vec<f64>) {
        let rate = records.max(1) as f64 * times.len() as f64 / times.iter().sum::<f64>();
        times.sort_by(f64::total_cmp);
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize] * 1e3;
        let figures = Figures { rate, p50: at(0.5), p99: at(0.99) };
        println!("{client:?}, {records} records: {figures:.2?}");
        self.0.entry((client as u8, records)).or_default().push(figures);
    }

    fn median(&self, client: Client, records: u64, of: fn(&Figures) -> f64) -> f64 {
        let rounds = self.0.get(&(client as u8, records));
        let mut all: Vec<f64> = rounds.into_iter().flatten().map(of).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
    }

    /// Prints medians of all rounds; returns whether kavka reaches the bar.
    pub(crate) fn close(&self, clients: &[Client], sizes: &[u64]) -> bool {
        println!("\n| records of a transaction | client | records/s | p50 ms | p99 ms |");
        println!("|---|---|---|---|---|");
        let mut good = true;
        for records in sizes {
            for client in clients {
                let figure = |of| self.median(*client, *records, of);
                let (rate, p50, p99) = (figure(|f| f.rate), figure(|f| f.p50), figure(|f| f.p99));
                println!("| {records} | {client:?} | {rate:.0} | {p50:.2} | {p99:.2} |");
            }
            let peers = clients.iter().filter(|client| **client != Client::Kavka);
            let best = peers.map(|client| self.median(*client, *records, |f| f.rate));
            let best = best.fold(f64::NAN, f64::max);
            let times = self.median(Client::Kavka, *records, |f| f.rate) / best;
            println!("kavka has {times:.2} times the rate of the faster peer");
            good &= times.is_nan() || *records < 2 || times >= BAR;
        }
        good
    }
}
