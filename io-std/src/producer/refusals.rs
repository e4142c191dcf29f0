//! What brokers say of records that they refuse, until these records fail or are delivered.

use std::collections::BTreeMap;
use std::sync::Arc;

use kavka_core::wire::ErrorCode;

/// Texts that are kept: those of older batches are dropped.
const MOST: usize = 4096;
/// Characters of a text.
const LONGEST: usize = 1000;

/// Texts by batch and place in it; without a place they are about the whole batch.
#[derive(Default)]
pub(super) struct Refusals(BTreeMap<(u64, Option<u32>), (ErrorCode, Arc<str>)>);

/// Neighbours in a batch with the same text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) first: u32,
    pub(super) count: u32,
    pub(super) text: Option<Arc<str>>,
}

impl Refusals {
    pub(super) fn add(&mut self, batch: u64, record: Option<u32>, code: ErrorCode, text: &str) {
        let text: String = text.chars().take(LONGEST).collect();
        self.0.insert((batch, record), (code, text.into()));
        if self.0.len() > MOST {
            self.0.pop_first();
        }
    }

    /// Forgets what was said of a batch before it was written.
    pub(super) fn forget(&mut self, batch: u64) {
        while let Some((&at, _)) = self.0.range((batch, None)..=(batch, Some(u32::MAX))).next() {
            self.0.remove(&at);
        }
    }

    /// Takes the texts of records that failed with this code, if they did with one. `blamed`: they
    /// are the reason themselves.
    pub(super) fn take(
        &mut self,
        batch: u64,
        (first, count): (u32, u32),
        code: Option<ErrorCode>,
        blamed: bool,
    ) -> Vec<Run> {
        let of =
            |said: &(ErrorCode, Arc<str>)| Some(said.1.clone()).filter(|_| Some(said.0) == code);
        let whole = self.0.get(&(batch, None)).and_then(of);
        let mut runs: Vec<Run> = Vec::new();
        let own = (batch, Some(first))..(batch, Some(first.saturating_add(count)));
        if !blamed || self.0.range(own).next().is_none() {
            return vec![Run { first, count, text: whole }];
        }
        for at in first..first.saturating_add(count) {
            let said = self.0.remove(&(batch, Some(at)));
            let text = said.as_ref().and_then(of).or_else(|| whole.clone());
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

    const BAD: ErrorCode = ErrorCode::INVALID_RECORD;

    fn run(first: u32, count: u32, text: Option<&str>) -> Run {
        Run { first, count, text: text.map(Arc::from) }
    }

    #[test]
    fn records_get_their_own_text_or_that_of_their_batch() {
        let mut refusals = Refusals::default();
        refusals.add(7, Some(3), BAD, "three");
        refusals.add(7, Some(5), BAD, "same");
        refusals.add(7, Some(6), BAD, "same");
        refusals.add(7, None, BAD, "all");
        refusals.add(8, Some(1), BAD, "another batch");
        let mut take = |batch, records, blamed| refusals.take(batch, records, Some(BAD), blamed);
        assert_eq!(take(7, (0, 2), false), [run(0, 2, Some("all"))]);
        let wanted = [
            run(2, 1, Some("all")),
            run(3, 1, Some("three")),
            run(4, 1, Some("all")),
            run(5, 2, Some("same")),
        ];
        assert_eq!(take(7, (2, 5), true), wanted);
        assert_eq!(take(9, (0, 4), true), [run(0, 4, None)]);
        assert_eq!(take(8, (0, 2), true), [run(0, 1, None), run(1, 1, Some("another batch"))]);
    }

    #[test]
    fn words_about_another_error_are_not_repeated() {
        let mut refusals = Refusals::default();
        refusals.add(7, None, ErrorCode::NOT_ENOUGH_REPLICAS, "one of three");
        let late = refusals.take(7, (0, 1), None, true);
        assert_eq!(late, [run(0, 1, None)], "it failed for another reason");
        let same = Some(ErrorCode::NOT_ENOUGH_REPLICAS);
        assert_eq!(refusals.take(7, (0, 1), same, true), [run(0, 1, Some("one of three"))]);
        refusals.add(8, None, BAD, "another batch");
        refusals.forget(7);
        assert_eq!(refusals.take(7, (0, 1), same, true), [run(0, 1, None)]);
        assert_eq!(refusals.0.len(), 1);
    }

    #[test]
    fn texts_are_bounded() {
        let mut refusals = Refusals::default();
        let long = "x".repeat(10 * LONGEST);
        (0..2 * MOST as u32).for_each(|at| refusals.add(1, Some(at), BAD, &long));
        assert_eq!(refusals.0.len(), MOST);
        assert!(refusals.0.values().all(|(_, text)| text.len() == LONGEST));
    }
}
