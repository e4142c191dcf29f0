//! Half a minute of what the program `chaos` does for any length of time.

use core::time::Duration;
use std::path::Path;

use kavka_tests::chaos::{self, Plan};
use kavka_tests::kafka::{self, Spec, Version};

#[test]
fn half_a_minute_of_chaos_leaves_no_finding() {
    let Some(cluster) = kafka::start_or_skip(Spec::new(Version::V4_4_0, 3)) else { return };
    let seed = fastrand::u64(..);
    let history = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos.jsonl");
    let plan = Plan { seed, length: Duration::from_secs(30), rate: 300, history };
    let outcome = chaos::run(&cluster, &plan).unwrap_or_else(|e| panic!("--seed {seed}: {e}"));
    let text = format!("--seed {seed}, {}: {outcome}", plan.history.display());
    eprintln!("{text}");
    assert!(outcome.report.is_clean() && outcome.report.acked > 1000, "{text}");
    assert!(outcome.faults.growths > 0 && !outcome.report.growth.is_empty(), "{text}");
}
