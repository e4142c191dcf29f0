//! Subscriptions by regular expression, against a coordinator by hand.

use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{
    ApiKey, ConsumerGroupHeartbeatRequest, JoinGroupRequest, ListOffsetsRequest, MetadataRequest,
    OffsetCommitRequest, OffsetFetchRequest, OffsetFetchResponse, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use kavka_core::wire::ErrorCode;
use kavka_core::{
    Commands, Config, Duration, Event, GroupError, GroupProtocol, Limits, Start, TopicId,
};
use kavka_tests::script::{Requested, Script, World};

use crate::steps::{
    assigned, beat, calm, commit_with, committed, config, fetch_commits, group_events, next_beat,
    next_commit, offsets, owned, refuse_beat, world,
};

const EXPRESSION: &str = "t.*";

fn pattern(world: &World) -> Config<'static> {
    let mut config = config(world);
    config.group_pattern = EXPRESSION;
    config
}

fn subscribed(world: World, config: Config<'static>, start: Start) -> Script {
    let mut s = Script::with(world, config, &Limits::small());
    let now = s.now();
    s.client.set_wall_clock(now, 1_700_000_000_000);
    s.client.subscribe_pattern(now, start).expect("subscribed");
    s
}

fn events(s: &mut Script) -> Vec<Event<'static>> {
    s.take_reported(|reported| {
        let event = reported.event()?;
        let of_topics = matches!(
            event,
            Event::FindTopics | Event::TopicJoined { .. } | Event::TopicLeft { .. }
        );
        of_topics.then_some(event)
    })
}

fn joined(s: &mut Script) -> Vec<String> {
    let topics = events(s).into_iter().filter_map(|event| match event {
        Event::TopicJoined { topic } => Some(topic),
        _ => None,
    });
    let topics: Vec<TopicId> = topics.collect();
    topics.into_iter().map(|id| s.client.topic_name(id).unwrap_or_default().to_owned()).collect()
}

/// Has topics of the pattern be known as new ones.
fn all_are_new(s: &mut Script) {
    s.hook = Some(Box::new(|event: &Event<'_>, commands: &mut Commands<'static>| {
        if let Event::TopicJoined { topic } = event {
            commands.read_from_first(*topic);
        }
    }));
}

#[test]
fn the_coordinator_gets_the_expression_and_its_topics_are_found_by_id() {
    let world = world(3);
    let config = pattern(&world);
    let mut s = subscribed(world, config, Start::Earliest);
    let first = next_beat(&mut s);
    let body = &first.body;
    assert_eq!(body.subscribed_topic_regex.as_deref(), Some(EXPRESSION));
    assert_eq!(body.subscribed_topic_names.as_ref().map(Vec::len), Some(0));
    assert_eq!(owned(&first), Some(vec![]));
    beat(&mut s, &first, 1, Some(&[0, 1]));
    // The topic is requested by its id, then described, and the assignment comes again.
    let again = next_beat(&mut s);
    assert_eq!(again.body.subscribed_topic_regex.as_deref(), Some(EXPRESSION), "all fields");
    beat(&mut s, &again, 1, Some(&[0, 1]));
    assert_eq!(joined(&mut s), ["t"]);
    fetch_commits(&mut s, |_| (10, "", 0));
    let ack = next_beat(&mut s);
    assert_eq!(owned(&ack), Some(vec![0, 1]));
    beat(&mut s, &ack, 1, None);
    assert_eq!(assigned(&mut s), [0, 1]);
    let next = next_beat(&mut s);
    assert_eq!((&next.body.subscribed_topic_regex, owned(&next)), (&None, None), "unchanged");
}

/// Returns a member that has these partitions of `t`.
fn member(partitions: usize, mine: &[i32]) -> Script {
    let world = world(partitions);
    let config = pattern(&world);
    let mut s = subscribed(world, config, Start::Latest);
    let first = next_beat(&mut s);
    beat(&mut s, &first, 1, Some(mine));
    let again = next_beat(&mut s);
    beat(&mut s, &again, 1, Some(mine));
    fetch_commits(&mut s, |_| (10, "", 0));
    let ack = next_beat(&mut s);
    beat(&mut s, &ack, 1, None);
    assert_eq!(assigned(&mut s), mine);
    assert_eq!(joined(&mut s), ["t"]);
    s
}

#[test]
fn a_topic_without_partitions_of_this_member_leaves() {
    let mut s = member(2, &[0, 1]);
    let due = next_beat(&mut s);
    beat(&mut s, &due, 1, Some(&[]));
    let ack = next_beat(&mut s);
    assert_eq!(owned(&ack), Some(vec![]));
    let left = events(&mut s);
    assert!(matches!(left[..], [Event::TopicLeft { .. }]), "{left:?}");
    let Event::TopicLeft { topic } = left[0] else { unreachable!() };
    s.client.unwatch(topic);
    assert_eq!(s.client.topic_name(topic), None, "nothing of it is left");
    // It comes back.
    beat(&mut s, &ack, 2, Some(&[1]));
    let again = next_beat(&mut s);
    beat(&mut s, &again, 2, Some(&[1]));
    fetch_commits(&mut s, |_| (12, "", 0));
    s.run(Duration::from_millis(50));
    calm(&mut s);
    assert_eq!(joined(&mut s), ["t"]);
    assert_eq!(assigned(&mut s), [1]);
}

#[test]
fn a_bad_expression_ends_the_membership() {
    let world = world(1);
    let config = pattern(&world);
    let mut s = subscribed(world, config, Start::Earliest);
    let first = next_beat(&mut s);
    refuse_beat(&mut s, &first, 128);
    let error = GroupError::Refused(ErrorCode::INVALID_REGULAR_EXPRESSION);
    s.run(Duration::from_secs(1));
    let events = group_events(&mut s);
    let expected =
        |event: &Event<'_>| matches!(event, Event::GroupFailed { error: e } if *e == error);
    assert!(events.iter().all(expected) && events.len() == 1, "{events:?}");
    s.none::<ConsumerGroupHeartbeatRequest>("it is over");
}

#[test]
fn a_new_topic_is_read_from_its_first_record() {
    let world = world(2);
    let config = pattern(&world);
    let mut s = subscribed(world, config, Start::Latest);
    all_are_new(&mut s);
    let first = next_beat(&mut s);
    beat(&mut s, &first, 1, Some(&[0, 1]));
    let again = next_beat(&mut s);
    beat(&mut s, &again, 1, Some(&[0, 1]));
    fetch_commits(&mut s, |_| (-1, "", 0));
    let commit = next_commit(&mut s);
    assert_eq!(offsets(&commit)[0], (0, 0), "not the end, which is at 40");
    commit_with(&mut s, &commit, |_| 0);
    calm(&mut s);
    s.run(Duration::from_millis(50));
    let mut read = assigned(&mut s);
    while let Some(commit) = s.take::<OffsetCommitRequest>() {
        assert!(offsets(&commit).iter().all(|(_, offset)| *offset == 0), "{:?}", offsets(&commit));
        commit_with(&mut s, &commit, |_| 0);
        s.run(Duration::from_millis(50));
        read.extend(assigned(&mut s));
    }
    assert_eq!(read, [0, 1]);
}

#[test]
fn an_application_finds_the_topics_where_the_coordinator_does_not() {
    // K10: KIP-848 before Kafka 4.0.
    let world = world(2).at_most(ApiKey::ConsumerGroupHeartbeat, 0);
    let config = pattern(&world);
    let mut s = subscribed(world, config, Start::Earliest);
    s.run(Duration::from_secs(1));
    assert!(matches!(events(&mut s)[..], [Event::FindTopics]));
    s.none::<ConsumerGroupHeartbeatRequest>("brokers refuse a member without topics");
    let now = s.now();
    s.client.resolve_pattern(now, &[]).expect("none so far");
    s.run(Duration::from_secs(1));
    s.none::<ConsumerGroupHeartbeatRequest>("none so far");
    let t = s.topic("t");
    let now = s.now();
    s.client.resolve_pattern(now, &[t]).expect("known topics");
    let first = next_beat(&mut s);
    assert_eq!(first.body.subscribed_topic_regex, None);
    assert_eq!(first.body.subscribed_topic_names.as_ref().map(Vec::len), Some(1));
    beat(&mut s, &first, 1, Some(&[0, 1]));
    fetch_commits(&mut s, |_| (10, "", 0));
    let ack = next_beat(&mut s);
    beat(&mut s, &ack, 1, None);
    assert_eq!(joined(&mut s), ["t"]);
    // The same again changes nothing.
    let now = s.now();
    s.client.resolve_pattern(now, &[t]).expect("known topics");
    let next = next_beat(&mut s);
    assert!(now.until(next.at) > Duration::from_secs(4), "not at once");
    assert_eq!(next.body.subscribed_topic_names, None, "unchanged");
    beat(&mut s, &next, 1, None);
    // It is gone.
    let now = s.now();
    s.client.resolve_pattern(now, &[]).expect("none any more");
    let next = next_beat(&mut s);
    assert_eq!(next.body.subscribed_topic_names.as_ref().map(Vec::len), Some(0));
}

#[test]
fn a_member_of_a_classic_group_joins_with_what_the_application_finds() {
    let world = world(2);
    let mut config = pattern(&world);
    config.group_protocol = GroupProtocol::Classic;
    let mut s = subscribed(world, config, Start::Earliest);
    s.run(Duration::from_secs(1));
    assert!(matches!(events(&mut s)[..], [Event::FindTopics]));
    s.none::<JoinGroupRequest>("no topics yet");
    let t = s.topic("t");
    let now = s.now();
    s.client.resolve_pattern(now, &[t]).expect("known topics");
    let join = s.expect::<JoinGroupRequest>();
    assert_eq!(join.body.group_id.as_str(), "g");
}

#[test]
fn named_topics_take_the_place_of_the_expression() {
    let mut s = member(2, &[0, 1]);
    let (now, t) = (s.now(), s.topic("t"));
    s.client.subscribe(now, &[t], Start::Latest).expect("subscribed");
    let next = next_beat(&mut s);
    assert_eq!(next.body.subscribed_topic_regex.as_deref(), Some(""), "it is taken back");
    assert_eq!(next.body.subscribed_topic_names.as_ref().map(Vec::len), Some(1));
    assert_eq!(owned(&next), Some(vec![0, 1]), "nothing is given up");
}

#[test]
fn an_application_may_be_slow_to_say_that_a_topic_is_new() {
    let world = world(1);
    let config = pattern(&world);
    let mut s = subscribed(world, config, Start::Latest);
    all_are_new(&mut s);
    s.listening = false;
    let first = next_beat(&mut s);
    beat(&mut s, &first, 1, Some(&[0]));
    let again = next_beat(&mut s);
    beat(&mut s, &again, 1, Some(&[0]));
    fetch_commits(&mut s, |_| (-1, "", 0));
    // All other commits are looked through before it says so.
    fetch_commits(&mut s, |_| (-1, "", 0));
    s.run(Duration::from_millis(200));
    s.none::<OffsetCommitRequest>("its start is not decided");
    s.listening = true;
    let commit = next_commit(&mut s);
    assert_eq!(offsets(&commit), [(0, 0)], "not the end, which is at 40");
}

#[test]
fn without_an_expression_there_is_no_subscription_by_one() {
    let world = world(1);
    let config = config(&world);
    let mut s = Script::with(world, config, &Limits::small());
    let now = s.now();
    assert!(s.client.subscribe_pattern(now, Start::Latest).is_err());
    s.none::<MetadataRequest>("nothing is subscribed");
    s.none::<OffsetFetchRequest>("nothing is subscribed");
    s.none::<ListOffsetsRequest>("nothing is subscribed");
}

/// Waits for a request of Metadata by id.
fn by_id(s: &mut Script) -> Requested<MetadataRequest> {
    loop {
        let requested = s.expect::<MetadataRequest>();
        let topics = requested.body.topics.as_deref().unwrap_or_default();
        if topics.iter().any(|topic| topic.name.is_none()) {
            return requested;
        }
        s.serve(requested);
    }
}

#[test]
fn only_topics_of_the_assignment_are_watched() {
    let world = world(1).topic("u", 1);
    let config = pattern(&world);
    let mut s = subscribed(world, config, Start::Earliest);
    s.manual(ApiKey::Metadata);
    let first = loop {
        if let Some(first) = s.take::<ConsumerGroupHeartbeatRequest>() {
            break first;
        }
        if let Some(requested) = s.take::<MetadataRequest>() {
            s.serve(requested);
        }
        s.run(Duration::from_millis(10));
    };
    beat(&mut s, &first, 1, Some(&[0]));
    let requested = by_id(&mut s);
    // All topics, although one was requested.
    let all = s.world.metadata(&MetadataRequest::default().with_topics(None));
    s.respond(&requested, all);
    s.automatic(ApiKey::Metadata);
    s.run(Duration::from_millis(500));
    while let Some(due) = s.take::<ConsumerGroupHeartbeatRequest>() {
        beat(&mut s, &due, 1, Some(&[0]));
        s.run(Duration::from_millis(500));
    }
    assert_eq!(joined(&mut s), ["t"]);
}

#[test]
fn a_lost_request_for_names_is_repeated() {
    let world = world(1);
    let config = pattern(&world);
    let mut s = subscribed(world, config, Start::Earliest);
    let first = next_beat(&mut s);
    s.manual(ApiKey::Metadata);
    beat(&mut s, &first, 1, Some(&[0]));
    let requested = by_id(&mut s);
    s.automatic(ApiKey::Metadata);
    s.cut(requested.conn);
    for _ in 0..20 {
        s.run(Duration::from_millis(500));
        while let Some(due) = s.take::<ConsumerGroupHeartbeatRequest>() {
            beat(&mut s, &due, 1, Some(&[0]));
        }
    }
    assert_eq!(joined(&mut s), ["t"]);
}

/// FNV-1a, as in markers.
fn hash(text: &str) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    text.bytes().fold(0x811c_9dc5, step)
}

/// Returns the text that a new topic's starts are committed with, if another topic's commits say
/// that the group subscribed by this expression at 1.6 trillion.
fn text_after(expression: &str) -> String {
    let world = world(1);
    let config = pattern(&world);
    let mut s = subscribed(world, config, Start::Latest);
    let first = next_beat(&mut s);
    beat(&mut s, &first, 1, Some(&[0]));
    let again = next_beat(&mut s);
    beat(&mut s, &again, 1, Some(&[0]));
    fetch_commits(&mut s, |_| (-1, "", 0));
    let id = "AAAAAAAAAAAAAAAAAAAAAA";
    let marker = format!("kv1;n=1;b=5;t={id};p={}:1600000000000;", hash(expression));
    let commit = loop {
        if let Some(commit) = s.take::<OffsetCommitRequest>() {
            break commit;
        }
        if let Some(scan) = s.take::<OffsetFetchRequest>() {
            assert_eq!(scan.body.groups[0].topics, None, "all topics of the group");
            let partition = OffsetFetchResponsePartitions::default()
                .with_committed_offset(7)
                .with_metadata(Some(StrBytes::from_string(marker.clone())));
            let topic = OffsetFetchResponseTopics::default()
                .with_name(TopicName(StrBytes::from_static_str("another")))
                .with_partitions(vec![partition]);
            let group = OffsetFetchResponseGroup::default()
                .with_group_id(scan.body.groups[0].group_id.clone())
                .with_topics(vec![topic]);
            s.respond(&scan, OffsetFetchResponse::default().with_groups(vec![group]));
        }
        calm(&mut s);
        s.run(Duration::from_millis(10));
    };
    committed(&commit)[0].2.clone()
}

#[test]
fn a_topic_that_came_while_no_member_ran_is_read_since_the_group_knows_the_expression() {
    let text = text_after(EXPRESSION);
    assert!(text.contains("b=1600000000000;"), "{text}");
    assert!(text.ends_with(&format!("p={}:1600000000000;", hash(EXPRESSION))), "{text}");
    // Another expression binds nobody.
    let text = text_after("u.*");
    assert!(text.contains("b=1700000000000;"), "{text}");
    assert!(text.ends_with(&format!("p={}:1700000000000;", hash(EXPRESSION))), "{text}");
}

#[test]
fn an_expression_takes_the_place_of_named_topics() {
    let world = world(2);
    let mut config = config(&world);
    config.group_pattern = "u.*";
    let (mut s, _) = crate::steps::member_with(world, config, &[0, 1]);
    let now = s.now();
    s.client.subscribe_pattern(now, Start::Latest).expect("subscribed");
    let next = next_beat(&mut s);
    assert_eq!(next.body.subscribed_topic_regex.as_deref(), Some("u.*"));
    assert_eq!(next.body.subscribed_topic_names.as_ref().map(Vec::len), Some(0));
    // The topic that was named is one that the coordinator found; then it is not.
    beat(&mut s, &next, 2, Some(&[]));
    let ack = next_beat(&mut s);
    assert_eq!(owned(&ack), Some(vec![]));
    beat(&mut s, &ack, 2, None);
    s.run(Duration::from_millis(50));
    let left = events(&mut s);
    assert!(matches!(left[..], [Event::TopicLeft { .. }]), "{left:?}");
}
