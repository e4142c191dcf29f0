//! Simulators that draw their plan themselves.

use core::time::Duration;

use kavka_core::KeyOrder;
use kavka_tests::sim::ordered::Readers;
use kavka_tests::sim::{committed, copies, keys, ordered};

use super::options::Kind;

/// What a run showed.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) findings: Vec<String>,
    pub(crate) written: usize,
    pub(crate) virtual_time: Duration,
    pub(crate) text: String,
}

/// Runs a seed. Panics where something is not as it has to be.
pub(crate) fn run(kind: Kind, seed: u64) -> Outcome {
    match kind {
        Kind::Groups | Kind::Patterns => Outcome::default(),
        Kind::Copies => {
            let summary = copies::run(seed);
            let copies::Summary { copied, virtual_time, .. } = summary;
            let text = format!("{summary:?}");
            Outcome { written: copied, virtual_time, text, ..Outcome::default() }
        }
        Kind::Committed => {
            let outcome = committed::run(seed);
            let written = usize::try_from(outcome.written).unwrap_or(usize::MAX);
            Outcome { written, text: format!("{outcome:?}"), ..Outcome::default() }
        }
        Kind::Keys => {
            let order = if seed.is_multiple_of(2) { KeyOrder::Drain } else { KeyOrder::Pin(2) };
            let mut outcome = keys::run(seed, order);
            let findings = core::mem::take(&mut outcome.reordered);
            let text = format!("{order:?}, {outcome:?}");
            Outcome { findings, written: outcome.written, text, ..Outcome::default() }
        }
        Kind::Ordered => {
            let all = [Readers::One, Readers::Consumer, Readers::Classic];
            let readers = all[(seed % 3) as usize];
            let mut outcome = ordered::run(seed, readers, true);
            let mut findings = core::mem::take(&mut outcome.reordered);
            if outcome.late > 0 {
                findings.push(format!("{} waits were given up", outcome.late));
            }
            let text = format!("{readers:?}, {outcome:?}");
            Outcome { findings, written: outcome.read, text, ..Outcome::default() }
        }
    }
}
