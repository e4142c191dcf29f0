//! What Java's admin client says of a transaction.

use kavka_std::Record;
use kavka_tests::kafka::{Site, Version};

use crate::{commit, java, producer, site};

/// What `DescribeTransactions` prints: of the id, of its listing, and of producers.
struct Seen {
    id: String,
    epoch: i32,
    state: String,
    partitions: String,
    listed: Vec<String>,
    producers: Vec<String>,
}

fn seen(site: &Site) -> Seen {
    let lines = java(site, "DescribeTransactions", &[&site.topic, &site.topic]);
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
    let Some(site) = site(Version::V4_4_0) else { return };
    let producer = producer(&site, &site.topic);
    let open = producer.transaction().expect("none is open");
    for value in [b"a", b"b"] {
        let sent = open.send_to(&site.topic, 1, &Record::new(value)).expect("there is space");
        drop(sent);
    }
    producer.flush().wait().expect("written");
    let now = seen(&site);
    let (id, epoch) = (&now.id, now.epoch);
    assert_eq!((&*now.state, &*now.partitions), ("Ongoing", "[1]"));
    assert_eq!(now.listed, [format!("{id}\tOngoing")]);
    assert_eq!(now.producers, [format!("1\t{id}\t{epoch}\t1\ttrue")]);
    commit(open).expect("committed");
    // The end has raised the epoch, which its marker has.
    let now = seen(&site);
    assert_eq!((&now.id, now.epoch, &*now.state), (id, epoch + 1, "CompleteCommit"));
    assert_eq!(now.listed, [format!("{id}\tCompleteCommit")]);
    assert_eq!(now.producers, [format!("1\t{id}\t{}\t-1\tfalse", epoch + 1)]);
}
