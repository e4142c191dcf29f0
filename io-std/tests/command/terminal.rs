//! Progress, which only shows where somebody looks.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::process::Stdio;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::{at, fill, with_topic};

/// A terminal: our end, and that of the command.
fn terminal() -> (File, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&ours).expect("a terminal");
    unlockpt(&ours).expect("a terminal");
    let name = ptsname(&ours, Vec::new()).expect("its name");
    let path = name.to_str().expect("UTF-8").to_owned();
    let theirs = OpenOptions::new().read(true).write(true).open(path).expect("its other end");
    (File::from(ours), theirs)
}

/// What is written to a terminal until its other end closes.
fn read_all(mut terminal: File) -> String {
    let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
    // The end of a terminal is an error.
    while let Ok(read @ 1..) = terminal.read(&mut buffer) {
        all.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8_lossy(&all).into_owned()
}

#[test]
fn progress_is_shown_on_a_terminal_and_wiped_in_the_end() {
    let server = with_topic(1);
    let (ours, theirs) = terminal();
    let mut command = at(&server, &["produce", "t"]);
    command.stderr(Stdio::from(theirs)).stdin(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    drop(command); // and with it our copy of the other end
    let mut stdin = child.stdin.take().expect("piped");
    let feeding = thread::spawn(move || {
        use std::io::Write;
        let until = std::time::Instant::now() + Duration::from_millis(600);
        while std::time::Instant::now() < until {
            stdin.write_all(b"line\n").expect("it reads");
        }
    });
    let shown = read_all(ours);
    feeding.join().expect("fed");
    assert!(child.wait().expect("its end").success(), "{shown}");
    assert!(shown.contains(" records, ") && shown.contains(" records/s"), "{shown:?}");
    assert!(shown.ends_with("\r\u{1b}[K"), "{shown:?}");
}

#[test]
fn progress_shows_how_much_is_left() {
    const RECORDS: usize = 300;
    let server = with_topic(1);
    let value = "x".repeat(10_000);
    fill(&server, 0, &[value.as_str(); RECORDS]);
    let (mut ours, theirs) = terminal();
    let mut command = at(&server, &["consume", "t", "-e"]);
    command.stderr(Stdio::from(theirs));
    let mut child = command.spawn().expect("it starts");
    drop(command);
    let mut stdout = child.stdout.take().expect("piped");
    let (seen, wait) = channel();
    let watching = thread::spawn(move || {
        let (mut all, mut buffer) = (String::new(), [0; 4096]);
        while let Ok(read @ 1..) = ours.read(&mut buffer) {
            all += &String::from_utf8_lossy(&buffer[..read]);
            if all.contains(" to go") {
                let _ = seen.send(()); // once is enough
            }
        }
        all
    });
    // A slow reader until the line is there: three seconds for everything, where one is due after
    // a fifth of one.
    let (mut read, mut buffer, mut shown) = (0, vec![0; 10_000], false);
    loop {
        match stdout.read(&mut buffer).expect("output") {
            0 => break,
            more => read += more,
        }
        shown = shown || wait.recv_timeout(Duration::from_millis(10)).is_ok();
    }
    let all = watching.join().expect("watched");
    assert!(child.wait().expect("its end").success(), "{all:?}");
    assert_eq!(read, RECORDS * (value.len() + 1));
    assert!(all.contains(" to go"), "{all:?}");
    let left = all.split(" to go").next().and_then(|line| line.rsplit(", ").next());
    let left = left.and_then(|left| left.parse::<usize>().ok());
    assert!(left.is_some_and(|left| (1..RECORDS).contains(&left)), "{all:?}");
    assert!(all.ends_with("\r\u{1b}[K"), "wiped in the end: {all:?}");
}

#[test]
fn nothing_is_shown_beside_records_on_the_same_terminal() {
    let server = with_topic(1);
    fill(&server, 0, &["a"]);
    let (ours, theirs) = terminal();
    let mut command = at(&server, &["consume", "t", "-e"]);
    command.stdout(Stdio::from(theirs.try_clone().expect("a copy"))).stderr(Stdio::from(theirs));
    let mut child = command.spawn().expect("it starts");
    drop(command);
    assert_eq!(read_all(ours), "a\r\n");
    assert!(child.wait().expect("its end").success());
}
