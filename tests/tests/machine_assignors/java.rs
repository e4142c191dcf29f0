//! Kafka's own assignors, run on the same groups.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;

use kavka_core::Assignor;
use kavka_tests::kafka::{Version, jars, java_missing};

use crate::case::{Case, Kind, Member, Partition, Plan, draw, plan, read};

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

/// Java gives a partition to a member that had it before, also to one that no longer subscribes to
/// the topic.
fn is_sound(case: &Case, plan: &Plan) -> bool {
    case.members
        .iter()
        .all(|member| plan[&member.id].iter().all(|(topic, _)| member.topics.contains(topic)))
}

/// Ours may only withhold more, of what another one claims: where subscriptions differ, Java gives
/// what two claim to one of them at once, while the other one still reads it.
fn withholds_more(case: &Case, ours: &Plan, theirs: &Plan) -> bool {
    theirs.iter().all(|(id, partitions)| {
        let claimed = |partition: &Partition| {
            case.members.iter().any(|other| &other.id != id && other.owned.contains(partition))
        };
        ours[id].is_subset(partitions) && partitions.difference(&ours[id]).all(claimed)
    })
}

#[test]
fn sticky_plans_are_those_of_java_or_as_good() {
    for kind in kinds(&[false, true]) {
        let cases = cases(500, kind);
        let Some(theirs) = plans(&cases, Assignor::Sticky) else { return };
        let Some(withheld) = plans(&cases, Assignor::CooperativeSticky) else { return };
        let (mut other, mut failed) = (0, 0);
        for (seed, case) in cases.iter().enumerate() {
            let name = format!("seed {seed}, {kind:?}");
            let (ours, cooperative) =
                (plan(case, Assignor::Sticky), plan(case, Assignor::CooperativeSticky));
            let (Ok(theirs), Ok(withheld)) = (&theirs[seed], &withheld[seed]) else {
                failed += 1;
                continue;
            };
            if !is_sound(case, theirs) {
                failed += 1;
            } else if &ours == theirs {
                let more = !kind.equal && withholds_more(case, &cooperative, withheld);
                assert!(&cooperative == withheld || more, "{name}: {cooperative:?}, {withheld:?}");
            } else {
                // Who has one more is up to the order of a hash table there.
                assert_eq!(measure(case, &ours), measure(case, theirs), "{name}");
                other += 1;
            }
        }
        assert!(other <= 25, "{kind:?}: {other} plans are other ones");
        assert!(failed <= 50, "{kind:?}: Java fails {failed} times");
        assert!(!kind.equal || failed == 0, "{kind:?}: Java fails {failed} times");
    }
}

#[test]
fn subscriptions_are_those_of_java() {
    let kind = Kind { equal: false, disputes: false, racks: true };
    let mut members: Vec<Member> = Vec::new();
    for seed in 0..100 {
        for mut member in draw(seed, kind).members {
            member.topics.sort_unstable();
            // The order of several topics in the user data of `sticky` is that of a hash table.
            if let Some((topic, _)) = member.owned.first().cloned() {
                member.owned.retain(|(other, _)| *other == topic);
            }
            if member.owned.is_empty() {
                member.generation = -1;
            }
            members.push(member);
        }
    }
    let mut input = String::new();
    let each = |f: &mut dyn FnMut(&Member, Assignor)| {
        for member in &members {
            for (version, assignor) in (0..=3).flat_map(|v| Assignor::ALL.map(|a| (v, a))) {
                f(&Member { version, ..member.clone() }, assignor);
            }
        }
    };
    each(&mut |member, assignor| {
        let owned: Vec<String> =
            member.owned.iter().map(|(topic, partition)| format!("{topic}:{partition}")).collect();
        let keeps =
            if assignor == Assignor::CooperativeSticky { owned.join(",") } else { String::new() };
        let (name, generation) = (assignor.name(), member.generation);
        let (topics, owned) = (member.topics.join(","), owned.join(","));
        let (rack, version) = (member.rack.as_deref().unwrap_or_default(), member.version);
        writeln!(
            input,
            "join\t{name}\t{generation}\t{topics}\t{owned}\t{keeps}\t{rack}\t{version}"
        )
        .expect("a string");
    });
    let Some(output) = java(input) else { return };
    let mut lines = output.lines();
    each(&mut |member, assignor| {
        let ours = hex(&member.subscription(assignor));
        assert_eq!(Some(ours.as_str()), lines.next(), "{assignor:?}, {member:?}");
    });
    assert_eq!(lines.next(), None);
}
