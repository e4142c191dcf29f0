//! Stdin and stdout that are closed, full, or opened the wrong way.

use std::process::{Command, Stdio};

use crate::{Ran, binary, feed, fill, with_topic};

/// The command in a shell, with this redirection.
fn redirected(bootstrap: &str, args: &[&str], how: &str) -> Ran {
    let mut shell = Command::new("sh");
    let script = format!("exec \"$0\" \"$@\" {how}");
    shell.args(["-c", &script]).arg(binary()).args(args);
    shell.env("KAVKA_BOOTSTRAP", bootstrap);
    shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    feed(shell, b"a\n")
}

#[test]
fn a_stdout_that_cannot_be_written_is_named() {
    let server = with_topic(1);
    fill(&server, 0, &["a"]);
    for args in [
        &["--help"][..],
        &["--version"],
        &["topics", "--help"],
        &["completions", "fish"],
        &["metadata"],
        &["topics", "list"],
        &["topics", "describe", "t"],
        &["topics", "offsets", "t"],
        &["topics", "watch", "t"],
        &["consume", "t", "-e"],
        &["consume", "t", "--json"],
    ] {
        for (how, why) in [
            (">&-", "kavka: stdout: it is closed\n"),
            (">/dev/full", "kavka: stdout: No space left on device"),
            // A directory, or anything else that is open for reading only.
            ("1</", "kavka: stdout: Bad file descriptor"),
            ("1</dev/null", "kavka: stdout: Bad file descriptor"),
        ] {
            let ran = redirected(&server.bootstrap(), args, how);
            assert_eq!(ran.code, Some(1), "{args:?} {how}: {ran:?}");
            ran.bad(1, &[why]);
        }
        // As Python and others redirect to it: for both ways.
        if args != ["topics", "watch", "t"] && args != ["consume", "t", "--json"] {
            redirected(&server.bootstrap(), args, "1<>/dev/null").good();
        }
    }
    for how in [">&-", ">/dev/full"] {
        redirected(&server.bootstrap(), &["produce", "t"], how).good(); // it prints nothing
    }
}

/// Nothing is done that could not be reported.
#[test]
fn nothing_is_changed_when_stdout_is_closed() {
    let server = with_topic(1);
    for args in
        [&["topics", "create", "u"][..], &["topics", "grow", "t", "2"], &["topics", "delete", "t"]]
    {
        redirected(&server.bootstrap(), args, ">&-").bad(1, &["stdout: it is closed"]);
    }
    let topics = redirected(&server.bootstrap(), &["topics", "list"], "").good();
    assert_eq!(topics.text(), "t\t1\n");
}

#[test]
fn a_stdin_that_cannot_be_read_is_named() {
    let server = with_topic(1);
    for (how, why) in [
        ("</", "kavka: stdin: Is a directory"),
        ("0>/dev/null", "kavka: stdin: Bad file descriptor"),
    ] {
        for args in [&["produce", "t"][..], &["produce", "t", "--json"]] {
            redirected(&server.bootstrap(), args, how).bad(1, &[why]);
        }
    }
    for how in ["<&-", "</dev/null"] {
        redirected(&server.bootstrap(), &["produce", "t"], how).good();
    }
    assert_eq!(server.log_len("t", 0), 0);
}

/// Without a reader of stderr there are results and exit codes.
#[test]
fn a_stderr_that_cannot_be_written_changes_nothing() {
    let server = with_topic(1);
    for how in ["2>&-", "2>/dev/full"] {
        redirected(&server.bootstrap(), &["produce", "t", "-v"], how).good();
        let read = redirected(&server.bootstrap(), &["consume", "t", "-e", "-v", "-c", "1"], how);
        assert_eq!(read.good().text(), "a\n", "{how}");
        let gone = redirected(&server.bootstrap(), &["topics", "describe", "none"], how);
        assert_eq!(gone.code, Some(1), "{how}");
        let wrong = redirected(&server.bootstrap(), &["topics", "nothing"], how);
        assert_eq!(wrong.code, Some(2), "{how}");
    }
}
