//! A few runs that a seed decides; `simulate` runs many.

use kavka_tests::checker::{self, Checker};
use kavka_tests::sim::Options;
use kavka_tests::sim::swarm::{Act, ClientPlan, Loads, Login, Plan, run, run_to};

#[test]
fn two_runs_of_a_seed_are_the_same() {
    for seed in [3, 11, 30] {
        let plan = Plan::draw(seed);
        let (first, second) = (run(&plan, false), run(&plan, false));
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert_eq!(first.findings, second.findings, "seed {seed}");
    }
    let [one, other] = [3, 11].map(|seed| run(&Plan::draw(seed), false).hash);
    assert_ne!(one, other, "seeds 3 and 11 are different runs");
}

#[test]
fn seeds_find_nothing_wrong() {
    for seed in 1..=10 {
        let plan = Plan::draw(seed);
        let outcome = run(&plan, false);
        assert!(outcome.findings.is_empty(), "{plan}\n{:#?}", outcome.findings);
        assert!(outcome.written > 0, "seed {seed}: nothing was written");
    }
}

/// What a seed may add to the faults of the network.
#[test]
fn rare_faults_are_drawn() {
    let plans: Vec<Plan> = (1..=100).map(Plan::draw).collect();
    let drawn = |what: &dyn Fn(&Plan) -> bool| plans.iter().filter(|plan| what(plan)).count();
    for act in [Act::Hide, Act::Forget] {
        let count = drawn(&|plan| plan.acts.iter().any(|(a, _)| *a == act));
        assert!((10..30).contains(&count), "{act:?} in {count} of 100");
    }
    let defaults = Options::default();
    assert!(drawn(&|plan| plan.options.max_message_bytes < defaults.max_message_bytes) > 1);
    assert!(drawn(&|plan| plan.options.segment_bytes < defaults.segment_bytes) > 1);
    assert!(drawn(&|plan| plan.options.max_request_bytes < defaults.max_request_bytes) > 4);
}

/// Brokers that want logins, with each mechanism: a password that is wrong for a while, messages
/// that are cut and late, and sessions that end.
#[test]
fn nothing_is_lost_over_logins() {
    let plans = (1..).map(Plan::draw).filter(|plan| !plan.is_wide());
    let mut drawn = Vec::new();
    for plan in plans.filter(|plan| plan.login.is_some()).take(16) {
        let outcome = run(&plan, false);
        assert!(outcome.findings.is_empty(), "{plan}\n{:#?}", outcome.findings);
        assert!(outcome.written > 0, "{plan}: nothing was written");
        drawn.extend(plan.login);
    }
    for login in [Login::Plain, Login::Scram256, Login::Scram512, Login::Bearer] {
        assert!(drawn.contains(&login), "{login:?} is not among {drawn:?}");
    }
}

#[test]
fn the_rest_of_a_cluster_serves_when_one_broker_is_gone_for_good() {
    let mut gone = 0;
    for seed in (1..=60).filter(|seed| Plan::draw(*seed).loses_one) {
        let outcome = run(&Plan::draw(seed), false);
        assert!(outcome.findings.is_empty(), "seed {seed}: {:#?}", outcome.findings);
        gone += usize::from(outcome.gone.is_some());
    }
    assert!(gone > 2, "{gone} of 60 runs lost a broker");
}

#[test]
fn a_run_is_written_down_as_the_checker_reads_it() {
    let plans = (1..).map(Plan::draw);
    let judged = |plan: &Plan| plan.clients.iter().all(|c| c.whims == 0 && !c.starts_by_time());
    let again = [Act::Recreate, Act::Truncate, Act::Unclean];
    let plain = |plan: &Plan| plan.acts.iter().all(|(act, _)| !again.contains(act));
    let plan = plans.into_iter().find(|plan| judged(plan) && plain(plan)).expect("some seed");
    let path = std::env::temp_dir().join(format!("kavka-history-{}", std::process::id()));
    let file = std::fs::File::create(&path).expect("a file");
    let outcome = run_to(&plan, false, Some(Box::new(std::io::BufWriter::new(file))));
    let text = std::fs::read(&path).expect("written");
    let _ = std::fs::remove_file(&path);
    assert_eq!(outcome.hash, run(&plan, false).hash, "{plan}");
    let mut checker = Checker::default();
    checker::read(&mut checker, &text[..]).expect("readable");
    let report = checker.finish();
    assert_eq!(report.findings.len(), 0, "{plan}\n{:?}", report.findings);
    let lines = text.split(|byte| *byte == b'\n').count();
    assert!(lines > outcome.written, "{plan}: {lines} lines");
}

/// A client that drops what it has fetched, and fetches it again, is found by the bytes: whatever
/// it reads is right.
#[test]
fn what_is_fetched_in_vain_is_found() {
    let (mut found, mut runs) = (0, 0);
    for seed in 1..=12 {
        let mut plan = Plan::draw(seed);
        plan.strict_fetch = true;
        let outcome = run(&plan, false);
        assert!(outcome.findings.is_empty(), "{plan}\n{:#?}", outcome.findings);
        plan.clients.iter_mut().for_each(|client| client.wastes = 90);
        let outcome = run(&plan, false);
        let of_bytes = |finding: &String| finding.contains(" bytes and took ");
        let only = outcome.findings.iter().all(of_bytes);
        assert!(only, "{plan}\n{:#?}", outcome.findings);
        found += usize::from(!outcome.findings.is_empty());
        runs += usize::from(plan.clients.iter().any(|client| !client.reads.is_empty()));
    }
    assert!(found > runs / 2, "{found} of {runs} runs with readers");
}

/// Of the client: the producer's order, uniqueness and outcome; positions of recreated topics;
/// requests for more partitions than there are blocks for; a lone connection to a stale broker, and
/// one that leads elsewhere by now; an epoch that was not sent to a session; a topic without ids
/// that was recreated with fewer partitions, which only probes can detect. Of the simulation:
/// replicas that returned with another log, retention while a reader begins, acknowledgements of
/// one replica, logs of which a truncation leaves different parts. Of the oracle: sequences that a
/// new log accepts in the middle.
#[test]
fn seeds_that_found_something_once_find_nothing_any_more() {
    let found = [
        24, 96, 208, 375, 554, 1065, 1136, 1250, 1326, 1486, 1557, 2085, 2111, 2198, 2345, 2612,
        2731, 3112, 3354, 4166, 4385, 4489, 5184, 5455, 6417, 7006, 7400, 8694, 9110, 9403, 10_031,
        10_464, 11_250, 28_249, 49_761,
    ];
    for seed in found {
        let plan = Plan::draw(seed);
        let outcome = run(&plan, false);
        assert!(outcome.findings.is_empty(), "{plan}\n{:#?}", outcome.findings);
    }
}

/// Loads that a seed may add. Switching one off leaves everything else as it was.
#[test]
fn loads_are_drawn_now_and_then() {
    let plans: Vec<Plan> = (1..=1000).map(Plan::draw).collect();
    let count = |what: &dyn Fn(&Plan) -> bool| plans.iter().filter(|plan| what(plan)).count();
    let any = |what: fn(&ClientPlan) -> bool| count(&|plan| plan.clients.iter().any(what));
    assert!((5..40).contains(&count(&|plan| plan.topics.len() > 3)), "wide clusters");
    assert!((20..100).contains(&any(|client| client.rate.is_some())), "slow applications");
    assert!((10..60).contains(&any(|client| client.stall.is_some())), "stalled applications");
    assert!((40..130).contains(&any(|client| client.missing > 0)), "missing topics");
    assert!((100..200).contains(&count(&|plan| plan.options.rack_aware)), "racks");
    assert!(any(|client| client.config.linger_when_idle) > 500, "linger when idle");
    assert!(any(|client| !client.config.linger_when_idle) > 500, "no linger when idle");
    let wide = plans.iter().filter(|plan| plan.topics.len() > 3);
    let (mut brokers, mut partitions, mut few) = (0, 0, 0);
    for plan in wide {
        brokers = brokers.max(plan.options.brokers);
        partitions = partitions.max(plan.topics.iter().sum());
        let all = plan.options.brokers as usize;
        few += usize::from(plan.clients.iter().any(|client| client.limits.conns < all));
        assert!(plan.topics.len() <= 64 && plan.options.brokers <= 100, "{plan}");
    }
    assert!(brokers > 80 && (1000..=2500).contains(&partitions), "{brokers}, {partitions}");
    assert!(few > 0, "fewer connections than brokers");
    let packs = any(|client| client.config.compression.is_some());
    assert!((500..950).contains(&packs), "compression: {packs}");
    assert!((200..500).contains(&count(&|plan| !plan.codecs.is_empty())), "topics with a codec");
    assert!((150..350).contains(&count(&|plan| !plan.old.is_empty())), "older formats");
    assert!((80..160).contains(&count(&|plan| plan.login.is_some())), "logins");
    let own = any(|client| !client.own.is_empty());
    assert!((100..400).contains(&own), "topics with a compression of their own: {own}");
    let noise = any(|client| client.writes.is_some_and(|writes| writes.noise));
    assert!((150..500).contains(&noise), "records that do not shrink: {noise}");
    let strict = count(&|plan| plan.options.max_message_bytes < 6000);
    assert!((100..250).contains(&strict), "brokers that take small batches alone: {strict}");
    let [wide, slow, stalled, missing, racks, codecs, old, logins] = [false; 8];
    let off = Loads { wide, slow, stalled, missing, racks, codecs, old, logins };
    for (seed, plan) in (1..=100).zip(&plans) {
        let plain = Plan::draw_with(seed, off);
        let loaded = |c: &ClientPlan| {
            let racked = !c.config.rack.is_empty();
            let packs = c.config.compression.is_some();
            c.rate.is_some() || c.stall.is_some() || c.missing > 0 || racked || packs
        };
        let bare = plan.topics.len() <= 3 && !plan.options.rack_aware && plan.codecs.is_empty();
        let bare = bare && plan.old.is_empty() && plan.login.is_none();
        if bare && !plan.clients.iter().any(loaded) {
            assert_eq!(format!("{plain:?}"), format!("{plan:?}"), "seed {seed}");
        }
        assert!(!plain.clients.iter().any(loaded) && plain.topics.len() <= 3, "seed {seed}");
    }
}
