//! Members and brokers in racks: the leader assigns each partition where a replica of it is
//! (KIP-881).

use std::sync::Arc;
use std::time::Instant;

use kavka_std::{Admin, Config, NewTopic, Producer, Start};
use kavka_tests::kafka::{Cluster, Spec, Version, shared_or_skip};

use crate::member::{Kind, LIMIT, Member, Read, write};

const NODES: i32 = 3;
const PARTITIONS: u32 = 6;

#[test]
fn members_read_the_partitions_of_their_racks_by_range() {
    read_in_racks("range");
}

#[test]
fn members_read_the_partitions_of_their_racks_by_cooperative_sticky() {
    read_in_racks("cooperative-sticky");
}

fn read_in_racks(assignor: &'static str) {
    let Some(cluster) = shared_or_skip(Spec::new(Version::V4_4_0, 3)) else { return };
    let (topic, leads) = create(cluster, assignor);
    let producer = Producer::new(Config::new(cluster.bootstrap())).expect("a producer");
    let members: Vec<_> = (1..=NODES).map(|node| join(cluster, &topic, assignor, node)).collect();
    let end = Instant::now() + LIMIT;
    loop {
        let places = write(&producer, &topic, 0..PARTITIONS);
        let owners = places.iter().map(|place| {
            let reads = || members.iter().find(|(_, _, read)| read.first(*place).is_some());
            while reads().is_none() && Instant::now() < end {
                std::thread::sleep(core::time::Duration::from_millis(5));
            }
            reads().map(|(node, ..)| *node).unwrap_or_default()
        });
        let owners: Vec<i32> = owners.collect();
        if owners == leads {
            break;
        }
        // As long as rounds follow one another.
        assert!(Instant::now() < end, "{assignor}: read in racks {owners:?} in place of {leads:?}");
    }
    members.into_iter().for_each(|(_, member, _)| member.leave());
}

/// Creates a topic of which each broker leads two partitions, the only replicas; returns its name
/// and who leads. Brokers place them by chance.
fn create(cluster: &Cluster, assignor: &str) -> (String, Vec<i32>) {
    let admin = Admin::new(Config::new(cluster.bootstrap())).expect("an admin");
    for n in 0..100 {
        let topic = format!("in-racks-{assignor}-{n}");
        let new = NewTopic::new(&topic, PARTITIONS as i32, 1);
        admin.create_topic(new).wait().expect("created");
        cluster.await_count(&topic, PARTITIONS).expect("leaders");
        let partitions = cluster.metadata(Some(&topic)).expect("metadata").partitions;
        let leads: Vec<i32> = partitions.iter().map(|partition| partition.leader).collect();
        if (1..=NODES).all(|node| leads.iter().filter(|lead| **lead == node).count() == 2) {
            return (topic, leads);
        }
    }
    panic!("no topic of 100 is evenly placed");
}

/// Joins in the rack of a node.
fn join(
    cluster: &Cluster,
    topic: &str,
    assignor: &'static str,
    node: i32,
) -> (i32, Member, Arc<Read>) {
    let read = Arc::new(Read::default());
    let config = Kind::Classic(assignor).config(cluster, (topic, Start::Latest));
    let member = Member::with(config.rack(format!("r{node}")), topic, &read);
    member.stable(PARTITIONS / node as u32);
    (node, member, read)
}
