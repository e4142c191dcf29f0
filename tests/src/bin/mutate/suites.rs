//! Building the suites, and running them up to the first test that fails.

use std::env;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A test that takes longer than all others together, and checks for panics only.
const SKIPPED: &str = "any_order_of_calls_is_legal";
/// Tests of the command with real brokers.
const REAL: &str = "real::";
/// KiB of address space: a mutant may allocate without end.
const MEMORY: &str = "12000000";

/// An executable of tests.
#[derive(Clone, Debug)]
pub(crate) struct Suite {
    pub(crate) name: String,
    executable: PathBuf,
    /// Folder in which `cargo test` runs it.
    folder: PathBuf,
}

/// How a run of a suite ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    Good,
    /// A test: the name of the first one that failed.
    Test(String),
    /// Something other than a test: it did not end in time, or was killed.
    Other(String),
}

/// Runs cargo in `root`; returns whether it succeeded, and its messages.
pub(crate) fn cargo(
    root: &Path,
    (target, flags): (&Path, &str),
    arguments: &[String],
) -> (bool, Vec<Message>) {
    // Of the path where no cargo started this: a toolchain's own one would leave the choice of the
    // compiler to folders of dependencies.
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut cargo = Command::new(program);
    cargo.args(arguments).arg("--message-format=json").current_dir(root);
    cargo.env("CARGO_TARGET_DIR", target).env("RUSTFLAGS", flags);
    let output = cargo.stderr(Stdio::inherit()).output().expect("cargo runs");
    let text = String::from_utf8_lossy(&output.stdout);
    let messages = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    (output.status.success(), messages)
}

pub(crate) type Message = serde_json::Value;

/// Returns the test executables among what cargo built.
pub(crate) fn built(messages: &[Message]) -> Vec<Suite> {
    let suite = |message: &Message| {
        let executable = PathBuf::from(message["executable"].as_str()?);
        let name = message["target"]["name"].as_str()?.to_owned();
        let manifest = Path::new(message["manifest_path"].as_str()?);
        let folder = manifest.parent()?.to_path_buf();
        message["profile"]["test"].as_bool()?.then_some(Suite { name, executable, folder })
    };
    messages.iter().filter_map(suite).collect()
}

impl Suite {
    /// Runs all of its tests, for at most `patience`.
    pub(crate) fn run(&self, env: &[(&str, &str)], patience: Duration) -> End {
        self.start(&["--skip", SKIPPED], env, patience)
    }

    /// Runs these of its tests, for at most `patience`.
    pub(crate) fn run_only(&self, tests: &[&str], env: &[(&str, &str)], patience: Duration) -> End {
        let arguments: Vec<&str> = ["--exact"].iter().chain(tests).copied().collect();
        self.start(&arguments, env, patience)
    }

    /// Returns the names of its tests.
    pub(crate) fn tests(&self) -> Vec<String> {
        let mut command = Command::new(&self.executable);
        command.args(["--list", "--format", "terse"]).current_dir(&self.folder);
        let output = command.output().expect("it lists its tests");
        let text = String::from_utf8_lossy(&output.stdout);
        let names = text.lines().filter_map(|line| line.strip_suffix(": test"));
        let wanted = |name: &&str| !name.contains(SKIPPED) && !name.starts_with(REAL);
        names.filter(wanted).map(str::to_owned).collect()
    }

    /// Returns what changes when it is built again.
    pub(crate) fn version(&self) -> String {
        let meta = std::fs::metadata(&self.executable).expect("it was built");
        let modified = meta.modified().expect("a time");
        format!("{} {modified:?}", self.executable.display())
    }

    fn start(&self, arguments: &[&str], env: &[(&str, &str)], patience: Duration) -> End {
        let mut command = Command::new("sh");
        let script = format!("ulimit -v {MEMORY}; ulimit -c 0; exec \"$0\" \"$@\"");
        command.arg("-c").arg(script).arg(&self.executable).args(arguments);
        command.current_dir(&self.folder).env("RUST_BACKTRACE", "0");
        command.envs(env.iter().copied());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        up_to_a_failure(command.spawn().expect("it runs"), patience)
    }
}

fn up_to_a_failure(mut child: Child, patience: Duration) -> End {
    let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let (report, reported) = mpsc::channel();
    // The thread ends with the child, whose output it reads.
    let reader = std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let failed = line.strip_prefix("test ").and_then(|l| l.strip_suffix(" ... FAILED"));
            if let Some(test) = failed
                && report.send(test.to_owned()).is_err()
            {
                return;
            }
        }
    });
    let begun = Instant::now();
    let end = match reported.recv_timeout(patience) {
        Ok(test) => End::Test(test),
        Err(mpsc::RecvTimeoutError::Timeout) => End::Other(format!("no end in {patience:?}")),
        Err(mpsc::RecvTimeoutError::Disconnected) => End::Good,
    };
    if end != End::Good {
        kill(&mut child);
    }
    // Its output is closed, but it may not have ended.
    let status = loop {
        match child.try_wait().expect("it is ours") {
            Some(status) => break status,
            None if begun.elapsed() > patience => kill(&mut child),
            None => std::thread::sleep(Duration::from_millis(2)),
        }
    };
    reader.join().expect("reads lines");
    match end {
        End::Good if !status.success() => End::Other(format!("ended with {status}")),
        end => end,
    }
}

/// Kills the child and all processes that it started.
fn kill(child: &mut Child) {
    #[cfg(unix)]
    {
        let all = format!("kill -9 -{}", child.id());
        let _ = Command::new("sh").args(["-c", &all]).stderr(Stdio::null()).status();
    }
    let _ = child.kill(); // it may have ended by now
}
