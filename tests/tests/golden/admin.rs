//! Admin requests.

use kafka_protocol::messages::ApiKey;
use kavka_core::{Admin, Limits};
use kavka_tests::sim::{Fault, Options, Profile};

use super::{MILLI, SECOND, join, play};

#[test]
fn admin() {
    for (name, profile) in [("admin", Profile::V4_4), ("admin_2_4", Profile::V2_4)] {
        play(name, Options { profile, ..Options::default() }, |w| {
            w.cluster.create_topic("t", 2).expect("created");
            let (m, _) = join(w, &Limits::small(), |_| ());
            w.run_for(SECOND);
            let configs = [("retention.ms", Some("1000")), ("cleanup.policy", None)];
            let create = |name, configs| Admin::CreateTopic {
                name,
                partitions: 3,
                replication_factor: 2,
                configs,
            };
            let grow =
                |name, count, validate_only| Admin::CreatePartitions { name, count, validate_only };
            for operation in [
                create("new", &configs[..]),
                create("new", &[]),
                create("bad name", &[]),
                grow("new", 5, true),
                grow("new", 4, false),
                grow("new", 2, false),
                Admin::Describe { topic: Some("new") },
                Admin::Describe { topic: Some("missing") },
                Admin::Describe { topic: None },
                Admin::DeleteTopic { name: "new" },
                Admin::DeleteTopic { name: "new" },
            ] {
                let requested = w.command(m, |now, client, _| client.admin(now, &operation));
                w.trace.say(w.now(), format_args!("{operation:?}: {requested:?}"));
                w.run_for(200 * MILLI);
            }
            for fault in [Fault::Error(41), Fault::DropRequest, Fault::Throttle(500)] {
                for broker in 1..=3 {
                    w.cluster.inject(broker, ApiKey::CreatePartitions, fault, 1);
                }
                let requested = w.command(m, |now, c, _| c.admin(now, &grow("t", 3, true)));
                w.trace.say(w.now(), format_args!("{fault:?}: {requested:?}"));
                w.run_for(SECOND);
                w.cluster.clear_faults();
            }
        });
    }
}
