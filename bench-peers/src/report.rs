//! What is printed.

use crate::{Client, Figures, Result, Role, Task};

/// Fails unless as many bytes came back as were sent.
pub(crate) fn check_bytes(task: &Task<'_>, bytes: usize) -> Result<()> {
    let sent = task.records * task.size as u64;
    if bytes as u64 == sent { Ok(()) } else { Err(format!("{bytes} of {sent} bytes read").into()) }
}

/// Figures of all rounds.
pub(crate) struct Report {
    records: u64,
    rows: Vec<(Client, Role, Figures)>,
}

impl Report {
    pub(crate) fn new(records: u64) -> Self {
        println!(
            "{:<8}{:<12}{:<10}{:>12}{:>18}",
            "round", "client", "", "records/s", "CPU s/M records"
        );
        Self { records, rows: Vec::new() }
    }

    pub(crate) fn add(&mut self, round: u32, client: Client, role: Role, figures: Figures) {
        let (rate, cpu) = (self.rate(figures), self.cpu(figures));
        let (client_name, role_name) = (format!("{client:?}"), format!("{role:?}"));
        println!("{round:<8}{client_name:<12}{role_name:<10}{rate:>12.0}{cpu:>18.3}");
        self.rows.push((client, role, figures));
    }

    /// Medians, and kavka's as a multiple of librdkafka's.
    pub(crate) fn summary(&self) {
        for role in [Role::Produce, Role::Consume] {
            let median = |client, of: &dyn Fn(Figures) -> f64| {
                let mine = self.rows.iter().filter(|(c, r, _)| (*c, *r) == (client, role));
                let mut values: Vec<f64> = mine.map(|(_, _, figures)| of(*figures)).collect();
                values.sort_by(f64::total_cmp);
                values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
            };
            for (what, of) in [
                ("records/s", &(|figures| self.rate(figures)) as &dyn Fn(Figures) -> f64),
                ("CPU s/M records", &|figures| self.cpu(figures)),
            ] {
                let [ours, theirs] = Client::ALL.map(|client| median(client, of));
                println!(
                    "median {role:?} {what}: kavka {ours:.3}, librdkafka {theirs:.3}, \
                     kavka / librdkafka {:.2}",
                    ours / theirs
                );
            }
        }
    }

    fn rate(&self, figures: Figures) -> f64 {
        self.records as f64 / figures.seconds
    }

    /// CPU seconds per million records.
    fn cpu(&self, figures: Figures) -> f64 {
        figures.cpu_seconds * 1e6 / self.records as f64
    }
}
