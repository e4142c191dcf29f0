//! The `load` command as its users run it. Only the loads themselves check their results.

#![allow(clippy::std_instead_of_core, reason = "only ever runs where there is std")]

use std::process::{Command, Output};

fn load(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_load")).args(arguments).output();
    output.expect("load starts")
}

#[test]
fn a_load_prints_its_figure_and_its_bar_and_exits_by_it() {
    for name in ["stalled", "3"] {
        let output = load(&[name]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(text.lines().count(), 1, "{name}: {text}");
        assert!(text.starts_with(" 3 stalled") && text.contains("; bar: "), "{name}: {text}");
        // It runs in virtual time: no machine is too slow for it.
        assert!(text.contains(" ok "), "{name}: {text}");
        assert_eq!(output.status.code(), Some(0), "{name}: {text}");
    }
}

#[test]
fn several_loads_exit_by_the_worst_of_them() {
    let once = load(&["stalled"]);
    assert_eq!(once.status.code(), Some(0), "{once:?}");
    let twice = load(&["stalled", "stalled"]);
    assert_eq!(twice.status.code(), once.status.code());
    assert_eq!(twice.stdout, [&once.stdout[..], &once.stdout].concat(), "the same lines");
}

#[test]
fn an_unknown_load_is_refused_with_the_names_of_those_there_are() {
    let output = load(&["nothing"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("missing-topic") && text.contains("waiters"), "{text}");
}
