//! Subscriptions and assignments as bytes, beside a codec that is not ours.

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::messages::consumer_protocol_assignment as theirs;
use kafka_protocol::messages::consumer_protocol_subscription::{
    ConsumerProtocolSubscription, TopicPartition,
};
use kafka_protocol::messages::{ConsumerProtocolAssignment, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
use kavka_core::wire::consumer_protocol::Subscription;
use kavka_core::wire::{SliceSink, Writer};
use kavka_core::{Assignor, Leader, LeaderMemory};

use crate::case::{Case, Kind, Member, assigned, by_topic, draw, join, lead};

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Returns a message behind its version.
fn encoded(message: &impl Encodable, version: i16) -> Vec<u8> {
    let mut out = BytesMut::new();
    out.put_i16(version);
    message.encode(&mut out, version).expect("a version that it has");
    out.to_vec()
}

/// The same subscription by the other codec.
fn wanted(member: &Member, assignor: Assignor) -> Vec<u8> {
    let owned = |(name, partitions): (&&str, &Vec<i32>)| {
        TopicPartition::default()
            .with_topic(TopicName(text(name)))
            .with_partitions(partitions.clone())
    };
    let owned: Vec<TopicPartition> = by_topic(&member.owned).iter().map(owned).collect();
    let user_data = match assignor {
        Assignor::CooperativeSticky => Some(member.generation.to_be_bytes().to_vec()),
        // What `sticky` keeps is the list of version 1, and the generation.
        Assignor::Sticky if !owned.is_empty() => {
            let list = ConsumerProtocolSubscription::default().with_owned_partitions(owned.clone());
            let mut bytes = encoded(&list, 1)[2 + 4 + 4..].to_vec();
            bytes.extend(member.generation.to_be_bytes());
            Some(bytes)
        }
        _ => None,
    };
    let mut topics = member.topics.clone();
    topics.sort_unstable();
    topics.dedup();
    let keeps = assignor == Assignor::CooperativeSticky;
    let subscription = ConsumerProtocolSubscription::default()
        .with_topics(topics.iter().map(|name| text(name)).collect())
        .with_user_data(user_data.map(Bytes::from))
        .with_owned_partitions(if keeps { owned } else { Vec::new() })
        .with_generation_id(member.generation)
        .with_rack_id(member.rack.as_deref().map(text));
    encoded(&subscription, member.version)
}

#[test]
fn subscriptions_are_written_in_each_version_and_nothing_trails() {
    // GR2
    for seed in 0..200 {
        let case = draw(seed, Kind { equal: false, disputes: true, racks: true });
        for mut member in case.members {
            // Any order, and one name twice.
            member.topics.reverse();
            member.topics.extend(member.topics.first().cloned());
            for version in 0..=3 {
                member.version = version;
                for assignor in Assignor::ALL {
                    let (ours, theirs) = (member.subscription(assignor), wanted(&member, assignor));
                    assert_eq!(ours, theirs, "seed {seed}, v{version}, {assignor:?}");
                    let read = Subscription::read(&ours).expect("our own");
                    assert_eq!(read.version, version, "seed {seed}");
                }
            }
        }
    }
}

#[test]
fn assignments_are_written_in_the_version_of_the_member_and_nothing_trails() {
    // GR2
    let kind = Kind { equal: false, disputes: false, racks: false };
    for seed in 0..200 {
        let mut case = draw(seed, kind);
        for (version, member) in (0..=3).cycle().zip(&mut case.members) {
            member.version = version;
        }
        let leader = lead(&case, Assignor::Range);
        let plan = assigned(&leader);
        for at in 0..leader.members() {
            let id = leader.id(at);
            let mut room = vec![0; leader.assignment_len(at)];
            let mut sink = SliceSink::new(&mut room);
            leader.write_assignment(at, &mut Writer::new(&mut sink)).expect("its own length");
            let topic = |(name, partitions): (&&str, &Vec<i32>)| {
                theirs::TopicPartition::default()
                    .with_topic(TopicName(text(name)))
                    .with_partitions(partitions.clone())
            };
            let topics = by_topic(&plan[id]).iter().map(topic).collect();
            let message = ConsumerProtocolAssignment::default()
                .with_assigned_partitions(topics)
                .with_user_data(None);
            let member = case.members.iter().find(|member| member.id == id).expect("a member");
            assert_eq!(room, encoded(&message, member.version), "seed {seed}, {id}");
        }
    }
}

#[test]
fn user_data_of_other_clients_is_read() {
    // The generation of a member of `cooperative-sticky` before version 2: four bytes of Java's,
    // or the last ones of what franz-go and librdkafka write there.
    let mut case = Case::default();
    let (mut java, mut franz) = (
        Member::new("java", &["t"]).owning("t", &[0, 1], 4),
        Member::new("franz", &["t"]).owning("t", &[0, 1], 5),
    );
    (java.version, franz.version) = (1, 1);
    case.topics.push(crate::case::Topic { name: "t".to_owned(), count: 4, racks: Vec::new() });
    case.members = vec![java, franz];
    let mut leader = Leader::heap(2, 2, 4, 1024);
    leader.begin();
    let theirs = case.members[0].subscription(Assignor::CooperativeSticky);
    leader.member("java", None, &theirs).expect("there is room");
    // The fields of version 1 with the user data of `sticky`.
    let sticky = case.members[1].subscription(Assignor::Sticky);
    let owned = case.members[1].subscription(Assignor::CooperativeSticky);
    let bytes = [&sticky[..sticky.len() - 4], &owned[2 + 4 + 3 + 4 + 4..]].concat();
    leader.member("franz", None, &bytes).expect("there is room");
    leader.count(0, 4);
    leader.plan(Assignor::CooperativeSticky).expect("there is room");
    let plan = assigned(&leader);
    let of = |id: &str| plan[id].iter().map(|(_, partition)| *partition).collect::<Vec<_>>();
    assert_eq!((of("franz"), of("java")), (vec![0, 1], vec![2, 3]));
}

#[test]
fn lent_memory_plans_alike() {
    static MEMORY: std::sync::Mutex<LeaderMemory<8, 8, 80, 4096>> =
        std::sync::Mutex::new(LeaderMemory::new());
    let mut memory = MEMORY.lock().expect("not poisoned");
    let mut leader = Leader::lent(&mut memory);
    for seed in 0..300 {
        let case = draw(seed, Kind { equal: seed % 2 == 0, disputes: true, racks: false });
        for assignor in Assignor::ALL {
            join(&mut leader, &case, assignor);
            leader.plan(assignor).expect("there is room");
            assert_eq!(assigned(&leader), assigned(&lead(&case, assignor)), "seed {seed}");
        }
    }
}
