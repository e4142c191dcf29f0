//! Groups with other clients: the short part of the campaign `mixed`. With a real broker: skipped
//! where there is no Java.

use std::process::Command;

#[test]
#[ignore = "a minute with real brokers: `cargo test -- --ignored`"]
fn growth_under_the_leader_of_another_client_loses_nothing() {
    let mut mixed = Command::new(env!("CARGO_BIN_EXE_mixed"));
    mixed.args(["--brief", "--rest", "3", "--patience", "60"]);
    mixed.args(["--cells", "librdkafka:cooperative:last,librdkafka:consumer:first"]);
    let output = mixed.output().expect("it runs");
    let table = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{table}");
}
