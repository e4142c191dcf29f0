//! Transactions, as the command reads them; keys of a topic that grows.

use kavka_tests::sim::{Server, batch};

use crate::{feed, kavka, run, with_topic};

/// A topic with an aborted, a committed and an open transaction, and a record behind them.
fn decided() -> Server {
    let server = with_topic(1);
    let of = |producer: i64, text: &str| {
        let attributes = if producer < 0 { 0 } else { batch::TRANSACTIONAL };
        let epoch = if producer < 0 { -1 } else { 0 };
        batch::write(attributes, (producer, epoch, -1), 0, &[(None, Some(text.as_bytes()))])
    };
    server
        .with(|cluster| {
            cluster.append_batch("t", 0, &of(1, "aborted"))?;
            cluster.append_batch("t", 0, &of(2, "committed"))?;
            cluster.append_marker("t", 0, (1, 0), false)?;
            cluster.append_marker("t", 0, (2, 0), true)?;
            cluster.append_batch("t", 0, &of(1, "gone"))?;
            cluster.append_marker("t", 0, (1, 0), false)?;
            cluster.append_batch("t", 0, &of(3, "open"))?;
            cluster.append_batch("t", 0, &of(-1, "behind"))
        })
        .expect("appended");
    server
}

#[test]
fn committed_records_are_read_up_to_the_last_stable_offset() {
    let server = decided();
    let all = "aborted\ncommitted\ngone\nopen\nbehind\n";
    assert_eq!(run(&server, &["consume", "t", "-e"]).good().text(), all);
    for level in [&["--isolation", "read_committed"][..], &["-X", "isolation.level=read_committed"]]
    {
        let mut args = vec!["consume", "t", "-e"];
        args.extend(level);
        assert_eq!(run(&server, &args).good().text(), "committed\n", "{level:?}");
    }
    // An option takes precedence over a property.
    let args = [
        "consume",
        "t",
        "-e",
        "-X",
        "isolation.level=read_committed",
        "--isolation",
        "read_uncommitted",
    ];
    assert_eq!(run(&server, &args).good().text(), all);
    let from_end = ["consume", "t", "-e", "-o", "-5", "--isolation", "read_committed"];
    assert_eq!(run(&server, &from_end).good().text(), "committed\n", "of offsets 1 to 5");
    let offsets = |more: &[&str]| {
        let mut args = vec!["topics", "offsets", "t"];
        args.extend(more);
        run(&server, &args).good().text()
    };
    assert_eq!(offsets(&[]), "t\t0\t0\t8\n");
    assert_eq!(offsets(&["-X", "isolation.level=read_committed"]), "t\t0\t0\t6\n");
    run(&server, &["consume", "t", "--isolation", "all"]).bad(2, &["must be read_committed or"]);
}

#[test]
fn keys_are_pinned_on_request() {
    let server = with_topic(4);
    let address = server.bootstrap();
    let lines: String = (0..40).map(|n| format!("{n}:v\n")).collect();
    let args = ["produce", "t", "-b", &address, "-K", ":", "--key-order", "pin:2"];
    feed(kavka(&args), lines.as_bytes()).good();
    let count = |partition| server.with(|cluster| cluster.log_len("t", partition));
    let counts = [0, 1, 2, 3].map(count);
    assert_eq!((counts[0] + counts[1], counts[2] + counts[3]), (40, 0), "{counts:?}");
    for (policy, why) in
        [("drained", "must be follow, drain or pin:N"), ("pin:0", "1 or more"), ("pin", "must be")]
    {
        let args = ["produce", "t", "-b", &address, "--key-order", policy];
        feed(kavka(&args), b"").bad(2, &[why]);
    }
    for policy in ["follow", "drain"] {
        let args = ["produce", "t", "-b", &address, "-K", ":", "--key-order", policy];
        feed(kavka(&args), b"a:1\n").good();
    }
}
