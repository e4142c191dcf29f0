//! Progress, which only shows where somebody looks.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::process::Stdio;
use std::thread;

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
        let until = std::time::Instant::now() + std::time::Duration::from_millis(600);
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
    let server = with_topic(1);
    let many = vec!["x"; 2000];
    fill(&server, 0, &many);
    let (ours, theirs) = terminal();
    // So slow a reader that it takes a while.
    let mut command = at(&server, &["consume", "t", "-e", "-f", &"%s".repeat(1000)]);
    command.stderr(Stdio::from(theirs));
    let mut child = command.spawn().expect("it starts");
    drop(command);
    let mut stdout = child.stdout.take().expect("piped");
    let slow = thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while stdout.read(&mut buffer).expect("output") > 0 {
            thread::sleep(std::time::Duration::from_millis(20));
        }
    });
    let shown = read_all(ours);
    slow.join().expect("read");
    assert!(child.wait().expect("its end").success(), "{shown}");
    assert!(shown.contains(" to go") || shown.is_empty(), "{shown:?}");
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
