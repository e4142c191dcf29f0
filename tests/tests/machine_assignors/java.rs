//! Kafka's own assignors, run on the same groups.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;

use kavka_core::Assignor;
use kavka_tests::kafka::{Version, jars, java_missing};

use crate::case::{Case, Kind, Member, Plan, draw, plan, read};

/// Runs the Java program; `None` where there is no Java.
fn java(input: String) -> Option<String> {
    if let Some(why) = java_missing() {
        let required = std::env::var_os("KAVKA_REQUIRE_JAVA").is_some_and(|value| value == "1");
        assert!(!required, "KAVKA_REQUIRE_JAVA=1, but {why}");
        return None;
    }
    let jars = jars::fetch(Version::V4_4_0).expect("the client's jars");
    let mut command = Command::new("java");
    command.arg("-cp").arg(jars.join("*")).args(["-Xmx256m", "-XX:TieredStopAtLevel=1"]);
    command.arg(format!("{}/data/java/Assignors.java", env!("CARGO_MANIFEST_DIR")));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("java");
    let mut stdin = child.stdin.take().expect("piped");
    let writer = thread::spawn(move || stdin.write_all(input.as_bytes()).expect("it reads"));
    let output = child.wait_with_output().expect("java");
    writer.join().expect("written");
    assert!(output.status.success(), "it fails: {}", output.status);
    Some(String::from_utf8(output.stdout).expect("hexadecimal"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string");
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(digits).collect()
}

fn describe(case: &Case, assignor: Assignor) -> String {
    let mut text = String::new();
    for topic in &case.topics {
        let racks: Vec<String> = topic.racks.iter().map(|racks| racks.join(",")).collect();
        writeln!(text, "topic\t{}\t{}\t{}", topic.name, topic.count, racks.join(";")).expect("");
    }
    for member in &case.members {
        let instance = member.instance.as_deref().unwrap_or_default();
        let bytes = hex(&member.subscription(assignor));
        writeln!(text, "member\t{}\t{instance}\t{bytes}", member.id).expect("a string");
    }
    writeln!(text, "plan\t{}", assignor.name()).expect("a string");
    text
}

/// Has Java plan for all groups.
fn plans(cases: &[Case], assignor: Assignor) -> Option<Vec<Result<Plan, String>>> {
    let output = java(cases.iter().map(|case| describe(case, assignor)).collect())?;
    let pair = |line: &str| match line.split_once('\t') {
        Some((id, bytes)) => Ok((id.to_owned(), read(&unhex(bytes)))),
        None => Err(line.to_owned()),
    };
    let plan = |text: &str| text.lines().map(pair).collect();
    let plans: Vec<Result<Plan, String>> = output.trim_end().split("\n\n").map(plan).collect();
    assert_eq!(plans.len(), cases.len());
    Some(plans)
}

fn cases(seeds: u64, kind: Kind) -> Vec<Case> {
    (0..seeds).map(|seed| draw(seed, kind)).collect()
}

fn kinds(racks: &[bool]) -> Vec<Kind> {
    let mut kinds = Vec::new();
    for equal in [false, true] {
        for disputes in [false, true] {
            kinds.extend(racks.iter().map(|racks| Kind { equal, disputes, racks: *racks }));
        }
    }
    kinds
}

#[test]
fn range_and_roundrobin_are_those_of_java() {
    for assignor in [Assignor::Range, Assignor::RoundRobin] {
        for kind in kinds(&[false, true]) {
            let cases = cases(500, kind);
            let Some(theirs) = plans(&cases, assignor) else { return };
            for (seed, (case, theirs)) in cases.iter().zip(&theirs).enumerate() {
                let ours = Ok(plan(case, assignor));
                assert_eq!(&ours, theirs, "seed {seed}, {kind:?}, {assignor:?}");
            }
        }
    }
}

/// Returns the sizes in a plan, and how many partitions stay where they are.
fn measure(case: &Case, plan: &Plan) -> (Vec<usize>, usize) {
    let mut sizes: Vec<usize> = plan.values().map(BTreeSet::len).collect();
    sizes.sort_unstable();
    let kept = |member: &Member| member.owned.intersection(&plan[&member.id]).count();
    (sizes, case.members.iter().map(kept).sum())
}

#[test]
fn sticky_plans_are_those_of_java_or_as_good() {
    for assignor in [Assignor::Sticky, Assignor::CooperativeSticky] {
        for kind in kinds(&[false, true]) {
            let cases = cases(500, kind);
            let Some(theirs) = plans(&cases, assignor) else { return };
            let (mut same, mut worse, mut better) = (0, 0, 0);
            for (seed, (case, theirs)) in cases.iter().zip(&theirs).enumerate() {
                let ours = plan(case, assignor);
                let theirs = match theirs {
                    Ok(theirs) => theirs,
                    Err(why) => {
                        println!("seed {seed} {kind:?} {why}");
                        continue;
                    }
                };
                let wrong = case
                    .members
                    .iter()
                    .any(|m| theirs[&m.id].iter().any(|(t, _)| !m.topics.contains(t)));
                if wrong {
                    println!("not subscribed");
                    continue;
                }
                if &ours == theirs {
                    same += 1;
                    continue;
                }
                let (ours_m, theirs_m) = (measure(case, &ours), measure(case, theirs));
                if ours_m.0 != theirs_m.0 || ours_m.1 < theirs_m.1 {
                    worse += 1;
                    if worse < 3 {
                        println!(
                            "seed {seed} {kind:?} {assignor:?}\n{case:#?}\n{ours:?}\n{theirs:?}"
                        );
                    }
                } else if ours_m != theirs_m {
                    better += 1;
                }
            }
            println!("{assignor:?} {kind:?}: {same} same, {worse} worse, {better} better");
        }
    }
}
