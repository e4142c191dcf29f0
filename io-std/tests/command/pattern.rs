//! `consume --group` of the topics that a regular expression matches.

use std::time::Duration;

use kavka_tests::sim::{Groups, Options, Server};

use crate::{feed, kavka, run};

fn server() -> Server {
    let groups = Groups { interval: Duration::from_millis(100), ..Groups::default() };
    let options =
        Options { brokers: 1, replication: 1, groups: Some(groups), ..Options::default() };
    Server::start(options).expect("simulated brokers")
}

#[test]
fn all_topics_that_match_are_read() {
    let server = server();
    let addresses = server.bootstrap();
    for topic in ["orders-1", "orders-2", "my-orders"] {
        server.create_topic(topic, 1).expect("a new topic");
        feed(kavka(&["-b", &addresses, "produce", topic]), format!("of {topic}\n").as_bytes())
            .good();
    }
    let ran = run(&server, &["consume", "-g", "g", "^orders-.*", "-c", "2"]).good();
    let mut lines = ran.lines();
    lines.sort();
    assert_eq!(lines, ["of orders-1", "of orders-2"]);
    for said in ["topic joined: orders-1", "group g: left"] {
        assert!(ran.err.contains(said), "{said:?} is not said: {}", ran.err);
    }
}

#[test]
fn an_expression_needs_a_group_and_has_to_be_one() {
    let server = server();
    let cases: [(&[&str], i32, &str); 3] = [
        (&["consume", "^orders-.*"], 2, "--group"),
        (&["consume", "-g", "g", "^orders-.*", "t"], 2, "the only topic"),
        (&["consume", "-g", "g", "^orders-("], 1, "^orders-("),
    ];
    for (args, code, said) in cases {
        let ran = run(&server, args);
        assert_eq!(ran.code, Some(code), "{args:?}: {ran:?}");
        assert!(ran.err.contains(said), "{said:?} is not said: {ran:?}");
    }
}
