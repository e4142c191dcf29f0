//! An external program that changes values, a line each.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::Failure;

pub(super) struct Transform {
    command: String,
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    line: Vec<u8>,
}

impl Transform {
    pub(super) fn start(command: &str) -> Result<Self, Failure> {
        let failed = |why: &dyn core::fmt::Display| Failure::Failed(format!("{command}: {why}"));
        let mut child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| failed(&error))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(failed(&"no pipe"));
        };
        let (command, output) = (command.to_owned(), BufReader::new(output));
        Ok(Self { command, child, input, output, line: Vec::new() })
    }

    /// Returns the new value, without the end of its line.
    pub(super) fn apply(&mut self, value: &[u8]) -> Result<&[u8], Failure> {
        if value.contains(&b'\n') {
            let text = "--transform: a value has several lines; it cannot be given as one";
            return Err(Failure::Failed(text.into()));
        }
        self.line.clear();
        let exchanged = self
            .input
            .write_all(value)
            .and_then(|()| self.input.write_all(b"\n"))
            .and_then(|()| self.input.flush())
            .and_then(|()| self.output.read_until(b'\n', &mut self.line));
        match exchanged {
            Ok(read) if read > 0 && self.line.ends_with(b"\n") => {
                self.line.pop();
                Ok(&self.line)
            }
            Ok(_) => Err(Failure::Failed(format!("{}: ended", self.command))),
            Err(error) => Err(Failure::Failed(format!("{}: {error}", self.command))),
        }
    }
}

impl Drop for Transform {
    fn drop(&mut self) {
        // Its input ends with this process, at the latest.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
