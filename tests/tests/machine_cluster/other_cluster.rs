//! An address that leads to another cluster later, with topics of the same names.

use core::time::Duration;

use kafka_protocol::messages::{ApiKey, FetchRequest, MetadataRequest, ProduceRequest};
use kavka_core::wire::Uuid;
use kavka_core::{Admin, Config, Error, Limits, Obstacle, PeerFault, Start, TopicId};
use kavka_tests::script::steps::{
    count, disconnected, events, fetch_at, ready, recreated, warm_up,
};
use kavka_tests::script::{Script, World};
use kavka_tests::sim::Profile;

const FOREIGN: Error = Error::Peer(PeerFault::OtherCluster);

fn world(cluster: &'static str) -> World {
    World::new(1).topic("t", 2).cluster(cluster)
}

/// Replaces the cluster behind all addresses.
fn replace(s: &mut Script, world: World) {
    s.world = world;
    s.cut_all(1);
}

fn refusals(s: &mut Script) -> usize {
    disconnected(s).iter().filter(|(_, error)| *error == FOREIGN).count()
}

#[test]
fn records_do_not_go_to_another_cluster_at_the_same_address() {
    let (mut s, t) = ready(world("here"));
    warm_up(&mut s, t, 0);
    assert_eq!(s.client.cluster_id(), Some("here"));
    s.produce(t, 0, "before");
    s.expect::<ProduceRequest>();
    let before = s.connects.len();
    replace(&mut s, world("there"));
    s.produce(t, 1, "after");
    s.run(Duration::from_secs(1));
    let fault = PeerFault::OtherCluster;
    let refused = Error::Blocked(Obstacle::Peer { broker: 1, fault });
    assert_eq!(s.failed(), [(1, refused, true), (1, refused, false)], "which one was in flight");
    assert!(s.client.is_hopeless());
    s.run(Duration::from_secs(19));
    s.produce(t, 0, "later");
    s.run(Duration::from_millis(10));
    assert_eq!(s.failed(), [(1, refused, false)], "at once");
    s.none::<ProduceRequest>("it leads to another cluster");
    assert_eq!(s.client.cluster_id(), Some("here"));
    assert_eq!(s.client.refused_cluster_id(), Some("there"));
    assert!(
        matches!(s.client.obstacle(), Some(Obstacle::Peer { fault: f, .. }) if f == fault),
        "{:?}",
        s.client.obstacle()
    );
    let tries = s.connects.len() - before;
    assert!((10..80).contains(&tries), "{tries} connections in 20 s");
    assert!(refusals(&mut s) > 0, "it is reported");
    // And back.
    replace(&mut s, world("here"));
    s.until("a connection", |s| !s.connections(1).is_empty());
    s.run(Duration::from_secs(2));
    assert!(!s.client.is_hopeless());
    s.produce(t, 0, "back");
    let requested = s.expect::<ProduceRequest>();
    assert_eq!(s.batches(&requested)[0].values, ["back"]);
}

/// An address that was given to a broker of another cluster, while others lead to ours, or are to.
#[test]
fn records_wait_while_some_address_leads_to_their_cluster() {
    for responds in [true, false] {
        let world = World::new(2).topic("t", 2).cluster("here");
        let (mut s, t) = ready(world);
        warm_up(&mut s, t, 0);
        warm_up(&mut s, t, 1);
        s.manual(ApiKey::Metadata);
        s.cut_all(1);
        if !responds {
            s.kill(2);
        }
        s.produce(t, 0, "a");
        let end = s.now() + Duration::from_secs(5);
        while s.now() < end {
            while let Some(requested) = s.take::<MetadataRequest>() {
                let mut body = s.world.metadata(&requested.body);
                if requested.node == 1 {
                    body.cluster_id = Some("there".into());
                }
                s.respond(&requested, body);
            }
            s.run(Duration::from_millis(5));
        }
        let case = format!("the other one responds: {responds}");
        assert!(refusals(&mut s) > 0, "one of them leads to another cluster; {case}");
        assert_eq!(s.failed(), [], "{case}");
        s.world.node(2).up = true;
        s.automatic(ApiKey::Metadata);
        let requested = s.expect::<ProduceRequest>();
        assert_eq!((requested.node, &*s.batches(&requested)[0].values[0]), (1, "a"), "{case}");
    }
}

#[test]
fn another_cluster_can_be_accepted() {
    let mut config = Config::new("b1:9001").linger(Duration::ZERO);
    config.accept_other_cluster = true;
    let mut s = Script::with(world("here"), config, &Limits::small());
    let t = s.ready("t");
    warm_up(&mut s, t, 0);
    replace(&mut s, world("there"));
    s.produce(t, 0, "a");
    s.expect::<ProduceRequest>();
    assert_eq!(refusals(&mut s), 0);
}

#[test]
fn nothing_is_read_from_another_cluster() {
    let world = || {
        let mut world = world("here");
        world.partition("t", 0).end = 9;
        world
    };
    let mut s = Script::new(world());
    let t = s.topic("t");
    let now = s.now();
    s.client.assign(now, t, 0, Start::Latest).unwrap();
    fetch_at(&mut s, 1);
    replace(&mut s, world().cluster("there"));
    s.run(Duration::from_secs(5));
    s.none::<FetchRequest>("it leads to another cluster");
    replace(&mut s, world());
    let requested = fetch_at(&mut s, 1);
    assert_eq!(s.wanted(&requested), [("t".to_owned(), 0, 9)], "the position is kept");
}

/// What it says of partitions, brokers and topic ids is not adopted either.
#[test]
fn another_cluster_changes_nothing_that_is_known() {
    let (mut s, t) = ready(world("here"));
    s.reported();
    let mut there = world("there");
    there.grow("t", 5);
    there.topic_mut("t").id = uuid::Uuid::from_u128(99);
    replace(&mut s, there);
    s.run(Duration::from_secs(30));
    assert_eq!(count(&s.client, t), 2);
    let id = s.client.freshness(t).map(|fresh| fresh.id);
    assert_ne!(id, Some(Uuid(99_u128.to_be_bytes())));
    assert!(recreated(&events(&mut s)).is_empty());
}

/// The first connection learns the id from the Metadata that it needs anyway.
#[test]
fn each_connection_but_the_first_is_confirmed_by_one_small_request() {
    let mut s = Script::new(world("here"));
    let t = s.topic("t");
    s.manual(ApiKey::Metadata);
    let first = s.expect::<MetadataRequest>();
    assert_eq!(first.body.topics.as_ref().map(Vec::len), Some(1));
    let body = s.world.metadata(&first.body);
    s.respond(&first, body);
    s.automatic(ApiKey::Metadata);
    warm_up(&mut s, t, 0);
    s.manual(ApiKey::Metadata);
    let connected = s.connects.len();
    s.cut_all(1);
    s.produce(t, 0, "b");
    let requested = s.expect::<MetadataRequest>();
    assert_eq!(s.connects.len(), connected + 1);
    assert_eq!(s.connections(1), [requested.conn]);
    assert_eq!(requested.body.topics.as_ref().map(Vec::len), Some(0), "no topics");
    s.none::<ProduceRequest>("it is not confirmed yet");
    let body = s.world.metadata(&requested.body);
    s.respond(&requested, body);
    s.expect::<ProduceRequest>();
}

/// Two bootstrap addresses in two clusters, both connected before any cluster id is known.
fn two_clusters() -> (Script, TopicId) {
    let world = World::new(2).cluster("here");
    let config = Config::new("b1:9001,b2:9002").linger(Duration::ZERO);
    let mut s = Script::with(world.topic("t", 1), config, &Limits::small());
    let t = s.topic("t");
    s.manual(ApiKey::Metadata);
    (s, t)
}

/// What the other cluster says of brokers: that of the first one has its own address.
fn readdressed(here: &World, s: &mut Script, node: i32) -> World {
    let mut there = here.clone().cluster("there");
    let other = s.world.node(node).clone();
    (there.nodes[0].host, there.nodes[0].port) = (other.host, other.port);
    there
}

/// The world with the first broker alone.
fn first_alone(s: &Script, node: i32) -> World {
    let mut here = s.world.clone();
    here.nodes.retain(|at| at.id == node);
    here.topic_mut("t").partitions[0].leader = node;
    here
}

/// Returns where the cluster id is in a response: brokers come before it.
fn id_at(response: &[u8], id: &str) -> usize {
    let found = response.windows(id.len()).position(|bytes| bytes == id.as_bytes());
    found.expect("its id") - 1
}

#[test]
fn brokers_that_another_cluster_names_are_not_adopted() {
    let (mut s, t) = two_clusters();
    let first = s.expect::<MetadataRequest>();
    // The first one does not respond in time, and the other address is tried.
    let second = s.expect::<MetadataRequest>();
    assert_ne!(first.node, second.node);
    let here = first_alone(&s, first.node);
    s.respond(&first, here.metadata(&first.body));
    let there = readdressed(&here, &mut s, second.node);
    let foreign = s.encoded(&second, there.metadata(&second.body));
    let at = id_at(&foreign, "there");
    s.feed(second.conn, &foreign[..at]);
    assert!(s.connections(first.node).contains(&first.conn), "its address is the same");
    s.feed(second.conn, &foreign[at..]);
    s.world = here;
    s.automatic(ApiKey::Metadata);
    assert!(refusals(&mut s) > 0);
    s.produce(t, 0, "a");
    assert_eq!(s.expect::<ProduceRequest>().node, first.node);
}

/// Both responses are in the middle when the first cluster id comes: the wrong address that is
/// known then leads to a connection that is refused.
#[test]
fn brokers_that_came_before_any_id_was_known_get_nothing_and_are_corrected() {
    let (mut s, t) = two_clusters();
    let first = s.expect::<MetadataRequest>();
    let second = s.expect::<MetadataRequest>();
    let here = first_alone(&s, first.node);
    let there = readdressed(&here, &mut s, second.node);
    let ours = s.encoded(&first, here.metadata(&first.body));
    let foreign = s.encoded(&second, there.metadata(&second.body));
    let (ours, theirs) =
        (ours.split_at(id_at(&ours, "here")), foreign.split_at(id_at(&foreign, "there")));
    s.feed(first.conn, ours.0);
    s.feed(second.conn, theirs.0);
    s.feed(first.conn, ours.1);
    s.feed(second.conn, theirs.1);
    assert_eq!(s.client.cluster_id(), Some("here"));
    s.world = here;
    s.automatic(ApiKey::Metadata);
    s.until("the topic is ready", |s| s.client.freshness(t).is_some());
    s.produce(t, 0, "a");
    assert_eq!(s.expect::<ProduceRequest>().node, first.node);
}

/// A broker of 0.10.0 has no cluster ids. One that has them and names none is not of a cluster that
/// has an id; where none was named before, there is nothing to compare.
#[test]
fn brokers_that_name_no_cluster_id_are_of_another_cluster_than_one_that_has_an_id() {
    for (before, versions, refused) in
        [(Some("here"), 1, false), (Some("here"), 12, true), (None, 12, false)]
    {
        let mut known = world("here");
        known.cluster = before;
        let (mut s, t) = ready(known);
        warm_up(&mut s, t, 0);
        let mut nameless = world("here").at_most(ApiKey::Metadata, versions);
        nameless.cluster = None;
        if versions == 1 {
            nameless = nameless.release(Profile::V1_1);
        }
        replace(&mut s, nameless);
        s.produce(t, 0, "a");
        s.run(Duration::from_secs(2));
        let case = format!("{before:?}, Metadata {versions}");
        assert_eq!(s.waiting::<ProduceRequest>() == 0, refused, "{case}");
        assert_eq!(refusals(&mut s) > 0, refused, "{case}");
        assert_eq!(s.client.refused_cluster_id(), None, "{case}");
    }
}

/// A client with connections to spare compares each bootstrap address that no broker of its cluster
/// has, once.
#[test]
fn a_bootstrap_address_of_another_cluster_is_reported() {
    let mut world = World::new(3).topic("t", 2).cluster("here");
    world.node(3).up = false;
    let config = Config::new("b1:9001,b2:9002,b3:9003").linger(Duration::ZERO);
    let mut s = Script::with(world, config, &Limits::server());
    let t = s.topic("t");
    // The third address is not one of our cluster's.
    s.until("the topic is known", |s| s.client.freshness(t).is_some());
    let first = s.client.cluster_address().map(|(host, _)| host.to_owned());
    assert!(first.is_some());
    s.run(Duration::from_secs(5));
    let seeds = |s: &mut Script| disconnected(s).into_iter().filter(|(n, _)| *n < 0).count();
    assert_eq!(seeds(&mut s), 1, "it is compared once, and cannot be reached");
    let tries = s.connects.iter().filter(|(_, node)| *node == 3).count();
    assert_eq!(tries, 1);

    let mut world = World::new(2).topic("t", 1).cluster("here");
    world.partition("t", 0).leader = 1;
    let config = Config::new("b1:9001,b2:9002").linger(Duration::ZERO);
    let mut s = Script::with(world, config, &Limits::server());
    s.manual(ApiKey::Metadata);
    let t = s.topic("t");
    let mut refused = Vec::new();
    s.until("it is reported", |s| {
        while let Some(requested) = s.take::<MetadataRequest>() {
            let mut body = s.world.metadata(&requested.body);
            body.brokers.retain(|broker| broker.node_id.0 == 1);
            if requested.node == 2 {
                body.cluster_id = Some("there".into());
                body.brokers.clear();
            }
            s.respond(&requested, body);
        }
        refused.extend(disconnected(s).into_iter().filter(|(_, error)| *error == FOREIGN));
        s.client.freshness(t).is_some() && !refused.is_empty()
    });
    assert_eq!(refused, [(-1, FOREIGN)]);
    let ids = (s.client.cluster_id(), s.client.refused_cluster_id());
    assert_eq!(ids, (Some("here"), Some("there")));
    let address = |found: Option<(&str, u16)>| found.map(|(host, _)| host.to_owned());
    assert_eq!(address(s.client.cluster_address()).as_deref(), Some("b1"));
    assert_eq!(address(s.client.broker_address(-1)).as_deref(), Some("b2"));
    assert!(!s.client.is_hopeless(), "the other address leads to ours");
}

/// A client that describes the cluster and does nothing else.
#[test]
fn an_admin_response_names_the_cluster_as_well() {
    let mut s = Script::new(world("here"));
    s.manual(ApiKey::Metadata);
    let now = s.now();
    s.client.admin(now, &Admin::Describe { topic: None }).unwrap();
    let requested = s.expect::<MetadataRequest>();
    assert!(requested.body.topics.is_none(), "all topics");
    let body = s.world.metadata(&requested.body);
    s.respond(&requested, body);
    assert_eq!(s.client.cluster_id(), Some("here"));
}

/// One broker of ours is advertised at an address that leads to another cluster.
#[test]
fn partitions_of_a_broker_that_leads_to_another_cluster_name_that_and_the_others_are_used() {
    let mut config = Config::new("b1:9001").linger(Duration::ZERO);
    config.delivery_timeout = Duration::from_secs(5);
    let world = World::new(2).topic("t", 2).cluster("here");
    let mut s = Script::with(world, config, &Limits::small());
    s.manual(ApiKey::Metadata);
    let respond = |s: &mut Script, time: Duration| {
        let end = s.now() + time;
        while s.now() < end {
            while let Some(requested) = s.take::<MetadataRequest>() {
                let mut body = s.world.metadata(&requested.body);
                if requested.node == 2 {
                    body.cluster_id = Some("there".into());
                }
                s.respond(&requested, body);
            }
            while let Some(requested) = s.take::<ProduceRequest>() {
                assert_eq!(requested.node, 1, "the other one belongs to another cluster");
                s.acknowledge(&requested, 0);
            }
            s.run(Duration::from_millis(5));
        }
    };
    let t = s.topic("t");
    respond(&mut s, Duration::from_millis(200));
    let now = s.now();
    let at = s.client.assign(now, t, 1, Start::Offset(0)).unwrap();
    for value in ["a", "b", "c", "d"] {
        let now = s.now();
        s.client.produce(now, t, &kavka_core::Record::new(value.as_bytes())).unwrap();
        respond(&mut s, Duration::from_millis(200));
        if value == "a" {
            s.produce(t, 1, "for its leader");
        }
    }
    let obstacle = Obstacle::Peer { broker: 2, fault: PeerFault::OtherCluster };
    assert_eq!(s.client.obstacle_of(at), Some(obstacle), "within a second");
    let (mut late, age) = (Vec::new(), Duration::from_millis(500));
    s.client.late_batches(age, |to, why| late.push((to.partition, why)));
    assert_eq!(late, [(1, obstacle)], "what waits for half a second");
    assert_eq!(s.delivered().len(), 4, "records without a key go where they can");
    respond(&mut s, Duration::from_secs(6));
    assert_eq!(s.failed(), [(1, Error::Blocked(obstacle), false)]);
    assert!(!s.client.is_hopeless());
}
