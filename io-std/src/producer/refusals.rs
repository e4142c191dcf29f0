//! What brokers say of records that they refuse, until these records fail.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Texts that are kept: those of older batches are dropped.
const MOST: usize = 4096;
/// Characters of a text.
const LONGEST: usize = 1000;

/// Texts by batch and place in it; without a place they are about the whole batch.
#[derive(Default)]
pub(super) struct Refusals(BTreeMap<(u64, Option<u32>), Arc<str>>);

/// Neighbours in a batch with the same text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) text: Option<Arc<str>>,
}

impl Refusals {
    pub(super) fn add(&mut self, batch: u64, record: Option<u32>, text: &str) {
        let text: String = text.chars().take(LONGEST).collect();
        self.0.insert((batch, record), text.into());
        if self.0.len() > MOST {
            self.0.pop_first();
        }
    }

    /// Takes the texts of records that failed. `blamed`: they are the reason themselves.
    pub(super) fn take(&mut self, batch: u64, first: u32, count: u32, blamed: bool) -> Vec<Run> {
        let whole = self.0.get(&(batch, None)).cloned();
        let mut runs: Vec<Run> = Vec::new();
        let own = (batch, Some(first))..(batch, Some(first.saturating_add(count)));
        if !blamed || self.0.range(own).next().is_none() {
            return vec![Run { first, count, text: whole }];
        }
        for at in first..first.saturating_add(count) {
            let text = self.0.remove(&(batch, Some(at))).or_else(|| whole.clone());
            match runs.last_mut().filter(|run| run.text == text) {
                Some(run) => run.count += 1,
                None => runs.push(Run { first: at, count: 1, text }),
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(first: u32, count: u32, text: Option<&str>) -> Run {
        Run { first, count, text: text.map(Arc::from) }
    }

    #[test]
    fn records_get_their_own_text_or_that_of_their_batch() {
        let mut refusals = Refusals::default();
        refusals.add(7, Some(3), "three");
        refusals.add(7, Some(5), "same");
        refusals.add(7, Some(6), "same");
        refusals.add(7, None, "all");
        refusals.add(8, Some(1), "another batch");
        assert_eq!(refusals.take(7, 0, 2, false), [run(0, 2, Some("all"))]);
        let wanted = [
            run(2, 1, Some("all")),
            run(3, 1, Some("three")),
            run(4, 1, Some("all")),
            run(5, 2, Some("same")),
        ];
        assert_eq!(refusals.take(7, 2, 5, true), wanted);
        assert_eq!(refusals.take(9, 0, 4, true), [run(0, 4, None)]);
        assert_eq!(
            refusals.take(8, 0, 2, true),
            [run(0, 1, None), run(1, 1, Some("another batch"))]
        );
    }

    #[test]
    fn texts_are_bounded() {
        let mut refusals = Refusals::default();
        let long = "x".repeat(10 * LONGEST);
        (0..2 * MOST as u32).for_each(|at| refusals.add(1, Some(at), &long));
        assert_eq!(refusals.0.len(), MOST);
        assert!(refusals.0.values().all(|text| text.len() == LONGEST));
    }
}
