//! What Java's admin client says of a transaction.

use kavka_std::Record;
use kavka_tests::kafka::Version;

use crate::{TOPIC, cluster, commit, java, producer};

/// What `DescribeTransactions` prints: of the id, of its listing, and of producers.
struct Seen {
    id: String,
    epoch: i32,
    state: String,
    partitions: String,
    listed: Vec<String>,
    producers: Vec<String>,
}

fn seen(cluster: &kavka_tests::kafka::Cluster) -> Seen {
    let lines = java(cluster, "DescribeTransactions", &["kavka-test", TOPIC]);
    let of = |kind: &str| -> Vec<String> {
        let rest = |line: &String| Some(line.strip_prefix(kind)?.strip_prefix('\t')?.to_owned());
        lines.iter().filter_map(rest).collect()
    };
    let [described] = &of("described")[..] else { panic!("{lines:?}") };
    let [id, epoch, state, partitions, _] = &described.split('\t').collect::<Vec<_>>()[..] else {
        panic!("{lines:?}")
    };
    Seen {
        id: (*id).to_owned(),
        epoch: epoch.parse().expect("an epoch"),
        state: (*state).to_owned(),
        partitions: (*partitions).to_owned(),
        listed: of("listed"),
        producers: of("producer"),
    }
}

#[test]
fn java_lists_and_describes_open_and_ended_transactions() {
    let Some(cluster) = cluster(Version::V4_4_0, 1) else { return };
    let producer = producer(&cluster);
    let open = producer.transaction().expect("none is open");
    for value in [b"a", b"b"] {
        let sent = open.send_to(TOPIC, 1, &Record::new(value)).expect("there is space");
        drop(sent);
    }
    producer.flush().wait().expect("written");
    let now = seen(&cluster);
    let (id, epoch) = (&now.id, now.epoch);
    assert_eq!((&*now.state, &*now.partitions), ("Ongoing", "[1]"));
    assert_eq!(now.listed, [format!("{id}\tOngoing")]);
    assert_eq!(now.producers, [format!("1\t{id}\t{epoch}\t1\ttrue")]);
    commit(open).expect("committed");
    // The end has raised the epoch, which its marker has.
    let now = seen(&cluster);
    assert_eq!((&now.id, now.epoch, &*now.state), (id, epoch + 1, "CompleteCommit"));
    assert_eq!(now.listed, [format!("{id}\tCompleteCommit")]);
    assert_eq!(now.producers, [format!("1\t{id}\t{}\t-1\tfalse", epoch + 1)]);
}
